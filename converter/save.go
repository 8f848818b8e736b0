package converter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/projector"
)

// Models are models in memory; a nil one is not there.
type Models struct {
	Vision    *clipvit.Model   // with its Config.Transform, which is written beside it
	Text      *cliptext.Model  // with LogitScale, and beside a vision tower
	Projector *projector.Model // alone, or beside the tower that feeds it
	// Encoder is in the place of Projector: its projector with the vectors that are put between tokens, the layer
	// that feeds it, and its layout's family. Its tower is not saved by it; see Vision.
	Encoder *projector.Encoder
}

// Save writes the directory dst as [Model.Convert] does, with models in memory in the place of what like,
// where they come from, has of them: towers that are nil, the tokens between tiles and all else
// stay. Weights from memory are float32, unless [Options.DType] says otherwise. A projector may be new.
// Without a checkpoint (like is nil) the models are all there is.
//
// It returns an error if a tower has corrections by LoRA, which have to be merged before, or is of another
// configuration than the checkpoint's; its input may have another size. A text tower needs one of images, in memory
// or in the checkpoint, with a projection to as many numbers.
func Save(ctx context.Context, models Models, like *Model, dst string, o Options) (*Report, error) {
	m := &Model{
		file: checkpoint.New("memory"), name: "memory", dialect: huggingFace,
		sizes: sizes{}, params: map[string]param{}, has: inventory{extra: map[string]bool{}},
	}
	if like != nil {
		if err := like.ready(); err != nil {
			return nil, err
		}
		m = like.clone()
	}
	if models == (Models{}) {
		return nil, errors.New("converter: no model to save")
	}
	var errs []error
	memory := &memory{}
	if models.Vision != nil {
		errs = append(errs, m.replaceVision(models.Vision, memory))
	}
	if models.Text != nil {
		errs = append(errs, m.replaceText(models.Text, memory))
	}
	if models.Projector != nil {
		errs = append(errs, m.replaceProjector(models.Projector, memory))
	}
	if models.Encoder != nil {
		errs = append(errs, m.replaceEncoder(models.Encoder, memory))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m.convert(ctx, dst, o)
}

// replaceVision puts a tower in memory in the place of the checkpoint's, if it has one.
func (m *Model) replaceVision(v *clipvit.Model, memory *memory) error {
	was := m.config.Vision
	was.ImageSize = v.Config.ImageSize
	was.Transform = v.Config.Transform // which a run may have chosen
	switch {
	case m.has.vision && was != v.Config:
		return fmt.Errorf("converter: %s: the tower is %+v, that in memory %+v", m.name, m.config.Vision, v.Config)
	case m.has.text && v.Config.EmbedDim == 0:
		return fmt.Errorf("converter: %s: a text tower, and none of its projections in memory", m.name)
	}
	c := v.Config
	m.config.Vision, m.has.vision = c, true
	for letter, n := range map[string]int{
		"T": c.Tokens(), "P": c.PatchSize, "C": c.Width, "F": c.MLPWidth, "L": c.Layers,
	} {
		m.sizes[letter] = n
	}
	m.has.without = map[string]bool{"Embed.Class": c.NoClassToken, "PreNorm.W": c.NoPreNorm, "PreNorm.B": c.NoPreNorm}
	m.has.extra["PostNorm.W"], m.has.extra["PostNorm.B"] = !c.NoPostNorm, !c.NoPostNorm
	if m.has.extra["Proj"] = c.EmbedDim > 0; c.EmbedDim > 0 {
		m.sizes["E"] = c.EmbedDim
	}
	if p := m.projector; p != nil && p.ImageSize != 0 {
		p.ImageSize = c.ImageSize
	}
	return m.replace("", v, memory)
}

// replaceText puts a text tower in memory in the place of the checkpoint's, or beside its tower of images.
func (m *Model) replaceText(t *cliptext.Model, memory *memory) error {
	c := t.Config
	switch was := m.config.Text; {
	case m.has.text && was.tower() != c:
		return fmt.Errorf("converter: %s: the text tower is %+v, that in memory %+v", m.name, was.tower(), c)
	case !m.has.vision || m.config.Vision.EmbedDim != c.EmbedDim:
		return fmt.Errorf("converter: %s: a text tower with embeddings of %d numbers, and a tower of images with %d", m.name, c.EmbedDim, m.config.Vision.EmbedDim)
	case !m.has.text:
		m.has.text = true
		m.config.Text = &TextConfig{
			Vocab: c.Vocab, Context: c.Context, Width: c.Width, Heads: c.Heads, Layers: c.Layers, MLPWidth: c.MLPWidth, EmbedDim: c.EmbedDim,
			Activation: c.Activation, NormEps: c.NormEps, BOS: c.End - 1, EOS: c.End, PoolLargest: c.PoolLargest, // as OpenAI numbers them; nothing of the tower depends on the first
		}
	}
	for letter, n := range map[string]int{"v": c.Vocab, "n": c.Context, "c": c.Width, "f": c.MLPWidth, "l": c.Layers} {
		m.sizes[letter] = n
	}
	return m.replaceAt(textPath, t, memory)
}

// replaceProjector puts a projector in memory in the place of the checkpoint's, or beside its tower.
func (m *Model) replaceProjector(p *projector.Model, memory *memory) error {
	c := p.Config
	if was := m.projector; was == nil {
		m.projector = &ProjectorConfig{Type: c.Type, In: c.In, Out: c.Out}
	} else if was.Type != c.Type || was.In != c.In || was.Out != c.Out {
		return fmt.Errorf("converter: %s: the projector is %s from %d to %d, that in memory %+v", m.name, was.Type, was.In, was.Out, c)
	}
	m.has.layers, m.has.alone = len(p.Layers), c.Type == projector.Linear
	m.sizes["M"], m.sizes["O"] = c.In, c.Out
	return m.replace("Projector.", p, memory)
}

// replaceEncoder puts what stands on the tower of an encoder in memory in the place of what the checkpoint has of it.
func (m *Model) replaceEncoder(e *projector.Encoder, memory *memory) error {
	if err := m.replaceProjector(e.Projector, memory); err != nil {
		return err
	}
	for path, q := range map[string]*nn.Param{
		"Projector.Newline": e.Newline, "Projector.RowSeparator": e.RowSeparator, "Projector.GlobalSeparator": e.GlobalSeparator,
	} {
		if q == nil {
			continue // what the checkpoint has stays
		}
		t := memory.tensor(path, q)
		if was, ok := m.params[path]; ok && was.len() != t.Len() {
			return fmt.Errorf("converter: %s: %s has %d values, in memory %d", m.name, path, was.len(), t.Len())
		}
		m.has.extra[path], m.params[path] = true, param{{t, 0, t.Len()}}
	}
	p, layer := m.projector, e.Select.Layer
	p.SelectLayer, p.SelectFeature = &layer, projector.SelectFeature(e.Select.Kind)
	if m.has.vision {
		p.ImageSize = m.config.Vision.ImageSize
	}
	if _, known := layouts[p.Family]; known {
		return nil // whose layout may have been another one for a while
	}
	// A variant, for training or for several images, is of the family too.
	name := strings.TrimSuffix(strings.TrimSuffix(e.Layout.Name, "-train"), "-several")
	for family, layout := range layouts {
		if layout == name && family != familyXtuner { // whose layout is LLaVA's
			p.Family = family
		}
	}
	return nil
}

// replace makes the parameters of a model in memory those under a prefix of the canonical names.
func (m *Model) replace(prefix string, model nn.Model, memory *memory) error {
	return m.replaceAt(func(path string) string { return prefix + path }, model, memory)
}

// replaceAt makes the parameters of a model in memory those of the canonical names of their paths.
func (m *Model) replaceAt(name func(path string) string, model nn.Model, memory *memory) error {
	var errs []error
	params.Walk(model, func(path string, p *nn.Param) {
		if strings.Contains(path, "LoRA.") {
			errs = append(errs, fmt.Errorf("converter: %s: a correction by LoRA, which has to be merged with the weights before", path))
			return
		}
		t := memory.tensor(path, p)
		m.params[name(path)] = param{{t, 0, t.Len()}}
	})
	return errors.Join(errs...)
}

// memory is where the tensors of models in memory are read. Weights that are packed for products are made
// plain for that, one parameter at a time.
type memory struct {
	mu     sync.Mutex
	param  *nn.Param
	values []float32 // of param
}

// tensor returns a parameter as a tensor of a checkpoint.
func (s *memory) tensor(path string, p *nn.Param) *checkpoint.Tensor {
	t, err := checkpoint.NewTensor(path, checkpoint.F32, p.Shape(), memoryReader{s, p})
	if err != nil {
		panic(err) // what is in memory can be counted
	}
	return t
}

type memoryReader struct {
	memory *memory
	param  *nn.Param
}

// ReadAt gives the bytes of the values as a file has them. It is asked for whole elements.
func (r memoryReader) ReadAt(b []byte, off int64) (int, error) {
	s := r.memory
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.param != r.param {
		s.param, s.values = r.param, mat.Data[float32](r.param)
	}
	rest := s.values[min(int(off/4), len(s.values)):]
	n := min(len(b)/4, len(rest))
	for i, v := range rest[:n] {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	if 4*n < len(b) {
		return 4 * n, io.EOF
	}
	return 4 * n, nil
}
