package peft

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Combination is how several adapters become one, by the names that peft has for it.
type Combination string

// The combinations. With w of an adapter its weight, s its scale α/r, and A and B the factors of its correction of a module:
const (
	// Cat adds up the corrections themselves, Σ w·s·B·A. Ranks may be different. It is the exact one, and what merging one
	// adapter after the other comes to.
	Cat Combination = "cat"
	// Linear adds up the factors, (Σ √|w·s|·B)·(Σ ±√|w·s|·A), which has the products of each adapter's B with each other's A as
	// well: peft's documentation calls it a very rough approximation. Ranks must be the same.
	Linear Combination = "linear"
)

// Combine returns one adapter that changes what several do, each with a weight, which may be below 0. More than corrections by
// LoRA without magnitudes can only be combined by [Cat] and with a weight of 1.
// It returns an error for these otherwise, for a weight that is 0 or no number, for ranks that differ with [Linear], and where one adapter
// has a whole parameter that another changes too. The error names the adapter and the parameter.
//
// Where rank-stabilised adapters are combined, peft scales its result once more, by √r; here the scales are as said above.
//
// Source: huggingface/peft 0.21.2, tuners/lora/model.py, LoraModel.add_weighted_adapter and
// _generalized_task_arithmetic_weighted_adapter.
func Combine(how Combination, adapters []*Adapter, weights []float64) (*Adapter, error) {
	if how != Cat && how != Linear {
		return nil, fmt.Errorf("peft: combination is %.40q, want %s or %s", how, Cat, Linear)
	}
	if len(adapters) == 0 || len(adapters) != len(weights) {
		return nil, fmt.Errorf("peft: %d weights of %d adapters, want one each", len(weights), len(adapters))
	}
	all := &Adapter{Dir: adapters[0].Dir, Config: adapters[0].Config}
	for i, a := range adapters {
		w := weights[i]
		if w == 0 || w-w != 0 {
			return nil, fmt.Errorf("peft: weight of %s is %v, want a number other than 0", a.Dir, w)
		}
		all.Others = append(all.Others, a.Others...)
		others := len(all.Changes) // are of the adapters before
		for _, c := range a.Changes {
			if err := c.weighable(how, w); err != nil {
				return nil, fmt.Errorf("peft: %s: %s: %w", a.Dir, c.Parameter, err)
			}
			weighted := *c
			weighted.scale *= w
			if w != 1 && c.add {
				weighted.value = slices.Clone(c.value)
				for j := range weighted.value {
					weighted.value[j] = float32(w * float64(weighted.value[j]))
				}
			}
			before := slices.IndexFunc(all.Changes[:others], func(other *Change) bool { return other.Parameter == c.Parameter })
			if before >= 0 && (c.Whole() || all.Changes[before].Whole()) {
				return nil, fmt.Errorf("peft: %s: %s is a whole parameter (modules_to_save) of one adapter, and another changes it, too: want one of them", a.Dir, c.Parameter)
			}
			if how != Linear || before < 0 {
				if how == Linear {
					weighted.spread()
				}
				all.Changes = append(all.Changes, &weighted)
				continue
			}
			if err := all.Changes[before].join(&weighted); err != nil {
				return nil, fmt.Errorf("peft: %s: %s: %w", a.Dir, c.Parameter, err)
			}
		}
	}
	return all, nil
}

// weighable returns what keeps a change from having a weight.
func (c *Change) weighable(how Combination, w float64) error {
	switch {
	case how == Cat && w == 1:
		return nil
	case c.Whole():
		return errors.New("a whole parameter (modules_to_save), which has no weight: want 1, and cat")
	case c.magnitude != nil:
		return errors.New("a correction with a magnitude (DoRA), which has no weight: want 1, and cat")
	case how == Linear && c.add:
		return errors.New("a bias of a correction (lora_bias), which peft leaves out: want cat")
	}
	return nil
}

// spread puts the scale into the factors, half into each.
func (c *Change) spread() {
	root := math.Sqrt(math.Abs(c.scale))
	sign := 1.0
	if c.scale < 0 {
		sign = -1
	}
	c.a, c.b = scaled(c.a, root*sign), scaled(c.b, root)
	c.scale = 1
}

// join adds the factors of another correction of the same parameter.
func (c *Change) join(other *Change) error {
	if c.rank != other.rank {
		return fmt.Errorf("rank %d beside one of %d, want the same, or cat", other.rank, c.rank)
	}
	if !slices.Equal(c.Shape, other.Shape) {
		return fmt.Errorf("shape %v beside one of %v, want the same", other.Shape, c.Shape)
	}
	other.spread()
	for i, v := range other.a {
		c.a[i] += v
	}
	for i, v := range other.b {
		c.b[i] += v
	}
	return nil
}

func scaled(x []float32, by float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(by * float64(v))
	}
	return y
}
