package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/vitago/vitago/internal/kernel"
)

// A DType is the type of the elements of a tensor, by its name in safetensors.
type DType string

// The types that checkpoints of models have. A container may hold others, which have a size and no more.
const (
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"
	I64  DType = "I64"
)

// itemSize holds the bytes of an element of every type that a container may name.
var itemSize = map[DType]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
	"I16": 2, "U16": 2, F16: 2, BF16: 2,
	"I32": 4, "U32": 4, F32: 4,
	I64: 8, "U64": 8, F64: 8, "C64": 8,
	"C128": 16,
}

// packedBits holds the bits of an element of the types of safetensors of which several share a byte. Such tensors are
// not read.
//
// Source: huggingface/safetensors, safetensors/src/tensor.rs, Dtype::bitsize.
var packedBits = map[DType]uint64{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}

// Size returns the bytes of an element, 0 for an unknown type.
func (d DType) Size() int { return itemSize[d] }

// IsFloat says whether the elements are numbers in floating point.
func (d DType) IsFloat() bool { return d == F16 || d == BF16 || d == F32 || d == F64 }

// Half precision is the kernel's. bfloat16 is the upper half of a float32. Source: Intel, "BFLOAT16 –
// Hardware Numerics Definition".

// floatToBFloat returns the bfloat16 nearest to f, ties to even.
func floatToBFloat(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// RoundBF16 returns f after a rounding to bfloat16.
func RoundBF16(f float32) float32 { return math.Float32frombits(uint32(floatToBFloat(f)) << 16) }

// decode turns the little-endian elements src of a floating type into float32. A float64 is
// rounded.
func decode(dst []float32, src []byte, from DType) {
	switch from {
	case F16:
		kernel.Widen(dst, src[:2*len(dst)])
	case BF16:
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case F32:
		src = src[:4*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case F64:
		src = src[:8*len(dst)]
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	default:
		panic("checkpoint: decode: " + string(from) + " is not a floating type")
	}
}

// encode turns float32 into little-endian elements of type to. It returns an error if a finite
// value would become infinite.
func encode(dst []byte, src []float32, to DType) error {
	switch to {
	case F16:
		for i, f := range src {
			h := kernel.ToHalf(f)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(f), 0) {
				return fmt.Errorf("%v is beyond float16, whose largest value is 65504", f)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
	case BF16:
		for i, f := range src {
			h := floatToBFloat(f)
			if h&0x7fff == 0x7f80 && !math.IsInf(float64(f), 0) {
				return fmt.Errorf("%v is beyond bfloat16, whose largest value is 3.3895e38", f)
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
	case F32:
		for i, f := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(f))
		}
	default:
		panic("checkpoint: encode: " + string(to) + " is not written")
	}
	return nil
}

// decode64 is [decode] to float64, which rounds nothing. The scratch must have room for dst.
func decode64(dst []float64, src []byte, from DType, scratch []float32) {
	if from == F64 {
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
		}
		return
	}
	f := scratch[:len(dst)]
	decode(f, src, from)
	for i, v := range f {
		dst[i] = float64(v)
	}
}

// recode turns elements of one floating type into another, through float32 with the scratch that
// must have room for them.
func recode(dst, src []byte, from, to DType, scratch []float32) error {
	n := len(src) / from.Size()
	f := scratch[:n]
	decode(f, src, from)
	if from == F64 {
		for i := range f {
			if d := math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])); math.IsInf(float64(f[i]), 0) && !math.IsInf(d, 0) {
				return fmt.Errorf("%v is beyond float32", d)
			}
		}
	}
	return encode(dst, f, to)
}
