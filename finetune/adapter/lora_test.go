package adapter

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// tinyTower returns the tower of a golden file, unfrozen, and the file.
func tinyTower(t testing.TB, activation string) (*clipvit.Model, *golden.File) {
	t.Helper()
	return tiny.Golden(t, "testdata/tiny/stages_"+activation, clipvit.New)
}

func matrix(data []float32, shape []int) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(shape...), mat.WithBacking(slices.Clone(data)))
}

// TestLoRA: an adapter that peft wrote computes what peft computes with it, forward and backward, and merged
// with the weights it gives the same.
func TestLoRA(t *testing.T) {
	// Twice that of the gradients of a tower without corrections: these change the embedding by more than it
	// is, and every product has another one behind it.
	const tol = 1e-5
	m, f := tinyTower(t, "gelu")
	want := golden.Load(t, "testdata/tiny/lora.npz")
	c, err := Load(m, golden.Path(t, "testdata/tiny/lora"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Rank != 3 || c.Alpha != 5 || len(c.Targets) != 6 {
		t.Errorf("made with %+v, want rank 3, alpha 5, 6 targets", c)
	}
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	patches.SetRequiresGrad(true)
	y := m.Embedding(patches)
	golden.Compare(t, "embedding", y.Value().Data().F32(), want.Float32("embedding"), tol)
	y.AccGrad(matrix(f.Float32("grad_embedding"), f.Shape("grad_embedding")))
	if err := ag.Backward(y); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "patches", patches.Grad().Data().F32(), want.Float32("grad/patches"), tol)
	compared := 0
	c.each(m, func(module string, target loraTarget, b *transformer.Block) {
		w, list := target.layer(b)
		l := target.of1(*list, w)
		for name, p := range map[string]*nn.Param{"lora_A": l.A, "lora_B": l.B} {
			name = peft.Prefix + module + "." + name + ".weight"
			golden.Compare(t, name, p.Grad().Data().F32(), want.Float32("grad/"+name), tol)
			compared++
		}
	})
	learning := 0
	params.Walk(m, func(path string, p *nn.Param) {
		if p.HasGrad() != strings.Contains(path, "LoRA.") {
			t.Errorf("%s has a gradient: %v", path, p.HasGrad())
		}
		if p.HasGrad() {
			learning++
		}
	})
	if compared != learning || compared != 2*6*m.Config.Layers {
		t.Errorf("%d gradients compared, %d there, want %d", compared, learning, 2*6*m.Config.Layers)
	}

	Merge(m)
	if err := Merged(m); err != nil {
		t.Error(err)
	}
	golden.Compare(t, "merged embedding", m.Embedding(matrix(f.Float32("patches"), f.Shape("patches"))).Value().Data().F32(), want.Float32("embedding"), tol)
	params.Walk(m, func(path string, p *nn.Param) {
		if want.Has("merged/" + path) {
			golden.Compare(t, "merged "+path, mat.Data[float32](p), want.Float32("merged/"+path), 1e-6)
			compared--
		}
	})
	if compared != 2*6*m.Config.Layers-6 {
		t.Error("no merged weights compared")
	}
}

// TestAdd: what is added changes nothing, and what is saved comes back.
func TestAdd(t *testing.T) {
	m, f := tinyTower(t, "gelu")
	patches := matrix(f.Float32("patches"), f.Shape("patches"))
	m.Freeze()
	before := slices.Clone(m.Embedding(patches).Data().F32())
	c := LoRA{Rank: 2, Alpha: 3, Targets: []string{"q_proj", "v_proj", "fc2"}}
	rng := rand.New(rand.NewPCG(1, 2))
	if err := Add(m, c, rng); err != nil {
		t.Fatal(err)
	}
	// But for the fused activation, which rounds once less where there is no graph.
	golden.Compare(t, "corrections of zero", m.Embedding(patches).Value().Data().F32(), before, 2e-6)
	if err := Add(m, c, rng); err == nil {
		t.Error("corrections are added to corrections")
	}
	params.Walk(m, func(path string, p *nn.Param) {
		if p.RequiresGrad() != strings.Contains(path, "LoRA.") {
			t.Errorf("%s wants a gradient: %v", path, p.RequiresGrad())
		}
		if strings.HasSuffix(path, "LoRA.0.A") { // uniform: the largest is near the bound
			largest := 0.0
			for _, v := range mat.Data[float32](p) {
				largest = max(largest, math.Abs(float64(v)))
			}
			if bound := 1 / math.Sqrt(float64(p.Shape()[1])); largest > bound || largest < 0.8*bound {
				t.Errorf("%s is up to %v, want %v", path, largest, bound)
			}
		}
		if strings.HasSuffix(path, ".B") && strings.Contains(path, "LoRA.") {
			for i := range mat.Data[float32](p) {
				mat.Data[float32](p)[i] = float32(rng.NormFloat64())
			}
		}
	})
	want := slices.Clone(m.Embedding(patches).Value().Data().F32())
	if slices.Equal(want, before) {
		t.Error("corrections change nothing")
	}
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := Save(m, c, "a/model", dir); err != nil {
		t.Fatal(err)
	}
	back, _ := tinyTower(t, "gelu")
	if got, err := Load(back, dir); err != nil || got.Rank != 2 || got.Alpha != 3 || !slices.Equal(got.Targets, c.Targets) {
		t.Fatalf("loaded %+v: %v", got, err)
	}
	if got := back.Embedding(patches).Value().Data().F32(); !slices.Equal(got, want) {
		t.Error("what was saved computes something else")
	}
	c.Targets = Targets
	if err := Save(m, c, "", dir); err == nil || !strings.Contains(err.Error(), "k_proj") {
		t.Errorf("saving what is not there: %v", err)
	}
}

func TestLoRARefuses(t *testing.T) {
	for _, c := range []struct {
		lora LoRA
		want string
	}{
		{LoRA{0, 1, []string{"fc1"}}, "rank is 0"},
		{LoRA{1, 0, []string{"fc1"}}, "alpha is 0"},
		{LoRA{1, 1, nil}, "no targets"},
		{LoRA{1, 1, []string{"qkv"}}, `"qkv", want one of [q_proj`},
		{LoRA{1, 1, []string{"fc1", "fc1"}}, "twice"},
	} {
		if err := c.lora.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v, want one with %q", c.lora, err, c.want)
		}
	}
	config, err := os.ReadFile(golden.Path(t, "testdata/tiny/lora/adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	weights := golden.Path(t, "testdata/tiny/lora/adapter_model.safetensors")
	for _, c := range []struct{ old, new, want string }{
		{`"LORA"`, `"IA3"`, "peft_type"},
		{`"use_dora": false`, `"use_dora": true`, "use_dora"},
		{`"bias": "none"`, `"bias": "all"`, "bias"},
		{`"rank_pattern": {}`, `"rank_pattern": {"fc1": 4}`, "fc1.lora_A.weight: shape [3 27], want 4 rows"},
		{`"layers_to_transform": null`, `"layers_to_transform": [0]`, "layers_to_transform"},
		{`"r": 3`, `"r": 4`, "shape [3 27], want 4 rows"},
		{`"fc1",`, ``, "is no correction"},
		{`"r": 3`, `"r": `, "invalid character"},
	} {
		dir := t.TempDir()
		changed := strings.Replace(string(config), c.old, c.new, 1)
		if changed == string(config) {
			t.Fatalf("no %s", c.old)
		}
		os.WriteFile(filepath.Join(dir, peft.ConfigFile), []byte(changed), 0o666)
		b, _ := os.ReadFile(weights)
		os.WriteFile(filepath.Join(dir, peft.WeightsFile), b, 0o666)
		m, _ := tinyTower(t, "gelu")
		if _, err := Load(m, dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", c.new, err, c.want)
		}
		if err := Merged(m); err != nil {
			t.Errorf("%s: a failed load has left something: %v", c.new, err)
		}
	}
	m, _ := tinyTower(t, "quickgelu") // of another width
	if _, err := Load(m, golden.Path(t, "testdata/tiny/lora")); err == nil || !strings.Contains(err.Error(), "want [3 20]") {
		t.Errorf("another model: %v", err)
	}
}

// TestRSLoRA: the scale of rank-stabilised LoRA.
func TestRSLoRA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/tiny/lora"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, peft.ConfigFile)
	config, _ := os.ReadFile(path)
	os.WriteFile(path, []byte(strings.Replace(string(config), `"use_rslora": false`, `"use_rslora": true`, 1)), 0o666)
	m, _ := tinyTower(t, "gelu")
	c, err := Load(m, dir)
	if err != nil {
		t.Fatal(err)
	}
	if scale := m.Blocks[0].MLP.UpLoRA[0].Scale; math.Abs(scale-5/math.Sqrt(3)) > 1e-12 {
		t.Errorf("scale is %v", scale)
	}
	if err := Save(m, c, "", filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "are not corrected with rank 3 and scale 1.66") {
		t.Errorf("what has other scales than the configuration is saved: %v", err)
	}
}

// TestLoadAsConverter: Load has a tower compute what the converter makes of it with the adapter, those with patterns, too.
func TestLoadAsConverter(t *testing.T) {
	base := golden.Path(t, "testdata/peft/clip")
	for _, version := range []string{"0.18.0", "0.21.2"} {
		for name, base := range map[string]string{"patterns": base, "tower": golden.Path(t, "testdata/peft/"+version+"/vision")} {
			dir := golden.Path(t, filepath.Join("testdata/peft", version, name))
			if name == "tower" { // whose biases have learnt, too
				m := load(t, base)
				if _, err := Load(m, dir); err == nil || !strings.Contains(err.Error(), `bias is "lora_only", want none`) {
					t.Errorf("%s: %v", dir, err)
				}
				continue
			}
			m, merged := load(t, base), load(t, base, converter.Adapter(dir))
			if _, err := Load(m, dir); err != nil {
				t.Fatal(err)
			}
			x := patchesFor(m)
			golden.Compare(t, dir, m.Embedding(x).Value().Data().F32(), merged.Embedding(x).Value().Data().F32(), 1e-5)
		}
	}
	for name, want := range map[string]string{
		"dora": "is no correction by LoRA alone", "embeddings": "is no correction of 2 blocks", "plain": "text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight is no correction of 2 blocks",
	} {
		if _, err := Load(load(t, base), golden.Path(t, "testdata/peft/0.21.2/"+name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", name, err, want)
		}
	}
}

// load reads the tower of a checkpoint.
func load(t *testing.T, path string, options ...converter.OpenOption) *clipvit.Model {
	t.Helper()
	m, err := converter.Load(path, options...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// patchesFor returns the patches of an image that m takes.
func patchesFor(m *clipvit.Model) mat.Tensor {
	rng := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, m.Config.Patches()*m.Config.PatchLen())
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return matrix(x, []int{m.Config.Patches(), m.Config.PatchLen()})
}
