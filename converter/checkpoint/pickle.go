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
// bytes of memory for an operation, so that these limits keep it below 80 MB whatever it is given.
const (
	maxPickle = 16 << 20 // bytes
	maxOps    = 1 << 18
	maxMarks  = 64      // nested; a tensor stands at most 10 deep in a module
	maxString = 1 << 20 // bytes
	maxLine   = 1 << 10 // bytes of a global's module or name
	maxLong   = 8       // bytes of an integer
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
	argLong1            // length in 1 byte, then an integer
	argGlobal           // two lines
	argPut1             // index into the memo
	argPut4             //
	argGet1             //
	argGet4             //
	argMemoize          // nothing; the index is the size of the memo
	argFrame            // length in 8 bytes
)

// operations are those that torch's own picklers write (protocols 2 to 4), with their arguments
// and what they take from the stack and leave on it. All others, which make classes, instances,
// bytes, sets and big numbers, are refused.
//
// Sources: python/cpython, Lib/pickletools.py; pytorch/pytorch, torch/csrc/jit/serialization/pickler.cpp.
var operations = map[byte]struct {
	name      string
	arg       argument
	mark      bool // takes everything down to the topmost mark, then pop
	pop, push int
}{
	'(':  {name: "MARK"},
	'.':  {name: "STOP", pop: 1},
	0x80: {name: "PROTO", arg: arg1},
	0x95: {name: "FRAME", arg: argFrame},
	'N':  {name: "NONE", push: 1},
	0x88: {name: "NEWTRUE", push: 1},
	0x89: {name: "NEWFALSE", push: 1},
	'K':  {name: "BININT1", arg: arg1, push: 1},
	'M':  {name: "BININT2", arg: arg2, push: 1},
	'J':  {name: "BININT", arg: arg4, push: 1},
	0x8a: {name: "LONG1", arg: argLong1, push: 1},
	'G':  {name: "BINFLOAT", arg: arg8, push: 1},
	'U':  {name: "SHORT_BINSTRING", arg: argString1, push: 1},
	'T':  {name: "BINSTRING", arg: argString4, push: 1},
	'X':  {name: "BINUNICODE", arg: argString4, push: 1},
	0x8c: {name: "SHORT_BINUNICODE", arg: argString1, push: 1},
	'c':  {name: "GLOBAL", arg: argGlobal, push: 1},
	0x93: {name: "STACK_GLOBAL", pop: 2, push: 1},
	')':  {name: "EMPTY_TUPLE", push: 1},
	']':  {name: "EMPTY_LIST", push: 1},
	'}':  {name: "EMPTY_DICT", push: 1},
	't':  {name: "TUPLE", mark: true, push: 1},
	0x85: {name: "TUPLE1", pop: 1, push: 1},
	0x86: {name: "TUPLE2", pop: 2, push: 1},
	0x87: {name: "TUPLE3", pop: 3, push: 1},
	'a':  {name: "APPEND", pop: 2, push: 1},
	'e':  {name: "APPENDS", mark: true, pop: 1, push: 1},
	's':  {name: "SETITEM", pop: 3, push: 1},
	'u':  {name: "SETITEMS", mark: true, pop: 1, push: 1},
	'R':  {name: "REDUCE", pop: 2, push: 1},
	0x81: {name: "NEWOBJ", pop: 2, push: 1},
	'b':  {name: "BUILD", pop: 2, push: 1},
	'Q':  {name: "BINPERSID", pop: 1, push: 1},
	'q':  {name: "BINPUT", arg: argPut1, pop: 1, push: 1},
	'r':  {name: "LONG_BINPUT", arg: argPut4, pop: 1, push: 1},
	0x94: {name: "MEMOIZE", arg: argMemoize, pop: 1, push: 1},
	'h':  {name: "BINGET", arg: argGet1, push: 1},
	'j':  {name: "LONG_BINGET", arg: argGet4, push: 1},
}

// A scanner reads a pickle without building anything, and remembers only how high the stack is
// and what the memo has.
type scanner struct {
	r     *bufio.Reader
	at    int64 // bytes read
	ops   int
	depth int   // of the stack above the topmost mark
	marks []int // depths below
	memo  map[uint32]bool
	frame int64 // where the current frame ends
}

// scanPickle checks that the pickle at the beginning of r can be given to gopickle: only permitted
// operations and globals, nothing longer than it claims or than the limits, no operation without
// its operands. It returns the length of the pickle.
func scanPickle(r io.Reader) (int64, error) {
	s := &scanner{r: bufio.NewReader(io.LimitReader(r, maxPickle)), memo: map[uint32]bool{}}
	for {
		start := s.at
		code, err := s.next(1)
		if err != nil {
			return 0, err
		}
		op, ok := operations[code[0]]
		if !ok {
			return 0, fmt.Errorf("pickle: operation 0x%02x at byte %d is not permitted", code[0], start)
		}
		if s.ops++; s.ops > maxOps {
			return 0, fmt.Errorf("pickle: more than %d operations", maxOps)
		}
		if err := s.argument(op.arg); err != nil {
			return 0, fmt.Errorf("pickle: %s at byte %d: %w", op.name, start, err)
		}
		if op.name == "MARK" {
			if len(s.marks) == maxMarks {
				return 0, fmt.Errorf("pickle: more than %d nested marks", maxMarks)
			}
			s.marks = append(s.marks, s.depth)
			s.depth = 0
			continue
		}
		if op.mark {
			n := len(s.marks)
			if n == 0 {
				return 0, fmt.Errorf("pickle: %s at byte %d without a mark", op.name, start)
			}
			if op.name == "SETITEMS" && s.depth%2 != 0 {
				return 0, fmt.Errorf("pickle: SETITEMS at byte %d of %d keys and values", start, s.depth)
			}
			s.depth, s.marks = s.marks[n-1], s.marks[:n-1]
		}
		if s.depth < op.pop {
			return 0, fmt.Errorf("pickle: %s at byte %d takes %d from a stack of %d", op.name, start, op.pop, s.depth)
		}
		s.depth += op.push - op.pop
		if op.name == "STOP" {
			if s.depth != 0 || len(s.marks) != 0 {
				return 0, fmt.Errorf("pickle: STOP at byte %d leaves %d values and %d marks", start, s.depth, len(s.marks))
			}
			return s.at, nil
		}
	}
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

func (s *scanner) skip(n uint32) error {
	d, err := s.r.Discard(int(n))
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

// argument reads and checks what follows an operation.
func (s *scanner) argument(arg argument) error {
	width := map[argument]int{
		arg1: 1, arg2: 2, arg4: 4, arg8: 8, argString1: 1, argString4: 4, argLong1: 1,
		argPut1: 1, argPut4: 4, argGet1: 1, argGet4: 4, argFrame: 8,
	}[arg]
	b, err := s.next(width)
	if err != nil {
		return err
	}
	var v uint32
	switch width {
	case 1:
		v = uint32(b[0])
	case 4:
		v = binary.LittleEndian.Uint32(b)
	}
	switch arg {
	case argString1, argString4:
		if v > maxString {
			return fmt.Errorf("string of %d bytes, want at most %d", v, maxString)
		}
		return s.skip(v)
	case argLong1:
		if v < 1 || v > maxLong {
			return fmt.Errorf("integer of %d bytes, want 1 to %d", v, maxLong)
		}
		if v > strconv.IntSize/8 && v <= 8 { // gopickle would cut it off
			return fmt.Errorf("integer of %d bytes, want at most %d on this system", v, strconv.IntSize/8)
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
		_, err = findGlobal(module, name)
		return err
	case argPut1, argPut4:
		s.memo[v] = true
	case argMemoize:
		s.memo[uint32(len(s.memo))] = true
	case argGet1, argGet4:
		if !s.memo[v] {
			return fmt.Errorf("memo has no %d", v)
		}
	case argFrame:
		n := binary.LittleEndian.Uint64(b)
		if s.at < s.frame || n > maxPickle {
			return fmt.Errorf("frame of %d bytes within another or too long", n)
		}
		s.frame = s.at + int64(n)
	}
	return nil
}

// unpickle checks and runs one pickle of at most maxPickle bytes, and returns its length as well.
func unpickle(r io.ReaderAt, off, size int64, persistent func(any) (any, error)) (any, int64, error) {
	n, err := scanPickle(io.NewSectionReader(r, off, size-off))
	if err != nil {
		return nil, 0, err
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, off, n), buf); err != nil {
		return nil, 0, err
	}
	u := pickle.NewUnpickler(bytes.NewReader(buf))
	u.FindClass = findGlobal
	u.PersistentLoad = persistent
	v, err := u.Load()
	if err != nil {
		return nil, 0, fmt.Errorf("pickle: %s", short(err))
	}
	return v, n, nil
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
