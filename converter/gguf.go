package converter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
)

const (
	ggufMagic   = "GGUF"
	ggufVersion = 3
	// ggufAlignment is what the offsets of tensors are multiples of unless general.alignment says
	// otherwise. Source: ggml-org/ggml, docs/gguf.md.
	ggufAlignment = 32
)

// A ggufType is the type of the elements of a tensor of ggml, and fileType says in
// general.file_type that the matrices of a file are of it.
//
// Source: ggml-org/ggml, include/ggml.h, ggml_type and ggml_ftype.
type ggufType struct{ tensor, fileType uint32 }

var ggufTypes = map[DType]ggufType{F32: {0, 0}, F16: {1, 1}, BF16: {30, 32}}

// A ggufValue is a key with a value: uint32, int32s, float32, float32s, bool or string.
type ggufValue struct {
	key   string
	value any
}

// ggufValueTypes are the types of values. Source: ggml-org/ggml, docs/gguf.md.
const (
	ggufUint32  uint32 = 4
	ggufInt32   uint32 = 5
	ggufFloat32 uint32 = 6
	ggufBool    uint32 = 7
	ggufString  uint32 = 8
	ggufArray   uint32 = 9
)

// ggufHeader returns what stands in front of the tensors: little-endian numbers, strings with their
// length, and dimensions the fastest first, so in the reverse of PyTorch's order.
func ggufHeader(values []ggufValue, entries []safetensor) []byte {
	var b bytes.Buffer
	u32 := func(n uint32) { b.Write(binary.LittleEndian.AppendUint32(nil, n)) }
	u64 := func(n uint64) { b.Write(binary.LittleEndian.AppendUint64(nil, n)) }
	text := func(s string) { u64(uint64(len(s))); b.WriteString(s) }
	list := func(of uint32, n int, value any) {
		u32(ggufArray)
		u32(of)
		u64(uint64(n))
		_ = binary.Write(&b, binary.LittleEndian, value) // a Buffer does not fail, nor a slice of numbers
	}
	b.WriteString(ggufMagic)
	u32(ggufVersion)
	u64(uint64(len(entries)))
	u64(uint64(len(values)))
	for _, v := range values {
		text(v.key)
		switch x := v.value.(type) {
		case uint32:
			u32(ggufUint32)
			u32(x)
		case float32:
			u32(ggufFloat32)
			_ = binary.Write(&b, binary.LittleEndian, x)
		case bool:
			u32(ggufBool)
			_ = binary.Write(&b, binary.LittleEndian, x)
		case string:
			u32(ggufString)
			text(x)
		case []int32:
			list(ggufInt32, len(x), x)
		case []float32:
			list(ggufFloat32, len(x), x)
		default:
			panic(fmt.Sprintf("converter: gguf: %s is a %T", v.key, v.value))
		}
	}
	var at uint64
	for _, e := range entries {
		text(e.name)
		u32(uint32(len(e.shape)))
		for i := len(e.shape) - 1; i >= 0; i-- {
			u64(uint64(e.shape[i]))
		}
		u32(ggufTypes[e.dtype].tensor)
		u64(at)
		at += e.end - e.begin
		at += ggufPad(at)
	}
	b.Write(make([]byte, ggufPad(uint64(b.Len()))))
	return b.Bytes()
}

// ggufPad returns how many bytes are missing to a multiple of the alignment.
func ggufPad(n uint64) uint64 { return -n % ggufAlignment }

// writeGGUF writes a file of GGUF, whose tensors emit writes one after the other. Libraries for Go
// that write such files keep the tensors in memory.
//
// Source: ggml-org/ggml, docs/gguf.md.
func writeGGUF(w io.Writer, values []ggufValue, entries []safetensor, emit func(i int, w io.Writer) error) error {
	if _, err := w.Write(ggufHeader(values, entries)); err != nil {
		return err
	}
	for i, e := range entries {
		n := &counter{w: w}
		if err := emit(i, n); err != nil {
			return err
		}
		if n.n != e.end-e.begin {
			return fmt.Errorf("converter: %s: %d bytes written, want %d", e.name, n.n, e.end-e.begin)
		}
		if _, err := w.Write(make([]byte, ggufPad(n.n))); err != nil { // behind the last as well
			return err
		}
	}
	return nil
}

// writeGGUF writes the tensors with what llama.cpp has to know of them.
func (o *output) writeGGUF(ctx context.Context, f *os.File) error {
	return o.writeBuffered(ctx, f, func(w io.Writer, emit func(i int, w io.Writer) error) error {
		return writeGGUF(w, o.ggufValues(), o.entries, emit)
	})
}

// fitsGGUF checks what llama.cpp takes for granted of a projector of type mlp: that between two
// layers there is a GELU, and that it is fed with patches as they are.
//
// Source: ggml-org/llama.cpp, tools/mtmd/models/llava.cpp.
func fitsGGUF(m *clip) error {
	p := m.projector
	errs := []error{fitsTwoLayers(m)}
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
func (o *output) ggufValues() []ggufValue {
	v := o.config.Vision
	layer, _ := o.selected()
	matrix := slices.IndexFunc(o.entries, func(e safetensor) bool { return len(e.shape) == 2 && e.name != ggufPosition })
	return []ggufValue{
		{"general.architecture", "clip"},
		{"general.type", "mmproj"},
		{"general.name", filepath.Base(o.name)},
		{"general.file_type", ggufTypes[o.entries[matrix].dtype].fileType},
		{"clip.has_vision_encoder", true},
		{"clip.has_text_encoder", false},
		{"clip.has_llava_projector", true},
		{"clip.projector_type", "mlp"},
		{"clip.use_gelu", v.Activation == transformer.GELU}, // quick_gelu unless one is said
		{"clip.vision.image_size", uint32(v.ImageSize)},
		{"clip.vision.patch_size", uint32(v.PatchSize)},
		{"clip.vision.embedding_length", uint32(v.Width)},
		{"clip.vision.feed_forward_length", uint32(v.MLPWidth)},
		{"clip.vision.projection_dim", uint32(o.projector.Out)},
		{"clip.vision.block_count", uint32(v.Layers)},
		{"clip.vision.attention.head_count", uint32(v.Heads)},
		{"clip.vision.attention.layer_norm_epsilon", float32(v.NormEps)},
		{"clip.vision.image_mean", clipvit.Mean[:]},
		{"clip.vision.image_std", clipvit.Std[:]},
		{"clip.vision.feature_layer", []int32{int32(layer)}},
	}
}

// ggufDTypes gives every entry the type that llama.cpp's own converter gives it: matrices have that of
// the target, or of the source, and so has the kernel of the patches if it is float16; all else is
// float32.
//
// Source: ggml-org/llama.cpp, convert_hf_to_gguf.py, ModelBase.prepare_tensors and
// MmprojModel.tensor_force_quant.
func (o *output) ggufDTypes() {
	for i := range o.entries {
		e := &o.entries[i]
		matrix := len(e.shape) == 2 && e.name != ggufPosition
		if _, ok := ggufTypes[e.dtype]; !ok || !matrix && (len(e.shape) < 4 || e.dtype != F16) {
			e.dtype = F32
		}
	}
	o.layOut()
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
	{"v.class_embd", "Embed.Class", same},
	{ggufPosition, "Embed.Position", same},
	{"v.pre_ln.{weight,bias}", "PreNorm.{W,B}", same},
	{"v.blk.#.ln{1,2}.{weight,bias}", "Blocks.#.Norm{1,2}.{W,B}", same},
	{"v.blk.#.attn_{q,k,v}.{weight,bias}", "Blocks.#.Attn.QKV[{0,1,2}/3].{W,B}", same},
	{"v.blk.#.attn_out.{weight,bias}", "Blocks.#.Attn.Out.{W,B}", same},
	{"v.blk.#.ffn_{up,down}.{weight,bias}", "Blocks.#.MLP.{Up,Down}.{W,B}", same},
	{"mm.{0,2}.{weight,bias}", "Projector.Layers.{0,1}.{W,B}", same},
})
