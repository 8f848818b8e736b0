package converter

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
	towers "github.com/vitago/vitago/internal/tiny"
)

// forms are the towers of testdata/gen/forms.py, with the width of a head and of the MLP in the registry of OpenCLIP.
var registered = []struct {
	name        string
	head, mlp   int
	activation  string
	textContext int
}{
	{"ViT-B-32", 64, 512, "gelu", 77},
	{"ViT-B-16", 64, 512, "gelu", 77},
	{"ViT-L-14", 64, 512, "gelu", 77},
	{"ViT-L-14-quickgelu", 64, 512, "quick_gelu", 77},     // MetaCLIP, DFN2B, OpenAI's
	{"ViT-H-14", 80, 640, "gelu", 77},                     // LAION-2B
	{"ViT-H-14-378-quickgelu", 80, 640, "quick_gelu", 77}, // DFN5B, MetaCLIP
	{"ViT-g-14", 88, 768, "gelu", 77},                     // LAION-2B: 176·4.3637 = 768.01
	{"ViT-bigG-14", 104, 1024, "gelu", 77},                // LAION-2B: 208·4.9231 = 1024.00
	{"longclip", 64, 512, "quick_gelu", 248},
}

// formula returns n values of the formula of forms.py.
func formula(name string, n, scale int, one bool) []float32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	seed := h.Sum32()
	values := make([]float32, n)
	for i := range values {
		x := uint32(i)*0x9E3779B1 + seed
		x = (x ^ x>>16) * 0x85EBCA6B
		x = (x ^ x>>13) * 0xC2B2AE35
		x ^= x >> 16
		values[i] = float32(float64(x>>8)/(1<<24)-0.5) * float32(math.Ldexp(1, scale))
		if one {
			values[i]++
		}
	}
	return values
}

// writeForm makes the directory of a form, as open_clip would have it, and returns its path.
func writeForm(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(golden.Path(t, "testdata/forms/"+name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var form struct {
		Config  json.RawMessage
		Tensors map[string]struct {
			Shape []int
			Scale int
			One   bool
		}
	}
	if err := json.Unmarshal(raw, &form); err != nil {
		t.Fatal(err)
	}
	var tensors []checkpoint.Values
	for name, x := range form.Tensors {
		n := 1
		for _, d := range x.Shape {
			n *= d
		}
		tensors = append(tensors, checkpoint.Values{Name: name, Shape: x.Shape, Data: formula(name, n, x.Scale, x.One)})
	}
	dir := t.TempDir()
	if err := checkpoint.WriteTensors(filepath.Join(dir, openCLIPSafetensors), nil, tensors); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, openCLIPConfig), form.Config, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestForms: towers of every form of OpenCLIP's registry, whose heads are 64, 80, 88 and 104 wide, and Long-CLIP's text
// compute what open_clip 3.3.0 computes, by every kernel of this processor; so do their gradients, what was converted, and
// nearly so the int8 ones.
func TestForms(t *testing.T) {
	for _, f := range registered {
		t.Run(f.name, func(t *testing.T) {
			want := golden.Load(t, "testdata/forms/"+f.name+".npz")
			dir := writeForm(t, f.name)
			dst := filepath.Join(t.TempDir(), "out")
			r, err := convertFile(t.Context(), dir, dst, Options{})
			if err != nil {
				t.Fatal(err)
			}
			v := r.Config.Vision
			if v.Width != 2*f.head || v.Heads != 2 || v.MLPWidth != f.mlp || string(v.Activation) != f.activation || r.Config.Text.Context != f.textContext {
				t.Errorf("configuration is %+v, %+v, want %+v", v, r.Config.Text, f)
			}
			for _, impl := range towers.Kernels() {
				t.Run(impl, func(t *testing.T) {
					kernel.Use(impl)
					defer kernel.Use("")
					m, err := Load(dir)
					if err != nil {
						t.Fatal(err)
					}
					t.Logf("largest relative difference from open_clip: %.1e", checkFamily(t, want, m, nil, 0))
					checkRest(t, dir, false, want)
					checkGradients(t, want, m)
					checkInt8(t, want, m)
				})
			}
			m, err := Load(dst)
			if err != nil {
				t.Fatal(err)
			}
			checkFamily(t, want, m, nil, 0)
			checkRest(t, dst, true, want)
		})
	}
}

// gradientTolerance is relative to the largest of the few elements that the goldens keep, which may be small beside those of the
// whole gradient: the forward's errors, once more on the way back.
const gradientTolerance = 4e-5

// checkGradients compares the first rows of the gradient of every parameter, and its norm.
func checkGradients(t *testing.T, want *golden.File, m *clipvit.Model) {
	t.Helper()
	m.Unfreeze()
	nn.ZeroGrad(m)
	y := m.Embedding(mat.NewDense[float32](mat.WithShape(want.Shape("patches")...), mat.WithBacking(want.Float32("patches"))))
	y.AccGrad(mat.NewDense[float32](mat.WithShape(y.Shape()...), mat.WithBacking(slices.Clone(want.Float32("weights")))))
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"Proj": ""} // their elements lie in another order
	for _, r := range openAIVision.expand() {
		if r.as != transposed {
			names[r.to] = r.from
		}
	}
	params.Walk(m, func(path string, p *nn.Param) {
		block, pattern := "", path
		if rest, ok := strings.CutPrefix(path, "Blocks."); ok {
			block, rest, _ = strings.Cut(rest, ".")
			pattern = "Blocks.#." + rest
		}
		name := strings.Replace(names[pattern], "#", block, 1)
		g := p.Grad().Data().F32()
		if name == "" {
			name = "visual.proj"
		} else {
			golden.Compare(t, "gradient of "+name, g[:len(want.Float32("grad/"+name))], want.Float32("grad/"+name), gradientTolerance)
		}
		var squares float64
		for _, v := range g {
			squares += float64(v) * float64(v)
		}
		if norm := float64(want.Float32("norm/" + name)[0]); math.Abs(math.Sqrt(squares)-norm) > gradientTolerance*norm {
			t.Errorf("gradient of %s has norm %v, want %v", name, math.Sqrt(squares), norm)
		}
	})
	m.Freeze()
}

// checkInt8 compares the direction of embeddings in 8 bits.
func checkInt8(t *testing.T, want *golden.File, m *clipvit.Model) {
	t.Helper()
	m.Quantize()
	got := m.Embedding(mat.NewDense[float32](mat.WithShape(want.Shape("patches")...), mat.WithBacking(want.Float32("patches")))).Value().Data().F32()
	e := m.Config.EmbedDim
	for i, w := range slices.Collect(slices.Chunk(want.Float32("embedding"), e)) {
		var gw, gg, ww float64
		for j, g := range got[i*e : (i+1)*e] {
			gw, gg, ww = gw+float64(g)*float64(w[j]), gg+float64(g)*float64(g), ww+float64(w[j])*float64(w[j])
		}
		if cosine := gw / math.Sqrt(gg*ww); cosine < 0.999 {
			t.Errorf("image %d in 8 bits: %s", i, fmt.Sprintf("cosine %v, want at least 0.999", cosine))
		}
	}
}
