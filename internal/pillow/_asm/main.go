// The generator of the assembly that decodes JPEG and resizes on amd64 with AVX2.
//
//	go generate ./internal/pillow
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	inverse()
	triangle("triangle2x2AVX2", true)
	triangle("triangle2x1AVX2", false)
	colours()
	half := longs("halfWeight", 1<<21) // of 22 fractional bits
	across(half)
	down(half)
	Generate()
}

// data returns read-only memory of 32 bytes that words of 16 bits fill, over and over.
func data(name string, words ...int16) Mem {
	c := GLOBL(name, 8|16) // RODATA|NOPTR
	for i := range 16 {
		DATA(2*i, U16(uint16(words[i%len(words)])))
	}
	return c
}

// order returns the places for a shuffle of bytes in both halves of a register; -1 makes zero.
func order(name string, low, high []int) Mem {
	c := GLOBL(name, 8|16)
	for i, at := range append(append([]int(nil), low...), high...) {
		DATA(i, U8(uint8(at)))
	}
	return c
}

var pairs = map[[2]int]Mem{}

// factors returns pairs of factors for VPMADDWD.
func factors(a, b int) Mem {
	m, ok := pairs[[2]int{a, b}]
	if !ok {
		m = data(fmt.Sprintf("pair%04x%04x", uint16(a), uint16(b)), int16(a), int16(b))
		pairs[[2]int{a, b}] = m
	}
	return m
}

// madd returns x's pairs of words times a and b, added.
func madd(x Op, a, b int) VecVirtual {
	y := YMM()
	VPMADDWD(factors(a, b), x.(VecVirtual), y)
	return y
}

// inverse is jpegPart.draw of a block: after it, pix has the block's eight rows of eight bytes.
func inverse() {
	TEXT("inverseAVX2", NOSPLIT, "func(pix *byte, stride int, coeffs *[64]int16, quant *[64]uint16)")
	Pragma("noescape")
	Doc("inverseAVX2 is inverseGeneric for a block whose rows of pixels lie stride bytes apart.")
	pix := Load(Param("pix"), GP64())
	stride := Load(Param("stride"), GP64())
	coeffs := Load(Param("coeffs"), GP64())
	quant := Load(Param("quant"), GP64())
	in := [4]VecVirtual{YMM(), YMM(), YMM(), YMM()}
	for i, v := range in {
		VMOVDQU(Mem{Base: coeffs, Disp: 32 * i}, v)
	}
	rest, first := YMM(), YMM()
	VPAND(data("wordsHigh", 0, -1), in[0], rest)
	for _, v := range in[1:] {
		VPOR(v, rest, rest)
	}
	VPTEST(rest, rest)
	for i, v := range in {
		VPMULLW(Mem{Base: quant, Disp: 32 * i}, v, v)
	}
	out := make([]VecVirtual, 8)
	for i := range out {
		out[i] = YMM()
	}
	JZ(LabelRef("flat"))
	cosine(in, out, "half11", 1<<10, 11)
	Label("transpose")
	var p [4]VecVirtual
	for i := range p {
		p[i] = YMM()
		VPACKSSDW(out[2*i+1], out[2*i], p[i]) // columns 0 to 3 of two rows, and 4 to 7
	}
	places := order("inPairs", []int{0, 1, 8, 9, 4, 5, 12, 13, 14, 15, 2, 3, 6, 7, 10, 11}, []int{0, 1, 8, 9, 4, 5, 12, 13, 14, 15, 2, 3, 6, 7, 10, 11})
	for _, v := range p {
		VPERMQ(U8(0xd8), v, v)
		VPSHUFB(places, v, v)
	}
	l0, h0, l1, h1 := YMM(), YMM(), YMM(), YMM()
	VPUNPCKLDQ(p[1], p[0], l0)
	VPUNPCKHDQ(p[1], p[0], h0)
	VPUNPCKLDQ(p[3], p[2], l1)
	VPUNPCKHDQ(p[3], p[2], h1)
	second := [4]VecVirtual{YMM(), YMM(), YMM(), YMM()}
	VPUNPCKLQDQ(l1, l0, second[0])
	VPUNPCKHQDQ(l1, l0, second[1])
	VPUNPCKLQDQ(h1, h0, second[2])
	VPUNPCKHQDQ(h1, h0, second[3])
	columns := make([]VecVirtual, 8)
	for i := range columns {
		columns[i] = YMM()
	}
	cosine(second, columns, "half18", 1<<17, 18)
	// A register has a column: rows 0, 2, 4, 6 and 1, 3, 5, 7.
	b0, b1, t0, t1 := YMM(), YMM(), YMM(), YMM()
	VPACKSSDW(columns[1], columns[0], b0)
	VPACKSSDW(columns[3], columns[2], t0)
	VPACKSSWB(t0, b0, b0)
	VPACKSSDW(columns[5], columns[4], b1)
	VPACKSSDW(columns[7], columns[6], t1)
	VPACKSSWB(t1, b1, b1)
	across4 := []int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}
	byRow := order("byRow", across4, across4)
	grey := data("grey", -0x7f80) // bytes of 0x80
	for _, v := range []VecVirtual{b0, b1} {
		VPSHUFB(byRow, v, v)
		VPADDB(grey, v, v)
	}
	low, high := YMM(), YMM()
	VPUNPCKLDQ(b1, b0, low)  // rows 0, 2 and 1, 3
	VPUNPCKHDQ(b1, b0, high) // rows 4, 6 and 5, 7
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	lowOdd, highOdd := XMM(), XMM()
	VEXTRACTI128(U8(1), low, lowOdd)
	VEXTRACTI128(U8(1), high, highOdd)
	store := func(even VecVirtual, odd VecVirtual) {
		VMOVQ(even.AsX(), Mem{Base: pix})
		VMOVQ(odd, Mem{Base: pix, Index: stride, Scale: 1})
		VMOVHPS(even.AsX(), Mem{Base: pix, Index: stride, Scale: 2})
		VMOVHPS(odd, Mem{Base: pix, Index: three, Scale: 1})
	}
	store(low, lowOdd)
	LEAQ(Mem{Base: pix, Index: stride, Scale: 4}, pix)
	store(high, highOdd)
	VZEROUPPER()
	RET()

	// Coefficients in the first row alone: each column is its first, cut off at 16 bits.
	Label("flat")
	VPTEST(data("allButFirst", 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1), in[0])
	JZ(LabelRef("grey"))
	VPSLLD(U8(18), in[0], first)
	for _, v := range out {
		VPSRAD(U8(16), first, v)
	}
	JMP(LabelRef("transpose"))

	// One coefficient alone: all pixels are the same.
	Label("grey")
	x := XMM()
	VPSLLD(U8(18), in[0].AsX(), x)
	VPSRAD(U8(16), x, x)
	VPADDD(longs("half5", 16), x, x)
	VPSRAD(U8(5), x, x)
	VPACKSSDW(x, x, x)
	VPACKSSWB(x, x, x)
	VPADDB(grey, x, x)
	VPBROADCASTB(x, x)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	for i := range 2 {
		VMOVQ(x, Mem{Base: pix})
		VMOVQ(x, Mem{Base: pix, Index: stride, Scale: 1})
		VMOVQ(x, Mem{Base: pix, Index: stride, Scale: 2})
		VMOVQ(x, Mem{Base: pix, Index: three, Scale: 1})
		if i == 0 {
			LEAQ(Mem{Base: pix, Index: stride, Scale: 4}, pix)
		}
	}
	VZEROUPPER()
	RET()
}

// cosine is inverseCosine of eight columns. in has pairs of coefficients: 0 and 4, 2 and 6, 7 and 1, 3 and 5.
func cosine(in [4]VecVirtual, out []VecVirtual, name string, half uint32, shift uint8) {
	const (
		c0298 = 2446
		c0390 = 3196
		c0541 = 4433
		c0765 = 6270
		c0899 = 7373
		c1175 = 9633
		c1501 = 12299
		c1847 = 15137
		c1961 = 16069
		c2053 = 16819
		c2562 = 20995
		c3072 = 25172
	)
	halves := longs(name, half)
	t0, t1 := madd(in[0], 1, 1), madd(in[0], 1, -1)
	for _, t := range []VecVirtual{t0, t1} {
		VPSLLD(U8(16), t, t)
		VPSRAD(U8(3), t, t) // the sum in 16 bits, times 2^13
		VPADDD(halves, t, t)
	}
	t2, t3 := madd(in[1], c0541, c0541-c1847), madd(in[1], c0541+c0765, c0541)
	e0, e1, e2, e3 := YMM(), YMM(), YMM(), YMM()
	VPADDD(t3, t0, e0)
	VPSUBD(t3, t0, e3)
	VPADDD(t2, t1, e1)
	VPSUBD(t2, t1, e2)
	z := YMM()
	VPADDW(in[3], in[2], z)
	z3, z4 := madd(z, c1175-c1961, c1175), madd(z, c1175, c1175-c0390)
	o0, o3 := madd(in[2], c0298-c0899, -c0899), madd(in[2], -c0899, c1501-c0899)
	o1, o2 := madd(in[3], -c2562, c2053-c2562), madd(in[3], c3072-c2562, -c2562)
	VPADDD(z3, o0, o0)
	VPADDD(z4, o1, o1)
	VPADDD(z3, o2, o2)
	VPADDD(z4, o3, o3)
	for i, eo := range [][2]VecVirtual{{e0, o3}, {e1, o2}, {e2, o1}, {e3, o0}} {
		VPADDD(eo[1], eo[0], out[i])
		VPSUBD(eo[1], eo[0], out[7-i])
		VPSRAD(U8(shift), out[i], out[i])
		VPSRAD(U8(shift), out[7-i], out[7-i])
	}
}

// steps calls do for n items, lanes at a time. The last time begins so that it ends with n, which is at least lanes.
func steps(id string, n Register, lanes int, do func(at Register)) {
	at, last := GP64(), GP64()
	XORQ(at, at)
	MOVQ(n, last)
	SUBQ(U32(uint32(lanes)), last)
	Label(id + "Loop")
	do(at)
	CMPQ(at, last)
	JGE(LabelRef(id + "Done"))
	ADDQ(U32(uint32(lanes)), at)
	CMPQ(at, last)
	CMOVQGT(last, at)
	JMP(LabelRef(id + "Loop"))
	Label(id + "Done")
}

// triangle is the filter of triangle2x1 or triangle2x2 for samples that have neighbours on both sides.
func triangle(id string, both bool) {
	if both {
		TEXT(id, NOSPLIT, "func(dst, near, far *byte, n int)")
	} else {
		TEXT(id, NOSPLIT, "func(dst, near *byte, n int)")
	}
	Pragma("noescape")
	Doc(fmt.Sprintf("%s makes 2n samples of n, which have a neighbour on both sides; n is at least 16.", id))
	dst := Load(Param("dst"), GP64())
	near := Load(Param("near"), GP64())
	far := near
	if both {
		far = Load(Param("far"), GP64())
	}
	n := Load(Param("n"), GP64())
	even, odd, bits := int16(1), int16(2), uint8(2)
	if both {
		even, odd, bits = 8, 7, 4
	}
	evens, odds := YMM(), YMM()
	VMOVDQU(data(id+"Even", even), evens)
	VMOVDQU(data(id+"Odd", odd), odds)
	steps(id, n, 16, func(at Register) {
		sum := func(shift int) VecVirtual {
			a := YMM()
			VPMOVZXBW(Mem{Base: near, Index: at, Scale: 1, Disp: shift}, a)
			if !both {
				return a
			}
			t, b := YMM(), YMM()
			VPADDW(a, a, t)
			VPADDW(t, a, a)
			VPMOVZXBW(Mem{Base: far, Index: at, Scale: 1, Disp: shift}, b)
			VPADDW(b, a, a)
			return a
		}
		this, before, after := sum(0), sum(-1), sum(1)
		t := YMM()
		VPADDW(this, this, t)
		VPADDW(t, this, this)
		VPADDW(this, before, before)
		VPADDW(this, after, after)
		VPADDW(evens, before, before)
		VPADDW(odds, after, after)
		VPSRLW(U8(bits), before, before)
		VPSRLW(U8(bits), after, after)
		VPSLLW(U8(8), after, after)
		VPOR(after, before, before)
		VMOVDQU(before, Mem{Base: dst, Index: at, Scale: 2})
	})
	VZEROUPPER()
	RET()
}

// colours is yccRow. A factor of 1.402 is one, and 0.402 in the highest 16 bits of a product.
func colours() {
	id := "yccRowAVX2"
	TEXT(id, NOSPLIT, "func(out, y, cb, cr *byte, n int)")
	Pragma("noescape")
	Doc("yccRowAVX2 is yccRow for n pixels, at least 16.")
	out := Load(Param("out"), GP64())
	y := Load(Param("y"), GP64())
	cb := Load(Param("cb"), GP64())
	cr := Load(Param("cr"), GP64())
	n := Load(Param("n"), GP64())
	middle, ones := YMM(), YMM()
	VMOVDQU(data("middle", 128), middle)
	VMOVDQU(data("ones", 1), ones)
	round := longs("half16", 1<<15)
	red, blue := data("redOfCr", 26345), data("blueOfCb", -14942)
	both := func(name string, a ...int) Mem { return order(name, a, a) }
	// Red and green of eight pixels lie in half a register, blue in that of another.
	rg0 := both("redGreenFirst", 0, 8, -1, 1, 9, -1, 2, 10, -1, 3, 11, -1, 4, 12, -1, 5)
	b0 := both("blueFirst", -1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1)
	rg1 := both("redGreenLast", 13, -1, 6, 14, -1, 7, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1)
	b1 := both("blueLast", -1, 5, -1, -1, 6, -1, -1, 7, -1, -1, -1, -1, -1, -1, -1, -1)
	steps(id, n, 16, func(at Register) {
		load := func(from Register) VecVirtual {
			v := YMM()
			VPMOVZXBW(Mem{Base: from, Index: at, Scale: 1}, v)
			return v
		}
		vy, vb, vr := load(y), load(cb), load(cr)
		VPSUBW(middle, vb, vb)
		VPSUBW(middle, vr, vr)
		// Green: -0.34414 cb - 0.71414 cr, the latter as 0.28586 cr - cr.
		lo, hi := YMM(), YMM()
		VPUNPCKLWD(vr, vb, lo)
		VPUNPCKHWD(vr, vb, hi)
		green := factors(-22554, 18734)
		for _, v := range []VecVirtual{lo, hi} {
			VPMADDWD(green, v, v)
			VPADDD(round, v, v)
			VPSRAD(U8(16), v, v)
		}
		VPACKSSDW(hi, lo, lo)
		VPSUBW(vr, lo, lo)
		VPADDW(vy, lo, lo)
		twice := func(v VecVirtual, factor Mem) (double, part VecVirtual) {
			double, part = YMM(), YMM()
			VPADDW(v, v, double)
			VPMULHW(factor, double, part)
			VPADDW(ones, part, part)
			VPSRAW(U8(1), part, part)
			VPADDW(vy, part, part)
			return double, part
		}
		_, r := twice(vr, red)
		VPADDW(vr, r, r)
		double, b := twice(vb, blue)
		VPADDW(double, b, b)
		VPACKUSWB(lo, r, r)
		VPACKUSWB(b, b, b)
		f, l, t := YMM(), YMM(), YMM()
		VPSHUFB(rg0, r, f)
		VPSHUFB(b0, b, t)
		VPOR(t, f, f)
		VPSHUFB(rg1, r, l)
		VPSHUFB(b1, b, t)
		VPOR(t, l, l)
		to := GP64()
		LEAQ(Mem{Base: at, Index: at, Scale: 2}, to)
		ADDQ(out, to)
		VMOVDQU(f.AsX(), Mem{Base: to})
		VMOVQ(l.AsX(), Mem{Base: to, Disp: 16})
		VEXTRACTI128(U8(1), f, t.AsX())
		VMOVDQU(t.AsX(), Mem{Base: to, Disp: 24})
		VEXTRACTI128(U8(1), l, t.AsX())
		VMOVQ(t.AsX(), Mem{Base: to, Disp: 40})
	})
	VZEROUPPER()
	RET()
}

// longs returns read-only memory of 32 bytes that one word of 32 bits fills.
func longs(name string, v uint32) Mem {
	c := GLOBL(name, 8|16)
	for i := range 8 {
		DATA(4*i, U32(v))
	}
	return c
}

// across filters a row of RGB horizontally, four new pixels at a time.
func across(half Mem) {
	id := "acrossRGBAVX2"
	TEXT(id, NOSPLIT, "func(dst, src *byte, n int, first *int, weights *[8]int16, groups int)")
	Pragma("noescape")
	Doc("acrossRGBAVX2 makes n pixels, at least 4. Pixel i takes 4·groups pixels from byte first[i] of src on, of which it reads four bytes more. Four of its weights at a time lie together in weights, first their lowest 8 bits, and then the others.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	n := Load(Param("n"), GP64())
	first := Load(Param("first"), GP64())
	size := Load(Param("groups"), GP64()) // of a pixel's weights in bytes
	SHLQ(U8(4), size)
	// Of four pixels: red of two, red of two, green, green; blue, blue.
	places := YMM()
	VMOVDQU(order("taps",
		[]int{0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1},
		[]int{2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1}), places)
	order4 := []int{0, 1, 8, 2, 3, 10, 4, 5, 12, 6, 7, 14, -1, -1, -1, -1}
	rgb := order("fourPixels", order4, order4)
	steps(id, n, 4, func(at Register) {
		var from, w [4]Register
		var low, high [4]VecVirtual
		for i := range 4 {
			from[i] = GP64()
			MOVQ(Mem{Base: first, Index: at, Scale: 8, Disp: 8 * i}, from[i])
			ADDQ(src, from[i])
			low[i], high[i] = YMM(), YMM()
			VPXOR(low[i], low[i], low[i])
			VPXOR(high[i], high[i], high[i])
		}
		w[0], w[1] = Load(Param("weights"), GP64()), GP64()
		MOVQ(at, w[1])
		IMULQ(size, w[1])
		ADDQ(w[1], w[0])
		LEAQ(Mem{Base: w[0], Index: size, Scale: 2}, w[1])
		left := Load(Param("groups"), GP64())
		Label(id + "Taps")
		for i := range 4 {
			x, k := YMM(), YMM()
			VBROADCASTI128(Mem{Base: from[i]}, x)
			ADDQ(I32(12), from[i])
			VPSHUFB(places, x, x)
			at := Mem{Base: w[i/2]}
			if i%2 == 1 {
				at.Index, at.Scale = size, 1
			}
			VPBROADCASTQ(at, k)
			VPMADDWD(k, x, k)
			VPADDD(k, low[i], low[i])
			at.Disp = 8
			VPBROADCASTQ(at, k)
			VPMADDWD(k, x, k)
			VPADDD(k, high[i], high[i])
		}
		ADDQ(I32(16), w[0])
		ADDQ(I32(16), w[1])
		DECQ(left)
		JNZ(LabelRef(id + "Taps"))
		for i := range 4 {
			VPSLLD(U8(8), high[i], high[i])
			VPADDD(low[i], high[i], high[i])
		}
		a, b := YMM(), YMM()
		VPHADDD(high[1], high[0], a)
		VPHADDD(high[3], high[2], b)
		for _, v := range []VecVirtual{a, b} {
			VPADDD(half, v, v)
			VPSRAD(U8(22), v, v)
		}
		VPACKSSDW(b, a, a) // red and green of each pixel, and blue and zero
		blue := XMM()
		VEXTRACTI128(U8(1), a, blue)
		VPACKUSWB(blue, a.AsX(), a.AsX()) // bytes r g of four, b 0 of four
		VPSHUFB(rgb, a.AsX(), a.AsX())
		to := GP64()
		LEAQ(Mem{Base: at, Index: at, Scale: 2}, to)
		ADDQ(dst, to)
		VMOVQ(a.AsX(), Mem{Base: to})
		VPEXTRD(U8(2), a.AsX(), Mem{Base: to, Disp: 8})
	})
	VZEROUPPER()
	RET()
}

// down filters vertically, 16 bytes at a time.
func down(half Mem) {
	id := "downAVX2"
	TEXT(id, NOSPLIT, "func(dst, src *byte, stride, n int, weights *[4]int16, taps int)")
	Pragma("noescape")
	Doc("downAVX2 makes n bytes, at least 16, of taps rows that lie stride bytes apart. Two weights at a time lie together in weights, first their lowest 8 bits, and then the others.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	stride := Load(Param("stride"), GP64())
	n := Load(Param("n"), GP64())
	weights := Load(Param("weights"), GP64())
	taps := Load(Param("taps"), GP64())
	steps(id, n, 16, func(at Register) {
		var low, high [2]VecVirtual
		for i := range 2 {
			low[i], high[i] = YMM(), YMM()
			VPXOR(low[i], low[i], low[i])
			VPXOR(high[i], high[i], high[i])
		}
		from, w, left := GP64(), GP64(), GP64()
		LEAQ(Mem{Base: src, Index: at, Scale: 1}, from)
		MOVQ(weights, w)
		MOVQ(taps, left)
		turn := func(two bool) {
			a, b, t := XMM(), XMM(), XMM()
			VMOVDQU(Mem{Base: from}, a)
			if two {
				VMOVDQU(Mem{Base: from, Index: stride, Scale: 1}, b)
			} else {
				VPXOR(b, b, b)
			}
			kl, kh := YMM(), YMM()
			VPBROADCASTD(Mem{Base: w}, kl)
			VPBROADCASTD(Mem{Base: w, Disp: 4}, kh)
			VPUNPCKLBW(b, a, t)
			VPUNPCKHBW(b, a, a)
			for i, x := range []VecVirtual{t, a} {
				y, p := YMM(), YMM()
				VPMOVZXBW(x, y)
				VPMADDWD(kl, y, p)
				VPADDD(p, low[i], low[i])
				VPMADDWD(kh, y, p)
				VPADDD(p, high[i], high[i])
			}
		}
		SUBQ(U32(2), left)
		JL(LabelRef(id + "One"))
		Label(id + "Taps")
		turn(true)
		LEAQ(Mem{Base: from, Index: stride, Scale: 2}, from)
		ADDQ(U32(8), w)
		SUBQ(U32(2), left)
		JGE(LabelRef(id + "Taps"))
		Label(id + "One")
		TESTQ(U32(1), left)
		JZ(LabelRef(id + "Sum"))
		turn(false)
		Label(id + "Sum")
		for i := range 2 {
			VPSLLD(U8(8), high[i], high[i])
			VPADDD(low[i], high[i], high[i])
			VPADDD(half, high[i], high[i])
			VPSRAD(U8(22), high[i], high[i])
		}
		VPACKSSDW(high[1], high[0], high[0])
		VPERMQ(U8(0xd8), high[0], high[0])
		x := XMM()
		VEXTRACTI128(U8(1), high[0], x)
		VPACKUSWB(x, high[0].AsX(), x)
		VMOVDQU(x, Mem{Base: dst, Index: at, Scale: 1})
	})
	VZEROUPPER()
	RET()
}
