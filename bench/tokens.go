package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/plural"
)

// gridLayers is how many blocks a grid has: one to read what the other wrote, as in a tower.
const gridLayers = 2

// gridTokens are those of towers that there are, of B/32, B/16 and L/14 at 224 pixels and more, and those beside the
// widths of panels, 16 and 32. gridBatches are how many sequences go through the blocks at once.
var (
	gridTokens  = []int{26, 32, 33, 50, 64, 65, 77, 145, 197, 257, 290, 577, 785, 1025, 1601}
	gridBatches = []int{1, 2, 4, 8, 16, 32, 64, 128}
)

// mostTokens bounds a cell of more than one sequence. A frozen tower divides a batch into parts of 1,200 tokens, so that more of
// them is no other case.
const mostTokens = 10000

// cliff is the least part that a cell may have of the fraction of the peak of its neighbour with fewer tokens, and of the one with
// fewer sequences: the larger product should not be computed worse.
const cliff = 0.9

// A grid is the blocks of a tower by tokens and batch.
type grid struct {
	comparison
	Width int `json:"width"` // of a token
	MLP   int `json:"mlp"`
}

// measureGrid lets contenders take turns in every cell.
func measureGrid(ctx context.Context, o options) (*grid, error) {
	c := o.config.Config
	c.ImageSize, c.Layers = c.PatchSize, gridLayers // the least image: the stem is no part of it
	o.config, o.dir = tower{Config: c, blocks: true}, filepath.Join(o.dir, "blocks")
	if o.kinds == nil {
		o.kinds = kernels()[:1]
	}
	g := &grid{
		comparison: comparison{Machine: thisMachine(o.command), Config: o.name, Noun: "sequence", Versions: map[string]string{}, Failed: map[string]string{}},
		Width:      c.Width, MLP: c.MLPWidth,
	}
	if err := writeModel(o.dir, o.config); err != nil {
		return nil, err
	}
	if err := export(ctx, o); err != nil {
		progress("no model for ONNX Runtime and OpenVINO: %v", err)
	}
	for _, threads := range o.threads {
		if err := g.cells(ctx, o, threads); err != nil {
			return nil, err
		}
	}
	return g, g.wrong()
}

// cells measures all cells with a number of threads.
func (g *grid) cells(ctx context.Context, o options, threads int) error {
	gauge, err := newGauge(ctx, o, threads)
	if err != nil {
		return err
	}
	defer gauge.stop()
	var running []runner
	for _, t := range o.contenders(towers) {
		p, _, err := g.begin(ctx, o, t, threads)
		if err != nil {
			g.Failed[t.name] = err.Error()
			progress("%s: %v", t.name, err)
			continue
		}
		defer p.stop()
		running = append(running, runner{t, p})
	}
	for _, tokens := range o.tokens {
		for _, batch := range o.batches {
			if batch > 1 && batch*tokens > mostTokens {
				continue
			}
			calls, _ := gauge.calls(float64(batch) * g.flops(tokens))
			of := sample{Threads: threads, What: fmt.Sprintf("%d tokens, batch %d", tokens, batch), Tokens: tokens, Batch: batch}
			g.Encoding = append(g.Encoding, g.interleave(gauge, &running, of, max(1, o.rounds*2/5), g.Width, func(contender) request {
				return request{Cmd: "encode", Blocks: true, Batch: batch, Tokens: tokens, Calls: calls}
			})...)
		}
	}
	return ctx.Err()
}

// flops returns the operations of the blocks on one sequence.
func (g *grid) flops(tokens int) float64 {
	weights, attention := blockFlops(clipvit.Config{ImageSize: 1, PatchSize: 1, Width: g.Width, MLPWidth: g.MLP}, 1) // two tokens
	return gridLayers * (weights*float64(tokens)/2 + attention*float64(tokens*tokens)/4)
}

// of returns the median seconds of a contender in a cell, NaN if it was not measured.
func (g *grid) of(contender string, threads, tokens, batch int) float64 {
	return median(seconds(pick(g.Encoding, func(s sample) bool {
		return s.Contender == contender && s.Threads == threads && s.Tokens == tokens && s.Batch == batch
	})))
}

// peak returns the median of all measurements of the machine's peak with a number of threads.
func (g *grid) peak(threads int) float64 {
	var all []float64
	for _, s := range g.Encoding {
		if s.Threads == threads {
			all = append(all, s.Peaks[g.best(g.Encoding)])
		}
	}
	return median(all)
}

// fraction returns how much of the peak a cell reached.
func (g *grid) fraction(contender string, threads, tokens, batch int) float64 {
	return float64(batch) * g.flops(tokens) / g.of(contender, threads, tokens, batch) / g.peak(threads)
}

// ratio returns the time of the best peer by that of the first contender, which is ours.
func (g *grid) ratio(threads, tokens, batch int) float64 {
	all := names(g.Encoding)
	best := math.Inf(1)
	for _, name := range all[1:] {
		if t := g.of(name, threads, tokens, batch); t < best {
			best = t
		}
	}
	return best / g.of(all[0], threads, tokens, batch)
}

// axes returns the threads, tokens and batches of the cells, in order.
func (g *grid) axes() (threads, tokens, batches []int) {
	for _, s := range g.Encoding {
		threads, tokens, batches = append(threads, s.Threads), append(tokens, s.Tokens), append(batches, s.Batch)
	}
	distinct := func(x []int) []int { return slices.Compact(slices.Sorted(slices.Values(x))) }
	return distinct(threads), distinct(tokens), distinct(batches)
}

// markdown writes the tables.
func (g *grid) markdown() string {
	var b strings.Builder
	all := names(g.Encoding)
	if len(all) == 0 {
		return ""
	}
	threads, tokens, batches := g.axes()
	head := []string{"tokens"}
	for _, n := range batches {
		head = append(head, fmt.Sprint("batch ", n))
	}
	fill := func(value func(tokens, batch int) string) string {
		var rows [][]string
		for _, t := range tokens {
			row := []string{fmt.Sprint(t)}
			for _, n := range batches {
				row = append(row, value(t, n))
			}
			rows = append(rows, row)
		}
		return table(head, rows...)
	}
	for _, n := range threads {
		fmt.Fprintf(&b, "\n### Tokens and batch, %s: of the %s peak, %s blocks of width %d\n", plural.Of(n, "thread"), g.best(g.Encoding), fmt.Sprint(gridLayers), g.Width)
		for i, name := range all {
			fmt.Fprintf(&b, "\n%s:\n\n", name)
			var cliffs []string
			b.WriteString(fill(func(t, batch int) string {
				f := g.fraction(name, n, t, batch)
				cell := number(f, 2)
				for _, near := range [][2]int{{before(tokens, t), batch}, {t, before(batches, batch)}} {
					if c := g.fraction(name, n, near[0], near[1]); f < cliff*c {
						cell = "**" + number(f, 2) + "**"
						cliffs = append(cliffs, fmt.Sprintf("%s, batch %d: %.2f after %.2f of %s, batch %d", plural.Of(t, "token"), batch, f, c, plural.Of(near[0], "token"), near[1]))
					}
				}
				return cell
			}))
			if i > 0 {
				continue
			}
			fmt.Fprintf(&b, "\nA cliff, in bold, has less than %v of the fraction of its neighbour with fewer tokens or with fewer sequences. There are %d.\n", cliff, len(cliffs))
			for _, c := range cliffs {
				fmt.Fprintf(&b, "- %s\n", c)
			}
		}
		if len(all) > 1 {
			fmt.Fprintf(&b, "\nTime of the best peer to ours:\n\n%s", fill(func(t, batch int) string { return number(g.ratio(n, t, batch), 2) }))
		}
	}
	return b.String()
}

// before returns the element of x before v, 0 if v is the first.
func before(x []int, v int) int {
	if i := slices.Index(x, v); i > 0 {
		return x[i-1]
	}
	return 0
}

// panels are plots by tokens, a curve for each batch.
func (g *grid) panels() (all []panel) {
	threads, tokens, batches := g.axes()
	add := func(title, y string, value func(t, batch int) float64) {
		p := panel{title: title, x: "tokens", y: y, logarithmic: true}
		for _, n := range batches {
			c := curve{name: fmt.Sprint("batch ", n)}
			for _, t := range tokens {
				if v := value(t, n); !math.IsNaN(v) && !math.IsInf(v, 0) {
					c.xy = append(c.xy, plotter.XY{X: float64(t), Y: v})
				}
			}
			p.curves = append(p.curves, c)
		}
		all = append(all, p)
	}
	for _, n := range threads {
		names := names(g.Encoding)
		add("Of the peak, "+plural.Of(n, "thread"), "fraction", func(t, batch int) float64 { return g.fraction(names[0], n, t, batch) })
		if len(names) > 1 {
			add("Best peer to ours, "+plural.Of(n, "thread"), "ratio of times", func(t, batch int) float64 { return g.ratio(n, t, batch) })
		}
	}
	return all
}
