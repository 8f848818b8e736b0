// Package pyjson reads JSON as Python's json module writes and reads it. Configurations, indexes and tables come
// from there, and hold what RFC 8259 has not:
//
//   - NaN, Infinity and -Infinity, and numbers beyond float64, which Python reads as infinite,
//   - members of the same name, of which the last one counts, whole,
//   - a byte order mark in front.
//
// Where such a number stands for nothing that is wanted, it does no harm. Where a number is wanted, the error names
// the key.
//
// Source: python/cpython, Lib/json/decoder.py and scanner.py.
package pyjson

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// constants are the values that Python knows and RFC 8259 does not.
var constants = []string{"NaN", "Infinity", "-Infinity"}

// maxDepth is how deep values may be nested, as in encoding/json.
const maxDepth = 10000

// Unmarshal is [json.Unmarshal] for JSON of Python's. A number that is none, where v has room for a number, is an error
// that names the key and wraps a [*json.UnmarshalTypeError]; where v takes any value, it is the string "NaN", "Infinity" or
// "-Infinity". Text that is not UTF-8 is an error, since encoding/json would replace it.
func Unmarshal(data []byte, v any) error {
	plain, err := Plain(data)
	if err != nil {
		return err
	}
	return named(plain, json.Unmarshal(plain, v))
}

// named returns an error of json.Unmarshal with the name of a number that is none.
func named(data []byte, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) || wrong.Value != "string" || wrong.Offset < 0 || wrong.Offset > int64(len(data)) {
		return err
	}
	before := bytes.TrimSuffix(data[:wrong.Offset], []byte(`"`))
	for _, c := range slices.Backward(constants) {
		if bytes.HasSuffix(before, []byte(`"`+c)) {
			return numberError{wrong, c}
		}
	}
	return err
}

// A numberError says that a number is none.
type numberError struct {
	*json.UnmarshalTypeError
	value string
}

func (e numberError) Error() string {
	return fmt.Sprintf("%s is %s, want %s", cmp.Or(e.Field, "a value"), e.value, wanted(e.Type))
}

// wanted says what JSON has for values of a type.
func wanted(t reflect.Type) string {
	want := "another kind of value"
	switch t.Kind() {
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint, reflect.Uint64, reflect.Uint32:
		want = "an integer"
	case reflect.Float64, reflect.Float32:
		want = "a number"
	case reflect.Bool:
		want = "true or false"
	case reflect.String:
		want = "a string"
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Slice, reflect.Array:
		want = "a list"
	}
	return want
}

func (e numberError) Unwrap() error { return e.UnmarshalTypeError }

// Explain returns an error of [json.Unmarshal], or of [Unmarshal], in words that name no type of Go's: "classes is a string, want a list".
// Others stay as they are.
func Explain(err error) error {
	wrong, ok := err.(*json.UnmarshalTypeError) //nolint:errorlint // one that is wrapped has words already
	if !ok {
		return err
	}
	got := wrong.Value
	switch kind, rest, _ := strings.Cut(got, " "); kind {
	case "array":
		got = "a list"
	case "object":
		got = "an object"
	case "string":
		got = "a string"
	case "bool":
		got = "true or false"
	case "number":
		got = cmp.Or(rest, "a number")
	}
	return numberError{wrong, got}
}

// Plain returns JSON of Python's as RFC 8259 has it, for who decodes it in another way than [Unmarshal]: numbers that are
// none become strings. What is no JSON of either is returned as it is, for the decoder to say what is wrong. It returns
// an error if the text is not UTF-8.
func Plain(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if i := invalid(data); i >= 0 {
		return nil, fmt.Errorf("byte %d (0x%02x) is not UTF-8", i, data[i])
	}
	s := scanner{data: data}
	if !s.value(0) || s.edits == nil {
		return data, nil
	}
	slices.SortFunc(s.edits, func(a, b edit) int { return a.begin - b.begin })
	var plain []byte
	at := 0
	for _, e := range s.edits {
		if e.begin < at { // within what is gone
			continue
		}
		plain = append(append(plain, data[at:e.begin]...), e.by...)
		at = e.end
	}
	return append(plain, data[at:]...), nil
}

// invalid returns where text stops being UTF-8, -1 if nowhere.
func invalid(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
}

// loneSurrogate returns where a value of JSON first has an escape that is half a character, such as "\ud83d" where a text was
// cut, or -1. Python keeps it, and cannot encode it; encoding/json puts U+FFFD in its place.
func loneSurrogate(value []byte) int {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		r, ok := escaped(value[i:])
		switch {
		case !ok:
			i++ // what is escaped
		case r >= 0xd800 && r < 0xdc00:
			if low, ok := escaped(value[i+6:]); !ok || low < 0xdc00 || low > 0xdfff {
				return i
			}
			i += 11
		case r >= 0xdc00 && r <= 0xdfff:
			return i
		default:
			i += 5
		}
	}
	return -1
}

// escaped returns the code unit of a \uXXXX at the beginning of b.
func escaped(b []byte) (r uint64, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	r, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return r, err == nil
}

// An edit replaces data[begin:end].
type edit struct {
	begin, end int
	by         string
}

// A scanner walks over a value and notes what has to be edited. Its methods return false where the text is no JSON.
type scanner struct {
	data  []byte
	at    int
	edits []edit
}

func (s *scanner) space() {
	for s.at < len(s.data) && (s.data[s.at] == ' ' || s.data[s.at] == '\t' || s.data[s.at] == '\n' || s.data[s.at] == '\r') {
		s.at++
	}
}

// take moves over a byte if it is the next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) value(depth int) bool {
	s.space()
	if depth > maxDepth || s.at == len(s.data) {
		return false
	}
	switch s.data[s.at] {
	case '{':
		return s.object(depth)
	case '[':
		s.at++
		if s.take(']') {
			return true
		}
		for {
			if !s.value(depth + 1) {
				return false
			}
			if s.take(']') {
				return true
			}
			if !s.take(',') {
				return false
			}
		}
	case '"':
		return s.text()
	}
	return s.literal()
}

// A member is where an item of an object stands, up to what follows its comma.
type member struct {
	name       string
	begin, end int
}

// few is up to how many members an object is searched without a map.
const few = 16

func (s *scanner) object(depth int) bool {
	s.at++
	if s.take('}') {
		return true
	}
	var (
		members []member
		last    map[string]int // of many members
	)
	find := func(name string) int {
		if last != nil {
			if i, ok := last[name]; ok {
				return i
			}
			return -1
		}
		return slices.IndexFunc(members, func(m member) bool { return m.name == name })
	}
	for {
		s.space()
		m := member{begin: s.at}
		if s.at == len(s.data) || s.data[s.at] != '"' || !s.text() {
			return false
		}
		raw := s.data[m.begin+1 : s.at-1]
		m.name = string(raw)
		if bytes.IndexByte(raw, '\\') >= 0 && json.Unmarshal(s.data[m.begin:s.at], &m.name) != nil {
			return false
		}
		if !s.take(':') || !s.value(depth+1) {
			return false
		}
		closed := s.take('}')
		if !closed && !s.take(',') {
			return false
		}
		m.end = s.at
		if i := find(m.name); i >= 0 {
			s.edits = append(s.edits, edit{begin: members[i].begin, end: members[i].end})
			members[i] = m
		} else {
			members = append(members, m)
			if last != nil {
				last[m.name] = len(members) - 1
			} else if len(members) > few {
				last = map[string]int{}
				for i, m := range members {
					last[m.name] = i
				}
			}
		}
		if closed {
			return true
		}
	}
}

func (s *scanner) text() bool {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return true
		}
	}
	return false
}

// literal moves over a number or a word.
func (s *scanner) literal() bool {
	begin := s.at
	exponent := false
	for s.at < len(s.data) && bytes.IndexByte([]byte(" \t\n\r,:]}"), s.data[s.at]) < 0 {
		exponent = exponent || s.data[s.at] == 'e' || s.data[s.at] == 'E'
		s.at++
	}
	text := string(s.data[begin:s.at])
	if slices.Contains(constants, text) {
		s.edits = append(s.edits, edit{begin, s.at, `"` + text + `"`})
	} else if (exponent || len(text) > 300) && len(text) > 0 && (text[0] == '-' || text[0] >= '0' && text[0] <= '9') && json.Valid([]byte(text)) {
		if f, err := strconv.ParseFloat(text, 64); errors.Is(err, strconv.ErrRange) {
			by := "Infinity"
			if f < 0 {
				by = "-Infinity"
			}
			s.edits = append(s.edits, edit{begin, s.at, `"` + by + `"`})
		}
	}
	return len(text) > 0
}
