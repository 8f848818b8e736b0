package finetune

import (
	"fmt"
	"math"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/op"
)

// An Objective judges what a head gave for a batch.
type Objective interface {
	// Name says what it is and with which numbers: a run is resumed with the same.
	Name() string
	// Check returns an error if y, the head's output for b, cannot be judged.
	Check(y mat.Tensor, b *data.Batch) error
	// Loss returns the mean loss of the images [1,1].
	Loss(y mat.Tensor, b *data.Batch) mat.Tensor
	// Score returns the sum over the images of what a person asks for; more is better.
	Score(y mat.Tensor, b *data.Batch) float64
	// Measure names the score: "accuracy".
	Measure() string
}

var _, _, _ Objective = Classification{}, &Regression{}, &Distillation{}

// Classification is the cross-entropy of logits [B,K] with the labels of the images.
type Classification struct {
	Smoothing float64 // share of the certainty that is spread over all classes
}

// Name implements [Objective].
func (o Classification) Name() string {
	return fmt.Sprintf("classification, smoothing %v", o.Smoothing)
}

// Check implements [Objective].
func (o Classification) Check(y mat.Tensor, b *data.Batch) error {
	if s := y.Shape(); s[0] != b.Len() {
		return fmt.Errorf("finetune: logits %v of %d images", s, b.Len())
	}
	for i, l := range b.Labels {
		if k := y.Shape()[1]; l < 0 || l >= k {
			return fmt.Errorf("finetune: sample %d has label %d, want 0 to %d", b.Index[i], l, k-1)
		}
	}
	return nil
}

// Loss implements [Objective].
func (o Classification) Loss(y mat.Tensor, b *data.Batch) mat.Tensor {
	return op.CrossEntropy(y, b.Labels, o.Smoothing)
}

// Score implements [Objective]: the images whose label has the largest logit.
func (o Classification) Score(y mat.Tensor, b *data.Batch) float64 {
	k := y.Shape()[1]
	logits := y.Value().Data().F32()
	right := 0.0
	for i, label := range b.Labels {
		best := 0
		for j, v := range logits[i*k : (i+1)*k] {
			if v > logits[i*k+best] {
				best = j
			}
		}
		if best == label {
			right++
		}
	}
	return right
}

// Measure implements [Objective].
func (o Classification) Measure() string { return "accuracy" }

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
	Distance Distance
	// Target returns the rows of sample i of the data, one after the other. See [Config.SetTargets].
	Target func(i int) ([]float32, error)
	// What says where the targets are from, for [Objective.Name].
	What string

	last *data.Batch // for which the rows were got
	rows []float32
}

// Name implements [Objective].
func (o *Regression) Name() string { return fmt.Sprintf("regression to %s, %s", o.What, o.Distance) }

// of returns the rows of a batch.
func (o *Regression) of(b *data.Batch) ([]float32, error) {
	if o.last == b {
		return o.rows, nil
	}
	o.last, o.rows = nil, o.rows[:0]
	for _, i := range b.Index {
		rows, err := o.Target(i)
		if err != nil {
			return nil, err
		}
		o.rows = append(o.rows, rows...)
	}
	o.last = b
	return o.rows, nil
}

// must returns the rows of a batch, which Check has got.
func (o *Regression) must(b *data.Batch) []float32 {
	rows, err := o.of(b)
	if err != nil {
		panic(err)
	}
	return rows
}

// Check implements [Objective].
func (o *Regression) Check(y mat.Tensor, b *data.Batch) error {
	rows, err := o.of(b)
	if err != nil {
		return err
	}
	if n := len(rows); n != y.Size() {
		return fmt.Errorf("finetune: the head gives %v for %d images, and their targets have %d numbers", y.Shape(), b.Len(), n)
	}
	return nil
}

// Loss implements [Objective].
func (o *Regression) Loss(y mat.Tensor, b *data.Batch) mat.Tensor {
	return o.Distance.loss(y, o.must(b))
}

// Score implements [Objective]: the mean cosine of an image's rows with their targets.
func (o *Regression) Score(y mat.Tensor, b *data.Batch) float64 {
	return cosines(y, o.must(b), b.Len())
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
	Distance Distance
	Teacher  *clipvit.Model
	Features Features // of the teacher
	What     string   // names the teacher, for [Objective.Name]

	last    *data.Batch // for which targets were computed
	targets []float32
}

// Name implements [Objective].
func (o *Distillation) Name() string {
	return fmt.Sprintf("distillation of %s, %s", o.What, o.Distance)
}

func (o *Distillation) of(b *data.Batch) []float32 {
	if o.last != b {
		o.last, o.targets = b, o.Features.of(o.Teacher, b.Patches).Value().Data().F32()
	}
	return o.targets
}

// Check implements [Objective].
func (o *Distillation) Check(y mat.Tensor, b *data.Batch) error {
	if n := o.Teacher.Config.PatchLen(); n != b.Patches.Shape()[1] {
		return fmt.Errorf("finetune: patches of %d numbers, the teacher has %d", b.Patches.Shape()[1], n)
	}
	if n := o.Teacher.Config.Patches() * b.Len(); n != b.Patches.Shape()[0] {
		return fmt.Errorf("finetune: %d patches of %d images, the teacher has %d", b.Patches.Shape()[0], b.Len(), n)
	}
	if n := len(o.of(b)); n != y.Size() {
		return fmt.Errorf("finetune: the head gives %v for %d images, and the teacher %d numbers", y.Shape(), b.Len(), n)
	}
	return nil
}

// Loss implements [Objective].
func (o *Distillation) Loss(y mat.Tensor, b *data.Batch) mat.Tensor {
	return o.Distance.loss(y, o.of(b))
}

// Score implements [Objective]: the mean cosine with the teacher's rows.
func (o *Distillation) Score(y mat.Tensor, b *data.Batch) float64 {
	return cosines(y, o.of(b), b.Len())
}

// Measure implements [Objective].
func (o *Distillation) Measure() string { return "cosine" }

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
