package finetune

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

var _, _ Objective = &TokenRegression{}, &TokenDistillation{}

// SetTokenTargets makes the encoder of c learn tokens that are given.
func (c *Config) SetTokenTargets(t *data.Tokens, d Distance) {
	c.Objective = &TokenRegression{Distance: d, Targets: t}
}

// TokenRegression is the distance of an encoder's tokens to given ones, as many as each picture has.
type TokenRegression struct {
	Distance Distance     // one of the constants
	Targets  *data.Tokens // by the names of the pictures
}

// Name implements [Objective].
func (o *TokenRegression) Name() string {
	return fmt.Sprintf("regression of tokens to %s, %s", o.Targets.Name(), o.Distance)
}

// Judge implements [Objective]. The score is the mean cosine with [CosineDistance]. With [SquareDistance] it is R², the
// share of the targets' variance over an image's tokens that is explained.
func (o *TokenRegression) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	n, width := y.Shape()[0]/b.Len(), y.Shape()[1]
	target := make([]float32, 0, y.Size())
	for _, name := range b.Names {
		rows, err := o.Targets.Of(name)
		if err != nil {
			return nil, 0, err
		}
		if len(rows) != n*width {
			return nil, 0, fmt.Errorf("finetune: %s: %s: targets are %v, the encoder gives [%d,%d]", o.Targets, name, o.Targets.Shape(name), n, width)
		}
		target = append(target, rows...)
	}
	if len(target) != y.Size() {
		return nil, 0, fmt.Errorf("finetune: tokens %v of %d pictures, their targets have %d numbers", y.Shape(), b.Len(), len(target))
	}
	return o.Distance.loss(y, target), o.Distance.score(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *TokenRegression) Measure() string { return o.Distance.measure() }

// SetTeacherEncoder makes the encoder of c learn the tokens of another one, which is frozen for it. They have one layout,
// and towers of one input. If c's recipe, which must be there, freezes the tower and the teacher's has the same weights,
// the teacher gets c's, and pictures go through it once for both.
func (c *Config) SetTeacherEncoder(teacher *projector.Encoder, name string, d Distance) error {
	e := c.Encoder
	if err := errors.Join(e.Validate(), teacher.Validate()); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	a, b := e.Tower.Config, teacher.Tower.Config
	errs := []error{sameLevels(a, b, name)}
	for _, f := range []struct {
		what    string
		is, has any
	}{
		{"pixels a side", a.ImageSize, b.ImageSize}, {"pixels a patch", a.PatchSize, b.PatchSize},
		{"the layout", layoutName(e.Layout), layoutName(teacher.Layout)}, {"the feature", e.Select.Kind, teacher.Select.Kind},
		{"numbers in a token", e.Projector.Config.Out, teacher.Projector.Config.Out},
	} {
		if f.is != f.has {
			errs = append(errs, fmt.Errorf("finetune: the teacher %s has %v %s, the encoder %v: want the same", name, f.has, f.what, f.is))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	teacher.Freeze()
	o := &TokenDistillation{Distance: d, Teacher: teacher, What: fmt.Sprintf("%s (%.12s)", name, hashOf(teacher))}
	if c.Recipe.Tower == None && e.Select.Layer == teacher.Select.Layer && a == b && hashOf(e.Tower) == hashOf(teacher.Tower) {
		teacher.Tower = e.Tower
	}
	c.Objective = o
	return nil
}

// TokenDistillation is the distance of an encoder's tokens to those that another one, which must be frozen, gives for the
// same views.
type TokenDistillation struct {
	Distance Distance           // one of the constants
	Teacher  *projector.Encoder // which is frozen, and not changed
	What     string             // names the teacher, for [Objective.Name]
}

// sharedWith returns o if the features of e's tower, when it is frozen, are the teacher's too; otherwise nil.
func (o *TokenDistillation) sharedWith(e *projector.Encoder) *TokenDistillation {
	if o.Teacher.Tower == e.Tower && o.Teacher.Select.Layer == e.Select.Layer {
		return o
	}
	return nil
}

func (o *TokenDistillation) bytes() int64 { return bytesOf(o.Teacher) }

// Name implements [Objective].
func (o *TokenDistillation) Name() string {
	return fmt.Sprintf("distillation of the tokens of %s, %s", o.What, o.Distance)
}

// Judge implements [Objective]. The score is the mean cosine with [CosineDistance]. With [SquareDistance] it is R², the
// share of the targets' variance over an image's tokens that is explained.
func (o *TokenDistillation) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	z, err := o.Teacher.Forward(b.Views)
	return o.judge(y, z, b, err)
}

// judgeOf judges as Judge does, of the features x [B·T,C] of a tower that is the teacher's, too.
func (o *TokenDistillation) judgeOf(x, y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	z, err := o.Teacher.Project(x, b.Views)
	return o.judge(y, z, b, err)
}

// judge compares tokens y with those that the teacher gave, z, unless it gave an error.
func (o *TokenDistillation) judge(y, z mat.Tensor, b *data.Batch, err error) (loss mat.Tensor, score float64, _ error) {
	if err != nil {
		return nil, 0, fmt.Errorf("finetune: the teacher: %w", err)
	}
	if !slices.Equal(y.Shape(), z.Shape()) {
		return nil, 0, fmt.Errorf("finetune: the encoder gives %v for %s, the teacher %v", y.Shape(), strings.Join(b.Names[:min(len(b.Names), 5)], ", "), z.Shape())
	}
	target := z.Value().Data().F32()
	return o.Distance.loss(y, target), o.Distance.score(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *TokenDistillation) Measure() string { return o.Distance.measure() }

// measure names what score returns.
func (d Distance) measure() string {
	if d == CosineDistance {
		return "cosine"
	}
	return "r2"
}

// score returns the sum over the images of how near their tokens are: the mean cosine; or, where their length counts as
// well, the part of the targets' variance over an image's tokens that is explained, R²: 1 is all, 0 no better than the mean.
func (d Distance) score(y mat.Tensor, target []float32, images int) float64 {
	if d == CosineDistance {
		return cosines(y, target, images)
	}
	width := y.Shape()[1]
	values := y.Value().Data().F32()
	n := len(target) / images
	sum := 0.0
	for i := range images {
		sum += explained(values[i*n:(i+1)*n], target[i*n:(i+1)*n], width)
	}
	return sum
}

// explained returns 1 - Σ(y-t)²/Σ(t-mean)², with the mean of each column of t. Targets that do not vary are explained as a
// whole or, by as much as is left, not.
func explained(y, t []float32, width int) float64 {
	mean := make([]float64, width)
	for row := range slices.Chunk(t, width) {
		for j, v := range row {
			mean[j] += float64(v) * float64(width) / float64(len(t))
		}
	}
	var left, all float64
	for i, v := range t {
		l, a := float64(y[i])-float64(v), float64(v)-mean[i%width]
		left, all = left+l*l, all+a*a
	}
	if left == 0 {
		return 1
	}
	return 1 - left/max(all, math.SmallestNonzeroFloat32) // which keeps it a number
}
