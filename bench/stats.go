package main

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
)

// median returns the middle of x, the mean of both if there are two, and NaN if x is empty.
func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// agreement compares got with want, both [n,columns], and returns the smallest cosine of two rows
// and the largest difference relative to the largest value of want. Values that are no numbers, or
// not as many, agree in nothing.
func agreement(got, want []float32, columns int) (cosine, difference float64) {
	if len(got) != len(want) || len(want) == 0 || len(want)%columns != 0 {
		return -1, math.MaxFloat64
	}
	cosine = 1
	var largest float64
	for i := 0; i < len(want); i += columns {
		var xy, xx, yy float64
		for j := i; j < i+columns; j++ {
			x, y := float64(got[j]), float64(want[j])
			xy, xx, yy = xy+x*y, xx+x*x, yy+y*y
			difference = max(difference, math.Abs(x-y))
			largest = max(largest, math.Abs(y))
		}
		cosine = min(cosine, xy/math.Sqrt(xx*yy))
	}
	difference /= largest
	if math.IsNaN(cosine) || math.IsNaN(difference) {
		return -1, math.MaxFloat64
	}
	return cosine, difference
}

// sumBits returns a checksum of all bits of x.
func sumBits(x []float32) uint64 {
	h := fnv.New64a()
	var b [4]byte
	for _, v := range x {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		h.Write(b[:])
	}
	return h.Sum64()
}

// flops returns the operations of one image, of all tokens in all blocks: a multiply-add is two.
func flops(c clipvit.Config) float64 {
	t, w, f := float64(c.Tokens()), float64(c.Width), float64(c.MLPWidth)
	block := t*w*3*w + 2*t*t*w + t*w*w + 2*t*w*f // QKV, q·kᵀ and p·v, Out, MLP
	return 2 * (float64(c.Patches())*float64(c.PatchLen())*w + float64(c.Layers)*block + w*float64(c.EmbedDim))
}

// textFlops returns the operations of a text of so many tokens. A token attends to itself and to those before it.
func textFlops(c cliptext.Config, tokens int) float64 {
	t, w, f := float64(tokens), float64(c.Width), float64(c.MLPWidth)
	block := t*w*3*w + t*(t+1)*w + t*w*w + 2*t*w*f
	return 2 * (float64(c.Layers)*block + w*float64(c.EmbedDim))
}

// table returns a Markdown table. All columns but the first hold numbers.
func table(head []string, rows ...[]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString("|---" + strings.Repeat("|---:", len(head)-1) + "|\n")
	for _, r := range rows {
		line(append(r, make([]string, len(head)-len(r))...))
	}
	return b.String()
}

// number formats x with so many decimals, and what was not measured (NaN) as a dash.
func number(x float64, decimals int) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// gigabytes and megabytes format what memory gave, a dash for the 0 of not known.
func gigabytes(n int64) string { return unlessZero(n, 1e9, 2) }
func megabytes(n int64) string { return unlessZero(n, 1e6, 0) }

func unlessZero(n int64, unit float64, decimals int) string {
	if n == 0 {
		return "–"
	}
	return number(float64(n)/unit, decimals)
}

// milliseconds formats seconds as milliseconds, with decimals where there would be few digits.
func milliseconds(s float64) string {
	if s < 0.1 {
		return number(s*1e3, 2)
	}
	return number(s*1e3, 0)
}
