package search

import (
	"errors"
	"fmt"
	"math"
)

// A Term is a part of a query: a vector of any length, and how much it counts. A negative weight leads away from it.
type Term struct {
	Vector []float32 // [E]
	Weight float64   // any finite number
}

// ErrQuery is of a query that says nothing: of no terms, or of terms that cancel each other.
var ErrQuery = errors.New("search: no query")

// Combine returns the sum of terms, each divided by its length and times its weight, divided by its own length. Errors are
// [ErrQuery], and those of vectors that differ in their number of values, have no length, or values that are no finite numbers.
func Combine(terms ...Term) ([]float32, error) {
	if len(terms) == 0 {
		return nil, fmt.Errorf("%w: got 0 terms, want 1 or more", ErrQuery)
	}
	most := 0.0 // of the weights: they count beside each other, whatever their size
	for i, t := range terms {
		if t.Weight-t.Weight != 0 {
			return nil, fmt.Errorf("search: term %d of %d has the weight %v, want a finite number", i+1, len(terms), t.Weight)
		}
		most = max(most, math.Abs(t.Weight))
	}
	if most == 0 {
		return nil, fmt.Errorf("%w: all weights are 0", ErrQuery)
	}
	sum, weights := make([]float64, len(terms[0].Vector)), 0.0
	for i, t := range terms {
		if len(t.Vector) != len(sum) {
			return nil, fmt.Errorf("search: term %d of %d has %d values, and the first has %d", i+1, len(terms), len(t.Vector), len(sum))
		}
		n := length(t.Vector)
		switch {
		case n-n != 0:
			return nil, fmt.Errorf("search: term %d of %d has a value that is no finite number", i+1, len(terms))
		case n == 0:
			return nil, fmt.Errorf("%w: term %d of %d is a vector of zeros", ErrQuery, i+1, len(terms))
		}
		w := t.Weight / most
		weights += math.Abs(w)
		for j, v := range t.Vector {
			sum[j] += w / n * float64(v)
		}
	}
	var squares float64
	for _, v := range sum {
		squares += v * v
	}
	// What is left of vectors that cancel each other is rounding: float32 has that of 2⁻²⁴.
	if n := math.Sqrt(squares); n > weights*1e-6 {
		q := make([]float32, len(sum))
		for j, v := range sum {
			q[j] = float32(v / n)
		}
		return q, nil
	}
	return nil, fmt.Errorf("%w: %d terms cancel each other", ErrQuery, len(terms))
}

// length returns the Euclidean length.
func length(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}
