package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/edsrzf/mmap-go"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/scan"
)

// What is searched: rows of the width of ViT-L/14, as many hits as one page shows, as many queries as faiss takes at once.
const (
	searchWidth   = 768
	searchHits    = 10
	searchQueries = 64
	searchChecked = 4 // queries whose hits are compared with those of float64
)

// searchContenders find the nearest rows. The first is the reference, which is itself checked by float64.
var searchContenders = []contender{
	{name: "vitago, float16", kind: "scan"},
	{name: "vitago, 8 bits, then float16", kind: "scan-codes"},
	{name: searchPeer, kind: "faiss", python: true},
	{name: "faiss, IndexScalarQuantizer, float16", kind: "faiss-fp16", python: true},
	{name: "numpy (OpenBLAS), float32", kind: "numpy", python: true}, // what a faster BLAS would be
}

// searchPeer is the contender that others are compared with.
const searchPeer = "faiss, IndexFlatIP, float32"

// A searchRun is one measurement of a contender.
type searchRun struct {
	Contender string  `json:"contender"`
	Rows      int     `json:"rows"`
	Data      string  `json:"data"`
	Threads   int     `json:"threads"`
	Queries   int     `json:"queries"` // at once
	Round     int     `json:"round"`   // 0 warms up
	Seconds   float64 `json:"seconds"` // of all queries
	Recall    float64 `json:"recall"`  // of the reference's hits, of all queries
	Memory    int64   `json:"memory"`  // bytes resident when the vectors are there
	Exact     float64 `json:"exact"`   // products in float64 of a query, ours
}

// A searchRace is all that was measured of searches, as -json has it.
type searchRace struct {
	Machine  machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Failed   map[string]string `json:"failed"`
	Runs     []searchRun       `json:"runs"`
}

// searchData are the kinds of rows: about a thousand centres with a common mean, as the embeddings of photographs are, and
// without any structure.
var searchData = []string{"clustered", "random"}

// searchRows returns where rows and queries lie. They are made if they are not there.
func searchRows(dir, data string, rows int) (path string, err error) {
	path = filepath.Join(dir, fmt.Sprintf("%s-%d.f16", data, rows))
	if info, err := os.Stat(path); err == nil && info.Size() == int64(rows+searchQueries)*searchWidth*2 {
		return path, nil
	}
	progress("making %d rows, %s", rows, data)
	unit := func(rng *rand.Rand, parts ...[]float32) []float32 {
		v, s := make([]float32, searchWidth), 0.0
		for i := range v {
			v[i] = float32(rng.NormFloat64() / math.Sqrt(searchWidth))
			for _, p := range parts {
				v[i] += p[i]
			}
			s += float64(v[i]) * float64(v[i])
		}
		for i := range v {
			v[i] /= float32(math.Sqrt(s))
		}
		return v
	}
	rng := rand.New(rand.NewPCG(1, 2))
	mean := unit(rng)
	centres := make([][]float32, 1000)
	for i := range centres {
		centres[i] = unit(rng)
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	const block = 4096
	half := make([]uint16, block*searchWidth)
	total := rows + searchQueries // the queries stand behind the rows
	for from := 0; from < total; from += block {
		n := min(block, total-from)
		var all sync.WaitGroup
		for part := range 4 {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(from), uint64(part)))
				for i := part; i < n; i += 4 {
					v := unit(rng)
					if data == "clustered" {
						v = unit(rng, mean, centres[rng.IntN(len(centres))])
					}
					for k, x := range v {
						half[i*searchWidth+k] = kernel.ToHalf(x)
					}
				}
			})
		}
		all.Wait()
		if err := binary.Write(w, binary.LittleEndian, half[:n*searchWidth]); err != nil {
			return "", err
		}
	}
	return path, errors.Join(w.Flush(), f.Close())
}

// mapHalves maps a file that searchRows made.
func mapHalves(path string) (rows []uint16, queries [][]float32, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	m, err := mmap.Map(f, mmap.RDONLY, 0) // until the process ends
	if err != nil {
		return nil, nil, err
	}
	all := unsafe.Slice((*uint16)(unsafe.Pointer(&m[0])), len(m)/2)
	at := len(all) - searchQueries*searchWidth
	for row := range slices.Chunk(all[at:], searchWidth) {
		q := make([]float32, searchWidth)
		kernel.WidenHalves(q, row)
		queries = append(queries, q)
	}
	return all[:at], queries, nil
}

// A searcher is what our own workers search with.
type searcher struct {
	matrix  *scan.Matrix
	queries [][]float32
	codes   bool
}

// newSearcher loads the rows, and makes their codes.
func newSearcher(path string, codes bool) (*searcher, error) {
	rows, queries, err := mapHalves(path)
	if err != nil {
		return nil, err
	}
	s := scan.Shard{Halves: rows}
	if codes {
		n := len(rows) / searchWidth
		s.Codes, s.Scales = make([]int8, len(rows)), make([]float32, n)
		var all sync.WaitGroup
		const parts = 8
		for part := range parts {
			all.Go(func() {
				for i := part; i < n; i += parts {
					s.Scales[i] = scan.Quantise(s.Codes[i*searchWidth:(i+1)*searchWidth], rows[i*searchWidth:(i+1)*searchWidth])
				}
			})
		}
		all.Wait()
	}
	x := &searcher{scan.New(searchWidth, []scan.Shard{s}), queries, codes}
	_, _, _, err = x.find(1, 1) // which measures the rows, once
	return x, err
}

// find searches so often, and returns the median of the seconds, the hits of each query, and products in float64 of one.
func (s *searcher) find(queries, calls int) (seconds float64, hits [][]int, exact float64, err error) {
	var times []float64
	for range max(1, calls) {
		var count atomic.Int64
		begin := time.Now()
		found, err := s.matrix.Search(context.Background(), s.queries[:queries], scan.Options{K: searchHits, Codes: s.codes, Count: &count})
		if err != nil {
			return 0, nil, 0, err
		}
		times = append(times, time.Since(begin).Seconds())
		exact, hits = float64(count.Load())/float64(queries), nil
		for _, of := range found {
			var rows []int
			for _, h := range of {
				rows = append(rows, h.Row)
			}
			hits = append(hits, rows)
		}
	}
	return median(times), hits, exact, nil
}

// inFloat64 returns the hits of a few queries by plain loops in float64, ties by number.
func inFloat64(path string) ([][]int, error) {
	rows, queries, err := mapHalves(path)
	if err != nil {
		return nil, err
	}
	queries = queries[:searchChecked]
	n := len(rows) / searchWidth
	scores := make([][]float64, len(queries))
	for q := range scores {
		scores[q] = make([]float64, n)
	}
	var all sync.WaitGroup
	const parts = 8
	for part := range parts {
		all.Go(func() {
			wide := make([]float32, searchWidth)
			for i := part; i < n; i += parts {
				kernel.WidenHalves(wide, rows[i*searchWidth:(i+1)*searchWidth])
				for q, x := range queries {
					var a, b, c, d float64
					for k := 0; k < searchWidth; k += 4 {
						a += float64(wide[k]) * float64(x[k])
						b += float64(wide[k+1]) * float64(x[k+1])
						c += float64(wide[k+2]) * float64(x[k+2])
						d += float64(wide[k+3]) * float64(x[k+3])
					}
					scores[q][i] = (a + b) + (c + d)
				}
			}
		})
	}
	all.Wait()
	hits := make([][]int, len(queries))
	for q, s := range scores {
		for i, v := range s {
			at, _ := slices.BinarySearchFunc(hits[q], v, func(row int, v float64) int {
				if s[row] >= v {
					return -1
				}
				return 1
			})
			if at < searchHits {
				hits[q] = slices.Insert(hits[q][:min(len(hits[q]), searchHits-1)], at, i)
			}
		}
	}
	return hits, nil
}

// searchAll has all contenders search all sizes and kinds of rows.
func searchAll(ctx context.Context, o options) (string, any, error) {
	r := &searchRace{Machine: thisMachine(o.command), Versions: map[string]string{}, Failed: map[string]string{}}
	var errs []error
	for _, rows := range o.rows {
		for _, data := range o.cases {
			path, err := searchRows(o.dir, data, rows)
			if err != nil {
				return "", nil, err
			}
			if slices.Contains(o.only, "data") {
				continue
			}
			for _, threads := range o.threads {
				errs = append(errs, r.run(ctx, o, path, data, rows, threads))
			}
		}
	}
	return r.markdown(), r, errors.Join(append(errs, ctx.Err())...)
}

// run has the contenders take turns.
func (r *searchRace) run(ctx context.Context, o options, path, data string, rows, threads int) error {
	var running []runner
	memory := map[string]int64{}
	for _, c := range choose(searchContenders, o.kinds) {
		argv, err := o.worker(c, threads)
		var p *process
		if err == nil {
			if p, err = launch(ctx, argv, threads); err == nil {
				defer p.stop()
				var a reply
				if a, err = p.ask(request{Cmd: "rows", Dir: path, Size: searchWidth}); err == nil {
					r.Versions[c.name], memory[c.name] = a.Version, p.memory("VmRSS")
					running = append(running, runner{c, p})
					continue
				}
			}
		}
		r.Failed[c.name] = err.Error()
		progress("%s: %v", c.name, err)
	}
	var want [][]int
	for _, queries := range slices.Backward(o.batches) { // the most first, which make the reference
		for round := range o.rounds + 1 {
			for _, c := range running {
				if r.Failed[c.name] != "" || ctx.Err() != nil {
					continue
				}
				time.Sleep(quiet)
				a, err := c.p.ask(request{Cmd: "find", Batch: queries, Calls: max(1, min(10, 5_000_000/rows/queries))})
				if err != nil {
					r.Failed[c.name] = err.Error()
					progress("%s: %v", c.name, err)
					continue
				}
				if queries == slices.Max(o.batches) && want == nil {
					want = a.Hits
				}
				progress("%s rows of %s, %s, %s at once, round %d: %.2f ms", number(float64(rows), 0), data, c.name, plural.Of(queries, "query"), round, a.Seconds*1e3)
				r.Runs = append(r.Runs, searchRun{c.name, rows, data, threads, queries, round, a.Seconds, recall(a.Hits, want), memory[c.name], a.Exact})
			}
		}
	}
	if len(running) == 0 || running[0].kind != searchContenders[0].kind || len(want) < searchChecked {
		return nil
	}
	exact, err := inFloat64(path)
	if err != nil {
		return err
	}
	for q, hits := range exact {
		if !slices.Equal(hits, want[q]) {
			return fmt.Errorf("%s, %d rows of %s, query %d: found %v, and float64 finds %v", running[0].name, rows, data, q, want[q], hits)
		}
	}
	return nil
}

// recall returns which part of what was to be found was found, 1 if nothing is known yet.
func recall(got, want [][]int) float64 {
	found, all := 0, 0
	for q := range min(len(got), len(want)) {
		for _, row := range want[q] {
			all++
			if slices.Contains(got[q], row) {
				found++
			}
		}
	}
	if all == 0 {
		return 1
	}
	return float64(found) / float64(all)
}

// markdown writes the table.
func (r *searchRace) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n", r.Machine.markdown())
	for name, why := range r.Failed {
		fmt.Fprintf(&b, "\nNot measured: %s (%s).\n", name, why)
	}
	for name, v := range r.Versions {
		fmt.Fprintf(&b, "\n%s: %s\n", name, v)
	}
	type cell struct {
		data                   string
		rows, threads, queries int
	}
	var cells []cell
	for _, s := range r.Runs {
		if c := (cell{s.Data, s.Rows, s.Threads, s.Queries}); !slices.Contains(cells, c) {
			cells = append(cells, c)
		}
	}
	var lines [][]string
	for _, c := range cells {
		of := func(name string) (times []float64, least float64, last searchRun) {
			least = 1
			for _, s := range r.Runs {
				if (cell{s.Data, s.Rows, s.Threads, s.Queries}) != c || s.Contender != name {
					continue
				}
				if least, last = min(least, s.Recall), s; s.Round > 0 {
					times = append(times, s.Seconds)
				}
			}
			return times, least, last
		}
		peer, _, _ := of(searchPeer)
		for _, x := range searchContenders {
			times, least, last := of(x.name)
			if len(times) == 0 {
				continue
			}
			t := median(times)
			exact := ""
			if last.Exact > 0 {
				exact = number(last.Exact, 0)
			}
			lines = append(lines, []string{
				c.data, fmt.Sprint(c.rows), fmt.Sprint(c.threads), fmt.Sprint(c.queries), x.name, number(t*1e3, 2), number(t*1e9/float64(c.rows*c.queries), 2),
				number(median(peer)/t, 2), number(least, 4), gigabytes(last.Memory), exact,
			})
		}
	}
	b.WriteString("\n" + table([]string{"rows of 768", "how many", "threads", "queries at once", "", "ms", "ns a row and query", "time of IndexFlatIP to it", "recall@10", "resident, GB", "products in float64"}, lines...))
	return b.String()
}
