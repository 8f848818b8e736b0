package clip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/finetuning"
)

// loadFrom returns the model in a directory as the registry does.
func loadFrom(t *testing.T, dir string) finetuning.Interface {
	t.Helper()
	m, err := tasks.Load[finetuning.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// direct runs a trainer that is put together here, without package job, and returns the directory of the model.
func direct(t *testing.T, c finetune.Config, like *converter.Model) string {
	t.Helper()
	tr, err := finetune.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "direct")
	if err := tr.Save(t.Context(), dir, like, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameFiles fails the test unless files of two directories have the same bytes.
func sameFiles(t *testing.T, got, want string, names ...string) {
	t.Helper()
	for _, name := range names {
		if !bytes.Equal(read(t, got, name), read(t, want, name)) {
			t.Errorf("%s differs from that of a trainer without a job", name)
		}
	}
}

// captioned returns a table of drawn pictures and captions, and a copy of the tiny model with the words of these.
func captioned(t *testing.T) (table, model string) {
	t.Helper()
	pictures := draw(t, 0, 6)
	text := "filepath,title\n"
	for i, class := range shapes.Classes()[:3] {
		for n := range 6 {
			text += fmt.Sprintf("%s/%05d.png,%s\n", class, n, []string{"a photo", "cat", "a dog"}[i])
		}
	}
	table = filepath.Join(pictures, "captions.csv")
	model = filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(model, os.DirFS(golden.Path(t, "testdata/tiny/huggingface"))); err != nil {
		t.Fatal(err)
	}
	words := map[string]int{"<|startoftext|>": 48, "<|endoftext|>": 49} // the last that the tiny tower has
	merges := []string{"p h", "ph o", "pho t", "phot o</w>", "c a", "ca t</w>", "d o", "do g</w>"}
	for _, l := range "aphotcdg" {
		words[string(l)], words[string(l)+"</w>"] = len(words)-2, len(words)-1
	}
	for _, m := range merges {
		words[strings.ReplaceAll(m, " ", "")] = len(words) - 2
	}
	vocab, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		table: []byte(text), filepath.Join(model, "vocab.json"): vocab,
		filepath.Join(model, "merges.txt"): []byte("#version: 0.2\n" + strings.Join(merges, "\n") + "\n"),
	} {
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return table, model
}

// Captions are learnt by both towers, to the bits of a trainer that is put together by hand, whole or interrupted.
func TestCaptions(t *testing.T) {
	table, model := captioned(t)
	m := loadFrom(t, model)
	r := finetuning.Request{
		Data: table, Split: 0.2, Seed: 3, Recipe: "contrastive", Output: filepath.Join(t.TempDir(), "out"),
		Overrides: finetuning.Overrides{Epochs: new(4), Batch: new(3), Accumulate: new(2), Rate: new(1e-3), TextRate: new(1e-3), ScaleRate: new(1e-2)},
	}
	got, err := m.FineTune(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Classes != nil || got.Best == nil || got.Steps != 12 {
		t.Errorf("response is %+v, want 12 steps and the best of them", got)
	}
	if page := string(read(t, got.Report)); !strings.Contains(page, "14 pictures and their captions, 6 pairs a step") {
		t.Errorf("report:\n%s", page)
	}

	like, err := converter.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	tower, err := converter.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	text, err := like.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := cliptext.ReadTokenizer(model)
	if err != nil {
		t.Fatal(err)
	}
	all, err := data.Table(table)
	if err != nil {
		t.Fatal(err)
	}
	train, validation, err := all.Split(0.2, 3)
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := finetune.FindRecipe("contrastive")
	if err != nil {
		t.Fatal(err)
	}
	recipe.Epochs, recipe.Batch, recipe.Accumulate, recipe.Rate, recipe.TextRate, recipe.ScaleRate = 4, 3, 2, 1e-3, 1e-3, 1e-2
	want := direct(t, finetune.Config{
		Tower: tower, Recipe: recipe, Seed: 3, Objective: &finetune.Contrastive{Text: text, Tokenizer: tokenizer},
		Train:      &data.Loader{Data: train, Config: tower.Config, BatchSize: 3, Shuffle: true, Seed: 3},
		Validation: &data.Loader{Data: validation, Config: tower.Config, BatchSize: 3},
	}, like)
	files := []string{"model.safetensors", "config.json", "vocab.json", "merges.txt"}
	sameFiles(t, got.Model, want, files...)

	// Interrupted, and gone on with.
	parts := r
	parts.Output, parts.Resume = filepath.Join(t.TempDir(), "parts"), true
	enough := fmt.Errorf("enough")
	_, err = m.FineTune(t.Context(), parts, func(p finetuning.Progress) error {
		if p.Step == 5 {
			return enough
		}
		return nil
	})
	wantError(t, err, enough, "after step 5 of 12")
	if got, err = m.FineTune(t.Context(), parts, nil); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, got.Model, want, files...)

	// A tower that is locked stays as it is; another recipe learns captions, too.
	locked := r
	locked.Output, locked.Lock, locked.Overrides.TextRate = filepath.Join(t.TempDir(), "locked"), "texts", nil
	lora := r
	lora.Output, lora.Recipe, lora.Captions, lora.WiseFT = filepath.Join(t.TempDir(), "lora"), "lora", true, new(0.5)
	for _, r := range []finetuning.Request{locked, lora} {
		got, err := m.FineTune(t.Context(), r, nil)
		if err != nil {
			t.Errorf("%s: %v", r.Recipe, err)
		} else if (got.Mixed != nil) != (r.WiseFT != nil) || (got.Adapter != "") != (r.Recipe == "lora") {
			t.Errorf("%s: response is %+v", r.Recipe, got)
		}
	}

	long := r
	long.Output, long.Overrides.Rate, long.Lock = filepath.Join(t.TempDir(), "long"), nil, "images"
	os.WriteFile(table, []byte("filepath,title\ncircle/00000.png,a a a a a a a a\nring/00000.png,cat\nring/00001.png,dog\n"), 0o666)
	_, err = m.FineTune(t.Context(), long, nil)
	wantError(t, err, finetuning.ErrRefused, "have captions of more than the 9 tokens")
	wantError(t, err, finetune.ErrCaptions, "")
	long.Truncate, long.Split, long.Overrides.Epochs = true, 0, new(1)
	if _, err = m.FineTune(t.Context(), long, nil); err != nil {
		t.Error(err)
	}
}

// A projector and separators learn the tokens of a teacher, or of a file, and so does a tower. The bits are those of a
// trainer that is put together by hand, with the switches of XComposer too.
func TestTokens(t *testing.T) {
	const layout = "xcomposer2.5"
	pictures, model := draw(t, 0, 3), golden.Path(t, "testdata/families/xcomposer2-hd")
	m := loadFrom(t, model)
	r := finetuning.Request{
		Data: pictures, Split: 0.3, Seed: 3, Recipe: "projector", Output: filepath.Join(t.TempDir(), "out"), Teacher: model, Layout: layout, InitProjector: true,
		Overrides: finetuning.Overrides{Epochs: new(5), Batch: new(3), HeadRate: new(1e-2)},
	}
	got, err := m.FineTune(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if page := string(read(t, got.Report)); !strings.Contains(page, "the tokens of "+model) || !strings.Contains(page, "layout "+layout+", layer -1, mlp2x_gelu from 256 to 12") {
		t.Errorf("report:\n%s", page)
	}

	like, err := converter.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer like.Close()
	encoder, err := like.Encoder(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	encoder.Init(3)
	teacher, err := like.Encoder(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	all, err := data.Images(pictures)
	if err != nil {
		t.Fatal(err)
	}
	train, validation, err := all.Split(0.3, 3)
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := finetune.FindRecipe("projector")
	if err != nil {
		t.Fatal(err)
	}
	recipe.Epochs, recipe.Batch, recipe.Accumulate, recipe.HeadRate = 5, 1, 3, 1e-2 // a picture of several views is alone
	c := finetune.Config{
		Encoder: encoder, Recipe: recipe, Seed: 3,
		Train:      &data.Loader{Data: train, Config: encoder.Tower.Config, BatchSize: 1, Shuffle: true, Seed: 3, Layout: &encoder.Layout},
		Validation: &data.Loader{Data: validation, Config: encoder.Tower.Config, BatchSize: 1, Layout: &encoder.Layout},
	}
	if err := c.SetTeacherEncoder(teacher, filepath.Base(model), finetune.SquareDistance); err != nil {
		t.Fatal(err)
	}
	files := []string{"model.safetensors", "projector.safetensors", "projector_config.json", "config.json"}
	sameFiles(t, got.Model, direct(t, c, like), files...)

	for _, c := range []struct {
		name   string
		change func(r *finetuning.Request)
	}{
		{"cache", func(r *finetuning.Request) { r.Cache = filepath.Join(t.TempDir(), "cache") }},
		{"tower too", func(r *finetuning.Request) {
			r.Recipe, r.HDNum, r.Overrides = "full", 3, finetuning.Overrides{Epochs: new(1), Batch: new(3)}
		}},
		{"switches", func(r *finetuning.Request) {
			r.Recipe, r.FixSampler, r.InitProjector, r.Overrides = "xcomposer", true, false, finetuning.Overrides{Epochs: new(1)}
		}},
	} {
		r := r
		r.Output = filepath.Join(t.TempDir(), "out")
		c.change(&r)
		again, err := m.FineTune(t.Context(), r, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		saved, err := converter.Open(again.Model)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		defer saved.Close()
		if _, err := saved.Encoder(t.Context(), layout); err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if r.Cache != "" {
			sameFiles(t, again.Model, got.Model, files...)
		}
	}
	for _, c := range []struct {
		change func(r *finetuning.Request)
		want   error
		words  string
	}{
		{func(r *finetuning.Request) { r.Layout = "" }, finetuning.ErrData, "a layout has to be chosen"},
		{func(r *finetuning.Request) { r.Projector = "linear" }, finetuning.ErrRequest, "projector is the type of a new one, and"},
		{func(r *finetuning.Request) { r.Augment.Flip = 0.5 }, finetuning.ErrRequest, "are not varied"},
		{func(r *finetuning.Request) { r.FixViT = true }, finetuning.ErrRequest, "fix_vit and fix_sampler are of the recipe xcomposer"},
		{func(r *finetuning.Request) { r.Teacher = golden.Path(t, "testdata/tiny/huggingface") }, finetuning.ErrData, "has no projector"},
		{func(r *finetuning.Request) { r.MemoryLimit = 1e5 }, finetuning.ErrRefused, "at most (hd_num)"},
	} {
		bad := r
		bad.Output = filepath.Join(t.TempDir(), "bad")
		c.change(&bad)
		_, err := m.FineTune(t.Context(), bad, nil)
		wantError(t, err, c.want, c.words)
	}
}

// A head that is fitted by L-BFGS is that of package probe; a second run finds the features where they were kept.
func TestLBFGS(t *testing.T) {
	pictures := draw(t, 0, 10)
	m := load(t)
	r := finetuning.Request{Data: pictures, Recipe: "probe", Solver: "lbfgs", Seed: 1, Output: filepath.Join(t.TempDir(), "out")}
	var first []byte
	for i := range 2 {
		if i > 0 {
			_, err := m.FineTune(t.Context(), r, nil)
			wantError(t, err, finetuning.ErrRefused, "is there already")
			r.Resume = true
		}
		var told []finetuning.Progress
		got, err := m.FineTune(t.Context(), r, func(p finetuning.Progress) error {
			told = append(told, p)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if told[0].Kind != finetuning.Begun || told[len(told)-1].Kind != finetuning.Seen {
			t.Errorf("told of %+v to %+v", told[0], told[len(told)-1])
		}
		if !slices.Equal(got.Classes, shapes.Classes()[:3]) || got.Best == nil || got.Best.Score < 0.5 {
			t.Errorf("response is %+v", got)
		}
		head := read(t, got.Model, "head.safetensors")
		if i > 0 && !bytes.Equal(head, first) {
			t.Error("another head from the cache")
		}
		first = head
	}
	tower, err := converter.Load(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := data.Folder(pictures)
	if err != nil {
		t.Fatal(err)
	}
	want, err := probe.Run(t.Context(), probe.Config{Extractor: probe.Extractor{Model: tower}, Train: d, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := want.Head.Save(dir); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, dir, "head.safetensors"), first) {
		t.Error("another head than that of package probe")
	}
	enough := fmt.Errorf("enough")
	r.Output = filepath.Join(t.TempDir(), "other")
	_, err = m.FineTune(t.Context(), r, func(finetuning.Progress) error { return enough })
	wantError(t, err, finetuning.ErrInterrupted, "")
	wantError(t, err, enough, "")
}
