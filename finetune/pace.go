package finetune

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
)

// A stopwatch measures batches.
type stopwatch struct {
	n     int
	total time.Duration
}

// mean returns that of all; 0 of none.
func (s *stopwatch) mean() time.Duration {
	if s.n == 0 {
		return 0
	}
	return s.total / time.Duration(s.n)
}

// pace returns what was measured so far in this call of Run.
func (t *Trainer) pace() history.Pace {
	return history.Pace{Train: t.training.mean(), Validation: t.judging.mean(), Batches: t.training.n + t.judging.n}
}

// batches returns how many batches so many steps have learnt.
func (t *Trainer) batches(steps int) int {
	per := t.stepsPerEpoch()
	return steps/per*t.Train.Len() + min(steps%per*t.Recipe.Accumulate, t.Train.Len())
}

// validations returns how many validations lie behind a step, the last one among them.
func (t *Trainer) validations(after int) (n int) {
	if t.Validation == nil {
		return 0
	}
	every, last := t.ValidateEvery, t.Steps()
	if every == 0 {
		every = t.stepsPerEpoch()
	}
	n = last/every - after/every
	if last%every != 0 && after < last {
		n++
	}
	return n
}

// Left returns about how long the rest of the run takes at a pace: its batches and its validations, with the one before the
// first step. cached says that the features of a frozen tower are kept: after one epoch there is nothing to wait for.
func (t *Trainer) Left(p history.Pace, cached bool) time.Duration {
	train, judged := t.batches(t.Steps())-t.batches(t.state.Step), t.validations(t.state.Step)
	if t.state.Step == 0 && t.Validation != nil && len(t.history) == 0 {
		judged++
	}
	if cached { // all is kept after the first epoch, and the validation before it
		train = max(0, t.Train.Len()-t.batches(t.state.Step))
		judged = min(judged, 1)
		if t.state.Step > 0 || len(t.history) > 0 {
			judged = 0
		}
	}
	left := time.Duration(train) * p.Train
	if judged > 0 {
		left += time.Duration(judged*t.Validation.Len()) * p.Validation
	}
	return left
}

// learntBatch tells of batches that were learnt at once, the last of which is the n-th of the step at hand.
func (t *Trainer) learntBatch(n int, learnt []*data.Batch) {
	images := 0
	for _, b := range learnt {
		if b != nil { // or a learner has left it out
			images += b.Len()
		}
	}
	t.training.n, t.training.total = t.training.n+len(learnt), t.training.total+time.Since(t.batchClock)
	t.batchClock = time.Now()
	if t.Progress == nil {
		return
	}
	p := t.pace()
	left := t.Left(p, t.space != nil) - time.Duration(n)*p.Train
	t.Progress(history.Progress{
		Step: t.state.Step, Steps: t.Steps(), Batch: t.batches(t.state.Step) + n, Batches: t.batches(t.Steps()), Images: images, Pace: p, Left: max(left, 0),
	})
}

// judgedBatch tells of a batch that was judged.
func (t *Trainer) judgedBatch(b *data.Batch, of Source) {
	t.judging.n, t.judging.total = t.judging.n+1, t.judging.total+time.Since(t.batchClock)
	t.batchClock = time.Now()
	if t.Progress == nil || of != t.Validation {
		return
	}
	p := t.pace()
	e := history.Progress{
		Step: t.state.Step, Steps: t.Steps(), Batch: t.batches(t.state.Step), Batches: t.batches(t.Steps()),
		Validated: b.Number + 1, Validation: of.Len(), Images: b.Len(), Pace: p,
	}
	if p.Train > 0 {
		e.Left = max(t.Left(p, t.space != nil)-time.Duration(e.Validated)*p.Validation, 0)
	}
	t.Progress(e)
}

// How much is measured before a run: the first batch begins cold and does not count, unless it alone has taken long.
const (
	measuredBatches = 3
	measuredLong    = 20 * time.Second
)

// Measure learns from a few batches, and judges a few of the validation data, and returns how long one takes. The run is what it
// was, and no step is made.
func (t *Trainer) Measure(ctx context.Context) (history.Pace, error) {
	skipped, state := maps.Clone(t.skipped), t.state
	defer func() {
		t.skipped, t.state = skipped, state
		t.optimizer.ZeroGrad()
		t.training, t.judging = stopwatch{}, stopwatch{}
	}()
	together := 1
	if t.learner.together() {
		together = t.Recipe.Accumulate
	}
	train, err := t.measure(ctx, t.Train, together, func(waiting []*data.Batch) error { return t.learner.learn(waiting, &sum{}) })
	if err != nil || t.Validation == nil {
		return history.Pace{Train: train.mean(), Batches: train.n}, err
	}
	defer t.withoutGraph()()
	t.batchClock = time.Now()
	judged, err := t.measure(ctx, t.Validation, 1, func(waiting []*data.Batch) error { return t.learner.judge(ctx, few(waiting), &sum{}) })
	return history.Pace{Train: train.mean(), Validation: judged.mean(), Batches: train.n + judged.n}, err
}

// few are batches as a [Source].
type few []*data.Batch

// Len implements [Source].
func (f few) Len() int { return len(f) }

// Batches implements [Source].
func (f few) Batches(context.Context, int, int) iter.Seq2[*data.Batch, error] {
	return func(yield func(*data.Batch, error) bool) {
		for _, b := range f {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// measure measures do with the first batches of a source, so many together.
func (t *Trainer) measure(ctx context.Context, from Source, together int, do func(waiting []*data.Batch) error) (s stopwatch, err error) {
	var waiting []*data.Batch
	var first time.Duration
	calls, clock := 0, time.Now()
	for b, err := range from.Batches(ctx, 0, 0) {
		if err != nil {
			return s, err
		}
		last := b.Number == from.Len()-1
		if waiting = append(waiting, b); len(waiting) < together && !last {
			continue
		}
		n := len(waiting)
		if err := do(waiting); err != nil {
			return s, err
		}
		each := time.Since(clock) / time.Duration(n)
		if calls++; calls == 1 {
			first = each
		} else {
			s.n, s.total = s.n+n, s.total+each*time.Duration(n)
		}
		if waiting, clock = nil, time.Now(); calls > measuredBatches || first*time.Duration(n) > measuredLong || last {
			break
		}
	}
	if s.n == 0 && calls > 0 {
		s.n, s.total = 1, first
	}
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	return s, nil
}
