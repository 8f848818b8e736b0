package finetune

import (
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/op"
)

// An Objective judges what a head gave for a batch. It may be one's own: a loss of spago's operators on y, for which the gradients
// are theirs. Runs that are resumed come to the same bits if Judge computes the same of the same.
type Objective interface {
	// Name says what it is and with which numbers: a run is resumed with the same.
	Name() string
	// Judge returns the mean loss [1,1] of the images of b, for which the head gave y, and the sum of their scores. The score
	// is what a person asks for; more is better. It is an error if y cannot be judged. A loss that is no number ends the run,
	// and so does one that is not computed of y, unless it is 0.
	Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error)
	// Measure names the score: "accuracy".
	Measure() string
}

var _, _, _ Objective = Classification{}, &Regression{}, &Distillation{}

// An objective may have images count otherwise than one each. Losses and scores are means over what they weigh.
type weighing interface {
	// weigh returns what the images of a batch weigh together.
	weigh(b *data.Batch) float64
}

// Classification is the cross-entropy of logits [B,K] with the labels of the images.
type Classification struct {
	Smoothing float64 // share of the certainty that is spread over all classes
	// Weights are those of the K classes, above 0; nil is 1 for all. An image counts as much as its class weighs: in the loss
	// and the score, in training and validation. The mean is over the weights, as PyTorch's CrossEntropyLoss has it. See
	// [data.Dataset.BalancedWeights].
	Weights []float64
}

// within returns an objective as one that can do more, itself or what it says that it is a wrapper of, by a method Unwrap.
func within[T any](o Objective) (as T, ok bool) {
	for o != nil {
		if as, ok = o.(T); ok {
			return as, true
		}
		wrapper, is := o.(interface{ Unwrap() Objective })
		if !is {
			break
		}
		o = wrapper.Unwrap()
	}
	return as, false
}

// checkWeights says what is wrong with weights of k classes.
func checkWeights(weights []float64, k int) error {
	if weights != nil && len(weights) != k {
		return fmt.Errorf("finetune: %d class weights, want %d, one a class", len(weights), k)
	}
	for i, w := range weights {
		if !(w >= probe.LeastWeight && w <= probe.MostWeight) {
			return fmt.Errorf("finetune: the weight of class %d is %v, want above 0, from %v to %v", i, w, probe.LeastWeight, probe.MostWeight)
		}
	}
	return nil
}

// Name implements [Objective].
func (o Classification) Name() string {
	name := fmt.Sprintf("classification, smoothing %v", o.Smoothing)
	if o.Weights != nil {
		name += fmt.Sprintf(", class weights %v", o.Weights)
	}
	return name
}

func (o Classification) weigh(b *data.Batch) float64 {
	if o.Weights == nil {
		return float64(b.Len())
	}
	all := 0.0
	for _, l := range b.Labels {
		if l >= 0 && l < len(o.Weights) { // others Judge refuses
			all += o.Weights[l]
		}
	}
	return all
}

// Judge implements [Objective]: the score counts the images whose label has the largest logit.
func (o Classification) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	s := y.Shape()
	if err := checkWeights(o.Weights, s[1]); err != nil {
		return nil, 0, err
	}
	if s[0] != b.Len() {
		return nil, 0, fmt.Errorf("finetune: logits %v of %d images", s, b.Len())
	}
	for i, l := range b.Labels {
		if k := s[1]; l < 0 || l >= k {
			return nil, 0, fmt.Errorf("finetune: sample %d has label %d, want 0 to %d", b.Index[i], l, k-1)
		}
	}
	if o.Weights != nil {
		return op.WeightedCrossEntropy(y, b.Labels, o.Smoothing, o.Weights), right(y, b.Labels, o.Weights), nil
	}
	return op.CrossEntropy(y, b.Labels, o.Smoothing), right(y, b.Labels, nil), nil
}

// right counts the rows of y whose label has the largest logit, or sums the weights of these labels.
func right(y mat.Tensor, labels []int, weights []float64) (n float64) {
	k := y.Shape()[1]
	logits := y.Value().Data().F32()
	for i, label := range labels {
		best := 0
		for j, v := range logits[i*k : (i+1)*k] {
			if v > logits[i*k+best] {
				best = j
			}
		}
		switch {
		case best == label && weights != nil:
			n += weights[label]
		case best == label:
			n++
		}
	}
	return n
}

// Measure implements [Objective].
func (o Classification) Measure() string {
	if o.Weights != nil {
		return "weighted accuracy"
	}
	return "accuracy"
}

// A Distance says how far two vectors are from each other.
type Distance string

// The distances.
const (
	SquareDistance Distance = "mse"    // mean square of the differences
	CosineDistance Distance = "cosine" // 1 - cosine
)

// loss returns the mean distance of the rows of y from those of target.
func (d Distance) loss(y mat.Tensor, target []float32) mat.Tensor {
	if d == CosineDistance {
		return op.Cosine(y, target)
	}
	return op.MSE(y, target)
}

// Regression is the distance of the head's rows to given ones, as many for every image: embeddings, or the
// tokens of its patches.
type Regression struct {
	Distance Distance // one of the constants
	// Target returns the rows of sample i of the data, one after the other. See [Config.SetTargets].
	Target func(i int) ([]float32, error)
	// What says where the targets are from, for [Objective.Name].
	What string
}

// Name implements [Objective].
func (o *Regression) Name() string { return fmt.Sprintf("regression to %s, %s", o.What, o.Distance) }

// Judge implements [Objective]: the score is the mean cosine of an image's rows with their targets.
func (o *Regression) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	target := make([]float32, 0, y.Size())
	for _, i := range b.Index {
		rows, err := o.Target(i)
		if err != nil {
			return nil, 0, err
		}
		target = append(target, rows...)
	}
	if len(target) != y.Size() {
		return nil, 0, fmt.Errorf("finetune: the head gives %v for %d images, and their targets have %d numbers", y.Shape(), b.Len(), len(target))
	}
	return o.Distance.loss(y, target), cosines(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *Regression) Measure() string { return "cosine" }

// cosines returns the mean cosine of rows, times the number of images.
func cosines(y mat.Tensor, target []float32, images int) float64 {
	return (1 - op.Cosine(y.Value(), target).Item().F64()) * float64(images)
}

// Distillation is the distance to what another tower, which must be frozen, gives for the same patches. The
// two have inputs and patches of one size.
type Distillation struct {
	Distance Distance         // one of the constants
	Teacher  *clipvit.Model   // which is frozen, and not changed
	Features clipvit.Features // of the teacher; zero is the embedding
	What     string           // names the teacher, for [Objective.Name]
}

// Name implements [Objective].
func (o *Distillation) Name() string {
	return fmt.Sprintf("distillation of %s, %s", o.What, o.Distance)
}

func (o *Distillation) bytes() int64 { return bytesOf(o.Teacher) }

// Judge implements [Objective]: the score is the mean cosine with the teacher's rows.
func (o *Distillation) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	if n := o.Teacher.Config.PatchLen(); n != b.Patches.Shape()[1] {
		return nil, 0, fmt.Errorf("finetune: patches of %d numbers, the teacher has %d", b.Patches.Shape()[1], n)
	}
	if n := o.Teacher.Config.Patches() * b.Len(); n != b.Patches.Shape()[0] {
		return nil, 0, fmt.Errorf("finetune: %d patches of %d images, the teacher has %d", b.Patches.Shape()[0], b.Len(), n)
	}
	want, err := orEmbedding(o.Features).Of(o.Teacher, b.Patches)
	if err != nil {
		return nil, 0, fmt.Errorf("finetune: the teacher: %w", err)
	}
	target := want.Value().Data().F32()
	if len(target) != y.Size() {
		return nil, 0, fmt.Errorf("finetune: the head gives %v for %d images, and the teacher %d numbers", y.Shape(), b.Len(), len(target))
	}
	return o.Distance.loss(y, target), cosines(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *Distillation) Measure() string { return "cosine" }

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
