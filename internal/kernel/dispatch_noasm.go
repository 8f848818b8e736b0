//go:build (!amd64 && !arm64) || purego

package kernel

func tileShape() (mr, nr int) { return genericMR, genericNR }

func tile(c []float32, ldc, rows int, a, b []float32, k int, accumulate bool, next *byte, step int) {
	tileGeneric(c, ldc, a, b, k, genericMR, genericNR, accumulate)
}

func pause() {}

func packTransposed(dst []float32, stride int, src []float32, ld, rows, k int) {
	packGeneric(dst, stride, src, ld, rows, k)
}

func copyPanels(dst []float32, w int, src []float32, ld, rows, panels, apart int) {
	copyPanelsGeneric(dst, w, src, ld, rows, panels, apart)
}

func widen(dst []float32, src []uint16)       { widenGeneric(dst, src) }
func narrow(dst []uint16, src []float32) bool { return narrowGeneric(dst, src) }

func sum(x []float32) float32                           { return sumGeneric(x) }
func sumSquares(x []float32, mean float32) float32      { return sumSquaresGeneric(x, mean) }
func normalize(y, x, w, b []float32, mean, s float32)   { normalizeGeneric(y, x, w, b, mean, s) }
func maxOf(x []float32) float32                         { return maxGeneric(x) }
func expSum(y, x []float32, shift, s float32) float32   { return expSumGeneric(y, x, shift, s) }
func scale(y []float32, s float32)                      { scaleGeneric(y, s) }
func columnMax(m, x []float32)                          { columnMaxGeneric(m, x) }
func columnExp(x, peak, total []float32, scale float32) { columnExpGeneric(x, peak, total, scale) }
func scaleColumns(x, s []float32)                       { scaleColumnsGeneric(x, s) }
func columnSum(total, x []float32)                      { columnSumGeneric(total, x) }
func columnSquares(total, x, mean []float32)            { columnSquaresGeneric(total, x, mean) }
func columnNormalize(y, x, mean, scale, w, b []float32) {
	columnNormalizeGeneric(y, x, mean, scale, w, b)
}
func addBias(y, b []float32)          { addBiasGeneric(y, b) }
func addBias2(y, b, r []float32)      { addBias2Generic(y, b, r) }
func quickGELUBias(y, x, b []float32) { quickGELUGeneric(y, x, b) }
func geluBias(y, x, b []float32)      { geluGeneric(y, x, b) }

func fmas(n int) (flops int) { return fmasGeneric(n) }
