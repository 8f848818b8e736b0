package converter

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/vitago/vitago/internal/kernel"
)

// Half precision is a sign, 5 bits of exponent (bias 15) and 10 of mantissa; bfloat16 is the upper
// half of a float32. Source: IEEE 754-2019, 3.6; Intel, "BFLOAT16 – Hardware Numerics Definition".

// halfToFloat returns the float32 equal to h. It is the definition that the table is made from.
func halfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	if h&0x7c00 == 0x7c00 { // infinite or not a number
		return math.Float32frombits(sign | 0x7f800000 | uint32(h&0x3ff)<<13)
	}
	// The exponent moves by 127-15 = 112, by a multiplication that normalises subnormals as well.
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13)*0x1p112))
}

// halves has the float32 of all 2¹⁶ halves: 256 kB, which the second-level cache holds.
var halves = sync.OnceValue(func() *[1 << 16]float32 {
	var t [1 << 16]float32
	for h := range t {
		t[h] = halfToFloat(uint16(h))
	}
	return &t
})

// floatToHalf returns the half nearest to f, ties to even.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // not a number: keep the payload's upper bits, and keep it from becoming infinite
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 2¹⁶ and above
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal; adding 1/2 lets the adder round to 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1 // round half to even
	return sign | uint16((b-112<<23)>>13)
}

// floatToBFloat returns the bfloat16 nearest to f, ties to even.
func floatToBFloat(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

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
		panic("converter: decode: " + string(from) + " is not a floating type")
	}
}

// encode turns float32 into little-endian elements of type to. It returns an error if a finite
// value would become infinite.
func encode(dst []byte, src []float32, to DType) error {
	switch to {
	case F16:
		for i, f := range src {
			h := floatToHalf(f)
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
		panic("converter: encode: " + string(to) + " is not written")
	}
	return nil
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
