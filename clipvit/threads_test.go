package clipvit

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/tiny"
)

// An image has the same bits with any number of threads, in float32, bfloat16 and int8. With -short it tries three
// numbers.
func TestThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer kernel.Use("")
	counts := []int{1, 2, 3, 4, 7}
	if testing.Short() {
		counts = []int{1, 2, 7}
	}
	for _, f := range transformer.Activations() {
		rng := rand.New(rand.NewPCG(1, 3))
		c := Config{ImageSize: 64, PatchSize: 8, Width: 72, Heads: 3, Layers: 2, MLPWidth: 1111, EmbedDim: 33, Activation: f, NormEps: 1e-5}
		m := tiny.New(t, New, c)
		tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 2 })
		const images = 3
		patches := make([]float32, images*c.Patches()*c.PatchLen())
		for i := range patches {
			patches[i] = rng.Float32() - 0.5
		}
		x := mat.NewDense[float32](mat.WithShape(images*c.Patches(), c.PatchLen()), mat.WithBacking(patches))
		for _, impl := range tiny.Kernels() {
			kernel.Use(impl)
			tiny.EachPrecision(m, func(precision string) {
				var want []float32
				for _, threads := range counts {
					runtime.GOMAXPROCS(threads)
					got := slices.Clone(mat.Data[float32](m.Embedding(x).Value().(mat.Matrix)))
					if want == nil {
						want = got
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s, %s, %s: %d threads give other bits than one", f, impl, precision, threads)
					}
				}
			})
		}
	}
}

// In a batch that threads divide among them an image has the bits that it has alone.
func TestThreadsDivide(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	defer kernel.Use("")
	rng := rand.New(rand.NewPCG(1, 4))
	c := Config{ImageSize: 64, PatchSize: 8, Width: 24, Heads: 2, Layers: 2, MLPWidth: 40, EmbedDim: 7, Activation: transformer.QuickGELU, NormEps: 1e-5}
	m := tiny.New(t, New, c)
	tiny.Fill(m, func() float32 { return (rng.Float32() - 0.5) / 2 })
	images, n := 2*c.part()+3, c.Patches()*c.PatchLen()
	patches := make([]float32, images*n)
	for i := range patches {
		patches[i] = rng.Float32() - 0.5
	}
	embed := func(from, to int) []float32 {
		x := mat.NewDense[float32](mat.WithShape((to-from)*c.Patches(), c.PatchLen()), mat.WithBacking(patches[from*n:to*n]))
		return slices.Clone(mat.Data[float32](m.Embedding(x).Value().(mat.Matrix)))
	}
	kernels := tiny.Kernels()
	if testing.Short() {
		kernels = kernels[:1]
	}
	for _, impl := range kernels {
		kernel.Use(impl)
		tiny.EachPrecision(m, func(precision string) {
			var alone []float32
			for i := range images {
				alone = append(alone, embed(i, i+1)...)
			}
			for _, threads := range []int{1, 2, 3, 4, 7} {
				runtime.GOMAXPROCS(threads)
				for _, b := range []int{2, c.part(), c.part() + 1, images} {
					if !slices.Equal(embed(0, b), alone[:b*c.EmbedDim]) {
						t.Errorf("%s, %s, %d threads: other bits in a batch of %d than alone", impl, precision, threads, b)
					}
				}
			}
			// Many callers at the same time, of whom each computes by itself.
			runtime.GOMAXPROCS(2)
			var callers sync.WaitGroup
			for i := range 5 {
				callers.Go(func() {
					for _, b := range []int{1, 3, images - i} {
						if !slices.Equal(embed(i, i+min(b, images-i)), alone[i*c.EmbedDim:(i+min(b, images-i))*c.EmbedDim]) {
							t.Errorf("%s, %s, caller %d: other bits in a batch of %d than alone", impl, precision, i, b)
						}
					}
				})
			}
			callers.Wait()
		})
	}
}
