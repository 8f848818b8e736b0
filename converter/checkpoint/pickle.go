package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
)

// Limits of a pickle. One of 449 tensors has 59 kB and 16 thousand operations; gopickle needs up to 300
// bytes of memory for an operation, so that these limits keep it below 80 MB whatever it is given. What is
// skipped counts as bytes alone: the history of a long training has many.
const (
	maxPickle = 64 << 20 // bytes
	maxOps    = 1 << 18  // that gopickle is given
	maxMarks  = 64       // nested; a tensor stands at most 10 deep in a module
	maxString = 1 << 12  // bytes of a string that gopickle is given
	maxLine   = 1 << 10  // bytes of a global's module or name
	maxLong   = 8        // bytes of an integer that gopickle is given
)

// An argument is what follows an operation's code.
type argument int

const (
	argNone    argument = iota
	arg1                // bytes
	arg2                //
	arg4                //
	arg8                //
	argString1          // length in 1 byte, then a string
	argString4          // length in 4 bytes, then a string
	argString8          // length in 8 bytes, then a string
	argBytes1           // length in 1 byte, then bytes
	argBytes4           // length in 4 bytes, then bytes
	argBytes8           // length in 8 bytes, then bytes
	argLong1            // length in 1 byte, then an integer
	argLong4            // length in 4 bytes, then an integer
	argGlobal           // two lines
	argPut1             // index into the memo
	argPut4             //
	argGet1             //
	argGet4             //
	argMemoize          // nothing; the index is the size of the memo
	argFrame            // length in 8 bytes
)

// operations are those that picklers of Python 3 and of torch write (protocols 2 to 5), with their arguments
// and what they take from the stack and leave on it. All others, which older protocols have, or which take
// what is not in the file, are refused.
//
// Sources: python/cpython, Lib/pickletools.py; pytorch/pytorch, torch/csrc/jit/serialization/pickler.cpp.
var operations = map[byte]struct {
	name      string
	arg       argument
	mark      bool // takes everything down to the topmost mark, then pop
	pop, push int
	number    bool // pushes a number, a flag or nothing
}{
	'(':  {name: "MARK"},
	'.':  {name: "STOP", pop: 1},
	'0':  {name: "POP", pop: 1},
	'1':  {name: "POP_MARK", mark: true},
	'2':  {name: "DUP", pop: 1, push: 2},
	0x80: {name: "PROTO", arg: arg1},
	0x95: {name: "FRAME", arg: argFrame},
	'N':  {name: "NONE", push: 1, number: true},
	0x88: {name: "NEWTRUE", push: 1, number: true},
	0x89: {name: "NEWFALSE", push: 1, number: true},
	'K':  {name: "BININT1", arg: arg1, push: 1, number: true},
	'M':  {name: "BININT2", arg: arg2, push: 1, number: true},
	'J':  {name: "BININT", arg: arg4, push: 1, number: true},
	0x8a: {name: "LONG1", arg: argLong1, push: 1, number: true},
	0x8b: {name: "LONG4", arg: argLong4, push: 1, number: true},
	'G':  {name: "BINFLOAT", arg: arg8, push: 1, number: true},
	'U':  {name: "SHORT_BINSTRING", arg: argString1, push: 1},
	'T':  {name: "BINSTRING", arg: argString4, push: 1},
	'X':  {name: "BINUNICODE", arg: argString4, push: 1},
	0x8c: {name: "SHORT_BINUNICODE", arg: argString1, push: 1},
	0x8d: {name: "BINUNICODE8", arg: argString8, push: 1},
	'C':  {name: "SHORT_BINBYTES", arg: argBytes1, push: 1},
	'B':  {name: "BINBYTES", arg: argBytes4, push: 1},
	0x8e: {name: "BINBYTES8", arg: argBytes8, push: 1},
	0x96: {name: "BYTEARRAY8", arg: argBytes8, push: 1},
	'c':  {name: "GLOBAL", arg: argGlobal, push: 1},
	0x93: {name: "STACK_GLOBAL", pop: 2, push: 1},
	0x82: {name: "EXT1", arg: arg1, push: 1},
	0x83: {name: "EXT2", arg: arg2, push: 1},
	0x84: {name: "EXT4", arg: arg4, push: 1},
	')':  {name: "EMPTY_TUPLE", push: 1},
	']':  {name: "EMPTY_LIST", push: 1},
	'}':  {name: "EMPTY_DICT", push: 1},
	0x8f: {name: "EMPTY_SET", push: 1},
	't':  {name: "TUPLE", mark: true, push: 1},
	0x85: {name: "TUPLE1", pop: 1, push: 1},
	0x86: {name: "TUPLE2", pop: 2, push: 1},
	0x87: {name: "TUPLE3", pop: 3, push: 1},
	0x91: {name: "FROZENSET", mark: true, push: 1},
	'a':  {name: "APPEND", pop: 2, push: 1},
	'e':  {name: "APPENDS", mark: true, pop: 1, push: 1},
	0x90: {name: "ADDITEMS", mark: true, pop: 1, push: 1},
	's':  {name: "SETITEM", pop: 3, push: 1},
	'u':  {name: "SETITEMS", mark: true, pop: 1, push: 1},
	'R':  {name: "REDUCE", pop: 2, push: 1},
	0x81: {name: "NEWOBJ", pop: 2, push: 1},
	0x92: {name: "NEWOBJ_EX", pop: 3, push: 1},
	'b':  {name: "BUILD", pop: 2, push: 1},
	'Q':  {name: "BINPERSID", pop: 1, push: 1},
	'q':  {name: "BINPUT", arg: argPut1, pop: 1, push: 1},
	'r':  {name: "LONG_BINPUT", arg: argPut4, pop: 1, push: 1},
	0x94: {name: "MEMOIZE", arg: argMemoize, pop: 1, push: 1},
	'h':  {name: "BINGET", arg: argGet1, push: 1},
	'j':  {name: "LONG_BINGET", arg: argGet4, push: 1},
}

// instead are operations that gopickle is given in the place of others: sets are lists, and keyword
// arguments are dropped, since nothing that is read here has any.
var instead = map[string]string{
	"EMPTY_SET": "]", "ADDITEMS": "e", "FROZENSET": "t", "NEWOBJ_EX": "0\x81",
	"BINUNICODE8": "N", "LONG4": "N", "SHORT_BINBYTES": "N", "BINBYTES": "N", "BINBYTES8": "N", "BYTEARRAY8": "N",
	"FRAME": "",
}

// A text is a string on the stack, if it is known.
type text struct {
	s     string
	known bool
}

// A scanner reads a pickle without building anything, and writes it again with what leads to tensors and no more:
// that is for gopickle. It remembers how high the stack is, which two strings are on top, and what the
// memo has.
type scanner struct {
	r     *bufio.Reader
	at    int64 // bytes read
	out   []byte
	ops   int  // in out
	proto bool // said
	depth int  // of the stack above the topmost mark
	marks []mark
	memo  map[uint32]text
	frame int64   // where the current frame ends
	top   [2]text // of the stack, the topmost last

	globals []any // what GLOBAL in out names by number
	classes map[string]int
}

// A mark is one on the stack.
type mark struct {
	depth   int  // of the stack below
	out     int  // how much was written before it
	ops     int  //
	numbers bool // there is nothing above it but numbers
}

// scanPickle checks that the pickle at the beginning of r can be given to gopickle, but for what is skipped: only
// permitted operations, nothing longer than it claims or than the limits, no operation without its operands. It
// returns what is left of the pickle, and its length.
func scanPickle(r io.Reader) (s *scanner, err error) {
	s = &scanner{r: bufio.NewReader(io.LimitReader(r, maxPickle)), memo: map[uint32]text{}, classes: map[string]int{}}
	for {
		start := s.at
		code, err := s.next(1)
		if err != nil {
			return nil, err
		}
		op, ok := operations[code[0]]
		if !ok && !s.proto {
			return nil, fmt.Errorf("pickle: operation 0x%02x at byte %d is not permitted: protocol 0 or 1, want 2 to 5", code[0], start)
		}
		s.proto = s.proto || op.name == "PROTO"
		if !ok {
			return nil, fmt.Errorf("pickle: operation 0x%02x at byte %d is not permitted", code[0], start)
		}
		if s.ops++; s.ops > maxOps {
			return nil, fmt.Errorf("pickle: more than %d operations", maxOps)
		}
		before, top := len(s.out), s.top
		s.out = append(s.out, code[0])
		s.top = [2]text{}
		if err := s.argument(op.arg, top); err != nil {
			return nil, fmt.Errorf("pickle: %s at byte %d: %w", op.name, start, err)
		}
		if op.name == "MARK" {
			if len(s.marks) == maxMarks {
				return nil, fmt.Errorf("pickle: more than %d nested marks", maxMarks)
			}
			s.marks = append(s.marks, mark{s.depth, before, s.ops - 1, true})
			s.depth = 0
			continue
		}
		if by, ok := instead[op.name]; ok {
			s.out = append(s.out[:before], by...)
		}
		n := len(s.marks)
		if op.mark {
			if n == 0 {
				return nil, fmt.Errorf("pickle: %s at byte %d without a mark", op.name, start)
			}
			if op.name == "SETITEMS" && s.depth%2 != 0 {
				return nil, fmt.Errorf("pickle: SETITEMS at byte %d of %d keys and values", start, s.depth)
			}
			m := s.marks[n-1]
			if m.numbers && op.pop > 0 { // items that nobody asks for
				s.out, s.ops = s.out[:m.out], m.ops
			}
			s.depth, s.marks = m.depth, s.marks[:n-1]
			n--
		}
		if n > 0 && !op.number {
			s.marks[n-1].numbers = false
		}
		if s.depth < op.pop {
			return nil, fmt.Errorf("pickle: %s at byte %d takes %d from a stack of %d", op.name, start, op.pop, s.depth)
		}
		s.depth += op.push - op.pop
		switch op.name {
		case "STACK_GLOBAL":
			if !top[0].known || !top[1].known {
				return nil, fmt.Errorf("pickle: STACK_GLOBAL at byte %d of what are no strings, or too long ones", start)
			}
			s.out = append(s.out[:before], "00"...)
			s.global(top[0].s, top[1].s)
		case "EXT1", "EXT2", "EXT4":
			s.out = s.out[:before]
			s.global("copyreg", "extension")
		case "STOP":
			if s.depth != 0 || n != 0 {
				return nil, fmt.Errorf("pickle: STOP at byte %d leaves %d values and %d marks", start, s.depth, n)
			}
			return s, nil
		}
	}
}

// global writes what pushes a global.
func (s *scanner) global(module, name string) {
	key := module + "\n" + name
	i, ok := s.classes[key]
	if !ok {
		i = len(s.globals)
		s.classes[key] = i
		s.globals = append(s.globals, findGlobal(module, name))
	}
	s.out = fmt.Appendf(s.out, "c\n%d\n", i)
}

// next returns the next n bytes, n at most the size of the buffer; they are valid until the next call.
func (s *scanner) next(n int) ([]byte, error) {
	b, err := s.r.Peek(n)
	if err != nil {
		return nil, fmt.Errorf("pickle: ends at byte %d: %w", s.at+int64(len(b)), cmpErr(err, io.ErrUnexpectedEOF))
	}
	_, _ = s.r.Discard(n) // they have been peeked at
	s.at += int64(n)
	return b, nil
}

// skip moves over n bytes.
func (s *scanner) skip(n uint64) error {
	if n > maxPickle {
		return fmt.Errorf("claims %d bytes, want at most %d", n, maxPickle)
	}
	d, err := s.r.Discard(int(n))
	s.at += int64(d)
	if err != nil {
		return fmt.Errorf("claims %d bytes, has %d", n, d)
	}
	return nil
}

// copy moves over n bytes, which are at most maxString, and writes them.
func (s *scanner) copy(n uint64) error {
	at := len(s.out)
	s.out = append(s.out, make([]byte, n)...)
	d, err := io.ReadFull(s.r, s.out[at:])
	s.at += int64(d)
	if err != nil {
		return fmt.Errorf("claims %d bytes, has %d", n, d)
	}
	return nil
}

func (s *scanner) line() (string, error) {
	b, err := s.r.ReadSlice('\n')
	s.at += int64(len(b))
	if err != nil || len(b) > maxLine {
		return "", fmt.Errorf("no line of at most %d bytes", maxLine)
	}
	return string(b[:len(b)-1]), nil
}

// widths are the bytes of arguments, or of the lengths in front of them.
var widths = map[argument]int{
	arg1: 1, arg2: 2, arg4: 4, arg8: 8, argString1: 1, argString4: 4, argString8: 8, argBytes1: 1, argBytes4: 4, argBytes8: 8,
	argLong1: 1, argLong4: 4, argPut1: 1, argPut4: 4, argGet1: 1, argGet4: 4, argFrame: 8,
}

// argument reads and checks what follows an operation, and writes it. The strings on top of the stack were top.
func (s *scanner) argument(arg argument, top [2]text) error {
	code := len(s.out) - 1
	width := widths[arg]
	b, err := s.next(width)
	if err != nil {
		return err
	}
	s.out = append(s.out, b...)
	var wide [8]byte
	copy(wide[:], b)
	v := binary.LittleEndian.Uint64(wide[:])
	push := func(t text) { s.top = [2]text{top[1], t} }
	switch arg {
	case argString1, argString4, argString8:
		if v > maxString || arg == argString8 {
			s.out = append(s.out[:code], 'N') // no name of a tensor
			push(text{})
			return s.skip(v)
		}
		at := len(s.out)
		if err := s.copy(v); err != nil {
			return err
		}
		t := text{}
		if v <= maxLine {
			t = text{string(s.out[at:]), true}
		}
		push(t)
	case argBytes1, argBytes4, argBytes8:
		return s.skip(v)
	case argLong1, argLong4:
		switch {
		case arg == argLong4 || v > min(maxLong, strconv.IntSize/8):
			s.out = append(s.out[:code], 'N') // no size of anything
		case v == 0:
			s.out = append(s.out[:code], "K\x00"...)
		default:
			return s.copy(v)
		}
		return s.skip(v)
	case argGlobal:
		module, err := s.line()
		if err != nil {
			return err
		}
		name, err := s.line()
		if err != nil {
			return err
		}
		s.out = s.out[:code]
		s.global(module, name)
	case argPut1, argPut4:
		s.memo[uint32(v)] = top[1]
		s.top = top
	case argMemoize:
		s.memo[uint32(len(s.memo))] = top[1]
		s.top = top
	case argGet1, argGet4:
		t, ok := s.memo[uint32(v)]
		if !ok {
			return fmt.Errorf("memo has no %d", v)
		}
		push(t)
	case argFrame:
		if s.at < s.frame || v > maxPickle {
			return fmt.Errorf("frame of %d bytes within another or too long", v)
		}
		s.frame = s.at + int64(v)
		s.top = top
	}
	return nil
}

// run builds what a scanned pickle describes.
func (s *scanner) run(persistent func(any) (any, error)) (any, error) {
	u := pickle.NewUnpickler(bytes.NewReader(s.out))
	u.FindClass = func(_, number string) (any, error) {
		i, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		return s.globals[i], nil
	}
	u.PersistentLoad = persistent
	v, err := u.Load()
	if err != nil {
		return nil, fmt.Errorf("pickle: %s", short(err))
	}
	return v, nil
}

// unpickle scans and runs one pickle of at most maxPickle bytes, and returns its length as well.
func unpickle(r io.ReaderAt, off, size int64, persistent func(any) (any, error)) (any, int64, error) {
	s, err := scanPickle(io.NewSectionReader(r, off, size-off))
	if err != nil {
		return nil, 0, err
	}
	v, err := s.run(persistent)
	return v, s.at, err
}

// short returns an error's text, cut to a length that a person reads: gopickle's errors may
// print the whole of a value.
func short(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	if r := []rune(text); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return text
}
