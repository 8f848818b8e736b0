package cliptext

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/vitago/vitago/internal/ftfy"
)

// clean returns a text as the tokenizer cuts it: repaired, lower case, with single spaces.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, basic_clean and whitespace_clean.
func clean(text string) string {
	text = ftfy.Unescape(ftfy.Unescape(ftfy.Fix(text)))
	text = strings.Join(strings.Fields(text), " ")
	return lowerCase(text)
}

// lowerCase is Python's str.lower. A Σ ends a word if, signs that do not count left out, a letter stands before and none behind; those
// that do not count are left out even where they are letters, unlike in package cases.
//
// Source: python/cpython, Objects/unicodeobject.c, handle_capital_sigma.
func lowerCase(s string) string {
	lower := cases.Lower(language.Und)
	var b strings.Builder
	from := 0
	for i, r := range s {
		if r != 'Σ' {
			continue
		}
		b.WriteString(lower.String(s[from:i]))
		from = i + len("Σ")
		before, _ := utf8.DecodeLastRuneInString(strings.TrimRightFunc(s[:i], caseIgnorable))
		behind, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(s[from:], caseIgnorable))
		if cased(before) && !cased(behind) {
			b.WriteRune('ς')
		} else {
			b.WriteRune('σ')
		}
	}
	b.WriteString(lower.String(s[from:]))
	return b.String()
}

// cased says whether a character has a case. Source: Unicode Standard, 3.13, D135.
func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// caseIgnorable says whether a character does not count for the case of its neighbours. Source: Unicode Standard, 3.13, D136; Unicode Standard
// Annex 29, MidLetter, MidNumLet and Single_Quote.
func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", r)
}
