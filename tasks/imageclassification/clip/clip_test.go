package clip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/zeroshot"
)

func read(t testing.TB, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t *testing.T, dir string) imageclassification.Interface {
	t.Helper()
	m, err := tasks.Load[imageclassification.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func small(t *testing.T) (*clip.Model, *ImageClassification) {
	t.Helper()
	model, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return model, m
}

// Labels, cosines and probabilities are those of open_clip 3.3.0's zero-shot classifier on a model of transformers 5.24.0, with one
// template and with several.
func TestReference(t *testing.T) {
	var references []struct {
		Model, Vocab      string
		Labels, Templates []string
		Pictures          map[string]struct{ Cosines, Probabilities []float64 }
	}
	if err := json.Unmarshal(read(t, "testdata/tiny/zeroshot.json"), &references); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, want := range references {
		m, err := LoadImageClassification(golden.Path(t, "testdata/"+want.Model), clip.Vocabulary(golden.Path(t, "testdata/"+want.Vocab)))
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range want.Pictures {
			all, err := m.ClassifyImages(t.Context(), imageclassification.Request{Images: [][]byte{read(t, "cmd/vitago/testdata/demo/"+name)}, Labels: want.Labels, Templates: want.Templates})
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range all[0].Labels {
				k := slices.Index(want.Labels, l.Name)
				if math.Abs(l.Cosine-w.Cosines[k]) > 1e-6 || math.Abs(l.Probability-w.Probabilities[k]) > 1e-5 { // the towers compute in float32
					t.Errorf("%s: got %+v, want %v, %v", name, l, w.Cosines[k], w.Probabilities[k])
				}
				if i > 0 && l.Probability > all[0].Labels[i-1].Probability {
					t.Errorf("%s: label %d is more probable than that before", name, i)
				}
				compared++
			}
		}
	}
	if compared < 3*3*4 {
		t.Errorf("%d labels were compared", compared)
	}
}

// Whatever a request may ask for has the bits of package zeroshot, which "vitago classify" prints.
func TestZeroShot(t *testing.T) {
	model, m := small(t)
	names := []string{"red-circle", "green-heart", "blue-square"}
	var files [][]byte
	for _, n := range names {
		files = append(files, read(t, "demo/pictures/"+n+".png"))
	}
	labels := []string{"red circle", "green heart", "blue square", "yellow star"}
	prompts := []zeroshot.Label{{Name: "round", Prompts: []string{"a red circle", "a blue circle"}}, {Name: "not round", Prompts: []string{"a red square"}}}
	of := func(c *zeroshot.Classifier, err error) *zeroshot.Classifier {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for what, c := range map[string]struct {
		r    imageclassification.Request
		want *zeroshot.Classifier
	}{
		"labels":    {imageclassification.Request{Labels: labels}, of(zeroshot.New(t.Context(), model, labels, nil))},
		"templates": {imageclassification.Request{Labels: labels, Templates: []string{"a {}", "{}"}}, of(zeroshot.New(t.Context(), model, labels, []string{"a {}", "{}"}))},
		"prompts":   {imageclassification.Request{Prompts: prompts}, of(zeroshot.NewPrompts(t.Context(), model, prompts, nil))},
		"multi":     {imageclassification.Request{Labels: labels, Multi: true}, of(zeroshot.New(t.Context(), model, labels, nil, zeroshot.MultiLabel(0)))},
		"bias": {imageclassification.Request{Labels: labels[:1], Multi: true, Bias: -0.5, Negatives: []string{"a circle"}},
			of(zeroshot.New(t.Context(), model, labels[:1], nil, zeroshot.MultiLabel(-0.5, "a circle")))},
	} {
		c.r.Images = files
		all, err := m.ClassifyImages(t.Context(), c.r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want, err := c.want.Classify(t.Context(), clip.Bytes("", files[0]), clip.Bytes("", files[1]), clip.Bytes("", files[2]))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range all {
			if !reflect.DeepEqual(got.Labels, want[i]) || got.Accepted != nil {
				t.Errorf("%s: picture %d: got %+v, want %+v", what, i, got, want[i])
			}
		}
	}
	// The best, and those that are accepted: of labels that exclude each other one or none, of others any number.
	all, err := m.ClassifyImages(t.Context(), imageclassification.Request{Images: files, Labels: labels, TopK: 2, Threshold: zeroshot.Threshold{Probability: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range all {
		if len(got.Labels) != 2 || got.Labels[0].Name != labels[i] || !slices.Equal(got.Accepted, labels[i:i+1]) {
			t.Errorf("picture %d: got %+v, want %q", i, got, labels[i])
		}
	}
	all, err = m.ClassifyImages(t.Context(), imageclassification.Request{Images: files, Labels: labels, Threshold: zeroshot.Threshold{Cosine: 0.999}})
	if err != nil || all[0].Accepted == nil || len(all[0].Accepted) != 0 || len(all[0].Labels) != len(labels) {
		t.Errorf("none is so near: %+v, %v", all, err)
	}
	all, err = m.ClassifyImages(t.Context(), imageclassification.Request{Images: files[:1], Labels: []string{"red circle", "red", "yellow star"}, Templates: []string{"a {}", "{}"}, Multi: true,
		Negatives: []string{"a blue square"}, Threshold: zeroshot.Threshold{Probability: 0.5}, TopK: 1})
	if err != nil || len(all[0].Accepted) < 2 || len(all[0].Labels) != 1 {
		t.Errorf("several are accepted, beyond the best: %+v, %v", all, err)
	}
	if raw, err := json.Marshal(imageclassification.Response{Labels: []clip.Label{}, Accepted: []string{}}); err != nil || string(raw) != `{"labels":[],"accepted":[]}` {
		t.Errorf("none that is accepted is %s", raw)
	}
}

// A classifier of a checkpoint says what it says to package finetune; the probabilities are those of transformers 5.24.0 for this
// picture. So does the head that a run has written, and then labels can be asked for, too.
func TestHead(t *testing.T) {
	cat := [][]byte{read(t, "cmd/vitago/testdata/demo/cat.png")}
	own := load(t, golden.Path(t, "testdata/families/hf5-classifier"))
	all, err := own.ClassifyImages(t.Context(), imageclassification.Request{Images: cat, Threshold: zeroshot.Threshold{Probability: 0.9}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []clip.Label{{Name: "dog", Probability: 0.9970602637938212}, {Name: "a, b", Probability: 0.0029397361872033306}, {Name: "cat", Probability: 1.8975480696713244e-11}} {
		if got := all[0].Labels[i]; got.Name != want.Name || math.Abs(got.Probability-want.Probability) > 1e-6 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if !slices.Equal(all[0].Accepted, []string{"dog"}) || !slices.Equal(own.(*ImageClassification).Classes(), []string{"cat", "dog", "a, b"}) {
		t.Errorf("accepted %q of %q", all[0].Accepted, own.(*ImageClassification).Classes())
	}
	if _, err := own.ClassifyImages(t.Context(), imageclassification.Request{Images: cat, Labels: []string{"cat", "dog"}}); !errors.Is(err, imageclassification.ErrNoText) {
		t.Errorf("labels for a vision tower: %v", err)
	}

	for _, multi := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "model")
		if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/families/hf5-clip"))); err != nil {
			t.Fatal(err)
		}
		head := finetune.NewClassifier(10, []string{"red", "blue", "green"})
		head.Multi = multi
		for i := range head.Linear.W.Data().F32() {
			head.Linear.W.Data().F32()[i] = float32(i%3) - 1
		}
		if err := head.Save(dir); err != nil {
			t.Fatal(err)
		}
		m := load(t, dir)
		got, err := m.ClassifyImages(t.Context(), imageclassification.Request{Images: cat, TopK: 2, Threshold: zeroshot.Threshold{Probability: 0.001}})
		if err != nil {
			t.Fatal(err)
		}
		tuned, err := finetune.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer tuned.Close()
		want, err := tuned.Classify(t.Context(), clip.Bytes("", cat[0]))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got[0].Labels, want[0][:2]) {
			t.Errorf("multi %v: got %+v, want %+v", multi, got[0].Labels, want[0][:2])
		}
		if n := len((zeroshot.Threshold{Probability: 0.001, Each: multi}).Accepted(want[0])); len(got[0].Accepted) != n {
			t.Errorf("multi %v: %q are accepted, want %d", multi, got[0].Accepted, n)
		}
		words, err := m.ClassifyImages(t.Context(), imageclassification.Request{Images: cat, Labels: []string{"cat", "hat"}, Templates: []string{"a photo of a {}"}})
		if err != nil || words[0].Labels[0].Cosine == 0 {
			t.Errorf("labels in words: %+v, %v", words, err)
		}
	}
}

func TestErrors(t *testing.T) {
	_, m := small(t)
	circle := [][]byte{read(t, "demo/pictures/red-circle.png")}
	two := []string{"red circle", "blue square"}
	nan := math.NaN()
	for _, c := range []struct {
		r    imageclassification.Request
		kind error
		want string
	}{
		{imageclassification.Request{Labels: two}, imageclassification.ErrRequest, "got 0 images, want 1 to 256"},
		{imageclassification.Request{Images: [][]byte{circle[0], {1}}, Labels: two}, imageclassification.ErrImage, "clip: image 2: "},
		{imageclassification.Request{Images: [][]byte{make([]byte, imageclassification.MaxImageBytes+1)}, Labels: two}, imageclassification.ErrImageTooLarge, "clip: image 1: "},
		{imageclassification.Request{Images: circle}, imageclassification.ErrRequest, "got no labels, and the model has no classifier of its own"},
		{imageclassification.Request{Images: circle, Labels: []string{}}, imageclassification.ErrRequest, "got 0 labels, want at least 2"},
		{imageclassification.Request{Images: circle, Labels: two[:1]}, imageclassification.ErrRequest, "got 1 label, want at least 2"},
		{imageclassification.Request{Images: circle, Labels: []string{"red", "red"}}, imageclassification.ErrRequest, `"red" is given twice`},
		{imageclassification.Request{Images: circle, Labels: make([]string, imageclassification.MaxLabels+1)}, imageclassification.ErrRequest, "got 10001 labels, want at most 10000"},
		{imageclassification.Request{Images: circle, Labels: two, Prompts: []zeroshot.Label{}}, imageclassification.ErrRequest, "labels and prompts"},
		{imageclassification.Request{Images: circle, Labels: two, Templates: []string{"a photo"}}, imageclassification.ErrRequest, `template "a photo" has no {}`},
		{imageclassification.Request{Images: circle, Labels: []string{"red circle", "zebra"}}, imageclassification.ErrText, `"zebra"`},
		{imageclassification.Request{Images: circle, Templates: []string{"a {}"}}, imageclassification.ErrRequest, "templates go with labels"},
		{imageclassification.Request{Images: circle, Multi: true}, imageclassification.ErrRequest, "multi goes with labels"},
		{imageclassification.Request{Images: circle, Labels: two, Bias: 1}, imageclassification.ErrRequest, "bias and negatives go with multi"},
		{imageclassification.Request{Images: circle, Labels: two, Negatives: []string{"x"}}, imageclassification.ErrRequest, "bias and negatives go with multi"},
		{imageclassification.Request{Images: circle, Labels: two, Multi: true, Bias: nan}, imageclassification.ErrRequest, "the bias is NaN"},
		{imageclassification.Request{Images: circle, Labels: two, TopK: -1}, imageclassification.ErrRequest, "top k is -1"},
		{imageclassification.Request{Images: circle, Labels: two, Threshold: zeroshot.Threshold{Probability: 1.5}}, imageclassification.ErrRequest, "the least probability is 1.5, want 0 to 1"},
		{imageclassification.Request{Images: circle, Labels: two, Threshold: zeroshot.Threshold{Cosine: nan}}, imageclassification.ErrRequest, "the least cosine is NaN, want -1 to 1"},
		{imageclassification.Request{Images: circle, Labels: two, Threshold: zeroshot.Threshold{Each: true}}, imageclassification.ErrRequest, "a threshold of each label"},
	} {
		got, err := m.ClassifyImages(t.Context(), c.r)
		if !errors.Is(err, c.kind) || got != nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("got %+v, %v, want %q", got, err, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.ClassifyImages(ended, imageclassification.Request{Images: circle, Labels: two}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if n := m.gate.Inside(); n != 0 || len(m.kept.byKey) != 1 || m.kept.filled != 2 { // those of the picture that cannot be read
		t.Errorf("%d are left inside, %d classifiers of %d labels are kept", n, len(m.kept.byKey), m.kept.filled)
	}
	own, err := LoadImageClassification(golden.Path(t, "testdata/families/hf5-classifier"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.ClassifyImages(t.Context(), imageclassification.Request{Images: circle, Threshold: zeroshot.Threshold{Cosine: 0.2}}); !errors.Is(err, imageclassification.ErrRequest) {
		t.Errorf("a cosine of a classifier that has none: %v", err)
	}
	c, err := LoadImageClassification(golden.Path(t, "testdata/families/hf5-vision"))
	if !errors.Is(err, clip.ErrNoText) || !errors.Is(err, finetune.ErrNoHead) || c != nil {
		t.Errorf("neither text tower nor classifier: %v, %v", c, err)
	}
}

// A list of labels is encoded once, whoever asks and how often, as long as there is room for it.
func TestKept(t *testing.T) {
	model, m := small(t)
	k := newKept(5)
	var made atomic.Int64
	get := func(key string, labels ...string) *zeroshot.Classifier {
		t.Helper()
		c, err := k.get(t.Context(), key, len(labels), func() (*zeroshot.Classifier, error) {
			made.Add(1)
			return zeroshot.New(t.Context(), model, labels, nil)
		})
		if err != nil {
			t.Error(err)
		}
		return c
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { get("a", "red circle", "blue square") })
	}
	all.Wait()
	first := get("a", "red circle", "blue square")
	if n := made.Load(); n != 1 {
		t.Fatalf("it was made %d times, want once", n)
	}
	get("b", "red", "blue", "green")
	if get("a", "red circle", "blue square") != first || made.Load() != 2 || k.filled != 5 {
		t.Errorf("made %d, %d labels are kept, want 2 and 5", made.Load(), k.filled)
	}
	get("c", "red", "blue") // no room beside both: the one that was asked for first goes
	if get("a", "red circle", "blue square"); made.Load() != 3 || k.filled != 4 {
		t.Errorf("made %d, %d labels are kept, want 3 and 4", made.Load(), k.filled)
	}
	if get("b", "red", "blue", "green"); made.Load() != 4 || k.filled != 5 || k.recent.Len() != 2 {
		t.Errorf("made %d, %d labels are kept, want 4 and 5", made.Load(), k.filled)
	}
	large := []string{"red", "blue", "green", "yellow", "circle", "square"}
	if get("d", large...); k.filled != 5 || made.Load() != 5 {
		t.Errorf("made %d, %d labels are kept", made.Load(), k.filled)
	}
	why := errors.New("not now")
	if _, err := k.get(t.Context(), "e", 2, func() (*zeroshot.Classifier, error) { return nil, why }); !errors.Is(err, why) || k.byKey["e"] != nil {
		t.Errorf("what failed: %v, kept %v", err, k.byKey["e"])
	}

	// Requests that differ in anything that texts are made of have keys of their own; the others share a classifier.
	r := imageclassification.Request{Labels: []string{"red", "blue"}}
	keys := map[string]bool{}
	for _, r := range []imageclassification.Request{
		r, {Labels: []string{"red blue"}}, {Labels: r.Labels, Templates: []string{"a {}"}}, {Labels: r.Labels, Multi: true},
		{Labels: r.Labels, Multi: true, Negatives: []string{"a"}}, {Labels: []string{"blue", "red"}}, {Labels: []string{`red" "blue`}},
		{Prompts: []zeroshot.Label{{Name: "red", Prompts: []string{"red"}}, {Name: "blue", Prompts: []string{"blue"}}}},
		{Prompts: []zeroshot.Label{{Name: "red", Prompts: []string{"red", "blue"}}}},
	} {
		keys[keyOf(r)] = true
	}
	if len(keys) != 9 {
		t.Errorf("%d keys, want 9", len(keys))
	}
	circle := [][]byte{read(t, "demo/pictures/red-circle.png")}
	for i := range 3 {
		if _, err := m.ClassifyImages(t.Context(), imageclassification.Request{Images: circle, Labels: r.Labels, TopK: i, Multi: true, Bias: float64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.kept.recent.Len(); n != 1 || m.kept.filled != 2 {
		t.Errorf("%d classifiers of %d labels are kept, want 1 of 2", n, m.kept.filled)
	}
}

// Who waits for a list of labels leaves when its context ends.
func TestKeptWaits(t *testing.T) {
	k := newKept(5)
	begun, end := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := k.get(context.Background(), "a", 1, func() (*zeroshot.Classifier, error) {
			close(begun)
			<-end
			return new(zeroshot.Classifier), nil
		})
		done <- err
	}()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.get(ctx, "a", 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
