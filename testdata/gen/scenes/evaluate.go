package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/vitago/vitago/clip"
	_ "github.com/vitago/vitago/demo" // which builtin:demo is
	"github.com/vitago/vitago/internal/scenes"
)

// A judge compares pictures of scenes with texts.
type judge struct {
	ctx   context.Context
	model *clip.Model
}

// embed returns vectors of length 1 of scenes.
func (j judge) embed(all []*scenes.Scene) ([][]float32, error) {
	pictures := make([]clip.Picture, len(all))
	for i, x := range all {
		pictures[i] = clip.Image("scene", x.Draw(scenes.Side))
	}
	return normalized(j.model.Encode(j.ctx, pictures...))
}

func (j judge) texts(all []string) ([][]float32, error) {
	return normalized(j.model.EncodeText(j.ctx, all))
}

func normalized(vectors [][]float32, err error) ([][]float32, error) {
	clip.Normalize(vectors...)
	return vectors, err
}

// nearest returns which of others is nearest to v.
func nearest(v []float32, others [][]float32) int {
	best, at := -2.0, 0
	for i, w := range others {
		if c := clip.Cosine(v, w); c > best {
			best, at = c, i
		}
	}
	return at
}

// accuracy returns the share of scenes to which the text of their label is nearer than all others.
func (j judge) accuracy(all []*scenes.Scene, labels []int, texts []string) (float64, error) {
	x, err := j.embed(all)
	if err != nil {
		return 0, err
	}
	y, err := j.texts(texts)
	if err != nil {
		return 0, err
	}
	right := 0
	for i, v := range x {
		if nearest(v, y) == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(all)), nil
}

// of returns n scenes for which ok holds, of a kind and a split.
func of(s scenes.Split, kind scenes.Kind, n int, ok func(x *scenes.Scene) bool) (all []*scenes.Scene) {
	for i := 0; len(all) < n; i++ {
		if x := scenes.NewOf(s, i, kind); ok == nil || ok(x) {
			all = append(all, x)
		}
	}
	return all
}

// labelled returns the labels of scenes.
func labelled(all []*scenes.Scene, label func(x *scenes.Scene) int) []int {
	labels := make([]int, len(all))
	for i, x := range all {
		labels[i] = label(x)
	}
	return labels
}

// names returns the colours and shapes that an object can have, in the order of labels, each in a phrasing.
func names(p scenes.Phrasing) (texts []string) {
	for colour := range scenes.Colours {
		for shape := range scenes.Shapes {
			texts = append(texts, p.Of(scenes.Object{Colour: colour, Shape: shape, Size: 1}))
		}
	}
	return texts
}

func nameOf(x *scenes.Scene) int { return x.Objects[0].Colour*len(scenes.Shapes) + x.Objects[0].Shape }

// evaluate measures what a model says of scenes that it has not seen.
func evaluate(ctx context.Context, model string, validation bool, out io.Writer) error {
	m, err := clip.Open(model)
	if err != nil {
		return err
	}
	defer m.Close()
	j := judge{ctx, m}
	split, combinations := scenes.Test, scenes.Combinations
	if validation {
		split, combinations = scenes.Validation, scenes.ValidationCombinations
	}
	var rows []error
	add := func(name string, n, of int, share float64, err error) {
		if err == nil {
			fmt.Fprintf(out, "%-44s %5d scenes, %3d texts  %6.2f %%\n", name, n, of, 100*share)
		}
		rows = append(rows, err)
	}
	plain := scenes.Phrasing{Frame: "a photo of {}."}
	singles := of(split, scenes.Single, 1000, nil)
	labels := labelled(singles, nameOf)
	share, err := j.accuracy(singles, labels, names(plain))
	add("colour and shape", len(singles), 64, share, err)
	for _, t := range []struct {
		name  string
		words []string
		form  string
		label func(x *scenes.Scene) int
	}{
		{"colour", scenes.Colours, "something ", func(x *scenes.Scene) int { return x.Objects[0].Colour }},
		{"shape", scenes.Shapes, "a ", func(x *scenes.Scene) int { return x.Objects[0].Shape }},
	} {
		texts := make([]string, len(t.words))
		for i, w := range t.words {
			texts[i] = t.form + w
		}
		share, err = j.accuracy(singles, labelled(singles, t.label), texts)
		add(t.name, len(singles), len(texts), share, err)
	}
	unseen := of(combinations, scenes.Single, 500, nil)
	share, err = j.accuracy(unseen, labelled(unseen, nameOf), names(plain))
	add("combinations never seen", len(unseen), 64, share, err)
	for colour := range scenes.Colours {
		one := slices.DeleteFunc(slices.Clone(unseen), func(x *scenes.Scene) bool { return x.Objects[0].Colour != colour })
		if len(one) == 0 {
			continue
		}
		share, err = j.accuracy(one, labelled(one, nameOf), names(plain))
		add("combination never seen: "+one[0].Objects[0].Name(), len(one), 64, share, err)
	}
	if validation {
		circles := make([]*scenes.Scene, 200)
		for i := range circles {
			circles[i] = scenes.GreyCircle(i)
		}
		texts := names(plain)
		for shape := range scenes.Shapes {
			texts = append(texts, plain.Of(scenes.Object{Colour: scenes.Grey, Shape: shape, Size: 1}))
		}
		share, err = j.accuracy(circles, labelled(circles, nameOf), texts)
		add("combination never seen: grey circle", len(circles), len(texts), share, err)
	}
	for _, p := range scenes.Unseen {
		share, err = j.accuracy(singles, labels, names(p))
		add("phrasing never seen: "+p.Of(scenes.Object{Texture: 1, Size: 1}), len(singles), 64, share, err)
	}
	big := func(x *scenes.Scene) bool { return x.Objects[0].Size > 0 }
	for _, t := range []struct {
		name  string
		kind  scenes.Kind
		ok    func(x *scenes.Scene) bool
		texts func(x *scenes.Scene) []string
		label func(x *scenes.Scene) int
	}{
		{"size", scenes.Single, func(x *scenes.Scene) bool { return x.Objects[0].Size != 1 }, (*scenes.Scene).BySize, func(x *scenes.Scene) int { return x.Objects[0].Size / 2 }},
		{"texture", scenes.Single, big, (*scenes.Scene).ByTexture, func(x *scenes.Scene) int { return x.Objects[0].Texture }},
		{"position", scenes.Single, nil, (*scenes.Scene).ByPlace, func(x *scenes.Scene) int { return x.Place }},
		{"background", scenes.Single, nil, (*scenes.Scene).ByBackground, func(x *scenes.Scene) int { return x.Background }},
		{"number", scenes.Several, nil, (*scenes.Scene).ByNumber, func(x *scenes.Scene) int { return len(x.Objects) - 1 }},
		{"relation", scenes.Pair, nil, (*scenes.Scene).ByRelation, func(x *scenes.Scene) int { return int(x.Relation) }},
		{"which is which: colours exchanged", scenes.Pair, func(x *scenes.Scene) bool {
			return x.Objects[0].Colour != x.Objects[1].Colour && x.Objects[0].Shape != x.Objects[1].Shape
		}, (*scenes.Scene).ByBinding, func(*scenes.Scene) int { return 0 }},
	} {
		all := of(split, t.kind, 400, t.ok)
		x, err := j.embed(all)
		right, n := 0, 0
		for i := 0; i < len(all) && err == nil; i++ {
			var y [][]float32
			texts := t.texts(all[i])
			n = len(texts)
			if y, err = j.texts(texts); err == nil && nearest(x[i], y) == t.label(all[i]) {
				right++
			}
		}
		add(t.name, len(all), n, float64(right)/float64(len(all)), err)
	}
	// Retrieval among scenes of all kinds, no two of which have the same caption.
	var all []*scenes.Scene
	var captions []string
	for i := 0; len(all) < 500; i++ {
		x := scenes.New(split, 1<<20+i)
		if c := x.Full(); !slices.Contains(captions, c) {
			all, captions = append(all, x), append(captions, c)
		}
	}
	x, err := j.embed(all)
	if err != nil {
		return err
	}
	y, err := j.texts(captions)
	if err != nil {
		return err
	}
	found, told := 0, 0
	for i := range all {
		if nearest(x[i], y) == i {
			told++
		}
		if nearest(y[i], x) == i {
			found++
		}
	}
	add("recall@1, a scene's caption", len(all), 500, float64(told)/500, nil)
	add("recall@1, a caption's scene", len(all), 500, float64(found)/500, nil)
	for _, err := range rows {
		if err != nil {
			return err
		}
	}
	return nil
}
