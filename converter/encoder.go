package converter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/projector"
)

// layouts are those of the families, as their own code has them for one image.
var layouts = map[string]string{
	familyLLaVA15:    "pad",
	familyLLaVA16:    "llava-1.6",
	familyXtuner:     "pad",
	familyXComposer:  "squash",
	family4KHD:       "xcomposer2-4khd",
	familyXComposer5: "xcomposer2.5",
}

// Encoder reads tower, projector and separators of a vision-language model as one thing. It is frozen and
// packed, as by [Load]; unfreeze what shall learn.
//
// layout is the name of one of [projector.Layouts], or "" for the one that the checkpoint's own configuration asks for
// ([ProjectorConfig.Layout]). LLaVA's image_aspect_ratio says "pad", "square" or "anyres"; one that has none is
// "square", which is "clip-transformers". Where nothing says it, the layout is that of the family
// ([ProjectorConfig.Family]), as its own code has it for one image in inference. That is "pad" for llava-1.5 and
// xtuner, "squash" for xcomposer2-vl, and the one of the same name for llava-1.6, xcomposer2-4khd and
// xcomposer2.5. In transformers' form LLaVA-1.5 has "processor": what its image processor does, and CLIP's does in
// transformers if there is no file of it. A layout that does not fit the projector is an error. So is none for xcomposer2-hd, which may be one of two. An encoder's Layout may be changed later, to
// another HDNum for instance. The context is looked at between parameters.
func (m *Model) Encoder(ctx context.Context, layout string) (*projector.Encoder, error) {
	e, err := m.encoder(ctx, layout)
	if err != nil && ctx.Err() != nil {
		return nil, m.wrap(context.Cause(ctx))
	}
	return e, err
}

func (m *Model) encoder(ctx context.Context, layout string) (*projector.Encoder, error) {
	e, err := m.Outline(layout) // first, since the rest takes long
	if err != nil {
		return nil, err
	}
	p, err := m.Projector(ctx)
	if err != nil {
		return nil, err
	}
	e.Projector = p.Model
	e.Newline, e.RowSeparator, e.GlobalSeparator = frozenRow(p.Newline), frozenRow(p.RowSeparator), frozenRow(p.GlobalSeparator)
	if e.Tower, err = m.Vision(ctx); err != nil {
		return nil, err
	}
	return e, context.Cause(ctx)
}

// Outline returns what [Model.Encoder] does, or its error, without weights: tower and projector have nothing
// but their Config. It is for [projector.Encoder.Count]; anything else panics.
func (m *Model) Outline(layout string) (*projector.Encoder, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	switch {
	case m.projector == nil:
		return nil, m.lacks("vision tower", "projector")
	case !m.has.vision:
		return nil, m.lacks("projector", "vision tower")
	}
	p := m.projector
	if layout == "" {
		layout = p.Layout
	}
	l, err := chooseLayout(layout, p.Family)
	if err == nil && p.SelectLayer == nil {
		err = errors.New("nothing says which layer of the tower is projected (select_layer)")
	}
	if err != nil {
		return nil, m.wrap(err)
	}
	if l.Fit == projector.AnyRes {
		l.Merge = p.Merge
		if p.Grids != nil {
			l.Grids = slices.Clone(*p.Grids)
		}
	}
	row := func(name string) *nn.Param {
		src, ok := m.params[name]
		if !ok {
			return nil
		}
		return frozenRow(make([]float32, src.len()))
	}
	e := &projector.Encoder{
		Tower: &clipvit.Model{Config: m.config.Vision}, Layout: l, Select: p.features(),
		Projector: &projector.Model{Config: projector.Config{Type: p.Type, In: p.In, Out: p.Out}},
		Newline:   row("Projector.Newline"), RowSeparator: row("Projector.RowSeparator"), GlobalSeparator: row("Projector.GlobalSeparator"),
	}
	if err := e.Validate(); err != nil {
		return nil, m.wrap(err)
	}
	return e, nil
}

// ErrLayout is within the error of [Model.Encoder] and [Model.Outline] where no layout was named, and the family says none.
var ErrLayout = errors.New("a layout has to be chosen")

// chooseLayout returns the layout of the given name, or that of the family.
func chooseLayout(name, family string) (projector.Layout, error) {
	if name == "" {
		if family == familyXComposerH {
			return projector.Layout{}, fmt.Errorf("%w: with this size of tiles nothing says whether it is %q or %q",
				ErrLayout, layouts[family4KHD], layouts[familyXComposer5])
		}
		if name = layouts[family]; name == "" {
			return projector.Layout{}, fmt.Errorf("%w: none is known for family %.40q", ErrLayout, family)
		}
	}
	return projector.FindLayout(name)
}

// frozenRow returns values as a frozen parameter [1,n], or nil if there are none.
func frozenRow(values []float32) *nn.Param {
	if values == nil {
		return nil
	}
	p := nn.NewParam(mat.NewDense[float32](mat.WithShape(1, len(values)), mat.WithBacking(values)))
	p.SetRequiresGrad(false)
	return p
}
