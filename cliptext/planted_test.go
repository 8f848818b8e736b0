package cliptext

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
)

// TestQuantizePlanted: rounded to 8 bits, embeddings of texts of any length point where those of float32 do, with random
// weights and with what training makes of some: large gains, hidden units, channels of the residual stream, columns of the
// token embedding. The generic kernel and -short have the first two alone.
func TestQuantizePlanted(t *testing.T) {
	c := Config{Vocab: 600, Context: 40, Width: 128, Heads: 4, Layers: 4, MLPWidth: 512, EmbedDim: 64, Activation: transformer.QuickGELU, NormEps: 1e-5, End: 599}
	for name, plant := range map[string]func(rng *rand.Rand, path string, v []float32, cols int){
		"none": func(*rand.Rand, string, []float32, int) {},
		"gains": func(rng *rand.Rand, path string, v []float32, _ int) {
			if strings.HasSuffix(path, "Norm1.W") || strings.HasSuffix(path, "Norm2.W") {
				for _, i := range rng.Perm(len(v))[:8] {
					v[i] *= 30
				}
			}
		},
		"hidden units": func(rng *rand.Rand, path string, v []float32, cols int) {
			if strings.HasSuffix(path, "MLP.Up.W") {
				for _, r := range rng.Perm(len(v) / cols)[:8] {
					for i := range cols {
						v[r*cols+i] *= 60
					}
				}
			}
		},
		"residual channels": func(_ *rand.Rand, path string, v []float32, _ int) {
			if path == "Blocks.0.MLP.Down.B" {
				v[5], v[77] = 300, -200
			}
		},
		"embeddings": func(_ *rand.Rand, path string, v []float32, cols int) {
			if path == "Token" {
				for i := 9; i < len(v); i += cols {
					v[i] *= 200
				}
			}
		},
	} {
		if (testing.Short() || kernel.Name() == "generic") && name != "none" && name != "gains" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			empty, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			cols := map[string]int{}
			params.Walk(empty, func(path string, p *nn.Param) { cols[path] = p.Shape()[1] })
			m, err := NewFrozen(c, func(path string, v []float32) error {
				h := fnv.New64a()
				h.Write([]byte(path))
				rng := rand.New(rand.NewPCG(h.Sum64(), 1))
				spread, mean := 0.1, 0.0
				if cols[path] > 1 && path != "Token" {
					spread = math.Sqrt(3 / float64(cols[path]))
				}
				if strings.Contains(path, "Norm") && strings.HasSuffix(path, ".W") {
					mean = 1
				}
				for i := range v {
					v[i] = float32(mean + spread*(2*rng.Float64()-1))
				}
				plant(rng, path, v, cols[path])
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(5, 5))
			var texts [][]int
			for _, n := range []int{1, 4, 9, 20, 38} {
				text := []int{598}
				for range n {
					text = append(text, rng.IntN(598))
				}
				texts = append(texts, append(text, c.End))
			}
			embed := func() (all [][]float32) {
				for _, text := range texts {
					y, err := m.Forward([][]int{text})
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, append([]float32(nil), y.Value().Data().F32()...))
				}
				return all
			}
			want := embed()
			m.Quantize()
			for i, got := range embed() {
				var gw, gg, ww float64
				for j, v := range got {
					g, w := float64(v), float64(want[i][j])
					gw, gg, ww = gw+g*w, gg+g*g, ww+w*w
				}
				least := 0.999
				if name == "none" {
					least = 0.9997
				}
				if cosine := gw / math.Sqrt(gg*ww); !(cosine >= least) {
					t.Errorf("text of %d tokens: cosine %v, want at least %v (%s)", len(texts[i]), cosine, least, m.Precision())
				}
			}
		})
	}
}
