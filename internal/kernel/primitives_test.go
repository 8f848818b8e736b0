package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The products meet their tiles only as far as their blocking goes. Here are the tiles themselves.

// checkTile compares a tile with float64; of C it may write whole rows of the tile, but no more than
// its columns.
func checkTile(t *testing.T, c, a, b []float32, ldc, rows, k int, accumulate bool) {
	t.Helper()
	mr, nr := tileShape()
	before := append([]float32(nil), c...)
	tile(c, ldc, rows, a, b, k, accumulate, nil, 0)
	for i := range c {
		row, col := i/ldc, i%ldc
		what := fmt.Sprintf("k=%d ldc=%d rows=%d accumulate=%v c[%d,%d]", k, ldc, rows, accumulate, row, col)
		if col >= nr {
			near(t, what+", beside the tile", c[i], float64(before[i]), 0)
		}
		if col >= nr || row >= rows {
			continue
		}
		var want, abs float64
		if accumulate {
			want = float64(before[i])
			abs = math.Abs(want)
		}
		for p := range k {
			x := float64(a[p*mr+row]) * float64(b[p*nr+col])
			want += x
			abs += math.Abs(x)
		}
		near(t, what, c[i], want, float64(k+3)*unit*abs)
	}
}

// TestTileWidening: the tile has the bits of one that widens nothing, and what it widens those of widen.
func TestTileWidening(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 24))
		mr, nr := tileShape()
		for k := range 20 {
			if !canWiden(k) {
				continue
			}
			for _, ldc := range []int{nr, nr + 3} {
				for i := range 4 {
					a, b, before := random(rng, mr*k).data, random(rng, nr*k).data, random(rng, (mr-1)*ldc+nr).data
					var residual, bias []float32
					if i%2 == 1 {
						residual, bias = random(rng, len(before)).data, random(rng, mr).data
					}
					halves := make([]uint16, mr*k)
					for j := range halves {
						halves[j] = uint16(rng.Uint32()) &^ 0x400 // no NaN
					}
					want, wantWide := slices.Clone(before), make([]float32, mr*k)
					tileAdd(want, ldc, mr, a, b, k, i < 2, nil, 0, nil, residual, bias)
					widen(wantWide, halves)
					c, wide := newGuarded(len(before)), newGuarded(mr*k)
					copy(c.data, before)
					tileWidening(c.data, ldc, a, b, k, i < 2, nil, 0, residual, bias, wide.data, halves)
					c.check(t, "c")
					wide.check(t, "wide")
					if !slices.Equal(c.data, want) || !slices.Equal(wide.data, wantWide) {
						t.Fatalf("k=%d ldc=%d residual=%v: other bits", k, ldc, residual != nil)
					}
				}
			}
		}
	})
}

// TestTile: every number of rows, every depth, rows of C close together and far apart, with and
// without what C held before.
func TestTile(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		mr, nr := tileShape()
		for rows := 1; rows <= mr; rows++ {
			for k := range 11 {
				for _, ldc := range []int{nr, nr + 3, 5 * nr} {
					for _, accumulate := range []bool{false, true} {
						a, b, c := random(rng, mr*k), random(rng, nr*k), random(rng, (mr-1)*ldc+nr)
						checkTile(t, c.data, a.data, b.data, ldc, rows, k, accumulate)
						c.check(t, "c")
					}
				}
			}
		}
	})
}

// TestPanelTiles compares products of panels with float64: every number of rows, columns that fill panels, less than
// half of one, and more, and depths around a panel's width. tileRows may write whole panels, and tileTurned writes C alone.
func TestPanelTiles(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 24))
		mr, nr := tileShape()
		check := func(what string, c guarded, before []float32, rows, cols, written, ldc, k int, accumulate bool, a, b func(i, p int) float32) {
			t.Helper()
			c.check(t, what)
			for i, got := range c.data {
				row, col := i/ldc, i%ldc
				if col >= written {
					near(t, what+", beside the tiles", got, float64(before[i]), 0)
				}
				if col >= cols || row >= rows {
					continue
				}
				var want, abs float64
				if accumulate {
					want = float64(before[i])
					abs = math.Abs(want)
				}
				for p := range k {
					x := float64(a(row, p)) * float64(b(col, p))
					want += x
					abs += math.Abs(x)
				}
				near(t, fmt.Sprintf("%s c[%d,%d]", what, row, col), got, want, float64(k+3)*unit*abs)
			}
		}
		for _, k := range []int{1, 2, 3, nr - 1, nr, nr + 1, nr + 2, 2*nr - 1, 3 * nr, 3*nr + 5} {
			for _, cols := range []int{1, nr / 2, nr/2 + 1, nr, nr + 3, 2*nr - 1} {
				panels, ldc := (cols+nr-1)/nr, roundUp(cols, nr)+3
				bApart := (k + 1) * nr
				b := random(rng, panels*bApart)
				at := func(col, p int) float32 { return b.data[col/nr*bApart+p*nr+col%nr] }
				for rows := 1; rows <= mr; rows++ {
					apart, accumulate := (mr+2)*nr, (rows+k)%2 == 0
					a, c := random(rng, (k-1)/nr*apart+mr*nr), random(rng, (mr-1)*ldc+panels*nr)
					before := slices.Clone(c.data)
					tileRows(c.data, ldc, rows, a.data, apart, b.data, bApart, cols, k, accumulate)
					check(fmt.Sprintf("tileRows rows=%d cols=%d k=%d accumulate=%v", rows, cols, k, accumulate), c, before, rows, cols, roundUp(cols, nr), ldc, k, accumulate,
						func(row, p int) float32 { return a.data[p/nr*apart+row*nr+p%nr] }, at)
				}
				for rows := 1; rows <= nr; rows++ {
					a, c := random(rng, k*nr), random(rng, (rows-1)*ldc+cols)
					before := slices.Clone(c.data)
					tileTurned(c.data, ldc, rows, a.data, b.data, bApart, cols, k)
					check(fmt.Sprintf("tileTurned rows=%d cols=%d k=%d", rows, cols, k), c, before, rows, cols, cols, ldc, k, false,
						func(row, p int) float32 { return a.data[p*nr+row] }, at)
				}
			}
		}
	})
}

// TestPackTransposed: every number of rows that a panel can have, and depths around every step.
func TestPackTransposed(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		for rows := 1; rows <= 33; rows++ {
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 71, 72, 131} {
				for _, wider := range []int{0, 3} {
					ld, stride := k+wider, rows+wider
					src := make([]float32, (rows-1)*ld+k)
					for i := range src {
						src[i] = float32(i + 1)
					}
					dst := newGuarded((k-1)*stride + rows)
					packTransposed(dst.data, stride, src, ld, rows, k)
					dst.check(t, "dst")
					for i, got := range dst.data {
						want := guardWord
						if p, r := i/stride, i%stride; r < rows {
							want = src[r*ld+p]
						}
						if math.Float32bits(got) != math.Float32bits(want) {
							t.Fatalf("rows=%d k=%d ld=%d stride=%d: dst[%d] is %v, want %v", rows, k, ld, stride, i, got, want)
						}
					}
				}
			}
		}
	})
}

// TestMax: NaNs, signalling ones too, are passed over wherever they stand.
func TestMax(t *testing.T) {
	inf := float32(math.Inf(1))
	eachImpl(t, func(t *testing.T) {
		near(t, "of nothing", maxOf(nil), math.Inf(-1), 0)
		for n := 1; n < 70; n++ {
			for at := range n {
				x := make([]float32, n)
				for _, top := range []float32{-2, 3, inf, -inf} {
					for i := range x {
						x[i] = []float32{float32(math.NaN()), guardWord, -inf, top - 1}[(i+n)%4]
					}
					x[at] = top
					near(t, fmt.Sprintf("n=%d, the largest at %d", n, at), maxOf(x), float64(top), 0)
				}
			}
		}
	})
}

// TestAdamW compares a step with float64.
func TestAdamW(t *testing.T) {
	s := AdamWStep{Keep: 0.999, Size: 0.01, Eps: 1e-4, New1: 0.1, Old2: 0.99, New2: 0.01}
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		for n := range 70 {
			w, g, m, v := random(rng, n), random(rng, n), random(rng, n), random(rng, n)
			for i, x := range v.data {
				v.data[i] = x * x
			}
			w0, m0, v0 := slices.Clone(w.data), slices.Clone(m.data), slices.Clone(v.data)
			s.Apply(w.data, g.data, m.data, v.data)
			for name, x := range map[string]guarded{"w": w, "g": g, "m": m, "v": v} {
				x.check(t, name)
			}
			for i := range w0 {
				d := float64(g.data[i])
				a := float64(m0[i]) + (d-float64(m0[i]))*float64(s.New1)
				b := float64(v0[i])*float64(s.Old2) + d*d*float64(s.New2)
				x := float64(w0[i])*float64(s.Keep) - float64(s.Size)*a/(math.Sqrt(b)+float64(s.Eps))
				near(t, "m", m.data[i], a, 4*unit*(math.Abs(float64(m0[i]))+math.Abs(d)))
				near(t, "v", v.data[i], b, 4*unit*b)
				near(t, "w", w.data[i], x, 8*unit*(math.Abs(float64(w0[i]))+float64(s.Size)*(math.Abs(float64(m0[i]))+math.Abs(d))/(math.Sqrt(b)+float64(s.Eps))))
			}
		}
	})
}

// TestGradRows compares what gradients do along rows with float64.
func TestGradRows(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 24))
		for n := range 70 {
			x, gy, gx := random(rng, n), random(rng, n), newGuarded(n)
			for i := range x.data {
				x.data[i] *= 4
			}
			if n > 3 {
				x.data[0], x.data[1] = 200, -200
			}
			quickGELUGrad(gx.data, gy.data, x.data)
			gx.check(t, "quickGELUGrad")
			for i, v := range x.data {
				s := 1 / (1 + math.Exp(-1.702*float64(v)))
				want := float64(gy.data[i]) * (s + 1.702*float64(v)*s*(1-s))
				near(t, "quickGELUGrad", gx.data[i], want, 16*unit*math.Abs(float64(gy.data[i])))
			}
			geluGrad(gx.data, gy.data, x.data)
			gx.check(t, "geluGrad")
			for i, v := range x.data {
				v := float64(v)
				want := float64(gy.data[i]) * (math.Erfc(-v/math.Sqrt2)/2 + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
				near(t, "geluGrad", gx.data[i], want, 16*unit*math.Abs(float64(gy.data[i])))
			}
			_, nr := tileShape()
			p, gs := random(rng, n*nr), random(rng, n*nr)
			p0, gs0 := slices.Clone(p.data), slices.Clone(gs.data)
			stats := make([]float32, 3*n)
			for r := range n {
				stats[3*r], stats[3*r+1], stats[3*r+2] = slices.Max(p0[r*nr:(r+1)*nr]), 1/float32(r+1), float32(r)/4
			}
			const scale = 0.5
			scoreGrad(p.data, gs.data, stats, scale)
			p.check(t, "scoreGrad's p")
			gs.check(t, "scoreGrad's gs")
			for i := range p0 {
				peak, inverse, delta := float64(stats[i/nr*3]), float64(stats[i/nr*3+1]), float64(stats[i/nr*3+2])
				want := math.Exp((float64(p0[i])-peak)*scale) * inverse
				near(t, "scoreGrad's p", p.data[i], want, 8*unit*want)
				near(t, "scoreGrad's gs", gs.data[i], want*(float64(gs0[i])-delta)*scale, 12*unit*want*(math.Abs(float64(gs0[i]))+delta))
			}
		}
	})
}

// TestLayerNormGrad compares the gradients of a norm with float64, at widths that the vectors do not divide.
func TestLayerNormGrad(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(25, 26))
		for _, n := range []int{1, 7, 8, 16, 31, 77, 300, 1024} {
			const m = 5
			x, gy, w := random(rng, m*n), random(rng, m*n), random(rng, n)
			y, stats := make([]float32, m*n), make([]float32, 2*m)
			LayerNorm(y, x.data, w.data, make([]float32, n), stats, m, n, 1e-5)
			gx, gw, gb := newGuarded(m*n), newGuarded(n), newGuarded(n)
			LayerNormGrad(gx.data, gw.data, gb.data, gy.data, x.data, w.data, stats, m, n)
			gx.check(t, "gx")
			gw.check(t, "gw")
			gb.check(t, "gb")
			wantW, wantB, sizeW := make([]float64, n), make([]float64, n), make([]float64, n)
			for r := range m {
				mean, scale := float64(stats[2*r]), float64(stats[2*r+1])
				hat := func(i int) float64 { return (float64(x.data[r*n+i]) - mean) * scale }
				var sg, sgx, size float64
				for i := range n {
					g := float64(gy.data[r*n+i])
					v := g * float64(w.data[i])
					sg, sgx, size = sg+v, sgx+v*hat(i), size+math.Abs(v)*(1+math.Abs(hat(i)))
					wantW[i], wantB[i], sizeW[i] = wantW[i]+g*hat(i), wantB[i]+g, sizeW[i]+math.Abs(g)*(1+math.Abs(hat(i)))
				}
				for i := range n {
					v := float64(gy.data[r*n+i]) * float64(w.data[i])
					want := scale * (v - sg/float64(n) - hat(i)*sgx/float64(n))
					near(t, "gx", gx.data[r*n+i], want, 8*unit*scale*(math.Abs(v)+size*(1+math.Abs(hat(i)))))
				}
			}
			for i := range n {
				near(t, "gw", gw.data[i], wantW[i], 8*unit*sizeW[i])
				near(t, "gb", gb.data[i], wantB[i], 8*unit*sizeW[i])
			}
		}
	})
}

// TestScoreGradFar: scores far below the largest have the probability 0 and no gradient, and a NaN stays.
func TestScoreGradFar(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		_, nr := tileShape()
		p, gs := make([]float32, nr), make([]float32, nr)
		for i := range p {
			p[i], gs[i] = []float32{-1000, float32(math.Inf(-1)), -1e30, 3, float32(math.NaN())}[i%5], 2
		}
		scoreGrad(p, gs, []float32{3, 0.5, 1}, 0.125)
		for i := range p {
			switch i % 5 {
			case 3:
				near(t, "p of the largest", p[i], 0.5, 0)
				near(t, "gs of the largest", gs[i], 0.0625, 0)
			case 4:
				if p[i] == p[i] || gs[i] == gs[i] {
					t.Errorf("of NaN: p %v, gs %v", p[i], gs[i])
				}
			default:
				near(t, "p", p[i], 0, 1e-30)
				near(t, "gs", gs[i], 0, 1e-30)
			}
		}
	})
}
