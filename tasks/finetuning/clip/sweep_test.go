package clip

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitago/vitago/tasks/finetuning"
)

// TestSweep: a request in JSON may be of several runs.
func TestSweep(t *testing.T) {
	var r finetuning.Request
	text := `{"recipe": "lora", "split": 0.4, "overrides": {"epochs": 1, "accumulate": 1}, "sweep": [{"field": "rate", "values": [0.001, 0.1]}]}`
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	r.Data, r.Output = draw(t, 0, 5), filepath.Join(t.TempDir(), "out")
	heard := map[string]int{}
	response, err := load(t).FineTune(t.Context(), r, func(p finetuning.Progress) error { heard[p.Run]++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(response.Runs) != 2 || len(heard) != 2 || heard["rate=0.1"] < 3 || len(response.Classes) != 3 || response.Runs[0].Score == nil {
		t.Errorf("runs %+v, heard %v", response.Runs, heard)
	}
	for _, path := range []string{response.Model, response.Report} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	_, err = load(t).FineTune(t.Context(), r, nil)
	wantError(t, err, finetuning.ErrRefused, "is there already")
	r.Sweep[0].Field = "rat"
	_, err = load(t).FineTune(t.Context(), r, nil)
	wantError(t, err, finetuning.ErrRequest, `sweep: "rat" is no number of a recipe`)
}
