package finetune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/op"
)

var _ Objective = MultiLabel{}

// MultiLabel is the mean of the binary cross-entropies of logits [B,K] with labels that do not exclude each other, as PyTorch's
// BCEWithLogitsLoss has it: an image is of a class or not, whatever the others are. Data are Multi, and so is a [Classifier].
type MultiLabel struct {
	// Weights are how much the images of each of the K classes count where the loss is of that class, above 0; nil is 1 for all:
	// PyTorch's pos_weight. See [data.Dataset.BalancedWeights].
	Weights []float64
}

// Name implements [Objective].
func (o MultiLabel) Name() string {
	if o.Weights != nil {
		return fmt.Sprintf("multi-label classification, class weights %v", o.Weights)
	}
	return "multi-label classification"
}

// Judge implements [Objective]: the score is the mean average precision in the batch. In validation it is that of all images, which
// is no mean over batches.
func (o MultiLabel) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	s := y.Shape()
	if s[0] != b.Len() || len(b.LabelSets) != b.Len() {
		return nil, 0, fmt.Errorf("finetune: logits %v and %d lists of labels of %d images", s, len(b.LabelSets), b.Len())
	}
	k := s[1]
	if err := checkWeights(o.Weights, k); err != nil {
		return nil, 0, err
	}
	targets := make([]float32, b.Len()*k)
	for i, set := range b.LabelSets {
		for _, l := range set {
			if l < 0 || l >= k {
				return nil, 0, fmt.Errorf("finetune: sample %d has label %d, want 0 to %d", b.Index[i], l, k-1)
			}
			targets[i*k+l] = 1
		}
	}
	p := &precision{}
	p.add(y, b)
	return op.BinaryCrossEntropy(y, targets, o.Weights), p.score() * float64(b.Len()), nil
}

// Measure implements [Objective].
func (o MultiLabel) Measure() string { return "mAP" }

func (o MultiLabel) scorer() scorer { return &precision{} }

func (o MultiLabel) checkData(c *Config, train *data.Dataset, validation *data.Loader) error {
	switch classes := train.Classes; {
	case len(classes) == 0:
		return fmt.Errorf("finetune: %d %w, which classification needs", len(train.Samples), data.ErrUnlabelled)
	case !train.Multi:
		return errors.New("finetune: the pictures have one label each, and multi-label classification wants lists of them")
	}
	if h, ok := c.Head.(*Classifier); ok && !h.Multi {
		return errors.New("finetune: the head has classes that exclude each other, and the data lists of labels")
	}
	return sameClasses(c, train, validation, o.Weights)
}

// An objective may have a score that is no mean over the batches of a validation.
type scoring interface {
	scorer() scorer
}

// A scorer finds the score of all that it was given.
type scorer interface {
	add(y mat.Tensor, b *data.Batch)
	score() float64
}

// precision is the [scorer] of the mean average precision.
type precision struct {
	logits []float64
	sets   [][]int
}

func (p *precision) add(y mat.Tensor, b *data.Batch) {
	for _, v := range y.Value().Data().F32() {
		p.logits = append(p.logits, float64(v))
	}
	for _, set := range b.LabelSets {
		p.sets = append(p.sets, slices.Clone(set))
	}
}

func (p *precision) score() float64 { return probe.MeanAveragePrecision(p.logits, p.sets) }
