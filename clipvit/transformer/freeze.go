package transformer

import (
	"runtime/debug"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/op"
)

// Freeze declares that no parameter of m wants a gradient, and packs those of products, the weights of its
// matrix products that meet tokens in panels, for the processor.
func Freeze(m nn.Model, products []*nn.Param) {
	changed := false
	for _, p := range products {
		changed = op.FreezeForPanels(p) || changed
	}
	nn.ForEachParam(m, func(p *nn.Param) {
		if p.RequiresGrad() { // who freezes a frozen model writes nothing
			p.SetRequiresGrad(false)
		}
	})
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
