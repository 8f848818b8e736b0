package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/vitago/vitago/finetune/job"
)

// fitHead finds the head that fits the features of a frozen tower best, with the sweep of the CLIP paper.
func (f *finetuneFlags) fitHead(ctx context.Context, out, errw io.Writer) error {
	j, err := job.OpenProbe(ctx, f.Request)
	if err != nil {
		return err
	}
	defer j.Close()
	note(errw, j.Notes)
	fmt.Fprintf(errw, "%d classes, %d pictures; the tower is frozen, %d numbers learn\n", len(j.Classes), j.Pictures, j.Numbers)
	if f.DryRun {
		o, err := j.Measure(ctx)
		if err != nil {
			return err
		}
		return writeOutline(out, o)
	}
	p := startProgress(errw, "features", func(n int64) string { return fmt.Sprint(n) })
	r, err := j.Run(ctx, func(done, cached, total int) { p.skipped.Store(int64(cached)); p.set(int64(done), int64(total)) })
	p.stop()
	if err != nil {
		return err
	}
	rows := r.Facts()
	if err := r.Unread(); err != nil {
		rows = append(rows, [2]string{"skipped", fmt.Sprintf("%d pictures that cannot be read; see the report", len(r.Skipped))})
		fmt.Fprintln(failures(ctx, errw), plain(err))
	}
	rows = append(rows, [2]string{"model", r.Model}, [2]string{"report", r.Report})
	var b bytes.Buffer
	table(&b, rows)
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	fmt.Fprintf(errw, "trained in %s\n", seconds(r.Duration))
	return nil
}
