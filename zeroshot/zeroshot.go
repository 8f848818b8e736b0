// Package zeroshot says which of some labels fits a picture best, or which of them fit it, without training, as CLIP does.
//
//	labels, templates ─▶ texts ─▶ text tower ─▶ length 1 ─▶ mean of a label's ─▶ length 1 ─┐
//	                                                                                      cosine ─▶ ·scale ─▶ softmax
//	picture ─▶ vision tower ─▶ length 1 ──────────────────────────────────────────────────┘
//
// Labels that are not given do not count: one of them always fits best, and a [Threshold] refuses it. A label's embedding is the
// mean of those of the label in every template, each of length 1, and has length 1 again. With [MultiLabel] each label has a
// probability of its own, by a sigmoid in the place of the softmax.
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
	"github.com/vitago/vitago/internal/softmax"
)

// Place is where a template has the label. Python's {c} is the same.
const (
	Place      = "{}"
	namedPlace = "{c}"
)

// DefaultTemplate is that of OpenAI's examples, and DefaultNegative the same without a label.
const (
	DefaultTemplate = "a photo of a " + Place + "."
	DefaultNegative = "a photo."
)

// textsTogether is about how many texts are encoded between two calls of [Progress]: a few seconds of a large tower. Their
// embeddings are all that is in memory beside those of the labels.
const textsTogether = 320

// An Option says more of how [New] makes a classifier.
type Option func(*options)

type options struct {
	cache     string
	progress  func(done, total int)
	multi     bool
	bias      float64
	negatives []string
	encode    func(ctx context.Context, texts []string) ([][]float32, error)
}

// EncodeBy has the embeddings [B][E] of texts made by a function in the place of the model's [clip.Model.EncodeText], such as one that puts
// the texts of several callers together. Its errors are to be those of EncodeText.
func EncodeBy(f func(ctx context.Context, texts []string) ([][]float32, error)) Option {
	return func(o *options) { o.encode = f }
}

// Cache keeps the embeddings of labels in a folder, which is made if it is not there, and takes those that are there
// already. What is kept is found again for the same label, templates, tokenizer and weights of the text tower only; nothing
// in it ever becomes wrong. Any number of processes may use it at once, and a file in it that is damaged counts as absent.
func Cache(dir string) Option { return func(o *options) { o.cache = dir } }

// Progress calls a function with how many texts are encoded and how many there are, from 0 of them on: one for every label
// and template, without the labels that came from the cache.
func Progress(f func(done, total int)) Option { return func(o *options) { o.progress = f } }

// A Label is a name with the prompts that describe it.
type Label struct {
	Name    string   // what is answered; prompts need not have it
	Prompts []string // at least one; each is put into every template
}

// A Classifier tells labels apart by the embeddings of their texts. It may be used by many goroutines at once.
type Classifier struct {
	labels    []string
	keys      []string    // [K], by which embeddings are known
	texts     [][]float64 // [K][E], of length 1
	negatives [][]float64 // [K][E], of length 1; nil where labels exclude each other
	from      *source
	by        clip.Classifier
}

// A source makes the embeddings of labels.
type source struct {
	model     *clip.Model
	templates []string
	scale     float64
	kept      *space // nil without a cache
	progress  func(done, total int)
	embed     func(ctx context.Context, texts []string) ([][]float32, error) // of a text

	multi         bool
	bias          float64
	negatives     []string // templates, with or without {}
	keptNegatives *space   // likewise
}

var _ clip.Classifier = &Classifier{}

// embedding is what is taken of a picture.
var embedding = clipvit.Features{Kind: clipvit.Embedding}

// New returns a classifier of a model with both towers: it encodes every label in every template, in which {} or {c} stands
// for the label. Without templates there is [DefaultTemplate] alone. The model must stay open as long as the classifier is
// used.
//
// A [clip.ErrRequest] is returned for fewer than two labels, or one with [MultiLabel], one that is empty or stands twice, and a
// template without {}; [clip.ErrNoText] for a model without a text tower, and [clip.ErrText] for a text that the model does not
// take.
func New(ctx context.Context, m *clip.Model, labels, templates []string, o ...Option) (*Classifier, error) {
	if len(templates) == 0 {
		templates = []string{DefaultTemplate}
	}
	return NewPrompts(ctx, m, named(labels), templates, o...)
}

// named returns labels that are their own prompts.
func named(names []string) []Label {
	labels := make([]Label, len(names))
	for i, n := range names {
		labels[i] = Label{n, []string{n}}
	}
	return labels
}

// NewPrompts returns a classifier of labels that have prompts of their own: a label's embedding is the mean of those of its
// prompts in every template, each of length 1, and has length 1 again. Without templates a prompt is the whole text. The errors
// are those of [New], and a [clip.ErrRequest] for a label without prompts, or with one that is empty or stands twice.
func NewPrompts(ctx context.Context, m *clip.Model, labels []Label, templates []string, o ...Option) (*Classifier, error) {
	var with options
	for _, f := range o {
		f(&with)
	}
	if len(templates) == 0 {
		templates = []string{Place}
	}
	templates = normal(templates)
	if err := check(labels, templates, with.multi); err != nil {
		return nil, err
	}
	if with.bias-with.bias != 0 {
		return nil, badRequest("the bias is %v, want a number", with.bias)
	}
	for i, n := range with.negatives {
		if strings.TrimSpace(n) == "" {
			return nil, badRequest("negative text %d of %d is empty", i+1, len(with.negatives))
		}
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
	from := &source{
		model: m, templates: templates, scale: text.Scale(), progress: with.progress,
		multi: with.multi, bias: with.bias, negatives: normal(with.negatives), embed: with.encode,
	}
	if from.embed == nil {
		from.embed = m.EncodeText
	}
	if with.multi && len(from.negatives) == 0 {
		from.negatives = []string{DefaultNegative}
	}
	if with.cache != "" {
		if from.kept, err = openSpace(ctx, with.cache, m, templates, text.Config.EmbedDim); err != nil {
			return nil, err
		}
		if with.multi {
			if from.keptNegatives, err = openSpace(ctx, with.cache, m, from.negatives, text.Config.EmbedDim); err != nil {
				return nil, err
			}
		}
	}
	return from.classifier(ctx, labels, nil)
}

// normal returns templates with {} in the place of {c}.
func normal(templates []string) []string {
	all := make([]string, len(templates))
	for i, t := range templates {
		all[i] = strings.ReplaceAll(t, namedPlace, Place)
	}
	return all
}

// With returns a classifier of other labels by the same model and templates, with the same options. Labels that both have
// are not encoded again. The errors are those of [New].
func (c *Classifier) With(ctx context.Context, labels []string) (*Classifier, error) {
	all := named(labels)
	if err := check(all, c.from.templates, c.from.multi); err != nil {
		return nil, err
	}
	known := make(map[string][]float64, len(c.labels))
	for i, k := range c.keys {
		known[k] = c.texts[i]
	}
	return c.from.classifier(ctx, all, known)
}

// classifier returns that of labels, some of whose embeddings may be known.
func (s *source) classifier(ctx context.Context, labels []Label, known map[string][]float64) (*Classifier, error) {
	k := len(labels)
	c := &Classifier{labels: make([]string, k), keys: make([]string, k), texts: make([][]float64, k), from: s}
	for i, l := range labels {
		c.labels[i], c.keys[i] = l.Name, key(l.Prompts)
	}
	parts := []part{{labels, c.keys, s.templates, s.kept, c.texts}}
	common := !slices.ContainsFunc(s.negatives, func(t string) bool { return strings.Contains(t, Place) })
	switch {
	case s.multi && common: // one for all labels
		parts = append(parts, part{named([]string{""}), []string{""}, s.negatives, s.keptNegatives, make([][]float64, 1)})
	case s.multi:
		parts = append(parts, part{named(c.labels), c.labels, s.negatives, s.keptNegatives, make([][]float64, k)})
	}
	c.by = clip.ClassifyBy(s.model, embedding, c.labels, c.Rank)
	for i, key := range c.keys {
		c.texts[i] = known[key]
	}
	for _, p := range parts {
		for i, key := range p.keys {
			if p.out[i] == nil && p.kept != nil {
				p.out[i] = p.kept.get(key)
			}
		}
	}
	if err := s.encode(ctx, parts); err != nil {
		return nil, err
	}
	if s.multi {
		c.negatives = parts[1].out
		for len(c.negatives) < k {
			c.negatives = append(c.negatives, c.negatives[0])
		}
	}
	return c, nil
}

// key returns what the embedding of prompts is known by: a prompt alone by itself, as labels have been kept since there is a
// cache, and several by a list, which begins as no text that a tokenizer takes.
func key(prompts []string) string {
	if len(prompts) == 1 {
		return prompts[0]
	}
	return fmt.Sprintf("\x00%q", prompts)
}

// check says what is wrong with labels and templates.
func check(labels []Label, templates []string, multi bool) error {
	switch n := len(labels); {
	case n == 0 && multi:
		return badRequest("got 0 labels, want at least 1")
	case n == 0:
		return badRequest("got 0 labels, want at least 2")
	case n == 1 && !multi:
		return badRequest("got 1 label, want at least 2")
	}
	first := make(map[string]int, len(labels))
	for i, label := range labels {
		l := strings.TrimSpace(label.Name)
		if l == "" {
			return badRequest("label %d of %d is empty", i+1, len(labels))
		}
		if j, twice := first[l]; twice {
			return badRequest("the label %q is given twice, as number %d and %d", l, j+1, i+1)
		}
		first[l] = i
		if len(label.Prompts) == 0 {
			return badRequest("the label %q has no prompts, want at least 1", l)
		}
		for j, p := range label.Prompts {
			if strings.TrimSpace(p) == "" {
				return badRequest("prompt %d of the label %q is empty", j+1, l)
			}
			if slices.Contains(label.Prompts[:j], p) {
				return badRequest("the label %q has the prompt %q twice", l, p)
			}
		}
	}
	for _, t := range templates {
		if _, err := Fill(t, ""); err != nil {
			return err
		}
	}
	return nil
}

// Fill returns the text of a label in a template. A template without a place for it is a [clip.ErrRequest].
func Fill(template, label string) (string, error) {
	t := normal([]string{template})[0]
	if !strings.Contains(t, Place) {
		return "", badRequest("the template %q has no %s, where the label stands", t, Place)
	}
	return strings.ReplaceAll(t, Place, label), nil
}

// badRequest returns a [clip.ErrRequest] with a text of its own.
func badRequest(format string, a ...any) error {
	return unfit{"zeroshot: " + fmt.Sprintf(format, a...), clip.ErrRequest}
}

// A part is labels in templates, whose embeddings are wanted.
type part struct {
	labels    []Label
	keys      []string
	templates []string
	kept      *space
	out       [][]float64 // nil where one is missing
}

// encode makes the embeddings that are missing.
func (s *source) encode(ctx context.Context, parts []part) error {
	done, total := 0, 0
	missing := make([][]int, len(parts))
	for i, p := range parts {
		for j, x := range p.out {
			if x == nil {
				missing[i] = append(missing[i], j)
				total += len(p.labels[j].Prompts) * len(p.templates)
			}
		}
	}
	progress := s.progress
	if progress == nil {
		progress = func(int, int) {}
	}
	progress(done, total)
	for i, p := range parts {
		for group := range together(p, missing[i]) {
			n, err := s.encodeGroup(ctx, p, group)
			if err != nil {
				return err
			}
			done += n
			progress(done, total)
		}
	}
	return nil
}

// together yields labels whose texts are encoded in one call, at least one of them.
func together(p part, missing []int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		for len(missing) > 0 {
			n, texts := 0, 0
			for n < len(missing) {
				more := len(p.labels[missing[n]].Prompts) * len(p.templates)
				if n > 0 && texts+more > textsTogether {
					break
				}
				n, texts = n+1, texts+more
			}
			if !yield(missing[:n]) {
				return
			}
			missing = missing[n:]
		}
	}
}

// encodeGroup makes the embeddings of some labels of a part, and returns of how many texts.
func (s *source) encodeGroup(ctx context.Context, p part, group []int) (n int, err error) {
	var texts []string // of each label all prompts, each in all templates
	for _, i := range group {
		texts = append(texts, p.texts(i)...)
	}
	all, err := s.embed(ctx, texts)
	if errors.Is(err, clip.ErrText) {
		return 0, s.blame(ctx, p, group, err)
	} else if err != nil {
		return 0, err
	}
	for _, i := range group {
		n := len(p.texts(i))
		x := mean(all[:n])
		all = all[n:]
		if v := x[0]; v-v != 0 {
			return 0, fmt.Errorf("zeroshot: the embedding of the label %q is %v, want numbers: the model's weights are damaged or too large", p.labels[i].Name, v)
		}
		p.out[i] = x
		if p.kept != nil {
			if err := p.kept.put(p.keys[i], x); err != nil {
				return 0, err
			}
		}
	}
	return len(texts), nil
}

// texts returns those of a label.
func (p part) texts(i int) (all []string) {
	for _, prompt := range p.labels[i].Prompts {
		for _, t := range p.templates {
			all = append(all, strings.ReplaceAll(t, Place, prompt))
		}
	}
	return all
}

// blame says which label of a group and which template make the text that is no text for the model.
func (s *source) blame(ctx context.Context, p part, group []int, err error) error {
	t, _, e := s.model.Tokenizer()
	if e != nil {
		return e
	}
	text, e := s.model.Text(ctx)
	if e != nil {
		return e
	}
	for _, i := range group {
		for _, prompt := range p.labels[i].Prompts {
			for _, template := range p.templates {
				_, e := t.Tokenize([]string{strings.ReplaceAll(template, Place, prompt)}, text.Config.Context, false)
				if e == nil {
					continue
				}
				what := fmt.Sprintf("the label %q in the template %q", prompt, template)
				switch name := p.labels[i].Name; {
				case !strings.Contains(template, Place):
					what = fmt.Sprintf("the negative text %q", template)
				case prompt != name:
					what = fmt.Sprintf("the prompt %q of the label %q in the template %q", prompt, name, template)
				}
				return unfit{fmt.Sprintf("zeroshot: %s: %s", what, strings.TrimPrefix(e.Error(), "cliptext: ")), err}
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
	cosines, logits := c.score(vector)
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(logits[j], logits[i]) }) // as probable ones in their order
	all := make([]clip.Label, len(order))
	shares := slices.Clone(logits)
	softmax.Of(shares)
	for at, i := range order {
		all[at] = clip.Label{Name: c.labels[i], Cosine: cosines[i], Probability: shares[i]}
		if c.negatives != nil {
			all[at].Probability = sigmoid(logits[i] + c.from.bias)
		}
	}
	return all
}

// score returns the cosines [K] of a picture and the labels, and the logits [K].
func (c *Classifier) score(vector []float32) (cosines, logits []float64) {
	if e := len(c.texts[0]); len(vector) != e {
		panic(fmt.Sprintf("zeroshot: a vector of %d values, want %d", len(vector), e))
	}
	x := unit(vector)
	cosines, logits = make([]float64, len(c.labels)), make([]float64, len(c.labels))
	for i, t := range c.texts {
		cosines[i] = dot(t, x)
		logits[i] = c.from.scale * cosines[i]
		if c.negatives != nil {
			logits[i] = c.from.scale * (cosines[i] - dot(c.negatives[i], x))
		}
	}
	return cosines, logits
}

// Compare returns the cosines [B][N] of the embeddings of pictures [B][E] and texts [N][E], and the probabilities [B][N] of the
// texts for each picture: the softmax of scale times the cosines. They are those of a [Classifier] whose labels are the texts, bit
// for bit, but any number of texts will do, and alike ones. Embeddings may have any length; for one of length 0 both are NaN. It panics if
// there are no texts, and if embeddings are not equally long.
//
// Source: openai/CLIP, clip/model.py, CLIP.forward, and its README.md.
func Compare(scale float64, pictures, texts [][]float32) (cosines, probabilities [][]float64) {
	units := make([][]float64, len(texts))
	for i, t := range texts {
		units[i] = mean([][]float32{t})
	}
	for _, p := range pictures {
		x := unit(p)
		row, logits := make([]float64, len(units)), make([]float64, len(units))
		for i, t := range units {
			if len(t) != len(x) {
				panic(fmt.Sprintf("zeroshot: embeddings of %d and %d values", len(x), len(t)))
			}
			row[i] = dot(t, x)
			logits[i] = scale * row[i]
		}
		softmax.Of(logits)
		cosines, probabilities = append(cosines, row), append(probabilities, logits)
	}
	return cosines, probabilities
}

func dot(x, y []float64) (sum float64) {
	for i, v := range x {
		sum += v * y[i]
	}
	return sum
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
