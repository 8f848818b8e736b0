package search

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/vitago/vitago/converter/checkpoint"
)

// A shard is a part of the rows, whose files lie in mapped memory.
type shard struct {
	number      int       // in the names of its files
	first, rows int       // the index of its first row, and how many it has
	half        []uint16  // the vectors in float16, [rows,E]
	codes       []int8    // the same in 8 bits, [rows,E]
	scales      []float32 // of the codes of each row
	records     *metadata
	mapped      []mmap.MMap
}

// openShard opens the files of a shard.
func openShard(dir string, s shardOf, first, dim int) (_ *shard, err error) {
	x := &shard{number: s.Number, first: first, rows: s.Rows}
	defer func() {
		if err != nil {
			_ = x.close()
		}
	}()
	vectors, err := x.mapFile(dir, vectorsFile(s.Number), s.Vectors.Bytes)
	if err != nil {
		return nil, err
	}
	if x.half, err = readVectors(vectors, s.Rows, dim); err != nil {
		return nil, damaged(filepath.Join(dir, vectorsFile(s.Number)), "%w", err)
	}
	codes, err := x.mapFile(dir, codesFile(s.Number), s.Codes.Bytes)
	if err != nil {
		return nil, err
	}
	if x.scales, x.codes, err = readCodes(codes, s.Rows, dim); err != nil {
		return nil, damaged(filepath.Join(dir, codesFile(s.Number)), "%w", err)
	}
	records, err := x.mapFile(dir, metadataFile(s.Number), s.Metadata.Bytes)
	if err != nil {
		return nil, err
	}
	if x.records, err = checkedMetadata(records, s.Metadata, s.Rows); err != nil {
		return nil, damaged(filepath.Join(dir, metadataFile(s.Number)), "%w", err)
	}
	return x, nil
}

// mapFile maps a file of so many bytes into memory.
func (x *shard) mapFile(dir, name string, size int64) ([]byte, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(path, "is not there: %w", reason(err))
	}
	if err != nil {
		return nil, fmt.Errorf("search: %s: %w", path, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("search: %s: %w", path, reason(err))
	case !info.Mode().IsRegular():
		return nil, damaged(path, "is no file")
	case info.Size() != size || size < 1:
		return nil, damaged(path, "has %d bytes, want %d", info.Size(), size)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("search: %s: %w", path, err)
	}
	x.mapped = append(x.mapped, m)
	return m, nil
}

// checkedMetadata reads metadata in memory that have the sum that they should have: of others, the library of parquet may not come to an end.
// It takes 0.1 s for a million rows.
func checkedMetadata(b []byte, want fileOf, rows int) (*metadata, error) {
	if h := sha256.Sum256(b); hex.EncodeToString(h[:]) != want.SHA256 {
		return nil, fmt.Errorf("has the SHA-256 %.8x, want %.16s", h, want.SHA256)
	}
	return readMetadata(bytes.NewReader(b), int64(len(b)), rows)
}

// readVectors returns the rows of an npy of float16 [rows,dim], which lies in memory at a multiple of 2 bytes.
func readVectors(b []byte, rows, dim int) ([]uint16, error) {
	head := checkpoint.NPYHeader(checkpoint.F16, []int{rows, dim})
	switch want := len(head) + 2*rows*dim; {
	case len(b) != want:
		return nil, fmt.Errorf("has %d bytes, want %d of float16 [%d,%d]", len(b), want, rows, dim)
	case !bytes.HasPrefix(b, head):
		return nil, fmt.Errorf("begins with %.100q, want the head %q", b[:min(len(b), len(head))], bytes.TrimSpace(head))
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(&b[len(head)])), rows*dim), nil
}

// row returns the vector of a row, counted in the shard.
func (x *shard) row(i, dim int) []uint16 { return x.half[i*dim : (i+1)*dim : (i+1)*dim] }

// close lets go of the files.
func (x *shard) close() error {
	var errs []error
	for _, m := range x.mapped {
		errs = append(errs, m.Unmap())
	}
	*x = shard{}
	return errors.Join(errs...)
}
