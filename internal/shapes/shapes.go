// Package shapes draws pictures to learn from: circles, crosses, rings, squares, stars and triangles. In
// the easy ones every shape has colours of its own, of which size, brightness and a bit of noise take little
// away; in the hard ones a shape may have any colour and blots lie about, so that only the outline tells the
// classes apart. In those of colours it is the other way round: any shape, and the class is its colour. The same
// seed draws the same pictures.
package shapes

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A class is a shape. Inside says whether a point is in it, of a plane in which the shape has about the
// area of a circle of radius 0.8 around 0.
type class struct {
	name   string
	inside func(x, y float64) bool
}

var classes = []class{
	{"circle", func(x, y float64) bool { return x*x+y*y < 0.64 }},
	{"cross", func(x, y float64) bool {
		x, y = math.Abs(x), math.Abs(y)
		return min(x, y) < 0.3 && max(x, y) < 0.95
	}},
	{"ring", func(x, y float64) bool { r := x*x + y*y; return r < 0.9 && r > 0.3 }},
	{"square", func(x, y float64) bool { return max(math.Abs(x), math.Abs(y)) < 0.71 }},
	{"star", func(x, y float64) bool { return star(x, y, 5, 1.15, 0.5) }},
	{"triangle", func(x, y float64) bool { return star(x, y, 3, 1.2, 0.6) }},
}

// star says whether a point is in a star of so many tips, at a distance of outer from 0, with corners
// between them at a distance of inner. With 3 tips and half the distance, it is a triangle.
func star(x, y float64, tips int, outer, inner float64) bool {
	sector := math.Pi / float64(tips) // half of what belongs to a tip
	r, angle := math.Hypot(x, y), math.Atan2(x, -y)
	angle = math.Abs(math.Remainder(angle, 2*sector)) // from the tip
	// The edge goes from the tip, (outer, 0), to the corner.
	cx, cy := inner*math.Cos(sector), inner*math.Sin(sector)
	px, py := r*math.Cos(angle), r*math.Sin(angle)
	return (cx-outer)*py-cy*(px-outer) > 0
}

// Classes returns the names of the shapes, sorted. The label of a picture is an index into it.
func Classes() []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.name
	}
	return names
}

// colours are names of hues, sorted, in turns from red over green and blue.
var colours = []struct {
	name string
	hue  float64
}{{"blue", 4. / 6}, {"cyan", 3. / 6}, {"green", 2. / 6}, {"magenta", 5. / 6}, {"red", 0}, {"yellow", 1. / 6}}

// Colours returns the names of the colours, sorted. The label of a picture is an index into it.
func Colours() []string {
	names := make([]string, len(colours))
	for i, c := range colours {
		names[i] = c.name
	}
	return names
}

// random are numbers that are the same with every version of Go, which those of rand.Rand need not be.
type random struct{ rand.PCG }

// between returns a number from lo to below hi.
func (r *random) between(lo, hi float64) float64 {
	return lo + (hi-lo)*float64(r.Uint64()>>11)/(1<<53)
}

// normal returns a number of a distribution that is close to the normal one: the sum of twelve.
func (r *random) normal() float64 {
	sum := -6.0
	for range 12 {
		sum += r.between(0, 1)
	}
	return sum
}

// look is what the kinds of pictures differ in.
type look struct {
	radius     [2]float64 // of the shape, in halves of the picture
	offset     float64    // of its centre from that of the picture, at most, in the same unit
	turn       float64    // at most, in radians
	contrast   float64    // the least distance of the colours of shape and ground, of levels from 0 to 255
	noise      float64    // standard deviation, in the same levels
	blots      int        // discs of other colours behind the shape, at most
	hue        float64    // how far that of the shape is from its class's, at most, in turns; 0 is any colour
	darkGround bool
}

var (
	easy = look{radius: [2]float64{0.55, 0.8}, offset: 0.1, turn: 0.1, contrast: 100, noise: 8, hue: 0.07, darkGround: true}
	hard = look{radius: [2]float64{0.5, 0.8}, offset: 0.1, turn: 0.4, contrast: 100, noise: 15, blots: 2, darkGround: true}
	dyed = look{radius: [2]float64{0.25, 0.7}, offset: 0.3, turn: math.Pi, contrast: 100, noise: 30, hue: 0.05, darkGround: true}
)

// samples is how many points a side of a pixel are looked at, so that edges are smooth.
const samples = 3

// Draw draws picture number of a class, size×size pixels.
func Draw(label, number, size int, difficult bool, seed uint64) *image.RGBA {
	r := newRandom(seed, number, label, len(classes))
	if difficult {
		return r.draw(hard, classes[label], 0, size)
	}
	return r.draw(easy, classes[label], float64(label)/float64(len(classes)), size)
}

// DrawColour draws picture number of a colour, size×size pixels, of any shape.
func DrawColour(label, number, size int, seed uint64) *image.RGBA {
	r := newRandom(seed, number, label, len(colours))
	shape := int(r.between(0, float64(len(classes))))
	return r.draw(dyed, classes[shape], colours[label].hue, size)
}

// newRandom returns the numbers of a picture of one of k classes.
func newRandom(seed uint64, number, label, k int) *random {
	r := &random{}
	r.Seed(seed, uint64(number)*uint64(k)+uint64(label))
	r.Uint64() // the first ones of seeds that are close are not unlike enough
	return r
}

// draw draws a shape of a hue.
func (r *random) draw(l look, shape class, hue float64, size int) *image.RGBA {
	ground := [3]float64{r.between(0, 40), r.between(0, 40), r.between(0, 40)}
	if !l.darkGround {
		ground = r.colour()
	}
	var ink [3]float64
	for again := true; again; again = distance(ink, ground) < l.contrast {
		ink = r.colour()
		if l.hue > 0 {
			ink = r.hued(hue + r.between(-l.hue, l.hue))
		}
	}
	type disc struct {
		x, y, radius float64
		colour       [3]float64
	}
	var blots []disc
	for range int(r.between(0, float64(l.blots)+1)) {
		b := disc{r.between(-1, 1), r.between(-1, 1), r.between(0.05, 0.3), r.colour()}
		for distance(b.colour, ink) < l.contrast {
			b.colour = r.colour()
		}
		blots = append(blots, b)
	}
	radius := r.between(l.radius[0], l.radius[1])
	cx, cy := r.between(-l.offset, l.offset), r.between(-l.offset, l.offset)
	sin, cos := math.Sincos(r.between(-l.turn, l.turn))

	at := func(x, y float64) [3]float64 {
		u, v := (x-cx)/radius, (y-cy)/radius
		if shape.inside(cos*u+sin*v, cos*v-sin*u) {
			return ink
		}
		for _, b := range blots {
			if math.Hypot(x-b.x, y-b.y) < b.radius {
				return b.colour
			}
		}
		return ground
	}
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	for py := range size {
		for px := range size {
			var sum [3]float64
			for s := range samples * samples {
				x := (float64(px) + (float64(s%samples)+0.5)/samples) / float64(size)
				y := (float64(py) + (float64(s/samples)+0.5)/samples) / float64(size)
				for i, v := range at(2*x-1, 2*y-1) {
					sum[i] += v / (samples * samples)
				}
			}
			for i := range sum {
				sum[i] = min(max(sum[i]+l.noise*r.normal(), 0), 255)
			}
			m.SetRGBA(px, py, color.RGBA{uint8(sum[0]), uint8(sum[1]), uint8(sum[2]), 255})
		}
	}
	return m
}

// colour returns any colour.
func (r *random) colour() (c [3]float64) {
	for i := range c {
		c[i] = r.between(0, 255)
	}
	return c
}

// hued returns a bright or dull colour of a hue, in turns from red over green and blue.
func (r *random) hued(hue float64) (c [3]float64) {
	value, grey := r.between(140, 255), r.between(0, 0.5)
	for i := range c {
		from := 6 * math.Abs(math.Remainder(hue-float64(i)/3, 1)) // sixths of a turn from red, green or blue
		c[i] = value * (grey + (1-grey)*min(max(2-from, 0), 1))
	}
	return c
}

func distance(a, b [3]float64) float64 {
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

// Write draws n pictures of each class, from number first on, as DIR/CLASS/NUMBER.png. It returns an
// error if DIR is not empty: the pictures of two data sets should not be mixed.
func Write(dir string, first, n, size int, difficult bool, seed uint64) error {
	return writeAll(dir, Classes(), first, n, size, func(label, number int) image.Image {
		return Draw(label, number, size, difficult, seed)
	})
}

// WriteColours is [Write] for pictures whose classes are colours.
func WriteColours(dir string, first, n, size int, seed uint64) error {
	return writeAll(dir, Colours(), first, n, size, func(label, number int) image.Image {
		return DrawColour(label, number, size, seed)
	})
}

func writeAll(dir string, names []string, first, n, size int, draw func(label, number int) image.Image) error {
	if n < 1 || size < 1 || size > 4096 {
		return fmt.Errorf("shapes: %d pictures of %d pixels, want 1 or more of 1 to 4096", n, size)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("shapes: %s is not empty", dir)
	}
	for label, name := range names {
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return fmt.Errorf("shapes: %w", err)
		}
		for number := first; number < first+n; number++ {
			if err := write(filepath.Join(folder, fmt.Sprintf("%05d.png", number)), draw(label, number)); err != nil {
				return fmt.Errorf("shapes: %w", err)
			}
		}
	}
	return nil
}

func write(path string, m image.Image) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return png.Encode(f, m)
}
