// The generator of the kernel's assembly for amd64: one file for AVX2 with FMA, and AVX-512.
//
//	go generate ./internal/kernel
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A machine is an instruction set with its vector registers.
type machine struct {
	name  string // suffix of the routines
	lanes int    // floats in a register
	mr    int    // rows of the tile
	nv    int    // registers across the tile
	short []int  // fewer rows, for the last panel of a matrix

	panelTiles []int // rows of the tiles that read panels of columns, from most to fewest
}

var (
	avx2   = machine{name: "AVX2", lanes: 8, mr: 6, nv: 2, panelTiles: []int{6, 4}}
	avx512 = machine{name: "AVX512", lanes: 16, mr: 14, nv: 2, short: []int{8, 4}, panelTiles: []int{14, 8, 4}}
)

func (m machine) vec() VecVirtual {
	if m.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (m machine) zero(v VecVirtual) {
	if m.lanes == 16 {
		VPXORD(v, v, v) // VXORPS of 512 bits would need AVX512DQ
		return
	}
	VXORPS(v, v, v)
}

var constants = map[uint32]Mem{}

// words returns read-only memory filled with one word, as wide as the widest register.
func words(bits uint32) Mem {
	if c, ok := constants[bits]; ok {
		return c
	}
	c := GLOBL(fmt.Sprintf("words%08x", bits), 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(4*i, U32(bits))
	}
	constants[bits] = c
	return c
}

// floats is words of a constant.
func floats(f float64) Mem { return words(math.Float32bits(float32(f))) }

func main() {
	ConstraintExpr("!purego")
	for _, m := range []machine{avx2, avx512} {
		m.tile("tile", m.mr, false)
		m.tile("tileWidening", m.mr, true)
		for _, rows := range m.panelTiles {
			for _, nv := range []int{2, 1} {
				m.panelTile(false, rows, nv)
				m.panelTile(true, rows, nv)
			}
		}
		for _, rows := range m.short {
			m.tile(fmt.Sprintf("tile%dOf", rows), rows, false)
		}
		m.widen()
		m.narrow()
		m.fmas()
		m.sum()
		m.sumSquares()
		m.normalize()
		m.max()
		m.expSum()
		m.scale()
		m.columnMax()
		m.columnExp()
		m.scaleColumns()
		m.addBias()
		m.addBias2()
		m.adamW()
		m.scoreGrad()
		m.normSums()
		m.normGrad()
		m.normWeights()
		m.quickGELUGrad()
		m.geluGrad()
		m.activation("quickGELU", m.quickGELU)
		m.activation("gelu", m.gelu)
		m.skinny()
		m.allFew()
		m.tileStrip(2)
		m.tileStrip(1)
		m.copyColumns()
		m.columnSum()
		m.columnSquares()
		m.columnNormalize()
		m.copyPanels("copyPanelsA", m.mr)
		m.copyPanels("copyPanelsB", m.nv*m.lanes)
	}
	pause()
	pack(8)
	pack(4)
	for _, m := range []machine{avx2, avx512} {
		m.scanHalves()
		m.rowsTile()
	}
	avx2.scanBytes() // which waits for memory
	Generate()
}

// pause is the hint of a loop that only waits.
func pause() {
	TEXT("pause", NOSPLIT, "func()")
	Doc("pause tells the processor that its thread only waits, so that another thread of the same core gets what this one leaves.")
	PAUSE()
	RET()
}

// tile computes C (rows × nv·lanes) = or += Σₖ a[k]·b[k]ᵀ with all of C in registers. The panel a has
// mr rows, of which it takes the first. Beside that it asks for memory that will be needed soon: the
// line at next, step bytes further every second k.
//
// Two k a turn and no more: with four the loop is too long for the cache of decoded instructions
// (0.93 of the peak instead of 0.98 on a Sapphire Rapids).
//
// A tile that is widening turns a panel of halves into float32 meanwhile, two k of it in a turn by two registers that
// overlap. Storing them by themselves waits for the second-level cache; here it costs next to nothing.
func (m machine) tile(name string, rows int, widening bool) {
	id := name + m.name
	parameters, least, also := "", 1, ""
	if widening {
		parameters, least, also = ", wide *float32, halves *uint16", 2, fmt.Sprintf(" It sets wide [k,%d] to halves.", m.mr)
	}
	TEXT(id, NOSPLIT, "func(c *float32, ldc int, a, b *float32, k int, accumulate bool, next *byte, step int, bias, residual, biasColumn *float32"+parameters+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is tileGeneric for %d rows of a panel of %d, and %d columns; k is at least %d. It prefetches from next on, step bytes for every two k. Unless they are nil, it adds bias to every row, biasColumn to every column, and residual. Rows of residual lie as far apart as those of c.%s", id, rows, m.mr, m.nv*m.lanes, least, also))
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	next := Load(Param("next"), GP64())
	step := Load(Param("step"), GP64())
	SHLQ(U8(2), ldc)
	var wide, halves Register
	if widening {
		wide, halves = Load(Param("wide"), GP64()), Load(Param("halves"), GP64())
	}
	widen := func(at int) {
		v := m.vec()
		VCVTPH2PS(Mem{Base: halves, Disp: 2 * at}, v)
		VMOVUPS(v, Mem{Base: wide, Disp: 4 * at})
	}

	acc := make([][]VecVirtual, rows)
	for i := range acc {
		acc[i] = make([]VecVirtual, m.nv)
		for j := range acc[i] {
			acc[i][j] = m.vec()
			m.zero(acc[i][j])
		}
	}
	width := 4 * m.lanes
	depth := func(p int) {
		bv := make([]VecVirtual, m.nv)
		for j := range bv {
			bv[j] = m.vec()
			VMOVUPS(Mem{Base: b, Disp: (p*m.nv + j) * width}, bv[j])
		}
		for i := range acc {
			x := m.vec()
			VBROADCASTSS(Mem{Base: a, Disp: 4 * (p*m.mr + i)}, x)
			for j := range bv {
				VFMADD231PS(bv[j], x, acc[i][j])
			}
		}
	}
	// The lines of C are asked for a row at a time, in the first turns, to be there for writing in the end.
	pairs, turns, row := GP64(), GP64(), GP64()
	MOVQ(k, pairs)
	SHRQ(U8(1), pairs)
	JZ(LabelRef(id + "Rest"))
	MOVQ(U32(rows), turns)
	CMPQ(pairs, turns)
	CMOVQLT(pairs, turns)
	SUBQ(turns, pairs)
	MOVQ(c, row)
	turn := func() {
		for p := range 2 {
			depth(p)
			if widening {
				widen(p * (2*m.mr - m.lanes))
			}
		}
		PREFETCHT1(Mem{Base: next})
		ADDQ(step, next)
		if widening {
			ADDQ(I32(2*m.mr*4), wide)
			ADDQ(I32(2*m.mr*2), halves)
		}
		ADDQ(I32(2*m.mr*4), a)
		ADDQ(I32(2*m.nv*width), b)
	}
	align()
	Label(id + "First")
	turn()
	for line := 0; line < m.nv*width; line += 64 {
		PREFETCHT0(Mem{Base: row, Disp: line})
	}
	ADDQ(ldc, row)
	DECQ(turns)
	JNZ(LabelRef(id + "First"))
	TESTQ(pairs, pairs)
	JZ(LabelRef(id + "Rest"))
	align()
	Label(id + "Loop")
	turn()
	DECQ(pairs)
	JNZ(LabelRef(id + "Loop"))
	Label(id + "Rest")
	TESTQ(U32(1), k)
	JZ(LabelRef(id + "Store"))
	depth(0)
	if widening {
		widen(m.mr - m.lanes) // begins in what was widened before
	}

	Label(id + "Store")
	add := Load(Param("accumulate"), GP8())
	TESTB(add, add)
	JZ(LabelRef(id + "Write"))
	MOVQ(c, row)
	for i := range acc {
		for j := range acc[i] {
			VADDPS(Mem{Base: row, Disp: j * width}, acc[i][j], acc[i][j])
		}
		if i < rows-1 {
			ADDQ(ldc, row)
		}
	}
	Label(id + "Write")
	bias := Load(Param("bias"), GP64())
	TESTQ(bias, bias)
	JZ(LabelRef(id + "Down"))
	for j := range m.nv {
		v := m.vec()
		VMOVUPS(Mem{Base: bias, Disp: j * width}, v)
		for i := range acc {
			VADDPS(v, acc[i][j], acc[i][j])
		}
	}
	Label(id + "Down")
	biasColumn := Load(Param("biasColumn"), GP64())
	TESTQ(biasColumn, biasColumn)
	JZ(LabelRef(id + "Residual"))
	for i := range acc {
		v := m.vec()
		VBROADCASTSS(Mem{Base: biasColumn, Disp: 4 * i}, v)
		for j := range acc[i] {
			VADDPS(v, acc[i][j], acc[i][j])
		}
	}
	Label(id + "Residual")
	residual := Load(Param("residual"), GP64())
	TESTQ(residual, residual)
	JZ(LabelRef(id + "Out"))
	for i := range acc {
		for j := range acc[i] {
			VADDPS(Mem{Base: residual, Disp: j * width}, acc[i][j], acc[i][j])
		}
		if i < rows-1 {
			ADDQ(ldc, residual)
		}
	}
	Label(id + "Out")
	for i := range acc {
		for j := range acc[i] {
			VMOVUPS(acc[i][j], Mem{Base: c, Disp: j * width})
		}
		if i < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// panelTile computes C (rows × nv·lanes) = or += A·B for operands that are panels [.,width] of float32, as wide as the
// tile, as other tiles write them. B [k,width] is one. A is several, which go along k, or, if turned, it is the
// transpose of one [k,width]. Of B it takes the first nv registers of a row.
func (m machine) panelTile(turned bool, rows, nv int) {
	width := m.nv * m.lanes
	name, like, signature := "tileRows", "tileRowsGeneric", "func(c *float32, ldc int, a *float32, apart int, b *float32, k int, accumulate bool)"
	if turned {
		name, like, signature = "tileTurned", "tileTurnedGeneric", "func(c *float32, ldc int, a, b *float32, k int)"
	}
	id := fmt.Sprintf("%s%dx%d%s", name, rows, nv*m.lanes, m.name)
	TEXT(id, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is %s for %d rows and %d columns; k is at least 1.", id, like, rows, nv*m.lanes))
	c, ldc := Load(Param("c"), GP64()), Load(Param("ldc"), GP64())
	a, b, k := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("k"), GP64())
	SHLQ(U8(2), ldc)
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		acc[i] = make([]VecVirtual, nv)
		for j := range acc[i] {
			acc[i][j] = m.vec()
			m.zero(acc[i][j])
		}
	}
	depth := func(at func(i int) Mem, p int) {
		bv := make([]VecVirtual, nv)
		for j := range bv {
			bv[j] = m.vec()
			VMOVUPS(Mem{Base: b, Disp: 4 * (p*width + j*m.lanes)}, bv[j])
		}
		for i := range acc {
			x := m.vec()
			VBROADCASTSS(at(i), x)
			for j := range bv {
				VFMADD231PS(bv[j], x, acc[i][j])
			}
		}
	}
	if turned {
		element := func(p int) func(i int) Mem {
			return func(i int) Mem { return Mem{Base: a, Disp: 4 * (p*width + i)} }
		}
		turns, row, left, next := GP64(), GP64(), GP64(), GP64()
		MOVQ(k, turns)
		SHRQ(U8(1), turns)
		JZ(LabelRef(id + "Rest"))
		MOVQ(c, row)
		MOVQ(U32(uint32(rows)), left)
		align()
		Label(id + "Loop")
		for p := range 2 {
			depth(element(p), p)
		}
		// The lines of C, to be there for writing in the end; those of the last row again and again.
		for line := 0; line < 4*m.lanes*nv; line += 64 {
			PREFETCHT0(Mem{Base: row, Disp: line})
		}
		LEAQ(Mem{Base: row, Index: ldc, Scale: 1}, next)
		DECQ(left)
		CMOVQGT(next, row)
		ADDQ(I32(2*4*width), a)
		ADDQ(I32(2*4*width), b)
		DECQ(turns)
		JNZ(LabelRef(id + "Loop"))
		Label(id + "Rest")
		TESTQ(U32(1), k)
		JZ(LabelRef(id + "Store"))
		depth(element(0), 0)
	} else {
		apart := Load(Param("apart"), GP64())
		SHLQ(U8(2), apart)
		at, turns, panel, row, ahead := GP64(), GP64(), GP64(), GP64(), GP64()
		element := func(p int) func(i int) Mem {
			return func(i int) Mem { return Mem{Base: at, Disp: 4 * (i*width + p)} }
		}
		MOVQ(U32(uint32(width)), panel)
		Label(id + "Panel")
		MOVQ(k, turns)
		CMPQ(panel, turns)
		CMOVQLT(panel, turns)
		SUBQ(turns, k)
		MOVQ(a, at)
		ADDQ(apart, a)
		SHRQ(U8(1), turns)
		JZ(LabelRef(id + "Single")) // the last panel, and one depth of it
		MOVQ(c, row)
		LEAQ(Mem{Base: at, Disp: 4 * rows * width}, ahead)
		align()
		Label(id + "Loop")
		for p := range 2 {
			depth(element(p), p)
		}
		// The next rows of A, and the lines of C, to be there for writing in the end.
		for line := 0; line < 8*rows; line += 64 {
			PREFETCHT0(Mem{Base: ahead, Disp: line})
		}
		for line := 0; line < 4*m.lanes*nv; line += 64 {
			PREFETCHT0(Mem{Base: row, Disp: line})
		}
		ADDQ(I32(int32(8*rows)), ahead)
		ADDQ(ldc, row)
		ADDQ(I32(2*4), at)
		ADDQ(I32(2*4*width), b)
		DECQ(turns)
		JNZ(LabelRef(id + "Loop"))
		TESTQ(k, k)
		JG(LabelRef(id + "Panel"))
		count := Load(Param("k"), GP64())
		TESTQ(U32(1), count)
		JZ(LabelRef(id + "Add"))
		Label(id + "Single")
		depth(element(0), 0)
		Label(id + "Add")
		add := Load(Param("accumulate"), GP8())
		TESTB(add, add)
		JZ(LabelRef(id + "Store"))
		MOVQ(c, row)
		for i := range acc {
			for j := range acc[i] {
				VADDPS(Mem{Base: row, Disp: 4 * m.lanes * j}, acc[i][j], acc[i][j])
			}
			if i < rows-1 {
				ADDQ(ldc, row)
			}
		}
	}
	Label(id + "Store")
	for i := range acc {
		for j := range acc[i] {
			VMOVUPS(acc[i][j], Mem{Base: c, Disp: 4 * m.lanes * j})
		}
		if i < rows-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

// widen turns half precision into single with F16C or AVX-512, which is exact.
func (m machine) widen() {
	p, n := m.row("widen", "func(dst *float32, src *uint16, n int)", "widen", "dst", "src")
	Label("widen" + m.name + "Loop")
	v := m.vec()
	VCVTPH2PS(Mem{Base: p[1]}, v)
	VMOVUPS(v, Mem{Base: p[0]})
	ADDQ(I32(4*m.lanes), p[0])
	ADDQ(I32(2*m.lanes), p[1])
	SUBQ(I32(m.lanes), n)
	JNZ(LabelRef("widen" + m.name + "Loop"))
	VZEROUPPER()
	RET()
}

// narrow turns single precision into half and reports whether that lost nothing.
func (m machine) narrow() {
	p, n := m.row("narrow", "func(dst *uint16, src *float32, n int) bool", "narrow", "dst", "src")
	v, back, differ := m.vec(), m.vec(), m.vec()
	m.zero(differ)
	h := XMM()
	if m.lanes == 16 {
		h = YMM()
	}
	Label("narrow" + m.name + "Loop")
	VMOVUPS(Mem{Base: p[1]}, v)
	VCVTPS2PH(U8(0), v, h)
	VMOVDQU(h, Mem{Base: p[0]})
	VCVTPH2PS(h, back)
	if m.lanes == 16 {
		VPXORD(v, back, back)
		VPORD(back, differ, differ)
	} else {
		VXORPS(v, back, back)
		VORPS(back, differ, differ)
	}
	ADDQ(I32(2*m.lanes), p[0])
	ADDQ(I32(4*m.lanes), p[1])
	SUBQ(I32(m.lanes), n)
	JNZ(LabelRef("narrow" + m.name + "Loop"))
	if m.lanes == 16 {
		high := YMM()
		VEXTRACTI64X4(U8(1), differ, high)
		VPOR(high, differ.AsY(), high)
		VPTEST(high, high)
	} else {
		VPTEST(differ, differ)
	}
	exact := GP8()
	SETEQ(exact)
	Store(exact, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// align makes the next instruction begin a line of the instruction cache.
func align() { Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []Op{Imm(64)}}) }

// fmas does nothing but independent fused multiply-adds: the most that the processor can do.
func (m machine) fmas() {
	TEXT("fmas"+m.name, NOSPLIT, "func(n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("fmas%s does n times %d fused multiply-adds of %d floats, all independent; n is at least 1.", m.name, fmasPerTurn, m.lanes))
	n := Load(Param("n"), GP64())
	x := m.vec()
	m.zero(x)
	acc := make([]VecVirtual, fmasPerTurn)
	for i := range acc {
		acc[i] = m.vec()
		m.zero(acc[i])
	}
	Label("fmas" + m.name + "Loop")
	for _, v := range acc {
		VFMADD231PS(x, x, v)
	}
	DECQ(n)
	JNZ(LabelRef("fmas" + m.name + "Loop"))
	VZEROUPPER()
	RET()
}

const fmasPerTurn = 12 // more than latency times throughput, 4·2 or 5·2

// pack transposes rows rows of k floats, k a multiple of rows: dst[p·stride+r] = src[r·ld+p].
func pack(rows int) {
	id := fmt.Sprintf("pack%d", rows)
	TEXT(id, NOSPLIT, "func(dst *float32, stride int, src *float32, ld, k int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is packGeneric for %d rows with AVX2; k is a positive multiple of %d.", id, rows, rows))
	dst := Load(Param("dst"), GP64())
	stride := Load(Param("stride"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	k := Load(Param("k"), GP64())
	SHLQ(U8(2), stride)
	SHLQ(U8(2), ld)
	ld3 := GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	at := func(base Register, r int) Mem { // base + r·ld for r < 4
		switch r {
		case 0:
			return Mem{Base: base}
		case 1:
			return Mem{Base: base, Index: ld, Scale: 1}
		case 2:
			return Mem{Base: base, Index: ld, Scale: 2}
		}
		return Mem{Base: base, Index: ld3, Scale: 1}
	}
	vec := func() VecVirtual {
		if rows == 8 {
			return YMM()
		}
		return XMM()
	}
	Label(id + "Loop")
	x := make([]VecVirtual, rows)
	upper := GP64()
	if rows == 8 {
		LEAQ(Mem{Base: src, Index: ld, Scale: 4}, upper)
	}
	// What is packed next lies behind this: further depths of the same rows, or another head.
	const ahead = 4 * packDepths
	for r := range x {
		x[r] = vec()
		row := at(src, r)
		if r >= 4 {
			row = at(upper, r-4)
		}
		VMOVUPS(row, x[r])
		row.Disp += ahead
		PREFETCHT0(row)
	}
	// Pairs of rows, then fours, then (for eight) halves change places.
	y := make([]VecVirtual, rows)
	for r := 0; r < rows; r += 2 {
		y[r], y[r+1] = vec(), vec()
		VUNPCKLPS(x[r+1], x[r], y[r])
		VUNPCKHPS(x[r+1], x[r], y[r+1])
	}
	z := make([]VecVirtual, rows)
	for r := 0; r < rows; r += 4 {
		for i := range 4 {
			z[r+i] = vec()
		}
		VUNPCKLPD(y[r+2], y[r], z[r])
		VUNPCKHPD(y[r+2], y[r], z[r+1])
		VUNPCKLPD(y[r+3], y[r+1], z[r+2])
		VUNPCKHPD(y[r+3], y[r+1], z[r+3])
	}
	if rows == 8 {
		w := make([]VecVirtual, rows)
		for i := range 4 {
			w[i], w[i+4] = vec(), vec()
			VPERM2F128(U8(0x20), z[i+4], z[i], w[i])
			VPERM2F128(U8(0x31), z[i+4], z[i], w[i+4])
		}
		z = w
	}
	for _, v := range z {
		VMOVUPS(v, Mem{Base: dst})
		ADDQ(stride, dst)
	}
	ADDQ(I32(4*rows), src)
	SUBQ(I32(rows), k)
	JNZ(LabelRef(id + "Loop"))
	if rows == 8 {
		VZEROUPPER()
	}
	RET()
}

// packDepths is how many depths packTransposed takes of a group of rows at a time.
const packDepths = 64

// skinny computes a tile of as many rows as others have and 16 columns from a matrix a that is not packed: it is
// read once, so that packing would take as long as the product.
func (m machine) skinny() {
	const columns = 16
	id := "skinny" + m.name
	TEXT(id, NOSPLIT, "func(c, a *float32, rowStride, colStride int, b *float32, k int, add bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets c [%d,%d] to, or adds to it, the product of a, whose rows are rowStride and columns colStride apart, and b [k,%d]; k is at least 1.", id, m.mr, columns, columns))
	c, a, b, k := Load(Param("c"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("k"), GP64())
	rowStride, colStride := Load(Param("rowStride"), GP64()), Load(Param("colStride"), GP64())
	SHLQ(U8(2), rowStride)
	SHLQ(U8(2), colStride)
	rowStride3 := GP64()
	LEAQ(Mem{Base: rowStride, Index: rowStride, Scale: 2}, rowStride3)
	// A base for every five rows, which are 0, 1, 2, 3 and 4 times rowStride away.
	bases := []Register{a}
	for len(bases)*5 < m.mr {
		last, next := bases[len(bases)-1], GP64()
		LEAQ(Mem{Base: last, Index: rowStride, Scale: 4}, next)
		ADDQ(rowStride, next)
		bases = append(bases, next)
	}
	row := func(i int) Mem {
		base := bases[i/5]
		switch i % 5 {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: rowStride3, Scale: 1}
		}
		return Mem{Base: base, Index: rowStride, Scale: uint8(i % 5)}
	}
	nv := columns / m.lanes
	acc := make([][]VecVirtual, m.mr)
	for i := range acc {
		for range nv {
			v := m.vec()
			m.zero(v)
			acc[i] = append(acc[i], v)
		}
	}
	Label(id + "Loop")
	bv := make([]VecVirtual, nv)
	for j := range bv {
		bv[j] = m.vec()
		VMOVUPS(Mem{Base: b, Disp: 4 * m.lanes * j}, bv[j])
	}
	for i := range acc {
		x := m.vec()
		VBROADCASTSS(row(i), x)
		for j := range bv {
			VFMADD231PS(bv[j], x, acc[i][j])
		}
	}
	for _, base := range bases {
		ADDQ(colStride, base)
	}
	ADDQ(I32(4*columns), b)
	DECQ(k)
	JNZ(LabelRef(id + "Loop"))
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef(id + "Store"))
	for i := range acc {
		for j, v := range acc[i] {
			VADDPS(Mem{Base: c, Disp: 4 * (columns*i + m.lanes*j)}, v, v)
		}
	}
	Label(id + "Store")
	for i := range acc {
		for j, v := range acc[i] {
			VMOVUPS(v, Mem{Base: c, Disp: 4 * (columns*i + m.lanes*j)})
		}
	}
	VZEROUPPER()
	RET()
}

// sumsOfColumns declares a routine that adds up turn of every row of x, in four sums.
func (m machine) sumsOfColumns(name, signature string, begin func(), add func(x Mem, j int, acc VecVirtual)) {
	TEXT(name+m.name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %sGeneric for rows of %d; there is at least one.", name, m.name, name, m.nv*m.lanes))
	x, rows := Load(Param("x"), GP64()), Load(Param("rows"), GP64())
	begin()
	var acc [4][]VecVirtual
	for i := range acc {
		for range m.nv {
			v := m.vec()
			m.zero(v)
			acc[i] = append(acc[i], v)
		}
	}
	id, width := name+m.name, 4*m.lanes*m.nv
	fours := GP64()
	MOVQ(rows, fours)
	SHRQ(U8(2), fours)
	JZ(LabelRef(id + "Rest"))
	Label(id + "Loop")
	for i := range acc {
		for j, v := range acc[i] {
			add(Mem{Base: x, Disp: i*width + 4*m.lanes*j}, j, v)
		}
	}
	ADDQ(I32(len(acc)*width), x)
	DECQ(fours)
	JNZ(LabelRef(id + "Loop"))
	Label(id + "Rest")
	ANDQ(U32(3), rows)
	JZ(LabelRef(id + "Store"))
	Label(id + "Next")
	for j, v := range acc[0] {
		add(Mem{Base: x, Disp: 4 * m.lanes * j}, j, v)
	}
	ADDQ(I32(width), x)
	DECQ(rows)
	JNZ(LabelRef(id + "Next"))
	Label(id + "Store")
	for j := range m.nv {
		VADDPS(acc[1][j], acc[0][j], acc[0][j])
		VADDPS(acc[3][j], acc[2][j], acc[2][j])
		VADDPS(acc[2][j], acc[0][j], acc[0][j])
	}
	m.store(acc[0], "total")
	VZEROUPPER()
	RET()
}

func (m machine) columnSum() {
	m.sumsOfColumns("columnSum", "func(total, x *float32, rows int)", func() {}, func(x Mem, _ int, acc VecVirtual) {
		VADDPS(x, acc, acc)
	})
}

func (m machine) columnSquares() {
	var mean []VecVirtual
	m.sumsOfColumns("columnSquares", "func(total, x, mean *float32, rows int)", func() { mean = m.tileRow("mean") }, func(x Mem, j int, acc VecVirtual) {
		d := m.vec()
		VMOVUPS(x, d)
		VSUBPS(mean[j], d, d)
		VFMADD231PS(d, d, acc)
	})
}

func (m machine) columnNormalize() {
	var mean, scale []VecVirtual
	var y, w, b Register
	var wv, bv VecVirtual
	m.column("columnNormalize", "func(y, x, mean, scale, w, b *float32, rows int)", func() {
		mean, scale = m.tileRow("mean"), m.tileRow("scale")
		y, w, b = Load(Param("y"), GP64()), Load(Param("w"), GP64()), Load(Param("b"), GP64())
	}, func(x Mem, j int) {
		if j == 0 {
			wv, bv = m.vec(), m.vec()
			VBROADCASTSS(Mem{Base: w}, wv)
			VBROADCASTSS(Mem{Base: b}, bv)
			ADDQ(I32(4), w)
			ADDQ(I32(4), b)
		}
		v := m.vec()
		VMOVUPS(x, v)
		VSUBPS(mean[j], v, v)
		VMULPS(scale[j], v, v)
		VMULPS(wv, v, v)
		VADDPS(bv, v, v)
		VMOVUPS(v, Mem{Base: y, Disp: 4 * m.lanes * j})
		if j == m.nv-1 {
			ADDQ(I32(4*m.lanes*m.nv), y)
		}
	}, func() {})
}

// copyPanels copies rows to panels that lie side by side in them, as wide as some registers or a bit
// narrower, and asks for the rows that come a few later.
func (m machine) copyPanels(name string, width int) {
	TEXT(name+m.name, NOSPLIT, "func(dst *float32, apart int, src *float32, ld, rows, panels int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is copyPanelsGeneric for panels of %d; there is at least one, and a row. It may write more than that of a row.", name, m.name, width))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	apart, ld := Load(Param("apart"), GP64()), Load(Param("ld"), GP64())
	rows, panels := Load(Param("rows"), GP64()), Load(Param("panels"), GP64())
	SHLQ(U8(2), apart)
	SHLQ(U8(2), ld)
	const aheadLog = 5 // 32 rows
	from, to, ahead, left := GP64(), GP64(), GP64(), GP64()
	Label(name + m.name + "Row")
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(ld, ahead)
	SHLQ(U8(aheadLog), ahead)
	ADDQ(src, ahead)
	MOVQ(panels, left)
	Label(name + m.name + "Panel")
	for at := 0; at < width; at += m.lanes {
		v := m.vec()
		VMOVUPS(Mem{Base: from, Disp: 4 * at}, v)
		VMOVUPS(v, Mem{Base: to, Disp: 4 * at})
		if 4*at%64 == 0 {
			PREFETCHT0(Mem{Base: ahead, Disp: 4 * at})
		}
	}
	ADDQ(I32(4*width), from)
	ADDQ(I32(4*width), ahead)
	ADDQ(apart, to)
	DECQ(left)
	JNZ(LabelRef(name + m.name + "Panel"))
	ADDQ(ld, src)
	ADDQ(I32(4*width), dst)
	DECQ(rows)
	JNZ(LabelRef(name + m.name + "Row"))
	VZEROUPPER()
	RET()
}

// loop emits a loop over n elements, lanes at a time: n is a positive multiple of lanes. Every
// pointer advances by one register a turn.
func (m machine) loop(id string, n Register, pointers []Register, body func()) {
	Label(id + "Loop")
	body()
	for _, p := range pointers {
		ADDQ(I32(4*m.lanes), p)
	}
	SUBQ(I32(m.lanes), n)
	JNZ(LabelRef(id + "Loop"))
}

// reduce returns the lanes of v combined by f, in the lowest lane.
func (m machine) reduce(v VecVirtual, f func(...Op)) Register {
	if m.lanes == 16 {
		high := YMM()
		VEXTRACTF64X4(U8(1), v, high)
		f(high, v.AsY(), high)
		v = high
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(U8(1), v.AsY(), x)
	f(x, v.AsX(), x)
	VMOVHLPS(x, x, t)
	f(x, t, x)
	VPSHUFD(U8(1), x, t)
	f(x, t, x)
	return x
}

// finish stores the lowest lane of x as the result.
func finish(x Register) {
	Store(x, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// row declares a routine over pointers and returns their registers and the count n.
func (m machine) row(name, signature, doc string, pointers ...string) ([]Register, Register) {
	TEXT(name+m.name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %sGeneric; n is a positive multiple of %d.", name, m.name, doc, m.lanes))
	var rs []Register
	for _, p := range pointers {
		rs = append(rs, Load(Param(p), GP64()))
	}
	return rs, Load(Param("n"), GP64())
}

// spread returns a register filled with a parameter.
func (m machine) spread(param string) VecVirtual {
	v := m.vec()
	addr, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(addr.Addr, v)
	return v
}

func (m machine) sum() {
	p, n := m.row("sum", "func(x *float32, n int) float32", "sum", "x")
	acc := m.vec()
	m.zero(acc)
	m.loop("sum"+m.name, n, p, func() { VADDPS(Mem{Base: p[0]}, acc, acc) })
	finish(m.reduce(acc, VADDPS))
}

func (m machine) sumSquares() {
	p, n := m.row("sumSquares", "func(x *float32, n int, mean float32) float32", "sumSquares", "x")
	acc, mean := m.vec(), m.spread("mean")
	m.zero(acc)
	m.loop("sumSquares"+m.name, n, p, func() {
		d := m.vec()
		VMOVUPS(Mem{Base: p[0]}, d)
		VSUBPS(mean, d, d)
		VFMADD231PS(d, d, acc)
	})
	finish(m.reduce(acc, VADDPS))
}

func (m machine) normalize() {
	p, n := m.row("normalize", "func(y, x, w, b *float32, n int, mean, scale float32)", "normalize", "y", "x", "w", "b")
	mean, scale := m.spread("mean"), m.spread("scale")
	m.loop("normalize"+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[1]}, v)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VMULPS(Mem{Base: p[2]}, v, v)
		VADDPS(Mem{Base: p[3]}, v, v)
		VMOVUPS(v, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) max() {
	p, n := m.row("max", "func(x *float32, n int) float32", "max", "x")
	acc := m.vec()
	VMOVUPS(floats(math.Inf(-1)), acc)
	m.loop("max"+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[0]}, v)
		VMAXPS(acc, v, acc) // of a NaN and a number, the first operand: the maximum so far
	})
	finish(m.reduce(acc, VMAXPS))
}

func (m machine) expSum() {
	p, n := m.row("expSum", "func(y, x *float32, n int, shift, scale float32) float32", "expSum", "y", "x")
	shift, scale, acc := m.spread("shift"), m.spread("scale"), m.vec()
	m.zero(acc)
	m.loop("expSum"+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[1]}, v)
		VSUBPS(shift, v, v)
		VMULPS(scale, v, v)
		e := m.exp(v)
		VADDPS(e, acc, acc)
		VMOVUPS(e, Mem{Base: p[0]})
	})
	finish(m.reduce(acc, VADDPS))
}

// column declares a routine over the rows rows of x, each as wide as the tile, and calls turn for each.
func (m machine) column(name, signature string, begin func(), turn func(x Mem, j int), end func()) {
	TEXT(name+m.name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %sGeneric for rows of %d; there is at least one.", name, m.name, name, m.nv*m.lanes))
	x, rows := Load(Param("x"), GP64()), Load(Param("rows"), GP64())
	begin()
	Label(name + m.name + "Loop")
	for j := range m.nv {
		turn(Mem{Base: x, Disp: 4 * m.lanes * j}, j)
	}
	ADDQ(I32(4*m.lanes*m.nv), x)
	DECQ(rows)
	JNZ(LabelRef(name + m.name + "Loop"))
	end()
	VZEROUPPER()
	RET()
}

// tileRow loads one row of a parameter, as wide as the tile.
func (m machine) tileRow(param string) []VecVirtual {
	p := Load(Param(param), GP64())
	v := make([]VecVirtual, m.nv)
	for j := range v {
		v[j] = m.vec()
		VMOVUPS(Mem{Base: p, Disp: 4 * m.lanes * j}, v[j])
	}
	return v
}

// store writes one row to a parameter.
func (m machine) store(v []VecVirtual, param string) {
	p := Load(Param(param), GP64())
	for j := range v {
		VMOVUPS(v[j], Mem{Base: p, Disp: 4 * m.lanes * j})
	}
}

func (m machine) columnMax() {
	var acc []VecVirtual
	m.column("columnMax", "func(m, x *float32, rows int)", func() {
		for range m.nv {
			v := m.vec()
			VMOVUPS(floats(math.Inf(-1)), v)
			acc = append(acc, v)
		}
	}, func(x Mem, j int) {
		v := m.vec()
		VMOVUPS(x, v)
		VMAXPS(acc[j], v, acc[j]) // of a NaN and a number, the maximum so far
	}, func() { m.store(acc, "m") })
}

func (m machine) columnExp() {
	var peak, acc []VecVirtual
	var scale VecVirtual
	m.column("columnExp", "func(x, peak, total *float32, rows int, scale float32)", func() {
		peak, scale = m.tileRow("peak"), m.spread("scale")
		// From here on in powers of two, which saves a multiplication of each element.
		VMULPS(floats(math.Log2E), scale, scale)
		for range m.nv {
			v := m.vec()
			m.zero(v)
			acc = append(acc, v)
		}
	}, func(x Mem, j int) {
		v := m.vec()
		VMOVUPS(x, v)
		VSUBPS(peak[j], v, v) // before it is scaled: of the peak itself, exactly 0
		VMULPS(scale, v, v)
		e := m.exp2(v)
		VADDPS(e, acc[j], acc[j])
		VMOVUPS(e, x)
	}, func() { m.store(acc, "total") })
}

// exp2 returns 2^x for x up to 127, and about 0 below -150. The polynomial is the one of degree 6 with
// the least relative error on [-1/2,1/2] that is 1 at 0: 0.03·2⁻²⁴, and 1.3·2⁻²⁴ with the rounding.
func (m machine) exp2(x VecVirtual) VecVirtual {
	least, n := m.vec(), m.vec()
	VMOVUPS(floats(-150), least)
	VMAXPS(x, least, x) // a NaN stays
	if m.lanes == 16 {
		VRNDSCALEPS(U8(0), x, n)
	} else {
		VROUNDPS(U8(0), x, n)
	}
	VSUBPS(n, x, x)
	p := m.horner(x, 1.53533619037e-4, 1.33988744137e-3, 9.61843735769e-3, 5.55033247113e-2, 2.40226479136e-1, 6.93147202855e-1, 1)
	return m.ldexp(p, n)
}

// exp2Above is exp2 for x that are at most 0, but it returns 0 below -100. Adding to the exponent and rounding by a
// large number takes units that the polynomial leaves idle.
func (m machine) exp2Above(x VecVirtual) VecVirtual {
	const notLess = 5
	large := floats(3 << 22) // in float32, its last bits count ones
	n, whole, f := m.vec(), m.vec(), m.vec()
	VADDPS(large, x, n)
	VSUBPS(large, n, whole)
	VSUBPS(whole, x, f)
	p := m.horner(f, 1.53533619037e-4, 1.33988744137e-3, 9.61843735769e-3, 5.55033247113e-2, 2.40226479136e-1, 6.93147202855e-1, 1)
	VPSLLD(U8(23), n, n)
	if m.lanes == 16 {
		keep := K()
		VCMPPS(U8(notLess), floats(-100), x, keep) // a NaN stays
		VPADDD_Z(n, p, keep, p)
		return p
	}
	VCMPPS(U8(notLess), floats(-100), x, x)
	VPADDD(n, p, p)
	VANDPS(x, p, p)
	return p
}

func (m machine) scaleColumns() {
	var s []VecVirtual
	m.column("scaleColumns", "func(x, s *float32, rows int)", func() { s = m.tileRow("s") }, func(x Mem, j int) {
		v := m.vec()
		VMULPS(x, s[j], v)
		VMOVUPS(v, x)
	}, func() {})
}

func (m machine) scale() {
	p, n := m.row("scale", "func(y *float32, n int, s float32)", "scale", "y")
	s := m.spread("s")
	m.loop("scale"+m.name, n, p, func() {
		v := m.vec()
		VMULPS(Mem{Base: p[0]}, s, v)
		VMOVUPS(v, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) addBias() {
	p, n := m.row("addBias", "func(y, b *float32, n int)", "addBias", "y", "b")
	m.loop("addBias"+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[0]}, v)
		VADDPS(Mem{Base: p[1]}, v, v)
		VMOVUPS(v, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) addBias2() {
	p, n := m.row("addBias2", "func(y, b, r *float32, n int)", "addBias2", "y", "b", "r")
	m.loop("addBias2"+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[0]}, v)
		VADDPS(Mem{Base: p[1]}, v, v)
		VADDPS(Mem{Base: p[2]}, v, v)
		VMOVUPS(v, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) adamW() {
	p, n := m.row("adamW", "func(w, grad, m, v *float32, n int, keep, size, eps, new1, old2, new2 float32)", "adamW", "w", "grad", "m", "v")
	w, g, m1, m2 := p[0], p[1], p[2], p[3]
	keep, size, eps := m.spread("keep"), m.spread("size"), m.spread("eps")
	new1, old2, new2 := m.spread("new1"), m.spread("old2"), m.spread("new2")
	m.loop("adamW"+m.name, n, p, func() {
		d, a, b, x, t := m.vec(), m.vec(), m.vec(), m.vec(), m.vec()
		VMOVUPS(Mem{Base: g}, d)
		VMOVUPS(Mem{Base: m1}, a)
		VSUBPS(a, d, t)
		VFMADD231PS(new1, t, a)
		VMOVUPS(a, Mem{Base: m1})
		VMULPS(Mem{Base: m2}, old2, b)
		VMULPS(d, d, d)
		VFMADD231PS(new2, d, b)
		VMOVUPS(b, Mem{Base: m2})
		VSQRTPS(b, b)
		VADDPS(eps, b, b)
		VMULPS(size, a, a)
		VDIVPS(b, a, a)
		VMULPS(Mem{Base: w}, keep, x)
		VSUBPS(a, x, x)
		VMOVUPS(x, Mem{Base: w})
	})
	VZEROUPPER()
	RET()
}

func (m machine) scoreGrad() {
	const name = "scoreGrad"
	TEXT(name+m.name, NOSPLIT, "func(p, gs, stats *float32, rows int, scale float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %sGeneric for rows of %d; there is at least one.", name, m.name, name, m.nv*m.lanes))
	p, gs := Load(Param("p"), GP64()), Load(Param("gs"), GP64())
	stats, rows := Load(Param("stats"), GP64()), Load(Param("rows"), GP64())
	scale, scale2 := m.spread("scale"), m.vec()
	VMULPS(floats(math.Log2E), scale, scale2)
	peak, inverse, delta := m.vec(), m.vec(), m.vec()
	Label(name + m.name + "Loop")
	for i, v := range []VecVirtual{peak, inverse, delta} {
		VBROADCASTSS(Mem{Base: stats, Disp: 4 * i}, v)
	}
	for j := range m.nv {
		at := 4 * m.lanes * j
		v, g := m.vec(), m.vec()
		VMOVUPS(Mem{Base: p, Disp: at}, v)
		VSUBPS(peak, v, v)
		VMULPS(scale2, v, v)
		e := m.exp2Above(v)
		VMULPS(inverse, e, e)
		VMOVUPS(e, Mem{Base: p, Disp: at})
		VMOVUPS(Mem{Base: gs, Disp: at}, g)
		VSUBPS(delta, g, g)
		VMULPS(scale, g, g)
		VMULPS(e, g, g)
		VMOVUPS(g, Mem{Base: gs, Disp: at})
	}
	ADDQ(I32(4*m.nv*m.lanes), p)
	ADDQ(I32(4*m.nv*m.lanes), gs)
	ADDQ(I32(4*3), stats)
	DECQ(rows)
	JNZ(LabelRef(name + m.name + "Loop"))
	VZEROUPPER()
	RET()
}

func (m machine) quickGELUGrad() {
	p, n := m.row("quickGELUGrad", "func(gx, gy, x *float32, n int)", "quickGELUGrad", "gx", "gy", "x")
	one := m.vec()
	VMOVUPS(floats(1), one)
	m.loop("quickGELUGrad"+m.name, n, p, func() {
		x, t, s, d := m.vec(), m.vec(), m.vec(), m.vec()
		VMOVUPS(Mem{Base: p[2]}, x)
		VMULPS(floats(-1.702), x, t)
		e := m.exp(m.clamp(t, 87))
		VADDPS(one, e, s)
		VDIVPS(s, one, s) // σ(1.702·x)
		VMULPS(s, e, d)   // 1-σ
		VMULPS(s, d, d)
		VMULPS(floats(1.702), x, x)
		VFMADD231PS(x, d, s) // σ + 1.702·x·σ·(1-σ)
		VMULPS(Mem{Base: p[1]}, s, s)
		m.flush(s)
		VMOVUPS(s, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

// flush sets what is below 10⁻³⁰ to 0; see flush in grad.go. A NaN stays.
func (m machine) flush(v VecVirtual) {
	const notLess = 5
	size, limit := m.vec(), floats(1e-30)
	if m.lanes == 16 {
		keep := K()
		VPANDD(words(0x7fffffff), v, size)
		VCMPPS(U8(notLess), limit, size, keep)
		VMOVUPS_Z(v, keep, v)
		return
	}
	VANDPS(words(0x7fffffff), v, size)
	VCMPPS(U8(notLess), limit, size, size)
	VANDPS(size, v, v)
}

func (m machine) normSums() {
	p, n := m.row("normSums", "func(sums, gy, w, x *float32, n int, mean, scale float32)", "normSums", "sums", "gy", "w", "x")
	mean, scale := m.spread("mean"), m.spread("scale")
	sg, sgx := m.vec(), m.vec()
	m.zero(sg)
	m.zero(sgx)
	m.loop("normSums"+m.name, n, p[1:], func() {
		t, v := m.vec(), m.vec()
		VMOVUPS(Mem{Base: p[1]}, t)
		VMULPS(Mem{Base: p[2]}, t, t)
		VADDPS(t, sg, sg)
		VMOVUPS(Mem{Base: p[3]}, v)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VFMADD231PS(t, v, sgx)
	})
	for i, v := range []VecVirtual{sg, sgx} {
		VMOVSS(m.reduce(v, VADDPS), Mem{Base: p[0], Disp: 4 * i})
	}
	VZEROUPPER()
	RET()
}

func (m machine) normGrad() {
	p, n := m.row("normGrad", "func(gx, gy, w, x *float32, n int, mean, scale, mg, mgx float32)", "normGrad", "gx", "gy", "w", "x")
	mean, scale, mg, mgx := m.spread("mean"), m.spread("scale"), m.spread("mg"), m.spread("mgx")
	m.loop("normGrad"+m.name, n, p, func() {
		t, v := m.vec(), m.vec()
		VMOVUPS(Mem{Base: p[1]}, t)
		VMULPS(Mem{Base: p[2]}, t, t)
		VSUBPS(mg, t, t)
		VMOVUPS(Mem{Base: p[3]}, v)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VFNMADD231PS(mgx, v, t)
		VMULPS(scale, t, t)
		VMOVUPS(t, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) normWeights() {
	p, n := m.row("normWeights", "func(gw, gb, gy, x *float32, n int, mean, scale float32)", "normWeights", "gw", "gb", "gy", "x")
	mean, scale := m.spread("mean"), m.spread("scale")
	m.loop("normWeights"+m.name, n, p, func() {
		g, v, t := m.vec(), m.vec(), m.vec()
		VMOVUPS(Mem{Base: p[2]}, g)
		VADDPS(Mem{Base: p[1]}, g, t)
		VMOVUPS(t, Mem{Base: p[1]})
		VMOVUPS(Mem{Base: p[3]}, v)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		VMULPS(g, v, v)
		VADDPS(Mem{Base: p[0]}, v, v)
		VMOVUPS(v, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

func (m machine) geluGrad() {
	p, n := m.row("geluGrad", "func(gx, gy, x *float32, n int)", "geluGrad", "gx", "gy", "x")
	m.loop("geluGrad"+m.name, n, p, func() {
		x, t := m.vec(), m.vec()
		VMOVUPS(Mem{Base: p[2]}, x)
		s := m.onePlusErf(x)
		VMULPS(floats(0.5), s, s) // Φ(x)
		VMULPS(x, x, t)
		VMULPS(floats(-0.5), t, t)
		least := m.vec()
		VMOVUPS(floats(-87), least) // so that nothing is denormal; a NaN stays
		VMAXPS(t, least, t)
		e := m.exp(t)
		VMULPS(floats(1/math.Sqrt(2*math.Pi)), e, e) // φ(x)
		VFMADD231PS(x, e, s)
		VMULPS(Mem{Base: p[1]}, s, s)
		m.flush(s)
		VMOVUPS(s, Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

// activation emits y = f(x+b).
func (m machine) activation(name string, f func(x VecVirtual) VecVirtual) {
	p, n := m.row(name, "func(y, x, b *float32, n int)", name, "y", "x", "b")
	m.loop(name+m.name, n, p, func() {
		v := m.vec()
		VMOVUPS(Mem{Base: p[1]}, v)
		VADDPS(Mem{Base: p[2]}, v, v)
		VMOVUPS(f(v), Mem{Base: p[0]})
	})
	VZEROUPPER()
	RET()
}

// clamp returns x within [-limit,limit]; a NaN stays, since min and max return their first operand
// (in Go's order) when one is NaN.
func (m machine) clamp(x VecVirtual, limit float64) VecVirtual {
	t, c := m.vec(), m.vec()
	VMOVUPS(floats(limit), c)
	VMINPS(x, c, t)
	d := m.vec()
	VMOVUPS(floats(-limit), d)
	VMAXPS(t, d, t)
	return t
}

// horner returns the polynomial in x with the given coefficients, highest first.
func (m machine) horner(x VecVirtual, coefficients ...float64) VecVirtual {
	p := m.vec()
	VMOVUPS(floats(coefficients[0]), p)
	for _, c := range coefficients[1:] {
		VFMADD213PS(floats(c), x, p)
	}
	return p
}

// exp returns e^x; see exp in vector_generic.go.
func (m machine) exp(x VecVirtual) VecVirtual {
	x = m.clamp(x, 174)
	n := m.vec()
	VMULPS(floats(math.Log2E), x, n)
	if m.lanes == 16 {
		VRNDSCALEPS(U8(0), n, n)
	} else {
		VROUNDPS(U8(0), n, n)
	}
	VFNMADD231PS(floats(0.693359375), n, x)
	VFNMADD231PS(floats(-2.12194440e-4), n, x)
	p := m.horner(x, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	square := m.vec()
	VMULPS(x, x, square)
	VFMADD213PS(x, square, p)
	VADDPS(floats(1), p, p)
	return m.ldexp(p, n)
}

// ldexp returns p·2ⁿ.
func (m machine) ldexp(p, n VecVirtual) VecVirtual {
	if m.lanes == 16 {
		VSCALEFPS(n, p, p)
		return p
	}
	half := m.vec()
	VCVTPS2DQ(n, n)
	VPSRAD(U8(1), n, half)
	VPSUBD(half, n, n)
	for _, e := range []VecVirtual{half, n} {
		VPADDD(words(127), e, e)
		VPSLLD(U8(23), e, e)
		VMULPS(e, p, p)
	}
	return p
}

// quickGELU returns x/(1+exp(-1.702·x)).
func (m machine) quickGELU(x VecVirtual) VecVirtual {
	t, least := m.vec(), m.vec()
	VMULPS(floats(-1.702), x, t)
	// Below -87 the exponential would be subnormal, which takes processors a hundred times as long, to
	// no effect: 1 is added to it.
	VMOVUPS(floats(-87), least)
	VMAXPS(t, least, t)
	e := m.exp(t)
	VADDPS(floats(1), e, e)
	VDIVPS(e, x, x)
	return x
}

// gelu returns x/2·(1+erf(x/√2)); see erf in vector_generic.go.
func (m machine) gelu(x VecVirtual) VecVirtual {
	p := m.onePlusErf(x)
	VMULPS(floats(0.5), x, x)
	VMULPS(p, x, x)
	return x
}

// onePlusErf returns 1+erf(x/√2); see erf in vector_generic.go.
func (m machine) onePlusErf(x VecVirtual) VecVirtual {
	t := m.vec()
	VMULPS(floats(1/math.Sqrt2), x, t)
	t = m.clamp(t, 4)
	square := m.vec()
	VMULPS(t, t, square)
	p := m.horner(square, -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
	q := m.horner(square, -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02)
	VMULPS(p, t, p)
	VDIVPS(q, p, p)
	VADDPS(floats(1), p, p)
	return p
}
