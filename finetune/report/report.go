// Package report writes what a run of fine-tuning did, for a person: a page of Markdown and a curve.
package report

import (
	"bytes"
	"fmt"
	"image/color"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format

	"github.com/vitago/vitago/finetune"
)

// The files of a report.
const (
	PageFile  = "report.md"
	CurveFile = "curve.svg"
)

// A Report is what is known of a run.
type Report struct {
	Title   string
	Facts   [][2]string // name and value, in order
	Table   string      // what learnt; see finetune.Trainer.Table
	Measure string      // of the score
	Result  *finetune.Result
}

// Write writes the page and the curve into the directory dir.
func (r Report) Write(dir string) error {
	curve, err := r.curve()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{CurveFile, curve}, {PageFile, r.page()}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o666); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// rowsShown is how many events a table has at most: a screen.
const rowsShown = 24

// page returns the Markdown.
func (r Report) page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n| | |\n|---|---|\n", r.Title)
	for _, f := range r.Facts {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(f[0]), cell(f[1]))
	}
	fmt.Fprintf(&b, "| steps | %d |\n", r.Result.Steps)
	if e := r.Result.Best; e != nil {
		fmt.Fprintf(&b, "| best %s | %.4f, after step %d |\n", r.Measure, e.Score, e.Step)
	}
	if r.Result.Stopped != "" {
		fmt.Fprintf(&b, "| stopped early | %s |\n", cell(r.Result.Stopped))
	}
	fmt.Fprintf(&b, "\n![loss](%s)\n\n## What learnt\n\n```\n%s```\n", CurveFile, r.Table)
	train, validation := r.split()
	for _, part := range []struct {
		name   string
		events []finetune.Event
	}{{"Validation", validation}, {"Training", train}} {
		if len(part.events) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| step | loss | %s |\n|---|---|---|\n", part.name, r.Measure)
		for _, e := range some(part.events) {
			fmt.Fprintf(&b, "| %d | %.5f | %.4f |\n", e.Step, e.Loss, e.Score)
		}
	}
	if n := len(r.Result.Skipped); n > 0 {
		fmt.Fprintf(&b, "\n## Pictures that could not be read: %d\n\n", n)
		for _, path := range slices.Sorted(maps.Keys(r.Result.Skipped)) {
			fmt.Fprintf(&b, "- `%s`: %s\n", strings.ReplaceAll(path, "`", "'"), cell(r.Result.Skipped[path]))
		}
	}
	return b.Bytes()
}

// cell makes a text fit into a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

// split returns the two kinds of events. A step of which no picture could be read has no loss.
func (r Report) split() (train, validation []finetune.Event) {
	for _, e := range r.Result.History {
		switch {
		case e.Kind == finetune.ValidationEvent:
			validation = append(validation, e)
		case e.Images > 0:
			train = append(train, e)
		}
	}
	return train, validation
}

// some returns at most rowsShown events, evenly, the last among them.
func some(events []finetune.Event) []finetune.Event {
	if len(events) <= rowsShown {
		return events
	}
	var few []finetune.Event
	for i := range rowsShown {
		few = append(few, events[(len(events)-1)*i/(rowsShown-1)])
	}
	return few
}

// curve draws the losses as SVG.
func (r Report) curve() ([]byte, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "step", "loss"
	p.Legend.Top = true
	train, validation := r.split()
	// Two colours that the colour-blind tell apart. Source: Okabe and Ito, "Color Universal Design", 2008.
	for _, s := range []struct {
		name   string
		events []finetune.Event
		color  color.Color
	}{{"training", train, color.RGBA{0, 114, 178, 255}}, {"validation", validation, color.RGBA{213, 94, 0, 255}}} {
		if len(s.events) == 0 {
			continue
		}
		points := make(plotter.XYs, len(s.events))
		for i, e := range s.events {
			points[i].X, points[i].Y = float64(e.Step), e.Loss
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color = s.color
		p.Add(line)
		p.Legend.Add(s.name, line)
	}
	w, err := p.WriterTo(16*vg.Centimeter, 9*vg.Centimeter, "svg")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), err
}
