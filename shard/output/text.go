package output

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// csvFormat is CSV as COPY of Postgres reads it: a text stands in quotes, and what is missing is empty, without them.
var csvFormat = &format{
	names:  func(s *Spec, n int) []string { return []string{s.numbered("csv/part_", n, ".csv")} },
	create: func(s *Spec, files []*file) sink { return &csvSink{spec: s, f: files[0]} },
	read:   readLines(readCSV),
}

// jsonlFormat is an object a line. It has null for what is missing, and for a number that JSON has not.
var jsonlFormat = &format{
	names:  func(s *Spec, n int) []string { return []string{s.numbered("jsonl/part_", n, ".jsonl")} },
	create: func(s *Spec, files []*file) sink { return &jsonlSink{spec: s, f: files[0]} },
	read:   readLines(readJSON),
}

type csvSink struct {
	spec  *Spec
	f     *file
	line  []byte
	begun bool
}

func (w *csvSink) write(r *Row) error {
	w.line = w.line[:0]
	if w.spec.Header && !w.begun {
		w.line = append(w.spec.csvHeader(), '\n')
	}
	w.begun = true
	for i, v := range r.values(w.spec, true) {
		if i > 0 {
			w.line = append(w.line, ',')
		}
		switch v := v.(type) {
		case string:
			w.line = appendQuoted(w.line, v)
		case []float32:
			w.line = append(appendVector(append(w.line, '"'), v), '"')
		default:
			w.line = appendNumber(w.line, v)
		}
	}
	_, err := w.f.Write(append(w.line, '\n'))
	return err
}

func (w *csvSink) close() error { return nil }

func (s *Spec) csvHeader() (b []byte) {
	for i, f := range s.fields(true) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, f.name)
	}
	return b
}

// appendQuoted appends a text as a field of CSV.
func appendQuoted(b []byte, s string) []byte {
	return append(append(append(b, '"'), strings.ReplaceAll(s, `"`, `""`)...), '"')
}

// appendVector appends a vector, in the form of pgvector, which is JSON's as well. Every value is the shortest that is read as the same float32.
func appendVector(b []byte, v []float32) []byte {
	b = append(b, '[')
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return append(b, ']')
}

// appendNumber appends a number or a bool, and nothing for nil.
func appendNumber(b []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	case float64:
		if s := special(v); s != "" {
			return append(b, s...)
		}
		return strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	return b
}

type jsonlSink struct {
	spec *Spec
	f    *file
	line bytes.Buffer
}

func (w *jsonlSink) write(r *Row) error {
	w.line.Reset()
	fields := w.spec.fields(true)
	for i, v := range r.values(w.spec, true) {
		w.line.WriteByte("{,"[min(i, 1)])
		if err := writeJSON(&w.line, fields[i].name); err != nil {
			return err
		}
		w.line.Truncate(w.line.Len() - 1) // the end of the line
		w.line.WriteByte(':')
		switch v := v.(type) {
		case string:
			if err := writeJSON(&w.line, v); err != nil {
				return err
			}
			w.line.Truncate(w.line.Len() - 1)
		case []float32:
			w.line.Write(appendVector(w.line.AvailableBuffer(), v))
		case nil:
			w.line.WriteString("null")
		case float64:
			if special(v) != "" {
				w.line.WriteString("null")
				continue
			}
			w.line.Write(appendNumber(w.line.AvailableBuffer(), v))
		default:
			w.line.Write(appendNumber(w.line.AvailableBuffer(), v))
		}
	}
	w.line.WriteString("}\n")
	_, err := w.f.Write(w.line.Bytes())
	return err
}

func (w *jsonlSink) close() error { return nil }

// readLines reads the rows of a file of text, in which each has a record.
func readLines(record func(s *Spec, in *bufio.Reader, fields []field) ([]any, error)) func(*Spec, []*input, int) iter.Seq2[*Row, error] {
	return func(s *Spec, files []*input, rows int) iter.Seq2[*Row, error] {
		return func(yield func(*Row, error) bool) {
			in, fields := bufio.NewReaderSize(files[0], 1<<16), s.fields(true)
			failed := func(err error) { yield(nil, fmt.Errorf("%s: %w", files[0].name, err)) }
			if s.Header {
				want := append(s.csvHeader(), '\n')
				got := make([]byte, len(want))
				if n, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, want) {
					failed(fmt.Errorf("begins with %.100q, want the header %q", got[:n], want))
					return
				}
			}
			for i := range rows {
				values, err := record(s, in, fields)
				var r *Row
				if err == nil {
					r, err = rowOf(s, values, true)
				}
				if err != nil {
					failed(fmt.Errorf("row %d of %d: %w", i, rows, noEOF(err)))
					return
				}
				if !yield(r, nil) {
					return
				}
			}
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				failed(errors.Join(fmt.Errorf("has more than %d rows", rows), err))
			}
		}
	}
}

// readCSV reads a record as csvSink writes it, in which every text is in quotes.
func readCSV(_ *Spec, in *bufio.Reader, fields []field) ([]any, error) {
	all := make([]any, len(fields))
	var b []byte
	for i, f := range fields {
		end := byte(',')
		if i == len(fields)-1 {
			end = '\n'
		}
		b = b[:0]
		c, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		quoted := c == '"'
		if quoted {
			for {
				part, err := in.ReadSlice('"')
				b = append(b, part...)
				if errors.Is(err, bufio.ErrBufferFull) {
					continue
				}
				if err != nil {
					return nil, err
				}
				if c, err = in.ReadByte(); err != nil {
					return nil, err
				}
				if c != '"' {
					b = b[:len(b)-1]
					break
				}
			}
			if c != end {
				return nil, fmt.Errorf("column %q is followed by %q, want %q", f.name, c, end)
			}
		} else {
			const longest = 32 // of a number
			for c != end {
				if b = append(b, c); len(b) > longest || c == '\n' {
					return nil, fmt.Errorf("column %q begins with %q, want %q behind it", f.name, b, end)
				}
				if c, err = in.ReadByte(); err != nil {
					return nil, err
				}
			}
		}
		if all[i], err = parseField(f, string(b), quoted); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.name, err)
		}
	}
	return all, nil
}

// parseField returns the value of a field of CSV.
func parseField(f field, text string, quoted bool) (any, error) {
	if want := f.kind == Text || f.kind == vector; quoted != want && (quoted || text != "" || !f.optional) {
		return nil, fmt.Errorf("is %.40q, in quotes %v, want %v", text, quoted, want)
	}
	if text == "" && !quoted && f.optional {
		return nil, nil
	}
	switch f.kind {
	case Int64:
		return number(strconv.ParseInt(text, 10, 64))
	case Float64:
		return number(strconv.ParseFloat(text, 64))
	case Bool:
		return number(strconv.ParseBool(text))
	case vector:
		return parseVector([]byte(text))
	}
	return text, nil
}

// number returns a value that was parsed.
func number[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func parseVector(text []byte) (any, error) {
	inner, ok := bytes.CutPrefix(text, []byte{'['})
	inner, ok2 := bytes.CutSuffix(inner, []byte{']'})
	if !ok || !ok2 {
		return nil, fmt.Errorf("is %.40q, want a vector in brackets", text)
	}
	v := make([]float32, 0, min(maxDim, 1+bytes.Count(inner, []byte{','})))
	for part := range bytes.SplitSeq(inner, []byte{','}) {
		x, err := strconv.ParseFloat(string(part), 32)
		if err != nil {
			return nil, err
		}
		if len(v) == maxDim {
			return nil, fmt.Errorf("has more than %d values", maxDim)
		}
		v = append(v, float32(x))
	}
	return v, nil
}

// readJSON reads a line.
func readJSON(_ *Spec, in *bufio.Reader, fields []field) ([]any, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, err
	}
	if len(object) != len(fields) {
		return nil, fmt.Errorf("has %d members, want %d", len(object), len(fields))
	}
	all := make([]any, len(fields))
	for i, f := range fields {
		text, ok := object[f.name]
		if !ok {
			return nil, fmt.Errorf("has no member %q", f.name)
		}
		if string(text) == "null" && f.optional {
			continue
		}
		switch f.kind {
		case Text:
			var s *string
			if err = json.Unmarshal(text, &s); err == nil && s == nil {
				err = errors.New("is null")
			} else if err == nil {
				all[i] = *s
			}
		case vector:
			all[i], err = parseVector(text)
		default:
			all[i], err = parseField(f, string(text), false)
		}
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", f.name, err)
		}
	}
	return all, nil
}
