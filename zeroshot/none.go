package zeroshot

import (
	"context"
	"iter"
	"math"
	"slices"

	"github.com/vitago/vitago/clip"
)

// A Threshold says which labels of a picture are accepted. A picture of which none is, is none of these.
//
// A softmax sums to 1 over the labels that are given, whatever the picture shows: its probability says which of them fits best,
// and a picture of something else may well get a high one. The cosine does not depend on other labels, but differs by model,
// template and kind of picture. Neither knows what is none of these; find a threshold by pictures that are.
type Threshold struct {
	Probability float64 // the least, from 0 to 1; 0 is any
	Cosine      float64 // the least, from -1 to 1; 0 is any
	Each        bool    // every label by itself, as those of MultiLabel; else only the best can be accepted
}

// Accepted returns the first of the labels that [Classifier.Rank] gives, as far as they reach the threshold: with Each all that
// reach it, and otherwise the best or none.
func (t Threshold) Accepted(ranked []clip.Label) []clip.Label {
	accepted := []clip.Label{}
	for i, l := range ranked {
		if (i == 0 || t.Each) && t.reached(l) {
			accepted = append(accepted, l)
		}
	}
	return accepted
}

func (t Threshold) reached(l clip.Label) bool {
	return l.Probability >= t.Probability && (t.Cosine == 0 || l.Cosine >= t.Cosine)
}

// OrNone returns a classifier with one label more, name: that of the pictures whose best label does not reach the threshold.
// It is as probable as a label at the threshold, and all probabilities sum to 1 again:
//
//	none = w/(1+w), label = p/(1+w)    w = t.Probability, or p₁·exp(s·(t.Cosine - cos₁)) if that is greater
//
// p₁ and cos₁ are those of the best label, and s is the model's scale. So it is the most probable just where
// [Threshold.Accepted] has none. It is for labels that exclude each other: a [clip.ErrRequest] is returned for a threshold of
// each label, none at all, one of a cosine for a classifier that has none, and a name that is a label already.
func OrNone(c clip.Classifier, name string, t Threshold) (clip.Classifier, error) {
	zero, _ := c.(*Classifier)
	switch {
	case t.Each || zero != nil && zero.negatives != nil:
		return nil, badRequest("%q is one of labels that exclude each other", name)
	case t.Probability == 0 && t.Cosine == 0:
		return nil, badRequest("got no threshold below which a picture is %q", name)
	case t.Cosine != 0 && zero == nil:
		return nil, badRequest("a threshold of %v for the cosine, and the classifier has no cosines", t.Cosine)
	case slices.Contains(c.Labels(), name):
		return nil, badRequest("%q is a label, and cannot be that of other pictures", name)
	}
	o := &orNone{Classifier: c, name: name, t: t}
	if zero != nil {
		o.scale = zero.from.scale
	}
	return o, nil
}

type orNone struct {
	clip.Classifier
	name  string
	t     Threshold
	scale float64
}

func (o *orNone) Labels() []string { return append(o.Classifier.Labels(), o.name) }

func (o *orNone) Classify(ctx context.Context, pictures ...clip.Picture) ([][]clip.Label, error) {
	all, err := o.Classifier.Classify(ctx, pictures...)
	for i, labels := range all {
		all[i] = o.add(labels)
	}
	return all, err
}

func (o *orNone) ClassifyAll(ctx context.Context, pictures iter.Seq[clip.Picture], so clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return func(yield func(clip.Classified, error) bool) {
		for x, err := range o.Classifier.ClassifyAll(ctx, pictures, so) {
			if err == nil && x.Err == nil {
				x.Labels = o.add(x.Labels)
			}
			if !yield(x, err) {
				return
			}
		}
	}
}

// add puts the label of other pictures among those of one.
func (o *orNone) add(labels []clip.Label) []clip.Label {
	w, best := o.t.Probability, labels[0]
	if o.t.Cosine != 0 {
		w = max(w, best.Probability*math.Exp(o.scale*(o.t.Cosine-best.Cosine)))
	}
	all := make([]clip.Label, 0, len(labels)+1)
	none := clip.Label{Name: o.name, Probability: 1}
	if !math.IsInf(w, 1) {
		none.Probability = w / (1 + w)
	}
	for _, l := range labels {
		if none.Name != "" && w > l.Probability {
			all = append(all, none)
			none.Name = ""
		}
		l.Probability /= 1 + w
		all = append(all, l)
	}
	if none.Name != "" {
		all = append(all, none)
	}
	return all
}
