package pillow

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// noise fills p with bytes of which some are at the limits.
func noise(rng *rand.Rand, p []byte) []byte {
	for i := range p {
		switch v := rng.IntN(1 << 10); v & 3 {
		case 0:
			p[i] = byte(-(v >> 9))
		default:
			p[i] = byte(v >> 2)
		}
	}
	return p
}

// makes gives each routine out, whose ends it must not pass, and compares what the generic one makes.
func makes(t *testing.T, what string, n int, want, got func(out []byte)) {
	t.Helper()
	const guard = 64
	room := func(f func(out []byte)) []byte {
		out := bytes.Repeat([]byte{0xa5}, n+2*guard)
		f(out[guard:][:n:n])
		return out
	}
	if a, b := room(want), room(got); !bytes.Equal(a, b) {
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("%s: byte %d of %d is %d, want %d", what, i-guard, n, b[i], a[i])
			}
		}
	}
}

// jpegBlocks calls use with blocks of all kinds and quantisation tables: from one coefficient to 64, with and without overflows.
func jpegBlocks(use func(b *[64]int16, q *[64]uint16)) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		var b [64]int16
		var q [64]uint16
		large, wide := 1<<rng.IntN(17), 1<<rng.IntN(17)
		for k := range q {
			q[k] = uint16(rng.IntN(wide))
		}
		for range i % 65 {
			k := rng.IntN(64)
			switch i % 5 {
			case 0: // the first row
				k = k &^ 1 & 15
			case 1: // the first column
				k = jpegRows[k&7]
			case 2: // the first coefficient
				k = 0
			}
			b[k] = int16(rng.IntN(large) - large/2)
			if i%7 == 0 {
				b[k] = int16(-1 << 15 * (k & 1))
			}
		}
		use(&b, &q)
	}
}

// TestInverse: the transform in use is the generic one.
func TestInverse(t *testing.T) {
	jpegBlocks(func(b *[64]int16, q *[64]uint16) {
		for _, stride := range []int{8, 13} {
			makes(t, "inverse", 7*stride+8,
				func(out []byte) { generic.inverse(out, stride, b, q) }, func(out []byte) { fast.inverse(out, stride, b, q) })
		}
	})
}

// TestRows: rows of every small width are those of the generic routines.
func TestRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := 1; n <= 100; n++ {
		for range 4 {
			a, b, c := noise(rng, make([]byte, n)), noise(rng, make([]byte, n)), noise(rng, make([]byte, n))
			makes(t, "triangle2x1", 2*n, func(out []byte) { generic.triangle2x1(out, a) }, func(out []byte) { fast.triangle2x1(out, a) })
			makes(t, "triangle2x2", 2*n, func(out []byte) { generic.triangle2x2(out, a, b) }, func(out []byte) { fast.triangle2x2(out, a, b) })
			makes(t, "yccRow", 3*n, func(out []byte) { generic.yccRow(out, a, b, c) }, func(out []byte) { fast.yccRow(out, a, b, c) })
		}
	}
}

// TestColours: every pair of colour differences, with light and dark.
func TestColours(t *testing.T) {
	y, cb, cr := make([]byte, 256), make([]byte, 256), make([]byte, 256)
	for i := range cb {
		cb[i] = byte(i)
	}
	for v := range 256 {
		for i := range cr {
			cr[i] = byte(v)
		}
		for _, light := range []byte{0, 1, 64, 127, 128, 200, 254, 255} {
			for i := range y {
				y[i] = light
			}
			makes(t, "yccRow", 3*256, func(out []byte) { generic.yccRow(out, y, cb, cr) }, func(out []byte) { fast.yccRow(out, y, cb, cr) })
		}
	}
}

// resizes calls use with pictures and the sizes that they are to have: wide, narrow, of one pixel.
func resizes(use func(m *Image, width, height int)) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, mode := range []Mode{RGB, Gray, GrayPre, CMYK} {
		for _, s := range [][2]int{{1, 1}, {1, 30}, {30, 1}, {3, 4}, {5, 5}, {16, 9}, {17, 23}, {40, 31}, {200, 3}, {3, 200}, {301, 99}} {
			m := newImage(mode, s[0], s[1])
			noise(rng, m.Pix)
			for _, r := range [][2]int{{1, 1}, {3, 3}, {4, 4}, {5, 2}, {7, 31}, {8, 1}, {13, 12}, {16, 16}, {33, 50}, {64, 65}} {
				use(m, r[0], r[1])
			}
		}
	}
}

// TestResizeRoutines: what the routines in use make of a picture is what the generic ones make.
func TestResizeRoutines(t *testing.T) {
	used := fast
	defer func() { fast = used }()
	resizes(func(m *Image, width, height int) {
		for f := range kernels {
			var out [2]*Image
			for i, r := range []routines{generic, used} {
				fast = r
				var err error
				if out[i], err = m.Resize(width, height, f); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(out[0].Pix, out[1].Pix) {
				t.Fatalf("%q %dx%d to %dx%d, filter %d: the routines differ", m.Mode, m.Width, m.Height, width, height, f)
			}
		}
	})
}
