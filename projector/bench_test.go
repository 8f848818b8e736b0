package projector

import (
	"flag"
	"testing"
	"time"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
)

var full = flag.Bool("full", false, "benchmark XComposer2-4KHD at its true size: 1.7 GB of memory, minutes")

// BenchmarkTiles: what an image of 5×5 tiles and a global view costs, beside 26 images by themselves and the
// projection of as many rows, in turns within one run.
//
//	go test -run '^$' -bench Tiles ./projector                        # a small tower
//	go test -run '^$' -bench Tiles -benchtime 3x ./projector -full    # XComposer2-4KHD
func BenchmarkTiles(b *testing.B) {
	c, out := clipvit.Config{ImageSize: 112, PatchSize: 14, Width: 256, Heads: 4, Layers: 4, MLPWidth: 1024, Activation: transformer.QuickGELU, NormEps: 1e-5}, 1024
	if *full {
		c, out = clipvit.ViTL14336, 4096
		c.EmbedDim, c.NoPostNorm = 0, true
	}
	e := newEncoder(b, layout(b, "xcomposer2-4khd"), "mlp2x_gelu", c, out)
	e.Freeze()
	img, single := noise(5*c.ImageSize, 5*c.ImageSize), noise(c.ImageSize, c.ImageSize)
	tiles, err := e.Split(img)
	if err != nil || tiles.Rows != 5 || tiles.Cols != 5 {
		b.Fatal(tiles, err)
	}
	n, err := e.Count(5*c.ImageSize, 5*c.ImageSize)
	if err != nil {
		b.Fatal(err)
	}
	merged := mat.NewDense[float32](mat.WithShape(n, 4*c.Width))
	pack := func(layer, in int) *kernel.Packed {
		return kernel.Pack(e.Projector.Layers[layer].W.Value().Data().F32(), out, in)
	}
	first, second := pack(0, 4*c.Width), pack(1, out)
	hidden, y := make([]float32, n*out), make([]float32, n*out)

	var tokens, singles, projection, products time.Duration
	clock := func(d *time.Duration, f func()) {
		start := time.Now()
		f()
		*d += time.Since(start)
	}
	for b.Loop() {
		clock(&tokens, func() {
			if _, err := e.Tokens(img); err != nil {
				b.Fatal(err)
			}
		})
		clock(&singles, func() {
			for range 26 {
				x, err := clipvit.Preprocess(single, c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Tower.Features(x, -1); err != nil {
					b.Fatal(err)
				}
			}
		})
		clock(&projection, func() { e.Projector.Forward(merged) })
		clock(&products, func() { // those of the projection, without its bias and GELU
			kernel.MatMulPacked(hidden, merged.Data().F32(), first, n, kernel.Epilogue{})
			kernel.MatMulPacked(y, hidden, second, n, kernel.Epilogue{})
		})
	}
	b.ReportMetric(tokens.Seconds()/(singles+projection).Seconds(), "of-singles")
	b.ReportMetric(projection.Seconds()/products.Seconds(), "projection/products")
	b.ReportMetric(0, "ns/op") // of all parts together, which says nothing
}
