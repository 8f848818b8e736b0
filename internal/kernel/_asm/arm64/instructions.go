package main

import "fmt"

// One function per instruction. Its operands are in the order in which one reads a sum: a, b, and the
// destination last. Vectors are four words, floats or integers.

func emit(f string, args ...any) { r.body = append(r.body, "\t"+fmt.Sprintf(f, args...)) }

func label(name string)   { r.body = append(r.body, name+":") }
func bne(to string)       { emit("BNE %s", to) }
func cbz(a gp, to string) { emit("CBZ R%d, %s", a, to) }
func ret()                { emit("RET") }

// Integers.

func movGP(a, to gp)            { emit("MOVD R%d, R%d", a, to) }
func add(a, b, to gp)           { emit("ADD R%d, R%d, R%d", b, a, to) }
func addImm(a gp, n int, to gp) { emit("ADD $%d, R%d, R%d", n, a, to) }
func subs(a gp, n int, to gp)   { emit("SUBS $%d, R%d, R%d", n, a, to) }
func ands(a gp, n int, to gp)   { emit("ANDS $%d, R%d, R%d", n, a, to) }
func lsl(a gp, n int, to gp)    { emit("LSL $%d, R%d, R%d", n, a, to) }
func lsr(a gp, n int, to gp)    { emit("LSR $%d, R%d, R%d", n, a, to) }

// Parameters and the result.

func load(param string) gp {
	v := newGP()
	emit("MOVD %s, R%d", r.params[param], v)
	return v
}

func loadBool(param string) gp {
	v := newGP()
	emit("MOVBU %s, R%d", r.params[param], v)
	return v
}

// spread returns a register filled with a parameter.
func spread(param string) vec {
	v := newVec()
	emit("FMOVS %s, F%d", r.params[param], v)
	emit("VDUP V%d.S[0], V%[1]d.S4", v)
	return v
}

// finish returns the lowest lane of v.
func finish(v vec) {
	emit("FMOVS F%d, %s", v, r.params["ret"])
	ret()
}

// finishZero returns whether v is all zeros.
func finishZero(v vec) {
	low, high := newGP(), newGP()
	emit("VMOV V%d.D[0], R%d", v, low)
	emit("VMOV V%d.D[1], R%d", v, high)
	emit("ORR R%d, R%d, R%[2]d", high, low)
	emit("CMP $0, R%d", low)
	emit("CSET EQ, R%d", low)
	emit("MOVB R%d, %s", low, r.params["ret"])
	ret()
}

// Memory: one register or two, at an offset in bytes, or at a pointer that then moves past it.

func ldr(p gp, off int, v vec)    { emit("FMOVQ %d(R%d), F%d", off, p, v) }
func str(v vec, p gp, off int)    { emit("FMOVQ F%d, %d(R%d)", v, off, p) }
func ldp(p gp, off int, v, w vec) { emit("FLDPQ %d(R%d), (F%d, F%d)", off, p, v, w) }
func stp(v, w vec, p gp, off int) { emit("FSTPQ (F%d, F%d), %d(R%d)", v, w, off, p) }
func ldrNext(p gp, v vec)         { emit("FMOVQ.P 16(R%d), F%d", p, v) }
func strNext(v vec, p gp)         { emit("FMOVQ.P F%d, 16(R%d)", v, p) }

// spreadNext fills v with the word at a pointer, which then moves past it.
func spreadNext(p gp, v vec) {
	emit("FMOVS.P 4(R%d), F%d", p, v)
	emit("VDUP V%d.S[0], V%[1]d.S4", v)
}

// prefetch asks for the line at p, for the second-level cache.
func prefetch(p gp) { emit("PRFM (R%d), PLDL2KEEP", p) }

// Vectors, what Go's assembler has.

func mov(a, to vec)            { emit("VMOV V%d.B16, V%d.B16", a, to) }
func zero(v vec)               { emit("VEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", v) }
func fmla(a, b, to vec)        { emit("VFMLA V%d.S4, V%d.S4, V%d.S4", b, a, to) } // to += a·b
func fmls(a, b, to vec)        { emit("VFMLS V%d.S4, V%d.S4, V%d.S4", b, a, to) } // to -= a·b
func eor(a, b, to vec)         { emit("VEOR V%d.B16, V%d.B16, V%d.B16", b, a, to) }
func orr(a, b, to vec)         { emit("VORR V%d.B16, V%d.B16, V%d.B16", b, a, to) }
func addInt(a, b, to vec)      { emit("VADD V%d.S4, V%d.S4, V%d.S4", b, a, to) }
func subInt(a, b, to vec)      { emit("VSUB V%d.S4, V%d.S4, V%d.S4", b, a, to) }
func shl(a vec, n int, to vec) { emit("VSHL $%d, V%d.S4, V%d.S4", n, a, to) }
func bit(a, mask, to vec)      { emit("VBIT V%d.B16, V%d.B16, V%d.B16", mask, a, to) } // to = mask ? a : to
func trn1(a, b, to vec)        { emit("VTRN1 V%d.S4, V%d.S4, V%d.S4", b, a, to) }      // a0 b0 a2 b2
func trn2(a, b, to vec)        { emit("VTRN2 V%d.S4, V%d.S4, V%d.S4", b, a, to) }      // a1 b1 a3 b3
func lows(a, b, to vec)        { emit("VTRN1 V%d.D2, V%d.D2, V%d.D2", b, a, to) }      // a0 a1 b0 b1
func highs(a, b, to vec)       { emit("VTRN2 V%d.D2, V%d.D2, V%d.D2", b, a, to) }      // a2 a3 b2 b3

// What it has not, as words. Source of the encodings: Arm Architecture Reference Manual for A-profile,
// C7.2. The comment has Arm's order: the destination first.

func word(opcode uint32, comment string, args ...any) {
	emit("WORD $0x%08x // %s", opcode, fmt.Sprintf(comment, args...))
}

func unary(mnemonic string, opcode uint32, a, to vec) {
	word(opcode|uint32(a)<<5|uint32(to), "%s V%d.4S, V%d.4S", mnemonic, to, a)
}

func binary(mnemonic string, opcode uint32, a, b, to vec) {
	word(opcode|uint32(b)<<16|uint32(a)<<5|uint32(to), "%s V%d.4S, V%d.4S, V%d.4S", mnemonic, to, a, b)
}

func fadd(a, b, to vec)  { binary("FADD", 0x4e20d400, a, b, to) }
func fsub(a, b, to vec)  { binary("FSUB", 0x4ea0d400, a, b, to) }
func fmul(a, b, to vec)  { binary("FMUL", 0x6e20dc00, a, b, to) }
func fdiv(a, b, to vec)  { binary("FDIV", 0x6e20fc00, a, b, to) }
func fmax(a, b, to vec)  { binary("FMAX", 0x4e20f400, a, b, to) } // NaN if one of them is
func fmin(a, b, to vec)  { binary("FMIN", 0x4ea0f400, a, b, to) }
func fcmgt(a, b, to vec) { binary("FCMGT", 0x6ea0e400, a, b, to) } // all bits where a > b
func faddp(a, b, to vec) { binary("FADDP", 0x6e20d400, a, b, to) } // a0+a1 a2+a3 b0+b1 b2+b3
func frintn(a, to vec)   { unary("FRINTN", 0x4e218800, a, to) }    // to the nearest, ties to even
func fcvtzs(a, to vec)   { unary("FCVTZS", 0x4ea1b800, a, to) }    // to an integer, towards 0

// fmlaLane adds a·b[lane] to every lane.
func fmlaLane(a, b vec, lane int, to vec) {
	opcode := 0x4f801000 | uint32(lane&1)<<21 | uint32(lane>>1)<<11
	word(opcode|uint32(b)<<16|uint32(a)<<5|uint32(to), "FMLA V%d.4S, V%d.4S, V%d.S[%d]", to, a, b, lane)
}

// fmaxv puts the largest lane into the lowest.
func fmaxv(a, to vec) {
	word(0x6e30f800|uint32(a)<<5|uint32(to), "FMAXV S%d, V%d.4S", to, a)
}

// sshr shifts integers to the right and keeps their sign.
func sshr(a vec, n int, to vec) {
	word(0x4f000400|uint32(64-n)<<16|uint32(a)<<5|uint32(to), "SSHR V%d.4S, V%d.4S, #%d", to, a, n)
}

// To and from half precision: the lower four of eight halves, and with 2 the upper four.
func fcvtl(a, to vec)  { word(0x0e217800|uint32(a)<<5|uint32(to), "FCVTL V%d.4S, V%d.4H", to, a) }
func fcvtl2(a, to vec) { word(0x4e217800|uint32(a)<<5|uint32(to), "FCVTL2 V%d.4S, V%d.8H", to, a) }
func fcvtn(a, to vec)  { word(0x0e216800|uint32(a)<<5|uint32(to), "FCVTN V%d.4H, V%d.4S", to, a) }
func fcvtn2(a, to vec) { word(0x4e216800|uint32(a)<<5|uint32(to), "FCVTN2 V%d.8H, V%d.4S", to, a) }
