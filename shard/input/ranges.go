package input

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/vitago/vitago/shard/store"
)

// Ranges reads a parquet from a store. Who reads a column from its beginning to its end gets it by one request, whatever pieces are asked for,
// and columns are read by turns: each read goes on where one before it ended, or begins a request up to the end of the column's chunk.
type ranges struct {
	access *access
	store  store.Store
	info   store.Info
	ends   []int64 // of the chunks of columns, sorted; none yet while the footer is read
	open   []*piece
	tail   []byte // the end of the file, while the footer is read
	read   int64  // bytes
	asked  int    // requests
	err    error  // of the store
}

// A piece is a request: of the bytes from one offset, the next to be read, to another.
type piece struct {
	io.ReadCloser
	at, end int64
}

// maxPieces is how many requests may be open: one a column is wanted, and more when parts of columns are skipped.
const maxPieces = 64

func (r *ranges) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		if at < 0 || at >= r.info.Size {
			return n, io.EOF
		}
		if from := r.info.Size - int64(len(r.tail)); at >= from {
			n += copy(b[n:], r.tail[at-from:])
			continue
		}
		p, err := r.from(at, int64(len(b)-n))
		if err != nil {
			r.err = err
			return n, err
		}
		m, err := io.ReadFull(p, b[n:n+int(min(int64(len(b)-n), p.end-at))])
		n += m
		p.at += int64(m)
		r.read += int64(m)
		if err != nil {
			r.drop(p)
			r.err = err
			return n, err
		}
		if p.at == p.end {
			r.drop(p)
		}
	}
	return n, nil
}

// A parquet ends with the length of its footer and a word. Source: apache/parquet-format, README.md, "File format".
const (
	magic    = "PAR1"
	tailSize = 4 + len(magic)
)

// readTail reads so many bytes at the end of the file, by which the footer is read, and finds what it claims to be larger than the file.
func (r *ranges) readTail(size int64) error {
	tail := make([]byte, min(size, r.info.Size))
	if len(tail) < len(magic)+tailSize {
		return fmt.Errorf("%d bytes, want a parquet", len(tail))
	}
	if _, err := r.ReadAt(tail, r.info.Size-int64(len(tail))); err != nil {
		return err
	}
	r.tail = tail
	end := tail[len(tail)-tailSize:]
	if string(end[4:]) != magic {
		return fmt.Errorf("ends with %q, want %q, a parquet", end[4:], magic)
	}
	if n := int64(binary.LittleEndian.Uint32(end)); n > r.info.Size-int64(len(magic)+tailSize) {
		return fmt.Errorf("claims a footer of %d bytes, and has %d", n, r.info.Size)
	}
	return nil
}

// from returns a piece that begins at an offset.
func (r *ranges) from(at, least int64) (*piece, error) {
	for _, p := range r.open {
		if p.at == at {
			return p, nil
		}
	}
	end := min(at+least, r.info.Size)
	if i, _ := slices.BinarySearch(r.ends, at+1); i < len(r.ends) {
		end = r.ends[i]
	}
	f, err := r.store.Open(r.access.ctx, r.info.Name, at, end-at)
	if err != nil {
		return nil, err
	}
	r.asked++
	if err := store.Same(r.store, f.Info(), r.info); err != nil {
		f.Close()
		return nil, err
	}
	p := &piece{f, at, end}
	if len(r.open) >= maxPieces {
		r.drop(r.open[0])
	}
	r.open = append(r.open, p)
	return p, nil
}

func (r *ranges) drop(p *piece) {
	p.Close()
	r.open = slices.DeleteFunc(r.open, func(q *piece) bool { return q == p })
}

// close ends all requests.
func (r *ranges) close() {
	r.tail = nil
	for len(r.open) > 0 {
		r.drop(r.open[0])
	}
}

// because returns the error of the store, if it had one, or err as one of the content.
func (r *ranges) because(err error) error {
	switch {
	case err == nil:
		return nil
	case r.err != nil && !errors.Is(r.err, io.EOF):
		return gone(r.err)
	}
	return damaged(err)
}
