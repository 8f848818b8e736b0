package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/kernel"
)

// Each of ours is followed by itself of the build before; peers are there only if they are asked for.
func TestContendersBefore(t *testing.T) {
	for _, c := range []struct {
		o    options
		want []string
	}{
		{options{kinds: []string{"generic", "torch"}}, []string{"vitago, no assembly", "PyTorch"}},
		{options{kinds: []string{"generic", "torch"}, before: "old"}, []string{"vitago, no assembly", "before: vitago, no assembly", "PyTorch"}},
	} {
		var got []string
		for _, x := range c.o.contenders(products) {
			got = append(got, x.name)
			if want := map[bool]string{true: "old"}[strings.HasPrefix(x.name, beforePrefix)]; x.exe != want {
				t.Errorf("%s runs %q, want %q", x.name, x.exe, want)
			}
		}
		if kernels()[0] != "generic" { // it is left out where there is another
			c.want = slices.DeleteFunc(c.want, func(s string) bool { return strings.HasSuffix(s, "no assembly") })
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.o, got, c.want)
		}
	}
	for _, x := range (options{before: "old"}).contenders(towers) {
		if x.python {
			t.Errorf("%s takes part without being asked for", x.name)
		}
	}
}

// The test program itself is the build before: it computes the same bits, in a process of its own.
func TestBefore(t *testing.T) {
	o := options{
		config: configs["tiny"], dir: t.TempDir(), python: filepath.Join(t.TempDir(), "no-python"), before: os.Args[0],
		rounds: 3, threads: []int{1}, batches: []int{1}, kinds: []string{kernel.Name(), "train"}, cases: []string{"projector"},
	}
	if err := checkBefore(o.before); err != nil {
		t.Fatal(err)
	}
	if err := writeModel(o.dir, o.config); err != nil {
		t.Fatal(err)
	}
	for name, measure := range map[string]func() (string, any, error){
		"compare": func() (string, any, error) { return compare(t.Context(), o) },
		"train":   func() (string, any, error) { return train(t.Context(), o) },
	} {
		text, _, err := measure()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "| beside the build before |") || !strings.Contains(text, " | yes |") || strings.Contains(text, " | no |") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// The table has the ratio of the medians, and those of the rounds.
func TestBeforeTable(t *testing.T) {
	var all []sample
	for i, s := range [][2]float64{{1, 2}, {3, 2}, {2, 2}} {
		all = append(all, sample{Contender: "vitago", Seconds: s[0], Sum: 7}, sample{Contender: "before: vitago", Seconds: s[1], Sum: uint64(7 + i/2)})
	}
	got := beforeTable(append(all, sample{Contender: "PyTorch", Seconds: 9}))
	if want := "| vitago | 2000 | 2000 | 1.000 | 0.500 | 1.000 | 1.500 | no |\n"; !strings.HasSuffix(got, want) || strings.Contains(got, "PyTorch") {
		t.Errorf("got\n%swant at the end\n%s", got, want)
	}
	if got := beforeTable(all[:1]); got != "" {
		t.Errorf("a table without a build before:\n%s", got)
	}
}

// Who comes first changes from round to round, but only beside another build.
func TestTakeTurns(t *testing.T) {
	for exe, want := range map[string]string{"": "ab ab ab ab", "old": "ab ab ba ab"} {
		running := []runner{{contender: contender{name: "a"}}, {contender: contender{name: "b", exe: exe}}}
		var got []string
		for round := range 4 {
			takeTurns(running, round)
			got = append(got, running[0].name+running[1].name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("exe %q: %s, want %s", exe, got, want)
		}
	}
}

// A program that is not there, is none, or is no bench is an error before anything is measured.
func TestNotABench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-config", "tiny", "-before", filepath.Join(t.TempDir(), "missing")}, {"-config", "tiny", "-before", file}, {"scale", "-config", "tiny", "-before", os.Args[0]},
	} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), "-before") {
			t.Errorf("%v: %v, want an error about -before", args, err)
		}
	}
}
