package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAdd: what adds to a gradient has the bits of the sum of both, where AddsWhole says so, and writes nothing else.
func TestAdd(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(91, 92))
		for _, s := range [][3]int{{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {20, 70, 31}, {9, 40, 1024}, {5, 70, 1100}, {4, 3, 0}} {
			m, n, k := s[0], s[1], s[2]
			a, b, before := random(rng, m*k).data, random(rng, k*n).data, random(rng, m*n).data
			product := make([]float32, m*n)
			MatMulNN(product, a, b, m, n, k, Epilogue{})
			want := slices.Clone(before)
			Add(want, want, product)
			for i := range want {
				if want[i] != before[i]+product[i] {
					t.Fatalf("Add: element %d is %v, want %v + %v", i, want[i], before[i], product[i])
				}
			}
			for name, add := range map[string]func(c []float32){
				"MatMulNNAdd":       func(c []float32) { MatMulNNAdd(c, a, b, m, n, k) },
				"MatMulPackedNNAdd": func(c []float32) { MatMulPackedNNAdd(c, a, Pack(b, k, n), m) },
				"of the left":       func(c []float32) { MatMulPackedNNAdd(c, a, PackLeft(b, k, n), m) },
			} {
				got := newGuarded(m * n)
				copy(got.data, before)
				add(got.data)
				got.check(t, name)
				for i, v := range got.data {
					if AddsWhole(k) && v != want[i] {
						t.Fatalf("%s, m %d n %d k %d: element %d is %v, want %v", name, m, n, k, i, v, want[i])
					}
					near(t, name, v, float64(want[i]), 2*float64(k+3)*unit*float64(k+1))
				}
			}
		}
		for _, n := range []int{1, 7, 16, 77, 1024} {
			const m = 5
			x, gy, w := random(rng, m*n).data, random(rng, m*n).data, random(rng, n).data
			y, stats, gx := make([]float32, m*n), make([]float32, 2*m), make([]float32, m*n)
			LayerNorm(y, x, w, make([]float32, n), stats, m, n, 1e-5)
			LayerNormGrad(gx, nil, nil, gy, x, w, stats, m, n)
			got := newGuarded(m * n)
			copy(got.data, y)
			LayerNormGradAdd(got.data, gy, x, w, stats, m, n)
			got.check(t, "LayerNormGradAdd")
			if Add(y, y, gx); !slices.Equal(got.data, y) {
				t.Errorf("LayerNormGradAdd of width %d: differs from the sum", n)
			}
		}
	})
}
