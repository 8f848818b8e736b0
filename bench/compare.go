package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/plural"
)

// A comparison is all that was measured beside peers, as -json has it.
type comparison struct {
	Machine   machine           `json:"machine"`
	Config    string            `json:"config"`   // its name
	Noun      string            `json:"noun"`     // "image" or "text", of which one is counted
	Tokens    int               `json:"tokens"`   // of one
	GFLOP     float64           `json:"gflop"`    // of one
	Versions  map[string]string `json:"versions"` // by contender
	Failed    map[string]string `json:"failed"`   // why, by contender
	Bandwidth map[int]float64   `json:"bandwidth"`
	Starts    []start           `json:"starts"`
	Encoding  []sample          `json:"encoding"`
	Products  []sample          `json:"products"`
}

// A sample is one measurement.
type sample struct {
	Contender  string             `json:"contender"`
	Threads    int                `json:"threads"`
	What       string             `json:"what"`             // "batch 8", or the name of a product
	Tokens     int                `json:"tokens,omitempty"` // of a grid's cell
	Batch      int                `json:"batch,omitempty"`  // images, texts or sequences at once
	Seconds    float64            `json:"seconds"`
	Peaks      map[string]float64 `json:"peaks"`            // operations per second around it, by kernel
	Cosine     float64            `json:"cosine"`           // to the reference
	Difference float64            `json:"difference"`       // from the reference
	Memory     int64              `json:"memory,omitempty"` // bytes, peak resident since the worker's start
	Sum        uint64             `json:"-"`                // of all bits of the result; equal results have the same
}

// A shape is a product x [m,k] · w [n,k]ᵀ.
type shape struct {
	name string
	mnk  [3]int
}

// flops counts a multiply-add as two operations.
func (s shape) flops() float64 { return 2 * float64(s.mnk[0]) * float64(s.mnk[1]) * float64(s.mnk[2]) }

// productCalls is how many products a measurement is the mean of: 50 to 100 ms on two cores. gonum
// takes longer by a factor of ten, and is asked for one.
const productCalls = 5

// compare measures every contender. The threads change only between workers, since some peers
// cannot change them. Starts come last, when all libraries have been in memory once.
func compare(ctx context.Context, o options) (string, any, error) {
	c := &comparison{
		Machine: thisMachine(o.command), Config: o.name, Noun: o.config.noun(), Tokens: o.config.rows(), GFLOP: o.config.flops() / 1e9,
		Versions: map[string]string{}, Failed: map[string]string{}, Bandwidth: map[int]float64{},
	}
	if err := export(ctx, o); err != nil {
		progress("no model for ONNX Runtime and OpenVINO: %v", err) // they say so themselves when they load
	}
	if slices.Equal(o.only, sections[:1]) {
		return "", nil, ctx.Err()
	}
	for _, threads := range o.threads {
		if err := c.withThreads(ctx, o, threads); err != nil {
			return "", nil, err
		}
	}
	for _, t := range o.contenders(towers) {
		if o.does("starts") && c.Failed[t.name] == "" && ctx.Err() == nil {
			c.measureStarts(ctx, o, t, o.threads[len(o.threads)-1])
		}
	}
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	return c.markdown(o), c, c.wrong()
}

// export has PyTorch write the files that other runtimes load, unless they are there.
func export(ctx context.Context, o options) error {
	if _, err := os.Stat(filepath.Join(o.dir, "openvino.xml")); err == nil || !exports(o) {
		return nil
	}
	script, err := o.script()
	if err != nil {
		return err
	}
	progress("exporting to ONNX and OpenVINO")
	stderr := &tail{}
	cmd := exec.CommandContext(ctx, o.python, script, "export", o.dir)
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return errors.New(stderr.last(err))
	}
	return nil
}

// exports says whether a contender is to be measured that loads an exported file.
func exports(o options) bool {
	return slices.ContainsFunc(o.contenders(towers), func(c contender) bool { return !slices.Equal(c.files, weights) })
}

// withThreads measures everything with a number of threads.
func (c *comparison) withThreads(ctx context.Context, o options, threads int) error {
	g, err := newGauge(ctx, o, threads)
	if err != nil {
		return err
	}
	defer g.stop()
	r, err := g.ask(request{Cmd: "bandwidth"})
	if err != nil {
		return err
	}
	c.Bandwidth[threads] = r.Bandwidth
	if o.does("encode") {
		c.encode(ctx, o, g, threads)
	}
	if o.does("products") {
		if err := c.multiply(ctx, o, g, threads); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// turn is how long a contender's turn should last in seconds: what takes less is done several times, and the median counts.
const turn = 0.2

// calls returns how often a turn encodes a batch, by a guess of how long that takes, and whether it takes so long that
// it needs fewer rounds.
func (g *gauge) calls(flops float64) (calls int, long bool) {
	peak := 0.0
	for _, v := range g.last {
		peak = max(peak, v)
	}
	guess := flops / (0.7 * peak)
	return max(1, min(int(turn/guess), 100)), guess > 1
}

// encode measures the tower.
func (c *comparison) encode(ctx context.Context, o options, g *gauge, threads int) {
	var running []runner
	for _, t := range o.contenders(towers) {
		p, _, err := c.begin(ctx, o, t, threads)
		if err != nil {
			c.Failed[t.name] = err.Error()
			progress("%s: %v", t.name, err)
			continue
		}
		defer p.stop()
		running = append(running, runner{t, p})
	}
	for _, batch := range o.batches {
		rounds := o.rounds
		calls, long := g.calls(float64(batch) * o.config.flops())
		if long && batch > 1 {
			rounds = max(1, o.rounds*2/5)
		}
		s := c.interleave(g, &running, sample{Threads: threads, What: fmt.Sprint("batch ", batch), Batch: batch}, rounds, o.config.EmbedDim, func(contender) request {
			return request{Cmd: "encode", Batch: batch, Calls: calls, Tokens: o.config.tokens}
		})
		c.Encoding = append(c.Encoding, s...)
	}
}

// multiply measures products alone.
func (c *comparison) multiply(ctx context.Context, o options, g *gauge, threads int) error {
	var running []runner
	for _, t := range o.contenders(products) {
		argv, err := o.worker(t, threads)
		if err != nil {
			c.Failed[t.name] = err.Error()
			continue
		}
		p, err := launch(ctx, argv, threads)
		if err != nil {
			return err
		}
		defer p.stop()
		running = append(running, runner{t, p})
	}
	for _, shape := range o.config.shapes() {
		s := c.interleave(g, &running, sample{Threads: threads, What: shape.name}, o.rounds, shape.mnk[1], func(t contender) request {
			q := request{Cmd: "gemm", Shape: shape.mnk, Calls: productCalls}
			if t.kind == "gonum" {
				q.Calls = 1
			}
			return q
		})
		c.Products = append(c.Products, s...)
	}
	return nil
}

// A runner is a contender with its worker.
type runner struct {
	contender
	p *process
}

// interleave asks every contender in turn, round after round, the peak measured between any two; the
// first round warms up. Results are compared with those of the first of
// Python's contenders, row by row. A contender that fails leaves the race.
func (c *comparison) interleave(g *gauge, running *[]runner, of sample, rounds, columns int, q func(contender) request) []sample {
	var all []sample
	var values [][]float32
	var want []float32
	for round := range rounds + 1 {
		takeTurns(*running, round)
		*running = slices.DeleteFunc(*running, func(r runner) bool {
			s := of
			s.Contender = r.name
			var answer reply
			var err error
			s.Peaks, err = g.around(func() (err error) {
				calls := 1
				if round == 0 {
					calls = max(1, r.warmup)
				}
				for range calls {
					if answer, err = r.p.ask(q(r.contender)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				c.Failed[r.name] = fmt.Sprintf("%s: %v", of.What, err)
				progress("%s, %v", r.name, c.Failed[r.name])
				return true
			}
			if answer.Version != "" {
				c.Versions[r.name] = answer.Version
			}
			if want == nil && r.python {
				want = answer.Values
			}
			s.Seconds, s.Memory, s.Sum = answer.Seconds, r.p.memory("VmHWM"), sumBits(answer.Values)
			if round > 0 {
				all = append(all, s)
				values = append(values, answer.Values)
			}
			progress("%s, %s, %s, round %d of %d: %s ms", r.name, of.What, plural.Of(of.Threads, "thread"), round, rounds, milliseconds(s.Seconds))
			return false
		})
	}
	if want == nil && len(values) > 0 { // no Python: at least all of ours agree
		want = values[0]
	}
	for i := range all {
		all[i].Cosine, all[i].Difference = agreement(values[i], want, columns)
	}
	return all
}

// wrong returns an error that names every contender whose results are not the reference's.
func (c *comparison) wrong() error {
	least := map[string]float64{}
	for _, t := range slices.Concat(products, towers) {
		least[t.name] = t.cosine
	}
	var errs []error
	for _, s := range slices.Concat(c.Encoding, c.Products) {
		if s.Cosine < least[strings.TrimPrefix(s.Contender, beforePrefix)] {
			errs = append(errs, fmt.Errorf("%s, %s, %s: the cosine to the reference is %.7f, want %v or more", s.Contender, s.What, plural.Of(s.Threads, "thread"), s.Cosine, least[strings.TrimPrefix(s.Contender, beforePrefix)]))
		}
	}
	return errors.Join(errs...)
}
