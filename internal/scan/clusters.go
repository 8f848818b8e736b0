package scan

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/vitago/vitago/internal/kernel"
)

// A Cluster is some rows, in order. Each has a cosine of at least the threshold to another one of them.
type Cluster struct {
	Rows    []int
	Cosines []float64 // to the first row
}

// Clusters returns the rows that hang together by pairs whose cosine, in float64 of the rows as they are stored, is at least
// that: two rows or more each, ordered by their first. It compares all pairs of the rows in a set, nil for all, in blocks; beside
// these it holds one number for each row. progress is told how many rows have been compared with all behind them; nil is fine. It
// panics if least is not above 0. Errors are those of [Matrix.Search].
func (m *Matrix) Clusters(ctx context.Context, least float64, only Set, progress func(rows int)) ([]Cluster, error) {
	if !(least > 0) {
		panic("scan: least is not above 0")
	}
	shortest, longest := math.Inf(1), 0.0
	for _, p := range m.shards {
		low, high, err := p.lengths(m.width)
		if err != nil {
			return nil, err
		}
		shortest, longest = min(shortest, low), max(longest, high)
	}
	u := &union{parent: make([]int, m.rows)}
	for i := range u.parent {
		u.parent[i] = i
	}
	const panels = 4 // of vectors, which stay in the cache
	_, columns := kernel.PackQueries(nil, 0, m.width).Shape()
	limit := atMost(least*shortest*shortest - slack(m.width, longest, longest))
	wide := make([]float32, panels*columns*m.width)
	for from := 0; from < m.rows; from += panels * columns {
		to := min(m.rows, from+panels*columns)
		for i := from; i < to; i++ {
			kernel.WidenHalves(wide[(i-from)*m.width:][:m.width], m.half(i))
		}
		q := kernel.PackQueries(wide[:(to-from)*m.width], to-from, m.width)
		blocks := (m.rows - from + blockRows - 1) / blockRows
		err := each(ctx, workersOf(blocks), blocks, func(_, b int) {
			first := from + b*blockRows
			m.pairs(q, first, min(m.rows, first+blockRows), limit, func(j, row int) {
				j += from
				if j < row && only.Has(j) && only.Has(row) && !u.same(j, row) && m.cosine(j, row) >= least {
					u.join(j, row)
				}
			})
		})
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(to)
		}
	}
	return m.clusters(u), nil
}

// pairs calls f for the queries and rows whose product is not below a limit.
func (m *Matrix) pairs(q *kernel.Queries, from, to int, limit float32, f func(query, row int)) {
	rows, columns := q.Shape()
	products, peak := make([]float32, q.Panels()*rows*columns), make([]float32, columns)
	for from < to {
		p := m.of(from)
		end := min(to, from+rows, p.first+p.rows)
		q.Dot(products, p.Halves[(from-p.first)*m.width:(end-p.first)*m.width], end-from, nil)
		for panel := range q.Panels() {
			c := products[panel*rows*columns:][:(end-from)*columns]
			q.Max(peak, c)
			for j, most := range peak[:min(columns, q.Len()-panel*columns)] {
				if most < limit {
					continue
				}
				for i := range end - from {
					if c[i*columns+j] >= limit {
						f(panel*columns+j, from+i)
					}
				}
			}
		}
		from = end
	}
}

// of returns the shard of a row.
func (m *Matrix) of(row int) *part {
	i, _ := slices.BinarySearchFunc(m.shards, row, func(p *part, row int) int { return cmp.Compare(p.first+p.rows, row+1) })
	return m.shards[i]
}

// half returns a row.
func (m *Matrix) half(row int) []uint16 {
	p := m.of(row)
	return p.Halves[(row-p.first)*m.width:][:m.width]
}

// cosine returns that of two rows, in float64: exactly 1 of equal ones, and -1 if one has no length.
func (m *Matrix) cosine(a, b int) float64 {
	x, y := kernel.Get(m.width), kernel.Get(m.width)
	defer kernel.Put(x)
	defer kernel.Put(y)
	kernel.WidenHalves(x, m.half(a))
	kernel.WidenHalves(y, m.half(b))
	squares := kernel.ExactDot(m.half(a), x) * kernel.ExactDot(m.half(b), y)
	if squares == 0 {
		return -1
	}
	return kernel.ExactDot(m.half(a), y) / math.Sqrt(squares)
}

// clusters returns the sets of more than one row.
func (m *Matrix) clusters(u *union) []Cluster {
	sizes := map[int]int{}
	for i := range u.parent {
		if root := u.find(i); root != i {
			sizes[root]++
		}
	}
	at, all := map[int]int{}, []Cluster(nil)
	for i := range u.parent {
		root := u.find(i)
		if sizes[root] == 0 {
			continue
		}
		n, known := at[root]
		if !known {
			n = len(all)
			at[root], all = n, append(all, Cluster{})
		}
		c := &all[n]
		c.Rows = append(c.Rows, i)
		c.Cosines = append(c.Cosines, m.cosine(c.Rows[0], i))
	}
	return all
}

// A union says which rows hang together.
// Source: R. Tarjan, Efficiency of a good but not linear set union algorithm, 1975; with halving of paths.
type union struct {
	sync.Mutex
	parent []int
}

func (u *union) find(i int) int {
	for u.parent[i] != i {
		u.parent[i] = u.parent[u.parent[i]]
		i = u.parent[i]
	}
	return i
}

func (u *union) same(a, b int) bool {
	u.Lock()
	defer u.Unlock()
	return u.find(a) == u.find(b)
}

func (u *union) join(a, b int) {
	u.Lock()
	defer u.Unlock()
	a, b = u.find(a), u.find(b)
	u.parent[max(a, b)] = min(a, b)
}
