package main

import (
	"fmt"
	"io"
	"math"

	"github.com/vitago/vitago/finetune"
)

// trainingSink returns what shows a run that has made so many steps to a person: on a terminal a bar, and
// lines for validations; elsewhere lines. stop must be called before anything else is written to w.
func trainingSink(w io.Writer, every int, measure string, step int) (sink finetune.Sink, stop func()) {
	if _, ok := terminal(w); !ok {
		return finetune.NewLines(w, every, measure), func() {}
	}
	p := startProgress(w, "training", func(n int64) string { return fmt.Sprint(n) })
	p.skipped.Store(int64(step))
	return barSink(p, measure), func() { p.stop() }
}

// barSink returns a sink that shows steps by p, and validations and the last step in lines above it.
func barSink(p *progress, measure string) finetune.Sink {
	lines := finetune.NewLines(p, math.MaxInt, measure)
	return finetune.SinkFunc(func(e finetune.Event) error {
		if e.Kind == finetune.TrainEvent {
			p.note.Store(fmt.Sprintf("loss %.4f  %s %.3f  rate %.0f%%  %.4g images/s", e.Loss, measure, e.Score, 100*e.Factor, e.Rate))
			p.set(int64(e.Step), int64(e.Steps))
		}
		return lines.Write(e)
	})
}
