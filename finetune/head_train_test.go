package finetune

import (
	"context"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune/data"
)

// TestTrainHead: what it cannot do is an error, the tower stays frozen, and nothing of the features is left behind.
func TestTrainHead(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // of Unix
	tower, _ := tinyTower(t, "gelu")
	dir := t.TempDir()
	for _, name := range []string{"a/0.png", "a/1.png", "b/0.png", "b/1.png"} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(png.Encode(f, image.NewGray(image.Rect(0, 0, 8, 8))), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	pictures, err := data.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	width := tower.Config.OutputDim()
	head := func() Head { return newTwoLayers(width, 4, 2).fill(1) }
	ended, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	cancel(gone)
	var field *FieldError
	if _, err := TrainHead(t.Context(), tower, head(), pictures, 0, 0.1); !errors.As(err, &field) || field.Field != "Epochs" {
		t.Errorf("no epochs: %v", err)
	}
	if _, err := TrainHead(t.Context(), tower, head(), pictures, 1, 2); !errors.As(err, &field) || field.Field != "HeadRate" {
		t.Errorf("a rate of 2: %v", err)
	}
	if _, err := TrainHead(ended, tower, head(), pictures, 1, 0.1); !errors.Is(err, gone) {
		t.Errorf("a context that has ended: %v", err)
	}
	for _, c := range []struct {
		head     Head
		pictures *data.Dataset
		rate     float64
		want     string
	}{
		{head(), pictures, 0, "nothing learns"},
		{nil, pictures, 0.1, "tower, head and pictures must be given"},
		{head(), nil, 0.1, "tower, head and pictures must be given"},
		{newTwoLayers(width, 4, 3).fill(1), pictures, 0.1, "gives 3 logits, want 2, one a class"},
		{newTwoLayers(width+1, 4, 2).fill(1), pictures, 0.1, "the features that the head *finetune.twoLayers gets are [1 "},
	} {
		if _, err := TrainHead(t.Context(), tower, c.head, c.pictures, 1, c.rate); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if result, err := TrainHead(t.Context(), tower, head(), pictures, 3, 0.1); err != nil || result.Steps != 3 {
		t.Errorf("%+v, %v", result, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b", "1.png"), []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := TrainHead(t.Context(), tower, head(), pictures, 1, 0.1); err == nil || !strings.Contains(err.Error(), "1.png") {
		t.Errorf("a file that is no picture: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
