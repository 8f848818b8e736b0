package input

import (
	"errors"
	"fmt"
	"iter"

	"github.com/parquet-go/parquet-go"

	"github.com/vitago/vitago/internal/plural"
)

// A table are the rows of img2dataset's parquet, by their keys.
type table struct {
	location string
	rows     map[string]*tableRow
	order    []*tableRow
}

// A tableRow is what a table says of a picture. Its Path is the URL.
type tableRow struct {
	Sample
	met bool // the picture was there
}

// openTable reads the table of the part, or returns nil if it has none.
func (r *Reader) openTable() (*table, error) {
	at := r.part.Table
	if at == nil {
		return nil, nil
	}
	f, err := r.openParquet(at.Location, at.Size, at.Version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text(base(at.Location)), err)
	}
	if !f.isTable() {
		const no = " no columns key, status and error_message, as img2dataset's have"
		r.left.Add(plural.Phrase{One: "parquet file beside tars that has" + no, Many: "parquet files beside tars that have" + no}, text(at.Location))
		return nil, nil
	}
	rows, err := f.reader(r.options)
	if err != nil {
		return nil, damaged(fmt.Errorf("%s: %w", text(base(at.Location)), err))
	}
	if rows.pictures >= 0 { // which are in the tar
		rows.pictures = -1
		rows.path = -1
	}
	t := &table{location: at.Location, rows: map[string]*tableRow{}}
	err = f.each(rows.columns, 0, f.NumRows(), func(n int64, values []parquet.Value) bool {
		row := &tableRow{Sample: rows.sample(values, fmt.Sprintf("%s#%d", at.Location, n), 0)}
		if rows.path >= 0 && !values[rows.path].IsNull() {
			row.Path = string(values[rows.path].ByteArray())
		}
		switch {
		case row.Key == "":
			row.Key = fmt.Sprintf("%s#%d", base(at.Location), n)
			row.fail(errors.New("has no key"))
		case t.rows[row.Key] != nil:
			row.fail(fmt.Errorf("key %.80q is there twice in %s", row.Key, base(at.Location)))
		default:
			t.rows[row.Key] = row
		}
		t.order = append(t.order, row)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text(base(at.Location)), f.ranges.because(err))
	}
	return t, nil
}

// complete gives a picture what the table says of it.
func (t *table) complete(s *Sample) {
	row := t.rows[s.Key]
	switch {
	case row == nil:
		s.fail(fmt.Errorf("has no row in %s", base(t.location)))
	case row.met:
		s.fail(fmt.Errorf("key %.80q is there twice", s.Key))
	default:
		row.met = true
		s.Columns = row.Columns
		if s.Caption == "" {
			s.Caption, s.HasCaption = row.Caption, row.HasCaption
		}
		if row.Err != nil && s.Err == nil && !errors.Is(row.Err, ErrDownload) { // a value of a column
			s.fail(row.Err)
		}
	}
}

// rest yields the rows whose pictures were not there.
func (t *table) rest() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		for _, row := range t.order {
			if row.met {
				continue
			}
			if row.Err == nil {
				row.fail(fmt.Errorf("was downloaded, says %s, and is not among the pictures", base(t.location)))
			}
			if !yield(row.Sample) {
				return
			}
		}
	}
}
