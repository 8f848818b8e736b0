package finetune

import (
	"fmt"
	"testing"
	"time"

	"github.com/vitago/vitago/finetune/history"
)

// TestProgress: every batch is told of once, and what is said to be left is what comes.
func TestProgress(t *testing.T) {
	for _, every := range []int{0, 3} {
		t.Run(fmt.Sprint("validations after ", every), func(t *testing.T) {
			c, _ := goldenConfig(t, 1)
			c.Validation, c.ValidateEvery = c.Train, every
			tr, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			const train, judge = time.Hour, time.Minute
			all := tr.Left(history.Pace{Train: train, Validation: judge}, false)
			var learnt, judged, last int
			var events []history.Progress
			tr.Progress = func(p history.Progress) {
				events = append(events, p)
				if p.Validated > 0 {
					judged++
					return
				}
				learnt++
				if p.Batch != last+1 {
					t.Errorf("batch %d after %d", p.Batch, last)
				}
				last = p.Batch
				// What is left at another pace, before the batch is counted in a step.
				if p.Left <= 0 && p.Batch < p.Batches {
					t.Errorf("nothing is left after batch %d of %d", p.Batch, p.Batches)
				}
			}
			if _, err := tr.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Duration(learnt)*train + time.Duration(judged)*judge; got != all {
				t.Errorf("%d batches learnt, %d judged: %v, was to be %v", learnt, judged, got, all)
			}
			if e := events[0]; e.Step != 0 || e.Steps != 20 || e.Batches != learnt || e.Validated != 1 || e.Validation != 12 || e.Left != 0 {
				t.Errorf("begins with %+v", e)
			}
			if left := tr.Left(history.Pace{Train: train, Validation: judge}, false); left != 0 {
				t.Errorf("%v left in the end", left)
			}
		})
	}
}

// TestMeasure: a run that was measured before comes to the same bits.
func TestMeasure(t *testing.T) {
	for _, batch := range []int{4, 1} {
		c, _ := goldenConfig(t, batch)
		c.Validation = c.Train
		plain, _ := run(t, c)
		c, _ = goldenConfig(t, batch)
		c.Validation = c.Train
		tr, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tr.Measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if p.Train <= 0 || p.Validation <= 0 || p.Batches < 2 || tr.Step() != 0 || len(tr.History()) != 0 {
			t.Errorf("%+v, %d steps, %d events", p, tr.Step(), len(tr.History()))
		}
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if hashOf(&plain.model) != hashOf(&tr.model) {
			t.Errorf("batches of %d: a run that was measured comes to something else", batch)
		}
	}
}
