package search

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// tower returns a model with a tiny vision tower.
func tower(t testing.TB, seed uint64) *clip.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	v := tiny.New(t, clipvit.New, clipvit.Config{ImageSize: 8, PatchSize: 4, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 8, Activation: "quick_gelu", NormEps: 1e-5})
	tiny.Fill(v, func() float32 { return float32(rng.IntN(256)-128) / 512 })
	v.Freeze()
	return clip.New(v, nil, nil)
}

// picture returns the file of a picture of a number.
func picture(t testing.TB, i int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 10, 8))
	for p := range img.Pix {
		img.Pix[p] = byte(p * (i + 3))
	}
	img.Set(0, 0, color.RGBA{byte(i), byte(i >> 8), 7, 255})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put writes a file, with another time than any before.
func put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666)); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(time.Second)
	if err := os.Chtimes(path, clock, clock); err != nil {
		t.Fatal(err)
	}
}

var clock = time.Unix(1_700_000_000, 0)

// updated brings an index up to date with sources, and returns what was done.
func updated(t testing.TB, m *clip.Model, index string, o UpdateOptions, paths ...string) Report {
	t.Helper()
	r, err := Update(t.Context(), m, index, sourcesOf(t, paths...), o)
	if err != nil {
		t.Fatal(err)
	}
	return *r
}

func sourcesOf(t testing.TB, paths ...string) (all []Source) {
	t.Helper()
	for _, p := range paths {
		s, err := NewSource(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// content returns what an index has by path: the vector, and the record.
func content(t testing.TB, index string) map[string]string {
	t.Helper()
	x := opened(t, index)
	all := map[string]string{}
	for r, err := range x.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := all[r.Path]; twice {
			t.Errorf("%s is there twice", r.Path)
		}
		all[r.Path] = string(bytesOf(slices.Clone(x.Half(r.Index)))) + r.SHA256.String()
	}
	return all
}

// TestUpdate: new, changed, renamed, copied and deleted pictures, and broken ones; and in the end the index has what one has that
// is made at once.
func TestUpdate(t *testing.T) {
	m := tower(t, 1)
	for _, o := range []UpdateOptions{{}, {WriterOptions: WriterOptions{ShardRows: 3}, Batch: 2}} {
		dir := t.TempDir()
		index, photos := filepath.Join(dir, "index"), filepath.Join(dir, "photos")
		at := func(name string) string { return filepath.Join(photos, name) }
		for i := range 8 {
			put(t, at(string(rune('a'+i))+".png"), picture(t, i))
		}
		put(t, at("broken.png"), []byte("no picture"))
		same := func(want Report) {
			t.Helper()
			if got := updated(t, m, index, o, photos); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			whole := filepath.Join(t.TempDir(), "whole")
			updated(t, m, whole, UpdateOptions{}, photos)
			if got, want := content(t, index), content(t, whole); !maps.Equal(got, want) {
				t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
			}
		}
		same(Report{Added: 8, Failed: 1, Pictures: 8})
		if list, err := os.ReadFile(filepath.Join(index, errorsName)); err != nil || !strings.HasPrefix(string(list), `{"error":"`) || !strings.Contains(string(list), "broken.png") {
			t.Errorf("%s %v", list, err)
		}
		os.Remove(at("broken.png"))
		same(Report{Unchanged: 8, Pictures: 8})
		if _, err := os.Stat(filepath.Join(index, errorsName)); err == nil {
			t.Error("the list of errors is there still")
		}
		os.Remove(at("a.png"))
		if err := errors.Join(os.Mkdir(at("sub"), 0o777), os.Rename(at("b.png"), at("sub/renamed.png"))); err != nil {
			t.Fatal(err)
		}
		put(t, at("c.png"), picture(t, 100))
		put(t, at("copy.png"), picture(t, 3))
		put(t, at("e.png"), picture(t, 4)) // with another time
		put(t, at("f.png"), picture(t, 6)) // as g.png
		put(t, at("new.png"), picture(t, 101))
		same(Report{Added: 1, Changed: 2, Copied: 1, Renamed: 1, Unchanged: 4, Deleted: 1, Pictures: 9})
		same(Report{Unchanged: 9, Pictures: 9})
		before := content(t, index)
		if err := Compact(t.Context(), index, o.WriterOptions); err != nil {
			t.Fatal(err)
		}
		x := opened(t, index)
		if x.Len() != x.Live() || !maps.Equal(content(t, index), before) {
			t.Errorf("%d rows, %d of them live, or other contents", x.Len(), x.Live())
		}
		if err := x.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		same(Report{Unchanged: 9, Pictures: 9})
		put(t, at("g.png"), []byte("broken since"))
		same(Report{Unchanged: 8, Failed: 1, Pictures: 8})
		os.RemoveAll(photos)
		os.Mkdir(photos, 0o777)
		if _, err := Update(t.Context(), m, index, sourcesOf(t, photos), o); !errors.Is(err, ErrEmptied) {
			t.Errorf("of an empty folder: %v, want %v", err, ErrEmptied)
		}
		if n, err := Forget(index, []string{photos}); err != nil || n != 8 || opened(t, index).Live() != 0 {
			t.Errorf("forgot %d: %v", n, err)
		}
		if _, err := Forget(index, []string{photos}); err == nil {
			t.Error("forgot twice")
		}
	}
}

// TestSources: a tar of WebDataset's, a list and a file; captions and columns; what is gone from each.
func TestSources(t *testing.T) {
	m, dir := tower(t, 1), t.TempDir()
	index, list := filepath.Join(dir, "index"), filepath.Join(dir, "list.txt")
	shard := filepath.Join(dir, "00000.tar")
	// Letters that are longer when they are small: nothing is beside them in the name.
	if _, err := (&Record{Path: filepath.Join(dir, strings.Repeat("\u023A", 20)+".TAR/x.png")}).Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a tar that is not there: %v", err)
	}
	write := func(members ...any) {
		t.Helper()
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := 0; i < len(members); i += 2 {
			content := members[i+1].([]byte)
			if err := w.WriteHeader(&tar.Header{Name: members[i].(string), Mode: 0o666, Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
			w.Write(content)
		}
		w.Close()
		put(t, shard, b.Bytes())
	}
	write("000.png", picture(t, 1), "000.txt", []byte("a caption"), "001.png", picture(t, 2), "001.json", []byte(`{"caption":"another"}`), "002.png", picture(t, 3))
	put(t, filepath.Join(dir, "one.png"), picture(t, 4))
	put(t, filepath.Join(dir, "two.png"), picture(t, 5))
	put(t, list, []byte("one.png\r\n\nmissing.png\n"+filepath.Join(dir, "one.png")+"\n"))
	describe := func(path string) map[string]string {
		return map[string]string{"place": strings.TrimSuffix(filepath.Base(path), ".png")}
	}
	o := UpdateOptions{WriterOptions: WriterOptions{Columns: []string{"place"}}, Describe: describe}
	if got, want := updated(t, m, index, o, shard, list, filepath.Join(dir, "two.png")), (Report{Added: 5, Failed: 1, Pictures: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	x := opened(t, index)
	captions := map[string]string{}
	for r, err := range x.Records() {
		if err != nil || r.Columns["place"] != describe(r.Path)["place"] || r.Width != 10 || r.Height != 8 {
			t.Errorf("%+v: %v", r, err)
		}
		captions[strings.TrimPrefix(filepath.ToSlash(r.Path), filepath.ToSlash(dir))] = r.Caption
		f, err := r.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if f.Close(); err != nil || int64(len(b)) != r.Size {
			t.Errorf("%s: %d bytes, want %d: %v", r.Path, len(b), r.Size, err)
		}
		v, err := m.Encode(t.Context(), clip.Bytes("", b))
		if err != nil {
			t.Fatal(err)
		}
		clip.Normalize(v...)
		for k, h := range x.Half(r.Index) {
			if h != kernel.ToHalf(v[0][k]) {
				t.Fatalf("%s: value %d is %x, want that of %v", r.Path, k, h, v[0][k])
			}
		}
	}
	if want := map[string]string{"/00000.tar/000.png": "a caption", "/00000.tar/001.png": "another", "/00000.tar/002.png": "", "/one.png": "", "/two.png": ""}; !maps.Equal(captions, want) {
		t.Errorf("got %q, want %q", captions, want)
	}
	os.Remove(filepath.Join(dir, "one.png"))
	write("000.png", picture(t, 1), "000.txt", []byte("a new caption"), "002.png", picture(t, 3))
	o.Describe = func(path string) map[string]string { return map[string]string{"place": "elsewhere"} }
	if got, want := updated(t, m, index, o, shard, list), (Report{Unchanged: 2, Deleted: 2, Failed: 1, Pictures: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for r, err := range opened(t, index).Records() {
		if want := map[bool]string{true: "two", false: "elsewhere"}[r.Name() == "two.png"]; err != nil || r.Columns["place"] != want {
			t.Errorf("%s is %q, want %q: %v", r.Path, r.Columns["place"], want, err)
		}
		if want := map[string]string{"000.png": "a new caption"}[r.Name()]; r.Caption != want {
			t.Errorf("%s has the caption %q, want %q", r.Path, r.Caption, want)
		}
	}
	// Read again, without anything else, it is as it was.
	o.Rehash = true
	before := opened(t, index)
	if got, want := updated(t, m, index, o, shard), (Report{Unchanged: 2, Pictures: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if now := opened(t, index); now.about.Generation != before.about.Generation {
		t.Errorf("the generation is %d, and was %d", now.about.Generation, before.about.Generation)
	}
	// In a second tar they are copied, and renamed if that gets another name.
	content, err := os.ReadFile(shard)
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(dir, "00001.tar")
	put(t, second, content)
	if got, want := updated(t, m, index, o, second), (Report{Copied: 2, Pictures: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := os.Rename(second, filepath.Join(dir, "00002.tar")); err != nil {
		t.Fatal(err)
	}
	if got, want := updated(t, m, index, o, filepath.Join(dir, "00002.tar")), (Report{Renamed: 2, Pictures: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestUpdateWhole: of pictures that change, each commit has either form, and none is missing meanwhile.
func TestUpdateWhole(t *testing.T) {
	m, dir := tower(t, 1), t.TempDir()
	index, photos := filepath.Join(dir, "index"), filepath.Join(dir, "photos")
	const n = 6
	for i := range n {
		put(t, filepath.Join(photos, string(rune('a'+i))+".png"), picture(t, i))
	}
	commits := map[int]bool{}
	o := UpdateOptions{Batch: 1, WriterOptions: WriterOptions{ShardRows: 1}}
	updated(t, m, index, o, photos)
	o.Progress = func(int, int) {
		x := opened(t, index)
		if commits[x.about.Generation] = true; x.Live() != n {
			t.Errorf("commit %d has %d pictures, want %d", x.about.Generation, x.Live(), n)
		}
		content(t, index) // each once
	}
	for i := range n {
		put(t, filepath.Join(photos, string(rune('a'+i))+".png"), picture(t, i+1)) // the contents of others, but for the last
	}
	if got := updated(t, m, index, o, photos); got != (Report{Changed: n, Pictures: n}) {
		t.Errorf("got %+v, want %d changed", got, n)
	}
	for i := range n {
		put(t, filepath.Join(photos, string(rune('a'+i))+".png"), picture(t, i+100))
	}
	if got := updated(t, m, index, o, photos); got != (Report{Changed: n, Pictures: n}) || len(commits) < n {
		t.Errorf("got %+v at %d commits, want %d changed, at a commit each", got, len(commits), n)
	}
}

// TestForget: what lists name, what is below a folder, and of several paths none if one is unknown.
func TestForget(t *testing.T) {
	m, dir := tower(t, 1), t.TempDir()
	index, list, more := filepath.Join(dir, "index"), filepath.Join(dir, "list.txt"), filepath.Join(dir, "more")
	put(t, filepath.Join(dir, "one.png"), picture(t, 1))
	put(t, filepath.Join(dir, "two.png"), picture(t, 2))
	put(t, filepath.Join(more, "three.png"), picture(t, 3))
	put(t, list, []byte("one.png\ntwo.png\n"))
	updated(t, m, index, UpdateOptions{}, list, more)
	if _, err := Forget(index, []string{more, filepath.Join(dir, "unknown")}); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("error %v, want one of the unknown path", err)
	}
	if x := opened(t, index); x.Live() != 3 || len(x.Sources()) != 2 {
		t.Errorf("%d pictures, %v; want 3 of 2 sources", x.Live(), x.Sources())
	}
	if n, err := Forget(index, []string{list, filepath.Join(dir, "one.png")}); err != nil || n != 2 {
		t.Errorf("forgot %d: %v, want 2", n, err)
	}
	if x := opened(t, index); x.Live() != 1 || len(x.Sources()) != 1 || x.Sources()[0].Path != more {
		t.Errorf("%d pictures, %v; want 1 of %s", x.Live(), x.Sources(), more)
	}
	updated(t, m, index, UpdateOptions{}, list)
	os.Remove(list)
	if _, err := Forget(index, []string{list}); !errors.Is(err, os.ErrNotExist) || opened(t, index).Live() != 3 {
		t.Errorf("without the list: %v", err)
	}
}

// TestRefusals: another space, another writer, a picture that ends it, and an end in the middle, behind which it goes on.
func TestRefusals(t *testing.T) {
	m, dir := tower(t, 1), t.TempDir()
	index, photos := filepath.Join(dir, "index"), filepath.Join(dir, "photos")
	for i := range 9 {
		put(t, filepath.Join(photos, string(rune('a'+i))+".png"), picture(t, i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := UpdateOptions{Batch: 1, Progress: func(done, _ int) {
		if done == 4 {
			cancel()
		}
	}}
	if _, err := Update(ctx, m, index, sourcesOf(t, photos), o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := updated(t, m, index, UpdateOptions{}, photos); got.Resumed < 4 || got.Resumed+got.Added != 9 || got.Unchanged != got.Resumed || got.Pictures != 9 {
		t.Errorf("got %+v, want 4 resumed or more", got)
	}
	_, err := Update(t.Context(), tower(t, 2), index, sourcesOf(t, photos), UpdateOptions{})
	if e := (*SpaceError)(nil); !errors.Is(err, ErrSpace) || !errors.As(err, &e) || !strings.Contains(err.Error(), "other weights of the vision tower") {
		t.Errorf("of another model: %v", err)
	}
	put(t, filepath.Join(photos, "0.png"), []byte("broken"))
	if _, err := Update(t.Context(), m, index, sourcesOf(t, photos), UpdateOptions{Strict: true}); !errors.Is(err, clip.ErrImage) || !strings.Contains(err.Error(), "0.png") {
		t.Errorf("strict: %v", err)
	}
	w, err := newWriter(index, nil, WriterOptions{}, func(int, *Record, []uint16) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Update(t.Context(), m, index, sourcesOf(t, photos), UpdateOptions{}); !errors.Is(err, ErrInUse) {
		t.Errorf("two writers: %v", err)
	}
	w.Close()
	if _, err := Update(t.Context(), m, photos, sourcesOf(t, photos), UpdateOptions{}); !errors.Is(err, ErrNoIndex) {
		t.Errorf("in a folder of pictures: %v", err)
	}
	bad, other := filepath.Join(dir, "bad.tar"), filepath.Join(dir, "other")
	put(t, bad, []byte("no tar"))
	if _, err := Update(t.Context(), m, other, sourcesOf(t, photos, bad), UpdateOptions{}); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("a source that cannot be read: %v", err)
	}
	if _, err := os.Stat(other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a source that cannot be read begins an index: %v", err)
	}
	if _, err := Update(t.Context(), m, other, nil, UpdateOptions{WriterOptions: WriterOptions{Columns: []string{"width"}}}); !errors.Is(err, ErrColumn) {
		t.Errorf("a column of the index's own: %v", err)
	}
	if n, err := Forget(index, []string{filepath.Join(photos, "a.png"), filepath.Join(photos, "nothing")}); err == nil || n != 0 || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("forgets %d, %v, want an error of the path of which it knows nothing", n, err)
	}
	if content(t, index); len(content(t, index)) != 9 {
		t.Error("pictures are lost")
	}
}
