package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/plural"
)

// markdown writes the tables.
func (c *comparison) markdown(o options) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("%s.\n\n", c.Machine.markdown())
	for _, name := range slices.Sorted(maps.Keys(c.Versions)) {
		if v := c.Versions[name]; !strings.HasPrefix(name, "vitago") && !strings.HasPrefix(name, beforePrefix) {
			p("%s: %s. ", name, v)
		}
	}
	p("One %s of %s is %.2f GFLOP.\n", c.Noun, plural.Of(c.Tokens, "token"), c.GFLOP)
	for _, threads := range o.threads {
		peaks := pick(slices.Concat(c.Encoding, c.Products), func(s sample) bool { return s.Threads == threads })
		p("\n%s: peak of multiply-adds %s; memory read at %.1f GB/s.\n", plural.Of(threads, "thread"), peakList(peaks, c.Machine.peaks()), c.Bandwidth[threads]/1e9)
	}
	for _, why := range slices.Compact(slices.Sorted(maps.Values(c.Failed))) {
		all := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Failed)), func(name string) bool { return c.Failed[name] != why })
		p("\nNot measured: %s (%s).\n", strings.Join(all, "; "), why)
	}

	for _, threads := range o.threads {
		for _, batch := range o.batches {
			samples := pick(c.Encoding, func(s sample) bool { return s.Threads == threads && s.What == fmt.Sprint("batch ", batch) })
			if len(samples) == 0 {
				continue
			}
			p("\n### %s, %s at once\n\n%s", plural.Of(threads, "thread"), plural.Of(batch, c.Noun), c.encodingTable(samples, batch))
			if t := beforeTable(samples); t != "" {
				p("\n%s", t)
			}
		}
	}
	most := o.threads[len(o.threads)-1]
	if len(c.Starts) > 0 {
		p("\n### From the start of the process, %s\n\n%s", plural.Of(most, "thread"), c.startTable())
	}
	for _, threads := range o.threads {
		samples := pick(c.Products, func(s sample) bool { return s.Threads == threads })
		if len(samples) == 0 {
			continue
		}
		p("\n### Products x·wᵀ of one %s, %s: GFLOP/s (of the %s peak)\n\n%s", c.Noun, plural.Of(threads, "thread"), c.best(samples), c.productTable(o.config.shapes(), samples))
	}
	return b.String()
}

// pick returns what of all f holds for.
func pick[S any](all []S, f func(S) bool) []S {
	return slices.DeleteFunc(slices.Clone(all), func(s S) bool { return !f(s) })
}

// names lists the contenders that have samples, in order.
func names(samples []sample) []string {
	var all []string
	for _, s := range samples {
		if !slices.Contains(all, s.Contender) {
			all = append(all, s.Contender)
		}
	}
	return all
}

func seconds(samples []sample) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s.Seconds)
	}
	return all
}

// best returns the kernel with the highest peak: that of the machine.
func (c *comparison) best(samples []sample) string {
	best, peak := "", 0.0
	for _, s := range samples {
		for k, v := range s.Peaks {
			if v > peak {
				best, peak = k, v
			}
		}
	}
	return best
}

// encodingTable: time, how much of every peak, ratio to our fastest in float32, agreement and memory. Times
// and fractions are medians over rounds.
func (c *comparison) encodingTable(samples []sample, batch int) string {
	head := []string{"", "ms/" + c.Noun, "fastest"}
	for _, k := range c.Machine.peaks() {
		head = append(head, "of the "+k+" peak")
	}
	head = append(head, "time to ours", "cosine", "difference", "peak resident, GB")
	ours := math.NaN()
	for _, name := range names(samples) {
		if isFloat(name) {
			m := median(seconds(pick(samples, func(s sample) bool { return s.Contender == name })))
			if !(ours < m) {
				ours = m
			}
		}
	}
	var rows [][]string
	for _, name := range names(samples) {
		mine := pick(samples, func(s sample) bool { return s.Contender == name })
		t := seconds(mine)
		row := []string{name, milliseconds(median(t) / float64(batch)), milliseconds(slices.Min(t) / float64(batch))}
		for _, k := range c.Machine.peaks() {
			row = append(row, number(median(fractions(mine, k, c.GFLOP*1e9*float64(batch))), 2))
		}
		cosine, difference, memory := 1.0, 0.0, int64(0)
		for _, s := range mine {
			cosine, difference, memory = min(cosine, s.Cosine), max(difference, s.Difference), max(memory, s.Memory)
		}
		rows = append(rows, append(row, number(median(t)/ours, 2), number(cosine, 7), fmt.Sprintf("%.1e", difference), gigabytes(memory)))
	}
	return table(head, rows...)
}

// startTable: how long until the model is loaded and the first embedding there, with the model's
// file in memory and without, and what is resident then.
func (c *comparison) startTable() string {
	head := []string{"seconds to", "loaded, warm", "first embedding, warm", "loaded, cold", "first embedding, cold", "peak resident, GB"}
	var rows [][]string
	for _, s := range c.Starts {
		i := slices.IndexFunc(rows, func(r []string) bool { return r[0] == s.Contender })
		if i < 0 {
			i = len(rows)
			rows = append(rows, []string{s.Contender, "–", "–", "–", "–", "–"})
		}
		times := []string{number(s.Loaded, 2), number(s.First, 2)}
		if s.Cold {
			copy(rows[i][3:], times)
		} else {
			copy(rows[i][1:], times)
			rows[i][5] = gigabytes(s.Memory)
		}
	}
	return table(head, rows...)
}

// productTable: speed and fraction of the peak at every shape.
func (c *comparison) productTable(shapes []shape, samples []sample) string {
	head := []string{""}
	for _, s := range shapes {
		head = append(head, fmt.Sprintf("%s %d×%d×%d", s.name, s.mnk[0], s.mnk[1], s.mnk[2]))
	}
	best := c.best(samples)
	var rows [][]string
	for _, name := range names(samples) {
		row := []string{name}
		for _, shape := range shapes {
			mine := pick(samples, func(s sample) bool { return s.Contender == name && s.What == shape.name })
			ops := shape.flops()
			row = append(row, fmt.Sprintf("%s (%s)", number(ops/median(seconds(mine))/1e9, 0), number(median(fractions(mine, best, ops)), 2)))
		}
		rows = append(rows, row)
	}
	return table(head, rows...)
}
