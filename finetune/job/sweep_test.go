package job

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/shapes"
)

// sweep is a sweep of a grid, and the names of its runs.
func sweep(t *testing.T) (Request, []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	if err := shapes.Write(dir, 0, 6, 24, false, 1); err != nil {
		t.Fatal(err)
	}
	return Request{
		Model: golden.Path(t, "testdata/tiny/huggingface"), Data: dir, Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"), Split: 0.5, Seed: 1,
		Overrides: Overrides{Epochs: new(1), Accumulate: new(1), Batch: new(6)},
		Sweep:     []Axis{{"rate", []float64{0.001, 0.02}}, {"rank", []float64{1, 3}}},
	}, []string{"rate=0.001,rank=1", "rate=0.001,rank=3", "rate=0.02,rank=1", "rate=0.02,rank=3"}
}

// TestSweep: each combination is a run that comes to what it comes to alone, the best first; what was interrupted goes on, and
// what has ended is kept.
func TestSweep(t *testing.T) {
	r, names := sweep(t)
	ctx, cancel := context.WithCancel(t.Context())
	var begun []string
	begin := func(run SweepRun, number, of int, j *Job) func() {
		begun = append(begun, run.Name)
		if of != 4 {
			t.Errorf("run %d of %d", number, of)
		}
		j.Trainer.Sinks = append(j.Trainer.Sinks, history.SinkFunc(func(e history.Event) error {
			if number == 3 && e.Step == 1 && e.Kind == history.TrainEvent {
				cancel()
			}
			return nil
		}))
		return nil
	}
	if _, err := Sweep(ctx, r, Hearer{begin}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v, want that of the context", err)
	}
	if !slices.Equal(begun, names[:3]) {
		t.Fatalf("begun were %v", begun)
	}
	if _, err := Sweep(t.Context(), r, Hearer{}); !errors.Is(err, ErrOverwrite) || !errors.Is(err, ErrRefused) {
		t.Errorf("begun again: %v", err)
	}
	r.Resume = true
	other := r
	other.Augment.Flip = 0.5
	if _, err := Sweep(t.Context(), other, Hearer{}); !errors.Is(err, finetune.ErrOtherRun) || !strings.Contains(err.Error(), "is of another run: augment.flip: none, now 0.5") {
		t.Errorf("another request: %v", err)
	}
	begun = nil
	ctx = t.Context()
	s, err := Sweep(ctx, r, Hearer{begin})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(begun, names[2:]) {
		t.Errorf("begun were %v after the interruption", begun)
	}
	last := 2.0
	for _, run := range s.Runs {
		if run.Score == nil || *run.Score > last || run.Steps == 0 || run.Measure != "accuracy" || run.Error != "" {
			t.Errorf("%+v after a score of %v", run, last)
			continue
		}
		last = *run.Score
		// The same alone.
		alone := r
		alone.Sweep, alone.Resume, alone.Output = nil, false, filepath.Join(t.TempDir(), "alone")
		alone.Overrides.Rate, alone.Overrides.Rank = new(run.Values["rate"]), new(int(run.Values["rank"]))
		w, result := runAlone(t, alone)
		if result.Best.Score != *run.Score || result.Best.Loss != run.Loss {
			t.Errorf("%s: score %v, loss %v, alone %v and %v", run.Name, *run.Score, run.Loss, result.Best.Score, result.Best.Loss)
		}
		for _, file := range []string{"model.safetensors", "head.safetensors"} {
			a, err1 := os.ReadFile(filepath.Join(w.Model, file))
			b, err2 := os.ReadFile(filepath.Join(r.Output, run.Name, history.ModelFolder, file))
			if err1 != nil || err2 != nil || string(a) != string(b) {
				t.Errorf("%s: %s differs from that of the run alone: %v, %v", run.Name, file, err1, err2)
			}
		}
	}
	m, err := converter.Open(s.Model)
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	best, err := os.ReadFile(filepath.Join(r.Output, s.Runs[0].Name, history.ModelFolder, "head.safetensors"))
	if linked, e := os.ReadFile(filepath.Join(s.Model, "head.safetensors")); err != nil || e != nil || string(best) != string(linked) {
		t.Errorf("the model is not that of %s: %v, %v", s.Runs[0].Name, err, e)
	}
	page, _ := os.ReadFile(s.Page)
	table, _ := os.ReadFile(filepath.Join(r.Output, SweepCSV))
	if !strings.Contains(string(page), "| rate | rank | accuracy | loss | step | steps | seconds | run | failed |\n|---|---|---|---|---|---|---|---|---|\n") ||
		!strings.HasPrefix(string(table), "rate,rank,accuracy,loss,step,steps,seconds,run,failed\n") || strings.Count(string(table), "\n") != 5 {
		t.Errorf("page %s, table %s", page, table)
	}
	// The best without its model, to which that of the sweep leads: its run goes on from its last checkpoint, and writes it again.
	if err := os.RemoveAll(filepath.Join(r.Output, s.Runs[0].Name, history.ModelFolder)); err != nil {
		t.Fatal(err)
	}
	begun = nil
	again, err := Sweep(ctx, r, Hearer{func(run SweepRun, _, _ int, _ *Job) func() { begun = append(begun, run.Name); return nil }})
	if err != nil || !slices.Equal(begun, []string{s.Runs[0].Name}) || *again.Runs[0].Score != *s.Runs[0].Score || again.Runs[0].Loss != s.Runs[0].Loss {
		t.Errorf("begun were %v for a model that is gone: %+v, %v", begun, again, err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Model, "head.safetensors")); err != nil || string(b) != string(best) {
		t.Errorf("the model that was gone is another: %v", err)
	}
	// More values: what is there is kept.
	r.Sweep[1].Values = append(r.Sweep[1].Values, 2)
	begun = nil
	if s, err = Sweep(ctx, r, Hearer{func(run SweepRun, _, _ int, _ *Job) func() { begun = append(begun, run.Name); return nil }}); err != nil || len(s.Runs) != 6 {
		t.Fatalf("%d runs: %v", len(s.Runs), err)
	}
	if !slices.Equal(begun, []string{"rate=0.001,rank=2", "rate=0.02,rank=2"}) {
		t.Errorf("begun were %v for more values", begun)
	}
}

func runAlone(t *testing.T, r Request) (Written, *finetune.Result) { t.Helper(); return run(t, r) }

// TestSweepFails: a run that diverges or cannot begin is a row, and the others go on; features are kept from run to run.
func TestSweepFails(t *testing.T) {
	r, _ := sweep(t)
	r.Sweep = []Axis{{"blocks", []float64{1, 99}}}
	r.Recipe = "last-n"
	s, err := Sweep(t.Context(), r, Hearer{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Runs) != 2 || s.Runs[0].Name != "blocks=1" || s.Runs[1].Score != nil || !strings.Contains(s.Runs[1].Error, "more blocks are to learn than are used") {
		t.Errorf("got %+v", s.Runs)
	}
	r, _ = sweep(t)
	r.Recipe, r.Solver, r.Sweep = "probe", AdamW, []Axis{{"head_rate", []float64{0.001, 0.1}}}
	if s, err = Sweep(t.Context(), r, Hearer{}); err != nil || len(s.Runs) != 2 {
		t.Fatalf("%+v: %v", s, err)
	}
	if entries, err := os.ReadDir(filepath.Join(r.Output, featuresFolder)); err != nil || len(entries) == 0 {
		t.Errorf("no features are kept: %v", err)
	}
	r.Sweep, r.Output = []Axis{{"blocks", []float64{99}}}, filepath.Join(t.TempDir(), "none")
	r.Recipe, r.Solver = "last-n", ""
	if s, err = Sweep(t.Context(), r, Hearer{}); err != nil || s.Model != "" || s.Runs[0].Error == "" {
		t.Errorf("all failed: %+v: %v", s, err)
	}
	// One run beside a sweep without a model would be taken for one of its own.
	for _, resume := range []bool{false, true} {
		one := r
		one.Sweep, one.Resume, one.Overrides.Blocks = nil, resume, new(1)
		if _, err := Open(t.Context(), one); !errors.Is(err, ErrOverwrite) || !strings.Contains(err.Error(), "and this is one run") {
			t.Errorf("one run in the output of a sweep: %v", err)
		}
	}
	if text := oneLine("a\n\n b  c\n"); text != "a; b  c" {
		t.Errorf("one line is %q", text)
	}
}

func TestSweepRefuses(t *testing.T) {
	for _, c := range []struct {
		change func(r *Request)
		want   string
	}{
		{func(r *Request) { r.Sweep = []Axis{} }, "sweep: no field"},
		{func(r *Request) { r.Sweep[0].Field = "targets" }, `sweep: "targets" is no number of a recipe`},
		{func(r *Request) { r.Sweep[0].Field = "seed" }, `sweep: "seed" is no number`},
		{func(r *Request) { r.Sweep[1].Field = "rate" }, "sweep: rate stands twice"},
		{func(r *Request) { r.Sweep[0].Values = nil }, "sweep: rate has no values"},
		{func(r *Request) { r.Sweep[0].Values = []float64{1, 1} }, "sweep: rate has 1 twice"},
		{func(r *Request) { r.Sweep[1].Values = []float64{1.5} }, "sweep: rank is 1.5"},
		{func(r *Request) { r.Sweep[0].Values = []float64{7} }, "overrides.rate: rate is 7, want 0 to 1"},
		{func(r *Request) { r.Overrides.Rate = new(0.1) }, "sweep says overrides.rate, too"},
		{func(r *Request) { r.Split = 0 }, "sweep compares runs by pictures to validate on"},
		{func(r *Request) { r.Sweep[1] = Axis{"blocks", []float64{1}} }, "overrides.blocks is of the recipe last-n"},
		{func(r *Request) {
			r.Recipe, r.Sweep, r.Overrides = "probe", []Axis{{"head_rate", []float64{1, 0.1}}}, Overrides{}
		}, "overrides.head_rate goes with solver adamw"},
	} {
		r, _ := sweep(t)
		c.change(&r)
		if err := r.Check(); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want one with %q", err, c.want)
		}
	}
	r, _ := sweep(t)
	if _, err := Open(t.Context(), r); !errors.Is(err, ErrRequest) {
		t.Errorf("one run of a sweep: %v", err)
	}
	r.Sweep[1].Values = []float64{1.5}
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "sweep: rank is 1.5, want a whole number") {
		t.Errorf("error is %v", err)
	}
	r, _ = sweep(t)
	run := filepath.Join(r.Output, "rate=0.02,rank=3", history.ModelFolder) // of another, which the sweep would take for its own
	if err := os.MkdirAll(run, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(t.Context(), r, Hearer{}); !errors.Is(err, ErrOverwrite) || !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "rate=0.02,rank=3 is there already, and not of a sweep") {
		t.Errorf("a run that is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.Output, sweepFile)); err == nil {
		t.Error("what is refused has written something")
	}
	if err := os.RemoveAll(r.Output); err != nil {
		t.Fatal(err)
	}
	if s, err := Sweep(t.Context(), func() Request { r.DryRun = true; return r }(), Hearer{}); err != nil || len(s.Runs) != 4 {
		t.Errorf("a dry run: %v", err)
	}
	if _, err := os.Stat(r.Output); err == nil {
		t.Error("a dry run has written something")
	}
}

// FuzzSweep: whatever a file of a sweep holds, its runs have ended.
func FuzzSweep(f *testing.F) {
	for _, text := range []string{
		`{"request": {"data": "x"}, "runs": [{"name": "rate=1", "values": {"rate": 1}, "score": 0.5}]}`, `{"request": null}`, `{"request": {"data": "y"}}`, `{"runs": [{}]}`, `[]`, `{`, `{"request": {"data": "x", "%s{}": {"a": [1]}}}`,
		`{"request": {"data": "x"}, "runs": [{"error": "e"}, null]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		runs, err := readSweep("out", text, []byte(`{"data": "x"}`))
		for _, run := range runs {
			if run.Score == nil && run.Error == "" || err != nil {
				t.Errorf("%+v: %v", run, err)
			}
		}
	})
}
