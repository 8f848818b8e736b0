package finetune

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
)

// pairing is the [learner] of a tower of images, perhaps with a head, and one of texts.
type pairing struct {
	images
	o *Contrastive
}

// check says everything that can be wrong with captions before the first step.
func (l *pairing) check() error {
	o, t := l.o, l.t
	if o.Text == nil || o.Tokenizer == nil {
		return errors.New("finetune: contrastive: text tower and tokenizer must be given")
	}
	var errs []error
	text := o.Text.Config
	if t.Encoder != nil {
		errs = append(errs, errors.New("finetune: contrastive: an encoder, whose tokens are not compared with texts"))
	} else if e := t.Tower.Config.EmbedDim; t.Head == nil && (t.Features.Kind != clipvit.Embedding || e != text.EmbedDim) {
		errs = append(errs, fmt.Errorf("finetune: contrastive: the tower of images has embeddings of %d numbers, that of texts %d", e, text.EmbedDim))
	}
	if n, end := o.Tokenizer.Len(), o.Tokenizer.End(); n > text.Vocab || end != text.End {
		errs = append(errs, fmt.Errorf("finetune: contrastive: the vocabulary has %d tokens, the last of a text %d; the text tower has %d, the last %d: they are not of one model",
			n, end, text.Vocab, text.End))
	}
	if t.Recipe.Batch*t.Recipe.Accumulate < 2 {
		errs = append(errs, errors.New("finetune: contrastive: steps of 1 pair, want at least 2: alone there is nothing to tell it from"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, s := range []Source{t.Train, t.Validation} {
		if l, ok := s.(*data.Loader); ok {
			errs = append(errs, o.checkCaptions(l.Data))
		}
	}
	o.hash = hashOf(o.Text)
	return errors.Join(errs...)
}

func (l *pairing) parts() parts {
	p := l.images.parts()
	p.Text = l.o.Text
	return p
}

func (l *pairing) loaded() int64 { return l.images.loaded() + bytesOf(l.o.Text) }

func (l *pairing) free(rng *rand.Rand) error {
	if err := l.images.free(rng); err != nil {
		return err
	}
	l.t.Recipe.freeText(l.o.Text)
	return nil
}

func (l *pairing) recompute(yes bool) {
	l.images.recompute(yes)
	l.o.Text.Recompute = yes
}

func (l *pairing) together() bool { return true }

func (l *pairing) stepped() {
	if l.t.Recipe.ScaleRate > 0 {
		l.o.clamp()
	}
}

// embed computes the pairs of a batch.
func (l *pairing) embed(b *data.Batch, from Source) (pairs, error) {
	y, err := l.forward(b, from) // [B,E]
	if err != nil {
		return pairs{}, err
	}
	return l.o.pairs(y, b)
}

// embedAll computes the pairs of several batches without a graph, as matrices that want gradients where what they
// come from does.
func (l *pairing) embedAll(batches []*data.Batch) (pairs, error) {
	t := l.t
	images, texts := transformer.WantsGrad(t.Tower) || t.Head != nil && transformer.WantsGrad(t.Head), t.Recipe.TextRate > 0
	defer t.withoutGraph()()
	var g gathering
	for _, b := range batches {
		p, err := l.embed(b, t.Train)
		if err != nil {
			return pairs{}, err
		}
		g.add(p)
	}
	return g.pairs(images, texts), nil
}

// learn adds the gradients of the loss of all pairs of a step.
func (l *pairing) learn(batches []*data.Batch, s *sum) error {
	t := l.t
	batches = slices.DeleteFunc(batches, func(b *data.Batch) bool {
		t.note(b, s)
		return b.Len() == 0
	})
	var p pairs
	var err error
	switch len(batches) {
	case 0:
		return nil
	case 1:
		t.reserve()
		p, err = l.embed(batches[0], t.Train)
	default:
		if p, err = l.embedAll(batches); err == nil {
			t.reserve()
		}
	}
	if err != nil {
		return err
	}
	n := float64(len(p.words))
	loss := p.loss(l.o) // [1,1]
	v := loss.Item().F64()
	if !finite(v) {
		return &optim.NonFiniteError{Step: t.state.Step + 1, What: "loss", Value: v}
	}
	s.loss += v * n
	s.score += p.recalled()
	s.images += len(p.words)
	if err := t.carryBack(loss, scalar(n)); err != nil { // of the sum, not the mean; see batchwise.learnOne
		return err
	}
	if len(batches) == 1 {
		return nil
	}
	at := 0
	for _, b := range batches {
		n := b.Len()
		if g := gradient(p.images, at, n); g != nil {
			y, err := l.forward(b, t.Train)
			if err != nil {
				return err
			}
			if err := t.carryBack(y, g); err != nil {
				return err
			}
		}
		if g := gradient(p.texts, at, n); g != nil {
			z, err := l.o.Text.Forward(p.words[at : at+n])
			if err != nil {
				return fmt.Errorf("finetune: %w", err)
			}
			if err := t.carryBack(z, g); err != nil {
				return err
			}
		}
		at += n
	}
	return nil
}

// gradient returns that of n rows of a matrix, or nil if it has none.
func gradient(x mat.Tensor, from, n int) *mat.Dense[float32] {
	if !x.HasGrad() {
		return nil
	}
	cols := x.Shape()[1]
	return mat.NewDense[float32](mat.WithShape(n, cols), mat.WithBacking(x.Grad().Data().F32()[from*cols:(from+n)*cols]))
}

// judge judges all pairs of a source: their scores together, their losses as many at a time as a step has.
func (l *pairing) judge(ctx context.Context, from Source, s *sum) error {
	var g gathering
	for b, err := range from.Batches(ctx, 0, 0) {
		if err != nil {
			return err
		}
		l.t.note(b, s)
		if b.Len() == 0 {
			continue
		}
		p, err := l.embed(b, from)
		if err != nil {
			return err
		}
		g.add(p)
		l.t.judgedBatch(b, from)
	}
	if s.images = len(g.words); s.images == 0 {
		return nil
	}
	all := g.pairs(false, false)
	for part := range all.parts(l.t.Recipe.Batch * l.t.Recipe.Accumulate) {
		s.loss += part.loss(l.o).Item().F64() * float64(len(part.words))
	}
	s.score = all.recalled()
	return nil
}

// activations adds what the text tower takes of a batch, and what a step holds of all its pairs.
func (l *pairing) activations(recompute bool) (activations, data int64) {
	t, o := l.t, l.o
	activations, data = l.images.activations(recompute)
	c, batch, steps := o.Text.Config, t.Recipe.Batch, t.Recipe.Accumulate
	text := kept(o.Text.Blocks, t.Recipe.TextRate > 0, int64(batch)*int64(c.Context), int64(batch), c.Width, c.MLPWidth, c.Heads, recompute)
	if t.Recipe.TextRate > 0 {
		text += 4 * int64(c.Vocab) * int64(c.Width) // the gradient of the words of a batch, before it joins that of the step
	}
	if steps == 1 {
		activations += text
	} else { // there is the graph of one tower at a time
		activations = max(activations, text)
	}
	n := int64(batch) * int64(steps)
	activations += 4 * (2*n*n + 8*n*int64(c.EmbedDim)) // logits of both directions; embeddings, of length 1, and gradients of these
	v := t.Tower.Config
	return activations, data + 4*int64(batch)*int64(steps-1)*int64(v.Patches()*v.PatchLen())
}

// savings adds what takes less: a tower that is locked.
func (l *pairing) savings(m Memory, _, _ int64, add func(total int64, format string, a ...any)) {
	t := l.t
	// A weight that learns takes 4 numbers, one that does not 1.
	if t.Recipe.TextRate > 0 {
		add(m.Total()-3*bytesOf(l.o.Text), "with the text tower locked")
	}
	if t.Recipe.Tower == Complete {
		c := t.Tower.Config
		add(m.Total()-3*bytesOf(t.Tower)-max(0, m.Activations-activations(0, int64(t.Recipe.Batch)*int64(c.Tokens()), l.read(), c.Width, c.MLPWidth, c.Heads, true)), "with the tower of images locked")
	}
}

func (l *pairing) models(all bool) converter.Models {
	m := l.images.models(all)
	if all || l.t.Recipe.TextRate > 0 || l.t.Recipe.ScaleRate > 0 {
		m.Text = l.o.Text
	}
	return m
}
