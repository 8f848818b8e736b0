package ftfy

import (
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// encodings are those that UTF-8 may have been decoded by, in the order in which they are tried. That of a sloppy
// one is by Windows: bytes that mean nothing are the controls of the same number, and byte 1A is U+FFFD, which stands for a lost byte.
//
// Source: rspeer/python-ftfy, ftfy/chardata.py, CHARMAP_ENCODINGS; ftfy/bad_codecs/sloppy.py, make_sloppy_codec.
var encodings = []struct {
	page     *charmap.Charmap
	sloppy   bool
	western  bool // its letters of two bytes and more make clues
	spacious bool // a space in it may have been byte A0
}{
	{charmap.ISO8859_1, false, true, true},
	{charmap.Windows1252, true, true, true},
	{charmap.Windows1251, true, true, true},
	{charmap.Windows1250, true, true, true},
	{charmap.Windows1253, true, true, true},
	{charmap.Windows1254, true, true, true},
	{charmap.Windows1257, true, true, true},
	{charmap.ISO8859_2, false, false, true},
	{charmap.Macintosh, false, false, false},
	{charmap.CodePage437, false, false, true},
}

// lost is the byte of sloppy encodings that stands for U+FFFD.
const lost = 0x1a

// decoded returns the character of a byte in one of encodings.
func decoded(encoding int, b byte) rune {
	e := encodings[encoding]
	if e.sloppy && b == lost {
		return utf8.RuneError
	}
	if r := e.page.DecodeByte(b); r != utf8.RuneError {
		return r
	}
	return rune(b)
}

// windows1252 returns the character of a byte in Windows's encoding of Latin letters; those without a meaning are controls.
func windows1252(b byte) rune {
	if r := charmap.Windows1252.DecodeByte(b); r != utf8.RuneError {
		return r
	}
	return rune(b)
}

// A clue says what a character may be of a character in UTF-8 that was decoded by one of the western encodings.
type clue uint8

const (
	firstOf2 clue = 1 << iota
	firstOf3
	firstOf4
	further
	furtherOnly // and hardly itself: no space, dash, bullet, quote or ellipsis
)

// A letter is what encodings make of a character.
type letter struct {
	in    uint16 // those that have it, a bit each
	bytes [10]byte
	clues clue
}

// letters are the characters that some encoding has.
//
// Source: rspeer/python-ftfy, ftfy/chardata.py, UTF8_CLUES, which are computed here.
var letters = sync.OnceValue(func() map[rune]letter {
	letters := map[rune]letter{}
	for e := range encodings {
		for b := range 256 {
			r := decoded(e, byte(b))
			l := letters[r]
			l.in |= 1 << e
			l.bytes[e] = byte(b)
			if encodings[e].western {
				switch {
				case 0x80 <= b && b < 0xc0:
					l.clues |= further | furtherOnly
				case 0xc2 <= b && b < 0xe0:
					l.clues |= firstOf2
				case 0xe0 <= b && b < 0xf0:
					l.clues |= firstOf3
				case b == 0xf0, b == 0xf3: // the others begin characters that hardly anybody has
					l.clues |= firstOf4
				}
			}
			letters[r] = l
		}
	}
	for _, r := range " –—―‘’‚“”„•…" {
		l := letters[r]
		l.clues = l.clues&^furtherOnly | further // a space may have been byte A0
		letters[r] = l
	}
	return letters
})

// fixEncoding repairs a text that was decoded by a wrong encoding, once or several times.
//
// Source: rspeer/python-ftfy, ftfy/__init__.py, fix_encoding_and_explain.
func fixEncoding(s string, left *budget) string {
	for {
		before := s
		if s = fixEncodingOnce(s, left); s == before || !left.spend(s) {
			return s
		}
	}
}

// Source: rspeer/python-ftfy, ftfy/__init__.py, _fix_encoding_one_step_and_explain.
func fixEncodingOnce(s string, left *budget) string {
	if isASCII(s) || !isBad(s) {
		return s
	}
	all := letters()
	possible := uint16(1)<<len(encodings) - 1 // the encodings that have all characters
	for _, r := range s {
		if possible &= all[r].in; possible == 0 {
			break
		}
	}
	for e := range encodings {
		if possible>>e&1 == 0 {
			continue
		}
		b := make([]byte, 0, len(s))
		for _, r := range s {
			b = append(b, all[r].bytes[e])
		}
		if encodings[e].spacious && slices.ContainsFunc(spaced, func(q sequence) bool { return q.index(b) >= 0 }) {
			b = restoreSpaces(b)
		}
		if encodings[e].sloppy {
			b = replace(b, lossy, func(out, _ []byte) []byte { return append(out, "\uFFFD"...) })
		}
		if text, ok := decodeUTF8(b); ok {
			return text
		}
	}
	if fixed := fixPieces(s, left); fixed != s {
		return fixed
	}
	// Controls of Latin-1 are what Windows has in their place, whether or not all is Latin-1.
	return fixControls(s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// fixControls replaces the controls of Latin-1 by what Windows has in their place.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py, fix_c1_controls.
func fixControls(s string) string {
	rs := []rune(s)
	for i, r := range rs {
		if 0x80 <= r && r < 0xa0 {
			rs[i] = windows1252(byte(r))
		}
	}
	return string(rs)
}

// fixPieces repairs the pieces of a text that look as if they had been decoded by a wrong encoding, each by itself.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py, decode_inconsistent_utf8; ftfy/chardata.py, UTF8_DETECTOR_RE.
func fixPieces(s string, left *budget) string {
	all := letters()
	rs := []rune(s)
	is := func(i int, c clue) bool { return i < len(rs) && all[rs[i]].clues&c != 0 }
	var out []byte
	for i := 0; i < len(rs); {
		to := i
		for i == 0 || !is(i-1, furtherOnly) {
			switch {
			case is(to, firstOf2) && is(to+1, further):
				to += 2
				continue
			case is(to, firstOf3) && is(to+1, further) && is(to+2, further):
				to += 3
				continue
			case is(to, firstOf4) && is(to+1, further) && is(to+2, further) && is(to+3, further):
				to += 4
				continue
			}
			break
		}
		if to == i {
			out = utf8.AppendRune(out, rs[i])
			i++
			continue
		}
		piece := string(rs[i:to])
		if to-i < len(rs) && isBad(piece) { // the whole would never end
			piece = fixEncoding(piece, left)
		}
		out = append(out, piece...)
		i = to
	}
	return string(out)
}

// A sequence is of sets of bytes. A set is written as pairs: the first and the last of a range.
type sequence []string

func (q sequence) matches(b []byte) bool {
	if len(b) < len(q) {
		return false
	}
	for i, set := range q {
		found := false
		for j := 0; j < len(set); j += 2 {
			found = found || set[j] <= b[i] && b[i] <= set[j+1]
		}
		if !found {
			return false
		}
	}
	return true
}

// index returns where the sequence first occurs, or -1.
func (q sequence) index(b []byte) int {
	for i := range b {
		if q.matches(b[i:]) {
			return i
		}
	}
	return -1
}

// replace replaces what matches a sequence, the first of those that do.
func replace(b []byte, by []sequence, f func(out, match []byte) []byte) []byte {
	out := make([]byte, 0, len(b))
next:
	for len(b) > 0 {
		for _, q := range by {
			if q.matches(b) {
				out, b = f(out, b[:len(q)]), b[len(q):]
				continue next
			}
		}
		out, b = append(out, b[0]), b[1:]
	}
	return out
}

// spaced are characters in UTF-8 that a byte A0 became a space in.
//
// Source: rspeer/python-ftfy, ftfy/chardata.py, ALTERED_UTF8_RE.
var spaced = []sequence{
	{"\xc2\xc3\xc5\xc5\xce\xce\xd0\xd0\xd9\xd9", "  "},
	{"\xe2\xe3", "  ", "\x80\x84\x86\x9f\xa1\xbf"},
	{"\xe0\xe3", "\x80\x84\x86\x9f\xa1\xbf", "  "},
	{"\xf0\xf0", "  ", "\x80\xbf", "\x80\xbf"},
	{"\xf0\xf0", "\x80\xbf", "  ", "\x80\xbf"},
	{"\xf0\xf0", "\x80\xbf", "\x80\xbf", "  "},
}

// lossy are characters in UTF-8 that bytes were lost of.
//
// Source: rspeer/python-ftfy, ftfy/chardata.py, LOSSY_UTF8_RE.
var lossy = []sequence{
	{"\xc2\xdf", "\x1a\x1a"},
	{"\xc2\xc3", "??"},
	{"\xed\xed", "\xa0\xaf", "\x1a\x1a??", "\xed\xed", "\xb0\xbf", "\x1a\x1a??\x80\xbf"},
	{"\xed\xed", "\xa0\xaf", "\x1a\x1a??\x80\xbf", "\xed\xed", "\xb0\xbf", "\x1a\x1a??"},
	{"\xe0\xef", "\x1a\x1a??", "\x1a\x1a\x80\xbf"},
	{"\xe0\xef", "\x1a\x1a\x80\xbf", "\x1a\x1a??"},
	{"\xf0\xf4", "\x1a\x1a??", "\x1a\x1a\x80\xbf", "\x1a\x1a\x80\xbf"},
	{"\xf0\xf4", "\x1a\x1a\x80\xbf", "\x1a\x1a??", "\x1a\x1a\x80\xbf"},
	{"\xf0\xf4", "\x1a\x1a\x80\xbf", "\x1a\x1a\x80\xbf", "\x1a\x1a??"},
	{"\x1a\x1a"},
}

// restoreSpaces makes byte A0 of spaces within characters in UTF-8. A word à keeps the space after it, unless it is the
// beginning of one of four words in Portuguese.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py, restore_byte_a0 and A_GRAVE_WORD_RE.
func restoreSpaces(b []byte) []byte {
	kept := make([]byte, 0, len(b))
	for i, c := range b {
		kept = append(kept, c)
		if rest := b[i+1:]; c == 0xc3 && len(rest) > 0 && rest[0] == ' ' && !beginsOther(rest[1:]) {
			kept = append(kept, 0xa0)
		}
	}
	return replace(kept, spaced, func(out, match []byte) []byte {
		for _, c := range match {
			if c == ' ' {
				c = 0xa0
			}
			out = append(out, c)
		}
		return out
	})
}

func beginsOther(b []byte) bool {
	for _, s := range []string{" ", "quele", "quela", "quilo", "s "} {
		if len(b) >= len(s) && string(b[:len(s)]) == s {
			return true
		}
	}
	return false
}

// decodeUTF8 decodes UTF-8, with surrogates in pairs as CESU-8 has them, and U+0000 as Java writes it. Where ftfy takes a
// line break at the end for a part of either, so does this.
//
// Source: rspeer/python-ftfy, ftfy/bad_codecs/utf8_variants.py, whose patterns have $ where the bytes end.
func decodeUTF8(b []byte) (string, bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		breaks := func(n int) bool { return n == len(b)-1 && b[n] == '\n' }
		if b[0] == 0xc0 && len(b) > 1 && (b[1] == 0x80 || breaks(1)) {
			out, b = append(out, 0), b[2:]
			continue
		}
		if pair.matches(b) || len(b) == 6 && pair[:5].matches(b) && breaks(5) {
			r := 0x10000 + rune(b[1]&0xf)<<16 + rune(b[2]&0x3f)<<10 + rune(b[4]&0xf)<<6 + rune(b[5]&0x3f)
			out, b = utf8.AppendRune(out, r), b[6:]
			continue
		}
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return "", false
		}
		out, b = append(out, b[:size]...), b[size:]
	}
	return string(out), true
}

// pair is a pair of surrogates.
var pair = sequence{"\xed\xed", "\xa0\xaf", "\x80\xbf", "\xed\xed", "\xb0\xbf", "\x80\xbf"}
