package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// beforePrefix begins the name of a contender whose worker is another build of this program.
const beforePrefix = "before: "

// contenders returns those of the chosen kinds. If there is a build to compare with, each of ours is followed by the
// same one of that build, and unless kinds were named the peers stay out.
func (o options) contenders(all []contender) []contender {
	chosen := choose(all, o.kinds)
	if o.before == "" {
		return chosen
	}
	var pairs []contender
	for _, c := range chosen {
		switch {
		case !c.python && c.kind != "gonum":
			old := c
			old.name, old.exe = beforePrefix+c.name, o.before
			pairs = append(pairs, c, old)
		case len(o.kinds) > 0:
			pairs = append(pairs, c)
		}
	}
	return pairs
}

// takeTurns reverses the order from the second counted round on, each time, if there is a build to compare with: of two equal
// builds, the one that came first took 1 % longer.
func takeTurns(running []runner, round int) {
	if round > 1 && slices.ContainsFunc(running, func(r runner) bool { return r.exe != "" }) {
		slices.Reverse(running)
	}
}

// checkBefore returns an error unless the file is a build of this program that answers as a worker.
func checkBefore(path string) error {
	if _, err := exec.LookPath(path); err != nil {
		return fmt.Errorf("-before: %w: want a program that `go build ./bench` made", err)
	}
	cmd := exec.Command(path, "worker", "machine", "1")
	cmd.Stdin = strings.NewReader("{\"cmd\":\"free\"}\n")
	cmd.Stderr = &tail{}
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "{") {
		return fmt.Errorf("-before: %s does not answer as a worker of bench does (%.80q): %w", path, out, errors.Join(err, os.ErrInvalid))
	}
	return nil
}

// beforeTable compares each contender with the same one of the build before: the ratio of the medians, that of every
// round by itself, and whether the results were the same to the bit.
func beforeTable(samples []sample) string {
	var rows [][]string
	for _, name := range names(samples) {
		of := func(name string) []sample { return pick(samples, func(s sample) bool { return s.Contender == name }) }
		now, old := of(name), of(beforePrefix+name)
		n := min(len(now), len(old))
		if n == 0 {
			continue
		}
		var ratios []float64
		same := "yes"
		for i := range n {
			ratios = append(ratios, now[i].Seconds/old[i].Seconds)
			if now[i].Sum != old[i].Sum {
				same = "no"
			}
		}
		rows = append(rows, []string{
			name, milliseconds(median(seconds(now))), milliseconds(median(seconds(old))), number(median(seconds(now))/median(seconds(old)), 3),
			number(slices.Min(ratios), 3), number(median(ratios), 3), number(slices.Max(ratios), 3), same,
		})
	}
	if rows == nil {
		return ""
	}
	return table([]string{"beside the build before", "ms", "before", "ratio of medians", "least of a round", "median of rounds", "most", "same bits"}, rows...)
}
