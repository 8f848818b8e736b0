package finetune

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/converter"
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
}

func init() { gob.Register(&Classifier{}) }

// NewClassifier returns a head for features of width columns. Its parameters are zero: all classes are then
// equally likely, and the features, which are all that breaks the symmetry, decide.
func NewClassifier(width int, classes []string) *Classifier {
	return &Classifier{Linear: op.NewLinear(width, len(classes)), Classes: slices.Clone(classes)}
}

// Forward maps x [B,M] to logits [B,K].
func (m *Classifier) Forward(x mat.Tensor) mat.Tensor { return op.Linear(x, m.Linear) }

// The files of a classifier, beside those of a model.
const (
	headFile    = "head.safetensors"
	classesFile = "classes.json"
)

// Save writes head.safetensors (weight [K,M], bias [K], as torch's nn.Linear) and classes.json, a list of
// names, into the directory dir.
func (m *Classifier) Save(dir string) error {
	names, err := json.MarshalIndent(m.Classes, "", "  ")
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return errors.Join(
		converter.WriteTensors(filepath.Join(dir, headFile), nil, []converter.Values{
			{Name: "weight", Shape: m.Linear.W.Shape(), Data: mat.Data[float32](m.Linear.W)},
			{Name: "bias", Shape: m.Linear.B.Shape()[:1], Data: mat.Data[float32](m.Linear.B)},
		}),
		writeFile(filepath.Join(dir, classesFile), append(names, '\n')),
	)
}

// maxClasses is how many bytes a classes.json may have.
const maxClasses = 16 << 20

// LoadClassifier reads what [Classifier.Save] wrote into dir.
func LoadClassifier(dir string) (*Classifier, error) {
	raw, err := readSmall(filepath.Join(dir, classesFile), maxClasses)
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	var classes []string
	if err := json.Unmarshal(raw, &classes); err != nil {
		return nil, fmt.Errorf("finetune: %s: %w", filepath.Join(dir, classesFile), err)
	}
	path := filepath.Join(dir, headFile)
	tensors, err := converter.ReadTensors(path)
	if err != nil {
		return nil, err
	}
	byName := map[string]converter.Values{}
	for _, t := range tensors {
		byName[t.Name] = t
	}
	w, b := byName["weight"], byName["bias"]
	if len(tensors) != 2 || len(w.Shape) != 2 || w.Shape[0] != len(classes) || !slices.Equal(b.Shape, w.Shape[:1]) {
		return nil, fmt.Errorf("finetune: %s: %d tensors, weight %v, bias %v; want 2, weight [%d M] and bias [%d] for the names in %s",
			path, len(tensors), w.Shape, b.Shape, len(classes), len(classes), classesFile)
	}
	m := NewClassifier(w.Shape[1], classes)
	copy(mat.Data[float32](m.Linear.W), w.Data)
	copy(mat.Data[float32](m.Linear.B), b.Data)
	return m, nil
}
