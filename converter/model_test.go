package converter

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/clipvit"
)

// TestModelStays: whatever is made of a model, it stays as it was opened.
func TestModelStays(t *testing.T) {
	m, err := Open(tiny(t, "huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir := t.TempDir()
	before, err := m.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := m.Convert(t.Context(), filepath.Join(dir, "vision"), Options{VisionOnly: true}); err != nil || !r.TextLeft {
		t.Fatalf("%+v, %v", r, err)
	}
	tower, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tower.Unfreeze()
	if err := tower.Resize(2*tower.Config.ImageSize, clipvit.BicubicTorch); err != nil {
		t.Fatal(err)
	}
	if _, err := Save(t.Context(), Models{Vision: tower}, m, filepath.Join(dir, "larger"), Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Text(t.Context()); err != nil {
		t.Error(err)
	}
	r, err := m.Convert(t.Context(), filepath.Join(dir, "again"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	sameTensors(t, contents(t, filepath.Join(dir, "again")), contents(t, tiny(t, "huggingface")))
	if r.Config.Vision != before.Config.Vision || *r.Config.Text != *before.Config.Text {
		t.Errorf("configuration is %+v, was %+v", r.Config, before.Config)
	}
}

// TestModelContext: a context that is done ends whatever reads weights, with its cause.
func TestModelContext(t *testing.T) {
	m, err := Open(family(t, "llava"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	clip, err := Open(tiny(t, "huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	defer clip.Close()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	_, vision := m.Vision(ctx)
	_, text := clip.Text(ctx)
	_, projector := m.Projector(ctx)
	for what, err := range map[string]error{"Vision": vision, "Text": text, "Projector": projector} {
		if !errors.Is(err, enough) {
			t.Errorf("%s: error is %v, want %v", what, err, enough)
		}
	}
	_, encoder := m.Encoder(ctx, "")
	_, info := clip.Info(ctx)
	_, convert := m.Convert(ctx, filepath.Join(t.TempDir(), "x"), Options{})
	for what, err := range map[string]error{"Encoder": encoder, "Info": info, "Convert": convert} {
		if !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error is %v, want that of the context", what, err)
		}
	}
}
