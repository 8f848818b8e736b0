//go:build !amd64 || purego

package kernel

func scoreGrad(p, gs, stats []float32, scale float32) {
	_, nr := tileShape()
	scoreGradGeneric(p, gs, stats, nr, scale)
}

func quickGELUGrad(gx, gy, x []float32) { quickGELUGradGeneric(gx, gy, x) }

func adamW(w, g, m, v []float32, s AdamWStep) { adamWGeneric(w, g, m, v, s) }
