// The generator of the kernel's assembly for amd64: one file for AVX2 with FMA, and AVX-512.
//
//	go generate ./internal/kernel
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A machine is an instruction set with its vector registers.
type machine struct {
	name  string // suffix of the routines
	lanes int    // floats in a register
	mr    int    // rows of the tile
	nv    int    // registers across the tile
}

var (
	avx2   = machine{name: "AVX2", lanes: 8, mr: 6, nv: 2}
	avx512 = machine{name: "AVX512", lanes: 16, mr: 14, nv: 2}
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
		m.tile()
		m.fmas()
		m.sum()
		m.sumSquares()
		m.normalize()
		m.max()
		m.expSum()
		m.scale()
		m.addBias()
		m.addBias2()
		m.activation("quickGELU", m.quickGELU)
		m.activation("gelu", m.gelu)
	}
	pack(8)
	pack(4)
	Generate()
}

// tile computes C (mr × nv·lanes) = or += Σₖ a[k]·b[k]ᵀ with all of C in registers.
func (m machine) tile() {
	TEXT("tile"+m.name, NOSPLIT, "func(c *float32, ldc int, a, b *float32, k int, accumulate bool)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tile%s is tileGeneric for %d rows and %d columns; k is at least 1.", m.name, m.mr, m.nv*m.lanes))
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	k := Load(Param("k"), GP64())
	SHLQ(U8(2), ldc)

	acc := make([][]VecVirtual, m.mr)
	for i := range acc {
		acc[i] = make([]VecVirtual, m.nv)
		for j := range acc[i] {
			acc[i][j] = m.vec()
			m.zero(acc[i][j])
		}
	}
	width := 4 * m.lanes
	step := func(p int) {
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
	const unroll = 4
	id := "tile" + m.name
	quads := GP64()
	MOVQ(k, quads)
	SHRQ(U8(2), quads)
	JZ(LabelRef(id + "Rest"))
	Label(id + "Loop")
	for p := range unroll {
		step(p)
	}
	ADDQ(I32(unroll*m.mr*4), a)
	ADDQ(I32(unroll*m.nv*width), b)
	DECQ(quads)
	JNZ(LabelRef(id + "Loop"))
	Label(id + "Rest")
	ANDQ(I8(unroll-1), k)
	JZ(LabelRef(id + "Store"))
	Label(id + "Single")
	step(0)
	ADDQ(I32(m.mr*4), a)
	ADDQ(I32(m.nv*width), b)
	DECQ(k)
	JNZ(LabelRef(id + "Single"))

	Label(id + "Store")
	add := Load(Param("accumulate"), GP8())
	TESTB(add, add)
	JZ(LabelRef(id + "Write"))
	row := GP64()
	MOVQ(c, row)
	for i := range acc {
		for j := range acc[i] {
			VADDPS(Mem{Base: row, Disp: j * width}, acc[i][j], acc[i][j])
		}
		if i < m.mr-1 {
			ADDQ(ldc, row)
		}
	}
	Label(id + "Write")
	for i := range acc {
		for j := range acc[i] {
			VMOVUPS(acc[i][j], Mem{Base: c, Disp: j * width})
		}
		if i < m.mr-1 {
			ADDQ(ldc, c)
		}
	}
	VZEROUPPER()
	RET()
}

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
	for r := range x {
		x[r] = vec()
		if r < 4 {
			VMOVUPS(at(src, r), x[r])
		} else {
			VMOVUPS(at(upper, r-4), x[r])
		}
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
	t := m.vec()
	VMULPS(floats(-1.702), x, t)
	e := m.exp(t)
	VADDPS(floats(1), e, e)
	VDIVPS(e, x, x)
	return x
}

// gelu returns x/2·(1+erf(x/√2)); see erf in vector_generic.go.
func (m machine) gelu(x VecVirtual) VecVirtual {
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
	VMULPS(floats(0.5), x, x)
	VMULPS(p, x, x)
	return x
}
