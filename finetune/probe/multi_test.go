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
		path := filepath.Join(dir, ClassesFile)
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

// TestWeightedRegress: with class weights, and where labels do not exclude each other, the optimum is scikit-learn's.
func TestWeightedRegress(t *testing.T) {
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/losses.json"))
	if err != nil {
		t.Fatal(err)
	}
	type problem struct {
		X, Targets, Coef       [][]float64
		Y                      []int
		Weights, Intercept     []float64
		Lambda, Loss, Accuracy float64
	}
	var f struct {
		Logistic  []problem
		OneVsRest []problem `json:"one_vs_rest"`
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	set := func(c problem) *Set {
		s := &Set{Dim: len(c.X[0]), Labels: c.Y, Classes: []string{"a", "b", "c"}[:len(c.Weights)], Weights: c.Weights}
		for _, v := range slices.Concat(c.X...) {
			s.X = append(s.X, float32(v))
		}
		for _, row := range c.Targets {
			set := []int{}
			for k, v := range row {
				if v == 1 {
					set = append(set, k)
				}
			}
			s.LabelSets, s.Labels = append(s.LabelSets, set), append(s.Labels, -1)
		}
		return s
	}
	for _, c := range f.Logistic {
		s := set(c)
		fit, err := Regress(t.Context(), s, c.Lambda)
		if err != nil || !fit.Converged {
			t.Fatalf("%v, gradient %v", err, fit.Gradient)
		}
		if w, b := fit.W, fit.B; len(c.Coef) == 1 { // of two classes scikit-learn has one row
			near(t, "two classes", append([]float64{b[1] - b[0]}, difference(w[s.Dim:], w[:s.Dim])...), append(c.Intercept, c.Coef[0]...), 1e-5)
		} else {
			near(t, "coef", w, slices.Concat(c.Coef...), 1e-5)
			near(t, "intercept", difference(b, slices.Repeat(b[:1], len(b))), difference(c.Intercept, slices.Repeat(c.Intercept[:1], len(b))), 1e-5)
		}
		for _, score := range []Score{newProblem(s).score(fit), fit.Head(s.Classes, clipvit.Features{Kind: clipvit.Embedding}, "").Score(s)} {
			near(t, "loss and accuracy", []float64{score.Loss, score.Value()}, []float64{c.Loss, c.Accuracy}, 1e-5)
			if score.Measure() != "weighted accuracy" {
				t.Errorf("measure %s", score.Measure())
			}
		}
	}
	for _, c := range f.OneVsRest {
		s := set(c)
		fit, err := Regress(t.Context(), s, c.Lambda)
		if err != nil || !fit.Converged {
			t.Fatalf("%v, gradient %v", err, fit.Gradient)
		}
		near(t, "coef", fit.W, slices.Concat(c.Coef...), 1e-5)
		near(t, "intercept", fit.B, c.Intercept, 1e-5)
		h := fit.Head(s.Classes, clipvit.Features{Kind: clipvit.Embedding}, "")
		h.Multi = true
		a, b := newProblem(s).score(fit), h.Score(s)
		near(t, "loss", []float64{a.Loss, b.Loss}, []float64{c.Loss, c.Loss}, 1e-5)
		if a.Right != b.Right || a.Measure() != "mAP" || math.Abs(a.Value()-b.Value()) > 1e-6 || a.Value() != MeanAveragePrecision(newScores(s, fit), s.LabelSets) {
			t.Errorf("scores %+v and %+v", a, b)
		}
		best, all, err := Sweep(t.Context(), s, s, nil)
		if err != nil || len(all) < 10 || best.Validation.Value() < a.Value() {
			t.Errorf("best of %d is %+v, %v", len(all), best.Validation, err)
		}
	}
	s := set(f.OneVsRest[0])
	for i := range s.LabelSets {
		s.LabelSets[i] = []int{1}
	}
	_, err = Regress(t.Context(), s, 1)
	for _, want := range []string{`class "a" has no pictures`, `all 40 pictures are of class "b", want some that are not`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	s.Weights = []float64{1, 0, 1}
	if _, err := Regress(t.Context(), s, 1); err == nil || !strings.Contains(err.Error(), `the weight of class "b" is 0, want above 0`) {
		t.Errorf("error is %v", err)
	}
}

func difference(a, b []float64) []float64 {
	d := slices.Clone(a)
	for i := range d {
		d[i] -= b[i]
	}
	return d
}

// newScores returns the probabilities [N,K] of a fit.
func newScores(s *Set, f *Fit) []float64 {
	p := newProblem(s)
	p.forward(f.W, f.B)
	return p.logits.Data
}
