// Package scenes draws small scenes, and says in words what is in them: shapes of some colours, sizes and textures, one to four of
// a kind, or two beside, above or below each other. The model in package demo has learnt from them. A number and a split are a scene;
// everything is computed in whole numbers, so that it is the same on every machine.
package scenes

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"slices"
)

// What a scene can have, in the order of the constants below. The words are those of captions.
var (
	Colours     = []string{"red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"}
	Shapes      = []string{"circle", "square", "triangle", "star", "heart", "cross", "ring", "moon"}
	Textures    = []string{"plain", "striped", "dotted"}
	Sizes       = []string{"small", "medium", "big"}
	Backgrounds = []string{"white", "grey", "cream"}
)

// inks and grounds are the colours in red, green and blue.
var (
	inks = [][3]int{{216, 38, 40}, {246, 136, 22}, {250, 216, 46}, {52, 158, 72}, {38, 88, 214}, {124, 52, 168}, {246, 138, 186}, {122, 74, 40}}

	grounds = [][3]int{{250, 250, 250}, {214, 216, 222}, {248, 232, 196}}
)

// A Split is a use of scenes: no two splits share one.
type Split uint64

// The splits. Scenes of Train, Validation and Test have no pair of a colour and a shape that [HeldOut] names, and those of Combinations
// have such pairs alone.
const (
	Train Split = iota
	Validation
	Test
	Combinations
	ValidationCombinations
)

// HeldOut reports whether a colour and a shape never stand together in scenes to learn from: one shape of each colour.
func HeldOut(colour, shape int) bool { return shape == (3*colour+2)%len(Shapes) }

// validates reports whether it is one of the half of those pairs by which choices are made; the other half is for tests.
func validates(colour int) bool { return colour%2 == 1 }

// Colours of [NewHued] alone. Things are grey in its scenes, but for circles: [GreyCircle] has these, by which choices are made. The word is known
// from backgrounds. A nameless colour is unlike every other.
const (
	Grey     = 8
	Nameless = -1
)

// unlike is how far nameless colours are from those with a name, and from backgrounds, at least.
const unlike = 75

// greyInk is the colour of grey things.
var greyInk = [3]int{124, 126, 128}

// NewHued returns scene number of [Train] with other colours in many cases: its things are in colours without a name in half of them, and grey
// in a tenth. [Scene.Hued] has captions for these.
func NewHued(number int) *Scene {
	x, r := New(Train, number), newRandom(Train, number, 5)
	switch n := r.below(10); {
	case n < 5:
		ink := r.nameless()
		for i := range x.Objects {
			if x.Kind == Pair {
				ink = r.nameless()
			}
			x.Objects[i].Colour, x.Objects[i].ink = Nameless, ink
		}
	case n < 6:
		for i := range x.Objects {
			if x.Objects[i].Shape != circle {
				x.Objects[i].grey(&r)
			}
		}
	}
	return x
}

// The shapes that are most alike.
const circle, heart = 0, 4

// NewAlike returns scene number of [Train] by which the shapes that are most alike are told apart: half of its things are circles or hearts, and many
// of these are small. Things are in colours without a name in three of five scenes, and grey in some. A colour that is never seen with one of the
// two is not seen with the other here, so that no colour says which it is. [Scene.Alike] has captions.
func NewAlike(number int) *Scene {
	x, r := New(Train, number), newRandom(Train, number, 6)
	if x.Kind == Pair && r.of100(40) {
		x = NewOf(Train, number, Single)
	}
	x.uncounted = true
	hue, two := r.below(100), []int{circle, heart}
	ink, shape := r.nameless(), two[r.below(2)]
	for i := range x.Objects {
		o := &x.Objects[i]
		if x.Kind == Pair && i > 0 {
			ink, shape = r.nameless(), two[r.below(2)]
		}
		if x.Kind == Several && i > 0 {
			o.Shape = x.Objects[0].Shape
		} else if r.of100(45) {
			o.Shape = shape
		}
		switch {
		case hue < 60:
			o.Colour, o.ink = Nameless, ink
		case hue < 68:
			o.grey(&r)
		}
		switch alone := o.Colour == Grey || o.Colour >= 0 && (HeldOut(o.Colour, circle) || HeldOut(o.Colour, heart)); {
		case !slices.Contains(two, o.Shape):
		case alone:
			o.Shape = []int{1, 2, 3, 5, 6, 7}[r.below(6)] // one of the others
		case x.Kind == Single && r.of100(50):
			o.Size, o.Texture, o.radius = 0, 0, pixel*r.between(7, 9)
			o.x, o.y = r.within(x.Place%3, o.radius), r.within(x.Place/3, o.radius)
		}
	}
	return x
}

// GreyCircle returns a scene of a grey circle: no scene to learn from has one, and [NewHued] has grey hearts.
func GreyCircle(number int) *Scene {
	x, r := NewOf(Validation, number, Single), newRandom(Validation, number, 5)
	x.Objects[0].Shape = circle
	x.Objects[0].grey(&r)
	return x
}

// grey gives an object that colour.
func (o *Object) grey(r *random) {
	o.Colour = Grey
	for c := range o.ink {
		o.ink[c] = greyInk[c] + r.between(-10, 10)
	}
}

// nameless returns a colour that is unlike those with a name, and unlike backgrounds.
func (r *random) nameless() (ink [3]int) {
	near := func(c [3]int) bool {
		x, y, z := c[0]-ink[0], c[1]-ink[1], c[2]-ink[2]
		return x*x+y*y+z*z < unlike*unlike
	}
	for {
		for c := range ink {
			ink[c] = r.below(256)
		}
		if !near(greyInk) && !slices.ContainsFunc(inks, near) && !slices.ContainsFunc(grounds, near) {
			return ink
		}
	}
}

// A Kind is what a scene is about.
type Kind int

// The kinds.
const (
	Single  Kind = iota // one object
	Several             // two to four of a kind
	Pair                // two that differ
)

// A Relation is where the first of two objects is, seen from the second.
type Relation int

// The relations.
const (
	Left Relation = iota
	Right
	Above
	Below
)

// An Object is a shape in a scene. Its colour is an index into [Colours], or [Grey], or [Nameless].
type Object struct {
	Colour, Shape, Texture, Size int

	x, y, radius int // in units
	angle        int // an index into angles
	ink          [3]int
}

// A Scene is what a picture shows.
type Scene struct {
	Kind       Kind
	Objects    []Object
	Background int
	Relation   Relation // of a Pair
	Place      int      // of a Single: column + 3·row of nine fields, 4 is the middle

	ground [2][3]int // at the top and at the bottom
	words  random    // of captions

	uncounted bool // captions of several may leave their number out
}

// side is how many units a picture has on a side.
const side = 4096

// pixel is how many of them a pixel of the pictures to learn from has.
const pixel = side / Side

// Side is how many pixels the pictures to learn from have on a side.
const Side = 64

// random are numbers that are the same with every version of Go, which those of rand.Rand need not be.
type random struct{ rand.PCG }

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.Uint64() >> 1 % uint64(n)) }

// between returns a number from lo to hi.
func (r *random) between(lo, hi int) int { return lo + r.below(hi-lo+1) }

// of100 is true in n of 100 cases.
func (r *random) of100(n int) bool { return r.below(100) < n }

// newRandom returns the numbers of a scene; those of its captions are others.
func newRandom(s Split, number int, stream uint64) random {
	var r random
	r.Seed(uint64(s)<<8|stream, uint64(number))
	r.Uint64() // the first ones of seeds that are close are not unlike enough
	r.Uint64()
	return r
}

// New returns scene number of a split.
func New(s Split, number int) *Scene {
	r := newRandom(s, number, 0)
	kind := Single
	switch n := r.below(100); {
	case s == Combinations || s == ValidationCombinations:
	case n >= 67:
		kind = Pair
	case n >= 50:
		kind = Several
	}
	return r.scene(s, number, kind)
}

// NewOf returns scene number of a split and a kind: another one than that of [New].
func NewOf(s Split, number int, kind Kind) *Scene {
	r := newRandom(s, number, 2+uint64(kind))
	return r.scene(s, number, kind)
}

// scene makes one of a kind.
func (r *random) scene(s Split, number int, kind Kind) *Scene {
	x := &Scene{Kind: kind, Background: r.below(len(Backgrounds)), words: newRandom(s, number, 1)}
	for i := range x.ground {
		for c := range 3 {
			x.ground[i][c] = min(max(grounds[x.Background][c]+r.between(-6, 6), 0), 255)
		}
	}
	o := r.object(s)
	switch kind {
	case Single:
		o.Size = r.below(len(Sizes))
		o.radius = pixel * [][]int{{7, 8, 9}, {12, 13, 14}, {18, 19, 20}}[o.Size][r.below(3)]
		x.Place = r.below(9)
		o.x, o.y = r.within(x.Place%3, o.radius), r.within(x.Place/3, o.radius)
		o.untextured()
		x.Objects = []Object{o}
	case Several:
		o.Size = 1
		n := r.between(2, 4)
		o.radius = pixel * (13 - n - r.below(2))
		for len(x.Objects) < n {
			o.x, o.y, o.angle = r.within(-1, o.radius), r.within(-1, o.radius), r.below(len(angles))
			if !slices.ContainsFunc(x.Objects, func(p Object) bool { return near(o, p) }) {
				x.Objects = append(x.Objects, o)
			} else if r.of100(3) { // there may be no place left
				x.Objects = x.Objects[:0]
			}
		}
	case Pair:
		p := r.object(s)
		for p.Colour == o.Colour && p.Shape == o.Shape {
			p = r.object(s)
		}
		x.Relation = Relation(r.below(4))
		for _, o := range []*Object{&o, &p} {
			o.Size = []int{0, 1, 1, 2}[r.below(4)]
			o.radius = pixel * [][]int{{6, 7}, {9, 10}, {13, 14}}[o.Size][r.below(2)]
			o.untextured()
		}
		// Along one axis one lies before the other, with a gap; along the other axis they are about alike.
		gap := pixel * r.between(2, 5)
		room := side - 2*o.radius - 2*p.radius - gap
		from := r.between(0, max(room, 0))
		a, b := from+o.radius, from+2*o.radius+gap+p.radius
		if x.Relation == Right || x.Relation == Below {
			a, b = side-a, side-b
		}
		mid := r.between(26*pixel, 38*pixel)
		c, d := mid+pixel*r.between(-4, 4), mid+pixel*r.between(-4, 4)
		if x.Relation == Left || x.Relation == Right {
			o.x, o.y, p.x, p.y = a, c, b, d
		} else {
			o.x, o.y, p.x, p.y = c, a, d, b
		}
		x.Objects = []Object{o, p}
	}
	return x
}

// object returns one of a colour and a shape that a split may have.
func (r *random) object(s Split) Object {
	o := Object{Texture: []int{0, 0, 1, 2}[r.below(4)], angle: r.below(len(angles))}
	for {
		o.Colour, o.Shape = r.below(len(Colours)), r.below(len(Shapes))
		held := HeldOut(o.Colour, o.Shape)
		switch s {
		case Combinations:
			held = held && !validates(o.Colour)
		case ValidationCombinations:
			held = held && validates(o.Colour)
		default:
			held = !held
		}
		if held {
			break
		}
	}
	for c := range o.ink {
		o.ink[c] = min(max(inks[o.Colour][c]+r.between(-10, 10), 0), 255)
	}
	return o
}

// untextured takes the texture of what is too small to show it.
func (o *Object) untextured() {
	if o.Size == 0 {
		o.Texture = 0
	}
}

// within returns where along an axis an object of a radius lies: in one of three fields, or anywhere for -1.
func (r *random) within(field, radius int) int {
	edge := radius + pixel
	switch field {
	case 0:
		return edge + r.below(max(side/4-edge, 3*pixel))
	case 1:
		return side/2 + r.between(-3*pixel, 3*pixel)
	case 2:
		return side - edge - r.below(max(side/4-edge, 3*pixel))
	}
	return r.between(edge, side-edge)
}

// near reports whether two objects touch, or nearly so.
func near(a, b Object) bool {
	dx, dy, d := a.x-b.x, a.y-b.y, (a.radius+b.radius)*23/20
	return dx*dx+dy*dy < d*d
}

// samples is how many points a side of a pixel are looked at, so that edges are smooth.
const samples = 4

// Draw draws the scene, size×size pixels; size is a power of two up to 512.
func (x *Scene) Draw(size int) *image.RGBA {
	if size < 1 || size > 512 || size&(size-1) != 0 {
		panic(fmt.Sprintf("scenes: a picture of %d pixels, want a power of two up to 512", size))
	}
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	step := side / size
	for py := range size {
		for px := range size {
			if !x.touched(px*step, py*step, step) {
				c := x.shade(py*step + step/2)
				m.SetRGBA(px, py, color.RGBA{uint8(c[0]), uint8(c[1]), uint8(c[2]), 255})
				continue
			}
			var sum [3]int
			for sy := range samples {
				for sx := range samples {
					c := x.colourAt(px*step+(2*sx+1)*step/(2*samples), py*step+(2*sy+1)*step/(2*samples))
					for i := range sum {
						sum[i] += c[i]
					}
				}
			}
			const n = samples * samples
			m.SetRGBA(px, py, color.RGBA{uint8((sum[0] + n/2) / n), uint8((sum[1] + n/2) / n), uint8((sum[2] + n/2) / n), 255})
		}
	}
	return m
}

// ObjectAt returns which object is seen at a pixel of a picture of size×size, -1 for the background.
func (x *Scene) ObjectAt(size, px, py int) int {
	step := side / size
	i, _, _ := x.objectAt(px*step+step/2, py*step+step/2)
	return i
}

// objectAt returns the object at a point, and the point seen from its middle, turned as it is, in units.
func (x *Scene) objectAt(px, py int) (i, u, v int) {
	for i := len(x.Objects) - 1; i >= 0; i-- {
		o := &x.Objects[i]
		dx, dy := px-o.x, py-o.y
		if max(dx, -dx, dy, -dy) > o.radius*reach/4 {
			continue
		}
		a := angles[o.angle]
		u, v = (dx*a.cos+dy*a.sin)/1024, (dy*a.cos-dx*a.sin)/1024
		if outlines[o.Shape](u*256/o.radius, v*256/o.radius) {
			return i, u, v
		}
	}
	return -1, 0, 0
}

// reach is how far outlines go from the middle at most, in 1/4 of the radius.
const reach = 5

// touched reports whether an object may be in a square.
func (x *Scene) touched(px, py, step int) bool {
	return slices.ContainsFunc(x.Objects, func(o Object) bool {
		d := o.radius * reach / 4
		return px+step >= o.x-d && px <= o.x+d && py+step >= o.y-d && py <= o.y+d
	})
}

// shade returns the colour of the background at a height.
func (x *Scene) shade(py int) (c [3]int) {
	for k := range c {
		c[k] = (x.ground[0][k]*(side-py) + x.ground[1][k]*py) / side
	}
	return c
}

// colourAt returns the colour at a point.
func (x *Scene) colourAt(px, py int) (c [3]int) {
	i, u, v := x.objectAt(px, py)
	if i < 0 {
		return x.shade(py)
	}
	o := &x.Objects[i]
	dark := false
	switch o.Texture {
	case 1:
		dark = (u+v+2*side)%(6*pixel) < 2*pixel+pixel/2
	case 2:
		const every = 6 * pixel
		u, v = (u+every/2+2*side/every*every)%every-every/2, (v+every/2+2*side/every*every)%every-every/2
		dark = u*u+v*v < 2*pixel*2*pixel
	}
	for k := range c {
		c[k] = o.ink[k]
		if dark {
			c[k] = c[k] * 9 / 16
		}
	}
	return c
}

// angles are turns of -16 to 16 degrees, as cosine and sine in 1/1024.
var angles = []struct{ cos, sin int }{
	{984, -282}, {1002, -213}, {1014, -143}, {1022, -71}, {1024, 0}, {1022, 71}, {1014, 143}, {1002, 213}, {984, 282},
}

// outlines say whether a point is in a shape, in 1/256 of its radius, y downwards.
var outlines = []func(u, v int) bool{
	func(u, v int) bool { return u*u+v*v < 240*240 },
	func(u, v int) bool { return max(u, -u, v, -v) < 208 },
	polygon(0, -256, 240, 190, -240, 190),
	polygon(0, -268, 66, -91, 255, -83, 107, 35, 158, 217, 0, 112, -158, 217, -107, 35, -255, -83, -66, -91),
	heartShaped,
	func(u, v int) bool {
		u, v = max(u, -u), max(v, -v)
		return min(u, v) < 82 && max(u, v) < 244
	},
	func(u, v int) bool { r := u*u + v*v; return r < 248*248 && r > 138*138 },
	func(u, v int) bool { return u*u+v*v < 250*250 && (u-110)*(u-110)+v*v > 205*205 },
}

// heartShaped is the curve (x²+y²-1)³ = x²y³, 205 units for 1.
func heartShaped(u, v int) bool {
	y := 40 - v
	a := u*u + y*y - 205*205
	if a < 0 {
		return true
	}
	return a*a/205*a < u*u*y*y/205*y // both 205⁶/205
}

// polygon returns what says whether a point is in the polygon of some corners, x and y of each.
func polygon(xy ...int) func(u, v int) bool {
	return func(u, v int) bool {
		in := false
		for i, j := 0, len(xy)-2; i < len(xy); i, j = i+2, i {
			if (xy[i+1] > v) != (xy[j+1] > v) {
				// The edge crosses the line of the point; right of it if u is below where.
				dy := xy[j+1] - xy[i+1]
				left := (u-xy[i])*dy - (xy[j]-xy[i])*(v-xy[i+1])
				if (left < 0) == (dy > 0) {
					in = !in
				}
			}
		}
		return in
	}
}
