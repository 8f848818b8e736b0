package clip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// tolerance is for what PyTorch in float32 sums in another order than we do, as a part of the largest
// element: it grows from 1e-6 at the first product to this after the last.
const tolerance = 2e-5

func read(t testing.TB, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// copyModel copies a model directory of testdata, for a test to change.
func copyModel(t testing.TB, rel string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(golden.Path(t, rel))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The pictures of the demo get the vectors that OpenAI's code gave them.
func TestEncodeImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	source, err := converter.Open(golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if _, err := source.Convert(t.Context(), dir, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	m, err := tasks.Load[imageencoding.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: "demo", DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	want := golden.Load(t, "testdata/demo/expected.npz")
	var wg sync.WaitGroup
	for range 3 { // many goroutines at once
		for _, name := range []string{"cat.png", "red-circle.png", "orange-circle.png", "blue-square.png", "gradient.png"} {
			data := read(t, "cmd/vitago/testdata/demo/"+name)
			wg.Go(func() {
				got, err := m.EncodeImage(context.Background(), data)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				golden.Compare(t, name, got.Vector.Data().F32(), want.Float32("embedding/"+name), tolerance)
				if s := got.Vector.Shape(); s[0] != 64 || s[1] != 1 {
					t.Errorf("%s: shape %v, want [64 1]", name, s)
				}
				if _, ok := got.Vector.(*mat.Dense[float32]); !ok || got.Vector.RequiresGrad() {
					t.Errorf("%s: vector is a %T, want a plain value", name, got.Vector)
				}
			})
		}
	}
	wg.Wait()
}

// All forms of the same tiny model give the same vector.
func TestForms(t *testing.T) {
	picture := read(t, "cmd/vitago/testdata/demo/cat.png")
	encode := func(t *testing.T, dir string) []float32 {
		t.Helper()
		m, err := tasks.Load[imageencoding.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.EncodeImage(t.Context(), picture)
		if err != nil {
			t.Fatal(err)
		}
		return got.Vector.Data().F32()
	}
	t.Setenv("HF_ENDPOINT", "http://127.0.0.1:1") // no network
	want := encode(t, golden.Path(t, "testdata/tiny/huggingface"))

	archive := copyModel(t, "testdata/tiny/huggingface")
	if err := os.Remove(filepath.Join(archive, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(archive, "ViT-tiny.pt"), read(t, "testdata/tiny/openai_torch1.7.1.pt"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{golden.Path(t, "testdata/tiny/huggingface-vision"), golden.Path(t, "testdata/tiny/huggingface-bin"), archive} {
		// The weights are the same, but those of an archive in half precision, which all forms were made from.
		golden.Compare(t, filepath.Base(dir), encode(t, dir), want, 1e-6)
	}

	// A model without a preprocessor_config.json is complete, so that the hub is not asked.
	if err := os.Remove(filepath.Join(archive, "preprocessor_config.json")); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "without preprocessor_config.json", encode(t, archive), want, 1e-6)
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is %q, want %q in it", err, w)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no weights", func(dir string) error { return os.Remove(filepath.Join(dir, "model.safetensors")) }, "model.safetensors"},
		{"cut short", func(dir string) error { return os.Truncate(filepath.Join(dir, "model.safetensors"), 1000) }, "model.safetensors"},
		{"empty", func(dir string) error { return os.Truncate(filepath.Join(dir, "model.safetensors"), 0) }, "model.safetensors"},
		{"other preprocessing", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "preprocessor_config.json"), []byte(`{"resample": 9}`), 0o666)
		}, "resample is 9, want 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := copyModel(t, "testdata/tiny/huggingface")
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			m, err := tasks.Load[imageencoding.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: "model", DownloadPolicy: tasks.DownloadNever})
			wantError(t, err, c.want)
			if m != nil {
				t.Errorf("got a %T beside the error, want nil", m)
			}
		})
	}
	_, err := LoadImageEncoding(filepath.Join(t.TempDir(), "absent"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestBadImages(t *testing.T) {
	m, err := LoadImageEncoding(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	cat := read(t, "cmd/vitago/testdata/demo/cat.png")
	bomb := bytes.Clone(cat)
	copy(bomb[16:], "\x00\x0f\x42\x40\x00\x0f\x42\x40") // a million by a million pixels
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nil", nil, imageencoding.ErrImage},
		{"text", []byte("not an image"), imageencoding.ErrImage},
		{"cut short", cat[:len(cat)/2], imageencoding.ErrImage},
		{"bomb", bomb, imageencoding.ErrImageTooLarge},
		{"large", make([]byte, imageencoding.MaxImageBytes+1), imageencoding.ErrImageTooLarge},
	} {
		got, err := m.EncodeImage(t.Context(), c.data)
		if !errors.Is(err, c.want) || got.Vector != nil {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	var narrow bytes.Buffer
	if err := png.Encode(&narrow, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	if _, err := m.EncodeImage(t.Context(), narrow.Bytes()); err != nil {
		t.Errorf("1×1: %v", err)
	}
	if m.gate.Inside() != 0 {
		t.Errorf("%d slots are taken, want 0", m.gate.Inside())
	}
}

func TestContext(t *testing.T) {
	m, err := LoadImageEncoding(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	cat := read(t, "cmd/vitago/testdata/demo/cat.png")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // not even decoded, although there is a slot
		if _, err := m.EncodeImage(canceled, []byte("not an image")); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want context.Canceled", err)
		}
	}
	// No more images than concurrent are worked on: with all slots taken, a call waits, and gives up.
	var leave func()
	for range concurrent {
		if leave, err = m.gate.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.EncodeImage(brief, cat); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want context.DeadlineExceeded", err)
	}
	done := make(chan error)
	go func() {
		_, err := m.EncodeImage(context.Background(), cat)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait for a slot: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	leave()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if m.gate.Inside() != concurrent-1 {
		t.Errorf("%d slots are taken, want %d", m.gate.Inside(), concurrent-1)
	}
}

// This hub has no model.safetensors: the next best file is taken, once.
func TestDownload(t *testing.T) {
	const prefix = "/" + imageencoding.DefaultModel + "/resolve/main/"
	var mu sync.Mutex
	var asked []string
	hub := http.StripPrefix(prefix, http.FileServer(http.Dir(golden.Path(t, "testdata/tiny/huggingface-bin"))))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, strings.TrimPrefix(r.URL.Path, prefix))
		mu.Unlock()
		hub.ServeHTTP(w, r)
	}))
	defer s.Close()
	t.Setenv("HF_ENDPOINT", s.URL)
	conf := &tasks.Config{ModelsDir: t.TempDir(), ModelName: imageencoding.DefaultModel}
	for range 2 {
		m, err := tasks.Load[imageencoding.Interface](conf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.EncodeImage(t.Context(), read(t, "cmd/vitago/testdata/demo/cat.png")); err != nil {
			t.Fatal(err)
		}
	}
	want := "[config.json preprocessor_config.json model.safetensors pytorch_model.bin]"
	if got := fmt.Sprint(asked); got != want {
		t.Errorf("asked for %s, want %s once", got, want)
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// Images that go through the tower together have the vectors that they have alone, in their order, and every kind of features is that
// of clipvit, bit for bit.
func TestEncodeImages(t *testing.T) {
	model, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	tower, err := model.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := tower.Config
	files := [][]byte{read(t, "demo/pictures/red-circle.png"), read(t, "demo/pictures/blue-square.png"), read(t, "cmd/vitago/testdata/demo/cat.png")}
	for len(files) < 2*transformer.Part(c.Tokens())+1 { // more than go through the tower at once
		files = append(files, files[:3]...)
	}
	alone := make([][]float32, 3)
	for i := range alone {
		one, err := m.EncodeImage(t.Context(), files[i])
		if err != nil {
			t.Fatal(err)
		}
		alone[i] = one.Vector.Data().F32()
	}
	all, err := m.EncodeImages(t.Context(), imageencoding.Request{Images: files})
	if err != nil || len(all) != len(files) {
		t.Fatalf("%d responses, %v, want %d", len(all), err, len(files))
	}
	for i, r := range all {
		same(t, fmt.Sprint("image ", i), r.Vector.Data().F32(), alone[i%3])
		if s := r.Vector.Shape(); s[0] != c.EmbedDim || s[1] != 1 || r.Kind != clipvit.Embedding {
			t.Errorf("image %d: %s %v, want an embedding [%d,1]", i, r.Kind, s, c.EmbedDim)
		}
	}
	img, err := clipvit.DecodeImage(bytes.NewReader(files[2]))
	if err != nil {
		t.Fatal(err)
	}
	patches, err := clipvit.Preprocess(img, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []clipvit.Features{
		{Kind: clipvit.Embedding}, {Kind: clipvit.PostNorm}, {Kind: clipvit.ClassToken, Layer: 1}, {Kind: clipvit.PatchMean, Layer: -1},
		{Kind: clipvit.Patches, Layer: -2}, {Kind: clipvit.AllTokens}, {Kind: clipvit.Patches, Layer: c.Layers},
	} {
		x, err := f.Of(tower, patches)
		if err != nil {
			t.Fatal(err)
		}
		want := x.Value().Data().F32()
		for _, normalize := range []bool{false, true} {
			all, err := m.EncodeImages(t.Context(), imageencoding.Request{Images: files[1:3], Features: f, Normalize: normalize})
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			got := all[1].Vector
			rows, cols := x.Shape()[0], x.Shape()[1]
			if rows == 1 {
				rows, cols = cols, 1
			}
			if s := got.Shape(); s[0] != rows || s[1] != cols || all[1].Kind != f.Kind {
				t.Errorf("%s: %s %v, want %v", f, all[1].Kind, s, x.Shape())
			}
			if !normalize {
				same(t, f.String(), got.Data().F32(), want)
				continue
			}
			for row := range slices.Chunk(got.Data().F32(), x.Shape()[1]) {
				sum := 0.0
				for _, v := range row {
					sum += float64(v) * float64(v)
				}
				if math.Abs(sum-1) > 1e-6 { // of float32 values
					t.Errorf("%s: the square of a length is %v, want 1", f, sum)
				}
			}
		}
	}
}

// What is wrong with a request or one of its images is said, and of which.
func TestEncodeImagesErrors(t *testing.T) {
	m, err := LoadImageEncoding(golden.Path(t, "testdata/tiny/huggingface"))
	if err != nil {
		t.Fatal(err)
	}
	cat := read(t, "cmd/vitago/testdata/demo/cat.png")
	for _, c := range []struct {
		r    imageencoding.Request
		kind error
		want string
	}{
		{imageencoding.Request{}, imageencoding.ErrRequest, "got 0 images, want 1 to 256"},
		{imageencoding.Request{Images: make([][]byte, imageencoding.MaxImages+1)}, imageencoding.ErrRequest, "got 257 images, want 1 to 256"},
		{imageencoding.Request{Images: [][]byte{cat, cat[:len(cat)/2], nil}}, imageencoding.ErrImage, "clip: image 2: "},
		{imageencoding.Request{Images: [][]byte{cat, cat, nil}}, imageencoding.ErrImage, "clip: image 3: "},
		{imageencoding.Request{Images: [][]byte{cat, make([]byte, imageencoding.MaxImageBytes+1)}}, imageencoding.ErrImageTooLarge, "clip: image 2: "},
		{imageencoding.Request{Images: [][]byte{cat}, Features: clipvit.Features{Kind: "soul"}}, imageencoding.ErrRequest, `features are "soul", want embedding`},
		{imageencoding.Request{Images: [][]byte{cat}, Features: clipvit.Features{Kind: clipvit.Patches, Layer: 7}}, imageencoding.ErrRequest, "layer is 7, want -3 to 2"},
		{imageencoding.Request{Images: [][]byte{cat}, Features: clipvit.Features{Layer: 1}}, imageencoding.ErrRequest, `features are ""`},
	} {
		got, err := m.EncodeImages(t.Context(), c.r)
		if !errors.Is(err, c.kind) || got != nil {
			t.Errorf("%q: got %v, %v, want %v", c.want, got, err, c.kind)
		}
		wantError(t, err, c.want)
		if n := strings.Count(fmt.Sprint(err), "clip: "); n != 1 {
			t.Errorf("error is %v, want one prefix", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.EncodeImages(ended, imageencoding.Request{Images: [][]byte{cat}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if m.gate.Inside() != 0 {
		t.Errorf("%d slots are taken, want 0", m.gate.Inside())
	}
	if _, err := LoadImageEncoding(golden.Path(t, "testdata/families/projector.npz")); err == nil {
		t.Error("no error for what is no model")
	}
}
