package output

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// parquetFormat has all of a sample in one row.
var parquetFormat = &format{
	names:  func(s *Spec, n int) []string { return []string{s.numbered("parquet/part_", n, ".parquet")} },
	create: func(s *Spec, files []*file) sink { return &tableSink{s, newTable(files[0], s.fields(true))} },
	read: func(s *Spec, files []*input, rows int) iter.Seq2[*Row, error] {
		return func(yield func(*Row, error) bool) {
			for values, err := range readTable(files[0], s.fields(true), rows) {
				var r *Row
				if err == nil {
					r, err = rowOf(s, values, true)
				}
				if err != nil {
					err = fmt.Errorf("%s: %w", files[0].name, err)
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	},
}

type tableSink struct {
	spec *Spec
	rows *table
}

func (w *tableSink) write(r *Row) error { return w.rows.write(r.values(w.spec, true)) }
func (w *tableSink) close() error       { return w.rows.close() }

// These bound what lies in memory: a group of rows is written as a whole, and read page by page.
const (
	groupBytes = 32 << 20
	groupRows  = 1 << 16
	pageBytes  = 1 << 18
)

// An ordered group has its columns in the order of the fields: [parquet.Group] sorts them.
type ordered struct {
	parquet.Group
	fields []field
}

func (o ordered) Fields() []parquet.Field {
	all := o.Group.Fields()
	slices.SortFunc(all, func(a, b parquet.Field) int { return o.at(a.Name()) - o.at(b.Name()) })
	return all
}

func (o ordered) at(name string) int {
	return slices.IndexFunc(o.fields, func(f field) bool { return f.name == name })
}

// schemaOf returns the schema of fields. Encodings are those that every reader has.
func schemaOf(fields []field) *parquet.Schema {
	group := parquet.Group{}
	for _, f := range fields {
		var node parquet.Node
		switch f.kind {
		case Text:
			node = parquet.Encoded(parquet.String(), &parquet.Plain)
		case Int64:
			node = parquet.Encoded(parquet.Int(64), &parquet.Plain)
		case Float64:
			node = parquet.Encoded(parquet.Leaf(parquet.DoubleType), &parquet.Plain)
		case Bool:
			node = parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain)
		case vector: // whose bits are as good as random
			node = parquet.List(parquet.Compressed(parquet.Encoded(parquet.Leaf(parquet.FloatType), &parquet.Plain), &parquet.Uncompressed))
		}
		if f.optional {
			node = parquet.Optional(node)
		}
		group[f.name] = node
	}
	return parquet.NewSchema("shard", ordered{group, fields})
}

// A table writes rows as parquet.
type table struct {
	fields []field
	w      *parquet.Writer //nolint:staticcheck // GenericWriter is of a type of Go, and no type has these columns
	row    parquet.Row
	rows   int
	bytes  int // of the group
}

func newTable(w io.Writer, fields []field) *table {
	o := []parquet.WriterOption{schemaOf(fields), parquet.Compression(&parquet.Snappy), parquet.DataPageVersion(1), parquet.PageBufferSize(pageBytes), parquet.CreatedBy("vitago", "", "")}
	for _, f := range fields {
		if f.kind == vector {
			o = append(o, parquet.SkipPageBounds(f.name, "list", "element"))
		}
	}
	return &table{fields: fields, w: parquet.NewWriter(w, o...)}
}

// write writes a row, of a value for each field.
func (t *table) write(values []any) error {
	t.row = t.row[:0]
	for i, v := range values {
		defined := 0
		if t.fields[i].optional && v != nil {
			defined = 1
		}
		var x parquet.Value
		switch v := v.(type) {
		case nil:
			x = parquet.NullValue()
		case string:
			x = parquet.ByteArrayValue([]byte(v))
			t.bytes += len(v)
		case int64:
			x = parquet.Int64Value(v)
		case float64:
			x = parquet.DoubleValue(v)
		case bool:
			x = parquet.BooleanValue(v)
		case []float32:
			for j, f := range v {
				t.row = append(t.row, parquet.FloatValue(f).Level(min(j, 1), 1, i))
			}
			t.bytes += 4 * len(v)
			continue
		}
		t.row = append(t.row, x.Level(0, defined, i))
		t.bytes += 8
	}
	if _, err := t.w.WriteRows([]parquet.Row{t.row}); err != nil {
		return err
	}
	t.rows++
	if t.rows == groupRows || t.bytes >= groupBytes {
		t.rows, t.bytes = 0, 0
		return t.w.Flush()
	}
	return nil
}

func (t *table) close() error { return t.w.Close() }

// readTable reads a file of so many rows, a value for each field, from a copy whose sum is right: of another, the library of parquet may not
// come to an end. Its panics become errors.
func readTable(in *input, fields []field, rows int) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		r, size, err := in.copied()
		if err == nil {
			err = eachRow(r, size, fields, rows, func(values []any) bool { return yield(values, nil) })
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// eachRow calls a function with each row, until it returns false.
func eachRow(r io.ReaderAt, size int64, fields []field, rows int, yield func([]any) bool) (err error) {
	ours := false // a panic of yield is not the library's
	defer func() {
		if !ours {
			if r := recover(); r != nil {
				err = fmt.Errorf("parquet: %v", r)
			}
		}
	}()
	if err := checkFooter(r, size); err != nil {
		return err
	}
	f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return err
	}
	if err := sameSchema(f.Schema(), schemaOf(fields)); err != nil {
		return err
	}
	if n := f.NumRows(); n != int64(rows) {
		return fmt.Errorf("has %d rows, want %d", n, rows)
	}
	buffer, done := make([]parquet.Row, 16), 0
	for _, group := range f.RowGroups() {
		n := group.NumRows()
		if n < 0 || n > int64(rows-done) {
			return fmt.Errorf("a group has %d rows behind %d of %d", n, done, rows)
		}
		more, err := func() (bool, error) {
			in := group.Rows()
			defer in.Close()
			for left := int(n); left > 0; {
				got, err := in.ReadRows(buffer[:min(left, len(buffer))])
				for _, row := range buffer[:got] {
					values, err := valuesOf(row, fields)
					if err != nil {
						return false, fmt.Errorf("row %d: %w", done, err)
					}
					ours = true
					more := yield(values)
					ours = false
					if !more {
						return false, nil
					}
					done++
				}
				if left -= got; left > 0 && (got == 0 || err != nil) {
					return false, fmt.Errorf("row %d of %d: %w", done, rows, errors.Join(err, io.ErrUnexpectedEOF))
				}
			}
			return true, nil
		}()
		if err != nil || !more {
			return err
		}
	}
	if done != rows {
		return fmt.Errorf("its groups have %d rows, want %d", done, rows)
	}
	return nil
}

// checkFooter returns an error if a file's last 8 bytes say that its footer has more bytes than it, which the library would ask memory for.
func checkFooter(r io.ReaderAt, size int64) error {
	const head, tail = 4, 8
	var end [tail]byte
	if size < head+tail {
		return fmt.Errorf("has %d bytes, want at least %d", size, head+tail)
	}
	if _, err := r.ReadAt(end[:], size-tail); err != nil {
		return noEOF(err)
	}
	if n := int64(binary.LittleEndian.Uint32(end[:])); n > size-head-tail {
		return fmt.Errorf("its footer has %d bytes, want at most %d", n, size-head-tail)
	}
	return nil
}

// sameSchema returns an error if a file has not the columns that are wanted, in their order.
func sameSchema(got, want *parquet.Schema) error {
	a, b := got.Columns(), want.Columns()
	if len(a) != len(b) {
		return fmt.Errorf("has %d columns, %q, want %d, %q", len(a), a, len(b), b)
	}
	for i := range b {
		if !slices.Equal(a[i], b[i]) {
			return fmt.Errorf("column %d is %q, want %q", i, a[i], b[i])
		}
		x, ok1 := got.Lookup(a[i]...)
		y, ok2 := want.Lookup(b[i]...)
		if !ok1 || !ok2 || x.Node.Type().String() != y.Node.Type().String() || x.MaxRepetitionLevel != y.MaxRepetitionLevel || x.MaxDefinitionLevel != y.MaxDefinitionLevel {
			return fmt.Errorf("column %q is %v, want %v", a[i], x.Node, y.Node)
		}
	}
	return nil
}

// valuesOf returns what a row has for each field.
func valuesOf(row parquet.Row, fields []field) ([]any, error) {
	all, seen := make([]any, len(fields)), make([]bool, len(fields))
	for _, v := range row {
		at := v.Column()
		if at < 0 || at >= len(fields) {
			return nil, fmt.Errorf("a value is of column %d of %d", at, len(fields))
		}
		f := fields[at]
		if seen[at] && f.kind != vector {
			return nil, fmt.Errorf("column %q has two values", f.name)
		}
		seen[at] = true
		if v.IsNull() {
			if !f.optional {
				return nil, fmt.Errorf("column %q has no value", f.name)
			}
			continue
		}
		switch f.kind {
		case Text:
			all[at] = string(v.ByteArray())
		case Int64:
			all[at] = v.Int64()
		case Float64:
			all[at] = v.Double()
		case Bool:
			all[at] = v.Boolean()
		case vector:
			list, _ := all[at].([]float32)
			if len(list) >= maxDim {
				return nil, fmt.Errorf("column %q has more than %d values", f.name, maxDim)
			}
			all[at] = append(list, v.Float())
		}
	}
	for i, ok := range seen {
		if !ok {
			return nil, fmt.Errorf("column %q has no value", fields[i].name)
		}
	}
	return all, nil
}

// special returns a number that JSON has not as Postgres writes it, and "" of any other.
func special(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return ""
}
