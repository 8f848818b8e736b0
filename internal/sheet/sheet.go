// Package sheet draws contact sheets: many small pictures on one large, with a few words under each.
package sheet

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"strings"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/vitago/vitago/internal/pillow"
)

// The sizes of a sheet, in pixels.
const (
	side    = 192 // of the square that a picture is fitted into
	gap     = 12  // between cells, and around them
	leading = 17  // from one line to the next
	points  = 13  // of the font, at 72 a inch
	columns = 6
	quality = 88 // of the JPEG
)

// A Cell is a picture and what stands below it.
type Cell struct {
	// Picture returns the picture. It is called once, and the others are drawn while nothing of it is kept. If it returns an error,
	// an empty square stands in its place.
	Picture func() (image.Image, error)
	Lines   []Line
}

// A Line of text is cut where it is too long. Letters that the font lacks, which has those of Latin, Greek and Cyrillic, are
// drawn as an empty box.
type Line struct {
	Text   string
	Colour color.Color // nil is black
}

// Draw puts cells side by side, in rows. It returns an error if there are none, or ctx ends.
func Draw(ctx context.Context, cells []Cell) (image.Image, error) {
	if len(cells) == 0 {
		return nil, fmt.Errorf("sheet: no pictures")
	}
	face, err := newFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	lines := 0
	for _, c := range cells {
		lines = max(lines, len(c.Lines))
	}
	across := min(columns, len(cells))
	down := (len(cells) + across - 1) / across
	width, height := side+gap, side+lines*leading+gap // of a cell
	m := image.NewRGBA(image.Rect(0, 0, gap+across*width, gap+down*height))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	for i, c := range cells {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		at := image.Pt(gap+i%across*width, gap+i/across*height)
		place(m, at, c.Picture)
		for j, l := range c.Lines {
			colour := l.Colour
			if colour == nil {
				colour = color.Black
			}
			d := font.Drawer{Dst: m, Src: image.NewUniform(colour), Face: face, Dot: fixed.P(at.X, at.Y+side+j*leading+points)}
			d.DrawString(fitted(face, l.Text, side))
		}
	}
	return m, nil
}

// Write draws cells as JPEG.
func Write(ctx context.Context, w io.Writer, cells []Cell) error {
	m, err := Draw(ctx, cells)
	if err != nil {
		return err
	}
	if err := jpeg.Encode(w, m, &jpeg.Options{Quality: quality}); err != nil {
		return fmt.Errorf("sheet: %w", err)
	}
	return nil
}

func newFace() (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: points, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("sheet: %w", err)
	}
	return face, nil
}

// place draws a picture in the middle of the square at a point, whole.
func place(m *image.RGBA, at image.Point, picture func() (image.Image, error)) {
	square := image.Rectangle{at, at.Add(image.Pt(side, side))}
	draw.Draw(m, square, image.NewUniform(color.Gray{0xee}), image.Point{}, draw.Src)
	img, err := picture()
	if err != nil {
		return
	}
	small, err := thumbnail(img)
	if err != nil {
		return
	}
	r := image.Rect(0, 0, small.Width, small.Height).Add(at).Add(image.Pt((side-small.Width)/2, (side-small.Height)/2))
	draw.Draw(m, r, small, image.Point{}, draw.Src)
}

// thumbnail returns a picture in RGB that fits into a square. A small one is enlarged by a whole number.
func thumbnail(img image.Image) (*pillow.Image, error) {
	src := pillow.FromImage(img)
	width, height := src.Width, src.Height
	if width < 1 || height < 1 {
		return nil, fmt.Errorf("sheet: a picture of %d×%d pixels", width, height)
	}
	longest := max(width, height)
	if n := side / longest; n > 1 {
		var err error
		if src, err = src.Resize(n*width, n*height, pillow.Nearest); err != nil {
			return nil, err
		}
	}
	if longest > side {
		width, height = max(1, (width*side+longest/2)/longest), max(1, (height*side+longest/2)/longest)
		// The colours of a palette have no mean.
		if src.Mode == pillow.Indexed || src.Mode == pillow.Bilevel {
			var err error
			if src, err = src.RGB(); err != nil {
				return nil, err
			}
		}
		var err error
		if src, err = src.Resize(width, height, pillow.Bicubic); err != nil {
			return nil, err
		}
	}
	return src.RGB()
}

// fitted returns a text in one line of a width, cut if it is longer.
func fitted(face font.Face, text string, width int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if font.MeasureString(face, text).Ceil() <= width {
		return text
	}
	const cut = "…"
	runes := []rune(text)
	n, sum := 0, font.MeasureString(face, cut)
	for n < len(runes) {
		a, _ := face.GlyphAdvance(runes[n])
		if (sum + a).Ceil() > width {
			break
		}
		sum += a
		n++
	}
	return string(runes[:n]) + cut
}
