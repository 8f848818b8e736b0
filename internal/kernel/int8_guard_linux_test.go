package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestInt8Fence: no routine of the int8 product reads or writes beyond its slices, whatever the tail.
func TestInt8Fence(t *testing.T) {
	a, b, c, d := newFence(t), newFence(t), newFence(t), newFence(t)
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
			acc, sums, y := asInt32(a.last(rng, n)), asInt32(b.last(rng, n)), c.last(rng, n)
			int8Dequantise(y, acc, sums, d.last(rng, n), 3, 0.5)
			x := a.last(rng, n)
			int8Limits(x)
			int8Factors(b.last(rng, n), x, d.last(rng, n))
			for _, stride := range []int{1, tile.mr, tile.nr} {
				int8Quantise(asUint32(b.last(rng, ((n+3)/4-1)*stride+1)), stride, x, 100, 128)
				int16Quantise(asUint32(b.last(rng, ((n+1)/2-1)*stride+1)), stride, x, 100)
			}
			words := int16Best()
			int8Sums(words, asInt32(c.last(rng, words.mr*words.nr)), words.nr, asUint32(a.last(rng, words.mr*n)), asUint32(b.last(rng, words.nr*n)), n, y, 1)
			quads := roundUp(n/4+1, tile.block)
			qa, qb := asUint32(a.last(rng, tile.mr*quads)), asUint32(b.last(rng, tile.nr*quads))
			int8Sums(tile, asInt32(c.last(rng, tile.mr*tile.nr)), tile.nr, qa, qb, quads, y, 1)
		}
	})
}
