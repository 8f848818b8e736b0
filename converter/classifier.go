package converter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/pyjson"
)

// A Classifier is a linear head that a checkpoint has on the features of its tower:
//
//	logits [K] = Weight [K,C] · features [C] + Bias [K]
type Classifier struct {
	Classes  []string         // [K]; LABEL_0, LABEL_1, … where the configuration has no names
	Features clipvit.Features // what of the tower it judges: [C], one row a picture
	Weight   []float32        // [K,C]
	Bias     []float32        // [K]
	// Multi says that classes do not exclude each other: their probabilities are sigmoids of the logits, not a softmax.
	Multi bool
}

// headNames is what the tensors of a classifier begin with, and which features it reads; the zero value is none.
type headNames struct {
	prefix   string
	features clipvit.Features
	// projection says that tensors of these names are the projection into the joint space if the bias is zero.
	projection bool
}

var (
	// hfHead is that of CLIPForImageClassification, which has no projection.
	//
	// Source: huggingface/transformers, models/clip/modeling_clip.py, CLIPForImageClassification.forward.
	hfHead = headNames{prefix: "classifier.", features: clipvit.Features{Kind: clipvit.PatchMean, Layer: -1}}
	// timmHead is that of a tower with global_pool "token". timm's conversion of CLIP puts the projection there, with zeros.
	//
	// Source: huggingface/pytorch-image-models, timm/models/vision_transformer.py, VisionTransformer.forward_head and
	// _convert_openai_clip.
	timmHead = headNames{prefix: "head.", features: clipvit.Features{Kind: clipvit.PostNorm}, projection: true}
)

// withHead declares what a classifier on the tower is called.
func (d *dialect) withHead(h headNames) *dialect {
	d.head = h
	return d
}

// A head is the tensors of a classifier, or the bias of zeros alone that belongs to no parameter.
type head struct {
	weight, bias *checkpoint.Tensor
	features     clipvit.Features
}

// has says whether a tensor is one of the head's.
func (h *head) has(t *checkpoint.Tensor) bool { return h != nil && (t == h.weight || t == h.bias) }

// findHead finds the classifier that stands on a tower, if there is one.
func (m *Model) findHead(tensors *unwrapped, prefix string) error {
	names := m.dialect.head
	if names.prefix == "" {
		return nil
	}
	w := tensors.tensor(prefix + names.prefix + "weight")
	b := tensors.tensor(prefix + names.prefix + "bias")
	if w == nil || b == nil || len(w.Shape) != 2 || !slices.Equal(b.Shape, w.Shape[:1]) || !w.DType.IsFloat() || !b.DType.IsFloat() {
		return nil // align says what it is not
	}
	if names.projection {
		values := make([]float32, b.Len())
		if err := b.Float32s(values); err != nil {
			return err
		}
		if !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
			w = nil
		}
	}
	m.head = &head{w, b, names.features}
	return nil
}

// HasClassifier says whether [Model.Classifier] has one to read.
func (m *Model) HasClassifier() bool { return m.head != nil && m.head.weight != nil }

// Classifier reads the classifier that the checkpoint has on its tower, as CLIPForImageClassification of transformers and
// the tuned towers of timm have one; nil without an error if there is none.
func (m *Model) Classifier(ctx context.Context) (*Classifier, error) {
	if !m.HasClassifier() {
		return nil, nil
	}
	h := m.head
	if err := m.ready(); err != nil {
		return nil, err
	}
	if err := m.file.Verify(ctx, h.weight, h.bias); err != nil {
		return nil, err
	}
	k := h.bias.Len()
	classes, multi, err := m.classes(k)
	if err != nil {
		return nil, m.wrap(fmt.Errorf("%s: %w", configFile, err))
	}
	c := &Classifier{Classes: classes, Features: h.features, Weight: make([]float32, h.weight.Len()), Bias: make([]float32, k), Multi: multi}
	if width := m.config.Vision.Width; h.weight.Shape[1] != width {
		return nil, m.wrap(fmt.Errorf("%s is %v, want [%d,%d]", h.weight.Name, h.weight.Shape, k, width))
	}
	return c, errors.Join(h.weight.Float32s(c.Weight), h.bias.Float32s(c.Bias))
}

// The values of problem_type.
const (
	singleLabel = "single_label_classification"
	multiLabel  = "multi_label_classification"
)

// classes returns the names of k classes by config.json, and whether a picture may be of several.
//
// Source: huggingface/transformers, configuration_utils.py, PreTrainedConfig.id2label, whose default is LABEL_0, LABEL_1, …,
// and pipelines/image_classification.py, ImageClassificationPipeline.postprocess, which has sigmoids for several labels;
// huggingface/pytorch-image-models, timm/models/_hub.py, save_config_for_hf, label_names.
func (m *Model) classes(k int) (classes []string, multi bool, err error) {
	var c struct {
		Names   map[string]string `json:"id2label"`
		Labels  []string          `json:"label_names"`
		Problem string            `json:"problem_type"`
	}
	if m.beside.config != nil {
		if err := pyjson.Unmarshal(m.beside.config, &c); err != nil {
			return nil, false, err
		}
	}
	multi = c.Problem == multiLabel
	switch {
	case c.Problem != "" && c.Problem != singleLabel && !multi:
		return nil, false, fmt.Errorf("problem_type is %.40q, want %q, one class a picture, or %q", c.Problem, singleLabel, multiLabel)
	case k < 2 && !multi:
		return nil, false, fmt.Errorf("a classifier of %d classes, want at least 2", k)
	case c.Labels != nil && len(c.Labels) != k:
		return nil, false, fmt.Errorf("label_names has %d names, the classifier has %d classes", len(c.Labels), k)
	case c.Names != nil && len(c.Names) != k:
		return nil, false, fmt.Errorf("id2label has %d names, the classifier has %d classes", len(c.Names), k)
	case c.Labels != nil:
		return c.Labels, multi, nil
	}
	classes = make([]string, k)
	for i := range classes {
		name, ok := c.Names[strconv.Itoa(i)]
		if c.Names != nil && !ok {
			return nil, false, fmt.Errorf("id2label has no %d, and the classifier has %d classes", i, k)
		}
		classes[i] = cmp.Or(name, "LABEL_"+strconv.Itoa(i))
	}
	return classes, multi, nil
}
