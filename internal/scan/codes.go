package scan

import (
	"math"

	"github.com/vitago/vitago/internal/kernel"
)

// Quantise makes the codes of a row of halves, and returns their scale: the value with the largest size has the code 127 or -127.
// A row of zeros has the scale 0.
func Quantise(codes []int8, row []uint16) (scale float32) {
	var most float32
	for _, h := range row {
		most = max(most, float32(math.Abs(float64(kernel.FromHalf(h)))))
	}
	if most == 0 {
		clear(codes)
		return 0
	}
	scale = most / math.MaxInt8
	for i, h := range row {
		codes[i] = int8(math.RoundToEven(float64(kernel.FromHalf(h)) / float64(scale)))
	}
	return scale
}

// A words is a vector rounded to 16 bits, for products with codes.
type words struct {
	values []int16
	scale  float64 // of values
	// error bounds, for a row whose codes have the scale 1, what a product of codes and values differs from that of the row
	// and the vector: half of a code's step for each value, and 127 times what rounding the vector has lost.
	error float64
}

// newWords rounds a vector. Sums of its products with codes stay below 2³¹.
func newWords(x []float32) words {
	var sum, most float64
	for _, v := range x {
		a := math.Abs(float64(v))
		sum, most = sum+a, max(most, a)
	}
	w := words{values: make([]int16, len(x))}
	if most == 0 {
		return w
	}
	// Rounding adds half a step for each value.
	w.scale = max(most/math.MaxInt16, math.MaxInt8*sum/(math.MaxInt32-math.MaxInt8*float64(len(x))))
	lost := 0.0
	for i, v := range x {
		r := math.RoundToEven(float64(v) / w.scale)
		w.values[i] = int16(r)
		lost += math.Abs(float64(v) - r*w.scale)
	}
	const rounding = 1 + 0x1p-20 // of the scales, which are float32, and of what is computed here
	w.error = (sum/2 + math.MaxInt8*lost) * rounding
	return w
}

// codes multiplies codes with one vector after the other, and looks at the halves of those rows whose product may be large
// enough.
func (w *worker) codes(p *part, from, to int) {
	width, step := w.s.m.width, blockRows
	if len(w.s.vectors) > 1 {
		step = cacheRows
	}
	for ; from < to; from += step {
		end := min(to, from+step)
		sums, scales := w.sums[:end-from], p.Scales[from:end]
		for v := range w.s.vectors {
			x := &w.s.words[v]
			kernel.DotBytes(sums, p.Codes[from*width:end*width], x.values)
			least := w.least[v]
			for i, s := range sums {
				if !(float64(scales[i])*(x.scale*float64(s)+x.error) < least) { // a scale that is no number excludes nothing
					w.consider(v, p, from+i)
					least = w.least[v]
				}
			}
		}
	}
}
