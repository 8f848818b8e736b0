package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/plural"
)

// A growth is how this project's cost grows, as -json has it.
type growth struct {
	Machine machine `json:"machine"`
	Kernel  string  `json:"kernel"`
	Points  []point `json:"points"`
	Grid    *grid   `json:"grid,omitempty"`
}

// A point is one measurement of a growth, in a process of its own.
type point struct {
	Axis    string             `json:"axis"` // what grows: batch, cores, size or callers
	Size    int                `json:"size"` // pixels per side
	Tokens  int                `json:"tokens"`
	Batch   int                `json:"batch"`
	Callers int                `json:"callers"` // 0 is one caller, that passes batches
	Threads int                `json:"threads"`
	Seconds float64            `json:"seconds"` // an image, median
	GFLOP   float64            `json:"gflop"`   // of one image
	Peaks   map[string]float64 `json:"peaks"`   // operations per second, by kernel, median
	Base    int64              `json:"base"`    // bytes resident with the model loaded and used, all else given back
	Top     int64              `json:"top"`     // bytes resident at most while encoding
}

// activations returns the bytes that came on top of the model, 0 if unknown.
func (p point) activations() int64 { return max(0, p.Top-p.Base) }

// rate returns images per second.
func (p point) rate() float64 { return 1 / p.Seconds }

// axes are what grows; -only names some. The last has no points, but a grid.
var axes = []string{"batch", "callers", "cores", "size", "tokens"}

// perCaller is how many images each of several callers encodes, one after the other.
const perCaller = 2

// points are what is measured: one axis after the other, all else as it is for one image on all cores.
func points(c clipvit.Config, cores int) []point {
	var all []point
	add := func(axis string, set func(p *point)) {
		p := point{Axis: axis, Size: c.ImageSize, Batch: 1, Threads: cores}
		set(&p)
		sized := c
		sized.ImageSize = p.Size
		p.Tokens, p.GFLOP = sized.Tokens(), flops(sized)/1e9
		all = append(all, p)
	}
	for _, n := range []int{1, 2, 4, 8, 16, 32} {
		add("batch", func(p *point) { p.Batch = n })
	}
	for n := 1; n <= cores; n++ {
		add("cores", func(p *point) { p.Threads = n })
	}
	for _, thirds := range []int{2, 3, 4, 5} { // 224, 336, 448, 560
		add("size", func(p *point) { p.Size = c.ImageSize * thirds / 3 })
	}
	for _, n := range []int{1, 2, 4, 8} {
		add("callers", func(p *point) { p.Callers, p.Batch = n, perCaller })
	}
	return all
}

// grow measures how this project's cost grows.
func grow(ctx context.Context, o options) (string, any, error) {
	g := growth{Machine: thisMachine(o.command), Kernel: kernel.Name()}
	for _, p := range points(o.config.Config, runtime.NumCPU()) {
		if !o.does(p.Axis) {
			continue
		}
		if err := p.measure(ctx, o); err != nil {
			return "", nil, fmt.Errorf("%s: %w", p.describe(), err)
		}
		progress("%s: %.3g images/s", p.describe(), p.rate())
		g.Points = append(g.Points, p)
	}
	var err error
	if o.does("tokens") {
		if g.Grid, err = measureGrid(ctx, o); g.Grid == nil {
			return "", nil, err
		}
	}
	if o.plot != "" {
		err = errors.Join(err, drawPanels(o.plot, g.panels()))
	}
	return g.markdown(), g, err
}

func (p point) describe() string {
	s := fmt.Sprintf("%s: %d pixels, %s", p.Axis, p.Size, plural.Of(p.Threads, "core"))
	if p.Callers > 0 {
		return s + ", " + plural.Of(p.Callers, "caller")
	}
	return s + ", " + plural.Of(p.Batch, "image")
}

// measure fills in the seconds, the peaks and the memory.
func (p *point) measure(ctx context.Context, o options) error {
	gauge, err := newGauge(ctx, o, p.Threads)
	if err != nil {
		return err
	}
	defer gauge.stop()
	argv, err := o.worker(contender{kind: kernel.Name()}, p.Threads)
	if err != nil {
		return err
	}
	w, err := launch(ctx, argv, p.Threads)
	if err != nil {
		return err
	}
	defer w.stop()
	for _, q := range []request{{Cmd: "load", Dir: o.dir, Size: p.Size}, {Cmd: "encode", Batch: 1}, {Cmd: "free"}} {
		if _, err := w.ask(q); err != nil {
			return err
		}
	}
	p.Base = w.memory("VmRSS")
	reset := w.resetPeak()

	var times []float64
	peaks := map[string][]float64{}
	images := float64(p.Batch * max(1, p.Callers))
	rounds := max(1, o.rounds*4/(3+int(images))) // many images are a mean already
	for range rounds {
		around, err := gauge.around(func() error {
			r, err := w.ask(request{Cmd: "encode", Batch: p.Batch, Callers: p.Callers})
			times = append(times, r.Seconds/images)
			return err
		})
		if err != nil {
			return err
		}
		for k, v := range around {
			peaks[k] = append(peaks[k], v)
		}
	}
	p.Seconds, p.Peaks = median(times), map[string]float64{}
	for k, v := range peaks {
		p.Peaks[k] = median(v)
	}
	if reset {
		p.Top = w.memory("VmHWM")
	}
	return nil
}

// on returns the points of an axis.
func (g *growth) on(axis string) []point {
	return slices.DeleteFunc(slices.Clone(g.Points), func(p point) bool { return p.Axis != axis })
}

// fraction returns how much of the peak of the kernel in use a point reached.
func (g *growth) fraction(p point) float64 {
	return p.GFLOP * 1e9 * p.rate() / p.Peaks[peakOf(g.Kernel)]
}

// markdown writes the tables.
func (g *growth) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. Kernel: %s.\n", g.Machine.markdown(), g.Kernel)
	for _, t := range []struct {
		axis, title, column string
		value               func(p point) string
	}{
		{"batch", "Images at once, one caller", "images", func(p point) string { return fmt.Sprint(p.Batch) }},
		{"callers", "Callers at the same time, each with single images", "callers", func(p point) string { return fmt.Sprint(p.Callers) }},
		{"cores", "Cores, one image", "cores", func(p point) string { return fmt.Sprint(p.Threads) }},
		{"size", "Size of the image, one at once", "pixels", func(p point) string { return fmt.Sprintf("%d² (%d tokens)", p.Size, p.Tokens) }},
	} {
		head := []string{t.column, "images/s", "ms/image", "GFLOP/s", "of the " + peakOf(g.Kernel) + " peak", "peak resident, MB", "less the model, MB"}
		switch t.axis {
		case "callers":
			head = append(head, "to one caller with a batch of as many")
		case "size":
			head = append(head, "less the model, KB/token")
		case "cores":
			head = append(head, "to one core")
		}
		var rows [][]string
		points := g.on(t.axis)
		if len(points) == 0 {
			continue
		}
		for _, p := range points {
			row := []string{
				t.value(p), number(p.rate(), 3), milliseconds(p.Seconds), number(p.GFLOP*p.rate(), 0), number(g.fraction(p), 2),
				megabytes(p.Top), megabytes(p.activations()),
			}
			switch t.axis {
			case "callers":
				row = append(row, "–")
				if i := slices.IndexFunc(g.Points, func(q point) bool { return q.Axis == "batch" && q.Batch == p.Callers }); i >= 0 {
					row[len(row)-1] = number(g.fraction(p)/g.fraction(g.Points[i]), 2)
				}
			case "size":
				row = append(row, unlessZero(p.activations()/int64(p.Tokens), 1e3, 1))
			case "cores":
				row = append(row, number(p.rate()/points[0].rate(), 2))
			}
			rows = append(rows, row)
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s", t.title, table(head, rows...))
	}
	if g.Grid != nil {
		b.WriteString(g.Grid.markdown())
	}
	return b.String()
}
