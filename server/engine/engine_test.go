package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/zeroshot"
)

func read(t testing.TB, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// picture returns one of the demo's.
func picture(t testing.TB, name string) []byte {
	t.Helper()
	return read(t, "cmd/vitago/testdata/demo/"+name)
}

// start returns an engine, which is closed when the test ends.
func start(t testing.TB, c Config) *Engine {
	t.Helper()
	if c.Models == nil {
		c.Models = []Model{{Name: "demo", Path: demo.Name}}
	}
	e, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// model returns the model in package demo, which tests compare with.
func model(t testing.TB) *clip.Model {
	t.Helper()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEmbed: pictures and texts have the bits that package clip gives alone, in all their forms.
func TestEmbed(t *testing.T) {
	e, m, ctx := start(t, Config{}), model(t), t.Context()
	cat, circle := picture(t, "cat.png"), picture(t, "red-circle.png")
	pictures := []clip.Picture{clip.Bytes("", cat), clip.Bytes("", circle)}
	got, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}, {Text: "a red circle"}, {Image: circle}}})
	if err != nil {
		t.Fatal(err)
	}
	images, err := m.Encode(ctx, pictures...)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := m.EncodeText(ctx, []string{"a red circle"})
	if err != nil {
		t.Fatal(err)
	}
	if want := [][]float32{images[0], texts[0], images[1]}; !slices.EqualFunc(got.Vectors, want, slices.Equal) {
		t.Error("other bits than those of Encode and EncodeText")
	}
	if got.Model != "demo" || got.Kind != clipvit.Embedding || !slices.Equal(got.Shape, []int{len(images[0])}) {
		t.Errorf("model %q, %s of %v", got.Model, got.Kind, got.Shape)
	}
	if want := []int{0, 5, 0}; !slices.Equal(got.Tokens, want) {
		t.Errorf("%v tokens, want %v", got.Tokens, want)
	}
	if want := (Size{128, 96, "png"}); got.Sizes[0] != want || got.Sizes[1] != (Size{}) {
		t.Errorf("sizes %v, want %v and zero", got.Sizes, want)
	}

	space, err := m.Space(ctx)
	if err != nil {
		t.Fatal(err)
	}
	normal, err := e.Embed(ctx, EmbedRequest{Model: "demo", Items: []Item{{Image: cat}}, Normalize: true})
	if err != nil {
		t.Fatal(err)
	}
	if normal.Fingerprint != space.Fingerprint() || normal.Fingerprint == got.Fingerprint {
		t.Errorf("fingerprint %s, want %s of an index", normal.Fingerprint, space.Fingerprint())
	}
	want := slices.Clone(images[0])
	clip.Normalize(want)
	if !slices.Equal(normal.Vectors[0], want) {
		t.Error("other bits than those of Normalize")
	}
	short, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}}, Dimensions: 8})
	if err != nil {
		t.Fatal(err)
	}
	want = slices.Clone(images[0][:8])
	clip.Normalize(want)
	if !slices.Equal(short.Vectors[0], want) || !slices.Equal(short.Shape, []int{8}) || short.Fingerprint == normal.Fingerprint {
		t.Errorf("%v of %v, want the first 8 values with length 1", short.Vectors[0], short.Shape)
	}

	f := clipvit.Features{Kind: clipvit.Patches, Layer: -2}
	rows, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}, {Image: circle}}, Features: f, Normalize: true, Dimensions: 3})
	if err != nil {
		t.Fatal(err)
	}
	patches, err := m.Features(ctx, f, pictures...)
	if err != nil {
		t.Fatal(err)
	}
	c, width := rows.Shape[1], len(patches[0])/rows.Shape[0]
	if c != 3 || len(rows.Vectors[1]) != 3*rows.Shape[0] {
		t.Fatalf("shape %v of %d values, want 3 of every patch", rows.Shape, len(rows.Vectors[1]))
	}
	for row := range rows.Shape[0] {
		want := slices.Clone(patches[1][row*width:][:3])
		clip.Normalize(want)
		if !slices.Equal(rows.Vectors[1][3*row:][:3], want) {
			t.Fatalf("row %d is %v, want %v", row, rows.Vectors[1][3*row:][:3], want)
		}
	}

	squashed, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}}, Preprocess: clipvit.Choice{Preset: "immich", Fit: clipvit.FitSquash}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := clip.Open(demo.Name, clip.Checkpoint(converter.Prepare(clipvit.Choice{Preset: "immich", Fit: clipvit.FitSquash})))
	if err != nil {
		t.Fatal(err)
	}
	as, err := own.Encode(ctx, pictures[0])
	if err != nil || !slices.Equal(squashed.Vectors[0], as[0]) || squashed.Fingerprint == got.Fingerprint {
		t.Errorf("%v: other bits than those of a model that prepares so, or the same fingerprint", err)
	}

	cut, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Text: strings.Repeat("a red circle ", 60)}}, Truncate: true})
	if err != nil || cut.Tokens[0] != e.Models()[0].Context {
		t.Errorf("%v: %v tokens, want the context %d", err, cut, e.Models()[0].Context)
	}
}

func TestEmbedErrors(t *testing.T) {
	e := start(t, Config{Limits: Limits{Items: 3, ImageBytes: 1 << 20, Pixels: 1 << 18, TextBytes: 1000, Values: 10_000}})
	cat := picture(t, "cat.png")
	bomb := slices.Clone(cat)
	copy(bomb[16:], "\x00\x00\x03\xe8\x00\x00\x03\xe8")
	for _, c := range []struct {
		name string
		r    EmbedRequest
		want error
		text string
	}{
		{"no items", EmbedRequest{}, clip.ErrRequest, "got 0 items, want 1 to 3"},
		{"too many", EmbedRequest{Items: make([]Item, 4)}, clip.ErrRequest, "got 4 items"},
		{"no model", EmbedRequest{Model: "x", Items: make([]Item, 1)}, ErrModel, `there are ["demo"]`},
		{"no picture", EmbedRequest{Items: []Item{{Text: "a red circle"}, {Image: []byte("x")}}}, clip.ErrImage, "item 2: "},
		{"empty picture", EmbedRequest{Items: []Item{{Image: []byte{}}}}, clip.ErrImage, "item 1: "},
		{"cut short", EmbedRequest{Items: []Item{{Image: cat}, {Image: cat[:len(cat)/2]}, {Image: cat[:len(cat)/3]}}}, clip.ErrImage, "item 2: "},
		{"both", EmbedRequest{Items: []Item{{Image: cat, Text: "x"}}}, clip.ErrRequest, "want one of them"},
		{"bytes", EmbedRequest{Items: []Item{{Image: make([]byte, 1<<20+1)}}}, clip.ErrTooLarge, "1048577 bytes, want at most 1048576"},
		{"pixels", EmbedRequest{Items: []Item{{Image: bomb}}}, clip.ErrTooLarge, "size 1000x1000 is more than 262144 pixels"},
		{"text", EmbedRequest{Items: []Item{{Text: strings.Repeat("x", 1001)}}}, clip.ErrText, "1001 bytes"},
		{"long", EmbedRequest{Items: []Item{{Text: strings.Repeat("a red circle ", 60)}}}, clip.ErrText, "item 1: "},
		{"word", EmbedRequest{Items: []Item{{Text: "quizzical"}}}, clip.ErrText, "item 1: "},
		{"layer", EmbedRequest{Items: []Item{{Image: cat}}, Features: clipvit.Features{Kind: clipvit.Patches, Layer: 99}}, clip.ErrRequest, "layer is 99"},
		{"kind", EmbedRequest{Items: []Item{{Image: cat}}, Features: clipvit.Features{Kind: "x"}}, clip.ErrRequest, `features are "x"`},
		{"texts' layer", EmbedRequest{Items: []Item{{Text: "a red circle"}}, Features: clipvit.Features{Kind: clipvit.Patches}}, clip.ErrRequest, "features of texts"},
		{"dimensions", EmbedRequest{Items: []Item{{Image: cat}}, Dimensions: 4096}, clip.ErrRequest, "got 4096 dimensions"},
		{"less", EmbedRequest{Items: []Item{{Image: cat}}, Dimensions: -1}, clip.ErrRequest, "got -1 dimensions"},
		{"values", EmbedRequest{Items: []Item{{Image: cat}, {Image: cat}, {Image: cat}}, Features: clipvit.Features{Kind: clipvit.AllTokens, Layer: -1}}, clip.ErrRequest,
			"3 vectors of [65 96] values, want at most 10000"},
		{"preset", EmbedRequest{Items: []Item{{Image: cat}}, Preprocess: clipvit.Choice{Preset: "x"}}, clip.ErrRequest, `preset is "x"`},
		{"for nothing", EmbedRequest{Items: []Item{{Text: "a red circle"}}, Preprocess: clipvit.Choice{Preset: "immich"}}, clip.ErrRequest, "there are none"},
	} {
		got, err := e.Embed(t.Context(), c.r)
		if got != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, %v, want %v with %q", c.name, got, err, c.want, c.text)
		}
	}
	if s := e.Stats(); s.Items != 0 || s.Requests != 0 {
		t.Errorf("%+v, want that nothing waits", s)
	}
}

// TestTasks: what tasks return is what their packages return.
func TestTasks(t *testing.T) {
	ctx, m := t.Context(), model(t)
	dir := t.TempDir()
	index := filepath.Join(dir, "index")
	photos, err := search.NewSource(golden.Path(t, "cmd/vitago/testdata/demo"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := search.Update(ctx, m, index, []search.Source{photos}, search.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	e := start(t, Config{Models: []Model{{Name: "demo", Path: demo.Name, Index: index}, {Name: "plain", Path: golden.Path(t, "testdata/families/hf5-vision")}, {Name: "llava", Path: golden.Path(t, "testdata/families/llava")}}})
	circle := picture(t, "red-circle.png")
	labels := []string{"a red circle", "a blue square", "a green triangle"}

	classified, err := e.Classify(ctx, "demo", imageclassification.Request{Images: [][]byte{circle}, Labels: labels, Templates: []string{"{}"}, TopK: 2})
	if err != nil {
		t.Fatal(err)
	}
	c, err := zeroshot.New(ctx, m, labels, []string{"{}"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Classify(ctx, clip.Bytes("", circle))
	if err != nil || !slices.Equal(classified[0].Labels, want[0][:2]) {
		t.Errorf("%v: %v, want %v", err, classified[0].Labels, want[0][:2])
	}
	compared, err := e.Compare(ctx, "demo", imagetextsimilarity.Request{Images: [][]byte{circle}, Texts: labels})
	if err != nil || len(compared.Cosines[0]) != 3 || compared.Cosines[0][0] != want[0][0].Cosine {
		t.Errorf("%v: cosines %v, want %v first", err, compared.Cosines, want[0][0].Cosine)
	}
	hits, err := e.Search(ctx, "demo", imagesearch.Request{Query: []imagesearch.Part{{Text: "a red circle"}}, TopK: 1})
	if err != nil || len(hits.Hits) != 1 || hits.Hits[0].Name() != "red-circle.png" {
		t.Fatalf("%v: found %v, want red-circle.png", err, hits.Hits)
	}
	if again, err := e.Search(ctx, "demo", imagesearch.Request{Query: []imagesearch.Part{{Image: circle}}, TopK: 1}); err != nil || again.Hits[0].Path != hits.Hits[0].Path {
		t.Errorf("%v: found %v, want the same by the picture", err, again)
	}
	if file, err := e.Picture(ctx, "demo", hits.Hits[0].Path); err != nil || !slices.Equal(file, circle) {
		t.Errorf("%v: %d bytes, want the file", err, len(file))
	}
	for _, path := range []string{"/etc/passwd", hits.Hits[0].Path + "x", filepath.Dir(hits.Hits[0].Path), ""} {
		if file, err := e.Picture(ctx, "demo", path); file != nil || !errors.Is(err, clip.ErrRequest) {
			t.Errorf("%s: %d bytes, %v, want ErrRequest", path, len(file), err)
		}
	}
	maps, err := e.Explain(ctx, "demo", circle, []string{"a red circle", "a blue square"}, explain.Options{})
	if err != nil {
		t.Fatal(err)
	}
	as, err := explain.Captions(ctx, m, clip.Bytes("", circle), []string{"a red circle", "a blue square"}, explain.Options{})
	if err != nil || len(maps) != 2 || !slices.Equal(maps[1].Values, as[1].Values) {
		t.Errorf("%v: other maps than those of Captions", err)
	}
	if maps, err := e.Explain(ctx, "demo", circle, nil, explain.Options{}); err != nil || len(maps) != 1 || maps[0].Method != explain.Rollout {
		t.Errorf("%v: %v, want a rollout", err, maps)
	}
	tokens, err := e.Tokens(ctx, "llava", circle)
	if err != nil || !slices.Equal(tokens.Tokens.Shape(), []int{16, 12}) {
		t.Errorf("%v: tokens %v, want [16 12]", err, tokens.Tokens)
	}
	if n, err := e.TokenCount(ctx, "llava", 100, 50); err != nil || n != 16 {
		t.Errorf("%v: %d tokens, want 16", err, n)
	}

	for name, c := range map[string]struct {
		err  error
		kind error
		text string
	}{
		"no index":      {second(e.Search(ctx, "plain", imagesearch.Request{Query: []imagesearch.Part{{Text: "x"}}})), ErrTask, `"plain" has no index`},
		"no text":       {second(e.Compare(ctx, "plain", imagetextsimilarity.Request{Images: [][]byte{circle}, Texts: labels})), ErrTask, "no text tower"},
		"no text, too":  {second(e.Embed(ctx, EmbedRequest{Model: "plain", Items: []Item{{Text: "x"}}})), clip.ErrNoText, "no text tower"},
		"no captions":   {second(e.Explain(ctx, "plain", circle, labels, explain.Options{})), ErrTask, "no captions"},
		"no projector":  {second(e.Tokens(ctx, "demo", circle)), ErrTask, "no projector"},
		"no classifier": {second(e.Classify(ctx, "demo", imageclassification.Request{Images: [][]byte{circle}})), ErrTask, "no classifier of its own"},
		"no pictures":   {second(e.Classify(ctx, "demo", imageclassification.Request{Labels: labels})), clip.ErrRequest, "got 0 images"},
		"no texts":      {second(e.Compare(ctx, "demo", imagetextsimilarity.Request{Images: [][]byte{circle}})), clip.ErrRequest, "got 0 texts"},
		"nil picture":   {second(e.Tokens(ctx, "llava", nil)), clip.ErrImage, ""},
		"no labels":     {second(e.Classify(ctx, "demo", imageclassification.Request{Images: [][]byte{circle}, Labels: []string{}})), clip.ErrRequest, "label"},
		"picture's":     {second(e.Picture(ctx, "plain", "/x")), ErrTask, "has no index"},
	} {
		if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", name, c.err, c.kind, c.text)
		}
	}
	info := e.Models()
	for i, want := range []string{
		"explain imageclassification imageencoding imagesearch imagetextsimilarity textencoding",
		"explain imageencoding",
		"explain imageencoding visualtokens",
	} {
		if got := strings.Join(info[i].Tasks, " "); got != want {
			t.Errorf("tasks of %s are %q, want %q", info[i].Name, got, want)
		}
	}
	if info[0].Dim == 0 || info[0].ImageSize != 64 || info[0].Context == 0 || !info[0].Loaded || info[1].Context != 0 {
		t.Errorf("%+v", info)
	}
}

func second[T any](_ T, err error) error { return err }

// TestConfig: everything that is wrong is said at once.
func TestConfig(t *testing.T) {
	demos := func(names ...string) (all []Model) {
		for _, n := range names {
			all = append(all, Model{Name: n, Path: demo.Name})
		}
		return all
	}
	for name, c := range map[string]struct {
		Config
		want []string
	}{
		"nothing": {Config{}, []string{"no models"}},
		"models": {Config{Models: []Model{
			{Name: "a", Path: demo.Name, Precision: "f16", Aliases: []string{"a"}},
			{Path: demo.Name, Prepare: clipvit.Choice{Preset: "x"}},
			{Name: "c", Aliases: []string{"a", "\n"}, Adapters: []string{""}},
		}}, []string{`precision is "f16"`, `model "a": the name "a" is that of model "a"`, "model 2: name is", `preset is "x"`, `model "c": no path`, `the name "a" is that of model "a"`, `"\n"`, "an adapter without"}},
		"numbers": {Config{Models: demos("a"), Memory: -1, Idle: -1, MaxBatch: -1, QueueItems: -1, QueueBytes: -1, Limits: Limits{-1, -1, -1, -1, -1}},
			[]string{"memory is -1", "idle time is -1", "batch is -1", "items is -1", "bytes is -1", "image's bytes is -1", "pixels is -1", "text's bytes is -1", "answer's values is -1"}},
		"for nothing":      {Config{Models: demos("a"), MaxBatch: 1, MaxWait: time.Second}, []string{"the longest wait 1s does nothing"}},
		"never":            {Config{Models: demos("a"), QueueItems: 10, QueueBytes: 100, Limits: Limits{Items: 11, ImageBytes: 101}}, []string{"11 items, and the queue has room for 10", "101 bytes, and the queue has room for 100"}},
		"decoder":          {Config{Models: demos("a"), QueueBytes: 1 << 40, Limits: Limits{ImageBytes: 1 << 31, Pixels: 1 << 30}}, []string{"want at most 1073741824", "want at most 178956970"}},
		"memory":           {Config{Models: demos("a"), Memory: 1 << 20}, []string{`model "a": its weights take about `, "models may take 1 MB"}},
		"files":            {Config{Models: []Model{{Name: "a", Path: "absent"}, {Name: "b", Path: demo.Name, Index: "absent"}}}, []string{`model "a": no model absent`, `model "b": `, "absent"}},
		"vocabulary":       {Config{Models: []Model{{Name: "a", Path: golden.Path(t, "testdata/families/hf5-vision"), Vocab: "x"}}}, []string{"a vocabulary would do nothing"}},
		"projector alone":  {Config{Models: []Model{{Name: "a", Path: golden.Path(t, "testdata/families/projector")}}}, []string{`model "a": `}},
		"together preload": {Config{Models: []Model{{Name: "a", Path: demo.Name, Preload: true}, {Name: "b", Path: demo.Name, Preload: true}}, Memory: 2 << 20}, []string{"would not stay loaded"}},
	} {
		e, err := New(t.Context(), c.Config)
		if e != nil || err == nil {
			t.Errorf("%s: got %v, %v, want an error", name, e, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q in it", name, err, w)
			}
		}
	}
}
