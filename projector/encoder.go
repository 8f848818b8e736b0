package projector

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"image"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
)

var _ nn.Model = &Encoder{}

// Encoder turns images into tokens of a language model: a tower, a layout and a projector in one.
//
//	image ── Layout ──▶ patches [B·G²,3P²] ── Tower, to Select ─▶ [B·T,C] ─┬─ Select ───────────────▶ [N,C]  ─┐
//	                                                                       └─ 2×2, separators ─▶ [N,4C] ─┴─ Projector ─▶ [N,O]
//
// The lower branch is that of [Tile]; with [AnyRes] the rows of tokens are put together after the projection. converter.Model.Encoder reads one from a
// checkpoint. Frozen, it keeps no graph and may be used by many goroutines at once.
//
// Sources: haotian-liu/LLaVA, llava/model/llava_arch.py, encode_images; InternLM-XComposer2-4KHD,
// build_mlp.py, CLIPVisionTower.forward, and modeling_internlm_xcomposer2.py, img2emb.
type Encoder struct {
	nn.Module
	Tower  *clipvit.Model // which gives Select of a batch of views
	Layout Layout         // how a picture becomes views
	// Select is what of the tower is projected: [clipvit.Patches] or, with LLaVA perhaps, [clipvit.AllTokens], of
	// layer -2 with LLaVA, -1 with XComposer.
	Select    clipvit.Features
	Projector *Model // [N,M] → [N,O]
	// Newline [1,O] follows every row of projected patches: LLaVA-1.6's image_newline. [AnyRes] with [MergeUnpad] needs it;
	// others do not use it.
	Newline *nn.Param
	// RowSeparator [1,M] follows every row of merged patches, GlobalSeparator [1,M] stands between the
	// global view and the tiles, both before the projection: XComposer's plora_sub_GN and plora_glb_GN.
	// [Tile] needs them, M = 4C; others do not use them.
	RowSeparator, GlobalSeparator *nn.Param
	// Batch is how many views go through the tower at once at most, if it learns nothing; 0 leaves it to the
	// tower, which holds the activations of a few. What learns goes through at once.
	Batch int
}

func init() { gob.Register(&Encoder{}) }

// Validate returns nil if the parts of e fit each other, and otherwise an error with everything that is
// wrong. What it accepts encodes images without a panic.
func (e *Encoder) Validate() error {
	if e.Tower == nil || e.Projector == nil {
		return errors.New("projector: an encoder needs a tower and a projector")
	}
	c := e.Tower.Config
	if err := errors.Join(e.Layout.Validate(), c.Validate(), e.Projector.Config.Validate()); err != nil {
		return err
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("projector: "+format, args...)) }
	if k := e.Select.Kind; SelectFeature(k) == "" {
		wrong("features are %.40q, want %q or %q", k, clipvit.Patches, clipvit.AllTokens)
	} else if err := e.Select.Validate(c); err != nil {
		wrong("%w", err)
	}
	if e.Batch < 0 {
		wrong("a batch of %d views, want 0 or more", e.Batch)
	}
	in := c.Width
	if e.Layout.Fit == Tile {
		in = 4 * c.Width
		if c.Grid()%2 != 0 {
			wrong("layout %q merges 2×2 patches, and the tower has %d×%d", e.Layout.Name, c.Grid(), c.Grid())
		}
		if e.Select.Kind == clipvit.AllTokens {
			wrong("layout %q merges patches, features are %q, want %q", e.Layout.Name, e.Select.Kind, clipvit.Patches)
		}
		errs = append(errs, e.need("row separator", e.RowSeparator, in), e.need("global separator", e.GlobalSeparator, in))
	}
	if e.Layout.Fit == AnyRes {
		if e.Select.Kind == clipvit.AllTokens {
			wrong("layout %q takes rows of patches, features are %q, want %q", e.Layout.Name, e.Select.Kind, clipvit.Patches)
		}
		if e.Layout.Merge == MergeUnpad {
			errs = append(errs, e.need("newline", e.Newline, e.Projector.Config.Out))
		}
	}
	if got := e.Projector.Config.In; got != in {
		wrong("the projector takes %d columns, and layout %q makes %d of a tower of width %d", got, e.Layout.Name, in, c.Width)
	}
	return errors.Join(errs...)
}

// need returns an error unless p is a vector [1,n].
func (e *Encoder) need(name string, p *nn.Param, n int) error {
	if p == nil {
		return fmt.Errorf("projector: layout %q needs a %s [1,%d], there is none", e.Layout.Name, name, n)
	}
	if got := p.Shape(); len(got) != 2 || got[0] != 1 || got[1] != n {
		return fmt.Errorf("projector: %s is %v, want [1,%d]", name, got, n)
	}
	return nil
}

// Freeze declares that no parameter wants a gradient, and packs the weights of tower and projector for the
// processor. It must not run beside any other use of e.
func (e *Encoder) Freeze() {
	e.Tower.Freeze()
	e.Projector.Freeze()
	e.vectors(false)
}

// Unfreeze declares that every parameter wants a gradient. To learn less, unfreeze parts.
func (e *Encoder) Unfreeze() {
	e.Tower.Unfreeze()
	e.Projector.Unfreeze()
	e.vectors(true)
}

// vectors declares whether the separators want a gradient.
func (e *Encoder) vectors(grad bool) {
	for _, p := range []*nn.Param{e.Newline, e.RowSeparator, e.GlobalSeparator} {
		if p != nil {
			p.SetRequiresGrad(grad)
		}
	}
}

// Count returns how many tokens an image of width by height pixels has; nothing needs to be decoded for it.
func (e *Encoder) Count(width, height int) (int, error) {
	if err := e.Validate(); err != nil {
		return 0, err
	}
	n, err := e.Layout.Tokens(width, height, e.Tower.Config)
	if err == nil && e.Select.Kind == clipvit.AllTokens {
		n += e.Tower.Config.ClassTokens()
	}
	return n, err
}

// Split turns an image into what [Encoder.Forward] takes.
func (e *Encoder) Split(img image.Image) (*Tiles, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.Layout.Split(img, e.Tower.Config)
}

// Tokens returns the tokens [N,O] of an image. It makes no graph, whatever is frozen.
func (e *Encoder) Tokens(img image.Image) (*mat.Dense[float32], error) {
	t, err := e.Split(img)
	if err != nil {
		return nil, err
	}
	y, err := e.forward(context.Background(), t, false)
	if err != nil {
		return nil, err
	}
	return y.Value().(*mat.Dense[float32]), nil
}

// Forward maps the views of an image to its tokens [N,O]: of several images in one view each, B·N. The
// result is part of a graph if anything learns: projector, separators, tower, or patches. Views of another
// layout or tower are an error.
func (e *Encoder) Forward(t *Tiles) (mat.Tensor, error) {
	return e.ForwardContext(context.Background(), t)
}

// ForwardContext is [Encoder.Forward], and computes no further block of the tower once ctx has ended: its error is then the cause.
func (e *Encoder) ForwardContext(ctx context.Context, t *Tiles) (mat.Tensor, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.forward(ctx, t, true)
}

func (e *Encoder) forward(ctx context.Context, t *Tiles, graph bool) (mat.Tensor, error) {
	if err := e.check(t); err != nil {
		return nil, err
	}
	x, err := e.features(ctx, t.Patches, graph) // [B·T,C]
	if err != nil {
		return nil, err
	}
	if !graph {
		x = op.Detach(x)
	}
	return e.project(x, t, false), nil
}

// Features maps the views of images to the tokens [B·T,C] of the tower that [Encoder.Project] takes: the first part of
// [Encoder.Forward], which depends on nothing that stands on the tower.
func (e *Encoder) Features(t *Tiles) (mat.Tensor, error) {
	if err := errors.Join(e.Validate(), e.check(t)); err != nil {
		return nil, err
	}
	return e.features(context.Background(), t.Patches, true)
}

// Project maps the tokens x [B·T,C] that [Encoder.Features] gave for the views t, or another encoder with the same
// tower, to tokens [N,O]: the second part of [Encoder.Forward]. x stays, for further use.
func (e *Encoder) Project(x mat.Tensor, t *Tiles) (mat.Tensor, error) {
	if err := errors.Join(e.Validate(), e.check(t)); err != nil {
		return nil, err
	}
	c := e.Tower.Config
	if s, n := x.Shape(), t.Patches.Shape()[0]/c.Patches()*c.Tokens(); s[0] != n || s[1] != c.Width {
		return nil, fmt.Errorf("projector: features are %v, want [%d,%d]", s, n, c.Width)
	}
	return e.project(x, t, true), nil
}

// project maps the tokens x [B·T,C] of the tower to tokens [N,O]. Unless x stays, it is not used after this.
func (e *Encoder) project(x mat.Tensor, t *Tiles, stays bool) mat.Tensor {
	tokens := x // [B·T,C]
	switch {
	case e.Layout.Fit == Tile:
		views := op.Views{Rows: t.Rows, Cols: t.Cols, Grid: e.Tower.Config.Grid()}
		tokens = op.Merge(x, e.RowSeparator, e.GlobalSeparator, views) // [N,4C]
	case e.Select.Kind == clipvit.Patches:
		tokens = e.Tower.Config.PatchRows(x) // [B·G²,C]
	}
	if tokens != x && !stays {
		op.Release(tokens, x)
	}
	y := e.Projector.Forward(tokens)                            // [N,O]
	if len(e.Projector.Layers) > 0 && (tokens != x || !stays) { // or else y is tokens
		op.Release(y, tokens)
	}
	if e.Layout.Fit == AnyRes {
		switch grid := e.Tower.Config.Grid(); e.Layout.Merge {
		case MergeUnpad:
			y = op.Release(op.GatherOr(y, e.Newline, t.pack(grid)), y) // [N,O]
		case MergeSpatial:
			y = op.Release(op.Gather(y, t.spread(grid)), y) // [N,O]
		}
	}
	return y
}

// check returns an error if the views are not those of the layout and the tower.
func (e *Encoder) check(t *Tiles) error {
	if t == nil || t.Patches == nil {
		return errors.New("projector: there are no patches")
	}
	c := e.Tower.Config
	s := t.Patches.Shape()
	views := s[0] / c.Patches()
	if s[1] != c.PatchLen() || views < 1 || s[0] != views*c.Patches() {
		return fmt.Errorf("projector: patches are %v, want [views·%d,%d]", s, c.Patches(), c.PatchLen())
	}
	if e.Layout.Fit != Tile && e.Layout.Fit != AnyRes {
		if t.Rows != 0 || t.Cols != 0 {
			return fmt.Errorf("projector: %d×%d tiles for layout %q, want 0×0", t.Rows, t.Cols, e.Layout.Name)
		}
		return nil
	}
	if t.Rows < 1 || t.Cols < 1 || t.Rows > views || t.Cols > views || views != 1+t.Rows*t.Cols {
		return fmt.Errorf("projector: %d views for %d×%d tiles and layout %q, want at least 1×1, and one view more than tiles",
			views, t.Rows, t.Cols, e.Layout.Name)
	}
	if e.Layout.Fit == AnyRes && (t.Width < 1 || t.Height < 1) {
		return fmt.Errorf("projector: tiles of an image of %d×%d pixels, want at least 1×1", t.Width, t.Height)
	}
	return nil
}

// features maps patches [B·G²,3P²] to the tokens [B·T,C] of the layer, a batch at a time if it learns
// nothing or no graph is wanted.
func (e *Encoder) features(ctx context.Context, patches *mat.Dense[float32], graph bool) (mat.Tensor, error) {
	tokens := clipvit.Features{Kind: clipvit.AllTokens, Layer: e.Select.Layer}
	if graph && (patches.RequiresGrad() || transformer.WantsGrad(e.Tower)) {
		return tokens.OfContext(ctx, e.Tower, patches)
	}
	c := e.Tower.Config
	views := patches.Shape()[0] / c.Patches()
	batch := e.Batch
	if batch == 0 || batch > views {
		batch = views
	}
	part := func(from, to int) (mat.Tensor, error) {
		n := c.Patches() * c.PatchLen()
		x := mat.NewDense[float32](mat.WithShape((to-from)*c.Patches(), c.PatchLen()), mat.WithBacking(patches.Data().F32()[from*n:to*n]))
		y, err := tokens.OfContext(ctx, e.Tower, op.Detach(x))
		if err != nil {
			return nil, err
		}
		return y.Value(), nil // what follows may learn
	}
	if batch == views {
		return part(0, views)
	}
	all := mat.NewDense[float32](mat.WithShape(views*c.Tokens(), c.Width))
	for from := 0; from < views; from += batch {
		y, err := part(from, min(from+batch, views))
		if err != nil {
			return nil, err
		}
		copy(all.Data().F32()[from*c.Tokens()*c.Width:], y.Data().F32())
		op.Release(all, y)
	}
	return all, nil
}
