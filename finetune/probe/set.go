package probe

import (
	"errors"
	"fmt"
	"slices"
)

// A Set is features and what is known of them, row for row.
type Set struct {
	X       []float32 // [N,D]
	Dim     int       // D
	Labels  []int     // [N], into Classes
	Classes []string  // [K]
	Index   []int     // [N], into the Samples of the dataset; nil if the features are from elsewhere
}

// Len returns N.
func (s *Set) Len() int { return len(s.Labels) }

// check says what keeps a set from being learnt from or, if it is not for training, judged by.
func (s *Set) check(name string, training bool) error {
	switch {
	case s.Len() == 0:
		return fmt.Errorf("probe: %s: no pictures", name)
	case s.Dim < 1 || len(s.X) != s.Len()*s.Dim:
		return fmt.Errorf("probe: %s: %d features, want %d pictures of %d", name, len(s.X), s.Len(), s.Dim)
	case len(s.Classes) < 2:
		return fmt.Errorf("probe: %s: %d classes, want at least 2", name, len(s.Classes))
	}
	counts := make([]int, len(s.Classes))
	for i, l := range s.Labels {
		if l < 0 || l >= len(counts) {
			return fmt.Errorf("probe: %s: picture %d has label %d, want 0 to %d", name, i, l, len(counts)-1)
		}
		counts[l]++
	}
	if i := slices.IndexFunc(s.X, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return fmt.Errorf("probe: %s: feature %d of picture %d is %v, want a finite number", name, i%s.Dim, i/s.Dim, s.X[i])
	}
	if !training {
		return nil
	}
	var errs []error
	for c, n := range counts {
		if n == 0 {
			errs = append(errs, fmt.Errorf("probe: %s: class %q has no pictures", name, s.Classes[c]))
		}
	}
	return errors.Join(errs...)
}

// fits says why a set cannot be judged by what was learnt from another one.
func (s *Set) fits(name string, train *Set) error {
	if s.Dim != train.Dim {
		return fmt.Errorf("probe: %s: %d features a picture, the training set has %d", name, s.Dim, train.Dim)
	}
	if !slices.Equal(s.Classes, train.Classes) {
		return fmt.Errorf("probe: %s: the classes are %.80q, those of the training set %.80q: align them", name, s.Classes, train.Classes)
	}
	return s.check(name, false)
}

// with returns both sets as one.
func (s *Set) with(other *Set) *Set {
	return &Set{
		X: slices.Concat(s.X, other.X), Dim: s.Dim,
		Labels: slices.Concat(s.Labels, other.Labels), Classes: s.Classes,
	}
}
