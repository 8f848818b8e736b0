package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/vitago/vitago/finetune/history"
)

// TestBatchLines: how long a run takes is said after its first batch, and where steps are rare a line comes from time to time.
func TestBatchLines(t *testing.T) {
	var b bytes.Buffer
	now := time.Now()
	l := batchLines{w: &b, began: now}
	e := history.Progress{Steps: 40, Batches: 160, Validated: 1, Validation: 9}
	say := func(want string) {
		t.Helper()
		b.Reset()
		if l.heard(e); b.String() != want {
			t.Errorf("got %q, want %q", b.String(), want)
		}
	}
	say("") // of the validation before the first step, which has just begun
	l.began = now.Add(-time.Minute)
	say("step 0/40  validation, batch 1 of 9\n")
	say("")
	e.Validated, e.Batch, e.Left, e.Pace.Train = 0, 1, 12*time.Minute, 4500*time.Millisecond
	say("a batch takes 4.5 s; about 12 min left\n")
	e.Batch = 2
	say("")
	l.last = now.Add(-time.Minute)
	say("step 0/40  batch 2 of 160  about 12 min left\n")
	l.last, e.Validated = now.Add(-time.Minute), 3
	say("step 0/40  validation, batch 3 of 9  about 12 min left\n")

	l = batchLines{w: &b, began: now}
	e.Validated, e.Left = 0, time.Second // over before anybody wonders
	say("")
}

// TestBatchBar: before the first step a bar shows batches, and the time that is left.
func TestBatchBar(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, label: "training", unit: count, width: 110, stopped: make(chan struct{})}
	barHeard(p, history.Progress{Steps: 40, Batches: 160, Batch: 1, Left: 12 * time.Minute})
	const want = "training  [            ]    0%  0 of 40  12m1s left  batch 1 of 160"
	if got := p.line(5 * time.Second); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	barHeard(p, history.Progress{Steps: 40, Batches: 160, Batch: 1, Validated: 3, Validation: 9})
	const validating = "training  [            ]    0%  0 of 40  validation: batch 3 of 9"
	if got := p.line(5 * time.Second); got != validating {
		t.Errorf("got %q, want %q", got, validating)
	}
}
