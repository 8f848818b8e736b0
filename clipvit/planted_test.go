package clipvit

import (
	"hash/fnv"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
)

// A planting changes the random parameters of a tower as training does: rng is of the parameter, values are of shape
// [rows,cols].
type planting func(rng *rand.Rand, path string, values []float32, cols int)

// some calls f for n places of a vector, each with a sign.
func some(rng *rand.Rand, values []float32, n int, f func(v *float32, sign float32)) {
	for _, i := range rng.Perm(len(values))[:min(n, len(values))] {
		f(&values[i], float32(2*rng.IntN(2)-1))
	}
}

// of returns a planting of parameters whose path ends so.
func of(suffix string, f func(rng *rand.Rand, values []float32, cols int)) planting {
	return func(rng *rand.Rand, path string, values []float32, cols int) {
		if strings.HasSuffix(path, suffix) {
			f(rng, values, cols)
		}
	}
}

// gains multiplies n gains of both norms of every block.
func gains(size float32, n int) planting {
	return func(rng *rand.Rand, path string, values []float32, cols int) {
		if strings.HasSuffix(path, "Norm1.W") || strings.HasSuffix(path, "Norm2.W") {
			some(rng, values, n, func(v *float32, sign float32) { *v *= size * sign })
		}
	}
}

func offsets(suffix string, size float32, n int) planting {
	return of(suffix, func(rng *rand.Rand, values []float32, _ int) {
		some(rng, values, n, func(v *float32, sign float32) { *v += size * sign })
	})
}

// rows multiplies n rows of a matrix.
func rows(suffix string, size float32, n int) planting {
	return of(suffix, func(rng *rand.Rand, values []float32, cols int) {
		for _, r := range rng.Perm(len(values) / cols)[:n] {
			for i := range cols {
				values[r*cols+i] *= size
			}
		}
	})
}

func all(parts ...planting) planting {
	return func(rng *rand.Rand, path string, values []float32, cols int) {
		for _, p := range parts {
			p(rng, path, values, cols)
		}
	}
}

// planted returns a frozen tower of random weights whose layers keep sizes near 1, with a planting.
func planted(tb testing.TB, c Config, p planting) *Model {
	empty, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	cols := map[string]int{}
	eachParam(empty, func(path string, shape []int) { cols[path] = shape[1] })
	m, err := NewFrozen(c, func(path string, values []float32) error {
		h := fnv.New64a()
		h.Write([]byte(path))
		rng := rand.New(rand.NewPCG(h.Sum64(), 1))
		spread, mean := 0.1, 0.0
		if n := cols[path]; n > 1 {
			spread = math.Sqrt(3 / float64(n))
		}
		if strings.Contains(path, "Norm") && strings.HasSuffix(path, ".W") {
			mean = 1
		}
		for i := range values {
			values[i] = float32(mean + spread*(2*rng.Float64()-1))
		}
		if p != nil {
			p(rng, path, values, cols[path])
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// testPictures returns patches of a few pictures that Quantize has not seen.
func testPictures(tb testing.TB, c Config, n int) *mat.Dense[float32] {
	var images []image.Image
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 77))
		img := image.NewRGBA(image.Rect(0, 0, 160, 120))
		base := [3]float64{255 * rng.Float64(), 255 * rng.Float64(), 255 * rng.Float64()}
		x0, y0, r := rng.Float64()*160, rng.Float64()*120, 20+rng.Float64()*40
		noise := 60 * rng.Float64()
		for y := range 120 {
			for x := range 160 {
				var px [3]float64
				for ch := range px {
					px[ch] = base[ch] + 0.5*float64(x*ch-y) + noise*rng.NormFloat64()
					if math.Hypot(float64(x)-x0, float64(y)-y0) < r {
						px[ch] = 255 - px[ch]
					}
					px[ch] = min(max(px[ch], 0), 255)
				}
				img.Set(x, y, color.RGBA{uint8(px[0]), uint8(px[1]), uint8(px[2]), 255})
			}
		}
		images = append(images, img)
	}
	return patchesOf(tb, c, images)
}

func patchesOf(tb testing.TB, c Config, images []image.Image) *mat.Dense[float32] {
	var values []float32
	for _, img := range images {
		p, err := Preprocess(img, c)
		if err != nil {
			tb.Fatal(err)
		}
		values = append(values, p.Data().F32()...)
	}
	return mat.NewDense[float32](mat.WithShape(len(images)*c.Patches(), c.PatchLen()), mat.WithBacking(values))
}

var plantings = []struct {
	name string
	p    planting
}{
	{"none", nil},
	{"gains 10", gains(10, 8)},
	{"gains 30", gains(30, 8)},
	{"gains 60", gains(60, 4)},
	{"gains 60 in 16", gains(60, 16)},
	{"gains 100 of first norms", of("Norm1.W", func(rng *rand.Rand, v []float32, _ int) {
		some(rng, v, 8, func(v *float32, s float32) { *v = 100 * s })
	})},
	{"gains of all sizes", func(rng *rand.Rand, path string, v []float32, _ int) {
		if strings.HasSuffix(path, "Norm1.W") || strings.HasSuffix(path, "Norm2.W") {
			for i := range v {
				v[i] *= float32(math.Exp(rng.NormFloat64()))
			}
		}
	}},
	{"biases of norms", all(offsets("Norm1.B", 50, 8), offsets("Norm2.B", 50, 8))},
	{"massive channels from biases", offsets("Blocks.1.MLP.Down.B", 300, 4)},
	{"massive channels from weights", rows("Blocks.1.MLP.Down.W", 300, 4)},
	{"massive channels from attention", rows("Blocks.0.Attn.Out.W", 300, 4)},
	{"massive channels of every block", rows("MLP.Down.W", 100, 3)},
	{"massive channels of the stem", offsets("PreNorm.B", 300, 4)},
	{"a massive token", of("Embed.Class", func(rng *rand.Rand, v []float32, _ int) {
		some(rng, v, 3, func(v *float32, s float32) { *v = 300 * s })
	})},
	{"hidden units", offsets("MLP.Up.B", 80, 8)},
	{"hidden units of weights", rows("MLP.Up.W", 80, 8)},
	{"many hidden units", rows("MLP.Up.W", 60, 40)},
	{"all", all(gains(30, 6), rows("Blocks.0.MLP.Down.W", 300, 3), offsets("Norm1.B", 20, 5), rows("MLP.Up.W", 50, 6))},
}

func leastOf(got, want []float32, n int) float64 {
	least := 1.0
	for i := 0; i < len(want); i += n {
		var gw, gg, ww float64
		for j := range n {
			g, w := float64(got[i+j]), float64(want[i+j])
			gw, gg, ww = gw+g*w, gg+g*g, ww+w*w
		}
		least = min(least, gw/math.Sqrt(gg*ww))
	}
	return least
}

// TestPlanted: rounded to 8 bits, embeddings of pictures that Quantize has not seen point where those of float32 do, whatever
// was planted. With VITAGO_PLANTED=b32, l14, h14 or l14-336 the tower is that large. The generic kernel, which takes twenty times
// as long, and -short have none, and all kinds together.
func TestPlanted(t *testing.T) {
	c := Config{ImageSize: 48, PatchSize: 8, Width: 128, Heads: 4, Layers: 4, MLPWidth: 512, EmbedDim: 64, NormEps: 1e-5}
	switch os.Getenv("VITAGO_PLANTED") {
	case "b32":
		c = ViTB32
	case "l14":
		c = ViTL14
	case "l14-336":
		c = ViTL14336
	case "h14":
		c = ViTL14
		c.Width, c.Heads, c.Layers, c.MLPWidth, c.EmbedDim = 1280, 16, 32, 5120, 1024
	}
	few := []string{"none", "all"}
	for i, p := range plantings {
		if (testing.Short() || kernel.Name() == "generic") && !slices.Contains(few, p.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			c.Activation = []transformer.Activation{transformer.QuickGELU, transformer.GELU}[i%2]
			m := planted(t, c, p.p)
			x := testPictures(t, c, 4)
			want := m.Embedding(x).Value().Data().F32()
			m.Quantize()
			got := m.Embedding(x).Value().Data().F32()
			cosine, least := leastOf(got, want, c.EmbedDim), 0.999
			if p.p == nil {
				least = 0.9997
			}
			t.Logf("%.6f with %s", cosine, m.Precision())
			if !(cosine >= least) {
				t.Errorf("cosine is %v, want at least %v", cosine, least)
			}
		})
	}
}

// TestPlantedBatch: of a tower with products in 8, 16 and 32 bits, an image has the same embedding alone and in any batch.
func TestPlantedBatch(t *testing.T) {
	c := Config{ImageSize: 48, PatchSize: 8, Width: 128, Heads: 4, Layers: 4, MLPWidth: 512, EmbedDim: 64, NormEps: 1e-5}
	c.Activation = transformer.GELU
	m := planted(t, c, gains(60, 4))
	m.Quantize()
	for _, want := range []string{"int8", "int16", "float32"} {
		if p := m.Precision(); !strings.Contains(p, want) {
			t.Fatalf("%s: want some in %s", p, want)
		}
	}
	for _, batch := range []int{3, 2, 9} {
		if testing.Short() && batch != 3 {
			continue
		}
		x := testPictures(t, c, batch)
		want := m.Embedding(x).Value().Data().F32()
		size := c.Patches() * c.PatchLen()
		for i := range batch {
			one := mat.NewDense[float32](mat.WithShape(c.Patches(), c.PatchLen()), mat.WithBacking(x.Data().F32()[i*size:(i+1)*size]))
			if got := m.Embedding(one).Value().Data().F32(); !slices.Equal(got, want[i*c.EmbedDim:(i+1)*c.EmbedDim]) {
				t.Errorf("image %d of %d: another embedding alone", i, batch)
			}
		}
	}
	// It can learn again, in plain rows.
	m.Unfreeze()
	y := m.Embedding(testPictures(t, c, 1))
	if !y.RequiresGrad() {
		t.Error("unfrozen, the embedding wants no gradient")
	}
}

func eachParam(m *Model, f func(path string, shape []int)) {
	params.Walk(m, func(path string, p *nn.Param) { f(path, p.Shape()) })
}
