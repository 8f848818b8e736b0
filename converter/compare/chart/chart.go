// Package chart draws plots: how far the blocks of two checkpoints are apart, and curves over steps.
//
// Begin with [Drift], of what compare.Compare returns, or with [Curves]. [Encode] makes a file of either, in a format of [Extensions].
package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	_ "gonum.org/v1/plot/vg/vgpdf" // formats
	_ "gonum.org/v1/plot/vg/vgsvg"

	"github.com/vitago/vitago/converter/compare"
)

// Extensions are the formats of a plot.
var Extensions = []string{".pdf", ".png", ".svg"}

// Two colours that the colour-blind tell apart. Source: Okabe and Ito, "Color Universal Design", 2008.
var blue, orange = color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}

// A driftSeries is a line of the plot: how far one half of the blocks of a tower is from A's.
type driftSeries struct {
	name   string
	color  color.Color
	dashes []vg.Length
	shape  draw.GlyphDrawer
	points plotter.XYs
}

// driftSeriesOf returns the lines of a comparison. Towers that are identical have none if another has
// some.
func driftSeriesOf(r *compare.Comparison) []driftSeries {
	var all, moving []driftSeries
	for _, tower := range []struct {
		name   string
		dashes []vg.Length
	}{{"vision", nil}, {"text", []vg.Length{vg.Points(5), vg.Points(3)}}} {
		attention := driftSeries{tower.name + ", attention", blue, tower.dashes, draw.CircleGlyph{}, nil}
		mlp := driftSeries{tower.name + ", MLP", orange, tower.dashes, draw.BoxGlyph{}, nil}
		moves := false
		for _, g := range r.Groups {
			if g.Tower != tower.name || g.Block < 0 {
				continue
			}
			add := func(s *driftSeries, d *compare.Drift) {
				if d != nil && d.RelativeL2.Defined() {
					s.points = append(s.points, plotter.XY{X: float64(g.Block), Y: float64(d.RelativeL2)})
					moves = moves || d.RelativeL2 > 0
				}
			}
			add(&attention, g.Attention)
			add(&mlp, g.MLP)
		}
		for _, s := range []driftSeries{attention, mlp} {
			if len(s.points) > 0 {
				all = append(all, s)
				if moves {
					moving = append(moving, s)
				}
			}
		}
	}
	if moving != nil {
		return moving
	}
	return all
}

// style sets fonts and distances.
func style(p *plot.Plot) {
	sans := func(f *font.Font, size vg.Length) { f.Typeface, f.Variant, f.Size = "Liberation", "Sans", size }
	sans(&p.Title.TextStyle.Font, 14)
	sans(&p.X.Label.TextStyle.Font, 12)
	sans(&p.Y.Label.TextStyle.Font, 12)
	sans(&p.X.Tick.Label.Font, 10)
	sans(&p.Y.Tick.Label.Font, 10)
	sans(&p.Legend.TextStyle.Font, 11)
	p.Title.Padding, p.X.Label.Padding, p.Y.Label.Padding = 8, 5, 5
}

// logRatio is how many times the largest value must be the smallest for the smaller ones to vanish on a
// linear axis.
const logRatio = 20

// Drift draws how far the blocks of B are from those of A, over depth. It returns an error if they have none in common.
func Drift(r *compare.Comparison) (*plot.Plot, error) {
	series := driftSeriesOf(r)
	if len(series) == 0 {
		return nil, fmt.Errorf("nothing to draw: A and B have no block in common")
	}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s compared with %s", base(r.B.Path), base(r.A.Path))
	p.X.Label.Text = "block, from input to output"
	p.Y.Label.Text = "relative L2 distance,  |a − b| / |a|"
	style(p)

	least, most, last := math.Inf(1), 0.0, 0.0
	for _, s := range series {
		for _, xy := range s.points {
			least, most, last = min(least, xy.Y), max(most, xy.Y), max(last, xy.X)
		}
	}
	// A linear axis of logarithms, since gonum's logarithmic one leaves its label no place.
	logarithmic := least > 0 && most >= logRatio*least
	height := func(v float64) float64 { return v }
	p.Y.Min, p.Y.Max = 0, most
	switch {
	case logarithmic:
		height = math.Log10
		p.Y.Min, p.Y.Max = math.Log10(least), math.Log10(most)
		p.Y.Tick.Marker = plot.TickerFunc(logTicks)
	case most == 0:
		p.Y.Max = 1
	}
	// Room above the lines for the legend, and a little around them.
	span := p.Y.Max - p.Y.Min
	room := legendRow * float64(len(series))
	p.Y.Max += span * (0.03 + room/(1-room))
	if logarithmic {
		p.Y.Min -= span * 0.05
	}
	p.X.Min, p.X.Max = -0.3, last+0.3
	p.X.Tick.Marker = plot.TickerFunc(blockTicks)

	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{235}, color.Gray{225}
	p.Add(grid)
	for _, s := range series {
		drawn := slices.Clone(s.points)
		for i := range drawn {
			drawn[i].Y = height(drawn[i].Y)
		}
		line, points, err := plotter.NewLinePoints(drawn)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width, line.Dashes = s.color, 1.6, s.dashes
		points.Color, points.Shape, points.Radius = s.color, s.shape, 2.6
		p.Add(line, points)
		p.Legend.Add(s.name, line, points)
	}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = 12, -4, 3
	p.Legend.ThumbnailWidth = vg.Points(26)
	return p, nil
}

// legendRow is the part of the height of the axes that a row of the legend takes.
const legendRow = 0.075

// blockTicks marks whole numbers, at most thirteen of them with their label.
func blockTicks(least, most float64) (ticks []plot.Tick) {
	first, last := int(math.Ceil(least)), int(math.Floor(most))
	step := 1
	for _, s := range []int{1, 2, 4, 5, 10, 20, 50, 100} {
		if step = s; (last-first)/s < 13 {
			break
		}
	}
	for i := first; i <= last; i++ {
		if i%step == 0 {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: strconv.Itoa(i)})
		}
	}
	return ticks
}

// logTicks marks 1, 2 and 5 times the powers of ten on an axis of logarithms.
func logTicks(least, most float64) (ticks []plot.Tick) {
	for e := math.Floor(least); e <= most; e++ {
		for _, k := range []float64{1, 2, 5} {
			if at := e + math.Log10(k); at >= least && at <= most {
				ticks = append(ticks, plot.Tick{Value: at, Label: strconv.FormatFloat(k*math.Pow(10, e), 'g', 3, 64)})
			}
		}
	}
	return ticks
}

// The size of a plot: as wide as a page's text; the pixels of a PNG are for screens of high density.
const (
	plotWidth  = 16 * vg.Centimeter
	plotHeight = 10 * vg.Centimeter
	plotMargin = 3 * vg.Millimeter
	plotDPI    = 192
)

// Encode draws a plot in the format of an extension, one of [Extensions].
func Encode(p *plot.Plot, extension string) ([]byte, error) {
	if extension == ".png" {
		return PNG(p, plotDPI)
	}
	canvas, err := draw.NewFormattedCanvas(plotWidth, plotHeight, strings.TrimPrefix(extension, "."))
	if err != nil {
		return nil, err
	}
	return drawn(p, canvas)
}

// PNG draws a plot of 16 by 10 cm with so many pixels an inch.
func PNG(p *plot.Plot, dpi int) ([]byte, error) {
	return drawn(p, vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(plotWidth, plotHeight), vgimg.UseDPI(dpi))})
}

// drawn draws a plot on white.
func drawn(p *plot.Plot, canvas vg.CanvasWriterTo) ([]byte, error) {
	page := draw.NewCanvas(canvas, plotWidth, plotHeight)
	page.SetColor(color.White)
	page.Fill(page.Path())
	p.Draw(draw.Crop(page, plotMargin, -plotMargin, plotMargin, -plotMargin))
	var b bytes.Buffer
	_, err := canvas.WriteTo(&b)
	return b.Bytes(), err
}

// base is what a plot calls a checkpoint.
func base(path string) string {
	const most = 40 // characters that half a title has room for
	name := []rune(filepath.Base(path))
	if len(name) > most {
		name = append(name[:most-1], '…')
	}
	return string(name)
}

// A Line is a line of [Curves].
type Line struct {
	Name string    // for the legend
	X, Y []float64 // as many of both
}

// Curves draws at most two lines, such as those of training and of validation.
func Curves(title, across, up string, lines ...Line) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, across, up
	style(p)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{235}, color.Gray{225}
	p.Add(grid)
	for i, l := range lines {
		if len(l.X) == 0 || len(l.X) != len(l.Y) {
			return nil, fmt.Errorf("chart: the line %q has %d points across and %d up, want some, and as many of both", l.Name, len(l.X), len(l.Y))
		}
		points := make(plotter.XYs, len(l.X))
		for j := range points {
			points[j] = plotter.XY{X: l.X[j], Y: l.Y[j]}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("chart: the line %q: %w", l.Name, err)
		}
		line.Width, line.Color = 1.6, []color.Color{blue, orange}[i%2]
		dots.Color, dots.Shape, dots.Radius = line.Color, []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}}[i%2], 2
		p.Add(line, dots)
		p.Legend.Add(l.Name, line, dots)
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(plainTicks), plot.TickerFunc(plainTicks)
	p.Legend.Top, p.Legend.Padding, p.Legend.ThumbnailWidth = true, 3, vg.Points(26)
	return p, nil
}

// plainTicks are gonum's, with as many digits as tell one from the other.
func plainTicks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'g', 4, 64)
		}
	}
	return ticks
}
