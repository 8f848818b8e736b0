package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/plural"
)

// A machine is where and how a run took place.
type machine struct {
	Date     string   `json:"date"`
	CPU      string   `json:"cpu"`
	Cores    int      `json:"cores"`
	Platform string   `json:"platform"`
	Kernels  []string `json:"kernels"`
	Revision string   `json:"revision,omitempty"` // of this project
	Command  string   `json:"command"`
}

func thisMachine(command string) machine {
	m := machine{
		Date: time.Now().Format("2 January 2006"), CPU: cpuName(), Cores: runtime.NumCPU(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Command: command, Kernels: kernels(),
	}
	if info, ok := debug.ReadBuildInfo(); ok { // go run leaves it out unless it has -buildvcs=true
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Revision = s.Value
			}
		}
	}
	return m
}

// kernels lists what this processor runs of our kernels, best first; the generic one only if there is
// no other.
func kernels() []string {
	all := kernel.Available()
	if len(all) == 1 {
		return all
	}
	return slices.DeleteFunc(all, func(k string) bool { return k == "generic" })
}

// peakOf returns the kernel whose multiply-adds a kernel is measured by. What AMX computes in float32 it adds up from
// products of bfloat16, and so has no peak of its own.
func peakOf(kernel string) string {
	if kernel == "amx" {
		return "avx512"
	}
	return kernel
}

// peaks lists those of the machine's kernels that have one.
func (m machine) peaks() []string {
	return slices.DeleteFunc(slices.Clone(m.Kernels), func(k string) bool { return peakOf(k) != k })
}

// cpuName returns what Linux calls the processor, and which generation it is: a virtual machine may say no more than "AMD EPYC".
func cpuName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	return cpuOf(string(b))
}

// cpuOf finds the first processor's name, family and model in the text of /proc/cpuinfo.
func cpuOf(info string) string {
	found := map[string]string{}
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); found[key] == "" {
			found[key] = strings.TrimSpace(value)
		}
	}
	name := cmp.Or(found["model name"], "unknown processor")
	if found["cpu family"] == "" || found["model"] == "" {
		return name
	}
	return fmt.Sprintf("%s (family %s, model %s)", name, found["cpu family"], found["model"])
}

func (m machine) markdown() string {
	s := fmt.Sprintf("%s; %s of %s, %s", m.Date, plural.Of(m.Cores, "core"), m.CPU, m.Platform)
	if m.Revision != "" {
		s += "; revision " + m.Revision[:min(12, len(m.Revision))]
	}
	return s + "; `" + m.Command + "`"
}

// quiet is how long a worker is given until its threads sleep and no longer wait for work by running.
// 200 ms is the longest that an OpenMP library does by default (Intel's KMP_BLOCKTIME).
var quiet = 250 * time.Millisecond // less in tests

// A gauge measures the peak of the machine between measurements, in a process of its own.
type gauge struct {
	*process
	last map[string]float64
}

func newGauge(ctx context.Context, o options, threads int) (*gauge, error) {
	argv, err := o.worker(contender{kind: "machine"}, threads)
	if err != nil {
		return nil, err
	}
	p, err := launch(ctx, argv, threads)
	if err != nil {
		return nil, err
	}
	g := &gauge{process: p}
	return g, g.measure()
}

func (g *gauge) measure() error {
	time.Sleep(quiet)
	r, err := g.ask(request{Cmd: "peak"})
	g.last = r.Peaks
	return err
}

// around calls f between two measurements of the peak and returns their mean, by kernel.
func (g *gauge) around(f func() error) (map[string]float64, error) {
	before := g.last
	if err := f(); err != nil {
		return nil, err
	}
	if err := g.measure(); err != nil {
		return nil, err
	}
	mean := map[string]float64{}
	for k, v := range g.last {
		mean[k] = (before[k] + v) / 2
	}
	return mean, nil
}

// fractions returns how much of a kernel's peak the samples reached, each of the peak around it.
func fractions(samples []sample, kernel string, flops float64) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, flops/s.Seconds/s.Peaks[kernel])
	}
	return all
}

// peakList says in words what the peaks were.
func peakList(samples []sample, kernels []string) string {
	var all []string
	for _, k := range kernels {
		var p []float64
		for _, s := range samples {
			p = append(p, s.Peaks[k]/1e9)
		}
		if len(p) > 0 {
			all = append(all, fmt.Sprintf("%s %.0f (%.0f to %.0f)", k, median(p), slices.Min(p), slices.Max(p)))
		}
	}
	return strings.Join(all, ", ") + " GFLOP/s"
}
