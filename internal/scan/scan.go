// Package scan finds the rows of a matrix in half precision with the largest products with vectors, by looking at all of them.
//
// What it finds is exact. Products are first computed in float32, or from rows of 8 bits, whose errors have a bound that is
// known before. A row is passed over only if its product and that bound together are less than what was found already; every
// other row is computed once more in float64, and by that it is ranked. So the result is that of float64 over all rows as
// they are stored, ties by the row's number, on every processor and with any number of threads.
package scan

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/vitago/vitago/internal/kernel"
)

// A Shard is a part of the rows. Its memory may be that of a file, and is not changed.
type Shard struct {
	Halves []uint16  // [n,width]
	Codes  []int8    // [n,width] or nil: about Halves, each code times the scale of its row, the error at most half of that: as of [Quantise]
	Scales []float32 // [n], of the codes
}

// A Matrix is some shards one behind the other. Many goroutines may use it at once.
type Matrix struct {
	width  int
	rows   int
	shards []*part
}

// A part is a shard, and what is known of it.
type part struct {
	Shard
	first, rows int
	measure     sync.Once
	least, most float64 // lengths of rows
	err         error
}

// New returns the matrix of some shards. It panics if their lengths do not agree.
func New(width int, shards []Shard) *Matrix {
	if width < 1 {
		panic("scan: width is not positive")
	}
	m := &Matrix{width: width, shards: make([]*part, len(shards))}
	for i, s := range shards {
		n := len(s.Halves) / width
		if len(s.Halves) != n*width || s.Codes != nil && (len(s.Codes) != n*width || len(s.Scales) != n) {
			panic("scan: a shard's lengths do not agree")
		}
		m.shards[i] = &part{Shard: s, first: m.rows, rows: n}
		m.rows += n
	}
	return m
}

// Rows returns how many rows there are.
func (m *Matrix) Rows() int { return m.rows }

// HasCodes reports whether all shards have codes.
func (m *Matrix) HasCodes() bool {
	for _, p := range m.shards {
		if p.Codes == nil && p.rows > 0 {
			return false
		}
	}
	return true
}

// A DamagedError is of a row with infinities or without numbers.
type DamagedError struct{ Row int }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("scan: row %d: a value is infinite or no number", e.Row)
}

// lengths returns the least and the largest length of a shard's rows, a little less and more. It reads all of them, once.
func (p *part) lengths(width int) (least, most float64, err error) {
	p.measure.Do(func() {
		blocks := (p.rows + blockRows - 1) / blockRows
		lows, highs := make([]float64, blocks), make([]float64, blocks)
		bad := make([]int, blocks)
		_ = each(context.Background(), workersOf(blocks), blocks, func(_, b int) {
			from, to := b*blockRows, min(p.rows, (b+1)*blockRows)
			squares := make([]float32, to-from)
			kernel.SquareHalves(squares, p.Halves[from*width:to*width], width)
			low, high := float32(math.Inf(1)), float32(0)
			for i, s := range squares {
				if !(s <= math.MaxFloat32) {
					bad[b] = from + i + 1
					return
				}
				low, high = min(low, s), max(high, s)
			}
			lows[b], highs[b] = math.Sqrt(float64(low)), math.Sqrt(float64(high))
		})
		p.least = math.Inf(1)
		for b := range blocks {
			if bad[b] > 0 {
				p.err = &DamagedError{p.first + bad[b] - 1}
				return
			}
			p.least, p.most = min(p.least, lows[b]), max(p.most, highs[b])
		}
		slack := gamma(width)
		p.least, p.most = p.least*(1-slack), p.most*(1+slack)+1e-30
	})
	return p.least, p.most, p.err
}

// gamma is the relative error of a sum of products in float32, in whatever order: of a product of lengths, by Cauchy and
// Schwarz. Source: N. Higham, Accuracy and Stability of Numerical Algorithms, 3.1.
func gamma(width int) float64 {
	g := float64(width+8) * 0x1p-24
	return g / (1 - min(g, 0.5))
}

// slack bounds what a product in float32 differs from that in float64, for vectors of such lengths. Terms that are less than
// 2⁻¹²⁶ lose 2⁻¹⁴⁹ at most; rounding in float64 is the last part.
func slack(width int, x, row float64) float64 {
	return gamma(width)*x*row + float64(width)*0x1p-149 + 1e-12*x*row
}

// length returns the Euclidean length.
func length(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

// blockRows is how many rows are handed out at a time: 1.5 MB of 768 halves each. cacheRows is how many stay in the
// second-level cache while some vectors are multiplied with them.
const (
	blockRows = 1024
	cacheRows = 64
)

// workersOf returns how many goroutines share some items.
func workersOf(items int) int { return max(1, min(items, runtime.GOMAXPROCS(0))) }

// each calls f for every item in [0,items), by some goroutines, with the number of the goroutine, until ctx ends.
func each(ctx context.Context, workers, items int, f func(worker, item int)) error {
	var next atomic.Int64
	work := func(worker int) {
		for ctx.Err() == nil {
			item := int(next.Add(1)) - 1
			if item >= items {
				return
			}
			f(worker, item)
		}
	}
	var all sync.WaitGroup
	for w := 1; w < workers; w++ {
		all.Go(func() { work(w) })
	}
	work(0)
	all.Wait()
	return context.Cause(ctx)
}
