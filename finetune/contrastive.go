package finetune

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/op"
)

var _ Objective = &Contrastive{}

// Contrastive is CLIP's own objective, of images and their captions:
//
//	patches ─▶ Tower ─▶ images [N,E] ─┐
//	                                  ├─▶ cosines · exp(LogitScale) [N,N] ─▶ cross-entropy of rows and of columns
//	captions ─▶ Text ─▶ texts [N,E] ──┘
//
// Every image is to be told from the images of all other captions, and every caption from those of all other
// images, of the step: the N pairs of its [Recipe.Accumulate] batches are judged together, however few of them
// go through the towers at a time. First all are embedded without a graph; then the gradient of the loss by the
// embeddings is carried back into the towers, batch by batch, each computed again with a graph. So a step of many
// pairs takes the memory of a batch, another forward pass, and comes to the gradient of all at once (Gao et al.,
// "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983).
//
// Captions that are the same words are one text: the target of an image is spread evenly over all of its texts,
// and that of a text over all of its images. Without this a caption would be told from itself. If no two captions
// of a step are the same, the loss is CLIP's.
//
// A tower may be locked: the text tower by a [Recipe.TextRate] of 0, that of images by [Recipe.Tower] None, as LiT
// does it (arXiv 2111.07991). LogitScale has a rate of its own, [Recipe.ScaleRate], and is held between 0 and ln 100
// after every step. Images may go through a head, too, whose rows are then compared with the texts.
//
// The score is the share of images whose caption, and of captions whose image, is nearer than all others: of a
// step among its pairs, of a validation among all of its pairs. Losses of a validation are those of as many
// pairs as a step has.
//
// Source: openai/CLIP, clip/model.py, CLIP.forward; mlfoundations/open_clip, src/open_clip/loss.py and
// src/open_clip_train/train.py, train_one_epoch.
type Contrastive struct {
	Text      *cliptext.Model // it is changed as the tower is
	Tokenizer *cliptext.Tokenizer
	// Truncate cuts captions of more words than the text tower takes, as OpenAI's tokenize does if it is
	// asked to. Otherwise they are an error before the first step.
	Truncate bool

	hash string // of Text before it learns
}

// Name implements [Objective].
func (o *Contrastive) Name() string {
	name := fmt.Sprintf("contrastive with the text tower %.12s", o.hash)
	if o.Truncate {
		name += ", long captions cut"
	}
	return name
}

// Check implements [Objective].
func (o *Contrastive) Check(y mat.Tensor, b *data.Batch) error {
	if s := y.Shape(); s[0] != b.Len() || s[1] != o.Text.Config.EmbedDim {
		return fmt.Errorf("finetune: embeddings %v of %d images, the texts have %d numbers", s, b.Len(), o.Text.Config.EmbedDim)
	}
	_, err := o.words(b.Captions)
	return err
}

// words returns those of captions.
func (o *Contrastive) words(captions []string) ([][]int, error) {
	for i, c := range captions {
		if strings.TrimSpace(c) == "" {
			return nil, fmt.Errorf("finetune: caption %d of %d is missing", i+1, len(captions))
		}
	}
	words, err := o.Tokenizer.Tokenize(captions, o.Text.Config.Context, o.Truncate)
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	return words, nil
}

// Loss implements [Objective], for the pairs of a batch alone.
func (o *Contrastive) Loss(y mat.Tensor, b *data.Batch) mat.Tensor {
	p := o.pairs(y, b)
	return p.loss(o)
}

// Score implements [Objective].
func (o *Contrastive) Score(y mat.Tensor, b *data.Batch) float64 {
	p := o.pairs(y.Value(), b)
	return p.recalled()
}

// pairs returns those of a batch that has been checked.
func (o *Contrastive) pairs(y mat.Tensor, b *data.Batch) pairs {
	words, err := o.words(b.Captions)
	if err != nil {
		panic(err) // Check has seen them
	}
	z, err := o.Text.Forward(words)
	if err != nil {
		panic(err) // the tokenizer has ended them
	}
	return pairs{y, z, words}
}

// Measure implements [Objective].
func (o *Contrastive) Measure() string { return "recall@1" }

// maxLogitScale is what LogitScale may be: cosines are multiplied with 100 at most.
//
// Source: Radford et al., arXiv 2103.00020, section 2.5.
var maxLogitScale = float32(math.Log(100))

// clamp holds LogitScale where it may be.
func (o *Contrastive) clamp() {
	v := mat.Data[float32](o.Text.LogitScale)
	v[0] = min(max(v[0], 0), maxLogitScale)
}

// pairs are embeddings of images and of their captions, not normalised.
type pairs struct {
	images, texts mat.Tensor // [N,E]
	words         [][]int    // of the captions
}

func (p pairs) loss(o *Contrastive) mat.Tensor {
	return op.Contrastive(op.Normalize(p.images), op.Normalize(p.texts), o.Text.LogitScale, p.alike())
}

// recalled returns the mean of both directions.
func (p pairs) recalled() float64 {
	ofImages, ofTexts := op.Recalled(op.Normalize(p.images.Value()), op.Normalize(p.texts.Value()), p.alike())
	return float64(ofImages+ofTexts) / 2
}

// alike numbers the captions, the same words alike; nil if no two are.
func (p pairs) alike() []int {
	numbers := make([]int, len(p.words))
	seen := map[string]int{}
	for i, w := range p.words {
		key := fmt.Sprint(w)
		if _, ok := seen[key]; !ok {
			seen[key] = len(seen)
		}
		numbers[i] = seen[key]
	}
	if len(seen) == len(p.words) {
		return nil
	}
	return numbers
}

// parts returns pairs of matrices without a graph, at most n at a time.
func (p pairs) parts(n int) iter.Seq[pairs] {
	return func(yield func(pairs) bool) {
		for at := 0; at < len(p.words); at += n {
			to := min(at+n, len(p.words))
			rows := func(x mat.Tensor) mat.Tensor {
				cols := x.Shape()[1]
				return mat.NewDense[float32](mat.WithShape(to-at, cols), mat.WithBacking(x.Data().F32()[at*cols:to*cols]))
			}
			if !yield(pairs{rows(p.images), rows(p.texts), p.words[at:to]}) {
				return
			}
		}
	}
}

// A gathering is pairs that come batch by batch, without a graph.
type gathering struct {
	images, texts []float32
	width         int
	words         [][]int
}

func (g *gathering) add(p pairs) {
	g.images = append(g.images, p.images.Value().Data().F32()...)
	g.texts = append(g.texts, p.texts.Value().Data().F32()...)
	g.words = append(g.words, p.words...)
	g.width = p.images.Shape()[1]
}

// pairs returns what has been gathered, as matrices that want gradients or not.
func (g *gathering) pairs(images, texts bool) pairs {
	shape := mat.WithShape(len(g.words), g.width)
	return pairs{
		mat.NewDense[float32](shape, mat.WithBacking(g.images), mat.WithGrad(images)),
		mat.NewDense[float32](shape, mat.WithBacking(g.texts), mat.WithGrad(texts)), g.words,
	}
}

// embed computes the pairs of a batch.
func (t *Trainer) embed(o *Contrastive, b *data.Batch, from Source) (pairs, error) {
	y, err := t.forward(b, from) // [B,E]
	if err != nil {
		return pairs{}, err
	}
	return o.pairs(y, b), nil
}

// embedAll computes the pairs of several batches without a graph, as matrices that want gradients where what they
// come from does.
func (t *Trainer) embedAll(o *Contrastive, batches []*data.Batch) (pairs, error) {
	images, texts := learns(t.Tower) || t.Head != nil && learns(t.Head), t.Recipe.TextRate > 0
	defer t.withoutGraph()()
	var g gathering
	for _, b := range batches {
		p, err := t.embed(o, b, t.Train)
		if err != nil {
			return pairs{}, err
		}
		g.add(p)
	}
	return g.pairs(images, texts), nil
}

// learnPairs adds the gradients of the loss of all pairs of a step to those that are there.
func (t *Trainer) learnPairs(o *Contrastive, batches []*data.Batch, s *sum) error {
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
		p, err = t.embed(o, batches[0], t.Train)
	default:
		if p, err = t.embedAll(o, batches); err == nil {
			t.reserve()
		}
	}
	if err != nil {
		return err
	}
	n := float64(len(p.words))
	loss := p.loss(o) // [1,1]
	v := loss.Item().F64()
	if !finite(v) {
		return &optim.NonFiniteError{Step: t.state.Step + 1, What: "loss", Value: v}
	}
	s.loss += v * n
	s.score += p.recalled()
	s.images += len(p.words)
	sum := mat.NewDense[float32](mat.WithShape(1, 1), mat.WithBacking([]float32{float32(n)})) // not the mean; see learn
	if err := t.carryBack(loss, sum); err != nil {
		return err
	}
	if len(batches) == 1 {
		return nil
	}
	at := 0
	for _, b := range batches {
		n := b.Len()
		if g := gradient(p.images, at, n); g != nil {
			y, err := t.forward(b, t.Train)
			if err != nil {
				return err
			}
			if err := t.carryBack(y, g); err != nil {
				return err
			}
		}
		if g := gradient(p.texts, at, n); g != nil {
			z, err := o.Text.Forward(p.words[at : at+n])
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

// carryBack carries a gradient of y through the graph that y was computed by, which is dropped.
func (t *Trainer) carryBack(y mat.Tensor, gradient *mat.Dense[float32]) error {
	y.AccGrad(gradient)
	err := ag.Backward(y)
	if t.large {
		runtime.GC() // or it waits for as much again
	}
	return err
}

// judgePairs judges all pairs of a source: their scores together, their losses as many at a time as a step has.
func (t *Trainer) judgePairs(ctx context.Context, o *Contrastive, from Source, s *sum) error {
	var g gathering
	for b, err := range from.Batches(ctx, 0, 0) {
		if err != nil {
			return err
		}
		t.note(b, s)
		if b.Len() == 0 {
			continue
		}
		p, err := t.embed(o, b, from)
		if err != nil {
			return err
		}
		g.add(p)
	}
	if s.images = len(g.words); s.images == 0 {
		return nil
	}
	all := g.pairs(false, false)
	for part := range all.parts(t.Recipe.Batch * t.Recipe.Accumulate) {
		s.loss += part.loss(o).Item().F64() * float64(len(part.words))
	}
	s.score = all.recalled()
	return nil
}

// prepare checks everything that can be wrong with captions before the first step.
func (o *Contrastive) prepare(c *Config) error {
	if o.Text == nil || o.Tokenizer == nil {
		return errors.New("finetune: contrastive: text tower and tokenizer must be given")
	}
	var errs []error
	text := o.Text.Config
	if c.Encoder != nil {
		errs = append(errs, errors.New("finetune: contrastive: an encoder, whose tokens are not compared with texts"))
	} else if e := c.Tower.Config.EmbedDim; c.Head == nil && (c.Features.Patches || e != text.EmbedDim) {
		errs = append(errs, fmt.Errorf("finetune: contrastive: the tower of images has embeddings of %d numbers, that of texts %d", e, text.EmbedDim))
	}
	if n, end := o.Tokenizer.Len(), o.Tokenizer.End(); n > text.Vocab || end != text.End {
		errs = append(errs, fmt.Errorf("finetune: contrastive: the vocabulary has %d words, the last of a text %d; the text tower has %d, the last %d: they are not of one model",
			n, end, text.Vocab, text.End))
	}
	if c.Recipe.Batch*c.Recipe.Accumulate < 2 {
		errs = append(errs, errors.New("finetune: contrastive: steps of 1 pair, want at least 2: alone there is nothing to tell it from"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, s := range []Source{c.Train, c.Validation} {
		if l, ok := s.(*data.Loader); ok {
			errs = append(errs, o.checkCaptions(l.Data))
		}
	}
	o.hash = hashOf(o.Text)
	return errors.Join(errs...)
}

// shownCaptions is how many bad captions an error names.
const shownCaptions = 5

// checkCaptions returns everything that is wrong with captions.
func (o *Contrastive) checkCaptions(d *data.Dataset) error {
	var missing, long []string
	context := o.Text.Config.Context
	for _, s := range d.Samples {
		if strings.TrimSpace(s.Caption) == "" {
			missing = append(missing, s.Path)
			continue
		}
		words, err := o.Tokenizer.Encode(s.Caption)
		if err != nil {
			return fmt.Errorf("finetune: %s: %w", s.Path, err)
		}
		if n := len(words) + 2; n > context && !o.Truncate { // with those that begin and end it
			long = append(long, fmt.Sprintf("%s (%d)", s.Path, n))
		}
	}
	var errs []error
	add := func(list []string, format string, args ...any) {
		if n := len(list); n > 0 {
			text := strings.Join(list[:min(n, shownCaptions)], ", ")
			if n > shownCaptions {
				text += fmt.Sprintf(" and %d more", n-shownCaptions)
			}
			errs = append(errs, fmt.Errorf("finetune: %d of %d pictures %s: %s", n, len(d.Samples), fmt.Sprintf(format, args...), text))
		}
	}
	add(missing, "have no caption")
	if add(long, "have captions of more than the %d words that the text tower takes, with begin and end", context); len(long) > 0 {
		errs[len(errs)-1] = fmt.Errorf("%w; %w", errs[len(errs)-1], ErrCaptions)
	}
	return errors.Join(errs...)
}

// freeText makes what r says of a text tower learn, and nothing else.
func (r Recipe) freeText(m *cliptext.Model) {
	if r.TextRate > 0 {
		m.Unfreeze()
	} else {
		m.Freeze()
	}
	m.LogitScale.SetRequiresGrad(r.ScaleRate > 0)
}

// textRate returns the rate of a parameter of a text tower of so many layers: that of LogitScale, or one that is
// lower from layer to layer, as for images.
func (r Recipe) textRate(path string, layers int) float64 {
	name := strings.TrimPrefix(path, "Text.")
	switch name {
	case "LogitScale":
		return r.ScaleRate
	case "Token", "Position": // below all blocks
		name = "Embed." + name
	}
	return r.TextRate * optim.LayerDecay(name, layers, r.LayerDecay)
}

// InterpolateText is [Interpolate] for text towers.
func InterpolateText(tuned, original *cliptext.Model, share float64) error {
	if tuned.Config != original.Config {
		return fmt.Errorf("finetune: the tuned text tower is %+v, the original %+v", tuned.Config, original.Config)
	}
	if err := checkShare(share); err != nil {
		return err
	}
	interpolate(tuned, original, share)
	return nil
}

// pairMemory adds what a text tower takes of a batch, and what a step holds of all its pairs.
func (t *Trainer) pairMemory(o *Contrastive, m *Memory) {
	c, batch, steps := o.Text.Config, t.Recipe.Batch, t.Recipe.Accumulate
	text := func(recompute bool) int64 {
		n := kept(o.Text.Blocks, t.Recipe.TextRate > 0, int64(batch)*int64(c.Context), c.Width, c.MLPWidth, c.Heads, recompute)
		if t.Recipe.TextRate > 0 {
			n += 4 * int64(c.Vocab) * int64(c.Width) // the gradient of the words of a batch, before it joins that of the step
		}
		return n
	}
	with := func(images, text int64) int64 {
		if steps == 1 { // or there is the graph of one tower at a time
			return images + text
		}
		return max(images, text)
	}
	n := int64(batch) * int64(steps)
	ofStep := 4 * (2*n*n + 8*n*int64(c.EmbedDim)) // logits of both directions; embeddings, of length 1, and gradients of these
	m.Activations = with(m.Activations, text(o.Text.Recompute)) + ofStep
	m.Recomputed = with(m.Recomputed, text(true)) + ofStep
	v := t.Tower.Config
	m.Data += 4 * int64(batch) * int64(steps-1) * int64(v.Patches()*v.PatchLen())
}

// pairSavings says what takes less than m: a tower that is locked.
func (t *Trainer) pairSavings(o *Contrastive, m Memory, add func(total int64, format string, a ...any)) {
	// A weight that learns takes 4 numbers, one that does not 1.
	if t.Recipe.TextRate > 0 {
		add(m.Total()-3*bytesOf(o.Text), "with the text tower locked")
	}
	if t.Recipe.Tower == Complete {
		c := t.Tower.Config
		add(m.Total()-3*bytesOf(t.Tower)-max(0, m.Activations-activations(0, int64(t.Recipe.Batch)*int64(c.Tokens()), c.Width, c.MLPWidth, c.Heads, true)), "with the tower of images locked")
	}
}

// recompute has both towers keep next to nothing of their blocks, or all.
func (t *Trainer) recompute(yes bool) {
	t.Tower.Recompute = yes
	if t.model.Text != nil {
		t.model.Text.Recompute = yes
	}
}

// textTower returns that of a contrastive objective, or nil, after a check of all that it needs.
func (c *Config) textTower() (*cliptext.Model, error) {
	o, ok := c.Objective.(*Contrastive)
	if !ok {
		if r := c.Recipe; r.Captions || r.TextRate > 0 || r.ScaleRate > 0 {
			return nil, fmt.Errorf("finetune: recipe %s has captions learnt by a text tower, and the objective is %s", r.Name, c.Objective.Name())
		}
		return nil, nil
	}
	return o.Text, o.prepare(c)
}
