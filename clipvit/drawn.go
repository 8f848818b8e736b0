package clipvit

import (
	"math"
	"math/rand/v2"

	"github.com/nlpodyssey/spago/mat"
)

// drawnPictures returns patches [B·G²,3P²] of a few pictures that are always the same, to measure a tower by: eight, or fewer, but
// two at least, if they have many tokens. They have waves of all lengths, the long ones larger, as photographs have, some of them
// with hard edges, in a few colours, and a little noise. Pixels are normalised: their mean is about 0, and their deviation about 1.
//
// Source: Field, "Relations between the statistics of natural images and the response properties of cortical cells",
// Journal of the Optical Society of America A 4 (1987), for waves whose size is their length.
func drawnPictures(c Config) *mat.Dense[float32] {
	const most, tokens, waves = 8, 1200, 10
	n := min(most, max(2, tokens/c.Tokens()))
	g, p, size := c.Grid(), c.PatchSize, c.ImageSize
	values := make([]float32, n*g*g*3*p*p)
	plane := make([]float32, size*size)
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		at := func(channel, y, x int) *float32 {
			return &values[((i*g+y/p)*g+x/p)*3*p*p+(channel*p+y%p)*p+x%p]
		}
		pixels := g * p // of a row or column that patches cover
		for w := range waves {
			// From one wave over the picture to one of a few pixels.
			cycles := math.Exp2(float64(w) * math.Log2(float64(size)/4) / waves)
			angle, phase := 2*math.Pi*rng.Float64(), 2*math.Pi*rng.Float64()
			dy, dx := 2*math.Pi*cycles/float64(size)*math.Sin(angle), 2*math.Pi*cycles/float64(size)*math.Cos(angle)
			hard := rng.IntN(3) == 0
			for y := range pixels {
				for x := range pixels {
					v := math.Sin(dy*float64(y) + dx*float64(x) + phase)
					if hard {
						v = math.Copysign(1, v)
					}
					plane[y*pixels+x] = float32(v / math.Sqrt(cycles))
				}
			}
			for channel := range 3 {
				strength := float32(0.6 + 0.4*rng.NormFloat64())
				for y := range pixels {
					for x := range pixels {
						*at(channel, y, x) += strength * plane[y*pixels+x]
					}
				}
			}
		}
		shade, noise := 0.7*rng.NormFloat64(), 0.2*rng.Float64()
		for channel := range 3 {
			tint := shade + 0.3*rng.NormFloat64()
			for y := range pixels {
				for x := range pixels {
					v := at(channel, y, x)
					*v = min(max(*v+float32(tint+noise*rng.NormFloat64()), -2), 2.5)
				}
			}
		}
	}
	return mat.NewDense[float32](mat.WithShape(n*g*g, 3*p*p), mat.WithBacking(values))
}
