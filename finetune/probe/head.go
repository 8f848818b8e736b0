package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn/linear"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/pyjson"
)

// A Head tells classes by features: the probabilities are softmax(x·Wᵀ + B), or with Multi sigmoid(x·Wᵀ + B).
type Head struct {
	Classes  []string         // [K]
	Features clipvit.Features // what it reads
	Model    string           // the Fingerprint of the tower whose features it reads; "" if any will do
	Linear   *linear.Model    // W [K,D], B [K]
	// Multi says that classes do not exclude each other: each has a probability of its own, and a picture is of those above
	// [Threshold].
	Multi bool
}

// Threshold is the probability above which a picture is of a class, where classes do not exclude each other.
const Threshold = 0.5

// Head returns a fit as a head, in float32.
func (f *Fit) Head(classes []string, features clipvit.Features, model string) *Head {
	h := &Head{Classes: classes, Features: features, Model: model, Linear: linear.New[float32](len(f.W)/len(f.B), len(f.B))}
	for i, v := range f.W {
		h.Linear.W.Data().F32()[i] = float32(v)
	}
	for i, v := range f.B {
		h.Linear.B.Data().F32()[i] = float32(v)
	}
	return h
}

// Dim returns D, the number of features that the head reads.
func (h *Head) Dim() int { return h.Linear.W.Shape()[1] }

// Predict returns the probabilities [N,K] that the features x [N,D] are of the classes: rows sum to 1, unless the head is
// Multi. It panics if x has no whole number of rows.
func (h *Head) Predict(x []float32) []float64 {
	k, d := len(h.Classes), h.Dim()
	if len(x)%d != 0 {
		panic(fmt.Sprintf("probe: %d features, want a multiple of %d", len(x), d))
	}
	w := toFloat64(mat.Data[float32](h.Linear.W))
	b := toFloat64(mat.Data[float32](h.Linear.B))
	p := slices.Repeat(b, len(x)/d)
	if len(p) > 0 {
		blas64.Gemm(blas.NoTrans, blas.Trans, 1, general(len(x)/d, d, toFloat64(x)), general(k, d, w), 1, general(len(x)/d, k, p))
	}
	if h.Multi {
		for i, z := range p {
			p[i] = 1 / (1 + math.Exp(-z))
		}
		return p
	}
	for row := range slices.Chunk(p, k) {
		softmax(row)
	}
	return p
}

// Score judges the head by a set of its classes.
func (h *Head) Score(s *Set) Score {
	k, p := len(h.Classes), h.Predict(s.X)
	if h.Multi {
		return h.scoreMulti(s, p)
	}
	score := Score{Pictures: s.Len(), weighted: s.Weights != nil}
	for i, label := range s.Labels {
		row := p[i*k : (i+1)*k]
		w := weight(s.Weights, label)
		if floats.MaxIdx(row) == label {
			score.Right++
			score.right += w
		}
		score.Loss -= w * math.Log(max(row[label], math.SmallestNonzeroFloat64))
		score.weight += w
	}
	return score.finished(p, nil)
}

// scoreMulti judges a head whose classes do not exclude each other by the probabilities that it gives.
func (h *Head) scoreMulti(s *Set, p []float64) Score {
	score := Score{Pictures: s.Len(), weighted: s.Weights != nil, multi: true, weight: float64(s.Len())}
	k := len(h.Classes)
	for i, set := range s.LabelSets {
		wrong := false
		for c, v := range p[i*k : (i+1)*k] {
			is := slices.Contains(set, c)
			wrong = wrong || v > Threshold != is
			if is {
				score.Loss -= weight(s.Weights, c) * math.Log(max(v, math.SmallestNonzeroFloat64))
			} else {
				score.Loss -= math.Log1p(-min(v, 1-1e-16))
			}
		}
		if !wrong {
			score.Right++
		}
	}
	return score.finished(p, s.LabelSets)
}

func toFloat64(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// Fits returns an error if a tower of configuration c has no such features as the head reads.
func (h *Head) Fits(c clipvit.Config) error {
	d, err := vectorLen(h.Features, c)
	if err != nil {
		return err
	}
	if d != h.Dim() {
		return fmt.Errorf("probe: the head reads %d features, %s of this tower has %d", h.Dim(), h.Features, d)
	}
	return nil
}

// Check returns an error if the head does not belong to a tower: if it does not fit, or if the features are
// those of other weights than it has learnt from. It reads the whole tower.
func (h *Head) Check(m *clipvit.Model) error {
	if err := h.Fits(m.Config); err != nil {
		return err
	}
	if h.Model == "" {
		return nil
	}
	got, err := h.Features.Fingerprint(m)
	if err != nil {
		return err
	}
	if got != h.Model {
		return fmt.Errorf("probe: the head has learnt from a tower with the fingerprint %.12s…, this one has %.12s…", h.Model, got)
	}
	return nil
}

// ClassesFile is the file of a head's classes, beside its weights in [converter.HeadFile].
const ClassesFile = "classes.json"

// The names of the tensors of a head, which are those of torch.nn.Linear.
const (
	weightName = "weight" // [K,D]
	biasName   = "bias"   // [K]
)

// maxClasses is how long classes.json may be: room for a million names.
const maxClasses = 64 << 20

// description is what classes.json says.
type description struct {
	Classes  []string         `json:"classes"`
	Features clipvit.Features `json:"features"`
	Model    string           `json:"model,omitempty"`
	Problem  string           `json:"problem_type,omitempty"`
}

// The values of problem_type, which are those of transformers' configurations; none is the first.
const (
	singleLabel = "single_label_classification"
	multiLabel  = "multi_label_classification"
)

// Save writes head.safetensors and classes.json to a folder. Each appears complete or not at all, and
// head.safetensors, which says how many classes there are, after classes.json.
func (h *Head) Save(dir string) error {
	if err := h.check(); err != nil {
		return err
	}
	desc := description{Classes: h.Classes, Features: h.Features, Model: h.Model}
	if h.Multi {
		desc.Problem = multiLabel
	}
	text, err := folder.JSON(desc)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if err := folder.WriteBytes(filepath.Join(dir, ClassesFile), text); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	k, d := len(h.Classes), h.Dim()
	return checkpoint.WriteTensors(filepath.Join(dir, converter.HeadFile), nil, []checkpoint.Values{
		{Name: weightName, Shape: []int{k, d}, Data: mat.Data[float32](h.Linear.W)},
		{Name: biasName, Shape: []int{k}, Data: mat.Data[float32](h.Linear.B)},
	})
}

// check says what is wrong with a head by itself.
func (h *Head) check() error {
	k, least := len(h.Classes), 2
	if h.Multi {
		least = 1 // which a picture may be of or not
	}
	if k < least {
		return fmt.Errorf("probe: %d classes, want at least %d", k, least)
	}
	if w, b := h.Linear.W.Shape(), h.Linear.B.Shape(); w[0] != k || b[0] != k {
		return fmt.Errorf("probe: weights %v and bias %v, want %d rows, one a class", w, b, k)
	}
	seen := map[string]bool{}
	for _, c := range h.Classes {
		if seen[c] {
			return fmt.Errorf("probe: two classes are called %q", c)
		}
		seen[c] = true
	}
	for _, x := range [][]float32{mat.Data[float32](h.Linear.W), mat.Data[float32](h.Linear.B)} {
		if i := op.NotFinite(x); i >= 0 {
			return fmt.Errorf("probe: a weight is %v, want finite numbers", x[i])
		}
	}
	return nil
}

// HeadOf returns the classifier that a checkpoint has on its tower, as transformers' CLIPForImageClassification; nil
// without an error if there is none.
func HeadOf(ctx context.Context, m *converter.Model) (*Head, error) {
	c, err := m.Classifier(ctx)
	if c == nil || err != nil {
		return nil, err
	}
	h := &Head{Classes: c.Classes, Features: c.Features, Linear: linear.New[float32](len(c.Weight)/len(c.Bias), len(c.Bias)), Multi: c.Multi}
	copy(h.Linear.W.Data().F32(), c.Weight)
	copy(h.Linear.B.Data().F32(), c.Bias)
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w in %s", err, m.Path())
	}
	return h, nil
}

// HasHead says whether [Head.Save] has written to a folder, whole or damaged as it may be.
func HasHead(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, ClassesFile))
	return err == nil
}

// LoadHead reads what [Head.Save] has written. See [Head.Check] for whether it belongs to a tower.
func LoadHead(dir string) (*Head, error) {
	path := filepath.Join(dir, ClassesFile)
	text, err := folder.ReadSmall(path, maxClasses)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	var desc description
	if err := json.Unmarshal(text, &desc); err != nil {
		return nil, fmt.Errorf("probe: %s: %w", path, pyjson.Explain(err))
	}
	if p := desc.Problem; p != "" && p != singleLabel && p != multiLabel {
		return nil, fmt.Errorf("probe: %s: problem_type is %.40q, want %s or %s", path, p, singleLabel, multiLabel)
	}
	path = filepath.Join(dir, converter.HeadFile)
	tensors, err := checkpoint.ReadTensors(path)
	if err != nil {
		return nil, err
	}
	var w, b *checkpoint.Values
	for i, t := range tensors {
		switch t.Name {
		case weightName:
			w = &tensors[i]
		case biasName:
			b = &tensors[i]
		default:
			return nil, fmt.Errorf("probe: %s: tensor %.100q, want %s and %s only: a head of your own is loaded by finetune.LoadHead", path, t.Name, weightName, biasName)
		}
	}
	k := len(desc.Classes)
	switch {
	case w == nil || b == nil:
		return nil, fmt.Errorf("probe: %s: want two tensors, %s and %s", path, weightName, biasName)
	case len(w.Shape) != 2 || w.Shape[0] != k || w.Shape[1] < 1 || !slices.Equal(b.Shape, []int{k}):
		return nil, fmt.Errorf("probe: %s: %s is %v and %s is %v, want [%d,D] and [%d] for the %d classes of %s", path, weightName, w.Shape, biasName, b.Shape, k, k, k, ClassesFile)
	}
	h := &Head{Classes: desc.Classes, Features: desc.Features, Model: desc.Model, Linear: linear.New[float32](w.Shape[1], k), Multi: desc.Problem == multiLabel}
	copy(h.Linear.W.Data().F32(), w.Data)
	copy(h.Linear.B.Data().F32(), b.Data)
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%w in %s", err, dir)
	}
	return h, nil
}
