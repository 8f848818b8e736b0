// The generator of the kernel's assembly for arm64: NEON, which every arm64 processor has. avo knows
// amd64 only, so assembler.go and instructions.go stand for it.
//
//	go generate ./internal/kernel
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
)

// The tile: twelve rows by two registers of columns. Of 32 registers, 24 hold C, three a column of A
// and two a row of B; a multiply-add takes its factor of A from a lane, so that nothing is broadcast.
// Five loads feed 24 multiply-adds, 0.21 each; 8×8 would need 0.25. 8×12 would cost the same, but the
// columns of C are the widths of models, multiples of 8 and not of 12. It has been checked under
// emulation and never been timed: the shape is by count.
const (
	lanes = 4
	mr    = 12
	nv    = 2
	nr    = nv * lanes
)

func main() {
	out := flag.String("out", "kernel_arm64.s", "the assembly")
	stubs := flag.String("stubs", "kernel_arm64.go", "its declarations")
	flag.Parse()
	tile("tile", mr)
	tile("tile8Of", 8) // for the last panel of a matrix
	tile("tile4Of", 4)
	widen()
	narrow()
	fmas()
	sum()
	sumSquares()
	normalize()
	maxOf()
	expSum()
	columnMax()
	columnExp()
	scaleColumns()
	columnSum()
	columnSquares()
	columnNormalize()
	scale()
	addBias()
	addBias2()
	activation("quickGELU", quickGELU)
	activation("gelu", gelu)
	pack(8)
	pack(4)
	scanHalves()
	if err := write(*out, *stubs); err != nil {
		log.Fatal(err)
	}
}

// tile computes C (rows × nr) = or += Σₖ a[k]·b[k]ᵀ with all of C in registers. The panel a has mr
// rows, of which it takes the first. Beside that it asks for memory that will be needed soon: the line
// at next, step bytes further every second k.
func tile(name string, rows int) {
	text(name+"NEON", "func(c *float32, ldc int, a, b *float32, k int, accumulate bool, next *byte, step int)",
		fmt.Sprintf("is tileGeneric for %d rows of a panel of %d, and %d columns; k is at least 1. It prefetches from next on, step bytes for every two k.", rows, mr, nr))
	c, ldc, a, b, k, next, step := load("c"), load("ldc"), load("a"), load("b"), load("k"), load("next"), load("step")
	lsl(ldc, 2, ldc)

	acc := make([][nv]vec, rows)
	for i := range acc {
		acc[i] = newPair()
		for _, v := range acc[i] {
			zero(v)
		}
	}
	bv, av := newPair(), make([]vec, rows/lanes)
	for i := range av {
		av[i] = newVec()
	}
	depth := func(p int) {
		ldp(b, 4*nr*p, bv[0], bv[1])
		for i, v := range av {
			ldr(a, 4*(mr*p+lanes*i), v)
		}
		for i := range acc {
			for j := range bv {
				fmlaLane(bv[j], av[i/lanes], i%lanes, acc[i][j])
			}
		}
	}
	pairs := newGP()
	lsr(k, 1, pairs)
	cbz(pairs, "rest")
	loop(pairs, 1, func() {
		depth(0)
		depth(1)
		prefetch(next)
		add(next, step, next)
		addImm(a, 4*2*mr, a)
		addImm(b, 4*2*nr, b)
	})
	label("rest")
	ands(k, 1, k)
	cbz(k, "store")
	depth(0)

	label("store")
	cbz(loadBool("accumulate"), "write")
	row := newGP()
	movGP(c, row)
	for i := range acc {
		ldp(row, 0, bv[0], bv[1])
		for j := range bv {
			fadd(acc[i][j], bv[j], acc[i][j])
		}
		if i < rows-1 {
			add(row, ldc, row)
		}
	}
	label("write")
	for i := range acc {
		stp(acc[i][0], acc[i][1], c, 0)
		if i < rows-1 {
			add(c, ldc, c)
		}
	}
	ret()
}

// widen turns half precision into single, which is exact.
func widen() {
	p, n := row(2*lanes, "widen", "func(dst *float32, src *uint16, n int)", "widen", "dst", "src")
	halves, low, high := newVec(), newVec(), newVec()
	loop(n, 2*lanes, func() {
		ldrNext(p[1], halves)
		fcvtl(halves, low)
		fcvtl2(halves, high)
		strNext(low, p[0])
		strNext(high, p[0])
	})
	ret()
}

// narrow turns single precision into half and reports whether that lost nothing.
func narrow() {
	p, n := row(2*lanes, "narrow", "func(dst *uint16, src *float32, n int) bool", "narrow", "dst", "src")
	low, high, halves, back, differ := newVec(), newVec(), newVec(), newVec(), newVec()
	zero(differ)
	loop(n, 2*lanes, func() {
		ldrNext(p[1], low)
		ldrNext(p[1], high)
		fcvtn(low, halves)
		fcvtn2(high, halves)
		strNext(halves, p[0])
		fcvtl(halves, back)
		eor(low, back, back)
		orr(back, differ, differ)
		fcvtl2(halves, back)
		eor(high, back, back)
		orr(back, differ, differ)
	})
	finishZero(differ)
}

const fmasPerTurn = 24 // more than latency times throughput, 4·4 at the most

// fmas does nothing but independent fused multiply-adds: the most that the processor can do.
func fmas() {
	text("fmasNEON", "func(n int)",
		fmt.Sprintf("does n times %d fused multiply-adds of %d floats, all independent; n is at least 1.", fmasPerTurn, lanes))
	n, x := load("n"), newVec()
	zero(x)
	var acc [fmasPerTurn]vec
	for i := range acc {
		acc[i] = newVec()
		zero(acc[i])
	}
	loop(n, 1, func() {
		for _, v := range acc {
			fmla(x, x, v)
		}
	})
	ret()
}

// pack transposes rows rows of k floats, k a multiple of 4: dst[p·stride+r] = src[r·ld+p].
func pack(rows int) {
	text(fmt.Sprintf("pack%d", rows), "func(dst *float32, stride int, src *float32, ld, k int)",
		fmt.Sprintf("is packGeneric for %d rows; k is a positive multiple of %d.", rows, lanes))
	dst, stride, src, ld, k := load("dst"), load("stride"), load("src"), load("ld"), load("k")
	lsl(stride, 2, stride)
	lsl(ld, 2, ld)
	row := newGP()
	var x, y [8]vec
	for i := range rows {
		x[i], y[i] = newVec(), newVec()
	}
	loop(k, lanes, func() {
		movGP(src, row)
		for i := range rows {
			ldr(row, 0, x[i])
			if i < rows-1 {
				add(row, ld, row)
			}
		}
		addImm(src, 4*lanes, src)
		// In blocks of four by four, pairs of rows change places, then fours.
		for i := 0; i < rows; i += 2 {
			trn1(x[i], x[i+1], y[i])
			trn2(x[i], x[i+1], y[i+1])
		}
		for i := 0; i < rows; i += 4 {
			lows(y[i], y[i+2], x[i])
			lows(y[i+1], y[i+3], x[i+1])
			highs(y[i], y[i+2], x[i+2])
			highs(y[i+1], y[i+3], x[i+3])
		}
		for p := range lanes {
			if rows == 8 {
				stp(x[p], x[p+4], dst, 0)
			} else {
				str(x[p], dst, 0)
			}
			add(dst, stride, dst)
		}
	})
	ret()
}

// loop emits a loop that takes step off n every turn; n is a positive multiple of step.
func loop(n gp, step int, body func()) {
	label("loop")
	body()
	subs(n, step, n)
	bne("loop")
}

// row declares a routine over pointers that takes step elements a turn, and returns the registers of
// the pointers and of the count n.
func row(step int, name, signature, definition string, pointers ...string) ([]gp, gp) {
	text(name+"NEON", signature, fmt.Sprintf("is %sGeneric; n is a positive multiple of %d.", definition, step))
	var ps []gp
	for _, p := range pointers {
		ps = append(ps, load(p))
	}
	return ps, load("n")
}

// Sums are of eight lanes, as with AVX2: less rounding than of four, and less waiting.
const sumLanes = 2 * lanes

// total adds the lanes of v, in the order of the AVX2 version.
func total(v vec) vec {
	t := newVec()
	highs(v, v, t)
	fadd(v, t, v)
	faddp(v, v, v)
	return v
}

func sum() {
	p, n := row(sumLanes, "sum", "func(x *float32, n int) float32", "sum", "x")
	acc, v := newPair(), newPair()
	zero(acc[0])
	zero(acc[1])
	loop(n, sumLanes, func() {
		for i := range acc {
			ldrNext(p[0], v[i])
			fadd(acc[i], v[i], acc[i])
		}
	})
	fadd(acc[0], acc[1], acc[0])
	finish(total(acc[0]))
}

func sumSquares() {
	p, n := row(sumLanes, "sumSquares", "func(x *float32, n int, mean float32) float32", "sumSquares", "x")
	acc, v, mean := newPair(), newPair(), spread("mean")
	zero(acc[0])
	zero(acc[1])
	loop(n, sumLanes, func() {
		for i := range acc {
			ldrNext(p[0], v[i])
			fsub(v[i], mean, v[i])
			fmla(v[i], v[i], acc[i])
		}
	})
	fadd(acc[0], acc[1], acc[0])
	finish(total(acc[0]))
}

func normalize() {
	p, n := row(lanes, "normalize", "func(y, x, w, b *float32, n int, mean, scale float32)", "normalize", "y", "x", "w", "b")
	mean, scale, v, t := spread("mean"), spread("scale"), newVec(), newVec()
	loop(n, lanes, func() {
		ldrNext(p[1], v)
		fsub(v, mean, v)
		fmul(v, scale, v)
		ldrNext(p[2], t)
		fmul(v, t, v)
		ldrNext(p[3], t)
		fadd(v, t, v)
		strNext(v, p[0])
	})
	ret()
}

func maxOf() {
	p, n := row(lanes, "max", "func(x *float32, n int) float32", "max", "x")
	acc, v, greater := newVec(), newVec(), newVec()
	mov(floats(math.Inf(-1)), acc)
	loop(n, lanes, func() {
		ldrNext(p[0], v)
		fcmgt(v, acc, greater) // FMAX would keep a NaN, and FMAXNM one that signals
		bit(v, greater, acc)
	})
	fmaxv(acc, acc)
	finish(acc)
}

func expSum() {
	p, n := row(lanes, "expSum", "func(y, x *float32, n int, shift, scale float32) float32", "expSum", "y", "x")
	shift, scale, acc, v := spread("shift"), spread("scale"), newVec(), newVec()
	zero(acc)
	loop(n, lanes, func() {
		ldrNext(p[1], v)
		fsub(v, shift, v)
		fmul(v, scale, v)
		e := exp(v)
		fadd(acc, e, acc)
		strNext(e, p[0])
	})
	finish(total(acc))
}

// column declares a routine that goes down the columns of x, rows of nr.
func column(name, signature string) {
	text(name+"NEON", signature, fmt.Sprintf("is %sGeneric for rows of %d; there is at least one.", name, nr))
}

func columnMax() {
	column("columnMax", "func(m, x *float32, rows int)")
	m, x, rows := load("m"), load("x"), load("rows")
	acc, v, greater := newPair(), newPair(), newPair()
	for j := range acc {
		mov(floats(math.Inf(-1)), acc[j])
	}
	loop(rows, 1, func() {
		for j := range acc {
			ldrNext(x, v[j])
			fcmgt(v[j], acc[j], greater[j])
			bit(v[j], greater[j], acc[j])
		}
	})
	stp(acc[0], acc[1], m, 0)
	ret()
}

func columnExp() {
	column("columnExp", "func(x, peak, total *float32, rows int, scale float32)")
	x, total, rows := load("x"), load("total"), load("rows")
	peak, acc, v, scale := newPair(), newPair(), newPair(), spread("scale")
	ldp(load("peak"), 0, peak[0], peak[1])
	zero(acc[0])
	zero(acc[1])
	loop(rows, 1, func() {
		for j := range acc {
			ldr(x, 4*lanes*j, v[j])
			fsub(v[j], peak[j], v[j])
			fmul(v[j], scale, v[j])
			e := exp(v[j])
			fadd(acc[j], e, acc[j])
			str(e, x, 4*lanes*j)
		}
		addImm(x, 4*nr, x)
	})
	stp(acc[0], acc[1], total, 0)
	ret()
}

func scaleColumns() {
	column("scaleColumns", "func(x, s *float32, rows int)")
	x, rows := load("x"), load("rows")
	s, v := newPair(), newPair()
	ldp(load("s"), 0, s[0], s[1])
	loop(rows, 1, func() {
		for j := range s {
			ldr(x, 0, v[j])
			fmul(v[j], s[j], v[j])
			strNext(v[j], x)
		}
	})
	ret()
}

func columnSum() {
	column("columnSum", "func(total, x *float32, rows int)")
	total, x, rows := load("total"), load("x"), load("rows")
	acc, v := newPair(), newPair()
	zero(acc[0])
	zero(acc[1])
	loop(rows, 1, func() {
		for j := range acc {
			ldrNext(x, v[j])
			fadd(acc[j], v[j], acc[j])
		}
	})
	stp(acc[0], acc[1], total, 0)
	ret()
}

func columnSquares() {
	column("columnSquares", "func(total, x, mean *float32, rows int)")
	total, x, rows := load("total"), load("x"), load("rows")
	acc, v, mean := newPair(), newPair(), newPair()
	ldp(load("mean"), 0, mean[0], mean[1])
	zero(acc[0])
	zero(acc[1])
	loop(rows, 1, func() {
		for j := range acc {
			ldrNext(x, v[j])
			fsub(v[j], mean[j], v[j])
			fmla(v[j], v[j], acc[j])
		}
	})
	stp(acc[0], acc[1], total, 0)
	ret()
}

func columnNormalize() {
	column("columnNormalize", "func(y, x, mean, scale, w, b *float32, rows int)")
	y, x, w, b, rows := load("y"), load("x"), load("w"), load("b"), load("rows")
	mean, scale, v := newPair(), newPair(), newPair()
	weight, bias := newVec(), newVec()
	ldp(load("mean"), 0, mean[0], mean[1])
	ldp(load("scale"), 0, scale[0], scale[1])
	loop(rows, 1, func() {
		spreadNext(w, weight)
		spreadNext(b, bias)
		for j := range v {
			ldrNext(x, v[j])
			fsub(v[j], mean[j], v[j])
			fmul(v[j], scale[j], v[j])
			fmul(v[j], weight, v[j])
			fadd(v[j], bias, v[j])
			strNext(v[j], y)
		}
	})
	ret()
}

func scale() {
	p, n := row(lanes, "scale", "func(y *float32, n int, s float32)", "scale", "y")
	s, v := spread("s"), newVec()
	loop(n, lanes, func() {
		ldr(p[0], 0, v)
		fmul(v, s, v)
		strNext(v, p[0])
	})
	ret()
}

func addBias() {
	p, n := row(lanes, "addBias", "func(y, b *float32, n int)", "addBias", "y", "b")
	v, t := newVec(), newVec()
	loop(n, lanes, func() {
		ldr(p[0], 0, v)
		ldrNext(p[1], t)
		fadd(v, t, v)
		strNext(v, p[0])
	})
	ret()
}

func addBias2() {
	p, n := row(lanes, "addBias2", "func(y, b, r *float32, n int)", "addBias2", "y", "b", "r")
	v, t := newVec(), newVec()
	loop(n, lanes, func() {
		ldr(p[0], 0, v)
		ldrNext(p[1], t)
		fadd(v, t, v)
		ldrNext(p[2], t)
		fadd(v, t, v)
		strNext(v, p[0])
	})
	ret()
}

// activation emits y = f(x+b).
func activation(name string, f func(x vec) vec) {
	p, n := row(lanes, name, "func(y, x, b *float32, n int)", name, "y", "x", "b")
	v, t := newVec(), newVec()
	loop(n, lanes, func() {
		ldrNext(p[1], v)
		ldrNext(p[2], t)
		fadd(v, t, v)
		strNext(f(v), p[0])
	})
	ret()
}

// clamp returns x within [-limit,limit]; a NaN stays.
func clamp(x vec, limit float64) vec {
	t := newVec()
	fmin(x, floats(limit), t)
	fmax(t, floats(-limit), t)
	return t
}

// horner returns the polynomial in x with the given coefficients, highest first.
func horner(x vec, coefficients ...float64) vec {
	p, t := floats(coefficients[0]), [2]vec{newVec(), newVec()}
	for i, c := range coefficients[1:] {
		mov(floats(c), t[i%2])
		fmla(p, x, t[i%2])
		p = t[i%2]
	}
	return p
}

// exp returns e^x; see exp in vector_generic.go.
func exp(x vec) vec {
	x = clamp(x, 174)
	n := newVec()
	fmul(x, floats(math.Log2E), n)
	frintn(n, n)
	fmls(n, floats(0.693359375), x)
	fmls(n, floats(-2.12194440e-4), x)
	p := horner(x, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	square := newVec()
	fmul(x, x, square)
	fmla(p, square, x)
	fadd(x, floats(1), p)
	half := newVec()
	fcvtzs(n, n)
	sshr(n, 1, half)
	subInt(n, half, n)
	for _, e := range []vec{half, n} {
		addInt(e, words(127), e)
		shl(e, 23, e)
		fmul(p, e, p)
	}
	return p
}

// quickGELU returns x/(1+exp(-1.702·x)).
func quickGELU(x vec) vec {
	t := newVec()
	fmul(x, floats(-1.702), t)
	e := exp(t)
	fadd(e, floats(1), e)
	fdiv(x, e, e)
	return e
}

// gelu returns x/2·(1+erf(x/√2)); see erf in vector_generic.go.
func gelu(x vec) vec {
	t := newVec()
	fmul(x, floats(1/math.Sqrt2), t)
	t = clamp(t, 4)
	square := newVec()
	fmul(t, t, square)
	p := horner(square, -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
	q := horner(square, -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02)
	fmul(t, p, p)
	fdiv(p, q, p)
	fadd(p, floats(1), p)
	fmul(x, floats(0.5), x)
	fmul(x, p, x)
	return x
}

// scanHalves multiplies rows of halves with a vector, one row after the other.
func scanHalves() {
	text("scanHalvesNEON", "func(y *float32, rows *uint16, ld, n int, x *float32, k int)",
		"is scanHalvesGeneric; there is at least one row, and k is a positive multiple of 8.")
	y, rows, ld, n, x, k := load("y"), load("rows"), load("ld"), load("n"), load("x"), load("k")
	lsl(ld, 1, ld)
	row, at, left := newGP(), newGP(), newGP()
	acc, v, w, halves := newPair(), newPair(), newPair(), newVec()
	label("row")
	movGP(rows, row)
	movGP(x, at)
	movGP(k, left)
	zero(acc[0])
	zero(acc[1])
	loop(left, 2*lanes, func() {
		ldrNext(row, halves)
		fcvtl(halves, v[0])
		fcvtl2(halves, v[1])
		ldrNext(at, w[0])
		ldrNext(at, w[1])
		fmla(v[0], w[0], acc[0])
		fmla(v[1], w[1], acc[1])
	})
	fadd(acc[0], acc[1], acc[0])
	emit("FMOVS.P F%d, 4(R%d)", total(acc[0]), y)
	add(rows, ld, rows)
	subs(n, 1, n)
	bne("row")
	ret()
}
