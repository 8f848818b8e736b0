//go:build !amd64 || purego

package kernel

func scoreGrad(p, gs, stats []float32, scale float32) {
	_, nr := tileShape()
	scoreGradGeneric(p, gs, stats, nr, scale)
}

func quickGELUGrad(gx, gy, x []float32) { quickGELUGradGeneric(gx, gy, x) }
func geluGrad(gx, gy, x []float32)      { geluGradGeneric(gx, gy, x) }

func adamW(w, g, m, v []float32, s AdamWStep) { adamWGeneric(w, g, m, v, s) }

func skinnyRows() int { return 0 }

func skinny(c, a []float32, rowStride, colStride int, b []float32, k int, add bool) {}

func normSums(g, w, x []float32, mean, scale float32) (sg, sgx float32) {
	return normSumsGeneric(g, w, x, mean, scale)
}

func normGrad(gx, g, w, x []float32, mean, scale, mg, mgx float32) {
	normGradGeneric(gx, g, w, x, mean, scale, mg, mgx)
}

func normWeights(gw, gb, g, x []float32, mean, scale float32) {
	normWeightsGeneric(gw, gb, g, x, mean, scale)
}
