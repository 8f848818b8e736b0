package scan

import (
	"cmp"
	"slices"
)

// A Hit is a row with its product in float64.
type Hit struct {
	Row   int
	Score float64
}

// better orders hits: the larger product first, and of equals the row that comes first.
func better(a, b Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Row, b.Row)) }

// A best holds the k best hits, the worst of them at the root of a heap.
type best struct {
	k    int
	hits []Hit
}

// add takes a hit, and reports whether there are k and the worst has changed.
func (b *best) add(h Hit) bool {
	if len(b.hits) < b.k {
		b.hits = append(b.hits, h)
		for i := len(b.hits) - 1; i > 0; {
			up := (i - 1) / 2
			if better(b.hits[i], b.hits[up]) <= 0 {
				break
			}
			b.hits[i], b.hits[up] = b.hits[up], b.hits[i]
			i = up
		}
		return len(b.hits) == b.k
	}
	if better(h, b.hits[0]) >= 0 {
		return false
	}
	b.hits[0] = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(b.hits) {
			break
		}
		if down+1 < len(b.hits) && better(b.hits[down+1], b.hits[down]) > 0 {
			down++
		}
		if better(b.hits[down], b.hits[i]) <= 0 {
			break
		}
		b.hits[i], b.hits[down] = b.hits[down], b.hits[i]
		i = down
	}
	return true
}

// merge returns the k best of several, the best first.
func merge(k int, of []*best) []Hit {
	var all []Hit
	for _, b := range of {
		all = append(all, b.hits...)
	}
	slices.SortFunc(all, better)
	return slices.Clip(all[:min(k, len(all))])
}
