package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// int8LikeAMX has the layout of AMX, and sums of the generic routine, of which rows of C are made as of those of AMX: so the
// driver is tested where there is no AMX.
var int8LikeAMX = &int8Tile{"layout of AMX", false, 32, 32, 8, 16, 1024, 127}

// eachInt8 runs f once for every implementation of the int8 product that this processor has, with
// every implementation of the float32 routines that goes with it.
func eachInt8(t *testing.T, f func(t *testing.T)) {
	t.Cleanup(restoreInt8)
	for i, name := range Available() {
		Use(name)
		tiles := int8Tiles()
		if i == 0 {
			tiles = append(tiles, int8LikeAMX)
		}
		for _, tile := range tiles {
			int8Chosen = tile
			t.Run(name+"/"+tile.name, f)
		}
		int8Chosen = nil
	}
}

func restoreInt8() {
	Use("")
	int8Chosen = nil
}

// int8Ref is the product with its quantisation in whole numbers: what MatMulInt8 must give to the last
// bit if there is no epilogue.
func int8Ref(a, w []float32, m, n, k, limit int) []float32 {
	limits := func(x []float32) (lo, hi float32, ok bool) {
		ok = true
		for _, v := range x {
			lo, hi, ok = min(lo, v), max(hi, v), ok && finite(v)
		}
		return lo, hi, ok
	}
	inverse := func(s float32) float32 {
		if s < 0x1p-126 {
			return 0
		}
		return 1 / s
	}
	round := func(x float32) int64 { return int64(math.RoundToEven(float64(x))) }
	nan := float32(math.NaN())

	wq, ws := make([]int64, n*k), make([]float32, n)
	for j := range n {
		row := w[j*k : (j+1)*k]
		lo, hi, ok := limits(row)
		if !ok {
			ws[j] = nan
			continue
		}
		s := max(-lo, hi) / float32(limit)
		for p, v := range row {
			wq[j*k+p] = round(v * inverse(s))
		}
		if inverse(s) != 0 {
			ws[j] = s
		}
	}
	c := make([]float32, m*n)
	for i := range m {
		row := a[i*k : (i+1)*k]
		lo, hi, ok := limits(row)
		s := hi/255 - lo/255
		zero := round(-lo * inverse(s))
		for j := range n {
			var sum int64
			for p, v := range row {
				if ok {
					sum += (min(max(round(v*inverse(s))+zero, 0), 255) - zero) * wq[j*k+p]
				}
			}
			switch {
			case !ok:
				c[i*n+j] = nan
			case inverse(s) == 0:
				c[i*n+j] = 0 * ws[j]
			default:
				c[i*n+j] = float32(sum) * ws[j] * s
			}
		}
	}
	return c
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, v := range want {
		if g := got[i]; math.Float32bits(g) != math.Float32bits(v) && (g == g || v == v) && (g != 0 || v != 0) {
			t.Fatalf("%s: c[%d] is %v, want %v", what, i, g, v)
		}
	}
}

func multiplyInt8(t *testing.T, a, w []float32, m, n, k int, e Epilogue) []float32 {
	t.Helper()
	c := newGuarded(m * n)
	MatMulInt8(c.data, a, PackInt8(w, n, k), m, e)
	c.check(t, "c")
	return c.data
}

// TestInt8Exact tries every small shape, so that every tail of every tile is met.
func TestInt8Exact(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		tile := int8Best()
		for m := 0; m <= 2*tile.mr+1; m += shorter(1, 3) {
			for n := 0; n <= 2*tile.nr+1; n += 1 + n/7 {
				for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 36, 67} {
					a, w := random(rng, m*k), random(rng, n*k)
					got := multiplyInt8(t, a.data, w.data, m, n, k, Epilogue{})
					sameBits(t, fmt.Sprintf("m=%d n=%d k=%d", m, n, k), got, int8Ref(a.data, w.data, m, n, k, tile.maxWeight))
				}
			}
		}
	})
}

// TestInt8Blocks crosses every block of the driver: columns, rows and parallel items.
func TestInt8Blocks(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, s := range [][3]int{{3, 700, 1025}, {37, 515, 513}, {mcMax + 5, 33, 9}, {1, 1, 2000}, {129, 130, 131}, {5, 40, 2*4*int8Best().kcQuads + 7}} {
			m, n, k := s[0], s[1], s[2]
			a, w := random(rng, m*k), random(rng, n*k)
			got := multiplyInt8(t, a.data, w.data, m, n, k, Epilogue{})
			sameBits(t, fmt.Sprint(s), got, int8Ref(a.data, w.data, m, n, k, int8Best().maxWeight))
		}
	})
}

// TestInt8Extremes: rows of the largest and the least quantised values, where sums in 16 bits would
// saturate, and the deepest product, where sums in 32 bits are largest.
func TestInt8Extremes(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		const m, n = 3, 5
		for _, k := range []int{64, Int8MaxK} {
			a, w := make([]float32, m*k), make([]float32, n*k)
			for p := range k {
				a[p], a[k+p], a[2*k+p] = 1, -1, float32(p%2*2-1) // q is 255, 0, either
				for j, v := range []float32{1, -1, float32(p%2*2 - 1), float32(p/2%2*2 - 1), 0} {
					w[j*k+p] = v
				}
			}
			got := multiplyInt8(t, a, w, m, n, k, Epilogue{})
			sameBits(t, fmt.Sprint("k=", k), got, int8Ref(a, w, m, n, k, int8Best().maxWeight))
			near(t, "c[0,0]", got[0], float64(k), 4*unit*float64(k))
			near(t, "c[0,1]", got[1], -float64(k), 4*unit*float64(k))
		}
	})
}

// TestInt8Tile compares the sums themselves, on any bytes within the tile's limit.
func TestInt8Tile(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		tile := int8Best()
		for quads := tile.block; quads <= 40; quads += tile.block {
			a, b := asUint32(newGuarded(tile.mr*quads).data), asUint32(newGuarded(tile.nr*quads).data)
			for i := range a {
				a[i] = rng.Uint32()
			}
			for i := range b {
				for s := 0; s < 32; s += 8 {
					b[i] = b[i]<<8 | uint32(uint8(rng.IntN(2*tile.maxWeight+1)-tile.maxWeight))
				}
			}
			ld, add := tile.nr+3, quads%3 > 0
			acc := newGuarded(tile.mr*ld - 3)
			for i := range acc.data {
				if i%ld < tile.nr {
					acc.data[i] = 1 // whatever it is as a whole number, it is added to or not
				}
			}
			int8Sums(tile, asInt32(acc.data), ld, tile.mr, a, b, quads, add, nil)
			acc.check(t, "acc")
			for i := range tile.mr {
				for j := range tile.nr {
					var want int64
					if add {
						want = int64(math.Float32bits(1))
					}
					for p := range quads {
						for s := 0; s < 32; s += 8 {
							want += int64(uint8(a[p/tile.block*tile.mr*tile.block+i*tile.block+p%tile.block]>>s)) * int64(int8(b[p*tile.nr+j]>>s))
						}
					}
					if got := asInt32(acc.data)[i*ld+j]; got != int32(want) {
						t.Fatalf("quads=%d acc[%d,%d] is %d, want %d", quads, i, j, got, want)
					}
				}
				for j := tile.nr; j < ld && i < tile.mr-1; j++ {
					if asUint32(acc.data)[i*ld+j] != math.Float32bits(guardWord) {
						t.Fatalf("quads=%d: wrote between the rows of acc", quads)
					}
				}
			}
		}
	})
}

// TestInt8Finish compares what becomes of the sums of a tile, with every addend and any number of its rows.
func TestInt8Finish(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		words := int16Best()
		for _, tile := range []*int8Tile{int8Best(), words} {
			for _, depth := range []int{0, 1, 5} {
				for what := range 4 {
					ld, ldc := tile.nr+3, tile.nr+5
					ints := func(n int) []int32 {
						x := make([]int32, n)
						for i := range x {
							x[i] = int32(rng.IntN(1<<24) - 1<<23)
						}
						return x
					}
					f := int8Finish{
						ldc: ldc, columns: tile.nr, depth: depth, scales: random(rng, tile.nr).data, rowScales: random(rng, tile.mr).data,
						sums: make([]int32, tile.nr), zeroPoints: make([]int32, tile.mr), a: random(rng, tile.mr*depth).data, b: random(rng, tile.nr*depth).data,
					}
					if !tile.words {
						f.sums, f.zeroPoints = ints(tile.nr), ints(tile.mr)
					}
					if what&1 != 0 {
						f.bias = random(rng, tile.nr).data
					}
					if what&2 != 0 {
						f.residual = random(rng, tile.mr*ldc-5).data
					}
					acc := ints(tile.mr * ld)
					a, b := make([]uint32, tile.mr*tile.block), make([]uint32, tile.nr*tile.block) // 0: the sums stay
					want, g := make([]float32, tile.mr*ldc-5), f
					g.c = want
					int8FinishGeneric(tile, acc, ld, tile.mr, &g)
					for rows := 1; rows <= tile.mr; rows++ {
						c := newGuarded(rows*ldc - 5)
						g.c = c.data
						int8Sums(tile, slices.Clone(acc), ld, rows, a, b, tile.block, true, &g)
						c.check(t, "c")
						for i := range c.data {
							switch j := i % ldc; {
							case j >= tile.nr:
								if math.Float32bits(c.data[i]) != math.Float32bits(guardWord) {
									t.Fatalf("%d rows: wrote between those of C", rows)
								}
							default:
								// Several implementations round a product and its sum at once.
								tol := 1e-5 * (1 + math.Abs(float64(float32(acc[i/ldc*ld+j])-float32(f.zeroPoints[i/ldc])*float32(f.sums[j]))*float64(f.scales[j]*f.rowScales[i/ldc])))
								if depth == 0 {
									tol = 0
								}
								near(t, fmt.Sprintf("words %t, %d apart, addends %d, %d rows: c[%d,%d]", tile.words, depth, what, rows, i/ldc, j), c.data[i], float64(want[i]), tol)
							}
						}
					}
				}
			}
		}
	})
}

// TestInt8Error: an element of the product is off by what the roundings of its factors allow, with
// every epilogue.
func TestInt8Error(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		limit := float64(int8Best().maxWeight)
		for _, n := range []int{1, 7, 16, 33, 100, 300} {
			const m, k = 15, 520
			a, w := random(rng, m*k).data, random(rng, n*k).data
			for i := range a {
				a[i] /= 16 // sums of the size that activations bend
			}
			bias, residual := random(rng, n).data, random(rng, m*n).data
			for _, e := range []Epilogue{
				{}, {Bias: bias}, {Residual: residual}, {Bias: bias, Residual: residual},
				{Activation: QuickGELU}, {Bias: bias, Activation: QuickGELU}, {Bias: bias, Activation: GELU},
			} {
				c := multiplyInt8(t, a, w, m, n, k, e)
				for i := range m {
					sa := spread64(a[i*k:(i+1)*k]) / 255
					for j := range n {
						sw := 0.0
						for _, v := range w[j*k : (j+1)*k] {
							sw = max(sw, math.Abs(float64(v))/limit)
						}
						var s, tol float64
						for p := range k {
							x, y := float64(a[i*k+p]), float64(w[j*k+p])
							s += x * y
							tol += math.Abs(x)*sw/2 + math.Abs(y)*sa/2 + sa*sw/4
						}
						// The tolerance of the quantisation is much larger than that of float32.
						if e.Bias != nil {
							s += float64(e.Bias[j])
						}
						switch e.Activation {
						case QuickGELU:
							s /= 1 + math.Exp(-1.702*s)
						case GELU:
							s = s / 2 * (1 + math.Erf(s/math.Sqrt2))
						}
						if e.Residual != nil {
							s += float64(e.Residual[i*n+j])
						}
						near(t, fmt.Sprintf("%v n=%d c[%d,%d]", e.Activation, n, i, j), c[i*n+j], s, 1.14*tol) // slope of the activations
					}
				}
			}
		}
	})
}

// spread64 returns the distance from the least to the greatest of 0 and x.
func spread64(x []float32) float64 {
	var lo, hi float64
	for _, v := range x {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	return hi - lo
}

// TestInt8Special: a NaN or an infinity spoils its row or its channel and no other; the largest and the
// smallest numbers neither overflow nor divide by 0.
func TestInt8Special(t *testing.T) {
	eachInt8(t, func(t *testing.T) {
		const m, n, k = 17, 35, 53
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			for _, at := range []int{0, 20, k - 1} {
				a, w := random(rand.New(rand.NewPCG(1, 1)), m*k).data, random(rand.New(rand.NewPCG(2, 2)), n*k).data
				a[5*k+at], w[3*k+at] = special, special
				c := multiplyInt8(t, a, w, m, n, k, Epilogue{})
				for i := range m {
					for j := range n {
						if v := c[i*n+j]; (v != v) != (i == 5 || j == 3) || v == v && !finite(v) {
							t.Fatalf("%v: c[%d,%d] is %v", special, i, j, v)
						}
					}
				}
			}
		}
		for _, size := range []float32{0, 1e-45, 1e-39, 1e-37, 1e-36, 1e-30, 1e30, 1e38, math.MaxFloat32} {
			a, w := make([]float32, 2*k), make([]float32, k)
			for p := range k {
				a[p], a[k+p] = size, float32(p%2*2-1)*size
				w[p] = 1.0 / k
			}
			c := multiplyInt8(t, a, w, 2, 1, k, Epilogue{})
			tol := 0.01 * float64(size)
			if size < 255*0x1p-126 {
				tol = float64(size) // may count as 0
			}
			near(t, fmt.Sprint("even ", size), c[0], float64(size), tol)
			near(t, fmt.Sprint("alternating ", size), c[1], -float64(size)/k, tol)
		}
	})
}

// TestInt8Packed: weights stay with the tile that they were packed for, and take a quarter of float32.
func TestInt8Packed(t *testing.T) {
	const m, n, k = 20, 70, 129
	a, w := random(rand.New(rand.NewPCG(1, 1)), m*k).data, random(rand.New(rand.NewPCG(2, 2)), n*k).data
	eachInt8(t, func(t *testing.T) {
		packed := PackInt8(w, n, k)
		limit := int8Best().maxWeight
		if gotN, gotK := packed.Shape(); gotN != n || gotK != k {
			t.Errorf("shape is [%d,%d], want [%d,%d]", gotN, gotK, n, k)
		}
		nr := int8Best().nr
		if want := roundUp(n, nr) * (roundUp(k, 4*int8Best().block) + 8); packed.Bytes() != want {
			t.Errorf("%d bytes, want %d", packed.Bytes(), want)
		}
		here := Name()
		Use("generic")
		c := make([]float32, m*n)
		MatMulInt8(c, a, packed, m, Epilogue{})
		Use(here)
		sameBits(t, "generic float routines", c, int8Ref(a, w, m, n, k, limit))
	})
}

// TestInt8Pays: where a table of measurements says so.
func TestInt8Pays(t *testing.T) {
	pays := map[string]bool{
		"amx/amx-int8": true, "amx/avx512-vnni": true, "amx/avx-vnni": true, "amx/avx2": false,
		"avx512/amx-int8": true, "avx512/avx512-vnni": true, "avx512/avx-vnni": true, "avx512/avx2": false,
		"avx2/avx-vnni": true, "avx2/avx2": true,
	}
	eachInt8(t, func(t *testing.T) {
		if id := Name() + "/" + Int8Name(); Int8Pays() != pays[id] && int8Best() != int8LikeAMX {
			t.Errorf("%s: Int8Pays is %v", id, Int8Pays())
		}
	})
}

func TestInt8Panics(t *testing.T) {
	w := PackInt8(make([]float32, 10), 2, 5)
	f := func(n int) []float32 { return make([]float32, n) }
	mustPanic(t, map[string]func(){
		"c too short":            func() { MatMulInt8(f(5), f(15), w, 3, Epilogue{}) },
		"a too short":            func() { MatMulInt8(f(6), f(14), w, 3, Epilogue{}) },
		"negative m":             func() { MatMulInt8(f(6), f(15), w, -3, Epilogue{}) },
		"bias too short":         func() { MatMulInt8(f(6), f(15), w, 3, Epilogue{Bias: f(1)}) },
		"residual too short":     func() { MatMulInt8(f(6), f(15), w, 3, Epilogue{Residual: f(5)}) },
		"weights too short":      func() { PackInt8(f(9), 2, 5) },
		"negative size of W":     func() { PackInt8(nil, -1, 5) },
		"a sum that could wrap":  func() { PackInt8(f(Int8MaxK+1), 1, Int8MaxK+1) },
		"activation and another": func() { MatMulInt8(f(6), f(15), w, 3, Epilogue{Residual: f(6), Activation: GELU}) },
	})
}

// FuzzMatMulInt8 compares every implementation with the reference on bytes taken as floats: NaN,
// infinities and subnormal numbers among them.
func FuzzMatMulInt8(f *testing.F) {
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
		want := map[int][]float32{}
		for _, limit := range []int{63, 127} {
			want[limit] = int8Ref(a.data, w.data, m, n, k, limit)
		}
		defer restoreInt8()
		for _, name := range Available() {
			Use(name)
			for _, tile := range append(int8Tiles(), int8LikeAMX) {
				int8Chosen = tile
				c := multiplyInt8(t, a.data, w.data, m, n, k, Epilogue{})
				sameBits(t, name+"/"+Int8Name(), c, want[tile.maxWeight])
			}
			int8Chosen = nil
		}
	})
}

// TestInt8Unpack: every weight is within half a step of what it was, and is packed to the same bytes again.
func TestInt8Unpack(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	const n, k = 37, 70
	w := random(rng, n*k).data
	for _, tile := range append(int8Tiles(), int8LikeAMX) {
		func() {
			int8Chosen = tile
			defer func() { int8Chosen = nil }()
			q := PackInt8(w, n, k)
			got := newGuarded(n * k)
			q.Unpack(got.data)
			got.check(t, q.tile.name)
			for i, v := range got.data {
				near(t, q.tile.name, v, float64(w[i]), float64(q.scales[i/k])*(0.5+1e-5))
			}
			checkRows(t, q.tile.name, q, got.data, n, k)
			again := PackInt8(got.data, n, k)
			if !slices.Equal(again.quads, q.quads) {
				t.Errorf("%s: rounded weights are rounded once more", q.tile.name)
			}
		}()
	}
}
