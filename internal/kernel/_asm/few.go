package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A fewShape is a number of columns that there is a routine for, and how many panels of weights that routine takes at
// a time: as many as the registers hold, which hides the latency where columns are few, and fewer for the last ones.
type fewShape struct {
	columns int
	panels  []int
}

// fewShapes returns those for 1 column and more. Where many panels are taken at a time, a second pass for further columns
// costs less than fewer panels would, unless it converts halves once more. Beside panels of X, AVX2 leaves no more than 5 columns; see cutStrips.
func (m machine) fewShapes(half bool) (all []fewShape) {
	panels := [][]int{{6, 4, 1}, {4, 2, 1}, {3, 1}, {2, 1}, {2, 1}}
	most := 6
	if m.lanes == 16 {
		panels = [][]int{{8, 4, 1}, {8, 4, 1}, {6, 4, 1}, {6, 4, 1}, {5, 4, 1}, {4, 1}}
		most = 12
	}
	for half && len(panels) < most {
		panels = append(panels, []int{2, 1})
	}
	for i, p := range panels {
		all = append(all, fewShape{i + 1, p})
	}
	return all
}

// allFew emits few for all numbers of columns, and for weights of either kind.
func (m machine) allFew() {
	for _, half := range []bool{false, true} {
		for _, s := range m.fewShapes(half) {
			m.few(s, half)
		}
	}
}

// few computes what panels of weights give for a few columns, which lie as rows. The registers go along the panels,
// and every element is one sum over k, as in the tile. It asks for two lines of memory that will be needed soon with
// every k of some panels.
func (m machine) few(s fewShape, half bool) {
	suffix, size, what := "", 4, "float32"
	if half {
		suffix, size, what = "Half", 2, "halves"
	}
	id := fmt.Sprintf("few%d%s%s", s.columns, suffix, m.name)
	TEXT(id, NOSPLIT, "func(y *float32, ldy int, w *byte, panels, lastRows int, x *float32, ldx, k int, accumulate bool, next *byte, step int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is fewGeneric for %d columns and panels of %d %s; k and panels are at least 1. It prefetches two lines from next on, step bytes further for every k of some panels.", id, s.columns, m.mr, what))
	y, w, panels := Load(Param("y"), GP64()), Load(Param("w"), GP64()), Load(Param("panels"), GP64())
	next, step := Load(Param("next"), GP64()), Load(Param("step"), GP64())
	ldx, ldx3 := Load(Param("ldx"), GP64()), GP64()
	SHLQ(U8(2), ldx)
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 2}, ldx3)
	apart, apart3 := Load(Param("k"), GP64()), GP64() // of panels
	IMUL3Q(U32(uint32(m.mr*size)), apart, apart)
	LEAQ(Mem{Base: apart, Index: apart, Scale: 2}, apart3)
	count := GP64()
	MOVQ(U32(uint32(m.mr)), count)
	whole := m.mask(count)

	var sums []VecVirtual // of all: zeroing one by itself counts as reading it
	for range s.columns * s.panels[0] {
		sums = append(sums, m.vec())
	}
	for _, n := range s.panels {
		begin, end := fmt.Sprintf("%sTake%d", id, n), fmt.Sprintf("%sLess%d", id, n)
		Label(begin)
		CMPQ(panels, U8(uint8(n)))
		JLT(LabelRef(end))
		x, k := Load(Param("x"), GP64()), Load(Param("k"), GP64())
		column := strided(x, ldx, ldx3, s.columns)
		panel := strided(w, apart, apart3, n)
		acc := make([][]VecVirtual, s.columns)
		for c := range acc {
			acc[c] = sums[c*n:][:n]
			for _, v := range acc[c] {
				m.zero(v)
			}
		}
		embedded := m.embedded(s.columns, n)
		depth := func(lastOfHalves bool) {
			rows := make([]VecVirtual, n)
			for j := range rows {
				rows[j] = m.vec()
				switch {
				case lastOfHalves:
					m.loadHalves(panel.at(j), rows[j])
				case half && m.lanes == 16:
					VCVTPH2PS_Z(panel.at(j), whole.k, rows[j])
				case half: // the last lanes are of the next depth, and not stored
					VCVTPH2PS(panel.at(j), rows[j])
				default:
					m.loadMasked(panel.at(j), whole, rows[j])
				}
			}
			PREFETCHT1(Mem{Base: next})
			PREFETCHT1(Mem{Base: next, Disp: 64})
			ADDQ(step, next)
			for c := range acc {
				if (c+1)*embedded/s.columns > c*embedded/s.columns {
					for j := range rows {
						VFMADD231PS_BCST(column.at(c), rows[j], acc[c][j])
					}
					continue
				}
				v := m.vec()
				VBROADCASTSS(column.at(c), v)
				for j := range rows {
					VFMADD231PS(rows[j], v, acc[c][j])
				}
			}
			panel.advance(m.mr * size)
			column.advance(4)
		}
		loop, lastDepth := fmt.Sprintf("%sLoop%d", id, n), fmt.Sprintf("%sLast%d", id, n)
		peeled := half && m.lanes == 8
		if peeled {
			DECQ(k)
			JZ(LabelRef(lastDepth))
		}
		align()
		Label(loop)
		depth(false)
		DECQ(k)
		JNZ(LabelRef(loop))
		if peeled {
			Label(lastDepth)
			depth(true)
		}

		last := whole // the rows of the last of these panels
		full, store := fmt.Sprintf("%sFull%d", id, n), fmt.Sprintf("%sStore%d", id, n)
		rowsOfLast := GP64()
		MOVQ(U32(uint32(m.mr)), rowsOfLast)
		CMPQ(panels, U8(uint8(n)))
		JNE(LabelRef(full))
		Load(Param("lastRows"), rowsOfLast)
		Label(full)
		last = m.mask(rowsOfLast)
		ldy, row := Load(Param("ldy"), GP64()), GP64()
		SHLQ(U8(2), ldy)
		add := Load(Param("accumulate"), GP8())
		TESTB(add, add)
		JZ(LabelRef(store))
		m.eachOf(acc, y, row, ldy, whole, last, func(v VecVirtual, at Mem, rows mask) {
			before := m.vec()
			m.loadMasked(at, rows, before)
			VADDPS(before, v, v)
		})
		Label(store)
		m.eachOf(acc, y, row, ldy, whole, last, m.storeMasked)
		ADDQ(I32(4*m.mr*n), y)
		for range n - 1 { // w has passed one panel
			ADDQ(apart, w)
		}
		SUBQ(U8(uint8(n)), panels)
		JMP(LabelRef(begin))
		Label(end)
	}
	VZEROUPPER()
	RET()
}

// embedded returns for how many columns of few the multiply-adds broadcast the element of X themselves, which needs a load for each panel; for
// the others one instruction broadcasts it for all panels. It is as many as leave no more loads than multiply-adds, for processors do two of
// each in a cycle; two of the loads prefetch. With none, ten columns take 1.12 of the time on a Zen 4 if all lies in the caches.
func (m machine) embedded(columns, panels int) int {
	switch {
	case m.lanes < 16:
		return 0
	case panels == 1:
		return columns
	}
	return max(0, min(columns, (panels*columns-columns-panels-2)/(panels-1)))
}

// tileStrip computes C (panels·mr × lanes) = or += Σₖ a[k]·b[k]ᵀ from panels [k,mr] of weights and a strip [k,lanes] of
// columns, half a panel. One register holds the columns of a depth. AVX-512 broadcasts the weights in the multiply-adds, so
// that 28 of them need 29 loads; processors do two of each in a cycle. Every element is one sum over k, as in the tile. It
// asks for memory that will be needed soon, as the tile does.
func (m machine) tileStrip(panels int) {
	id := fmt.Sprintf("tileStrip%d%s", panels, m.name)
	width := 4 * m.lanes
	TEXT(id, NOSPLIT, "func(c, a, b *float32, k int, accumulate bool, next *byte, step int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is tileGeneric for %d panels a [k,%d], one behind the other, and %d columns; C is in one piece, and k is at least 1. It prefetches from next on, step bytes for every two k.", id, panels, m.mr, m.lanes))
	c, a, b, k := Load(Param("c"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("k"), GP64())
	next, step := Load(Param("next"), GP64()), Load(Param("step"), GP64())
	panel := []Register{a}
	for len(panel) < panels {
		p := GP64()
		IMUL3Q(U32(uint32(4*m.mr)), k, p)
		ADDQ(panel[len(panel)-1], p)
		panel = append(panel, p)
	}
	acc := make([]VecVirtual, panels*m.mr)
	for i := range acc {
		acc[i] = m.vec()
		m.zero(acc[i])
	}
	depth := func(p int) {
		columns := m.vec()
		VMOVUPS(Mem{Base: b, Disp: p * width}, columns)
		for i := range acc {
			weight := Mem{Base: panel[i/m.mr], Disp: 4 * (p*m.mr + i%m.mr)}
			if m.lanes == 16 {
				VFMADD231PS_BCST(weight, columns, acc[i])
				continue
			}
			v := m.vec()
			VBROADCASTSS(weight, v)
			VFMADD231PS(columns, v, acc[i])
		}
	}
	pairs := GP64()
	MOVQ(k, pairs)
	SHRQ(U8(1), pairs)
	JZ(LabelRef(id + "Rest"))
	align()
	Label(id + "Loop")
	depth(0)
	depth(1)
	PREFETCHT1(Mem{Base: next})
	ADDQ(step, next)
	for _, p := range panel {
		ADDQ(I32(2*m.mr*4), p)
	}
	ADDQ(I32(2*width), b)
	DECQ(pairs)
	JNZ(LabelRef(id + "Loop"))
	Label(id + "Rest")
	TESTQ(U32(1), k)
	JZ(LabelRef(id + "Store"))
	depth(0)
	Label(id + "Store")
	add := Load(Param("accumulate"), GP8())
	TESTB(add, add)
	JZ(LabelRef(id + "Write"))
	for i, v := range acc {
		VADDPS(Mem{Base: c, Disp: i * width}, v, v)
	}
	Label(id + "Write")
	for i, v := range acc {
		VMOVUPS(v, Mem{Base: c, Disp: i * width})
	}
	VZEROUPPER()
	RET()
}

// eachOf calls f with every sum and its place: in rows ldy apart, one panel behind the other, the last with its own
// mask.
func (m machine) eachOf(acc [][]VecVirtual, y, row, ldy Register, whole, last mask, f func(v VecVirtual, at Mem, rows mask)) {
	MOVQ(y, row)
	for c := range acc {
		for j, v := range acc[c] {
			rows := whole
			if j == len(acc[c])-1 {
				rows = last
			}
			f(v, Mem{Base: row, Disp: 4 * m.mr * j}, rows)
		}
		if c < len(acc)-1 {
			ADDQ(ldy, row)
		}
	}
}

// A places holds addresses that lie a stride apart: a base for every five of them.
type places struct {
	bases           []Register
	stride, stride3 Register
}

func strided(first, stride, stride3 Register, count int) *places {
	p := &places{[]Register{first}, stride, stride3}
	for len(p.bases)*5 < count {
		last, next := p.bases[len(p.bases)-1], GP64()
		LEAQ(Mem{Base: last, Index: stride, Scale: 4}, next)
		ADDQ(stride, next)
		p.bases = append(p.bases, next)
	}
	return p
}

func (p *places) at(i int) Mem {
	base := p.bases[i/5]
	switch i % 5 {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: p.stride3, Scale: 1}
	}
	return Mem{Base: base, Index: p.stride, Scale: uint8(i % 5)}
}

func (p *places) advance(bytes int) {
	for _, base := range p.bases {
		ADDQ(I32(int32(bytes)), base)
	}
}

// A mask selects the first elements of a register.
type mask struct {
	k Register   // AVX-512
	v VecVirtual // AVX2
}

// Tables of masks: 1s in eight words, and then 0s; and i bits for every i.
var firstElements, firstBits Mem

// mask returns that of the first count elements.
func (m machine) mask(count Register) mask {
	table := GP64()
	if m.lanes == 16 {
		if firstBits == (Mem{}) {
			firstBits = GLOBL("firstBits", 8|16)
			for i := range m.lanes + 1 {
				DATA(2*i, U16(1<<i-1))
			}
		}
		k := K()
		LEAQ(firstBits, table)
		KMOVW(Mem{Base: table, Index: count, Scale: 2}, k)
		return mask{k: k}
	}
	if firstElements == (Mem{}) {
		firstElements = GLOBL("firstElements", 8|16)
		for i := range 2 * m.lanes {
			DATA(4*i, U32(uint32(i/m.lanes)-1))
		}
	}
	v := m.vec()
	LEAQ(firstElements.Offset(4*m.lanes), table)
	NEGQ(count)
	VMOVUPS(Mem{Base: table, Index: count, Scale: 4}, v)
	NEGQ(count)
	return mask{v: v}
}

func (m machine) loadMasked(from Mem, rows mask, to VecVirtual) {
	if m.lanes == 16 {
		VMOVUPS_Z(from, rows.k, to)
	} else {
		VMASKMOVPS(from, rows.v, to)
	}
}

// loadHalves loads the halves of a row of a panel, and nothing behind them, with AVX2.
func (m machine) loadHalves(from Mem, to VecVirtual) {
	x := XMM()
	VMOVQ(from, x)
	VPINSRD(U8(2), from.Offset(8), x, x)
	VCVTPH2PS(x, to)
}

func (m machine) storeMasked(v VecVirtual, to Mem, rows mask) {
	if m.lanes == 16 {
		VMOVUPS(v, rows.k, to)
	} else {
		VMASKMOVPS(v, rows.v, to)
	}
}

// copyColumns copies some columns of a panel.
func (m machine) copyColumns() {
	id := "copyColumns" + m.name
	TEXT(id, NOSPLIT, "func(dst *float32, ldd int, src *float32, lds, columns, rows int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is copyRows of at most %d columns; there is at least one, and a row.", id, m.nv*m.lanes))
	dst, src, rows := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("rows"), GP64())
	ldd, lds := Load(Param("ldd"), GP64()), Load(Param("lds"), GP64())
	SHLQ(U8(2), ldd)
	SHLQ(U8(2), lds)
	masks := make([]mask, m.nv)
	none, all, left := GP64(), GP64(), GP64()
	XORQ(none, none)
	MOVQ(U32(uint32(m.lanes)), all)
	for j := range masks {
		Load(Param("columns"), left)
		SUBQ(I32(int32(m.lanes*j)), left)
		CMOVQLT(none, left)
		CMPQ(left, all)
		CMOVQGT(all, left)
		masks[j] = m.mask(left)
	}
	Label(id + "Loop")
	for j, columns := range masks {
		v := m.vec()
		m.loadMasked(Mem{Base: src, Disp: 4 * m.lanes * j}, columns, v)
		m.storeMasked(v, Mem{Base: dst, Disp: 4 * m.lanes * j}, columns)
	}
	ADDQ(lds, src)
	ADDQ(ldd, dst)
	DECQ(rows)
	JNZ(LabelRef(id + "Loop"))
	VZEROUPPER()
	RET()
}
