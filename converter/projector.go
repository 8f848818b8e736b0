package converter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/projector"
)

// The families of vision-language models, as [ProjectorConfig] names them. InternLM-XComposer2-4KHD
// and -2.5 differ in nothing but the size of their tower's input.
const (
	familyLLaVA15    = "llava-1.5"
	familyLLaVA16    = "llava-1.6"
	familyXComposer  = "xcomposer2-vl"
	familyXComposerH = "xcomposer2-hd" // one of the next two, of another size
	family4KHD       = "xcomposer2-4khd"
	familyXComposer5 = "xcomposer2.5"
	familyXtuner     = "xtuner"
)

// ProjectorConfig says which projector a checkpoint holds and what it is fed with, as far as that is
// known: projector_config.json.
type ProjectorConfig struct {
	Type   string `json:"projector_type"`   // "linear" or "mlp2x_gelu", "mlp3x_gelu", …
	In     int    `json:"in"`               // M, columns of what goes in
	Out    int    `json:"out"`              // O, the width of the language model
	Family string `json:"family,omitempty"` // "llava-1.5", "llava-1.6", "xcomposer2-vl", "xcomposer2-4khd", "xcomposer2.5", "xcomposer2-hd", "xtuner"
	// SelectLayer is the layer of the tower whose tokens are projected, counted as by
	// clipvit.Model.Features; nil if that is not known.
	SelectLayer   *int   `json:"select_layer,omitempty"`
	SelectFeature string `json:"select_feature,omitempty"` // "patch", or "cls_patch" with the class token
	ImageSize     int    `json:"image_size,omitempty"`     // pixels per side of a tile; 0 if not known
	// Grids are the rows and columns of tiles that LLaVA-1.6 chooses from (projector.Layout.Grids); nil if that is
	// not known, and then they are those of all that were published.
	Grids *[][2]int `json:"grids,omitempty"`
	// Layout is the name of the one of projector.Layouts that the checkpoint's own configuration asks for; "" if it
	// says nothing, and then it is the family's.
	Layout string `json:"layout,omitempty"`
	// Merge is how the tokens of the tiles are put together (projector.Layout.Merge).
	Merge projector.Merge `json:"merge,omitempty"`
}

// clone returns a copy that shares nothing.
func (p *ProjectorConfig) clone() *ProjectorConfig {
	if p == nil {
		return nil
	}
	c := *p
	if p.SelectLayer != nil {
		layer := *p.SelectLayer
		c.SelectLayer = &layer
	}
	if p.Grids != nil {
		grids := slices.Clone(*p.Grids)
		c.Grids = &grids
	}
	return &c
}

// setGrids reads the image_grid_pinpoints of a LLaVA-1.6: heights and widths in pixels, or the other way round.
func (p *ProjectorConfig) setGrids(points [][2]int, widthFirst bool, size int) error {
	if len(points) == 0 {
		return nil
	}
	grids := make([][2]int, len(points))
	for i, g := range points {
		if widthFirst {
			g[0], g[1] = g[1], g[0]
		}
		if size < 1 || g[0] < size || g[1] < size || g[0]%size != 0 || g[1]%size != 0 {
			return fmt.Errorf("image_grid_pinpoints has %v, want multiples of image_size, %d", points[i], size)
		}
		grids[i] = [2]int{g[0] / size, g[1] / size}
	}
	p.Grids = &grids
	return nil
}

// readProjector reads the projector_config.json that a conversion wrote, or the config.json of a
// projector of xtuner's.
func readProjector(m *Model, file []byte) error {
	p := m.projector
	if p == nil {
		return errors.New("there are no tensors of a projector")
	}
	if m.dialect.name == xtuner.name {
		return readXtuner(p, file)
	}
	var c ProjectorConfig
	if err := pyjson.Unmarshal(file, &c); err != nil {
		return err
	}
	var wrong error
	switch {
	case c.Type != p.Type:
		wrong = fmt.Errorf("projector_type is %.40q, the tensors say %q", c.Type, p.Type)
	case !isSelectFeature(c.SelectFeature):
		wrong = fmt.Errorf("select_feature is %.40q, want \"patch\" or \"cls_patch\"", c.SelectFeature)
	case c.Layout != "" && !isLayout(c.Layout):
		wrong = fmt.Errorf("layout is %.40q, which is none of projector.Layouts", c.Layout)
	case c.ImageSize < 0:
		wrong = fmt.Errorf("image_size is %d", c.ImageSize)
	}
	if err := errors.Join(wrong, equal("projector", "in", c.In, p.In), equal("projector", "out", c.Out, p.Out)); err != nil {
		return err
	}
	if m.has.vision && c.ImageSize != 0 {
		if err := equal("projector", "image_size", c.ImageSize, m.config.Vision.ImageSize); err != nil {
			return err
		}
	}
	*p = c
	return nil
}

// isSelectFeature reports whether word says which tokens are projected, or nothing.
func isSelectFeature(word string) bool {
	_, ok := projector.ParseSelectFeature(word)
	return ok || word == ""
}

// isLayout reports whether projector.Layouts has one of that name.
func isLayout(name string) bool {
	_, err := projector.FindLayout(name)
	return err == nil
}

// features returns what of the tower is projected: patches, if nothing else is said, of the layer that must be known.
func (p ProjectorConfig) features() clipvit.Features {
	kind, ok := projector.ParseSelectFeature(p.SelectFeature)
	if !ok {
		kind = clipvit.Patches
	}
	return clipvit.Features{Kind: kind, Layer: *p.SelectLayer}
}

// readXtuner reads the config.json of a projector of xtuner's.
//
// Source: InternLM/xtuner, xtuner/model/modules/projector/configuration_projector.py.
func readXtuner(p *ProjectorConfig, file []byte) error {
	c := struct {
		In  int    `json:"visual_hidden_size"`
		Out int    `json:"llm_hidden_size"`
		Act string `json:"hidden_act"`
	}{4096, 4096, "gelu"}
	if err := pyjson.Unmarshal(file, &c); err != nil {
		return err
	}
	var wrong error
	if c.Act != "gelu" {
		wrong = fmt.Errorf("projector hidden_act is %.40q, want \"gelu\"", c.Act)
	}
	return errors.Join(wrong, equal("projector", "visual_hidden_size", c.In, p.In), equal("projector", "llm_hidden_size", c.Out, p.Out))
}

func llavaFamily(m *Model) (family string, layer int) {
	if m.has.extra["Projector.Newline"] {
		return familyLLaVA16, -2
	}
	return familyLLaVA15, -2
}

// Source: InternLM/xtuner, xtuner/model/llava.py: visual_select_layer=-2.
func xtunerFamily(*Model) (family string, layer int) { return familyXtuner, -2 }

// Source: build_mlp.py of the models on Hugging Face: openai/clip-vit-large-patch14-336, whose
// positions are resized, and select_layer = -1, select_feature = 'patch'.
func xComposerFamily(m *Model) (family string, layer int) {
	if m.has.vision {
		m.config.Vision.Activation = transformer.QuickGELU
	}
	family = familyXComposer
	if m.has.extra["Projector.GlobalSeparator"] {
		switch family = familyXComposerH; m.config.Vision.ImageSize {
		case 336:
			family = family4KHD
		case 560:
			family = familyXComposer5
		}
	}
	return family, -1
}

// family completes what is known by the family alone: the code of a model may say what its
// configuration does not.
func (m *Model) family() {
	if m.dialect.family == nil {
		return
	}
	family, layer := m.dialect.family(m)
	size := m.config.Vision.ImageSize
	p := m.projector
	if p == nil {
		return
	}
	p.Family = family
	if p.SelectLayer == nil {
		p.SelectLayer = &layer
	}
	if p.SelectFeature == "" {
		p.SelectFeature = "patch"
	}
	if size > 0 {
		p.ImageSize = size
	}
}

// A Projector is what turns the tokens of a tower into those of a language model, with the vectors
// that are put between them.
type Projector struct {
	Config ProjectorConfig  // sizes, and which features of a tower it takes
	Model  *projector.Model // frozen
	// Newline [O] follows every row of projected patches (LLaVA 1.6); nil if there is none.
	Newline []float32
	// GlobalSeparator [M] stands between the tiles and the global view, and RowSeparator [M] follows
	// every row of merged patches, both before the projection (XComposer2-4KHD and 2.5: plora_glb_GN
	// and plora_sub_GN); nil if there are none.
	GlobalSeparator, RowSeparator []float32
}

// Projector reads the projector and the vectors beside it, and no other tensor. The context is looked at
// between parameters.
func (m *Model) Projector(ctx context.Context) (*Projector, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	if m.projector == nil {
		return nil, m.lacks("vision tower", "projector")
	}
	p := &Projector{Config: *m.projector.clone()}
	var err error
	if p.Model, err = projector.New(projector.Config{Type: p.Config.Type, In: p.Config.In, Out: p.Config.Out}); err != nil {
		return nil, m.wrap(err)
	}
	var errs []error
	params.Walk(p.Model, func(path string, q *nn.Param) {
		errs = append(errs, m.read(ctx, "Projector."+path, mat.Data[float32](q)))
	})
	p.Model.Freeze()
	for name, to := range map[string]*[]float32{
		"Projector.Newline": &p.Newline, "Projector.GlobalSeparator": &p.GlobalSeparator, "Projector.RowSeparator": &p.RowSeparator,
	} {
		if src, ok := m.params[name]; ok {
			*to = make([]float32, src.len())
			errs = append(errs, m.read(ctx, name, *to))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}
