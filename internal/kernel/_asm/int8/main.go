// The generator of the assembly of the int8 product for amd64.
//
//	go generate ./internal/kernel
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// words returns read-only memory filled with one word, as wide as a register of AVX2.
func words(bits uint32) Mem {
	c := GLOBL(fmt.Sprintf("int8words%08x", bits), 8|16) // RODATA|NOPTR
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	return c
}

func main() {
	ConstraintExpr("!purego")
	tileAMX()
	tileAVX512VNNI()
	tileAVXVNNI()
	tileAVX2()
	limits()
	quantise()
	dequantise()
	Generate()
}

// A tile is a routine that computes mr rows of nr sums, kept in registers of width bytes.
type tile struct {
	name      string
	mr, width int
	acc       [][]Register        // [mr][2]
	start     func()              // what else is to do before the loop, or nil
	step      func(a, b Register) // adds the products of one quad of depth
}

// emit writes the routine around the step: the sums so far, a loop over quads, and the store. Each turn
// prefetches a row of what will be computed from the sums, until there are no more rows. The loop
// is not unrolled: one step is long enough, and four do not fit the cache of decoded instructions as well
// (0.86 to 0.91 of what the AVX-512 tile could do, instead of 0.91 to 0.96, on a Sapphire Rapids).
func (t tile) emit() {
	TEXT(t.name, NOSPLIT, "func(acc *int32, ld int, a, b *uint32, quads int, soon *float32, ldc int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is int8TileGeneric for %d rows and %d columns; quads is at least 1. It prefetches as many rows of C, ldc apart, from soon on.", t.name, t.mr, t.width/2))
	c := Load(Param("acc"), GP64())
	ld := Load(Param("ld"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("quads"), GP64())
	SHLQ(U8(2), ld)
	row := GP64()
	MOVQ(c, row)
	for i := range t.acc {
		for j, r := range t.acc[i] {
			VMOVUPS(Mem{Base: row, Disp: j * t.width}, r)
		}
		if i < t.mr-1 {
			ADDQ(ld, row)
		}
	}
	if t.start != nil {
		t.start()
	}
	soon := Load(Param("soon"), GP64())
	ldc := Load(Param("ldc"), GP64())
	SHLQ(U8(2), ldc)
	last := GP64()
	IMUL3Q(U8(t.mr-1), ldc, last)
	ADDQ(soon, last)
	Label(t.name + "Loop")
	for line := 0; line < 2*t.width; line += 64 {
		PREFETCHT0(Mem{Base: soon, Disp: line})
	}
	ADDQ(ldc, soon)
	CMPQ(soon, last)
	CMOVQHI(last, soon)
	t.step(a, b)
	ADDQ(I32(t.mr*4), a)
	ADDQ(I32(2*t.width), b)
	DECQ(k)
	JNZ(LabelRef(t.name + "Loop"))
	for i := range t.acc {
		for j, r := range t.acc[i] {
			VMOVUPS(r, Mem{Base: c, Disp: j * t.width})
		}
		if i < t.mr-1 {
			ADDQ(ld, c)
		}
	}
	VZEROUPPER()
	RET()
}

// sums returns registers for the sums of mr rows.
func sums(mr int, vec func() Register) [][]Register {
	acc := make([][]Register, mr)
	for i := range acc {
		acc[i] = []Register{vec(), vec()}
	}
	return acc
}

func tileAVX512VNNI() {
	t := tile{name: "int8TileAVX512VNNI", mr: 14, width: 64}
	t.acc = sums(t.mr, func() Register { return ZMM() })
	t.step = func(a, b Register) {
		var bv [2]Register
		for j := range bv {
			bv[j] = ZMM()
			VMOVUPS(Mem{Base: b, Disp: j * t.width}, bv[j])
		}
		for i, row := range t.acc {
			x := ZMM()
			VPBROADCASTD(Mem{Base: a, Disp: 4 * i}, x)
			for j, r := range row {
				VPDPBUSD(bv[j], x, r)
			}
		}
	}
	t.emit()
}

// tileAVXVNNI uses registers by number, since the instruction is written as bytes: Go's assembler
// knows vpdpbusd as AVX-512 encodes it, not as AVX-VNNI does.
func tileAVXVNNI() {
	t := tile{name: "int8TileAVXVNNI", mr: 6, width: 32}
	y := []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	next := 0
	t.acc = sums(t.mr, func() Register { next++; return y[next-1] })
	t.step = func(a, b Register) {
		for j := range 2 {
			VMOVDQU(Mem{Base: b, Disp: j * t.width}, y[12+j])
		}
		for i := range t.mr {
			x := 14 + i%2
			VPBROADCASTD(Mem{Base: a, Disp: 4 * i}, y[x])
			for j := range 2 {
				vexVPDPBUSD(12+j, x, 2*i+j)
			}
		}
	}
	t.emit()
}

// vexVPDPBUSD emits VPDPBUSD Ys, Yu, Yd: VEX.256.66.0F38.W0 50 /r.
func vexVPDPBUSD(s, u, d int) {
	Commentf("VPDPBUSD Y%d, Y%d, Y%d", s, u, d)
	vex(d>>3, 0, s>>3, u, 1, 1, 0x50, 3<<6|(d&7)<<3|s&7)
}

// vex emits an instruction of the map 0F38 that Go's assembler does not know: the high bits of the
// register, the index and the base (or second register), the register of vvvv, 256 bits or not, the
// prefix (1 is 66, 2 is F3, 3 is F2), and what follows.
// Source: Intel's Software Developer's Manual, volume 2, "The VEX Prefix" and the instruction's page.
func vex(r, x, b, vvvv, long, prefix int, rest ...int) {
	for _, v := range append([]int{0xc4, (1-r)<<7 | (1-x)<<6 | (1-b)<<5 | 2, (15-vvvv)<<3 | long<<2 | prefix}, rest...) {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(v)}})
	}
}

// tileAMX computes 32 rows of 32 sums in four of the eight tile registers, each of 16 rows of 64
// bytes. Two more hold A, 16 quads deep, and two hold B. The state is released before the return:
// nothing is left that a switch of threads would have to save.
func tileAMX() {
	const (
		name   = "int8TileAMX"
		rows   = 16
		width  = 64               // bytes in a row of a register
		a0, b0 = 4, 6             // after the registers of the sums; a0+1 and b0+1 as well
		half   = rows * width     // of A
		step   = 2 * rows * width // bytes of A, and of B, in a turn
	)
	config := GLOBL(name+"Config", 8|16) // RODATA|NOPTR
	DATA(0, U64(1))                      // palette 1, start row 0
	for i := 8; i < 64; i += 8 {
		switch {
		case 16 <= i && i < 32:
			DATA(i, U64(width*0x0001000100010001)) // bytes in a row, 16 bits for each register
		case 48 <= i && i < 56:
			DATA(i, U64(rows*0x0101010101010101))
		default:
			DATA(i, U64(0))
		}
	}
	TEXT(name, NOSPLIT, "func(acc *int32, ld int, a, b *uint32, quads int, soon *float32, ldc int)")
	Pragma("noescape")
	Doc(name + " is int8TileGeneric for 32 rows and 32 columns; quads is a positive multiple of 16. It prefetches two rows of C, ldc apart, for every 16 quads, from soon on.")
	Load(Param("acc"), RDX)
	Load(Param("ld"), R8)
	Load(Param("a"), RAX)
	Load(Param("b"), RCX)
	Load(Param("quads"), R9)
	Load(Param("soon"), R10)
	Load(Param("ldc"), R11)
	SHLQ(U8(2), R8)
	SHLQ(U8(2), R11)
	SHRQ(U8(4), R9)
	MOVQ(R8, RBX)
	SHLQ(U8(4), RBX)
	ADDQ(RDX, RBX) // the lower half of the sums
	MOVQ(U32(width), RSI)
	MOVQ(U32(2*width), RDI)
	LEAQ(config, R12)
	Comment("LDTILECFG (R12)")
	vex(0, 0, 1, 0, 0, 0, 0x49, 0x04, 0x24)
	memory := func(mnemonic string, prefix, tmm int, base, index GPPhysical, disp int) {
		Commentf("%s T%d, %d(%s)(%s*1)", mnemonic, tmm, disp, base.Asm(), index.Asm())
		b, x := int(base.PhysicalIndex()), int(index.PhysicalIndex())
		vex(0, x>>3, b>>3, 0, 0, prefix, 0x4b, 2<<6|tmm<<3|4, (x&7)<<3|b&7, disp&255, disp>>8, 0, 0)
	}
	sums := func(mnemonic string, prefix int) {
		for i, base := range []GPPhysical{RDX, RBX} {
			for j := range 2 {
				memory(mnemonic, prefix, 2*i+j, base, R8, j*width)
			}
		}
	}
	const f3, f2 = 2, 3
	sums("TILELOADD", f2)
	Label(name + "Loop")
	for range 2 {
		PREFETCHT0(Mem{Base: R10})
		PREFETCHT0(Mem{Base: R10, Disp: 64})
		ADDQ(R11, R10)
	}
	product := func(i, j int) {
		Commentf("TDPBUSD T%d, T%d, T%d", 2*i+j, a0+i, b0+j)
		vex(0, 0, 0, b0+j, 0, 1, 0x5e, 3<<6|(2*i+j)<<3|(a0+i))
	}
	memory("TILELOADD", f2, a0, RAX, RSI, 0)
	memory("TILELOADD", f2, b0, RCX, RDI, 0)
	product(0, 0)
	memory("TILELOADD", f2, b0+1, RCX, RDI, width)
	product(0, 1)
	memory("TILELOADD", f2, a0+1, RAX, RSI, half)
	product(1, 0)
	product(1, 1)
	ADDQ(I32(step), RAX)
	ADDQ(I32(step), RCX)
	DECQ(R9)
	JNZ(LabelRef(name + "Loop"))
	sums("TILESTORED", f3)
	Comment("TILERELEASE")
	vex(0, 0, 0, 0, 0, 0, 0x49, 0xc0)
	RET()
}

// tileAVX2 multiplies bytes into sums of two, as words, and those into sums of four. It has one
// register for B; the other half of B stays in memory.
func tileAVX2() {
	t := tile{name: "int8TileAVX2", mr: 6, width: 32}
	one := words(1<<16 | 1)
	ones := YMM()
	t.acc = sums(t.mr, func() Register { return YMM() })
	t.start = func() { VMOVDQU(one, ones) }
	t.step = func(a, b Register) {
		b0 := YMM()
		VMOVDQU(Mem{Base: b}, b0)
		for i, row := range t.acc {
			x := YMM()
			VPBROADCASTD(Mem{Base: a, Disp: 4 * i}, x)
			for j, bv := range []Op{b0, Mem{Base: b, Disp: t.width}} {
				pairs := YMM()
				VPMADDUBSW(bv, x, pairs)
				VPMADDWD(ones, pairs, pairs)
				VPADDD(pairs, row[j], row[j])
			}
		}
	}
	t.emit()
}

// limits finds the least and the greatest of 0 and x, passing over NaNs, and Σ 0·x, which is NaN
// if one of x is no finite number.
func limits() {
	TEXT("int8LimitsAVX2", NOSPLIT, "func(x *float32, n int) (lo, hi, finite float32)")
	Pragma("noescape")
	Doc("int8LimitsAVX2 is int8LimitsGeneric; n is a positive multiple of 16.")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	zero := YMM()
	VXORPS(zero, zero, zero)
	var lo, hi, fin [2]VecVirtual // two of each: the latency of one would be the limit
	for i := range 2 {
		lo[i], hi[i], fin[i] = YMM(), YMM(), YMM()
		for _, r := range []VecVirtual{lo[i], hi[i], fin[i]} {
			VXORPS(r, r, r)
		}
	}
	Label("int8LimitsAVX2Loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v)
		VMINPS(lo[i], v, lo[i]) // of a NaN and a number, the first operand: the least so far
		VMAXPS(hi[i], v, hi[i])
		VFMADD231PS(zero, v, fin[i])
	}
	ADDQ(I32(64), x)
	SUBQ(I32(16), n)
	JNZ(LabelRef("int8LimitsAVX2Loop"))
	for i, r := range []struct {
		v [2]VecVirtual
		f func(...Op)
	}{{lo, VMINPS}, {hi, VMAXPS}, {fin, VADDPS}} {
		r.f(r.v[1], r.v[0], r.v[0])
		s, t := XMM(), XMM()
		VEXTRACTF128(U8(1), r.v[0], s)
		r.f(s, r.v[0].AsX(), s)
		VMOVHLPS(s, s, t)
		r.f(s, t, s)
		VPSHUFD(U8(1), s, t)
		r.f(s, t, s)
		Store(s, ReturnIndex(i))
	}
	VZEROUPPER()
	RET()
}

// quantise writes bytes, four of them to a quad, quads stride apart.
func quantise() {
	TEXT("int8QuantiseAVX2", NOSPLIT, "func(dst *uint32, stride int, x *float32, n int, inverse float32, zero int32)")
	Pragma("noescape")
	Doc("int8QuantiseAVX2 is int8QuantiseGeneric; n is a positive multiple of 32.")
	dst := Load(Param("dst"), GP64())
	stride := Load(Param("stride"), GP64())
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	inverse, zero := YMM(), YMM()
	spread("inverse", inverse)
	spread("zero", zero)
	SHLQ(U8(2), stride)
	Label("int8QuantiseAVX2Loop")
	var v [4]VecVirtual
	for i := range v {
		v[i] = YMM()
		VMULPS(Mem{Base: x, Disp: 32 * i}, inverse, v[i])
		VCVTPS2DQ(v[i], v[i])
		VPADDD(zero, v[i], v[i])
	}
	// Packing works in halves of a register: even quads come to lie in the low half, odd ones in the high.
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKUSWB(v[2], v[0], v[0])
	high := XMM()
	VEXTRACTI128(U8(1), v[0], high)
	for i := range 4 {
		VPEXTRD(U8(i), v[0].AsX(), Mem{Base: dst})
		VPEXTRD(U8(i), high, Mem{Base: dst, Index: stride, Scale: 1})
		LEAQ(Mem{Base: dst, Index: stride, Scale: 2}, dst)
	}
	ADDQ(I32(128), x)
	SUBQ(I32(32), n)
	JNZ(LabelRef("int8QuantiseAVX2Loop"))
	VZEROUPPER()
	RET()
}

// dequantise turns sums into numbers.
func dequantise() {
	TEXT("int8DequantiseAVX2", NOSPLIT, "func(y *float32, acc, sums *int32, scales *float32, n int, zero int32, scale float32)")
	Pragma("noescape")
	Doc("int8DequantiseAVX2 is int8DequantiseGeneric; n is a positive multiple of 16.")
	y := Load(Param("y"), GP64())
	acc := Load(Param("acc"), GP64())
	sums := Load(Param("sums"), GP64())
	scales := Load(Param("scales"), GP64())
	n := Load(Param("n"), GP64())
	zero, scale := YMM(), YMM()
	spread("zero", zero)
	spread("scale", scale)
	i := GP64()
	XORQ(i, i)
	Label("int8DequantiseAVX2Loop")
	for half := range 2 {
		at := func(base Register) Mem { return Mem{Base: base, Index: i, Scale: 4, Disp: 32 * half} }
		s, v := YMM(), YMM()
		VPMULLD(at(sums), zero, s)
		VMOVDQU(at(acc), v)
		VPSUBD(s, v, v)
		VCVTDQ2PS(v, v)
		VMULPS(at(scales), v, v)
		VMULPS(scale, v, v)
		VMOVUPS(v, at(y))
	}
	ADDQ(I32(16), i)
	CMPQ(i, n)
	JLT(LabelRef("int8DequantiseAVX2Loop"))
	VZEROUPPER()
	RET()
}

// spread fills v with a parameter of 32 bits.
func spread(param string, v VecVirtual) {
	addr, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(addr.Addr, v)
}
