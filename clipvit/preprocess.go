package clipvit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/pillow"
)

// DecodeImage reads a JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM or QOI file as Pillow reads it: the same mode, the
// same chroma interpolation. Its EXIF orientation is kept beside the pixels for [Transform].EXIF. [Preprocess] makes of
// its result what OpenAI's code makes of the file; images that the standard library decoded work
// too, but those from JPEG and WebP files are not quite Pillow's. What is not an image, or is cut short, is an [ErrImage]
// that says what is wrong; one that claims more pixels than Pillow allows is an [ErrTooLarge].
func DecodeImage(r io.Reader) (image.Image, error) {
	m, err := pillow.Decode(r)
	if err != nil {
		return nil, ofImage(err)
	}
	return m, nil
}

// ImageSize returns the width and height that [DecodeImage] would give an image file, from its headers alone.
func ImageSize(r io.Reader) (width, height int, err error) {
	if width, height, err = pillow.Size(r); err != nil {
		return 0, 0, ofImage(err)
	}
	return width, height, nil
}

// ImageSize returns the width and height of an image file as [DecodeImage] gives it and t turns it, from what the file says of
// them alone.
func (t Transform) ImageSize(r io.Reader) (width, height int, err error) {
	if !t.EXIF {
		return ImageSize(r)
	}
	if width, height, err = pillow.UprightSize(r); err != nil {
		return 0, 0, ofImage(err)
	}
	return width, height, nil
}

// Preprocess turns an image into the patches [G²,3P²] of a tower, as its [Transform] says. By OpenAI's, the zero one, the
// shorter side is scaled to the tower's size with Pillow's bicubic filter, and the centre is cut out. The colours are made
// RGB, and the channels are normalised. The result is bit for bit that of OpenAI's code; by other transforms the pixels
// are to the bit those of the library whose rules they are, on Pillow. A row holds a patch, channel after channel, each
// row by row.
//
// Source: openai/CLIP, clip/clip.py, _transform.
func Preprocess(img image.Image, c Config) (*mat.Dense[float32], error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	data := make([]float32, c.Patches()*c.PatchLen())
	if err := preprocess(data, img, c); err != nil {
		return nil, ofImage(err)
	}
	return mat.NewDense[float32](mat.WithShape(c.Patches(), c.PatchLen()), mat.WithBacking(data)), nil
}

// PreprocessBatch makes the patches [B·G²,3P²] of B images, one image after the other, as [Preprocess] makes them of one. No
// images are an error.
func PreprocessBatch(images []image.Image, c Config) (*mat.Dense[float32], error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("clipvit: got 0 images, want at least 1")
	}
	n := c.Patches() * c.PatchLen()
	data := make([]float32, len(images)*n)
	for i, img := range images {
		if err := preprocess(data[i*n:(i+1)*n], img, c); err != nil {
			return nil, ofImages(i, len(images), err)
		}
	}
	return mat.NewDense[float32](mat.WithShape(len(images)*c.Patches(), c.PatchLen()), mat.WithBacking(data)), nil
}

func preprocess(patches []float32, img image.Image, c Config) error {
	if img == nil {
		return errors.New("image is nil")
	}
	m := pillow.FromImage(img)
	if m.Width < 1 || m.Height < 1 {
		return fmt.Errorf("image is %d×%d pixels, want at least 1×1", m.Width, m.Height)
	}
	m, err := c.Transform.square(m, c.ImageSize)
	if err != nil {
		return err
	}
	cut(patches, m, c)
	return nil
}

// Cut writes the patches [G²,3P²] of an image that has the tower's size already to patches: it is what
// [Preprocess] does after it has resized and cropped, for layouts of one's own. Another size, of the
// image or of patches, is an error.
func Cut(patches []float32, img image.Image, c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if img == nil {
		return ofImage(errors.New("image is nil"))
	}
	if b := img.Bounds(); b.Dx() != c.ImageSize || b.Dy() != c.ImageSize {
		return ofImage(fmt.Errorf("image is %d×%d pixels, want %d×%d", b.Dx(), b.Dy(), c.ImageSize, c.ImageSize))
	}
	if n := c.Patches() * c.PatchLen(); len(patches) != n {
		return fmt.Errorf("clipvit: room for %d values of patches, want %d", len(patches), n)
	}
	m, err := pillow.FromImage(img).RGB()
	if err != nil {
		return ofImage(err)
	}
	cut(patches, m, c)
	return nil
}

// cut writes the patches of an RGB image of the tower's size.
func cut(patches []float32, m *pillow.Image, c Config) {
	g, p, levels := c.Grid(), c.PatchSize, c.Transform.levels()
	for row := range g {
		for y := range p {
			line := m.Pix[3*(row*p+y)*m.Width:][:3*g*p]
			for col := range g {
				patch := patches[(row*g+col)*c.PatchLen()+y*p:]
				red, green, blue := patch[:p], patch[p*p:][:p], patch[2*p*p:][:p]
				for x, pixel := 0, line[3*col*p:]; x < len(red) && x < len(green) && x < len(blue) && len(pixel) >= 3; x, pixel = x+1, pixel[3:] {
					red[x], green[x], blue[x] = levels[0][pixel[0]], levels[1][pixel[1]], levels[2][pixel[2]]
				}
			}
		}
	}
}

// Encode returns the embedding of each image, [N,E], as OpenAI's preprocessing and encode_image
// give it: not normalised. It takes any number of images and holds the activations of a few. It looks at ctx before each
// block: its cause is the error if it has ended.
func (m *Model) Encode(ctx context.Context, images ...image.Image) ([][]float32, error) {
	c := m.Config
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.NoPostNorm {
		return nil, errors.New("clipvit: the tower has no post-norm and so no embedding; it has Features")
	}
	n := c.Patches() * c.PatchLen()
	embeddings := make([][]float32, 0, len(images))
	part := c.part()
	patches := make([]float32, min(len(images), part)*n)
	for start := 0; start < len(images); start += part {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		batch := images[start:min(len(images), start+part)]
		for i, img := range batch {
			if err := preprocess(patches[i*n:(i+1)*n], img, c); err != nil {
				return nil, ofImages(start+i, len(images), err)
			}
		}
		x := mat.NewDense[float32](mat.WithShape(len(batch)*c.Patches(), c.PatchLen()), mat.WithBacking(patches[:len(batch)*n]))
		y, err := Features{Kind: Embedding}.OfContext(ctx, m, x) // [B,E]
		if err != nil {
			return nil, err
		}
		e := y.Shape()[1]
		for i := range batch {
			embeddings = append(embeddings, append([]float32(nil), y.Value().Data().F32()[i*e:(i+1)*e]...))
		}
	}
	return embeddings, nil
}
