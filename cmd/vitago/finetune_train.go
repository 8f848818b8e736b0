package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// train trains step by step, and writes all that there is to write.
func (f *finetuneFlags) train(ctx context.Context, out, errw io.Writer) error {
	j, err := job.Open(ctx, f.Request)
	if err != nil {
		return err
	}
	defer j.Close()
	note(errw, j.Notes)
	t := j.Trainer
	fmt.Fprintf(errw, "%s\n%s\n", t.Table(), t.Memory())
	if f.DryRun {
		o, err := j.Measure(ctx)
		if err != nil {
			return err
		}
		return f.writeOutline(out, o)
	}
	if t.Step() > 0 {
		fmt.Fprintf(errw, "resumed after step %d of %d\n", t.Step(), t.Steps())
	}
	measure := t.Objective.Measure()
	sink, heard, stop := trainingSink(errw, f.every, measure)
	t.Sinks, t.Progress = append(t.Sinks, sink), heard
	r, err := t.Run(ctx)
	stop()
	switch {
	case err == nil:
	case ctx.Err() == nil:
		return err
	case err == context.Cause(ctx): //nolint:errorlint // or there is more to it
		fmt.Fprintf(errw, "stopped after step %d of %d; --resume goes on%s\n", t.Step(), t.Steps(), ends(t.Step()))
		return err
	default: // the last checkpoint could not be written
		fmt.Fprintf(failures(ctx, errw), "stopped after step %d of %d; --resume goes on from the last checkpoint: %s\n", t.Step(), t.Steps(), plain(err))
		return err
	}
	p := startProgress(errw, "judging", count)
	j.Judging = func(done, total int) { p.set(int64(done), int64(total)) }
	w, err := j.Write(ctx, r)
	p.stop()
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(out, finishedRun(f.Recipe, measure, r, w))
	} else {
		var b bytes.Buffer
		table(&b, trained(measure, r, w))
		_, err = out.Write(b.Bytes())
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(r.Duration))
	return nil
}

// An outlined run is what --dry-run says in JSON.
type outlined struct {
	Runs       []string        `json:"runs,omitempty"` // of a sweep, of which the rest is what the first comes to
	Pictures   int             `json:"pictures"`
	Validation int             `json:"validation"`
	Classes    []outlinedClass `json:"classes,omitempty"`
	Epochs     int             `json:"epochs,omitempty"`
	Steps      int             `json:"steps,omitempty"`
	PerStep    int             `json:"pictures_per_step,omitempty"`
	Seconds    float64         `json:"seconds"` // about how long it takes
}

type outlinedClass struct {
	Name       string `json:"name"`
	Pictures   int    `json:"pictures"`
	Validation int    `json:"validation"`
}

// outlineOf is an outline for JSON.
func outlineOf(o job.Outline, runs ...string) outlined {
	r := outlined{Runs: runs, Pictures: o.Pictures, Validation: o.Validation, Epochs: o.Epochs, Steps: o.Steps, PerStep: o.PerStep, Seconds: o.Time.Seconds()}
	for _, c := range o.Classes {
		r.Classes = append(r.Classes, outlinedClass{c.Name, c.Train, c.Validation})
	}
	return r
}

// writeOutline writes what a run comes to.
func (f *finetuneFlags) writeOutline(out io.Writer, o job.Outline) error {
	if f.json {
		return writeJSON(out, outlineOf(o))
	}
	var b bytes.Buffer
	table(&b, o.Rows())
	_, err := out.Write(b.Bytes())
	return err
}

// ends says how a run that was stopped becomes a model at once: after its first step, of which a warm-up has nothing learnt.
func ends(step int) string {
	if step < 2 {
		return ""
	}
	return fmt.Sprintf("; --resume --steps %d ends it here with a model", step)
}

// A finished run is what finetune says in JSON.
type finished struct {
	Recipe  string      `json:"recipe"`
	Measure string      `json:"measure"` // of the scores
	Before  *float64    `json:"before,omitempty"`
	Score   *float64    `json:"score,omitempty"` // the best in validation
	Step    int         `json:"step,omitempty"`  // after which that was
	Mixed   *float64    `json:"mixed,omitempty"` // that of tuned and original weights together
	Steps   int         `json:"steps,omitempty"`
	Stopped string      `json:"stopped,omitempty"` // why before its last step
	Skipped int         `json:"skipped"`           // pictures that cannot be read
	Seconds float64     `json:"seconds"`
	Model   pyjson.Name `json:"model"`
	Adapter pyjson.Name `json:"adapter,omitempty"`
	Report  pyjson.Name `json:"report"`
}

// finishedRun is a run for JSON.
func finishedRun(recipe, measure string, r *finetune.Result, w job.Written) finished {
	f := finished{Recipe: recipe, Measure: measure, Mixed: w.Mixed, Steps: r.Steps, Stopped: r.Stopped, Skipped: len(r.Skipped), Seconds: r.Duration.Seconds(), Model: pyjson.Name(w.Model), Adapter: pyjson.Name(w.Adapter), Report: pyjson.Name(w.Report)}
	if e := r.Before(); e != nil {
		f.Before = &e.Score
	}
	if e := r.Best; e != nil {
		f.Score, f.Step = &e.Score, e.Step
	}
	return f
}

// trained says what a run came to, names and values.
func trained(measure string, r *finetune.Result, w job.Written) (rows [][2]string) {
	add := func(name, format string, a ...any) { rows = append(rows, [2]string{name, fmt.Sprintf(format, a...)}) }
	if e := r.Before(); e != nil {
		add(measure+" before", "%.4f", e.Score)
	}
	add("steps", "%d", r.Steps)
	if r.Stopped != "" {
		add("stopped", "%s", r.Stopped)
	}
	if e := r.Best; e != nil {
		add("best "+measure, "%.4f, after step %d", e.Score, e.Step)
	}
	if w.Mixed != nil {
		add("mixed "+measure, "%.4f", *w.Mixed)
	}
	if n := len(r.Skipped); n > 0 {
		add("skipped", "%s that cannot be read; see the report", plural.Of(n, "picture"))
	}
	add("model", "%s", w.Model)
	add("report", "%s", w.Report)
	return rows
}
