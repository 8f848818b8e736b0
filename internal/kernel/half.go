package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Half precision is a sign, 5 bits of exponent (bias 15) and 10 of mantissa. Source: IEEE 754-2019, 3.6.

// Widen sets dst to the little-endian halves in src, two bytes each, exactly. Signalling NaNs become quiet, as on
// processors.
func Widen(dst []float32, src []byte) {
	if len(src) < 2*len(dst) {
		panic("kernel: Widen: src is shorter than dst")
	}
	if at := unsafe.Pointer(unsafe.SliceData(src)); littleEndian && uintptr(at)%2 == 0 {
		widen(dst, unsafe.Slice((*uint16)(at), len(dst)))
		return
	}
	for i := range dst {
		dst[i] = FromHalf(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

// Narrow rounds src to the nearest halves, ties to even, in dst, which is as long. It reports whether dst equals src, bit for bit.
func Narrow(dst []uint16, src []float32) bool {
	if len(dst) != len(src) {
		panic("kernel: Narrow: dst and src differ in length")
	}
	return narrow(dst, src)
}

// littleEndian reports whether this processor's memory has the byte order of files.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// widenGeneric is the definition of widen: dst = src.
func widenGeneric(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = FromHalf(h)
	}
}

// narrowGeneric is the definition of narrow: it rounds src to the nearest half, ties to even, in dst. It reports
// whether dst equals src, bit for bit.
func narrowGeneric(dst []uint16, src []float32) bool {
	exact := true
	for i, f := range src {
		dst[i] = ToHalf(f)
		exact = exact && math.Float32bits(FromHalf(dst[i])) == math.Float32bits(f)
	}
	return exact
}

// FromHalf returns the float32 equal to h. As processors do, it makes signalling NaNs quiet.
func FromHalf(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	switch {
	case h&0x7fff > 0x7c00:
		return math.Float32frombits(sign | 0x7fc00000 | uint32(h&0x3ff)<<13)
	case h&0x7c00 == 0x7c00:
		return math.Float32frombits(sign | 0x7f800000)
	}
	// The exponent moves by 127-15 = 112, by a multiplication that normalises subnormals as well.
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13)*0x1p112))
}

// ToHalf returns the half nearest to f, ties to even.
func ToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // not a number: the payload's upper bits stay, and it is quiet
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 2¹⁶ and above
		return sign | 0x7c00
	case b < 0x38800000: // below 2⁻¹⁴: subnormal; adding 1/2 lets the adder round to 2⁻²⁴
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1 // round half to even
	return sign | uint16((b-112<<23)>>13)
}
