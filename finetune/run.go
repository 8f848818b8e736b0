package finetune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/op"
)

// A Result says how a run went.
type Result struct {
	Steps    int               // that were made, those before a resumption too
	History  []history.Event   // all of them, those before a resumption too
	Best     *history.Event    // the validation with the best score; nil if there was none
	Stopped  string            // why before its last step; "" otherwise
	Skipped  map[string]string // pictures that could not be read, and why
	Duration time.Duration     // of this call
	Memory   int64             // bytes that the process took at its peak; 0 if nobody says
}

// Before returns the validation before the first step; nil if there was none.
func (r *Result) Before() *history.Event {
	for i := range r.History {
		if e := &r.History[i]; e.Kind == history.ValidationEvent && e.Step == 0 {
			return e
		}
	}
	return nil
}

// Run trains to the end. Then the model has the weights that were best in validation; without validation
// the averages, if the recipe has them, or else the last ones.
//
// If ctx ends, Run writes a checkpoint of the last whole step and returns ctx's cause, joined with an error if
// that could not be written: then the checkpoint before is the last. A loss or a gradient
// that is no number is an *[optim.NonFiniteError], and no step is made with it; checkpoints stay as they are.
func (t *Trainer) Run(ctx context.Context) (_ *Result, err error) {
	defer func() {
		if e := t.Close(); e != nil {
			err = errors.Join(err, e)
		}
	}()
	start := time.Now()
	t.clock = start
	stopped := ""
	if err = t.keepLength(); err == nil {
		err = t.before(ctx)
	}
	if err == nil {
		err = t.after(ctx) // what was due when the run was interrupted
	}
	for err == nil && t.state.Step < t.Steps() {
		if stopped = t.patience(); stopped != "" {
			break
		}
		if err = t.epoch(ctx); err != nil {
			break
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			t.optimizer.ZeroGrad() // of half a step
			if e := t.checkpoint(); e != nil {
				return nil, errors.Join(context.Cause(ctx), e)
			}
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	if err := errors.Join(t.checkpoint(), t.takeFinal()); err != nil {
		return nil, err
	}
	r := &Result{Steps: t.state.Step, History: t.history, Stopped: stopped, Skipped: t.skipped, Duration: time.Since(start), Memory: peakMemory()}
	for i := range t.history {
		if e := &t.history[i]; e.Kind == history.ValidationEvent && e.Step > 0 && e.Step == t.state.BestStep {
			r.Best = e
		}
	}
	return r, nil
}

// patience returns why the run is to stop, or "".
func (t *Trainer) patience() string {
	if t.Patience > 0 && t.state.Worse >= t.Patience {
		return fmt.Sprintf("%d validations without a better %s than that of step %d", t.state.Worse, t.Objective.Measure(), t.state.BestStep)
	}
	return ""
}

// A sum is what the batches of a step, or of a validation, add up to.
type sum struct {
	loss, score float64
	images      int
	weight      float64 // of the images, where they do not count one each
	skipped     int
}

// mass returns what the images weigh.
func (s sum) mass() float64 {
	if s.weight == 0 {
		return float64(s.images)
	}
	return s.weight
}

// epoch goes on to the end of the epoch, of the run, or of the patience.
func (t *Trainer) epoch(ctx context.Context) error {
	var s sum
	var waiting []*data.Batch           // to be learnt, together if they have to
	batches, images := 0, t.state.Batch // at least one, in what lies before
	t.batchClock = time.Now()
	for b, err := range t.Train.Batches(ctx, t.state.Epoch, t.state.Batch) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		batches++
		images += b.Len()
		last := b.Number == t.Train.Len()-1
		whole := batches == t.Recipe.Accumulate || last
		if waiting = append(waiting, b); whole || !t.learner.together() {
			if err := t.learner.learn(waiting, &s); err != nil {
				return err
			}
			t.learntBatch(batches, waiting)
			waiting = nil
		}
		if !whole {
			continue
		}
		if last && images == 0 {
			return t.unreadable()
		}
		t.state.Epoch, t.state.Batch = b.Epoch, b.Number+1
		if last {
			t.state.Epoch, t.state.Batch = b.Epoch+1, 0
		}
		if err := t.step(s, b.Epoch); err != nil {
			return err
		}
		between := time.Now()
		if err := t.after(ctx); err != nil {
			return err
		}
		t.batchClock = t.batchClock.Add(time.Since(between)) // no part of a batch
		if t.state.Step >= t.Steps() || t.patience() != "" {
			return nil
		}
		s, batches = sum{}, 0
	}
	return nil
}

// unreadable returns the error that no picture of an epoch can be read, with one of the reasons.
func (t *Trainer) unreadable() error {
	path := slices.Min(slices.Collect(maps.Keys(t.skipped)))
	return fmt.Errorf("finetune: %w of the %d to train on can be read; %s: %s", data.ErrEmpty, len(t.skipped), path, t.skipped[path])
}

// reserve makes the memory for the gradients before the first graph.
func (t *Trainer) reserve() {
	if !t.large || t.reserved {
		return
	}
	t.reserved = true
	var ps []*nn.Param
	for _, g := range t.groups {
		for _, p := range g.Params {
			ps = append(ps, p.Param)
		}
	}
	op.ReserveGrads(ps)
}

// note remembers what of a batch could not be read.
func (t *Trainer) note(b *data.Batch, s *sum) {
	for _, broken := range b.Skipped {
		t.skipped[broken.Path] = broken.Err.Error()
		s.skipped++
	}
}

// step moves the parameters along the mean of the gradients that have been added up.
func (t *Trainer) step(s sum, epoch int) error {
	e := history.Event{Kind: history.TrainEvent, Epoch: epoch, Steps: t.Steps(), Skipped: s.skipped, Images: s.images}
	if s.images > 0 { // or all pictures were broken
		e.Loss, e.Score = s.loss/s.mass(), s.score/s.mass()
		e.Factor = t.schedule(t.state.Step)
		var err error
		if e.Norm, err = t.optimizer.ClipStep(1/s.mass(), t.clip(), e.Factor); err != nil {
			return err
		}
		t.optimizer.ZeroGrad()
		t.learner.stepped()
		if t.ema != nil {
			t.ema.Update(averageDecay(t.Recipe.EMA, t.state.Step+1))
		}
	}
	t.state.Step++
	e.Step = t.state.Step
	return t.emit(e)
}

// averageDecay is the decay of averages after so many steps: lower at first, or a short run would end with an
// average of the weights that it began with.
//
// Source: tensorflow/tensorflow, python/training/moving_averages.py, ExponentialMovingAverage with num_updates.
func averageDecay(decay float64, steps int) float64 {
	return min(decay, float64(1+steps)/float64(10+steps))
}

// clip returns the largest norm that gradients may have.
func (t *Trainer) clip() float64 {
	if t.Recipe.Clip == 0 {
		return infinity
	}
	return t.Recipe.Clip
}

// before judges the model before the first step.
func (t *Trainer) before(ctx context.Context) error {
	if t.Validation == nil || len(t.history) > 0 {
		return nil
	}
	s, err := t.judge(ctx, t.Validation)
	if err != nil {
		return err
	}
	return t.emit(t.validated(s))
}

// after does what is due after a step, as far as it has not been done.
func (t *Trainer) after(ctx context.Context) error {
	if t.state.Step == 0 {
		return nil
	}
	due := func(every int) bool {
		epochEnds := t.state.Batch == 0
		return every == 0 && epochEnds || every > 0 && t.state.Step%every == 0 || t.state.Step == t.Steps()
	}
	if t.Validation != nil && t.state.Validated != t.state.Step && due(t.ValidateEvery) {
		if err := t.validate(ctx); err != nil {
			return err
		}
	}
	if due(t.CheckpointEvery) {
		return t.checkpoint()
	}
	return nil
}

// emit tells the sinks of an event.
func (t *Trainer) emit(e history.Event) error {
	now := time.Now()
	e.Seconds = now.Sub(t.clock).Seconds()
	e.Rate = float64(e.Images) / max(e.Seconds, 1e-9) // a clock may stand still for so short a time
	t.clock = now
	t.history = append(t.history, e)
	var errs []error
	if t.journal != nil {
		errs = append(errs, t.journal.Write(e))
	}
	for _, s := range t.Sinks {
		errs = append(errs, s.Write(e))
	}
	return errors.Join(errs...)
}

// validate judges the model, or its averages, and keeps the weights if they are the best so far.
func (t *Trainer) validate(ctx context.Context) error {
	if t.ema != nil {
		t.ema.Swap()
		defer t.ema.Swap()
	}
	s, err := t.judge(ctx, t.Validation)
	if err != nil {
		return err
	}
	e := t.validated(s)
	learnt := t.learnt()
	if learnt {
		t.state.Worse++
	}
	if learnt && (t.state.BestStep == 0 || e.Score > t.state.Best) {
		e.Best = true
		t.state.Best, t.state.BestStep, t.state.Worse = e.Score, e.Step, 0
		if err := t.keepBest(); err != nil {
			return err
		}
	}
	t.state.Validated = e.Step
	return t.emit(e)
}

// learnt reports whether a step was made with a rate above 0. After the first of a warm-up, which has none, the model is what it
// was, and not the best of what it learnt.
func (t *Trainer) learnt() bool {
	for step := range t.state.Step {
		if t.schedule(step) > 0 {
			return true
		}
	}
	return false
}

// validated returns the event of a validation.
func (t *Trainer) validated(s sum) history.Event {
	return history.Event{
		Kind: history.ValidationEvent, Step: t.state.Step, Steps: t.Steps(), Epoch: t.state.Epoch, Images: s.images, Skipped: s.skipped,
		Loss: s.loss / s.mass(), Score: s.score / s.mass(),
	}
}

// judge runs data through the model without learning from them.
func (t *Trainer) judge(ctx context.Context, from Source) (s sum, err error) {
	defer t.withoutGraph()()
	defer func(was time.Time) { t.batchClock = was }(t.batchClock)
	t.batchClock = time.Now()
	if err := t.learner.judge(ctx, from, &s); err != nil {
		return s, err
	}
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	if s.images == 0 {
		return s, fmt.Errorf("finetune: %w of the %d to validate on can be read", data.ErrEmpty, s.skipped)
	}
	if !finite(s.loss) {
		return s, &optim.NonFiniteError{Step: t.state.Step, What: "loss of validation", Value: s.loss}
	}
	return s, nil
}

// withoutGraph has what learns want no gradient, so that no graph is kept, until the function that it returns
// is called.
func (t *Trainer) withoutGraph() (again func()) {
	learning := t.learning()
	for _, p := range learning {
		p.SetRequiresGrad(false)
	}
	return func() {
		for _, p := range learning {
			p.SetRequiresGrad(true)
		}
	}
}

// Evaluate returns the mean loss and score of the model, as it is, on what a source gives.
func (t *Trainer) Evaluate(ctx context.Context, from Source) (loss, score float64, err error) {
	s, err := t.judge(ctx, from)
	if err != nil {
		return 0, 0, err
	}
	return s.loss / s.mass(), s.score / s.mass(), nil
}
