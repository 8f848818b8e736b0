package clip

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageencoding"
	_ "github.com/vitago/vitago/tasks/imageencoding/clip"
)

// pixels a side of the pictures: those of the tiny tower's input.
const pixels = 24

// draw writes a folder of n drawn pictures of each of three shapes, from number first on.
func draw(t testing.TB, first, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	if err := shapes.Write(dir, first, n, pixels, false, 1); err != nil {
		t.Fatal(err)
	}
	for _, class := range shapes.Classes()[3:] {
		if err := os.RemoveAll(filepath.Join(dir, class)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load returns the tiny model as the registry does.
func load(t testing.TB) finetuning.Interface {
	t.Helper()
	m, err := tasks.Load[finetuning.Interface](&tasks.Config{ModelsDir: golden.Path(t, "testdata/tiny"), ModelName: "huggingface", DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read returns the content of a file.
func read(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wantError fails the test unless err is what it is to be and has the words.
func wantError(t *testing.T, err, want error, words string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("error is %v, want %q with %q", err, want, words)
	}
	if regexp.MustCompile(`^clip: [^:]*: (adapter|clipvit|converter|data|finetune|job|optim|pillow|probe): `).MatchString(err.Error()) {
		t.Errorf("error %q has the name of another package in front", err)
	}
}

// encode returns what the model in a directory says of a picture, through the registry.
func encode(t *testing.T, dir string, picture []byte) []float32 {
	t.Helper()
	m, err := tasks.Load[imageencoding.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.EncodeImage(t.Context(), picture)
	if err != nil {
		t.Fatal(err)
	}
	return r.Vector.Data().F32()
}

// Every recipe learns the shapes, tells of it on the way, and leaves a model that loads; the one that it
// began with stays as it is.
func TestRecipes(t *testing.T) {
	pictures, more := draw(t, 0, 12), draw(t, 12, 6)
	m := load(t)
	original := golden.Path(t, "testdata/tiny/huggingface")
	before := read(t, original, "model.safetensors")
	for _, c := range []struct {
		recipe string
		o      finetuning.Overrides
		table  string  // in what is said of the beginning
		least  float64 // of the pictures told right; chance tells a third, and every seed tried more than 0.75 and 0.85
	}{
		{"probe", finetuning.Overrides{Epochs: new(40), Batch: new(8), HeadRate: new(0.1)}, "learns                    2", 0.6},
		{"lora", finetuning.Overrides{Epochs: new(12), Accumulate: new(1), Rate: new(0.01), HeadRate: new(0.1), Rank: new(2), Alpha: new(2.0), Targets: []string{"q_proj", "fc1"}}, "learns                   10", 0.7},
		{"last-n", finetuning.Overrides{Epochs: new(12), Accumulate: new(1), Rate: new(0.003), HeadRate: new(0.1), Blocks: new(1)}, "Tower.Blocks.1", 0.7},
		{"full", finetuning.Overrides{Epochs: new(12), Accumulate: new(1), Rate: new(0.003), HeadRate: new(0.1), EMA: new(0.9)}, "frozen                    0", 0.7},
	} {
		t.Run(c.recipe, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			var told []finetuning.Progress
			cache, solver := "", ""
			if c.recipe == "probe" { // whose tower is frozen
				solver, cache = job.AdamW, filepath.Join(t.TempDir(), "cache")
			}
			r, err := m.FineTune(t.Context(), finetuning.Request{
				Data: pictures, Validation: more, Recipe: c.recipe, Overrides: c.o, Output: out, Seed: 1, Cache: cache, Solver: solver,
			}, func(p finetuning.Progress) error {
				told = append(told, p)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := shapes.Classes()[:3]; !slices.Equal(r.Classes, want) {
				t.Errorf("classes %q, want %q", r.Classes, want)
			}
			if r.Best == nil || r.Best.Score < c.least || r.Best.Images != 18 || r.Best.Loss <= 0 {
				t.Errorf("best is %+v, want %v or more of 18 pictures told right, and their loss", r.Best, c.least)
			}
			if r.Stopped != "" || len(r.Skipped) != 0 || r.Duration <= 0 {
				t.Errorf("response is %+v", r)
			}
			check(t, told, r, c.table)
			head, err := finetune.LoadClassifier(r.Model)
			if err != nil || !slices.Equal(head.Classes, r.Classes) {
				t.Errorf("head %+v: %v", head, err)
			}
			picture := read(t, more, "circle", "00013.png")
			if same := slices.Equal(encode(t, r.Model, picture), encode(t, original, picture)); same != (c.recipe == "probe") {
				t.Errorf("the embedding is as it was: %v", same)
			}
			if page := string(read(t, r.Report)); !strings.Contains(page, c.table) || !strings.Contains(page, pictures) {
				t.Errorf("report:\n%s", page)
			}
			if c.recipe != "lora" {
				if r.Adapter != "" {
					t.Errorf("adapter %q, want none", r.Adapter)
				}
			} else if got := read(t, r.Adapter, "adapter_config.json"); !bytes.Contains(got, []byte(`"r": 2`)) {
				t.Errorf("adapter_config.json is %s", got)
			}
		})
	}
	if !bytes.Equal(read(t, original, "model.safetensors"), before) {
		t.Error("the model has changed")
	}
}

// check looks at what was told of a whole run.
func check(t *testing.T, told []finetuning.Progress, r finetuning.Response, table string) {
	t.Helper()
	if p := told[0]; p.Kind != finetuning.Begun || p.Step != 0 || p.Memory <= 0 || !strings.Contains(p.Table, table) {
		t.Errorf("first progress is %+v, want the beginning with %q", p, table)
	}
	step, best := 0, finetuning.Progress{}
	for _, p := range told[1:] {
		switch {
		case p.Kind == finetuning.Trained && p.Step == step+1 && p.Images > 0:
			step++
		case p.Kind == finetuning.Validated && p.Step == step && p.Images > 0:
			if p.Best {
				best = p
			}
		default:
			t.Fatalf("progress is %+v after step %d", p, step)
		}
		if p.Steps != r.Steps {
			t.Fatalf("progress is %+v of a run of %d steps", p, r.Steps)
		}
	}
	if step != r.Steps || best != *r.Best {
		t.Errorf("%d steps with the best %+v were told of, response has %d and %+v", step, best, r.Steps, r.Best)
	}
}

// A run that was interrupted, by its context or by who hears of its progress, comes to the same bytes as one
// that was not.
func TestResume(t *testing.T) {
	m, pictures := load(t), draw(t, 0, 6)
	request := func(out string) finetuning.Request {
		return finetuning.Request{
			Data: pictures, Split: 0.2, Recipe: "full", Output: out, Seed: 3, CheckpointEvery: 100, ValidateEvery: 2,
			Overrides: finetuning.Overrides{Epochs: new(3), Batch: new(3), Accumulate: new(2), Rate: new(0.01)},
			Augment:   finetuning.Augment{Crop: 0.5, Flip: 0.5, Colour: 0.1},
		}
	}
	want, err := m.FineTune(t.Context(), request(filepath.Join(t.TempDir(), "straight")), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := request(filepath.Join(t.TempDir(), "parts"))

	// The context ends in step 2, the receiver has enough after step 5, of 9.
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	broken, enough := errors.New("the mains are off"), errors.New("enough")
	_, err = m.FineTune(ctx, r, func(p finetuning.Progress) error {
		if p.Step == 2 {
			cancel(broken)
		}
		return nil
	})
	wantError(t, err, finetuning.ErrInterrupted, "after step 2 of 9")
	wantError(t, err, broken, "")

	_, err = m.FineTune(t.Context(), r, nil)
	wantError(t, err, finetuning.ErrRefused, "holds checkpoints of a run (checkpoint-00000002)")
	r.Resume = true
	other := r
	other.Overrides.Rate = new(0.02)
	_, err = m.FineTune(t.Context(), other, nil)
	wantError(t, err, finetuning.ErrRefused, "is of another run: overrides.rate: 0.01, now 0.02")

	var steps []int
	_, err = m.FineTune(t.Context(), r, func(p finetuning.Progress) error {
		if p.Kind != finetuning.Validated {
			steps = append(steps, p.Step)
		}
		if p.Step == 5 {
			return enough
		}
		return nil
	})
	wantError(t, err, finetuning.ErrInterrupted, "after step 5 of 9")
	wantError(t, err, enough, "")
	if !slices.Equal(steps, []int{2, 3, 4, 5}) { // it says where it begins; nobody is told more who has enough
		t.Errorf("told of the steps %v, want 2 to 5", steps)
	}

	// At the very end, and before anything, is an interruption as well.
	for _, at := range []int{5, 9} {
		_, err = m.FineTune(t.Context(), r, func(p finetuning.Progress) error {
			if p.Step == at {
				return enough
			}
			return nil
		})
		wantError(t, err, enough, fmt.Sprintf("clip: interrupted after step %d of 9", at))
	}
	for range 2 { // what is complete can be resumed, too
		got, err := m.FineTune(t.Context(), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Steps != want.Steps || got.Best.Score != want.Best.Score {
			t.Errorf("%d steps, best %+v, want %d and %+v", got.Steps, got.Best, want.Steps, want.Best)
		}
		for _, name := range []string{"model.safetensors", "head.safetensors", "classes.json", "config.json"} {
			if !bytes.Equal(read(t, got.Model, name), read(t, want.Model, name)) {
				t.Errorf("%s differs from that of a run without interruption", name)
			}
		}
	}
}

func TestBadRequests(t *testing.T) {
	m := load(t)
	pictures := draw(t, 0, 3)
	one := filepath.Join(t.TempDir(), "one")
	if err := os.CopyFS(filepath.Join(one, "circle"), os.DirFS(filepath.Join(pictures, "circle"))); err != nil {
		t.Fatal(err)
	}
	strange := filepath.Join(t.TempDir(), "strange")
	for _, class := range []string{"circle", "heart"} {
		if err := os.CopyFS(filepath.Join(strange, class), os.DirFS(filepath.Join(draw(t, 3, 1), "circle"))); err != nil {
			t.Fatal(err)
		}
	}
	captions := filepath.Join(pictures, "captions.csv")
	os.WriteFile(captions, []byte("path,caption\ncircle/00000.png,a circle\nring/00000.png,a ring\n"), 0o666)
	empty, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		change func(r *finetuning.Request)
		want   error
		words  string
	}{
		{func(r *finetuning.Request) { r.Output = "" }, finetuning.ErrRequest, "no output"},
		{func(r *finetuning.Request) { r.Recipe = "lorra" }, finetuning.ErrRequest, `"lorra", want one of probe,`},
		{func(r *finetuning.Request) { r.Recipe = "projector" }, finetuning.ErrRequest, "trains a projector"},
		{func(r *finetuning.Request) { r.Recipe = "contrastive" }, finetuning.ErrData, "has no vocabulary"},
		{func(r *finetuning.Request) { r.Overrides.Epochs = new(0) }, finetuning.ErrRequest, "epochs is 0"},
		{func(r *finetuning.Request) { r.Overrides.Rank = new(4) }, finetuning.ErrRequest, "overrides.rank is of the recipe lora"},
		{func(r *finetuning.Request) { r.Overrides.Blocks = new(4) }, finetuning.ErrRequest, "overrides.blocks is of the recipe last-n"},
		{func(r *finetuning.Request) { r.Recipe, r.Overrides.Targets = "lora", []string{"qkv"} }, finetuning.ErrRequest, "qkv"},
		{func(r *finetuning.Request) { r.Augment.Flip = 2 }, finetuning.ErrRequest, "2"},
		{func(r *finetuning.Request) { r.Recipe, r.Cache = "full", "cache" }, finetuning.ErrRequest, "cache keeps what a frozen tower gives, and this one learns"},
		{func(r *finetuning.Request) { r.Overrides.Rate = new(0.1) }, finetuning.ErrRequest, "overrides.rate is of a tower that learns, and this one is frozen"},
		{func(r *finetuning.Request) { r.Overrides.TextRate = new(0.1) }, finetuning.ErrRequest, "overrides.text_rate goes with captions: recipe contrastive, or captions"},
		{func(r *finetuning.Request) { r.Solver, r.MaxSteps = "lbfgs", 3 }, finetuning.ErrRequest, "max_steps goes with solver adamw"},
		{func(r *finetuning.Request) { r.Layout = "pad" }, finetuning.ErrRequest, "layout, hd_num and init_projector are of models with a projector"},
		{func(r *finetuning.Request) { r.Recipe, r.FixViT = "full", true }, finetuning.ErrRequest, "fix_vit and fix_sampler are of the recipe xcomposer"},
		{func(r *finetuning.Request) { r.Data = "absent" }, finetuning.ErrData, "absent"},
		{func(r *finetuning.Request) { r.Data = "absent" }, os.ErrNotExist, ""},
		{func(r *finetuning.Request) { r.Data = golden.Path(t, "go.mod") }, finetuning.ErrData, "want a folder, a .csv"},
		{func(r *finetuning.Request) { r.Data = one }, finetuning.ErrData, "want at least 2 classes"},
		{func(r *finetuning.Request) { r.Data = captions }, finetuning.ErrData, "captions.csv: pictures without labels"},
		{func(r *finetuning.Request) { r.Validation = strange }, finetuning.ErrData, `"heart"`},
		{func(r *finetuning.Request) { r.Data = one }, data.ErrOneClass, ""},
		{func(r *finetuning.Request) { r.Data = captions }, data.ErrUnlabelled, ""},
		{func(r *finetuning.Request) { r.Data = empty }, data.ErrEmpty, ""},
		{func(r *finetuning.Request) { r.Validation = strange }, data.ErrClasses, ""},
		{func(r *finetuning.Request) { r.MemoryLimit = 1e4 }, finetuning.ErrRefused, "memory"},
		{func(r *finetuning.Request) { r.Recipe, r.Overrides.Blocks = "last-n", new(4) }, finetuning.ErrRefused, "last 4 blocks"},
	} {
		r := finetuning.Request{Data: pictures, Recipe: "probe", Solver: job.AdamW, Output: out}
		if c.change(&r); r.Recipe != "probe" && r.Solver == job.AdamW {
			r.Solver = ""
		}
		got, err := m.FineTune(t.Context(), r, func(p finetuning.Progress) error {
			t.Errorf("%+v: told of %+v", r, p)
			return nil
		})
		wantError(t, err, c.want, c.words)
		if got.Model != "" {
			t.Errorf("%+v: response is %+v beside the error", r, got)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the output is there: %v", err)
	}
}

// A folder, a table and shards of the same pictures in the same order, with a cache or without, come to the
// same bytes.
func TestData(t *testing.T) {
	m, pictures := load(t), draw(t, 0, 3)
	dir := t.TempDir()
	table := []byte("path,label\n")
	shard, err := os.Create(filepath.Join(dir, "shard-0.tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(shard)
	add := func(name string, content []byte) {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o666, Size: int64(len(content))})
		w.Write(content)
	}
	for _, class := range shapes.Classes()[:3] {
		for i := range 3 {
			name := fmt.Sprintf("%s/%05d", class, i)
			table = fmt.Appendf(table, "%s.png,%s\n", filepath.Join(pictures, filepath.FromSlash(name)), class)
			add(name+".png", read(t, pictures, class, fmt.Sprintf("%05d.png", i)))
			add(name+".cls", []byte(class))
		}
	}
	if err := errors.Join(w.Close(), shard.Close(), os.WriteFile(filepath.Join(dir, "table.csv"), table, 0o666)); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, c := range []struct{ data, cache string }{
		{pictures, ""},
		{pictures, filepath.Join(dir, "cache")},
		{pictures, filepath.Join(dir, "cache")}, // which is full
		{filepath.Join(dir, "table.csv"), ""},
		{filepath.Join(dir, "shard-*.tar"), ""},
	} {
		r, err := m.FineTune(t.Context(), finetuning.Request{
			Data: c.data, Recipe: "probe", Solver: job.AdamW, Overrides: finetuning.Overrides{Epochs: new(3)}, Output: filepath.Join(t.TempDir(), "out"), Cache: c.cache,
		}, nil)
		if err != nil {
			t.Errorf("%s: %v", c.data, err)
			continue
		}
		if got := read(t, r.Model, "head.safetensors"); want == nil {
			want = got
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s, cache %q: another head", c.data, c.cache)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "cache", "*", "*", "*.f32")); err != nil || len(files) != 9 {
		t.Errorf("%d files in the cache, %v, want 9", len(files), err)
	}
}

// Pictures that cannot be read are skipped and named, or end the run.
func TestBrokenPictures(t *testing.T) {
	m, pictures := load(t), draw(t, 0, 3)
	broken := filepath.Join(pictures, "ring", "00001.png")
	os.Truncate(broken, 40)
	r := finetuning.Request{Data: pictures, Recipe: "probe", Solver: job.AdamW, Output: filepath.Join(t.TempDir(), "out"), Overrides: finetuning.Overrides{Epochs: new(1)}}
	got, err := m.FineTune(t.Context(), r, nil)
	if err != nil || len(got.Skipped) != 1 || got.Skipped[broken] == "" || got.Best != nil {
		t.Errorf("got %+v, %v, want %s skipped", got, err, broken)
	}
	r.Strict, r.Output = true, filepath.Join(t.TempDir(), "strict")
	_, err = m.FineTune(t.Context(), r, nil)
	wantError(t, err, finetuning.ErrData, broken)
}

// Weights that grow without bound are named.
func TestDiverges(t *testing.T) {
	m := load(t)
	r := finetuning.Request{
		Data: draw(t, 0, 2), Recipe: "full", Output: filepath.Join(t.TempDir(), "out"),
		// Each step multiplies weights by 1-10: after 40 they are beyond float32.
		Overrides: finetuning.Overrides{Epochs: new(200), Batch: new(6), Rate: new(1.0), HeadRate: new(1.0), WeightDecay: new(10.0), LayerDecay: new(1.0), Warmup: new(0.0)},
	}
	_, err := m.FineTune(t.Context(), r, nil)
	wantError(t, err, finetuning.ErrDiverged, "want a finite number")
	if e := (*optim.NonFiniteError)(nil); !errors.As(err, &e) || e.Step > 60 {
		t.Errorf("error is %v, want an *optim.NonFiniteError of an early step", err)
	}
}

// One run at a time: who waits can give up.
func TestContext(t *testing.T) {
	m, err := LoadFineTuning(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	r := finetuning.Request{Data: draw(t, 0, 2), Recipe: "probe", Solver: job.AdamW, Output: filepath.Join(t.TempDir(), "out"), Overrides: finetuning.Overrides{Epochs: new(1)}}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		_, err := m.FineTune(canceled, r, nil)
		wantError(t, err, context.Canceled, "clip: interrupted before the start")
	}
	// The context ends while the model is read.
	unheard := func(finetuning.Progress) { t.Error("a run that did not begin has something to tell") }
	for _, r := range []finetuning.Request{
		{Recipe: "probe", Solver: job.AdamW}, {Recipe: "full", Teacher: m.dir}, {Recipe: "projector", Teacher: golden.Path(t, "testdata/families/llava")},
	} {
		r.Model, r.Data, r.Output = m.dir, draw(t, 0, 2), filepath.Join(t.TempDir(), "out")
		_, err := train(canceled, r, unheard)
		wantError(t, err, finetuning.ErrInterrupted, "clip: interrupted before the start")
		wantError(t, err, context.Canceled, "")
		if errors.Is(err, finetuning.ErrData) {
			t.Errorf("%s: error is %v, which says that data are bad", r.Recipe, err)
		}
	}
	fitted := r
	fitted.Model, fitted.Solver, fitted.Overrides = m.dir, job.LBFGS, finetuning.Overrides{}
	_, err = fit(canceled, fitted, unheard)
	wantError(t, err, finetuning.ErrInterrupted, "clip: interrupted before the start")
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = m.FineTune(t.Context(), r, func(finetuning.Progress) error {
		_, err := m.FineTune(brief, r, nil) // from within a run, which has the slot
		return err
	})
	wantError(t, err, context.DeadlineExceeded, "clip: interrupted after step 0 of 1")
	if m.gate.Inside() != 0 {
		t.Error("the slot is taken")
	}
	r.Resume = true
	if _, err := m.FineTune(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no weights", func(dir string) error { return os.Remove(filepath.Join(dir, "model.safetensors")) }, "model.safetensors"},
		{"cut short", func(dir string) error { return os.Truncate(filepath.Join(dir, "model.safetensors"), 1000) }, "model.safetensors"},
		{"other preprocessing", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "preprocessor_config.json"), []byte(`{"resample": 9}`), 0o666)
		}, "resample is 9, want 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/tiny/huggingface"))); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			m, err := tasks.Load[finetuning.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: "model", DownloadPolicy: tasks.DownloadNever})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
			if m != nil {
				t.Errorf("got a %T beside the error, want nil", m)
			}
		})
	}
}

// A tower learns what another gives, or the vectors of a file; a projector vectors of patches.
func TestWithoutLabels(t *testing.T) {
	m, pictures := load(t), draw(t, 0, 3)
	tower, err := converter.Load(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	targets := func(shape ...int) string {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i%3) - 0.5
		}
		path := filepath.Join(t.TempDir(), "targets.safetensors")
		if err := checkpoint.WriteTensors(path, nil, []checkpoint.Values{{Name: "targets", Shape: shape, Data: x}}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// The teacher is the tower with another post-norm.
	teacher := filepath.Join(t.TempDir(), "teacher")
	for i := range mat.Data[float32](tower.PostNorm.B) {
		mat.Data[float32](tower.PostNorm.B)[i] += float32(i%5) - 2
	}
	c := tower.Config
	wide := c
	wide.EmbedDim++
	other, err := clipvit.New(wide)
	if err != nil {
		t.Fatal(err)
	}
	for dir, m := range map[string]*clipvit.Model{teacher: tower, teacher + "-wide": other} {
		if _, err := converter.Save(t.Context(), converter.Models{Vision: m}, nil, dir, converter.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []finetuning.Request{
		{Recipe: "last-n", Teacher: teacher, Split: 0.3, Overrides: finetuning.Overrides{Blocks: new(1)}},
		{Recipe: "full", Targets: targets(9, c.EmbedDim), Distance: "mse"},
		{Recipe: "projector", Targets: targets(9, c.Patches(), 6)},
	} {
		r.Data, r.Output = pictures, filepath.Join(t.TempDir(), "out")
		r.Overrides.Epochs, r.Overrides.Accumulate = new(20), new(1)
		if r.Recipe == "projector" {
			r.Overrides.HeadRate = new(1e-2)
		} else { // without a head
			r.Overrides.Rate = new(3e-3)
		}
		var losses []float64
		got, err := m.FineTune(t.Context(), r, func(p finetuning.Progress) error {
			if p.Kind == finetuning.Trained {
				losses = append(losses, p.Loss)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", r.Recipe, err)
			continue
		}
		if first, last := losses[0], losses[len(losses)-1]; !(last < 0.8*first) {
			t.Errorf("%s: loss from %v to %v", r.Recipe, first, last)
		}
		if got.Classes != nil || got.Memory == 0 && runtime.GOOS == "linux" {
			t.Errorf("%s: response %+v", r.Recipe, got)
		}
		saved, err := converter.Open(got.Model)
		if err != nil {
			t.Fatal(err)
		}
		defer saved.Close()
		if p, err := saved.Projector(t.Context()); (err == nil) != (r.Recipe == "projector") || err == nil && p.Model.Config.Out != 6 {
			t.Errorf("%s: projector %+v: %v", r.Recipe, p, err)
		}
	}
	for _, c := range []struct {
		r     finetuning.Request
		words string
	}{
		{finetuning.Request{Recipe: "full", Targets: targets(8, 6)}, "want [9,…,width] for 9 pictures"},
		{finetuning.Request{Recipe: "full", Targets: targets(9, 6)}, "vectors of 6 numbers, the embedding has"},
		{finetuning.Request{Recipe: "full", Targets: targets(9, 2, 6)}, "2 vectors for each picture, want 1, or"},
		{finetuning.Request{Recipe: "full", Teacher: teacher + "-wide"}, fmt.Sprintf("the teacher teacher-wide has %d numbers in an embedding, the tower %d", wide.EmbedDim, c.EmbedDim)},
	} {
		c.r.Data, c.r.Output = pictures, filepath.Join(t.TempDir(), "out")
		_, err := m.FineTune(t.Context(), c.r, nil)
		wantError(t, err, finetuning.ErrData, c.words)
	}
	// Vectors in the order of the pictures leave none to validate on.
	ordered := finetuning.Request{Recipe: "full", Targets: targets(9, c.EmbedDim), Data: pictures, Output: filepath.Join(t.TempDir(), "out")}
	for _, change := range []func(r *finetuning.Request){
		func(r *finetuning.Request) { r.Split = 0.1 }, func(r *finetuning.Request) { r.Validation = pictures },
	} {
		r := ordered
		change(&r)
		_, err := m.FineTune(t.Context(), r, nil)
		wantError(t, err, finetuning.ErrRequest, "of the pictures of data alone")
	}
}

// TestOutput: a run overwrites neither the model that it learns from nor that of another run.
func TestOutput(t *testing.T) {
	out := t.TempDir()
	m := &FineTuning{dir: filepath.Join(out, history.ModelFolder), gate: gate.New("clip", 1)}
	r := finetuning.Request{Data: t.TempDir(), Recipe: "probe", Output: out, Resume: true}
	if _, err := m.FineTune(t.Context(), r, nil); !errors.Is(err, job.ErrSource) || !errors.Is(err, finetuning.ErrRefused) {
		t.Errorf("the model in the output: %v", err)
	}
	if err := os.Mkdir(m.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	m.dir, r.Resume = t.TempDir(), false
	if _, err := m.FineTune(t.Context(), r, nil); !errors.Is(err, job.ErrOverwrite) || !errors.Is(err, finetuning.ErrRefused) {
		t.Errorf("another model in the output: %v", err)
	}
}
