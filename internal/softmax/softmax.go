// Package softmax makes probabilities of logits.
package softmax

import (
	"math"
	"slices"
)

// Of puts softmax(z), which sums to 1, in the place of the logits z, of which there is one at least. The largest is taken off before the
// exponentials, so that none overflows.
func Of(z []float64) {
	peak, total := slices.Max(z), 0.0
	for i, v := range z {
		z[i] = math.Exp(v - peak)
		total += z[i]
	}
	for i := range z {
		z[i] /= total
	}
}
