package explain

import (
	"encoding/json"
	"fmt"
	"image"
	"os"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// tolerance is how far a map may be from PyTorch's in float64, relative to its largest value. PyTorch's own float32 is 1e-5 away.
const tolerance = 1e-4

// A fixture is a tiny model, and what PyTorch says of where it looks; see testdata/gen/explain.py.
type fixture struct {
	model    *clip.Model
	vision   *clipvit.Model
	text     *cliptext.Model
	picture  clip.Picture
	captions []string
	f        *golden.File
}

// words are what the tokens of a fixture are called: a, b, c, ….
func words(ids []int64, c cliptext.Config) (all []string) {
	for _, id := range ids[1:] {
		if id == int64(c.End) {
			return all
		}
		all = append(all, string(rune('a'+id)))
	}
	return all
}

func load(t testing.TB, name string) *fixture {
	t.Helper()
	path := "testdata/tiny/explain_" + name
	text, err := os.ReadFile(golden.Path(t, path+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Vision clipvit.Config
		Text   cliptext.Config
	}
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	x := &fixture{vision: tiny.New(t, clipvit.New, c.Vision), text: tiny.New(t, cliptext.New, c.Text), f: golden.Load(t, path+".npz")}
	tiny.Load(x.vision, x.f, "vision/")
	tiny.Load(x.text, x.f, "text/")
	vocabulary := map[string]int{"<|startoftext|>": c.Text.Vocab - 2, "<|endoftext|>": c.Text.Vocab - 1}
	for id := range c.Text.Vocab - 2 {
		vocabulary[string(rune('a'+id))+"</w>"] = id
	}
	tokenizer, err := cliptext.NewTokenizerOf(vocabulary, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.vision.Freeze()
	x.text.Freeze()
	x.model = clip.New(x.vision, x.text, tokenizer)
	ids := x.f.Int64("words")
	n := x.f.Shape("words")[1]
	for from := 0; from < len(ids); from += n {
		x.captions = append(x.captions, strings.Join(words(ids[from:from+n], c.Text), " "))
	}
	m := image.NewNRGBA(image.Rect(0, 0, c.Vision.ImageSize, c.Vision.ImageSize))
	levels := x.f.Uint8("picture")
	for i := range c.Vision.ImageSize * c.Vision.ImageSize {
		copy(m.Pix[4*i:], levels[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	x.picture = clip.Image("noise", m)
	return x
}

// part returns row i of n of a golden.
func (x *fixture) part(name string, i, n int) []float32 {
	all := x.f.Float32(name)
	return all[i*len(all)/n : (i+1)*len(all)/n]
}

// TestGolden: maps of every method, of every number of blocks, are those of PyTorch.
func TestGolden(t *testing.T) {
	before := kernel.Name()
	defer kernel.Use(before)
	for _, name := range []string{"quickgelu", "gelu"} {
		for _, implementation := range tiny.Kernels() {
			t.Run(name+"/"+implementation, func(t *testing.T) {
				kernel.Use(implementation)
				x, ctx := load(t, name), t.Context()
				layers, readers := len(x.vision.Blocks), len(x.text.Blocks)
				for blocks := range layers + 1 {
					start := layers - blocks
					if blocks == 0 {
						start = 0 // no number is all of so few
					}
					maps, err := Captions(ctx, x.model, x.picture, x.captions, Options{Blocks: blocks})
					if err != nil {
						t.Fatal(err)
					}
					for i, m := range maps {
						what := fmt.Sprintf("%q, %d blocks", x.captions[i], blocks)
						golden.Compare(t, what, m.Values, x.part(fmt.Sprintf("relevance/%d", start), i, len(maps)), tolerance)
						golden.Compare(t, what+", cosine", []float32{float32(m.Score)}, x.part("cosine", i, len(maps)), 1e-5)
						want := x.part(fmt.Sprintf("tokens/%d", min(layers-start, readers)), i, len(maps))
						var shares []float32
						for _, k := range m.Tokens {
							shares = append(shares, float32(k.Share))
						}
						golden.Compare(t, what+", tokens", shares, want[1:1+len(shares)], tolerance)
						var texts []string
						for _, k := range m.Tokens {
							texts = append(texts, k.Text)
						}
						if got := strings.Join(texts, " "); got != x.captions[i] || m.Caption != got || m.Method != Relevance || m.Blocks != layers-start {
							t.Errorf("%s: tokens %q of %q, %s of %d blocks", what, got, m.Caption, m.Method, m.Blocks)
						}
						if one, err := Caption(ctx, x.model, x.picture, x.captions[i], Options{Blocks: blocks}); err != nil || !equal(one.Values, m.Values) || one.Score != m.Score {
							t.Errorf("%s: by itself another map, %v", what, err)
						}
					}
					m, err := Attention(ctx, x.model, x.picture, Options{Blocks: blocks})
					if err != nil {
						t.Fatal(err)
					}
					golden.Compare(t, fmt.Sprintf("rollout of %d blocks", blocks), m.Values, x.f.Float32(fmt.Sprintf("rollout/%d", start)), tolerance)
				}
				maps, err := Captions(ctx, x.model, x.picture, x.captions, Options{Method: Similarity})
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range maps {
					golden.Compare(t, "similarity", m.Values, x.part("similarity", i, len(maps)), tolerance)
				}
				for _, features := range []string{"embedding", "post_norm", "cls of layer -2"} {
					f, err := clipvit.ParseFeatures(features)
					if err != nil {
						t.Fatal(err)
					}
					direction := x.f.Float32("direction/" + features)
					for start := range f.Blocks(x.vision.Config) {
						m, err := Direction(ctx, x.model, x.picture, f, "class", direction, Options{Blocks: f.Blocks(x.vision.Config) - start})
						if err != nil {
							t.Fatal(err)
						}
						golden.Compare(t, features, m.Values, x.f.Float32(fmt.Sprintf("direction_relevance/%s/%d", features, start)), tolerance)
					}
				}
				if mat.Data[float32](x.vision.Proj) == nil || x.vision.Proj.HasGrad() {
					t.Error("the tower has gathered a gradient")
				}
			})
		}
	}
}

func equal(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}
