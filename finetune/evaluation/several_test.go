package evaluation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune/data"
)

// A scoredSet is a case of labels that do not exclude each other; see scored.
type scoredSet struct {
	Name     string
	Scores   [][]float64
	Labels   [][]int // 0 or 1
	AP       []*float64
	Map      float64
	LabelsF1 []measured `json:"labels_f1"`
	Macro    measured
	Micro    measured
	Exact    float64
	Loss     float64
}

// TestMultiTally: every number is scikit-learn's.
func TestMultiTally(t *testing.T) {
	for _, c := range goldens[scoredSet](t, "multi") {
		t.Run(c.Name, func(t *testing.T) {
			k := len(c.Scores[0])
			tally := NewMultiTally(names(k), -1)
			for i, p := range c.Scores {
				var set []int
				for j, l := range c.Labels[i] {
					if l == 1 {
						set = append(set, j)
					}
				}
				if err := tally.AddSet(i, fmt.Sprint(i), set, p); err != nil {
					t.Fatal(err)
				}
			}
			r, err := tally.Result()
			if err != nil {
				t.Fatal(err)
			}
			if !r.Multi || r.Confusion != nil || r.Top != 0 || !near(r.MeanAP, c.Map) || !near(r.Accuracy, c.Exact) || !near(r.Loss, c.Loss) {
				t.Errorf("mean average precision %v, accuracy %v, loss %v, want %v, %v, %v", r.MeanAP, r.Accuracy, r.Loss, c.Map, c.Exact, c.Loss)
			}
			same := func(what string, got Scores, want measured) {
				if !near(got.Precision, want.Precision) || !near(got.Recall, want.Recall) || !near(got.F1, want.F1) {
					t.Errorf("%s: %+v, want %+v", what, got, want)
				}
			}
			same("macro", r.Macro, c.Macro)
			same("micro", r.Micro, c.Micro)
			for i, want := range c.LabelsF1 {
				got := r.Classes[i]
				same(got.Name, got.Scores, want)
				if ap := c.AP[i]; got.Pictures != want.Support || ap != nil && !near(got.AveragePrecision, *ap) || ap == nil && got.AveragePrecision != 0 {
					t.Errorf("%s: %d pictures, average precision %v, want %+v", got.Name, got.Pictures, got.AveragePrecision, want)
				}
			}
			if len(r.Wrong) != r.Pictures-r.Right {
				t.Errorf("%d wrong pictures, want %d", len(r.Wrong), r.Pictures-r.Right)
			}
			for _, w := range r.Wrong {
				p := c.Scores[w.Index]
				i := slices.Index(names(k), w.Label)
				said, is := p[i] > 0.5, c.Labels[w.Index][i] == 1
				if said == is || said && w.Probability != p[i] || !said && w.Probability != 1-p[i] || strings.Contains(w.Wanted, w.Label) != is || strings.Contains(w.Got, w.Label) != said {
					t.Errorf("picture %d: %+v", w.Index, w)
				}
			}
			page := r.Page("Several", nil, r.Files())
			rows(t, page)
			for _, want := range []string{"mean average precision", "| all labels right ", "average precision |"} {
				if !strings.Contains(page, want) {
					t.Errorf("no %q in\n%s", want, page)
				}
			}
			if strings.Contains(page, "Confusion") || r.WriteConfusion(&bytes.Buffer{}) == nil {
				t.Error("there is a confusion matrix")
			}
			text, err := json.Marshal(r)
			if err != nil || !bytes.Contains(text, []byte(`"mean_average_precision":`)) || bytes.Contains(text, []byte("confusion")) {
				t.Errorf("JSON %s, %v", text, err)
			}
		})
	}
	tally := NewMultiTally(names(2), 0)
	for _, err := range []error{tally.AddSet(0, "x", []int{2}, []float64{0, 0}), tally.AddSet(0, "x", nil, []float64{0}), tally.AddSet(0, "x", nil, []float64{0, 2})} {
		if err == nil {
			t.Error("what is no picture of two labels is no error")
		}
	}
	// None has a label, and none gets one.
	if err := tally.AddSet(0, "x", nil, []float64{0, 0.25}); err != nil {
		t.Fatal(err)
	}
	if r, err := tally.Result(); err != nil || r.Accuracy != 1 || r.MeanAP != 0 || r.Macro != (Scores{}) || r.Micro != (Scores{}) {
		t.Errorf("pictures of no label: %+v, %v", r, err)
	}
}

// TestRunMulti: lists of labels are found by name.
func TestRunMulti(t *testing.T) {
	dir := pictureFolder(t, "cat+dog.png", "dog.png", "none.png", "cat.png")
	table := filepath.Join(dir, "t.jsonl")
	text := ""
	for path, labels := range map[string]string{"cat+dog.png": `["cat","dog"]`, "dog.png": `["dog","cat"]`, "none.png": `[]`, "cat.png": `["cat"]`} {
		text += fmt.Sprintf("{\"path\":%q,\"labels\":%s}\n", path, labels)
	}
	if err := os.WriteFile(table, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	d, err := data.OpenTest(table)
	if err != nil {
		t.Fatal(err)
	}
	c := fake{[]string{"emu", "dog", "cat"}, func(name string) []float64 {
		p := make([]float64, 3)
		for i, l := range []string{"emu", "dog", "cat"} {
			if strings.Contains(filepath.Base(name), l) {
				p[i] = 0.75
			}
		}
		return p
	}}
	r, err := Run(t.Context(), c, d, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pictures != 4 || r.Right != 3 || r.Micro.Recall != 4./5 || r.Micro.Precision != 1 || len(r.Wrong) != 1 {
		t.Errorf("got %+v", r)
	}
	if w := r.Wrong[0]; w.Label != "cat" || w.Got != "dog" || w.Wanted != "dog, cat" || w.Probability != 1 || w.OfWanted != 0 {
		t.Errorf("wrong: %+v", w)
	}
	if _, err := Run(t.Context(), c, d, Options{Top: 1}); err == nil {
		t.Error("a top of lists is no error")
	}
	out := t.TempDir()
	if err := r.Write(t.Context(), out, d, false); err != nil {
		t.Fatal(err)
	}
	if names, _ := filepath.Glob(filepath.Join(out, "*")); len(names) != 3 {
		t.Errorf("files %v, want classes.csv, wrong.csv and wrong.jpg", names)
	}
}
