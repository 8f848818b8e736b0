package checkpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
)

// npyTypes are NumPy's names of types of elements, little endian. bfloat16 has none.
//
// Source: numpy/numpy, numpy/lib/format.py, dtype_to_descr; doc/source/reference/arrays.interface.rst.
var npyTypes = map[DType]string{
	F16: "<f2", F32: "<f4", F64: "<f8", I64: "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
	"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}

const (
	npyMagic = "\x93NUMPY"
	// npyAlignment is what the offset of the elements is a multiple of, so that they can be mapped into memory.
	// Source: numpy/numpy, numpy/lib/format.py, ARRAY_ALIGN.
	npyAlignment = 64
)

// NPYHeader returns what stands in front of the elements in a file of NumPy's format: an array in row-major
// order. It panics for bfloat16, which NumPy does not have.
//
// Source: numpy/numpy, numpy/lib/format.py, "Format Version 1.0".
func NPYHeader(dtype DType, shape []int) []byte {
	descr := npyTypes[dtype]
	if descr == "" {
		panic(fmt.Sprintf("checkpoint: npy: elements are %s, for which NumPy has no name", dtype))
	}
	tuple := ""
	for i, d := range shape {
		if i > 0 {
			tuple += ", "
		}
		tuple += strconv.Itoa(d)
	}
	if len(shape) == 1 {
		tuple += "," // or Python would take it for a number
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	const prefix = len(npyMagic) + 4                                                  // with version and length
	size := (prefix + len(dict) + 1 + npyAlignment - 1) / npyAlignment * npyAlignment // with the newline
	header := binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(size-prefix))
	return fmt.Appendf(header, "%-*s\n", size-prefix-1, dict)
}

// WriteNPY writes one array as numpy.save does. Its name is not written.
func WriteNPY(w io.Writer, e Entry, emit Emit) error {
	if npyTypes[e.DType] == "" {
		return fmt.Errorf("checkpoint: npy: %s: elements are %s, which NumPy does not have", e.Name, e.DType)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("checkpoint: npy: %w", err)
	}
	out := bufio.NewWriterSize(w, writeBuffer)
	if _, err := out.Write(NPYHeader(e.DType, e.Shape)); err != nil {
		return err
	}
	if err := emit.each([]Entry{e}, out, nil); err != nil {
		return err
	}
	return out.Flush()
}
