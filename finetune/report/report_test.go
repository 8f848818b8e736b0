package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
)

func TestReport(t *testing.T) {
	r := Report{
		Title: "A run", Facts: [][2]string{{"model", "a|b"}}, Table: "group\n", Measure: "accuracy",
		Result: &finetune.Result{Steps: 100, Stopped: "it was enough", Skipped: map[string]string{"x.jpg": "is\nbroken"}, Memory: 1.5e9},
	}
	for i := 1; i <= 100; i++ {
		r.Result.History = append(r.Result.History, history.Event{Kind: history.TrainEvent, Step: i, Loss: 1 / float64(i), Images: i % 7, Seconds: 2, Rate: float64(i)})
	}
	r.Result.History = append(r.Result.History, history.Event{Kind: history.ValidationEvent, Step: 50, Loss: 0.5, Score: 0.75})
	r.Result.Best = &r.Result.History[100]
	r.Result.History = append(r.Result.History, history.Event{Kind: history.ValidationEvent, Loss: 2, Score: 0.25})
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	page, _ := os.ReadFile(filepath.Join(dir, PageFile))
	for _, want := range []string{
		"# A run\n", `| model | a\|b |`, "| accuracy before | 0.2500 |", "| best accuracy | 0.7500, after step 50 |", "| a step | 2 s, 51 images/s |", "| peak memory | 1.50 GB |", "| stopped early | it was enough |", "![loss](curve.svg)",
		"| 1 | 1.00000 | 0.0000 |", "| 100 | 0.01000 | 0.0000 |", "| 50 | 0.50000 | 0.7500 |", "- `x.jpg`: is broken",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if n := bytes.Count(page, []byte("\n| ")); n > 3+8+2*rowsShown {
		t.Errorf("%d rows", n)
	}
	curve, _ := os.ReadFile(filepath.Join(dir, CurveFile))
	d := xml.NewDecoder(bytes.NewReader(curve))
	lines := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "path" {
			lines++
		}
	}
	if lines < 3 { // the two curves, and an axis
		t.Errorf("%d lines in the curve", lines)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	dir = t.TempDir()
	if err := (Report{Result: &finetune.Result{}}).Write(dir); err != nil {
		t.Errorf("an empty run: %v", err)
	}
	if page, _ := os.ReadFile(filepath.Join(dir, PageFile)); bytes.Contains(page, []byte("curve")) || bytes.Contains(page, []byte("steps")) {
		t.Errorf("an empty run has a curve:\n%s", page)
	}
	if err := r.Write(filepath.Join(dir, "absent")); err == nil || !strings.Contains(err.Error(), filepath.Join("absent", PageFile)+": ") {
		t.Errorf("error is %v, want one that names the file", err)
	}
}
