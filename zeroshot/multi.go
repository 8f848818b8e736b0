package zeroshot

import (
	"math"

	"github.com/vitago/vitago/clip"
)

// MultiLabel makes labels that do not exclude each other, each with a probability of its own:
//
//	p = σ(s·(cos(x,t) - cos(x,n)) + bias)
//
// x is the embedding of the picture, t that of the label, s the scale that the model has learnt, and n the embedding of the
// negatives: texts of a picture that need not show the label. They are templates, too, of which those without {} are the same
// for all labels; n is made of them as t of the label's templates. Without any there is [DefaultNegative]. With bias 0 a label
// is as probable as the softmax of its text and the negative one has it. [FitBias] finds the bias by labelled pictures.
func MultiLabel(bias float64, negatives ...string) Option {
	return func(o *options) { o.multi, o.bias, o.negatives = true, bias, negatives }
}

// Logits returns s·(cos(x,t) - cos(x,n)) [K] in the order of the labels for the embedding x [E] of a picture, without the bias;
// where labels exclude each other s·cos(x,t). It panics if E is not that of the model.
func (c *Classifier) Logits(vector []float32) []float64 {
	_, logits := c.score(vector)
	return logits
}

// WithBias returns the same classifier with another bias of [MultiLabel]. It panics without that option.
func (c *Classifier) WithBias(bias float64) *Classifier {
	if c.negatives == nil {
		panic("zeroshot: a bias of labels that exclude each other")
	}
	from := *c.from
	from.bias = bias
	other := &Classifier{labels: c.labels, keys: c.keys, texts: c.texts, negatives: c.negatives, from: &from}
	other.by = clip.ClassifyBy(from.model, embedding, c.labels, other.Rank)
	return other
}

// FitBias returns the bias of [MultiLabel] of the greatest likelihood: the one at which the probabilities σ(logit+bias) of all
// labels of all pictures sum to as many as are wanted. logits [N][K] are those of [Classifier.Logits], and wanted [N][K] says
// which labels a picture has. Where all are wanted, or none, no bias is the best, and it is a [clip.ErrRequest]; so is a logit
// that is no number.
//
// Source: J. Platt, Probabilistic Outputs for Support Vector Machines (1999), with the slope fixed.
func FitBias(logits [][]float64, wanted [][]bool) (float64, error) {
	least, most, n, yes := math.Inf(1), math.Inf(-1), 0, 0
	for i, row := range logits {
		if len(wanted) != len(logits) || len(wanted[i]) != len(row) {
			panic("zeroshot: logits and labels differ in number")
		}
		for j, z := range row {
			if z-z != 0 {
				return 0, badRequest("logit %d of picture %d is %v, want a number", j+1, i+1, z)
			}
			least, most, n = min(least, z), max(most, z), n+1
			if wanted[i][j] {
				yes++
			}
		}
	}
	if yes == 0 || yes == n {
		return 0, badRequest("a bias is fitted to pictures that have some labels and lack others: these have %d of %d", yes, n)
	}
	// The mean probability lies between σ(least+bias) and σ(most+bias).
	share := math.Log(float64(yes) / float64(n-yes))
	low, high := share-most, share-least
	bias := (low + high) / 2
	for range 200 { // Newton's steps, and halves where these leave the bracket; about 8 in all
		sum, slope := 0.0, 0.0
		for _, row := range logits {
			for _, z := range row {
				p := sigmoid(z + bias)
				sum += p
				slope += p * (1 - p)
			}
		}
		if sum < float64(yes) {
			low = bias
		} else {
			high = bias
		}
		next := bias - (sum-float64(yes))/slope
		if !(next > low && next < high) {
			next = (low + high) / 2
		}
		if math.Abs(next-bias) <= 1e-12*max(1, math.Abs(bias)) { // far below what a float32 cosine makes of it
			return next, nil
		}
		bias = next
	}
	return bias, nil
}

// sigmoid returns 1/(1+exp(-x)), without overflow.
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}
