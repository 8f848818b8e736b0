package search

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// A Record says what a row is of.
type Record struct {
	Path     string            `json:"path"`              // of the picture, absolute; of one in a tar the path of the tar, a slash and the name in it
	Caption  string            `json:"caption,omitempty"` // "" if the source has none
	Width    int               `json:"width"`             // in pixels
	Height   int               `json:"height"`            // in pixels
	SHA256   Hash              `json:"sha256"`            // of the file's bytes
	Size     int64             `json:"size"`              // of the file, in bytes
	Modified int64             `json:"modified"`          // when the file, or the tar, was changed, in nanoseconds since 1970
	Columns  map[string]string `json:"columns,omitempty"` // of the user; one that is not there is none, or ""
}

// A Hash is the SHA-256 of a file. As text it has 64 hexadecimal digits.
type Hash [32]byte

// String returns it in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) == 2*len(h) {
		if _, err := hex.Decode(h[:], text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("is %.80q, want %d hexadecimal digits", text, 2*len(h))
}

// Name returns the last element of the path.
func (r *Record) Name() string { return filepath.Base(r.Path) }

// The columns of metadata that are no user's.
const (
	pathColumn     = "image_path" // as of clip-retrieval
	captionColumn  = "caption"
	widthColumn    = "width"
	heightColumn   = "height"
	sha256Column   = "sha256"
	sizeColumn     = "size"
	modifiedColumn = "modified"
)

// isOwn says whether a column is no user's.
func isOwn(column string) bool {
	return slices.Contains([]string{pathColumn, captionColumn, widthColumn, heightColumn, sha256Column, sizeColumn, modifiedColumn, "path"}, column)
}

// A table says where in a row of parquet the columns stand.
type table struct {
	schema *parquet.Schema
	at     map[string]int
	user   []string
}

// newTable returns the table with the columns of a user.
func newTable(user []string) *table {
	group := parquet.Group{
		pathColumn: parquet.String(), captionColumn: parquet.Optional(parquet.String()), sha256Column: parquet.String(),
		widthColumn: parquet.Int(32), heightColumn: parquet.Int(32), sizeColumn: parquet.Int(64), modifiedColumn: parquet.Int(64),
	}
	for _, c := range user {
		group[c] = parquet.Optional(parquet.String())
	}
	schema := parquet.NewSchema("pictures", group)
	t := &table{schema: schema, at: map[string]int{}, user: user}
	for _, path := range schema.Columns() {
		leaf, _ := schema.Lookup(path...)
		t.at[path[0]] = leaf.ColumnIndex
	}
	return t
}

// row returns a record as a row.
func (t *table) row(r *Record) parquet.Row {
	row := make(parquet.Row, len(t.at))
	put := func(column string, v parquet.Value) { row[t.at[column]] = v.Level(0, 0, t.at[column]) }
	text := func(column, s string) {
		if s == "" {
			put(column, parquet.NullValue())
			return
		}
		row[t.at[column]] = parquet.ByteArrayValue([]byte(s)).Level(0, 1, t.at[column])
	}
	put(pathColumn, parquet.ByteArrayValue([]byte(r.Path)))
	put(sha256Column, parquet.ByteArrayValue([]byte(r.SHA256.String())))
	put(widthColumn, parquet.Int32Value(int32(r.Width)))
	put(heightColumn, parquet.Int32Value(int32(r.Height)))
	put(sizeColumn, parquet.Int64Value(r.Size))
	put(modifiedColumn, parquet.Int64Value(r.Modified))
	text(captionColumn, r.Caption)
	for _, c := range t.user {
		text(c, r.Columns[c])
	}
	return row
}

// These bound what is read for one row, and what is written at once.
const (
	pageBytes = 64 << 10
	groupRows = 1 << 16
)

// A metadataWriter writes records.
type metadataWriter struct {
	t *table
	w *parquet.Writer //nolint:staticcheck // GenericWriter is of a type of Go, and no type has these columns
}

func newMetadataWriter(w io.Writer, user []string) *metadataWriter {
	t := newTable(user)
	return &metadataWriter{t, parquet.NewWriter(w, t.schema, parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(pageBytes), parquet.MaxRowsPerRowGroup(groupRows),
		parquet.CreatedBy("vitago", "", ""))}
}

func (w *metadataWriter) write(r *Record) error {
	_, err := w.w.WriteRows([]parquet.Row{w.t.row(r)})
	return err
}

func (w *metadataWriter) close() error { return w.w.Close() }

// A metadata are the records of a shard.
type metadata struct {
	file  *parquet.File
	names []string // of the columns, by their place in a row
	first []int    // the rows before each group, and all
}

// safely calls a function of parquet, whose panics of damaged files become errors.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parquet: %v", r)
		}
	}()
	return f()
}

// readMetadata opens the metadata of so many rows.
func readMetadata(r io.ReaderAt, size int64, rows int) (m *metadata, err error) {
	err = safely(func() error {
		f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		m = &metadata{file: f, first: []int{0}}
		if n := f.NumRows(); n != int64(rows) {
			return fmt.Errorf("has %d rows, want %d", n, rows)
		}
		for _, g := range f.RowGroups() {
			n := g.NumRows()
			if n < 0 || n > int64(rows) {
				return fmt.Errorf("a group has %d of %d rows", n, rows)
			}
			m.first = append(m.first, m.first[len(m.first)-1]+int(n))
		}
		if n := m.first[len(m.first)-1]; n != rows {
			return fmt.Errorf("groups have %d rows, want %d", n, rows)
		}
		want := newTable(nil)
		for _, path := range f.Schema().Columns() {
			leaf, _ := f.Schema().Lookup(path...)
			if len(path) != 1 || leaf.MaxRepetitionLevel > 0 || leaf.ColumnIndex != len(m.names) {
				return fmt.Errorf("has a column %q, want columns of one value a row", strings.Join(path, "."))
			}
			kind := parquet.ByteArray
			if own, ok := want.schema.Lookup(path[0]); ok {
				kind = own.Node.Type().Kind()
			}
			if got := leaf.Node.Type().Kind(); got != kind {
				return fmt.Errorf("column %q is of %v, want %v", path[0], got, kind)
			}
			m.names = append(m.names, path[0])
		}
		for c := range want.at {
			if !slices.Contains(m.names, c) {
				return fmt.Errorf("has no column %q", c)
			}
		}
		return nil
	})
	return m, err
}

// record returns what a row has.
func (m *metadata) record(row parquet.Row) (r Record, err error) {
	r.Columns = map[string]string{}
	for _, v := range row {
		at := v.Column()
		if at < 0 || at >= len(m.names) {
			return r, fmt.Errorf("a value is of column %d of %d", at, len(m.names))
		}
		if v.IsNull() {
			continue
		}
		switch name := m.names[at]; name {
		case pathColumn:
			r.Path = string(v.ByteArray())
		case captionColumn:
			r.Caption = string(v.ByteArray())
		case sha256Column:
			if err := r.SHA256.UnmarshalText(v.ByteArray()); err != nil {
				return r, fmt.Errorf("column %q: %w", name, err)
			}
		case widthColumn:
			r.Width = int(v.Int32())
		case heightColumn:
			r.Height = int(v.Int32())
		case sizeColumn:
			r.Size = v.Int64()
		case modifiedColumn:
			r.Modified = v.Int64()
		default:
			r.Columns[name] = string(v.ByteArray())
		}
	}
	return r, nil
}

// each calls a function with the records from one row on, until it returns false.
func (m *metadata) each(from int, yield func(row int, r *Record) bool) error {
	return safely(func() error {
		for g, group := range m.file.RowGroups() {
			if m.first[g+1] <= from {
				continue
			}
			more, err := m.group(group, m.first[g], max(from, m.first[g]), m.first[g+1], yield)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// group is each of a group of rows, from one to another.
func (m *metadata) group(group parquet.RowGroup, first, from, to int, yield func(row int, r *Record) bool) (more bool, err error) {
	rows := group.Rows()
	defer rows.Close()
	if from > first {
		if err := rows.SeekToRow(int64(from - first)); err != nil {
			return false, err
		}
	}
	buffer := make([]parquet.Row, 1, 256) // one alone is soon there
	for from < to {
		n, err := rows.ReadRows(buffer[:min(len(buffer), to-from)])
		for _, row := range buffer[:n] {
			r, err := m.record(row)
			if err != nil {
				return false, err
			}
			if !yield(from, &r) {
				return false, nil
			}
			from++
		}
		buffer = buffer[:cap(buffer)]
		if from < to && (n == 0 || err != nil && !errors.Is(err, io.EOF)) {
			return false, fmt.Errorf("row %d of %d: %w", from, to, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return true, nil
}
