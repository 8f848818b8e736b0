package probe

import (
	"context"
	"math"
)

// The values of λ that [Sweep] chooses from: 10⁻⁶ to 10⁶, 8 steps to a decade, which are 96 steps. It
// begins with one in two decades.
//
// Source: the CLIP paper, appendix A.3.
const (
	lowest, highest = -6.0, 6.0
	firstStep       = 2.0
	lastStep        = 1.0 / 8
)

// A Score says how well a head tells the pictures of a set apart.
type Score struct {
	Pictures int     // N
	Right    int     // whose likeliest class is the label, or where labels do not exclude each other all of whose labels are
	Loss     float64 // the mean of -log of the label's probability, or of the sum over all classes, by the class weights
	MeanAP   float64 // [MeanAveragePrecision], where labels do not exclude each other

	weighted, multi bool
	right, weight   float64 // sums of the weights: of the right pictures, and of all
}

// Accuracy returns the share of pictures that are right, from 0 to 1.
func (s Score) Accuracy() float64 { return float64(s.Right) / float64(s.Pictures) }

// Value returns what heads are chosen by, 0 to 1, and Measure names it: the accuracy; with class weights that in which each
// picture counts by the weight of its class; or the mean average precision where labels do not exclude each other.
func (s Score) Value() float64 {
	switch {
	case s.multi:
		return s.MeanAP
	case s.weighted:
		return s.right / s.weight
	}
	return s.Accuracy()
}

// Measure returns the name of Value.
func (s Score) Measure() string {
	switch {
	case s.multi:
		return "mAP"
	case s.weighted:
		return "weighted accuracy"
	}
	return "accuracy"
}

// sameLoss is how far apart losses count as equal: a fit that ends at the [tolerance] of the gradient is
// known no better.
const sameLoss = 1e-9

// better says whether s is better than other: by its value, then by loss.
func (s Score) better(other Score) bool {
	if a, b := s.Value(), other.Value(); a != b {
		return a > b
	}
	return s.Loss < other.Loss-sameLoss
}

// A Trial is a value of λ that was tried.
type Trial struct {
	*Fit
	Train, Validation Score // of its fit, on what it was fitted to and on what it was not
}

// Sweep finds λ by fitting to the training set and judging by the validation set: by accuracy, and by
// loss where that is equal. It does not fit every value of the grid but, like the paper, halves the
// interval around the best one until the steps are those of the grid, 15 fits instead of 97. It
// returns the best trial and all of them in their order; tried, if it is not nil, is called after each.
//
// Every fit begins where that of the nearest λ ended, which only saves time: there is one optimum. Where
// planes separate the features and λ is tiny, it is far away and the slope to it slight, so that a fit ends
// on the way, by its gradient or after 1000 iterations as the paper's did; it is judged like any other.
func Sweep(ctx context.Context, train, validation *Set, tried func(Trial)) (best Trial, all []Trial, err error) {
	if err := train.check("training", true); err != nil {
		return best, nil, err
	}
	if err := validation.fits("validation", train); err != nil {
		return best, nil, err
	}
	learn, judge := newProblem(train), newProblem(validation)
	var exponents []float64 // of all
	try := func(exponent float64) error {
		var start *Fit
		nearest := math.Inf(1)
		for i, e := range exponents {
			if d := math.Abs(e - exponent); d < nearest {
				start, nearest = all[i].Fit, d
			}
		}
		fit, err := learn.solve(ctx, math.Pow(10, exponent), start)
		if err != nil {
			return err
		}
		t := Trial{fit, learn.score(fit), judge.score(fit)}
		if all == nil || t.Validation.better(best.Validation) {
			best = t
		}
		exponents, all = append(exponents, exponent), append(all, t)
		if tried != nil {
			tried(t)
		}
		return nil
	}
	// From the strongest on: those are found in a few iterations, and lead to the others.
	for e := highest; e >= lowest; e -= firstStep {
		if err := try(e); err != nil {
			return best, all, err
		}
	}
	for step := firstStep; step > lastStep; {
		step /= 2
		centre := math.Log10(best.Lambda)
		centre = math.Round(centre/lastStep) * lastStep // exactly
		for _, e := range []float64{centre + step, centre - step} {
			if e < lowest || e > highest {
				continue
			}
			if err := try(e); err != nil {
				return best, all, err
			}
		}
	}
	return best, all, nil
}

// score judges a fit by the set of p.
func (p *problem) score(f *Fit) Score {
	s := p.forward(f.W, f.B)
	return s.finished(p.logits.Data, p.sets)
}

// finished returns the score with means in the place of sums, for probabilities [N,K] and the labels of each picture.
func (s Score) finished(p []float64, sets [][]int) Score {
	s.Loss /= s.weight
	if s.multi {
		s.MeanAP = MeanAveragePrecision(p, sets)
	}
	return s
}
