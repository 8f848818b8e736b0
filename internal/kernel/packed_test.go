package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHalves: every half becomes the float32 that it is, and comes back.
func TestHalves(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		all, back := make([]uint16, 1<<16), make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		got := newGuarded(len(all))
		widen(got.data, all)
		got.check(t, "widen")
		for i, f := range got.data {
			// The definition of IEEE 754, in float64, which has room for it.
			e, frac := i>>10&31, float64(i&1023)
			want := math.Ldexp(1024+frac, e-25)
			switch {
			case e == 0:
				want = math.Ldexp(frac, -24)
			case e == 31 && frac == 0:
				want = math.Inf(1)
			case e == 31:
				want = math.NaN()
			}
			if i>>15 == 1 {
				want = -want
			}
			if float64(f) != want && !(math.IsNaN(want) && f != f) || math.Signbit(float64(f)) != (i>>15 == 1) {
				t.Fatalf("half %#04x is %v, want %v", i, f, want)
			}
		}
		if !narrow(back, got.data) {
			t.Error("narrow says that halves are no halves")
		}
		for i, h := range back {
			want := uint16(i)
			if i&0x7fff > 0x7c00 {
				want |= 0x200 // a signalling NaN has become quiet
			}
			if h != want {
				t.Fatalf("half %#04x came back as %#04x, want %#04x", i, h, want)
			}
		}
	})
}

// TestWiden: bytes at any address are halves, the lower byte first.
func TestWiden(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		src := make([]byte, 100)
		for i := range src {
			src[i] = byte(37 * i)
		}
		for at := range 2 {
			for n := range 45 {
				got := newGuarded(n)
				Widen(got.data, src[at:])
				got.check(t, "Widen")
				for i, f := range got.data {
					h := uint16(src[at+2*i]) | uint16(src[at+2*i+1])<<8
					if want := FromHalf(h); math.Float32bits(f) != math.Float32bits(want) {
						t.Fatalf("%#04x at byte %d is %v, want %v", h, at+2*i, f, want)
					}
				}
			}
		}
	})
}

// TestNarrow: rounding is to nearest, ties to even, and what is lost is told, wherever it stands.
func TestNarrow(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		for _, c := range []struct {
			f     float32
			h     uint16
			exact bool
		}{
			{0, 0, true}, {float32(math.Copysign(0, -1)), 0x8000, true}, {1, 0x3c00, true}, {65504, 0x7bff, true}, {0x1p-24, 1, true},
			{1 + 0x1p-11, 0x3c00, false}, {1 + 3*0x1p-11, 0x3c02, false}, {1 + 0x1p-11 + 0x1p-20, 0x3c01, false},
			{65520, 0x7c00, false}, {65519, 0x7bff, false}, {0x1p-25, 0, false}, {0x1.8p-24, 2, false}, {0x1p-126, 0, false},
			{float32(math.Inf(-1)), 0xfc00, true},
		} {
			for n := 1; n <= 37; n++ {
				for _, at := range []int{0, n / 2, n - 1} {
					src, dst := make([]float32, n), make([]uint16, n)
					src[at] = c.f
					if exact := narrow(dst, src); dst[at] != c.h || exact != c.exact {
						t.Fatalf("%v at %d of %d: %#04x, exact %v; want %#04x, %v", c.f, at, n, dst[at], exact, c.h, c.exact)
					}
				}
			}
		}
	})
}

// TestPacked: a packed product is that of the plain weights to the last bit, and unpacking gives them
// back; halves are kept in halves, and nothing else is.
func TestPacked(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {15, 33, 40}, {29, 70, 1030}, {2, 64, 2100}, {5, 0, 3}, {4, 40, 0}} {
		m, n, k := s[0], s[1], s[2]
		a, w, bias, residual := random(rng, m*k).data, random(rng, n*k).data, random(rng, n).data, random(rng, m*n).data
		for i := range w {
			w[i] = FromHalf(ToHalf(w[i]))
		}
		full := slices.Clone(w)
		if len(full) > 0 {
			full[len(full)-1] = 1 + 0x1p-20
		}
		eachImpl(t, func(t *testing.T) {
			for _, w := range [][]float32{w, full} {
				p := Pack(w, n, k)
				if want := 2 * n * k; len(w) > 0 && w[len(w)-1] == full[len(w)-1] {
					if p.Bytes() != 2*want {
						t.Errorf("%v: %d bytes of float32, want %d", s, p.Bytes(), 2*want)
					}
				} else if p.Bytes() != want {
					t.Errorf("%v: %d bytes of halves, want %d", s, p.Bytes(), want)
				}
				if gotN, gotK := p.Shape(); gotN != n || gotK != k {
					t.Errorf("shape %d×%d, want %d×%d", gotN, gotK, n, k)
				}
				back := newGuarded(n * k)
				p.Unpack(back.data)
				back.check(t, "unpacked")
				if !slices.Equal(back.data, w) {
					t.Errorf("%v: unpacking does not give back what was packed", s)
				}
				checkRows(t, fmt.Sprint(s), p, w, n, k)
				checkRows(t, fmt.Sprint(s, " left"), PackLeft(w, n, k), w, n, k)
				for _, e := range []Epilogue{{}, {Bias: bias}, {Bias: bias, Activation: QuickGELU}, {Residual: residual}} {
					got, want := newGuarded(m*n), make([]float32, m*n)
					MatMulPacked(got.data, a, p, m, e)
					got.check(t, "product")
					MatMulNT(want, a, w, m, n, k, e)
					if !slices.Equal(got.data, want) {
						t.Errorf("%v: the packed product differs from the plain one", s)
					}
				}
			}
		})
	}
}

// TestPackedElsewhere: weights packed for one implementation are right with another.
func TestPackedElsewhere(t *testing.T) {
	defer Use("")
	const m, n, k = 7, 50, 20
	rng := rand.New(rand.NewPCG(7, 8))
	a, w := random(rng, m*k).data, random(rng, n*k).data
	for _, from := range Available() {
		Use(from)
		p := Pack(w, n, k)
		for _, to := range Available() {
			Use(to)
			got, want := make([]float32, m*n), make([]float32, m*n)
			MatMulPacked(got, a, p, m, Epilogue{})
			MatMulNT(want, a, w, m, n, k, Epilogue{})
			if !slices.Equal(got, want) {
				t.Errorf("packed for %s, used by %s: another product", from, to)
			}
		}
	}
}

// TestPackLeft: what is packed as the left operand is not lost, and right in any other product.
func TestPackLeft(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 8))
	eachImpl(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 1, 1}, {15, 33, 40}, {7, 29, 1030}} {
			m, n, k := s[0], s[1], s[2]
			a, w, g := random(rng, m*k).data, random(rng, n*k).data, random(rng, m*n).data
			p := PackLeft(w, n, k)
			if !p.Left() || Pack(w, n, k).Left() {
				t.Error("left and right are not told apart")
			}
			back := newGuarded(n * k)
			p.Unpack(back.data)
			back.check(t, "unpacked")
			if !slices.Equal(back.data, w) {
				t.Errorf("%v: unpacking does not give back what was packed", s)
			}
			checkProduct(t, product{"packed left", func(c, a, _ []float32, m, _, _ int, e Epilogue) {
				MatMulPacked(c, a, p, m, e)
			}, byRow, byRow}, a, w, m, n, k, Epilogue{})
			checkProduct(t, product{"packed left, A·W", func(c, a, _ []float32, m, _, _ int, _ Epilogue) {
				MatMulPackedNN(c, a, p, m)
			}, byRow, byDepth}, g, w, m, k, n, Epilogue{})
		}
	})
}

// checkRows: rows of what was packed are those of all of it, wherever they begin and end.
func checkRows(t *testing.T, what string, p interface {
	UnpackRows(w []float32, from, rows int)
}, want []float32, n, k int) {
	t.Helper()
	for from := 0; from <= n; from += 1 + n/9 {
		for rows := 0; rows <= n-from; rows += 1 + n/7 {
			got := newGuarded(rows * k)
			p.UnpackRows(got.data, from, rows)
			got.check(t, what)
			if !slices.Equal(got.data, want[from*k:(from+rows)*k]) {
				t.Fatalf("%s: %d rows from %d on are not those of all", what, rows, from)
			}
		}
	}
}

func TestPackedPanics(t *testing.T) {
	p := Pack(make([]float32, 6), 2, 3)
	for name, f := range map[string]func(){
		"kernel: Pack: 5 weights, want n·k = 2·3":               func() { Pack(make([]float32, 5), 2, 3) },
		"kernel: Unpack: room for 5 weights, want rows·k = 2·3": func() { p.Unpack(make([]float32, 5)) },
		"kernel: Unpack: rows 1 to 3 of 2":                      func() { p.UnpackRows(make([]float32, 9), 1, 2) },
		"kernel: MatMulPacked: a is shorter than m·k":           func() { MatMulPacked(make([]float32, 2), make([]float32, 2), p, 1, Epilogue{}) },
		"kernel: PanelLayout.MatMul: weights that were not packed by PackLeft": func() {
			PanelLayout{1, 1}.MatMul(make([]float32, 2), make([]float32, 3), p, Epilogue{})
		},
		"kernel: MatMulPacked: c is shorter than m·n": func() { MatMulPacked(make([]float32, 1), make([]float32, 3), p, 1, Epilogue{}) },
	} {
		func() {
			defer func() {
				if r := recover(); r != name {
					t.Errorf("panic %v, want %q", r, name)
				}
			}()
			f()
		}()
	}
}

// TestColumns compares what goes down the columns of a panel with its definition.
func TestColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	eachImpl(t, func(t *testing.T) {
		_, nr := tileShape()
		for rows := range 9 {
			x := random(rng, rows*nr).data
			if rows > 2 {
				x[nr+1] = float32(math.NaN())
				x[2*nr+2] = float32(math.Inf(-1))
			}
			got, want := newGuarded(nr), make([]float32, nr)
			columnMax(got.data, x)
			columnMaxGeneric(want, x)
			got.check(t, "columnMax")
			if !slices.Equal(got.data, want) {
				t.Errorf("columnMax of %d rows: %v, want %v", rows, got.data, want)
			}
			peak, scale := slices.Clone(want), random(rng, nr).data
			gotX, wantX, total, wantTotal := newGuarded(rows*nr), slices.Clone(x), newGuarded(nr), make([]float32, nr)
			copy(gotX.data, x)
			columnExp(gotX.data, peak, total.data, 1.5)
			columnExpGeneric(wantX, peak, wantTotal, 1.5)
			gotX.check(t, "columnExp")
			total.check(t, "columnExp's sums")
			for i, w := range wantX {
				// The difference and its product are rounded, and the exponential is within 2 units of each.
				tol := float64(w) * unit * (8 + 4*1.5*math.Abs(float64(x[i]-peak[i%nr])))
				near(t, "columnExp", gotX.data[i], float64(w), tol)
			}
			for j, w := range wantTotal {
				near(t, "columnExp's sum", total.data[j], float64(w), float64(w)*unit*float64(64+rows))
			}
			scaleColumns(gotX.data, scale)
			gotX.check(t, "scaleColumns")
			scaleColumnsGeneric(wantX, scale)
			for i, w := range wantX {
				near(t, "scaleColumns", gotX.data[i], float64(w), math.Abs(float64(w))*unit*64)
			}
		}
	})
}

// TestPeak: however large scores are, the exponential of the largest is exactly 1.
func TestPeak(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		_, nr := tileShape()
		for _, size := range []float32{1, 1e2, 1e4, 1e8, 1e12, 1e30} {
			x, peak, total := make([]float32, 3*nr), make([]float32, nr), make([]float32, nr)
			for i := range x {
				x[i] = size * (1 - float32(i)/float32(4*len(x)))
			}
			columnMax(peak, x)
			columnExp(x, peak, total, 0.125)
			for j := range nr {
				if x[j] != 1 || !(total[j] >= 1 && total[j] <= 3) {
					t.Fatalf("scores of %v: the largest became %v, the sum %v; want 1, and 1 to 3", size, x[j], total[j])
				}
			}
		}
	})
}

// TestMatMulPackedNN: what was packed for A·Wᵀ gives A·W too, whatever is left over at the edges.
func TestMatMulPackedNN(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(71, 72))
		for _, exact := range []bool{true, false} {
			for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {20, 70, 31}, {15, 1030, 40}, {9, 40, 1100}, {5, 100, 2060}} {
				m, n, k := s[0], s[1], s[2]
				a, w := random(rng, m*n).data, random(rng, n*k).data
				for i := range w {
					if exact {
						w[i] = FromHalf(ToHalf(w[i]))
					}
				}
				want, got := make([]float32, m*k), newGuarded(m*k)
				MatMulNN(want, a, w, m, k, n, Epilogue{})
				MatMulPackedNN(got.data, a, Pack(w, n, k), m)
				got.check(t, "MatMulPackedNN")
				if !slices.Equal(want, got.data) { // the same tiles on the same numbers
					t.Errorf("halves %v, m %d n %d k %d: differs from MatMulNN of the plain weights", exact, m, n, k)
				}
			}
		}
	})
}

// TestMatMulStrided compares products of parts of matrices, wide and skinny, with float64, and looks whether
// what lies between the parts is left alone.
func TestMatMulStrided(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(81, 82))
		for _, s := range [][3]int{{1, 1, 1}, {13, 16, 9}, {14, 16, 70}, {15, 5, 64}, {31, 48, 130}, {127, 17, 3}, {40, 64, 65}, {20, 65, 33}, {20, 100, 0}} {
			m, n, k := s[0], s[1], s[2]
			for mode := range 8 {
				ta, tb, add := mode&1 != 0, mode&2 != 0, mode&4 != 0
				part := func(rows, cols int, transposed bool) (Strided, func(r, c int) float32) {
					if transposed {
						rows, cols = cols, rows
					}
					x := Strided{random(rng, max(rows*(cols+3)-3, 0)).data, cols + 3, transposed}
					return x, func(r, c int) float32 {
						if transposed {
							r, c = c, r
						}
						return x.Data[r*x.Stride+c]
					}
				}
				a, atA := part(m, k, ta)
				b, atB := part(k, n, tb)
				c, _ := part(m, n, false)
				before := slices.Clone(c.Data)
				MatMulStrided(c, a, b, m, n, k, add)
				for i, got := range c.Data {
					r, col := i/c.Stride, i%c.Stride
					if col >= n {
						if got != before[i] {
							t.Fatalf("%v mode %d: element %d, which is not C's, has changed", s, mode, i)
						}
						continue
					}
					want, size := 0.0, 0.0
					if add {
						want, size = float64(before[i]), math.Abs(float64(before[i]))
					}
					for p := range k {
						v := float64(atA(r, p)) * float64(atB(p, col))
						want += v
						size += math.Abs(v)
					}
					near(t, "MatMulStrided", got, want, float64(k+2)*unit*size)
				}
			}
		}
	})
}
