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

// Linear maps x [B,M] to x·Wᵀ + B [B,K], where m has W [K,M] and B [K], which may be nil: all rows of a batch in one product,
// with gradients of x, W and B. spago's own m.Forward takes columns, one image after the other. It panics if x has other
// columns than W, and unless all are float32; a [Trainer] turns that into an error of the run.
func Linear(x mat.Tensor, m *linear.Model) mat.Tensor {
	if got, want := x.Shape(), m.W.Shape(); len(got) != 2 || got[1] != want[1] {
		panic(unfit(fmt.Sprintf("finetune: Linear: x is %v, want [B,%d] for W %v", got, want[1], want)))
	}
	if m.B != nil && m.B.Size() != m.W.Shape()[0] {
		panic(unfit(fmt.Sprintf("finetune: Linear: B is %v, want [%d] for W %v", m.B.Shape(), m.W.Shape()[0], m.W.Shape())))
	}
	for _, t := range []struct {
		name string
		mat.Tensor
	}{{"x", x}, {"W", m.W}, {"B", bias(m)}} {
		if t.Tensor == nil {
			continue
		}
		if bits := t.Value().Data().BitSize(); bits != 32 {
			panic(unfit(fmt.Sprintf("finetune: Linear: %s is float%d, want float32", t.name, bits)))
		}
	}
	return op.Linear(x, m)
}

// bias returns the bias of m, as a nil interface if it has none.
func bias(m *linear.Model) mat.Tensor {
	if m.B == nil {
		return nil
	}
	return m.B
}

// unfit is what [Linear] panics with.
type unfit string

func (e unfit) Error() string { return string(e) }

// forward returns what a head gives for features. A width that does not fit is an error, as far as an operator says so
// in this goroutine: [Linear] and those of the package do.
func forward(h Head, x mat.Tensor) (y mat.Tensor, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case unfit:
			err = fmt.Errorf("%w; the features that the head %T gets are %v", p, h, x.Shape())
		case *op.ShapeError:
			err = fmt.Errorf("finetune: %s: shape %v, want %s; the features that the head %T gets are %v", p.Op, p.Got, p.Want, h, x.Shape())
		default:
			panic(p)
		}
	}()
	return h.Forward(x), nil
}

// A Head turns the features of a tower [N,M], a row for every image or patch, into what an [Objective]
// judges. It may be any spago model with such a method; projector.Model is one.
type Head interface {
	nn.Model
	// Forward maps features [N,M] to what the objective judges, with a graph where gradients are wanted. With an M that does not
	// fit it panics, as [Linear] does, and the trainer returns that as an error.
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
	// Multi says that classes do not exclude each other: the probabilities are sigmoids, not a softmax; see [MultiLabel].
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
