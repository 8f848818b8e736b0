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
	words := make(map[string]int, len(ids))
	for i, n := range ids {
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
	return r.With(t.rules), ids, nil
}
