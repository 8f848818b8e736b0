package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

var english = message.NewPrinter(language.English)

// number writes three figures, and commas.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	if v < 0 {
		return "-" + number(-v)
	}
	if digits := int(math.Floor(math.Log10(v))) + 1; digits < 3 {
		s := fmt.Sprintf("%.*f", 3-digits, v)
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	} else {
		unit := math.Pow(10, float64(digits-3))
		return english.Sprintf("%.0f", math.Round(v/unit)*unit)
	}
}

func percent(v float64) string { return number(100*v) + " %" }

// A table is one of a page, its first column on the left.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(t.head)
	b.WriteString("|---" + strings.Repeat("|---:", len(t.head)-1) + "|\n")
	for _, r := range t.rows {
		line(r)
	}
	return b.String()
}

var sizes = []float64{1e8, 1e9}

// What the page computes with: 500 pods of two cores.
const pagePods, pageCores = 500, 2

// costs says what each model takes, and whether a GPU takes less.
func costs(p Parameters, job Job) (string, error) {
	t := &table{head: []string{"images", "model", "", "core-hours", english.Sprintf("hours on %d cores", job.Pods*job.Cores), "USD on demand", "USD spot", "A100 hours", "USD", "GPU's price to cores'"}}
	for _, n := range sizes {
		for _, r := range p.Cores {
			j := job
			j.Images, j.Model, j.Precision = n, r.Model, r.Precision
			l, err := p.MakePlan(j)
			if err != nil {
				return "", err
			}
			t.add(number(n), r.Model, r.Precision, number(l.CoreHours), number(l.Hours), number(l.OnDemand), number(l.Spot), number(l.GPUHours), number(l.GPUPrice), fmt.Sprintf("%.2f", l.GPUPrice/l.OnDemand))
		}
	}
	return t.String(), nil
}

// even says from which speed on a GPU is cheaper.
func even(p Parameters, job Job) (string, error) {
	t := &table{head: []string{"model", "", "images/s of a core", "a GPU is cheaper from, images/s", "an A100 does", "cheaper on"}}
	for _, r := range p.Cores {
		job.Images, job.Model, job.Precision = sizes[0], r.Model, r.Precision
		l, err := p.MakePlan(job)
		if err != nil {
			return "", err
		}
		on := "cores"
		if l.GPU > l.Even {
			on = "the GPU"
		}
		t.add(r.Model, r.Precision, number(r.Value.Value), number(l.Even), number(l.GPU), on)
	}
	return t.String(), nil
}

// flows says what is read, written and asked for.
func flows(p Parameters, job Job) (string, error) {
	t := &table{head: []string{"images", "model", "shards", "read, TB", "Gbit/s", "written, TB", "USD a month", "GET, thousands", "PUT, thousands", "USD", "with claims, USD", "with a picture an object, USD", "GB of a pod"}}
	for _, n := range sizes {
		for _, m := range p.Models {
			job.Images, job.Model, job.Precision, job.Single, job.Claimed = n, m.Name, "float32", false, false
			l, err := p.MakePlan(job)
			if err != nil {
				return "", err
			}
			job.Single = true
			single, err := p.MakePlan(job)
			if err != nil {
				return "", err
			}
			job.Single, job.Claimed = false, true
			claimed, err := p.MakePlan(job)
			if err != nil {
				return "", err
			}
			t.add(number(n), m.Name, number(l.Shards), number(l.Read), number(l.Gbits), number(l.Written), number(l.Storage), number(l.Gets/1e3), number(l.Puts/1e3), number(l.Requests), number(claimed.Requests), number(single.Requests), number(l.Memory))
		}
	}
	return t.String(), nil
}

// breaks says what a job takes of the bounds that others set.
func breaks(p Parameters, job Job) (string, error) {
	t := &table{head: []string{"bound", "has", "takes", "of it"}}
	job.Images, job.Model, job.Precision, job.Single = sizes[len(sizes)-1], "ViT-B/32", "int8", true
	l, err := p.MakePlan(job)
	if err != nil {
		return "", err
	}
	for _, b := range p.limits(l) {
		t.add(b.Name, number(b.Has), number(b.Takes), percent(b.Takes/b.Has))
	}
	return t.String(), nil
}

// seeds is over how many runs the page takes means.
const seeds = 20

// mean returns the mean of a value over seeds, and the standard error of it.
func mean(seeds int, value func(seed uint64) float64) (m, standardError float64) {
	var sum, squares float64
	for i := range seeds {
		v := value(uint64(i))
		sum += v
		squares += v * v
	}
	n := float64(seeds)
	m = sum / n
	return m, math.Sqrt(max(0, squares/n-m*m) / (n - 1))
}

// A trouble is what a simulation adds to a job.
type trouble struct {
	name string
	add  func(*Simulation)
}

// troubles are the rows of the page.
func troubles(p Parameters) []trouble {
	kills := func(s *Simulation) { s.Kills, s.Replaced = p.Data.Kills.Value/hour, 120 }
	slow := func(s *Simulation) { s.Slow, s.SlowBy = 0.05, 2 }
	return []trouble{
		{"nothing goes wrong", func(*Simulation) {}},
		{"5 % of the pods take twice as long", slow},
		{fmt.Sprintf("each pod is interrupted %v times an hour, and replaced after 2 minutes", p.Data.Kills.Value), kills},
		{"the same, shards of 100,000", func(s *Simulation) {
			kills(s)
			var joined []float64
			for c := range slices.Chunk(s.Shards, 10) {
				sum := 0.0
				for _, v := range c {
					sum += v
				}
				joined = append(joined, sum)
			}
			s.Shards = joined
		}},
		{"both, 1 % of the attempts fail, each pod stands still for a minute once in ten hours", func(s *Simulation) {
			kills(s)
			slow(s)
			s.Errors, s.Pauses, s.Pause = 0.01, 1.0/(10*hour), 60
		}},
	}
}

// simulated says how much longer a job takes than the formula says.
func simulated(p Parameters, job Job) (string, error) {
	t := &table{head: []string{fmt.Sprintf("%s images, %s", number(sizes[0]), "ViT-B/32 float32"), "shards are", "hours", "to the formula", "work done twice", "last pods alone, hours"}}
	job.Images, job.Model, job.Precision = sizes[0], "ViT-B/32", "float32"
	l, err := p.MakePlan(job)
	if err != nil {
		return "", err
	}
	_, rate, _ := p.model(l.Model, l.Precision)
	for _, c := range troubles(p) {
		for _, assigned := range []bool{true, false} {
			s := Simulation{Shards: p.shards(l.Job, rate.Value.Value), Pods: l.Pods, Assigned: assigned, Lease: 60, Start: p.Data.Start.Value}
			c.add(&s)
			outcomes := make([]Outcome, seeds)
			for i := range outcomes {
				outcomes[i] = s.Run(uint64(i))
			}
			end, e := mean(seeds, func(i uint64) float64 { return outcomes[i].End / hour })
			twice, _ := mean(seeds, func(i uint64) float64 { return outcomes[i].Repeated / outcomes[i].Work })
			tail, _ := mean(seeds, func(i uint64) float64 { return outcomes[i].Tail / hour })
			how := "claimed"
			if assigned {
				how = "assigned"
			}
			t.add(c.name, how, fmt.Sprintf("%.2f ± %.2f", end, e), fmt.Sprintf("%.2f", end/l.Hours), percent(twice), fmt.Sprintf("%.2f", tail))
		}
	}
	return t.String(), nil
}

// prices lists them with where they are from.
func prices(p Parameters) string {
	t := &table{head: []string{"price of", "USD", "source", "date"}}
	for _, v := range []Value{p.Prices.Core, p.Prices.Spot, p.Prices.GPU, p.Prices.Get, p.Prices.Put, p.Prices.Storage} {
		t.add(v.Of, fmt.Sprint(v.Value), v.Source, v.Date)
	}
	return t.String()
}

// parts are what the program writes into the page, by the names of their places.
func parts(p Parameters, r Run) (map[string]string, error) {
	job := Job{Pods: pagePods, Cores: pageCores}
	all := map[string]string{"prices": prices(p)}
	for name, make := range map[string]func(Parameters, Job) (string, error){"costs": costs, "even": even, "flows": flows, "breaks": breaks, "simulated": simulated} {
		text, err := make(p, job)
		if err != nil {
			return nil, err
		}
		all[name] = text
	}
	all["run"] = r.table()
	return all, nil
}

// fill puts the parts into a page, between <!-- scale NAME --> and <!-- /scale -->, and wants a place for each.
func fill(page string, parts map[string]string) (string, error) {
	var b strings.Builder
	seen := map[string]bool{}
	for {
		before, rest, ok := strings.Cut(page, "<!-- scale ")
		b.WriteString(before)
		if !ok {
			break
		}
		name, rest, ok := strings.Cut(rest, " -->\n")
		_, after, closed := strings.Cut(rest, "<!-- /scale -->")
		text, known := parts[name]
		if !ok || !closed || !known || seen[name] {
			return "", fmt.Errorf("page: the place %q is not closed, not known, or there twice", name)
		}
		seen[name] = true
		fmt.Fprintf(&b, "<!-- scale %s -->\n%s<!-- /scale -->", name, text)
		page = after
	}
	if len(seen) != len(parts) {
		return "", fmt.Errorf("page: places %v, want %d", seen, len(parts))
	}
	return b.String(), nil
}
