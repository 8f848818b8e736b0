package evaluation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pyjson"
)

// none stands for no label, where these do not exclude each other.
const none = "-"

// What a page shows at most: what a person looks through. The files beside it have all.
const (
	classesShown  = 40
	matrixShown   = 12 // classes of a confusion matrix that fits on a screen
	mistakesShown = 20
	wrongShown    = 20
	skippedShown  = 20
	headShown     = 12 // letters of a class above its column
)

// Files are the names of the files that a page refers to; "" of those that there are not.
type Files struct {
	Classes, Confusion, Wrong string // of the tables of classes, of labels and what they were taken for, and of pictures that got another class
	Sheet                     string // of the picture that shows these
}

// Below returns the same files in a folder.
func (f Files) Below(dir string) Files {
	for _, p := range []*string{&f.Classes, &f.Confusion, &f.Wrong, &f.Sheet} {
		if *p != "" {
			*p = dir + "/" + *p
		}
	}
	return f
}

// Facts are what a person wants to know first, names and values.
func (r *Result) Facts() [][2]string {
	rows := [][2]string{{"pictures", fmt.Sprint(r.Pictures)}}
	if n := len(r.Skipped); n > 0 {
		rows = append(rows, [2]string{"skipped", fmt.Sprintf("%d that could not be read", n)})
	}
	rows = append(rows, [2]string{"accuracy", fmt.Sprintf("%.4f, %d right", r.Accuracy, r.Right)})
	if r.Top > 0 {
		rows = append(rows, [2]string{fmt.Sprintf("top %d", r.Top), fmt.Sprintf("%.4f", r.TopAccuracy)})
	}
	if r.Multi {
		rows[len(rows)-1][0] = "all labels right"
		rows = append(rows,
			[2]string{"mean average precision", fmt.Sprintf("%.4f", r.MeanAP)},
			[2]string{"of all labels", fmt.Sprintf("recall %.4f, precision %.4f, F1 %.4f", r.Micro.Recall, r.Micro.Precision, r.Micro.F1)})
	}
	return append(rows,
		[2]string{"mean of classes", fmt.Sprintf("recall %.4f, precision %.4f, F1 %.4f", r.Macro.Recall, r.Macro.Precision, r.Macro.F1)},
		[2]string{"cross-entropy", fmt.Sprintf("%.4f", r.Loss)})
}

// Page returns a page of Markdown, whose tables a person can read as they are: a title, facts, those of the result, and
// its [Result.Sections].
func (r *Result) Page(title string, facts [][2]string, f Files) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", cell(title))
	rows := [][]string{{"", ""}}
	for _, f := range slices.Concat(facts, r.Facts()) {
		rows = append(rows, []string{cell(f[0]), cell(f[1])})
	}
	table(&b, rows, "ll")
	b.WriteString(r.Sections(f))
	return b.String()
}

// Sections returns, in Markdown, a section on each of classes, confusions, wrong pictures and those that could not be read.
func (r *Result) Sections(f Files) string {
	var b strings.Builder
	r.classes(&b, f)
	r.confusions(&b, f)
	r.wrong(&b, f)
	r.skipped(&b)
	return b.String()
}

// section begins one. about says what is not shown, and where that is.
func section(b *strings.Builder, title, about, file string) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	switch {
	case about != "" && file != "":
		fmt.Fprintf(b, "%s; [%s](%s) has all.\n\n", about, file, file)
	case about != "":
		fmt.Fprintf(b, "%s.\n\n", about)
	}
}

func (r *Result) classes(b *strings.Builder, f Files) {
	var seen []Class // in any picture
	for _, c := range r.Classes {
		if c.Pictures+c.Predicted > 0 {
			seen = append(seen, c)
		}
	}
	var about []string
	if n := len(r.Classes) - len(seen); n > 0 {
		about = append(about, fmt.Sprintf("%d more have no pictures, and no picture got them", n))
	}
	if len(seen) > classesShown {
		about = append(about, fmt.Sprintf("The %d of the lowest F1 of %d", classesShown, len(seen)))
		slices.Reverse(about)
		slices.SortStableFunc(seen, func(a, b Class) int { return cmp.Compare(a.F1, b.F1) })
		seen = seen[:classesShown]
	}
	section(b, "Classes", strings.Join(about, "; "), f.Classes)
	rows := [][]string{{"class", "pictures", "recall", "precision", "F1", "predicted"}}
	for _, c := range seen {
		rows = append(rows, []string{
			cell(c.Name), fmt.Sprint(c.Pictures), of(c.Recall, c.Pictures), of(c.Precision, c.Predicted), of(c.F1, c.Pictures+c.Predicted), fmt.Sprint(c.Predicted),
		})
	}
	columns := "lrrrrr"
	if r.Multi {
		columns += "r"
		rows[0] = append(rows[0], "average precision")
		for i, c := range seen {
			rows[i+1] = append(rows[i+1], of(c.AveragePrecision, c.Pictures))
		}
	}
	table(b, rows, columns)
}

// of writes a share of so many.
func of(share float64, n int) string {
	if n == 0 {
		return "-" // a share of nothing
	}
	return fmt.Sprintf("%.4f", share)
}

func (r *Result) confusions(b *strings.Builder, f Files) {
	if r.Multi {
		return
	}
	mistakes := r.Confusion.mistakes()
	if len(mistakes) == 0 {
		return
	}
	var seen []int // classes
	for i, c := range r.Classes {
		if c.Pictures+c.Predicted > 0 {
			seen = append(seen, i)
		}
	}
	if len(seen) <= matrixShown {
		section(b, "Confusion", "", "")
		rows := [][]string{{"wanted, got:"}}
		for _, got := range seen {
			rows[0] = append(rows[0], cell(shortened(r.Classes[got].Name)))
		}
		for _, wanted := range seen {
			row := []string{cell(r.Classes[wanted].Name)}
			for _, got := range seen {
				n := fmt.Sprint(r.Confusion.Count(wanted, got))
				if n == "0" {
					n = "." // so that others stand out
				}
				row = append(row, n)
			}
			rows = append(rows, row)
		}
		table(b, rows, "l"+strings.Repeat("r", len(seen)))
		return
	}
	about := ""
	if len(mistakes) > mistakesShown {
		about = fmt.Sprintf("The %d most frequent of %d mistakes", mistakesShown, len(mistakes))
		mistakes = mistakes[:mistakesShown]
	}
	section(b, "Confusion", about, f.Confusion)
	rows := [][]string{{"wanted", "got", "pictures"}}
	for _, m := range mistakes {
		rows = append(rows, []string{cell(r.Classes[m.wanted].Name), cell(r.Classes[m.got].Name), fmt.Sprint(r.Confusion.counts[m])})
	}
	table(b, rows, "llr")
}

func (r *Result) wrong(b *strings.Builder, f Files) {
	if len(r.Wrong) == 0 {
		return
	}
	shown, all := r.Wrong[:min(len(r.Wrong), wrongShown)], r.Pictures-r.Right
	about := ""
	if all > len(shown) {
		about = fmt.Sprintf("The %d surest of %d", len(shown), all)
	}
	file := f.Wrong
	if all > len(r.Wrong) { // which has no more than these
		file = ""
	}
	section(b, "Wrong pictures", about, file)
	rows := [][]string{{"", "picture", "wanted", "got", "probability", "of wanted"}}
	for i, w := range shown {
		rows = append(rows, []string{
			fmt.Sprint(i + 1), cell(w.Path), cell(cmp.Or(w.Wanted, none)), cell(cmp.Or(w.Got, none)), fmt.Sprintf("%.4f", w.Probability), fmt.Sprintf("%.4f", w.OfWanted),
		})
	}
	columns := "rlllrr"
	if r.Multi {
		columns += "l"
		rows[0] = append(rows[0], "label")
		for i, w := range shown {
			rows[i+1] = append(rows[i+1], cell(w.Label))
		}
	}
	table(b, rows, columns)
	if f.Sheet != "" {
		fmt.Fprintf(b, "\n![wrong pictures](%s)\n", f.Sheet)
	}
}

func (r *Result) skipped(b *strings.Builder) {
	if len(r.Skipped) == 0 {
		return
	}
	about := ""
	if len(r.Skipped) > skippedShown {
		about = fmt.Sprintf("%d of %d", skippedShown, len(r.Skipped))
	}
	section(b, "Pictures that could not be read", about, "")
	for _, s := range r.Skipped[:min(len(r.Skipped), skippedShown)] {
		fmt.Fprintf(b, "- %s: %s\n", cell(s.Path), cell(s.reason()))
	}
}

// shortened returns a name that fits above a column.
func shortened(name string) string {
	if r := []rune(name); len(r) > headShown {
		return string(r[:headShown-1]) + "…"
	}
	return name
}

// marks are the letters that mean something in a cell of Markdown. An underscore does at the edge of a word alone.
var marks = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "&", `\&`, "~", `\~`, "$", `\$`)

// cell makes a text stand for itself in a table of Markdown. One with control characters, or what is no text, is quoted.
func cell(s string) string {
	s = marks.Replace(pyjson.Printable(s))
	var b strings.Builder
	last := ' '
	for i, r := range s {
		next, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		if r == '_' && !(word(last) && word(next)) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		last = r
	}
	return b.String()
}

func word(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r)) }

// table writes rows, the first of which is the head, with columns to the left (l) or the right (r).
func table(b *strings.Builder, rows [][]string, columns string) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, s := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(s), 2)
		}
	}
	line := func(row []string) {
		for i, s := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
			if columns[i] == 'r' {
				s = space + s
			} else {
				s += space
			}
			b.WriteString("| " + s + " ")
		}
		b.WriteString("|\n")
	}
	line(rows[0])
	for i, w := range widths {
		end := "-"
		if columns[i] == 'r' {
			end = ":"
		}
		b.WriteString("|" + strings.Repeat("-", w+1) + end)
	}
	b.WriteString("|\n")
	for _, row := range rows[1:] {
		line(row)
	}
}
