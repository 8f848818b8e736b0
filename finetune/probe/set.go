package probe

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitago/vitago/internal/op"
)

// A Set is features and what is known of them, row for row.
type Set struct {
	X       []float32 // [N,D]
	Dim     int       // D
	Labels  []int     // [N], into Classes; -1 where labels do not exclude each other
	Classes []string  // [K]
	Index   []int     // [N], into the Samples of the dataset; nil if the features are from elsewhere
	// LabelSets [N] are the labels of each picture where they do not exclude each other; nil where they do.
	LabelSets [][]int
	// Weights [K] are how much pictures of the classes count, in losses and in scores; nil is 1 for all. Where labels do not
	// exclude each other it is the pictures of a class whose loss for this class counts so. They are from LeastWeight to MostWeight.
	Weights []float64
}

// The least and the greatest weight that a class may have. Beyond them losses and gradients are no numbers of float32 any more, or
// nothing is left of a class.
const (
	LeastWeight = 1e-9
	MostWeight  = 1e9
)

// multi says whether labels do not exclude each other.
func (s *Set) multi() bool { return s.LabelSets != nil }

// weight returns how much a picture of a class counts.
func weight(weights []float64, class int) float64 {
	if weights == nil {
		return 1
	}
	return weights[class]
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
	case len(s.Classes) < 2 && !s.multi() || len(s.Classes) < 1:
		return fmt.Errorf("probe: %s: %d classes, want at least 2", name, len(s.Classes))
	}
	if s.multi() && len(s.LabelSets) != s.Len() {
		return fmt.Errorf("probe: %s: %d lists of labels of %d pictures", name, len(s.LabelSets), s.Len())
	}
	if s.Weights != nil && len(s.Weights) != len(s.Classes) {
		return fmt.Errorf("probe: %s: %d class weights, want %d", name, len(s.Weights), len(s.Classes))
	}
	for i, w := range s.Weights {
		if !(w >= LeastWeight && w <= MostWeight) {
			return fmt.Errorf("probe: %s: the weight of class %q is %v, want above 0, from %v to %v", name, s.Classes[i], w, LeastWeight, MostWeight)
		}
	}
	counts := make([]int, len(s.Classes))
	for i, set := range s.LabelSets {
		for _, l := range set {
			if l < 0 || l >= len(counts) {
				return fmt.Errorf("probe: %s: picture %d has label %d, want 0 to %d", name, i, l, len(counts)-1)
			}
			counts[l]++
		}
	}
	for i, l := range s.Labels {
		if s.multi() {
			break
		}
		if l < 0 || l >= len(counts) {
			return fmt.Errorf("probe: %s: picture %d has label %d, want 0 to %d", name, i, l, len(counts)-1)
		}
		counts[l]++
	}
	if i := op.NotFinite(s.X); i >= 0 {
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
		if n == s.Len() && s.multi() { // whose bias would grow without end
			errs = append(errs, fmt.Errorf("probe: %s: all %d pictures are of class %q, want some that are not", name, n, s.Classes[c]))
		}
	}
	return errors.Join(errs...)
}

// fits says why a set cannot be judged by what was learnt from another one.
func (s *Set) fits(name string, train *Set) error {
	if s.Dim != train.Dim {
		return fmt.Errorf("probe: %s: %d features a picture, the training set has %d", name, s.Dim, train.Dim)
	}
	if !slices.Equal(s.Classes, train.Classes) || s.multi() != train.multi() {
		return fmt.Errorf("probe: %s: the classes are %.80q, those of the training set %.80q: align them", name, s.Classes, train.Classes)
	}
	return s.check(name, false)
}

// with returns both sets as one.
func (s *Set) with(other *Set) *Set {
	return &Set{
		X: slices.Concat(s.X, other.X), Dim: s.Dim,
		Labels: slices.Concat(s.Labels, other.Labels), Classes: s.Classes, LabelSets: slices.Concat(s.LabelSets, other.LabelSets), Weights: s.Weights,
	}
}
