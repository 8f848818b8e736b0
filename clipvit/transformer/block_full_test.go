package transformer

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
)

// scrambled and drawn are mix and draw of testdata/gen/block.py: every float is exact.
func scrambled(i int) uint32 {
	x := uint32(i) * 2654435761
	x ^= x >> 15
	x *= 2246822519
	return x ^ x>>13
}

func drawn(at, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scrambled(at+i)>>8)*(1.0/(1<<22)) - 2
	}
	return v
}

// A fullBlock is a block of ViT-L/14-336 with the weights, the input and the gradient of the output that
// testdata/gen/block.py draws, and what PyTorch computes with them.
type fullBlock struct {
	want    *golden.File
	tokens  int
	block   *Block
	x, gy   []float32
	vectors [2][]float32 // of the scalar products
}

func newFullBlock(t *testing.T) *fullBlock {
	f := &fullBlock{want: golden.Load(t, "testdata/tiny/block_full.npz"), tokens: 577}
	c := Config{Width: 1024, Heads: 16, MLPWidth: 4096, Activation: QuickGELU, NormEps: 1e-5}
	f.block = NewBlock(c)
	at := 0
	draw := func(n int, scale, mean float32) []float32 {
		v := drawn(at, n)
		for i := range v {
			v[i] = v[i]*scale + mean // in float32, as numpy: the product is exact
		}
		at += n
		return v
	}
	f.x = draw(f.tokens*c.Width, 1, 0)
	f.gy = draw(f.tokens*c.Width, 1.0/8, 0)
	b := f.block
	for _, p := range []struct {
		*nn.Param
		scale, mean float32
	}{
		{b.Norm1.W, 1.0 / 16, 1}, {b.Norm1.B, 1.0 / 16, 0},
		{b.Attn.QKV.W, 1.0 / 32, 0}, {b.Attn.QKV.B, 1.0 / 16, 0},
		{b.Attn.Out.W, 1.0 / 32, 0}, {b.Attn.Out.B, 1.0 / 16, 0},
		{b.Norm2.W, 1.0 / 16, 1}, {b.Norm2.B, 1.0 / 16, 0},
		{b.MLP.Up.W, 1.0 / 32, 0}, {b.MLP.Up.B, 1.0 / 16, 0},
		{b.MLP.Down.W, 1.0 / 64, 0}, {b.MLP.Down.B, 1.0 / 16, 0},
	} {
		mat.SetData(p.Value(), draw(p.Size(), p.scale, p.mean))
	}
	longest := b.MLP.Up.W.Size() // as long as Down's
	for i := range f.vectors {
		f.vectors[i] = drawn(at+i*longest, longest)
	}
	return f
}

// results computes the output y, the gradient of the input x, and those of the parameters.
func (f *fullBlock) results(t *testing.T, recompute bool) map[string][]float32 {
	nn.ZeroGrad(f.block)
	x := mat.NewDense[float32](mat.WithShape(f.tokens, len(f.x)/f.tokens), mat.WithBacking(f.x), mat.WithGrad(true))
	y := f.block.run(x, f.tokens, recompute)
	y.AccGrad(mat.NewDense[float32](mat.WithShape(y.Shape()...), mat.WithBacking(slices.Clone(f.gy))))
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	all := map[string][]float32{"x": x.Grad().Data().F32(), "y": y.Data().F32()}
	params.Walk(f.block, func(path string, p *nn.Param) { all[path] = p.Grad().Data().F32() })
	return all
}

// apart returns how far a result is from PyTorch's: its samples in terms of the root of the mean square of
// its entries, its norm and its scalar products in terms of the norm.
func (f *fullBlock) apart(name string, got []float32) (samples, norm, sums float64) {
	var squares float64
	for _, v := range got {
		squares += float64(v) * float64(v)
	}
	want := f.want.Float64("norm/" + name)[0]
	norm = math.Abs(math.Sqrt(squares)-want) / want
	for i, w := range f.want.Float64("sums/" + name) {
		var s float64
		for j, v := range got {
			s += float64(v) * float64(f.vectors[i][j])
		}
		sums = max(sums, math.Abs(s-w)/want)
	}
	for i, w := range f.want.Float64("sample/" + name) {
		at := int(scrambled(i) % uint32(len(got)))
		samples = max(samples, math.Abs(float64(got[at])-w)/want*math.Sqrt(float64(len(got))))
	}
	return samples, norm, sums
}

// blockTolerance: PyTorch's own float32 is within 4e-6 of its float64, and each kernel sums in another order.
const blockTolerance = 2e-5

// TestFullBlock: all gradients of a block at its real size are those that PyTorch computes in float64, by every
// kernel of assembly, whether what lies between is kept or computed again.
func TestFullBlock(t *testing.T) {
	if testing.Short() || kernel.Name() == "generic" {
		t.Skip("100 GFLOP for each kernel: a second in assembly, and half a minute in Go")
	}
	f := newFullBlock(t)
	for _, impl := range kernel.Available() {
		if impl == "generic" {
			continue
		}
		for _, recompute := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/recompute=%v", impl, recompute), func(t *testing.T) {
				kernel.Use(impl)
				defer kernel.Use("")
				all := f.results(t, recompute)
				if want := 2 + 12; len(all) != want {
					t.Fatalf("%d results, want %d", len(all), want)
				}
				worst := 0.0
				for name, got := range all {
					samples, norm, sums := f.apart(name, got)
					if d := max(samples, norm, sums); !(d <= blockTolerance) {
						t.Errorf("%s: samples differ by %.2g, the norm by %.2g, scalar products by %.2g; want %v", name, samples, norm, sums, blockTolerance)
					} else {
						worst = max(worst, d)
					}
				}
				t.Logf("differs by %.2g, PyTorch's float32 by %.2g", worst, f.want.Float64("float32")[0])
			})
		}
	}
}
