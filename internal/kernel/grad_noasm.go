//go:build !amd64 || purego

package kernel

func scoreGrad(p, gs []float32, inverse, delta, temperature float32) {
	scoreGradGeneric(p, gs, inverse, delta, temperature)
}

func quickGELUGrad(gx, gy, x []float32) { quickGELUGradGeneric(gx, gy, x) }

func adamW(w, g, m, v []float32, s AdamWStep) { adamWGeneric(w, g, m, v, s) }
