package pyjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Name is the name of a file: on most systems any bytes. JSON can have text alone, so in JSON a byte 0x80+n that is no
// UTF-8 is the lone surrogate \udc80+n, as Python writes and reads names, and as [Unquote] reads it.
//
// Source: PEP 383, "surrogateescape".
type Name string

// MarshalJSON writes a JSON string.
func (n Name) MarshalJSON() ([]byte, error) { return Quote(string(n)) }

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Name) UnmarshalJSON(text []byte) error {
	s, err := Unquote(text)
	*n = Name(s)
	return err
}

// Names are the names of files as they stand in JSON.
func Names(names []string) []Name {
	all := make([]Name, len(names))
	for i, n := range names {
		all[i] = Name(n)
	}
	return all
}

// ByName are texts by names of files: in JSON an object whose keys are as [Name] has them.
type ByName map[string]string

// MarshalJSON writes a JSON object, sorted by names.
func (m ByName) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		for j, s := range []string{name, m[name]} {
			text, err := Quote(s)
			if err != nil {
				return nil, err
			}
			b = append(append(b, text...), ":"[:1-j]...)
		}
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes, or null.
func (m *ByName) UnmarshalJSON(text []byte) error {
	var plain map[string]*string // what is no such object is said by encoding/json
	if err := json.Unmarshal(text, &plain); err != nil || plain == nil {
		*m = nil
		return err
	}
	for name, v := range plain {
		if v == nil {
			return fmt.Errorf("%.40q is null, want a text", name)
		}
	}
	*m = ByName{}
	var pair []string
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		end := i + 1
		for text[end] != '"' {
			if text[end] == '\\' {
				end++
			}
			end++
		}
		s, err := Unquote(text[i : end+1])
		if err != nil {
			return err
		}
		if pair = append(pair, s); len(pair) == 2 {
			(*m)[pair[0]] = pair[1]
			pair = nil
		}
		i = end
	}
	return nil
}

// Quote writes a name as a JSON string; see [Name].
func Quote(name string) ([]byte, error) {
	if utf8.ValidString(name) {
		return json.Marshal(name)
	}
	b := []byte{'"'}
	for len(name) > 0 {
		valid := 0
		for valid < len(name) {
			r, n := utf8.DecodeRuneInString(name[valid:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			valid += n
		}
		part, err := json.Marshal(name[:valid])
		if err != nil {
			return nil, err
		}
		b = append(b, part[1:len(part)-1]...)
		if name = name[valid:]; len(name) > 0 {
			b = fmt.Appendf(b, `\udc%02x`, name[0])
			name = name[1:]
		}
	}
	return append(b, '"'), nil
}

// Unquote reads a JSON string. A lone surrogate \udc80 to \udcff is a byte; another one is an error, which encoding/json
// would make a question mark of.
func Unquote(text []byte) (string, error) {
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%.40q is not UTF-8", text)
	}
	if !bytes.Contains(text, []byte(`\u`)) {
		var s string
		err := json.Unmarshal(text, &s)
		return s, err
	}
	var b strings.Builder
	for rest := text; ; {
		at := loneSurrogate(rest)
		if at < 0 {
			var s string
			if err := json.Unmarshal(reopened(rest, len(rest) < len(text)), &s); err != nil {
				return "", err
			}
			b.WriteString(s)
			return b.String(), nil
		}
		var s string
		if err := json.Unmarshal(append(reopened(rest[:at], len(rest) < len(text)), '"'), &s); err != nil {
			return "", err
		}
		b.WriteString(s)
		v, _ := strconv.ParseUint(string(rest[at+2:at+6]), 16, 16) // loneSurrogate has read it
		if v < 0xdc80 || v > 0xdcff {
			return "", fmt.Errorf("%s is half a character, want \\udc80 to \\udcff for a byte that is no UTF-8", rest[at:at+6])
		}
		b.WriteByte(byte(v - 0xdc00))
		rest = rest[at+6:]
	}
}

// reopened returns the rest of a JSON string as one of its own.
func reopened(rest []byte, cut bool) []byte {
	if cut {
		return append([]byte{'"'}, rest...)
	}
	return bytes.Clone(rest)
}

// Printable returns a name for a message: quoted if it has a control character or bytes that are no UTF-8.
func Printable(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return strconv.Quote(name)
	}
	return name
}
