package main

import (
	"fmt"
	"strings"
	"testing"
)

// mini is a plan of seconds.
var mini = plan{start: amount{60, 3}, easy: amount{24, 2}, test: 20, seed: 1}

// What the recipes are shown to do holds in small: a head on a frozen tower that sees what matters is nearly
// always right, no recipe spoils that but the one that is too fast, and the projector comes nearer.
func TestLearning(t *testing.T) {
	var said []string
	results, err := mini.run(t.Context(), t.TempDir(), "", func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
	})
	if err != nil {
		t.Fatal(err)
	}
	table := markdown([]table{results})
	t.Log("\n" + table)
	var before, after float64
	if _, err := fmt.Sscanf(said[0], "seed 1: the tower to start from, on colours: %f → %f %%", &before, &after); err != nil || before > 20 || after < 60 {
		t.Errorf("%q: %v, want from chance to above 60 %%", said[0], err)
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if want := 2 + 1 + len(rows()) + 1; len(lines) != want {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), want, table)
	}
	for _, line := range lines[2:] {
		cells := strings.Split(line, "|")
		name := strings.TrimSpace(cells[1])
		if _, err := fmt.Sscanf(cells[2], " %f → %f", &before, &after); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		ok := after >= 80
		switch {
		case name == "probe":
			ok = before < 20 && after >= 80
		case strings.HasPrefix(name, "projector"):
			ok = after < 0.8*before
		case strings.Contains(name, "no averages"):
			ok = after < before
		}
		if !ok {
			t.Errorf("%s: %.1f before, %.1f after", name, before, after)
		}
	}
}

// The same seed gives the same table, and another one another.
func TestSeed(t *testing.T) {
	var tables []string
	var results []table
	for _, seed := range []uint64{1, 1, 2} {
		p := plan{start: amount{8, 1}, easy: amount{6, 1}, test: 8, seed: seed}
		one, err := p.run(t.Context(), t.TempDir(), "", t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, one)
		tables = append(tables, markdown([]table{one}))
	}
	if together := markdown(results[1:]); !strings.Contains(together, " to ") || strings.Contains(tables[0], " to ") {
		t.Errorf("no spread in\n%s, or one of one seed in\n%s", together, tables[0])
	}
	if tables[1] != tables[0] || tables[2] == tables[0] {
		t.Errorf("seeds 1, 1 and 2 give\n%s", strings.Join(tables, "\n"))
	}
}

// A cell has the mean of the seeds, and what they spread over.
func TestCell(t *testing.T) {
	for want, all := range map[string][]result{
		"50.0 → 75.0 %":                {{0.5, 0.75}},
		"40.0 → 80.0 % (70.0 to 90.0)": {{0.5, 0.9}, {0.3, 0.7}, {0.4, 0.8}},
	} {
		if got := cell("full", all...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got, want := cell(toProject, result{2, 1}, result{4, 0.5}), "3.000 → 0.750 (0.500 to 1.000)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMistakes(t *testing.T) {
	if _, err := mini.run(t.Context(), t.TempDir(), "absent", t.Logf); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("no digits: %v", err)
	}
}
