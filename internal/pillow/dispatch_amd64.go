//go:build !purego

package pillow

import (
	"math"

	"golang.org/x/sys/cpu"
)

func init() {
	if cpu.X86.HasAVX2 {
		fast = avx2
	}
}

var avx2 = routines{
	inverse: func(pix []byte, stride int, b *[64]int16, q *[64]uint16) {
		_ = pix[7*stride+7]
		inverseAVX2(&pix[0], stride, b, q)
	},
	triangle2x1: func(dst, near []byte) {
		n := len(near)
		if n < 2+16 {
			triangle2x1(dst, near)
			return
		}
		_ = dst[2*n-1]
		triangle2x1AVX2(&dst[2], &near[1], n-2)
		dst[0], dst[1] = near[0], byte((3*int(near[0])+int(near[1])+2)>>2)
		dst[2*n-2], dst[2*n-1] = byte((3*int(near[n-1])+int(near[n-2])+1)>>2), near[n-1]
	},
	triangle2x2: func(dst, near, far []byte) {
		n := len(near)
		if n < 2+16 {
			triangle2x2(dst, near, far)
			return
		}
		_, _ = dst[2*n-1], far[n-1]
		triangle2x2AVX2(&dst[2], &near[1], &far[1], n-2)
		sum := func(i int) int { return 3*int(near[i]) + int(far[i]) }
		dst[0], dst[1] = byte((4*sum(0)+8)>>4), byte((3*sum(0)+sum(1)+7)>>4)
		dst[2*n-2], dst[2*n-1] = byte((3*sum(n-1)+sum(n-2)+8)>>4), byte((4*sum(n-1)+7)>>4)
	},
	yccRow: func(out, y, cb, cr []byte) {
		n := len(y)
		if n < 16 {
			yccRow(out, y, cb, cr)
			return
		}
		_, _, _ = out[3*n-1], cb[n-1], cr[n-1]
		yccRowAVX2(&out[0], &y[0], &cb[0], &cr[0], n)
	},
	acrossRGB: acrossRGB,
	down:      downBytes,
}

// halves returns the lowest 8 bits of a weight and the others. It reports false if those do not fit.
func halves(w int32) (low, high int16, ok bool) {
	h := w >> 8
	return int16(w & 0xff), int16(h), h == int32(int16(h))
}

// acrossRGB filters four pixels of a row at once.
func acrossRGB(m, src *Image, w *weights, left, top int) bool {
	n := len(w.first)
	if n < 4 {
		return false
	}
	taps := 0
	for i := range n {
		taps = max(taps, w.start[i+1]-w.start[i])
	}
	groups := (taps + 3) / 4
	if groups > math.MaxInt16 { // far above any picture that is not a line
		return false
	}
	first, packed := make([]int, n), make([][8]int16, n*groups)
	for i := range n {
		first[i] = 3 * (w.first[i] - left)
		for j, v := range w.fixed[w.start[i]:w.start[i+1]] {
			low, high, ok := halves(v)
			if !ok {
				return false
			}
			g := &packed[i*groups+j/4]
			g[j%4], g[4+j%4] = low, high
		}
	}
	// A row is read to the end of its last group of weights, and then some.
	reach := first[n-1] + 12*groups + 4
	stride := 3 * src.Width
	parallel(m.Height, 1, m.Height*len(w.at)/2, func(from, to int) {
		var end []byte // the last rows of src, with room behind them
		for y := from; y < to; y++ {
			row := src.Pix[(top+y)*stride:]
			if len(row) < reach {
				if end == nil {
					end = make([]byte, len(row)+reach)
				}
				clear(end[copy(end, row):])
				row = end
			}
			out := m.Pix[3*n*y:][:3*n]
			acrossRGBAVX2(&out[0], &row[0], n, &first[0], &packed[0], groups)
		}
	})
	return true
}

// downBytes filters 16 bytes of a row at once.
func downBytes(m, src *Image, w *weights, top, left int) bool {
	n := modes[m.Mode]
	row, stride := m.Width*n, src.Width*n
	if row < 16 {
		return false
	}
	packed, start := make([][4]int16, 0, len(w.fixed)/2+len(w.first)), make([]int, len(w.first))
	for i := range w.first {
		start[i] = len(packed)
		for j, v := range w.fixed[w.start[i]:w.start[i+1]] {
			low, high, ok := halves(v)
			if !ok {
				return false
			}
			if j%2 == 0 {
				packed = append(packed, [4]int16{})
			}
			k := &packed[len(packed)-1]
			k[j%2], k[2+j%2] = low, high
		}
	}
	parallel(m.Height, 1, row*len(w.at)/8, func(lo, hi int) {
		for y := lo; y < hi; y++ {
			taps := w.start[y+1] - w.start[y]
			in := src.Pix[(w.first[y]-top)*stride+left*n:]
			_ = in[(taps-1)*stride+row-1]
			out := m.Pix[y*row:][:row]
			downAVX2(&out[0], &in[0], stride, row, &packed[start[y]], taps)
		}
	})
	return true
}
