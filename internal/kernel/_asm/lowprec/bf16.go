package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// zmm are the registers of AVX-512 by number: Go's assembler does not know the instructions for bfloat16, so that they are
// written as bytes.
var zmm = []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31}

// evex emits an instruction of the map 0F38 on 512 bits, of registers d, u and s: EVEX.512.PREFIX.0F38.W0.
// Source: Intel's Software Developer's Manual, volume 2, "The EVEX Prefix" and the instruction's page.
func evex(mnemonic string, prefix, opcode, s, u, d int) {
	Commentf("%s Z%d, Z%d, Z%d", mnemonic, s, u, d)
	not := func(v, bit int) int { return ^(v >> bit) & 1 }
	for _, v := range []int{
		0x62,
		not(d, 3)<<7 | not(s, 4)<<6 | not(s, 3)<<5 | not(d, 4)<<4 | 2,
		(^u&15)<<3 | 1<<2 | prefix,
		2<<5 | not(u, 4)<<3,
		opcode,
		3<<6 | (d&7)<<3 | s&7,
	} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(v)}})
	}
}

// tileAVX512BF16 is the tile of float32 of package main in the folder above, with a pair of bfloat16 in the place of a
// float32. It takes the first rows of a panel of mr.
func tileAVX512BF16(name string, rows int) {
	const mr, width = 14, 64
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a, b *uint32, pairs int, add bool, next *byte, step int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is bf16TileGeneric for %d rows of a panel of %d, and 32 columns; pairs is at least 1. It prefetches from next on, step bytes for every two pairs.", name, rows, mr))
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	pairs := Load(Param("pairs"), GP64())
	next := Load(Param("next"), GP64())
	step := Load(Param("step"), GP64())
	SHLQ(U8(2), ldc)
	acc := zmm[:2*rows]
	for _, r := range acc {
		VPXORD(r, r, r)
	}
	const bv, xv = 28, 30
	depth := func(p int) {
		for j := range 2 {
			VMOVUPS(Mem{Base: b, Disp: (2*p + j) * width}, zmm[bv+j])
		}
		for i := range rows {
			x := xv + i%2
			VPBROADCASTD(Mem{Base: a, Disp: 4 * (p*mr + i)}, zmm[x])
			for j := range 2 {
				evex("VDPBF16PS", f3, 0x52, bv+j, x, 2*i+j)
			}
		}
	}
	turns, early, row := GP64(), GP64(), GP64()
	MOVQ(pairs, turns)
	SHRQ(U8(1), turns)
	JZ(LabelRef(name + "Rest"))
	MOVQ(U32(rows), early)
	CMPQ(turns, early)
	CMOVQLT(turns, early)
	SUBQ(early, turns)
	MOVQ(c, row)
	turn := func() {
		depth(0)
		depth(1)
		PREFETCHT1(Mem{Base: next})
		ADDQ(step, next)
		ADDQ(I32(2*mr*4), a)
		ADDQ(I32(4*width), b)
	}
	Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []Op{Imm(64)}})
	Label(name + "First") // the lines of C are asked for a row at a time
	turn()
	PREFETCHT0(Mem{Base: row})
	PREFETCHT0(Mem{Base: row, Disp: 64})
	ADDQ(ldc, row)
	DECQ(early)
	JNZ(LabelRef(name + "First"))
	TESTQ(turns, turns)
	JZ(LabelRef(name + "Rest"))
	Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []Op{Imm(64)}})
	Label(name + "Loop")
	turn()
	DECQ(turns)
	JNZ(LabelRef(name + "Loop"))
	Label(name + "Rest")
	TESTQ(U32(1), pairs)
	JZ(LabelRef(name + "Store"))
	depth(0)
	Label(name + "Store")
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef(name + "Out"))
	MOVQ(c, row)
	for i := range rows {
		for j := range 2 {
			VADDPS(Mem{Base: row, Disp: j * width}, acc[2*i+j], acc[2*i+j])
		}
		if i < rows-1 {
			ADDQ(ldc, row)
		}
	}
	Label(name + "Out")
	for i := range rows {
		for j := range 2 {
			VMOVUPS(acc[2*i+j], Mem{Base: c, Disp: j * width})
		}
		if i < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// pairsBF16 rounds numbers, two to a word.
func pairsBF16() {
	const name = "bf16PairsAVX512"
	TEXT(name, NOSPLIT, "func(dst *uint32, x *float32, n int)")
	Pragma("noescape")
	Doc(name + " is bf16PairsGeneric; n is a positive multiple of 32.")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label(name + "Loop")
	VMOVUPS(Mem{Base: x}, Z0)
	VMOVUPS(Mem{Base: x, Disp: 64}, Z1)
	evex("VCVTNE2PS2BF16", f2, 0x72, 0, 1, 2)
	VMOVDQU32(Z2, Mem{Base: dst})
	ADDQ(I32(128), x)
	ADDQ(I32(64), dst)
	SUBQ(I32(32), n)
	JNZ(LabelRef(name + "Loop"))
	VZEROUPPER()
	RET()
}

// cpuid asks the processor about itself.
func cpuid() {
	TEXT("cpuid", NOSPLIT, "func(leaf uint32) (a, b, c, d uint32)")
	Doc("cpuid returns what the processor says of itself on a leaf.")
	Load(Param("leaf"), EAX)
	XORL(ECX, ECX)
	CPUID()
	for i, r := range []GPPhysical{EAX, EBX, ECX, EDX} {
		Store(r, ReturnIndex(i))
	}
	RET()
}

// tileAMXBF16 computes 32 rows of 32 sums of products of bfloat16, 16 pairs at a time.
func tileAMXBF16() {
	const (
		name = "bf16TileAMX"
		step = 2 * tileSize // bytes of A, and of B, in a turn
	)
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a, b *uint32, pairs int, add bool, next *byte, step int)")
	Pragma("noescape")
	Doc(name + " is bf16TileGeneric for 32 rows and 32 columns, but for the order of the sums; pairs is a positive multiple of 16. It prefetches from next on, 8·step bytes for every 16 pairs.")
	Load(Param("c"), RDX)
	Load(Param("ldc"), R8)
	Load(Param("a"), RAX)
	Load(Param("b"), RCX)
	Load(Param("pairs"), R9)
	Load(Param("next"), R10)
	Load(Param("step"), R11)
	SHLQ(U8(2), R8)
	SHRQ(U8(4), R9)
	MOVQ(R8, RBX)
	SHLQ(U8(4), RBX)
	ADDQ(RDX, RBX) // the lower half of the sums
	MOVQ(U32(tileWidth), RSI)
	MOVQ(U32(2*tileWidth), RDI)
	configure()
	Load(Param("add"), R12B) // by number: avo does not see what is used by instructions written as bytes
	TESTB(R12B, R12B)
	JZ(LabelRef(name + "Loop"))
	tileSums("TILELOADD", f2, RDX, RBX, R8)
	Label(name + "Loop")
	for range 8 {
		PREFETCHT1(Mem{Base: R10})
		ADDQ(R11, R10)
	}
	for i := range 2 * tileSize / 64 { // registers of tiles are not renamed: a load that waits holds up the products
		PREFETCHT0(Mem{Base: RCX, Disp: step + 64*i})
	}
	singleProducts(name, "TDPBF16PS", f3)
}
