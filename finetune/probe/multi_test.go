package probe

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
)

// TestMultiHead: a head whose classes do not exclude each other is recorded as one, may have a single class, and gives
// probabilities of their own.
func TestMultiHead(t *testing.T) {
	for _, classes := range [][]string{{"cat", "dog"}, {"cat"}} {
		h := &Head{Classes: classes, Features: clipvit.Features{Kind: clipvit.Embedding}, Linear: linear.New[float32](2, len(classes)), Multi: true}
		copy(h.Linear.W.Data().F32(), []float32{1, 2, 3, -4})
		h.Linear.B.Data().F32()[0] = 0.5
		dir := t.TempDir()
		if err := h.Save(dir); err != nil {
			t.Fatal(err)
		}
		got, err := LoadHead(dir)
		if err != nil || !got.Multi {
			t.Fatalf("%+v, %v, want a head of several classes a picture", got, err)
		}
		// Logits 1+2·0.5+0.5 = 2.5 and 3-2 = 1.
		near(t, "probabilities", got.Predict([]float32{1, 0.5}), []float64{1 / (1 + math.Exp(-2.5)), 1 / (1 + math.Exp(-1))}[:len(classes)], 1e-7)
		path := filepath.Join(dir, classesFile)
		text, _ := os.ReadFile(path)
		if !strings.Contains(string(text), `"problem_type": "multi_label_classification"`) {
			t.Errorf("%s is %s", path, text)
		}
		os.WriteFile(path, []byte(strings.Replace(string(text), multiLabel, "regression", 1)), 0o666)
		if _, err := LoadHead(dir); err == nil || !strings.Contains(err.Error(), `problem_type is "regression", want single_label_classification or multi_label_classification`) {
			t.Errorf("error is %v", err)
		}
	}
}
