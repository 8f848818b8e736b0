package transformer

import (
	"runtime"
	"runtime/debug"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Weights are those of a tower's parameters that are weights of matrix products, nearly all of its memory. A
// frozen tower has them packed for the processor, in one of two ways. Tokens lie in rows, or in panels: columns of
// tokens side by side, as assembly reads them.
type Weights struct {
	Rows   []*nn.Param // of products with rows
	Panels []*nn.Param // of products with tokens in panels, where no gradient flows
}

// Freeze declares that no parameter of m wants a gradient, and packs the weights w, which are m's.
func Freeze(m nn.Model, w Weights) {
	changed := false
	for _, p := range w.Rows {
		changed = op.Freeze(p) || changed
	}
	for _, p := range w.Panels {
		changed = op.FreezeForPanels(p) || changed
	}
	noGrad(m)
	if changed {
		debug.FreeOSMemory() // packed weights are outside the heap, so nothing else makes the collector run
	}
}

// Unfreeze declares that every parameter of m wants a gradient, and makes them all plain matrices again, with
// the same values.
func Unfreeze(m nn.Model) {
	nn.ForEachParam(m, func(p *nn.Param) {
		op.Thaw(p)
		p.SetRequiresGrad(true)
	})
}

// FillFrozen freezes m, which is new and has the weights w. It calls fill once for every parameter, with the path of Go
// field names that leads to it, such as Blocks.3.Attn.QKV.W. fill has to set all values, which hold anything before. No
// more than one of the weights is in memory in plain form at a time. After an error m is of no use.
func FillFrozen(m nn.Model, w Weights, fill func(path string, values []float32) error) (err error) {
	forPanels := map[*nn.Param]bool{} // of the weights
	largest := 0
	for _, p := range w.Rows {
		forPanels[p] = false
		largest = max(largest, p.Size())
	}
	for _, p := range w.Panels {
		forPanels[p] = true
		largest = max(largest, p.Size())
	}
	scratch := make([]float32, largest)
	params.Walk(m, func(path string, p *nn.Param) {
		panels, isWeight := forPanels[p]
		switch {
		case err != nil: // the first is enough: reading all takes time
		case !isWeight:
			err = fill(path, mat.Data[float32](p))
		default:
			s := p.Shape()
			values := scratch[:p.Size()]
			p.Matrix = nil // its memory has not been touched
			err = fill(path, values)
			op.FreezeValues(p, values, s[0], s[1], panels)
		}
	})
	if err != nil {
		return err
	}
	noGrad(m)
	runtime.GC() // of the plain matrices, which the collector would count as live until it runs by itself
	return nil
}

func noGrad(m nn.Model) {
	nn.ForEachParam(m, func(p *nn.Param) {
		if p.RequiresGrad() { // so that freezing a frozen model writes nothing
			p.SetRequiresGrad(false)
		}
	})
}

// WantsGrad reports whether any parameter of m wants a gradient.
func WantsGrad(m nn.Model) (wants bool) {
	nn.ForEachParam(m, func(p *nn.Param) { wants = wants || p.RequiresGrad() })
	return wants
}
