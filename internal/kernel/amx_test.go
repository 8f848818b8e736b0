package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// eachAMX runs f with AMX, where the processor has it, and with the generic routines. AMX is compared with these, which
// have only their sums to show.
func eachAMX(t *testing.T, f func(t *testing.T)) {
	for _, name := range []string{"amx", "generic"} {
		if slices.Contains(Available(), name) {
			t.Run(name, func(t *testing.T) {
				Use(name)
				defer Use("")
				f(t)
			})
		}
	}
}

// TestSplitBF16: a float32 is exactly the sum of its three terms, and a half of its two. The routines in use put them
// where the generic ones do.
func TestSplitBF16(t *testing.T) {
	eachAMX(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(101, 102))
		const steps = 3
		x := random(rng, steps*amxTileLen).data
		for i := range 64 { // every size that has room for three terms above 2⁻¹²⁶
			x[i] *= float32(math.Ldexp(1, rng.IntN(200)-100))
		}
		x[64], x[65] = 0, -math.MaxFloat32
		got, want := make([]uint16, 3*steps*amxTileLen), make([]uint16, 3*steps*amxTileLen)
		for _, ld := range []int{amxTile + 7, amxTile} {
			from := x
			if ld > amxTile {
				from = random(rng, amxTile*steps*ld).data
			}
			splitColumnsBF16(got, from, ld, steps)
			splitColumnsBF16Generic(want, from, ld, steps)
			if !slices.Equal(got, want) {
				t.Errorf("splitColumns of rows %d apart is not its generic version", ld)
			}
		}
		for i, v := range x {
			s, p, c := i/amxTileLen, i/amxTile%amxTile, i%amxTile
			sum := float32(0)
			for term := 2; term >= 0; term-- { // the small ones first: no sum is rounded
				sum += fromBF16(got[((s*3+term)*16+p/2)*2*amxTile+2*c+p%2])
			}
			if sum != v {
				t.Fatalf("columns: the terms of %v are %v together", v, sum)
			}
		}
		for _, ld := range []int{amxTile, steps * amxTile} { // tiles, and rows
			step := amxTileLen
			if ld > amxTile {
				step = amxTile
			}
			splitRowsBF16(got, x, ld, step, steps)
			splitRowsBF16Generic(want, x, ld, step, steps)
			if !slices.Equal(got, want) {
				t.Errorf("splitRowsBF16 of rows %d apart is not its generic version", ld)
			}
		}
		half, wide := make([]uint16, steps*amxTileLen), make([]float32, steps*amxTileLen)
		narrow(half, x)
		for i := range half {
			half[i] ^= uint16(i) << 3 & 0x3ff // all kinds of fractions
			if half[i]&0x7c00 == 0x7c00 {
				half[i] = 0x7bff // the largest
			}
		}
		widen(wide, half)
		splitHalvesBF16(got, half, steps)
		splitHalvesBF16Generic(want, half, steps)
		if !slices.Equal(got[:2*steps*amxTileLen], want[:2*steps*amxTileLen]) {
			t.Error("splitHalves is not its generic version")
		}
		for i, v := range wide {
			if sum := fromBF16(got[(i/amxTileLen*2+1)*amxTileLen+i%amxTileLen]) + fromBF16(got[i/amxTileLen*2*amxTileLen+i%amxTileLen]); sum != v {
				t.Fatalf("the terms of the half %v are %v together", v, sum)
			}
		}
	})
}

// TestTileBF16 compares the tile with its definition, for every number of terms.
func TestTileBF16(t *testing.T) {
	eachAMX(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(103, 104))
		for _, bf16Terms := range [][2]int{{2, 3}, {3, 3}, {3, 2}} {
			inA, inB := bf16Terms[0], bf16Terms[1]
			for _, steps := range []int{1, 2, 5} {
				a, b := make([]uint16, inA*steps*amxTileLen), make([]uint16, 3*steps*amxTileLen)
				x, y, h := random(rng, steps*amxTileLen).data, random(rng, steps*amxTileLen).data, make([]uint16, steps*amxTileLen)
				if narrow(h, x); inA == 2 {
					splitHalvesBF16(a, h, steps)
				} else {
					splitRowsBF16(a, x, amxTile, amxTileLen, steps)
				}
				if inB == 2 {
					for i := range y {
						y[i] = FromHalf(ToHalf(y[i]))
					}
				}
				splitColumnsBF16(b, y, amxTile, steps)
				for _, ldc := range []int{amxTile, amxTile + 5} {
					for _, accumulate := range []bool{false, true} {
						before := random(rng, amxTile*ldc)
						want := slices.Clone(before.data)
						tileBF16(before.data, ldc, a, b, inA, inB, steps, accumulate, nil, 0, nil, 0)
						before.check(t, "tileBF16")
						tileBF16Generic(want, ldc, a, b, inA, inB, steps, accumulate)
						for i, w := range want {
							tol := 0.0
							if i%ldc < amxTile {
								tol = 2e-5 * math.Sqrt(float64(steps))
							}
							near(t, fmt.Sprintf("%v, %d steps, c[%d]", bf16Terms, steps, i), before.data[i], float64(w), tol)
						}
					}
				}
			}
		}
	})
}

// TestMatMulAMXTiles: shapes on both sides of what the tile of bfloat16 computes at a time, of any operands.
func TestMatMulAMXTiles(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(105, 106))
		sizes := [][3]int{{32, 32, 32}, {33, 32, 64}, {40, 65, 33}, {31, 40, 40}, {64, 96, 1100}, {70, 45, 2080}, {129, 33, 95}}
		for _, s := range sizes[:shorter(len(sizes), 4)] {
			m, n, k := s[0], s[1], s[2]
			a, b, bias, residual := random(rng, m*k).data, random(rng, n*k).data, random(rng, n).data, random(rng, m*n).data
			for _, e := range []Epilogue{{}, {Bias: bias, Activation: QuickGELU}, {Bias: bias, Residual: residual}} {
				for _, p := range products {
					checkProduct(t, p, a, b, m, n, k, e)
				}
				for _, halves := range []bool{false, true} {
					w := slices.Clone(b)
					if halves {
						for i := range w {
							w[i] = FromHalf(ToHalf(w[i]))
						}
					}
					checkProduct(t, product{"packed", func(c, a, w []float32, m, n, k int, e Epilogue) {
						MatMulPacked(c, a, Pack(w, n, k), m, e)
					}, byRow, byRow}, a, w, m, n, k, e)
				}
			}
		}
	})
}

// TestAMXPrecision: what is left out of a product is no more than float32 rounds away: over many sums the error is not
// larger than that of multiply-adds.
func TestAMXPrecision(t *testing.T) {
	if !slices.Contains(Available(), "amx") {
		t.Skip("no AMX here")
	}
	defer Use("")
	const m, n, k = 64, 64, 1024
	rng := rand.New(rand.NewPCG(107, 108))
	a, b := random(rng, m*k).data, random(rng, n*k).data
	for i := range a { // of one sign, so that what is cut off does not cancel
		a[i], b[i] = max(a[i], -a[i]), max(b[i], -b[i])
	}
	worst := func(impl string) (worst float64) {
		Use(impl)
		c := make([]float32, m*n)
		MatMulNT(c, a, b, m, n, k, Epilogue{})
		for i := range m {
			for j := range n {
				s := 0.0
				for p := range k {
					s += float64(a[i*k+p]) * float64(b[j*k+p])
				}
				worst = max(worst, math.Abs(float64(c[i*n+j])-s)/s)
			}
		}
		return worst
	}
	if got, fma := worst("amx"), worst("avx512"); got > fma {
		t.Errorf("error %.2g of AMX, %.2g of multiply-adds", got, fma)
	}
}

// TestAMXSpecial: NaN and infinities reach what they are a term of, as NaN, and nothing else.
func TestAMXSpecial(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		const m, n, k = 40, 45, 50
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(-1)), math.Float32frombits(0x7f800001)} {
			a, b := make([]float32, m*k), make([]float32, n*k)
			for i := range b {
				b[i] = 1
			}
			a[5*k+49] = special
			c := make([]float32, m*n)
			MatMulNT(c, a, b, m, n, k, Epilogue{})
			for i, v := range c {
				if finite(v) == (i/n == 5) {
					t.Fatalf("c[%d,%d] is %v of %v", i/n, i%n, v, special)
				}
			}
		}
	})
}
