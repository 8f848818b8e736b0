package finetune

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
)

// A captionSource gives images in memory with captions.
type captionSource struct {
	memorySource
	captions []string
}

func (s *captionSource) Batches(ctx context.Context, epoch, from int) iter.Seq2[*data.Batch, error] {
	return func(yield func(*data.Batch, error) bool) {
		for b, err := range s.memorySource.Batches(ctx, epoch, from) {
			if err == nil {
				for _, i := range b.Index {
					b.Captions = append(b.Captions, s.captions[i])
				}
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// letters are the words of the tiny CLIP in the golden file: 24 letters, the same at the end of a word, and
// those that begin and end a text.
func letters(t testing.TB) *cliptext.Tokenizer {
	t.Helper()
	words := map[string]int{"<|startoftext|>": 48, "<|endoftext|>": 49}
	for i := range 24 {
		l := string(rune('a' + i))
		words[l], words[l+"</w>"] = i, 24+i
	}
	k, err := cliptext.NewTokenizerOf(words, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// captionOf writes words as the caption that has them.
func captionOf(words []int64) string {
	var b strings.Builder
	for _, w := range words[1:] {
		switch {
		case w == 49:
			return strings.TrimSpace(b.String())
		case w < 24:
			b.WriteRune(rune('a' + w))
		default:
			b.WriteRune(rune('a' + w - 24))
			b.WriteByte(' ')
		}
	}
	panic("no end")
}

const tinyCLIP = "testdata/tiny/huggingface"

// pairTask is the run of testdata/gen/contrastive.py, with steps of so many batches.
func pairTask(t testing.TB, batch, accumulate int) (Config, *golden.File) {
	t.Helper()
	f := golden.Load(t, "testdata/tiny/contrastive.npz")
	tower, err := converter.Load(golden.Path(t, tinyCLIP))
	if err != nil {
		t.Fatal(err)
	}
	source, err := converter.Open(golden.Path(t, tinyCLIP))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	text, err := source.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &captionSource{memorySource: memorySource{patches: f.Float32("patches"), config: tower.Config, batch: batch}}
	for words := range slices.Chunk(f.Int64("words"), f.Shape("words")[1]) {
		s.captions = append(s.captions, captionOf(words))
	}
	s.labels = make([]int, len(s.captions))
	return Config{
		Tower: tower, Objective: &Contrastive{Text: text, Tokenizer: letters(t)}, Train: s,
		Recipe: Recipe{
			Name: "golden", Tower: Complete, Captions: true, Rate: 2e-4, TextRate: 3e-4, ScaleRate: 0.01, WeightDecay: 0.1, LayerDecay: 1,
			Betas: [2]float64{0.9, 0.98}, Schedule: Constant, Clip: 1, Epochs: 5, Batch: batch, Accumulate: accumulate,
		},
	}, f
}

// gradientsOf returns those of all parameters, per pair.
func gradientsOf(t *Trainer, pairs int) map[string][]float32 {
	all := map[string][]float32{}
	params.Walk(&t.model, func(path string, p *nn.Param) {
		g := slices.Clone(p.Grad().Data().F32())
		for i := range g {
			g[i] /= float32(pairs)
		}
		all[path] = g
	})
	return all
}

// TestContrastiveGradients: the loss and all gradients are those of transformers' CLIPModel, whether all pairs go
// through the towers together, a few at a time, or one by one; and blocks computed again or not.
func TestContrastiveGradients(t *testing.T) {
	var together map[string][]float32
	for _, batch := range []int{12, 5, 1} {
		for _, recompute := range []bool{false, true} {
			c, f := pairTask(t, batch, (11+batch)/batch)
			c.Recompute = recompute
			tr, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			var step []*data.Batch
			for b := range c.Train.Batches(t.Context(), 0, 0) {
				step = append(step, b)
			}
			var s sum
			if err := tr.learner.learn(step, &s); err != nil {
				t.Fatal(err)
			}
			what := fmt.Sprintf("batches of %d, again %v: ", batch, recompute)
			golden.Compare(t, what+"loss", []float32{float32(s.loss / 12)}, f.Float32("loss"), 1e-5)
			got := gradientsOf(tr, 12)
			for path, g := range got {
				golden.Compare(t, what+path, g, f.Float32("grad/"+path), 1e-4)
			}
			if n := strings.Count(strings.Join(f.Names(), " "), "grad/"); n != len(got) {
				t.Errorf("%d gradients, want %d", len(got), n)
			}
			if together == nil {
				together = got
			}
			for path, g := range together {
				golden.Compare(t, what+"beside all together "+path, got[path], g, 1e-5)
			}
		}
	}
}

// TestContrastiveAlike: captions that are one share their images' targets.
func TestContrastiveAlike(t *testing.T) {
	c, f := pairTask(t, 12, 1)
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	o := c.Objective.(*Contrastive)
	for b := range c.Train.Batches(t.Context(), 0, 0) {
		p, err := tr.learner.(*pairing).embed(b, c.Train)
		if err != nil {
			t.Fatal(err)
		}
		p.words = slices.Clone(p.words) // of texts that are still embedded as they were
		p.words[1], p.words[2], p.words[4] = p.words[0], p.words[0], p.words[3]
		loss := p.loss(o)
		golden.Compare(t, "loss", loss.Value().Data().F32(), f.Float32("alike_loss"), 1e-5)
		if err := ag.Backward(loss); err != nil {
			t.Fatal(err)
		}
	}
	got := gradientsOf(tr, 1)
	for _, path := range []string{"Tower.Proj", "Text.Token"} {
		golden.Compare(t, path, got[path], f.Float32("alike/"+path), 1e-4)
	}
}

// TestContrastiveCurve: ten steps follow PyTorch's, however many pairs go through the towers at a time.
func TestContrastiveCurve(t *testing.T) {
	for _, batch := range []int{6, 4, 1} {
		t.Run(fmt.Sprintf("batches of %d", batch), func(t *testing.T) {
			c, f := pairTask(t, batch, 1)
			c.Recipe.Accumulate = 6 / batch
			if batch == 4 { // that do not divide a step: each of all pairs, which no golden has
				c.Recipe.Accumulate = 3
			}
			var scales []float32
			text := c.Objective.(*Contrastive).Text
			c.Sinks = []history.Sink{history.SinkFunc(func(history.Event) error {
				scales = append(scales, mat.Data[float32](text.LogitScale)[0])
				return nil
			})}
			_, r := run(t, c)
			if batch == 4 {
				if got := float32(r.History[0].Loss); math.Abs(float64(got-f.Float32("loss")[0])) > 1e-4 {
					t.Errorf("loss of all pairs is %v, want %v", got, f.Float32("loss"))
				}
				return
			}
			if len(r.History) != 10 {
				t.Fatalf("%d steps, want 10", len(r.History))
			}
			for i, e := range r.History {
				for _, v := range []struct {
					name      string
					got, want float64
				}{
					{"loss", e.Loss, float64(f.Float32("curve_loss")[i])},
					{"norm", e.Norm, float64(f.Float32("curve_norm")[i])},
					{"scale", float64(scales[i]), float64(f.Float32("curve_scale")[i])},
				} {
					if !(math.Abs(v.got-v.want) <= 1e-4*max(1, v.want)) {
						t.Errorf("step %d: %s is %v, want %v", i+1, v.name, v.got, v.want)
					}
				}
			}
			final := map[string][]float32{}
			params.Walk(&parts{Tower: c.Tower, Text: text}, func(path string, p *nn.Param) { final[path] = mat.Data[float32](p) })
			for _, path := range []string{"Tower.Blocks.1.Attn.Out.W", "Text.Blocks.0.Attn.Out.W", "Text.Token"} {
				golden.Compare(t, path, final[path], f.Float32("final/"+path), 1e-4)
			}
		})
	}
}

// TestContrastiveOverfits: pairs can be learnt by heart, by each part that may learn them; what is locked stays to
// the bit, and the scale is held at 100.
func TestContrastiveOverfits(t *testing.T) {
	for _, part := range []struct {
		name   string
		change func(r *Recipe)
		scale  float32 // logarithm of what cosines are multiplied with; 0 is the model's
		loss   float64 // ln 2 twice of twelve is of captions that are one
		recall float64
	}{
		{"both", func(*Recipe) {}, 0, 0.2, 1},
		{"lora", func(r *Recipe) {
			r.Tower, r.LoRA, r.Rate = LowRank, adapter.LoRA{Rank: 4, Alpha: 4, Targets: adapter.Targets}, 3e-3
		}, 0, 0.2, 1},
		{"texts", func(r *Recipe) { r.Tower, r.ScaleRate, r.Epochs = None, 0, 150 }, 0, 0.3, 1},
		// The random embeddings of the locked texts lie close together: no images are near one alone.
		{"images", func(r *Recipe) { r.TextRate, r.ScaleRate, r.Rate, r.Epochs = 0, 0, 2e-3, 100 }, 4, 0.8, 0.7},
	} {
		t.Run(part.name, func(t *testing.T) {
			if testing.Short() && part.name != "both" {
				t.Skip("the others learn as it does, longer")
			}
			c, _ := pairTask(t, 4, 3)
			o := c.Objective.(*Contrastive)
			c.Recipe.Epochs, c.Recipe.Schedule, c.Recipe.Rate, c.Recipe.TextRate, c.Recipe.ScaleRate = 60, Cosine, 1e-3, 1e-3, 0.02
			part.change(&c.Recipe)
			if part.scale > 0 {
				mat.Data[float32](o.Text.LogitScale)[0] = part.scale
			}
			s := c.Train.(*captionSource)
			s.captions[7] = s.captions[2] + " " // the same words
			c.Validation = &captionSource{memorySource: s.memorySource, captions: s.captions}
			c.Validation.(*captionSource).batch = 5
			before := weightsOf(&Trainer{model: parts{Tower: c.Tower, Text: o.Text}})
			tr, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, first, err := tr.Evaluate(t.Context(), c.Validation); err != nil || first > 0.5 {
				t.Fatalf("recall is %v before, and there is nothing to learn: %v", first, err)
			}
			r, err := tr.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			loss, recall, err := tr.Evaluate(t.Context(), c.Validation)
			if err != nil || recall < part.recall || r.Best.Score < part.recall {
				t.Errorf("loss %v, recall %v: %v", loss, recall, err)
			}
			if last := r.History[len(r.History)-2]; !(last.Loss < part.loss) || last.Images != 12 {
				t.Errorf("last step: %+v", last)
			}
			after := weightsOf(tr)
			for path, w := range before {
				locked := strings.HasPrefix(path, "Text.") && c.Recipe.TextRate == 0 || strings.HasPrefix(path, "Tower.") && c.Recipe.Tower != Complete
				if path == "Text.LogitScale" {
					locked = c.Recipe.ScaleRate == 0
				}
				if slices.Equal(after[path], w) != locked {
					t.Errorf("%s changed: %v", path, locked)
				}
			}
			if scale := o.Text.Scale(); scale > 100.0001 {
				t.Errorf("scale is %v", scale)
			}
		})
	}
}

func TestClamp(t *testing.T) {
	c, _ := pairTask(t, 12, 1)
	o := c.Objective.(*Contrastive)
	scale := mat.Data[float32](o.Text.LogitScale)
	for _, v := range [][2]float32{{4.7, maxLogitScale}, {-0.1, 0}, {3, 3}} {
		scale[0] = v[0]
		if o.clamp(); scale[0] != v[1] {
			t.Errorf("%v becomes %v, want %v", v[0], scale[0], v[1])
		}
	}
	scale[0] = float32(math.NaN())
	if o.clamp(); scale[0] == scale[0] {
		t.Error("NaN is hidden")
	}
	// A scale that is frozen stays what it is, a learnt one comes back.
	for rate, want := range map[float64]float64{0: 5, 1e-6: math.Log(100)} {
		c, _ := pairTask(t, 6, 2)
		o := c.Objective.(*Contrastive)
		mat.Data[float32](o.Text.LogitScale)[0] = 5
		c.Recipe.ScaleRate, c.MaxSteps = rate, 1
		run(t, c)
		if got := float64(mat.Data[float32](o.Text.LogitScale)[0]); math.Abs(got-want) > 1e-5 {
			t.Errorf("rate %v: scale is %v, want %v", rate, got, want)
		}
	}
}

// TestContrastiveResume: a run that is interrupted amid a step comes to the same bits.
func TestContrastiveResume(t *testing.T) {
	config := func(dir string) Config {
		c, _ := pairTask(t, 4, 2)
		c.Recipe.EMA, c.Recipe.Epochs = 0.9, 4
		c.Dir, c.Resume, c.CheckpointEvery = dir, true, 2
		return c
	}
	straight, want := run(t, config(t.TempDir()))
	dir := t.TempDir()
	c := config(dir)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	c.Train.(*captionSource).yielded = func(*data.Batch) {
		if n++; n == 8 { // the second of step 6
			cancel()
		}
	}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(ctx); err == nil {
		t.Fatal("it was not interrupted")
	}
	again, got := run(t, config(dir))
	sameBits(t, "resumed", weightsOf(again), weightsOf(straight))
	if g, w := curve(got.History), curve(want.History); fmt.Sprint(g) != fmt.Sprint(w) {
		t.Errorf("history %v\nwant %v", g, w)
	}
	c = config(dir)
	mat.Data[float32](c.Objective.(*Contrastive).Text.Token)[0]++
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "objective: contrastive with the text tower ") {
		t.Errorf("another text tower: %v", err)
	}
}

// TestContrastiveGroups: what learns is in groups of its own, with rates that fall from layer to layer, and the scale
// has no decay.
func TestContrastiveGroups(t *testing.T) {
	c, _ := pairTask(t, 12, 1)
	c.Recipe.LayerDecay = 0.5
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, g := range tr.groups {
		got[fmt.Sprint(g.Name, " ", g.WeightDecay)] = g.Rate
	}
	for name, rate := range map[string]float64{
		"Text.LogitScale 0": 0.01, "Text.Token 0.1": 3e-4 / 4, "Text.Position 0": 3e-4 / 4, "Text.Blocks.0 0.1": 3e-4 / 2, "Text.Blocks.0 0": 3e-4 / 2,
		"Text.FinalNorm 0": 3e-4, "Text.Proj 0.1": 3e-4, "Tower.Proj 0.1": 2e-4, "Tower.Blocks.1 0.1": 1e-4,
	} {
		if g, ok := got[name]; !ok || math.Abs(g-rate) > 1e-12 {
			t.Errorf("%s: rate %v, want %v (%v)", name, g, rate, slices.Sorted(maps.Keys(got)))
		}
	}
	table := tr.Table()
	for _, line := range []string{"Text.LogitScale           1            1       0.01       0", "Text.Token                1         3200    7.5e-05     0.1", "frozen                    0            0"} {
		if !strings.Contains(table, line) {
			t.Errorf("no %q in\n%s", line, table)
		}
	}
	r, err := FindRecipe("contrastive")
	if err != nil || r.ScaleRate != 0 || !r.Captions {
		t.Errorf("%+v %v", r, err)
	}
}

// TestContrastiveMemory: more batches in a step take no more than their patches and embeddings.
func TestContrastiveMemory(t *testing.T) {
	memory := func(batch, accumulate int) Memory {
		c, _ := pairTask(t, batch, accumulate)
		tr, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		return tr.Memory()
	}
	one, three, whole := memory(4, 1), memory(4, 3), memory(12, 1)
	patches := int64(4 * 4 * 16 * 108) // of a batch
	if n := three.Data - one.Data; n != 2*patches {
		t.Errorf("%d bytes for the batches of a step, want %d", n, 2*patches)
	}
	if three.Activations >= one.Activations+20000 || whole.Activations < 5*one.Activations/2 {
		t.Errorf("activations %d, of three batches %d, of one as large %d", one.Activations, three.Activations, whole.Activations)
	}
	if text := int64(4 * (50*64 + 9*64)); one.Learning < text || one.Frozen != 0 {
		t.Errorf("%+v", one)
	}
	c, _ := pairTask(t, 4, 3)
	c.MemoryLimit = 1
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "MB with the text tower locked") || !strings.Contains(err.Error(), "MB with the tower of images locked") {
		t.Errorf("no advice to lock a tower: %v", err)
	}
}

// TestContrastiveSave: both towers, their scale and the tokenizer of the directory that they are from are there.
func TestContrastiveSave(t *testing.T) {
	c, _ := pairTask(t, 6, 2)
	c.MaxSteps = 2
	o := c.Objective.(*Contrastive)
	tr, _ := run(t, c)
	for _, like := range []string{tinyCLIP, ""} {
		var source *converter.Model
		if like != "" {
			var err error
			if source, err = converter.Open(golden.Path(t, like)); err != nil {
				t.Fatal(err)
			}
			defer source.Close()
		}
		dir := filepath.Join(t.TempDir(), "model")
		if err := tr.Save(t.Context(), dir, source, converter.Options{}); err != nil {
			t.Fatal(err)
		}
		tower, err := converter.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := converter.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer saved.Close()
		text, err := saved.Text(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if text.Config != o.Text.Config {
			t.Errorf("text tower %+v, want %+v", text.Config, o.Text.Config)
		}
		sameBits(t, "saved", weightsOf(&Trainer{model: parts{Tower: tower, Text: text}}), weightsOf(tr))
	}
	// Half the way back.
	source, err := converter.Open(golden.Path(t, tinyCLIP))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	original, err := source.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	was, tuned := mat.Data[float32](original.Proj)[3], mat.Data[float32](o.Text.Proj)[3]
	if err := Interpolate(o.Text, original, 0.25); err != nil {
		t.Fatal(err)
	}
	if got, want := mat.Data[float32](o.Text.Proj)[3], 0.75*was+0.25*tuned; got == tuned || math.Abs(float64(got-want)) > 1e-7 {
		t.Errorf("between %v and %v lies %v, want %v", was, tuned, got, want)
	}
	if err := Interpolate(o.Text, original, 2); err == nil {
		t.Error("a share of 2")
	}
	original.Config.Vocab++
	if err := Interpolate(o.Text, original, 0.5); err == nil {
		t.Error("another configuration")
	}
}

func TestContrastiveRefuses(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(c *Config, o *Contrastive, s *captionSource)
		want   string
	}{
		{"no text tower", func(_ *Config, o *Contrastive, _ *captionSource) { o.Text = nil }, "text tower and tokenizer must be given"},
		{"other embeddings", func(c *Config, _ *Contrastive, _ *captionSource) { c.Tower.Config.EmbedDim = 12 }, "embeddings of 12 numbers, that of texts 10"},
		{"patches", func(c *Config, _ *Contrastive, _ *captionSource) { c.Features.Kind = clipvit.Patches }, "embeddings of"},
		{"another vocabulary", func(_ *Config, o *Contrastive, _ *captionSource) { o.Text.Config.End = 48 }, "they are not of one model"},
		{"a pair alone", func(c *Config, _ *Contrastive, _ *captionSource) { c.Recipe.Batch, c.Recipe.Accumulate = 1, 1 }, "steps of 1 pair"},
		{"another objective", func(c *Config, _ *Contrastive, _ *captionSource) { c.Objective = Classification{} }, "captions learnt by a text tower, and the objective is classification"},
		{"rate", func(c *Config, _ *Contrastive, _ *captionSource) { c.Recipe.TextRate = -1 }, "rate of the text tower is -1"},
		{"nothing learns", func(c *Config, _ *Contrastive, _ *captionSource) {
			c.Recipe.Tower, c.Recipe.TextRate, c.Recipe.ScaleRate = None, 0, 0
		}, "nothing learns"},
	} {
		config, _ := pairTask(t, 6, 1)
		c.change(&config, config.Objective.(*Contrastive), config.Train.(*captionSource))
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", c.what, err, c.want)
		}
	}
	// On the way: a source of one's own may have what a loader's data cannot.
	for caption, want := range map[string]string{"  ": "caption 2 of 6 is missing", "abcdefgh": "want at most 9", "ab!": "tokens lacks"} {
		config, _ := pairTask(t, 6, 1)
		config.Train.(*captionSource).captions[1] = caption
		tr, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("caption %q: error is %v, want one with %q", caption, err, want)
		}
	}
	config, _ := pairTask(t, 6, 1)
	config.Objective.(*Contrastive).Truncate = true
	config.Train.(*captionSource).captions[1] = "abcdefghijk"
	config.MaxSteps = 1
	run(t, config)
	mat.Data[float32](config.Objective.(*Contrastive).Text.LogitScale)[0] = 100
	config.Recipe.ScaleRate = 0
	tr, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the loss is") {
		t.Errorf("a scale that is none: %v", err)
	}
}

// TestCheckCaptions: all that is wrong with the captions of a data set is said before the first step.
func TestCheckCaptions(t *testing.T) {
	c, _ := pairTask(t, 6, 1)
	o := c.Objective.(*Contrastive)
	d := &data.Dataset{}
	for i := range 12 {
		d.Samples = append(d.Samples, data.Sample{Path: fmt.Sprintf("%d.png", i), Caption: []string{"", "abcdefgh", "ab cd"}[min(i%8, 2)]})
	}
	for i := range 7 {
		d.Samples = append(d.Samples, data.Sample{Path: fmt.Sprintf("more%d.png", i), Caption: " "})
	}
	err := o.checkCaptions(d)
	for _, want := range []string{
		"9 of 19 pictures have no caption: 0.png, 8.png, more0.png, more1.png, more2.png and 4 more",
		"2 of 19 pictures have captions of more than the 9 tokens that the text tower takes, with begin and end: 1.png (10), 9.png (10); captions may not be cut",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	d.Samples = d.Samples[1:8]
	o.Truncate = true
	if err := o.checkCaptions(d); err != nil {
		t.Error(err)
	}
}
