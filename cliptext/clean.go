package cliptext

import (
	"strings"

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
	return cases.Lower(language.Und).String(text) // with the sigma that ends a word, and the Turkish İ, as Python
}
