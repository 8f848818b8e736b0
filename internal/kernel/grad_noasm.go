//go:build !amd64 || purego

package kernel

func scoreGrad(p, gs, stats []float32, scale float32) {
	_, nr := tileShape()
	scoreGradGeneric(p, gs, stats, nr, scale)
}

func quickGELUGrad(gx, gy, x []float32) { quickGELUGradGeneric(gx, gy, x) }
func geluGrad(gx, gy, x []float32)      { geluGradGeneric(gx, gy, x) }

func adamW(w, g, m, v []float32, s AdamWStep) { adamWGeneric(w, g, m, v, s) }

func thinRows() int { return 0 }

func thin(c, a []float32, across, along int, b []float32, k int, add bool) {}
