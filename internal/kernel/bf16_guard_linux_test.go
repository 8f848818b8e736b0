package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestBF16Fence: no routine of the product in bfloat16 reads or writes beyond its slices, whatever the tail.
func TestBF16Fence(t *testing.T) {
	a, b, c, d := newFence(t), newFence(t), newFence(t), newFence(t)
	eachBF16(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		tile := bf16Best()
		for n := 1; n <= 2*tile.nr+1; n += shorter(1, 4) {
			for _, m := range []int{1, tile.mr - 1, tile.mr, tile.mr + 1} {
				for _, k := range []int{1, 7, 8, 32, 49} {
					w := PackBF16(b.last(rng, n*k), n, k)
					for _, e := range []Epilogue{{}, {Bias: d.last(rng, n)}} {
						MatMulBF16(c.last(rng, m*n), a.last(rng, m*k), w, m, e)
					}
				}
			}
			// The packed forms lie in scratch memory that is longer than they are: the routines alone.
			bf16Pairs(asUint32(b.last(rng, (n+1)/2)), a.last(rng, n))
			pairs := roundUp(n, tile.block)
			if 4*max(tile.mr, tile.nr)*pairs > len(a.page) {
				continue
			}
			qa, qb := asUint32(a.last(rng, tile.mr*pairs)), asUint32(b.last(rng, tile.nr*pairs))
			for rows := 1; rows <= tile.mr; rows++ {
				bf16Sums(tile, c.last(rng, tile.mr*tile.nr), tile.nr, rows, qa, qb, pairs, true, nil, 0)
			}
		}
	})
}
