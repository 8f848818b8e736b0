package finetune

import (
	"encoding/gob"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/op"
)

// A Head turns the features of a tower [N,M], a row for every image or patch, into what an [Objective]
// judges. It may be any spago model with such a method; projector.Model is one.
type Head interface {
	nn.Model
	Forward(x mat.Tensor) mat.Tensor
}

var _ Head = &Classifier{}

// Classifier is a linear head.
//
//	x [B,M] ── Linear ──▶ logits [B,K]
type Classifier struct {
	nn.Module
	Linear  *linear.Model // W [K,M], B [K]
	Classes []string      // names of the K rows
	// Multi says that classes do not exclude each other: the probabilities are sigmoids, not a softmax.
	Multi bool
}

func init() { gob.Register(&Classifier{}) }

// NewClassifier returns a head for features of width columns. Its parameters are zero: all classes are then
// equally likely, and the features, which are all that breaks the symmetry, decide.
func NewClassifier(width int, classes []string) *Classifier {
	return &Classifier{Linear: op.NewLinear(width, len(classes)), Classes: slices.Clone(classes)}
}

// Forward maps x [B,M] to logits [B,K].
func (m *Classifier) Forward(x mat.Tensor) mat.Tensor { return op.Linear(x, m.Linear) }

// headFile is where a head is kept beside a model.
const headFile = "head.safetensors"

// Save writes head.safetensors (weight [K,M], bias [K], as torch's nn.Linear) and classes.json into the
// directory dir, as package probe does: each reads what the other wrote.
func (m *Classifier) Save(dir string) error {
	h := probe.Head{Classes: m.Classes, Features: clipvit.Features{Kind: clipvit.Embedding}, Linear: m.Linear, Multi: m.Multi}
	return h.Save(dir)
}

// LoadClassifier reads a head on the embedding that [Classifier.Save] or package probe wrote into dir.
func LoadClassifier(dir string) (*Classifier, error) {
	h, err := probe.LoadHead(dir)
	if err != nil {
		return nil, err
	}
	if h.Features.Kind != clipvit.Embedding {
		return nil, fmt.Errorf("finetune: the head in %s reads %s, want %s", dir, h.Features, clipvit.Embedding)
	}
	return &Classifier{Linear: h.Linear, Classes: h.Classes, Multi: h.Multi}, nil
}
