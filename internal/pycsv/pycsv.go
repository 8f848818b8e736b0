// Package pycsv reads tables as Python's csv and pandas both read them. A table that they read differently is an error with the line.
package pycsv

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxField bounds a field of CSV. Source: CPython, Modules/_csv.c, field_limit.
const maxField = 128 * 1024 // characters

// A Record is a row of a table.
type Record struct {
	Fields []string
	Line   int // on which it begins, from 1
	Last   int // on which it ends
	// torn is the line on which text follows a quote that closed a field of several lines; 0 if none does. Such quotes
	// were hardly meant to be one field's.
	torn int
}

// Whole returns an error if a quote opens a field, closes on a later line, and text follows there.
func (r Record) Whole() error {
	if r.torn == 0 {
		return nil
	}
	return fmt.Errorf("line %d: a quote opens a field, closes on line %d, and text follows there: lines between would be part of the field; "+
		"a quote that is meant as one is doubled in quotes: \"6\"\" pipe\"", r.Line, r.torn)
}

// Table gives add the records of a .csv, the header first: [Decode], [Delimiter] and [Read] in one, with records that are whole.
// Errors of add should name the line.
func Table(data []byte, add func(Record) error) error {
	text, err := Decode(data)
	if err != nil {
		return err
	}
	return Read(text, Delimiter(text), func(r Record) error {
		if err := r.Whole(); err != nil {
			return err
		}
		return add(r)
	})
}

// Read gives add the records of a table, the header first, as Python's csv reads them in its dialects excel and
// excel-tab, and pandas.read_csv with its defaults; where these two differ it returns an error with the line. It uses a
// table whose lines end in \n, \r\n or \r. Blank lines are left out. Quotes mean something at the beginning of a field alone:
// what follows the closing one belongs to the field, and so do later quotes.
//
// encoding/csv differs: without LazyQuotes it refuses such fields, and with it a quote closes a field only before a
// delimiter.
//
// Source: CPython, Modules/_csv.c, parse_process_char; pandas, pandas/_libs/src/parser/tokenizer.c, tokenize_bytes.
func Read(text string, comma byte, add func(Record) error) error {
	var (
		field  strings.Builder
		fields []string
		line   = 1
		begin  = 1 // line of the record
		quote  = 0 // line of the field's opening quote
		width  = 0 // of the header
		torn   = 0
	)
	const (
		startRecord = iota
		startField
		inField
		inQuotes
		quoteInQuotes
	)
	state := startRecord
	save := func() error {
		if n := utf8.RuneCountInString(field.String()); n > maxField {
			return fmt.Errorf("line %d: a field of %d characters, want at most %d", line, n, maxField)
		}
		fields = append(fields, field.String())
		field.Reset()
		return nil
	}
	end := func() error {
		switch n := len(fields); {
		case width == 0:
			width = n
		case n != width:
			what := fmt.Sprintf("line %d has", begin)
			if line > begin {
				what = fmt.Sprintf("lines %d to %d have", begin, line)
			}
			return fmt.Errorf("%s %d fields, the first line has %d", what, n, width)
		}
		err := add(Record{fields, begin, line, torn})
		fields, torn = nil, 0
		return err
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		newline := c == '\n' || c == '\r'
		if c == 0 {
			return fmt.Errorf("line %d has a NUL byte, want text", line)
		}
		switch state {
		case startRecord:
			if newline {
				if width == 0 {
					return fmt.Errorf("line %d is blank, want a first line that names the columns", line)
				}
				break
			}
			// pandas loses the first of these after a blank line that ends in \r alone.
			if i > 1 && text[i-1] == '\r' && (text[i-2] == '\r' || text[i-2] == '\n') && (c == comma || c == ' ' || c == '\t') {
				return fmt.Errorf("line %d begins with %q after a blank line that ends in \\r alone, which csv and pandas read differently", line, c)
			}
			begin, state = line, startField
			fallthrough
		case startField:
			switch {
			case c == '"':
				quote, state = line, inQuotes
			case c == comma || newline:
				if err := save(); err != nil {
					return err
				}
			default:
				field.WriteByte(c)
				state = inField
			}
		case inField, quoteInQuotes:
			switch {
			case c == comma || newline:
				if err := save(); err != nil {
					return err
				}
				state = startField
			case state == quoteInQuotes && c == '"':
				field.WriteByte(c)
				state = inQuotes
			default:
				if state == quoteInQuotes && quote < line && torn == 0 {
					torn = line
				}
				field.WriteByte(c)
				state = inField
			}
		case inQuotes:
			if c == '"' {
				state = quoteInQuotes
			} else {
				field.WriteByte(c)
			}
		}
		if !newline {
			continue
		}
		if state == startField {
			if err := end(); err != nil {
				return err
			}
			state = startRecord
		}
		if c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			if i++; state == inQuotes {
				field.WriteByte('\n')
			}
		}
		line++
	}
	switch state {
	case startRecord:
		return nil
	case inQuotes:
		return fmt.Errorf("line %d: a quote opens a field and is never closed; a quote that is meant as one is doubled in quotes: \"6\"\" pipe\"", quote)
	}
	if err := save(); err != nil { // a last line without an end
		return err
	}
	return end()
}

// Delimiter returns what separates the columns of a table that is called .csv: OpenCLIP's are separated by tabs.
//
// Source: mlfoundations/open_clip, src/open_clip_train/params.py, --csv-separator.
func Delimiter(text string) byte {
	line := text
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		line = text[:i]
	}
	if !strings.Contains(line, ",") && strings.Contains(line, "\t") {
		return '\t'
	}
	return ','
}

// Decode returns the text of a table without a byte order mark, or an error that names the first byte that is no UTF-8.
func Decode(data []byte) (string, error) {
	text := strings.TrimPrefix(string(data), "\ufeff") // as Excel begins its files
	switch {
	case strings.HasPrefix(text, "\xff\xfe"), strings.HasPrefix(text, "\xfe\xff"):
		return "", fmt.Errorf("begins as UTF-16 does, want UTF-8")
	case len(text) > 3 && (text[0] == 0) != (text[1] == 0) && (text[2] == 0) != (text[3] == 0):
		return "", fmt.Errorf("is UTF-16 by its NUL bytes, want UTF-8")
	case utf8.ValidString(text):
		return text, nil
	}
	line, start := 1, 0
	for i := 0; ; {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return "", fmt.Errorf("line %d: byte %d of the line is %#x, which is no UTF-8; save the table as UTF-8", line, i-start+1, text[i])
		case r == '\n', r == '\r' && !strings.HasPrefix(text[i+1:], "\n"):
			line, start = line+1, i+1
		}
		i += n
	}
}
