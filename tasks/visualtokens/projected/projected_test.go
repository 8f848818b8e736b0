package projected

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/tiny"
	"github.com/vitago/vitago/projector"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/visualtokens"
)

func read(t *testing.T, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTokens: every family by the registry, as it is and converted, gives what its encoder gives, to many at once.
func TestTokens(t *testing.T) {
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1") // no network
	picture := read(t, "cmd/vitago/testdata/demo/cat.png")
	img, err := clipvit.DecodeImage(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"llava", "llava-hf", "llava-hf-nested", "xcomposer2-vl"} {
		source := golden.Path(t, "testdata/families/"+name)
		converted := filepath.Join(t.TempDir(), name)
		model, err := converter.Open(source)
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		if _, err := model.Convert(t.Context(), converted, converter.Options{}); err != nil {
			t.Fatal(err)
		}
		e, err := model.Encoder(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Tokens(img)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{source, converted} {
			m, err := tasks.Load[visualtokens.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir)})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					got, err := m.Tokens(t.Context(), picture)
					if err != nil || got.Tokens.RequiresGrad() || !slices.Equal(got.Tokens.Shape(), want.Shape()) || !slices.Equal(got.Tokens.Data().F32(), want.Data().F32()) {
						t.Errorf("%s: %v, other tokens than the encoder's", dir, err)
					}
				})
			}
			wg.Wait()
			if n, err := m.Count(img.Bounds().Dx(), img.Bounds().Dy()); err != nil || n != want.Shape()[0] {
				t.Errorf("%s: %d tokens, %v, want %d", dir, n, err, want.Shape()[0])
			}
		}
	}
	// One that may be of two families has to be told which.
	hd := golden.Path(t, "testdata/families/xcomposer2-hd")
	if m, err := tasks.Load[visualtokens.Interface](&tasks.Config{ModelsDir: filepath.Dir(hd), ModelName: filepath.Base(hd)}); err == nil || m != nil || !strings.Contains(err.Error(), "has to be chosen") {
		t.Errorf("got %v, %v, want that a layout has to be chosen, and nil", m, err)
	}
	m, err := Load(hd, "xcomposer2-4khd")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Tokens(t.Context(), picture); err != nil || got.Rows*got.Cols < 2 {
		t.Errorf("%d×%d tiles, %v", got.Rows, got.Cols, err)
	}
}

func TestErrors(t *testing.T) {
	if _, err := New(&projector.Encoder{}); err == nil || !strings.Contains(err.Error(), "needs a tower") {
		t.Errorf("error is %v, want that there is no tower", err)
	}
	for _, rel := range []string{"testdata/tiny/huggingface", "testdata/families/hf5-clip", "testdata/families/hf5-vision"} {
		dir := golden.Path(t, rel)
		m, err := tasks.Load[visualtokens.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
		if m != nil || err == nil || !strings.HasPrefix(err.Error(), "projected: "+dir+" is a clip without a projector") {
			t.Errorf("%v, %v, want that there is no projector", m, err)
		}
	}
	m, err := Load(golden.Path(t, "testdata/families/xcomposer2-hd"), "xcomposer2-4khd")
	if err != nil {
		t.Fatal(err)
	}
	var line bytes.Buffer // less than a pixel high once it is as wide as 25 tiles
	if err := png.Encode(&line, image.NewGray(image.Rect(0, 0, 3000, 1))); err != nil {
		t.Fatal(err)
	}
	cat := read(t, "cmd/vitago/testdata/demo/cat.png")
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nil":       {nil, visualtokens.ErrImage},
		"text":      {[]byte("not an image"), visualtokens.ErrImage},
		"cut short": {cat[:len(cat)/2], visualtokens.ErrImage},
		"line":      {line.Bytes(), visualtokens.ErrImage},
		"large":     {make([]byte, visualtokens.MaxImageBytes+1), visualtokens.ErrImageTooLarge},
	} {
		if got, err := m.Tokens(t.Context(), c.data); !errors.Is(err, c.want) || got.Tokens != nil {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // not even decoded, although there is a slot
		if _, err := m.Tokens(canceled, nil); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
	}
	leave, err := m.gate.Enter(t.Context()) // another image
	if err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.Tokens(brief, cat); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	leave()
	if _, err := m.Tokens(t.Context(), cat); err != nil || m.gate.Inside() != 0 {
		t.Errorf("%v, %d slots are taken, want 0", err, m.gate.Inside())
	}
}

// When a context ends, the block of the tower that is being computed is the last.
func TestCancelBlocks(t *testing.T) {
	m, err := Load(golden.Path(t, "testdata/families/xcomposer2-vl"), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	seen, blocks := -1, m.encoder.Tower.Blocks
	for i, b := range blocks {
		tiny.Watch(b.Norm1.W, func() {
			seen = max(seen, i)
			cancel(enough)
		})
	}
	picture := read(t, "cmd/vitago/testdata/demo/cat.png")
	if _, err := m.Tokens(ctx, picture); err != enough { //nolint:errorlint // the cause itself
		t.Errorf("error is %v, want the cause of the end", err)
	}
	if seen != 0 || len(blocks) < 2 || m.gate.Inside() != 0 {
		t.Errorf("block %d of %d is the last that was computed, want 0; %d are left inside", seen, len(blocks), m.gate.Inside())
	}
	if y, err := m.Tokens(t.Context(), picture); err != nil || y.Tokens.Size() == 0 || seen < 1 {
		t.Errorf("afterwards: %v, block %d", err, seen)
	}
}
