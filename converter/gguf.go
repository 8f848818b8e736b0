package converter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
)

// writeGGUF writes the tensors with what llama.cpp has to know of them.
func (o *output) writeGGUF(ctx context.Context, f *os.File) error {
	return o.writeCounted(ctx, f, func(w io.Writer, emit checkpoint.Emit) error {
		return checkpoint.WriteGGUF(w, o.ggufValues(), o.entries, emit)
	})
}

// fitsGGUF checks what llama.cpp takes for granted of a projector of type mlp: that between two
// layers there is a GELU, and that it is fed with patches as they are.
//
// Source: ggml-org/llama.cpp, tools/mtmd/models/llava.cpp.
func fitsGGUF(m *Model) error {
	p := m.projector
	errs := []error{fitsTwoLayers(m), fitsTwoActivations(m.config.Vision.Activation)}
	if fit := m.config.Vision.Transform.Resolved().Fit; fit != clipvit.FitShortest {
		errs = append(errs, fmt.Errorf("images become square by %s, and the form has %s only", fit, clipvit.FitShortest))
	}
	if t := m.config.Vision.Transform.Resolved(); t.Filter != clipvit.FilterBicubic || t.Resize != 0 {
		errs = append(errs, fmt.Errorf("images are scaled by %s, %d pixels at first, and the form has %s and the tower's %d only", t.Filter, t.Resize, clipvit.FilterBicubic, m.config.Vision.ImageSize))
	}
	if width := m.config.Vision.Width; p.In != width {
		errs = append(errs, fmt.Errorf("the projector has %d columns, and llama.cpp feeds it with patches of %d", p.In, width))
	}
	if p.SelectFeature != "" && p.SelectFeature != "patch" {
		errs = append(errs, fmt.Errorf("the projector is fed with %s, and llama.cpp feeds it with patches alone", p.SelectFeature))
	}
	if layer, ok := m.selected(); !ok {
		errs = append(errs, errors.New("nothing says which layer feeds the projector (select_layer in "+projectorFile+")"))
	} else if layer < 1 || layer > m.config.Vision.Layers {
		errs = append(errs, fmt.Errorf("the projector is fed by layer %d, want 1 to %d", layer, m.config.Vision.Layers))
	}
	return errors.Join(errs...)
}

// ggufValues returns the keys that llama.cpp reads, and those that its older versions did. The layer
// that feeds the projector is written out: llama.cpp would take the last but one of those that are
// there, and converters differ in how many they leave out.
//
// Source: ggml-org/llama.cpp, tools/mtmd/clip-impl.h, KEY_…, and clip.cpp, clip_model_loader.
func (o *output) ggufValues() []checkpoint.KeyValue {
	v := o.model.config.Vision
	layer, _ := o.model.selected()
	transform := v.Transform.Resolved()
	matrix := slices.IndexFunc(o.entries, func(e checkpoint.Entry) bool { return len(e.Shape) == 2 && e.Name != ggufPosition })
	fileType, _ := checkpoint.GGUFType(o.entries[matrix].DType)
	return []checkpoint.KeyValue{
		{Key: "general.architecture", Value: "clip"},
		{Key: "general.type", Value: "mmproj"},
		{Key: "general.name", Value: filepath.Base(o.model.name)},
		{Key: "general.file_type", Value: fileType},
		{Key: "clip.has_vision_encoder", Value: true},
		{Key: "clip.has_text_encoder", Value: false},
		{Key: "clip.has_llava_projector", Value: true},
		{Key: "clip.projector_type", Value: "mlp"},
		{Key: "clip.use_gelu", Value: v.Activation == transformer.GELU}, // quick_gelu unless one is said
		{Key: "clip.vision.image_size", Value: uint32(v.ImageSize)},
		{Key: "clip.vision.patch_size", Value: uint32(v.PatchSize)},
		{Key: "clip.vision.embedding_length", Value: uint32(v.Width)},
		{Key: "clip.vision.feed_forward_length", Value: uint32(v.MLPWidth)},
		{Key: "clip.vision.projection_dim", Value: uint32(o.model.projector.Out)},
		{Key: "clip.vision.block_count", Value: uint32(v.Layers)},
		{Key: "clip.vision.attention.head_count", Value: uint32(v.Heads)},
		{Key: "clip.vision.attention.layer_norm_epsilon", Value: float32(v.NormEps)},
		{Key: "clip.vision.image_mean", Value: float32s(transform.Mean)},
		{Key: "clip.vision.image_std", Value: float32s(transform.Std)},
		{Key: "clip.vision.feature_layer", Value: []int32{int32(layer)}},
	}
}

func float32s(c [3]float64) []float32 { return []float32{float32(c[0]), float32(c[1]), float32(c[2])} }

// ggufDTypes gives every entry the type that llama.cpp's own converter gives it: matrices have that of
// the target, or of the source, and so has the kernel of the patches if it is float16; all else is
// float32.
//
// Source: ggml-org/llama.cpp, convert_hf_to_gguf.py, ModelBase.prepare_tensors and
// MmprojModel.tensor_force_quant.
func (o *output) ggufDTypes() {
	for i := range o.entries {
		e := &o.entries[i]
		matrix := len(e.Shape) == 2 && e.Name != ggufPosition
		if _, ok := checkpoint.GGUFType(e.DType); !ok || !matrix && (len(e.Shape) < 4 || e.DType != checkpoint.F16) {
			e.DType = checkpoint.F32
		}
	}
}

// ggufPosition is looked up in row by row, never multiplied.
const ggufPosition = "v.position_embd.weight"

// ggufNames are the names of llama.cpp's multimodal projectors. Old files have ffn_up and ffn_down
// exchanged, which llama.cpp finds out from their shapes. There is no row for the last norm: llama.cpp
// would apply it to the patches, which no family does.
//
// Source: ggml-org/llama.cpp, tools/mtmd/clip-impl.h, TN_…; gguf-py/gguf/constants.py,
// MODEL_TENSOR.V_….
var ggufNames = newDialect("GGUF", table{
	{"v.patch_embd.weight", "Embed.Patch", flat}, // [C,3,P,P]
	{"v.class_embd", "Embed.Class", asIs},
	{ggufPosition, "Embed.Position", asIs},
	{"v.pre_ln.{weight,bias}", "PreNorm.{W,B}", asIs},
	{"v.blk.#.ln{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", asIs},
	{"v.blk.#.attn_{q,k,v}.{weight,bias}", "Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", asIs},
	{"v.blk.#.attn_out.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", asIs},
	{"v.blk.#.ffn_{up,down}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", asIs},
	{"mm.{0,2}.{weight,bias}", "Projector.Layers.{0,1}.{W,B}", asIs},
})
