package job

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
)

// TestEvaluation: the report of every run that learns classes says of the pictures to validate on what their validation
// said, with the tables beside it.
func TestEvaluation(t *testing.T) {
	pictures := filepath.Join(t.TempDir(), "pictures")
	if err := shapes.Write(pictures, 0, 6, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	few := Overrides{Epochs: new(2), Batch: new(8)}
	tuned := few
	tuned.Rate = new(0.003)
	for _, c := range []struct {
		name string
		r    Request
	}{
		{"probe by AdamW", Request{Recipe: "probe", Solver: AdamW, Overrides: few}},
		{"probe by L-BFGS", Request{Recipe: "probe", Solver: LBFGS}},
		{"lora", Request{Recipe: "lora", Overrides: tuned}},
		{"full", Request{Recipe: "full", Overrides: tuned}},
		{"mixed", Request{Recipe: "full", WiseFT: new(0.5), Overrides: tuned}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.r
			r.Model, r.Data, r.Output, r.Split = golden.Path(t, "testdata/tiny/huggingface"), pictures, filepath.Join(t.TempDir(), "out"), 0.34
			var accuracy float64
			report := filepath.Join(r.Output, "report.md")
			if r.Solver == LBFGS {
				p, err := OpenProbe(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				f, err := p.Run(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				accuracy = f.Validation.Accuracy()
			} else {
				w, result := run(t, r)
				accuracy = result.Best.Score
				if w.Mixed != nil {
					accuracy = *w.Mixed
				}
			}
			page, err := os.ReadFile(report)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				fmt.Sprintf("| validation: accuracy | %.4f, ", accuracy), "| validation: pictures | 12 |", "## Classes", "| validation: top 5 |", "(evaluation/wrong.jpg)",
			} {
				if !strings.Contains(string(page), want) {
					t.Errorf("no %q in\n%s", want, page)
				}
			}
			f, err := os.Open(filepath.Join(r.Output, evaluationFolder, "confusion.csv"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			rows, err := csv.NewReader(f).ReadAll()
			if err != nil || len(rows) != 7 {
				t.Fatalf("%d rows, %v", len(rows), err)
			}
			right, all := 0, 0
			for i, row := range rows[1:] {
				for j, s := range row[1:] {
					n := 0
					if _, err := fmt.Sscan(s, &n); err != nil {
						t.Fatal(err)
					}
					all += n
					if i == j {
						right += n
					}
				}
			}
			if all != 12 || float64(right)/float64(all) != accuracy {
				t.Errorf("%d of %d are right, want %v", right, all, accuracy)
			}
		})
	}

	// Nothing to validate on, and nothing of classes.
	r := Request{Model: golden.Path(t, "testdata/tiny/huggingface"), Data: pictures, Recipe: "full", Output: filepath.Join(t.TempDir(), "out"), Overrides: few}
	run(t, r)
	r.Split, r.Teacher, r.Output = 0.34, r.Model, filepath.Join(t.TempDir(), "out")
	run(t, r)
	if _, err := os.Stat(filepath.Join(r.Output, evaluationFolder)); err == nil {
		t.Error("a run of no classes has an evaluation")
	}
}

// TestEvaluationMulti: of labels that do not exclude each other, the report has the mean average precision that validation
// had, by every solver; and Write says how far it is.
func TestEvaluationMulti(t *testing.T) {
	dir := t.TempDir()
	if err := shapes.Write(filepath.Join(dir, "pictures"), 0, 6, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	table, lists := filepath.Join(dir, "table.jsonl"), map[string]string{"circle": `["round"]`, "ring": `["hollow","round"]`, "star": `["spiky"]`, "cross": `["spiky"]`}
	rows := ""
	for _, class := range shapes.Classes() {
		paths, _ := filepath.Glob(filepath.Join(dir, "pictures", class, "*"))
		for _, p := range paths {
			list := lists[class]
			if list == "" {
				list = "[]"
			}
			rows += fmt.Sprintf("{\"path\":%q,\"labels\":%s}\n", p, list)
		}
	}
	if err := os.WriteFile(table, []byte(rows), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, solver := range []string{AdamW, LBFGS} {
		r := Request{
			Model: golden.Path(t, "testdata/tiny/huggingface"), Data: table, Output: filepath.Join(t.TempDir(), "out"), Split: 0.34, Recipe: "probe", Solver: solver,
		}
		var score float64
		if solver == LBFGS {
			p, err := OpenProbe(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			f, err := p.Run(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			score = f.Validation.MeanAP
		} else {
			r.Overrides = Overrides{Epochs: new(3), Batch: new(5), HeadRate: new(0.05)}
			j, err := Open(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			heard, all := 0, 0
			j.Judging = func(done, total int) { heard, all = done, total }
			result, err := j.Trainer.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Write(t.Context(), result); err != nil {
				t.Fatal(err)
			}
			if score = result.Best.Score; heard == 0 || heard != all {
				t.Errorf("heard of %d of %d pictures", heard, all)
			}
		}
		page, err := os.ReadFile(filepath.Join(r.Output, "report.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{fmt.Sprintf("| validation: mean average precision | %.4f |", score), "| validation: all labels right |", "average precision |"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s: no %q in\n%s", solver, want, page)
			}
		}
	}
}
