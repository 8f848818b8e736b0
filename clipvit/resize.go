package clipvit

import (
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"
)

// A Bicubic names one of the two filters that are called bicubic, for the position embedding.
type Bicubic string

const (
	// BicubicTorch has a = -0.75 and no antialiasing: torch's interpolate, as Hugging Face's
	// interpolate_pos_encoding and XComposer's resize_pos call it.
	BicubicTorch Bicubic = "torch"
	// BicubicAntialias has a = -0.5 and widens when it shrinks, as Pillow's: torch's interpolate with
	// antialias, as OpenCLIP's resize_pos_embed calls it.
	BicubicAntialias Bicubic = "antialias"
)

// Resize makes the tower take square images of another size, by resampling the position embedding
// of the patches; that of the class token stays. It must not run beside any other use of the
// model. The new positions require a gradient if the old ones did.
//
// Sources: pytorch, aten/src/ATen/native/cpu/UpSampleKernel.cpp; huggingface/transformers,
// modeling_clip.py, interpolate_pos_encoding; mlfoundations/open_clip, model.py, resize_pos_embed.
func (m *Model) Resize(imageSize int, filter Bicubic) error {
	c := m.Config
	c.ImageSize = imageSize
	if err := c.Validate(); err != nil {
		return err
	}
	from, to := m.Config.Grid(), c.Grid()
	var taps [][]tap
	switch filter {
	case BicubicTorch:
		taps = torchTaps(from, to)
	case BicubicAntialias:
		taps = antialiasTaps(from, to)
	default:
		return fmt.Errorf("clipvit: filter is %q, want %q or %q", filter, BicubicTorch, BicubicAntialias)
	}
	old := m.Embed.Position
	grad := old.RequiresGrad()
	data := resample(old.Value().Data().F32(), from, to, c.Width, c.ClassTokens(), taps)
	old.ReplaceValue(mat.NewDense[float32](mat.WithShape(c.Tokens(), c.Width), mat.WithBacking(data), mat.WithGrad(grad)))
	m.Config = c
	return nil
}

// A tap is a share of one input place in an output place.
type tap struct {
	from   int
	weight float64
}

// cubic is the convolution kernel of Keys (1981) with parameter a.
func cubic(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// torchTaps: four taps around the place, those outside moved to the edge.
func torchTaps(from, to int) [][]tap {
	taps := make([][]tap, to)
	for i := range taps {
		x := float64(from)/float64(to)*(float64(i)+0.5) - 0.5
		first := int(math.Floor(x)) - 1
		for j := first; j < first+4; j++ {
			taps[i] = append(taps[i], tap{min(max(j, 0), from-1), cubic(x-float64(j), -0.75)})
		}
	}
	return taps
}

// antialiasTaps: every place within two (shrinking: two output places), weights made to sum to 1.
func antialiasTaps(from, to int) [][]tap {
	taps := make([][]tap, to)
	scale := float64(from) / float64(to)
	wide := max(scale, 1)
	for i := range taps {
		center := scale * (float64(i) + 0.5)
		first := max(int(center-2*wide+0.5), 0)
		last := min(int(center+2*wide+0.5), from)
		total := 0.0
		for j := first; j < last; j++ {
			w := cubic((float64(j)-center+0.5)/wide, -0.5)
			taps[i] = append(taps[i], tap{j, w})
			total += w
		}
		for j := range taps[i] {
			taps[i][j].weight /= total
		}
	}
	return taps
}

// resample maps positions [class+from²,width] to [class+to²,width], with the same taps for rows and columns. The
// class tokens stay.
func resample(x []float32, from, to, width, class int, taps [][]tap) []float32 {
	y := make([]float32, (class+to*to)*width)
	copy(y, x[:class*width])
	grid := x[class*width:]
	sum := make([]float64, width)
	for row := range to {
		for col := range to {
			clear(sum)
			for _, v := range taps[row] {
				for _, h := range taps[col] {
					place := grid[(v.from*from+h.from)*width:]
					for i := range sum {
						sum[i] += v.weight * h.weight * float64(place[i])
					}
				}
			}
			out := y[(class+row*to+col)*width:]
			for i, s := range sum {
				out[i] = float32(s)
			}
		}
	}
	return y
}
