package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/plural"
)

// A trainingCase is one kind of fine-tuning.
type trainingCase struct {
	name, what string
	rate       float64                                   // so small that no loss comes near 0 in a run
	flops      func(c clipvit.Config, batch int) float64 // of a step
	// The kinds of contenders that take turns. Those of a heat are in memory together, two towers of 6 GB when
	// they learn: who is to be compared with the same one has a heat of its own beside it.
	heats [][]string
}

// What every lesson has in common: the classes of ImageNet; a rank that is common; AdamW's decay in PyTorch, and
// the norm at which all recipes clip.
const (
	lessonClasses = 1000
	lessonRank    = 16
	lessonDecay   = 0.01
	lessonClip    = 1
)

// projected is how wide a projector's tokens are: 4096 for ViT-L, a language model's of 7 billion parameters.
func projected(c clipvit.Config) int { return 4 * c.Width }

var trainingCases = []trainingCase{
	{"full", "the whole tower and a head of 1000 classes", 1e-6, fullFlops, [][]string{{"train", "torch"}, {"train", "torch-fused"}, {"train", "recompute"}, {"train", "torch-compile"}}},
	{"lora", "LoRA of rank 16 on every product of every block, and the head", 1e-4, loraFlops, [][]string{{"train", "recompute", "torch"}, {"train", "torch-compile"}}},
	{"projector", "two layers and a GELU, on the features of the patches, which are given", 1e-4, projectorFlops, [][]string{{"train", "torch", "torch-fused", "torch-compile"}}},
}

// trainees fine-tune. The first of Python's is the reference.
var trainees = []contender{
	{name: "vitago", kind: "train"},
	{name: "vitago, recomputing", kind: "recompute"},
	{name: "PyTorch, eager", kind: "torch", python: true},
	{name: "PyTorch, fused AdamW", kind: "torch-fused", python: true},
	{name: "PyTorch, compiled, fused AdamW", kind: "torch-compile", python: true},
}

// blockFlops returns the operations of the products with weights and of attention's two in one block, for a
// number of images.
func blockFlops(c clipvit.Config, batch int) (weights, attention float64) {
	t, w, f := float64(c.Tokens()), float64(c.Width), float64(c.MLPWidth)
	return 2 * float64(batch) * t * (4*w*w + 2*w*f), 2 * float64(batch) * 2 * t * t * w
}

// patchFlops returns the operations of the patches' product.
func patchFlops(c clipvit.Config, batch int) float64 {
	return 2 * float64(batch) * float64(c.Patches()*c.PatchLen()) * float64(c.Width)
}

// fullFlops: every product of the forward pass has two in the backward pass, each as large, but that of the
// patches, which want no gradient, has one. What is computed again does not count, whoever does it.
func fullFlops(c clipvit.Config, batch int) float64 {
	return 3*float64(batch)*flops(c) - patchFlops(c, batch)
}

// loraFlops: frozen weights have one product in the backward pass instead of two, the patches none, and in the
// first block QKV and its corrections' A none; corrections have two.
func loraFlops(c clipvit.Config, batch int) float64 {
	weights, attention := blockFlops(c, batch)
	t, w, f, r, layers := float64(batch*c.Tokens()), float64(c.Width), float64(c.MLPWidth), float64(lessonRank), float64(c.Layers)
	corrections := 2 * t * r * (4*(w+w) + 2*(w+f))
	first := 2 * t * w * 3 * (w + r)
	projection := 2 * float64(batch) * w * float64(c.EmbedDim)
	return patchFlops(c, batch) + layers*(2*weights+3*attention+3*corrections) - first + 2*projection
}

// projectorFlops: three products for each of the two layers, but two for the first, whose input is given.
func projectorFlops(c clipvit.Config, batch int) float64 {
	rows, in, out := float64(batch*c.Patches()), float64(c.Width), float64(projected(c))
	return 2 * rows * (2*in*out + 3*out*out)
}

// A trainingStep is one measurement.
type trainingStep struct {
	Case      string             `json:"case"`
	Heat      int                `json:"heat"`
	Contender string             `json:"contender"`
	Threads   int                `json:"threads"`
	Batch     int                `json:"batch"`
	Round     int                `json:"round"` // 0 warms up and does not count
	Seconds   float64            `json:"seconds"`
	Peaks     map[string]float64 `json:"peaks"` // operations per second around it, by kernel
	Memory    int64              `json:"memory,omitempty"`
	stepResult
}

// A fineTuning is all that was measured of training, as -json has it.
type fineTuning struct {
	Machine  machine            `json:"machine"`
	TFLOP    map[string]float64 `json:"tflop"`    // of a step with one image, by case
	Versions map[string]string  `json:"versions"` // by contender
	Failed   map[string]string  `json:"failed"`   // why, by case and contender
	Steps    []trainingStep     `json:"steps"`
}

// train measures steps of fine-tuning.
func train(ctx context.Context, o options) (string, any, error) {
	f := &fineTuning{Machine: thisMachine(o.command), TFLOP: map[string]float64{}, Versions: map[string]string{}, Failed: map[string]string{}}
	var cases []trainingCase
	for _, name := range o.cases {
		i := slices.IndexFunc(trainingCases, func(c trainingCase) bool { return c.name == name })
		if i < 0 {
			return "", nil, fmt.Errorf("case is %q, want full, lora or projector", name)
		}
		cases = append(cases, trainingCases[i])
		f.TFLOP[name] = trainingCases[i].flops(o.config.Config, 1) / 1e12
	}
	for _, threads := range o.threads {
		g, err := newGauge(ctx, o, threads)
		if err != nil {
			return "", nil, err
		}
		defer g.stop()
		for _, c := range cases {
			for _, batch := range o.batches {
				for heat, kinds := range c.heats {
					all := slices.DeleteFunc(o.contenders(trainees), func(t contender) bool { return !slices.Contains(kinds, t.kind) })
					if heat > 0 && len(all) < 2 { // nobody but who has run in the first
						continue
					}
					f.heat(ctx, o, g, c, all, trainingStep{Case: c.name, Heat: heat, Threads: threads, Batch: batch})
				}
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	return f.markdown(o), f, f.wrong()
}

// heat has contenders make steps in turn, round after round, the peak measured between any two. One that fails
// leaves the race.
func (f *fineTuning) heat(ctx context.Context, o options, g *gauge, c trainingCase, all []contender, of trainingStep) {
	fail := func(t contender, err error) {
		f.Failed[c.name+", "+t.name] = err.Error()
		progress("%s, %s: %v", c.name, t.name, err)
	}
	lesson := lesson{
		Case: c.name, Batch: of.Batch, Classes: lessonClasses, Rank: lessonRank, Width: projected(o.config.Config),
		Rate: c.rate, Decay: lessonDecay, Clip: lessonClip,
	}
	var running []runner
	for _, t := range all {
		progress("%s, %s, %s: start", c.name, t.name, plural.Of(of.Threads, "thread"))
		p, version, err := prepare(ctx, o, t, of.Threads, lesson)
		if err != nil {
			fail(t, err)
			continue
		}
		defer p.stop()
		f.Versions[t.name] = version
		running = append(running, runner{t, p})
	}
	for round := range o.rounds + 1 {
		takeTurns(running, round)
		running = slices.DeleteFunc(running, func(r runner) bool {
			s := of
			s.Contender, s.Round = r.name, round
			var answer reply
			var err error
			s.Peaks, err = g.around(func() (err error) {
				answer, err = r.p.ask(request{Cmd: "step"})
				return err
			})
			if err != nil {
				fail(r.contender, err)
				r.p.stop() // it takes memory
				return true
			}
			s.stepResult, s.Seconds, s.Memory = answer.Step, answer.Seconds, r.p.memory("VmHWM")
			f.Steps = append(f.Steps, s)
			progress("%s, %s, %s, round %d of %d: %.0f ms, loss %.6f", c.name, r.name, plural.Of(of.Threads, "thread"), round, o.rounds, s.Seconds*1e3, s.Loss)
			return false
		})
	}
}

// prepare starts a worker and has it make a lesson ready.
func prepare(ctx context.Context, o options, t contender, threads int, l lesson) (*process, string, error) {
	argv, err := o.worker(t, threads)
	if err != nil {
		return nil, "", err
	}
	p, err := launch(ctx, argv, threads)
	if err != nil {
		return nil, "", err
	}
	r, err := p.ask(request{Cmd: "prepare", Dir: o.dir, Lesson: l})
	if err != nil {
		p.stop()
		return nil, "", err
	}
	return p, r.Version, nil
}

// sameWork is how far, relative to the reference, a first step's loss and norm of gradients may be from it:
// float32 in any order of operations is nearer, and another computation is not.
const sameWork = 1e-3

// reference returns the steps of a race that the others are compared with: those of the first of Python's
// contenders, or else of the first.
func reference(race []trainingStep) []trainingStep {
	name := race[0].Contender
	for _, t := range slices.Backward(trainees) {
		if t.python && slices.ContainsFunc(race, func(s trainingStep) bool { return s.Contender == t.name }) {
			name = t.name
		}
	}
	return pick(race, func(s trainingStep) bool { return s.Contender == name })
}

// apart returns how far a contender's steps are from the reference's: the loss and the norm of the first, and the
// loss of any.
func apart(mine, reference []trainingStep) (loss, norm, any float64) {
	relative := func(got, want float64) float64 {
		if d := math.Abs(got-want) / math.Abs(want); !math.IsNaN(d) {
			return d
		}
		return math.MaxFloat64
	}
	for i, s := range mine[:min(len(mine), len(reference))] {
		d := relative(s.Loss, reference[i].Loss)
		if i == 0 {
			loss, norm = d, relative(s.Norm, reference[i].Norm)
		}
		any = max(any, d)
	}
	return loss, norm, any
}

// races calls do with the steps of every heat.
func (f *fineTuning) races(do func(race []trainingStep)) {
	for rest := f.Steps; len(rest) > 0; {
		same := func(s trainingStep) bool {
			r := rest[0]
			return s.Case == r.Case && s.Heat == r.Heat && s.Threads == r.Threads && s.Batch == r.Batch
		}
		n := 0
		for n < len(rest) && same(rest[n]) {
			n++
		}
		do(rest[:n])
		rest = rest[n:]
	}
}

// wrong returns an error that names every contender whose first step is not the reference's.
func (f *fineTuning) wrong() error {
	var errs []error
	f.races(func(race []trainingStep) {
		want := reference(race)
		for _, name := range contenders(race) {
			mine := pick(race, func(s trainingStep) bool { return s.Contender == name })
			if loss, norm, _ := apart(mine, want); max(loss, norm) > sameWork {
				errs = append(errs, fmt.Errorf("%s, %s: the first step has loss %v and norm %v, %s has %v and %v",
					race[0].Case, name, mine[0].Loss, mine[0].Norm, want[0].Contender, want[0].Loss, want[0].Norm))
			}
		}
	})
	return errors.Join(errs...)
}

// contenders lists who is in a race, in order.
func contenders(race []trainingStep) []string {
	var all []string
	for _, s := range race {
		if !slices.Contains(all, s.Contender) {
			all = append(all, s.Contender)
		}
	}
	return all
}

// markdown writes the tables.
func (f *fineTuning) markdown(o options) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("%s.\n\n", f.Machine.markdown())
	for _, name := range slices.Sorted(maps.Keys(f.Versions)) {
		if v := f.Versions[name]; !strings.HasPrefix(name, "vitago") && !strings.HasPrefix(name, beforePrefix) {
			p("%s: %s. ", name, v)
		}
	}
	p("AdamW, norm clipped to %d, a discarded step, then the medians of %s.\n", lessonClip, plural.Of(o.rounds, "step"))
	for _, name := range slices.Sorted(maps.Keys(f.Failed)) {
		p("\nNot measured: %s (%s).\n", name, f.Failed[name])
	}
	f.races(func(race []trainingStep) {
		first := race[0]
		c := trainingCases[slices.IndexFunc(trainingCases, func(c trainingCase) bool { return c.name == first.Case })]
		ops := c.flops(o.config.Config, first.Batch)
		if first.Heat == 0 {
			p("\n### %s: %s\n", c.name, c.what)
		}
		measured := pick(race, func(s trainingStep) bool { return s.Round > 0 })
		p("\n%s, %s a step, %.2f TFLOP; peak of multiply-adds %s.\n\n", plural.Of(first.Threads, "thread"), plural.Of(first.Batch, "image"), ops/1e12, peakList(samplesOf(measured), f.Machine.peaks()))
		p("%s", f.raceTable(race, ops))
		if t := beforeTable(samplesOf(measured)); t != "" {
			p("\n%s", t)
		}
	})
	return b.String()
}

// samplesOf returns what steps have in common with other measurements.
func samplesOf(steps []trainingStep) []sample {
	var all []sample
	for _, s := range steps {
		all = append(all, sample{Contender: s.Contender, Seconds: s.Seconds, Peaks: s.Peaks, Sum: sumBits([]float32{float32(s.Loss), float32(s.Norm)})})
	}
	return all
}

// raceTable: time of a step and of its parts, how much of every peak, ratio to ours, agreement and memory.
func (f *fineTuning) raceTable(race []trainingStep, ops float64) string {
	head := []string{"", "ms/step", "fastest", "forward", "backward", "optimiser"}
	for _, k := range f.Machine.peaks() {
		head = append(head, "of the "+k+" peak")
	}
	head = append(head, "time to ours", "loss", "differs", "in any step", "norm differs", "peak resident, GB")
	want := reference(race)
	ours := math.NaN()
	var rows [][]string
	for _, name := range contenders(race) {
		mine := pick(race, func(s trainingStep) bool { return s.Contender == name })
		counted := samplesOf(mine[1:])
		t := seconds(counted)
		if len(t) == 0 { // it failed after the first
			continue
		}
		if math.IsNaN(ours) {
			ours = median(t)
		}
		row := []string{name, milliseconds(median(t)), milliseconds(slices.Min(t))}
		for part := range mine[0].Parts {
			var all []float64
			for _, s := range mine[1:] {
				all = append(all, s.Parts[part])
			}
			row = append(row, milliseconds(median(all)))
		}
		for _, k := range f.Machine.peaks() {
			row = append(row, number(median(fractions(counted, k, ops)), 2))
		}
		var memory int64
		for _, s := range mine {
			memory = max(memory, s.Memory)
		}
		row = append(row, number(median(t)/ours, 2), number(mine[0].Loss, 4))
		loss, norm, any := apart(mine, want)
		for _, d := range []float64{loss, any, norm} {
			row = append(row, fmt.Sprintf("%.1e", d))
		}
		rows = append(rows, append(row, gigabytes(memory)))
	}
	return table(head, rows...)
}
