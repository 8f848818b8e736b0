// Package zeroshot says which of some labels fits a picture best, without training, as CLIP does.
//
//	labels, templates ─▶ texts ─▶ text tower ─▶ length 1 ─▶ mean of a label's ─▶ length 1 ─┐
//	                                                                                      cosine ─▶ ·scale ─▶ softmax
//	picture ─▶ vision tower ─▶ length 1 ──────────────────────────────────────────────────┘
//
// Labels that are not given do not count: one of them always fits best. A label's embedding is the mean of those of the
// label in every template, each of length 1, and has length 1 again.
//
// Sources: openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb, zeroshot_classifier, and clip/model.py, CLIP.forward;
// mlfoundations/open_clip, src/open_clip/zero_shot_classifier.py, build_zero_shot_classifier.
package zeroshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
)

// Place is where a template has the label.
const Place = "{}"

// DefaultTemplate is that of OpenAI's examples.
const DefaultTemplate = "a photo of a " + Place + "."

// textsTogether is about how many texts are encoded between two calls of [Progress]: a few seconds of a large tower. Their
// embeddings are all that is in memory beside those of the labels.
const textsTogether = 320

// An Option says more of how [New] makes a classifier.
type Option func(*options)

type options struct {
	cache    string
	progress func(done, total int)
}

// Cache keeps the embeddings of labels in a folder, which is made if it is not there, and takes those that are there
// already. What is kept is found again for the same label, templates, tokenizer and weights of the text tower only; nothing
// in it ever becomes wrong. Any number of processes may use it at once, and a file in it that is damaged counts as absent.
func Cache(dir string) Option { return func(o *options) { o.cache = dir } }

// Progress calls a function with how many texts are encoded and how many there are, from 0 of them on: one for every label
// and template, without the labels that came from the cache.
func Progress(f func(done, total int)) Option { return func(o *options) { o.progress = f } }

// A Classifier tells labels apart by the embeddings of their texts. It may be used by many goroutines at once.
type Classifier struct {
	labels []string
	texts  [][]float64 // [K][E], of length 1
	from   *source
	by     clip.Classifier
}

// A source makes the embeddings of labels.
type source struct {
	model     *clip.Model
	templates []string
	scale     float64
	kept      *space // nil without a cache
	progress  func(done, total int)
}

var _ clip.Classifier = &Classifier{}

// New returns a classifier of a model with both towers: it encodes every label in every template, in which {} stands for
// the label. Without templates there is [DefaultTemplate] alone. The model must stay open as long as the classifier is
// used.
//
// A [clip.ErrRequest] is returned for fewer than two labels, one that is empty or stands twice, and a template without {};
// [clip.ErrNoText] for a model without a text tower, and [clip.ErrText] for a text that the model does not take.
func New(ctx context.Context, m *clip.Model, labels, templates []string, o ...Option) (*Classifier, error) {
	var with options
	for _, f := range o {
		f(&with)
	}
	if len(templates) == 0 {
		templates = []string{DefaultTemplate}
	}
	if err := check(labels, templates); err != nil {
		return nil, err
	}
	text, err := m.Text(ctx)
	if err != nil {
		return nil, err
	}
	if m.Checkpoint() == nil { // towers in memory, of which nobody has seen yet that they are of one model
		if v, err := m.Vision(ctx); err == nil && v.Config.OutputDim() != text.Config.EmbedDim {
			return nil, badRequest("embeddings of pictures have %d values, those of texts %d: the towers are not of one model", v.Config.OutputDim(), text.Config.EmbedDim)
		}
	}
	from := &source{model: m, templates: slices.Clone(templates), scale: text.Scale(), progress: with.progress}
	if with.cache != "" {
		if from.kept, err = openSpace(ctx, with.cache, m, templates, text.Config.EmbedDim); err != nil {
			return nil, err
		}
	}
	return from.classifier(ctx, labels, nil)
}

// With returns a classifier of other labels by the same model and templates, with the same options. Labels that both have
// are not encoded again. The errors are those of [New].
func (c *Classifier) With(ctx context.Context, labels []string) (*Classifier, error) {
	if err := check(labels, c.from.templates); err != nil {
		return nil, err
	}
	known := make(map[string][]float64, len(c.labels))
	for i, l := range c.labels {
		known[l] = c.texts[i]
	}
	return c.from.classifier(ctx, labels, known)
}

// classifier returns that of labels, some of whose embeddings may be known.
func (s *source) classifier(ctx context.Context, labels []string, known map[string][]float64) (*Classifier, error) {
	c := &Classifier{labels: slices.Clone(labels), texts: make([][]float64, len(labels)), from: s}
	c.by = clip.ClassifyBy(s.model, clipvit.Features{Kind: clipvit.Embedding}, labels, c.Rank)
	for i, l := range labels {
		if c.texts[i] = known[l]; c.texts[i] == nil && s.kept != nil {
			c.texts[i] = s.kept.get(l)
		}
	}
	if err := c.encode(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// check says what is wrong with labels and templates.
func check(labels, templates []string) error {
	if n := len(labels); n == 1 {
		return badRequest("got 1 label, want at least 2")
	} else if n == 0 {
		return badRequest("got 0 labels, want at least 2")
	}
	first := make(map[string]int, len(labels))
	for i, l := range labels {
		l = strings.TrimSpace(l)
		if l == "" {
			return badRequest("label %d of %d is empty", i+1, len(labels))
		}
		if j, twice := first[l]; twice {
			return badRequest("the label %q is given twice, as number %d and %d", l, j+1, i+1)
		}
		first[l] = i
	}
	for _, t := range templates {
		if !strings.Contains(t, Place) {
			return badRequest("the template %q has no %s, where the label stands", t, Place)
		}
	}
	return nil
}

// badRequest returns a [clip.ErrRequest] with a text of its own.
func badRequest(format string, a ...any) error {
	return unfit{"zeroshot: " + fmt.Sprintf(format, a...), clip.ErrRequest}
}

// encode makes the embeddings of the labels that have none.
func (c *Classifier) encode(ctx context.Context) error {
	templates, kept, progress := c.from.templates, c.from.kept, c.from.progress
	var missing []int
	for i, x := range c.texts {
		if x == nil {
			missing = append(missing, i)
		}
	}
	done, total := 0, len(missing)*len(templates)
	if progress == nil {
		progress = func(int, int) {}
	}
	progress(done, total)
	for group := range slices.Chunk(missing, max(1, textsTogether/len(templates))) {
		var texts []string // of each label all templates
		for _, i := range group {
			for _, t := range templates {
				texts = append(texts, strings.ReplaceAll(t, Place, c.labels[i]))
			}
		}
		all, err := c.from.model.EncodeText(ctx, texts)
		if errors.Is(err, clip.ErrText) {
			return c.blame(ctx, group, err)
		} else if err != nil {
			return err
		}
		for _, i := range group {
			c.texts[i] = mean(all[:len(templates)])
			all = all[len(templates):]
			if v := c.texts[i][0]; v-v != 0 {
				return fmt.Errorf("zeroshot: the embedding of the label %q is %v, want numbers: the model's weights are damaged or too large", c.labels[i], v)
			}
			if kept != nil {
				if err := kept.put(c.labels[i], c.texts[i]); err != nil {
					return err
				}
			}
		}
		done += len(texts)
		progress(done, total)
	}
	return nil
}

// blame says which label of a group and which template make the text that is no text for the model.
func (c *Classifier) blame(ctx context.Context, group []int, err error) error {
	m := c.from.model
	t, _, e := m.Tokenizer()
	if e != nil {
		return e
	}
	text, e := m.Text(ctx)
	if e != nil {
		return e
	}
	for _, i := range group {
		for _, template := range c.from.templates {
			if _, e := t.Tokenize([]string{strings.ReplaceAll(template, Place, c.labels[i])}, text.Config.Context, false); e != nil {
				return unfit{fmt.Sprintf("zeroshot: the label %q in the template %q: %s", c.labels[i], template, strings.TrimPrefix(e.Error(), "cliptext: ")), err}
			}
		}
	}
	return err
}

// unfit is err with a text of its own.
type unfit struct {
	text string
	err  error
}

func (u unfit) Error() string { return u.text }
func (u unfit) Unwrap() error { return u.err }

// mean returns the direction of the mean of vectors, each divided by its length before.
func mean(all [][]float32) []float64 {
	sum := make([]float64, len(all[0]))
	for _, x := range all {
		for i, v := range unit(x) {
			sum[i] += v
		}
	}
	return unit(sum)
}

// unit returns x divided by its length.
func unit[T float32 | float64](x []T) []float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v) / math.Sqrt(sum)
	}
	return y
}

// Labels returns the labels in the order in which they were given.
func (c *Classifier) Labels() []string { return slices.Clone(c.labels) }

// Rank returns all labels, the best first, for the embedding [E] of a picture, of any length but 0: for that every
// probability is NaN. It panics if E is not that of the model.
//
// Source: openai/CLIP, clip/model.py, CLIP.forward, and its README.md.
func (c *Classifier) Rank(vector []float32) []clip.Label {
	if e := len(c.texts[0]); len(vector) != e {
		panic(fmt.Sprintf("zeroshot: a vector of %d values, want %d", len(vector), e))
	}
	x := unit(vector)
	all := make([]clip.Label, len(c.labels))
	peak, total := math.Inf(-1), 0.0
	for i, t := range c.texts {
		all[i].Name = c.labels[i]
		for j, v := range t {
			all[i].Cosine += v * x[j]
		}
		peak = max(peak, c.from.scale*all[i].Cosine)
	}
	for i := range all {
		all[i].Probability = math.Exp(c.from.scale*all[i].Cosine - peak)
		total += all[i].Probability
	}
	for i := range all {
		all[i].Probability /= total
	}
	slices.SortStableFunc(all, func(a, b clip.Label) int { return cmp.Compare(b.Probability, a.Probability) }) // as probable ones in their order
	return all
}

// Classify returns all labels for each picture, the best first, and the error of the first that cannot be read.
func (c *Classifier) Classify(ctx context.Context, pictures ...clip.Picture) ([][]clip.Label, error) {
	return c.by.Classify(ctx, pictures...)
}

// ClassifyAll yields all labels for each picture, the best first, in the order of the pictures; they are decoded ahead. It
// ends with the first error. With SkipErrors in o, a picture that cannot be read has its error in [clip.Classified]
// instead.
func (c *Classifier) ClassifyAll(ctx context.Context, pictures iter.Seq[clip.Picture], o clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return c.by.ClassifyAll(ctx, pictures, o)
}
