package search

import (
	"context"
	"iter"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
)

// A Store holds the vectors of an index elsewhere, such as in a database, for more rows than one machine searches, or beside
// what a program keeps there already. search/pgvector and search/milvus are two, modules of their own. Its rows are told apart by Record.Path.
type Store interface {
	// Space returns the space of its vectors, which never changes.
	Space() clip.Space
	// Put adds entries, each in the place of the row of the same path. n is how many rows were written, for which a store may leave
	// those that are as they were. What is there after an error is for the store to say; the same Put again makes it whole.
	Put(ctx context.Context, entries iter.Seq2[Entry, error]) (n int, err error)
	// Replace is Put, and takes away all rows of other paths. After an error nothing has changed.
	Replace(ctx context.Context, entries iter.Seq2[Entry, error]) (n int, err error)
	// Delete takes rows away, and returns how many there were.
	Delete(ctx context.Context, paths []string) (n int, err error)
	// Find returns the k rows nearest to a query [E] of any length but 0, the nearest first, as [Index.Find] does; whether these are
	// exactly the nearest is for the store to say. Hit.Index is -1.
	Find(ctx context.Context, query []float32, k int) ([]Hit, error)
}

// An Entry is a row on its way to a [Store].
type Entry struct {
	Record
	Half []uint16 // [E], in float16, of length 1
}

// Float32 returns the vector [E] of an entry.
func (e *Entry) Float32() []float32 {
	x := make([]float32, len(e.Half))
	kernel.WidenHalves(x, e.Half)
	return x
}

// CopyTo makes a store hold the rows of the index that are not deleted, and no others, and returns how many rows were written. A
// store of another space is a [SpaceError].
func (x *Index) CopyTo(ctx context.Context, s Store) (n int, err error) {
	if other := s.Space(); other.Fingerprint() != x.Space().Fingerprint() {
		return 0, &SpaceError{x.dir, x.Space(), other}
	}
	return s.Replace(ctx, func(yield func(Entry, error) bool) {
		for row, err := range x.Records() {
			e := Entry{Record: row.Record}
			if err == nil {
				e.Half = x.Half(row.Index)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	})
}
