package main

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"

	"github.com/vitago/vitago/examples/owntask/brightness"
)

var conf = &tasks.Config{ModelsDir: "models", ModelName: "average", DownloadPolicy: tasks.DownloadNever}

// picture is half red and half black.
func picture(t *testing.T) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 4, 2))
	for i := range 8 {
		img.Set(i%4, i/4, color.RGBA{R: uint8(255 * (i % 2)), A: 255})
	}
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestOwnTask(t *testing.T) {
	m, err := tasks.Load[brightness.Interface](conf)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Brightness(t.Context(), picture(t))
	if want := 0.299 / 2; err != nil || math.Abs(got-want) > 1e-12 {
		t.Errorf("brightness is %v, %v, want %v", got, err, want)
	}
	if _, err := m.Brightness(t.Context(), []byte("no picture")); !errors.Is(err, clip.ErrImage) {
		t.Errorf("no picture: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Brightness(ended, picture(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

func TestOwnModel(t *testing.T) {
	m, err := tasks.Load[imageencoding.Interface](conf)
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.EncodeImages(t.Context(), imageencoding.Request{Images: [][]byte{picture(t), picture(t)}, Normalize: true})
	if err != nil || len(all) != 2 {
		t.Fatalf("%d responses, %v", len(all), err)
	}
	if v := all[1].Vector.Data().F32(); len(v) != 3 || v[0] != 1 || v[1] != 0 || v[2] != 0 {
		t.Errorf("vector %v, want [1 0 0]", v)
	}
	if _, err := m.EncodeImages(t.Context(), imageencoding.Request{Images: [][]byte{picture(t), nil}}); !errors.Is(err, imageencoding.ErrImage) || !strings.Contains(err.Error(), "image 2") {
		t.Errorf("the second is no picture: %v", err)
	}
	patches := clipvit.Features{Kind: clipvit.Patches, Layer: -1}
	if _, err := m.EncodeImages(t.Context(), imageencoding.Request{Images: [][]byte{picture(t)}, Features: patches}); !errors.Is(err, imageencoding.ErrRequest) {
		t.Errorf("patches: %v", err)
	}
	// A folder of another type says for which there is something.
	other := *conf
	other.ModelsDir, other.ModelName = "../../testdata/tiny", "huggingface"
	if _, err := tasks.Load[brightness.Interface](&other); err == nil || !strings.Contains(err.Error(), `model_type "clip", for which nothing is registered as brightness.Interface, want "average"`) {
		t.Errorf("a CLIP: %v", err)
	}
}
