package clip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/imagesearch"
)

var names = []string{"blue-square.png", "cat.png", "gradient.png", "orange-circle.png", "red-circle.png"}

func read(t testing.TB, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prepared returns a folder with a copy of a model of testdata, and one with pictures of the demo, of which the model's index is made.
func prepared(t testing.TB, rel string, o ...clip.Option) (model, photos string) {
	t.Helper()
	model, photos = filepath.Join(t.TempDir(), "model"), t.TempDir()
	if err := os.CopyFS(model, os.DirFS(golden.Path(t, rel))); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		put(t, photos, name, name)
	}
	indexed(t, model, photos, o...)
	return model, photos
}

// put copies a picture of the demo to a folder.
func put(t testing.TB, dir, as, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, as), read(t, "cmd/vitago/testdata/demo/"+name), 0o666); err != nil {
		t.Fatal(err)
	}
}

// indexed brings the index of a model up to date.
func indexed(t testing.TB, model, photos string, o ...clip.Option) {
	t.Helper()
	m, err := clip.Open(model, o...)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	source, err := search.NewSource(photos)
	if err != nil {
		t.Fatal(err)
	}
	u := search.UpdateOptions{WriterOptions: search.WriterOptions{Columns: []string{"shape"}}}
	u.Describe = func(path string) map[string]string {
		_, shape, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".png"), "-")
		return map[string]string{"shape": shape}
	}
	if _, err := search.Update(t.Context(), m, filepath.Join(model, IndexDir), []search.Source{source}, u); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, dir string) *ImageSearch {
	t.Helper()
	m, err := tasks.Load[imagesearch.Interface](&tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever})
	if err != nil {
		t.Fatal(err)
	}
	s := m.(*ImageSearch)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func find(t testing.TB, m *ImageSearch, r imagesearch.Request) []imagesearch.Hit {
	t.Helper()
	found, err := m.FindImages(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if found.Fingerprint != m.space.Fingerprint() {
		t.Errorf("fingerprint is %s, want %s", found.Fingerprint, m.space.Fingerprint())
	}
	return found.Hits
}

func bases(hits []imagesearch.Hit) (all []string) {
	for _, h := range hits {
		all = append(all, h.Name())
	}
	return all
}

// Words find what transformers 5.24.0, torch 2.15.0, finds: get_image_features with CLIPImageProcessorPil, and get_text_features. The
// index has float16, of 11 bits.
func TestWords(t *testing.T) {
	dir, photos := prepared(t, "testdata/families/hf5-clip")
	m := load(t, dir)
	hits := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}}})
	want := []struct {
		name   string
		cosine float64
	}{{"gradient.png", 0.0421}, {"cat.png", 0.0142}, {"orange-circle.png", -0.0534}, {"red-circle.png", -0.2210}, {"blue-square.png", -0.2485}}
	if len(hits) != len(want) {
		t.Fatalf("got %v, want %v", bases(hits), want)
	}
	for i, w := range want {
		if h := hits[i]; h.Path != filepath.Join(photos, w.name) || math.Abs(h.Score-w.cosine) > 5e-4 || h.Vector != nil {
			t.Errorf("hit %d is %v, want %v", i, h, w)
		}
	}
	if c := hits[4].Columns["shape"]; c != "square" || hits[4].Width != 128 || hits[4].Height != 96 {
		t.Errorf("%v, want the shape square, 128×96", hits[4])
	}
}

// The score is the cosine of the sum of parts of length 1, times their weights, with the vector that is returned.
func TestQuery(t *testing.T) {
	dir, _ := prepared(t, "testdata/families/hf5-clip")
	m := load(t, dir)
	cat, err := m.model.EncodeText(t.Context(), []string{"a cat", "a photo"})
	if err != nil {
		t.Fatal(err)
	}
	red, err := m.model.Encode(t.Context(), clip.File(golden.Path(t, "cmd/vitago/testdata/demo/red-circle.png")))
	if err != nil {
		t.Fatal(err)
	}
	own := slices.Repeat([]float32{3, -1}, m.space.Dim/2)
	parts := []imagesearch.Part{
		{Vector: own, Weight: 0.25}, {Text: "a cat"}, {Image: read(t, "cmd/vitago/testdata/demo/red-circle.png"), Weight: 2}, {Text: "a photo", Weight: -0.5},
	}
	query := make([]float64, m.space.Dim)
	for _, p := range []struct {
		v []float32
		w float64
	}{{own, 0.25}, {cat[0], 1}, {red[0], 2}, {cat[1], -0.5}} {
		v := slices.Clone(p.v)
		clip.Normalize(v)
		for i := range v {
			query[i] += p.w * float64(v[i])
		}
	}
	hits := find(t, m, imagesearch.Request{Query: parts, Vectors: true})
	if len(hits) != len(names) {
		t.Fatal(bases(hits))
	}
	for i, h := range hits {
		var dot, length float64
		for k, q := range query {
			dot, length = dot+q*float64(h.Vector[k]), length+q*q
		}
		if want := dot / math.Sqrt(length); math.Abs(h.Score-want) > 1e-6 { // float32 of the query
			t.Errorf("%s: %v, want %v", h.Path, h.Score, want)
		}
		if i > 0 && h.Score > hits[i-1].Score {
			t.Errorf("%v are not sorted", hits)
		}
	}

	least := 0.9999
	for _, c := range []struct {
		name string
		r    imagesearch.Request
		want []string
	}{
		{"itself", imagesearch.Request{Query: parts[2:3], Least: &least}, names[4:5]},
		{"by its vector", imagesearch.Request{Query: []imagesearch.Part{{Vector: hits[0].Vector}}, TopK: 1}, bases(hits[:1])},
		{"a column", imagesearch.Request{Query: parts[2:3], Filter: search.Filter{Where: []search.Condition{{Column: "shape", Op: "=", Value: "square"}}}}, names[:1]},
		{"a path", imagesearch.Request{Query: parts[2:3], Filter: search.Filter{Paths: []string{"cat.*"}}}, names[1:2]},
		{"none", imagesearch.Request{Query: parts[2:3], Filter: search.Filter{Paths: []string{"dog.*"}}}, nil},
	} {
		if got := bases(find(t, m, c.r)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// What leads away orders the other way round.
func TestAway(t *testing.T) {
	dir, _ := prepared(t, "testdata/families/hf5-clip")
	m := load(t, dir)
	to, away := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}}}), find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat", Weight: -1}}})
	slices.Reverse(away)
	for i := range to {
		if to[i].Path != away[i].Path || to[i].Score != -away[i].Score {
			t.Errorf("%v and %v, want one with the other's sign", to[i], away[i])
		}
	}
}

func TestRequests(t *testing.T) {
	dir, _ := prepared(t, "testdata/families/hf5-clip")
	m := load(t, dir)
	cat := read(t, "cmd/vitago/testdata/demo/cat.png")
	words := []imagesearch.Part{{Text: "a cat"}}
	above, zero := 1.5, make([]float32, m.space.Dim)
	for _, c := range []struct {
		name string
		r    imagesearch.Request
		kind error
		want string
	}{
		{"nothing", imagesearch.Request{}, imagesearch.ErrRequest, "0 parts, want 1 to 64"},
		{"many parts", imagesearch.Request{Query: make([]imagesearch.Part, 65)}, imagesearch.ErrRequest, "65 parts"},
		{"empty text", imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}, {Text: ""}}}, imagesearch.ErrRequest, "part 2 of the query has 0 of"},
		{"two kinds", imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat", Image: cat}}}, imagesearch.ErrRequest, "has 2 of"},
		{"a weight", imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat", Weight: math.NaN()}}}, imagesearch.ErrRequest, "weight NaN"},
		{"a long vector", imagesearch.Request{Query: []imagesearch.Part{{Vector: make([]float32, 3)}}}, imagesearch.ErrRequest, "3 values, want the 10"},
		{"zeros", imagesearch.Request{Query: []imagesearch.Part{{Vector: zero}}}, imagesearch.ErrRequest, "vector of zeros"},
		{"no numbers", imagesearch.Request{Query: []imagesearch.Part{{Vector: slices.Repeat([]float32{float32(math.Inf(1))}, m.space.Dim)}}}, imagesearch.ErrRequest, "no finite number"},
		{"cancelled", imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}, {Text: "a cat", Weight: -1}}}, imagesearch.ErrRequest, "cancel each other"},
		{"top k", imagesearch.Request{Query: words, TopK: -1}, imagesearch.ErrRequest, "top k is -1"},
		{"large top k", imagesearch.Request{Query: words, TopK: 10_001}, imagesearch.ErrRequest, "top k is 10001"},
		{"least", imagesearch.Request{Query: words, Least: &above}, imagesearch.ErrRequest, "1.5, want -1 to 1"},
		{"column", imagesearch.Request{Query: words, Filter: search.Filter{Where: []search.Condition{{Column: "colour", Op: "=", Value: "red"}}}}, imagesearch.ErrRequest, "colour"},
		{"glob", imagesearch.Request{Query: words, Filter: search.Filter{Paths: []string{"["}}}, imagesearch.ErrRequest, "["},
		{"no picture", imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}, {Image: []byte("no picture")}}}, imagesearch.ErrImage, "part 2 of the query"},
		{"an empty picture", imagesearch.Request{Query: []imagesearch.Part{{Image: []byte{}}}}, imagesearch.ErrImage, "part 1 of the query"},
		{"a cut picture", imagesearch.Request{Query: []imagesearch.Part{{Image: cat[:len(cat)/2]}}}, imagesearch.ErrImage, "part 1 of the query"},
		{"a large picture", imagesearch.Request{Query: []imagesearch.Part{{Image: make([]byte, imagesearch.MaxImageBytes+1)}}}, imagesearch.ErrImageTooLarge, "67108865 bytes"},
		{"a bomb", imagesearch.Request{Query: []imagesearch.Part{{Image: slices.Concat(cat[:16], []byte("\x00\x0f\x42\x40\x00\x0f\x42\x40"), cat[24:])}}}, imagesearch.ErrImageTooLarge, "1000000x1000000"},
		{"a word", imagesearch.Request{Query: []imagesearch.Part{{Text: "dog"}}}, imagesearch.ErrText, "vocabulary"},
		{"a long text", imagesearch.Request{Query: []imagesearch.Part{{Text: strings.Repeat("a cat ", 9)}}}, imagesearch.ErrText, "want at most 9"},
	} {
		got, err := m.FindImages(t.Context(), c.r)
		if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.want) || strings.Count(fmt.Sprint(err), "clip: ") != 1 || strings.Contains(fmt.Sprint(err), "search: ") || got.Hits != nil {
			t.Errorf("%s: got %v, %v, want one prefix, %v and %q", c.name, got, err, c.kind, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.FindImages(ended, imagesearch.Request{Query: words}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if m.gate.Inside() != 0 || m.now.users != 1 {
		t.Errorf("%d places are taken, and the index has %d users, want 0 and 1", m.gate.Inside(), m.now.users)
	}
}

// An index that changes while it is searched is seen as it was, or as it is.
func TestReload(t *testing.T) {
	dir, photos := prepared(t, "testdata/families/hf5-clip")
	m := load(t, dir)
	all := imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}}, TopK: 100}
	first := m.now
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for seen := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				found, err := m.FindImages(context.Background(), all)
				if n := len(found.Hits); err != nil || n < max(seen, 5) || n > 8 {
					t.Errorf("%d hits behind %d, %v, want 5 to 8 and never fewer", n, seen, err)
					return
				}
				seen = len(found.Hits)
			}
		})
	}
	for i := range 3 {
		name := fmt.Sprintf("new-%d.png", i)
		put(t, photos, name, "cat.png")
		indexed(t, dir, photos)
		if got := bases(find(t, m, all)); !slices.Contains(got, name) || len(got) != 6+i {
			t.Errorf("%v, want %s among %d", got, name, 6+i)
		}
	}
	close(stop)
	wg.Wait()
	if first.users != 0 || m.now == first || m.now.users != 1 {
		t.Errorf("the first index has %d users, and the last %d, want 0 and 1", first.users, m.now.users)
	}

	// What is compacted is another one, and has the same pictures; what is deleted is not found.
	if err := os.Remove(filepath.Join(photos, "new-0.png")); err != nil {
		t.Fatal(err)
	}
	indexed(t, dir, photos)
	if err := search.Compact(t.Context(), filepath.Join(dir, IndexDir), search.WriterOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := bases(find(t, m, all)); slices.Contains(got, "new-0.png") || len(got) != 7 {
		t.Errorf("%v, want 7 without new-0.png", got)
	}

	// Without an index there is an error, until there is one again.
	index, aside := filepath.Join(dir, IndexDir), filepath.Join(dir, "aside")
	if err := os.Rename(index, aside); err != nil {
		t.Skip(err) // Windows, where mapped files cannot be moved
	}
	if _, err := m.FindImages(t.Context(), all); !errors.Is(err, search.ErrNoIndex) {
		t.Errorf("got %v, want ErrNoIndex", err)
	}
	indexed(t, dir, photos, clip.Int8())
	var space *search.SpaceError
	if _, err := m.FindImages(t.Context(), all); !errors.As(err, &space) || space.Now.Precision != "f32" || space.Was.Precision != "int8" {
		t.Errorf("got %v, want a SpaceError of int8 and f32", err)
	}
	if err := errors.Join(os.RemoveAll(index), os.Rename(aside, index)); err != nil {
		t.Fatal(err)
	}
	if got := bases(find(t, m, all)); len(got) != 7 {
		t.Errorf("%v, want 7", got)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.FindImages(t.Context(), all); !errors.Is(err, errClosed) {
		t.Errorf("got %v, want errClosed", err)
	}
}

// Weights are rounded as those were that made the index.
func TestPrecision(t *testing.T) {
	dir, _ := prepared(t, "testdata/families/hf5-clip", clip.Int8())
	m := load(t, dir)
	if m.space.Precision != "int8" {
		t.Fatalf("precision is %s", m.space.Precision)
	}
	hits := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Image: read(t, "cmd/vitago/testdata/demo/cat.png")}}, TopK: 1})
	if len(hits) != 1 || hits[0].Name() != "cat.png" || math.Abs(hits[0].Score-1) > 1e-3 {
		t.Errorf("%v, want cat.png", hits)
	}
}

// Pictures of queries are prepared as those of the index.
func TestPreprocessing(t *testing.T) {
	pad := clip.Checkpoint(converter.Prepare(clipvit.Choice{Fit: clipvit.FitPad}))
	dir, _ := prepared(t, "testdata/families/hf5-clip", pad)
	m := load(t, dir)
	hits := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Image: read(t, "cmd/vitago/testdata/demo/cat.png")}}, TopK: 1})
	if len(hits) != 1 || hits[0].Name() != "cat.png" || math.Abs(hits[0].Score-1) > 1e-3 {
		t.Errorf("%v, want cat.png", hits)
	}
	if transform, _, err := m.space.Transform(); err != nil || transform.Fit != clipvit.FitPad {
		t.Errorf("prepared by %s", m.space.Preprocessing)
	}
}

// A vision tower alone finds by pictures.
func TestVisionAlone(t *testing.T) {
	dir, _ := prepared(t, "testdata/tiny/huggingface-vision")
	m := load(t, dir)
	hits := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Image: bytes.Clone(read(t, "cmd/vitago/testdata/demo/cat.png"))}}, TopK: 1})
	if len(hits) != 1 || hits[0].Name() != "cat.png" {
		t.Errorf("%v, want cat.png", hits)
	}
	if _, err := m.FindImages(t.Context(), imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}}}); !errors.Is(err, imagesearch.ErrNoText) {
		t.Errorf("got %v, want ErrNoText", err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir, photos := prepared(t, "testdata/families/hf5-clip")
	index := filepath.Join(dir, IndexDir)
	if _, err := LoadImageSearch(t.Context(), golden.Path(t, "testdata/tiny/huggingface"), index); !errors.Is(err, search.ErrSpace) {
		t.Errorf("another model: %v, want ErrSpace", err)
	}
	if _, err := LoadImageSearch(t.Context(), filepath.Join(dir, "absent"), index); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no model: %v, want os.ErrNotExist", err)
	}
	conf := &tasks.Config{ModelsDir: filepath.Dir(dir), ModelName: filepath.Base(dir), DownloadPolicy: tasks.DownloadNever}
	vectors := filepath.Join(index, "dataset/img_emb/img_emb_00000.npy")
	for _, c := range []struct {
		name   string
		damage func() error
		want   error
	}{
		{"cut short", func() error { return os.Truncate(vectors, 100) }, search.ErrDamaged},
		{"no index", func() error { return os.RemoveAll(index) }, search.ErrNoIndex},
	} {
		if err := c.damage(); err != nil {
			t.Fatal(err)
		}
		if m, err := tasks.Load[imagesearch.Interface](conf); !errors.Is(err, c.want) || m != nil {
			t.Errorf("%s: got %v, %v, want %v", c.name, m, err, c.want)
		}
	}

	// An index of the same vision tower with another text tower is searched by pictures, and not by words.
	indexed(t, dir, photos)
	m := load(t, dir)
	other := m.space
	other.Text = strings.Repeat("0", 64)
	if err := os.RemoveAll(index); err != nil {
		t.Skip(err) // Windows, where it is mapped
	}
	w, err := search.NewWriter(index, other, search.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Add(search.Record{Path: "/a.png"}, slices.Repeat([]float32{1}, other.Dim)), w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if got := find(t, m, imagesearch.Request{Query: []imagesearch.Part{{Image: read(t, "cmd/vitago/testdata/demo/cat.png")}}}); len(got) != 1 {
		t.Errorf("%v, want one", got)
	}
	if _, err := m.FindImages(t.Context(), imagesearch.Request{Query: []imagesearch.Part{{Text: "a cat"}}}); !errors.Is(err, search.ErrSpace) {
		t.Errorf("got %v, want ErrSpace", err)
	}
}
