package optim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// EMA keeps an exponential moving average of parameters, one float32 for each of theirs.
//
// Source: huggingface/pytorch-image-models, timm/utils/model_ema.py, ModelEmaV2.
type EMA struct {
	params  []Named
	avg     [][]float32 // while swapped, the live values
	swapped bool
}

// NewEMA returns an average that begins with the values of the parameters.
func NewEMA(params []Named) *EMA {
	e := &EMA{params: slices.Clone(params)}
	for _, p := range params {
		e.avg = append(e.avg, slices.Clone(p.values()))
	}
	return e
}

// Update sets each average to decay·average + (1-decay)·value. It panics while the two are exchanged.
func (e *EMA) Update(decay float64) {
	e.must("Update")
	w := e.values()
	share := float32(1 - decay)
	sweep(cut(e.avg), func(_ int, p piece) {
		a, x := e.avg[p.item][p.from:p.to], w[p.item][p.from:p.to]
		for i, v := range x {
			a[i] += share * (v - a[i])
		}
	})
}

// Swap exchanges the values of the parameters and their averages, in place: to validate or to save the
// averages, and again to go on with training.
func (e *EMA) Swap() {
	e.swapped = !e.swapped
	w := e.values()
	sweep(cut(e.avg), func(_ int, p piece) {
		a, x := e.avg[p.item][p.from:p.to], w[p.item][p.from:p.to]
		for i, v := range x {
			a[i], x[i] = v, a[i]
		}
	})
}

// State returns the averages by the paths of their parameters. The slices are those of e: they change
// with the next Update, and must not be written to. It panics while values and averages are exchanged.
func (e *EMA) State() map[string][]float32 {
	e.must("State")
	state := map[string][]float32{}
	for i, p := range e.params {
		state[p.Path] = e.avg[i]
	}
	return state
}

// Restore takes the place of the averages with what [EMA.State] returned, for the same parameters. The
// slices become those of e. If state is of anything else, it returns an error with all that is wrong, and
// changes nothing. It panics while values and averages are exchanged.
func (e *EMA) Restore(state map[string][]float32) error {
	e.must("Restore")
	rest := maps.Clone(state)
	var errs []error
	for i, p := range e.params {
		x, ok := rest[p.Path]
		delete(rest, p.Path)
		if !ok {
			errs = append(errs, fmt.Errorf("optim: average has no %s", p.Path))
		} else if len(x) != len(e.avg[i]) {
			errs = append(errs, fmt.Errorf("optim: average %s has %d values, want %d", p.Path, len(x), len(e.avg[i])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		errs = append(errs, fmt.Errorf("optim: average has %s, which is not among its %d parameters", name, len(e.params)))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for i, p := range e.params {
		e.avg[i] = state[p.Path]
	}
	return nil
}

func (e *EMA) values() [][]float32 {
	w := make([][]float32, len(e.params))
	for i, p := range e.params {
		w[i] = p.values()
		if len(w[i]) != len(e.avg[i]) {
			panic(fmt.Sprintf("optim: EMA: %s has %d values, and had %d", p.Path, len(w[i]), len(e.avg[i])))
		}
	}
	return w
}

func (e *EMA) must(method string) {
	if e.swapped {
		panic("optim: EMA: " + method + " while values and averages are exchanged")
	}
}
