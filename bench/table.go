package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/vitago/vitago/internal/plural"
)

// What is aimed at: a peer's time to ours, or this fraction of the peak where the peak leaves less, and a fraction from some
// images or texts at once on.
const (
	aimedRatio      = 1.25
	aimedPeak       = 0.90
	aimedBatchPeak  = 0.80
	aimedBatchFirst = 8
)

// A row is a tower with a number of threads and a batch, as the page of speed has it.
type row struct {
	config         string
	threads, batch int
	ours, peer     float64 // seconds of one image or text, medians
	peerName       string  // the fastest of them
	peak           float64 // fraction that ours reaches
	memory, peers  int64   // bytes resident at most, ours and the least of a peer's
}

func (r row) ratio() float64 { return r.peer / r.ours }

// misses says what of the aims a row does not reach, "" if nothing.
func (r row) misses() string {
	var all []string
	if r.ratio() < aimedRatio && r.peak < aimedPeak {
		all = append(all, fmt.Sprintf("%.2f× %s, and %.2f of the peak", r.ratio(), r.peerName, r.peak))
	} else if r.batch >= aimedBatchFirst && r.peak < aimedBatchPeak {
		all = append(all, fmt.Sprintf("%.2f of the peak", r.peak))
	}
	return strings.Join(all, "; ")
}

// isFloat says whether a contender of ours computes in float32.
func isFloat(name string) bool {
	return strings.HasPrefix(name, "vitago") && !strings.Contains(name, "int8") && !strings.Contains(name, "bf16")
}

// rows returns a row for every cell of a comparison.
func (c *comparison) rows() (all []row) {
	type key struct{ threads, batch int }
	cells := map[key][]sample{}
	var keys []key
	for _, s := range c.Encoding {
		k := key{s.Threads, s.Batch}
		if cells[k] == nil {
			keys = append(keys, k)
		}
		cells[k] = append(cells[k], s)
	}
	for _, k := range keys {
		r := row{config: c.Config, threads: k.threads, batch: k.batch, ours: math.Inf(1), peer: math.Inf(1)}
		for _, name := range names(cells[k]) {
			mine := pick(cells[k], func(s sample) bool { return s.Contender == name })
			t := median(seconds(mine)) / float64(k.batch)
			var memory int64
			for _, s := range mine {
				memory = max(memory, s.Memory)
			}
			switch {
			case isFloat(name) && t < r.ours:
				r.ours, r.memory = t, memory
			case !strings.HasPrefix(name, "vitago") && !strings.HasPrefix(name, beforePrefix):
				if t < r.peer {
					r.peer, r.peerName = t, name
				}
				if r.peers == 0 || memory < r.peers {
					r.peers = memory
				}
			}
		}
		r.peak = c.GFLOP * 1e9 / r.ours / highestPeak(c.Encoding, c.best(c.Encoding), k.threads)
		all = append(all, r)
	}
	return all
}

// highestPeak returns the most that was measured of a kernel's peak with a number of threads. A processor of a shared machine that is
// late lowers a measurement, and nothing raises one.
func highestPeak(samples []sample, kernel string, threads int) (peak float64) {
	for _, s := range samples {
		if s.Threads == threads {
			peak = max(peak, s.Peaks[kernel])
		}
	}
	return peak
}

// A page is the page of speed: what several runs have measured.
type page struct {
	comparisons []*comparison
	grids       []*growth
	races       []*fileRace
}

// readPage reads files that -json wrote, of any kind.
func readPage(paths []string) (*page, error) {
	p := &page{}
	var errs []error
	for _, path := range paths {
		b, err := os.ReadFile(path)
		var keys map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(b, &keys)
		}
		into := func(v any) {
			if err == nil {
				err = json.Unmarshal(b, v)
			}
		}
		switch {
		case keys["encoding"] != nil && keys["config"] != nil:
			c := &comparison{}
			into(c)
			if err == nil && len(c.Encoding) == 0 {
				err = errors.New("no embedding was measured; want a run whose -only has encode")
			} else if err == nil {
				p.comparisons = append(p.comparisons, c)
			}
		case keys["points"] != nil:
			g := &growth{}
			into(g)
			p.grids = append(p.grids, g)
		case keys["runs"] != nil:
			f := &fileRace{}
			into(f)
			p.races = append(p.races, f)
		case err == nil:
			err = errors.New("want what -json of bench, bench scale or bench files wrote")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path, err))
		}
	}
	order := []string{"vit-b-32", "vit-b-16", "vit-l-14", "vit-l-14-336", "vit-h-14", "text-b", "text-l", "text-h"}
	slices.SortStableFunc(p.comparisons, func(a, b *comparison) int {
		first, second := a.Encoding[0], b.Encoding[0]
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Config), slices.Index(order, b.Config)),
			cmp.Compare(first.Threads, second.Threads), cmp.Compare(first.Batch, second.Batch))
	})
	return p, errors.Join(errs...)
}

// rows returns those of all comparisons.
func (p *page) rows() (all []row) {
	for _, c := range p.comparisons {
		all = append(all, c.rows()...)
	}
	return all
}

// machines lists how the runs were made, each once.
func (p *page) machines() (all []string) {
	add := func(m machine) {
		if s := m.markdown(); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, c := range p.comparisons {
		add(c.Machine)
	}
	for _, g := range p.grids {
		add(g.Machine)
	}
	for _, f := range p.races {
		add(f.Machine)
	}
	return all
}

// markdown writes the page. Plot is the file of the plot, relative to the page.
func (p *page) markdown(plot string) string {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	w("# Speed\n\n")
	w("Made by `bench/all.sh`, which runs [`bench`](../bench/README.md) and writes this page. Times are medians by turns, of random weights, images and texts in\n")
	w("memory; every contender computes in float32 unless it says otherwise, and the results agree. *Times ours* is the best peer's time by ours, in bold where the\n")
	w("peer is faster. *Of the peak* is of the multiply-adds of float32 that the processor reaches with as many threads, the most of what was measured in the same run. It\n")
	w("counts all operations of a tower; ours leaves out those of the last block that no embedding depends on.\n\n")
	versions := map[string]bool{}
	for _, c := range p.comparisons {
		for name, v := range c.Versions {
			if !strings.HasPrefix(name, "vitago") && !strings.HasPrefix(name, beforePrefix) {
				versions[name+": "+v] = true
			}
		}
	}
	if len(versions) > 0 {
		w("%s.\n\n", strings.Join(slices.Sorted(maps.Keys(versions)), "; "))
	}
	if plot != "" {
		w("![Best peer's time by ours, by tower](%s)\n\n", plot)
	}
	var rows [][]string
	var missed []string
	reached := 0
	for _, r := range p.rows() {
		ratio := number(r.ratio(), 2)
		if r.ratio() < 1 {
			ratio = "**" + ratio + "**"
		}
		rows = append(rows, []string{
			r.config, fmt.Sprint(r.threads), fmt.Sprint(r.batch), milliseconds(r.ours), milliseconds(r.peer), r.peerName, ratio, number(r.peak, 2), gigabytes(r.memory), gigabytes(r.peers),
		})
		if why := r.misses(); why != "" {
			missed = append(missed, fmt.Sprintf("- %s, %s, %d at once: %s", r.config, plural.Of(r.threads, "thread"), r.batch, why))
		} else {
			reached++
		}
	}
	if len(rows) > 0 {
		w("## Beside other runtimes\n\n%s\n", table([]string{"tower", "threads", "at once", "ms each", "best peer's", "", "times ours", "of the peak", "peak resident, GB", "the least of a peer"}, rows...))
		w("What was aimed at is %v times the best peer's speed, or %.2f of the peak where that is less, and %.2f of the peak from %d at once on. %d of %d rows reach it. ", aimedRatio, aimedPeak, aimedBatchPeak, aimedBatchFirst, reached, len(rows))
		if len(missed) > 0 {
			w("These do not:\n\n%s\n\n", strings.Join(missed, "\n"))
		} else {
			w("\n\n")
		}
	}
	if t := p.precisionTable(); t != "" {
		w("## Other precisions\n\nTime by that of float32 with the same instruction set, and the least cosine to PyTorch's float32.\n\n%s\n", t)
	}
	for _, g := range p.grids {
		if g.Grid != nil {
			w("## Tokens and batch\n%s\n", g.Grid.markdown())
		}
	}
	for _, f := range p.races {
		w("%s\n", strings.TrimPrefix(f.tables(), "\n"))
	}
	w("## How it was measured\n\n")
	for _, m := range p.machines() {
		w("- %s\n", m)
	}
	return b.String()
}

// precisionTable compares ours in other precisions with float32, "" if none was measured.
func (p *page) precisionTable() string {
	var rows [][]string
	for _, c := range p.comparisons {
		for _, threads := range distinct(c.Encoding, func(s sample) int { return s.Threads }) {
			for _, batch := range distinct(c.Encoding, func(s sample) int { return s.Batch }) {
				cell := pick(c.Encoding, func(s sample) bool { return s.Threads == threads && s.Batch == batch })
				for _, name := range names(cell) {
					if !strings.HasPrefix(name, "vitago") || isFloat(name) {
						continue
					}
					of := func(name string) []sample { return pick(cell, func(s sample) bool { return s.Contender == name }) }
					f32 := of(floatOf(name))
					if len(f32) == 0 {
						continue
					}
					cosine := 1.0
					for _, s := range of(name) {
						cosine = min(cosine, s.Cosine)
					}
					rows = append(rows, []string{c.Config, fmt.Sprint(threads), fmt.Sprint(batch), strings.TrimPrefix(name, "vitago, "), number(median(seconds(of(name)))/median(seconds(f32)), 2), number(cosine, 5)})
				}
			}
		}
	}
	if rows == nil {
		return ""
	}
	return table([]string{"tower", "threads", "at once", "precision", "time to float32's", "cosine"}, rows...)
}

// distinct returns the values of samples, in order and each once.
func distinct(samples []sample, of func(sample) int) []int {
	var all []int
	for _, s := range samples {
		all = append(all, of(s))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// panels are the plots: the ratio by tower, a curve for each batch, and what grids have.
func (p *page) panels() (all []panel) {
	rows := p.rows()
	var towers []string
	for _, r := range rows {
		if !slices.Contains(towers, r.config) {
			towers = append(towers, r.config)
		}
	}
	for _, threads := range slices.Compact(slices.Sorted(maps.Keys(by(rows, func(r row) int { return r.threads })))) {
		of := panel{title: "Best peer's time to ours, " + plural.Of(threads, "thread"), y: "ratio", labels: towers}
		for _, batch := range slices.Sorted(maps.Keys(by(rows, func(r row) int { return r.batch }))) {
			c := curve{name: fmt.Sprint("batch ", batch)}
			for _, r := range rows {
				if r.threads == threads && r.batch == batch && !math.IsInf(r.ratio(), 0) {
					c.xy = append(c.xy, plotter.XY{X: float64(slices.Index(towers, r.config)), Y: r.ratio()})
				}
			}
			of.curves = append(of.curves, c)
		}
		all = append(all, of)
	}
	for _, g := range p.grids {
		all = append(all, g.panels()...)
	}
	return all
}

func by(rows []row, key func(row) int) map[int]bool {
	all := map[int]bool{}
	for _, r := range rows {
		all[key(r)] = true
	}
	return all
}

// writePage writes the page of what JSON files have, and its plot if one is named.
func writePage(out, plot string, paths []string) error {
	p, err := readPage(paths)
	if err != nil {
		return err
	}
	link := plot
	if i := strings.LastIndexByte(plot, '/'); i >= 0 {
		link = plot[i+1:]
	}
	if plot != "" {
		if err := drawPanels(plot, p.panels()); err != nil {
			return err
		}
	}
	return writeOut(out, p.markdown(link))
}
