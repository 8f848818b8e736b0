package ftfy

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// maxName is how many letters and digits ftfy takes for the name of an entity.
// Source: rspeer/python-ftfy, ftfy/chardata.py, HTML_ENTITY_RE.
const maxName = 24

// fixEntities replaces HTML's entities that end with a semicolon, each once.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py, unescape_html.
func fixEntities(s string) string {
	return replaceReferences(s, func(out []byte, s string) ([]byte, int) {
		n := 1
		if strings.HasPrefix(s[1:], "#") {
			n++
		}
		start := n
		for n < len(s) && isAlphanumeric(s[n]) && n-start < maxName {
			n++
		}
		if n == start || n == len(s) || s[n] != ';' {
			return append(out, '&'), 1
		}
		return append(out, fixEntity(s[:n+1])...), n + 1
	})
}

// replaceReferences calls one for what begins with each ampersand. It appends what that stands for, and returns how many
// bytes of s it has replaced.
func replaceReferences(s string, one func(out []byte, s string) ([]byte, int)) string {
	var out []byte
	rest := s
	for {
		i := strings.IndexByte(rest, '&')
		if i < 0 {
			break
		}
		var n int
		out, n = one(append(out, rest[:i]...), rest[i:])
		rest = rest[i+n:]
	}
	if out == nil && len(rest) == len(s) {
		return s
	}
	return string(append(out, rest...))
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// fixEntity returns the characters of an entity with a semicolon, or the entity if there are none. Names
// that are written in capitals count, if they have no other meaning.
//
// Source: rspeer/python-ftfy, ftfy/fixes.py, _unescape_fixup; ftfy/chardata.py, _build_html_entities.
func fixEntity(s string) string {
	u := Unescape(s)
	if strings.HasPrefix(s, "&#") {
		if strings.Contains(u, ";") {
			return s
		}
		return u
	}
	whole := func(u string) bool { return u == ";" || !strings.HasSuffix(u, ";") }
	if whole(u) {
		return u
	}
	if u == s && s == strings.ToUpper(s) {
		if u := Unescape(strings.ToLower(s)); whole(u) {
			return cases.Upper(language.Und).String(u)
		}
	}
	return s
}

// maxReference is how many characters Python takes for the name of a reference.
const maxReference = 32

// Unescape replaces HTML's character references as Python's html.unescape does. Go's html.UnescapeString differs: it keeps
// references to controls, takes numbers modulo 2³², and does not know &nGt; and &nLt;.
//
// Source: python/cpython, Lib/html/__init__.py, unescape.
func Unescape(s string) string {
	return replaceReferences(s, func(out []byte, s string) ([]byte, int) {
		if strings.HasPrefix(s, "&#") {
			return appendNumbered(out, s)
		}
		return appendNamed(out, s)
	})
}

// appendNamed appends what the reference by name that s begins with stands for, and returns its length.
func appendNamed(out []byte, s string) ([]byte, int) {
	n := 1
	for range maxReference {
		if n == len(s) || strings.IndexByte("\t\n\f <&#;", s[n]) >= 0 {
			break
		}
		_, size := utf8.DecodeRuneInString(s[n:])
		n += size
	}
	if n > 1 && n < len(s) && s[n] == ';' {
		n++
	}
	switch s[:n] {
	case "&nGt;": // the only names whose characters take more bytes than they do: package html leaves them out
		return append(out, "≫\u20d2"...), n
	case "&nLt;":
		return append(out, "≪\u20d2"...), n
	}
	return append(out, html.UnescapeString(s[:n])...), n
}

// appendNumbered appends the character of the reference by number that s begins with, if it has one, and returns its length.
func appendNumbered(out []byte, s string) ([]byte, int) {
	n, base := len("&#"), 10
	if n < len(s) && s[n]|0x20 == 'x' {
		n, base = n+1, 16
	}
	first := n
	for n < len(s) && ('0' <= s[n] && s[n] <= '9' || base == 16 && 'a' <= s[n]|0x20 && s[n]|0x20 <= 'f') {
		n++
	}
	if n == first {
		return append(out, '&'), 1
	}
	c, err := strconv.ParseInt(s[first:n], base, 32)
	if n < len(s) && s[n] == ';' {
		n++
	}
	switch {
	case err != nil, c == 0, 0xd800 <= c && c <= 0xdfff, c > 0x10ffff:
		c = utf8.RuneError
	case 0x80 <= c && c <= 0x9f:
		c = int64(windows1252(byte(c)))
	case c < 9, c == 0xb, 0xe <= c && c <= 0x1f, c == 0x7f, 0xfdd0 <= c && c <= 0xfdef, c&0xfffe == 0xfffe:
		return out, n
	}
	return utf8.AppendRune(out, rune(c)), n
}
