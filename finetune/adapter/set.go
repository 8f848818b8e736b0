package adapter

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

// A Set holds several adapters of one tower by name, and has the tower compute with none, one or some of them. The weights of
// the tower are in memory once and stay as they are: without adapters it gives the bits that it gave before, and with the
// same ones the same bits again. Nothing of it learns.
//
// A Set is changed between uses of the tower, not while it computes.
type Set struct {
	tower    *clipvit.Model
	adapters map[string]member
	active   []Weighted
}

// A member is an adapter of a [Set].
type member struct {
	made LoRA
	all  []placed
}

// Weighted is an adapter of a [Set], and what its corrections are multiplied by: 1 as it is, a negative number to subtract it.
type Weighted struct {
	Name   string  // that the [Set] knows it by
	Weight float64 // a finite number other than 0
}

// NewSet returns a set without adapters of a tower, which it freezes. It is an error if the tower has corrections already.
func NewSet(tower *clipvit.Model) (*Set, error) {
	if err := Merged(tower); err != nil {
		return nil, err
	}
	tower.Freeze()
	return &Set{tower: tower, adapters: map[string]member{}}, nil
}

// Load reads the adapter in a directory, as [Load] does, under a name that the set does not have yet, and returns what it
// was made with. The tower does not compute with it before [Set.Activate].
func (s *Set) Load(name, dir string) (LoRA, error) {
	if _, ok := s.adapters[name]; ok || name == "" {
		return LoRA{}, fmt.Errorf("adapter: %q: the set has an adapter of this name, or it is none: want a new one", name)
	}
	c, all, err := read(s.tower, dir)
	if err != nil {
		return c, err
	}
	for _, p := range all {
		nn.ForEachParam(p.l, func(p *nn.Param) { p.SetRequiresGrad(false) })
	}
	s.adapters[name] = member{c, all}
	return c, nil
}

// Remove takes an adapter away. It is an error if the tower computes with it.
func (s *Set) Remove(name string) error {
	if err := s.check(name); err != nil {
		return err
	}
	if slices.ContainsFunc(s.active, func(w Weighted) bool { return w.Name == name }) {
		return fmt.Errorf("adapter: %q is active", name)
	}
	delete(s.adapters, name)
	return nil
}

func (s *Set) check(name string) error {
	if _, ok := s.adapters[name]; !ok {
		return fmt.Errorf("adapter: %q is no adapter of the set, which has %q", name, s.Names())
	}
	return nil
}

// Names returns the adapters of the set, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.adapters)) }

// Active returns the adapters that the tower computes with.
func (s *Set) Active() []Weighted { return slices.Clone(s.active) }

// Activate has the tower compute with these adapters and no others, their corrections added up, each times its weight: what
// peft's add_weighted_adapter makes of them with combination_type "cat". After an error it computes with those of before.
func (s *Set) Activate(adapters ...Weighted) error {
	var errs []error
	for i, w := range adapters {
		errs = append(errs, s.check(w.Name))
		if w.Weight == 0 || w.Weight-w.Weight != 0 {
			errs = append(errs, fmt.Errorf("adapter: weight of %q is %v, want a number other than 0", w.Name, w.Weight))
		}
		if slices.ContainsFunc(adapters[:i], func(other Weighted) bool { return other.Name == w.Name }) {
			errs = append(errs, fmt.Errorf("adapter: %q stands twice", w.Name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.Disable()
	for _, w := range adapters {
		for _, p := range s.adapters[w.Name].all {
			*p.list = append(*p.list, &transformer.LoRA{A: p.l.A, B: p.l.B, Scale: w.Weight * p.l.Scale, At: p.l.At})
		}
	}
	s.active = slices.Clone(adapters)
	return nil
}

// Disable has the tower compute as without adapters.
func (s *Set) Disable() {
	for _, b := range s.tower.Blocks {
		for _, t := range loraTargets {
			_, list := t.layer(b)
			*list = nil
		}
	}
	s.active = nil
}

// Merge adds the active corrections to the weights of the tower for good, as the function [Merge] does. The set keeps its
// adapters, none of which is active, and which are now corrections of the merged weights.
func (s *Set) Merge() {
	Merge(s.tower)
	s.active = nil
}
