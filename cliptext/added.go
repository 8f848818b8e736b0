package cliptext

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An addedWord is a word that stands beside those of byte-pair encoding, and is found in a text before that is cut. The fields are those of
// tokenizers' AddedToken.
//
// Source: huggingface/tokenizers, tokenizers/src/tokenizer/added_vocabulary.rs.
type addedWord struct {
	number     int
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between characters that are of no word
	LStrip     bool   `json:"lstrip"`      // with the space before it
	RStrip     bool   `json:"rstrip"`      // with the space after it
	Normalized bool   `json:"normalized"`  // in a text that was cleaned, itself cleaned
	Special    bool   `json:"special"`
}

// A finder finds added words: the first, of those that begin at one place the longest.
type finder struct {
	root  node
	words []addedWord
}

// A node stands for the beginnings of words.
type node struct {
	next map[byte]*node
	word int // one more than that of the word that ends here
}

// finder returns what finds the words that are looked for in a text that was cleaned, or in one that was not; nil if there are none. The ends of
// a text are found by the patterns of OpenAI and OpenCLIP.
func (t *Tokenizer) finder(normalized bool) *finder {
	f := &finder{}
	for _, special := range []bool{true, false} { // of equal words the first counts
		for _, w := range t.added {
			if w.Normalized != normalized || w.Special != special || t.rules != Transformers && (w.number == t.start || w.number == t.end) {
				continue
			}
			text := w.Content
			if normalized {
				text = t.rules.clean(text)
			}
			if text == "" {
				continue
			}
			at := &f.root
			for i := range len(text) {
				if at.next == nil {
					at.next = map[byte]*node{}
				}
				if at.next[text[i]] == nil {
					at.next[text[i]] = &node{}
				}
				at = at.next[text[i]]
			}
			if f.words = append(f.words, w); at.word == 0 {
				at.word = len(f.words)
			}
		}
	}
	if f.words == nil {
		return nil
	}
	return f
}

// split calls yield with the parts of a text, and with the number of the added word that a part is, or -1.
func (f *finder) split(s string, yield func(part string, number int)) {
	from := 0
	for i := 0; f != nil && i < len(s); {
		word, n := f.at(s[i:])
		if n == 0 {
			i++
			continue
		}
		start, stop := i, i+n
		i = stop
		if word.SingleWord && (endsWithLetter(s[:start]) || startsWithLetter(s[stop:])) {
			continue
		}
		if word.LStrip {
			start = max(len(strings.TrimRightFunc(s[:start], unicode.IsSpace)), from)
		}
		if word.RStrip {
			stop = len(s) - len(strings.TrimLeftFunc(s[stop:], unicode.IsSpace))
		}
		if from < start {
			yield(s[from:start], -1)
		}
		yield(s[start:stop], word.number)
		from = stop
	}
	if from < len(s) {
		yield(s[from:], -1)
	}
}

// at returns the longest word that s begins with, and how many bytes that takes, 0 if there is none.
func (f *finder) at(s string) (word *addedWord, length int) {
	at := &f.root
	for i := range len(s) {
		if at = at.next[s[i]]; at == nil {
			break
		}
		if at.word > 0 {
			word, length = &f.words[at.word-1], i+1
		}
	}
	return word, length
}

func endsWithLetter(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && ofWord(r)
}

func startsWithLetter(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && ofWord(r)
}

// ofWord says whether a character is one of words. Source: Unicode Technical Standard 18, annex C, \w.
func ofWord(r rune) bool {
	return unicode.In(r, unicode.Letter, unicode.Mark, unicode.Nd, unicode.Nl, unicode.Other_Alphabetic, unicode.Pc, unicode.Join_Control, onigLetters)
}

// byNumber sorts added words.
func byNumber(words []addedWord) {
	slices.SortFunc(words, func(a, b addedWord) int { return cmp.Compare(a.number, b.number) })
}
