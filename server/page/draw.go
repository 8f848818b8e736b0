package page

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"net/http"
	"runtime"
	"strconv"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/pillow"
)

// Sides in pixels.
const (
	mapSide   = 768  // of a map and its picture at most
	thumbSide = 320  // of a picture of the index, unless something else is asked for
	mostSide  = 1024 // that may be asked for
)

const (
	jpegQuality = 85
	hatching    = 12 // pixels from one line to the next over what the model has not seen
)

// shrinkers is how many pictures are made small at once: it is no work for the towers, and must not take all cores from them.
var shrinkers = max(runtime.GOMAXPROCS(0)/2, 1)

// within returns the size of a picture whose longer side is made to be at most so long.
func within(width, height, most int) (w, h int) {
	longer := max(width, height)
	if longer <= most {
		return width, height
	}
	scale := func(n int) int { return max((n*most+longer/2)/longer, 1) }
	return scale(width), scale(height)
}

// small returns a picture as people see it, on white and in RGB, no larger than that. It is turned as its file says if upright.
func small(img image.Image, most int, upright bool) (m *pillow.Image, err error) {
	m = pillow.FromImage(img)
	if upright {
		if m, err = m.Upright(); err != nil {
			return nil, err
		}
	}
	if m, err = m.OnWhite(); err != nil {
		return nil, err
	}
	if m, err = m.RGB(); err != nil {
		return nil, err
	}
	w, h := within(m.Width, m.Height, most)
	return m.Resize(w, h, pillow.Bicubic)
}

// The last colours of a map's palette are of what the model has not seen.
const seenColours = 254

// clearest is how opaque the colour of the least value is: what matters little is to be seen through it. The greatest hides the picture.
const clearest = 0.25

// palette has the colours of package explain, from the least value to the greatest, and two greys.
var palette = func() color.Palette {
	var all color.Palette
	legend := explain.Legend(seenColours, 1)
	for x := range seenColours {
		c := color.NRGBAModel.Convert(legend.At(x, 0)).(color.NRGBA)
		c.A = uint8(255*(clearest+(1-clearest)*float64(x)/(seenColours-1)) + 0.5)
		all = append(all, c)
	}
	return append(all, color.NRGBA{0x30, 0x30, 0x30, 0xff}, color.NRGBA{0x60, 0x60, 0x60, 0xff})
}()

// colours returns a map's colours in the shape of its picture, as [explain.Map.Overlay] has them over it.
func colours(m *explain.Map) *image.Paletted {
	b := m.Image.Bounds()
	w, h := within(b.Dx(), b.Dy(), mapSide)
	y := image.NewPaletted(image.Rect(0, 0, w, h), palette)
	low, high := m.Values[0], m.Values[0]
	for _, v := range m.Values {
		low, high = min(low, v), max(high, v)
	}
	across, down := float64(b.Dx())/float64(w), float64(b.Dy())/float64(h)
	for row := range h {
		for col := range w {
			value, seen := m.At((float64(col)+0.5)*across, (float64(row)+0.5)*down)
			i := 0
			switch {
			case !seen && (row+col)%hatching == 0:
				i = seenColours + 1
			case !seen:
				i = seenColours
			case high > low:
				i = int(min(max((value-float64(low))/float64(high-low), 0), 1)*(seenColours-1) + 0.5)
			}
			y.Pix[y.PixOffset(col, row)] = uint8(i)
		}
	}
	return y
}

// drawMap returns the picture of a map and its colours as data URIs.
func drawMap(m *explain.Map) (picture, over string, err error) {
	under, err := small(m.Image, mapSide, false) // it has been turned, or the model does not turn it
	if err != nil {
		return "", "", err
	}
	var file, layer bytes.Buffer
	if err := jpeg.Encode(&file, under, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return "", "", err
	}
	if err := png.Encode(&layer, colours(m)); err != nil {
		return "", "", err
	}
	return dataURI("image/jpeg", file.Bytes()), dataURI("image/png", layer.Bytes()), nil
}

func dataURI(kind string, file []byte) string {
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(file)
}

// picture answers with a picture of an index, made small. What is served is always a picture that this package has encoded.
func (p *page) picture(w http.ResponseWriter, r *http.Request) error {
	q, side := r.URL.Query(), thumbSide
	if s := q.Get("side"); s != "" {
		var err error
		if side, err = strconv.Atoi(s); err != nil || side < 1 || side > mostSide {
			return badRequest("side is %.40q, want 1 to %d", s, mostSide)
		}
	}
	ctx := r.Context()
	select {
	case p.shrinking <- struct{}{}:
		defer func() { <-p.shrinking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	file, err := p.Engine.Picture(ctx, q.Get("model"), q.Get("path"))
	if err != nil {
		return err
	}
	img, err := clipvit.DecodeImage(bytes.NewReader(file))
	if err != nil {
		return fmt.Errorf("the picture of the index: %w", err)
	}
	m, err := small(img, side, true)
	if err != nil {
		return err
	}
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, m, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=300")
	_, _ = w.Write(jpg.Bytes()) // unless nobody listens any more
	return nil
}
