package evaluation

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// A scored is a case of evaluation.json: scikit-learn 1.7.2 gave the values, see testdata/gen/evaluation.py.
type scored struct {
	Name      string
	Scores    [][]float64
	Labels    []int
	Accuracy  float64
	Top       []float64 // for k from 1
	Loss      float64
	Classes   []measured
	Macro     measured
	Balanced  float64
	Confusion [][]int
}

type measured struct {
	Precision, Recall, F1 float64
	Support               int
}

func goldens[T any](t *testing.T, key string) (all []T) {
	t.Helper()
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/evaluation.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]json.RawMessage
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(cases[key], &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// near says whether two numbers are equal but for the order of sums of float64.
func near(a, b float64) bool { return math.Abs(a-b) <= 1e-14*max(1, math.Abs(b)) }

// names returns names of classes.
func names(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("class %d", i))
	}
	return all
}

// TestTally: every number is scikit-learn's.
func TestTally(t *testing.T) {
	for _, c := range goldens[scored](t, "single") {
		t.Run(c.Name, func(t *testing.T) {
			k := len(c.Scores[0])
			for top := range k {
				tally := NewTally(names(k), top, -1)
				for i, p := range c.Scores {
					if err := tally.Add(i, fmt.Sprint(i), c.Labels[i], p); err != nil {
						t.Fatal(err)
					}
				}
				r, err := tally.Result()
				if err != nil {
					t.Fatal(err)
				}
				if want := c.Top; top > 0 && (r.Top != top || !near(r.TopAccuracy, want[top-1])) {
					t.Errorf("top %d is %v, want %v", r.Top, r.TopAccuracy, want[top-1])
				}
				if top > 0 {
					continue
				}
				if r.Top != 0 && k <= DefaultTop {
					t.Errorf("there is a top %d of %d classes", r.Top, k)
				}
				if r.Pictures != len(c.Labels) || !near(r.Accuracy, c.Accuracy) || !near(r.Loss, c.Loss) || !near(r.Macro.Recall, c.Balanced) {
					t.Errorf("%d pictures, accuracy %v, loss %v, recall %v, want %d, %v, %v, %v", r.Pictures, r.Accuracy, r.Loss, r.Macro.Recall, len(c.Labels), c.Accuracy, c.Loss, c.Balanced)
				}
				same := func(what string, got Scores, want measured) {
					if !near(got.Precision, want.Precision) || !near(got.Recall, want.Recall) || !near(got.F1, want.F1) {
						t.Errorf("%s: %+v, want %+v", what, got, want)
					}
				}
				same("macro", r.Macro, c.Macro)
				for i, want := range c.Classes {
					got := r.Classes[i]
					same(got.Name, got.Scores, want)
					if got.Pictures != want.Support || got.Right != c.Confusion[i][i] {
						t.Errorf("%s: %d pictures, %d right, want %d, %d", got.Name, got.Pictures, got.Right, want.Support, c.Confusion[i][i])
					}
					if row := r.Confusion.Row(i); !slices.Equal(row, c.Confusion[i]) {
						t.Errorf("row %d of the confusion matrix is %v, want %v", i, row, c.Confusion[i])
					}
				}
				if len(r.Wrong) != r.Pictures-r.Right {
					t.Errorf("%d wrong pictures, want %d", len(r.Wrong), r.Pictures-r.Right)
				}
				for _, w := range r.Wrong {
					p := c.Scores[w.Index]
					if w.Wanted != names(k)[c.Labels[w.Index]] || w.OfWanted != p[c.Labels[w.Index]] || w.Probability != slices.Max(p) || w.Got != names(k)[slices.Index(p, slices.Max(p))] {
						t.Errorf("picture %d: %+v", w.Index, w)
					}
				}
			}
		})
	}
}

// TestWrong: the surest mistakes are kept, as many as are asked for, in one order.
func TestWrong(t *testing.T) {
	for _, keep := range []int{0, 1, 7, 1000, -1} {
		r := rand.New(rand.NewPCG(1, 2))
		tally := NewTally([]string{"a", "b"}, 0, keep)
		var want []Wrong
		for i := range 300 {
			p := float64(r.IntN(20)) / 20 // with many that are as sure
			if err := tally.Add(i, fmt.Sprint(i), 0, []float64{p, 1 - p}); err != nil {
				t.Fatal(err)
			}
			if p < 0.5 {
				want = append(want, Wrong{Index: i, Path: fmt.Sprint(i), Wanted: "a", Got: "b", Probability: 1 - p, OfWanted: p})
			}
		}
		slices.SortStableFunc(want, func(a, b Wrong) int { return int(1000 * (b.Probability - a.Probability)) })
		if keep >= 0 {
			want = want[:min(keep, len(want))]
		}
		got, err := tally.Result()
		if err != nil || !slices.Equal(got.Wrong, want) {
			t.Errorf("%d are kept, %d wanted of %d (%v)", len(got.Wrong), len(want), keep, err)
		}
	}
}

func TestTallyErrors(t *testing.T) {
	tally := NewTally([]string{"a", "b"}, 0, 0)
	if _, err := tally.Result(); err == nil {
		t.Error("no pictures are no error")
	}
	for _, c := range []struct {
		wanted int
		p      []float64
		want   string
	}{
		{0, []float64{1}, "x.png: 1 probabilities, want 2"}, {2, []float64{0, 1}, "class 2, want 0 to 1"}, {-1, []float64{0, 1}, "class -1"},
		{0, []float64{math.NaN(), 1}, `probability of "a" is NaN`}, {0, []float64{0, math.Inf(1)}, `"b" is +Inf`}, {0, []float64{-0.1, 1}, `"a" is -0.1`},
	} {
		if err := tally.Add(0, "x.png", c.wanted, c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("class %d of %v: error is %v, want %q", c.wanted, c.p, err, c.want)
		}
	}
	// What can not happen by a model has a finite loss.
	if err := tally.Add(0, "x.png", 0, []float64{0, 1}); err != nil {
		t.Fatal(err)
	}
	if r, err := tally.Result(); err != nil || math.IsInf(r.Loss, 0) || r.Loss < 700 {
		t.Errorf("loss of a probability of 0 is %v, %v", r.Loss, err)
	}
}
