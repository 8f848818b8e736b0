package finetune

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/projector"
)

// A learner is what a [Trainer] trains, and how it learns from batches:
//
//	images   patches ─▶ Tower ─▶ Features ─▶ Head ─▶ Objective, of classes or of vectors
//	tokens   views ─▶ Encoder ─▶ tokens ─▶ Objective
//	pairs    patches ─▶ Tower, captions ─▶ Text ─▶ Contrastive
type learner interface {
	// check says all that is wrong with what was given, before anything of it is changed.
	check() error
	// names say what a checkpoint is of: the SHA-256 of the weights that the run begins with, and what stands on the tower.
	names() (tower, head string)
	// parts returns the models for the names of their parameters.
	parts() parts
	// loaded returns the bytes of the towers.
	loaded() int64
	// free makes what the recipe says learn, and nothing else.
	free(rng *rand.Rand) error
	// recompute has the towers keep next to nothing of their blocks, or all.
	recompute(yes bool)
	// space opens the part of a cache for what the frozen tower gives.
	space(c *probe.Cache) (*probe.Space, error)

	// together reports whether all batches of a step are to be learnt at once.
	together() bool
	// learn adds the gradients of batches to those that are there, each image's alike.
	learn(batches []*data.Batch, s *sum) error
	// stepped is called after every step.
	stepped()
	// judge adds up what the model, which learns nothing of it, makes of a source.
	judge(ctx context.Context, from Source, s *sum) error

	// beside returns the bytes of models that are no parts.
	beside() int64
	// activations estimates the bytes of what is kept of a batch, and those of the batches that are made ahead.
	activations(recompute bool) (activations, data int64)
	// savings adds what a run of memory m could do to take less; its towers took loaded bytes before they learnt.
	savings(m Memory, loaded, limit int64, add func(total int64, format string, a ...any))

	// models returns what is to be written: all, or what has learnt.
	models(all bool) converter.Models
}

var _, _, _ learner = &images{}, &tokens{}, &pairing{}

// An objective may ask for another learner than that of its batches one by one.
type learning interface {
	learner(t *Trainer) learner
}

// newLearner returns what t trains, or what does not fit together.
func (t *Trainer) newLearner() (learner, error) {
	if err := t.setEncoder(); err != nil {
		return nil, err
	}
	if o, ok := t.Objective.(learning); ok {
		return o.learner(t), nil
	}
	if t.Encoder != nil {
		return newTokens(t), nil
	}
	return newImages(t), nil
}

// ahead is how many batches there are: the one in use, two of [data.Loader]'s, one in the making.
const ahead = 4

// parts are the models of a run, for the names of their parameters.
type parts struct {
	nn.Module
	Tower *clipvit.Model
	Text  *cliptext.Model
	Head  nn.Model

	// Of an encoder.
	Projector                              *projector.Model
	Newline, RowSeparator, GlobalSeparator *nn.Param
}

// batchwise is what learners have in common that learn from each batch by itself.
type batchwise struct {
	t *Trainer
	// judged runs a batch of a source through the model, and judges what comes out, which a scorer gets if there is one.
	judged func(b *data.Batch, from Source, all scorer) (loss mat.Tensor, score float64, err error)
}

func (l *batchwise) check() error {
	if r := l.t.Recipe; r.Captions || r.TextRate > 0 || r.ScaleRate > 0 {
		return fmt.Errorf("finetune: recipe %s has captions learnt by a text tower, and the objective is %s", r.Name, l.t.Objective.Name())
	}
	return nil
}

func (l *batchwise) loaded() int64 { return bytesOf(l.t.Tower) }

func (l *batchwise) recompute(yes bool) { l.t.Tower.Recompute = yes }

func (l *batchwise) together() bool { return false }

func (l *batchwise) stepped() {}

func (l *batchwise) learn(batches []*data.Batch, s *sum) error {
	for _, b := range batches {
		if err := l.learnOne(b, s); err != nil {
			return err
		}
	}
	return nil
}

func (l *batchwise) learnOne(b *data.Batch, s *sum) error {
	t := l.t
	t.note(b, s)
	if b.Len() == 0 {
		return nil
	}
	t.reserve()
	loss, score, err := l.judgeBatch(b, t.Train, nil) // [1,1]
	if err != nil {
		return err
	}
	v := loss.Item().F64()
	if !finite(v) {
		return &optim.NonFiniteError{Step: t.state.Step + 1, What: "loss", Value: v}
	}
	n := l.add(b, v, score, s)
	if !loss.RequiresGrad() {
		if v == 0 { // nothing in the batch to learn of, as without a triplet
			return nil
		}
		return fmt.Errorf("finetune: objective %q: its loss has no gradient: it is not computed of what the head gives, or of the numbers in that alone", t.Objective.Name())
	}
	return t.carryBack(loss, scalar(n)) // the gradient of the sum: batches may have different numbers of images
}

// add adds what a batch came to, and returns what its images weigh.
func (l *batchwise) add(b *data.Batch, loss, score float64, s *sum) float64 {
	n := float64(b.Len())
	if o, ok := within[weighing](l.t.Objective); ok {
		n = o.weigh(b)
	}
	s.loss += loss * n
	s.score += score
	s.images += b.Len()
	s.weight += n
	return n
}

// judgeBatch runs a batch through the model and judges what comes out, or says what is wrong with a loss. A scorer gets
// what comes out.
func (l *batchwise) judgeBatch(b *data.Batch, from Source, all scorer) (loss mat.Tensor, score float64, err error) {
	loss, score, err = l.judged(b, from, all)
	switch {
	case err != nil:
		return nil, 0, err
	case loss == nil || loss.Size() != 1:
		what := "none"
		if loss != nil {
			what = fmt.Sprint(loss.Shape())
		}
		return nil, 0, fmt.Errorf("finetune: objective %q: loss %s of %d images, want [1 1], their mean", l.t.Objective.Name(), what, b.Len())
	case !finite(score):
		return nil, 0, fmt.Errorf("finetune: objective %q: score %v of %d images, want a number, their sum", l.t.Objective.Name(), score, b.Len())
	}
	return loss, score, nil
}

func (l *batchwise) judge(ctx context.Context, from Source, s *sum) error {
	var all scorer
	if o, ok := within[scoring](l.t.Objective); ok {
		all = o.scorer()
	}
	for b, err := range from.Batches(ctx, 0, 0) {
		if err != nil {
			return err
		}
		l.t.note(b, s)
		if b.Len() == 0 {
			continue
		}
		loss, score, err := l.judgeBatch(b, from, all)
		if err != nil {
			return err
		}
		l.add(b, loss.Item().F64(), score, s)
		l.t.judgedBatch(b, from)
	}
	if all != nil {
		s.score = all.score() * s.weight
	}
	return nil
}

// beside returns the bytes of the models that the objective brings with it.
func (l *batchwise) beside() int64 {
	if o, ok := l.t.Objective.(interface{ bytes() int64 }); ok {
		return o.bytes()
	}
	return 0
}

// scalar returns x as a matrix [1,1].
func scalar(x float64) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(1, 1), mat.WithBacking([]float32{float32(x)}))
}

// carryBack carries a gradient of y through the graph that y was computed by, which is dropped.
func (t *Trainer) carryBack(y mat.Tensor, gradient *mat.Dense[float32]) error {
	y.AccGrad(gradient)
	err := ag.Backward(y)
	if t.large {
		runtime.GC() // drops the graph before there is another; by itself it would wait for as much again
	}
	return err
}
