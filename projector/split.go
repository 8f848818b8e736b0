package projector

import (
	"errors"
	"fmt"
	"image"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// Tiles are the views of an image, ready for the tower.
type Tiles struct {
	// Patches [B·G²,3P²] of B views: the global view, then the tiles row after row. Where Rows is 0 every
	// view is an image of its own.
	Patches *mat.Dense[float32]
	// Rows and Cols of tiles, beside the global view; 0 for a layout of one view.
	Rows, Cols int
	// Width and Height of the image in pixels, on which the tokens of [AnyRes] depend.
	Width, Height int
}

// Split turns an image into the views of the layout for a tower of configuration c. The error says what is
// wrong with the image, the layout or the configuration.
func (l Layout) Split(img image.Image, c clipvit.Config) (*Tiles, error) {
	if img == nil {
		return nil, errors.New("projector: image is nil")
	}
	if l.Fit != Crop && l.Fit != Processor { // which convert themselves
		var err error
		if img, err = c.Transform.RGB(img); err != nil {
			return nil, fmt.Errorf("projector: layout %.40q: %w", l.Name, err)
		}
	}
	if err := l.check(img.Bounds().Dx(), img.Bounds().Dy(), c); err != nil {
		return nil, err
	}
	t, err := fits[l.Fit](l, img, c)
	if err != nil {
		return nil, fmt.Errorf("projector: layout %q: %w", l.Name, err)
	}
	t.Width, t.Height = img.Bounds().Dx(), img.Bounds().Dy()
	return t, nil
}

var fits = map[Fit]func(l Layout, img image.Image, c clipvit.Config) (*Tiles, error){}

func init() { // not in the declaration, since tile needs what needs the table
	fits[Processor], fits[Crop], fits[CropFloor], fits[Squash], fits[Pad], fits[Tile], fits[AnyRes] = processor, crop, cropFloor, squash, pad, tile, anyRes
}

func processor(_ Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	x, err := clipvit.Preprocess(img, c)
	return &Tiles{Patches: x}, err
}

func crop(l Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	c.Transform = clipvit.Transform{Mean: c.Transform.Mean, Std: c.Transform.Std, EXIF: c.Transform.EXIF} // the rest is OpenAI's
	return processor(l, img, c)
}

func cropFloor(_ Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	t := c.Transform.WithFit(clipvit.FitShortest)
	t.Rounding = clipvit.RoundTransformers
	return one(t, img, c)
}

func squash(_ Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	t := c.Transform.WithFit(clipvit.FitSquash)
	t.Resize = 0
	return one(t, img, c)
}

// Source: haotian-liu/LLaVA, llava/mm_utils.py, expand2square.
func pad(_ Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	t := c.Transform.WithFit(clipvit.FitPad)
	t.Resize = 0
	return one(t, img, c)
}

// one makes one view of an image that is turned and RGB already, with the tower's filter.
func one(t clipvit.Transform, img image.Image, c clipvit.Config) (*Tiles, error) {
	m, err := t.Square(img, c.ImageSize)
	if err != nil {
		return nil, err
	}
	tiles := newTiles(0, 0, c)
	return tiles, clipvit.Cut(tiles.view(0, c), m, c)
}

func tile(l Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	r := c.ImageSize
	p, err := l.partition(img.Bounds().Dx(), img.Bounds().Dy(), r)
	if err != nil {
		return nil, err
	}
	m, err := p.picture(img)
	if err != nil {
		return nil, err
	}
	t := newTiles(p.rows, p.cols, c)
	globalView(t.view(0, c), m, c)
	return t, t.cut(m, c)
}

// cut fills the tiles from m, of Rows·R by Cols·R pixels.
func (t *Tiles) cut(m *pillow.Image, c clipvit.Config) error {
	r := c.ImageSize
	for i := range t.Rows * t.Cols {
		window := m.Crop(i%t.Cols*r, i/t.Cols*r, r, r)
		if err := clipvit.Cut(t.view(1+i, c), window, c); err != nil {
			return err
		}
	}
	return nil
}

// picture returns the image resized and padded, in mode RGB: what is cut into tiles.
func (p partition) picture(img image.Image) (*pillow.Image, error) {
	white := [3]byte{255, 255, 255}
	m, err := pillow.FromImage(img).RGB()
	if err == nil && p.turned {
		m, err = m.Transpose()
	}
	if err == nil {
		m, err = m.Resize(p.width, p.height, pillow.Bilinear)
	}
	if err == nil {
		m, err = m.Pad(0, p.top, p.width, p.padded, white)
	}
	if err == nil && p.turned {
		m, err = m.Transpose()
	}
	return m, err
}

// newTiles returns room for rows×cols tiles and the global view, or for one view.
func newTiles(rows, cols int, c clipvit.Config) *Tiles {
	return &Tiles{
		Patches: mat.NewDense[float32](mat.WithShape((1+rows*cols)*c.Patches(), c.PatchLen())),
		Rows:    rows, Cols: cols,
	}
}

// view returns the patches [G²,3P²] of the i-th view.
func (t *Tiles) view(i int, c clipvit.Config) []float32 {
	n := c.Patches() * c.PatchLen()
	return t.Patches.Data().F32()[i*n : (i+1)*n]
}

// globalView writes the patches of m, of k·R by l·R pixels, made R by R: torch's interpolate with
// mode="bicubic" on normalised pixels.
//
// Source: pytorch, aten/src/ATen/native/UpSample.h, area_pixel_compute_source_index and
// get_cubic_upsample_coefficients.
func globalView(patches []float32, m *pillow.Image, c clipvit.Config) {
	across, down := m.Width/c.ImageSize, m.Height/c.ImageSize
	p, levels := c.PatchSize, c.Transform.Levels()
	columns := make([][]share, c.ImageSize)
	for x := range columns {
		columns[x] = reduce(x, across, m.Width)
	}
	for y := range c.ImageSize {
		ys := reduce(y, down, m.Height)
		for x, xs := range columns {
			patch := patches[(y/p*c.Grid()+x/p)*c.PatchLen()+y%p*p+x%p:]
			for ch := range 3 {
				var sum float32
				for _, v := range ys {
					var row float32
					for _, h := range xs {
						row += h.weight * levels[ch][m.Pix[3*(v.at*m.Width+h.at)+ch]]
					}
					sum += v.weight * row
				}
				patch[ch*p*p] = sum
			}
		}
	}
}

// A share is the part of one pixel in another one.
type share struct {
	at     int
	weight float32
}

// between are the weights of the bicubic filter with a = -0.75 in the middle between two pixels.
var between = [4]float32{-3. / 32, 19. / 32, 19. / 32, -3. / 32}

// reduce returns what of n = k·R pixels in a line makes pixel i of R. Its centre k·(i+½)-½ is a pixel if k is
// odd, which it then is, and else lies in the middle between two. Pixels beyond the edge are those at the edge.
func reduce(i, k, n int) []share {
	if k%2 == 1 {
		return []share{{k*i + k/2, 1}}
	}
	shares := make([]share, len(between))
	for j := range shares {
		shares[j] = share{min(max(k*i+k/2-2+j, 0), n-1), between[j]}
	}
	return shares
}
