package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/scan"
)

// FindOptions are choices of [Index.Find]. The zero value finds the ten nearest of all rows.
type FindOptions struct {
	K      int      // how many rows at most; 0 is 10
	Least  *float64 // the cosine that a row must have, nil for any
	Filter Filter   // rows that may be found; the zero value is all
	Halves bool     // reads the vectors in float16 and not the codes first: of a single query it takes longer, and finds the same
}

// A Hit is a row that was found.
type Hit struct {
	Row
	Cosine float64 // to the query: the product with the vector as it is stored, in float64
}

const defaultK = 10

// Find returns the rows nearest to a query, a vector of any length: the best first, and of equal ones that with the smaller
// index. It looks at all rows, by all processors, and what it finds is exactly what products in float64 of all vectors as
// they are stored would find. Errors are [ErrQuery], [ErrFilter], [ErrDamaged], the cause of ctx, and those of a query
// with another number of values or with such that are no finite numbers.
func (x *Index) Find(ctx context.Context, query []float32, o FindOptions) ([]Hit, error) {
	all, err := x.FindAll(ctx, [][]float32{query}, o)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// FindAll is [Index.Find] of some queries, for which it reads the vectors once.
func (x *Index) FindAll(ctx context.Context, queries [][]float32, o FindOptions) ([][]Hit, error) {
	done, err := x.use()
	if err != nil {
		return nil, err
	}
	defer done()
	if o.K < 0 {
		return nil, fmt.Errorf("%w: %d rows are asked for, want 1 or more", ErrQuery, o.K)
	}
	if o.Least != nil && math.IsNaN(*o.Least) {
		return nil, fmt.Errorf("%w: the least cosine is NaN, want a number", ErrQuery)
	}
	if o.K == 0 {
		o.K = defaultK
	}
	units := make([][]float32, len(queries))
	for i, q := range queries {
		if len(q) != x.Dim() {
			return nil, fmt.Errorf("search: a query has %d values, want the %d of the vectors of %s: they are of different models", len(q), x.Dim(), x.dir)
		}
		if units[i], err = Combine(Term{q, 1}); err != nil {
			return nil, err
		}
	}
	only, err := x.chosen(&o.Filter)
	if err != nil {
		return nil, err
	}
	s := scan.Options{K: min(o.K, max(x.Len(), 1)), Only: only, Codes: !o.Halves}
	if o.Least != nil {
		s.Has, s.Least = true, *o.Least
	}
	found, err := x.matrix().Search(ctx, units, s)
	if err != nil {
		return nil, x.scanned(err)
	}
	var rows []int
	for _, hits := range found {
		for _, h := range hits {
			rows = append(rows, h.Row)
		}
	}
	records, err := x.records(rows)
	if err != nil {
		return nil, err
	}
	all := make([][]Hit, len(found))
	for i, hits := range found {
		for _, h := range hits {
			all[i] = append(all[i], Hit{Row{h.Row, records[h.Row]}, h.Score})
		}
	}
	return all, nil
}

// records returns what some rows are of, in any order. It goes through the metadata, but leaps over what is not wanted.
func (x *Index) records(rows []int) (map[int]Record, error) {
	rows = slices.Clone(rows)
	slices.Sort(rows)
	rows = slices.Compact(rows)
	all := make(map[int]Record, len(rows))
	const leap = 256 // rows that are faster read than leapt over
	for len(rows) > 0 {
		s, i := x.of(rows[0])
		err := s.records.each(i, func(i int, r *Record) bool {
			row := s.first + i
			if row == rows[0] {
				x.changes.apply(row, r)
				all[row], rows = *r, rows[1:]
			}
			return len(rows) > 0 && rows[0]-row <= leap
		})
		if err != nil {
			return nil, x.unreadable(s, err)
		}
	}
	return all, nil
}

// matrix returns the vectors, to be scanned.
func (x *Index) matrix() *scan.Matrix {
	x.scan.Do(func() {
		shards := make([]scan.Shard, len(x.shards))
		for i, s := range x.shards {
			shards[i] = scan.Shard{Halves: s.half, Codes: s.codes, Scales: s.scales}
		}
		x.vectors = scan.New(x.Dim(), shards)
	})
	return x.vectors
}

// scanned returns the error of a scan as one of the index.
func (x *Index) scanned(err error) error {
	if e := (*scan.DamagedError)(nil); errors.As(err, &e) {
		s, i := x.of(e.Row)
		return damaged(filepath.Join(x.dir, vectorsFile(s.number)), "row %d has a value that is no finite number", i)
	}
	return err
}

// Vector returns the vector [E] of a row in float32, which float16 is exactly. It panics for a row that there is not.
func (x *Index) Vector(row int) []float32 {
	v := make([]float32, x.Dim())
	kernel.WidenHalves(v, x.Half(row))
	return v
}

// ModelOptions returns the options by which [clip.Open] opens a model as the one was that made the index: the precision of its weights, and
// how pictures are prepared. Whether it is that model is for [Index.Check] to say.
func (x *Index) ModelOptions() (all []clip.Option) {
	s := x.about.Space
	switch s.Precision {
	case "bf16":
		all = append(all, clip.BF16())
	case "int8":
		all = append(all, clip.Int8())
	}
	if t, _, err := s.Transform(); err == nil { // of others, Check says how they differ
		all = append(all, clip.Checkpoint(converter.Prepared(t)))
	}
	return all
}

// Check returns nil if vectors of pictures in a space may be compared with those of the index, and a [SpaceError] if not. That of a
// model is [clip.Model.Space], which takes as long as hashing its weights.
func (x *Index) Check(s clip.Space) error {
	if s.Fingerprint() != x.about.Space.Fingerprint() {
		return &SpaceError{x.dir, x.about.Space, s}
	}
	return nil
}

// CheckText returns nil if vectors of texts in a space are those of the model that made the index, as far as both have a text
// tower, and an [ErrSpace] if not. [Index.Check] looks at pictures alone.
func (x *Index) CheckText(s clip.Space) error {
	if was := x.about.Space.Text; was != "" && s.Text != "" && was != s.Text {
		return fmt.Errorf("search: %s: %w: the text tower of its model, with the vocabulary, has the fingerprint %.16s, and that of the model %.16s", x.dir, ErrSpace, was, s.Text)
	}
	return nil
}

// A Cluster is some pictures that are alike, in the order of their rows.
type Cluster []Hit // with the cosine to the first

// DuplicatesOptions are choices of [Index.Duplicates].
type DuplicatesOptions struct {
	Filter   Filter                // rows that take part; the zero value is all
	Progress func(done, total int) // rows that have been compared with all behind them; nil is fine
}

// Duplicates returns the pictures that hang together by pairs whose cosine is at least that, above 0 and at most 1: two or more
// each, by their first row. It compares all pairs, in float64 where that decides, so that the time grows with the square of
// the rows; it holds a number for each row, and a block of vectors. Errors are those of [Index.Find].
func (x *Index) Duplicates(ctx context.Context, least float64, o DuplicatesOptions) ([]Cluster, error) {
	if !(least > 0 && least <= 1) {
		return nil, fmt.Errorf("%w: the cosine of duplicates is %v, want above 0 and at most 1", ErrQuery, least)
	}
	done, err := x.use()
	if err != nil {
		return nil, err
	}
	defer done()
	only, err := x.chosen(&o.Filter)
	if err != nil {
		return nil, err
	}
	progress := func(int) {}
	if o.Progress != nil {
		progress = func(rows int) { o.Progress(rows, x.Len()) }
	}
	found, err := x.matrix().Clusters(ctx, least, only, progress)
	if err != nil {
		return nil, x.scanned(err)
	}
	var rows []int
	for _, c := range found {
		rows = append(rows, c.Rows...)
	}
	records, err := x.records(rows)
	if err != nil {
		return nil, err
	}
	all := make([]Cluster, len(found))
	for i, c := range found {
		for j, row := range c.Rows {
			all[i] = append(all[i], Hit{Row{row, records[row]}, c.Cosines[j]})
		}
	}
	return all, nil
}
