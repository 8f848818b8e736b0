// The generator of the assembly for amd64 of products in low precision: int8, and float32 as sums of bfloat16.
//
//	go generate ./internal/kernel
package main

import (
	"fmt"
	"slices"

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
	tileBF16(2, 3)
	tileBF16(3, 3)
	tileBF16(3, 2)
	splitColumnsBF16()
	splitRowsBF16("splitHalvesBF16AVX512", 2, 2)
	splitRowsBF16("splitRowsBF16AVX512", 3, 4)
	dots("dotHalvesAVX512", 2)
	dots("dotRowsAVX512", 4)
	for _, rows := range []int{14, 12, 10, 8, 4} { // but for the first, for the end of a matrix
		of := ""
		if rows < 14 {
			of = fmt.Sprint(rows, "Of")
		}
		tileAVX512VNNI("int8Tile"+of+"AVX512VNNI", rows, VPDPBUSD, false)
		tileAVX512VNNI("int16Tile"+of+"AVX512VNNI", rows, VPDPWSSD, true)
	}
	finishAVX512()
	tileAVXVNNI("int8TileAVXVNNI", "VPDPBUSD", 0x50, false)
	tileAVXVNNI("int16TileAVXVNNI", "VPDPWSSD", 0x52, true)
	tileAVX2()
	tileWordsAVX2()
	limits("int8LimitsAVX2", false)
	limits("int8FactorsAVX2", true)
	quantise()
	quantiseWords()
	tileAMXBF16()
	tileAVX512BF16("bf16TileAVX512", 14)
	for _, rows := range []int{12, 10, 8, 4} {
		tileAVX512BF16(fmt.Sprintf("bf16Tile%dOfAVX512", rows), rows)
	}
	pairsBF16()
	cpuid()
	Generate()
}

// A tile is a routine that computes the first rows of a panel of mr, and nr sums of each, kept in registers of width bytes.
type tile struct {
	name     string
	mr, rows int
	width    int
	words    bool                 // without zero points
	acc      [][]Register         // [rows][2]
	start    func()               // what else is to do before the loop, or nil
	step     func(a, b Register)  // adds the products of one quad of depth; nil if the sums are there already
	spare    func(i int) Register // four registers beside the sums
	zero     func(r Register)     // sets r to 0
}

// ahead is how far ahead of its step a tile asks for bytes of B: further than memory takes to answer, and on into the next panel.
const ahead = 8192

// arguments is the order of int8Args; each takes 8 bytes.
var arguments = []string{"acc", "ld", "a", "b", "quads", "add", "c", "ldc", "finish", "scales", "rowScales", "sums", "zeroPoints", "depth", "fa", "fb", "bias", "residual", "rows"}

// x is the address of the arguments.
var x Register

// argument loads an argument.
func argument(name string) Register {
	r := GP64()
	MOVQ(Mem{Base: x, Disp: 8 * slices.Index(arguments, name)}, r)
	return r
}

// emit writes the routine around the step: the sums so far, a loop over quads, and the store, or what makes C of the sums.
// Each turn prefetches a row of C, until there are no more rows. The loop is not unrolled: one step is long enough, and
// four do not fit the cache of decoded instructions as well (0.86 to 0.91 of what the AVX-512 tile could do, instead of
// 0.91 to 0.96, on a Sapphire Rapids).
func (t tile) emit() {
	TEXT(t.name, NOSPLIT, "func(x *uintptr)")
	Pragma("noescape")
	if t.step == nil {
		Doc(fmt.Sprintf("%s is int8FinishGeneric for %d rows and %d columns. It ignores a, b, quads, add and finish.", t.name, t.rows, t.width/2))
	} else {
		Doc(fmt.Sprintf("%s is int8TileGeneric for %d rows of a panel of %d, and %d columns; quads, or pairs, is at least 1. With finish it is int8FinishGeneric too, for as many of them as rows says, and leaves acc as it was.", t.name, t.rows, t.mr, t.width/2))
	}
	x = Load(Param("x"), GP64())
	acc := argument("acc")
	ld := argument("ld")
	c := argument("c")
	ldc := argument("ldc")
	SHLQ(U8(2), ld)
	SHLQ(U8(2), ldc)
	row := GP64()
	each := func(base, ld Register, f func(m Mem, r Register)) { // all sums, and their places in a matrix
		MOVQ(base, row)
		for i := range t.acc {
			for j, r := range t.acc[i] {
				f(Mem{Base: row, Disp: j * t.width}, r)
			}
			if i < t.rows-1 {
				ADDQ(ld, row)
			}
		}
	}
	load := func() { each(acc, ld, func(m Mem, r Register) { VMOVUPS(m, r) }) }
	if t.step == nil {
		load()
	} else {
		a := argument("a")
		b := argument("b")
		k := argument("quads")
		for i := range t.acc {
			for _, r := range t.acc[i] {
				t.zero(r)
			}
		}
		add := argument("add")
		TESTQ(add, add)
		JZ(LabelRef(t.name + "Start"))
		load()
		Label(t.name + "Start")
		if t.start != nil {
			t.start()
		}
		next, last := GP64(), GP64()
		MOVQ(c, next)
		IMUL3Q(U8(t.rows-1), ldc, last)
		ADDQ(next, last)
		Label(t.name + "Loop")
		for line := 0; line < 2*t.width; line += 64 {
			PREFETCHT0(Mem{Base: next, Disp: line})
			PREFETCHT1(Mem{Base: b, Disp: ahead + line})
		}
		ADDQ(ldc, next)
		CMPQ(next, last)
		CMOVQHI(last, next)
		t.step(a, b)
		ADDQ(I32(t.mr*4), a)
		ADDQ(I32(2*t.width), b)
		DECQ(k)
		JNZ(LabelRef(t.name + "Loop"))
		finish := argument("finish")
		TESTQ(finish, finish)
		JNZ(LabelRef(t.name + "Finish"))
		each(acc, ld, func(m Mem, r Register) { VMOVUPS(r, m) })
		VZEROUPPER()
		RET()
		Label(t.name + "Finish")
	}
	t.finish(c, ldc)
	VZEROUPPER()
	RET()
}

// finish makes C of the sums; see int8FinishGeneric.
func (t tile) finish(c, ldc Register) {
	scales := argument("scales")
	rowScales := argument("rowScales")
	var sums, zeros Register
	if !t.words {
		sums, zeros = argument("sums"), argument("zeroPoints")
	}
	scale, zero, product := t.spare(0), t.spare(1), t.spare(2)
	for i := range t.acc {
		VBROADCASTSS(Mem{Base: rowScales, Disp: 4 * i}, scale)
		if !t.words {
			VPBROADCASTD(Mem{Base: zeros, Disp: 4 * i}, zero)
		}
		for j, r := range t.acc[i] {
			if !t.words {
				VPMULLD(Mem{Base: sums, Disp: j * t.width}, zero, product)
				VPSUBD(product, r, r)
			}
			VCVTDQ2PS(r, r)
			VMULPS(Mem{Base: scales, Disp: j * t.width}, r, r)
			VMULPS(scale, r, r)
		}
	}
	depth := argument("depth")
	TESTQ(depth, depth)
	JZ(LabelRef(t.name + "Bias"))
	fa, fb := argument("fa"), argument("fb")
	Label(t.name + "Apart")
	bv := []Register{t.spare(0), t.spare(1)}
	for j := range bv {
		VMOVUPS(Mem{Base: fb, Disp: j * t.width}, bv[j])
	}
	for i := range t.acc {
		x := t.spare(2 + i%2)
		VBROADCASTSS(Mem{Base: fa, Disp: 4 * i}, x)
		for j, r := range t.acc[i] {
			VFMADD231PS(bv[j], x, r)
		}
	}
	ADDQ(I32(t.mr*4), fa)
	ADDQ(I32(2*t.width), fb)
	DECQ(depth)
	JNZ(LabelRef(t.name + "Apart"))

	Label(t.name + "Bias")
	bias := argument("bias")
	TESTQ(bias, bias)
	JZ(LabelRef(t.name + "Residual"))
	for j := range 2 {
		v := t.spare(j)
		VMOVUPS(Mem{Base: bias, Disp: j * t.width}, v)
		for i := range t.acc {
			VADDPS(v, t.acc[i][j], t.acc[i][j])
		}
	}
	Label(t.name + "Residual")
	residual := argument("residual")
	TESTQ(residual, residual)
	JZ(LabelRef(t.name + "Store"))
	t.eachRow(residual, ldc, "Store", func(m Mem, r Register) { VADDPS(m, r, r) })
	Label(t.name + "Store")
	t.eachRow(c, ldc, "End", func(m Mem, r Register) { VMOVUPS(r, m) })
	Label(t.name + "End")
}

// eachRow calls f with all sums and their places in a matrix, whose rows are as many as the argument says.
func (t tile) eachRow(base, ld Register, end string, f func(m Mem, r Register)) {
	rows := argument("rows")
	for i := range t.acc {
		for j, r := range t.acc[i] {
			f(Mem{Base: base, Disp: j * t.width}, r)
		}
		if i < t.rows-1 {
			DECQ(rows)
			JZ(LabelRef(t.name + end))
			ADDQ(ld, base)
		}
	}
}

// sums returns registers for the sums of mr rows.
func sums(mr int, vec func() Register) [][]Register {
	acc := make([][]Register, mr)
	for i := range acc {
		acc[i] = []Register{vec(), vec()}
	}
	return acc
}

// onAVX512 returns a tile of AVX-512 with its registers.
func onAVX512(name string, mr, rows int, words bool) tile {
	t := tile{name: name, mr: mr, rows: rows, width: 64, words: words}
	t.acc = sums(rows, func() Register { return ZMM() })
	t.spare = func(int) Register { return ZMM() }
	t.zero = func(r Register) { VPXORD(r, r, r) }
	return t
}

// onAVX2 returns a tile of 6 rows with registers of AVX2.
func onAVX2(name string, words bool) tile {
	t := tile{name: name, mr: 6, rows: 6, width: 32, words: words}
	t.acc = sums(t.rows, func() Register { return YMM() })
	t.spare = func(int) Register { return YMM() }
	t.zero = func(r Register) { VPXOR(r, r, r) }
	return t
}

// tileAVX512VNNI multiplies quads of bytes, or pairs of words.
func tileAVX512VNNI(name string, rows int, product func(...Op), words bool) {
	t := onAVX512(name, 14, rows, words)
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
				product(bv[j], x, r)
			}
		}
	}
	t.emit()
}

// finishAVX512 makes C of the sums of 8 rows, a quarter of a tile of AMX.
func finishAVX512() { onAVX512("int8FinishAVX512", 8, 8, false).emit() }

// tileAVXVNNI uses registers by number, since the instruction is written as bytes: Go's assembler
// knows it as AVX-512 encodes it, not as AVX-VNNI does.
func tileAVXVNNI(name, mnemonic string, opcode int, words bool) {
	t := onAVX2(name, words)
	y := []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
	next := 0
	t.acc = sums(t.rows, func() Register { next++; return y[next-1] })
	t.spare = func(i int) Register { return y[12+i] }
	t.step = func(a, b Register) {
		for j := range 2 {
			VMOVDQU(Mem{Base: b, Disp: j * t.width}, y[12+j])
		}
		for i := range t.rows {
			x := 14 + i%2
			VPBROADCASTD(Mem{Base: a, Disp: 4 * i}, y[x])
			for j := range 2 {
				vexDotProduct(mnemonic, opcode, 12+j, x, 2*i+j)
			}
		}
	}
	t.emit()
}

// vexDotProduct emits VPDPBUSD or VPDPWSSD Ys, Yu, Yd: VEX.256.66.0F38.W0 50 or 52 /r.
func vexDotProduct(mnemonic string, opcode, s, u, d int) {
	Commentf("%s Y%d, Y%d, Y%d", mnemonic, s, u, d)
	vex(d>>3, 0, s>>3, u, 1, 1, opcode, 3<<6|(d&7)<<3|s&7)
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

// The tile registers: 16 rows of 64 bytes each. Four of the eight hold a tile of 32 by 32 sums, two more A, and two B.
const (
	tileRows  = 16
	tileWidth = 64   // bytes in a row of a register
	a0, b0    = 4, 6 // the first of A's and B's, after those of the sums
	tileSize  = tileRows * tileWidth
)

// The prefixes of the instructions of tiles.
const (
	p66 = 1 + iota
	f3
	f2
)

var tileShapes Mem

// configure makes registers of tiles of what has none, with nothing in them.
func configure() {
	if tileShapes == (Mem{}) {
		tileShapes = GLOBL("amxConfig", 8|16) // RODATA|NOPTR
		DATA(0, U64(1))                       // palette 1, start row 0
		for i := 8; i < 64; i += 8 {
			switch {
			case 16 <= i && i < 32:
				DATA(i, U64(tileWidth*0x0001000100010001)) // bytes in a row, 16 bits for each register
			case 48 <= i && i < 56:
				DATA(i, U64(tileRows*0x0101010101010101))
			default:
				DATA(i, U64(0))
			}
		}
	}
	LEAQ(tileShapes, R12)
	Comment("LDTILECFG (R12)")
	vex(0, 0, 1, 0, 0, 0, 0x49, 0x04, 0x24)
}

// release gives the state up: nothing is left that a switch of threads would have to save.
func release() {
	Comment("TILERELEASE")
	vex(0, 0, 0, 0, 0, 0, 0x49, 0xc0)
}

// tileMemory loads a tile register or stores it, rows of it index apart.
func tileMemory(mnemonic string, prefix, tmm int, base, index GPPhysical, disp int) {
	Commentf("%s T%d, %d(%s)(%s*1)", mnemonic, tmm, disp, base.Asm(), index.Asm())
	b, x := int(base.PhysicalIndex()), int(index.PhysicalIndex())
	vex(0, x>>3, b>>3, 0, 0, prefix, 0x4b, 2<<6|tmm<<3|4, (x&7)<<3|b&7, disp&255, disp>>8, 0, 0)
}

// tileSums loads or stores the tile of sums, from two halves, with rows ld apart.
func tileSums(mnemonic string, prefix int, upper, lower, ld GPPhysical) {
	for i, base := range []GPPhysical{upper, lower} {
		for j := range 2 {
			tileMemory(mnemonic, prefix, 2*i+j, base, ld, j*tileWidth)
		}
	}
}

// tileProduct adds the product of the i-th register of A and the j-th of B.
func tileProduct(mnemonic string, prefix, i, j int) {
	Commentf("%s T%d, T%d, T%d", mnemonic, 2*i+j, a0+i, b0+j)
	vex(0, 0, 0, b0+j, 0, prefix, 0x5e-2*(prefix-1), 3<<6|(2*i+j)<<3|(a0+i))
}

// tileAMX computes 32 rows of 32 sums of bytes, 16 quads at a time.
func tileAMX() {
	const name = "int8TileAMX"
	TEXT(name, NOSPLIT, "func(acc *int32, ld int, a, b *uint32, quads int, next *float32, ldc int)")
	Pragma("noescape")
	Doc(name + " is int8TileGeneric for 32 rows and 32 columns; quads is a positive multiple of 16. It prefetches two rows of C, ldc apart, for every 16 quads, from next on.")
	Load(Param("acc"), RDX)
	Load(Param("ld"), R8)
	Load(Param("a"), RAX)
	Load(Param("b"), RCX)
	Load(Param("quads"), R9)
	Load(Param("next"), R10)
	Load(Param("ldc"), R11)
	SHLQ(U8(2), R8)
	SHLQ(U8(2), R11)
	SHRQ(U8(4), R9)
	MOVQ(R8, RBX)
	SHLQ(U8(4), RBX)
	ADDQ(RDX, RBX) // the lower half of the sums
	MOVQ(U32(tileWidth), RSI)
	MOVQ(U32(2*tileWidth), RDI)
	configure()
	tileSums("TILELOADD", f2, RDX, RBX, R8)
	Label(name + "Loop")
	for range 2 {
		PREFETCHT0(Mem{Base: R10})
		PREFETCHT0(Mem{Base: R10, Disp: 64})
		ADDQ(R11, R10)
	}
	singleProducts(name, "TDPBUSD", p66)
}

// singleProducts ends the loop of a routine that takes one tile of A and one of B for each part of the sums: what it
// multiplies in a turn, and what it stores when R9 has counted them.
func singleProducts(name, mnemonic string, prefix int) {
	const step = 2 * tileSize // bytes of A, and of B, in a turn
	product := func(i, j int) { tileProduct(mnemonic, prefix, i, j) }
	tileMemory("TILELOADD", f2, a0, RAX, RSI, 0)
	tileMemory("TILELOADD", f2, b0, RCX, RDI, 0)
	product(0, 0)
	tileMemory("TILELOADD", f2, b0+1, RCX, RDI, tileWidth)
	product(0, 1)
	tileMemory("TILELOADD", f2, a0+1, RAX, RSI, tileSize)
	product(1, 0)
	product(1, 1)
	ADDQ(I32(step), RAX)
	ADDQ(I32(step), RCX)
	DECQ(R9)
	JNZ(LabelRef(name + "Loop"))
	tileSums("TILESTORED", f3, RDX, RBX, R8)
	release()
	RET()
}

// How many lines a step of tileBF16 asks for.
const prefetchNear, prefetchFar = 24, 2

// tileBF16 computes 32 rows of 32 float32 sums from numbers that are sums of bfloat16: those of A of inA, those of B, which
// has room for three, of inB. All products are taken but those that float32 has no room for, 2⁻²⁴ of the largest and
// less. Every 32 depths it asks for what the next 32 need: registers of tiles are not renamed, so that a load that waits
// for the second-level cache holds up the products.
func tileBF16(inA, inB int) {
	name := fmt.Sprintf("tile%d%dBF16", inA, inB)
	const term = 2 * tileSize
	TEXT(name, NOSPLIT, "func(c *float32, ldc int, a, b *uint16, steps int, accumulate bool, near *byte, nearStep int, far *byte, farStep int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is tileBF16Generic for A of %d terms and B of %d; there is at least one step. In each it prefetches %d lines at near, which moves by nearStep bytes, and %d at far, by farStep.", name, inA, inB, prefetchNear, prefetchFar))
	Load(Param("c"), RDX)
	Load(Param("ldc"), R8)
	Load(Param("a"), RAX)
	Load(Param("b"), RCX)
	Load(Param("steps"), R9)
	SHLQ(U8(2), R8)
	MOVQ(R8, RBX)
	SHLQ(U8(4), RBX)
	ADDQ(RDX, RBX) // the lower half of the sums
	MOVQ(U32(tileWidth), RSI)
	MOVQ(U32(2*tileWidth), RDI)
	near, nearStep, far, farStep := R10, R11, R13, R14
	Load(Param("near"), near)
	Load(Param("nearStep"), nearStep)
	Load(Param("far"), far)
	Load(Param("farStep"), farStep)
	configure()
	Load(Param("accumulate"), R12B) // by number: avo does not see what is used by instructions written as bytes
	TESTB(R12B, R12B)
	JZ(LabelRef(name + "Loop"))
	tileSums("TILELOADD", f2, RDX, RBX, R8)
	Label(name + "Loop")
	lines, nearLines := 0, 0 // of what the next step needs, and a later one
	prefetch := func() {
		for range 2 {
			if nearLines < prefetchNear {
				PREFETCHT1(Mem{Base: near, Disp: 64 * nearLines})
				nearLines++
			}
		}
		for range tileRows {
			if at := lines * 64; at < inB*term {
				PREFETCHT0(Mem{Base: RCX, Disp: 3*term + at})
			} else if at -= inB * term; at < inA*term {
				PREFETCHT0(Mem{Base: RAX, Disp: inA*term + at})
			}
			lines++
		}
	}
	a := func(t, i int) {
		tileMemory("TILELOADD", f2, a0+i, RAX, RSI, t*term+i*tileSize)
		prefetch()
	}
	b := func(t, j int) {
		tileMemory("TILELOADD", f2, b0+j, RCX, RDI, t*term+j*tileWidth)
		prefetch()
	}
	product := func(i, j int) { tileProduct("TDPBF16PS", f3, i, j) }
	// A register is loaded while the products with the others run.
	turn := func(t int) {
		for j := range 2 {
			b(t, j)
			product(0, j)
			product(1, j)
		}
	}
	a(0, 0)
	a(0, 1)
	for t := inB - 1; t >= 0; t-- {
		turn(t)
	}
	for t := 1; t < inA; t++ { // the first term of B is there
		for i := range 2 {
			a(t, i)
			product(i, 0)
			product(i, 1)
		}
		if t == 1 {
			turn(1)
			if inA > 2 {
				b(0, 0)
				b(0, 1)
			}
		}
	}
	for i := range prefetchFar {
		PREFETCHT1(Mem{Base: far, Disp: 64 * i})
	}
	ADDQ(nearStep, near)
	ADDQ(farStep, far)
	ADDQ(I32(inA*term), RAX)
	ADDQ(I32(3*term), RCX)
	DECQ(R9)
	JNZ(LabelRef(name + "Loop"))
	tileSums("TILESTORED", f3, RDX, RBX, R8)
	release()
	RET()
}

// upper is a mask of the upper halves of words.
func upper() VecVirtual {
	word, mask := GP32(), ZMM()
	MOVL(U32(0xffff0000), word)
	VPBROADCASTD(word, mask)
	return mask
}

// splitColumnsBF16 splits 32 columns of rows, ld apart, into three terms of bfloat16 each, two rows side by side, as the tile
// reads B.
func splitColumnsBF16() {
	const name = "splitColumnsBF16AVX512"
	TEXT(name, NOSPLIT, "func(dst *uint16, src *float32, ld, steps int)")
	Pragma("noescape")
	Doc(name + " is splitColumnsBF16Generic; there is at least one step.")
	dst, src, steps := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("steps"), GP64())
	ld := Load(Param("ld"), GP64())
	SHLQ(U8(2), ld)
	mask, pairs := upper(), GP64()
	Label(name + "Step")
	MOVQ(U32(tileRows), pairs)
	Label(name + "Pair")
	for j := range 2 {
		x, y := ZMM(), ZMM()
		VMOVUPS(Mem{Base: src, Disp: 64 * j}, x)
		VMOVUPS(Mem{Base: src, Index: ld, Scale: 1, Disp: 64 * j}, y)
		for t := range 3 {
			xh, yh, word := ZMM(), ZMM(), ZMM()
			VPANDD(mask, y, yh)
			VPSRLD(U8(16), x, word)
			VPORD(yh, word, word)
			VMOVDQU32(word, Mem{Base: dst, Disp: 2048*t + 64*j})
			if t < 2 {
				VPANDD(mask, x, xh)
				VSUBPS(xh, x, x)
				VSUBPS(yh, y, y)
			}
		}
	}
	LEAQ(Mem{Base: src, Index: ld, Scale: 2}, src)
	ADDQ(I32(128), dst)
	DECQ(pairs)
	JNZ(LabelRef(name + "Pair"))
	ADDQ(I32(2*2048), dst)
	DECQ(steps)
	JNZ(LabelRef(name + "Step"))
	VZEROUPPER()
	RET()
}

// splitRowsBF16 splits 32 rows of numbers, ld apart, 32 in a step, which lie step apart, into terms of bfloat16, as the tile
// reads A: halves into two, others into three.
func splitRowsBF16(name string, terms, size int) {
	TEXT(name, NOSPLIT, fmt.Sprintf("func(dst *uint16, src *%s, ld, step, steps int)", map[int]string{2: "uint16", 4: "float32"}[size]))
	Pragma("noescape")
	Doc(name + " is the generic one of its name; there is at least one step.")
	dst, src, steps := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("steps"), GP64())
	odd := GLOBL(name+"Odd", 8|16)
	for i := range 32 {
		DATA(2*i, U16(2*i+1))
	}
	ld, step := Load(Param("ld"), GP64()), Load(Param("step"), GP64())
	SHLQ(U8(size/2), ld)
	SHLQ(U8(size/2), step)
	mask, index, rows, from := upper(), ZMM(), GP64(), GP64()
	VMOVDQU32(odd, index)
	Label(name + "Step")
	MOVQ(U32(32), rows)
	MOVQ(src, from)
	Label(name + "Row")
	x, y := ZMM(), ZMM()
	if size == 2 {
		VCVTPH2PS(Mem{Base: from}, x)
		VCVTPH2PS(Mem{Base: from, Disp: 32}, y)
	} else {
		VMOVUPS(Mem{Base: from}, x)
		VMOVUPS(Mem{Base: from, Disp: 64}, y)
	}
	for t := range terms {
		words := ZMM()
		VMOVDQA32(index, words)
		VPERMI2W(y, x, words)
		VMOVDQU32(words, Mem{Base: dst, Disp: 2048 * t})
		if t < terms-1 {
			h := ZMM()
			VPANDD(mask, x, h)
			VSUBPS(h, x, x)
			h = ZMM()
			VPANDD(mask, y, h)
			VSUBPS(h, y, y)
		}
	}
	ADDQ(ld, from)
	ADDQ(I32(64), dst)
	DECQ(rows)
	JNZ(LabelRef(name + "Row"))
	ADDQ(step, src)
	ADDQ(I32((terms-1)*2048), dst)
	DECQ(steps)
	JNZ(LabelRef(name + "Step"))
	VZEROUPPER()
	RET()
}

// dots multiplies 32 rows of a panel of A, before it is split, with one column.
func dots(name string, size int) {
	TEXT(name, NOSPLIT, fmt.Sprintf("func(y *float32, a *%s, x *float32, steps int)", map[int]string{2: "uint16", 4: "float32"}[size]))
	Pragma("noescape")
	Doc(name + " sets y [32] to the products of the rows of a [steps][32][32] and x [steps][32].")
	y, a, x0, steps := Load(Param("y"), GP64()), Load(Param("a"), GP64()), Load(Param("x"), GP64()), Load(Param("steps"), GP64())
	const rows = 4
	groups, from, x, left := GP64(), GP64(), GP64(), GP64()
	MOVQ(U32(32/rows), groups)
	Label(name + "Rows")
	MOVQ(a, from)
	MOVQ(x0, x)
	MOVQ(steps, left)
	var acc [rows][2]VecVirtual
	for r := range acc {
		for i := range acc[r] {
			acc[r][i] = ZMM()
			VPXORD(acc[r][i], acc[r][i], acc[r][i])
		}
	}
	Label(name + "Loop")
	for i := range 2 {
		v := ZMM()
		VMOVUPS(Mem{Base: x, Disp: 64 * i}, v)
		for r := range acc {
			at := Mem{Base: from, Disp: size * (32*r + 16*i)}
			if size == 2 {
				w := ZMM()
				VCVTPH2PS(at, w)
				VFMADD231PS(v, w, acc[r][i])
			} else {
				VFMADD231PS(at, v, acc[r][i])
			}
		}
	}
	ADDQ(I32(32*32*size), from)
	ADDQ(I32(128), x)
	DECQ(left)
	JNZ(LabelRef(name + "Loop"))
	for r := range acc {
		v := acc[r][0]
		VADDPS(acc[r][1], v, v)
		half, quarter := YMM(), XMM()
		VEXTRACTF64X4(U8(1), v, half)
		VADDPS(half, v.AsY(), half)
		VEXTRACTF128(U8(1), half, quarter)
		VADDPS(half.AsX(), quarter, quarter)
		VHADDPS(quarter, quarter, quarter)
		VHADDPS(quarter, quarter, quarter)
		VMOVSS(quarter, Mem{Base: y, Disp: 4 * r})
	}
	ADDQ(I32(4*rows), y)
	ADDQ(I32(32*size*rows), a)
	DECQ(groups)
	JNZ(LabelRef(name + "Rows"))
	VZEROUPPER()
	RET()
}

// tileAVX2 multiplies bytes into sums of two, as words, and those into sums of four. It has one
// register for B; the other half of B stays in memory.
func tileAVX2() {
	t := onAVX2("int8TileAVX2", false)
	one := words(1<<16 | 1)
	ones := YMM()
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

// tileWordsAVX2 multiplies words into sums of two.
func tileWordsAVX2() {
	t := onAVX2("int16TileAVX2", true)
	t.step = func(a, b Register) {
		b0 := YMM()
		VMOVDQU(Mem{Base: b}, b0)
		for i, row := range t.acc {
			x := YMM()
			VPBROADCASTD(Mem{Base: a, Disp: 4 * i}, x)
			for j, bv := range []Op{b0, Mem{Base: b, Disp: t.width}} {
				pairs := YMM()
				VPMADDWD(bv, x, pairs)
				VPADDD(pairs, row[j], row[j])
			}
		}
	}
	t.emit()
}

// limits finds the least and the greatest of 0 and x, passing over NaNs. It also computes Σ 0·x, which is NaN if one
// of x is not finite.
//
// With factors it first sets y to the products of x and f, and finds those of y.
func limits(name string, factors bool) {
	signature, what := "func(x *float32, n int) (lo, hi, finite float32)", "int8LimitsGeneric"
	if factors {
		signature, what = "func(y, x, f *float32, n int) (lo, hi, finite float32)", "int8FactorsGeneric"
	}
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " is " + what + "; n is a positive multiple of 16.")
	var y, f Register
	if factors {
		y, f = Load(Param("y"), GP64()), Load(Param("f"), GP64())
	}
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
	Label(name + "Loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v)
		if factors {
			VMULPS(Mem{Base: f, Disp: 32 * i}, v, v)
			VMOVUPS(v, Mem{Base: y, Disp: 32 * i})
		}
		VMINPS(lo[i], v, lo[i]) // of a NaN and a number, the first operand: the least so far
		VMAXPS(hi[i], v, hi[i])
		VFMADD231PS(zero, v, fin[i])
	}
	ADDQ(I32(64), x)
	if factors {
		ADDQ(I32(64), f)
		ADDQ(I32(64), y)
	}
	SUBQ(I32(16), n)
	JNZ(LabelRef(name + "Loop"))
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

// quantiseWords writes words, two of them to a pair, pairs stride apart.
func quantiseWords() {
	const name = "int16QuantiseAVX2"
	TEXT(name, NOSPLIT, "func(dst *uint32, stride int, x *float32, n int, inverse float32)")
	Pragma("noescape")
	Doc(name + " is int16QuantiseGeneric; n is a positive multiple of 16.")
	dst := Load(Param("dst"), GP64())
	stride := Load(Param("stride"), GP64())
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	inverse := YMM()
	spread("inverse", inverse)
	SHLQ(U8(2), stride)
	Label(name + "Loop")
	var v [2]VecVirtual
	for i := range v {
		v[i] = YMM()
		VMULPS(Mem{Base: x, Disp: 32 * i}, inverse, v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	// Packing works in halves of a register: pairs 0, 1, 4 and 5 come to lie in the low half.
	VPACKSSDW(v[1], v[0], v[0])
	high := XMM()
	VEXTRACTI128(U8(1), v[0], high)
	for _, i := range []int{0, 2} {
		for _, half := range []VecVirtual{v[0].AsX().(VecVirtual), high} {
			VPEXTRD(U8(i), half, Mem{Base: dst})
			VPEXTRD(U8(i+1), half, Mem{Base: dst, Index: stride, Scale: 1})
			LEAQ(Mem{Base: dst, Index: stride, Scale: 2}, dst)
		}
	}
	ADDQ(I32(64), x)
	SUBQ(I32(16), n)
	JNZ(LabelRef(name + "Loop"))
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
