// Package report writes what a run of fine-tuning did, for a person: a page of Markdown and a curve.
//
// Begin with [Report.Write] of a [Report], once the run has ended. [NewTensorBoard] is a sink that hears of the run while it lasts, and
// writes what TensorBoard shows.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format

	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// The files of a report.
const (
	PageFile  = "report.md"
	CurveFile = "curve.svg"
)

// A Report is what is known of a run.
type Report struct {
	Title   string           // the page's heading
	Facts   [][2]string      // name and value, in order
	Table   string           // what learnt; see finetune.Trainer.Table
	Measure string           // of the score
	Result  *finetune.Result // which must not be nil
	// Evaluation is what the pictures to validate on say of what is left of the run; nil if it learns no classes, or there
	// are none. Files are those that its tables are in.
	Evaluation *evaluation.Result
	Files      evaluation.Files
}

// Write writes the page and the curve into the directory dir, each as a whole or not at all. A run without
// events has no curve.
func (r Report) Write(dir string) error {
	var errs []error
	if len(r.Result.History) > 0 {
		curve, err := r.curve()
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		errs = append(errs, folder.WriteBytes(filepath.Join(dir, CurveFile), curve))
	}
	if err := errors.Join(append(errs, folder.WriteBytes(filepath.Join(dir, PageFile), r.page()))...); err != nil {
		return fmt.Errorf("report: %w", err)
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
	if n := r.Result.Steps; n > 0 {
		fmt.Fprintf(&b, "| steps | %d |\n", n)
	}
	if e := r.Result.Before(); e != nil {
		fmt.Fprintf(&b, "| %s before | %.4f |\n", r.Measure, e.Score)
	}
	if e := r.Result.Best; e != nil {
		fmt.Fprintf(&b, "| best %s | %.4f, after step %d |\n", r.Measure, e.Score, e.Step)
	}
	if r.Result.Stopped != "" {
		fmt.Fprintf(&b, "| stopped early | %s |\n", cell(r.Result.Stopped))
	}
	if r.Evaluation != nil {
		for _, f := range r.Evaluation.Facts() {
			fmt.Fprintf(&b, "| %s | %s |\n", cell("validation: "+f[0]), cell(f[1]))
		}
	}
	train, validation := r.byKind()
	if step, images := typical(train); step > 0 {
		fmt.Fprintf(&b, "| a step | %.3g s, %.4g images/s |\n", step, images)
	}
	if n := r.Result.Memory; n > 0 {
		fmt.Fprintf(&b, "| peak memory | %.2f GB |\n", float64(n)/1e9)
	}
	if len(r.Result.History) > 0 {
		fmt.Fprintf(&b, "\n![loss](%s)\n", CurveFile)
	}
	if r.Table != "" {
		fmt.Fprintf(&b, "\n## What learnt\n\n```\n%s```\n", r.Table)
	}
	if r.Evaluation != nil {
		b.WriteString(r.Evaluation.Sections(r.Files))
	}
	for _, part := range []struct {
		name   string
		events []history.Event
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
			fmt.Fprintf(&b, "- `%s`: %s\n", strings.ReplaceAll(pyjson.Printable(path), "`", "'"), cell(r.Result.Skipped[path]))
		}
	}
	return b.Bytes()
}

// cell makes a text fit into a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

// byKind returns the two kinds of events. A step of which no picture could be read has no loss.
func (r Report) byKind() (train, validation []history.Event) {
	for _, e := range r.Result.History {
		switch {
		case e.Kind == history.ValidationEvent:
			validation = append(validation, e)
		case e.Images > 0:
			train = append(train, e)
		}
	}
	return train, validation
}

// typical returns the medians of the seconds and the images per second of steps.
func typical(train []history.Event) (seconds, rate float64) {
	if len(train) == 0 {
		return 0, 0
	}
	median := func(of func(e history.Event) float64) float64 {
		var all []float64
		for _, e := range train {
			all = append(all, of(e))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return median(func(e history.Event) float64 { return e.Seconds }), median(func(e history.Event) float64 { return e.Rate })
}

// some returns at most rowsShown events, evenly, the last among them.
func some(events []history.Event) []history.Event {
	if len(events) <= rowsShown {
		return events
	}
	var few []history.Event
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
	train, validation := r.byKind()
	// Two colours that the colour-blind tell apart. Source: Okabe and Ito, "Color Universal Design", 2008.
	for _, s := range []struct {
		name   string
		events []history.Event
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
