package clip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
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

// Cosines and probabilities are those that open_clip 3.3.0 computes in float64 on a model of transformers 5.24.0.
func TestReference(t *testing.T) {
	var references []struct {
		Model, Vocab      string
		Labels, Templates []string
		Pictures          map[string]struct{ Cosines, Probabilities []float64 }
	}
	if err := json.Unmarshal(read(t, "testdata/tiny/zeroshot.json"), &references); err != nil {
		t.Fatal(err)
	}
	want := references[0] // the one of a single template
	dir := golden.Path(t, "testdata/"+want.Model)
	m, err := tasks.Load[imagetextsimilarity.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	var r imagetextsimilarity.Request
	for _, l := range want.Labels {
		r.Texts = append(r.Texts, strings.ReplaceAll(want.Templates[0], "{}", l))
	}
	var names []string
	for name := range want.Pictures {
		names = append(names, name)
		r.Images = append(r.Images, read(t, "cmd/vitago/testdata/demo/"+name))
	}
	got, err := m.CompareImagesTexts(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 3 || len(got.Cosines) != len(names) || len(got.Probabilities) != len(names) {
		t.Fatalf("%d and %d rows for %d pictures", len(got.Cosines), len(got.Probabilities), len(names))
	}
	for i, name := range names {
		for j := range r.Texts {
			c, p := got.Cosines[i][j], got.Probabilities[i][j]
			if w := want.Pictures[name]; math.Abs(c-w.Cosines[j]) > 1e-6 || math.Abs(p-w.Probabilities[j]) > 1e-5 { // the towers compute in float32
				t.Errorf("%s, %q: %v, %v, want %v, %v", name, r.Texts[j], c, p, w.Cosines[j], w.Probabilities[j])
			}
		}
	}
	if s := got.Scale; math.Abs(s-math.Exp(2.6592)) > 1e-4 {
		t.Errorf("the scale is %v, want that of config.json, exp(2.6592)", s)
	}
}

// The bits are those of zero-shot labels in the template {}, which "vitago classify" prints; and one text will do, or one that stands
// twice, or is empty.
func TestBits(t *testing.T) {
	model, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"a red circle", "a blue square", "a green heart"}
	pictures := [][]byte{read(t, "demo/pictures/red-circle.png"), read(t, "demo/pictures/green-heart.png")}
	got, err := m.CompareImagesTexts(t.Context(), imagetextsimilarity.Request{Images: pictures, Texts: texts})
	if err != nil {
		t.Fatal(err)
	}
	judge, err := zeroshot.New(t.Context(), model, texts, []string{"{}"})
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range pictures {
		ranked, err := judge.Classify(t.Context(), clip.Bytes("", file))
		if err != nil {
			t.Fatal(err)
		}
		if best := ranked[0][0].Name; best != texts[2*i] {
			t.Errorf("picture %d is %q", i, best)
		}
		for _, l := range ranked[0] {
			for j, text := range texts {
				if text == l.Name && (got.Cosines[i][j] != l.Cosine || got.Probabilities[i][j] != l.Probability) {
					t.Errorf("picture %d, %q: %v, %v, want %v, %v", i, text, got.Cosines[i][j], got.Probabilities[i][j], l.Cosine, l.Probability)
				}
			}
		}
	}
	one, err := m.CompareImagesTexts(t.Context(), imagetextsimilarity.Request{Images: pictures[:1], Texts: texts[:1]})
	if err != nil || one.Cosines[0][0] != got.Cosines[0][0] || one.Probabilities[0][0] != 1 {
		t.Errorf("one text: %+v, %v", one, err)
	}
	twice, err := m.CompareImagesTexts(t.Context(), imagetextsimilarity.Request{Images: pictures[:1], Texts: []string{texts[0], "", texts[0]}})
	if err != nil || twice.Cosines[0][0] != got.Cosines[0][0] || twice.Cosines[0][2] != got.Cosines[0][0] || twice.Probabilities[0][0] != twice.Probabilities[0][2] {
		t.Errorf("a text twice: %+v, %v", twice, err)
	}
}

func TestErrors(t *testing.T) {
	model, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	circle := read(t, "demo/pictures/red-circle.png")
	texts := []string{"a red circle"}
	for _, c := range []struct {
		r    imagetextsimilarity.Request
		kind error
		want string
	}{
		{imagetextsimilarity.Request{Texts: texts}, imagetextsimilarity.ErrRequest, "got 0 images, want 1 to 256"},
		{imagetextsimilarity.Request{Images: [][]byte{circle}}, imagetextsimilarity.ErrRequest, "got 0 texts, want 1 to 1024"},
		{imagetextsimilarity.Request{Images: [][]byte{circle}, Texts: make([]string, imagetextsimilarity.MaxTexts+1)}, imagetextsimilarity.ErrRequest, "got 1025 texts"},
		{imagetextsimilarity.Request{Images: [][]byte{circle, {}}, Texts: texts}, imagetextsimilarity.ErrImage, "clip: image 2: "},
		{imagetextsimilarity.Request{Images: [][]byte{make([]byte, imagetextsimilarity.MaxImageBytes+1)}, Texts: texts}, imagetextsimilarity.ErrImageTooLarge, "clip: image 1: "},
		{imagetextsimilarity.Request{Images: [][]byte{circle}, Texts: []string{"a red circle", "a zebra"}}, imagetextsimilarity.ErrText, "clip: text 2: "},
	} {
		got, err := m.CompareImagesTexts(t.Context(), c.r)
		if !errors.Is(err, c.kind) || got.Cosines != nil || !strings.Contains(fmt.Sprint(err), c.want) || strings.Count(fmt.Sprint(err), "clip: ") != 1 {
			t.Errorf("got %+v, %v, want %q", got, err, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.CompareImagesTexts(ended, imagetextsimilarity.Request{Images: [][]byte{circle}, Texts: texts}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if n := m.gate.Inside(); n != 0 {
		t.Errorf("%d are left inside", n)
	}
	if s, err := LoadSimilarity(golden.Path(t, "testdata/families/hf5-vision")); !errors.Is(err, clip.ErrNoText) || s != nil {
		t.Errorf("a vision tower: %v, %v", s, err)
	}
	if _, err := LoadSimilarity(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no model: %v", err)
	}
}
