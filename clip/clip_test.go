package clip_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/tiny"
)

const (
	demo  = "../cmd/vitago/testdata/demo/"
	model = "../testdata/families/hf5-clip" // both towers and a tokenizer of 25 words
	plain = "../testdata/tiny/huggingface-vision"
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

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, file []byte) image.Image {
	t.Helper()
	img, err := clipvit.DecodeImage(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func same(a, b [][]float32) bool { return slices.EqualFunc(a, b, slices.Equal[[]float32]) }

// TestEncode: a picture in all its forms has the embedding that the tower gives, in more than one part.
func TestEncode(t *testing.T) {
	m := open(t, model)
	v, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pictures []clip.Picture
	var images []image.Image
	for _, name := range []string{"cat.jpg", "red-circle.png", "gradient.png", "blue-square.png", "orange-circle.png"} {
		file := read(t, demo+name)
		img := decode(t, file)
		for range 20 {
			pictures = append(pictures, clip.File(demo+name), clip.Bytes(name, file), clip.Reader(name, bytes.NewReader(file)), clip.Image(name, img),
				clip.Opened(name, func() (io.ReadCloser, error) { return os.Open(demo + name) }))
			images = append(images, img, img, img, img, img)
		}
	}
	want, err := v.Encode(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Encode(t.Context(), pictures...)
	if err != nil || !same(got, want) {
		t.Errorf("other embeddings than the tower's, %v", err)
	}
	for i, p := range pictures[:5] {
		if want := []string{demo + "cat.jpg", "cat.jpg", "cat.jpg", "cat.jpg", "cat.jpg"}[i]; p.Name() != want {
			t.Errorf("picture %d is %q, want %q", i, p.Name(), want)
		}
	}
	if _, err := m.Encode(t.Context(), pictures[2]); !errors.Is(err, clip.ErrImage) || err.Error() != "clip: cat.jpg: empty file" {
		t.Errorf("a reader twice: error %v", err)
	}
}

// TestFeatures: features of several pictures are those of their patches.
func TestFeatures(t *testing.T) {
	m := open(t, model)
	v, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pictures := []clip.Picture{clip.File(demo + "cat.jpg"), clip.File(demo + "red-circle.png"), clip.File(demo + "gradient.png")}
	var images []image.Image
	for _, p := range pictures {
		images = append(images, decode(t, read(t, p.Name())))
	}
	patches, err := clipvit.PreprocessBatch(images, v.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []clipvit.Features{
		{Kind: clipvit.Embedding}, {Kind: clipvit.PostNorm}, {Kind: clipvit.ClassToken, Layer: 0},
		{Kind: clipvit.PatchMean, Layer: -1}, {Kind: clipvit.Patches, Layer: -1}, {Kind: clipvit.AllTokens, Layer: 0},
	} {
		got, err := m.Features(t.Context(), f, pictures...)
		if err != nil {
			t.Fatal(f, err)
		}
		want, err := f.Of(v, patches)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 3 || !slices.Equal(slices.Concat(got...), mat.Data[float32](want.Value().(mat.Matrix))) {
			t.Errorf("%s: other features than the tower's", f)
		}
	}
}

// TestEncodeText: texts have the embeddings that the tower gives each of them, in their order and whatever their number.
func TestEncodeText(t *testing.T) {
	_, w := towers(t, 1)
	k := cliptext.NewOpenAI(cliptext.OpenAI)
	m := clip.New(nil, w, k)
	var texts []string
	for i := range 300 {
		texts = append(texts, strings.Repeat("a cat ", i*7%31))
	}
	texts[17] = strings.Repeat("a ", 75) // with its begin and end as long as the context
	ids, err := k.Tokenize(texts, w.Config.Context, false)
	if err != nil {
		t.Fatal(err)
	}
	var want [][]float32
	for _, text := range ids {
		y, err := w.Forward([][]int{text})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, slices.Clone(mat.Data[float32](y.Value().(mat.Matrix))))
	}
	for _, n := range []int{1, 2, 18, 300} {
		if got, err := m.EncodeText(t.Context(), texts[:n]); err != nil || !same(got, want[:n]) {
			t.Errorf("%d texts: other embeddings than the tower's, %v", n, err)
		}
	}
	for _, o := range []clip.StreamOptions{{}, {Batch: 1}, {Batch: 7, Features: clipvit.Features{Kind: clipvit.Embedding}}} {
		n := 0
		for e, err := range m.StreamText(t.Context(), slices.Values(texts), o) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Index != n || e.Name != texts[n] || e.Err != nil || !slices.Equal(e.Vector, want[n]) {
				t.Fatalf("%+v: text %d is %+v", o, n, e)
			}
			n++
		}
		if n != len(texts) {
			t.Errorf("%+v: %d texts, want %d", o, n, len(texts))
		}
	}
}

// TestErrors: every error is of its kind, has one prefix, and names what it befell.
func TestErrors(t *testing.T) {
	ctx := t.Context()
	both, vision := open(t, model), open(t, plain)
	dir := t.TempDir()
	cat := read(t, demo+"cat.png")
	jpeg := read(t, demo+"cat.jpg")
	bomb := bytes.Clone(cat)
	copy(bomb[16:], "\x00\x0f\x42\x40\x00\x0f\x42\x40") // a million by a million pixels
	hollow := bytes.Clone(cat[:100])
	copy(hollow[16:], "\x00\x00\x27\x10\x00\x00\x27\x10") // ten thousand by ten thousand
	locked := filepath.Join(dir, "locked.png")
	if err := os.WriteFile(locked, cat, 0); err != nil {
		t.Fatal(err)
	}
	picture := func(p clip.Picture) func() error {
		return func() error {
			_, err := both.Encode(ctx, p)
			return err
		}
	}
	text := func(m *clip.Model, texts ...string) func() error {
		return func() error {
			_, err := m.EncodeText(ctx, texts)
			return err
		}
	}
	features := func(m *clip.Model, kind clipvit.FeatureKind, layer int) func() error {
		return func() error {
			_, err := m.Features(ctx, clipvit.Features{Kind: kind, Layer: layer}, clip.Bytes("cat.png", cat))
			return err
		}
	}
	stream := func(o clip.StreamOptions) func() error {
		return func() error {
			for _, err := range both.StreamText(ctx, slices.Values([]string{"a"}), o) {
				return err
			}
			return nil
		}
	}
	none := errors.New("none of the kinds")
	kinds := []error{clip.ErrRequest, clip.ErrTooLarge, clip.ErrImage, clip.ErrText, clip.ErrNoText}
	for name, c := range map[string]struct {
		do   func() error
		kind error
		want string // a regular expression
	}{
		"no pictures":       {func() error { _, err := both.Encode(ctx); return err }, clip.ErrRequest, `^got 0 pictures, want at least 1$`},
		"no picture":        {picture(clip.Picture{}), clip.ErrRequest, `no picture, want a file`},
		"nil image":         {picture(clip.Image("x", nil)), clip.ErrRequest, `^x: no picture, want a file`},
		"nil opened":        {picture(clip.Opened("x", func() (io.ReadCloser, error) { return nil, nil })), clip.ErrRequest, `^x: no picture, want a file`},
		"nil reader":        {picture(clip.Reader("x", nil)), clip.ErrRequest, `^x: no picture, want a file`},
		"directory":         {picture(clip.File(dir)), clip.ErrRequest, `^` + regexp.QuoteMeta(dir) + `: is a directory, want the file of a picture$`},
		"features":          {features(both, "", 0), clip.ErrRequest, `^features are "", want embedding, `},
		"features unknown":  {features(both, "cats", 0), clip.ErrRequest, `^features are "cats", want embedding, `},
		"layer":             {features(both, clipvit.Patches, 99), clip.ErrRequest, `^layer is 99, want -`},
		"layer of none":     {features(both, clipvit.Embedding, 1), clip.ErrRequest, `^layer is 1, but embedding has none$`},
		"features of texts": {stream(clip.StreamOptions{Features: clipvit.Features{Kind: clipvit.PostNorm}}), clip.ErrRequest, `^features of texts are post_norm, want embedding$`},
		"batch":             {stream(clip.StreamOptions{Batch: -1}), clip.ErrRequest, `^batch is -1, want 1 to `},
		"no texts":          {text(both), clip.ErrRequest, `^got 0 texts, want at least 1$`},
		"no vision":         {func() error { _, err := clip.New(nil, nil, nil).Encode(ctx, clip.Bytes("cat.png", cat)); return err }, clip.ErrRequest, `^model: has no vision tower$`},

		"bomb": {picture(clip.Bytes("bomb.png", bomb)), clip.ErrTooLarge, `^bomb.png: PNG: size 1000000x1000000 is more than \d+ pixels$`},

		"empty":     {picture(clip.Bytes("e.jpg", nil)), clip.ErrImage, `^e.jpg: empty file$`},
		"text":      {picture(clip.Bytes("notes.txt", []byte("hello, world"))), clip.ErrImage, `^notes.txt: not an image: the file starts with "hello, world", want JPEG, `},
		"cut short": {picture(clip.Bytes("cat.jpg", jpeg[:len(jpeg)/2])), clip.ErrImage, `^cat.jpg: JPEG: the file is cut short$`},
		"hollow":    {picture(clip.Bytes("cat.png", hollow)), clip.ErrImage, `^cat.png: PNG: `},
		"HEIC":      {picture(clip.Bytes("IMG_1.HEIC", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))), clip.ErrImage, `^IMG_1.HEIC: HEIC is not supported, convert the file to PNG or JPEG first$`},
		"no pixels": {picture(clip.Image("x", image.NewGray(image.Rect(0, 0, 5, 0)))), clip.ErrImage, `^x: image is 5×0 pixels, want at least 1×1$`},
		"endless":   {picture(clip.Image("x", image.NewUniform(color.White))), clip.ErrTooLarge, `^x: size 2000000000x2000000000 is more than 178956970 pixels$`},

		"absent": {picture(clip.File("absent.png")), os.ErrNotExist, `^absent.png: `},
		"locked": {picture(clip.File(locked)), os.ErrPermission, `^` + regexp.QuoteMeta(locked) + `: permission denied$`},
		"broken": {picture(clip.Reader("upload", io.MultiReader(bytes.NewReader(jpeg[:999]), broken{}))), errBroken, `^upload: the line is broken$`},

		"word":        {text(both, "a", "a cat", "dog"), clip.ErrText, `^text 3: the vocabulary of 25 tokens lacks "dog": none of them is "d"$`},
		"long":        {text(both, strings.Repeat("a", 9)), clip.ErrText, `^text 1: "a+" has 11 tokens with its begin and end, want at most 9$`},
		"no tower":    {text(vision, "a"), clip.ErrNoText, `^` + plain + `: has no text tower$`},
		"none of two": {text(vision), clip.ErrNoText, `^` + plain + `: has no text tower$`},
		"tokenizer":   {func() error { _, _, err := vision.Tokenizer(); return err }, clip.ErrNoText, `no text tower`},
		"text tower":  {func() error { _, err := vision.Text(ctx); return err }, clip.ErrNoText, `no text tower`},
		"print":       {func() error { _, err := vision.TextFingerprint(ctx); return err }, clip.ErrNoText, `no text tower`},
		"no words":    {text(open(t, "../testdata/tiny/openai_torch2.9.1.pt"), "a"), cliptext.ErrVocabulary, `^\.\./testdata/tiny/openai_torch2.9.1.pt has no vocabulary`},

		"no model":   {func() error { _, err := clip.Open(filepath.Join(dir, "gone")); return err }, os.ErrNotExist, `gone`},
		"no folder":  {func() error { _, _, err := clip.Folder(filepath.Join(dir, "gone")); return err }, os.ErrNotExist, `gone`},
		"no words 2": {text(open(t, model, clip.Vocabulary(demo+"cat.jpg")), "a"), none, `cat.jpg`},
		"damaged": {func() error {
			v, _ := towers(t, 1)
			v.Unfreeze()
			mat.Data[float32](v.Proj)[0] = float32(math.NaN())
			_, err := clip.New(v, nil, nil).Encode(ctx, clip.Image("", image.NewGray(image.Rect(0, 0, 8, 8))))
			return err
		}, none, `^embedding: value 1 of 8 is NaN, want a finite number: the model's weights are damaged`},
		"closed": {func() error {
			m := open(t, model)
			m.Close()
			_, err := m.Encode(ctx, clip.Bytes("cat.png", cat))
			return err
		}, none, `^` + model + `: the model has been closed$`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "locked" && (os.Geteuid() == 0 || runtime.GOOS == "windows") {
				t.Skip("may read everything")
			}
			err := c.do()
			if err == nil {
				t.Fatal("no error")
			}
			if c.kind != none && !errors.Is(err, c.kind) { //nolint:errorlint // none is a mark
				t.Errorf("error %v, want a %v", err, c.kind)
			}
			for _, k := range kinds {
				if errors.Is(err, k) != (k == c.kind) { //nolint:errorlint // which of the kinds it is
					t.Errorf("error %v: is a %v: %v", err, k, errors.Is(err, k))
				}
			}
			said, ok := strings.CutPrefix(err.Error(), "clip: ")
			if !ok || !regexp.MustCompile(c.want).MatchString(said) {
				t.Errorf("error %q, want one that is %s", err, c.want)
			}
			if m := regexp.MustCompile(`(^|[ (])(clip|clipvit|cliptext|converter|checkpoint|transformer|pillow|pictures|folder|pyjson|op|kernel): `).FindString(said); m != "" {
				t.Errorf("error %q has the name of another package: %s", err, m)
			}
		})
	}
}

// broken is a line that breaks.
type broken struct{}

var errBroken = errors.New("the line is broken")

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// TestStream: pictures come in their order; one that cannot be read ends the stream, or is skipped.
func TestStream(t *testing.T) {
	m := open(t, plain)
	good := clip.Bytes("good", read(t, demo+"cat.png"))
	bad := clip.Bytes("bad", []byte("hello"))
	want, err := m.Encode(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	all := []clip.Picture{good, good, good, bad, good, bad, bad, good}
	var rest []int
	for _, batch := range []int{0, 1, 2, 3, 100} {
		var got []string
		for e, err := range m.Stream(t.Context(), slices.Values(all), clip.StreamOptions{SkipErrors: true, Batch: batch}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Index != len(got) || (e.Err == nil) != slices.Equal(e.Vector, want[0]) || (e.Err != nil) != (e.Name == "bad") {
				t.Errorf("batch %d: picture %d is %+v", batch, len(got), e)
			}
			got = append(got, e.Name)
		}
		if strings.Join(got, " ") != "good good good bad good bad bad good" {
			t.Errorf("batch %d: got %q", batch, got)
		}
		n := 0
		for e, err := range m.Stream(t.Context(), slices.Values(all), clip.StreamOptions{Batch: batch}) {
			if n == 3 {
				if !errors.Is(err, clip.ErrImage) || !strings.HasPrefix(err.Error(), "clip: bad: not an image") || e.Vector != nil {
					t.Errorf("batch %d: error %v", batch, err)
				}
			} else if err != nil || !slices.Equal(e.Vector, want[0]) {
				t.Errorf("batch %d: picture %d is %+v, %v", batch, n, e, err)
			}
			n++
		}
		if n != 4 {
			t.Errorf("batch %d: %d pictures, want 3 and an error", batch, n)
		}
	}
	for e, err := range m.Stream(t.Context(), slices.Values(all[2:5]), clip.StreamOptions{SkipErrors: true, First: 2}) {
		if n := 2 + len(rest); err != nil || e.Index != n {
			t.Errorf("picture %d is %+v, %v", n, e, err)
		}
		rest = append(rest, e.Index)
	}
	if len(rest) != 3 {
		t.Errorf("got %v, want three", rest)
	}
	for _, err := range m.Stream(t.Context(), slices.Values(all), clip.StreamOptions{First: -1}) {
		if !errors.Is(err, clip.ErrRequest) {
			t.Errorf("a first of -1: %v", err)
		}
	}
	for range m.Stream(t.Context(), slices.Values([]clip.Picture(nil)), clip.StreamOptions{}) {
		t.Error("something comes of nothing")
	}
}

// TestChannel: who sends a picture gets its vector before it sends another.
func TestChannel(t *testing.T) {
	m := open(t, plain)
	feed := make(chan clip.Picture, 1)
	cat := clip.File(demo + "cat.png")
	feed <- cat
	n := 0
	for e, err := range m.Stream(t.Context(), clip.Channel(feed), clip.StreamOptions{}) {
		if err != nil || e.Index != n {
			t.Fatal(e, err)
		}
		if n++; n == 5 {
			close(feed)
			continue
		}
		feed <- cat
	}
	if n != 5 {
		t.Errorf("got %d pictures, want 5", n)
	}
}

// TestCancel: a call returns when its context ends, with its cause, whatever it waits for; what was not loaded is loaded later.
func TestCancel(t *testing.T) {
	before := runtime.NumGoroutine()
	m := open(t, model)
	wrong := errors.New("wrong")
	release := make(chan struct{})
	cat := clip.File(demo + "cat.png")
	slow := clip.Opened("slow", func() (io.ReadCloser, error) { <-release; return nil, wrong })
	for name, do := range map[string]func(ctx context.Context) error{
		"picture": func(ctx context.Context) error {
			_, err := m.Encode(ctx, cat, slow)
			return err
		},
		"channel": func(ctx context.Context) error {
			for _, err := range m.Stream(ctx, clip.Channel(make(chan clip.Picture)), clip.StreamOptions{}) {
				return err
			}
			return nil
		},
		"texts": func(ctx context.Context) error {
			for _, err := range m.StreamText(ctx, func(yield func(string) bool) { <-release }, clip.StreamOptions{}) {
				return err
			}
			return nil
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(10 * time.Millisecond)
			cancel(wrong)
		}()
		start := time.Now()
		if err := do(ctx); err != wrong { //nolint:errorlint // the cause itself
			t.Errorf("%s: error is %v, want the cause of the end", name, err)
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%s: it took %v", name, d)
		}
		// An ended context is looked at before anything is loaded.
		if err := do(ctx); err != wrong { //nolint:errorlint // the cause itself
			t.Errorf("%s: error is %v, want the cause of the end", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	fresh := open(t, model)
	if _, err := fresh.Encode(ended, cat); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := fresh.EncodeText(ended, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if _, err := fresh.Encode(t.Context(), cat); err != nil {
		t.Errorf("after an ended context: %v", err)
	}
	for e, err := range m.Stream(t.Context(), slices.Values([]clip.Picture{cat, slow, slow}), clip.StreamOptions{Batch: 1}) {
		if err != nil || e.Index != 0 {
			t.Error(e, err)
		}
		break // which waits for none of the slow ones
	}
	close(release)
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+1 && time.Now().Before(deadline); { // one waits for a channel
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > before+1 {
		t.Errorf("%d goroutines are left, there were %d", now, before)
	}
}

// TestOnce: many goroutines load a tower once.
func TestOnce(t *testing.T) {
	m := open(t, model)
	if !m.HasText() || m.Name() != model || m.Checkpoint() == nil || open(t, plain).HasText() {
		t.Error("the model is not what was opened")
	}
	var all sync.WaitGroup
	visions, texts := make([]*clipvit.Model, 8), make([]*cliptext.Model, 8)
	for i := range visions {
		all.Go(func() {
			visions[i], _ = m.Vision(t.Context())
			texts[i], _ = m.Text(t.Context())
		})
	}
	all.Wait()
	for i := range visions {
		if visions[i] == nil || texts[i] == nil || visions[i] != visions[0] || texts[i] != texts[0] {
			t.Fatal("there are several towers, or none")
		}
	}
	m.Close()
	if _, err := m.Encode(t.Context(), clip.File(demo+"cat.png")); err != nil {
		t.Errorf("a loaded tower of a closed model: %v", err)
	}
	v, err := open(t, model, clip.Int8()).Encode(t.Context(), clip.File(demo+"cat.png"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Encode(t.Context(), clip.File(demo+"cat.png"))
	if err != nil {
		t.Fatal(err)
	}
	if c := clip.Cosine(v[0], w[0]); c < 0.999 || same(v, w) {
		t.Errorf("cosine of int8 and float32 is %v", c)
	}
	e, err := open(t, model, clip.Int8()).EncodeText(t.Context(), []string{"a photo"})
	if err != nil {
		t.Fatal(err)
	}
	rounded := open(t, model, clip.Int8(), clip.BF16()) // the last counts
	if v, err = rounded.Encode(t.Context(), clip.File(demo+"cat.png")); err != nil {
		t.Fatal(err)
	}
	if c := clip.Cosine(v[0], w[0]); c < 0.9999 || same(v, w) {
		t.Errorf("cosine of bf16 and float32 is %v", c)
	}
	a, err := rounded.EncodeText(t.Context(), []string{"a photo"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(t, model).EncodeText(t.Context(), []string{"a photo"})
	if err != nil {
		t.Fatal(err)
	}
	if c := clip.Cosine(a[0], b[0]); c < 0.9999 || same(a, b) {
		t.Errorf("cosine of a text in bf16 and in float32 is %v", c)
	}
	if c := clip.Cosine(e[0], b[0]); c < 0.999 || same(e, b) {
		t.Errorf("cosine of a text in int8 and in float32 is %v", c)
	}
	// A text tower that was let go of is loaded again, and is the same.
	before, err := rounded.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rounded.ReleaseText()
	if after, err := rounded.Text(t.Context()); err != nil || after == before {
		t.Errorf("the text tower is still there, or does not come back: %v", err)
	}
	if again, err := rounded.EncodeText(t.Context(), []string{"a photo"}); err != nil || !same(again, a) {
		t.Errorf("the text tower comes back as another, %v", err)
	}
	kept := clip.New(nil, before, cliptext.NewOpenAI(cliptext.OpenAI))
	kept.ReleaseText()
	if w, err := kept.Text(t.Context()); err != nil || w != before {
		t.Errorf("a tower in memory was let go of, %v", err)
	}
	squashed := open(t, model, clip.Checkpoint(converter.Prepare(clipvit.Choice{Fit: clipvit.FitSquash})))
	if tower, err := squashed.Vision(t.Context()); err != nil || tower.Config.Transform.Fit != clipvit.FitSquash {
		t.Errorf("options of the checkpoint are not heard, %v", err)
	}
}

// TestMemory: a stream holds no more than two batches, however long it is.
func TestMemory(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	v := tiny.New(t, clipvit.New, clipvit.Config{ImageSize: 2, PatchSize: 1, Width: 8, Heads: 1, Layers: 1, MLPWidth: 8, EmbedDim: 4, Activation: "quick_gelu", NormEps: 1e-5})
	v.Freeze()
	w := tiny.New(t, cliptext.New, cliptext.Config{Vocab: 300, Context: 9, Width: 8, Heads: 1, Layers: 1, MLPWidth: 8, EmbedDim: 4, Activation: "quick_gelu", NormEps: 1e-5, End: 299})
	w.Freeze()
	k, err := cliptext.NewTokenizerOf(map[string]int{"a</w>": 1, "<|startoftext|>": 298, "<|endoftext|>": 299}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := clip.New(v, w, k)
	img := clip.Image("", image.NewGray(image.Rect(0, 0, 2, 2)))
	peak := func(stream func(yield func(clip.Encoded, error) bool)) uint64 {
		var s runtime.MemStats
		most, got := uint64(0), 0
		runtime.GC()
		runtime.ReadMemStats(&s)
		before := s.HeapAlloc
		for e, err := range stream {
			if err != nil || len(e.Vector) != 4 {
				t.Fatal(e, err)
			}
			if got++; got%(n/10) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&s)
				most = max(most, s.HeapAlloc-min(before, s.HeapAlloc))
			}
		}
		if got != n {
			t.Errorf("got %d, want %d", got, n)
		}
		return most
	}
	pictures := func(yield func(clip.Picture) bool) {
		for range n {
			if !yield(img) {
				return
			}
		}
	}
	texts := func(yield func(string) bool) {
		for range n {
			if !yield("a a") {
				return
			}
		}
	}
	const most = 4 << 20 // of 10⁵ vectors with their names alone 12 MB
	if b := peak(m.Stream(t.Context(), pictures, clip.StreamOptions{})); b > most {
		t.Errorf("%d pictures took %d bytes", n, b)
	}
	if b := peak(m.StreamText(t.Context(), texts, clip.StreamOptions{})); b > most {
		t.Errorf("%d texts took %d bytes", n, b)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for name, from := range map[string]string{"b.png": "cat.png", "a.jpg": "cat.jpg", ".hidden.png": "cat.png"} {
		if err := os.WriteFile(filepath.Join(dir, name), read(t, demo+from), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "c.heic"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	all, notes, err := clip.Folder(dir)
	if err != nil || len(all) != 2 || all[0].Name() != filepath.Join(dir, "a.jpg") || all[1].Name() != filepath.Join(dir, "b.png") {
		t.Errorf("got %v, %v", all, err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "left out 1 picture of the format HEIC") {
		t.Errorf("notes are %q", notes)
	}
	if v, err := open(t, plain).Encode(t.Context(), all...); err != nil || len(v) != 2 {
		t.Errorf("%d vectors, %v", len(v), err)
	}
}

func TestVectors(t *testing.T) {
	a, b, zero := []float32{3, 4}, []float32{-8, 6}, []float32{0, 0}
	if got := []float64{clip.Cosine(a, a), clip.Cosine(a, b), clip.Cosine(a, zero), clip.Cosine(a, []float32{1, 0})}; !slices.Equal(got, []float64{1, 0, 0, 0.6}) {
		t.Errorf("cosines are %v", got)
	}
	clip.Normalize(a, b, zero)
	if !slices.Equal(slices.Concat(a, b, zero), []float32{0.6, 0.8, -0.8, 0.6, 0, 0}) {
		t.Errorf("got %v, %v, %v", a, b, zero)
	}
	large, small := []float32{3e38, 3e38}, []float32{1e-45, 0}
	clip.Normalize(large, small)
	if math.Abs(float64(large[0])-math.Sqrt(0.5)) > 1e-7 || small[0] != 1 {
		t.Errorf("got %v, %v", large, small)
	}
	for _, f := range []func(){
		func() { clip.Cosine(a, nil) },
		func() { clip.New(nil, &cliptext.Model{}, nil) },
	} {
		if func() (p any) { defer func() { p = recover() }(); f(); return nil }() == nil {
			t.Error("no panic")
		}
	}
}

// TestStreamAhead: of a large batch no more pictures wait than go through the tower at once, and as many behind them.
func TestStreamAhead(t *testing.T) {
	m := open(t, plain)
	v, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	part := transformer.Part(v.Config.Tokens())
	cat := clip.Bytes("cat", read(t, demo+"cat.png"))
	for _, batch := range []int{1, 3, 1000} {
		var asked atomic.Int64 // by a goroutine that may ask once more when the loop has ended
		n := 0
		want := min(batch, max(part, 8+part))
		pictures := func(yield func(clip.Picture) bool) {
			for range 4 * (8 + part) {
				if asked.Add(1); !yield(cat) {
					return
				}
			}
		}
		for _, err := range m.Stream(t.Context(), pictures, clip.StreamOptions{Batch: batch}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			break
		}
		if asked := asked.Load(); n != 1 || asked > int64(2*want+2) {
			t.Errorf("batch %d: %d pictures were asked for before the first vector, want at most %d", batch, asked, 2*want+2)
		}
	}
}
