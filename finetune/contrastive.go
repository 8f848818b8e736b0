package finetune

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"

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
	Text      *cliptext.Model     // it is changed as the tower is
	Tokenizer *cliptext.Tokenizer // of Text
	// Truncate cuts captions of more words than the text tower takes, as OpenAI's tokenize does if it is
	// asked to. Otherwise they are an error before the first step.
	Truncate bool

	hash string // of Text before it learns
}

func (o *Contrastive) learner(t *Trainer) learner { return &pairing{images{batchwise{t: t}}, o} }

// Name implements [Objective].
func (o *Contrastive) Name() string {
	name := fmt.Sprintf("contrastive with the text tower %.12s", o.hash)
	if o.Truncate {
		name += ", long captions cut"
	}
	return name
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

// Judge implements [Objective], for the pairs of a batch alone.
func (o *Contrastive) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	p, err := o.pairs(y, b)
	if err != nil {
		return nil, 0, err
	}
	return p.loss(o), p.recalled(), nil
}

// pairs returns those of a batch whose images have the embeddings y.
func (o *Contrastive) pairs(y mat.Tensor, b *data.Batch) (pairs, error) {
	if s := y.Shape(); s[0] != b.Len() || s[1] != o.Text.Config.EmbedDim {
		return pairs{}, fmt.Errorf("finetune: embeddings %v of %d images, the texts have %d numbers", s, b.Len(), o.Text.Config.EmbedDim)
	}
	words, err := o.words(b.Captions)
	if err != nil {
		return pairs{}, err
	}
	z, err := o.Text.Forward(words)
	if err != nil {
		return pairs{}, fmt.Errorf("finetune: %w", err)
	}
	return pairs{y, z, words}, nil
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
	if add(long, "have captions of more than the %d tokens that the text tower takes, with begin and end", context); len(long) > 0 {
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
