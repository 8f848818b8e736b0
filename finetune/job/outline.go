package job

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/plural"
)

// An Outline says what a run comes to before it begins.
type Outline struct {
	Pictures, Validation int          // to train on, and to validate on
	Classes              []ClassCount // in their order; nil if it is something else that is learnt
	// Of a [Job]; 0 of a [Probe], which has none.
	Epochs, Steps, PerStep, PerEpoch int // PerStep is pictures, PerEpoch steps
	// Time is about how long it takes, as Basis says it was measured; 0 before [Job.Measure] or [Probe.Measure].
	Time  time.Duration
	Basis string
}

// A ClassCount is how many pictures a class has.
type ClassCount struct {
	Name              string // of the class
	Train, Validation int    // pictures to train on, and to validate on
}

// Rows are what a person wants to know, names and values.
func (o Outline) Rows() (rows [][2]string) {
	add := func(name, format string, a ...any) { rows = append(rows, [2]string{name, fmt.Sprintf(format, a...)}) }
	add("pictures", "%d to train on, %d to validate on", o.Pictures, o.Validation)
	const most = 20 // classes, that are told one by one
	if n := len(o.Classes); n > 0 {
		least, largest := o.Classes[0].Train, o.Classes[0].Train
		var each []string
		for _, c := range o.Classes {
			least, largest = min(least, c.Train), max(largest, c.Train)
			each = append(each, fmt.Sprintf("%s %d+%d", c.Name, c.Train, c.Validation))
		}
		if n > most {
			each = append(each[:most], "…")
		}
		size := fmt.Sprintf("%d to %d", least, largest)
		if least == largest {
			size = fmt.Sprint(least)
		}
		add("classes", "%d, of %s pictures; to train + validate on: %s", n, size, strings.Join(each, ", "))
	}
	if o.Steps > 0 {
		add("steps", "%d, of %s", o.Steps, plural.Of(o.PerStep, "picture"))
		add("epochs", "%d, of %s", o.Epochs, plural.Of(o.PerEpoch, "step"))
	}
	if o.Basis != "" {
		add("time", "about %s: %s", About(o.Time), o.Basis)
	}
	return rows
}

// About writes a duration for a person, as far as an estimate goes: seconds, minutes or hours.
func About(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%.0f s", max(1, d.Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// counts returns the pictures of the classes.
func counts(train, validation *data.Dataset) []ClassCount {
	if len(train.Classes) == 0 {
		return nil
	}
	all := make([]ClassCount, len(train.Classes))
	for i, n := range train.Counts() {
		all[i].Name, all[i].Train = train.Classes[i], n
	}
	if validation != nil {
		for i, n := range validation.Counts() {
			all[i].Validation = n
		}
	}
	return all
}

// Outline says what the run comes to. Its pictures are those that are listed; whether they can be read nobody knows yet.
func (j *Job) Outline() Outline {
	t := j.Trainer
	train := t.Train.(*data.Loader)
	o := Outline{Pictures: len(train.Data.Samples), Epochs: t.Recipe.Epochs, Steps: t.Steps(), PerStep: t.Recipe.Batch * t.Recipe.Accumulate}
	o.PerEpoch = (train.Len() + t.Recipe.Accumulate - 1) / t.Recipe.Accumulate
	var validation *data.Dataset
	if l, ok := t.Validation.(*data.Loader); ok {
		validation = l.Data
		o.Validation = len(validation.Samples)
	}
	if j.Classes != nil {
		o.Classes = counts(train.Data, validation)
	}
	return o
}

// Measure says the same with the time, for which it learns from a few batches and makes no step.
func (j *Job) Measure(ctx context.Context) (Outline, error) {
	o, t := j.Outline(), j.Trainer
	p, err := t.Measure(ctx)
	if err != nil {
		return o, err
	}
	cached := j.request.Cache != "" && t.Recipe.Tower == finetune.None
	o.Time = t.Left(p, cached)
	o.Basis = fmt.Sprintf("%s a batch of %d", rough(p.Train), t.Recipe.Batch)
	if p.Validation > 0 {
		o.Basis += fmt.Sprintf(", %s one of the validation", rough(p.Validation))
	}
	o.Basis += fmt.Sprintf(", measured over %d batches", p.Batches)
	if cached {
		o.Basis += "; the first epoch, after which features are kept"
	}
	return o, nil
}

// rough writes a short duration in three digits.
func rough(d time.Duration) string { return fmt.Sprintf("%.3g s", d.Seconds()) }

// Outline says what the probe comes to; see [Job.Outline].
func (p *Probe) Outline() Outline {
	train, validation := p.train, p.validation
	if validation == nil {
		if t, v, err := train.Split(probe.ValidationShare, p.request.Seed); err == nil { // or the run says so
			train, validation = t, v
		}
	}
	o := Outline{Pictures: len(train.Samples), Classes: counts(train, validation)}
	if validation != nil {
		o.Validation = len(validation.Samples)
	}
	return o
}

// features are those that the head gets; see [probe.Config].
func (p *Probe) features() clipvit.Features {
	if p.tower.Config.NoPostNorm {
		return clipvit.Features{Kind: clipvit.ClassToken, Layer: -1}
	}
	return clipvit.Features{Kind: clipvit.Embedding}
}

// Measure says the same with the time, for which it makes the features of a few pictures.
func (p *Probe) Measure(ctx context.Context) (Outline, error) {
	const batch, batches = 4, 3 // pictures, as probe.Extractor takes them; and the first one begins cold
	o := p.Outline()
	d := *p.train
	d.Samples = d.Samples[:min(len(d.Samples), batch*(batches+1))]
	var done []time.Time
	start := time.Now()
	e := probe.Extractor{Model: p.tower, Features: p.features(), Batch: batch, Progress: func(int, int, int) { done = append(done, time.Now()) }}
	if _, err := e.Each(ctx, &d, func(int, []float32) error { return nil }); err != nil {
		return o, err
	}
	n, from := len(d.Samples), start
	if len(done) > 1 {
		n, from = n-batch, done[0]
	}
	each := time.Duration(0)
	if len(done) > 0 {
		each = done[len(done)-1].Sub(from) / time.Duration(max(n, 1))
	}
	o.Time = time.Duration(o.Pictures+o.Validation) * each
	o.Basis = fmt.Sprintf("%s a picture, measured over %d; then the head is fitted, in seconds", rough(each), n)
	return o, nil
}
