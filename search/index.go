package search

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"sync"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/scan"
)

// An Index is a snapshot of an index on disk, for reading. Many goroutines may use it at once. What is committed after
// [Open] is seen by who opens it again.
type Index struct {
	dir     string
	about   *manifest
	shards  []*shard
	changes changes

	scan    sync.Once
	vectors *scan.Matrix // made by scan

	using  sync.RWMutex // held by who reads mapped memory, until he is done
	closed bool
}

// Open opens an index. Vectors are mapped into memory, and read when they are used. Errors are [ErrNoIndex], [ErrDamaged] and
// those of the file system; sizes and heads of all files are checked, and the sums of vectors by [Index.Verify].
func Open(dir string) (*Index, error) {
	const most = 10 // commits while it is opened
	for range most {
		about, err := readManifest(dir)
		if err != nil {
			return nil, err
		}
		x, err := open(dir, about)
		if err == nil {
			return x, nil
		}
		// Whoever has compacted it meanwhile has removed files that the manifest named.
		if now, e := readManifest(dir); e != nil || now.Generation == about.Generation {
			return nil, err
		}
	}
	return nil, fmt.Errorf("search: %s: changed %d times while it was opened", dir, most)
}

func open(dir string, about *manifest) (_ *Index, err error) {
	x := &Index{dir: dir, about: about}
	defer func() {
		if err != nil {
			_ = x.Close()
		}
	}()
	if x.changes, err = readChanges(dir, about); err != nil {
		return nil, err
	}
	first := 0
	for _, s := range about.Shards {
		opened, err := openShard(dir, s, first, about.Space.Dim)
		if err != nil {
			return nil, err
		}
		x.shards = append(x.shards, opened)
		first += s.Rows
	}
	return x, nil
}

// Close waits for searches that are not done, and lets go of the files. What [Index.Half] has returned must not be used any more,
// and no loop over [Index.Records] may be going on. Searches from then on return an [os.ErrClosed].
func (x *Index) Close() error {
	x.using.Lock()
	defer x.using.Unlock()
	x.closed = true
	var errs []error
	for _, s := range x.shards {
		errs = append(errs, s.close())
	}
	x.shards = nil
	return errors.Join(errs...)
}

// Current reports whether the index on disk is the one that was opened, so that opening it again would show nothing new. It reads the
// manifest. Errors are those of [Open].
func (x *Index) Current() (bool, error) {
	now, err := readManifest(x.dir)
	return err == nil && reflect.DeepEqual(now, x.about), err
}

// use keeps the files mapped until done is called. It returns an error if they are not any more.
func (x *Index) use() (done func(), err error) {
	x.using.RLock()
	if x.closed {
		x.using.RUnlock()
		return nil, fmt.Errorf("search: %s: %w", x.dir, os.ErrClosed)
	}
	return x.using.RUnlock, nil
}

// Path returns the folder of the index.
func (x *Index) Path() string { return x.dir }

// Len returns how many rows there are, with those that are deleted.
func (x *Index) Len() int { return x.about.rows() }

// Live returns how many rows are not deleted.
func (x *Index) Live() int { return x.Len() - x.changes.dead }

// Dim returns how many values a vector has.
func (x *Index) Dim() int { return x.about.Space.Dim }

// Space returns the space of the vectors.
func (x *Index) Space() clip.Space { return x.about.Space }

// Model returns where the model was when the index was written, "" if nobody knows.
func (x *Index) Model() string { return x.about.Model }

// Columns returns the names of the user's columns, sorted.
func (x *Index) Columns() []string { return slices.Clone(x.about.Columns) }

// Dead reports whether a row is deleted.
func (x *Index) Dead(row int) bool { return x.changes.isDead(row) }

// of returns the shard of a row, and the row's index in it. It panics for a row that there is not.
func (x *Index) of(row int) (*shard, int) {
	if row < 0 || row >= x.Len() {
		panic(fmt.Sprintf("search: row %d of %d", row, x.Len()))
	}
	if len(x.shards) == 0 {
		panic("search: the index has been closed")
	}
	i, found := sort.Find(len(x.shards), func(i int) int { return cmp.Compare(row, x.shards[i].first) })
	if !found {
		i--
	}
	return x.shards[i], row - x.shards[i].first
}

// Half returns the vector [E] of a row in float16, in mapped memory that is not to be changed. It panics for a row that there
// is not.
func (x *Index) Half(row int) []uint16 {
	s, i := x.of(row)
	return s.row(i, x.Dim())
}

// Record returns what a row is of. It panics for a row that there is not.
func (x *Index) Record(row int) (Record, error) {
	var found Record
	done, err := x.use()
	if err != nil {
		return found, err
	}
	defer done()
	s, i := x.of(row)
	err = s.records.each(i, func(_ int, r *Record) bool { found = *r; return false })
	if err != nil {
		return found, x.unreadable(s, err)
	}
	x.changes.apply(row, &found)
	return found, nil
}

func (x *Index) unreadable(s *shard, err error) error {
	return damaged(filepath.Join(x.dir, metadataFile(s.number)), "%w", err)
}

// Records yields all rows that are not deleted, in order, with what they are of. An error ends it.
func (x *Index) Records() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		done, err := x.use()
		if err != nil {
			yield(Row{}, err)
			return
		}
		done() // not held: who loops may search meanwhile
		x.each(yield)
	}
}

// each is [Index.Records].
func (x *Index) each(yield func(Row, error) bool) {
	for _, s := range x.shards {
		more := true
		err := s.records.each(0, func(i int, r *Record) bool {
			row := s.first + i
			if x.Dead(row) {
				return true
			}
			x.changes.apply(row, r)
			more = yield(Row{row, *r}, nil)
			return more
		})
		if err != nil {
			yield(Row{}, x.unreadable(s, err))
			return
		}
		if !more {
			return
		}
	}
}

// A Row is a row with its index.
type Row struct {
	Index int // of the row in the index, from 0
	Record
}

// Sources returns where the pictures come from that [Update] has put into the index.
func (x *Index) Sources() []Source { return slices.Clone(x.about.Sources) }
