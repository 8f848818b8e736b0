package checkpoint

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/vitago/vitago/internal/folder"
)

// Values is a named array in memory.
type Values struct {
	Name  string    // of the array
	Shape []int     // elements along each dimension; their product is len(Data)
	Data  []float32 // in row-major order
}

// emitValues returns the entries of arrays as float32, and what writes them.
func emitValues(all []Values) ([]Entry, Emit, error) {
	var entries []Entry
	for _, v := range all {
		e := Entry{v.Name, F32, v.Shape}
		if n := e.Len(); n != len(v.Data) {
			return nil, nil, fmt.Errorf("%s: %d values, want the %d of shape %v", v.Name, len(v.Data), n, v.Shape)
		}
		entries = append(entries, e)
	}
	buf := make([]byte, chunkSize)
	return entries, func(i int, w io.Writer) error { return writeFloats(w, all[i].Data, buf) }, nil
}

// writeFloats writes x as little-endian float32, a buffer at a time.
func writeFloats(w io.Writer, x []float32, buf []byte) error {
	for len(x) > 0 {
		n := min(len(x), len(buf)/4)
		for j, v := range x[:n] {
			binary.LittleEndian.PutUint32(buf[4*j:], math.Float32bits(v))
		}
		if _, err := w.Write(buf[:4*n]); err != nil {
			return err
		}
		x = x[n:]
	}
	return nil
}

// WriteTensors writes a safetensors file of float32, which [Open] and the Python library read. Metadata
// may be nil; "format": "pt", which transformers and peft ask for, is added. The file appears when it is
// complete and lies on the disk.
func WriteTensors(path string, metadata map[string]string, tensors []Values) error {
	meta := map[string]string{"format": "pt"}
	for k, v := range metadata {
		meta[k] = v
	}
	entries, emit, err := emitValues(tensors)
	if err == nil {
		err = checkEntries(entries)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return folder.Prefix("checkpoint", folder.WriteFile(path, func(f *os.File) error { return WriteSafetensors(f, meta, entries, emit) }))
}

// ReadTensors reads all tensors of a file, in its order, as float32. Integers among them are an error; see [Open] for
// who wants the others. No tensor gets more memory than the file holds elements for.
func ReadTensors(path string) ([]Values, error) {
	c, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all := make([]Values, len(c.tensors))
	for i, t := range c.tensors {
		all[i] = Values{t.Name, t.Shape, make([]float32, t.Len())}
		if err := t.Float32s(all[i].Data); err != nil {
			return nil, err
		}
	}
	return all, nil
}
