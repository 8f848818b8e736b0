package notebook

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"strings"
	"text/tabwriter"
)

// A Table is numbers with names, such as cosines.
type Table struct {
	Title         string      // "" is none
	Rows, Columns []string    // names
	Values        [][]float64 // [Rows][Columns]
	Digits        int         // behind the point
}

// String returns the table as text.
func (t *Table) String() string {
	var b bytes.Buffer
	if t.Title != "" {
		fmt.Fprintln(&b, t.Title)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%s\n", strings.Join(t.Columns, "\t"))
	for i, row := range t.Rows {
		fmt.Fprint(w, row)
		for _, v := range t.Values[i] {
			fmt.Fprintf(w, "\t%.*f", t.Digits, v)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// SimpleRender shows the table.
func (t *Table) SimpleRender() map[string]any { return render(t) }

func (t *Table) bundle() (bundle, error) {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(t.Title))
	}
	b.WriteString("<table><thead><tr><th></th>")
	for _, c := range t.Columns {
		fmt.Fprintf(&b, "<th>%s</th>", html.EscapeString(c))
	}
	b.WriteString("</tr></thead><tbody>\n")
	for i, row := range t.Rows {
		best := 0
		for j, v := range t.Values[i] {
			if v > t.Values[i][best] {
				best = j
			}
		}
		fmt.Fprintf(&b, "<tr><th>%s</th>", html.EscapeString(row))
		for j, v := range t.Values[i] {
			cell := fmt.Sprintf("%.*f", t.Digits, v)
			if j == best && len(t.Values[i]) > 1 {
				cell = "<b>" + cell + "</b>"
			}
			fmt.Fprintf(&b, "<td>%s</td>", cell)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table>")
	return bundle{mimeHTML: b.String(), mimeText: t.String()}, nil
}

// grey is the colour of what matters less.
func grey(less bool) color.Color {
	if less {
		return color.Gray{0x80}
	}
	return nil
}
