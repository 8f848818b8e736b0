package finetune_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/golden"
)

// TestOpenOwn: a checkpoint's own classifier says the classes. The probabilities are those of
// transformers 5.24.0 (CLIPForImageClassification) and timm 1.0.31 for this picture, in float64.
func TestOpenOwn(t *testing.T) {
	for model, want := range map[string][]clip.Label{
		"hf5-classifier":  {{Name: "dog", Probability: 0.9970602637938212}, {Name: "a, b", Probability: 0.0029397361872033306}, {Name: "cat", Probability: 1.8975480696713244e-11}},
		"timm-classifier": {{Name: "bird", Probability: 0.5440820975192925}, {Name: "cat", Probability: 0.44186442844183427}, {Name: "dog", Probability: 0.014053474038873337}},
	} {
		m, err := finetune.Open(t.Context(), golden.Path(t, "testdata/families/"+model))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		cat := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
		all, err := m.Classify(t.Context(), cat, cat)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range all {
			for i, l := range got {
				if l.Name != want[i].Name || math.Abs(l.Probability-want[i].Probability) > 1e-6 || l.Cosine != 0 {
					t.Errorf("%s: got %+v, want %+v", model, got, want)
				}
			}
		}
		n := 0
		for x, err := range m.ClassifyAll(t.Context(), slices.Values([]clip.Picture{cat}), clip.StreamOptions{}) {
			if n++; err != nil || x.Labels[0].Name != want[0].Name {
				t.Errorf("%s: got %+v, %v", model, x, err)
			}
		}
		if n != 1 || len(m.Labels()) != 3 {
			t.Errorf("%s: %d pictures, labels %q", model, n, m.Labels())
		}
	}
}

// TestOpenMulti: where a checkpoint says that classes do not exclude each other, each has a probability of its own. They are those of
// transformers 5.24.0 (pipeline("image-classification")) for this picture, in float64.
func TestOpenMulti(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/families/hf5-classifier"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte(`{"problem_type": "multi_label_classification",`), config[1:]...), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := finetune.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all, err := m.Classify(t.Context(), clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png")))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []clip.Label{{Name: "dog", Probability: 0.9998840607317985}, {Name: "a, b", Probability: 0.9621608274372508}, {Name: "cat", Probability: 1.6413091747887695e-07}} {
		if got := all[0][i]; got.Name != want.Name || math.Abs(got.Probability-want.Probability) > 1e-6 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// tuned returns a directory of a run, with a model whose head has classes that exclude each other or do not.
func tuned(t *testing.T, multi bool) string {
	t.Helper()
	run := t.TempDir()
	model := filepath.Join(run, "model")
	if err := os.CopyFS(model, os.DirFS(golden.Path(t, "testdata/tiny/huggingface"))); err != nil {
		t.Fatal(err)
	}
	width := 10
	c := finetune.NewClassifier(width, []string{"red", "blue"})
	c.Multi = multi
	for i := range c.Linear.W.Data().F32() {
		c.Linear.W.Data().F32()[i] = float32(i%3) - 1
	}
	if err := c.Save(model); err != nil {
		t.Fatal(err)
	}
	return run
}

// TestOpen: the model of a run is found from its directory, and what is none says what it is.
func TestOpen(t *testing.T) {
	for _, multi := range []bool{false, true} {
		run := tuned(t, multi)
		head, err := probe.LoadHead(filepath.Join(run, "model"))
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{run, filepath.Join(run, "model")} {
			m, err := finetune.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			cat := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
			x, err := m.Model().Encode(t.Context(), cat)
			if err != nil {
				t.Fatal(err)
			}
			all, err := m.Classify(t.Context(), cat)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, l := range all[0] {
				sum += l.Probability
				if want := head.Predict(x[0])[slices.Index(head.Classes, l.Name)]; l.Probability != want {
					t.Errorf("%+v, want probability %v", l, want)
				}
			}
			if one := math.Abs(sum-1) < 1e-9; one == multi {
				t.Errorf("multi %v: the probabilities sum to %v", multi, sum)
			}
		}
	}
	copied := func(with func(dir string)) string {
		dir := filepath.Join(t.TempDir(), "m")
		if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/tiny/huggingface"))); err != nil {
			t.Fatal(err)
		}
		with(dir)
		return dir
	}
	unfinished := t.TempDir()
	if err := os.Mkdir(filepath.Join(unfinished, "checkpoint-00000012"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir, want string
		kind      error
	}{
		{golden.Path(t, "testdata/tiny/huggingface"), "huggingface: no classifier: no head that a run has trained (head.safetensors, classes.json), and none among its tensors", finetune.ErrNoHead},
		{golden.Path(t, "testdata/tiny/openai_torch2.9.1.pt"), "no classifier", finetune.ErrNoHead},
		{copied(func(dir string) {
			if err := checkpoint.WriteTensors(filepath.Join(dir, "head.safetensors"), map[string]string{"module": "*main.Head"}, []checkpoint.Values{{Name: "x", Shape: []int{1}, Data: []float32{1}}}); err != nil {
				t.Fatal(err)
			}
		}), "head.safetensors has no classes.json beside it, so it is a head of one's own, a *main.Head; LoadHead reads it", finetune.ErrNoHead},
		{copied(func(dir string) {
			if err := finetune.NewClassifier(3, []string{"a", "b"}).Save(dir); err != nil {
				t.Fatal(err)
			}
		}), "the head reads 3 features, embedding of this tower has 10", nil},
		{copied(func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "classes.json"), []byte("{"), 0o666); err != nil {
				t.Fatal(err)
			}
		}), "classes.json", nil},
		{unfinished, "a run that has not ended and has no model yet; resuming it goes on from checkpoint-00000012", finetune.ErrUnfinished},
		{filepath.Join(unfinished, "model"), "a run that has not ended", finetune.ErrUnfinished},
		{filepath.Join(t.TempDir(), "absent"), "absent: no such file or directory", os.ErrNotExist},
	} {
		m, err := finetune.Open(t.Context(), c.dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, error %v, want %q", c.dir, m, err, c.want)
		} else if text := err.Error(); len(regexp.MustCompile(`\b(clip|clipvit|converter|checkpoint|finetune|probe): `).FindAllString(text, -1)) != 1 {
			t.Errorf("%s: error %v, want the name of one package", c.dir, err)
		}
	}
	m, err := finetune.Open(t.Context(), tuned(t, false))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	other := clip.StreamOptions{Features: clipvit.Features{Kind: clipvit.PostNorm}}
	for _, err := range m.ClassifyAll(t.Context(), slices.Values([]clip.Picture{clip.Bytes("x", nil)}), other) {
		if !errors.Is(err, clip.ErrRequest) {
			t.Errorf("other features: error %v", err)
		}
	}
	if _, err := m.Classify(t.Context(), clip.Bytes("x", []byte("no picture"))); !errors.Is(err, clip.ErrImage) {
		t.Errorf("no picture: error %v", err)
	}
}

// A checkpoint with a classifier, or the model that a run has written, says which class a picture is of.
func ExampleOpen() {
	ctx := context.Background()
	m, err := finetune.Open(ctx, "../testdata/families/timm-classifier") // or the directory of a run
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	all, err := m.Classify(ctx, clip.File("../cmd/vitago/testdata/demo/cat.png"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range all[0] {
		fmt.Printf("%s %.3f\n", l.Name, l.Probability)
	}
	// Output:
	// bird 0.544
	// cat 0.442
	// dog 0.014
}

// TestClassifyBy: the probabilities of a head of one's own are the softmax of its logits, the most probable class first; other than as many logits as
// classes are a mistake of the program.
func TestClassifyBy(t *testing.T) {
	m, err := clip.Open(golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	head := &MLP{Hidden: NewMLP(64, 64, 1).Hidden, Out: NewMLP(64, 3, 1).Hidden}
	cat := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	vector, err := m.Encode(t.Context(), cat)
	if err != nil {
		t.Fatal(err)
	}
	classes := []string{"a", "b", "c"}
	c := finetune.ClassifyBy(m, head, classes)
	labels, err := c.Classify(t.Context(), cat)
	if err != nil {
		t.Fatal(err)
	}
	logits := head.Forward(mat.NewDense[float32](mat.WithShape(1, 64), mat.WithBacking(vector[0]))).Value().Data().F64()
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(v)
	}
	for i, l := range labels[0] {
		k := slices.Index(classes, l.Name)
		if want := math.Exp(logits[k]) / sum; math.Abs(l.Probability-want) > 1e-12 || i > 0 && l.Probability > labels[0][i-1].Probability {
			t.Errorf("%v of %v, want %s to have %v, in order", l, labels[0], l.Name, want)
		}
	}
	if len(labels[0]) != 3 || !slices.Equal(c.Labels(), classes) {
		t.Errorf("labels %v of %q", labels, c.Labels())
	}
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "gives 3 logits, want 2") {
			t.Errorf("a head of more logits than classes: %s", p)
		}
	}()
	_, _ = finetune.ClassifyBy(m, head, classes[:2]).Classify(t.Context(), cat)
}
