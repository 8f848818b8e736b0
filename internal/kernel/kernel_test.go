package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

// eachImpl runs f once for every implementation this processor has, the generic one last.
func eachImpl(t *testing.T, f func(t *testing.T)) {
	t.Cleanup(func() { Use("") })
	for _, name := range Available() {
		t.Run(name, func(t *testing.T) {
			if !Use(name) || Name() != name {
				t.Fatalf("Use(%q) left %q in use", name, Name())
			}
			f(t)
		})
	}
}

// shorter returns the first number, or in short form the second.
func shorter(whole, short int) int {
	if testing.Short() {
		return short
	}
	return whole
}

// A guarded slice stands between words that must not change.
type guarded struct{ all, data []float32 }

const guardLen = 40

var guardWord = math.Float32frombits(0x7fa5a5a5) // a signalling NaN: reading it spoils a sum

func newGuarded(n int) guarded {
	all := make([]float32, n+2*guardLen)
	for i := range all {
		all[i] = guardWord
	}
	return guarded{all, all[guardLen : guardLen+n : guardLen+n]}
}

func (g guarded) check(t *testing.T, name string) {
	t.Helper()
	for i, v := range g.all {
		inside := i >= guardLen && i < len(g.all)-guardLen
		if !inside && math.Float32bits(v) != math.Float32bits(guardWord) {
			t.Fatalf("%s: wrote %d elements outside its slice of %d", name, i-guardLen, len(g.data))
		}
	}
}

func random(rng *rand.Rand, n int) guarded {
	g := newGuarded(n)
	for i := range g.data {
		g.data[i] = float32(rng.NormFloat64())
	}
	return g
}

// near fails unless got is within tol of want; NaN and infinities must be equal.
func near(t *testing.T, what string, got float32, want, tol float64) {
	t.Helper()
	g := float64(got)
	if math.IsNaN(want) && math.IsNaN(g) || g == want {
		return
	}
	if !(math.Abs(g-want) <= tol) {
		t.Fatalf("%s: got %v, want %v ± %v", what, got, want, tol)
	}
}

// unit is the rounding unit of float32.
const unit = 1.0 / (1 << 24)

type product struct {
	name string
	f    func(c, a, b []float32, m, n, k int, e Epilogue)
	a, b func(x []float32, i, p, rows, k int) float64 // element at row i (of C's rows or columns), depth p
}

func byRow(x []float32, i, p, rows, k int) float64   { return float64(x[i*k+p]) }
func byDepth(x []float32, i, p, rows, k int) float64 { return float64(x[p*rows+i]) }

var products = []product{
	{"NT", MatMulNT, byRow, byRow},
	{"NN", MatMulNN, byRow, byDepth},
	{"TN", MatMulTN, byDepth, byDepth},
}

// checkProduct compares a product with float64. Rounding alone may cost (k+3)·2⁻²⁴ of Σ|x||w| and
// of what the epilogue adds; the activations' slopes are at most 1.13.
func checkProduct(t *testing.T, p product, a, b []float32, m, n, k int, e Epilogue) {
	t.Helper()
	c := newGuarded(m * n)
	p.f(c.data, a, b, m, n, k, e)
	c.check(t, "c")
	for i := range m {
		for j := range n {
			var s, abs float64
			for d := range k {
				x := p.a(a, i, d, m, k) * p.b(b, j, d, n, k)
				s += x
				abs += math.Abs(x)
			}
			if e.Bias != nil {
				s += float64(e.Bias[j])
				abs += math.Abs(float64(e.Bias[j]))
			}
			tol := 1.13 * float64(k+3) * unit * abs
			switch e.Activation {
			case QuickGELU:
				s = s / (1 + math.Exp(-1.702*s))
				tol += 8 * unit * math.Abs(s)
			case GELU:
				tol += 8 * unit * math.Abs(s)
				s = s / 2 * (1 + math.Erf(s/math.Sqrt2))
			}
			if e.Residual != nil {
				s += float64(e.Residual[i*n+j])
				tol += 2 * unit * math.Abs(float64(e.Residual[i*n+j]))
			}
			near(t, fmt.Sprintf("%s m=%d n=%d k=%d c[%d,%d]", p.name, m, n, k, i, j), c.data[i*n+j], s, tol)
		}
	}
}

// TestMatMul tries every small shape, so that every tail of every tile is met.
func TestMatMul(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		mr, nr := tileShape()
		for m := 0; m <= 2*mr+1; m++ {
			for n := 0; n <= 2*nr+1; n += 1 + n/7 {
				for _, k := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 19} {
					for _, p := range products {
						a, b := random(rng, m*k), random(rng, n*k)
						checkProduct(t, p, a.data, b.data, m, n, k, Epilogue{})
					}
				}
			}
		}
	})
}

// TestMatMulBlocks crosses every block of the drivers: depth, columns, rows, and parallel items.
func TestMatMulBlocks(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		sizes := [][3]int{{3, 700, 1025}, {mcMax + 5, 33, 9}, {1, 1, 2000}, {37, 515, 513}, {129, 130, 131}}
		for _, s := range sizes[:shorter(len(sizes), 3)] {
			m, n, k := s[0], s[1], s[2]
			a, b := random(rng, m*k), random(rng, n*k)
			for _, p := range products {
				checkProduct(t, p, a.data, b.data, m, n, k, Epilogue{})
			}
		}
	})
}

func TestEpilogue(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, n := range []int{1, 7, 16, 33, 100, 300} {
			const k = 520
			m := 15 + n%2*20
			a, b := random(rng, m*k), random(rng, n*k)
			for i := range a.data {
				a.data[i] /= 16 // sums of the size that activations bend
			}
			bias, residual := random(rng, n).data, random(rng, m*n).data
			for _, e := range []Epilogue{
				{Bias: bias}, {Residual: residual}, {Bias: bias, Residual: residual},
				{Activation: QuickGELU}, {Bias: bias, Activation: QuickGELU}, {Bias: bias, Activation: GELU},
			} {
				checkProduct(t, products[0], a.data, b.data, m, n, k, e)
			}
		}
	})
}

// TestMatMulSpecial: a NaN or an infinity reaches every element that it is a term of, and no other.
func TestMatMulSpecial(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		const m, n, k = 17, 35, 21
		for _, special := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
			a, b := make([]float32, m*k), make([]float32, n*k)
			for i := range b {
				b[i] = 1
			}
			b[3*k+20] = 0 // 0·Inf is NaN: zeros are not skipped
			a[5*k+20] = special
			c := make([]float32, m*n)
			MatMulNT(c, a, b, m, n, k, Epilogue{})
			for i := range m {
				for j := range n {
					want := float32(0)
					switch {
					case i == 5 && j == 3:
						want = float32(math.NaN())
					case i == 5:
						want = special
					}
					near(t, fmt.Sprintf("c[%d,%d]", i, j), c[i*n+j], float64(want), 0)
				}
			}
		}
	})
}

func TestMatMulPanics(t *testing.T) {
	for _, p := range products {
		for short := range 3 {
			s := [3][]float32{make([]float32, 6), make([]float32, 15), make([]float32, 10)}
			s[short] = s[short][1:]
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic for a short slice %d", p.name, short)
					}
				}()
				p.f(s[0], s[1], s[2], 3, 2, 5, Epilogue{})
			}()
		}
		for i, e := range []Epilogue{
			{Bias: make([]float32, 1)}, {Residual: make([]float32, 5)}, {Residual: make([]float32, 6), Activation: GELU},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic for epilogue %d", p.name, i)
					}
				}()
				p.f(make([]float32, 6), make([]float32, 15), make([]float32, 10), 3, 2, 5, e)
			}()
		}
	}
}

func TestLayerNorm(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 8))
		for n := 1; n < 70; n++ {
			const m, eps = 3, 1e-5
			x, w, b := random(rng, m*n), random(rng, n), random(rng, n)
			for i := range x.data {
				x.data[i] += 10 // a mean that cancels
			}
			y, stats := newGuarded(m*n), newGuarded(2*m)
			LayerNorm(y.data, x.data, w.data, b.data, stats.data, m, n, eps)
			y.check(t, "y")
			stats.check(t, "stats")
			for r := range m {
				var mean, variance float64
				for _, v := range x.data[r*n : (r+1)*n] {
					mean += float64(v) / float64(n)
				}
				for _, v := range x.data[r*n : (r+1)*n] {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				s := 1 / math.Sqrt(variance+eps)
				for j := range n {
					want := (float64(x.data[r*n+j])-mean)*s*float64(w.data[j]) + float64(b.data[j])
					// The mean is wrong by up to n·2⁻²⁴ of the mean size, 12; scale makes the most of it.
					tol := float64(n+8) * unit * 12 * s * (math.Abs(float64(w.data[j])) + 1) * 4
					near(t, fmt.Sprintf("n=%d y[%d,%d]", n, r, j), y.data[r*n+j], want, tol)
				}
			}
		}
	})
}

func TestSoftmax(t *testing.T) {
	inf := float32(math.Inf(1))
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		for n := 1; n < 70; n++ {
			x, y := random(rng, 2*n), newGuarded(2*n)
			for i := range x.data {
				x.data[i] *= 30
			}
			x.data[n/2] = -inf
			x.data[n+n/2] = 1000
			if n == 1 {
				x.data[0] = -1000
			}
			Softmax(y.data, x.data, 2, n)
			y.check(t, "y")
			for r := range 2 {
				row := x.data[r*n : (r+1)*n]
				peak, total := math.Inf(-1), 0.0
				for _, v := range row {
					peak = max(peak, float64(v))
				}
				for _, v := range row {
					total += math.Exp(float64(v) - peak)
				}
				for j, v := range row {
					want := math.Exp(float64(v)-peak) / total
					near(t, fmt.Sprintf("n=%d y[%d,%d]", n, r, j), y.data[r*n+j], want, (float64(n+8)+math.Abs(float64(v)-peak))*unit*want+1e-37) // x-max is rounded once
				}
			}
		}
		for _, bad := range []float32{float32(math.NaN()), inf} {
			x, y := make([]float32, 37), make([]float32, 37)
			x[11] = bad
			Softmax(y, x, 1, 37)
			for j, v := range y {
				if v == v {
					t.Fatalf("softmax with a %v: y[%d] is %v, want NaN", bad, j, v)
				}
			}
		}
	})
}

// TestActivate sweeps the line, specials included.
func TestActivate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	xs := []float64{0, math.Copysign(0, -1), nan, inf, 1e-30, -1e-30, 1e-42, 88, -88, 52, -52, 104, -104, 1e30, -1e30, math.MaxFloat32}
	for v := -30.0; v < 30; v += 0.0137 {
		xs = append(xs, v)
	}
	eachImpl(t, func(t *testing.T) {
		for f, ref := range map[Activation]func(float64) float64{
			QuickGELU: func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) },
			GELU:      func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
		} {
			x, y := newGuarded(len(xs)), newGuarded(len(xs))
			for i, v := range xs {
				x.data[i] = float32(v)
			}
			Activate(y.data, x.data, f)
			y.check(t, "y")
			for i, v := range x.data {
				// 1+erf cancels for negative x, in PyTorch's float32 as here: 2⁻²² of x, absolute.
				near(t, fmt.Sprintf("%s(%v)", f, v), y.data[i], ref(float64(v)), 4*unit*math.Min(math.Abs(float64(v)), 10)+1e-37+8*unit*math.Abs(ref(float64(v))))
			}
		}
	})
}

// TestExp: within 2 units in the last place over the whole range, subnormal results included.
func TestExp(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		var x []float32
		for v := float32(-110); v < 95; v += 0.0103 {
			x = append(x, v)
		}
		x = append(x, 0, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e9, -1e9)
		y := make([]float32, len(x))
		expSum(y, x, 0, 1)
		for i, v := range x {
			want := math.Exp(float64(v))
			if want > math.MaxFloat32 {
				want = math.Inf(1)
			}
			near(t, fmt.Sprintf("exp(%v)", v), y[i], want, 4*unit*want+1.5e-45)
		}
	})
}

// attentionRef is attention in float64, with its matrix.
func attentionRef(qkv []float32, images, t, heads, d int) []float64 {
	c := heads * d
	out := make([]float64, images*t*c)
	for b := range images {
		for h := range heads {
			for i := range t {
				s := make([]float64, t)
				peak, total := math.Inf(-1), 0.0
				for j := range t {
					for e := range d {
						s[j] += float64(qkv[(b*t+i)*3*c+h*d+e]) * float64(qkv[(b*t+j)*3*c+c+h*d+e])
					}
					s[j] /= math.Sqrt(float64(d))
					peak = max(peak, s[j])
				}
				for j := range s {
					s[j] = math.Exp(s[j] - peak)
					total += s[j]
				}
				for j := range s {
					for e := range d {
						out[(b*t+i)*c+h*d+e] += s[j] / total * float64(qkv[(b*t+j)*3*c+2*c+h*d+e])
					}
				}
			}
		}
	}
	return out
}

func TestAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, s := range [][4]int{{1, 1, 1, 1}, {2, 5, 3, 7}, {1, 29, 2, 8}, {2, 50, 2, 64}, {1, 67, 1, 33}, {1, 577, 1, 64},
			{1, 257, 2, 80}, {2, 50, 1, 88}, {1, 65, 2, 104}} { // heads of OpenCLIP's H/14, g/14 and bigG/14
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			qkv, out := random(rng, images*tokens*3*heads*d), newGuarded(images*tokens*heads*d)
			stats := newGuarded(images * tokens * heads * 2)
			Attention(out.data, qkv.data, stats.data, images, tokens, heads, d)
			out.check(t, "out")
			stats.check(t, "stats")
			for i, want := range attentionRef(qkv.data, images, tokens, heads, d) {
				// A score is wrong by d·2⁻²⁴ of about d, and its exponential by as much, relatively.
				near(t, fmt.Sprintf("%v out[%d]", s, i), out.data[i], want, 4e-6)
			}
		}
	})
}

// TestAttentionGrad compares with finite differences of the float64 reference.
func TestAttentionGrad(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		for _, s := range [][4]int{{1, 1, 1, 1}, {2, 5, 2, 3}, {1, 70, 1, 4}, {1, 9, 2, 80}, {1, 17, 1, 88}, {1, 7, 1, 104}} {
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			n := images * tokens * heads * d
			qkv, gout := random(rng, 3*n), random(rng, n)
			out, stats := make([]float32, n), make([]float32, 2*images*tokens*heads)
			Attention(out, qkv.data, stats, images, tokens, heads, d)
			g := newGuarded(3 * n)
			AttentionGrad(g.data, gout.data, qkv.data, out, stats, images, tokens, heads, d)
			g.check(t, "gqkv")
			loss := func() (l float64) {
				for i, v := range attentionRef(qkv.data, images, tokens, heads, d) {
					l += v * float64(gout.data[i])
				}
				return l
			}
			for i := 0; i < 3*n; i += 1 + n/40 {
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

// TestAttentionAlone: an image has the same bits alone and among others, with any number of threads, and so has its gradient.
func TestAttentionAlone(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const images, heads, d = 9, 2, 24
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(17, 18))
		for _, tokens := range []int{7, 70} {
			n := tokens * heads * d // of an image
			qkv, gout := random(rng, images*3*n).data, random(rng, images*n).data
			of := func(from, images, threads int, causal bool) (out, grad []float32) {
				runtime.GOMAXPROCS(threads)
				forward, gradient := Attention, AttentionGrad
				if causal {
					forward, gradient = CausalAttention, CausalAttentionGrad
				}
				out, grad = make([]float32, images*n), make([]float32, 3*images*n)
				stats := make([]float32, 2*images*tokens*heads)
				forward(out, qkv[3*from*n:], stats, images, tokens, heads, d)
				gradient(grad, gout[from*n:], qkv[3*from*n:], out, stats, images, tokens, heads, d)
				return out, grad
			}
			for _, causal := range []bool{false, true} {
				out, grad := of(0, images, 1, causal)
				for _, threads := range []int{1, 2, 7} {
					for _, from := range []int{0, 4, images - 1} {
						alone, alonesGrad := of(from, 1, threads, causal)
						if !slices.Equal(alone, out[from*n:][:n]) || !slices.Equal(alonesGrad, grad[3*from*n:][:3*n]) {
							t.Errorf("%d tokens, causal %t, %d threads: image %d has other bits alone", tokens, causal, threads, from)
						}
					}
				}
			}
		}
	})
}

// attentionGradRef is the gradient of attentionRef, or of causal attention, in float64.
func attentionGradRef(gout, qkv []float32, images, t, heads, d int, causal bool) []float64 {
	c := heads * d
	g := make([]float64, images*t*3*c)
	for b := range images {
		for h := range heads {
			x := func(part, token, e int) float64 { return float64(qkv[(b*t+token)*3*c+part*c+h*d+e]) }
			for i := range t {
				n := t
				if causal {
					n = i + 1
				}
				p, gp := make([]float64, n), make([]float64, n)
				peak, total, mean := math.Inf(-1), 0.0, 0.0
				for j := range n {
					for e := range d {
						p[j] += x(0, i, e) * x(1, j, e) / math.Sqrt(float64(d))
						gp[j] += float64(gout[(b*t+i)*c+h*d+e]) * x(2, j, e)
					}
					peak = max(peak, p[j])
				}
				for j := range n {
					p[j] = math.Exp(p[j] - peak)
					total += p[j]
				}
				for j := range n {
					p[j] /= total
					mean += p[j] * gp[j]
				}
				for j := range n {
					gs := p[j] * (gp[j] - mean) / math.Sqrt(float64(d))
					for e := range d {
						g[(b*t+i)*3*c+h*d+e] += gs * x(1, j, e)
						g[(b*t+j)*3*c+c+h*d+e] += gs * x(0, i, e)
						g[(b*t+j)*3*c+2*c+h*d+e] += p[j] * float64(gout[(b*t+i)*c+h*d+e])
					}
				}
			}
		}
	}
	return g
}

// TestAttentionGradSizes compares with float64: every number of keys beyond the last whole panel, and several groups
// of panels. An image has the same bits alone and in a batch.
func TestAttentionGradSizes(t *testing.T) {
	sizes := [][4]int{{2, 50, 2, 64}, {1, 197, 1, 64}, {1, 257, 1, 80}, {1, 224, 1, 24}, {1, 400, 1, 8}}
	for tokens := 1; tokens <= 67; tokens++ {
		sizes = append(sizes, [4]int{1, tokens, 2, 5 + tokens%13})
	}
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(15, 16))
		for i, s := range sizes {
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			n := images * tokens * heads * d
			qkv, gout := random(rng, 3*n), random(rng, n)
			out, stats := make([]float32, n), newGuarded(2*images*tokens*heads)
			forward, gradient := Attention, AttentionGrad
			if i%2 == 1 {
				forward, gradient = CausalAttention, CausalAttentionGrad
			}
			forward(out, qkv.data, stats.data, images, tokens, heads, d)
			g := newGuarded(3 * n)
			gradient(g.data, gout.data, qkv.data, out, stats.data, images, tokens, heads, d)
			g.check(t, "gqkv")
			for at, want := range attentionGradRef(gout.data, qkv.data, images, tokens, heads, d, i%2 == 1) {
				near(t, fmt.Sprintf("%v gqkv[%d]", s, at), g.data[at], want, 1e-5)
			}
			if images > 1 {
				alone, m := make([]float32, 3*n/images), n/images
				gradient(alone, gout.data[n-m:], qkv.data[3*(n-m):], out[n-m:], stats.data[2*(images-1)*tokens*heads:], 1, tokens, heads, d)
				if !slices.Equal(alone, g.data[3*(n-m):]) {
					t.Errorf("%v: the last image has other bits alone", s)
				}
			}
		}
	})
}

// TestAttentionAtGrad compares the gradient of one query an image with float64, the query at the first, the last and other tokens,
// with any number of threads.
func TestAttentionAtGrad(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(17, 18))
		for i, s := range [][4]int{{1, 1, 1, 1}, {2, 5, 2, 3}, {3, 50, 2, 64}, {2, 77, 3, 20}, {1, 197, 1, 80}, {3, 33, 1, 17}} {
			images, tokens, heads, d := s[0], s[1], s[2], s[3]
			c := heads * d
			qkv, gout := random(rng, 3*images*tokens*c), random(rng, images*c)
			for _, causal := range []bool{false, true} {
				runtime.GOMAXPROCS(1 + i%3)
				rows, all := make([]int, images), make([]float32, images*tokens*c)
				for b := range rows {
					rows[b] = b*tokens + []int{0, tokens - 1, tokens / 2}[(b+i)%3]
					copy(all[rows[b]*c:][:c], gout.data[b*c:])
				}
				g := newGuarded(len(qkv.data))
				AttentionAtGrad(g.data, gout.data, qkv.data, rows, tokens, heads, d, causal)
				g.check(t, "gqkv")
				for at, want := range attentionGradRef(all, qkv.data, images, tokens, heads, d, causal) {
					near(t, fmt.Sprintf("%v, causal %v, gqkv[%d]", s, causal, at), g.data[at], want, 1e-5)
				}
			}
		}
		AttentionAtGrad(nil, nil, nil, nil, 5, 2, 8, false)
	})
}

// TestBuffers: every size fits its class, wastes little, and comes back as what it was.
func TestBuffers(t *testing.T) {
	last := -1
	for n := 0; n < 5000; n++ {
		class, size := classOf(n)
		if size < n || n > 8 && float64(size) > 1.25*float64(n) {
			t.Fatalf("class of %d has %d floats", n, size)
		}
		if class < last || class > last+1 {
			t.Fatalf("class of %d is %d after %d", n, class, last)
		}
		last = class
		if again, _ := classOf(size); again != class {
			t.Fatalf("%d floats are of class %d, the class %d of %d has that size", size, again, class, n)
		}
	}
	if class, _ := classOf(math.MaxInt32); class >= len(buffers) {
		t.Errorf("class %d of %d", class, len(buffers))
	}
	Put(Get(100)[:3])
	if x := Get(97); len(x) != 97 {
		t.Errorf("got %d floats, want 97", len(x))
	}
}

func TestUse(t *testing.T) {
	before := Name()
	for _, name := range []string{"no such kernel", "avx", "generic "} {
		if Use(name) || Name() != before {
			t.Errorf("Use(%q) left %q in use, want %q", name, Name(), before)
		}
	}
}
