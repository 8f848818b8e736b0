package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// bf16LikeAMX has the layout of AMX, and is computed by the generic routine: so the driver is tested where there is no AMX.
var bf16LikeAMX = &bf16Tile{"layout of AMX", 32, 32, 16}

// eachBF16 runs f once for every implementation of the product in bfloat16 that this processor has, with every
// implementation of the float32 routines that goes with it.
func eachBF16(t *testing.T, f func(t *testing.T)) {
	t.Cleanup(restoreBF16)
	for _, name := range Available() {
		Use(name)
		for _, tile := range append(bf16Tiles(), bf16LikeAMX) {
			bf16Chosen = tile
			t.Run(name+"/"+tile.name, f)
		}
		bf16Chosen = nil
	}
}

func restoreBF16() {
	Use("")
	bf16Chosen = nil
}

// bf16Ref is the product without its epilogue, in the order in which MatMulBF16 adds up: what it must give to the last bit,
// but with AMX, which has an order of its own.
func bf16Ref(a, w []float32, m, n, k int) []float32 {
	flush := func(x float32) float32 {
		if math.Abs(float64(x)) < 0x1p-126 {
			return 0
		}
		return x
	}
	round := func(x []float32) []float32 {
		y := make([]float32, len(x)+1) // a pair of the last
		for i, v := range x {
			if y[i] = flush(v); !finite(v) {
				continue
			}
			b := math.Float64bits(float64(y[i])) // to 8 bits: 45 of 53 are rounded away
			b += 1<<44 - 1 + b>>45&1
			y[i] = float32(math.Float64frombits(b >> 45 << 45))
		}
		return y
	}
	add := func(s, x, y float32) float32 { return flush(float32(math.FMA(float64(x), float64(y), float64(s)))) }
	c := make([]float32, m*n)
	for i := range m {
		x := round(a[i*k : (i+1)*k])
		for j := range n {
			y := round(w[j*k : (j+1)*k])
			for p0 := 0; p0 < k; p0 += 1024 {
				var s float32
				for p := p0; p < min(k, p0+1024); p += 2 {
					s = add(add(s, x[p+1], y[p+1]), x[p], y[p])
				}
				if p0 == 0 {
					c[i*n+j] = s
				} else {
					c[i*n+j] += s
				}
			}
		}
	}
	return c
}

func multiplyBF16(t *testing.T, a, w []float32, m, n, k int, e Epilogue) []float32 {
	t.Helper()
	c := newGuarded(m * n)
	MatMulBF16(c.data, a, PackBF16(w, n, k), m, e)
	c.check(t, "MatMulBF16")
	return c.data
}

// TestMatMulBF16: every small shape, and some that need several blocks, to the last bit.
func TestMatMulBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		check := func(m, n, k int) {
			a, w := random(rng, m*k).data, random(rng, n*k).data
			got, want := multiplyBF16(t, a, w, m, n, k, Epilogue{}), bf16Ref(a, w, m, n, k)
			if bf16Best() != bf16AMX {
				sameBits(t, fmt.Sprintf("m=%d n=%d k=%d", m, n, k), got, want)
				return
			}
			for i, v := range got {
				near(t, fmt.Sprintf("m=%d n=%d k=%d c[%d]", m, n, k, i), v, float64(want[i]), 2e-6*math.Sqrt(float64(k)))
			}
		}
		for _, m := range []int{0, 1, 3, 4, 5, 8, 9, 14, 15, 17} {
			for n := 0; n < 36; n += shorter(1, 5) {
				for _, k := range []int{0, 1, 2, 3, 31, 33} {
					check(m, n, k)
				}
			}
		}
		for _, s := range [][3]int{{33, 65, 64}, {29, 130, 1023}, {15, 33, 1026}, {3, 300, 2051}, {70, 5, 100}} {
			check(s[0], s[1], s[2])
		}
	})
}

// TestBF16Rows: a row has the same bits in a product of any number of rows, and with any number of threads.
func TestBF16Rows(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		const m, n, k = 47, 140, 1100
		a, w := random(rng, m*k).data, random(rng, n*k).data
		e := Epilogue{Bias: random(rng, n).data, Activation: GELU}
		runtime.GOMAXPROCS(1)
		want := multiplyBF16(t, a, w, m, n, k, e)
		for _, threads := range []int{1, 5, 2}[:shorter(3, 2)] {
			runtime.GOMAXPROCS(threads)
			for _, rows := range []int{1, 4, 5, 13, 14, 33, m} {
				if got := multiplyBF16(t, a[(m-rows)*k:], w, rows, n, k, e); !slices.Equal(got, want[(m-rows)*n:]) {
					t.Errorf("%d threads: the last %d rows have other bits than among %d", threads, rows, m)
				}
			}
		}
	})
}

// TestBF16Epilogue: every epilogue, against float64 of the rounded operands.
func TestBF16Epilogue(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, n := range []int{1, 16, 33, 300} {
			m, k := 15, shorter(520, 136)
			a, w, bias, residual := random(rng, m*k).data, random(rng, n*k).data, random(rng, n).data, random(rng, m*n).data
			for _, x := range [][]float32{a, w} {
				for i := range x {
					x[i] = fromBF16(toBF16(x[i] / 4))
				}
			}
			for _, e := range []Epilogue{
				{}, {Bias: bias}, {Residual: residual}, {Bias: bias, Residual: residual},
				{Activation: QuickGELU}, {Bias: bias, Activation: QuickGELU}, {Bias: bias, Activation: GELU},
			} {
				checkProduct(t, product{"bf16", func(c, a, w []float32, m, n, k int, e Epilogue) {
					MatMulBF16(c, a, PackBF16(w, n, k), m, e)
				}, byRow, byRow}, a, w, m, n, k, e)
			}
		}
	})
}

// TestBF16Rounding: to the nearest, ties to even; NaN, infinities and what is below the normal numbers. The assembly and Go
// give the same.
func TestBF16Rounding(t *testing.T) {
	for in, want := range map[uint32]uint16{
		0: 0, 0x80000000: 0x8000, 0x3f800000: 0x3f80,
		0x3f808000: 0x3f80, 0x3f818000: 0x3f82, 0x3f808001: 0x3f81, 0x3f80ffff: 0x3f81, 0xbf807fff: 0xbf80, // halfway and beside it
		1: 0, 0x80000001: 0x8000, 0x007fffff: 0, 0x00800000: 0x0080, // below 2⁻¹²⁶, and that
		0x7f7f7fff: 0x7f7f, 0x7f7f8000: 0x7f80, 0xff7fffff: 0xff80, // the largest, and what rounds to an infinity
		0x7f800000: 0x7f80, 0xff800000: 0xff80, 0x7f800001: 0x7fc0, 0xffc12345: 0xffc1, // infinities and NaNs
	} {
		if got := toBF16(math.Float32frombits(in)); got != want {
			t.Errorf("%08x becomes %04x, want %04x", in, got, want)
		}
	}
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for n := range 100 {
			x := make([]float32, n)
			for i := range x {
				x[i] = math.Float32frombits(rng.Uint32())
			}
			got, want := make([]uint32, (n+1)/2), make([]uint32, (n+1)/2)
			bf16Pairs(got, x)
			bf16PairsGeneric(want, x)
			if !slices.Equal(got, want) {
				t.Fatalf("%d numbers: %08x, want %08x", n, got, want)
			}
		}
	})
}

// TestTileBF16Pairs compares the tile with its definition, alone: rows of C that lie apart, and sums that are added to.
func TestTileBF16Pairs(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		tile := bf16Best()
		for _, pairs := range []int{1, 2, 3, 16, 17, 64} {
			pairs = roundUp(pairs, tile.block)
			a, b := make([]uint32, tile.mr*pairs), make([]uint32, tile.nr*pairs)
			bf16Pairs(a, random(rng, 2*len(a)).data)
			bf16Pairs(b, random(rng, 2*len(b)).data)
			for rows := 1; rows <= tile.mr; rows++ {
				for _, ldc := range []int{tile.nr, tile.nr + 5} {
					for _, add := range []bool{false, true} {
						got := random(rng, tile.mr*ldc)
						want := slices.Clone(got.data)
						bf16Sums(tile, got.data, ldc, rows, a, b, pairs, add, nil, 0)
						got.check(t, "bf16Sums")
						bf16TileGeneric(tile, want, ldc, rows, a, b, pairs, add)
						for i, w := range want {
							switch tol := 0.0; {
							case i/ldc >= rows && i%ldc < tile.nr: // anything
							default:
								if tile == bf16AMX && i%ldc < tile.nr {
									tol = 2e-6 * math.Sqrt(float64(pairs))
								}
								near(t, fmt.Sprintf("%d pairs, c[%d]", pairs, i), got.data[i], float64(w), tol)
							}
						}
					}
				}
			}
		}
	})
}

// TestBF16Special: NaN and infinities reach what they are a term of, and nothing else.
func TestBF16Special(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		const m, n, k = 17, 35, 53
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0x7f800001), math.MaxFloat32} {
			for _, at := range []int{0, 20, k - 1} {
				a, w := random(rand.New(rand.NewPCG(1, 1)), m*k).data, random(rand.New(rand.NewPCG(2, 2)), n*k).data
				a[5*k+at], w[3*k+at] = special, special
				c := multiplyBF16(t, a, w, m, n, k, Epilogue{})
				for i := range m {
					for j := range n {
						if v := c[i*n+j]; finite(v) != (i != 5 && j != 3) {
							t.Fatalf("%v: c[%d,%d] is %v", special, i, j, v)
						}
					}
				}
			}
		}
	})
}

// TestBF16Packed: weights take two bytes, stay with the tile that they were packed for, and come back as they were rounded.
func TestBF16Packed(t *testing.T) {
	const m, n, k = 20, 70, 129
	a, w := random(rand.New(rand.NewPCG(1, 1)), m*k).data, random(rand.New(rand.NewPCG(2, 2)), n*k).data
	eachBF16(t, func(t *testing.T) {
		packed := PackBF16(w, n, k)
		if gotN, gotK := packed.Shape(); gotN != n || gotK != k {
			t.Errorf("shape is [%d,%d], want [%d,%d]", gotN, gotK, n, k)
		}
		tile := bf16Best()
		if want := 2 * roundUp(n, tile.nr) * roundUp(k, 2*tile.block); packed.Bytes() != want {
			t.Errorf("%d bytes, want %d", packed.Bytes(), want)
		}
		got := newGuarded(n * k)
		packed.Unpack(got.data)
		got.check(t, "Unpack")
		for i, v := range got.data {
			if v != fromBF16(toBF16(w[i])) {
				t.Fatalf("weight %d is %v, and was %v", i, v, w[i])
			}
		}
		checkRows(t, tile.name, packed, got.data, n, k)
		if again := PackBF16(got.data, n, k); !slices.Equal(again.pairs, packed.pairs) {
			t.Error("rounded weights are rounded once more")
		}
		if tile == bf16AMX {
			return
		}
		here := Name()
		Use("generic")
		c := make([]float32, m*n)
		MatMulBF16(c, a, packed, m, Epilogue{})
		Use(here)
		sameBits(t, "generic float routines", c, bf16Ref(a, w, m, n, k))
	})
}

// TestBF16Pays: never in Go, always with AMX.
func TestBF16Pays(t *testing.T) {
	eachBF16(t, func(t *testing.T) {
		switch BF16Name() {
		case "amx-bf16":
			if !BF16Pays() {
				t.Error("AMX does not pay")
			}
		case "generic":
			if BF16Pays() {
				t.Error("Go pays")
			}
		}
	})
}

func TestBF16Panics(t *testing.T) {
	w := PackBF16(make([]float32, 10), 2, 5)
	f := func(n int) []float32 { return make([]float32, n) }
	mustPanic(t, map[string]func(){
		"c too short":            func() { MatMulBF16(f(5), f(15), w, 3, Epilogue{}) },
		"a too short":            func() { MatMulBF16(f(6), f(14), w, 3, Epilogue{}) },
		"negative m":             func() { MatMulBF16(f(6), f(15), w, -3, Epilogue{}) },
		"bias too short":         func() { MatMulBF16(f(6), f(15), w, 3, Epilogue{Bias: f(1)}) },
		"residual too short":     func() { MatMulBF16(f(6), f(15), w, 3, Epilogue{Residual: f(5)}) },
		"weights too short":      func() { PackBF16(f(9), 2, 5) },
		"negative size of W":     func() { PackBF16(nil, -1, 5) },
		"no room":                func() { w.Unpack(f(9)) },
		"activation and another": func() { MatMulBF16(f(6), f(15), w, 3, Epilogue{Residual: f(6), Activation: GELU}) },
	})
}

// FuzzMatMulBF16 compares every implementation with the reference on bytes taken as floats: NaN, infinities and subnormal
// numbers among them.
func FuzzMatMulBF16(f *testing.F) {
	f.Add([]byte("any bytes make a matrix"), uint8(7), uint8(17), uint8(9))
	f.Add([]byte{0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f, 1, 0, 0, 0}, uint8(15), uint8(33), uint8(3)) // Inf, NaN, 1e-45
	f.Add([]byte{0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xbf}, uint8(1), uint8(2), uint8(64))              // 1, -1
	f.Fuzz(func(t *testing.T, raw []byte, m8, n8, k8 uint8) {
		m, n, k := int(m8)%40, int(n8)%80, int(k8)%70
		if len(raw) < 4 {
			return
		}
		value := floatsOf(raw)
		a, w := newGuarded(m*k), newGuarded(n*k)
		for i := range a.data {
			a.data[i] = value(i)
		}
		for i := range w.data {
			w.data[i] = value(i + 3)
		}
		want := bf16Ref(a.data, w.data, m, n, k)
		defer restoreBF16()
		for _, name := range Available() {
			Use(name)
			for _, tile := range append(bf16Tiles(), bf16LikeAMX) {
				if bf16Chosen = tile; tile == bf16AMX {
					continue // another order
				}
				sameBits(t, name+"/"+tile.name, multiplyBF16(t, a.data, w.data, m, n, k, Epilogue{}), want)
			}
			bf16Chosen = nil
		}
	})
}
