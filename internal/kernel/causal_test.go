package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// causalRef is causal attention in float64: token i of an image is the last of the attention among the first
// i+1 tokens.
func causalRef(qkv []float32, images, t, heads, d int) []float64 {
	c := heads * d
	out := make([]float64, 0, images*t*c)
	for b := range images {
		for i := range t {
			first := attentionRef(qkv[b*t*3*c:(b*t+i+1)*3*c], 1, i+1, heads, d)
			out = append(out, first[i*c:]...)
		}
	}
	return out
}

func TestCausalAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, s := range [][4]int{{1, 1, 1, 1}, {2, 5, 3, 7}, {1, 29, 2, 8}, {2, 77, 1, 64}, {1, 67, 1, 33}} {
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			qkv, out := random(rng, images*tokens*3*heads*d), newGuarded(images*tokens*heads*d)
			stats := newGuarded(images * tokens * heads * 2)
			CausalAttention(out.data, qkv.data, stats.data, images, tokens, heads, d)
			out.check(t, "out")
			stats.check(t, "stats")
			for i, want := range causalRef(qkv.data, images, tokens, heads, d) {
				near(t, fmt.Sprintf("%v out[%d]", s, i), out.data[i], want, 4e-6) // as TestAttention
			}
		}
	})
}

// TestCausalAttentionGrad compares with finite differences of the float64 reference.
func TestCausalAttentionGrad(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 24))
		for _, s := range [][4]int{{1, 1, 1, 1}, {2, 5, 2, 3}, {1, 70, 1, 4}} {
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			n := images * tokens * heads * d
			qkv, gout := random(rng, 3*n), random(rng, n)
			out, stats := make([]float32, n), make([]float32, 2*images*tokens*heads)
			CausalAttention(out, qkv.data, stats, images, tokens, heads, d)
			g := newGuarded(3 * n)
			CausalAttentionGrad(g.data, gout.data, qkv.data, out, stats, images, tokens, heads, d)
			g.check(t, "gqkv")
			loss := func() (l float64) {
				for i, v := range causalRef(qkv.data, images, tokens, heads, d) {
					l += v * float64(gout.data[i])
				}
				return l
			}
			for i := 0; i < 3*n; i += 1 + n/shorter(20, 4) {
				x := qkv.data[i]
				qkv.data[i] = x + 1.0/128
				up, h := loss(), float64(qkv.data[i])
				qkv.data[i] = x - 1.0/128
				down := loss()
				h -= float64(qkv.data[i])
				qkv.data[i] = x
				near(t, fmt.Sprintf("%v gqkv[%d]", s, i), g.data[i], (up-down)/h, 2e-3) // h² times a third derivative
			}
		}
	})
}
