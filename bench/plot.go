package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A curve is one line of a panel.
type curve struct {
	name   string
	points []point
	x, y   func(p point) float64
}

// draw writes the plots, four panels, as the kind of image that path ends in.
func (g *growth) draw(path string) error {
	batch := func(p point) float64 { return float64(p.Batch) }
	callers := func(p point) float64 { return float64(p.Callers) }
	cores := func(p point) float64 { return float64(p.Threads) }
	tokens := func(p point) float64 { return float64(p.Tokens) }
	activations := func(p point) float64 { return float64(p.activations()) / 1e6 }
	panels := []struct {
		title, x, y string
		curves      []curve
	}{
		{"Throughput, all cores", "images at once", "images/s", []curve{
			{"one caller, batches", g.on("batch"), batch, point.rate},
			{"N callers, single images", g.on("callers"), callers, point.rate},
		}},
		{"Throughput, one image", "cores", "images/s", []curve{{"measured", g.on("cores"), cores, point.rate}}},
		{"Time of an image", "tokens", "seconds", []curve{{"measured", g.on("size"), tokens, func(p point) float64 { return p.Seconds }}}},
		{"Memory beside the model, one image", "tokens", "MB", []curve{{"measured", g.on("size"), tokens, activations}}},
	}
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	canvas, err := draw.NewFormattedCanvas(22*vg.Centimeter, 16*vg.Centimeter, format)
	if err != nil {
		return fmt.Errorf("-plot %s: %w", path, err)
	}
	tiles := draw.Tiles{Rows: 2, Cols: 2, PadX: vg.Centimeter, PadY: vg.Centimeter, PadTop: 5, PadBottom: 5, PadLeft: 5, PadRight: 15}
	grid := [][]*plot.Plot{make([]*plot.Plot, 2), make([]*plot.Plot, 2)}
	for i, panel := range panels {
		p := plot.New()
		p.BackgroundColor = color.White
		p.Title.Text, p.X.Label.Text, p.Y.Label.Text = panel.title, panel.x, panel.y
		p.X.Min, p.Y.Min = 0, 0
		p.Legend.Top, p.Legend.Left = false, false
		p.Add(plotter.NewGrid())
		for n, c := range panel.curves {
			xy := plotter.XYs{}
			for _, q := range c.points {
				xy = append(xy, plotter.XY{X: c.x(q), Y: c.y(q)})
			}
			line, dots, err := plotter.NewLinePoints(xy)
			if err != nil {
				return err
			}
			line.Color = []color.Color{color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 255}, color.RGBA{R: 0xd6, G: 0x27, B: 0x28, A: 255}}[n]
			line.Width, dots.Color, dots.Shape = vg.Points(1.5), line.Color, draw.CircleGlyph{}
			p.Add(line, dots)
			if len(panel.curves) > 1 {
				p.Legend.Add(c.name, line, dots)
			}
		}
		p.X.Min, p.Y.Min = 0, 0 // a curve that does not start at 0 looks steeper than it is
		p.Y.Max *= 1.1
		grid[i/2][i%2] = p
	}
	dc := draw.New(canvas)
	for i, row := range plot.Align(grid, tiles, dc) {
		for j := range row {
			grid[i][j].Draw(row[j])
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(f)
	return errors.Join(err, f.Close())
}
