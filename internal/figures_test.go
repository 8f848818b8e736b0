package internal_test

import (
	"regexp"
	"strings"
	"testing"

	read "github.com/vitago/vitago/internal/pages"
)

// What makes a row or a line one that says what was measured, and what has to stand in its section: the date, the machine and the command.
var (
	measuredColumn = regexp.MustCompile(`(?i)\b(images/s|pictures/s|rows/s|gflop/s|ms|resident|peak|seconds|largest difference|largest error|cosine|recall@\d+|accuracy|measured|ratio|first answer|one object)\b`)
	measuredLine   = regexp.MustCompile(`(?i)\d ?(images/s|pictures/s|rows/s|gflop/s)|\d ?(ms|s|MB|GB) (and [0-9.]+ ?[MG]B )?of memory|agrees? (to|within) \d|within \d[0-9.]*e-\d`)
	figureDate     = regexp.MustCompile(`\b\d{1,2} (January|February|March|April|May|June|July|August|September|October|November|December) 20\d\d\b`)
	figureMachine  = regexp.MustCompile(`\b(AMD EPYC|Intel Xeon|EPYC|Xeon)\b`)
	figureCommand  = regexp.MustCompile("`(VITAGO_[A-Z_]+=\\S+ |python\\s+)*(go (-C \\S+ )?(run|test|build)\\b|vitago [a-z]|[a-z_/]*[a-z]\\.(sh|py)|\\.ci/)[^`]*`|(?m)^(go run|vitago|testdata/gen/|bench/|\\.ci/)")
	cellNumber     = regexp.MustCompile(`\d`)
	cellUnit       = regexp.MustCompile(`\| [0-9.,→ ]*\d ?(%|ms|µs|s|MB|GB|×) (\([^|]*\) )?\|`)
)

// notMeasured are sections whose figures only look like it, each with a reason.
var notMeasured = map[string]string{
	"docs/scale.md ## Cores or a GPU":         "computed of scale.yaml, which has source and date of each number",
	"docs/scale.md ## What breaks first":      "the same",
	"docs/scale.md ## When things go wrong":   "simulated",
	"docs/models.md ## By name":               "sizes of downloads",
	"testdata/README.md ## Making them again": "what it wants",
}

// section is a part of a page between two headings, with its heading.
type section struct{ heading, text string }

func sectionsOf(text string) (all []section) {
	current := section{heading: "# top"}
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if !fenced && strings.HasPrefix(line, "#") {
			all = append(all, current)
			current = section{heading: strings.TrimSpace(line)}
		}
		current.text += line
	}
	return append(all, current)
}

// figures returns the lines of a section that say what was measured: of a table its head, if there are numbers in its rows.
func figures(text string) (found []string) {
	lines := strings.Split(text, "\n")
	fenced := false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		switch {
		case fenced:
		case strings.HasPrefix(line, "|") && i+2 < len(lines) && strings.HasPrefix(lines[i+1], "|--"):
			if measuredColumn.MatchString(line) && cellNumber.MatchString(lines[i+2]) || cellUnit.MatchString(lines[i+2]) {
				found = append(found, line)
			}
		case measuredLine.MatchString(line):
			found = append(found, line)
		}
	}
	return found
}

// lacks says what of date, machine and command a section with figures does not name.
func lacks(text string) (missing []string) {
	for _, w := range []struct {
		name string
		is   *regexp.Regexp
	}{{"a date", figureDate}, {"a machine", figureMachine}, {"a command", figureCommand}} {
		if !w.is.MatchString(text) {
			missing = append(missing, w.name)
		}
	}
	return missing
}

// TestFigures: a section that says what was measured names the command, the date and the machine, or the page does so in its beginning or
// in a section "How it was measured".
func TestFigures(t *testing.T) {
	all, err := read.All("..")
	if err != nil {
		t.Fatal(err)
	}
	sections, used := 0, map[string]bool{}
	for _, page := range all {
		text, err := read.Read("..", page)
		if err != nil {
			t.Fatal(err)
		}
		intro, _, _ := strings.Cut(text, "\n## ") // what it says is said of the page
		_, measured, _ := strings.Cut(text, "\n## How it was measured\n")
		for _, s := range sectionsOf(text) {
			found := figures(s.text)
			if len(found) == 0 {
				continue
			}
			if key := page + " " + s.heading; notMeasured[key] != "" {
				used[key] = true
				continue
			}
			sections++
			if m := lacks(s.text + "\n" + intro + "\n" + measured); len(m) > 0 && page != "README.zh-CN.md" { // whose figures are those of README.md
				t.Errorf("%s, %s: %.90q, and the section lacks %s", page, s.heading, found[0], strings.Join(m, ", "))
			}
		}
	}
	if sections < 12 {
		t.Errorf("%d sections with figures were found, want 12 or more", sections)
	}
	for key := range notMeasured {
		if !used[key] {
			t.Errorf("%s has no figures any more: no exception is wanted", key)
		}
	}
}

// The patterns catch what they are for.
func TestLacks(t *testing.T) {
	const table = "## Speed\n\n| | images/s |\n|---|---|\n| a | 5 |\n"
	if got := figures(table + "It takes 5 MB of memory.\n```\n5 images/s\n```\n"); len(got) != 2 {
		t.Errorf("%q", got)
	}
	if got := strings.Join(lacks(table), ", "); got != "a date, a machine, a command" {
		t.Errorf("got %s", got)
	}
	if got := lacks(table + "3 May 2026, two cores of an AMD EPYC, `go run ./bench`\n"); len(got) != 0 {
		t.Errorf("got %s", got)
	}
}
