package cliptext

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// tinyTower returns the tower of a golden file, unfrozen, the file, and its texts.
func tinyTower(t testing.TB, activation string) (*Model, *golden.File, [][]int) {
	t.Helper()
	m, f := tiny.Golden(t, "testdata/tiny/text_"+strings.ReplaceAll(activation, "_", ""), New)
	var texts [][]int
	for row := range slices.Chunk(f.Int64("words"), m.Config.Context) {
		text := make([]int, len(row))
		for i, w := range row {
			text[i] = int(w)
		}
		texts = append(texts, text)
	}
	return m, f, texts
}

func forward(t *testing.T, m *Model, texts [][]int) mat.Tensor {
	t.Helper()
	y, err := m.Forward(texts)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// The tolerances are relative to the largest value of a stage, and those of package clipvit.
var stages = []struct {
	name string
	tol  float64
}{{"embed", 1e-7}, {"block", 2e-6}, {"final_norm", 2e-6}, {"embedding", 2e-6}}

// TestStages compares every intermediate with PyTorch's; the first that fails is the answer.
func TestStages(t *testing.T) {
	for _, activation := range []string{"quick_gelu", "gelu"} {
		for _, frozen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/frozen=%v", activation, frozen), func(t *testing.T) {
				m, f, texts := tinyTower(t, activation)
				if frozen {
					m.Freeze()
				}
				seen := 0
				_, err := m.Probe(texts, func(stage string, x mat.Tensor) {
					if stage == "end" {
						return // rows of the last block
					}
					tol := math.NaN()
					for _, s := range stages {
						if s.name == stage || s.name == "block" && strings.HasPrefix(stage, s.name) {
							tol = s.tol
						}
					}
					if golden.Compare(t, stage, x.Value().Data().F32(), f.Float32(stage), tol) {
						seen++
					}
				})
				if want := 3 + m.Config.Layers; err != nil || seen != want {
					t.Errorf("%d stages agree, want %d; error %v", seen, want, err)
				}
			})
		}
	}
}

// TestGradients compares the gradient of every parameter with PyTorch's, kept or computed again.
func TestGradients(t *testing.T) {
	for _, activation := range []string{"quick_gelu", "gelu"} {
		for _, recompute := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/recompute=%v", activation, recompute), func(t *testing.T) {
				m, f, texts := tinyTower(t, activation)
				m.Recompute = recompute
				y := forward(t, m, texts)
				if n := len(tiny.Operators(y)); (n < 8*m.Config.Layers) != recompute { // a block is eight operators at least, or one
					t.Errorf("the graph has %d operators, of %d blocks", n, m.Config.Layers)
				}
				s := f.Shape("grad_embedding")
				y.AccGrad(mat.NewDense[float32](mat.WithShape(s...), mat.WithBacking(f.Float32("grad_embedding"))))
				if err := ag.Backward(y); err != nil {
					t.Fatal(err)
				}
				params.Walk(m, func(name string, p *nn.Param) {
					if name == "LogitScale" { // is no part of an embedding
						if p.HasGrad() {
							t.Error("LogitScale has a gradient")
						}
						return
					}
					if !p.HasGrad() {
						t.Fatalf("%s has no gradient", name)
					}
					// The forward's errors, once more on the way back.
					golden.Compare(t, name, p.Grad().Data().F32(), f.Float32("grad/"+name), 5e-6)
				})
			})
		}
	}
}

// TestOnlyTheText: what stands after the end of a text, which other texts it is with, and how many, does not
// matter to it.
func TestOnlyTheText(t *testing.T) {
	m, f, texts := tinyTower(t, "quick_gelu")
	m.Freeze()
	want, e := f.Float32("embedding"), m.Config.EmbedDim
	var many [][]int
	for i, text := range texts {
		short := text[:1+slices.Index(text, m.Config.End)]
		noisy := append(slices.Clone(short), 3, 1, m.Config.End)
		for _, x := range [][]int{text, short, noisy} {
			golden.Compare(t, fmt.Sprint(x), forward(t, m, [][]int{x}).Data().F32(), want[i*e:(i+1)*e], 2e-6)
		}
	}
	for range 2*transformer.Part(1)/m.Config.Context + 1 { // of three texts, so that there are parts
		many = append(many, texts...)
	}
	got := forward(t, m, many)
	if s := got.Shape(); s[0] != len(many) || s[1] != e {
		t.Fatalf("shape %v, want [%d,%d]", s, len(many), e)
	}
	for i := range many {
		golden.Compare(t, fmt.Sprint("text ", i), got.Data().F32()[i*e:(i+1)*e], want[i%len(texts)*e:][:e], 2e-6)
	}
}

func TestWrongTexts(t *testing.T) {
	m, _, _ := tinyTower(t, "quick_gelu") // 37 words, context 11
	for _, c := range []struct {
		texts [][]int
		want  string
	}{
		{nil, "got 0 texts, want at least 1"},
		{[][]int{{}}, "text 0: no token 36, the end, among the first 0 of 0 tokens"},
		{[][]int{{35, 36}, {35, 1}}, "text 1: no token 36"},
		{[][]int{{35, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 36}}, "among the first 11 of 12 tokens"},
		{[][]int{{35, 37, 36}}, "text 0: token 1 is 37, want 0 to 36"},
		{[][]int{{-1, 36}}, "text 0: token 0 is -1"},
	} {
		if _, err := m.Forward(c.texts); err == nil || !strings.HasPrefix(err.Error(), "cliptext: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.texts, err, c.want)
		}
		if _, err := m.Probe(c.texts, nil); err == nil {
			t.Errorf("%v: no error of Probe", c.texts)
		}
	}
}

// TestFreeze: frozen, thawed, by gob and filled at once, a model is the same.
func TestFreeze(t *testing.T) {
	m, f, texts := tinyTower(t, "gelu")
	same := func(name string, m *Model) {
		t.Helper()
		golden.Compare(t, name, forward(t, m, texts).Value().Data().F32(), f.Float32("embedding"), 2e-6)
	}
	m.Freeze()
	m.Freeze()
	if y := forward(t, m, texts); y.RequiresGrad() {
		t.Error("a frozen model keeps a graph")
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		t.Fatal(err)
	}
	var copied Model
	if err := gob.NewDecoder(&b).Decode(&copied); err != nil {
		t.Fatal(err)
	}
	same("gob", &copied)
	m.Unfreeze()
	if y := forward(t, m, texts); !y.RequiresGrad() {
		t.Error("an unfrozen model keeps no graph")
	}
	same("unfrozen", m)

	filled := map[string]int{}
	n, err := NewFrozen(m.Config, func(path string, values []float32) error {
		filled[path]++
		copy(values, f.Float32("param/"+path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same("filled", n)
	params.Walk(n, func(path string, p *nn.Param) {
		if filled[path] != 1 || p.RequiresGrad() {
			t.Errorf("%s was filled %d times, wants a gradient: %v", path, filled[path], p.RequiresGrad())
		}
	})
	if _, err := NewFrozen(m.Config, func(path string, _ []float32) error { return fmt.Errorf("no %s", path) }); err == nil || err.Error() != "no Token" {
		t.Errorf("error %v, want that of the first parameter", err)
	}
	if got := n.Scale(); math.Abs(got-1/0.07) > 1e-4 {
		t.Errorf("scale is %v, want %v", got, 1/0.07)
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{ViTB32, ViTL14} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	for want, change := range map[string]func(*Config){
		"vocabulary is 0":                       func(c *Config) { c.Vocab = 0 },
		"width is -1":                           func(c *Config) { c.Width = -1 },
		"embedding size is 0":                   func(c *Config) { c.EmbedDim = 0 },
		"layers is 1048577":                     func(c *Config) { c.Layers = 1<<20 + 1 },
		"want a product of at most":             func(c *Config) { c.Vocab, c.Width = 1<<20, 1<<20 },
		"not a multiple of the 7 heads":         func(c *Config) { c.Heads = 7 },
		"ends a text is 49408, want 0 to 49407": func(c *Config) { c.End = c.Vocab },
		`activation is "relu"`:                  func(c *Config) { c.Activation = transformer.Activation("relu") },
		"norm epsilon is NaN":                   func(c *Config) { c.NormEps = math.NaN() },
	} {
		c := ViTL14
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error of New", want)
		}
	}
}

// TestPoolLargest: a text's embedding is what stands at the first of its largest words, be that one which was added, where transformers does so.
func TestPoolLargest(t *testing.T) {
	m, err := New(Config{Vocab: 12, Context: 8, Width: 8, Heads: 2, Layers: 1, MLPWidth: 32, EmbedDim: 5, Activation: "quick_gelu", NormEps: 1e-5, End: 9, PoolLargest: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text []int
		want int
	}{{[]int{8, 1, 9}, 2}, {[]int{8, 11, 1, 9, 9}, 1}, {[]int{8, 10, 11, 11, 9}, 2}, {[]int{8, 9, 1, 9}, 1}} {
		if ends, err := m.ends([][]int{c.text}); err != nil || ends[0] != c.want {
			t.Errorf("%v: ends at %v, want %d: %v", c.text, ends, c.want, err)
		}
	}
	if _, err := m.ends([][]int{{8, 11, 1}}); err == nil {
		t.Error("no error for a text without an end")
	}
}
