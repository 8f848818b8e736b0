package cliptext

import (
	"encoding/gob"
	"os"
	"testing"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/golden"
)

// TestOldGob: a tower that version 64c7bcd wrote, whose blocks were of package clipvit, is the same tower still.
func TestOldGob(t *testing.T) {
	file, err := os.Open("testdata/tower_64c7bcd.gob")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var m *Model
	if err := gob.NewDecoder(file).Decode(&m); err != nil {
		t.Fatal(err)
	}
	want := Config{Vocab: 11, Context: 6, Width: 8, Heads: 2, Layers: 2, MLPWidth: 12, EmbedDim: 4, Activation: transformer.GELU, NormEps: 1e-5, End: 10}
	if m.Config != want {
		t.Errorf("configuration is %+v, want %+v", m.Config, want)
	}
	if !m.Blocks[1].Attn.Causal {
		t.Error("the blocks are no longer causal")
	}
	got := forward(t, m, [][]int{{9, 1, 2, 3, 10}, {9, 7, 10}})
	golden.Compare(t, "embeddings", got.Value().Data().F32(), // as 64c7bcd gave them
		[]float32{0.13359572, -0.27548543, -0.05553863, -0.2210879, 0.05735211, -0.14434265, 0.0012370436, -0.17880148}, 2e-6)
}
