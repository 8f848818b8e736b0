package finetune

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

// An encoder's projector and separators learn as a head does, at [Recipe.HeadRate]; its tower is [Config.Tower].
//
//	Loader, Layout ─▶ Views ─▶ Tower ─▶ [B·T,C] ─▶ separators, Projector ─▶ tokens [N,O] ─▶ Objective
//	                                       ▲
//	                             Cache, if the tower is frozen
//
// A picture of several views is a batch of its own: [Recipe.Accumulate] says how many make a step.

// separatorNames are what the vectors that are put between tokens are called in checkpoints, by their fields.
var separatorNames = map[string]string{
	"Newline":         "image_newline", // LLaVA-1.6
	"RowSeparator":    "plora_sub_GN",  // XComposer2-4KHD and 2.5
	"GlobalSeparator": "plora_glb_GN",
}

// setEncoder gives c the tower and the features of its encoder, or says what does not fit it.
func (c *Config) setEncoder() error {
	e := c.Encoder
	if e == nil {
		return nil
	}
	if err := e.Validate(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if c.Head != nil || c.Tower != nil && c.Tower != e.Tower {
		return errors.New("finetune: an encoder, and a head or another tower beside it: want one or the other")
	}
	var errs []error
	for _, s := range []Source{c.Train, c.Validation} {
		if l, ok := s.(*data.Loader); ok && l != nil && (l.Layout == nil || layoutName(*l.Layout) != layoutName(e.Layout)) {
			errs = append(errs, fmt.Errorf("finetune: pictures are loaded by layout %+v, the encoder has %+v", l.Layout, e.Layout))
		}
	}
	c.Tower, c.Features = e.Tower, e.Select
	return errors.Join(errs...)
}

// layoutName says all that a layout is.
func layoutName(l projector.Layout) string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // of numbers and names
	}
	return string(text)
}

// freeProjector makes what stands on the tower learn, as far as the layout uses it, or nothing of it.
func (r Recipe) freeProjector(e *projector.Encoder) {
	learns := r.HeadRate > 0
	if learns {
		e.Projector.Unfreeze()
	} else {
		e.Projector.Freeze()
	}
	for p, used := range map[*nn.Param]bool{
		e.Newline:         e.Layout.Fit == projector.AnyRes,
		e.RowSeparator:    e.Layout.Fit == projector.Tile,
		e.GlobalSeparator: e.Layout.Fit == projector.Tile,
	} {
		if p != nil {
			p.SetRequiresGrad(learns && used)
		}
	}
}
