package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A scan is a routine that multiplies many rows with one vector.
type scan struct {
	name        string // without that of the machine
	types       string // of its parameters
	step        int    // elements that are multiplied at a time
	size, sizeX int    // of an element of a row, and of the vector, in bytes
	load        func(from Mem, to VecVirtual)
	add         func(x VecVirtual, row Mem, sum VecVirtual) // sum += x·row
	plus        func(...Op)                                 // adds two registers of sums
}

// scanRows is how many rows a scan takes at a time, for which it loads the vector once.
const scanRows = 4

// emit writes the routine: four rows at a time, and the last ones singly. The sum of a row has the same bits in both.
func (m machine) emit(s scan) {
	id := s.name + m.name
	TEXT(id, NOSPLIT, "func("+s.types+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is %sGeneric; k is a positive multiple of %d. It prefetches eight rows ahead.", id, s.name, s.step))
	y, rows, ld, n := Load(Param("y"), GP64()), Load(Param("rows"), GP64()), Load(Param("ld"), GP64()), Load(Param("n"), GP64())
	IMUL3Q(U8(uint8(s.size)), ld, ld)
	ld3, row, ahead := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: ld, Index: ld, Scale: 2}, ld3)
	for _, count := range []int{scanRows, 1} {
		begin, loop, end := fmt.Sprintf("%sTake%d", id, count), fmt.Sprintf("%sLoop%d", id, count), fmt.Sprintf("%sLess%d", id, count)
		Label(begin)
		CMPQ(n, U8(uint8(count)))
		JLT(LabelRef(end))
		MOVQ(rows, row)
		LEAQ(Mem{Base: rows, Index: ld, Scale: 8}, ahead)
		x, k := Load(Param("x"), GP64()), Load(Param("k"), GP64())
		from, next := strided(row, ld, ld3, count), strided(ahead, ld, ld3, count)
		sums := make([]VecVirtual, count)
		for i := range sums {
			sums[i] = m.vec()
			m.zero(sums[i])
		}
		align()
		Label(loop)
		v := m.vec()
		s.load(Mem{Base: x}, v)
		for i := range sums {
			PREFETCHT0(next.at(i))
			s.add(v, from.at(i), sums[i])
		}
		from.advance(s.size * s.step)
		next.advance(s.size * s.step)
		ADDQ(I32(int32(s.sizeX*s.step)), x)
		SUBQ(I32(int32(s.step)), k)
		JNZ(LabelRef(loop))
		for i := range sums {
			VMOVSS(m.reduce(sums[i], s.plus), Mem{Base: y, Disp: 4 * i})
		}
		ADDQ(I32(int32(4*count)), y)
		for range count {
			ADDQ(ld, rows)
		}
		SUBQ(U8(uint8(count)), n)
		JMP(LabelRef(begin))
		Label(end)
	}
	VZEROUPPER()
	RET()
}

// scanHalves multiplies rows of halves with a vector of floats.
func (m machine) scanHalves() {
	m.emit(scan{
		name: "scanHalves", types: "y *float32, rows *uint16, ld, n int, x *float32, k int",
		step: m.lanes, size: 2, sizeX: 4,
		load: func(from Mem, to VecVirtual) { VMOVUPS(from, to) },
		add: func(x VecVirtual, row Mem, sum VecVirtual) {
			v := m.vec()
			VCVTPH2PS(row, v)
			VFMADD231PS(x, v, sum)
		},
		plus: VADDPS,
	})
}

// scanBytes multiplies rows of signed bytes with a vector of words.
func (m machine) scanBytes() {
	m.emit(scan{
		name: "scanBytes", types: "y *int32, rows *int8, ld, n int, x *int16, k int",
		step: 2 * m.lanes, size: 1, sizeX: 2,
		load: func(from Mem, to VecVirtual) { VMOVDQU(from, to) },
		add: func(x VecVirtual, row Mem, sum VecVirtual) {
			v := m.vec()
			VPMOVSXBW(row, v)
			VPMADDWD(x, v, v)
			VPADDD(v, sum, sum)
		},
		plus: VPADDD,
	})
}

// rowsTile is the tile for rows that lie as they are, for a matrix that is read once: packing it would take long.
func (m machine) rowsTile() {
	id := "rowsTile" + m.name
	TEXT(id, NOSPLIT, "func(c, a *float32, lda int, b *float32, k int, next *byte, step int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s is rowsTileGeneric for %d rows and %d columns; k is at least 1. It prefetches a line from next on, step bytes further for every k.", id, m.mr, m.nv*m.lanes))
	a, b, k := Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("k"), GP64())
	lda, lda3 := Load(Param("lda"), GP64()), GP64()
	next, step := Load(Param("next"), GP64()), Load(Param("step"), GP64())
	SHLQ(U8(2), lda)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, lda3)
	rows := strided(a, lda, lda3, m.mr)
	sums := make([][]VecVirtual, m.mr)
	for i := range sums {
		for range m.nv {
			v := m.vec()
			m.zero(v)
			sums[i] = append(sums[i], v)
		}
	}
	align()
	Label(id + "Loop")
	bv := make([]VecVirtual, m.nv)
	for j := range bv {
		bv[j] = m.vec()
		VMOVUPS(Mem{Base: b, Disp: 4 * m.lanes * j}, bv[j])
	}
	PREFETCHT1(Mem{Base: next})
	ADDQ(step, next)
	for i := range sums {
		x := m.vec()
		VBROADCASTSS(rows.at(i), x)
		for j := range bv {
			VFMADD231PS(bv[j], x, sums[i][j])
		}
	}
	rows.advance(4)
	ADDQ(I32(int32(4*m.nv*m.lanes)), b)
	DECQ(k)
	JNZ(LabelRef(id + "Loop"))
	c := Load(Param("c"), GP64())
	for i := range sums {
		for j, v := range sums[i] {
			VMOVUPS(v, Mem{Base: c, Disp: 4 * m.lanes * (i*m.nv + j)})
		}
	}
	VZEROUPPER()
	RET()
}
