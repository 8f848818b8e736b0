package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

const (
	ggufMagic   = "GGUF"
	ggufVersion = 3
	// ggufAlignment is what the offsets of tensors are multiples of unless general.alignment says
	// otherwise. Source: ggml-org/ggml, docs/gguf.md.
	ggufAlignment = 32
)

// A ggufType is the type of the elements of a tensor of ggml; fileType is what general.file_type says of a
// file whose matrices are of it.
//
// Source: ggml-org/ggml, include/ggml.h, ggml_type and ggml_ftype.
type ggufType struct{ tensor, fileType uint32 }

var ggufTypes = map[DType]ggufType{F32: {0, 0}, F16: {1, 1}, BF16: {30, 32}}

// GGUFType returns the number that general.file_type has for matrices of type d, and whether tensors of
// that type can be written at all.
func GGUFType(d DType) (fileType uint32, ok bool) {
	t, ok := ggufTypes[d]
	return t.fileType, ok
}

// isGGUF says whether a file with this head is one of GGUF.
func isGGUF(head []byte) bool { return bytes.HasPrefix(head, []byte(ggufMagic)) }

// A KeyValue is what a file of GGUF says of itself: a key with a value of type uint32, float32, bool, string,
// []int32 or []float32.
type KeyValue struct {
	Key   string // such as "clip.vision.image_size"
	Value any    // of one of the types above
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
func ggufHeader(values []KeyValue, entries []Entry) []byte {
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
		text(v.Key)
		switch x := v.Value.(type) {
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
			panic(fmt.Sprintf("checkpoint: gguf: %s is a %T", v.Key, v.Value))
		}
	}
	var at int64
	for _, e := range entries {
		text(e.Name)
		u32(uint32(len(e.Shape)))
		for _, d := range slices.Backward(e.Shape) {
			u64(uint64(d))
		}
		u32(ggufTypes[e.DType].tensor)
		u64(uint64(at))
		at += e.Bytes()
		at += ggufPad(at)
	}
	b.Write(make([]byte, ggufPad(int64(b.Len()))))
	return b.Bytes()
}

// ggufPad returns how many bytes are missing to a multiple of the alignment.
func ggufPad(n int64) int64 { return (ggufAlignment - n%ggufAlignment) % ggufAlignment }

// WriteGGUF writes a file of GGUF. Its tensors are float32, float16 or bfloat16; see [GGUFType]. A value of
// another type than [KeyValue] permits is the caller's mistake, and panics.
//
// Libraries for Go that write such files keep the tensors in memory.
//
// Source: ggml-org/ggml, docs/gguf.md.
func WriteGGUF(w io.Writer, values []KeyValue, entries []Entry, emit Emit) error {
	if err := checkEntries(entries); err != nil {
		return fmt.Errorf("checkpoint: gguf: %w", err)
	}
	for _, e := range entries {
		if _, ok := GGUFType(e.DType); !ok {
			return fmt.Errorf("checkpoint: gguf: %s: elements are %s, want F32, F16 or BF16", e.Name, e.DType)
		}
	}
	out := bufio.NewWriterSize(w, writeBuffer)
	if _, err := out.Write(ggufHeader(values, entries)); err != nil {
		return err
	}
	err := emit.each(entries, out, func(n int64) error { // behind the last as well
		_, err := out.Write(make([]byte, ggufPad(n)))
		return err
	})
	if err != nil {
		return err
	}
	return out.Flush()
}
