package explain

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/tiny"
)

// TestScore: a map is of the very embeddings that the model gives, in every precision.
func TestScore(t *testing.T) {
	for name, change := range map[string]func(x *fixture){
		"float32": func(*fixture) {},
		"bf16":    func(x *fixture) { x.vision.ToBF16(); x.text.ToBF16() },
		"int8":    func(x *fixture) { x.vision.Quantize(); x.text.Quantize() },
	} {
		t.Run(name, func(t *testing.T) {
			x := load(t, "quickgelu")
			change(x)
			vectors, err := x.model.Encode(t.Context(), x.picture)
			if err != nil {
				t.Fatal(err)
			}
			texts, err := x.model.EncodeText(t.Context(), x.captions)
			if err != nil {
				t.Fatal(err)
			}
			maps, err := Captions(t.Context(), x.model, x.picture, x.captions, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range maps {
				if want := clip.Cosine(vectors[0], texts[i]); math.Abs(m.Score-want) > 1e-6 {
					t.Errorf("cosine %v, want %v", m.Score, want)
				}
				// The map is that of float32 but for rounding: the largest of its patches has nearly the same value.
				if name != "float32" {
					golden.Compare(t, "map", m.Values, x.part("relevance/0", i, len(maps)), 0.1)
				}
			}
		})
	}
}

// TestErrors: what is wrong with a request is said of the request, and before any picture takes time.
func TestErrors(t *testing.T) {
	x := load(t, "gelu")
	layers := len(x.vision.Blocks)
	caption := func(o Options, captions ...string) error {
		_, err := Captions(t.Context(), x.model, x.picture, captions, o)
		return err
	}
	direction := func(f clipvit.Features, n int) error {
		_, err := Direction(t.Context(), x.model, x.picture, f, "class", make([]float32, n), Options{})
		return err
	}
	attention := func(o Options) error {
		_, err := Attention(t.Context(), x.model, x.picture, o)
		return err
	}
	of := func(p clip.Picture) error {
		_, err := Caption(t.Context(), x.model, p, "a", Options{})
		return err
	}
	tokenizer, _, err := x.model.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	trained := clip.New(tiny.New(t, clipvit.New, x.vision.Config), x.text, tokenizer)
	ended, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	for _, c := range []struct {
		err  error
		kind error
		want string
	}{
		{caption(Options{}), clip.ErrRequest, "explain: got 0 captions, want at least 1"},
		{caption(Options{Method: "gradcam"}, "a"), clip.ErrRequest, `explain: method is "gradcam", want one of ["relevance" "rollout" "similarity"]`},
		{caption(Options{Method: Rollout}, "a"), clip.ErrRequest, "rollout is the same for every caption and class"},
		{caption(Options{Method: Similarity, Blocks: 1}, "a"), clip.ErrRequest, "1 blocks for similarity, which is of the last block's patches alone: want 0"},
		{caption(Options{Blocks: layers + 1}, "a"), clip.ErrRequest, "4 blocks, want 1 to 3 for this tower"},
		{caption(Options{Blocks: -1}, "a"), clip.ErrRequest, "-1 blocks, want 1 to 3"},
		{caption(Options{}, "a", "a z"), clip.ErrText, `explain: caption 2: the vocabulary of 13 tokens lacks "z"`},
		{caption(Options{}, "a a a a a a a a"), clip.ErrText, `10 tokens with its begin and end, want at most 8`},
		{direction(clipvit.Features{Kind: clipvit.PatchMean, Layer: -1}, 3), clip.ErrRequest, "explain: features are mean of layer -1, want embedding, post_norm or cls"},
		{direction(clipvit.Features{Kind: clipvit.ClassToken, Layer: 9}, 3), clip.ErrRequest, "explain: layer is 9, want -4 to 3"},
		{direction(embedding, 3), clip.ErrRequest, "explain: a direction of 3 values, want 14 for embedding of this tower"},
		{attention(Options{Method: Relevance}), clip.ErrRequest, `explain: method is "relevance", want rollout`},
		{of(clip.File("none.png")), nil, "none.png"},
		{of(clip.Bytes("x.png", []byte("hello"))), clip.ErrImage, `x.png: not an image: the file starts with "hello"`},
		{of(clip.Image("empty", image.NewGray(image.Rect(0, 0, 0, 3)))), clip.ErrImage, "explain: empty: image is 0×3 pixels, want at least 1×1"},
		{second(Caption(t.Context(), trained, x.picture, "a", Options{})), clip.ErrRequest, "explain: the vision tower is not frozen"},
		{second(Caption(t.Context(), clip.New(x.vision, nil, nil), x.picture, "a", Options{})), clip.ErrNoText, "no text tower"},
		{second(Caption(ended, x.model, x.picture, "a", Options{})), stop, ""},
		{second(Attention(ended, x.model, x.picture, Options{})), stop, ""},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || c.kind != nil && !errors.Is(c.err, c.kind) {
			t.Errorf("error %v, want %q of kind %v", c.err, c.want, c.kind)
		}
	}
	x.vision.PostNorm.W.Data().F32()[0] = float32(math.NaN())
	if err := caption(Options{}, "a"); err == nil || !strings.Contains(err.Error(), "noise: a value is NaN") {
		t.Errorf("a damaged tower: %v", err)
	}
}

func second(_ *Map, err error) error { return err }

// flat returns a map of a picture of a size, by a transform, that has given values.
func flat(t *testing.T, width, height int, tr clipvit.Transform, grid int, values ...float32) *Map {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		img.Set(i%width, i/width, color.RGBA{200, 100, 50, 255})
	}
	return &Map{Grid: grid, Values: values, Image: img, Window: tr.Window(width, height, 8*grid)}
}

// TestPlaces: the middle of the patch that matters most is where the model has seen it in the picture, however that became a
// square; patches beside the picture do not count.
func TestPlaces(t *testing.T) {
	one := func(i int) []float32 {
		values := make([]float32, 16)
		values[i] = 1
		return values
	}
	for _, c := range []struct {
		width, height, at int
		tr                clipvit.Transform
		x, y              float64
	}{
		{64, 64, 0, clipvit.Transform{}, 8, 8},
		{64, 64, 6, clipvit.Transform{}, 40, 24},
		{128, 64, 0, clipvit.Transform{}, 40, 8}, // the left quarter is cut off
		{128, 64, 15, clipvit.Transform{}, 88, 56},
		{64, 128, 3, clipvit.Transform{}, 56, 40},
		{128, 64, 0, clipvit.Transform{Fit: clipvit.FitSquash}, 16, 8},
		{128, 64, 15, clipvit.Transform{Fit: clipvit.FitSquash}, 112, 56},
		{128, 64, 4, clipvit.Transform{Fit: clipvit.FitPad}, 16, 16}, // the second line of the square is the first of the picture
		{128, 64, 4, clipvit.Transform{Fit: clipvit.FitLongest}, 16, 16},
		{64, 64, 0, clipvit.Transform{Resize: 64}, 20, 20}, // the middle half of both sides is seen
	} {
		m := flat(t, c.width, c.height, c.tr, 4, one(c.at)...)
		p := m.Peak()
		if p.X != c.x || p.Y != c.y || p.Value != 1 || p.Row*4+p.Column != c.at {
			t.Errorf("%d×%d, %+v, patch %d: %+v, want %v,%v", c.width, c.height, c.tr, c.at, p, c.x, c.y)
		}
		if v, seen := m.At(p.X, p.Y); v != 1 || !seen {
			t.Errorf("%d×%d, %+v: %v there, want 1", c.width, c.height, c.tr, v)
		}
	}
	// Neighbours pull the place to their side, by how far they are above the least.
	near := flat(t, 64, 64, clipvit.Transform{}, 4, 1, 1, 1, 1, 1, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	if p := near.Peak(); p.Row != 1 || p.Column != 1 || p.Value != 3 || math.Abs(p.X-(24*2+40)/3.) > 1e-9 || p.Y != 24 {
		t.Errorf("the peak is %+v, want a third of the way from 24 to 40, 24", p)
	}
	if p := flat(t, 64, 64, clipvit.Transform{}, 2, 5, 5, 5, 5).Peak(); p.X != 16 || p.Y != 16 {
		t.Errorf("the peak of equal values is %+v, want the middle of the first patch", p)
	}
	// What was added around a picture is no place in it.
	m := flat(t, 128, 64, clipvit.Transform{Fit: clipvit.FitPad}, 4, append(one(0)[:15], 0.5)...)
	m.Values[5] = 0.75
	if p := m.Peak(); p.Row != 1 || p.Column != 1 || p.Value != 0.75 {
		t.Errorf("the peak is %+v, want row 1, column 1, the largest within the picture", p)
	}
	// Between the middles of two patches lies the mean, beyond the last its value, and outside of the square nothing.
	m = flat(t, 128, 64, clipvit.Transform{}, 2, 0, 1, 0, 1)
	for _, c := range []struct {
		x, y, want float64
		seen       bool
	}{{64, 32, 0.5, true}, {48, 16, 0, true}, {80, 60, 1, true}, {95, 1, 1, true}, {72, 32, 0.75, true}, {31, 32, 0, false}, {97, 32, 0, false}, {64, -1, 0, false}} {
		if v, seen := m.At(c.x, c.y); math.Abs(v-c.want) > 1e-12 || seen != c.seen {
			t.Errorf("at %v,%v: %v, seen %v, want %v, %v", c.x, c.y, v, seen, c.want, c.seen)
		}
	}
}

// TestOverlay: what matters is light, what does not is dark, and what the tower has not seen is grey.
func TestOverlay(t *testing.T) {
	m := flat(t, 128, 64, clipvit.Transform{}, 2, 0, 1, 0, 1)
	y := m.Overlay()
	if y.Bounds() != image.Rect(0, 0, 128, 64) {
		t.Fatalf("the overlay is %v, want 128×64", y.Bounds())
	}
	for x := 33; x < 95; x++ { // the square is columns 32 to 95
		if brightness(y.RGBAAt(x, 31)) < brightness(y.RGBAAt(x-1, 31))-1e-3 { // but for the rounding to levels
			t.Errorf("column %d is darker than the one before", x)
		}
	}
	if a, b := y.RGBAAt(35, 31), (color.RGBA{80, 40, 20, 255}); a != b {
		t.Errorf("the least is %v, want the picture under black, %v", a, b)
	}
	if a, b := y.RGBAAt(92, 31), (color.RGBA{233, 193, 173, 255}); a != b {
		t.Errorf("the greatest is %v, want the picture under white, %v", a, b)
	}
	for _, x := range []int{0, 20, 31, 96, 127} {
		if c := y.RGBAAt(x, 31); c.R != c.G || c.G != c.B {
			t.Errorf("column %d, which was cut off, is %v, want grey", x, c)
		}
	}
	hatched := y.RGBAAt(1, 31).R != y.RGBAAt(2, 31).R
	if !hatched {
		t.Error("what was cut off is not hatched")
	}
	if c := flat(t, 8, 8, clipvit.Transform{}, 2, 3, 3, 3, 3).Overlay().RGBAAt(4, 4); c != (color.RGBA{80, 40, 20, 255}) {
		t.Errorf("a map of equal values has %v, want it all black", c)
	}
	if small := m.Colours(); small.Bounds() != image.Rect(0, 0, 2, 2) || small.RGBAAt(0, 0) != scale[0] || small.RGBAAt(1, 1) != scale[255] {
		t.Errorf("colours are %v", small)
	}
	bar := Legend(256, 3)
	if bar.At(0, 0) != scale[0] || bar.At(255, 2) != scale[255] || bar.Bounds() != image.Rect(0, 0, 256, 3) {
		t.Error("the legend does not go from the least to the greatest")
	}
	// The colours' brightness grows evenly, as a scale that can be read without its legend does.
	for i := 1; i < len(scale); i++ {
		a, b := math.Cbrt(brightness(scale[i-1])), math.Cbrt(brightness(scale[i]))
		if b < a-1e-3 {
			t.Errorf("colour %d is darker than the one before", i)
		}
	}
}

// brightness returns the luminance of a colour, 0 to 1.
func brightness(c color.RGBA) float64 {
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

// linear returns the light of a level of sRGB.
func linear(level uint8) float64 {
	v := float64(level) / 255
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// TestPictures: a map is of its picture, and knows which part of it the tower has seen.
func TestPictures(t *testing.T) {
	x := load(t, "quickgelu")
	for _, method := range Methods() {
		var maps []*Map
		for _, shift := range []int{0, 1} {
			m, err := func() (*Map, error) {
				img := image.NewNRGBA(image.Rect(0, 0, 40, 20))
				for i := range 40 * 20 {
					img.Set(i%40, i/40, color.NRGBA{uint8(6 * (i % 40)), uint8(10 * (i / 40)), uint8(90 * shift), 255})
				}
				if method == Rollout {
					return Attention(t.Context(), x.model, clip.Image("wide", img), Options{})
				}
				return Caption(t.Context(), x.model, clip.Image("wide", img), "a b", Options{Method: method})
			}()
			if err != nil {
				t.Fatal(err)
			}
			if want := (clipvit.Window{Left: 10, Top: 0, Right: 30, Bottom: 20}); m.Window != want || m.Picture != "wide" || m.Method != method {
				t.Errorf("%s of %s has window %+v, want %+v", m.Method, m.Picture, m.Window, want)
			}
			maps = append(maps, m)
		}
		if slices.Equal(maps[0].Values, maps[1].Values) {
			t.Errorf("%s: two pictures have one map", method)
		}
	}
}

// TestDefaultBlocks: of the large towers that the authors of a method had it is their choice, and of small ones all.
func TestDefaultBlocks(t *testing.T) {
	for _, c := range []struct {
		method       Method
		blocks, want int
	}{{Relevance, 24, 1}, {Relevance, 12, 1}, {Relevance, 11, 11}, {Relevance, 0, 0}, {Rollout, 24, 24}, {Similarity, 24, 0}} {
		if got, err := (Options{Method: c.method}).blocks(c.blocks); err != nil || got != c.want {
			t.Errorf("%s of %d blocks takes %d, %v, want %d", c.method, c.blocks, got, err, c.want)
		}
	}
}

// TestSameBits: a map has the same bits with any number of threads, and while others explain and encode with the same towers.
func TestSameBits(t *testing.T) {
	x := load(t, "gelu")
	want, err := Captions(t.Context(), x.model, x.picture, x.captions, Options{})
	if err != nil {
		t.Fatal(err)
	}
	same := func() error {
		got, err := Captions(t.Context(), x.model, x.picture, x.captions, Options{})
		if err != nil {
			return err
		}
		for i, m := range got {
			if !slices.Equal(m.Values, want[i].Values) || !slices.Equal(m.Tokens, want[i].Tokens) || m.Score != want[i].Score {
				return fmt.Errorf("%q has another map", m.Caption)
			}
		}
		return nil
	}
	for _, threads := range []int{1, 3} {
		before := runtime.GOMAXPROCS(threads)
		err := same()
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Errorf("%d threads: %v", threads, err)
		}
	}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			if i%2 == 0 {
				if err := same(); err != nil {
					t.Error(err)
				}
			} else if _, err := x.model.Encode(t.Context(), x.picture); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestCancelBlocks: when a context ends, the block that is being computed is the last: of the picture forward and back, and of a caption.
func TestCancelBlocks(t *testing.T) {
	stop := errors.New("enough")
	for name, c := range map[string]struct {
		text bool
		at   int // the block in which the context ends, the last that is computed
		do   func(ctx context.Context, x *fixture) error
	}{
		"caption": {true, 1, func(ctx context.Context, x *fixture) error {
			_, err := Caption(ctx, x.model, x.picture, "a", Options{})
			return err
		}},
		"relevance": {false, 1, func(ctx context.Context, x *fixture) error {
			_, err := Caption(ctx, x.model, x.picture, "a", Options{})
			return err
		}},
		"rollout": {false, 0, func(ctx context.Context, x *fixture) error {
			_, err := Attention(ctx, x.model, x.picture, Options{})
			return err
		}},
	} {
		x := load(t, "gelu")
		blocks := x.vision.Blocks
		if c.text {
			blocks = x.text.Blocks
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		seen := -1
		for i, b := range blocks {
			tiny.Watch(b.Norm1.W, func() {
				seen = max(seen, i)
				if i == c.at {
					cancel(stop)
				}
			})
		}
		if err := c.do(ctx, x); err != stop { //nolint:errorlint // the cause itself
			t.Errorf("%s: error %v, want the cause of the end", name, err)
		}
		if seen != c.at || len(blocks) < c.at+2 {
			t.Errorf("%s: block %d of %d is the last that was computed, want %d", name, seen, len(blocks), c.at)
		}
	}
}
