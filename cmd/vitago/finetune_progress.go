package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/job"
)

// trainingSink returns what shows a run to a person, and what hears of its batches: on a terminal a bar, and lines for
// validations; elsewhere lines. stop must be called before anything else is written to w.
func trainingSink(w io.Writer, every int, measure string) (sink history.Sink, heard func(history.Progress), stop func()) {
	if _, ok := terminal(w); !ok {
		l := batchLines{w: w, began: time.Now()}
		lines := history.NewLines(w, every, measure)
		return history.SinkFunc(func(e history.Event) error {
			l.last = time.Now() // a line, or a step at least
			return lines.Write(e)
		}), l.heard, func() {}
	}
	p := startProgress(w, "training", func(n int64) string { return fmt.Sprint(n) })
	return barSink(p, measure), func(e history.Progress) { barHeard(p, e) }, func() { p.stop() }
}

// barHeard shows batches by p, between the steps.
func barHeard(p *progress, e history.Progress) {
	p.left.Store(int64(e.Left))
	if e.Validated > 0 {
		p.note.Store(fmt.Sprintf("validation: batch %d of %d", e.Validated, e.Validation))
	} else if e.Step == 0 { // later the steps have more to say
		p.note.Store(fmt.Sprintf("batch %d of %d", e.Batch, e.Batches))
	}
	p.set(int64(e.Step), int64(e.Steps))
}

// batchLines are lines about batches where steps are rare: how long the run takes, as soon as the first batch is done, and
// one from time to time.
type batchLines struct {
	w           io.Writer
	began, last time.Time
	told        bool // how long it takes
}

func (l *batchLines) heard(e history.Progress) {
	now := time.Now()
	switch {
	case e.Validated == 0 && e.Batch == 1 && e.Pace.Train < time.Second: // it begins cold, and soon there are steps
	case e.Validated == 0 && !l.told && e.Left > progressAfter && e.Step == 0:
		fmt.Fprintf(l.w, "a batch takes %s; about %s left\n", fewSeconds(e.Pace.Train), job.About(e.Left))
		l.last, l.told = now, true
	case now.Sub(l.began) < progressLine || now.Sub(l.last) < progressLine:
	case e.Validated > 0 && e.Left > 0:
		fmt.Fprintf(l.w, "step %d/%d  validation, batch %d of %d  about %s left\n", e.Step, e.Steps, e.Validated, e.Validation, job.About(e.Left))
		l.last = now
	case e.Validated > 0:
		fmt.Fprintf(l.w, "step %d/%d  validation, batch %d of %d\n", e.Step, e.Steps, e.Validated, e.Validation)
		l.last = now
	default:
		fmt.Fprintf(l.w, "step %d/%d  batch %d of %d  about %s left\n", e.Step, e.Steps, e.Batch, e.Batches, job.About(e.Left))
		l.last = now
	}
}

// barSink returns a sink that shows steps by p, and validations and the last step in lines above it.
func barSink(p *progress, measure string) history.Sink {
	lines := history.NewLines(p, math.MaxInt, measure)
	return history.SinkFunc(func(e history.Event) error {
		if e.Kind == history.TrainEvent {
			p.note.Store(fmt.Sprintf("loss %.4f  %s %.3f  rate %.0f%%  %.4g images/s", e.Loss, measure, e.Score, 100*e.Factor, e.Rate))
			p.set(int64(e.Step), int64(e.Steps))
		}
		return lines.Write(e)
	})
}
