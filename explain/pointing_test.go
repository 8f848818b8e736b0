package explain_test

import (
	"flag"
	"fmt"
	"image"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/scenes"
)

// leastPointed is in what part of scenes the map has to point at the object that the caption names.
const leastPointed = 0.8

// TestPointing is the pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", arXiv 1608.00507) with
// the model in the program and scenes that it has never seen: the place where the map is largest lies within the bounds of the
// object that the caption names, which stands alone or beside another; and so where its colour and its shape never stood together
// in what the model has learnt from.
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
	pointed := 150
	if kernel.Name() == "generic" || testing.Short() {
		pointed = 40 // the former takes ten times as long
	}
	for name, split := range map[string]scenes.Split{"unseen": scenes.Test, "unseen together": scenes.Combinations} {
		t.Run(name, func(t *testing.T) {
			var hits, of, exact [3]int // by kind
			for i, n := 0, 0; n < pointed; i++ {
				x := scenes.New(split, i)
				if x.Kind == scenes.Several {
					continue // a caption of one object is not of these
				}
				n++
				seen, err := explain.Caption(t.Context(), m, clip.Image("scene", x.Draw(scenes.Side)), "a "+x.Objects[0].Name(), explain.Options{})
				if err != nil {
					t.Fatal(err)
				}
				p := seen.Peak()
				at := image.Pt(int(p.X), int(p.Y))
				of[x.Kind]++
				if at.In(bounds(x)) {
					hits[x.Kind]++
				}
				if x.ObjectAt(scenes.Side, at.X, at.Y) == 0 {
					exact[x.Kind]++
				}
			}
			t.Logf("within the bounds of one alone %d, of one of two %d; on a pixel of it %d, %d; of %d, %d scenes",
				hits[scenes.Single], hits[scenes.Pair], exact[scenes.Single], exact[scenes.Pair], of[scenes.Single], of[scenes.Pair])
			if all := hits[scenes.Single] + hits[scenes.Pair]; float64(all) < leastPointed*float64(pointed) {
				t.Errorf("within the bounds of the object in %d scenes of %d, want %v", all, pointed, leastPointed*float64(pointed))
			}
		})
	}
}

var countMethods = flag.Bool("methods", false, "count how often each method points at the object: the table of docs/explain.md")

// TestMethods writes the table of docs/explain.md, with -methods: in scenes to validate on, how often the largest place of a map lies within the bounds
// of the object that the caption names.
func TestMethods(t *testing.T) {
	if !*countMethods {
		t.Skip("it takes a minute: -methods")
	}
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const scenesOfKind, layers = 200, 4
	table := "| method | start layer | one object | one of two |\n|---|---|---|---|\n"
	rows := []explain.Options{{Method: explain.Relevance, Blocks: layers}, {Method: explain.Relevance, Blocks: 3}, {Method: explain.Relevance, Blocks: 2}, {Method: explain.Relevance, Blocks: 1}, {Method: explain.Rollout, Blocks: layers}, {Method: explain.Similarity}}
	for _, o := range rows {
		var hits, of [3]int // by kind
		for i := 0; of[scenes.Single] < scenesOfKind || of[scenes.Pair] < scenesOfKind; i++ {
			x := scenes.New(scenes.Validation, i)
			if x.Kind == scenes.Several || of[x.Kind] == scenesOfKind {
				continue
			}
			of[x.Kind]++
			picture := clip.Image("scene", x.Draw(scenes.Side))
			var seen *explain.Map
			if o.Method == explain.Rollout {
				seen, err = explain.Attention(t.Context(), m, picture, o)
			} else {
				seen, err = explain.Caption(t.Context(), m, picture, "a "+x.Objects[0].Name(), o)
			}
			if err != nil {
				t.Fatal(err)
			}
			if p := seen.Peak(); image.Pt(int(p.X), int(p.Y)).In(bounds(x)) {
				hits[x.Kind]++
			}
		}
		layer := fmt.Sprint(layers - o.Blocks)
		if o.Method == explain.Similarity {
			layer = ""
		}
		table += fmt.Sprintf("| %s | %s | %.0f %% | %.0f %% |\n", o.Method, layer, 100*float64(hits[scenes.Single])/scenesOfKind, 100*float64(hits[scenes.Pair])/scenesOfKind)
	}
	t.Log("\n" + table)
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
