package probe

import (
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
)

// drawn returns n pictures of each shape.
func drawn(t testing.TB, first, n int, hard bool) *data.Dataset {
	t.Helper()
	dir := t.TempDir()
	if err := shapes.Write(dir, first, n, 24, hard, 1); err != nil {
		t.Fatal(err)
	}
	d, err := data.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Features are what the tower's own methods give, picture by picture.
func TestFeatures(t *testing.T) {
	m, d := tower(t), drawn(t, 0, 1, false)
	c := m.Config
	var patches []float32
	var images []image.Image
	for i := range d.Samples {
		f, err := os.Open(d.Samples[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		img, err := clipvit.DecodeImage(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		x, err := clipvit.Preprocess(img, c)
		if err != nil {
			t.Fatal(err)
		}
		patches = append(patches, mat.Data[float32](x)...)
		images = append(images, img)
	}
	embeddings, err := m.Encode(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	x := mat.NewDense[float32](mat.WithShape(len(images)*c.Patches(), c.PatchLen()), mat.WithBacking(patches))
	var post []float32
	m.Probe(x, func(stage string, x mat.Tensor) {
		if stage == "post_norm" {
			post = slices.Clone(values(x))
		}
	})
	tokens, err := m.Features(x, -2)
	if err != nil {
		t.Fatal(err)
	}
	var class, mean, rest []float32
	for p := range slices.Chunk(values(tokens), c.Tokens()*c.Width) {
		class = append(class, p[:c.Width]...)
		rest = append(rest, p[c.Width:]...)
		for col := range c.Width {
			var sum float64
			for row := range c.Patches() {
				sum += float64(p[(1+row)*c.Width+col])
			}
			mean = append(mean, float32(sum/float64(c.Patches())))
		}
	}
	for _, f := range []struct {
		features clipvit.Features
		want     []float32
	}{
		{clipvit.Features{Kind: clipvit.Embedding}, slices.Concat(embeddings...)},
		{clipvit.Features{Kind: clipvit.PostNorm}, post},
		{clipvit.Features{Kind: clipvit.ClassToken, Layer: -2}, class},
		{clipvit.Features{Kind: clipvit.PatchMean, Layer: -2}, mean},
		{clipvit.Features{Kind: clipvit.Patches, Layer: -2}, rest},
		{clipvit.Features{Kind: clipvit.AllTokens, Layer: -2}, values(tokens)},
	} {
		got, err := f.features.Of(m, x)
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, f.features.String(), values(got), f.want, 1e-6)
		e := &Extractor{Model: m, Features: f.features, Batch: 4} // of 6
		var each []float32
		if _, err := e.Each(t.Context(), d, func(_ int, x []float32) error { each = append(each, x...); return nil }); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, f.features.String()+" of files", each, f.want, 1e-6)
	}
}

// What is in the cache is not computed again, in whatever order and company the pictures come.
func TestExtractorCache(t *testing.T) {
	m, d := tower(t), drawn(t, 0, 7, false)
	cache, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain := &Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.Embedding}, Batch: 5}
	want, _, err := plain.Set(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	var cached, done, total int
	e := &Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.Embedding}, Cache: cache, Batch: 5,
		Progress: func(d, c, n int) { done, cached, total = d, c, n }}
	part := &data.Dataset{Classes: d.Classes} // every third
	for i := 0; i < len(d.Samples); i += 3 {
		part.Samples = append(part.Samples, d.Samples[i])
	}
	for _, run := range []struct {
		d      *data.Dataset
		cached int
	}{{part, 0}, {d, len(part.Samples)}, {d, len(d.Samples)}} {
		got, skipped, err := e.Set(t.Context(), run.d)
		if err != nil || len(skipped) > 0 {
			t.Fatal(skipped, err)
		}
		if cached != run.cached || done != len(run.d.Samples) || total != done {
			t.Errorf("%d of %d done, %d of them cached, want %d", done, total, cached, run.cached)
		}
		if run.d == d {
			golden.Compare(t, "features", got.X, want.X, 1e-6)
			if !slices.Equal(got.Labels, want.Labels) || !slices.Equal(got.Index, want.Index) {
				t.Errorf("labels %v, want %v", got.Labels, want.Labels)
			}
		}
	}
	// The same from the cache alone, for training that takes the pictures in another order.
	space, err := cache.Space(m, e.Features)
	if err != nil {
		t.Fatal(err)
	}
	x, err := space.Features(d, 11)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "picture 11", x, want.X[11*want.Dim:12*want.Dim], 1e-6)
}

func TestExtractorBroken(t *testing.T) {
	m, d := tower(t), drawn(t, 0, 2, false)
	if err := os.WriteFile(d.Samples[3].Path, []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(d.Samples[8].Path); err != nil {
		t.Fatal(err)
	}
	e := &Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.Embedding}}
	s, skipped, err := e.Set(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 2 || skipped[0].Index != 3 || skipped[1].Index != 8 || !errors.Is(skipped[1], os.ErrNotExist) {
		t.Errorf("skipped %v, want 3 and 8", skipped)
	}
	if want := []int{0, 1, 2, 4, 5, 6, 7, 9, 10, 11}; !slices.Equal(s.Index, want) || len(s.X) != len(want)*s.Dim {
		t.Errorf("got %v, want %v", s.Index, want)
	}
	e.Strict = true
	var broken data.Broken
	if _, _, err := e.Set(t.Context(), d); !errors.As(err, &broken) || broken.Index != 3 {
		t.Errorf("strict: error %v, want picture 3", err)
	}
}

func TestExtractorErrors(t *testing.T) {
	m, d := tower(t), drawn(t, 0, 2, false)
	stop := errors.New("stop")
	e := &Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.Embedding}}
	if _, err := e.Each(t.Context(), d, func(i int, _ []float32) error {
		if i == 5 {
			return stop
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("visit: error %v, want %v", err, stop)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	if _, err := e.Each(ctx, d, func(i int, _ []float32) error {
		if i == 5 {
			cancel(stop)
		}
		return nil
	}); !errors.Is(err, stop) {
		t.Errorf("cancelled: error %v, want %v", err, stop)
	}
	unlabelled, err := data.Images(filepath.Dir(d.Samples[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Set(t.Context(), unlabelled); err == nil || !strings.Contains(err.Error(), "no labels") {
		t.Errorf("unlabelled: error %v", err)
	}
	wide := &Extractor{Model: m, Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}}
	if _, _, err := wide.Set(t.Context(), d); err == nil || !strings.Contains(err.Error(), "want one") {
		t.Errorf("patches: error %v", err)
	}
	// A tower whose output is no number.
	bad := tower(t)
	bad.Unfreeze()
	bad.Proj.Data().F32()[0] = float32(1e38)
	bad.Proj.Data().F32()[1] = float32(1e38)
	for i := range bad.PostNorm.W.Data().F32() {
		bad.PostNorm.W.Data().F32()[i] = 1e38
	}
	e = &Extractor{Model: bad, Features: clipvit.Features{Kind: clipvit.Embedding}}
	if _, _, err := e.Set(t.Context(), d); err == nil || !strings.Contains(err.Error(), "want a finite number") {
		t.Errorf("infinite features: error %v", err)
	}
}
