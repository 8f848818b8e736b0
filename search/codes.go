package search

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/vitago/vitago/internal/scan"
)

// A file of codes has a head, a scale for each row in float32, and the rows in 8 bits with a sign, [n,E]. Each of the three
// begins at a multiple of 64 bytes. A value is about its code times the scale of its row.
const (
	codesMagic = "VITAGOQ8"
	codesAlign = 64
)

// codesLayout returns where scales and codes begin, and the size of the file.
func codesLayout(rows, dim int) (scales, codes, size int64) {
	up := func(n int64) int64 { return (n + codesAlign - 1) / codesAlign * codesAlign }
	scales = codesAlign
	codes = up(scales + 4*int64(rows))
	return scales, codes, codes + int64(rows)*int64(dim)
}

// codesHead returns the head.
func codesHead(rows, dim int) []byte {
	b := make([]byte, codesAlign)
	copy(b, codesMagic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(dim))
	binary.LittleEndian.PutUint64(b[16:], uint64(rows))
	return b
}

// writeCodes writes the codes of rows.
func writeCodes(w io.Writer, half []uint16, dim int) error {
	rows := len(half) / dim
	_, at, _ := codesLayout(rows, dim)
	scales := make([]byte, at-codesAlign)
	part := make([]int8, dim)
	for r := range rows { // twice, since the scales stand first
		binary.LittleEndian.PutUint32(scales[4*r:], math.Float32bits(scan.Quantise(part, half[r*dim:(r+1)*dim])))
	}
	if _, err := w.Write(append(codesHead(rows, dim), scales...)); err != nil {
		return err
	}
	for r := range rows {
		scan.Quantise(part, half[r*dim:(r+1)*dim])
		if _, err := w.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(part))), dim)); err != nil {
			return err
		}
	}
	return nil
}

// readCodes returns the scales and codes of a file in memory, which has to lie at a multiple of 4 bytes.
func readCodes(b []byte, rows, dim int) (scales []float32, codes []int8, err error) {
	from, at, size := codesLayout(rows, dim)
	switch {
	case int64(len(b)) != size:
		return nil, nil, fmt.Errorf("has %d bytes, want %d of %d codes of %d values", len(b), size, rows, dim)
	case !bytes.Equal(b[:codesAlign], codesHead(rows, dim)):
		return nil, nil, fmt.Errorf("begins with %.24q, want %q and %d codes of %d values", b, codesMagic, rows, dim)
	}
	scales = unsafe.Slice((*float32)(unsafe.Pointer(&b[from])), rows)
	return scales, unsafe.Slice((*int8)(unsafe.Pointer(&b[at])), rows*dim), nil
}
