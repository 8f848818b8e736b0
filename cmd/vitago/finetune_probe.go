package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/vitago/vitago/finetune/job"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// fitHead finds the head that fits the features of a frozen tower best, with the sweep of the CLIP paper.
func (f *finetuneFlags) fitHead(ctx context.Context, out, errw io.Writer) error {
	j, err := job.OpenProbe(ctx, f.Request)
	if err != nil {
		return err
	}
	defer j.Close()
	note(errw, j.Notes)
	fmt.Fprintf(errw, "%s, %s; the tower is frozen, %s learn\n", plural.Of(len(j.Classes), "class"), plural.Of(j.Pictures, "picture"), plural.Of(j.Numbers, "number"))
	if f.DryRun {
		o, err := j.Measure(ctx)
		if err != nil {
			return err
		}
		return f.writeOutline(out, o)
	}
	p := startProgress(errw, "features", func(n int64) string { return fmt.Sprint(n) })
	r, err := j.Run(ctx, func(done, cached, total int) { p.skipped.Store(int64(cached)); p.set(int64(done), int64(total)) })
	p.stop()
	if err != nil {
		return err
	}
	rows := r.Facts()
	if err := r.Unread(); err != nil {
		rows = append(rows, [2]string{"skipped", plural.Of(len(r.Skipped), "picture") + " that cannot be read; see the report"})
		fmt.Fprintln(failures(ctx, errw), plain(err))
	}
	rows = append(rows, [2]string{"model", r.Model}, [2]string{"report", r.Report})
	if f.json {
		score := r.Validation.Value()
		err = writeJSON(out, finished{Recipe: f.Recipe, Measure: r.Validation.Measure(), Score: &score, Skipped: len(r.Skipped), Seconds: r.Duration.Seconds(), Model: pyjson.Name(r.Model), Report: pyjson.Name(r.Report)})
	} else {
		var b bytes.Buffer
		table(&b, rows)
		_, err = out.Write(b.Bytes())
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(r.Duration))
	return nil
}
