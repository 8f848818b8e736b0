package projector

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"math"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// The goldens of this file come from testdata/gen/xcomposer.py and llava.py, which make the calls of torch,
// torchvision and Pillow that the original code makes, on the same pictures, with a tower in float64.

// tokenTolerance is for tokens: some twenty products and norms in float32, one after the other, against
// float64. PyTorch's own float32 is 1.1e-6 away.
const tokenTolerance = 5e-6

// globalTolerance is for the global view: sums of sixteen products in float32, in another order than torch.
const globalTolerance = 1e-6

// bothTiny is what the towers of the two files have in common.
var bothTiny = clipvit.Config{Width: 20, Heads: 4, Layers: 3, Activation: transformer.QuickGELU, NormEps: 1e-5}

func xcomposerConfig() clipvit.Config {
	c := bothTiny
	c.ImageSize, c.PatchSize, c.MLPWidth, c.EmbedDim = 42, 7, 52, 10
	return c
}

func llavaConfig() clipvit.Config {
	c := bothTiny
	c.ImageSize, c.PatchSize, c.MLPWidth = 30, 5, 44
	return c
}

// picture is that of the scripts: stripes, edges and noise.
func picture(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range uint32(h) {
		for x := range uint32(w) {
			p := m.Pix[int(y)*m.Stride+4*int(x):]
			for c := range uint32(3) {
				wave := x*(2+c) + y*(5-c) + (x*x+3*y*y)/(8<<c)
				noise := (x*73856093 ^ y*19349663 ^ c*83492791) % 17
				p[c] = uint8(wave + noise)
			}
			p[3] = 255
		}
	}
	return m
}

// pictures are the sizes of a file's pictures.
func pictures(f *golden.File) (sizes [][2]int) {
	wh := f.Int64("pictures")
	for i := 0; i < len(wh); i += 2 {
		sizes = append(sizes, [2]int{int(wh[i]), int(wh[i+1])})
	}
	return sizes
}

// crcOf is the checksum of float32 values in little-endian order.
func crcOf(x []float32) int64 {
	b := make([]byte, 4*len(x))
	for i, v := range x {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	return int64(crc32.ChecksumIEEE(b))
}

// every returns every n-th value of x.
func every(x []float32, n int) (y []float32) {
	for i := 0; i < len(x); i += n {
		y = append(y, x[i])
	}
	return y
}

// A worst keeps the largest difference and the smallest cosine of many comparisons.
type worst struct{ relative, cosine float64 }

func (w *worst) compare(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	d, err := golden.Diff(got, want)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if w.cosine == 0 {
		w.cosine = 1
	}
	w.relative, w.cosine = max(w.relative, d.Relative), min(w.cosine, d.Cosine)
	if !(d.Relative <= tol) || !(d.Cosine >= 0.999999) {
		t.Errorf("%s: %v, want %.3g and cosine 0.999999", what, d, tol)
	}
}

func (w *worst) log(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: relative difference at most %.2g, cosine at least %.9f", what, w.relative, w.cosine)
}

func goldenTower(t testing.TB, f *golden.File, prefix string, c clipvit.Config) *clipvit.Model {
	t.Helper()
	m := tiny.New(t, clipvit.New, c)
	tiny.Load(m, f, prefix)
	return m
}

func goldenProjector(t testing.TB, f *golden.File, prefix string) *Model {
	t.Helper()
	w := f.Shape(prefix + "Layers.0.W")
	m := tiny.New(t, New, Config{Type: "mlp2x_gelu", In: w[1], Out: w[0]})
	tiny.Load(m, f, prefix)
	return m
}

func goldenLayout(t testing.TB, name string) Layout {
	t.Helper()
	l, err := FindLayout(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tiledEncoder is the tiny XComposer of the file, unfrozen.
func tiledEncoder(t testing.TB, f *golden.File, layout string) *Encoder {
	t.Helper()
	return &Encoder{
		Tower:           goldenTower(t, f, "base/param/", xcomposerConfig()),
		Layout:          goldenLayout(t, layout),
		Select:          clipvit.Features{Kind: clipvit.Patches, Layer: -1},
		Projector:       goldenProjector(t, f, "hd/param/"),
		RowSeparator:    nn.NewParam(matrix(f, "hd/sub")),
		GlobalSeparator: nn.NewParam(matrix(f, "hd/glb")),
	}
}

func tokensOf(t testing.TB, e *Encoder, img image.Image) *mat.Dense[float32] {
	t.Helper()
	y, err := e.Tokens(img)
	if err != nil {
		t.Fatal(err)
	}
	n, err := e.Count(img.Bounds().Dx(), img.Bounds().Dy())
	if err != nil || n != y.Shape()[0] {
		t.Errorf("%v: %d tokens, counted %d, error %v", img.Bounds(), y.Shape()[0], n, err)
	}
	return y
}

// tiled are the layouts in tiles that both files know.
var tiled = []string{"xcomposer2-4khd", "xcomposer2-4khd-train", "xcomposer2.5", "xcomposer2.5-train"}

// TestXComposerSizes counts tiles and tokens at the true sizes, for hundreds of ratios from 1:25 to 25:1
// and beyond.
func TestXComposerSizes(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer_size.npz")
	sizes := f.Int64("sizes")
	for _, name := range append(tiled[:len(tiled):len(tiled)], "xcomposer2.5-several") {
		l, c := goldenLayout(t, name), trueConfig(name)
		want := f.Float32(name + "/sizes") // h, w, tokens
		for i := range len(sizes) / 2 {
			w, h := int(sizes[2*i]), int(sizes[2*i+1])
			p, err := l.partition(w, h, c.ImageSize)
			n, err2 := l.Tokens(w, h, c)
			if got := [3]float32{float32(p.rows), float32(p.cols), float32(n)}; err != nil || err2 != nil || got != [3]float32(want[3*i:]) {
				t.Errorf("%s, %d×%d: rows, columns, tokens %v, want %v; errors %v, %v", name, w, h, got, want[3*i:3*i+3], err, err2)
			}
		}
	}
}

// trueConfig is the tower that a layout is for.
func trueConfig(layout string) clipvit.Config {
	c := clipvit.ViTL14336
	if strings.HasPrefix(layout, "xcomposer2.5") {
		c.ImageSize = 560
	}
	return c
}

// TestXComposerPixels: tiles of the true size are those of the original code to the bit. The global view is
// a sum in another order.
func TestXComposerPixels(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer_size.npz")
	var global worst
	for _, name := range tiled {
		for i, wh := range pictures(f) {
			if at := fmt.Sprintf("%s/%d/", name, i); f.Has(at + "crc") {
				comparePixels(t, &global, f, at, goldenLayout(t, name), wh, trueConfig(name), 13*67)
			}
		}
	}
	global.log(t, "global views")
}

func comparePixels(t *testing.T, global *worst, f *golden.File, at string, l Layout, wh [2]int, c clipvit.Config, step int) {
	t.Helper()
	tiles, err := l.Split(picture(wh[0], wh[1]), c)
	if err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	if want := f.Int64(at + "tiles"); tiles.Rows != int(want[0]) || tiles.Cols != int(want[1]) {
		t.Errorf("%s: %d×%d tiles, want %v", at, tiles.Rows, tiles.Cols, want)
		return
	}
	x, n := tiles.Patches.Data().F32(), c.Patches()*c.PatchLen()
	if got, want := crcOf(x[n:]), f.Int64(at + "crc")[0]; got != want {
		t.Errorf("%s: the tiles' checksum is %08x, want %08x", at, got, want)
	}
	global.compare(t, at+"global", every(x[:n], step), f.Float32(at+"global"), globalTolerance)
}

// TestXComposerTiles: from a picture to the tokens of the language model.
func TestXComposerTiles(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer.npz")
	var global, tokens worst
	for _, name := range tiled {
		e := tiledEncoder(t, f, name)
		for i, wh := range pictures(f) {
			e.Batch = i % 4 // no batch, one, two or three views at a time
			if i == 5 {
				e.Freeze()
			}
			at := fmt.Sprintf("%s/%d/", name, i)
			comparePixels(t, &global, f, at, e.Layout, wh, e.Tower.Config, 13)
			tokens.compare(t, at+"tokens", tokensOf(t, e, picture(wh[0], wh[1])).Data().F32(), f.Float32(at+"tokens"), tokenTolerance)
		}
	}
	global.log(t, "global views")
	tokens.log(t, "tokens")
}

// TestXComposerSquash: XComposer2-VL, whose tower has its position embedding resized.
func TestXComposerSquash(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer.npz")
	var position, tokens worst
	for _, size := range []int{63, 28} {
		e := &Encoder{
			Tower:     goldenTower(t, f, "base/param/", xcomposerConfig()),
			Layout:    goldenLayout(t, "squash"),
			Select:    clipvit.Features{Kind: clipvit.Patches},
			Projector: goldenProjector(t, f, "squash/param/"),
		}
		if err := e.Tower.Resize(size, clipvit.BicubicTorch); err != nil {
			t.Fatal(err)
		}
		position.compare(t, "position", mat.Data[float32](e.Tower.Embed.Position), f.Float32(fmt.Sprintf("position/%d", size)), globalTolerance)
		e.Freeze()
		for i, wh := range pictures(f) {
			at := fmt.Sprintf("squash/%d/%d/", size, i)
			img := picture(wh[0], wh[1])
			tiles, err := e.Split(img)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := crcOf(tiles.Patches.Data().F32()), f.Int64(at + "crc")[0]; got != want {
				t.Errorf("%s: the pixels' checksum is %08x, want %08x", at, got, want)
			}
			e.Select.Layer, e.Select.Kind = -1, clipvit.Patches
			tokens.compare(t, at+"tokens", tokensOf(t, e, img).Data().F32(), f.Float32(at+"tokens"), tokenTolerance)
			if !f.Has(at + "patch/0") {
				continue
			}
			for _, e.Select.Kind = range []clipvit.FeatureKind{clipvit.Patches, clipvit.AllTokens} {
				for layer := range 1 + e.Tower.Config.Layers {
					for _, e.Select.Layer = range []int{layer, layer - 1 - e.Tower.Config.Layers} { // the same one
						what := fmt.Sprintf("%s%s/%d", at, SelectFeature(e.Select.Kind), layer)
						tokens.compare(t, what, tokensOf(t, e, img).Data().F32(), f.Float32(what), tokenTolerance)
					}
				}
			}
		}
	}
	position.log(t, "position embeddings")
	tokens.log(t, "tokens")
}

// TestXComposerLayers: one small picture in tiles, all its patches, and its tokens of every layer.
func TestXComposerLayers(t *testing.T) {
	f := golden.Load(t, "testdata/projector/xcomposer.npz")
	img := picture(211, 70)
	var rgb []byte
	for i := 0; i < len(img.Pix); i += 4 {
		rgb = append(rgb, img.Pix[i:i+3]...)
	}
	if got, want := int64(crc32.ChecksumIEEE(rgb)), f.Int64("full/picture_crc")[0]; got != want {
		t.Fatalf("the picture's checksum is %08x, want %08x: it is another one", got, want)
	}
	e := tiledEncoder(t, f, "xcomposer2-4khd")
	e.Layout.HDNum = 2
	tiles, err := e.Split(img)
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "patches", tiles.Patches.Data().F32(), f.Float32("full/patches"), globalTolerance)
	var tokens worst
	for layer := range 1 + e.Tower.Config.Layers {
		for _, e.Select.Layer = range []int{layer, layer - 1 - e.Tower.Config.Layers} {
			what := fmt.Sprintf("layer/%d", layer)
			tokens.compare(t, what, tokensOf(t, e, img).Data().F32(), f.Float32(what), tokenTolerance)
		}
	}
	tokens.log(t, "tokens")
}

// TestXComposerGradients: from the tokens of a portrait picture of 3×2 tiles back through projector, newline
// tokens, merge and tower to the patches, against float64.
func TestXComposerGradients(t *testing.T) {
	const tolerance = 1e-5 // twice as many products as to the tokens, and sums over 7·37 rows
	f := golden.Load(t, "testdata/projector/xcomposer.npz")
	e := tiledEncoder(t, f, "xcomposer2-4khd")
	e.Unfreeze()
	e.Layout.HDNum = 6
	tiles, err := e.Split(picture(50, 120))
	if err != nil {
		t.Fatal(err)
	}
	if tiles.Rows != 3 || tiles.Cols != 2 {
		t.Fatalf("%d×%d tiles, want 3×2", tiles.Rows, tiles.Cols)
	}
	tiles.Patches.SetRequiresGrad(true)
	y, err := e.Forward(tiles)
	if err != nil {
		t.Fatal(err)
	}
	var w worst
	w.compare(t, "tokens", y.Value().Data().F32(), f.Float32("grad/tokens"), tokenTolerance)
	y.AccGrad(matrix(f, "grad/grad_tokens"))
	ag.Backward(y)
	compared := 0
	compare := func(name string, x mat.Tensor) {
		if !f.Has(name) { // of post-norm and projection, which the last block's tokens do not see
			if x.HasGrad() {
				t.Errorf("%s has a gradient, in PyTorch it has none", name)
			}
			return
		}
		compared++
		if !x.HasGrad() {
			t.Errorf("%s has no gradient", name)
			return
		}
		w.compare(t, name, x.Grad().Data().F32(), f.Float32(name), tolerance)
	}
	params.Walk(e.Projector, func(name string, p *nn.Param) { compare("grad/projector/"+name, p) })
	params.Walk(e.Tower, func(name string, p *nn.Param) { compare("grad/tower/"+name, p) })
	compare("grad/newline/sub", e.RowSeparator)
	compare("grad/newline/glb", e.GlobalSeparator)
	if want := 4 + 5 + 12*3 + 2; compared != want {
		t.Errorf("compared %d gradients, want %d", compared, want)
	}
	w.compare(t, "patches", every(tiles.Patches.Grad().Data().F32(), 7), f.Float32("grad/patches"), tolerance)
	w.log(t, "gradients")
}

// TestLLaVA compares with transformers' model and image processor: pixels as bytes exactly, and features of
// every layer, with and without the class token.
func TestLLaVA(t *testing.T) {
	f := golden.Load(t, "testdata/projector/llava.npz")
	sizes := pictures(golden.Load(t, "testdata/projector/xcomposer.npz"))
	e := &Encoder{
		Tower:     goldenTower(t, f, "param/", llavaConfig()),
		Layout:    goldenLayout(t, "pad"),
		Select:    clipvit.Features{Kind: clipvit.Patches, Layer: -2},
		Projector: goldenProjector(t, f, "projector/"),
	}
	e.Tower.Freeze()
	c := e.Tower.Config
	var pixels, tokens worst
	for i, wh := range sizes {
		img := picture(wh[0], wh[1])
		at := fmt.Sprintf("pad/%d/", i)
		tiles, err := e.Split(img)
		if err != nil {
			t.Fatal(err)
		}
		x := tiles.Patches.Data().F32()
		if got, want := int64(crc32.ChecksumIEEE(levels(x, c))), f.Int64(at + "crc")[0]; got != want {
			t.Errorf("%s: the pixels' checksum is %08x, want %08x", at, got, want)
		}
		// transformers multiplies by 1/255 where torchvision divides by 255.
		pixels.compare(t, at+"patches", every(x, 5), f.Float32(at+"patches"), globalTolerance)
		for feature, strategy := range map[clipvit.FeatureKind]string{clipvit.Patches: "default", clipvit.AllTokens: "full"} {
			e.Select.Kind = feature
			tokens.compare(t, at+strategy, tokensOf(t, e, img).Data().F32(), f.Float32(at+strategy), tokenTolerance)
		}
	}
	pixels.log(t, "pixels")

	img := picture(sizes[6][0], sizes[6][1])
	tiles, err := e.Split(img)
	if err != nil {
		t.Fatal(err)
	}
	e.Select.Kind = clipvit.Patches
	hidden := f.Float32("hidden_states")
	n := len(hidden) / (1 + c.Layers)
	for e.Select.Layer = range 1 + c.Layers {
		what := fmt.Sprintf("pad/layer/%d", e.Select.Layer)
		tokens.compare(t, what, tokensOf(t, e, img).Data().F32(), f.Float32(what), tokenTolerance)
		h, err := e.Tower.Features(tiles.Patches, e.Select.Layer)
		if err != nil {
			t.Fatal(err)
		}
		tokens.compare(t, fmt.Sprintf("hidden state %d", e.Select.Layer), h.Value().Data().F32(), hidden[e.Select.Layer*n:(e.Select.Layer+1)*n], tokenTolerance)
	}
	tokens.log(t, "tokens")
}

// TestClip: without padding, pixels are those of OpenAI's transform to the bit, or those of transformers'
// processor, as bytes, which are others where an odd number of pixels is left over.
func TestClip(t *testing.T) {
	f := golden.Load(t, "testdata/projector/llava.npz")
	others := 0
	for i, wh := range pictures(golden.Load(t, "testdata/projector/xcomposer.npz")) {
		tiles, err := goldenLayout(t, "clip").Split(picture(wh[0], wh[1]), llavaConfig())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := crcOf(tiles.Patches.Data().F32()), f.Int64(fmt.Sprintf("clip/%d/crc", i))[0]; got != want {
			t.Errorf("picture %d: the pixels' checksum is %08x, want %08x", i, got, want)
		}
		floor, err := goldenLayout(t, "clip-transformers").Split(picture(wh[0], wh[1]), llavaConfig())
		if err != nil {
			t.Fatal(err)
		}
		x := floor.Patches.Data().F32()
		if got, want := int64(crc32.ChecksumIEEE(levels(x, llavaConfig()))), f.Int64(fmt.Sprintf("clip-transformers/%d/crc", i))[0]; got != want {
			t.Errorf("picture %d: the checksum of transformers' pixels is %08x, want %08x", i, got, want)
		}
		if crcOf(x) != crcOf(tiles.Patches.Data().F32()) {
			others++
		}
	}
	if others != 2 {
		t.Errorf("%d pictures have other pixels with transformers, want 2", others)
	}
}

// levels takes the normalisation of patches [n,3P²] back: the bytes that it was made from.
func levels(x []float32, c clipvit.Config) []byte {
	b, t := make([]byte, len(x)), c.Transform.Resolved()
	for i, v := range x {
		ch := i % c.PatchLen() / (c.PatchSize * c.PatchSize)
		b[i] = byte(math.Round(float64((v*float32(t.Std[ch]) + float32(t.Mean[ch])) * 255)))
	}
	return b
}
