package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/job"
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
		return writeOutline(out, o)
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
	var b bytes.Buffer
	table(&b, trained(measure, r, w))
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(r.Duration))
	return nil
}

// writeOutline writes what a run comes to.
func writeOutline(out io.Writer, o job.Outline) error {
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
		add("skipped", "%d pictures that cannot be read; see the report", n)
	}
	add("model", "%s", w.Model)
	add("report", "%s", w.Report)
	return rows
}
