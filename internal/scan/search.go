package scan

import (
	"context"
	"errors"
	"math"
	"sync/atomic"

	"github.com/vitago/vitago/internal/kernel"
)

// Options are choices of [Matrix.Search]. The zero value finds nothing: K has to be positive.
type Options struct {
	K     int           // how many rows for each vector
	Least float64       // of a product, if HasLeast is set
	Has   bool          // Least counts
	Only  Set           // of rows; nil is all of them
	Codes bool          // of few vectors, reads 8 bits first, and halves only of what may be among the best; all shards must have codes
	Count *atomic.Int64 // how many products in float64 were needed, if it is not nil
}

// A Set is a set of rows: bit r%64 of word r/64.
type Set []uint64

// NewSet returns an empty set of so many rows.
func NewSet(rows int) Set { return make(Set, (rows+63)/64) }

// Add adds a row.
func (s Set) Add(row int) { s[row/64] |= 1 << (row % 64) }

// Remove removes a row.
func (s Set) Remove(row int) { s[row/64] &^= 1 << (row % 64) }

// Has reports whether a row is in it; all are in nil.
func (s Set) Has(row int) bool { return s == nil || s[row/64]>>(row%64)&1 == 1 }

// few is how many vectors are multiplied one by one with rows that lie in the cache. More go together, in panels.
const few = 8

// Search returns for each vector the K rows with the largest products, the best first, and of equal ones that with the
// smaller number. It panics if a vector has another width. Vectors must be finite. Errors are the cause of ctx, and
// [DamagedError].
func (m *Matrix) Search(ctx context.Context, vectors [][]float32, o Options) ([][]Hit, error) {
	if o.K < 1 {
		panic("scan: K is not positive")
	}
	for _, v := range vectors {
		if len(v) != m.width {
			panic("scan: a vector has another width")
		}
	}
	hits := make([][]Hit, len(vectors))
	const together = 128                     // vectors, whose panels stay in the cache
	o.Codes = o.Codes && len(vectors) <= few // in panels, halves are as fast
	for from := 0; from < len(vectors); from += together {
		to := min(len(vectors), from+together)
		s := search{m: m, o: o, vectors: vectors[from:to]}
		if err := s.run(ctx); err != nil {
			return nil, err
		}
		for i := range s.vectors {
			var of []*best
			for _, w := range s.workers {
				if w != nil {
					of = append(of, &w.best[i])
				}
			}
			hits[from+i] = merge(o.K, of)
		}
	}
	return hits, nil
}

// A search is one pass over the rows.
type search struct {
	m       *Matrix
	o       Options
	vectors [][]float32
	lengths []float64
	queries *kernel.Queries // of many vectors
	words   []words         // of vectors, if codes are read
	workers []*worker
	damaged atomic.Pointer[DamagedError]
}

// A worker has what one goroutine has found.
type worker struct {
	s        *search
	best     []best
	least    []float64 // by vector: what a product must have
	limits   []float32 // by vector: what a product in float32 must have, unless codes are read
	scores   []float32 // of a block
	sums     []int32
	products []float32 // [panels,rows,columns]
	peak     []float32
	counted  int64
}

func (s *search) run(ctx context.Context) error {
	type block struct {
		p        *part
		from, to int
	}
	var blocks []block
	for _, p := range s.m.shards {
		if !s.o.Codes {
			if _, _, err := p.lengths(s.m.width); err != nil {
				return err
			}
		}
		for from := 0; from < p.rows; from += blockRows {
			blocks = append(blocks, block{p, from, min(p.rows, from+blockRows)})
		}
	}
	for _, v := range s.vectors {
		s.lengths = append(s.lengths, length(v))
	}
	switch {
	case s.o.Codes:
		for _, v := range s.vectors {
			s.words = append(s.words, newWords(v))
		}
	case len(s.vectors) > few:
		flat := make([]float32, 0, len(s.vectors)*s.m.width)
		for _, v := range s.vectors {
			flat = append(flat, v...)
		}
		s.queries = kernel.PackQueries(flat, len(s.vectors), s.m.width)
	}
	s.workers = make([]*worker, workersOf(len(blocks)))
	err := each(ctx, len(s.workers), len(blocks), func(w, item int) {
		if s.workers[w] == nil {
			s.workers[w] = s.newWorker()
		}
		b := blocks[item]
		switch {
		case s.o.Codes:
			s.workers[w].codes(b.p, b.from, b.to)
		case s.queries != nil:
			s.workers[w].many(b.p, b.from, b.to)
		default:
			s.workers[w].few(b.p, b.from, b.to)
		}
	})
	for _, w := range s.workers {
		if w != nil && s.o.Count != nil {
			s.o.Count.Add(w.counted)
		}
	}
	if d := s.damaged.Load(); d != nil {
		return errors.Join(d)
	}
	return err
}

func (s *search) newWorker() *worker {
	w := &worker{s: s, best: make([]best, len(s.vectors)), least: make([]float64, len(s.vectors)), scores: make([]float32, blockRows), sums: make([]int32, blockRows), limits: make([]float32, len(s.vectors))}
	for i := range s.vectors {
		w.best[i].k = s.o.K
		w.least[i] = math.Inf(-1)
		if s.o.Has {
			w.least[i] = s.o.Least
		}
	}
	if q := s.queries; q != nil {
		rows, columns := q.Shape()
		w.products, w.peak = make([]float32, q.Panels()*rows*columns), make([]float32, columns)
	}
	return w
}

// consider computes a product in float64.
func (w *worker) consider(vector int, p *part, i int) {
	row := p.first + i
	if !w.s.o.Only.Has(row) {
		return
	}
	w.counted++
	width := w.s.m.width
	score := kernel.ExactDot(p.Halves[i*width:(i+1)*width], w.s.vectors[vector])
	if score-score != 0 {
		w.s.damaged.Store(&DamagedError{row})
		return
	}
	if score < w.least[vector] {
		return
	}
	if b := &w.best[vector]; b.add(Hit{row, score}) {
		w.least[vector] = max(w.least[vector], b.hits[0].Score)
		if !w.s.o.Codes { // for which nobody has measured p
			w.limit(vector, p)
		}
	}
}

// limit says what a product in float32 must have at least, so that the row may be among the best.
func (w *worker) limit(vector int, p *part) {
	w.limits[vector] = atMost(w.least[vector] - slack(w.s.m.width, w.s.lengths[vector], p.most))
}

// atMost returns the largest float32 that is not above x.
func atMost(x float64) float32 {
	f := float32(x)
	if float64(f) > x {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return f
}

// few multiplies rows with one vector after the other.
func (w *worker) few(p *part, from, to int) {
	width, step := w.s.m.width, blockRows
	if len(w.s.vectors) > 1 {
		step = cacheRows
	}
	for ; from < to; from += step {
		end := min(to, from+step)
		scores := w.scores[:end-from]
		for v, x := range w.s.vectors {
			kernel.DotHalves(scores, p.Halves[from*width:end*width], x)
			w.limit(v, p)
			for i, s := range scores {
				if s >= w.limits[v] {
					w.consider(v, p, from+i)
				}
			}
		}
	}
}

// many multiplies rows with panels of vectors.
func (w *worker) many(p *part, from, to int) {
	width, q := w.s.m.width, w.s.queries
	rows, columns := q.Shape()
	for v := range w.s.vectors {
		w.limit(v, p)
	}
	for ; from < to; from += rows {
		end := min(to, from+rows)
		next := min(to, end+rows)
		q.Dot(w.products, p.Halves[from*width:end*width], end-from, p.Halves[end*width:next*width])
		for panel := range q.Panels() {
			c := w.products[panel*rows*columns:][:(end-from)*columns]
			q.Max(w.peak, c)
			first := panel * columns
			for j, peak := range w.peak[:min(columns, len(w.s.vectors)-first)] {
				if peak < w.limits[first+j] {
					continue
				}
				for i := range end - from {
					if c[i*columns+j] >= w.limits[first+j] {
						w.consider(first+j, p, from+i)
					}
				}
			}
		}
	}
}
