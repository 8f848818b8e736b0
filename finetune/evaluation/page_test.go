package evaluation

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// odd are names of classes and pictures that mean something where they are written.
var odd = []string{
	"plain", "with, comma", `with "quotes"`, "line\nbreak", "line\r\nbreak", "a|pipe", `back\slash`, "`code`", "**bold**", "<b>html</b>", "&amp;", "[link](x)", "_edge_", "in_side",
	" spaces ", "猫", "Кошка", "\x1b[31mred", "=1+1", "- list", "# head", "\xff not text",
}

// judged returns the result of so many classes, where each class has n pictures, one of which gets the next class.
func judged(t *testing.T, classes []string, n int) *Result {
	t.Helper()
	tally := NewTally(classes, 0, -1)
	for i := range classes {
		for j := range n {
			p := make([]float64, len(classes))
			if got := i; j == 0 {
				p[(got+1)%len(classes)] = 1
			} else {
				p[got] = 1
			}
			if err := tally.Add(i*n+j, classes[i]+"/x.png", i, p); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := tally.Result()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rows returns the cells of the tables of a page as a reader of Markdown splits them, and an error for a table that is none.
func rows(t *testing.T, page string) (all [][]string) {
	t.Helper()
	width := 0
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "| ") {
			if !strings.HasPrefix(line, "|--") {
				width = 0
			}
			continue
		}
		inner := strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |")
		var cells []string
		cell := ""
		for i := 0; i < len(inner); i++ {
			switch {
			case inner[i] == '\\' && i+1 < len(inner) && strings.IndexByte("\\`*_<>[]&~$|", inner[i+1]) >= 0: // Source: CommonMark 0.31.2, 2.4
				i++
				cell += inner[i : i+1]
			case inner[i] == '|':
				cells = append(cells, strings.TrimSpace(cell))
				cell = ""
			default:
				cell += inner[i : i+1]
			}
		}
		cells = append(cells, strings.TrimSpace(cell))
		if width > 0 && len(cells) != width {
			t.Errorf("%d cells in %q, want %d", len(cells), line, width)
		}
		width = len(cells)
		all = append(all, cells)
	}
	return all
}

// TestOddNames: what stands on a page, in CSV and in JSON is the name, whatever is in it.
func TestOddNames(t *testing.T) {
	r := judged(t, odd, 3)
	page := r.Page("A | title\nof two", [][2]string{{"a|b", "c\nd"}}, r.Files())
	seen := map[string]bool{}
	for _, row := range rows(t, page) {
		seen[row[0]] = true
		if len(row) == 6 && row[0] == "1" && !strings.Contains(row[1], "x.png") {
			t.Errorf("the first wrong picture is %q", row)
		}
	}
	for _, name := range odd {
		printed := strings.TrimSpace(name)
		if strings.ContainsAny(name, "\n\r\x1b") || !utf8.ValidString(name) {
			printed = fmt.Sprintf("%q", name)
		}
		if !seen[printed] {
			t.Errorf("no row of %q", printed)
		}
	}
	if strings.ContainsAny(page, "\r\x1b") || strings.Contains(page, "\n# head") {
		t.Error("the page has what no page has")
	}
	for _, write := range []func(r *Result, b *bytes.Buffer) error{
		func(r *Result, b *bytes.Buffer) error { return r.WriteClasses(b) },
		func(r *Result, b *bytes.Buffer) error { return r.WriteConfusion(b) },
	} {
		var b bytes.Buffer
		if err := write(r, &b); err != nil {
			t.Fatal(err)
		}
		table, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range table[1:] {
			// encoding/csv reads \r\n within quotes as \n.
			if want := strings.ReplaceAll(odd[i], "\r\n", "\n"); row[0] != want {
				t.Errorf("row %d is of %q, want %q", i, row[0], want)
			}
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Classes   []struct{ Class string }
		Confusion [][]int
		Wrong     []struct{ Path, Wanted, Got string }
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for i, c := range back.Classes {
		if want := strings.ToValidUTF8(odd[i], "�"); c.Class != want || back.Confusion[i][i] != 2 || back.Confusion[i][(i+1)%len(odd)] != 1 {
			t.Errorf("class %q in JSON, want %q", c.Class, want)
		}
	}
	if len(back.Wrong) != len(odd) {
		t.Errorf("%d wrong pictures in JSON", len(back.Wrong))
	}
}

// TestPage: a page is as long as a person reads, whatever the number of classes, and says where the rest is.
func TestPage(t *testing.T) {
	for _, c := range []struct {
		classes, n int
		want, not  []string
	}{
		{2, 5, []string{"## Confusion", "| wanted, got: |", "## Wrong pictures", "![wrong pictures](wrong.jpg)", "| accuracy "}, []string{"has all", "top 5"}},
		{6, 1, []string{"top 5", "| wanted, got: |"}, []string{"has all"}},
		{30, 2, []string{"| wanted ", "The 20 most frequent of 30 mistakes; [confusion.csv](confusion.csv) has all.", "The 20 surest of 30; [wrong.csv](wrong.csv) has all."}, []string{"wanted, got"}},
		{1000, 3, []string{"The 40 of the lowest F1 of 1000; [classes.csv](classes.csv) has all.", "The 20 surest of 1000"}, nil},
	} {
		r := judged(t, names(c.classes), c.n)
		page := r.Page("Evaluation", nil, r.Files())
		rows(t, page)
		for _, want := range c.want {
			if !strings.Contains(page, want) {
				t.Errorf("%d classes: no %q in\n%s", c.classes, want, page)
			}
		}
		for _, not := range c.not {
			if strings.Contains(page, not) {
				t.Errorf("%d classes: %q in\n%s", c.classes, not, page)
			}
		}
		if n := strings.Count(page, "\n"); n > 120 {
			t.Errorf("%d classes: %d lines", c.classes, n)
		}
	}

	// None is wrong, and a class is neither there nor got.
	tally := NewTally([]string{"a", "b", "c"}, 0, -1)
	for i := range 4 {
		if err := tally.Add(i, "x", i%2, []float64{float64(1 - i%2), float64(i % 2), 0}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := tally.Result()
	if err != nil {
		t.Fatal(err)
	}
	r.Skipped = []Skipped{{"bad|name.png", errors.New("not an image")}}
	page := r.Page("Evaluation", nil, r.Files())
	for _, want := range []string{"1 more have no pictures, and no picture got them; ", "- bad\\|name.png: not an image", "| skipped "} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	for _, not := range []string{"Wrong pictures", "Confusion", "wrong.jpg"} {
		if strings.Contains(page, not) {
			t.Errorf("%q in\n%s", not, page)
		}
	}
	if f := r.Files(); f.Wrong != "" || f.Sheet != "" || f.Below("x").Classes != "x/classes.csv" || f.Below("x").Wrong != "" {
		t.Errorf("files %+v", f)
	}
	if !slices.Equal(r.Confusion.Row(0), []int{2, 0, 0}) {
		t.Errorf("row %v", r.Confusion.Row(0))
	}
}
