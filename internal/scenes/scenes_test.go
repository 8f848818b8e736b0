package scenes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSame: the same pictures and captions everywhere; the sums are of the machine on which the model in package demo has learnt.
func TestSame(t *testing.T) {
	h := sha256.New()
	for i := range 50 {
		x := New(Train, i)
		h.Write(x.Draw(Side).Pix)
		fmt.Fprintln(h, x.Caption(), x.Full())
	}
	const want = "6ddfb1581198e3af6874409032ac06bcb5205472c3a7f12c7269695e5afce650"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("the sum is %s, want %s", got, want)
	}
}

// TestHeldOut: no scene to learn from has a pair of a colour and a shape that is held out, and scenes of these have nothing else; the
// phrasings held out are in no caption to learn from, and their words are.
func TestHeldOut(t *testing.T) {
	words := map[string]bool{}
	var captions []string
	for i := range 3000 {
		x := New(Train, i)
		for _, o := range x.Objects {
			if HeldOut(o.Colour, o.Shape) {
				t.Fatalf("scene %d has a %s", i, o.Name())
			}
		}
		c := x.Caption()
		captions = append(captions, c)
		for w := range strings.FieldsSeq(c) {
			words[strings.TrimSuffix(w, ".")] = true
		}
	}
	seen := map[Split]map[string]bool{}
	for _, s := range []Split{Combinations, ValidationCombinations} {
		seen[s] = map[string]bool{}
		for i := range 300 {
			o := New(s, i).Objects[0]
			if !HeldOut(o.Colour, o.Shape) {
				t.Fatalf("scene %d of split %d has a %s", i, s, o.Name())
			}
			seen[s][o.Name()] = true
		}
		if len(seen[s]) != len(Colours)/2 {
			t.Errorf("split %d has %d pairs, want %d", s, len(seen[s]), len(Colours)/2)
		}
	}
	for name := range seen[Combinations] {
		if seen[ValidationCombinations][name] {
			t.Errorf("%s is in both splits", name)
		}
	}
	for _, p := range Unseen {
		text := p.Of(Object{Texture: 1, Size: 2})
		for w := range strings.FieldsSeq(text) {
			if !words[w] {
				t.Errorf("%q: %q is in no caption", text, w)
			}
		}
		before, after, _ := strings.Cut(p.Frame, "{}")
		if p.noun != nounLast && slices.ContainsFunc(captions, func(c string) bool {
			return strings.HasPrefix(c, before) && strings.HasSuffix(strings.TrimSuffix(c, "."), after)
		}) {
			t.Errorf("a caption begins %q and ends %q", before, after)
		}
	}
}

// TestHued: scenes in other colours, and those with more look-alikes, have no pair that is held out, colours without a name are like none of the others and in no caption, and no
// circle is grey but those for choices.
func TestHued(t *testing.T) {
	var nameless, grey, alike int
	for i := range 6000 {
		x := NewHued(i)
		if i%2 == 1 {
			x = NewAlike(i)
		}
		c := x.Hued()
		if i%2 == 1 {
			c = x.Alike()
		}
		if s := x.Objects[0].Shape; x.Kind == Several && slices.ContainsFunc(x.Objects, func(o Object) bool { return o.Shape != s }) {
			t.Errorf("scene %d, %q: of several shapes", i, c)
		}
		for _, o := range x.Objects {
			if i%2 == 1 && (o.Shape == circle || o.Shape == heart) {
				alike++
				if o.Colour == Grey || o.Colour != Nameless && (HeldOut(o.Colour, circle) || HeldOut(o.Colour, heart)) {
					t.Errorf("scene %d has a %s, whose colour is never seen with the other of the two", i, o.Name())
				}
			}
			switch o.Colour {
			case Nameless:
				nameless++
				for w := range strings.FieldsSeq(strings.TrimSuffix(c, ".")) {
					if slices.Contains(Colours, w) {
						t.Errorf("scene %d: %q of colours without a name", i, c)
					}
				}
				for _, ink := range append(slices.Clone(inks), greyInk) {
					d := 0
					for k := range ink {
						d += (ink[k] - o.ink[k]) * (ink[k] - o.ink[k])
					}
					if d < unlike*unlike {
						t.Errorf("scene %d: %v is near %v", i, o.ink, ink)
					}
				}
			case Grey:
				grey++
				if o.Shape == 0 {
					t.Errorf("scene %d has a %s", i, o.Name())
				}
			default:
				if HeldOut(o.Colour, o.Shape) {
					t.Errorf("scene %d has a %s", i, o.Name())
				}
			}
		}
	}
	if nameless < 3000 || grey < 400 || alike < 2000 {
		t.Errorf("%d things without a name of their colour, %d grey ones, and %d circles and hearts among look-alikes", nameless, grey, alike)
	}
	for i := range 50 {
		if o := GreyCircle(i).Objects[0]; o.Name() != "grey circle" || HeldOut(o.Colour, o.Shape) {
			t.Errorf("%d is a %s", i, o.Name())
		}
	}
}

// TestObjects: objects lie within the picture, do not touch, and lie to each other as the relation says.
func TestObjects(t *testing.T) {
	for i := range 3000 {
		x := New(Test, i)
		for k, o := range x.Objects {
			if r := o.radius; o.x < r*9/10 || o.y < r*9/10 || o.x > side-r*9/10 || o.y > side-r*9/10 {
				t.Errorf("scene %d, %s: object at %d, %d of radius %d", i, x.Full(), o.x, o.y, r)
			}
			for _, p := range x.Objects[:k] {
				if dx, dy, r := o.x-p.x, o.y-p.y, (o.radius+p.radius)*9/10; dx*dx+dy*dy < r*r {
					t.Errorf("scene %d, %s: objects touch", i, x.Full())
				}
			}
		}
		if x.Kind == Pair {
			a, b := x.Objects[0], x.Objects[1]
			if ok := [](bool){a.x < b.x, a.x > b.x, a.y < b.y, a.y > b.y}[x.Relation]; !ok {
				t.Errorf("scene %d: %s", i, x.Full())
			}
		}
	}
}

// TestObjectAt: the pixel where an object is seen has about its colour, and every object is seen.
func TestObjectAt(t *testing.T) {
	for i := range 200 {
		x := New(Validation, i)
		m := x.Draw(Side)
		n := make([]int, len(x.Objects))
		for py := range Side {
			for px := range Side {
				k := x.ObjectAt(Side, px, py)
				if k < 0 {
					continue
				}
				n[k]++
			}
		}
		for k, o := range x.Objects {
			if n[k] < 40 {
				t.Errorf("scene %d, %s: object %d has %d pixels", i, x.Full(), k, n[k])
			}
			if px, py := o.x/pixel, o.y/pixel; o.Shape == 1 && o.Texture == 0 {
				if c := m.RGBAAt(px, py); int(c.R) != o.ink[0] || int(c.G) != o.ink[1] || int(c.B) != o.ink[2] {
					t.Errorf("scene %d: the middle of the %s is %v, want %v", i, o.Name(), c, o.ink)
				}
			}
		}
	}
}
