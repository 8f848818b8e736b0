package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// axes reads what a sweep is over: NAME=VALUE,VALUE… with the name of a flag.
func axes(texts []string) (all []job.Axis, err error) {
	for _, text := range texts {
		name, values, ok := strings.Cut(text, "=")
		a := job.Axis{Field: strings.ReplaceAll(strings.TrimPrefix(name, "--"), "-", "_")}
		if !ok || name == "" {
			return nil, usagef("--sweep is %q, want NAME=VALUE,VALUE with the name of a flag, such as rate=1e-5,1e-4", text)
		}
		for v := range strings.SplitSeq(values, ",") {
			x, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				return nil, usagef("--sweep is %q: %q is no number", text, v)
			}
			a.Values = append(a.Values, x)
		}
		all = append(all, a)
	}
	return all, nil
}

// sweep makes a run for each combination of values, and writes the table of them.
func (f *finetuneFlags) sweep(ctx context.Context, out, errw io.Writer) error {
	if f.DryRun {
		return f.drySweep(ctx, out, errw)
	}
	noted := false
	s, err := job.Sweep(ctx, f.Request, job.Hearer{Begin: func(run job.SweepRun, number, of int, j *job.Job) func() {
		if !noted {
			note(errw, j.Notes)
			noted = true
		}
		fmt.Fprintf(errw, "run %d of %d: %s\n", number, of, run.Name)
		sink, heard, stop := trainingSink(errw, f.every, j.Trainer.Objective.Measure())
		j.Trainer.Sinks, j.Trainer.Progress = append(j.Trainer.Sinks, sink), heard
		return stop
	}})
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(errw, "stopped; --resume goes on")
		}
		return err
	}
	failed := 0
	for _, r := range s.Runs {
		if r.Error != "" {
			failed++
		}
	}
	if f.json {
		err := writeJSON(out, struct {
			Runs   []namedRun  `json:"runs"`
			Model  pyjson.Name `json:"model,omitempty"`
			Report pyjson.Name `json:"report"`
		}{runsJSON(s.Runs), pyjson.Name(s.Model), pyjson.Name(s.Page)})
		if err == nil && failed == len(s.Runs) {
			err = allFailed(failed)
		}
		return err
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range s.Rows() {
		if last := len(row) - 1; row[last] != "" {
			row[last] = plain(errors.New(row[last]))
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	t.Flush() // b is a buffer
	b.WriteString("\n")
	rows := [][2]string{}
	if s.Model != "" {
		rows = append(rows, [2]string{"model", fmt.Sprintf("%s, that of %s", s.Model, s.Runs[0].Name)})
	}
	table(&b, append(rows, [2]string{"report", s.Page}))
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	if failed == len(s.Runs) {
		return allFailed(failed)
	}
	return nil
}

// allFailed is the error of a sweep of which nothing came.
func allFailed(n int) error { return fmt.Errorf("all of %s failed", plural.Of(n, "run")) }

// drySweep says what the runs of a sweep come to, by the first of them.
func (f *finetuneFlags) drySweep(ctx context.Context, out, errw io.Writer) error {
	requests, runs, err := f.Runs()
	if err != nil {
		return err
	}
	j, err := job.Open(ctx, requests[0])
	if err != nil {
		return err
	}
	defer j.Close()
	note(errw, j.Notes)
	fmt.Fprintf(errw, "%s\n%s\n", j.Trainer.Table(), j.Trainer.Memory())
	o, err := j.Measure(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, r := range runs {
		names = append(names, r.Name)
	}
	if f.json {
		return writeJSON(out, outlineOf(o, names...))
	}
	rows := append([][2]string{{"runs", fmt.Sprintf("%d: %s", len(runs), strings.Join(names, " "))}}, o.Rows()...)
	rows = append(rows, [2]string{"all runs", fmt.Sprintf("about %s, if all take what the first takes", job.About(time.Duration(len(runs))*o.Time))})
	var b bytes.Buffer
	table(&b, rows)
	_, err = out.Write(b.Bytes())
	return err
}
