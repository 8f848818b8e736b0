package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestFinetuneSweep: a table of the runs, the best first, and what is wrong with a sweep.
func TestFinetuneSweep(t *testing.T) {
	pictures, out := colours(t, 4), filepath.Join(t.TempDir(), "out")
	args := func(more ...string) []string {
		return append([]string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "lora", "--split", "0.5", "--epochs", "1"}, more...)
	}
	vitago(args("--sweep", "rate=0.001,0.01", "--sweep", "rank=1,2", "--dry-run")...).want(t, exitDone,
		[]string{"runs      4: rate=0.001,rank=1 rate=0.001,rank=2 rate=0.01,rank=1 rate=0.01,rank=2\n", "all runs  about "}, []string{"in all "})
	r := vitago(args("--sweep", "rate=0.001,0.01")...)
	r.want(t, exitDone, []string{"rate ", "accuracy", "model   " + filepath.Join(out, "model") + ", that of rate=0.", "report  " + filepath.Join(out, "sweep.md")},
		[]string{"run 1 of 2: rate=0.001\n", "run 2 of 2: rate=0.01\n"})
	if lines := strings.Split(r.out, "\n"); !strings.HasPrefix(lines[0], "rate") || strings.Count(r.out, " rate=0.0") != 3 {
		t.Errorf("the table is %s", r.out)
	}
	vitago(args("--sweep", "rate=0.001,0.01")...).want(t, exitFailed, nil, []string{"is there already: choose another directory, or resume it"})
	vitago(args("--sweep", "rate=0.001,0.01", "--resume", "--augment-flip", "0.5")...).want(t, exitFailed, nil, []string{"is of another run: --augment-flip: none, now 0.5"})
	again := vitago(args("--sweep", "rate=0.001,0.01", "--resume")...)
	if again.status != exitDone || again.out != r.out {
		t.Errorf("resumed, it is\n%s, was\n%s", again.out, r.out)
	}
	for _, c := range []struct{ args, want string }{
		{"--sweep rate", `--sweep is "rate", want NAME=VALUE,VALUE`},
		{"--sweep rate=x", `"x" is no number`},
		{"--sweep rat=1", `--sweep: "rat" is no number of a recipe, want one of epochs, batch`},
		{"--sweep rate=0.1 --rate 0.2", "--sweep says --rate, too: want one of them"},
		{"--sweep rate=7", "--sweep rate=7: --rate: rate is 7, want 0 to 1"},
		{"--sweep blocks=1", "--sweep blocks=1: --blocks is of the recipe last-n"},
		{"--sweep rate=0.1 --split 0", "there are none: give --val, or a --split above 0"},
	} {
		vitago(args(strings.Fields(c.args)...)...).want(t, exitUsage, nil, []string{c.want})
	}
}
