package transformer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// precisions are how a tower that was just made may keep its weights.
var precisions = map[string]func(m *tower){
	"float32": func(*tower) {},
	"halves": func(m *tower) {
		Unfreeze(m)
		nn.ForEachParam(m, func(p *nn.Param) {
			for i, v := range mat.Data[float32](p) {
				mat.Data[float32](p)[i] = kernel.FromHalf(kernel.ToHalf(v))
			}
		})
		Freeze(m, Weights{Panels: m.Blocks.Products()})
	},
	"for rows": func(m *tower) {
		Unfreeze(m)
		Freeze(m, Weights{Rows: m.Blocks.Products()})
	},
	"plain": func(m *tower) {
		Unfreeze(m)
		noGrad(m)
	},
	"bf16": func(m *tower) { m.Blocks.RoundBF16() },
	"int8": func(m *tower) {
		for i, p := range m.Blocks.Products() {
			op.Quantize(p, []kernel.Rounding{{}, {Apart: []int{1, 4}}, {Words: true}, {Scales: scales(p.Shape()[1])}}[i%4])
		}
	},
	"some int8": rounded,
}

func scales(n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(int(1)<<(i%5)) / 4
	}
	return s
}

// tokensOf returns tokens [B·t,C], in panels if the tower takes them so.
func (m *tower) tokensOf(images, t, width int) mat.Tensor {
	values := kernel.Get(images * t * width)
	_ = filled("tokens", values)
	x := mat.Tensor(mat.NewDense[float32](mat.WithShape(images*t, width), mat.WithBacking(values)))
	if m.Blocks.InPanels() {
		return op.ToPanels(x, t)
	}
	return x
}

// TestForwardRows: the last block gives the rows that are asked for the bits that it gives them among all tokens, for every
// implementation, precision, number of images, of tokens, of heads and of threads, with widths that begin keys within a panel of
// weights, and of more than a block of depths.
func TestForwardRows(t *testing.T) {
	defer kernel.Use("")
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	shapes := []Config{
		{Width: 8, Heads: 2, MLPWidth: 12},
		{Width: 42, Heads: 3, MLPWidth: 70},
		{Width: 64, Heads: 1, MLPWidth: 100},
		{Width: 1030, Heads: 5, MLPWidth: 50},
	}
	for _, impl := range tiny.Kernels() {
		kernel.Use(impl)
		for precision, change := range precisions {
			for _, c := range shapes {
				c.Layers, c.Activation, c.NormEps = 1, QuickGELU, 1e-5
				for _, causal := range []bool{false, true} {
					c.Causal = causal
					m := newTower(t, c)
					change(m)
					for images := 1; images <= 9; images++ {
						for _, tokens := range []int{1, 2, 5, 17, 33, 50} {
							if testing.Short() && (images%4 != 3 || tokens%8 != 1) {
								continue // under emulation and with the race detector: 3 and 7 images, of 1, 17 and 33 tokens
							}
							if c.Width > 1000 && (images != 3 || tokens != 5 || causal) || c.Width > 60 && images%4 > 1 {
								continue
							}
							runtime.GOMAXPROCS(1 + (images+tokens)%3)
							rows := make([]int, images)
							for j := range rows {
								rows[j] = j*tokens + j*7%tokens
							}
							name := fmt.Sprintf("%s, %s, width %d, causal %v, %d images of %d tokens", impl, precision, c.Width, causal, images, tokens)
							all := m.Blocks.Forward(m.tokensOf(images, tokens, c.Width), tokens, false, Visit(nil))
							want := op.Gather(all, rows).Value().Data().F32()
							got, err := m.Blocks.ForwardRows(context.Background(), m.tokensOf(images, tokens, c.Width), tokens, rows, false)
							if err != nil {
								t.Fatal(err)
							}
							if s := got.Shape(); s[0] != images || s[1] != c.Width {
								t.Fatalf("%s: shape %v", name, s)
							}
							if !slices.Equal(got.Value().Data().F32(), want) {
								t.Fatalf("%s: other bits than among all tokens", name)
							}
							op.Release(got, all, got)
						}
					}
				}
			}
		}
	}
}

// TestForwardRowsLearns: where a gradient is wanted, rows of the last block and all gradients are those of who computes all tokens and
// takes the rows of them: of a tower that learns as a whole, by corrections, in its last block, its first or a norm alone;
// computed again for the gradient or not.
func TestForwardRowsLearns(t *testing.T) {
	const images, tokens = 3, 7
	rows := []int{3, 7, 20}
	learning := map[string]func(m *tower){
		"all": func(m *tower) { Unfreeze(m) },
		"corrections": func(m *tower) {
			for i, b := range m.Blocks {
				l := NewLoRA(2, small.Width, small.Width, small.Width, 0.5)
				o := NewLoRA(2, small.Width, 0, small.Width, 2)
				for j, p := range []*nn.Param{l.A, l.B, o.A, o.B} {
					_ = filled(fmt.Sprint("lora", 4*i+j), mat.Data[float32](p))
				}
				b.Attn.QKVLoRA, b.Attn.OutLoRA = []*LoRA{l}, []*LoRA{o}
			}
		},
		"the last block":  func(m *tower) { m.Blocks[2].Unfreeze() },
		"the first block": func(m *tower) { m.Blocks[0].Unfreeze() },
		"a norm":          func(m *tower) { m.Blocks[1].Norm1.W.SetRequiresGrad(true) },
	}
	for name, learn := range learning {
		for _, causal := range []bool{false, true} {
			run := func(forward func(m Blocks, x mat.Tensor) mat.Tensor) (values []float32, grads map[string][]float32) {
				c := small
				c.Causal = causal
				m := newTower(t, c)
				learn(m)
				x := make([]float32, images*tokens*small.Width)
				_ = filled("tokens", x)
				y := forward(m.Blocks, mat.NewDense[float32](mat.WithShape(images*tokens, small.Width), mat.WithBacking(x)))
				values = slices.Clone(y.Value().Data().F32())
				g := make([]float32, y.Size())
				_ = filled("gradient", g)
				y.AccGrad(mat.NewDense[float32](mat.WithShape(y.Shape()...), mat.WithBacking(g)))
				if err := ag.Backward(y); err != nil {
					t.Fatal(err)
				}
				grads = map[string][]float32{}
				params.Walk(m, func(path string, p *nn.Param) {
					if p.HasGrad() {
						grads[path] = slices.Clone(p.Grad().Data().F32())
					}
				})
				return values, grads
			}
			wantY, want := run(func(m Blocks, x mat.Tensor) mat.Tensor {
				return op.Gather(m.Forward(x, tokens, false, Visit(nil)), rows)
			})
			if len(want) == 0 {
				t.Fatalf("%s: no gradients", name)
			}
			for _, recompute := range []bool{false, true} {
				gotY, got := run(func(m Blocks, x mat.Tensor) mat.Tensor {
					y, err := m.ForwardRows(context.Background(), x, tokens, rows, recompute)
					if err != nil {
						t.Fatal(err)
					}
					return y
				})
				what := fmt.Sprintf("%s, causal %v, recompute %v", name, causal, recompute)
				golden.Compare(t, what, gotY, wantY, 1e-6)
				if len(got) != len(want) {
					t.Errorf("%s: %d parameters have gradients, want %d", what, len(got), len(want))
				}
				for path, g := range want {
					if len(got[path]) != len(g) {
						t.Fatalf("%s: the gradient of %s has %d elements, want %d", what, path, len(got[path]), len(g))
					}
					golden.Compare(t, what+": "+path, got[path], g, 5e-6)
				}
			}
		}
	}
}

// TestForwardRowsOfOthers: with a gradient or with corrections of weights, rows are those of all tokens, whose gradient they have; no
// block gives its input, and a context that has ended gives its cause.
func TestForwardRowsOfOthers(t *testing.T) {
	const images, tokens = 3, 5
	rows, ctx := []int{4, 5, 12}, context.Background()
	forward := func(m Blocks) mat.Tensor {
		x := (&tower{Blocks: m}).tokensOf(images, tokens, small.Width)
		y, err := m.ForwardRows(ctx, x, tokens, rows, false)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	m := newTower(t, small)
	want := slices.Clone(forward(m.Blocks).Value().Data().F32())

	l := NewLoRA(2, small.Width, 0, small.Width, 0.5) // whose product is 0
	noGrad(l)
	m.Blocks[2].Attn.QKVLoRA = []*LoRA{l}
	golden.Compare(t, "with a correction by nothing", forward(m.Blocks).Value().Data().F32(), want, 1e-5)
	m.Blocks[2].Attn.QKVLoRA = nil

	if got := forward(nil).Value().Data().F32(); !slices.Equal(got, op.Gather(m.tokensOf(images, tokens, small.Width), rows).Value().Data().F32()) {
		t.Error("without blocks, rows are not those of the input")
	}

	m.Blocks[2].Unfreeze()
	y := forward(m.Blocks)
	golden.Compare(t, "of a block that learns", y.Value().Data().F32(), want, 1e-5)
	if !y.RequiresGrad() {
		t.Error("rows of a block that learns want no gradient")
	}

	why := errors.New("why")
	for after := range 3 {
		ended, end := context.WithCancelCause(ctx)
		seen := &counted{Context: ended, after: after, end: func() { end(why) }}
		if y, err := m.Blocks.ForwardRows(seen, m.tokensOf(images, tokens, small.Width), tokens, rows, false); y != nil || !errors.Is(err, why) {
			t.Errorf("a context that ends before block %d: %v, error %v", after, y, err)
		}
	}
}

// counted ends when it has been asked for its error so many times.
type counted struct {
	context.Context
	after int
	end   func()
}

func (c *counted) Err() error {
	if c.after--; c.after < 0 {
		c.end()
	}
	return c.Context.Err()
}

// TestForwardRowsLearnsAlone: where a gradient is wanted, the graph of the last block has all tokens in Norm1 and QKV alone. If blocks
// are computed again, it has one operator for each.
func TestForwardRowsLearnsAlone(t *testing.T) {
	const images, tokens = 2, 4
	m := newTower(t, small)
	Unfreeze(m)
	for _, recompute := range []bool{false, true} {
		y, err := m.Blocks[1:].ForwardRows(context.Background(), m.tokensOf(images, tokens, small.Width), tokens, []int{2, 7}, recompute)
		if err != nil {
			t.Fatal(err)
		}
		all, graph := 0, tiny.Operators(y)
		for _, o := range graph {
			if o.Shape()[0] == images*tokens {
				all++
			}
		}
		// A block has Norm1, QKV, attention, Out, Norm2, Up, the activation and Down; the last gathers its rows, too.
		want, operators := 8+2, 8+9
		if recompute {
			want, operators = 1, 2
		}
		if all != want || len(graph) != operators {
			t.Errorf("recompute %v: %d operators of all tokens of %d, want %d of %d", recompute, all, len(graph), want, operators)
		}
	}
}
