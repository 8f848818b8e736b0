package cliptext

import (
	"html"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// clean returns a text as the tokenizer cuts it: lower case, with single spaces.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, basic_clean and whitespace_clean.
func clean(text string) string {
	text = fixText(strings.ToValidUTF8(text, "\uFFFD"))
	text = unescape(unescape(text))
	text = strings.Join(strings.Fields(text), " ")
	return cases.Lower(language.Und).String(text) // with the sigma that ends a word, and the Turkish İ, as Python
}

// fixText does what ftfy.fix_text does, except for text that was decoded with a wrong character set.
// It works line by line, and does not read HTML from where the first < stood.
//
// Source: rspeer/python-ftfy, ftfy/__init__.py, fix_text and fix_and_explain; ftfy/fixes.py (6.3.1).
func fixText(text string) string {
	var out strings.Builder
	isHTML := false
	for line := range strings.SplitAfterSeq(text, "\n") {
		isHTML = isHTML || strings.Contains(line, "<")
		for before := ""; line != before; {
			before = line
			if !isHTML {
				line = fixEntities(line)
			}
			line = quotes.Replace(forms.Replace(line))
			line = strings.Map(dropControl, terminal.ReplaceAllString(lineBreaks.Replace(line), ""))
			line = norm.NFC.String(line)
		}
		out.WriteString(line)
	}
	return out.String()
}

var (
	entity     = regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	terminal   = regexp.MustCompile("\x1b\\[[\\p{Nd};]*[a-zA-Z]") // escapes that colour text
	lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n")
	forms      = newForms()
	quotes     = strings.NewReplacer("ʼ", "'", "‘", "'", "’", "'", "‚", "'", "‛", "'", "“", `"`, "”", `"`, "„", `"`, "‟", `"`)
)

// fixEntities replaces HTML entities, and those that a replaced &amp; is the beginning of.
func fixEntities(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var out []byte
	rest := []byte(s)
	for {
		at := entity.FindIndex(rest)
		if at == nil {
			return string(append(out, rest...))
		}
		out = append(out, rest[:at[0]]...)
		u := fixEntity(string(rest[at[0]:at[1]]))
		if u == "&" {
			rest = rest[at[1]-1:]
			rest[0] = '&'
			continue
		}
		out, rest = append(out, u...), rest[at[1]:]
	}
}

// fixEntity returns the character of an HTML entity with a semicolon, or the entity if there is none. Names
// that are written in capitals count, if they have no other meaning.
func fixEntity(s string) string {
	u := unescape(s)
	if strings.HasPrefix(s, "&#") {
		if strings.Contains(u, ";") {
			return s
		}
		return u
	}
	if u == ";" || !strings.HasSuffix(u, ";") {
		return u
	}
	if lower := strings.ToLower(s); u == s && s == strings.ToUpper(s) {
		if u := unescape(lower); u == ";" || !strings.HasSuffix(u, ";") {
			return cases.Upper(language.Und).String(u)
		}
	}
	return s
}

// windows1252 is what the controls from U+0080 to U+009F mean in Windows's encoding of Latin letters.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

// newForms replaces the controls of [windows1252], ligatures of Latin letters, and letters of a fixed width.
func newForms() *strings.Replacer {
	pairs := []string{
		"Ĳ", "IJ", "ĳ", "ij", "ŉ", "ʼn", "Ǳ", "DZ", "ǲ", "Dz", "ǳ", "dz", "Ǆ", "DŽ", "ǅ", "Dž", "ǆ", "dž",
		"Ǉ", "LJ", "ǈ", "Lj", "ǉ", "lj", "Ǌ", "NJ", "ǋ", "Nj", "ǌ", "nj",
		"ﬀ", "ff", "ﬁ", "fi", "ﬂ", "fl", "ﬃ", "ffi", "ﬄ", "ffl", "ﬅ", "ſt", "ﬆ", "st",
		"\u3000", " ",
	}
	for i, r := range []rune(windows1252) {
		pairs = append(pairs, string(rune(0x80+i)), string(r))
	}
	for r := rune(0xff01); r < 0xfff0; r++ { // the block of halfwidth and fullwidth forms
		pairs = append(pairs, string(r), norm.NFKC.String(string(r)))
	}
	return strings.NewReplacer(pairs...)
}

// dropControl drops the characters that no text has a use for.
func dropControl(r rune) rune {
	switch {
	case r <= 8, r == 0xb, 0xe <= r && r <= 0x1f, r == 0x7f, 0x206a <= r && r <= 0x206f, r == 0xfeff, 0xfff9 <= r && r <= 0xfffc:
		return -1
	}
	return r
}

var reference = regexp.MustCompile(`&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)`)

// unescape replaces HTML's character references as Python does, which drops those of controls.
//
// Source: python/cpython, Lib/html/__init__.py, unescape.
func unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	return reference.ReplaceAllStringFunc(s, func(s string) string {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(s, ";"), "&#")
		if !ok {
			return html.UnescapeString(s)
		}
		base := 10
		if digits[0] == 'x' || digits[0] == 'X' {
			digits, base = digits[1:], 16
		}
		n, err := strconv.ParseInt(digits, base, 32)
		switch {
		case err != nil, n == 0, 0xd800 <= n && n <= 0xdfff, n > 0x10ffff:
			return "\uFFFD"
		case 0x80 <= n && n <= 0x9f:
			return string([]rune(windows1252)[n-0x80])
		case n < 9, n == 0xb, 0xe <= n && n <= 0x1f, n == 0x7f, 0xfdd0 <= n && n <= 0xfdef, n&0xfffe == 0xfffe:
			return ""
		}
		return string(rune(n))
	})
}
