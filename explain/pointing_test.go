package explain_test

import (
	"image"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/scenes"
)

// Of how many scenes of each kind, and in what part of them the map has to point at the object that the caption names.
const (
	pointed      = 100
	leastPointed = 0.8
)

// TestPointing is the pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507) with
// the model in the program and scenes that it has never seen: the largest value of the map lies within the bounds of the object
// that the caption names, which stands alone or beside another; colours and shapes that it has never seen together as well.
func TestPointing(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	words, _, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if circle, err := words.Encode("circle"); err != nil || len(circle) != 1 {
		t.Skip("the model in the program has random weights, and no words of scenes")
	}
	for _, c := range []struct {
		name  string
		split scenes.Split
		kind  scenes.Kind
	}{
		{"one object", scenes.Test, scenes.Single},
		{"one of two", scenes.Test, scenes.Pair},
		{"one object of a colour and a shape never seen together", scenes.Combinations, scenes.Single},
		{"one of two of such", scenes.Combinations, scenes.Pair},
	} {
		t.Run(c.name, func(t *testing.T) {
			hits, inside := 0, 0
			for i := range pointed {
				x := scenes.NewOf(c.split, i, c.kind)
				seen, err := explain.Caption(t.Context(), m, clip.Image("scene", x.Draw(scenes.Side)), "a "+x.Objects[0].Name(), explain.Options{})
				if err != nil {
					t.Fatal(err)
				}
				p := seen.Peak()
				at := image.Pt(int(p.X), int(p.Y))
				if at.In(bounds(x)) {
					hits++
				}
				if x.ObjectAt(scenes.Side, at.X, at.Y) == 0 {
					inside++
				}
			}
			t.Logf("within the bounds %d, on a pixel of the object %d of %d", hits, inside, pointed)
			if float64(hits) < leastPointed*pointed {
				t.Errorf("within the bounds of the object %d times of %d, want %v", hits, pointed, leastPointed*pointed)
			}
		})
	}
}

// bounds returns the least rectangle around the first object of a scene.
func bounds(x *scenes.Scene) (r image.Rectangle) {
	for at := range scenes.Side * scenes.Side {
		if p := image.Pt(at%scenes.Side, at/scenes.Side); x.ObjectAt(scenes.Side, p.X, p.Y) == 0 {
			r = r.Union(image.Rectangle{p, p.Add(image.Pt(1, 1))})
		}
	}
	return r
}
