package finetune

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// memorySource gives images in memory, in order.
type memorySource struct {
	patches []float32 // [N·G²,3P²]
	labels  []int
	config  clipvit.Config
	batch   int
	yielded func(b *data.Batch) // before it is used; nil for nothing
}

func (s *memorySource) Len() int { return (len(s.labels) + s.batch - 1) / s.batch }

func (s *memorySource) Batches(ctx context.Context, epoch, from int) iter.Seq2[*data.Batch, error] {
	return func(yield func(*data.Batch, error) bool) {
		n := s.config.Patches() * s.config.PatchLen()
		for number := from; number < s.Len(); number++ {
			lo, hi := number*s.batch, min((number+1)*s.batch, len(s.labels))
			b := &data.Batch{
				Epoch: epoch, Number: number, Labels: s.labels[lo:hi],
				Patches: matrix(s.patches[lo*n:hi*n], []int{(hi - lo) * s.config.Patches(), s.config.PatchLen()}),
			}
			for i := lo; i < hi; i++ {
				b.Index = append(b.Index, i)
			}
			if s.yielded != nil {
				s.yielded(b)
			}
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
	}
}

// task returns a tower, and the images and labels of the golden file of training.
func task(t testing.TB, batch int) (*clipvit.Model, *memorySource, *golden.File) {
	t.Helper()
	m, _ := tinyTower(t, "quickgelu")
	f := golden.Load(t, "testdata/tiny/finetune.npz")
	s := &memorySource{patches: f.Float32("patches"), config: m.Config, batch: batch}
	for _, l := range f.Int64("labels") {
		s.labels = append(s.labels, int(l))
	}
	return m, s, f
}

var threeClasses = []string{"a", "b", "c"}

// goldenConfig is the run of testdata/gen/finetune.py.
func goldenConfig(t testing.TB, batch int) (Config, *golden.File) {
	m, s, f := task(t, batch)
	return Config{
		Tower: m, Head: NewClassifier(m.Config.EmbedDim, threeClasses), Objective: Classification{Smoothing: 0.1}, Train: s,
		Recipe: Recipe{
			Name: "golden", Tower: Complete, Rate: 2e-3, HeadRate: 1e-2, WeightDecay: 0.05, LayerDecay: 0.75, Betas: [2]float64{0.9, 0.999},
			Schedule: Cosine, Warmup: 3. / 21, Clip: 1, EMA: 0.9, Smoothing: 0.1, Epochs: 7, Batch: batch, Accumulate: 4 / batch,
		},
		MaxSteps: 20,
	}, f
}

func run(t *testing.T, c Config) (*Trainer, *Result) {
	t.Helper()
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := tr.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return tr, r
}

// TestCurve: twenty steps follow PyTorch's, whether the images of a step go through the tower together or
// not.
func TestCurve(t *testing.T) {
	for _, batch := range []int{4, 2, 1} {
		t.Run(fmt.Sprintf("batches of %d", batch), func(t *testing.T) {
			c, f := goldenConfig(t, batch)
			tr, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := tr.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(r.History) != 20 || r.Steps != 20 || r.Best != nil {
				t.Fatalf("%d events of %d steps, best %v", len(r.History), r.Steps, r.Best)
			}
			for i, e := range r.History {
				for _, v := range []struct {
					name      string
					got, want float64
				}{
					{"loss", e.Loss, float64(f.Float32("loss")[i])},
					{"norm", e.Norm, float64(f.Float32("norm")[i])},
					{"accuracy", e.Score, float64(f.Float32("right")[i]) / 4},
				} {
					if math.Abs(v.got-v.want) > 1e-4*max(1, v.want) {
						t.Errorf("step %d: %s is %v, want %v", i+1, v.name, v.got, v.want)
					}
				}
			}
			// After Run the model has the averages.
			loss, _, err := tr.Evaluate(context.Background(), c.Train)
			if want := float64(f.Float32("average_loss")[0]); err != nil || math.Abs(loss-want) > 1e-4 {
				t.Errorf("loss with averages is %v, want %v: %v", loss, want, err)
			}
			tr.ema.Swap()
			for _, name := range []string{"Embed.Patch", "Blocks.1.Attn.QKV.W"} {
				params.Walk(c.Tower, func(path string, p *nn.Param) {
					if path == name {
						golden.Compare(t, name, mat.Data[float32](p), f.Float32("final/"+name), 1e-4)
					}
				})
			}
		})
	}
}

// weightsOf returns the weights of a run's tower and head.
func weightsOf(t *Trainer) map[string][]float32 {
	all := map[string][]float32{}
	params.Walk(&t.model, func(path string, p *nn.Param) { all[path] = slices.Clone(mat.Data[float32](p)) })
	return all
}

func sameBits(t *testing.T, what string, got, want map[string][]float32) {
	t.Helper()
	for path, w := range want {
		if !slices.Equal(got[path], w) {
			t.Errorf("%s: %s differs", what, path)
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("%s: other parameters", what)
	}
}

// TestResume: however often a run is interrupted, wherever, it comes to the same bits, by every recipe.
func TestResume(t *testing.T) {
	errStop := errors.New("stop")
	for _, part := range []Part{None, LowRank, Last, Complete} {
		t.Run(string(part), func(t *testing.T) {
			config := func(dir string) Config {
				c, _ := goldenConfig(t, 2)
				c.Recipe.Tower, c.Recipe.Blocks, c.Recipe.LoRA = part, 1, adapter.LoRA{Rank: 2, Alpha: 2, Targets: []string{"q_proj", "k_proj", "v_proj", "fc1"}}
				c.Dir, c.Resume, c.CheckpointEvery, c.ValidateEvery = dir, true, 4, 3
				_, c.Validation, _ = task(t, 5)
				return c
			}
			straight, want := run(t, config(t.TempDir()))
			dir := t.TempDir()
			for runs := 1; ; runs++ {
				c := config(dir)
				ctx, cancel := context.WithCancelCause(context.Background())
				batches := 0
				for _, s := range []Source{c.Train, c.Validation} {
					s.(*memorySource).yielded = func(*data.Batch) {
						if batches++; batches == 17 { // in training and in validation
							cancel(errStop)
						}
					}
				}
				tr, err := New(c)
				if err != nil {
					t.Fatal(err)
				}
				r, err := tr.Run(ctx)
				cancel(nil)
				if errors.Is(err, errStop) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if runs < 3 {
					t.Errorf("%d runs: it was hardly interrupted", runs)
				}
				sameBits(t, "resumed", weightsOf(tr), weightsOf(straight))
				if got, want := curve(r.History), curve(want.History); !reflect.DeepEqual(got, want) {
					t.Errorf("history %v\nwant %v", got, want)
				}
				if r.Best.Step != want.Best.Step || r.Best.Score != want.Best.Score {
					t.Errorf("best %+v, want %+v", r.Best, want.Best)
				}
				break
			}
		})
	}
}

// curve returns what of events does not depend on the clock.
func curve(events []history.Event) []history.Event {
	events = slices.Clone(events)
	for i := range events {
		events[i].Seconds, events[i].Rate = 0, 0
	}
	return events
}

// TestKill: what a run leaves when it ends without a word is enough to go on to the same bits: files in the
// making are ignored, and lines of the journal after the checkpoint are dropped.
func TestKill(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	straight, want := run(t, c)

	dir := t.TempDir()
	c, _ = goldenConfig(t, 4)
	c.Dir, c.CheckpointEvery = dir, 6
	killed := errors.New("killed")
	c.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
		if e.Step == 15 {
			return killed
		}
		return nil
	})}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(context.Background()); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(dir, ".checkpoint-00000015.partial-1"), 0o777)
	journal, _ := os.OpenFile(filepath.Join(dir, metricsFile), os.O_APPEND|os.O_WRONLY, 0)
	journal.WriteString(`{"kind":"train","st`)
	journal.Close()
	defer func() {
		if left, _ := filepath.Glob(filepath.Join(dir, ".*"+".partial-"+"*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}()

	c, _ = goldenConfig(t, 4)
	c.Dir, c.Resume = dir, true
	if tr, err = New(c); err != nil || tr.Step() != 12 {
		t.Fatalf("resumed at step %d, want 12: %v", tr.Step(), err)
	}
	r, err := tr.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	sameBits(t, "resumed", weightsOf(tr), weightsOf(straight))
	if !reflect.DeepEqual(curve(r.History), curve(want.History)) {
		t.Error("another history")
	}
	all, _ := numbered(dir, checkpointPrefix)
	if len(all) != checkpointsKept || all[1].step != 20 {
		t.Errorf("checkpoints %v, want %d, the last of step 20", all, checkpointsKept)
	}
	// Once more: there is nothing left to do.
	c, _ = goldenConfig(t, 4)
	c.Dir, c.Resume = dir, true
	tr, r = run(t, c)
	sameBits(t, "done already", weightsOf(tr), weightsOf(straight))
	if len(r.History) != 20 {
		t.Errorf("%d events", len(r.History))
	}
}

// TestBest: in the end the model has the weights that were best in validation, and it stops when they do not
// get better.
func TestBest(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		c, _ := goldenConfig(t, 4)
		_, c.Validation, _ = task(t, 4)
		c.Recipe.Rate, c.Recipe.HeadRate, c.Recipe.EMA, c.Recipe.Schedule = 0.3, 0.3, 0, Constant // far too high
		c.Dir, c.ValidateEvery, c.Patience = dir, 1, 4
		tr, r := run(t, c)
		if r.Best == nil || !strings.Contains(r.Stopped, "4 validations without a better accuracy") || r.Steps != r.Best.Step+4 {
			t.Fatalf("stopped after %d steps, best %+v: %s", r.Steps, r.Best, r.Stopped)
		}
		if r.Best.Step == r.Steps {
			t.Fatal("the last was the best: nothing is tested")
		}
		loss, score, err := tr.Evaluate(context.Background(), c.Validation)
		if err != nil || loss != r.Best.Loss || score != r.Best.Score {
			t.Errorf("loss %v, accuracy %v, want %+v: %v", loss, score, r.Best, err)
		}
		if dir == "" {
			continue
		}
		c, _ = goldenConfig(t, 4) // stopped for good: resuming does not go on
		_, c.Validation, _ = task(t, 4)
		c.Recipe.Rate, c.Recipe.HeadRate, c.Recipe.EMA, c.Recipe.Schedule = 0.3, 0.3, 0, Constant
		c.Dir, c.ValidateEvery, c.Patience, c.Resume = dir, 1, 4, true
		if _, again := run(t, c); again.Steps != r.Steps || again.Stopped == "" {
			t.Errorf("%d steps, want %d: %s", again.Steps, r.Steps, again.Stopped)
		}
	}
}

// TestNotFinite: a loss or a gradient that is no number stops the run and is named, and the last checkpoint
// stays.
func TestNotFinite(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	c.Dir, c.CheckpointEvery = t.TempDir(), 2
	s := c.Train.(*memorySource)
	batches := 0
	s.yielded = func(b *data.Batch) {
		if batches++; batches == 6 {
			b.Patches.Data().F32()[7] = float32(math.NaN())
		}
	}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var wrong *optim.NonFiniteError
	if _, err = tr.Run(context.Background()); !errors.As(err, &wrong) || wrong.Step != 6 || wrong.What != "loss" {
		t.Fatalf("error is %v, want one of the loss of step 6", err)
	}
	if last, err := LastCheckpoint(c.Dir); filepath.Base(last) != "checkpoint-00000004" {
		t.Errorf("last checkpoint is %s: %v", last, err)
	}
}

// A spoiler is an objective that leaves a gradient of its own with a parameter, at one step.
type spoiler struct {
	Classification
	p    *nn.Param
	left *int // batches before
}

func (o spoiler) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	if *o.left--; *o.left == 0 {
		g := mat.NewDense[float32](mat.WithShape(o.p.Shape()...))
		g.Data().F32()[3] = float32(math.Inf(-1))
		o.p.AccGrad(g)
	}
	return o.Classification.Judge(y, b)
}

// TestGradientNotFinite: the tensor and the step are named, and the weights stay as they were.
func TestGradientNotFinite(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	c.MaxSteps = 5
	before, _ := run(t, c)
	c, _ = goldenConfig(t, 4)
	c.Dir = t.TempDir()
	c.Objective = spoiler{Classification{Smoothing: 0.1}, c.Tower.Blocks[1].MLP.Up.W, new(6)}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var wrong *optim.NonFiniteError
	if _, err = tr.Run(context.Background()); !errors.As(err, &wrong) || *wrong != (optim.NonFiniteError{Path: "Tower.Blocks.1.MLP.Up.W", Step: 6, What: "gradient", Value: math.Inf(-1)}) {
		t.Fatalf("error is %v", err)
	}
	before.ema.Swap()
	sameBits(t, "before the step", weightsOf(tr), weightsOf(before))
}

// TestRefuses: what cannot be trained is an error that says why.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	c, _ := goldenConfig(t, 4)
	c.Dir, c.MaxSteps = dir, 1
	run(t, c)
	other, _ := tinyTower(t, "quickgelu")
	mat.Data[float32](other.PreNorm.B)[0]++
	for _, r := range []struct {
		what   string
		change func(c *Config)
		want   string
	}{
		{"no tower", func(c *Config) { c.Tower = nil }, "must be given"},
		{"no epochs", func(c *Config) { c.Recipe.Epochs = 0 }, "epochs is 0, want 1 to 1048576"},
		{"NaN", func(c *Config) { c.Recipe.Rate = math.NaN() }, "rate is NaN"},
		{"layer", func(c *Config) { c.Features = clipvit.Features{Kind: clipvit.Patches, Layer: 9} }, "layer is 9, want -4 to 3"},
		{"blocks", func(c *Config) { c.Recipe.Tower, c.Recipe.Blocks = Last, 4 }, "more blocks are to learn than are used: the last 4 blocks of 3"},
		{"part", func(c *Config) { c.Recipe.Tower = "some" }, `"some", want none`},
		{"nothing learns", func(c *Config) { c.Recipe.Tower, c.Head = None, nil }, "nothing learns"},
		{"fixed head", func(c *Config) { c.Recipe = XComposer(true, true) }, "nothing learns"},
		{"memory", func(c *Config) { c.MemoryLimit = 1e5 }, "the limit is 0.1 MB; it would take 0.3 MB by the recipe \"probe\", 0.4 MB with batches of 1, 4 to a step, 0.7 MB by the recipe \"lora\", 0.8 MB without averages (EMA 0), "},
		{"negative numbers", func(c *Config) { c.Patience, c.MaxSteps = -1, -2 }, "patience is -1, want 0 or more\nfinetune: most steps is -2"},
		{"patience", func(c *Config) { c.Patience = 2 }, "patience is 2, and there are no data to validate on"},
		{"a directory in use", func(c *Config) { c.Dir = dir }, "holds checkpoints of a run (checkpoint-00000001)"},
		{"another tower", func(c *Config) { c.Dir, c.Resume, c.Tower = dir, true, other }, "weights of the tower"},
		{"another recipe", func(c *Config) { c.Dir, c.Resume, c.Recipe.Rate = dir, true, 1e-3 }, "recipe: "},
		{"another head", func(c *Config) {
			c.Dir, c.Resume, c.Head = dir, true, NewClassifier(c.Tower.Config.EmbedDim, []string{"a", "b", "c", "d"})
		}, "head: "},
		{"other data", func(c *Config) { c.Dir, c.Resume, c.Train.(*memorySource).labels = dir, true, []int{1, 2} }, "data: 3 batches, now 1 batches"},
	} {
		c, _ := goldenConfig(t, 4)
		r.change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: error is %v, want one with %q", r.what, err, r.want)
		}
	}
	// What only shows with the first batch.
	c, _ = goldenConfig(t, 4)
	c.Train.(*memorySource).labels[5] = 3
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "sample 5 has label 3, want 0 to 2") {
		t.Errorf("a label without class: %v", err)
	}
}

// TestLock: two runs do not share a directory.
func TestLock(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	c.Dir = t.TempDir()
	first, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := goldenConfig(t, 4)
	other.Dir = c.Dir
	if _, err := New(other); err == nil || !strings.Contains(err.Error(), "another run is at work") {
		t.Errorf("error is %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, other)
}

// TestDamage: a checkpoint that is damaged is an error, not another training.
func TestDamage(t *testing.T) {
	for _, file := range []string{stateFile, learningFile, optimizerFile, averagesFile} {
		c, _ := goldenConfig(t, 4)
		c.Dir, c.MaxSteps, c.CheckpointEvery = t.TempDir(), 2, 1
		run(t, c)
		last, _ := LastCheckpoint(c.Dir)
		path := filepath.Join(last, file)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(path, b[:len(b)-9], 0o666)
		dir := c.Dir
		c, _ = goldenConfig(t, 4)
		c.Dir, c.Resume = dir, true
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "without "+last+" it goes on") {
			t.Errorf("%s is cut short: error is %v", file, err)
		}
		os.RemoveAll(last) // as it says
		if tr, err := New(c); err != nil || tr.Step() != 1 {
			t.Errorf("%s: the checkpoint before: %v", file, err)
		} else if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestParts: what learns is what the recipe says, to the last parameter.
func TestParts(t *testing.T) {
	for _, c := range []struct {
		recipe   string
		change   func(r *Recipe)
		features clipvit.Features
		learns   func(path string) bool
	}{
		{"probe", nil, clipvit.Features{}, func(p string) bool { return strings.HasPrefix(p, "Head.") }},
		{"lora", nil, clipvit.Features{}, func(p string) bool { return strings.HasPrefix(p, "Head.") || strings.Contains(p, "QKVLoRA") }},
		{"lora", nil, clipvit.Features{Kind: clipvit.Patches, Layer: -2}, func(p string) bool {
			return strings.HasPrefix(p, "Head.") || strings.Contains(p, "QKVLoRA") && !strings.Contains(p, "Blocks.2")
		}},
		{"last-n", func(r *Recipe) { r.Blocks = 1 }, clipvit.Features{}, func(p string) bool {
			return strings.HasPrefix(p, "Head.") || strings.Contains(p, "Blocks.2.") || strings.Contains(p, "PostNorm") || p == "Tower.Proj"
		}},
		{"last-n", func(r *Recipe) { r.Blocks = 1 }, clipvit.Features{Kind: clipvit.Patches, Layer: -2}, func(p string) bool { return strings.HasPrefix(p, "Head.") || strings.Contains(p, "Blocks.1.") }},
		{"full", nil, clipvit.Features{}, func(string) bool { return true }},
		{"full", nil, clipvit.Features{Kind: clipvit.Patches, Layer: 2}, func(p string) bool {
			return !strings.Contains(p, "Blocks.2.") && !strings.Contains(p, "PostNorm") && p != "Tower.Proj"
		}},
		{"xcomposer", func(r *Recipe) { *r = XComposer(true, false) }, clipvit.Features{Kind: clipvit.Patches, Layer: -1}, func(p string) bool { return strings.HasPrefix(p, "Head.") }},
		{"xcomposer", func(r *Recipe) { *r = XComposer(false, true) }, clipvit.Features{Kind: clipvit.Patches, Layer: -1}, func(p string) bool {
			return !strings.HasPrefix(p, "Head.") && !strings.Contains(p, "PostNorm") && p != "Tower.Proj"
		}},
	} {
		m, s, _ := task(t, 4)
		r, err := FindRecipe(c.recipe)
		if err != nil {
			t.Fatal(err)
		}
		if c.change != nil {
			c.change(&r)
		}
		_, width := rowsAndWidth(orEmbedding(c.features), m.Config)
		tr, err := New(Config{
			Tower: m, Features: c.features, Head: NewClassifier(width, threeClasses), Objective: Classification{}, Train: s, Recipe: r,
		})
		if err != nil {
			t.Fatalf("%s: %v", c.recipe, err)
		}
		learning := map[string]bool{}
		for _, p := range tr.learning() {
			learning[p.Path] = true
		}
		params.Walk(&tr.model, func(path string, p *nn.Param) {
			if want := c.learns(path); learning[path] != want || p.RequiresGrad() != want {
				t.Errorf("%s, %+v: %s learns: %v, wants a gradient: %v; want %v", c.recipe, c.features, path, learning[path], p.RequiresGrad(), want)
			}
		})
	}
	if _, err := FindRecipe("fulll"); err == nil || !strings.Contains(err.Error(), "probe, projector, lora, last-n, full, xcomposer") {
		t.Error(err)
	}
	for _, r := range Recipes {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

// TestRecompute: a run that computes blocks again comes to the same, but for the rounding of fused
// activations, and does so where it would not fit otherwise.
func TestRecompute(t *testing.T) {
	for _, part := range []Part{LowRank, Last, Complete} {
		config := func() Config {
			c, _ := goldenConfig(t, 4)
			c.Recipe.Tower, c.Recipe.Blocks, c.Recipe.LoRA = part, 3, adapter.LoRA{Rank: 2, Alpha: 2, Targets: adapter.Targets}
			return c
		}
		keeps, want := run(t, config())
		c := config()
		c.Recompute = true
		recomputes, got := run(t, c)
		for i, e := range got.History {
			if math.Abs(e.Loss-want.History[i].Loss) > 1e-5 {
				t.Errorf("%s: loss of step %d is %v, want %v", part, i+1, e.Loss, want.History[i].Loss)
			}
		}
		c = config()
		c.MemoryLimit, c.Dir, c.MaxSteps = keeps.Memory().Total()-1, t.TempDir(), 11
		run(t, c)
		roomy := config() // goes on as it was begun
		roomy.Dir, roomy.Resume = c.Dir, true
		hasTo, _ := run(t, roomy)
		if keeps.Tower.Recompute || !hasTo.Tower.Recompute {
			t.Errorf("%s: recomputes: %v, want false; %v, want true", part, keeps.Tower.Recompute, hasTo.Tower.Recompute)
		}
		sameBits(t, string(part), weightsOf(hasTo), weightsOf(recomputes))
	}
}

// TestTable: the rates of the groups, by hand.
func TestTable(t *testing.T) {
	m, s, _ := task(t, 4)
	r, _ := FindRecipe("full")
	r.Rate, r.LayerDecay = 1, 0.5
	tr, err := New(Config{Tower: m, Head: NewClassifier(10, threeClasses), Objective: Classification{}, Train: s, Recipe: r})
	if err != nil {
		t.Fatal(err)
	}
	got := tr.Table()
	for _, want := range []string{
		"Tower.Embed               2          760     0.0625       0\n",
		"Tower.Embed               1          540     0.0625    0.05\n",
		"Tower.Blocks.0            4         3680      0.125    0.05\n",
		"Tower.Blocks.2            8          232        0.5       0\n",
		"Tower.Proj                1          200          1    0.05\n",
		"Head                      1           30      0.001    0.05\n",
		"frozen                    0            0\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line %q in\n%s", want, got)
		}
	}
}

// TestMemory: the estimate for the tower of XComposer, which is far from the tests' sizes.
func TestMemory(t *testing.T) {
	c := clipvit.ViTL14336
	c.Layers = 1
	m, err := clipvit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := FindRecipe("full")
	r.Batch, r.EMA = 1, 0
	tr := &Trainer{Config: Config{Tower: m, Recipe: r}, model: parts{Tower: m}}
	tr.learner = newImages(tr)
	got := tr.Memory()
	n := int64(4 * (304_293_888 - 23*12_596_224))
	if got.Frozen != 0 || got.Learning != n || got.Gradients != n || got.Optimizer != 2*n || got.Averages != 0 {
		t.Errorf("%+v, want %d bytes of weights", got, n)
	}
	block, last := int64(4*577*(8*1024+2*4096+32)), int64(4*(577*4*1024+5*1024+2*4096))
	if got.Activations != 2*last+block {
		t.Errorf("activations %d, want %d", got.Activations, 2*last+block)
	}
	tr.Tower.Recompute = true
	if got, want := tr.Memory().Activations, 2*last+block+2*4*577*1024; got != want {
		t.Errorf("activations %d where blocks are computed again, want %d", got, want)
	}
	for _, c := range []struct {
		blocks              int
		rows                int64
		keeping, recomputed int64
	}{ // of 24 blocks through which a gradient flows the last has its own gone before the next has any
		{0, 1, block, block},
		{24, 1, 25 * block, 3*block + 24*2*4*577*1024},
		{1, 577, 3 * block, 3*block + 2*4*577*1024},
		{24, 577, 26 * block, 3*block + 24*2*4*577*1024},
	} {
		if got := activations(c.blocks, 577, c.rows, 1024, 4096, 16, false); got != c.keeping {
			t.Errorf("activations of %d blocks, %d rows: %d, want %d", c.blocks, c.rows, got, c.keeping)
		}
		if got := activations(c.blocks, 577, c.rows, 1024, 4096, 16, true); got != c.recomputed {
			t.Errorf("activations of %d blocks, %d rows, computed again: %d, want %d", c.blocks, c.rows, got, c.recomputed)
		}
	}
	tr.Tower.Recompute, tr.Features = false, clipvit.Features{Kind: clipvit.Patches, Layer: -1}
	if got := tr.Memory().Activations; got != 3*block {
		t.Errorf("activations of patches: %d, want %d", got, 3*block)
	}
	if physicalMemory() <= 0 {
		t.Error("no memory")
	}
}

// TestMemoryMeasured: what the heap holds at most, what waits to be collected included, is what was estimated,
// about, by every recipe. When the collector comes differs from run to run by a fifth.
func TestMemoryMeasured(t *testing.T) {
	config := clipvit.Config{ImageSize: 112, PatchSize: 14, Width: 128, Heads: 2, MLPWidth: 512, Layers: 4, EmbedDim: 64, NormEps: 1e-5, Activation: transformer.QuickGELU}
	heap := func() float64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return float64(s[0].Value.Uint64())
	}
	for _, part := range []Part{None, LowRank, Last, Complete} {
		for _, recompute := range []bool{false, true} {
			if part == None && recompute || testing.Short() && part != Complete {
				continue
			}
			kernel.Drain() // of what the recipe before left
			for range 3 {  // what pools hold survives the first
				runtime.GC()
			}
			base := heap()
			m, rng := tiny.New(t, clipvit.New, config), rand.New(rand.NewPCG(1, 2))
			tiny.Fill(m, func() float32 { return float32(rng.NormFloat64()) / 16 })
			r, _ := FindRecipe("full")
			r.Tower, r.Blocks, r.LoRA, r.Batch, r.Accumulate, r.Epochs = part, 2, adapter.LoRA{Rank: 4, Alpha: 4, Targets: []string{"q_proj", "v_proj"}}, 8, 1, 2
			s := &memorySource{patches: make([]float32, 8*m.Config.Patches()*m.Config.PatchLen()), labels: make([]int, 8), config: m.Config, batch: 8}
			tr, err := New(Config{Tower: m, Head: NewClassifier(64, threeClasses), Objective: Classification{}, Train: s, Recipe: r, Recompute: recompute})
			if err != nil {
				t.Fatal(err)
			}
			peak, done := 0.0, make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(200 * time.Microsecond):
						peak = max(peak, heap()-base)
					}
				}
			})
			_, err = tr.Run(context.Background())
			close(done)
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			estimate := float64(tr.Memory().Total())
			t.Logf("%s, recompute %v: %.1f MB estimated, %.1f MB measured", part, recompute, estimate/1e6, peak/1e6)
			if ratio := estimate / peak; ratio < 0.6 || ratio > 1.8 {
				t.Errorf("%s, recompute %v: %.1f MB estimated, %.1f MB measured", part, recompute, estimate/1e6, peak/1e6)
			}
		}
	}
}

// TestWarmup: a run of one step learns, though the first step of a warm-up has no rate; of several, the first is never the best.
func TestWarmup(t *testing.T) {
	for _, epochs := range []int{1, 2} {
		c, _ := goldenConfig(t, 4)
		c.Recipe.Warmup, c.Recipe.Epochs, c.Recipe.Accumulate, c.ValidateEvery = 1e-3, epochs, 1<<10, 1
		c.Validation = c.Train
		untrained, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		before := weightsOf(untrained)
		tr, r := run(t, c)
		if r.Steps != epochs || r.Best == nil || r.Best.Step != epochs {
			t.Errorf("%d steps, best %+v", r.Steps, r.Best)
		}
		same := true
		for path, w := range weightsOf(tr) {
			same = same && slices.Equal(w, before[path])
		}
		if same {
			t.Error("nothing was learnt")
		}
	}
}
