package sheet

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"strings"
	"testing"

	"golang.org/x/image/font"
)

// filled returns a picture of one colour.
func filled(width, height int, c color.Color) func() (image.Image, error) {
	return func() (image.Image, error) {
		m := image.NewRGBA(image.Rect(0, 0, width, height))
		for i := range m.Bounds().Dx() * m.Bounds().Dy() {
			m.Set(i%width, i/width, c)
		}
		return m, nil
	}
}

// TestDraw: each picture lies whole in the middle of its square, its words below it, and nothing else is drawn on.
func TestDraw(t *testing.T) {
	red, grey := color.RGBA{255, 0, 0, 255}, color.RGBA{0xee, 0xee, 0xee, 255}
	palette := image.NewPaletted(image.Rect(0, 0, 400, 400), color.Palette{red, color.White})
	cells := []Cell{
		{filled(400, 200, red), []Line{{"wide", nil}, {"second", red}}},
		{filled(2, 50, red), nil},
		{filled(3, 30000, red), []Line{{"tall", nil}}},
		{func() (image.Image, error) { return nil, errors.New("damaged") }, []Line{{"broken", nil}}},
		{func() (image.Image, error) { return image.NewRGBA(image.Rect(0, 0, 0, 0)), nil }, nil},
		{func() (image.Image, error) { return palette, nil }, nil},
		{filled(side, side, red), []Line{{strings.Repeat("long ", 30), nil}}},
	}
	m, err := Draw(t.Context(), cells)
	if err != nil {
		t.Fatal(err)
	}
	cell := side + gap
	high := side + 2*leading + gap
	if want := image.Rect(0, 0, gap+columns*cell, gap+2*high); m.Bounds() != want {
		t.Fatalf("the sheet is %v, want %v", m.Bounds(), want)
	}
	at := func(i, x, y int) color.RGBA {
		return m.(*image.RGBA).RGBAAt(gap+i%columns*cell+x, gap+i/columns*high+y)
	}
	const middle = side / 2
	for _, c := range []struct {
		cell, x, y int
		want       color.RGBA
	}{
		{0, 0, middle, red}, {0, side - 1, middle, red}, {0, middle, side/4 + 1, red}, {0, middle, side/4 - 2, grey}, {0, middle, 3*side/4 + 1, grey},
		{1, middle - 2, middle, red}, {1, middle + 2, middle, red}, {1, middle, middle - 74, red}, {1, middle + 3, middle, grey}, {1, middle, middle - 76, grey}, // three times as large
		{2, (side - 1) / 2, 0, red}, {2, (side - 1) / 2, side - 1, red}, {2, 0, middle, grey},
		{3, middle, middle, grey}, {4, middle, middle, grey}, {5, 0, 0, red}, {6, side - 1, side - 1, red},
	} {
		if got := at(c.cell, c.x, c.y); got != c.want {
			t.Errorf("cell %d at %d,%d: %v, want %v", c.cell, c.x, c.y, got, c.want)
		}
	}
	// ink says whether anything is drawn of a line of a cell, and beside it, where the gap is.
	ink := func(i, line int) (within, beside bool) {
		for y := range leading {
			for x := range side + gap {
				if at(i, x, side+line*leading+y) != (color.RGBA{255, 255, 255, 255}) {
					within, beside = within || x < side, beside || x >= side
				}
			}
		}
		return within, beside
	}
	for _, c := range []struct {
		cell, line int
		want       bool
	}{{0, 0, true}, {0, 1, true}, {1, 0, false}, {2, 0, true}, {2, 1, false}, {3, 0, true}, {6, 0, true}} {
		if within, beside := ink(c.cell, c.line); within != c.want || beside {
			t.Errorf("line %d of cell %d is drawn: %v, beside the cell: %v; want %v, false", c.line, c.cell, within, beside, c.want)
		}
	}
}

// TestFitted: a text is one line, of letters or boxes, and no wider than there is room.
func TestFitted(t *testing.T) {
	face, err := newFace()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"cat", "cat"}, {"", ""}, {"two\nlines\x1b[31m", "two lines [31m"}, {"кошка, γάτα, Kätzchen", "кошка, γάτα, Kätzchen"},
		{"猫", "猫"}, {strings.Repeat("a", 4), "aaaa"}, {strings.Repeat("m", 400), ""}, {strings.Repeat("猫", 400), ""},
	} {
		got := fitted(face, c.text, side)
		if w := font.MeasureString(face, got).Ceil(); w > side || c.want != "" && got != c.want || c.want == "" && c.text != "" && (!strings.HasSuffix(got, "…") || w < side-2*points) {
			t.Errorf("%.20q became %q of %d pixels, want %q", c.text, got, w, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	cells := []Cell{{filled(10, 10, color.White), []Line{{"one", nil}}}}
	if err := Write(t.Context(), &b, cells); err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(&b)
	if err != nil || m.Bounds().Dx() != 2*gap+side {
		t.Errorf("%v, %v, want a sheet of one cell", m.Bounds(), err)
	}
	if err := Write(t.Context(), &b, nil); err == nil {
		t.Error("a sheet without pictures is no error")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	if err := Write(ctx, &b, cells); !errors.Is(err, stop) {
		t.Errorf("error is %v, want that ctx has ended", err)
	}
}
