package scenes

import (
	"slices"
	"strings"
)

// A Phrasing is a way to say what a scene shows.
type Phrasing struct {
	Frame string // {} is what it shows
	noun  int    // how objects are named
}

// Phrasings of captions to learn from, of one object or two; several of a kind have some of their own.
var frames = []string{
	"{}", "{}", "a picture of {}", "a photo of {}", "an image of {}", "this is {}", "there is {}", "we see {}", "the picture shows {}", "this image shows {}",
}

var framesOfSeveral = []string{
	"{}", "{}", "a picture of {}", "a photo of {}", "an image of {}", "these are {}", "there are {}", "we see {}", "the picture shows {}", "this image shows {}",
}

// Unseen are phrasings that no caption to learn from has, of words that they have.
var Unseen = []Phrasing{
	{"this photo shows {}", nounPlain}, {"an image that shows {}", nounPlain}, {"we see {} in this picture", nounPlain}, {"{}", nounLast},
	{"there is {} in the photo", nounPlain},
}

// The ways to name an object. nounLast is never learnt.
const (
	nounPlain = iota // a big striped red circle
	nounWith         // a big red circle with stripes
	nounThat         // a big striped circle that is red
	nounLast         // a big red striped circle
)

var numbers = []string{"no", "one", "two", "three", "four"}

// article puts one before words.
func article(words string) string {
	if strings.ContainsRune("aeiou", rune(words[0])) {
		return "an " + words
	}
	return "a " + words
}

// join puts spaces between words that are there.
func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// A mention says what of an object a caption names beside its shape, or that it leaves the shape out.
type mention struct{ size, texture, colour, noShape bool }

// everything names all that there is.
var everything = mention{size: true, texture: true, colour: true}

// noun names an object, without an article. Number is how many there are.
func (o Object) noun(how, number int, m mention) string {
	var big, pattern, with string
	if m.size && o.Size != 1 {
		big = Sizes[o.Size]
	}
	if m.texture && o.Texture > 0 {
		pattern = Textures[o.Texture]
		with = []string{"", "with stripes", "with dots"}[o.Texture]
	}
	colour, shape, is := o.colour(), Shapes[o.Shape], "that is"
	if number > 1 {
		shape, is = plural(shape), "that are"
	}
	if !m.colour {
		colour, how = "", []int{nounPlain, nounWith, nounPlain, nounPlain}[how]
	}
	switch how {
	case nounWith:
		return join(big, colour, shape, with)
	case nounThat:
		return join(big, pattern, shape, is, colour)
	case nounLast:
		return join(big, colour, pattern, shape)
	}
	return join(big, pattern, colour, shape)
}

// named names an object with an article, or as something.
func (o Object) named(how int, m mention) string {
	if !m.noShape {
		return article(o.noun(how, 1, m))
	}
	text := "something"
	if m.texture && o.Texture > 0 {
		text += " " + Textures[o.Texture]
	}
	if m.colour || text == "something" {
		text += " " + o.colour()
	}
	return text
}

func plural(shape string) string {
	if strings.HasSuffix(shape, "s") {
		return shape + "es"
	}
	return shape + "s"
}

// Name returns the colour and the shape of an object: "red circle".
func (o Object) Name() string { return o.colour() + " " + Shapes[o.Shape] }

// colour returns the word of its colour, nothing for [Nameless].
func (o Object) colour() string {
	switch o.Colour {
	case Grey:
		return "grey"
	case Nameless:
		return ""
	}
	return Colours[o.Colour]
}

// Places names the nine fields of a scene, from the top left on, row by row.
var Places = []string{
	"in the top left corner", "at the top", "in the top right corner",
	"on the left", "in the middle", "on the right",
	"in the bottom left corner", "at the bottom", "in the bottom right corner",
}

// Relations are words for where the first of two objects is, seen from the second.
var Relations = [][]string{
	{"to the left of", "left of"}, {"to the right of", "right of"}, {"above", "over"}, {"below", "under"},
}

// opposite returns the relation of the second to the first.
func (r Relation) opposite() Relation { return r ^ 1 }

// Full returns a caption that says everything, in one phrasing: no two scenes that differ in what can be said have the same.
func (x *Scene) Full() string {
	o := x.Objects[0]
	var text string
	switch x.Kind {
	case Single:
		text = join(article(o.noun(nounPlain, 1, everything)), Places[x.Place])
	case Several:
		text = join(numbers[len(x.Objects)], o.noun(nounPlain, len(x.Objects), everything))
	case Pair:
		text = join(article(o.noun(nounPlain, 1, everything)), Relations[x.Relation][0], article(x.Objects[1].noun(nounPlain, 1, everything)))
	}
	return text + " on " + article(Backgrounds[x.Background]) + " background"
}

// In returns a caption in a phrasing, of the colours and shapes.
func (p Phrasing) In(words string) string { return strings.ReplaceAll(p.Frame, "{}", words) }

// Of names an object in a phrasing, with size and texture.
func (p Phrasing) Of(o Object) string { return p.In(article(o.noun(p.noun, 1, everything))) }

// Caption returns a caption to learn from: what it says and how is drawn by chance. Each call draws another one.
func (x *Scene) Caption() string {
	r := &x.words
	how := []int{nounPlain, nounPlain, nounWith, nounThat}[r.below(4)]
	m, more := mention{r.of100(70), r.of100(70), r.of100(75), r.of100(12)}, true
	if r.of100(10) { // the shape alone
		m, more = mention{}, false
	}
	return x.caption(how, m, more)
}

// Plain returns a caption to learn from that in half of the cases names shapes alone, or shapes and colours: what they are then tells
// pictures from each other. Each call draws another one.
func (x *Scene) Plain() string {
	r := &x.words
	if r.of100(50) {
		return x.Caption()
	}
	return x.caption(nounPlain, mention{colour: r.of100(60)}, false)
}

// Hued returns a caption to learn from of a scene of [NewHued]: [Scene.Plain], or where colours have no name one without. Each call draws another one.
func (x *Scene) Hued() string {
	if x.Objects[0].Colour != Nameless {
		return x.Plain()
	}
	r := &x.words
	return x.caption([]int{nounPlain, nounWith}[r.below(2)], mention{size: r.of100(40), texture: r.of100(40)}, r.of100(50))
}

// Alike returns a caption to learn from of a scene of [NewAlike]: textures are named more often than by [Scene.Caption], and things in colours without
// a name in most cases without a place and a background. Each call draws another one.
func (x *Scene) Alike() string {
	r := &x.words
	if x.Objects[0].Colour != Nameless {
		how := []int{nounPlain, nounPlain, nounWith, nounThat}[r.below(4)]
		return x.caption(how, mention{r.of100(70), r.of100(90), r.of100(85), r.of100(8)}, r.of100(60))
	}
	m := mention{size: r.of100(50), texture: r.of100(80)}
	if x.Kind != Single || r.of100(25) {
		return x.caption([]int{nounPlain, nounWith}[r.below(2)], m, true)
	}
	return Phrasing{Frame: []string{"{}", "a photo of {}", "a photo of {}."}[r.below(3)]}.In(x.Objects[0].named(nounPlain, m))
}

// caption returns one that names objects so, and with more also where they are and on what.
func (x *Scene) caption(how int, m mention, more bool) string {
	r := &x.words
	frame := frames[r.below(len(frames))]
	o := x.Objects[0]
	var what string
	switch x.Kind {
	case Single:
		what = o.named(how, m)
		if r.of100(5) && !m.noShape {
			what = "one " + o.noun(how, 1, m)
		}
		if more && r.of100(70) {
			what += " " + Places[x.Place]
		}
	case Several:
		frame = framesOfSeveral[r.below(len(framesOfSeveral))]
		what = numbers[len(x.Objects)] + " " + o.noun(how, len(x.Objects), m)
		if x.uncounted && r.of100(15) {
			what = o.noun(how, len(x.Objects), m)
		}
	case Pair:
		p, relation := x.Objects[1], x.Relation
		if r.of100(50) {
			o, p, relation = p, o, relation.opposite()
		}
		between := Relations[relation][r.below(2)]
		switch n := r.below(100); {
		case n < 6:
			between = "and"
		case n < 12:
			between = []string{"next to", "beside"}[r.below(2)]
		}
		what = join(o.named(how, m), between, p.named(how, m))
	}
	if more && r.of100(40) {
		ground := Backgrounds[x.Background]
		if ground == "grey" && r.of100(30) {
			ground = "gray"
		}
		what += " on " + article(ground) + " background"
	}
	text := Phrasing{Frame: frame}.In(what)
	if r.of100(35) {
		text += "."
	}
	return text
}

// Texts returns texts that have every word of captions, and of what else a scene is described by.
func Texts() []string {
	words := slices.Concat(frames, framesOfSeveral, numbers[1:], Places, Backgrounds, Colours, Shapes, Textures[1:])
	for _, s := range Shapes {
		words = append(words, plural(s))
	}
	for _, r := range Relations {
		words = append(words, r...)
	}
	words = append(words, "small big a an something that is that are with stripes with dots and next to beside on a gray background.")
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = strings.ReplaceAll(w, "{}", "")
	}
	return texts
}

// The texts between which a scene is to be told: they differ in one respect, in the order of its values.

// BySize returns those of small and big.
func (x *Scene) BySize() []string {
	return x.vary(2, func(y *Scene, i int) string {
		y.Objects[0].Size = 2 * i
		return article(y.Objects[0].noun(nounPlain, 1, everything))
	})
}

// ByTexture returns those of the textures.
func (x *Scene) ByTexture() []string {
	return x.vary(len(Textures), func(y *Scene, i int) string {
		y.Objects[0].Texture = i
		return article(y.Objects[0].noun(nounPlain, 1, everything))
	})
}

// ByPlace returns those of the places.
func (x *Scene) ByPlace() []string {
	return x.vary(len(Places), func(y *Scene, i int) string {
		return article(y.Objects[0].noun(nounPlain, 1, everything)) + " " + Places[i]
	})
}

// ByBackground returns those of the backgrounds.
func (x *Scene) ByBackground() []string {
	return x.vary(len(Backgrounds), func(y *Scene, i int) string {
		return article(y.Objects[0].noun(nounPlain, 1, everything)) + " on " + article(Backgrounds[i]) + " background"
	})
}

// ByNumber returns those of one to four objects.
func (x *Scene) ByNumber() []string {
	return x.vary(4, func(y *Scene, i int) string {
		return numbers[i+1] + " " + y.Objects[0].noun(nounPlain, i+1, everything)
	})
}

// ByRelation returns those of the relations of a pair.
func (x *Scene) ByRelation() []string {
	return x.vary(4, func(y *Scene, i int) string { y.Relation = Relation(i); return y.pair() })
}

// ByBinding returns that of a pair, and the same with the two colours exchanged.
func (x *Scene) ByBinding() []string {
	return x.vary(2, func(y *Scene, i int) string {
		a, b := &y.Objects[0], &y.Objects[1]
		if i == 1 {
			a.Colour, b.Colour = b.Colour, a.Colour
		}
		return y.pair()
	})
}

// pair says what a pair is, and how the first lies to the second.
func (x *Scene) pair() string {
	return join(article(x.Objects[0].noun(nounPlain, 1, everything)), Relations[x.Relation][0], article(x.Objects[1].noun(nounPlain, 1, everything)))
}

// vary returns n texts of copies.
func (x *Scene) vary(n int, text func(y *Scene, i int) string) []string {
	texts := make([]string, n)
	for i := range texts {
		y := *x
		y.Objects = slices.Clone(x.Objects)
		texts[i] = text(&y, i)
	}
	return texts
}
