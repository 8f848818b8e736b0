package zeroshot

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
)

// A reference is what open_clip's zero-shot classifier says; testdata/gen/zeroshot.py made it.
type reference struct {
	Model, Vocab      string
	Labels, Templates []string
	Embeddings        [][]float64 // [K][E]
	Pictures          map[string]struct{ Cosines, Probabilities []float64 }
}

func references(t *testing.T) (all []reference) {
	t.Helper()
	raw, err := os.ReadFile(golden.Path(t, "testdata/tiny/zeroshot.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// open opens a model of testdata/families with the small vocabulary of transformers' fixtures.
func open(t *testing.T, name string) *clip.Model {
	t.Helper()
	m, err := clip.Open(golden.Path(t, "testdata/families/"+name), clip.Vocabulary(golden.Path(t, "testdata/families/hf5-clip")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestReference compares label embeddings, cosines and probabilities with open_clip 3.3.0's build_zero_shot_classifier, on a
// model of transformers 5.24.0 and one of open_clip, in float64.
func TestReference(t *testing.T) {
	for _, r := range references(t) {
		m, err := clip.Open(golden.Path(t, "testdata/"+r.Model), clip.Vocabulary(golden.Path(t, "testdata/"+r.Vocab)))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c, err := New(t.Context(), m, r.Labels, r.Templates)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(c.Labels(), r.Labels) {
			t.Errorf("labels %q, want %q", c.Labels(), r.Labels)
		}
		for i, want := range r.Embeddings {
			for j, v := range want {
				if math.Abs(c.texts[i][j]-v) > 1e-6 {
					t.Fatalf("%s: embedding of %q: value %d is %v, want %v", r.Model, r.Labels[i], j, c.texts[i][j], v)
				}
			}
		}
		for name, want := range r.Pictures {
			all, err := c.Classify(t.Context(), clip.File(golden.Path(t, "cmd/vitago/testdata/demo/"+name)))
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range all[0] {
				k := slices.Index(r.Labels, l.Name)
				// Float32 is about 1e-6 away from float64 in a cosine, and the scale of 14 makes 2e-5 of that.
				if math.Abs(l.Cosine-want.Cosines[k]) > 2e-6 || math.Abs(l.Probability-want.Probabilities[k]) > 2e-5 {
					t.Errorf("%s, %s: %+v, want cosine %v, probability %v", r.Model, name, l, want.Cosines[k], want.Probabilities[k])
				}
				if i > 0 && l.Probability > all[0][i-1].Probability {
					t.Errorf("%s, %s: label %d is more probable than the one before", r.Model, name, i)
				}
			}
		}
	}
}

func TestRank(t *testing.T) {
	c := &Classifier{labels: []string{"a", "b", "c"}, texts: [][]float64{{1, 0}, {0, 1}, {0.6, 0.8}}, from: &source{scale: 1000}}
	got := c.Rank([]float32{0, 2})
	if got[0].Name != "b" || got[1].Name != "c" || got[2].Name != "a" || got[0].Probability != 1 || got[2].Probability != 0 || got[1].Cosine != 0.8 {
		t.Errorf("got %+v", got)
	}
	if got := c.Rank(make([]float32, 2)); !math.IsNaN(got[0].Probability) {
		t.Errorf("an embedding of length 0 has the probability %v", got[0].Probability)
	}
	defer func() {
		if recover() == nil {
			t.Error("a vector of another length is taken")
		}
	}()
	c.Rank(make([]float32, 3))
}

func TestErrors(t *testing.T) {
	m := open(t, "hf5-clip")
	for _, c := range []struct {
		labels, templates []string
		want              string
		kind              error
	}{
		{nil, nil, "zeroshot: got 0 labels, want at least 2", clip.ErrRequest},
		{[]string{"cat"}, nil, "zeroshot: got 1 label, want at least 2", clip.ErrRequest},
		{[]string{"cat", " "}, nil, "zeroshot: label 2 of 2 is empty", clip.ErrRequest},
		{[]string{"cat", "hat", " cat"}, nil, `zeroshot: the label "cat" is given twice, as number 1 and 3`, clip.ErrRequest},
		{[]string{"cat", "hat"}, []string{"{}", "a photo"}, `zeroshot: the template "a photo" has no {}, where the label stands`, clip.ErrRequest},
		{[]string{"cat", "zebra"}, []string{"{}"}, `zeroshot: the label "zebra" in the template "{}": the vocabulary of 25 tokens lacks "zebra": none of them is "z"`, clip.ErrText},
		{[]string{"cat", "a a a a a a a a"}, []string{"{}"}, `the label "a a a a a a a a" in the template "{}": "a a a a a a a a" has 10 tokens with its begin and end, want at most 9`, clip.ErrText},
	} {
		_, err := New(t.Context(), m, c.labels, c.templates)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.kind) {
			t.Errorf("%q, %q: error %v, want %q", c.labels, c.templates, err, c.want)
		}
	}
	if _, err := New(t.Context(), open(t, "hf5-vision"), []string{"cat", "hat"}, nil); !errors.Is(err, clip.ErrNoText) {
		t.Errorf("error %v, want %v", err, clip.ErrNoText)
	}
	text, err := m.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	words, _, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	other, err := open(t, "hf5-vision").Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), clip.New(other, text, words), []string{"cat", "hat"}, []string{"{}"}); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), "embeddings of pictures have 16 values, those of texts 10") {
		t.Errorf("towers of two models: error %v", err)
	}
	if _, err := New(t.Context(), clip.New(nil, text, words), []string{"cat", "hat"}, []string{"{}"}); err != nil {
		t.Errorf("for embeddings that are there already: error %v", err)
	}
	c, err := New(t.Context(), m, []string{"cat", "hat"}, []string{"{}"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Classify(t.Context()); !errors.Is(err, clip.ErrRequest) {
		t.Errorf("no pictures: error %v", err)
	}
	if _, err := c.Classify(t.Context(), clip.Bytes("x.png", []byte("no picture"))); !errors.Is(err, clip.ErrImage) || strings.Count(err.Error(), ":") > 3 {
		t.Errorf("no picture: error %v", err)
	}
	one := slices.Values([]clip.Picture{clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))})
	for _, err := range c.ClassifyAll(t.Context(), one, clip.StreamOptions{Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}}) {
		if !errors.Is(err, clip.ErrRequest) {
			t.Errorf("other features: error %v", err)
		}
	}
}

// TestClassifyAll: what cannot be read has an error in its place, or ends it.
func TestClassifyAll(t *testing.T) {
	c, err := New(t.Context(), open(t, "hf5-clip"), []string{"cat", "hat"}, []string{"{}"})
	if err != nil {
		t.Fatal(err)
	}
	cat := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	all := []clip.Picture{cat, clip.Bytes("broken", []byte("no picture")), cat}
	alone, err := c.Classify(t.Context(), cat)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for x, err := range c.ClassifyAll(t.Context(), slices.Values(all), clip.StreamOptions{SkipErrors: true, Batch: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(x.Name))
		if bad := x.Index == 1; bad != (x.Err != nil) || bad != (x.Labels == nil) || !bad && !slices.Equal(x.Labels, alone[0]) {
			t.Errorf("picture %d: %+v, want %+v", x.Index, x, alone[0])
		}
	}
	if want := []string{"cat.png", "broken", "cat.png"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	n := 0
	for _, err := range c.ClassifyAll(t.Context(), slices.Values(all), clip.StreamOptions{}) {
		if n++; err != nil && !errors.Is(err, clip.ErrImage) {
			t.Error(err)
		}
	}
	if n != 2 {
		t.Errorf("%d results, want one and the error", n)
	}
}

// made returns a classifier by a cache, and how many texts were encoded for it.
func made(t *testing.T, m *clip.Model, dir string, labels []string, templates ...string) (c *Classifier, texts int) {
	t.Helper()
	c, err := New(t.Context(), m, labels, templates, Cache(dir), Progress(func(done, total int) {
		if texts = done; done > total {
			t.Errorf("%d of %d texts are done", done, total)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return c, texts
}

// TestCache: what is in the cache is not encoded again, to the bit, and only for the same texts and weights.
func TestCache(t *testing.T) {
	m, dir := open(t, "hf5-clip"), t.TempDir()
	two, three := []string{"cat", "hat"}, []string{"photo", "cat", "hat"}
	fresh, err := New(t.Context(), m, three, []string{"{}", "a {}"})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, texts, n int) {
		t.Helper()
		if texts != n {
			t.Errorf("%s: %d texts were encoded, want %d", what, texts, n)
		}
	}
	_, n := made(t, m, dir, two, "{}", "a {}")
	want("at first", n, 4)
	_, n = made(t, m, dir, two, "{}", "a {}")
	want("again", n, 0)
	_, n = made(t, m, dir, three, "{}", "a {}")
	want("a label more", n, 2)
	c, n := made(t, m, dir, three, "{}", "a {}")
	want("all", n, 0)
	for i := range three {
		// A text alone and in a batch may differ in the last bits.
		for j, v := range fresh.texts[i] {
			if math.Abs(c.texts[i][j]-v) > 1e-6 {
				t.Errorf("%q: %v from the cache, want %v", three[i], c.texts[i][j], v)
			}
		}
	}
	_, n = made(t, m, dir, two, "a {}", "{}")
	want("other templates", n, 4)
	_, n = made(t, open(t, "longclip-hf"), dir, two, "{}", "a {}")
	want("another model", n, 4)
	_, n = made(t, open(t, "hf5-clip"), dir, two, "{}", "a {}")
	want("the same opened again", n, 0)

	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.f64"))
	if err != nil || len(files) != 7 {
		t.Fatalf("%d files, %v, want 7", len(files), err)
	}
	for i, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return append(b, 0) },
		func(b []byte) []byte { b[3] ^= 1; return b },
		func([]byte) []byte { return nil },
	} {
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, damage(b), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		_, n = made(t, m, dir, three, "{}", "a {}")
		want("damaged", n, 6)
		again, n := made(t, m, dir, three, "{}", "a {}")
		want("mended", n, 0)
		if x := again.texts[0]; !slices.Equal(x, fresh.texts[0]) {
			t.Errorf("damage %d: %v, want %v", i, x, fresh.texts[0])
		}
		if files, err = filepath.Glob(filepath.Join(dir, "*", "*", "*.f64")); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), m, two, nil, Cache(file)); err == nil || !strings.HasPrefix(err.Error(), "zeroshot: cache: ") {
		t.Errorf("a file for a folder: error %v", err)
	}
}

// TestWith: labels that a classifier has are not encoded again.
func TestWith(t *testing.T) {
	texts := 0
	progress := Progress(func(_, total int) { texts = total })
	c, err := New(t.Context(), open(t, "hf5-clip"), []string{"cat", "hat"}, []string{"{}", "a {}"}, progress)
	if err != nil {
		t.Fatal(err)
	}
	more, err := c.With(t.Context(), []string{"hat", "photo", "cat"})
	if err != nil {
		t.Fatal(err)
	}
	if texts != 2 || !slices.Equal(more.Labels(), []string{"hat", "photo", "cat"}) || !slices.Equal(more.texts[0], c.texts[1]) || !slices.Equal(more.texts[2], c.texts[0]) {
		t.Errorf("%d texts were encoded for %q, want 2", texts, more.Labels())
	}
	all, err := more.Classify(t.Context(), clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png")))
	if err != nil || len(all[0]) != 3 {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := c.With(t.Context(), []string{"cat"}); !errors.Is(err, clip.ErrRequest) {
		t.Errorf("one label: error %v", err)
	}
}

// TestCancel: what was encoded before the end of the context is in the cache.
func TestCancel(t *testing.T) {
	m, dir := open(t, "hf5-clip"), t.TempDir()
	var labels []string
	for i := range 64 {
		labels = append(labels, "abctofph"[i%8:i%8+1]+"abctofph"[i/8:i/8+1])
	}
	templates := make([]string, 20)
	for i := range templates {
		templates[i] = "{}" + strings.Repeat(" ", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := New(ctx, m, labels, templates, Cache(dir), Progress(func(done, _ int) {
		if done > 0 {
			cancel()
		}
	}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.f64"))
	if err != nil || len(files) != textsTogether/len(templates) {
		t.Errorf("%d labels are in the cache, %v, want %d", len(files), err, textsTogether/len(templates))
	}
	left := 0
	if _, err := New(t.Context(), m, labels, templates, Cache(dir), Progress(func(_, total int) { left = total })); err != nil {
		t.Fatal(err)
	}
	if want := (len(labels) - len(files)) * len(templates); left != want {
		t.Errorf("%d texts were left, want %d", left, want)
	}
}

// TestMany: more texts than are encoded together.
func TestMany(t *testing.T) {
	m := open(t, "hf5-clip")
	var labels []string
	for _, a := range "abctofph" {
		for _, b := range "abctofph" {
			for _, c := range "abctofph" {
				labels = append(labels, string([]rune{a, b, c}))
			}
		}
	}
	templates := []string{"{}", "a {}", "a photo of {}"}
	calls, last := 0, 0
	c, err := New(t.Context(), m, labels, templates, Progress(func(done, total int) {
		if calls++; done <= last && calls > 1 || total != len(labels)*3 {
			t.Errorf("%d of %d texts after %d", done, total, last)
		}
		last = done
	}))
	if err != nil {
		t.Fatal(err)
	}
	if last != len(labels)*3 || calls < 3 {
		t.Errorf("%d texts in %d calls", last, calls)
	}
	for _, i := range []int{0, 200, len(labels) - 1} {
		j := (i + 1) % len(labels)
		two, err := New(t.Context(), m, []string{labels[i], labels[j]}, templates)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range two.texts[0] {
			if math.Abs(c.texts[i][k]-v) > 1e-6 {
				t.Fatalf("%q: value %d is %v, alone %v", labels[i], k, c.texts[i][k], v)
			}
		}
	}
}

// TestMemory: of many texts no more is kept than the embeddings of the labels.
func TestMemory(t *testing.T) {
	m := open(t, "hf5-clip")
	var labels, templates []string
	for i := range 400 {
		labels = append(labels, strings.Repeat("abctofph"[i%8:i%8+1], 1+i/8%4)+strings.Repeat("abctofph"[i/32%8:i/32%8+1], 1+i/256))
	}
	slices.Sort(labels)
	labels = slices.Compact(labels)
	for i := range 100 {
		templates = append(templates, "{}"+strings.Repeat(" ", i)) // which changes no id
	}
	var heap []uint64
	_, err := New(t.Context(), m, labels, templates, Progress(func(done, total int) {
		if done != 0 && done != total && len(heap) > done*10/total {
			return
		}
		var s runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold goes with the second
		runtime.ReadMemStats(&s)
		heap = append(heap, s.HeapAlloc)
	}))
	if err != nil {
		t.Fatal(err)
	}
	texts := len(labels) * len(templates)
	// A vector alone has 10 floats and a header.
	if first, last := heap[1], heap[len(heap)-1]; texts < 20000 || last > first+uint64(texts)*20 {
		t.Errorf("%d bytes after a tenth of %d texts, %d after all: %d", first, texts, last, heap)
	}
}

func FuzzDecode(f *testing.F) {
	s := space{dir: f.TempDir(), n: 2}
	if err := s.put("cat", []float64{0.6, -0.8}); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(s.path("cat"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, 2)
	f.Add(raw[:len(raw)-1], 2)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		if n < 0 || n > 1<<20 {
			return
		}
		if x := decode(raw, n); x != nil && (len(x) != n || len(raw) != 8*n+4) {
			t.Errorf("%d values of %d bytes, want %d", len(x), len(raw), n)
		}
	})
}

// TestFill: a label comes to every place of a template, in both spellings.
func TestFill(t *testing.T) {
	for template, want := range map[string]string{"a {}.": "a cat.", "{c} or {}": "cat or cat", "{}": "cat"} {
		if got, err := Fill(template, "cat"); got != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", template, got, err, want)
		}
	}
	if got, err := Fill("a photo", "cat"); got != "" || !errors.Is(err, clip.ErrRequest) {
		t.Errorf("without a place: %q, %v, want a %v", got, err, clip.ErrRequest)
	}
}
