package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// someHalves fills rows with halves of all sizes.
func someHalves(rng *rand.Rand, rows []uint16) {
	for i := range rows {
		rows[i] = ToHalf(float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(8)-6))))
	}
}

// exactDot is the product of a row of halves with x, and that of their sizes.
func exactDot(row []uint16, x []float32) (sum, abs float64) {
	for j, h := range row {
		p := float64(FromHalf(h)) * float64(x[j])
		sum += p
		abs += math.Abs(p)
	}
	return sum, abs
}

// TestDotHalves: every small shape and the widths of models, against float64, within the error that is promised.
func TestDotHalves(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		check := func(n, k int) {
			rows, x, y := make([]uint16, n*k), random(rng, k).data, newGuarded(n)
			someHalves(rng, rows)
			DotHalves(y.data, rows, x)
			y.check(t, "y")
			for i, v := range y.data {
				want, abs := exactDot(rows[i*k:][:k], x)
				near(t, "ExactDot", float32(ExactDot(rows[i*k:][:k], x)), want, unit*abs)
				near(t, fmt.Sprintf("n=%d k=%d row %d", n, k, i), v, want, float64(k+8)*unit*abs)
				alone := []float32{0}
				if DotHalves(alone, rows[i*k:][:k], x); alone[0] != v {
					t.Fatalf("n=%d k=%d row %d: %v, and %v alone", n, k, i, v, alone[0])
				}
			}
		}
		for n := range 10 {
			for k := range 70 {
				check(n, k)
			}
		}
		for _, k := range []int{512, 640, 768, 1024} {
			check(13, k)
		}
	})
}

// TestDotHalvesInfinite: infinities and NaN of halves are found in the products.
func TestDotHalvesInfinite(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		for k := 1; k < 40; k++ {
			for _, bad := range []uint16{0x7c00, 0xfc00, 0x7e00} {
				rows, x, y := make([]uint16, 5*k), make([]float32, k), make([]float32, 5)
				for j := range x {
					x[j] = 1
				}
				rows[2*k+k/2] = bad
				DotHalves(y, rows, x)
				for i, v := range y {
					if (v-v != 0) != (i == 2) {
						t.Fatalf("k=%d: row %d is %v with %#x in row 2", k, i, v, bad)
					}
				}
			}
		}
	})
}

// TestDotBytes: exact in every small shape, and at the extremes.
func TestDotBytes(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for n := range 10 {
			for _, k := range []int{0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 63, 512, 768, 1024} {
				rows, x, y := make([]int8, n*k), make([]int16, k), newGuarded(n)
				for i := range rows {
					rows[i] = int8(rng.IntN(256) - 128)
				}
				for i := range x {
					x[i] = int16(rng.IntN(16384) - 8192)
				}
				if n > 2 && k > 0 {
					for j := range k {
						rows[k+j], rows[2*k+j] = -128, 127
					}
				}
				DotBytes(asInt32(y.data), rows, x)
				y.check(t, "y")
				for i, got := range asInt32(y.data) {
					want := int32(0)
					for j := range k {
						want += int32(rows[i*k+j]) * int32(x[j])
					}
					if got != want {
						t.Fatalf("n=%d k=%d row %d: got %d, want %d", n, k, i, got, want)
					}
				}
			}
		}
	})
}

// TestQueries: every number of rows and some of queries, against float64, within the error that is promised.
func TestQueries(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		_, nr := tileShape()
		for _, n := range []int{1, 2, nr - 1, nr, nr + 1, 2 * nr, 2*nr + 3} {
			for _, k := range []int{0, 1, 2, 3, 7, 8, 17, 33, 768} {
				x := random(rng, n*k).data
				q := PackQueries(x, n, k)
				mr, nr := q.Shape()
				peak := make([]float32, nr)
				for m := range mr + 1 {
					rows, ahead := make([]uint16, m*k), make([]uint16, rng.IntN(3)*m*k)
					someHalves(rng, rows)
					c := newGuarded(q.Panels() * mr * nr)
					q.Dot(c.data, rows, m, ahead)
					c.check(t, "c")
					for j := range n {
						panel := c.data[j/nr*mr*nr:]
						q.Max(peak, panel[:m*nr])
						most := float32(math.Inf(-1))
						for i := range m {
							got := panel[i*nr+j%nr]
							want, abs := exactDot(rows[i*k:][:k], x[j*k:][:k])
							near(t, fmt.Sprintf("n=%d k=%d m=%d c[%d,%d]", n, k, m, i, j), got, want, float64(k+8)*unit*abs)
							most = max(most, got)
						}
						if got := peak[j%nr]; got != most {
							t.Fatalf("n=%d k=%d m=%d: the largest of query %d is %v, want %v", n, k, m, j, got, most)
						}
					}
				}
			}
		}
	})
}

// TestScanPanics: lengths that do not agree are mistakes of the program.
func TestScanPanics(t *testing.T) {
	q := PackQueries(make([]float32, 12), 3, 4)
	mr, nr := q.Shape()
	mustPanic(t, map[string]func(){
		"DotHalves":       func() { DotHalves(make([]float32, 2), make([]uint16, 7), make([]float32, 4)) },
		"DotBytes":        func() { DotBytes(make([]int32, 2), make([]int8, 9), make([]int16, 4)) },
		"PackQueries":     func() { PackQueries(make([]float32, 11), 3, 4) },
		"Queries.Dot":     func() { q.Dot(make([]float32, 7), make([]uint16, 4), 1, nil) },
		"Queries.Dot row": func() { q.Dot(make([]float32, mr*nr), make([]uint16, 4*mr+4), mr+1, nil) },
		"Queries.Max":     func() { q.Max(make([]float32, 1), make([]float32, 5)) },
	})
}
