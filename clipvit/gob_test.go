package clipvit

import (
	"encoding/gob"
	"hash/fnv"
	"os"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
)

// drawn gives the values that the fixtures of testdata hold: what testdata/README.md says, by the path.
func drawn(path string, n int) []float32 {
	h := fnv.New32a()
	h.Write([]byte(path))
	s, values := h.Sum32(), make([]float32, n)
	for i := range values {
		s = s*1664525 + 1013904223
		values[i] = float32(int32(s)>>16) / (1 << 16)
	}
	return values
}

// TestOldGob: a tower that version 64c7bcd wrote, whose blocks were of this package, is the same tower still; and so
// are blocks by themselves, which gob knows by the names of their types.
func TestOldGob(t *testing.T) {
	file, err := os.Open("testdata/tower_64c7bcd.gob")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	d := gob.NewDecoder(file)
	var m *Model
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	want := Config{ImageSize: 4, PatchSize: 2, Width: 8, Heads: 2, Layers: 2, MLPWidth: 12, EmbedDim: 4, Activation: transformer.QuickGELU, NormEps: 1e-5}
	if m.Config != want {
		t.Errorf("configuration is %+v, want %+v", m.Config, want)
	}
	same := func(name string, m nn.Model, prefix string) {
		params.Walk(m, func(path string, p *nn.Param) {
			golden.Compare(t, name+" "+path, mat.Data[float32](p), drawn(prefix+path, p.Size()), 0)
		})
	}
	same("tower", m, "")
	patches := matrix(drawn("patches", 2*4*12), []int{2 * 4, 12})
	golden.Compare(t, "embeddings", m.Embedding(patches).Value().Data().F32(), // as 64c7bcd gave them
		[]float32{0.23056898, 0.113492, 0.035318896, -0.22929014, 0.2372402, 0.12647928, 0.04791625, -0.22314757}, 2e-6)

	var parts []any
	if err := d.Decode(&parts); err != nil {
		t.Fatal(err)
	}
	same("block", parts[0].(*transformer.Block), "Blocks.1.")
	same("attention", parts[1].(*transformer.Attention), "Blocks.0.Attn.")
	same("MLP", parts[2].(*transformer.MLP), "Blocks.0.MLP.")
	same("LoRA", parts[3].(*transformer.LoRA), "")
	if lora := parts[3].(*transformer.LoRA); lora.Scale != 0.5 {
		t.Errorf("LoRA's scale is %v, want 0.5", lora.Scale)
	}
}
