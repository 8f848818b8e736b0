package projector

import (
	"fmt"
	"image"
	"math"
	"strconv"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// grid returns the rows and columns of tiles of r pixels for an image of width by height pixels.
// Source: huggingface/transformers, image_processing_utils.py, select_best_resolution.
func (l Layout) grid(width, height, r int) (rows, cols int) {
	most, least := 0., math.Inf(1)
	for _, g := range l.Grids {
		h, w := float64(g[0]*r), float64(g[1]*r)
		scale := min(w/float64(width), h/float64(height))
		left := min(math.Trunc(float64(width)*scale)*math.Trunc(float64(height)*scale), float64(width)*float64(height))
		wasted := w*h - left
		if left > most || left == most && wasted < least {
			most, least, rows, cols = left, wasted, g[0], g[1]
		}
	}
	return rows, cols
}

func anyRes(l Layout, img image.Image, c clipvit.Config) (*Tiles, error) {
	if f := c.Transform.Resolved().Filter; f != clipvit.FilterBicubic {
		return nil, fmt.Errorf("the model's files scale images by %s, and this layout by %s only", f, clipvit.FilterBicubic)
	}
	if c.Transform.Resize > c.ImageSize {
		return nil, fmt.Errorf("the model's files scale images to %d before %d are cut out, and this layout does not", c.Transform.Resize, c.ImageSize)
	}
	m, err := pillow.FromImage(img).RGB()
	if err != nil {
		return nil, err
	}
	rows, cols := l.grid(m.Width, m.Height, c.ImageSize)
	t := newTiles(rows, cols, c)
	whole, err := m.Resize(c.ImageSize, c.ImageSize, pillow.Bicubic)
	if err != nil {
		return nil, err
	}
	if err := clipvit.Cut(t.view(0, c), whole, c); err != nil {
		return nil, err
	}
	width, height := cols*c.ImageSize, rows*c.ImageSize
	w, h := within(m.Width, m.Height, width, height)
	if m, err = m.Resize(w, h, pillow.Bicubic); err != nil {
		return nil, err
	}
	if m, err = m.Pad((width-w)/2, (height-h)/2, width, height, [3]byte{}); err != nil {
		return nil, err
	}
	return t, t.cut(m, c)
}

// within returns the size of a picture of w by h pixels resized to fit into width by height.
// Source: huggingface/transformers, image_processing_utils.py, get_patch_output_size.
func within(w, h, width, height int) (int, int) {
	across, down := float64(width)/float64(w), float64(height)/float64(h)
	if across < down {
		return width, int(min(math.Ceil(float64(h)*across), float64(height)))
	}
	return int(min(math.Ceil(float64(w)*down), float64(width))), height
}

// inside returns which patches of the picture of all tiles, of g×g patches each, show the image: down rows from
// top on and across columns from left on.
// Source: huggingface/transformers, models/llava_next/modeling_llava_next.py, unpad_image.
func (t *Tiles) inside(g int) (top, down, left, across int) {
	down, across = t.Rows*g, t.Cols*g
	w, h := float64(t.Width), float64(t.Height)
	if w/h > float64(across)/float64(down) {
		top = (down - int(round7(h*(float64(across)/w)))) / 2
		down -= 2 * top
	} else {
		left = (across - int(round7(w*(float64(down)/h)))) / 2
		across -= 2 * left
	}
	return top, down, left, across
}

// round7 is Python's round(x, 7).
func round7(x float64) float64 {
	y, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 7, 64), 64) // it is a number
	return y
}

// pack returns the order of the tokens of views of g×g patches, -1 for the newline.
// Source: huggingface/transformers, models/llava_next/modeling_llava_next.py, pack_image_features.
func (t *Tiles) pack(g int) []int {
	top, down, left, across := t.inside(g)
	rows := make([]int, 0, g*g+down*(across+1))
	for i := range g * g {
		rows = append(rows, i)
	}
	for y := top; y < top+down; y++ {
		rows = append(t.line(rows, y, left, across, g), -1)
	}
	return rows
}

// spread is pack for [MergeSpatial].
// Source: haotian-liu/LLaVA, llava/model/llava_arch.py, prepare_inputs_labels_for_multimodal.
func (t *Tiles) spread(g int) []int {
	rows := make([]int, 0, (1+t.Rows*t.Cols)*g*g)
	for i := range g * g {
		rows = append(rows, i)
	}
	for y := range t.Rows * g {
		rows = t.line(rows, y, 0, t.Cols*g, g)
	}
	return rows
}

// line appends the tokens of row y of the picture, across of them from left on.
func (t *Tiles) line(rows []int, y, left, across, g int) []int {
	for x := left; x < left+across; x++ {
		view := 1 + y/g*t.Cols + x/g
		rows = append(rows, (view*g+y%g)*g+x%g)
	}
	return rows
}
