package main

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A panel is one plot of several.
type panel struct {
	title, x, y string
	logarithmic bool     // x
	labels      []string // of x = 0, 1, …
	curves      []curve
}

// A curve is one line of a panel.
type curve struct {
	name string
	xy   plotter.XYs
}

// panels are the plots of a growth, as far as it was measured.
func (g *growth) panels() []panel {
	batch := func(p point) float64 { return float64(p.Batch) }
	callers := func(p point) float64 { return float64(p.Callers) }
	cores := func(p point) float64 { return float64(p.Threads) }
	tokens := func(p point) float64 { return float64(p.Tokens) }
	activations := func(p point) float64 { return float64(p.activations()) / 1e6 }
	of := func(name, axis string, x, y func(p point) float64) curve {
		c := curve{name: name}
		for _, p := range g.on(axis) {
			c.xy = append(c.xy, plotter.XY{X: x(p), Y: y(p)})
		}
		return c
	}
	all := []panel{
		{title: "Throughput, all cores", x: "images at once", y: "images/s", curves: []curve{
			of("one caller, batches", "batch", batch, point.rate), of("N callers, single images", "callers", callers, point.rate),
		}},
		{title: "Throughput, one image", x: "cores", y: "images/s", curves: []curve{of("measured", "cores", cores, point.rate)}},
		{title: "Time of an image", x: "tokens", y: "seconds", curves: []curve{of("measured", "size", tokens, func(p point) float64 { return p.Seconds })}},
		{title: "Memory beside the model, one image", x: "tokens", y: "MB", curves: []curve{of("measured", "size", tokens, activations)}},
	}
	all = slices.DeleteFunc(all, func(p panel) bool { return len(p.curves[0].xy) == 0 })
	if g.Grid != nil {
		all = append(all, g.Grid.panels()...)
	}
	return all
}

// colors of curves, the first the plainest.
var colors = []color.RGBA{
	{R: 0x1f, G: 0x77, B: 0xb4, A: 255}, {R: 0xd6, G: 0x27, B: 0x28, A: 255}, {R: 0x2c, G: 0xa0, B: 0x2c, A: 255}, {R: 0xff, G: 0x7f, B: 0x0e, A: 255},
	{R: 0x94, G: 0x67, B: 0xbd, A: 255}, {R: 0x8c, G: 0x56, B: 0x4b, A: 255}, {R: 0xe3, G: 0x77, B: 0xc2, A: 255}, {R: 0x7f, G: 0x7f, B: 0x7f, A: 255},
}

// drawPanels writes panels, two in a row, as the kind of image that path ends in.
func drawPanels(path string, panels []panel) error {
	rows := (len(panels) + 1) / 2
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	canvas, err := draw.NewFormattedCanvas(22*vg.Centimeter, vg.Length(8*rows)*vg.Centimeter, format)
	if err != nil {
		return fmt.Errorf("-plot %s: %w", path, err)
	}
	tiles := draw.Tiles{Rows: rows, Cols: 2, PadX: vg.Centimeter, PadY: vg.Centimeter, PadTop: 5, PadBottom: 5, PadLeft: 5, PadRight: 15}
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, 2)
	}
	for i, panel := range panels {
		p := plot.New()
		p.BackgroundColor = color.White
		p.Title.Text, p.X.Label.Text, p.Y.Label.Text = panel.title, panel.x, panel.y
		p.Legend.Top, p.Legend.Left = false, false
		p.Add(plotter.NewGrid())
		for n, c := range panel.curves {
			if len(c.xy) == 0 {
				continue
			}
			line, dots, err := plotter.NewLinePoints(c.xy)
			if err != nil {
				return err
			}
			line.Color = colors[n%len(colors)]
			line.Width, dots.Color, dots.Shape = vg.Points(1.5), line.Color, draw.CircleGlyph{}
			p.Add(line, dots)
			if len(panel.curves) > 1 && (panel.labels == nil || len(c.xy) > 1) { // a point has its label
				p.Legend.Add(c.name, line, dots)
			}
		}
		p.Y.Min = 0 // a curve that does not start at 0 looks steeper than it is
		if panel.labels != nil {
			p.NominalX(panel.labels...)
			p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = math.Pi/6, draw.XRight, draw.YTop
			p.X.Max = max(p.X.Max, float64(len(panel.labels)-1))
		} else if panel.logarithmic {
			p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		} else {
			p.X.Min = 0
		}
		p.Y.Max *= 1.1
		grid[i/2][i%2] = p
	}
	dc := draw.New(canvas)
	for i, row := range plot.Align(grid, tiles, dc) {
		for j := range row {
			if grid[i][j] != nil {
				grid[i][j].Draw(row[j])
			}
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}
