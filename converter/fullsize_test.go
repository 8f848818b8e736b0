package converter_test

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
)

// FullSizeEnv names the folder that testdata/gen/fullsize.py filled: an archive of the true size
// with random weights, and what PyTorch computes with it.
const FullSizeEnv = "VITAGO_FULLSIZE"

// TestFullSize compares ViT-L/14-336 with PyTorch's float32 on photographs: the pixels bit for bit,
// the embedding, and every layer.
func TestFullSize(t *testing.T) {
	dir := os.Getenv(FullSizeEnv)
	if dir == "" {
		t.Skipf("%s does not name a folder made by testdata/gen/fullsize.py", FullSizeEnv)
	}
	m, err := converter.Load(filepath.Join(dir, "ViT-L-14-336px.pt"))
	if err != nil {
		t.Fatal(err)
	}
	f := golden.LoadFile(t, filepath.Join(dir, "expected.npz"))
	compareFullSize(t, m, f)
}

// OpenCLIPFullSizeEnv names the folder that "fullsize.py openclip" filled.
const OpenCLIPFullSizeEnv = "VITAGO_FULLSIZE_OPENCLIP"

// TestFullSizeOpenCLIP compares a whole model of open_clip's registry, as ViT-H-14, with PyTorch's float32: both embeddings, and every layer
// of the tower of images.
func TestFullSizeOpenCLIP(t *testing.T) {
	dir := os.Getenv(OpenCLIPFullSizeEnv)
	if dir == "" {
		t.Skipf("%s does not name a folder made by testdata/gen/fullsize.py openclip", OpenCLIPFullSizeEnv)
	}
	m, err := converter.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f := golden.LoadFile(t, filepath.Join(dir, "expected.npz"))
	text, err := m.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var texts [][]int
	for row := range slices.Chunk(f.Int64("tokens"), text.Config.Context) {
		words := make([]int, len(row))
		for i, w := range row {
			words[i] = int(w)
		}
		texts = append(texts, words)
	}
	e, err := text.Forward(texts)
	if err != nil {
		t.Fatal(err)
	}
	report(t, "embeddings of texts", e.Value().Data().F32(), f.Float32("text_embedding"))
	vision, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	compareFullSize(t, vision, f)
}

// compareFullSize compares what a tower makes of the photographs that PyTorch has encoded.
func compareFullSize(t *testing.T, m *clipvit.Model, f *golden.File) {
	t.Helper()
	images := map[string]image.Image{}
	for _, name := range f.Names() {
		name, ok := strings.CutPrefix(name, "embedding/")
		if !ok {
			continue
		}
		file, err := os.Open(golden.SharedData(t, "images/"+name))
		if err != nil {
			t.Fatal(err)
		}
		images[name], err = clipvit.DecodeImage(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(images) == 0 {
		t.Error("no embeddings to compare with")
	}
	for name, img := range images {
		checkPhotograph(t, m, f, name, img)
	}
	m.Quantize()
	for name, img := range images {
		e, err := m.Encode(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		d, err := golden.Diff(e[0], f.Float32("embedding/"+name))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: embedding in int8: %v", name, d)
		if d.Cosine < 0.999 {
			t.Errorf("%s: cosine in int8 is %.6f, want at least 0.999", name, d.Cosine)
		}
	}
}

func checkPhotograph(t *testing.T, m *clipvit.Model, f *golden.File, name string, img image.Image) {
	ours, err := clipvit.Preprocess(img, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	want := f.Float32("patches/" + name)
	golden.Compare(t, name+": pixels", ours.Data().F32(), want, 0)
	e, err := m.Encode(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	report(t, name+": embedding", e[0], f.Float32("embedding/"+name))
	if f.Has("hidden_states/" + name) {
		hidden := f.Float32("hidden_states/" + name) // [1+L,T,C]
		n := len(hidden) / (1 + m.Config.Layers)
		for layer := range 1 + m.Config.Layers {
			x, err := m.Features(ours, layer)
			if err != nil {
				t.Fatal(err)
			}
			report(t, fmt.Sprintf("%s: layer %d", name, layer), x.Data().F32(), hidden[layer*n:(layer+1)*n])
		}
	}
}

// report logs how far got is from want and fails beyond 1e-4 or below cosine 0.999999.
func report(t *testing.T, what string, got, want []float32) {
	t.Helper()
	d, err := golden.Diff(got, want)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v", what, d)
	if golden.Compare(t, what, got, want, 1e-4) && d.Cosine < 0.999999 {
		t.Errorf("%s: cosine is %.9f, want at least 0.999999", what, d.Cosine)
	}
}
