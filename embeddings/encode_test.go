package embeddings_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/embeddings"
)

const (
	demo  = "../cmd/vitago/testdata/demo/"
	model = "../testdata/families/hf5-clip" // both towers and a tokenizer
)

func open(t testing.TB, path string, o ...clip.Option) *clip.Model {
	t.Helper()
	m, err := clip.Open(path, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// pictures returns those of the demo, and one that is none.
func pictures(t testing.TB) []clip.Picture {
	t.Helper()
	all, _, err := clip.Folder(demo)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Insert(all, 2, clip.Bytes("broken.png", []byte("no picture")))
}

// files returns what lies in a folder.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// TestEncode: a folder becomes a file in one call, and one that is stopped after any picture is gone on with to the same bytes.
func TestEncode(t *testing.T) {
	m, all := open(t, model), pictures(t)
	for _, format := range embeddings.Formats() {
		for _, features := range []clipvit.Features{{}, {Kind: clipvit.AllTokens, Layer: -1}} {
			whole, dir := t.TempDir(), t.TempDir()
			o := embeddings.EncodeOptions{Features: features, Normalize: true, SkipErrors: true, Batch: 2}
			var done, skipped []string
			o.Progress = func(n, of int) { done = append(done, fmt.Sprintf("%d/%d", n, of)) }
			o.Skipped = func(name string, err error) {
				skipped = append(skipped, fmt.Sprintf("%s %v", name, errors.Is(err, clip.ErrImage)))
			}
			r, err := embeddings.Encode(t.Context(), m, all, filepath.Join(whole, "x."+format), o)
			if err != nil || r.Rows != 7 || r.Done != 7 || r.Failed != 1 || r.Before != 0 || r.Complete {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := strings.Join(done, " "); got != "0/7 1/7 2/7 3/7 4/7 5/7 6/7 7/7" || !slices.Equal(skipped, []string{"broken.png true"}) {
				t.Errorf("progress %s, skipped %q", got, skipped)
			}
			want := files(t, whole)
			path := filepath.Join(dir, "x."+format)
			o.Resume = true
			for n := range all {
				ctx, cancel := context.WithCancelCause(t.Context())
				stop := errors.New("stop")
				o.Progress = func(done, _ int) {
					if done == n+1 {
						cancel(stop)
					}
				}
				r, err := embeddings.Encode(ctx, m, all, path, o)
				if n+1 < len(all) && (!errors.Is(err, stop) || r.Before != n || r.Done < n+1) {
					t.Fatalf("stopped at %d: %+v, %v", n, r, err)
				}
				cancel(nil)
				if r.Done > n+1 { // the rest of its batch, perhaps
					break
				}
			}
			o.Progress = nil
			r, err = embeddings.Encode(t.Context(), m, all, path, o)
			if err != nil || r.Failed != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := files(t, dir); !maps.Equal(got, want) {
				t.Errorf("%s: resumed it is another", format)
			}
			if r, err = embeddings.Encode(t.Context(), m, all, path, o); err != nil || !r.Complete || r.Before != 7 || r.Failed != 1 {
				t.Errorf("once more: %+v, %v", r, err)
			}
			var b bytes.Buffer
			o.Format, o.Output, o.Resume = format, &b, false
			if r, err := embeddings.Encode(t.Context(), m, all, "", o); err != nil || r.Done != 7 || b.String() != want["x."+format] {
				t.Errorf("to a writer: %+v, %v", r, err)
			}
			set, err := embeddings.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			direct, err := m.Features(t.Context(), clipvit.Features{Kind: clipvit.Embedding}, all[0])
			if err != nil {
				t.Fatal(err)
			}
			if features == (clipvit.Features{}) {
				clip.Normalize(direct...)
				if !slices.Equal(set.Vectors[0], direct[0]) || set.Vectors[2] != nil || set.Names[2] != "broken.png" {
					t.Errorf("%s: %v", format, set)
				}
			}
		}
	}
}

// TestEncodeRefuses: what would make another file than the one that was begun.
func TestEncodeRefuses(t *testing.T) {
	m, all := open(t, model), pictures(t)
	path := filepath.Join(t.TempDir(), "x.npy")
	r, err := embeddings.Encode(t.Context(), m, all, path, embeddings.EncodeOptions{})
	if !errors.Is(err, clip.ErrImage) || r.Done != 2 || r.Failed != 0 {
		t.Fatalf("a broken picture: %+v, %v", r, err)
	}
	again := embeddings.EncodeOptions{Options: embeddings.Options{Resume: true}}
	refused := func(what string, m *clip.Model, all []clip.Picture, change func(o *embeddings.EncodeOptions)) {
		t.Helper()
		o := again
		if change != nil {
			change(&o)
		}
		_, err := embeddings.Encode(t.Context(), m, all, path, o)
		if e := (*embeddings.MismatchError)(nil); !errors.As(err, &e) || e.What != what {
			t.Errorf("error %v, want one of %s", err, what)
		}
	}
	refused("normalized", m, all, func(o *embeddings.EncodeOptions) { o.Normalize = true })
	refused("precision", m, all, func(o *embeddings.EncodeOptions) { o.Settings = map[string]string{"precision": "int8"} })
	refused("feature", m, all, func(o *embeddings.EncodeOptions) { o.Features.Kind = clipvit.PostNorm })
	refused("the number of rows", m, all[:6], nil)
	refused("image 1", m, append(all[1:], all[0]), nil)
	refused("model", open(t, model, clip.Int8()), all, nil)
	refused("model", open(t, model, clip.BF16()), all, nil)
	refused("model", open(t, "../testdata/tiny/huggingface"), all, nil)
	// One weight is another.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	weights, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	same := open(t, dir)
	if _, err := same.Vision(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := again
	o.SkipErrors = true
	changed := bytes.Clone(weights)
	at := bytes.Index(weights, []byte(`"vision_model.`))
	if at < 0 {
		t.Fatal("no tower")
	}
	changed[len(changed)-1] ^= 1 // of the last tensor, which is of the vision tower or the projection
	other := t.TempDir()
	if err := errors.Join(os.CopyFS(other, os.DirFS(model)), os.WriteFile(filepath.Join(other, "model.safetensors"), changed, 0o666)); err != nil {
		t.Fatal(err)
	}
	refused("model", open(t, other), all, nil)
	// In another place it is the same model.
	if r, err = embeddings.Encode(t.Context(), same, all, path, o); err != nil || r.Before != 2 || r.Failed != 1 {
		t.Errorf("moved: %+v, %v", r, err)
	}
	if _, err := embeddings.Encode(t.Context(), m, all, path, embeddings.EncodeOptions{}); !errors.Is(err, embeddings.ErrExists) {
		t.Errorf("without resuming: %v", err)
	}
	if _, err := embeddings.Encode(t.Context(), m, all, path, embeddings.EncodeOptions{Output: &bytes.Buffer{}}); err == nil {
		t.Error("a file and a writer")
	}
	none := embeddings.EncodeOptions{Features: clipvit.Features{Kind: clipvit.ClassToken, Layer: 99}}
	if _, err := embeddings.Encode(t.Context(), m, all, filepath.Join(t.TempDir(), "x.npy"), none); !errors.Is(err, clip.ErrRequest) || !errors.Is(err, clipvit.ErrLayer) || !strings.HasPrefix(err.Error(), "embeddings: layer is 99, want ") {
		t.Errorf("no such layer: %v", err)
	}
}

// TestEncodeTowers: a tower that comes from no file has a fingerprint, too.
func TestEncodeTowers(t *testing.T) {
	v, err := open(t, model).Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := embeddings.Encode(t.Context(), clip.New(v, nil, nil), pictures(t)[:2], filepath.Join(dir, "x.jsonl"), embeddings.EncodeOptions{}); err != nil {
		t.Fatal(err)
	}
	about := files(t, dir)["x.jsonl.about.json"]
	want, err := open(t, model).VisionFingerprint(t.Context())
	if err != nil || !strings.Contains(about, want) {
		t.Errorf("%s lacks %s (%v)", about, want, err)
	}
}

func TestEncodeText(t *testing.T) {
	m := open(t, model)
	texts := []string{"a cat", "", "a photo\n", strings.Repeat("a ", 200), "a cat"}
	dir := t.TempDir()
	path := filepath.Join(dir, "x.jsonl")
	if r, err := embeddings.EncodeText(t.Context(), m, texts, path, embeddings.EncodeOptions{}); !errors.Is(err, clip.ErrText) || r.Done != 3 {
		t.Fatalf("a long text: %+v, %v", r, err)
	}
	o := embeddings.EncodeOptions{SkipErrors: true, Options: embeddings.Options{Resume: true}}
	r, err := embeddings.EncodeText(t.Context(), m, texts, path, o)
	if err != nil || r.Failed != 1 || r.Before != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	at := filepath.Join(t.TempDir(), "x.jsonl")
	if _, err := embeddings.EncodeText(t.Context(), m, texts, at, embeddings.EncodeOptions{SkipErrors: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := files(t, dir), files(t, filepath.Dir(at)); !maps.Equal(got, want) || !strings.Contains(want["x.jsonl"], `"error":"text 4: `) {
		t.Errorf("resumed it is %q, want %q", got, want) // the number of a text is that in the list
	}
	set, err := embeddings.Read(path)
	if err != nil || !slices.Equal(set.Names, texts) {
		t.Fatal(set, err)
	}
	want, err := m.EncodeText(t.Context(), []string{"a cat"})
	if err != nil || !slices.Equal(set.Vectors[4], want[0]) || set.Vectors[3] != nil {
		t.Errorf("%v, want %v (%v)", set.Vectors[4], want, err)
	}
	if got := files(t, dir)["x.jsonl"]; !strings.HasPrefix(got, `{"text":"a cat","embedding":[`) {
		t.Errorf("got %.40s", got)
	}
	o.Normalize = true
	if _, err := embeddings.EncodeText(t.Context(), m, texts, path, o); !errors.Is(err, embeddings.ErrOther) {
		t.Errorf("another setting: %v", err)
	}
	o.Normalize = false
	for name, rounding := range map[string]clip.Option{"int8": clip.Int8(), "bf16": clip.BF16()} {
		if _, err := embeddings.EncodeText(t.Context(), open(t, model, rounding), texts, path, o); !errors.Is(err, embeddings.ErrOther) {
			t.Errorf("goes on in %s: %v", name, err)
		}
	}
	if _, err := embeddings.EncodeText(t.Context(), open(t, "../testdata/families/llava"), texts, path, embeddings.EncodeOptions{Options: embeddings.Options{Overwrite: true}}); !errors.Is(err, clip.ErrNoText) {
		t.Errorf("no text tower: %v", err)
	}
}

// TestVocabulary: texts depend on the tokenizer, too, and pictures do not.
func TestVocabulary(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tokenizer.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := bytes.Replace(bytes.Replace(b, []byte(`"a</w>": 8`), []byte(`"a</w>": 10`), 1), []byte(`"c</w>": 10`), []byte(`"c</w>": 8`), 1)
	if bytes.Equal(now, b) {
		t.Fatal("nothing has changed")
	}
	if err := os.WriteFile(path, now, 0o666); err != nil {
		t.Fatal(err)
	}
	for i, m := range []*clip.Model{open(t, model), open(t, dir)} {
		o := embeddings.EncodeOptions{Options: embeddings.Options{Resume: true}}
		r, err := embeddings.Encode(t.Context(), m, pictures(t)[:2], filepath.Join(out, "pictures.npy"), o)
		if err != nil || r.Complete != (i == 1) {
			t.Errorf("pictures: %+v, %v", r, err)
		}
		_, err = embeddings.EncodeText(t.Context(), m, []string{"a photo"}, filepath.Join(out, "texts.npy"), o)
		if e := (*embeddings.MismatchError)(nil); errors.As(err, &e) != (i == 1) || e != nil && e.What != "model" {
			t.Errorf("texts: %v", err)
		}
	}
}

// TestEncodeMemory: what is allocated for an image does not grow with the images before it.
func TestEncodeMemory(t *testing.T) {
	m := open(t, model)
	held := func(n int) uint64 {
		all := slices.Repeat([]clip.Picture{clip.File(demo + "gradient.png")}, n)
		var most uint64
		o := embeddings.EncodeOptions{Batch: 4, Progress: func(done, _ int) {
			if done == n {
				var mem runtime.MemStats
				runtime.GC()
				runtime.GC() // what is in a pool survives the first
				runtime.ReadMemStats(&mem)
				most = mem.HeapAlloc
			}
		}}
		if _, err := embeddings.Encode(t.Context(), m, all, filepath.Join(t.TempDir(), "x.npy"), o); err != nil {
			t.Fatal(err)
		}
		return most
	}
	few, many := held(8), held(400)
	if grown := int64(many) - int64(few); grown > 400*1000 { // names and pictures take 56 bytes each; patches would take 7 kB
		t.Errorf("%d bytes more are held after 400 images than after 8", grown)
	}
}
