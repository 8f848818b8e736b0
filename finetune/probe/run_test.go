package probe

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/golden"
)

// A probe on a tower of random weights learns what its features show, the colours of easy shapes, and
// nothing from labels that mean nothing: no picture is both learnt from and judged by.
func TestRun(t *testing.T) {
	m := tower(t)
	cache, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	train, test := drawn(t, 0, 30, false), drawn(t, 30, 20, false)
	run := func() *Result {
		trials := 0
		r, err := Run(t.Context(), Config{
			Extractor: Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.PatchMean, Layer: 1}, Cache: cache, Batch: 16},
			Train:     train, Test: test, Seed: 7, Tried: func(Trial) { trials++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("λ=%g, train %.3f, validation %.3f, test %.3f", r.Fit.Lambda, r.Train.Accuracy(), r.Validation.Accuracy(), r.Test.Accuracy())
		if r.Test.Pictures != 6*20 || r.Train.Pictures != 6*30 || r.Validation.Pictures != 6*6 || trials != len(r.Trials) {
			t.Errorf("%d test, %d training, %d validation pictures, %d trials told of %d", r.Test.Pictures, r.Train.Pictures, r.Validation.Pictures, trials, len(r.Trials))
		}
		return r
	}
	first := run()
	if got := first.Test.Accuracy(); got < 0.9 {
		t.Errorf("accuracy %.3f, want at least 0.9; by chance it would be 0.167", got)
	}
	if again := run(); !slices.Equal(again.Fit.W, first.Fit.W) || !slices.Equal(again.Fit.B, first.Fit.B) {
		t.Error("a second run, from the cache, finds other weights")
	}
	for i := range train.Samples {
		train.Samples[i].Label = i % 6 // the samples come class by class
	}
	for i := range test.Samples {
		test.Samples[i].Label = i % 6
	}
	// 4 standard deviations of the share of 120 pictures above the chance of 1/6.
	if got, most := run().Test.Accuracy(), 1.0/6+4*math.Sqrt(1.0/6*5/6/120); got > most {
		t.Errorf("labels without meaning: accuracy %.3f, want at most %.3f", got, most)
	}
}

func TestRunGivenLambda(t *testing.T) {
	m, train, validation := tower(t), drawn(t, 0, 5, false), drawn(t, 5, 2, false)
	r, err := Run(t.Context(), Config{Extractor: Extractor{Model: m}, Train: train, Validation: validation, Lambda: 10})
	if err != nil {
		t.Fatal(err)
	}
	if r.Fit.Lambda != 10 || r.Trials != nil || r.Validation != nil || r.Test != nil || r.Train.Pictures != 6*7 {
		t.Errorf("λ %v, %d trials, %v, %v, %d pictures", r.Fit.Lambda, len(r.Trials), r.Validation, r.Test, r.Train.Pictures)
	}
	if r.Head.Features != (clipvit.Features{Kind: clipvit.Embedding}) {
		t.Errorf("features are %v, want the embedding", r.Head.Features)
	}
	for _, c := range []struct {
		name string
		c    Config
		want string
	}{
		{"no model", Config{Train: train}, "no model"},
		{"no data", Config{Extractor: Extractor{Model: m}}, "no training data"},
		{"other classes", Config{Extractor: Extractor{Model: m}, Train: train, Validation: &data.Dataset{Samples: validation.Samples, Classes: []string{"a", "b", "c", "d", "e", "f"}}}, "align them"},
		{"λ", Config{Extractor: Extractor{Model: m}, Train: train, Lambda: -1}, "λ is -1"},
	} {
		if _, err := Run(t.Context(), c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for _, s := range validation.Samples {
		if err := os.WriteFile(s.Path, []byte("broken"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var broken data.Broken
	if _, err := Run(t.Context(), Config{Extractor: Extractor{Model: m}, Train: train, Test: validation, Lambda: 1}); !errors.As(err, &broken) || !strings.Contains(err.Error(), "none of the 12 test pictures") {
		t.Errorf("broken test pictures: error %v", err)
	}
}

func TestHead(t *testing.T) {
	f := golden.Load(t, "testdata/tiny/probe.npz")
	s := goldenSet(f, "three/x", "three/y")
	fit, err := Regress(t.Context(), s, f.Float64("three/lambda")[1])
	if err != nil {
		t.Fatal(err)
	}
	features := clipvit.Features{Kind: clipvit.PatchMean, Layer: -2}
	h := fit.Head([]string{"a", "<b>", "ç"}, features, "0123")
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 { // the second time over the first
		if err := h.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("the folder has %v, %v, want two files", files, err)
	}
	got, err := LoadHead(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Classes, h.Classes) || got.Features != features || got.Model != "0123" || got.Dim() != s.Dim {
		t.Errorf("got %+v, want %+v", got, h)
	}
	n := s.Len()
	p := got.Predict(s.X)
	want := f.Float32("three/probabilities")[n*3 : 2*n*3]
	rounded := make([]float32, len(p))
	for i, v := range p {
		rounded[i] = float32(v)
	}
	golden.Compare(t, "probabilities", rounded, want, 1e-5)
	one := got.Predict(s.X[4*s.Dim : 5*s.Dim])
	near(t, "one picture", one, p[4*3:5*3], 1e-12)
	if sum := one[0] + one[1] + one[2]; math.Abs(sum-1) > 1e-12 {
		t.Errorf("probabilities add up to %v", sum)
	}
	if len(got.Predict(nil)) != 0 {
		t.Error("no pictures have probabilities")
	}
	score := got.Score(s)
	near(t, "loss", []float64{score.Loss}, f.Float64("three/loss")[1:2], 1e-5)
	right := 0
	for i, l := range s.Labels {
		row := want[3*i : 3*i+3]
		if row[l] == slices.Max(row) {
			right++
		}
	}
	if score.Right != right || score.Pictures != n {
		t.Errorf("%d of %d are right, want %d of %d", score.Right, score.Pictures, right, n)
	}
	// The module in it is spago's, and computes the same.
	logits := mat.Data[float32](got.Linear.Forward(mat.NewDense[float32](mat.WithBacking(s.X[:s.Dim])))[0].Value().(mat.Matrix))
	z := toFloat64(logits)
	softmax(z)
	near(t, "spago's module", z, p[:3], 1e-5)
}

func TestHeadErrors(t *testing.T) {
	m := tower(t)
	d := drawn(t, 0, 3, false)
	r, err := Run(t.Context(), Config{Extractor: Extractor{Model: m}, Train: d, Lambda: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Head
	if err := h.Check(m); err != nil {
		t.Errorf("its own tower: %v", err)
	}
	other := tower(t)
	other.Unfreeze()
	other.Blocks[0].Attn.Out.W.Data().F32()[0]++
	if err := h.Check(other); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Errorf("another tower: %v", err)
	}
	wide := *h
	wide.Features = clipvit.Features{Kind: clipvit.ClassToken, Layer: 0}
	if err := wide.Check(m); m.Config.Width != m.Config.EmbedDim && (err == nil || !strings.Contains(err.Error(), "the head reads")) {
		t.Errorf("other features: %v", err)
	}

	good := func() string {
		dir := t.TempDir()
		if err := h.Save(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	write := func(dir string, v ...checkpoint.Values) {
		if err := checkpoint.WriteTensors(filepath.Join(dir, converter.HeadFile), nil, v); err != nil {
			t.Fatal(err)
		}
	}
	bias := checkpoint.Values{Name: biasName, Shape: []int{6}, Data: make([]float32, 6)}
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no classes", func(dir string) error { return os.Remove(filepath.Join(dir, ClassesFile)) }, ClassesFile},
		{"no weights", func(dir string) error { return os.Remove(filepath.Join(dir, converter.HeadFile)) }, converter.HeadFile},
		{"not JSON", func(dir string) error { return os.WriteFile(filepath.Join(dir, ClassesFile), []byte("{"), 0o666) }, ClassesFile},
		{"a list", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ClassesFile), []byte(`["a","b"]`), 0o666)
		}, "classes.json: a value is a list, want an object"},
		{"fewer classes", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ClassesFile), []byte(`{"classes":["a","b"],"features":{"kind":"embedding"}}`), 0o666)
		}, "for the 2 classes"},
		{"twice", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ClassesFile), []byte(`{"classes":["a","b","c","d","e","a"],"features":{"kind":"embedding"}}`), 0o666)
		}, `two classes are called "a"`},
		{"no bias", func(dir string) error {
			write(dir, checkpoint.Values{Name: weightName, Shape: []int{6, 1}, Data: make([]float32, 6)})
			return nil
		}, "want two tensors"},
		{"shape", func(dir string) error {
			write(dir, checkpoint.Values{Name: weightName, Shape: []int{6}, Data: make([]float32, 6)}, bias)
			return nil
		}, "want [6,D] and [6]"},
		{"strange", func(dir string) error {
			write(dir, checkpoint.Values{Name: "more", Shape: []int{1}, Data: make([]float32, 1)}, bias)
			return nil
		}, `tensor "more"`},
		{"NaN", func(dir string) error {
			write(dir, checkpoint.Values{Name: weightName, Shape: []int{6, 1}, Data: slices.Repeat([]float32{float32(math.NaN())}, 6)}, bias)
			return nil
		}, "want finite numbers"},
	} {
		dir := good()
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadHead(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestRunClassLost: a class whose pictures all cannot be read is named with why, not as one that nobody listed.
func TestRunClassLost(t *testing.T) {
	train, test := drawn(t, 0, 2, false), drawn(t, 30, 1, false)
	for i, s := range train.Samples {
		if s.Label == 4 {
			train.Samples[i].Path = filepath.Join(t.TempDir(), "gone.png")
		}
	}
	_, err := Run(t.Context(), Config{Extractor: Extractor{Model: tower(t)}, Train: train, Validation: test})
	if want := "of class " + strconv.Quote(train.Classes[4]) + " no picture can be read: "; err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}
