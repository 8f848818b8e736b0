package scan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vitago/vitago/internal/kernel"
)

// eachImpl runs f for every implementation of kernels.
func eachImpl(t *testing.T, f func(t *testing.T)) {
	t.Cleanup(func() { kernel.Use("") })
	for _, name := range kernel.Available() {
		t.Run(name, func(t *testing.T) {
			kernel.Use(name)
			f(t)
		})
	}
}

// unit returns a random vector of length 1, about a centre if there is one.
func unit(rng *rand.Rand, width int, centre []float32, spread float64) []float32 {
	x, s := make([]float32, width), 0.0
	for i := range x {
		v := rng.NormFloat64()
		if centre != nil {
			v = float64(centre[i]) + spread*v/math.Sqrt(float64(width))
		}
		x[i] = float32(v)
		s += v * v
	}
	for i := range x {
		x[i] /= float32(math.Sqrt(s))
	}
	return x
}

// coded returns a shard of rows, with codes.
func coded(rows []uint16, width int) Shard {
	s := Shard{Halves: rows, Codes: make([]int8, len(rows)), Scales: make([]float32, len(rows)/width)}
	for i := range s.Scales {
		s.Scales[i] = Quantise(s.Codes[i*width:(i+1)*width], rows[i*width:(i+1)*width])
	}
	return s
}

// TestQuantise: codes times their scale differ from the row by at most half of the scale, down to the least halves.
func TestQuantise(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	row, codes := make([]uint16, 50), make([]int8, 50)
	for _, size := range []float64{0x1p-24, 1e-7, 1e-5, 0.1, 65504} {
		for i := range row {
			row[i] = kernel.ToHalf(float32((rng.Float64()*2 - 1) * size))
		}
		row[17] = kernel.ToHalf(-float32(size))
		scale := Quantise(codes, row)
		if codes[17] != -127 {
			t.Errorf("of %v: the largest has the code %d, want -127", size, codes[17])
		}
		for i, h := range row {
			if d := math.Abs(float64(kernel.FromHalf(h)) - float64(codes[i])*float64(scale)); !(d <= float64(scale)*(0.5+1e-5)) || codes[i] == -128 {
				t.Errorf("of %v: value %v has the code %d at a scale of %v", size, kernel.FromHalf(h), codes[i], scale)
			}
		}
	}
	clear(row)
	if scale := Quantise(codes, row); scale != 0 || slices.ContainsFunc(codes, func(c int8) bool { return c != 0 }) {
		t.Errorf("zeros have the scale %v and the codes %v", scale, codes)
	}
}

// clustered returns rows about a few centres, some of them twice.
func clustered(rng *rand.Rand, n, width int) []uint16 {
	rows := make([]uint16, 0, n*width)
	centres := [][]float32{unit(rng, width, nil, 0), unit(rng, width, nil, 0), unit(rng, width, nil, 0)}
	for i := range n {
		if i > 0 && rng.IntN(5) == 0 {
			j := rng.IntN(i)
			rows = append(rows, rows[j*width:(j+1)*width]...)
			continue
		}
		for _, v := range unit(rng, width, centres[rng.IntN(3)], 0.3) {
			rows = append(rows, kernel.ToHalf(v))
		}
	}
	return rows
}

// ranked returns all products in float64, each added up in the order of its definition, the best first.
func ranked(rows []uint16, width int, x []float32) []Hit {
	wide := make([]float32, len(rows))
	kernel.WidenHalves(wide, rows)
	var all []Hit
	for i := range len(rows) / width {
		var lanes [4]float64
		for j, v := range wide[i*width : (i+1)*width] {
			lane := j % 4
			if j >= width/4*4 {
				lane = 0
			}
			lanes[lane] += float64(v) * float64(x[j])
		}
		all = append(all, Hit{i, (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])})
	}
	slices.SortStableFunc(all, func(a, b Hit) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return a.Row - b.Row
	})
	return all
}

// chosen returns what is asked for of all.
func chosen(all []Hit, o Options) (hits []Hit) {
	for _, h := range all {
		if len(hits) < o.K && o.Only.Has(h.Row) && (!o.Has || h.Score >= o.Least) {
			hits = append(hits, h)
		}
	}
	return hits
}

// TestSearch: from halves and from codes, one vector and many, it finds what sorting all products in float64 finds, ties by number.
func TestSearch(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, s := range []struct{ n, width int }{{0, 3}, {1, 1}, {2, 5}, {37, 10}, {300, 16}, {1100, 9}, {150, 768}} {
			rows := clustered(rng, s.n, s.width)
			cut, second := s.n/3*s.width, s.n/2*s.width
			m := New(s.width, []Shard{coded(rows[:cut], s.width), {}, coded(rows[cut:second], s.width), coded(rows[second:], s.width)})
			only := NewSet(s.n)
			for i := range s.n {
				if rng.IntN(3) > 0 {
					only.Add(i)
				}
			}
			for _, queries := range []int{1, 8, 9, 35} {
				vectors, all := make([][]float32, queries), make([][]Hit, queries)
				for i := range vectors {
					vectors[i] = unit(rng, s.width, nil, 0)
					if s.n > 0 && i%2 == 1 { // near what is there
						kernel.WidenHalves(vectors[i], rows[:s.width])
					}
					all[i] = ranked(rows, s.width, vectors[i])
				}
				for _, o := range []Options{{K: 1}, {K: 10}, {K: 10, Only: only}, {K: s.n + 1}, {K: 25, Has: true, Least: 0.8}, {K: 3, Has: true, Least: 2}} {
					for _, o.Codes = range []bool{false, true} {
						for _, threads := range []int{1, 3} {
							before := runtime.GOMAXPROCS(threads)
							got, err := m.Search(t.Context(), vectors, o)
							runtime.GOMAXPROCS(before)
							if err != nil {
								t.Fatal(err)
							}
							for i := range vectors {
								if want := chosen(all[i], o); !slices.Equal(got[i], want) {
									t.Fatalf("%d rows of %d, %d vectors, %+v, %d threads: got %v, want %v", s.n, s.width, queries, o, threads, got[i], want)
								}
							}
						}
					}
				}
			}
		}
	})
}

// TestSearchLooksTwice: only a few rows are computed in float64.
func TestSearchLooksTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const n, width = 20000, 128
	rows := make([]uint16, 0, n*width)
	for range n {
		for _, v := range unit(rng, width, nil, 0) {
			rows = append(rows, kernel.ToHalf(v))
		}
	}
	m := New(width, []Shard{coded(rows, width)})
	for _, codes := range []bool{false, true} {
		var count atomic.Int64
		if _, err := m.Search(t.Context(), [][]float32{unit(rng, width, nil, 0)}, Options{K: 10, Codes: codes, Count: &count}); err != nil {
			t.Fatal(err)
		}
		if c := count.Load(); c < 10 || c > n/20 {
			t.Errorf("codes %v: %d of %d products in float64", codes, c, n)
		}
	}
}

// TestSearchLarge: vectors and rows that are not of length 1, down to the least halves.
func TestSearchLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, scale := range []float64{1e-7, 1e-3, 100, 3e4} {
		const n, width = 500, 20
		rows := make([]uint16, n*width)
		for i := range rows {
			rows[i] = kernel.ToHalf(float32((rng.Float64()*2 - 1) * scale))
		}
		m := New(width, []Shard{coded(rows, width)})
		for _, factor := range []float32{1e-30, 1, 1e20} {
			x := unit(rng, width, nil, 0)
			for i := range x {
				x[i] *= factor
			}
			for _, codes := range []bool{false, true} {
				o := Options{K: 7, Codes: codes}
				got, err := m.Search(t.Context(), [][]float32{x}, o)
				if err != nil {
					t.Fatal(err)
				}
				if want := chosen(ranked(rows, width, x), o); !slices.Equal(got[0], want) {
					t.Errorf("rows of %v, a vector of %v, codes %v: got %v, want %v", scale, factor, codes, got[0], want)
				}
			}
		}
	}
}

// TestSearchDamaged: a row with an infinity is an error that names it.
func TestSearchDamaged(t *testing.T) {
	rows := clustered(rand.New(rand.NewPCG(7, 8)), 3000, 8)
	rows[2345*8+3] = 0x7c00
	m := New(8, []Shard{{Halves: rows[:8000]}, {Halves: rows[8000:]}})
	var damaged *DamagedError
	if _, err := m.Search(t.Context(), [][]float32{make([]float32, 8)}, Options{K: 1}); !errors.As(err, &damaged) || damaged.Row != 2345 {
		t.Errorf("error %v, want one of row 2345", err)
	}
	if _, err := m.Clusters(t.Context(), 0.9, nil, nil); !errors.As(err, &damaged) || damaged.Row != 2345 {
		t.Errorf("error %v, want one of row 2345", err)
	}
	// From codes, it is found if it is looked at.
	m = New(8, []Shard{{Halves: rows, Codes: make([]int8, len(rows)), Scales: make([]float32, 3000)}})
	if _, err := m.Search(t.Context(), [][]float32{{1, 1, 1, 1, 1, 1, 1, 1}}, Options{K: 3000, Codes: true}); !errors.As(err, &damaged) || damaged.Row != 2345 {
		t.Errorf("error %v, want one of row 2345", err)
	}
}

func TestCancel(t *testing.T) {
	m := New(8, []Shard{{Halves: clustered(rand.New(rand.NewPCG(7, 8)), 3000, 8)}})
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := m.Search(ctx, [][]float32{make([]float32, 8)}, Options{K: 1}); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	if _, err := m.Clusters(ctx, 0.9, nil, nil); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

// TestClusters: what hangs together, by comparing all pairs in float64.
func TestClusters(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 10))
		for _, s := range []struct{ n, width int }{{0, 3}, {1, 4}, {2, 4}, {90, 10}, {300, 24}, {1100, 3}} {
			rows := clustered(rng, s.n, s.width)
			for i := range s.width * min(s.n, 1) { // a row without a length is like none
				rows[i] = 0
			}
			wide := make([]float32, len(rows))
			kernel.WidenHalves(wide, rows)
			only := NewSet(s.n)
			for i := range s.n {
				if i%7 != 3 {
					only.Add(i)
				}
			}
			for _, least := range []float64{0.5, 0.97, 1} {
				for _, set := range []Set{nil, only} {
					cut := s.n / 3 * s.width
					m := New(s.width, []Shard{{Halves: rows[:cut]}, {Halves: rows[cut:]}})
					got, err := m.Clusters(t.Context(), least, set, nil)
					if err != nil {
						t.Fatal(err)
					}
					want := clustersOf(s.n, least, set, func(a, b int) float64 {
						x, y := wide[a*s.width:][:s.width], wide[b*s.width:][:s.width]
						var xy, xx, yy float64
						for i := range x {
							xy += float64(x[i]) * float64(y[i])
							xx += float64(x[i]) * float64(x[i])
							yy += float64(y[i]) * float64(y[i])
						}
						switch {
						case slices.Equal(x, y) && xx > 0:
							return 1
						case xx == 0 || yy == 0:
							return -1
						}
						return xy / math.Sqrt(xx*yy)
					})
					var have [][]int
					for _, c := range got {
						have = append(have, c.Rows)
						for i, cosine := range c.Cosines {
							if i == 0 && cosine != 1 {
								t.Errorf("the first row's cosine to itself is %v", cosine)
							}
						}
					}
					if !reflect.DeepEqual(have, want) {
						t.Fatalf("%d rows of %d at %v: got %v, want %v", s.n, s.width, least, have, want)
					}
				}
			}
		}
	})
}

// clustersOf colours what is reached from each row.
func clustersOf(n int, least float64, only Set, cosine func(a, b int) float64) (all [][]int) {
	seen := make([]bool, n)
	for i := range n {
		if seen[i] || !only.Has(i) {
			continue
		}
		seen[i] = true
		reached := []int{i}
		for at := 0; at < len(reached); at++ {
			for j := range n {
				if !seen[j] && only.Has(j) && cosine(reached[at], j) >= least {
					seen[j] = true
					reached = append(reached, j)
				}
			}
		}
		if len(reached) > 1 {
			slices.Sort(reached)
			all = append(all, reached)
		}
	}
	return all
}

func TestPanics(t *testing.T) {
	m := New(4, nil)
	for name, f := range map[string]func(){
		"width":  func() { New(0, nil) },
		"halves": func() { New(4, []Shard{{Halves: make([]uint16, 5)}}) },
		"codes":  func() { New(4, []Shard{{Halves: make([]uint16, 8), Codes: make([]int8, 8)}}) },
		"k":      func() { _, _ = m.Search(t.Context(), nil, Options{}) },
		"vector": func() { _, _ = m.Search(t.Context(), [][]float32{{1}}, Options{K: 1}) },
		"least":  func() { _, _ = m.Clusters(t.Context(), 0, nil, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// BenchmarkSearch is of random rows.
func BenchmarkSearch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n, width = 100_000, 768
	rows := make([]uint16, 0, n*width)
	for range n {
		for _, v := range unit(rng, width, nil, 0) {
			rows = append(rows, kernel.ToHalf(v))
		}
	}
	m := New(width, []Shard{coded(rows, width)})
	for _, queries := range []int{1, 8, 64} {
		var vectors [][]float32
		for range queries {
			vectors = append(vectors, unit(rng, width, nil, 0))
		}
		for _, codes := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d vectors codes %v", queries, codes), func(b *testing.B) {
				for b.Loop() {
					if _, err := m.Search(b.Context(), vectors, Options{K: 10, Codes: codes}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n*queries), "ns/row")
			})
		}
	}
}

// TestSearchTogether: searches of one matrix from codes and from halves, at once, which the race detector sees.
func TestSearchTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	const n, width = 2000, 16
	rows := clustered(rng, n, width)
	m := New(width, []Shard{coded(rows[:n/2*width], width), coded(rows[n/2*width:], width)})
	x := unit(rng, width, nil, 0)
	want := chosen(ranked(rows, width, x), Options{K: 5})
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			if got, err := m.Search(t.Context(), [][]float32{x}, Options{K: 5, Codes: i%2 == 0}); err != nil || !slices.Equal(got[0], want) {
				t.Errorf("codes %v: got %v, %v, want %v", i%2 == 0, got, err, want)
			}
		})
	}
	all.Wait()
}
