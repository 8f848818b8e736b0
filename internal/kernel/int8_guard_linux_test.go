package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestInt8Fence: no routine of the int8 product reads or writes beyond its slices, whatever the tail.
func TestInt8Fence(t *testing.T) {
	a, b, c, d, e, g, h := newFence(t), newFence(t), newFence(t), newFence(t), newFence(t), newFence(t), newFence(t)
	eachInt8(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		tile := int8Best()
		for n := 1; n <= 2*tile.nr+1; n++ {
			for _, m := range []int{1, tile.mr - 1, tile.mr, tile.mr + 1} {
				for _, k := range []int{1, 7, 8, 32, 49} {
					w := PackInt8(b.last(rng, n*k), n, k)
					words := PackRounded(b.last(rng, n*k), n, k, Rounding{Words: true, Apart: []int{k - 1}})
					for _, e := range []Epilogue{{}, {Bias: d.last(rng, n)}} {
						MatMulInt8(c.last(rng, m*n), a.last(rng, m*k), w, m, e)
						MatMulInt8(c.last(rng, m*n), a.last(rng, m*k), words, m, e)
					}
				}
			}
			// The packed forms lie in scratch memory that is longer than they are: the routines alone.
			x := a.last(rng, n)
			int8Limits(x)
			int8Factors(b.last(rng, n), x, d.last(rng, n))
			for _, stride := range []int{1, tile.mr, tile.nr} {
				int8Quantise(asUint32(b.last(rng, ((n+3)/4-1)*stride+1)), stride, x, 100, 128)
				int16Quantise(asUint32(b.last(rng, ((n+1)/2-1)*stride+1)), stride, x, 100)
			}
		}
		words := int16Best()
		for n := 1; n <= 40; n++ {
			fence := func(t *int8Tile, quads int) {
				f := int8Finish{
					c: c.last(rng, t.mr*t.nr), ldc: t.nr, columns: t.nr, depth: 1, scales: d.last(rng, t.nr), rowScales: e.last(rng, t.mr),
					sums: asInt32(d.last(rng, t.nr)), zeroPoints: asInt32(e.last(rng, t.mr)), a: e.last(rng, t.mr), b: d.last(rng, t.nr),
					bias: d.last(rng, t.nr), residual: g.last(rng, t.mr*t.nr),
				}
				for _, last := range []*int8Finish{nil, &f} {
					qa, qb := asUint32(a.last(rng, t.mr*quads)), asUint32(b.last(rng, t.nr*quads))
					int8Sums(t, asInt32(h.last(rng, t.mr*t.nr)), t.nr, t.mr, qa, qb, quads, last != nil, last)
				}
			}
			fence(words, n)
			fence(tile, roundUp(n/4+1, tile.block))
		}
	})
}
