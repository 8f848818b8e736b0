// Package ftfy repairs texts as Python's library ftfy does, which the tokenizers of OpenAI's and OpenCLIP's models call.
//
//	"cafÃ© &amp; ﬁlm â€” “LOUD”" ── Fix ──▶ "café & film — \"LOUD\""
//
// Source: rspeer/python-ftfy 6.3.1, whose encodings, classes of characters and rules these are; NOTICE has its licence.
package ftfy

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxSegment is how many characters are repaired at once, if no line ends before.
// Source: rspeer/python-ftfy, ftfy/__init__.py, TextFixerConfig.max_decode_length.
const maxSegment = 1_000_000

// A budget bounds what a text costs that was made to need many passes, each of which repairs a little: it is the bytes that passes
// may still read. Other texts are read a few times, and spend a small part of it.
type budget int

func newBudget(s string) *budget {
	b := budget(1<<23 + 16*len(s))
	return &b
}

// spend takes a pass over s from the budget, and reports whether there may be another.
func (b *budget) spend(s string) bool {
	*b -= budget(len(s))
	return *b > 0
}

// Fix returns what ftfy.fix_text returns of a text, with its default configuration: HTML's entities, text that was decoded by
// a wrong encoding, ligatures, widths, quotes, line breaks, escapes of terminals and controls are replaced, and
// the rest is in NFC. Bytes that are no UTF-8 become U+FFFD.
//
// Each line is repaired alone. From the first line with a < on, the text is taken for HTML, and its entities stay.
//
// Source: rspeer/python-ftfy, ftfy/__init__.py, fix_text.
func Fix(s string) string {
	if isPlain(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	var out strings.Builder
	isHTML, left := false, newBudget(s)
	for s != "" {
		line := s[:segmentEnd(s)]
		s = s[len(line):]
		isHTML = isHTML || strings.Contains(line, "<")
		line = fixSegment(line, isHTML, left)
		if s == "" && out.Len() == 0 {
			return line
		}
		out.WriteString(line)
	}
	return out.String()
}

// isPlain reports whether nothing in a text can be in need of repair: all is ASCII, without & and controls.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '&' || c >= 0x7f || c < ' ' && c != '\t' && c != '\n' && c != '\f' {
			return false
		}
	}
	return true
}

// segmentEnd returns where the first segment of a text ends: after a line break, or after maxSegment characters.
func segmentEnd(s string) int {
	end := strings.IndexByte(s, '\n') + 1
	if end == 0 {
		end = len(s)
	}
	if end <= maxSegment {
		return end
	}
	n := 0
	for i := range s[:end] {
		if n == maxSegment {
			return i
		}
		n++
	}
	return end
}

// fixSegment repairs a segment, with its entities unless it is HTML, until nothing changes any more.
//
// Source: rspeer/python-ftfy, ftfy/__init__.py, fix_and_explain.
func fixSegment(s string, isHTML bool, left *budget) string {
	for {
		before := s
		if !isHTML {
			s = fixEntities(s)
		}
		s = fixEncoding(s, left)
		s = replaceForms(s)
		if strings.IndexByte(s, '\x1b') >= 0 {
			s = terminal.ReplaceAllString(s, "")
		}
		s = NFC(strings.Map(dropControl, s))
		if s == before || !left.spend(s) {
			return s
		}
	}
}

// terminal is an escape that colours the text of a terminal.
// Source: rspeer/python-ftfy, ftfy/fixes.py, ANSI_RE.
var terminal = regexp.MustCompile(`\x1b\[[\p{Nd};]*[a-zA-Z]`)

// forms are the characters that stand for others, after one another if need be: controls of Latin-1 for what Windows has
// in their place, ligatures of Latin letters, letters of a fixed width, curly quotes, and ends of lines but CR.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py: fix_c1_controls, fix_latin_ligatures, fix_character_width, uncurl_quotes,
// fix_line_breaks; ftfy/chardata.py: LIGATURES, WIDTH_MAP.
var forms = newForms()

func newForms() map[rune]string {
	forms := map[rune]string{
		'Ĳ': "IJ", 'ĳ': "ij", 'ŉ': "'n", 'Ǳ': "DZ", 'ǲ': "Dz", 'ǳ': "dz", 'Ǆ': "DŽ", 'ǅ': "Dž", 'ǆ': "dž",
		'Ǉ': "LJ", 'ǈ': "Lj", 'ǉ': "lj", 'Ǌ': "NJ", 'ǋ': "Nj", 'ǌ': "nj",
		'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "ſt", 'ﬆ': "st",
		'\u3000': " ",
		'ʼ':      "'", '‘': "'", '’': "'", '‚': "'", '‛': "'", '“': `"`, '”': `"`, '„': `"`, '‟': `"`,
		'\u2028': "\n", '\u2029': "\n",
	}
	for r := rune(0xff01); r < 0xfff0; r++ { // the block of halfwidth and fullwidth forms
		if s := norm.NFKC.String(string(r)); s != string(r) {
			forms[r] = s
		}
	}
	for c := byte(0x80); c < 0xa0; c++ {
		s := string(windows1252(c))
		if quote, ok := forms[windows1252(c)]; ok {
			s = quote
		}
		forms[rune(c)] = s
	}
	return forms
}

// replaceForms replaces the characters of [forms], and CR with or without LF by LF.
func replaceForms(s string) string {
	var out []byte
	from := 0 // where what is not yet in out begins
	for i, r := range s {
		if r < utf8.RuneSelf && r != '\r' {
			continue
		}
		form, ok := forms[r]
		if r == '\r' {
			form, ok = "\n", true
			if strings.HasPrefix(s[i+1:], "\n") {
				form = ""
			}
		}
		if ok {
			out = append(append(out, s[from:i]...), form...)
			from = i + utf8.RuneLen(r)
		}
	}
	if from == 0 {
		return s
	}
	return string(append(out, s[from:]...))
}

// dropControl drops the characters that no text has a use for.
//
// Source: rspeer/python-ftfy, ftfy/chardata.py, CONTROL_CHARS.
func dropControl(r rune) rune {
	switch {
	case r <= 8, r == 0xb, 0xe <= r && r <= 0x1f, r == 0x7f, 0x206a <= r && r <= 0x206f, r == 0xfeff, 0xfff9 <= r && r <= 0xfffc:
		return -1
	}
	return r
}
