package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// measure runs f between measurements of the peak and reports the fraction of it that f reaches, which it returns.
func measure(b *testing.B, flops float64, f func()) float64 {
	var ratio, seconds, rounds float64
	f()
	for b.Loop() {
		b.StopTimer()
		p := Peak()
		b.StartTimer()
		start := time.Now()
		for range 4 {
			f()
		}
		s := time.Since(start).Seconds()
		ratio += 4 * flops / s / p
		seconds += s
		rounds++
	}
	b.ReportMetric(ratio/rounds, "peak")
	b.ReportMetric(4*rounds*flops/seconds/1e9, "GFLOP/s")
	return ratio / rounds
}

// BenchmarkMatMul: the products of ViT-L/14-336, one image.
func BenchmarkMatMul(b *testing.B) {
	for _, s := range []struct {
		name    string
		m, n, k int
	}{
		{"qkv", 577, 3072, 1024}, {"out", 577, 1024, 1024}, {"up", 577, 4096, 1024}, {"down", 577, 1024, 4096},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		x, w, y := random(rng, s.m*s.k).data, random(rng, s.n*s.k).data, make([]float32, s.m*s.n)
		for i, v := range w {
			w[i] = FromHalf(ToHalf(v)) // as published weights are
		}
		for _, impl := range Available() {
			b.Run(fmt.Sprintf("%s/packed/%s", s.name, impl), func(b *testing.B) {
				Use(impl)
				defer Use("")
				p := Pack(w, s.n, s.k)
				measure(b, 2*float64(s.m)*float64(s.n)*float64(s.k), func() { MatMulPacked(y, x, p, s.m, Epilogue{}) })
			})
			for _, p := range products {
				b.Run(fmt.Sprintf("%s/%s/%s", s.name, p.name, impl), func(b *testing.B) {
					Use(impl)
					defer Use("")
					measure(b, 2*float64(s.m)*float64(s.n)*float64(s.k), func() {
						p.f(y, x, w, s.m, s.n, s.k, Epilogue{})
					})
				})
			}
		}
	}
}

// BenchmarkAttention: one layer of ViT-L/14-336, one image.
func BenchmarkAttention(b *testing.B) {
	for _, s := range [][2]int{{10, 64}, {50, 64}, {197, 64}, {577, 64}, {257, 80}, {257, 88}, {257, 104}} { // ViT-L/14-336; OpenCLIP's H/14, g/14, bigG/14
		t, d := s[0], s[1]
		const h = 16
		qkv, out := random(rand.New(rand.NewPCG(1, 1)), t*3*h*d).data, make([]float32, t*h*d)
		for _, impl := range Available() {
			b.Run(fmt.Sprintf("%dx%d/%s", t, d, impl), func(b *testing.B) {
				Use(impl)
				defer Use("")
				measure(b, float64(4*t*t*h*d), func() { Attention(out, qkv, nil, 1, t, h, d) })
			})
		}
	}
}

// BenchmarkAttentionGrad: the gradient of a layer, as a fraction of the peak by the four products that it consists of, and
// by the five that it computes: the scores are computed again.
func BenchmarkAttentionGrad(b *testing.B) {
	for _, s := range [][3]int{{1, 577, 64}, {1, 257, 64}, {1, 197, 64}, {8, 50, 64}, {1, 1024, 64}, {1, 257, 80}} {
		images, t, d := s[0], s[1], s[2]
		const h = 16
		n := images * t * h * d
		qkv, gout := random(rand.New(rand.NewPCG(1, 1)), 3*n).data, random(rand.New(rand.NewPCG(1, 2)), n).data
		out, stats, g := make([]float32, n), make([]float32, 2*images*t*h), make([]float32, 3*n)
		for _, impl := range Available() {
			b.Run(fmt.Sprintf("%dx%dx%d/%s", images, t, d, impl), func(b *testing.B) {
				Use(impl)
				defer Use("")
				Attention(out, qkv, stats, images, t, h, d)
				four := measure(b, float64(8*t*n), func() { AttentionGrad(g, gout, qkv, out, stats, images, t, h, d) })
				b.ReportMetric(four*5/4, "peak(5)")
			})
		}
	}
}

// BenchmarkRows: what lies between the products, as time per element.
func BenchmarkRows(b *testing.B) {
	const m, n = 577, 4096
	x, y, r := random(rand.New(rand.NewPCG(1, 1)), m*n).data, make([]float32, m*n), make([]float32, n)
	for _, impl := range Available() {
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"layernorm", func() { LayerNorm(y, x, r, r, nil, m, n, 1e-5) }},
			{"softmax", func() { Softmax(y, x, m, n) }},
			{"quickgelu", func() { Activate(y, x, QuickGELU) }},
			{"gelu", func() { Activate(y, x, GELU) }},
		} {
			b.Run(c.name+"/"+impl, func(b *testing.B) {
				Use(impl)
				defer Use("")
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(m*n), "ns/element")
			})
		}
	}
}
