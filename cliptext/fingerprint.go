package cliptext

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/vitago/vitago/clipvit/transformer"
)

// Fingerprint returns 64 hexadecimal digits that change with anything of a tower and its tokenizer that the embedding of a
// text depends on, and with nothing else: [Model.LogitScale] is no part of it, nor is the precision that weights are kept in, but for
// what [Model.ToBF16] or [Model.Quantize] made of them.
func Fingerprint(m *Model, t *Tokenizer) (string, error) {
	c := m.Config
	c.PoolLargest = c.PoolLargest && c.End != c.Vocab-1 // one name for one thing
	config, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("cliptext: %w", err)
	}
	h := sha256.New()
	h.Write(config)
	transformer.Hash(h, m, m.Blocks, func(path string) bool { return path != "LogitScale" })
	t.hash(h)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Fingerprint returns 64 hexadecimal digits that change with anything that the ids of a text depend on.
func (t *Tokenizer) Fingerprint() string {
	h := sha256.New()
	t.hash(h)
	return hex.EncodeToString(h.Sum(nil))
}

func (t *Tokenizer) hash(h io.Writer) {
	fmt.Fprintf(h, "\n%s %d %d", t.rules, t.start, t.end)
	for _, id := range slices.Sorted(maps.Keys(t.texts)) {
		fmt.Fprintf(h, "\n%d %q", id, t.texts[id])
	}
	for _, pair := range slices.SortedFunc(maps.Keys(t.ranks), func(a, b [2]string) int { return cmp.Compare(t.ranks[a], t.ranks[b]) }) {
		fmt.Fprintf(h, "\n%q", pair)
	}
	for _, w := range t.added {
		fmt.Fprintf(h, "\n%+v", w)
	}
}
