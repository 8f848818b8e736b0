package cliptext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/ftfy"
)

// Rules say whose tokenizer reads a text: libraries clean it and cut it into pieces in ways that differ in odd texts.
type Rules string

// The libraries.
const (
	// OpenAI is openai/CLIP: entities of HTML are replaced, text in a wrong encoding is repaired.
	OpenAI Rules = "openai"
	// OpenCLIP is mlfoundations/open_clip, which does the same and writes <start_of_text> and <end_of_text>.
	OpenCLIP Rules = "open_clip"
	// Transformers is huggingface/transformers: the text is normalised to NFC and made lower case; all else is kept.
	Transformers Rules = "transformers"
)

// libraryKey is the member of tokenizer_config.json that says whose rules a directory follows; transformers keeps it.
const libraryKey = "vitago_library"

// noLibrary is what it says in a directory whose model brought no tokenizer.
const noLibrary = "none"

// check returns an error for the rules of no library.
func (r Rules) check() error {
	switch r {
	case OpenAI, OpenCLIP, Transformers:
		return nil
	}
	return fmt.Errorf("%s is %.40q, want %q, %q or %q", libraryKey, string(r), OpenAI, OpenCLIP, Transformers)
}

// ends returns the texts that mean the words which begin and end one.
func (r Rules) ends() [2]string {
	if r == OpenCLIP {
		return [2]string{"<start_of_text>", "<end_of_text>"} // source: open_clip, src/open_clip/tokenizer.py, SimpleTokenizer
	}
	return [2]string{startOfText, endOfText}
}

// clean returns a text as it is cut into pieces.
func (r Rules) clean(text string) string {
	if r != Transformers {
		return clean(text)
	}
	return normalize(text)
}

// normalize returns a text as transformers' normalizer does: NFC, one space for several, lower case.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py, CLIPTokenizer.__init__ (5.24).
func normalize(text string) string {
	var b strings.Builder
	space := false
	for _, r := range ftfy.NFC(text) {
		switch {
		case unicode.IsSpace(r):
			if !space {
				b.WriteByte(' ')
			}
			space = true
			continue
		case r == 'İ':
			b.WriteString("i\u0307")
		default:
			b.WriteRune(lower(r))
		}
		space = false
	}
	return b.String()
}

// A class is what a character is to the pattern that cuts.
type class int

const (
	space class = iota
	letter
	number
	other
	nothing // matches no alternative, and stands between pieces
)

// class returns that of a character.
func (r Rules) class(c rune) class {
	if c < utf8.RuneSelf {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			return letter
		case '0' <= c && c <= '9':
			return number
		case c == ' ', '\t' <= c && c <= '\r':
			return space
		}
		return other
	}
	letters, numbers := regexLetters, regexNumbers
	if r == Transformers {
		letters, numbers = onigLetters, onigNumbers
	}
	switch {
	case unicode.IsLetter(c) || unicode.Is(letters, c):
		return letter
	case unicode.IsNumber(c) || unicode.Is(numbers, c):
		return number
	case unicode.Is(unicode.White_Space, c):
		return space
	case c == 0x345 && r != Transformers:
		// Its capital is a letter, so that the pattern, which ignores case, takes it neither for one nor for another sign.
		return nothing
	}
	return other
}

// fixed are pieces of their own wherever they begin, the first two being the ends of a text.
var fixed = func() map[Rules][]string {
	all := map[Rules][]string{}
	for _, r := range []Rules{OpenAI, OpenCLIP, Transformers} {
		ends := r.ends()
		all[r] = append(ends[:], "'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
	}
	return all
}()

// cut calls yield with the pieces of a cleaned text: contractions, words, digits, and runs of all else. In those of
// OpenAI's pattern the ends of a text are pieces too, and case does not count.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.__init__; huggingface/transformers, models/clip/tokenization_clip.py,
// CLIPTokenizer.__init__, whose second step cuts what its first took for the ends of a text.
func (r Rules) cut(s string, yield func(piece string)) {
	fixed := fixed[r]
	for len(s) > 0 {
		n := 0
		for i, prefix := range fixed {
			if s[0] != prefix[0] {
				continue
			}
			if n = r.prefix(s, prefix); n == 0 {
				continue
			}
			if i < 2 && r == Transformers {
				for _, p := range []string{s[:2], s[2 : n-2], s[n-2 : n]} { // <| startoftext |>
					yield(p)
				}
			} else {
				yield(s[:n])
			}
			break
		}
		if n == 0 {
			c, size := utf8.DecodeRuneInString(s)
			k := r.class(c)
			for n = size; k == letter || k == other; n += size {
				if c, size = utf8.DecodeRuneInString(s[n:]); size == 0 || r.class(c) != k {
					break
				}
			}
			if k != space && k != nothing {
				yield(s[:n])
			}
		}
		s = s[n:]
	}
}

// prefix returns how many bytes of s match a prefix, or 0. In lower case, ſ alone is another form of an ASCII letter.
func (r Rules) prefix(s, prefix string) int {
	if r == Transformers {
		if strings.HasPrefix(s, prefix) {
			return len(prefix)
		}
		return 0
	}
	n := 0
	for i := range len(prefix) {
		switch rest := s[n:]; {
		case rest != "" && rest[0] == prefix[i]:
			n++
		case prefix[i] == 's' && strings.HasPrefix(rest, "ſ"):
			n += len("ſ")
		default:
			return 0
		}
	}
	return n
}

// lower is [unicode.ToLower] with the capitals that Go may not know yet.
func lower(c rune) rune {
	if l := unicode.ToLower(c); l != c || c < utf8.RuneSelf {
		return l
	}
	for _, r := range lowered {
		if r[0] <= c && c <= r[1] {
			return c + r[2]
		}
	}
	return c
}
