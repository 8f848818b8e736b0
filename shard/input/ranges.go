package input

import (
	"errors"
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
	read   int64 // bytes
	asked  int   // requests
	err    error // of the store
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
