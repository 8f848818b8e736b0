package demo_test

import (
	"slices"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
)

// TestOpen: the model in the program is the one that it is written as, in its fingerprints, its tokens and its vectors.
func TestOpen(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := converter.Open(demo.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := t.TempDir() + "/model"
	if _, err := c.Convert(t.Context(), dir, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	w, err := clip.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for name, print := range map[string]func(*clip.Model) (string, error){
		"pictures": func(m *clip.Model) (string, error) { return m.VisionFingerprint(t.Context()) },
		"texts":    func(m *clip.Model) (string, error) { return m.TextFingerprint(t.Context()) },
	} {
		got, err := print(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := print(w)
		if err != nil || got != want {
			t.Errorf("%s: fingerprint %s, of the directory %s, %v", name, got, want, err)
		}
	}
	got, err := m.Encode(t.Context(), demo.Pictures()...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := w.Encode(t.Context(), demo.Pictures()...)
	if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the vectors of the directory differ, %v", err)
	}
}
