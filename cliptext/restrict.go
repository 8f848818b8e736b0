package cliptext

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Restrict returns the tokenizer of the tokens alone that occur in some texts, for a small tower, and the ids that these have in t, of
// which the tokens get the places: ids from 0 on, in the order of ids in t. It has the merges that make words of the texts, so that these
// are cut as t cuts them. A word of other texts is an error of [Tokenizer.Encode], unless it is made of tokens that there are.
//
// The parts of these tokens, which merges lead over, have the ids behind, since transformers 5 wants them in a vocabulary: see
// [Tokenizer.Within].
func (t *Tokenizer) Restrict(texts []string) (r *Tokenizer, ids []int, err error) {
	seen, joined := map[int]bool{t.start: true, t.end: true}, map[[2]string]bool{}
	for _, text := range texts {
		numbers, err := t.Encode(text)
		if err != nil {
			return nil, nil, err
		}
		for _, n := range numbers {
			if _, known := t.words[t.texts[n]]; !known {
				return nil, nil, fmt.Errorf("cliptext: %q was added to the vocabulary, want tokens that are in it", t.texts[n])
			}
			seen[n] = true
		}
		t.rules.cut(t.rules.clean(strings.ToValidUTF8(text, "\uFFFD")), func(piece string) {
			t.merge(piece, func(pair [2]string) { joined[pair] = true })
		})
	}
	ids = slices.Sorted(maps.Keys(seen))
	parts := map[int]bool{}
	for p := range joined {
		for _, w := range []string{p[0], p[1], p[0] + p[1]} {
			if n, known := t.words[w]; known && !seen[n] {
				parts[n] = true
			}
		}
	}
	words := make(map[string]int, len(ids)+len(parts))
	for i, n := range slices.Concat(ids, slices.Sorted(maps.Keys(parts))) {
		words[t.texts[n]] = i
	}
	pairs := slices.SortedFunc(maps.Keys(joined), func(a, b [2]string) int { return cmp.Compare(t.ranks[a], t.ranks[b]) })
	merges := make([]string, len(pairs))
	for i, p := range pairs {
		merges[i] = p[0] + " " + p[1]
	}
	if r, err = NewTokenizerOf(words, merges); err != nil {
		return nil, nil, err
	}
	r, err = r.With(t.rules).Within(len(ids))
	return r, ids, err
}

// Within returns the tokenizer for a tower that has rows for n tokens. Ids from n on may be of parts alone, which merges lead over to longer
// tokens that have rows; what a text needs of these is an error of [Tokenizer.Encode], as if there were no such token. Any other token
// without a row is an error, and so is a begin or an end without.
func (t *Tokenizer) Within(n int) (*Tokenizer, error) {
	leads := map[string]bool{} // tokens with rows, and what merges lead over to these
	for w, id := range t.words {
		leads[w] = id < n
	}
	merges := slices.SortedFunc(maps.Keys(t.ranks), func(a, b [2]string) int { return cmp.Compare(t.ranks[b], t.ranks[a]) })
	for _, p := range merges { // the longest, which are made last, first
		if leads[p[0]+p[1]] {
			leads[p[0]], leads[p[1]] = true, true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.texts)) {
		w := t.texts[id]
		_, known := t.words[w]
		added := slices.ContainsFunc(t.added, func(a addedWord) bool { return a.number == id })
		if id >= n && (added || !known || !leads[w]) {
			return nil, fmt.Errorf("cliptext: token %d is %.40q, and the tower has rows for %d tokens", id, w, n)
		}
	}
	c := *t
	c.rows = n
	return &c, nil
}
