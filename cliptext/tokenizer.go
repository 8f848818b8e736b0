package cliptext

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit/transformer"
)

// The words that begin and end a text, and what stands at the end of a word that ends one of the text's.
const (
	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
	endOfWord   = "</w>"
)

// A Tokenizer is CLIP's byte-pair encoding: it cuts a text at spaces and between letters, numbers and
// all else, writes each piece as bytes, and joins the pair of neighbours that comes first in a list of merges
// until none is in it.
//
//	"A photo!" ── clean ──▶ "a photo!" ── cut ──▶ a, photo, ! ── bytes, merges ──▶ a</w>, photo</w>, !</w> ──▶ 320 1125 256
//
// Tokens that were added to a vocabulary, as those of textual inversion, are looked for before that. How a text is cleaned, and what
// counts as a letter, depends on the library whose [Rules] it follows. It may be used by many goroutines at once.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer; huggingface/tokenizers, tokenizers/src/tokenizer/added_vocabulary.rs and
// src/models/bpe/word.rs.
type Tokenizer struct {
	words      map[string]int    // their numbers, without those that were added
	texts      map[int]string    // the words of numbers, with those that were added
	ranks      map[[2]string]int // places in the list of merges
	start, end int
	rules      Rules
	added      []addedWord // by their numbers
	finders    [2]*finder  // of words in a text as it is, and in one that was cleaned
	rows       int         // ids from that on are of parts alone; 0 if none are
}

// NewTokenizer returns the tokenizer of a list of merges, each two tokens with a space between. Its ids
// are OpenAI's: the 256 bytes, the same at the end of a word, the merges in their order, and the tokens that begin and
// end a text.
func NewTokenizer(merges []string) (*Tokenizer, error) {
	t, err := fromMerges(merges)
	if err != nil {
		return nil, fmt.Errorf("cliptext: %w", err)
	}
	return t, nil
}

func fromMerges(merges []string) (*Tokenizer, error) {
	words := map[string]int{}
	add := func(w string) error {
		if _, twice := words[w]; twice {
			return fmt.Errorf("the token %q stands twice", w)
		}
		words[w] = len(words)
		return nil
	}
	for _, end := range []string{"", endOfWord} {
		for _, b := range byteOrder {
			words[byteLetters[b]+end] = len(words)
		}
	}
	for i, m := range merges {
		pair, err := splitMerge(i, m)
		if err != nil {
			return nil, err
		}
		if err := add(pair[0] + pair[1]); err != nil {
			return nil, err
		}
	}
	for _, w := range []string{startOfText, endOfText} {
		if err := add(w); err != nil {
			return nil, err
		}
	}
	return fromWords(words, merges)
}

// NewTokenizerOf returns the tokenizer of a list of merges whose tokens have the ids given, as in
// the vocab.json of Hugging Face, with OpenAI's rules. It need not know every byte: what it has no token for is an error of
// [Tokenizer.Encode].
func NewTokenizerOf(words map[string]int, merges []string) (*Tokenizer, error) {
	t, err := fromWords(words, merges)
	if err != nil {
		return nil, fmt.Errorf("cliptext: %w", err)
	}
	return t, nil
}

func fromWords(words map[string]int, merges []string) (*Tokenizer, error) {
	t, err := newVocabulary(words, merges)
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		word string
		n    *int
	}{{startOfText, &t.start}, {endOfText, &t.end}} {
		n, ok := words[s.word]
		if !ok {
			return nil, fmt.Errorf("%d tokens, and none is %s", len(words), s.word)
		}
		*s.n = n
		t.added = append(t.added, addedWord{number: n, Content: s.word, Normalized: true, Special: true})
	}
	return t.With(OpenAI), nil
}

// newVocabulary returns a tokenizer that lacks the words which begin and end a text, and rules.
func newVocabulary(words map[string]int, merges []string) (*Tokenizer, error) {
	t := &Tokenizer{words: words, texts: make(map[int]string, len(words)), ranks: make(map[[2]string]int, len(merges))}
	for w, n := range words {
		if other, twice := t.texts[n]; twice || n < 0 || n >= transformer.MaxDim {
			return nil, fmt.Errorf("the id of the token %q is %d, that of %q as well or not from 0 to %d", w, n, other, transformer.MaxDim-1)
		}
		t.texts[n] = w
	}
	for i, m := range merges {
		pair, err := splitMerge(i, m)
		if err != nil {
			return nil, err
		}
		if _, twice := t.ranks[pair]; twice {
			return nil, fmt.Errorf("the merge %q stands twice", m)
		}
		t.ranks[pair] = i
	}
	return t, nil
}

// With returns the tokenizer with the rules of a library. It panics if there are no such rules.
func (t *Tokenizer) With(r Rules) *Tokenizer {
	if err := r.check(); err != nil {
		panic("cliptext: " + err.Error())
	}
	c := *t
	c.rules = r
	c.finders = [2]*finder{c.finder(false), c.finder(true)}
	return &c
}

// Rules returns those that texts are read by.
func (t *Tokenizer) Rules() Rules { return t.rules }

func splitMerge(i int, m string) (pair [2]string, err error) {
	a, b, ok := strings.Cut(m, " ")
	if !ok || a == "" || b == "" || strings.Contains(b, " ") {
		return pair, fmt.Errorf("merge %d is %.40q, want two tokens", i, m)
	}
	return [2]string{a, b}, nil
}

// Len returns one more than the largest id that a text can have.
func (t *Tokenizer) Len() int {
	if t.rows > 0 {
		return t.rows
	}
	n := 0
	for i := range t.texts {
		n = max(n, i+1)
	}
	return n
}

// Start returns the id of the token that begins a text.
func (t *Tokenizer) Start() int { return t.start }

// End returns the id of the token that ends a text.
func (t *Tokenizer) End() int { return t.end }

// Encode returns the ids of the tokens of a text, as OpenAI's encode does, or that of the library whose rules the
// tokenizer has: without those that begin and end it.
func (t *Tokenizer) Encode(text string) (numbers []int, err error) {
	t.finders[0].split(strings.ToValidUTF8(text, "\uFFFD"), func(part string, n int) {
		if n >= 0 {
			numbers = append(numbers, n)
			return
		}
		t.finders[1].split(t.rules.clean(part), func(part string, n int) {
			if n >= 0 {
				numbers = append(numbers, n)
				return
			}
			t.rules.cut(part, func(piece string) {
				if err == nil {
					numbers, err = t.appendPiece(numbers, piece)
				}
			})
		})
	})
	return numbers, err
}

// appendPiece appends the numbers of the words of a piece of a text.
func (t *Tokenizer) appendPiece(numbers []int, piece string) ([]int, error) {
	if t.rules != Transformers { // which looks for these before it cuts
		switch ends := t.rules.ends(); piece {
		case ends[0]:
			return append(numbers, t.start), nil
		case ends[1]:
			return append(numbers, t.end), nil
		}
	}
	for _, w := range t.merge(piece, nil) {
		n, ok := t.words[w]
		if !ok || t.rows > 0 && n >= t.rows {
			return nil, t.lacks(piece, strings.TrimSuffix(w, endOfWord))
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// lacks returns the error that a piece of a text cannot be written, for want of a token.
func (t *Tokenizer) lacks(piece, token string) error {
	n := len(t.words)
	if t.rows > 0 {
		n = min(n, t.rows)
	}
	if token == piece {
		return ofText("the vocabulary of %d tokens lacks %.40q", n, piece)
	}
	return ofText("the vocabulary of %d tokens lacks %.40q: none of them is %q", n, piece, token)
}

// merge returns the words that a piece of a text is made of. All pairs that come first in the list of merges
// are joined from the left, then those that come first among what there is now, until none is in the list. transformers joins one
// pair at a time, which differs for lists that no training gives. If joins is not nil, it hears of every pair that is joined.
func (t *Tokenizer) merge(piece string, joins func(pair [2]string)) []string {
	word := make([]string, len(piece)) // the words by the place of their first byte; "" within one
	next, last := make([]int, len(piece)), make([]int, len(piece))
	for i := range len(piece) {
		word[i] = byteLetters[piece[i]]
		next[i], last[i] = i+1, i-1
	}
	word[len(word)-1] += endOfWord
	q := &pairQueue{}
	push := func(i int) {
		if i < 0 || next[i] == len(word) {
			return
		}
		if rank := t.rank(word[i], word[next[i]]); rank >= 0 {
			heap.Push(q, pairAt{rank, i})
		}
	}
	for i := range word {
		push(i)
	}
	for q.Len() > 0 {
		var joined []int
		for rank := (*q)[0].rank; q.Len() > 0 && (*q)[0].rank == rank; {
			p := heap.Pop(q).(pairAt)
			j := next[p.at]
			// What was joined since is not this pair.
			if word[p.at] == "" || j == len(word) || t.rank(word[p.at], word[j]) != rank {
				continue
			}
			if joins != nil {
				joins([2]string{word[p.at], word[j]})
			}
			word[p.at] += word[j]
			word[j] = ""
			if next[p.at] = next[j]; next[j] < len(word) {
				last[next[j]] = p.at
			}
			if joined = append(joined, p.at); t.rules == Transformers {
				break
			}
		}
		for _, i := range joined {
			push(i)
			push(last[i])
		}
	}
	return slices.DeleteFunc(word, func(w string) bool { return w == "" })
}

// rank returns the place of a pair in the list of merges, or -1.
func (t *Tokenizer) rank(a, b string) int {
	if n, ok := t.ranks[[2]string{a, b}]; ok {
		return n
	}
	return -1
}

// A pairAt is a pair of neighbours that is in the list of merges.
type pairAt struct{ rank, at int }

// A pairQueue is a heap of pairs: first those that come first in the list, of the same from the left.
type pairQueue []pairAt

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(pairAt)) }
func (q *pairQueue) Pop() any {
	n := len(*q) - 1
	x := (*q)[n]
	*q = (*q)[:n]
	return x
}

// Tokenize returns the token ids of texts as [Model.Forward] takes them, with those that begin and end
// each, and nothing after. A text of more than context tokens, these two included, is an error, or is cut
// if truncate is true: its last token is then the end, as in OpenAI's tokenize.
func (t *Tokenizer) Tokenize(texts []string, context int, truncate bool) ([][]int, error) {
	all := make([][]int, len(texts))
	for i, text := range texts {
		words, err := t.Encode(text)
		if err != nil {
			return nil, err
		}
		words = append(slices.Insert(words, 0, t.start), t.end)
		if len(words) > context {
			if !truncate || context < 1 {
				return nil, ofText("%.40q has %d tokens with its begin and end, want at most %d", text, len(words), context)
			}
			words = words[:context]
			words[context-1] = t.end
		}
		all[i] = words
	}
	return all, nil
}

// Decode returns the text of token ids, with a space after each word of the text, as OpenAI's decode
// does. Ids of no token, and bytes that are no UTF-8, become the character U+FFFD.
func (t *Tokenizer) Decode(words []int) string {
	var b []byte
	for _, n := range words {
		w, ok := t.texts[n]
		if !ok {
			b = append(b, "\uFFFD"...)
			continue
		}
		word, ends := strings.CutSuffix(w, endOfWord)
		for _, letter := range word {
			if v, ok := letterBytes[letter]; ok {
				b = append(b, v)
			} else {
				b = append(b, string(letter)...)
			}
		}
		if ends {
			b = append(b, ' ')
		}
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// A byte is written as a printable letter: itself where it is one in Latin-1, and the letters from 256 on
// for the rest, which stand at the end of the order.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, bytes_to_unicode.
var (
	byteOrder   []byte
	byteLetters [256]string
	letterBytes = map[rune]byte{}
)

func init() {
	var rest []byte
	for b := range rune(256) {
		if '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ' {
			byteOrder = append(byteOrder, byte(b))
			letterBytes[b] = byte(b)
		} else {
			letterBytes[256+rune(len(rest))] = byte(b)
			rest = append(rest, byte(b))
		}
	}
	byteOrder = append(byteOrder, rest...)
	for letter, b := range letterBytes {
		byteLetters[b] = string(letter)
	}
}
