package converter

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
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
	archive, err := Open(tiny(t, "openai_torch1.7.1.pt")) // which has checksums
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	tower, err := clip.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	_, vision := m.Vision(ctx)
	_, text := clip.Text(ctx)
	_, projector := m.Projector(ctx)
	_, encoder := m.Encoder(ctx, "")
	_, info := clip.Info(ctx)
	_, sum := m.SHA256(ctx)
	out := filepath.Join(t.TempDir(), "x")
	_, convert := m.Convert(ctx, out, Options{})
	_, export := m.Export(ctx, out, ExportOptions{To: "llava"})
	_, save := Save(ctx, Models{Vision: tower}, nil, out, Options{})
	for what, err := range map[string]error{
		"Vision": vision, "Text": text, "Projector": projector, "Encoder": encoder, "Info": info, "SHA256": sum,
		"Convert": convert, "Export": export, "Save": save, "Verify": archive.Parameters()[0].Verify(ctx),
	} {
		if !errors.Is(err, enough) {
			t.Errorf("%s: error is %v, want %v", what, err, enough)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// methods are what reads the weights of a model, by name.
func methods(t *testing.T, m *Model) map[string]func() error {
	dir := t.TempDir()
	return map[string]func() error{
		"Vision": func() error { _, err := m.Vision(t.Context()); return err },
		"Text":   func() error { _, err := m.Text(t.Context()); return err },
		"Info":   func() error { _, err := m.Info(t.Context()); return err },
		"Convert": func() error {
			_, err := m.Convert(t.Context(), filepath.Join(dir, "a"), Options{DType: "f16"})
			return err
		},
		"Export": func() error {
			_, err := m.Export(t.Context(), filepath.Join(dir, "b"), ExportOptions{To: "openai"})
			return err
		},
		"Parameters": func() error {
			for _, p := range m.Parameters() {
				if err := errors.Join(p.Verify(t.Context()), p.Float64s(make([]float64, 1), 0, nil)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// compressed returns a file whose entries are deflated.
func compressed(t *testing.T) []byte {
	b := fileOf(t, contents(t, tiny(t, "float32_torch2.0.1.pt")), checkpoint.WriteNPZ)
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := z.Create(f.Name)
		if err == nil {
			_, err = io.Copy(w, in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestModelTogether: methods may be called by many goroutines at once. What is compressed has one reader.
func TestModelTogether(t *testing.T) {
	plain, err := os.ReadFile(tiny(t, "openai_torch1.7.1.pt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"archive": plain, "compressed": compressed(t)} {
		m, err := openBytes(b, Assume(transformer.QuickGELU))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			for what, f := range methods(t, m) {
				wg.Go(func() {
					if err := f(); err != nil {
						t.Errorf("%s, %s: %v", name, what, err)
					}
				})
			}
		}
		wg.Wait()
		tower, err := m.Vision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if name == "compressed" {
			sameParameters(t, parameters(tower), wanted(t))
		}
	}
}

// TestModelClosed: what needs the files fails after they were closed, and leaves nothing; all else still answers.
func TestModelClosed(t *testing.T) {
	for _, path := range []string{tiny(t, "openai_torch1.7.1.pt"), tiny(t, "huggingface")} {
		m, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Close(), m.Close()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		for what, f := range methods(t, m) {
			if err := f(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: error is %v, want %v", what, err, os.ErrClosed)
			}
		}
		if m.Path() != path || m.Stated().Text == nil || len(m.Parameters()) == 0 || m.ProjectorConfig() != nil {
			t.Errorf("%s is forgotten", path)
		}
	}
}

// TestConvertWorkingDirectory: a directory that a shell may stand in is not replaced.
func TestConvertWorkingDirectory(t *testing.T) {
	src, err := filepath.Abs(tiny(t, "huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "in"))
	for _, dst := range []string{".", "../in"} {
		if _, err := convertFile(t.Context(), src, dst, Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "in is the working directory, or above it") {
			t.Errorf("%s: error %v", dst, err)
		}
	}
	if _, err := convertFile(t.Context(), src, "../out", Options{}); err != nil {
		t.Error(err)
	}
}

// TestConvertOntoItself: a model may take the place of what it is read from.
func TestConvertOntoItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tiny(t, "huggingface"))); err != nil {
		t.Fatal(err)
	}
	want := contents(t, dir)
	for range 2 {
		if _, err := convertFile(t.Context(), dir, dir, Options{}); !errors.Is(err, ErrExists) {
			t.Errorf("error is %v, want %v", err, ErrExists)
		}
		if _, err := convertFile(t.Context(), dir, dir, Options{Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		sameTensors(t, contents(t, dir), want)
	}
	file := filepath.Join(t.TempDir(), "x.pt")
	export(t, tiny(t, "openai_torch1.7.1.pt"), file, ExportOptions{To: "openai"})
	want = contents(t, file)
	export(t, file, file, ExportOptions{To: "openai", Overwrite: true})
	sameTensors(t, contents(t, file), want)
	for _, d := range []string{filepath.Dir(dir), filepath.Dir(file)} {
		if left, _ := os.ReadDir(d); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	}
}
