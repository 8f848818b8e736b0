package notebook

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/projector"
)

// An Encoder turns pictures into what a language model gets in their place: the tower and the projector of LLaVA or
// InternLM-XComposer.
type Encoder struct {
	path  string
	model *converter.Model
	of    *projector.Encoder
}

// OpenEncoder opens the tower and the projector of a vision-language model. Its language model is not read.
// A layout says how pictures are cut into what the tower sees, by the name of one of projector.Layouts; without one it is that of the
// model's files or family.
func OpenEncoder(path string, layout ...string) *Encoder {
	e := &Encoder{path: path}
	call("opening "+path, func(ctx context.Context, _ *progress) (err error) {
		if e.model, err = converter.Open(path); err != nil {
			return err
		}
		e.of, err = e.model.Encoder(ctx, strings.Join(layout, ","))
		return err
	})
	return e
}

// Close gives the memory back, and closes the files.
func (e *Encoder) Close() {
	if e.of == nil {
		return
	}
	call("closing "+e.path, func(context.Context, *progress) error { return e.model.Close() })
	e.of = nil
}

// encoder returns the encoder, if it is open.
func (e *Encoder) encoder() *projector.Encoder {
	if e == nil || e.of == nil {
		failf("this encoder has been closed: open it again by notebook.OpenEncoder")
	}
	return e.of
}

// HD sets the most tiles that a picture is cut into, for models with tiles.
func (e *Encoder) HD(tiles int) *Encoder {
	of := e.encoder()
	l := of.Layout
	if l.Fit != projector.Tile {
		failf("%s does not cut pictures into tiles of that kind: its layout is %s", e.path, l.Name)
	}
	l.HDNum = tiles
	if err := l.Validate(); err != nil {
		panic(&Error{Sentence: sentence(err), Cause: err})
	}
	of.Layout = l
	return e
}

// Count returns how many tokens a picture of so many pixels has; nothing is computed for it.
func (e *Encoder) Count(width, height int) (n int) {
	of := e.encoder()
	call("counting", func(context.Context, *progress) (err error) {
		n, err = of.Count(width, height)
		return err
	})
	return n
}

// Tokens are what a language model gets in the place of a picture.
type Tokens struct {
	Picture    Picture       // that they are of
	Rows, Cols int           // of tiles, beside the view of the whole; 0 without tiles
	Values     [][]float32   // [N,O]
	Views      []image.Image // what the tower saw, squares: the whole first, then the tiles
	layout     string
}

// Tokens computes the tokens of a picture.
func (e *Encoder) Tokens(p Picture) *Tokens {
	of := e.encoder()
	t := &Tokens{Picture: p, layout: of.Layout.Name}
	call("encoding "+p.Name(), func(ctx context.Context, _ *progress) error {
		img, err := p.of.Decode()
		if err != nil {
			return err
		}
		tiles, err := of.Split(img)
		if err != nil {
			return err
		}
		t.Rows, t.Cols, t.Views = tiles.Rows, tiles.Cols, views(tiles, of.Tower.Config)
		y, err := of.ForwardContext(ctx, tiles)
		if err != nil {
			return err
		}
		n, width := y.Value().Shape()[0], y.Value().Shape()[1]
		numbers := y.Value().Data().F32()
		for i := range n {
			t.Values = append(t.Values, append([]float32(nil), numbers[i*width:(i+1)*width]...))
		}
		return nil
	})
	return t
}

// views draws what the tower sees: its patches, made colours again.
func views(t *projector.Tiles, c clipvit.Config) (all []image.Image) {
	transform := c.Transform.Resolved()
	patches := t.Patches.Data().F32()
	g, p, length := c.Grid(), c.PatchSize, c.PatchLen()
	for v := range len(patches) / (c.Patches() * length) {
		img := image.NewRGBA(image.Rect(0, 0, c.ImageSize, c.ImageSize))
		for i := range c.Patches() {
			patch := patches[(v*c.Patches()+i)*length:][:length] // [3,P,P]
			for y := range p {
				for x := range p {
					var rgb [3]uint8
					for k := range rgb {
						value := float64(patch[(k*p+y)*p+x])*transform.Std[k] + transform.Mean[k]
						rgb[k] = uint8(math.Round(255 * min(1, max(0, value))))
					}
					img.SetRGBA(i%g*p+x, i/g*p+y, color.RGBA{rgb[0], rgb[1], rgb[2], 255})
				}
			}
		}
		all = append(all, img)
	}
	return all
}

// String says how many tokens there are.
func (t *Tokens) String() string {
	if len(t.Values) == 0 {
		return "no tokens"
	}
	how := "one view"
	if t.Rows > 0 {
		how = fmt.Sprintf("the whole and %d×%d tiles", t.Rows, t.Cols)
	}
	return fmt.Sprintf("%s: %s by the layout %s, %d tokens of %d numbers", t.Picture.Name(), how, t.layout, len(t.Values), len(t.Values[0]))
}

// SimpleRender shows what the tower sees: the whole on the left, and the tiles.
func (t *Tokens) SimpleRender() map[string]any { return render(t) }

// The width of what is drawn, in pixels, and of the lines between tiles.
const (
	tilesWidth = 900
	tilesGap   = 6
)

func (t *Tokens) bundle() (bundle, error) {
	if len(t.Views) == 0 {
		return bundle{mimeText: t.String()}, nil
	}
	side := t.Views[0].Bounds().Dx()
	rows, cols := max(t.Rows, 1), t.Cols+1
	scale := max(1, (tilesWidth-tilesGap*(cols+1))/(side*cols))
	step := side*scale + tilesGap
	img := image.NewRGBA(image.Rect(0, 0, cols*step+3*tilesGap, rows*step+tilesGap))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.Gray{0x60}), image.Point{}, draw.Src)
	place := func(view image.Image, at image.Point) {
		for y := range side * scale {
			for x := range side * scale {
				img.Set(at.X+x, at.Y+y, view.At(x/scale, y/scale))
			}
		}
	}
	place(t.Views[0], image.Pt(tilesGap, tilesGap))
	for i, v := range t.Views[1:] {
		place(v, image.Pt(3*tilesGap+(1+i%t.Cols)*step, tilesGap+i/t.Cols*step))
	}
	return pictureBundle(img, t.String())
}
