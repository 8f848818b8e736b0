package clipvit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// tinyTower returns the tower of a golden file, unfrozen, and the file.
func tinyTower(t testing.TB, activation string) (*Model, *golden.File) {
	t.Helper()
	return tiny.Golden(t, "testdata/tiny/stages_"+strings.ReplaceAll(activation, "_", ""), New)
}

func matrix(data []float32, shape []int) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(shape...), mat.WithBacking(slices.Clone(data)))
}

// The tolerances are relative to the largest value of a stage. PyTorch's own float32 is within 6e-7
// of its float64 here (the .json files say how near); each stage sums in another order.
var stages = []struct {
	name string
	tol  float64
	why  string
}{
	{"embed", 5e-7, "dot products of 3P² terms, summed in another order"},
	{"pre_norm", 6e-7, "and one division by a root"},
	{"block", 2e-6, "and two products, attention, exp by our polynomial, for every block"},
	{"post_norm", 2e-6, "and one more division by a root"},
	{"embedding", 2e-6, "and one more product"},
}

// TestStages compares every intermediate with PyTorch's; the first that fails is the answer.
func TestStages(t *testing.T) {
	for _, activation := range []string{"quick_gelu", "gelu"} {
		for _, frozen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/frozen=%v", activation, frozen), func(t *testing.T) {
				m, f := tinyTower(t, activation)
				if frozen {
					m.Freeze()
				}
				seen := 0
				m.Probe(matrix(f.Float32("patches"), f.Shape("patches")), func(stage string, x mat.Tensor) {
					if stage == "class" {
						return // rows of the last block
					}
					tol := math.NaN()
					for _, s := range stages {
						if strings.HasPrefix(stage, s.name) {
							tol = s.tol
						}
					}
					if golden.Compare(t, stage, x.Value().Data().F32(), f.Float32(stage), tol) {
						seen++
					}
				})
				if want := 4 + m.Config.Layers; seen != want {
					t.Errorf("%d stages agree, want %d", seen, want)
				}
			})
		}
	}
}

// TestFeatures: Hugging Face's hidden_states, by either way of counting.
func TestFeatures(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	m.Freeze()
	hidden := f.Float32("hidden_states") // [1+L,B·T,C]
	n := len(hidden) / (1 + m.Config.Layers)
	for layer := -1 - m.Config.Layers; layer <= m.Config.Layers; layer++ {
		x, err := m.Features(matrix(f.Float32("patches"), f.Shape("patches")), layer)
		if err != nil {
			t.Fatal(err)
		}
		i := layer
		if i < 0 {
			i += 1 + m.Config.Layers
		}
		golden.Compare(t, fmt.Sprintf("layer %d", layer), x.Value().Data().F32(), hidden[i*n:(i+1)*n], 2e-6)
	}
	for _, layer := range []int{m.Config.Layers + 1, -m.Config.Layers - 2} {
		if _, err := m.Features(matrix(f.Float32("patches"), f.Shape("patches")), layer); err == nil {
			t.Errorf("no error for layer %d of %d", layer, m.Config.Layers)
		}
	}
}

// TestGradients compares the gradient of every parameter, and of the patches, with PyTorch's.
func TestGradients(t *testing.T) {
	for _, activation := range []string{"quick_gelu", "gelu"} {
		t.Run(activation, func(t *testing.T) {
			m, f := tinyTower(t, activation)
			patches := matrix(f.Float32("patches"), f.Shape("patches"))
			patches.SetRequiresGrad(true)
			y := m.Embedding(patches)
			y.AccGrad(matrix(f.Float32("grad_embedding"), f.Shape("grad_embedding")))
			ag.Backward(y)
			const tol = 5e-6 // the forward's errors, once more on the way back
			params.Walk(m, func(name string, p *nn.Param) {
				if !p.HasGrad() {
					t.Fatalf("%s has no gradient", name)
				}
				golden.Compare(t, name, p.Grad().Data().F32(), f.Float32("grad/"+name), tol)
			})
			golden.Compare(t, "patches", patches.Grad().Data().F32(), f.Float32("grad/patches"), tol)
		})
	}
}

// TestRecompute: gradients that are computed again are the same, also beside what is frozen and when
// they accumulate; only the activation's last bit may differ, which is fused where no graph is kept.
func TestRecompute(t *testing.T) {
	var graph int // of the last gradients
	gradients := func(recompute bool, frozen ...int) map[string][]float32 {
		m, f := tinyTower(t, "quick_gelu")
		m.Recompute = recompute
		for _, i := range frozen {
			m.Blocks[i].Freeze()
		}
		patches := matrix(f.Float32("patches"), f.Shape("patches"))
		patches.SetRequiresGrad(len(frozen) == 0)
		for range 2 {
			y := m.Embedding(patches)
			graph = len(tiny.Operators(y))
			y.AccGrad(matrix(f.Float32("grad_embedding"), f.Shape("grad_embedding")))
			if err := ag.Backward(y); err != nil {
				t.Fatal(err)
			}
		}
		g := map[string][]float32{}
		params.Walk(m, func(name string, p *nn.Param) {
			if p.HasGrad() {
				g[name] = slices.Clone(p.Grad().Data().F32())
			}
		})
		if patches.HasGrad() {
			g["patches"] = patches.Grad().Data().F32()
		}
		return g
	}
	for _, frozen := range [][]int{nil, {0}, {1}, {0, 1}} {
		got := gradients(true, frozen...)
		recomputed := graph
		want := gradients(false, frozen...)
		if len(frozen) < 2 && recomputed > graph-7 { // a block that learns is one operator in the place of eight, or of nine
			t.Errorf("frozen %v: a graph of %d operators, and of %d if blocks are computed again", frozen, graph, recomputed)
		}
		if len(got) != len(want) || len(want) == 0 {
			t.Fatalf("frozen %v: %d gradients, want %d", frozen, len(got), len(want))
		}
		for name, w := range want {
			golden.Compare(t, fmt.Sprintf("frozen %v: gradient of %s", frozen, name), got[name], w, 2e-6)
		}
	}
}

// TestPartlyFrozen: a frozen prefix changes no gradient of the rest, though its buffers are recycled.
func TestPartlyFrozen(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	m.Freeze()
	last := m.Blocks[len(m.Blocks)-1]
	last.Unfreeze()
	last.Attn.QKV.W.SetRequiresGrad(false) // a frozen operator between trained ones
	for range 3 {                          // the pool is warm from the second time on
		m.Embedding(matrix(f.Float32("patches"), f.Shape("patches")))
	}
	y := m.Embedding(matrix(f.Float32("patches"), f.Shape("patches")))
	y.AccGrad(matrix(f.Float32("grad_embedding"), f.Shape("grad_embedding")))
	ag.Backward(y)
	params.Walk(m, func(name string, p *nn.Param) {
		if p.HasGrad() != p.RequiresGrad() {
			t.Errorf("%s: has a gradient: %v, requires one: %v", name, p.HasGrad(), p.RequiresGrad())
		}
		if p.HasGrad() {
			golden.Compare(t, name, p.Grad().Data().F32(), f.Float32("grad/"+name), 5e-6)
		}
	})
}

// TestBatch: an image's embedding does not depend on what it is batched with, to the last bit, with any kernel, for a
// tower that is frozen or not and for one image or more than a tile has rows.
func TestBatch(t *testing.T) {
	defer kernel.Use("")
	c := Config{ImageSize: 32, PatchSize: 8, Width: 64, Heads: 2, Layers: 2, MLPWidth: 96, EmbedDim: 32, Activation: transformer.QuickGELU, NormEps: 1e-5}
	const images = 40
	rng := rand.New(rand.NewPCG(17, 18))
	values := make([]float32, images*c.Patches()*c.PatchLen())
	for i := range values {
		values[i] = rng.Float32() - 0.5
	}
	embed := func(m *Model, from, to int) []float32 {
		n := c.Patches() * c.PatchLen()
		return m.Embedding(matrix(values[from*n:to*n], []int{(to - from) * c.Patches(), c.PatchLen()})).Data().F32()
	}
	for _, name := range tiny.Kernels() {
		kernel.Use(name)
		m := tiny.New(t, New, c)
		tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 4 })
		for _, kind := range []string{"plain", "frozen", "bf16", "int8"} {
			switch kind {
			case "frozen":
				m.Freeze()
			case "bf16":
				m.ToBF16()
			case "int8":
				m.Unfreeze()
				m.Quantize()
			}
			for _, batch := range []int{2, 7, images} {
				together := embed(m, 0, batch)
				for i := range batch {
					if alone := embed(m, i, i+1); !slices.Equal(alone, together[i*len(alone):(i+1)*len(alone)]) {
						t.Fatalf("%s, %s: image %d is another alone than in a batch of %d", name, kind, i, batch)
					}
				}
			}
		}
	}
}

func TestOutputDim(t *testing.T) {
	for _, embedDim := range []int{0, 5} {
		c := Config{ImageSize: 8, PatchSize: 4, Width: 8, Heads: 2, Layers: 1, MLPWidth: 16, EmbedDim: embedDim, Activation: transformer.QuickGELU, NormEps: 1e-5}
		m, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		m.Freeze()
		e, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
		if err != nil {
			t.Fatal(err)
		}
		if len(e[0]) != c.OutputDim() {
			t.Errorf("an embedding has %d values, OutputDim is %d", len(e[0]), c.OutputDim())
		}
	}
}

// TestParts: a batch that goes through a frozen tower in parts gives what it gives in one piece, and the
// last part may be smaller.
func TestParts(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	one, n := f.Float32("patches"), m.Config.Patches()*m.Config.PatchLen()
	part := m.Config.part()
	images := 2*part + 1
	var all []float32
	for i := range images {
		x := one[i%(len(one)/n)*n:][:n]
		for _, v := range x {
			all = append(all, v*float32(images-i)/float32(images))
		}
	}
	patches := matrix(all, []int{images * m.Config.Patches(), m.Config.PatchLen()})
	patches.SetRequiresGrad(false)
	m.Freeze()
	embed := func(x mat.Tensor) mat.Tensor { return m.Probe(x, nil) }
	layer := func(x mat.Tensor) mat.Tensor {
		y, err := m.tokens(t.Context(), x, 1, transformer.Visit(nil))
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	features, err := m.Features(patches, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want mat.Tensor }{
		"embeddings": {m.Embedding(patches), embed(patches)}, "features": {features, layer(patches)},
	} {
		if !slices.Equal(c.got.Shape(), c.want.Shape()) || !slices.Equal(c.got.Data().F32(), c.want.Data().F32()) {
			t.Errorf("%s in parts differ: shape %v, want %v", name, c.got.Shape(), c.want.Shape())
		}
	}
	patches.SetRequiresGrad(true)
	if y := m.Embedding(patches); !y.RequiresGrad() {
		t.Error("the graph from the patches is lost")
	}
}

// TestConcurrent: a frozen model may be used by many goroutines.
func TestConcurrent(t *testing.T) {
	m, f := tinyTower(t, "gelu")
	m.Freeze()
	want := m.Embedding(matrix(f.Float32("patches"), f.Shape("patches"))).Data().F32()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				got := m.Embedding(matrix(f.Float32("patches"), f.Shape("patches"))).Data().F32()
				if !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestAllocations: what a frozen model allocates does not grow with the images before.
func TestAllocations(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	m.Freeze()
	x := matrix(f.Float32("patches"), f.Shape("patches"))
	run := func() { m.Embedding(x) }
	first := testing.AllocsPerRun(20, run)
	for range 200 {
		run()
	}
	// The pool may lose a buffer to the collector, and loses some by design under the race detector.
	if later := testing.AllocsPerRun(20, run); later > 1.05*first+2 {
		t.Errorf("%v allocations an image after 200 images, %v before", later, first)
	}
}

func TestResize(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/posembed.npz")
	cases := 0
	for _, name := range f.Names() {
		name, ok := strings.CutSuffix(name, "/in")
		if !ok {
			continue
		}
		var from, to int
		if _, err := fmt.Sscanf(name, "%dto%d", &from, &to); err != nil {
			t.Fatal(err)
		}
		for _, filter := range []Bicubic{BicubicTorch, BicubicAntialias} {
			width := f.Shape(name + "/in")[1]
			m, err := New(Config{ImageSize: from * 2, PatchSize: 2, Width: width, Heads: 1, Layers: 1, MLPWidth: 1, Activation: transformer.GELU, NormEps: 1e-5})
			if err != nil {
				t.Fatal(err)
			}
			mat.SetData(m.Embed.Position.Value(), f.Float32(name+"/in"))
			if err := m.Resize(to*2, filter); err != nil {
				t.Fatal(err)
			}
			// torch computes places and weights in float32, we in float64.
			golden.Compare(t, name+"/"+string(filter), m.Embed.Position.Value().Data().F32(), f.Float32(name+"/"+string(filter)), 2e-6)
			if m.Config.Grid() != to || !m.Embed.Position.RequiresGrad() {
				t.Errorf("%s: grid is %d, requires a gradient: %v", name, m.Config.Grid(), m.Embed.Position.RequiresGrad())
			}
			cases++
		}
	}
	if cases < 10 {
		t.Errorf("only %d cases", cases)
	}
	m, _ := tinyTower(t, "gelu")
	before := m.Config
	for _, size := range []int{0, -4, m.Config.PatchSize + 1, math.MaxInt} {
		if err := m.Resize(size, BicubicTorch); err == nil {
			t.Errorf("no error for image size %d", size)
		}
	}
	if err := m.Resize(m.Config.PatchSize, "bilinear"); err == nil || m.Config != before {
		t.Errorf("an unknown filter: error %v, configuration %v", err, m.Config)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []Config{ViTB32, ViTB16, ViTL14, ViTL14336} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []struct {
		change func(c *Config)
		want   string
	}{
		{func(c *Config) { c.ImageSize = 0 }, "image size is 0"},
		{func(c *Config) { c.ImageSize = 337 }, "337 is not a multiple of patch size 14"},
		{func(c *Config) { c.ImageSize = 14 * 300 }, "image size is 4200, want at most 4096"},
		{func(c *Config) { c.ImageSize, c.PatchSize = 4096, 1 }, "16777217 tokens of width 1024"},
		{func(c *Config) { c.PatchSize = -1 }, "patch size is -1"},
		{func(c *Config) { c.Heads = 7 }, "width 1024 is not a multiple of the 7 heads"},
		{func(c *Config) { c.Layers = math.MaxInt }, fmt.Sprintf("layers is %d", math.MaxInt)},
		{func(c *Config) { c.EmbedDim = -1 }, "embedding size is -1"},
		{func(c *Config) { c.Activation = "relu" }, `activation is "relu"`},
		{func(c *Config) { c.NormEps = math.NaN() }, "norm epsilon is NaN"},
	} {
		bad := ViTL14336
		c.change(&bad)
		if _, err := New(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want one with %q", err, c.want)
		}
	}
	if err := (Config{}).Validate(); strings.Count(err.Error(), "\n") < 6 {
		t.Errorf("the error of an empty Config does not say everything: %v", err)
	}
}

// TestCounts: T, D and the parameter count of ViT-L/14-336 are those of the model card.
func TestCounts(t *testing.T) {
	c := ViTL14336
	if c.Tokens() != 577 || c.HeadSize() != 64 || c.PatchLen() != 588 {
		t.Errorf("T %d, D %d, 3P² %d; want 577, 64, 588", c.Tokens(), c.HeadSize(), c.PatchLen())
	}
	c.Layers = 1 // the rest is the same 12,596,224 each
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	nn.ForEachParam(m, func(p *nn.Param) { n += p.Size() })
	if got := n + 23*12_596_224; got != 304_293_888 {
		t.Errorf("%d parameters, want 304293888", got)
	}
}

// TestPreprocess: where a patch's values come from, and the two ends of the levels.
func TestPreprocess(t *testing.T) {
	c := Config{ImageSize: 4, PatchSize: 2, Width: 1, Heads: 1, Layers: 1, MLPWidth: 1, Activation: transformer.GELU, NormEps: 1e-5}
	img := image.NewRGBA(image.Rect(10, 20, 14, 24)) // not at the origin
	for y := range 4 {
		for x := range 4 {
			img.Set(10+x, 20+y, color.RGBA{uint8(16*y + x), 255, 0, 255})
		}
	}
	p, err := Preprocess(img, c)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Shape(), []int{4, 12}) {
		t.Fatalf("shape is %v, want [4 12]", p.Shape())
	}
	for row := range 4 { // patches: top left, top right, bottom left, bottom right
		for i := range 12 {
			ch, y, x := i/4, i/2%2+row/2*2, i%2+row%2*2
			level := [3]float32{float32(16*y + x), 255, 0}[ch]
			if want, got := (level/255-float32(openAI.Mean[ch]))/float32(openAI.Std[ch]), p.Data().F32()[row*12+i]; got != want {
				t.Errorf("patch %d value %d: got %v, want %v", row, i, got, want)
			}
		}
	}
	for name, img := range map[string]image.Image{"nil": nil, "empty": image.NewGray(image.Rect(0, 0, 0, 5))} {
		if _, err := Preprocess(img, c); err == nil {
			t.Errorf("no error for an image that is %s", name)
		}
	}
}

func TestEncode(t *testing.T) {
	m, _ := tinyTower(t, "quick_gelu")
	m.Freeze()
	var images []image.Image
	for i := range m.Config.part() + 3 {
		images = append(images, image.NewUniform(color.Gray{uint8(10 * i)}))
	}
	// A uniform image has no bounds of its own: it is as good as infinite.
	if _, err := m.Encode(t.Context(), images...); err == nil {
		t.Error("no error for images without an end")
	}
	for i := range images {
		g := image.NewGray(image.Rect(0, 0, 20+i, 30))
		for j := range g.Pix {
			g.Pix[j] = uint8(j * (i + 1))
		}
		images[i] = g
	}
	all, err := m.Encode(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range images {
		one, err := m.Encode(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(one[0], all[i]) {
			t.Errorf("image %d: alone %v, with others %v", i, one[0], all[i])
		}
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if _, err := m.Encode(ended, images...); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error is %v, want the cause of the context's end", err)
	}
	batch, err := PreprocessBatch(images, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Embedding(batch).Value().Data().F32(); !slices.Equal(got, slices.Concat(all...)) {
		t.Error("patches of a batch give other embeddings")
	}
	if none, err := m.Encode(t.Context()); err != nil || len(none) != 0 {
		t.Errorf("no images: %v, %v", none, err)
	}
	images[11] = image.NewGray(image.Rect(0, 0, 5, 0))
	if _, err := m.Encode(t.Context(), images...); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("image 12 of %d", len(images))) {
		t.Errorf("error is %v, want one that names image 12 of 19", err)
	}
	if _, err := PreprocessBatch(images, m.Config); err == nil || err.Error() != fmt.Sprintf("clipvit: image 12 of %d: image is 5×0 pixels, want at least 1×1", len(images)) {
		t.Errorf("a batch: error is %v, want one that names image 12 of 19", err)
	}
	if _, err := PreprocessBatch(nil, m.Config); err == nil {
		t.Error("patches of no images")
	}
}

// TestGob: spago's own way to save and load a model.
func TestGob(t *testing.T) {
	m, f := tinyTower(t, "gelu")
	path := t.TempDir() + "/model.gob"
	if err := nn.DumpToFile(m, path); err != nil {
		t.Fatal(err)
	}
	loaded, err := nn.LoadFromFile[*Model](path)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Config != m.Config {
		t.Errorf("configuration is %+v, want %+v", loaded.Config, m.Config)
	}
	x := matrix(f.Float32("patches"), f.Shape("patches"))
	if got, want := loaded.Embedding(x).Value().Data().F32(), m.Embedding(x).Value().Data().F32(); !slices.Equal(got, want) {
		t.Errorf("embedding is %v, want %v", got, want)
	}
}

// TestFreeze: freezing changes no bit of an embedding, halves the memory of weights that are halves,
// and unfreezing gives every parameter back as it was.
func TestFreeze(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	before := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) {
		x := mat.Data[float32](p)
		for i := range x { // to halves, all but one weight
			x[i] = float32(math.Round(float64(x[i])*1024) / 1024)
		}
		if path == "Blocks.0.MLP.Up.W" {
			x[0] = 1 + 0x1p-20
		}
		before[path] = slices.Clone(x)
		p.SetRequiresGrad(false)
	})
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	want := slices.Clone(m.Embedding(patches).Data().F32())
	for range 2 {
		m.Freeze()
		packed := 0
		params.Walk(m, func(path string, p *nn.Param) {
			if p.RequiresGrad() {
				t.Errorf("%s wants a gradient", path)
			}
			w, ok := p.Matrix.(*op.Frozen)
			if !ok {
				return
			}
			packed++
			s := p.Shape()
			size := 2
			if path == "Blocks.0.MLP.Up.W" {
				size = 4
			}
			const nr = 32 // panels of at most so many rows
			if w.Bytes() < size*s[0]*s[1] || w.Bytes() > size*(s[0]+nr)*s[1] {
				t.Errorf("%s %v takes %d bytes, want %d an element", path, s, w.Bytes(), size)
			}
		})
		if wantPacked := 2 + 4*m.Config.Layers; packed != wantPacked {
			t.Errorf("%d weights are packed, want %d", packed, wantPacked)
		}
		golden.Compare(t, "frozen", m.Embedding(patches).Data().F32(), want, 2e-6) // sums are in another order
		m.Unfreeze()
		params.Walk(m, func(path string, p *nn.Param) {
			if !p.RequiresGrad() || !slices.Equal(mat.Data[float32](p), before[path]) {
				t.Errorf("%s did not come back as it was", path)
			}
		})
	}
}

// TestNewFrozen: a model made of values is the one that they came from, and an error of the source ends it.
func TestNewFrozen(t *testing.T) {
	m, f := tinyTower(t, "gelu")
	values := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { values[path] = mat.Data[float32](p) })
	seen := 0
	frozen, err := NewFrozen(m.Config, func(path string, x []float32) error {
		seen++
		if copy(x, values[path]) != len(values[path]) || len(x) != len(values[path]) {
			t.Errorf("%s has %d values, want %d", path, len(x), len(values[path]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen != len(values) {
		t.Errorf("%d parameters were asked for, want %d", seen, len(values))
	}
	m.Freeze()
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	if got, want := frozen.Embedding(patches).Data().F32(), m.Embedding(patches).Data().F32(); !slices.Equal(got, want) {
		t.Errorf("embedding %v, want %v", got, want)
	}
	broken := errors.New("broken")
	if _, err := NewFrozen(m.Config, func(string, []float32) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if _, err := NewFrozen(Config{}, nil); err == nil {
		t.Error("a model without a configuration")
	}
}

// TestQuantize: embeddings in 8 bits point where those in float32 do, and most of the weights take a byte.
func TestQuantize(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	m.Freeze()
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	want := m.Embedding(patches).Data().F32()
	m.Quantize()
	got := m.Embedding(patches).Data().F32()
	if slices.Equal(got, want) {
		t.Error("nothing was rounded")
	}
	e := m.Config.EmbedDim
	for i := 0; i < len(want); i += e {
		var gw, gg, ww float64
		for j := range e {
			g, w := float64(got[i+j]), float64(want[i+j])
			gw, gg, ww = gw+g*w, gg+g*g, ww+w*w
		}
		if cosine := gw / math.Sqrt(gg*ww); cosine < 0.999 {
			t.Errorf("image %d: cosine %v, want at least 0.999", i/e, cosine)
		}
	}
	params.Walk(m, func(path string, p *nn.Param) {
		w, ok := p.Matrix.(*op.Frozen)
		if !ok || !strings.HasPrefix(path, "Blocks.") {
			return
		}
		const nr, deep = 32, 64 // panels of at most so many rows, and depths in whole blocks of at most that
		s := p.Shape()
		if most := (s[0]+nr)*(s[1]+deep) + 8*s[0]; w.Bytes() > most {
			t.Errorf("%s %v takes %d bytes, want at most %d", path, s, w.Bytes(), most)
		}
	})
	rounded := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { rounded[path] = mat.Data[float32](p) })
	m.Unfreeze()
	params.Walk(m, func(path string, p *nn.Param) {
		if !p.RequiresGrad() || !slices.Equal(mat.Data[float32](p), rounded[path]) {
			t.Errorf("%s did not stay as it was rounded", path)
		}
	})
}

// TestToBF16: embeddings in bfloat16 point where those in float32 do, nearer than those in int8, and most of the weights take
// two bytes.
func TestToBF16(t *testing.T) {
	m, f := tinyTower(t, "quick_gelu")
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	want := m.Embedding(patches).Data().F32()
	m.ToBF16()
	got := m.Embedding(patches).Data().F32()
	if slices.Equal(got, want) {
		t.Error("nothing was rounded")
	}
	e := m.Config.EmbedDim
	for i := 0; i < len(want); i += e {
		var gw, gg, ww float64
		for j := range e {
			g, w := float64(got[i+j]), float64(want[i+j])
			gw, gg, ww = gw+g*w, gg+g*g, ww+w*w
		}
		if cosine := gw / math.Sqrt(gg*ww); cosine < 0.9999 {
			t.Errorf("image %d: cosine %v, want at least 0.9999", i/e, cosine)
		}
	}
	params.Walk(m, func(path string, p *nn.Param) {
		w, ok := p.Matrix.(*op.Frozen)
		if !ok || !strings.HasPrefix(path, "Blocks.") {
			return
		}
		const nr, deep = 32, 32 // panels of at most so many rows, and depths in whole blocks of at most that
		s := p.Shape()
		if most := 2 * (s[0] + nr) * (s[1] + deep); w.Bytes() > most {
			t.Errorf("%s %v takes %d bytes, want at most %d", path, s, w.Bytes(), most)
		}
	})
	rounded := map[string][]float32{}
	params.Walk(m, func(path string, p *nn.Param) { rounded[path] = mat.Data[float32](p) })
	m.ToBF16() // which changes nothing
	m.Unfreeze()
	params.Walk(m, func(path string, p *nn.Param) {
		if !p.RequiresGrad() || !slices.Equal(mat.Data[float32](p), rounded[path]) {
			t.Errorf("%s did not stay as it was rounded", path)
		}
	})
}

// TestNoPostNorm: a tower that ends with its last block has every layer's features, and no embedding.
func TestNoPostNorm(t *testing.T) {
	whole, f := tinyTower(t, "quick_gelu")
	c := whole.Config
	c.NoPostNorm = true
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "want 0 for a tower without post-norm") {
		t.Errorf("error is %v, want that there can be no projection", err)
	}
	c.EmbedDim = 0
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	params.Walk(m, func(name string, p *nn.Param) {
		if strings.HasPrefix(name, "PostNorm") {
			t.Errorf("there is a %s", name)
		}
		mat.SetData(p.Value(), f.Float32("param/"+name))
	})
	m.Freeze()
	m.Unfreeze()
	want, _ := whole.Features(matrix(f.Float32("patches"), f.Shape("patches")), -1)
	got, err := m.Features(matrix(f.Float32("patches"), f.Shape("patches")), -1)
	if err != nil || !slices.Equal(got.Value().Data().F32(), want.Value().Data().F32()) {
		t.Errorf("features differ, %v", err)
	}
	if _, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9))); err == nil || !strings.Contains(err.Error(), "no post-norm") {
		t.Errorf("error is %v, want that there is no embedding", err)
	}
	defer func() {
		if r := recover(); !strings.Contains(fmt.Sprint(r), "without post-norm") {
			t.Errorf("panic is %v, want that the tower has no post-norm", r)
		}
	}()
	m.Embedding(matrix(f.Float32("patches"), f.Shape("patches")))
	t.Error("there is an embedding")
}
