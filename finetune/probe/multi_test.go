package probe

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/golden"
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

// TestAveragePrecision: the values are scikit-learn's.
func TestAveragePrecision(t *testing.T) {
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/losses.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		AveragePrecision []struct {
			Scores, Targets [][]float64
			Each            []*float64
			Mean            float64
		} `json:"average_precision"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	for _, c := range f.AveragePrecision {
		sets := make([][]int, len(c.Targets))
		for k, want := range c.Each {
			var scores []float64
			var positive []bool
			for i, row := range c.Targets {
				scores, positive = append(scores, c.Scores[i][k]), append(positive, row[k] == 1)
				if row[k] == 1 {
					sets[i] = append(sets[i], k)
				}
			}
			if got := AveragePrecision(scores, positive); want != nil && math.Abs(got-*want) > 1e-12 || want == nil && got != 0 {
				t.Errorf("class %d: %v, want %v", k, got, want)
			}
		}
		if got := MeanAveragePrecision(slices.Concat(c.Scores...), sets); math.Abs(got-c.Mean) > 1e-12 {
			t.Errorf("mean %v, want %v", got, c.Mean)
		}
	}
	if got := MeanAveragePrecision(nil, nil); got != 0 {
		t.Errorf("of nothing %v", got)
	}
}
