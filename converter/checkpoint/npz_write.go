package checkpoint

import (
	"archive/zip"
	"bufio"
	"cmp"
	"fmt"
	"io"
	"unicode/utf8"
)

// npyExtension is what the names of arrays end with in an archive.
const npyExtension = ".npy"

// An NPZWriter writes arrays as numpy.savez does: a zip archive with a file of NumPy's format for every array.
// They are stored, not compressed, since weights hardly shrink; an archive may have more than 4 GB.
//
// Source: numpy/numpy, numpy/lib/_npyio_impl.py, _savez.
type NPZWriter struct {
	out  *bufio.Writer
	z    *zip.Writer
	last Entry
	n    *counter // bytes of last; nil before the first
}

// NewNPZWriter returns a writer of an archive. Only [NPZWriter.Close] completes it.
func NewNPZWriter(w io.Writer) *NPZWriter {
	out := bufio.NewWriterSize(w, writeBuffer)
	return &NPZWriter{out: out, z: zip.NewWriter(out)}
}

// Create begins an array, whose elements are written to the writer that it returns before the next one begins:
// little endian, in row-major order. Names are to differ, which is not checked.
func (z *NPZWriter) Create(e Entry) (io.Writer, error) {
	if npyTypes[e.DType] == "" {
		return nil, fmt.Errorf("checkpoint: npz: %s: elements are %s, which NumPy does not have", e.Name, e.DType)
	}
	if err := cmp.Or(e.check(), z.complete()); err != nil {
		return nil, fmt.Errorf("checkpoint: npz: %w", err)
	}
	if !utf8.ValidString(e.Name) { // Python would take it for CP437
		return nil, fmt.Errorf("checkpoint: npz: the name %q is not UTF-8", e.Name)
	}
	w, err := z.z.CreateHeader(&zip.FileHeader{Name: e.Name + npyExtension, Method: zip.Store})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(NPYHeader(e.DType, e.Shape)); err != nil {
		return nil, err
	}
	z.last, z.n = e, &counter{w: w}
	return z.n, nil
}

// complete returns an error if the last array has another length than was announced.
func (z *NPZWriter) complete() error {
	if z.n != nil && z.n.n != z.last.Bytes() {
		return fmt.Errorf("%s: %d bytes written, want %d", z.last.Name, z.n.n, z.last.Bytes())
	}
	return nil
}

// Close completes the archive.
func (z *NPZWriter) Close() error {
	if err := z.complete(); err != nil {
		return fmt.Errorf("checkpoint: npz: %w", err)
	}
	if err := z.z.Close(); err != nil {
		return err
	}
	return z.out.Flush()
}

// WriteNPZ writes an archive of arrays by an [NPZWriter].
func WriteNPZ(w io.Writer, entries []Entry, emit Emit) error {
	if err := checkEntries(entries); err != nil {
		return fmt.Errorf("checkpoint: npz: %w", err)
	}
	z := NewNPZWriter(w)
	for i, e := range entries {
		out, err := z.Create(e)
		if err != nil {
			return err
		}
		if err := emit(i, out); err != nil {
			return err
		}
	}
	return z.Close()
}
