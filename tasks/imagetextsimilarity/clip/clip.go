// Package clip compares pictures with texts by the towers of CLIP. Importing it registers the model type "clip" for the task
// imagetextsimilarity.
//
// Programs call tasks.Load, which finds it. [New] makes one of a model that is loaded already.
package clip

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/zeroshot"
)

// files are what the hub has of a model. Those with a * are read where they are, but nothing downloads them. The
// tokenizer is optional, since that of OpenAI's models is part of the program.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"tokenizer_config.json"}, Optional: true},
	{Names: []string{"tokenizer.json", "vocab.json"}, Optional: true},
	{Names: []string{"merges.txt"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	tasks.Register("clip", tasks.Provider[imagetextsimilarity.Interface]{
		Files: files,
		Load: func(dir string) (imagetextsimilarity.Interface, error) {
			m, err := LoadSimilarity(dir)
			if err != nil {
				return nil, err // and not an Interface that holds a nil pointer
			}
			return m, nil
		},
	})
}

// concurrent is how many requests are worked on at once; others wait. Towers take all cores for each.
const concurrent = 4

var _ imagetextsimilarity.Interface = &Similarity{}

// Similarity is an [imagetextsimilarity.Interface] on both towers of a model.
type Similarity struct {
	model *clip.Model
	gate  *gate.Gate
}

// New returns what compares by the towers of m, which are loaded when they are first used. Without a text tower the error is
// [clip.ErrNoText].
func New(_ context.Context, m *clip.Model) (*Similarity, error) {
	if _, _, err := m.Tokenizer(); err != nil {
		return nil, err
	}
	return &Similarity{model: m, gate: gate.New("clip", concurrent)}, nil
}

// LoadSimilarity returns what compares by the model in directory dir, in any form that [clip.Open] knows.
func LoadSimilarity(dir string, options ...clip.Option) (*Similarity, error) {
	m, err := clip.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	s, err := New(context.Background(), m)
	if err == nil {
		_, err = m.Vision(context.Background())
	}
	if err == nil {
		_, err = m.Text(context.Background())
	}
	return s, errors.Join(err, m.Close()) // both parts are loaded
}

// CompareImagesTexts implements [imagetextsimilarity.Interface]. The logits are those of OpenAI's CLIP.forward, computed from the
// embeddings in float64: Cosines and Probabilities have the bits of "vitago classify", of which the texts are the labels in the
// template {}.
func (m *Similarity) CompareImagesTexts(ctx context.Context, r imagetextsimilarity.Request) (imagetextsimilarity.Response, error) {
	var none imagetextsimilarity.Response
	pictures, err := m.gate.Pictures(r.Images, imagetextsimilarity.MaxImages)
	if err != nil {
		return none, err
	}
	if n := len(r.Texts); n < 1 || n > imagetextsimilarity.MaxTexts {
		return none, fmt.Errorf("clip: %w: got %d texts, want 1 to %d", imagetextsimilarity.ErrRequest, n, imagetextsimilarity.MaxTexts)
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	texts, err := m.model.EncodeText(ctx, r.Texts) // [N][E]; first: what is wrong with them is known in no time
	if err != nil {
		return none, err
	}
	images, err := m.model.Encode(ctx, pictures...) // [B][E]
	if err != nil {
		return none, err
	}
	tower, err := m.model.Text(ctx)
	if err != nil {
		return none, err
	}
	if p, t := len(images[0]), len(texts[0]); p != t {
		return none, fmt.Errorf("clip: %w: embeddings of pictures have %d values, those of texts %d: the towers are not of one model", imagetextsimilarity.ErrRequest, p, t)
	}
	response := imagetextsimilarity.Response{Scale: tower.Scale()}
	response.Cosines, response.Probabilities = zeroshot.Compare(response.Scale, images, texts)
	for i, row := range response.Probabilities {
		if p := row[0]; p-p != 0 {
			return none, fmt.Errorf("clip: image %d: the probability of a text is %v, want a number: the model's weights are damaged or too large", i+1, p)
		}
	}
	return response, nil
}
