package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pages"
	"github.com/vitago/vitago/internal/shapes"
)

// A screen is what a terminal shows of both outputs.
type screen struct {
	sync.Mutex
	bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	return s.Buffer.Write(p)
}

// fraction is a number with a fraction, in a pattern.
var fraction = regexp.MustCompile(`-?\d+\\\.\d+`)

// printsAs says whether got is what a page shows: … stands for anything, and the last digit of a number, or 2e-5, for rounding that other kernels
// do otherwise.
func printsAs(want, got string) bool {
	pattern := regexp.QuoteMeta(want)
	pattern = strings.ReplaceAll(pattern, "\n…", "(?s:.*?)") // lines, or none
	pattern = strings.ReplaceAll(pattern, "…", ".*?")
	var numbers, steps []float64
	pattern = fraction.ReplaceAllStringFunc(pattern, func(s string) string {
		s = strings.ReplaceAll(s, `\`, "")
		v, _ := strconv.ParseFloat(s, 64)
		_, digits, _ := strings.Cut(s, ".")
		numbers, steps = append(numbers, v), append(steps, max(1.01*math.Pow10(-len(digits)), 2e-5))
		return `(-?\d+\.\d+)`
	})
	m := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if m == nil {
		return false
	}
	for i, s := range m[1:] {
		if v, err := strconv.ParseFloat(s, 64); err != nil || math.Abs(v-numbers[i]) > steps[i] {
			return false
		}
	}
	return true
}

func TestPrintsAs(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"a 0.5935 b", "a 0.5936 b", true}, {"a 0.5935 b", "a 0.5938 b", false}, {"a 1.5 b", "a x b", false}, {"a … b", "a 17 b", true},
		{"first\n…\nlast", "first\nlast", true}, {"first\n…\nlast", "first\n1\n2\nlast", true}, {"first\n…\nlast", "first\n1\nlost", false},
		{"[-0.31,…]", "[-0.31,2.5,3]", true}, {"a …", "a 1\nb", false},
	} {
		if got := printsAs(c.want, c.got); got != c.ok {
			t.Errorf("%q is shown by %q: %v, want %v", c.got, c.want, got, c.ok)
		}
	}
}

// TestQuickstart runs the page of the first hour word by word, in a folder that has of the clone what the page names, and compares what is printed. TestPagesRun
// runs the part with one's own pictures, and the Go.
func TestQuickstart(t *testing.T) {
	text, _, ok := strings.Cut(page(t, "docs/quickstart.md"), "\n## Now with your own pictures\n")
	if !ok {
		t.Fatal("the page has no part with one's own pictures")
	}
	copies := []string{"demo/pictures", "testdata/families/xcomposer2-vl", "testdata/families/xcomposer2-hd"}
	for i, from := range copies {
		copies[i] = golden.Path(t, from)
	}
	t.Chdir(t.TempDir())
	for i, to := range []string{"demo/pictures", "testdata/families/xcomposer2-vl", "testdata/families/xcomposer2-hd"} {
		if err := os.CopyFS(to, os.DirFS(copies[i])); err != nil {
			t.Fatal(err)
		}
	}
	after := progressAfter // on a slow machine more would be shown
	defer func() { progressAfter = after }()
	progressAfter = time.Hour
	ran, compared := 0, 0
	blocks := pages.Blocks("docs/quickstart.md", text)
	for i, block := range blocks {
		var got screen
		for _, c := range block.Commands() {
			args := c.Words()
			switch {
			case args[0] == "vitago":
				ran++
				if status := run(context.Background(), args[1:], strings.NewReader(""), &got, &got); status != exitDone {
					t.Errorf("%s: status %d", c.Where(), status)
				}
			case strings.HasPrefix(c.Text, "go run ./examples/shapes "):
				drawShapes(t, args[3:])
			}
		}
		if block.Language == "sh" && i+1 < len(blocks) && blocks[i+1].Language == "" {
			compared++
			if printed := got.String(); !printsAs(blocks[i+1].Text, printed) {
				t.Errorf("%sprints\n%s\nand the page shows\n%s", block.Text, printed, blocks[i+1].Text)
			}
		}
	}
	if ran < 15 || compared < 9 {
		t.Errorf("%d commands were run and %d outputs compared, want 15 and 9 or more", ran, compared)
	}
}

// drawShapes does what examples/shapes does with these arguments.
func drawShapes(t *testing.T, args []string) {
	t.Helper()
	flags := flag.NewFlagSet("shapes", flag.ContinueOnError)
	n, test := flags.Int("n", 100, ""), flags.Int("test", 50, "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	for name, count := range map[string][2]int{"train": {0, *n}, "test": {*n, *test}} {
		if err := shapes.Write(filepath.Join(flags.Arg(0), name), count[0], count[1], 64, false, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// The page in Chinese has the commands, the outputs and the Go of the English one, up to the comments.
func TestQuickstartTranslation(t *testing.T) {
	blocksOf := func(name string) (blocks []string) {
		for _, b := range pages.Blocks(name, page(t, name)) {
			block := b.Language + "\n" + b.Text
			if b.Language == "sh" {
				block = regexp.MustCompile(`(?m)[ \t]+# .*$`).ReplaceAllString(block, "")
			}
			blocks = append(blocks, block)
		}
		return blocks
	}
	want, got := blocksOf("docs/quickstart.md"), blocksOf("docs/quickstart.zh-CN.md")
	if len(want) < 15 || len(got) != len(want) {
		t.Fatalf("%d blocks, want the %d of the English page", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("block %d is\n%s\nwant\n%s", i+1, got[i], want[i])
		}
	}
	sections := func(name string) string {
		return fmt.Sprint(strings.Count(page(t, name), "\n## "), " parts, ", strings.Count(page(t, name), "\n| "), " rows")
	}
	if want, got := sections("docs/quickstart.md"), sections("docs/quickstart.zh-CN.md"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
