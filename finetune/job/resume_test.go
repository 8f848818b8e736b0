package job

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/golden"
)

// TestResumeError: what is not what it was is called by the field that says it, with both values.
func TestResumeError(t *testing.T) {
	r := Request{
		Model: golden.Path(t, "testdata/tiny/huggingface"), Data: draw(t), Recipe: "lora", Output: filepath.Join(t.TempDir(), "out"),
		Overrides: Overrides{Epochs: new(2), Rank: new(2)}, MaxSteps: 1,
	}
	r.Overrides.Warmup = new(0.)
	j, err := Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Trainer.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	j.Close()
	r.Resume = true
	for _, c := range []struct {
		change func(r *Request)
		want   string
	}{
		{func(r *Request) { r.Augment.Flip = 0.5 }, "--augment.flip: 0, now 0.5"},
		{func(r *Request) { r.Augment.Crop = 0.25 }, "--augment.crop: 0, now 0.25"},
		{func(r *Request) { r.Augment.Colour = 0.5 }, "--augment.colour: 0, now 0.5"},
		{func(r *Request) { r.Overrides.Batch = new(3) }, "--overrides.batch: 8, now 3"},
		{func(r *Request) { r.Overrides.Rank = new(3) }, "--overrides.rank: 2, now 3"},
		{func(r *Request) { r.Overrides.Targets = []string{"fc1"} }, "--overrides.targets: q_proj, v_proj, now fc1"},
		{func(r *Request) { r.Seed = 7 }, "--seed: 0, now 7"},
		{func(r *Request) { r.Recipe, r.Overrides = "full", Overrides{Warmup: new(0.)} }, "--recipe: lora, now full"},
		{func(r *Request) { r.Split = 0.5 }, "--data or --split: "},
		{func(r *Request) { r.Fit = "squash" }, "--fit: shortest, now squash"},
	} {
		r := r
		c.change(&r)
		_, err := Open(t.Context(), r)
		var e *ResumeError
		if !errors.As(err, &e) || !errors.Is(err, finetune.ErrOtherRun) || !errors.Is(err, ErrRefused) {
			t.Fatalf("%s: %v, want a ResumeError", c.want, err)
		}
		if got := e.Named(func(field string) string { return "--" + field }); !strings.Contains(got, "of another run: "+c.want) || strings.Count(got, "augment")+strings.Count(got, "batch: ") > 1 {
			t.Errorf("%q, want one with %q", got, c.want)
		}
	}
}
