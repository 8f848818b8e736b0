package pillow

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"runtime"
	"sync"
)

// Filter is one of Pillow's resampling filters.
type Filter int

// The filters. All but Nearest widen when they shrink a picture. A sine of Go's differs from the C library's by one unit
// in the last place at most, which the weights of 8-bit samples lose: they are rounded to 22 bits.
const (
	Nearest  Filter = iota
	Box             // area average
	Bilinear        // triangle
	Bicubic         // a = -0.5
	Lanczos         // windowed sinc of 3 lobes
	Hamming         // windowed sinc of 1 lobe
)

// kernels holds a filter's shape and its reach in pixels of the coarser grid.
// Source: Pillow, src/libImaging/Resample.c. The conversions to float64 forbid a fused multiply-add,
// so that every processor computes the same bits.
var kernels = map[Filter]struct {
	at      func(x float64) float64
	support float64
}{
	Box: {func(x float64) float64 {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}, 0.5},
	Bilinear: {func(x float64) float64 { return max(1-math.Abs(x), 0) }, 1},
	Bicubic: {func(x float64) float64 {
		const a = -0.5
		switch x = math.Abs(x); {
		case x < 1:
			return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
		case x < 2:
			return (float64((float64((x-5)*x)+8)*x) - 4) * a
		}
		return 0
	}, 2},
	Lanczos: {func(x float64) float64 {
		if -3 <= x && x < 3 {
			return float64(sinc(x) * sinc(x/3))
		}
		return 0
	}, 3},
	Hamming: {func(x float64) float64 {
		switch x = math.Abs(x); {
		case x == 0:
			return 1
		case x >= 1:
			return 0
		}
		x *= math.Pi
		return float64(math.Sin(x) / x * (float64(float32(0.54)) + float64(float64(float32(0.46))*math.Cos(x)))) // floats in C
	}, 1},
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x *= math.Pi
	return math.Sin(x) / x
}

// Resize returns m in the size width by height, bit for bit what PIL.Image.resize returns: modes "1" and
// "P" take the nearest pixel whatever f is, modes "LA" and "RGBA" are resized with colours premultiplied.
func (m *Image) Resize(width, height int, f Filter) (*Image, error) {
	return m.resizeWindow(width, height, f, image.Rect(0, 0, width, height))
}

// resizeWindow returns Resize(width, height, f) cropped to win, which lies inside it,
// and computes no more than that.
func (m *Image) resizeWindow(width, height int, f Filter, win image.Rectangle) (*Image, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 {
		return nil, fmt.Errorf("pillow: resize to %dx%d, want both sides in 1..%d", width, height, math.MaxInt32)
	}
	if m.Width < 1 || m.Height < 1 {
		return nil, fmt.Errorf("pillow: resize from %dx%d, want at least 1x1", m.Width, m.Height)
	}
	if n := int64(win.Dx()) * int64(win.Dy()); n > MaxPixels {
		return nil, fmt.Errorf("pillow: resize to %d pixels, want at most %d", n, MaxPixels)
	}
	if m.Width == width && m.Height == height {
		return m.Crop(win.Min.X, win.Min.Y, win.Dx(), win.Dy()), nil
	}
	if f == Nearest || m.Mode == Bilevel || m.Mode == Indexed {
		return m.nearest(width, height, win), nil
	}
	if _, ok := kernels[f]; !ok {
		return nil, fmt.Errorf("pillow: unknown filter %d", f)
	}
	return m.resample(width, height, f, win)
}

// nearest takes the pixel under the centre of each new pixel. The centres are summed up, not
// multiplied, and what rounding pushes over the edge is zero.
// Source: Pillow, src/libImaging/Geometry.c, ImagingScaleAffine and, for mode "I;16", affine_transform.
func (m *Image) nearest(width, height int, win image.Rectangle) *Image {
	centres := func(size, resized, lo, hi int) []int {
		scale := float64(float32(size)) / float64(resized)
		at := make([]int, hi-lo)
		if m.Mode == Gray16 || m.Mode == Gray16BE {
			for i := range at {
				at[i] = int(float64(scale * (float64(lo+i) + 0.5)))
			}
			return at
		}
		centre := scale * 0.5
		for i := range hi {
			if i >= lo {
				at[i-lo] = int(centre)
			}
			centre += scale
		}
		return at
	}
	xs := centres(m.Width, width, win.Min.X, win.Max.X)
	ys := centres(m.Height, height, win.Min.Y, win.Max.Y)
	out := newImage(m.Mode, win.Dx(), win.Dy())
	out.Palette = m.Palette
	n := modes[m.Mode]
	for j, y := range ys {
		if y >= m.Height {
			continue
		}
		src, dst := m.Pix[y*m.Width*n:(y+1)*m.Width*n], out.Pix[j*out.Width*n:]
		for i, x := range xs {
			if x < m.Width {
				copy(dst[i*n:i*n+n], src[x*n:])
			}
		}
	}
	return out
}

// weights says which pixels make each new pixel: of new pixel i (counted from the window's edge)
// those from first[i] on, as many as there are weights in at[start[i]:start[i+1]].
type weights struct {
	first []int
	start []int
	at    []float64
	fixed []int32 // at, in units of 2^-22
}

// precision is the number of fractional bits of a weight: 8 bits for the result and two for
// overshoot are left of 32. Pillow, src/libImaging/Resample.c, PRECISION_BITS.
const precision = 32 - 8 - 2

// newWeights computes the weights of new pixels lo..hi-1 when size pixels become resized pixels.
// Source: Pillow, src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
func newWeights(size, resized int, f Filter, lo, hi int) *weights {
	k := kernels[f]
	scale := float64(float32(size)) / float64(resized) // Pillow holds the size as a C float
	stretch := max(scale, 1)
	support := k.support * stretch
	inverse := 1 / stretch
	w := &weights{first: make([]int, hi-lo), start: make([]int, hi-lo+1)}
	w.at = make([]float64, 0, (hi-lo)*min(2*int(math.Ceil(support))+1, size))
	for i := range hi - lo {
		centre := float64((float64(lo+i) + 0.5) * scale)
		first := max(int(centre-support+0.5), 0)
		last := min(int(centre+support+0.5), size)
		sum := 0.0
		for x := first; x < last; x++ {
			v := k.at(float64((float64(x) - centre + 0.5) * inverse))
			w.at = append(w.at, v)
			sum += v
		}
		mine := w.at[w.start[i]:]
		if sum != 0 {
			for x := range mine {
				mine[x] /= sum
			}
		}
		w.first[i], w.start[i+1] = first, len(w.at)
	}
	return w
}

// fix rounds the weights to fixed point.
func (w *weights) fix() {
	w.fixed = make([]int32, len(w.at))
	for i, v := range w.at {
		w.fixed[i] = int32(float64(v*(1<<precision)) + math.Copysign(0.5, v))
	}
}

// span returns the range of old pixels that the weights touch.
func (w *weights) span() (lo, hi int) {
	n := len(w.first) - 1
	return w.first[0], w.first[n] + w.start[n+1] - w.start[n]
}

// resample filters along one side, rounds to m's precision, then filters along the other.
// Source: Pillow, src/libImaging/Resample.c, ImagingResampleInner. Which side is first was found by
// experiment on Pillow 13.0.0 (5192 random sizes, modes and filters, no exception); older versions always begin across.
func (m *Image) resample(width, height int, f Filter, win image.Rectangle) (*Image, error) {
	if win.Empty() {
		return newImage(m.Mode, win.Dx(), win.Dy()), nil
	}
	downFirst := height < m.Height && 2*(m.Width-width) < m.Height-height
	var across, down *weights // nil: that side stays as it is
	need := win               // pixels of m
	if width != m.Width {
		across = newWeights(m.Width, width, f, win.Min.X, win.Max.X)
		need.Min.X, need.Max.X = across.span()
	}
	if height != m.Height {
		down = newWeights(m.Height, height, f, win.Min.Y, win.Max.Y)
		need.Min.Y, need.Max.Y = down.span()
	}
	middle := image.Pt(win.Dx(), need.Dy()) // size between the passes
	if downFirst {
		middle = image.Pt(need.Dx(), win.Dy())
	}
	if n := int64(middle.X) * int64(middle.Y); n > MaxPixels {
		return nil, fmt.Errorf("pillow: resizing %dx%d to %dx%d needs %d pixels between the passes, want at most %d",
			m.Width, m.Height, width, height, n, MaxPixels)
	}
	src, origin, mode := m, image.Point{}, m.Mode // origin of src in m
	switch m.Mode {
	case GrayAlpha:
		mode = GrayPre
	case RGBA:
		mode = RGBPre
	}
	if mode != m.Mode && (across == nil || downFirst) { // else the pass across does it
		src, origin = m.premultiplied(need), need.Min
	}
	out := newImage(mode, win.Dx(), win.Dy())
	switch {
	case down == nil:
		out.across(src, across, origin.X, need.Min.Y-origin.Y)
	case across == nil:
		out.down(src, down, origin.Y, need.Min.X-origin.X)
	case downFirst:
		mid := &Image{Mode: mode, Width: middle.X, Height: middle.Y, Pix: get(modes[mode] * middle.X * middle.Y)}
		mid.down(src, down, origin.Y, need.Min.X-origin.X)
		out.across(mid, across, need.Min.X, 0)
		put(mid.Pix)
	default:
		mid := &Image{Mode: mode, Width: middle.X, Height: middle.Y, Pix: get(modes[mode] * middle.X * middle.Y)}
		mid.across(src, across, origin.X, need.Min.Y-origin.Y)
		out.down(mid, down, need.Min.Y, 0)
		put(mid.Pix)
	}
	if out.Mode != m.Mode {
		out.straight()
	}
	return out, nil
}

// parallel calls do on ranges that make up 0..n-1, each range a multiple of unit long but for the last,
// on as many goroutines as are worth it for the given work (multiplications in all).
func parallel(n, unit, work int, do func(lo, hi int)) {
	const worth = 1 << 19 // multiplications that take about as long as ten goroutine starts
	units := (n + unit - 1) / unit
	workers := min(runtime.GOMAXPROCS(0), units, work/worth)
	if workers <= 1 {
		do(0, n)
		return
	}
	var wait sync.WaitGroup
	for i := range workers {
		lo, hi := units*i/workers*unit, min(units*(i+1)/workers*unit, n)
		wait.Go(func() { do(lo, hi) })
	}
	wait.Wait()
}

// across fills m with src filtered horizontally: row y of m from row top+y of src, whose first column
// is column left of what w counts. It takes two rows at once: the samples of the one in the low half of a uint64, those
// of the other in the high half, so that one multiplication serves both. A sum stays within 32 bits
// with sign (see precision), so the halves come apart exactly. If m is premultiplied, src need not be.
func (m *Image) across(src *Image, w *weights, left, top int) {
	if m.wide() {
		m.acrossWide(src, w, left, top)
		return
	}
	w.fix()
	if m.Mode == RGB && src.Mode == RGB && fast.acrossRGB(m, src, w, left, top) {
		return
	}
	n := modes[m.Mode]
	lo, hi := w.span()
	used := (hi - lo) * n // samples of a row
	parallel(m.Height, 2, m.Height*len(w.at)*n, func(from, to int) {
		pair := make([]uint64, used)
		for y := from; y < to; y += 2 {
			second := min(y+1, to-1) // the last of an odd number stands for two
			a := src.Pix[((top+y)*src.Width+lo-left)*n:][:used]
			b := src.Pix[((top+second)*src.Width+lo-left)*n:][:used]
			if src.Mode == m.Mode {
				for i := range pair {
					pair[i] = uint64(a[i]) | uint64(b[i])<<32
				}
			} else {
				pairPremultiplied(pair, a, b, n)
			}
			convolve(m.Pix[y*m.Width*n:][:m.Width*n], m.Pix[second*m.Width*n:][:m.Width*n], pair, w, n)
		}
	})
}

// pairPremultiplied joins two rows of pixels of n samples, the last of which is alpha, multiplied by their alphas.
func pairPremultiplied(pair []uint64, a, b []byte, n int) {
	for len(pair) >= n && len(a) >= n && len(b) >= n {
		alphaA, alphaB := a[n-1], b[n-1]
		for c := range n - 1 {
			pair[c] = uint64(multiply(a[c], alphaA)) | uint64(multiply(b[c], alphaB))<<32
		}
		pair[n-1] = uint64(alphaA) | uint64(alphaB)<<32
		pair, a, b = pair[n:], a[n:], b[n:]
	}
}

// wide says whether m is filtered in floating point.
func (m *Image) wide() bool {
	return m.Mode == Gray16 || m.Mode == Gray16BE || m.Mode == Int32 || m.Mode == Float32
}

// half is one half in a weight's fixed point, in both halves of a pair.
const half = 1<<(precision-1) | 1<<(precision-1)<<32

// convolve writes the weighted sums of pair's pixels of n samples to a (low halves) and b (high halves).
func convolve(a, b []byte, pair []uint64, w *weights, n int) {
	for i, first := range w.first {
		first -= w.first[0]
		k := w.fixed[w.start[i]:w.start[i+1]]
		switch n {
		case 1:
			s0 := uint64(half)
			in := pair[first:][:len(k)]
			for j, v := range k {
				s0 += in[j] * uint64(v)
			}
			a[i], b[i] = clip(s0)
		case 2:
			s0, s1 := uint64(half), uint64(half)
			in := pair[2*first:]
			for _, v := range k {
				c := uint64(v)
				s0 += in[0] * c
				s1 += in[1] * c
				in = in[2:]
			}
			a[2*i], b[2*i] = clip(s0)
			a[2*i+1], b[2*i+1] = clip(s1)
		case 3:
			s0, s1, s2 := uint64(half), uint64(half), uint64(half)
			in := pair[3*first:]
			for _, v := range k {
				c := uint64(v)
				p := in[:3]
				s0 += p[0] * c
				s1 += p[1] * c
				s2 += p[2] * c
				in = in[3:]
			}
			a[3*i], b[3*i] = clip(s0)
			a[3*i+1], b[3*i+1] = clip(s1)
			a[3*i+2], b[3*i+2] = clip(s2)
		case 4:
			s0, s1, s2, s3 := uint64(half), uint64(half), uint64(half), uint64(half)
			in := pair[4*first:]
			for _, v := range k {
				c := uint64(v)
				p := in[:4]
				s0 += p[0] * c
				s1 += p[1] * c
				s2 += p[2] * c
				s3 += p[3] * c
				in = in[4:]
			}
			a[4*i], b[4*i] = clip(s0)
			a[4*i+1], b[4*i+1] = clip(s1)
			a[4*i+2], b[4*i+2] = clip(s2)
			a[4*i+3], b[4*i+3] = clip(s3)
		}
	}
}

// clip takes the two sums of s apart, drops their fractions and limits them to 0..255.
func clip(s uint64) (low, high byte) {
	lo := int32(s)
	hi := int32((s - uint64(lo)) >> 32)
	return clip8(lo), clip8(hi)
}

func clip8(sum int32) byte { return byte(min(max(sum>>precision, 0), 255)) }

// down fills m with src filtered vertically: column x of m from column left+x of src, whose first row is
// row top of what w counts.
func (m *Image) down(src *Image, w *weights, top, left int) {
	if m.wide() {
		m.downWide(src, w, top, left)
		return
	}
	w.fix()
	if fast.down(m, src, w, top, left) {
		return
	}
	n := modes[m.Mode]
	row, stride := m.Width*n, src.Width*n
	parallel(m.Height, 1, row*len(w.at), func(lo, hi int) {
		sums := make([]int32, row)
		for y := lo; y < hi; y++ {
			for i := range sums {
				sums[i] = 1 << (precision - 1)
			}
			k := w.fixed[w.start[y]:w.start[y+1]]
			at := (w.first[y]-top)*stride + left*n
			for ; len(k) >= 4; k = k[4:] {
				k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
				r0, r1 := src.Pix[at:][:row], src.Pix[at+stride:][:row]
				r2, r3 := src.Pix[at+2*stride:][:row], src.Pix[at+3*stride:][:row]
				for i := range sums {
					sums[i] += int32(r0[i])*k0 + int32(r1[i])*k1 + int32(r2[i])*k2 + int32(r3[i])*k3
				}
				at += 4 * stride
			}
			for _, c := range k {
				for i, v := range src.Pix[at:][:row] {
					sums[i] += int32(v) * c
				}
				at += stride
			}
			out := m.Pix[y*row:][:row]
			for i, s := range sums {
				out[i] = clip8(s)
			}
		}
	})
}

// sample returns a reader and a writer of one sample of a wide mode, as Pillow sees them.
// Mode "I;16B" is resampled as if it were little endian: on a little-endian machine Pillow 13.0.0
// does so (Resample.c compiles its test for "I;16B" on big-endian machines only).
func (m *Image) sample() (get func(i int) float64, put func(i int, v float64)) {
	pix := m.Pix
	switch m.Mode {
	case Int32:
		return func(i int) float64 { return float64(int32(binary.LittleEndian.Uint32(pix[4*i:]))) },
			func(i int, v float64) { binary.LittleEndian.PutUint32(pix[4*i:], uint32(roundInt32(v))) }
	case Float32:
		return func(i int) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(pix[4*i:]))) },
			func(i int, v float64) { binary.LittleEndian.PutUint32(pix[4*i:], math.Float32bits(float32(v))) }
	}
	return func(i int) float64 { return float64(binary.LittleEndian.Uint16(pix[2*i:])) },
		func(i int, v float64) {
			binary.LittleEndian.PutUint16(pix[2*i:], uint16(min(max(roundInt32(v), 0), math.MaxUint16)))
		}
}

// roundInt32 rounds half away from zero; what does not fit becomes the smallest integer, as on x86.
// Source: Pillow, src/libImaging/Resample.c, ROUND_UP.
func roundInt32(v float64) int32 {
	if v = math.Trunc(v + math.Copysign(0.5, v)); v >= math.MinInt32 && v <= math.MaxInt32 {
		return int32(v)
	}
	return math.MinInt32
}

// acrossWide is across for modes of 16 and 32 bits, in float64 throughout.
func (m *Image) acrossWide(src *Image, w *weights, left, top int) {
	get, _ := src.sample()
	_, put := m.sample()
	parallel(m.Height, 1, m.Height*len(w.at), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			for i, first := range w.first {
				sum, from := 0.0, (top+y)*src.Width+first-left
				for j, k := range w.at[w.start[i]:w.start[i+1]] {
					sum += float64(get(from+j) * k)
				}
				put(y*m.Width+i, sum)
			}
		}
	})
}

// downWide is down for modes of 16 and 32 bits.
func (m *Image) downWide(src *Image, w *weights, top, left int) {
	get, _ := src.sample()
	_, put := m.sample()
	parallel(m.Height, 1, m.Width*len(w.at), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			k := w.at[w.start[y]:w.start[y+1]]
			for x := range m.Width {
				sum, from := 0.0, (w.first[y]-top)*src.Width+left+x
				for j, k := range k {
					sum += float64(get(from+j*src.Width) * k)
				}
				put(y*m.Width+x, sum)
			}
		}
	})
}
