package converter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/kernel"
)

// A ggufTensor is a tensor as a file of GGUF has it.
type ggufTensor struct {
	dims []uint64 // the fastest first
	kind uint32
	data []byte
}

// readGGUF reads a file of GGUF as docs/gguf.md describes it, with nothing of the writer.
func readGGUF(t *testing.T, b []byte) (values map[string]any, keys []string, tensors map[string]ggufTensor) {
	t.Helper()
	r := bytes.NewReader(b)
	number := func(v any) {
		t.Helper()
		if err := binary.Read(r, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	u32 := func() (n uint32) { t.Helper(); number(&n); return n }
	u64 := func() (n uint64) { t.Helper(); number(&n); return n }
	text := func() string {
		t.Helper()
		s := make([]byte, u64())
		number(s)
		return string(s)
	}
	var value func(kind uint32) any
	value = func(kind uint32) any {
		t.Helper()
		switch kind {
		case 4:
			return u32()
		case 5:
			return int32(u32())
		case 6:
			return math.Float32frombits(u32())
		case 7:
			var v bool
			number(&v)
			return v
		case 8:
			return text()
		case 9:
			of, n := u32(), u64()
			var all []any
			for range n {
				all = append(all, value(of))
			}
			return all
		}
		t.Fatalf("a value of type %d", kind)
		return nil
	}
	head := make([]byte, 4)
	number(head)
	if string(head) != "GGUF" || u32() != 3 {
		t.Fatalf("begins with %q, want GGUF and version 3", b[:8])
	}
	nTensors, nValues := u64(), u64()
	values, tensors = map[string]any{}, map[string]ggufTensor{}
	for range nValues {
		k := text()
		keys = append(keys, k)
		values[k] = value(u32())
	}
	type info struct {
		name   string
		offset uint64
	}
	var infos []info
	for range nTensors {
		name := text()
		dims := make([]uint64, u32())
		number(dims)
		tensors[name] = ggufTensor{dims: dims, kind: u32()}
		infos = append(infos, info{name, u64()})
	}
	begin := (uint64(len(b)-r.Len()) + 31) / 32 * 32
	end := begin
	for _, i := range infos {
		x := tensors[i.name]
		n := uint64(map[uint32]int{0: 4, 1: 2, 30: 2}[x.kind])
		for _, d := range x.dims {
			n *= d
		}
		if i.offset%32 != 0 || begin+i.offset != end {
			t.Errorf("%s begins at %d, want %d", i.name, i.offset, end-begin)
		}
		x.data = b[begin+i.offset : begin+i.offset+n]
		tensors[i.name] = x
		end = (begin + i.offset + n + 31) / 32 * 32
	}
	if end != uint64(len(b)) {
		t.Errorf("the last tensor ends at %d with its padding, and the file at %d", end, len(b))
	}
	return values, keys, tensors
}

func exportGGUF(t *testing.T, src, dtype string) (map[string]any, []string, map[string]ggufTensor) {
	t.Helper()
	dst := filepath.Join(t.TempDir(), "mmproj.gguf")
	export(t, src, dst, ExportOptions{To: "gguf", DType: dtype})
	b, err := os.ReadFile(dst)
	if err != nil {
		t.Fatal(err)
	}
	return readGGUF(t, b)
}

// TestGGUF compares keys, names, shapes and values with a list that was written by hand.
func TestGGUF(t *testing.T) {
	src, source := llavaOf(t)
	float32s := map[string][]float32{}
	for _, x := range source {
		f := make([]float32, len(x.data)/x.dtype.Size())
		decode(f, x.data, x.dtype)
		float32s[strings.TrimPrefix(x.name, "model.vision_tower.vision_tower.vision_model.")] = f
	}
	type wanted struct {
		from   string
		dims   []uint64
		matrix bool
	}
	want := map[string]wanted{
		"v.patch_embd.weight":    {"embeddings.patch_embedding.weight", []uint64{6, 6, 3, 64}, true},
		"v.class_embd":           {"embeddings.class_embedding", []uint64{64}, false},
		"v.position_embd.weight": {"embeddings.position_embedding.weight", []uint64{64, 17}, false}, // never multiplied
		"v.pre_ln.weight":        {"pre_layrnorm.weight", []uint64{64}, false},
		"v.pre_ln.bias":          {"pre_layrnorm.bias", []uint64{64}, false},
		"mm.0.weight":            {"model.mm_projector.0.weight", []uint64{64, 32}, true},
		"mm.0.bias":              {"model.mm_projector.0.bias", []uint64{32}, false},
		"mm.2.weight":            {"model.mm_projector.2.weight", []uint64{32, 32}, true},
		"mm.2.bias":              {"model.mm_projector.2.bias", []uint64{32}, false},
	}
	for i := range 2 {
		for ours, x := range map[string]struct {
			from    string
			in, out uint64
		}{
			"attn_q": {"self_attn.q_proj", 64, 64}, "attn_k": {"self_attn.k_proj", 64, 64}, "attn_v": {"self_attn.v_proj", 64, 64},
			"attn_out": {"self_attn.out_proj", 64, 64}, "ffn_up": {"mlp.fc1", 64, 256}, "ffn_down": {"mlp.fc2", 256, 64},
			"ln1": {"layer_norm1", 0, 64}, "ln2": {"layer_norm2", 0, 64},
		} {
			name, from := fmt.Sprintf("v.blk.%d.%s.", i, ours), fmt.Sprintf("encoder.layers.%d.%s.", i, x.from)
			want[name+"bias"] = wanted{from + "bias", []uint64{x.out}, false}
			want[name+"weight"] = wanted{from + "weight", []uint64{x.in, x.out}, true}
			if x.in == 0 {
				want[name+"weight"] = wanted{from + "weight", []uint64{x.out}, false}
			}
		}
	}
	for _, c := range []struct {
		dtype    string
		kind     uint32 // of matrices
		fileType uint32
		patch    uint32
	}{{"", 1, 1, 1}, {"f16", 1, 1, 1}, {"source", 1, 1, 1}, {"bf16", 30, 32, 0}, {"f32", 0, 0, 0}} {
		t.Run(c.dtype, func(t *testing.T) {
			values, keys, tensors := exportGGUF(t, src, c.dtype)
			wantValues := map[string]any{
				"general.architecture": "clip", "general.type": "mmproj", "general.name": filepath.Base(src), "general.file_type": c.fileType,
				"clip.has_vision_encoder": true, "clip.has_text_encoder": false, "clip.has_llava_projector": true,
				"clip.projector_type": "mlp", "clip.use_gelu": false,
				"clip.vision.image_size": uint32(24), "clip.vision.patch_size": uint32(6), "clip.vision.embedding_length": uint32(64),
				"clip.vision.feed_forward_length": uint32(256), "clip.vision.projection_dim": uint32(32), "clip.vision.block_count": uint32(2),
				"clip.vision.attention.head_count": uint32(1), "clip.vision.attention.layer_norm_epsilon": float32(1e-5),
				"clip.vision.image_mean":    []any{float32(0.48145466), float32(0.4578275), float32(0.40821073)},
				"clip.vision.image_std":     []any{float32(0.26862954), float32(0.26130258), float32(0.27577711)},
				"clip.vision.feature_layer": []any{int32(1)}, // the last but one of 2
			}
			if fmt.Sprint(values) != fmt.Sprint(wantValues) || keys[0] != "general.architecture" {
				t.Errorf("values are %v, want %v with general.architecture first", values, wantValues)
			}
			for name, v := range values {
				if fmt.Sprintf("%T", v) != fmt.Sprintf("%T", wantValues[name]) {
					t.Errorf("%s is a %T, want a %T", name, v, wantValues[name])
				}
			}
			if len(tensors) != len(want) {
				t.Errorf("%d tensors, want %d", len(tensors), len(want))
			}
			for name, w := range want {
				x, ok := tensors[name]
				kind := map[bool]uint32{true: c.kind}[w.matrix] // 0 is float32
				if name == "v.patch_embd.weight" {
					kind = c.patch
				}
				if !ok || x.kind != kind || !slices.Equal(x.dims, w.dims) {
					t.Errorf("%s is of type %d, dimensions %v; want %d, %v", name, x.kind, x.dims, kind, w.dims)
					continue
				}
				f := float32s[w.from]
				got := make([]float32, len(f))
				decode(got, x.data, map[uint32]DType{0: F32, 1: F16, 30: BF16}[kind])
				for i := range f {
					round := f[i]
					switch kind {
					case 1:
						round = kernel.FromHalf(kernel.ToHalf(f[i]))
					case 30:
						round = checkpoint.RoundBF16(f[i])
					}
					if math.Float32bits(got[i]) != math.Float32bits(round) {
						t.Errorf("%s[%d] is %v, want %v", name, i, got[i], round)
						break
					}
				}
			}
		})
	}
}

// TestGGUFFromXComposer: a tower whose last layer feeds the projector, and with no last norm to leave
// out.
func TestGGUFFromXComposer(t *testing.T) {
	_, tensors := xComposerOf(t)
	var plain []named
	for _, x := range tensors {
		if x.name == "vision_proj.0.weight" {
			x = vector(x.name, wordWidth, tinyWidth)
		}
		if !strings.HasPrefix(x.name, "plora_") {
			plain = append(plain, x)
		}
	}
	src := writeModel(t, map[string]any{"architectures": []string{"InternLMXComposer2ForCausalLM"}}, plain)
	values, _, tensorsOf := exportGGUF(t, src, "")
	if got := fmt.Sprint(values["clip.vision.feature_layer"]); got != "[2]" {
		t.Errorf("feature_layer is %s, want [2]", got)
	}
	if _, ok := tensorsOf["v.post_ln.weight"]; ok || len(tensorsOf) != 5+2*16+4 {
		t.Errorf("%d tensors, the last norm among them: %v; want 41 without", len(tensorsOf), ok)
	}
}

// TestGGUFHeader: what is in front of the tensors ends at a multiple of 32 bytes whatever its length.
func TestGGUFHeader(t *testing.T) {
	for n := range 40 {
		entries := []checkpoint.Entry{{Name: strings.Repeat("n", n+1), DType: F16, Shape: []int{1, 3}}, {Name: "second", DType: F32, Shape: []int{2}}}
		var b bytes.Buffer
		err := checkpoint.WriteGGUF(&b, []checkpoint.KeyValue{{Key: "general.architecture", Value: "clip"}}, entries, func(i int, w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte{byte(i + 1)}, int(entries[i].Bytes())))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _, tensors := readGGUF(t, b.Bytes())
		if x := tensors["second"]; !bytes.Equal(x.data, bytes.Repeat([]byte{2}, 8)) {
			t.Errorf("with a name of %d bytes the second tensor is %x", n+1, x.data)
		}
	}
}
