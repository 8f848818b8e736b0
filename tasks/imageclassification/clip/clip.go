// Package clip classifies pictures with the towers of CLIP: by labels in words, as package zeroshot does, or by the classifier that
// the model has, as package finetune reads it. Importing it registers the model types "clip" (both towers) and "clip_vision_model"
// (with a classifier) for the task imageclassification.
package clip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/zeroshot"
)

// files are what the hub has of a model. Those with a * are read where they are, but nothing downloads them. A classifier has
// files of its own if a run has trained it.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"tokenizer_config.json"}, Optional: true},
	{Names: []string{"tokenizer.json", "vocab.json"}, Optional: true},
	{Names: []string{"merges.txt"}, Optional: true},
	{Names: []string{"classes.json"}, Optional: true},
	{Names: []string{"head.safetensors"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	for _, model := range []string{"clip", "clip_vision_model"} {
		tasks.Register(model, tasks.Provider[imageclassification.Interface]{
			Files: files,
			Load: func(dir string) (imageclassification.Interface, error) {
				m, err := LoadImageClassification(dir)
				if err != nil {
					return nil, err // and not an Interface that holds a nil pointer
				}
				return m, nil
			},
		})
	}
}

// concurrent is how many requests are worked on at once; others wait. Towers take all cores for each.
const concurrent = 4

var _ imageclassification.Interface = &ImageClassification{}

// ImageClassification is an [imageclassification.Interface] on a model.
type ImageClassification struct {
	model *clip.Model
	tuned *finetune.Tuned // nil if the model has no classifier
	gate  *gate.Gate
	kept  kept
}

// New returns what classifies with m: by its classifier if it has one, and by labels if it has a text tower. It reads the classifier;
// towers are loaded when they are first used. A model that has neither is a [clip.ErrNoText].
func New(ctx context.Context, m *clip.Model) (*ImageClassification, error) {
	tuned, err := finetune.TunedOf(ctx, m)
	switch {
	case errors.Is(err, finetune.ErrNoHead) && !m.HasText():
		return nil, fmt.Errorf("clip: %w, which labels want; and %w", clip.ErrNoText, gate.Bare(err))
	case err != nil && !errors.Is(err, finetune.ErrNoHead):
		return nil, err
	case err != nil:
		if _, _, err := m.Tokenizer(); err != nil {
			return nil, err
		}
	}
	return &ImageClassification{model: m, tuned: tuned, gate: gate.New("clip", concurrent), kept: newKept(keptLabels)}, nil
}

// LoadImageClassification returns what classifies with the model in directory dir, in any form that [clip.Open] knows: that which a run
// of finetune has written among them.
func LoadImageClassification(dir string, options ...clip.Option) (*ImageClassification, error) {
	m, err := clip.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	c, err := New(context.Background(), m)
	if err == nil {
		_, err = m.Vision(context.Background())
	}
	if err == nil && m.HasText() {
		if _, _, err = m.Tokenizer(); err == nil {
			_, err = m.Text(context.Background())
		}
	}
	return c, errors.Join(err, m.Close()) // all parts are loaded
}

// Classes returns the names of the classifier that the model has, in its order; nil if it has none.
func (m *ImageClassification) Classes() []string {
	if m.tuned == nil {
		return nil
	}
	return m.tuned.Labels()
}

// A Judge says which labels fit a picture, by a vector of it.
type Judge struct {
	Features clipvit.Features // that are wanted of a picture

	rank      func(vector []float32) []clip.Label
	threshold zeroshot.Threshold
	topK      int
}

// Response returns what a request asks for of a picture with these features [D], of any length but 0. An error means that its
// probabilities are no numbers.
func (j *Judge) Response(vector []float32) (imageclassification.Response, error) {
	ranked := j.rank(vector)
	for _, l := range ranked {
		if p := l.Probability; p-p != 0 {
			return imageclassification.Response{}, fmt.Errorf("clip: the probability of a label is %v, want a number: the model's weights are damaged or too large", p)
		}
	}
	response := imageclassification.Response{Labels: ranked}
	if j.threshold.Probability != 0 || j.threshold.Cosine != 0 {
		response.Accepted = []string{}
		for _, l := range j.threshold.Accepted(ranked) {
			response.Accepted = append(response.Accepted, l.Name)
		}
	}
	if j.topK > 0 && j.topK < len(ranked) {
		response.Labels = ranked[:j.topK:j.topK]
	}
	return response, nil
}

// Judge returns what judges the pictures of a request, for who encodes those of many requests together. Classifiers of labels that
// were asked for lately are kept, so that a list of many labels is encoded once. Errors are those of ClassifyImages, without those of
// the pictures, at which it does not look. Options are those of [zeroshot.New], such as [zeroshot.EncodeBy].
func (m *ImageClassification) Judge(ctx context.Context, r imageclassification.Request, options ...zeroshot.Option) (*Judge, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	j := &Judge{threshold: r.Threshold, topK: r.TopK}
	if r.Labels == nil && r.Prompts == nil {
		switch {
		case m.tuned == nil:
			return nil, refuse("got no labels, and the model has no classifier of its own")
		case r.Threshold.Cosine != 0:
			return nil, refuse("a threshold of %v for the cosine, and the classifier of the model has no cosines", r.Threshold.Cosine)
		}
		head := m.tuned.Head()
		j.Features, j.rank, j.threshold.Each = head.Features, m.tuned.Rank, r.Threshold.Each || head.Multi
		return j, nil
	}
	judge, err := m.kept.get(ctx, keyOf(r), len(r.Labels)+len(r.Prompts), func() (*zeroshot.Classifier, error) {
		if r.Multi {
			options = append(slices.Clone(options), zeroshot.MultiLabel(0, r.Negatives...))
		}
		if r.Prompts != nil {
			return zeroshot.NewPrompts(ctx, m.model, r.Prompts, r.Templates, options...)
		}
		return zeroshot.New(ctx, m.model, r.Labels, r.Templates, options...)
	})
	switch {
	case err != nil:
		return nil, err
	case r.Multi:
		judge = judge.WithBias(r.Bias)
	}
	j.Features, j.rank, j.threshold.Each = clipvit.Features{Kind: clipvit.Embedding}, judge.Rank, r.Threshold.Each || r.Multi
	return j, nil
}

// ClassifyImages implements [imageclassification.Interface]. Cosines and probabilities have the bits of "vitago classify".
func (m *ImageClassification) ClassifyImages(ctx context.Context, r imageclassification.Request) ([]imageclassification.Response, error) {
	pictures, err := m.gate.Pictures(r.Images, imageclassification.MaxImages)
	if err != nil {
		return nil, err
	}
	if err := check(r); err != nil { // before it waits
		return nil, err
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	judge, err := m.Judge(ctx, r)
	if err != nil {
		return nil, err
	}
	vectors, err := m.model.Features(ctx, judge.Features, pictures...)
	if err != nil {
		return nil, err
	}
	all := make([]imageclassification.Response, len(vectors))
	for i, v := range vectors {
		if all[i], err = judge.Response(v); err != nil {
			return nil, fmt.Errorf("clip: %s: %w", pictures[i].Name(), gate.Bare(err))
		}
	}
	return all, nil
}

// refuse returns an [imageclassification.ErrRequest].
func refuse(format string, args ...any) error {
	return fmt.Errorf("clip: %w: %s", imageclassification.ErrRequest, fmt.Sprintf(format, args...))
}

// check finds what is wrong with a request before anything is computed for it. What is wrong with labels and templates package
// zeroshot says.
func check(r imageclassification.Request) error {
	words := r.Labels != nil || r.Prompts != nil
	p, c := r.Threshold.Probability, r.Threshold.Cosine
	switch n := max(len(r.Labels), len(r.Prompts)); {
	case r.Labels != nil && r.Prompts != nil:
		return refuse("got labels and prompts, want one of them")
	case n > imageclassification.MaxLabels:
		return refuse("got %d labels, want at most %d", n, imageclassification.MaxLabels)
	case !words && r.Templates != nil:
		return refuse("templates go with labels")
	case !words && r.Multi:
		return refuse("multi goes with labels: the classifier of a model says itself whether they exclude each other")
	case !r.Multi && (r.Bias != 0 || r.Negatives != nil):
		return refuse("bias and negatives go with multi")
	case r.TopK < 0:
		return refuse("top k is %d, want 1 or more, or 0 for all", r.TopK)
	case !(p >= 0 && p <= 1):
		return refuse("the least probability is %v, want 0 to 1", p)
	case !(c >= -1 && c <= 1):
		return refuse("the least cosine is %v, want -1 to 1", c)
	case r.Threshold.Each && p == 0 && c == 0:
		return refuse("a threshold of each label has no least probability and no least cosine")
	case r.Bias-r.Bias != 0:
		return refuse("the bias is %v, want a number", r.Bias)
	}
	return nil
}

// keyOf returns what a classifier of a request is known by: all that its texts are made of.
func keyOf(r imageclassification.Request) string {
	var key []byte
	list := func(all []string) {
		key = strconv.AppendInt(key, int64(len(all)), 10)
		for _, s := range all {
			key = strconv.AppendQuote(key, s)
		}
	}
	key = strconv.AppendBool(key, r.Multi)
	list(r.Templates)
	list(r.Negatives)
	list(r.Labels)
	for _, l := range r.Prompts {
		key = strconv.AppendQuote(key, l.Name)
		list(l.Prompts)
	}
	return string(key)
}
