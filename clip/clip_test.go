package clip_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/vitago/vitago/clip"
)

const (
	demo  = "../cmd/vitago/demo/"
	model = "../testdata/families/hf5-clip" // both towers and a tokenizer
)

func open(t *testing.T, path string, o ...clip.Option) *clip.Model {
	t.Helper()
	m, err := clip.Open(path, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestForms: all forms of a tiny CLIP have one fingerprint.
func TestForms(t *testing.T) {
	var want string
	for _, path := range []string{"../testdata/tiny/openai_torch2.9.1.pt", "../testdata/tiny/openai_torch1.7.1.pt"} {
		m := open(t, path)
		got, err := m.VisionFingerprint(t.Context())
		if err != nil || len(got) != 64 || want != "" && got != want {
			t.Errorf("%s: %s, %v; want %s", path, got, err, want)
		}
		want = got
	}
}

func TestEncodeText(t *testing.T) {
	m := open(t, model)
	texts := []string{"a cat", "", "a photo of a cat", "a"}
	all, err := m.EncodeText(t.Context(), texts)
	if err != nil || len(all) != len(texts) {
		t.Fatal(len(all), err)
	}
	for i, text := range texts {
		one, err := m.EncodeText(t.Context(), []string{text})
		if err != nil || !slices.Equal(one[0], all[i]) {
			t.Errorf("%q: %v alone, %v among others, %v", text, one, all[i], err)
		}
	}
	if _, err := m.EncodeText(t.Context(), nil); !errors.Is(err, clip.ErrRequest) {
		t.Errorf("no texts: %v", err)
	}
}

func TestEncode(t *testing.T) {
	m := open(t, model)
	v, err := m.Encode(t.Context(), clip.File(demo+"cat.png"), clip.File(demo+"cat.jpg"))
	if err != nil || len(v) != 2 {
		t.Fatal(len(v), err)
	}
	if c := clip.Cosine(v[0], v[1]); c < 0.9 {
		t.Errorf("cosine of one cat twice is %v", c)
	}
}
