package input

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/vitago/vitago/internal/webdataset"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// A parquetFile is an open parquet.
type parquetFile struct {
	*parquet.File
	ranges *ranges
	leaves []leaf
}

// A leaf is a column of one value a row, or of none.
type leaf struct {
	name string // with dots between its parts
	node parquet.Node
	at   int // among the columns of a row group
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

// footer is how much of the end of a parquet is read at once: the metadata of a few hundred row groups.
const footer = 64 << 10

// openParquet reads the footer of a parquet, which has to be of a version.
func (a *access) openParquet(location string, size int64, version string) (*parquetFile, error) {
	s, name, err := a.stores.at(a.ctx, location)
	if err != nil {
		return nil, err
	}
	r := &ranges{access: a, store: s, info: store.Info{Name: name, Size: size, Version: version}}
	p := &parquetFile{ranges: r}
	err = safely(func() (err error) {
		if err := r.readTail(footer); err != nil {
			return err
		}
		p.File, err = parquet.OpenFile(r, size, parquet.SkipMagicBytes(true), parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true), parquet.ReadBufferSize(footer))
		if err != nil {
			return err
		}
		return p.look()
	})
	r.close()
	if err != nil {
		return nil, r.because(err)
	}
	return p, nil
}

// look finds the columns, and where their chunks end.
func (p *parquetFile) look() error {
	for _, path := range p.Schema().Columns() {
		l, ok := p.Schema().Lookup(path...)
		if !ok {
			return fmt.Errorf("parquet: column %q is not there", strings.Join(path, "."))
		}
		if l.MaxRepetitionLevel == 0 {
			p.leaves = append(p.leaves, leaf{strings.Join(path, "."), l.Node, l.ColumnIndex})
		}
	}
	var rows int64
	for i, g := range p.Metadata().RowGroups {
		if g.NumRows < 0 || len(g.Columns) != len(p.Schema().Columns()) {
			return fmt.Errorf("parquet: row group %d has %d rows and %d columns, want %d columns", i, g.NumRows, len(g.Columns), len(p.Schema().Columns()))
		}
		rows += g.NumRows
		for _, c := range g.Columns {
			m := c.MetaData
			from := m.DataPageOffset
			if m.DictionaryPageOffset > 0 {
				from = min(from, m.DictionaryPageOffset)
			}
			end := from + m.TotalCompressedSize
			if from < 0 || end < from || end > p.ranges.info.Size {
				return fmt.Errorf("parquet: row group %d has a column at %d to %d of %d bytes", i, from, end, p.ranges.info.Size)
			}
			p.ranges.ends = append(p.ranges.ends, end)
		}
	}
	if rows != p.NumRows() {
		return fmt.Errorf("parquet: row groups have %d rows, and the file says %d", rows, p.NumRows())
	}
	slices.Sort(p.ranges.ends)
	return nil
}

// leaf returns the column of a name.
func (p *parquetFile) leaf(name string) (leaf, bool) {
	i := slices.IndexFunc(p.leaves, func(l leaf) bool { return l.name == name })
	if i < 0 {
		return leaf{}, false
	}
	return p.leaves[i], true
}

// logical returns the logical type of a column, or nil.
func (l leaf) logical() format.LogicalTypeValue {
	if t := l.node.Type().LogicalType(); t != nil {
		return t.Value
	}
	return nil
}

// isText says whether values are texts.
func (l leaf) isText() bool {
	if l.node.Type().Kind() != parquet.ByteArray {
		return false
	}
	switch l.logical().(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		return true
	}
	return false
}

// isBytes says whether values are bytes that are said to be nothing else.
func (l leaf) isBytes() bool { return l.node.Type().Kind() == parquet.ByteArray && l.logical() == nil }

// structBytes is the column of bytes in the struct that Hugging Face's datasets have for a picture. Source: datasets, features/image.py.
const structBytes = ".bytes"

// pictureNames are names of columns of pictures, those that are taken first in front: Hugging Face's, img2dataset's.
var pictureNames = []string{"image" + structBytes, "image", "jpg", "jpeg", "png", "webp", "img" + structBytes, "img", "image_bytes", "bytes"}

// noPictures is when a parquet has no column of bytes.
type noPictures struct{ error }

// pictures returns the column of pictures.
func (p *parquetFile) pictures(o Options) (leaf, error) {
	var all, names []string
	for _, l := range p.leaves {
		names = append(names, l.name)
		if l.isBytes() && (!strings.Contains(l.name, ".") || strings.HasSuffix(l.name, structBytes)) {
			all = append(all, l.name)
		}
	}
	if o.Bytes != "" {
		for _, name := range []string{o.Bytes, o.Bytes + structBytes} {
			if l, ok := p.leaf(name); ok && l.node.Type().Kind() == parquet.ByteArray {
				return l, nil
			}
		}
		return leaf{}, noPictures{fmt.Errorf("no column %q of bytes: got %s", o.Bytes, strings.Join(names, ", "))}
	}
	if len(all) == 0 {
		return leaf{}, noPictures{fmt.Errorf("no column of bytes, such as image: got %s", strings.Join(names, ", "))}
	}
	for _, name := range pictureNames {
		if len(all) > 1 && slices.Contains(all, name) {
			all = []string{name}
		}
	}
	if len(all) > 1 {
		return leaf{}, fmt.Errorf("%d columns of bytes, %s: say which has the pictures", len(all), strings.Join(all, ", "))
	}
	l, _ := p.leaf(all[0])
	return l, nil
}

// The columns of img2dataset's tables. Source: rom1504/img2dataset, downloader.py.
const (
	tableKey    = "key"
	tableURL    = "url"
	tableStatus = "status"
	tableError  = "error_message"

	statusSuccess = "success"
)

// isTable says whether it is img2dataset's.
func (p *parquetFile) isTable() bool {
	for _, name := range []string{tableKey, tableStatus, tableError} {
		if l, ok := p.leaf(name); !ok || l.node.Type().Kind() != parquet.ByteArray {
			return false
		}
	}
	return true
}

// text returns the column of texts that an option names, or the first of those that have one of the names.
func (p *parquetFile) text(what, option string, names ...string) (leaf, bool, error) {
	if option == "" {
		for _, name := range names {
			if l, ok := p.leaf(name); ok && l.isText() {
				return l, true, nil
			}
		}
		return leaf{}, false, nil
	}
	if l, ok := p.leaf(option); ok && typeOf(l) != "" {
		return l, true, nil
	}
	return leaf{}, false, fmt.Errorf("no column %q of %s", option, what)
}

func (p *parquetFile) caption(o Options) (leaf, bool, error) {
	return p.text("captions", o.Caption, webdataset.Captions...)
}

func (p *parquetFile) key(o Options) (leaf, bool, error) {
	return p.text("keys", o.Key, tableKey, "__key__")
}

// source is put before the name of a column that is one of a dataset's own.
const source = "source_"

// columns returns what rows have besides picture, caption and key.
func (p *parquetFile) columns(o Options) (columns []output.Column, err error) {
	bytes, _ := p.pictures(o)
	caption, _, err1 := p.caption(o)
	key, _, err2 := p.key(o)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	for _, l := range p.leaves {
		switch {
		case l.name == bytes.name, l.name == caption.name, l.name == key.name, strings.Contains(l.name, "."), typeOf(l) == "":
			continue
		case p.isTable() && (l.name == tableStatus || l.name == tableError):
			continue
		}
		name := l.name
		if output.IsOwn(strings.ToLower(name)) {
			name = source + name
		}
		columns = append(columns, output.Column{Name: name, Type: typeOf(l)})
	}
	return columns, nil
}

// typeOf returns the type that the values of a column get, or "" if it is none that they have.
func typeOf(l leaf) output.Type {
	switch l.logical().(type) {
	case *format.NullType, *format.DateType, *format.TimestampType, *format.StringType, *format.EnumType, *format.JsonType:
		return output.Text
	case *format.DecimalType, *format.TimeType, *format.UUIDType, *format.Float16Type, *format.BsonType:
		return ""
	}
	switch l.node.Type().Kind() {
	case parquet.Boolean:
		return output.Bool
	case parquet.Int32, parquet.Int64:
		return output.Int64
	case parquet.Float, parquet.Double:
		return output.Float64
	}
	return ""
}

// value returns the value of a column in a type, or nil if there is none.
func (l leaf) value(v parquet.Value, want output.Type) (any, error) {
	if v.IsNull() {
		return nil, nil
	}
	var is any
	switch t := l.logical().(type) {
	case *format.DateType:
		is = time.Unix(int64(v.Int32())*24*60*60, 0).UTC().Format(time.DateOnly)
	case *format.TimestampType:
		n := v.Int64()
		var at time.Time
		switch t.Unit.Value.(type) {
		case *format.MilliSeconds:
			at = time.UnixMilli(n)
		case *format.MicroSeconds:
			at = time.UnixMicro(n)
		default:
			at = time.Unix(0, n)
		}
		is = at.UTC().Format(time.RFC3339Nano)
	case *format.IntType:
		switch {
		case v.Kind() == parquet.Int32 && !t.IsSigned:
			is = int64(v.Uint32())
		case v.Kind() == parquet.Int32:
			is = int64(v.Int32())
		case !t.IsSigned && v.Int64() < 0:
			return nil, fmt.Errorf("%s is %d, want at most %d", l.name, v.Uint64(), math.MaxInt64)
		default:
			is = v.Int64()
		}
	default:
		switch v.Kind() {
		case parquet.Boolean:
			is = v.Boolean()
		case parquet.Int32:
			is = int64(v.Int32())
		case parquet.Int64:
			is = v.Int64()
		case parquet.Float:
			is = float64(v.Float())
		case parquet.Double:
			is = v.Double()
		case parquet.ByteArray:
			s := string(v.ByteArray())
			if !utf8.ValidString(s) {
				return nil, fmt.Errorf("%s is %.40q, want UTF-8", l.name, s)
			}
			is = s
		}
	}
	return as(l.name, is, want)
}

// as returns a value in a type. pandas makes other types of a column when a value of it is missing, so shards of a dataset may differ.
func as(name string, is any, want output.Type) (any, error) {
	switch want {
	case output.Text:
		switch v := is.(type) {
		case string:
			return v, nil
		case int64:
			return strconv.FormatInt(v, 10), nil
		case float64:
			return strconv.FormatFloat(v, 'g', -1, 64), nil
		case bool:
			return strconv.FormatBool(v), nil
		}
	case output.Int64:
		switch v := is.(type) {
		case int64:
			return v, nil
		case float64:
			if n := int64(v); float64(n) == v && math.Abs(v) < 1<<53 {
				return n, nil
			}
			if math.IsNaN(v) {
				return nil, nil
			}
		}
	case output.Float64:
		switch v := is.(type) {
		case float64:
			return v, nil
		case int64:
			return float64(v), nil
		}
	case output.Bool:
		if v, ok := is.(bool); ok {
			return v, nil
		}
	}
	return nil, fmt.Errorf("%s is %.40q, want %s as in the first part", name, fmt.Sprint(is), want)
}

// A cursor reads the values of a column, one a row. A value is valid until the next one.
type cursor struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buffer [64]parquet.Value
	at, n  int
}

// newCursor returns a cursor of a column from a row of a group on.
func newCursor(g parquet.RowGroup, l leaf, row int64) (*cursor, error) {
	c := &cursor{}
	return c, safely(func() error {
		c.pages = g.ColumnChunks()[l.at].Pages()
		if row > 0 {
			return c.pages.SeekToRow(row)
		}
		return nil
	})
}

func (c *cursor) next() (v parquet.Value, err error) {
	if c.at == c.n {
		if err := safely(c.fill); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("parquet: a column has too few values: %w", io.ErrUnexpectedEOF)
			}
			return v, err
		}
	}
	v = c.buffer[c.at]
	c.at++
	return v, nil
}

func (c *cursor) fill() error {
	for {
		if c.values != nil {
			n, err := c.values.ReadValues(c.buffer[:])
			if c.at, c.n = 0, n; n > 0 {
				return nil
			}
			if err == nil {
				err = io.ErrNoProgress
			}
			if !errors.Is(err, io.EOF) {
				return err
			}
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.values = page, page.Values()
	}
}

func (c *cursor) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	if c.pages != nil {
		c.pages.Close()
	}
}

// each gives values of columns to a function, from one row on so many, until it returns false. They are valid until it returns. Other columns
// are not read.
func (p *parquetFile) each(columns []leaf, first, rows int64, f func(row int64, values []parquet.Value) bool) error {
	defer p.ranges.close()
	if first < 0 || rows < 0 || first > p.NumRows()-rows {
		return fmt.Errorf("parquet: %d rows from row %d on of %d", rows, first, p.NumRows())
	}
	values := make([]parquet.Value, len(columns))
	row := int64(0)
	for _, g := range p.RowGroups() {
		n := g.NumRows()
		from, to := max(first, row), min(first+rows, row+n)
		if from < to {
			more, err := p.group(g, columns, from, from-row, to-from, values, f)
			if err != nil || !more {
				return err
			}
		}
		row += n
	}
	return nil
}

func (p *parquetFile) group(g parquet.RowGroup, columns []leaf, number, from, rows int64, values []parquet.Value, f func(row int64, values []parquet.Value) bool) (more bool, err error) {
	cursors := make([]*cursor, len(columns))
	defer func() {
		for _, c := range cursors {
			if c != nil {
				c.close()
			}
		}
	}()
	for i, l := range columns {
		if cursors[i], err = newCursor(g, l, from); err != nil {
			return false, err
		}
	}
	for i := range rows {
		for j, c := range cursors {
			if values[j], err = c.next(); err != nil {
				return false, fmt.Errorf("row %d, column %s: %w", number+i, columns[j].name, err)
			}
		}
		if !f(number+i, values) {
			return false, nil
		}
	}
	return true, nil
}

// rows gives the parts of a parquet: whole row groups up to so many rows as a part may have, or pieces of one that has more.
func (l *lister) rows(location string, i store.Info, f *parquetFile) error {
	if err := l.once(location); err != nil {
		return err
	}
	if _, err := f.pictures(l.o); err != nil {
		return err
	}
	_, _, err1 := f.caption(l.o)
	_, _, err2 := f.key(l.o)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p := Part{Kind: parquetPart, Location: location, Size: i.Size, Version: i.Version}
	limit := int64(l.o.perShard())
	if f.isTable() { // img2dataset has cut it
		limit = max(f.NumRows(), 1)
	}
	give := func() error {
		done := p
		p.First, p.Rows = p.First+p.Rows, 0
		if done.Rows == 0 {
			return nil
		}
		return l.part(done)
	}
	for _, g := range f.RowGroups() {
		n := g.NumRows()
		if p.Rows+n > limit {
			if err := give(); err != nil {
				return err
			}
		}
		for n > 0 {
			some := min(n, limit-p.Rows)
			p.Rows += some
			if n -= some; n > 0 {
				if err := give(); err != nil {
					return err
				}
			}
		}
	}
	return give()
}

// parquet yields the pictures of rows.
func (r *Reader) parquet(yield func(Sample, error) bool) {
	p := r.part
	f, err := r.openParquet(p.Location, p.Size, p.Version)
	if err != nil {
		yield(Sample{}, err)
		return
	}
	rows, err := f.reader(r.options)
	if err != nil {
		yield(Sample{}, damaged(err))
		return
	}
	sums, more := sha256.New(), true
	keys := map[key]bool{}
	err = f.each(rows.columns, p.First, p.Rows, func(row int64, values []parquet.Value) bool {
		s := rows.sample(values, fmt.Sprintf("%s#%d", p.Location, row), r.options.maxBytes())
		if s.Key == "" {
			if s.Key = fmt.Sprintf("%s#%d", base(p.Location), row); rows.key >= 0 {
				s.fail(errors.New("has no key"))
			}
		}
		if k := keyOf(s.Key); keys[k] {
			s.fail(fmt.Errorf("key %.80q is there twice", s.Key))
		} else {
			keys[k] = true
		}
		if s.Err == nil {
			s.SHA256 = sha256.Sum256(s.Image)
			fmt.Fprintf(sums, "%x  %s\n", s.SHA256, text(s.Key))
		}
		more = yield(s, nil)
		return more
	})
	switch {
	case err != nil && more:
		yield(Sample{}, f.ranges.because(err))
	case more:
		r.sum = hex.EncodeToString(sums.Sum(nil))
	}
}

// base returns the last part of a location.
func base(location string) string { return location[strings.LastIndexAny(location, `/\`)+1:] }

// fail gives a sample an error, if it has none, and takes its picture.
func (s *Sample) fail(err error) {
	if s.Err == nil {
		s.Err = err
	}
	s.Image = nil
}

// A rowReader makes samples of rows.
type rowReader struct {
	columns                                   []leaf // that are read
	pictures, path, caption, key, status, why int    // among them, or -1
	user                                      []int  // of Options.Columns, or -1
	options                                   Options
}

// reader returns what makes samples of the rows of a file.
func (p *parquetFile) reader(o Options) (*rowReader, error) {
	r := &rowReader{options: o, pictures: -1, path: -1, caption: -1, key: -1, status: -1, why: -1}
	want := func(l leaf) int {
		if i := slices.IndexFunc(r.columns, func(m leaf) bool { return m.name == l.name }); i >= 0 {
			return i
		}
		r.columns = append(r.columns, l)
		return len(r.columns) - 1
	}
	named := func(name string) int {
		if l, ok := p.leaf(name); ok && l.node.Type().Kind() == parquet.ByteArray {
			return want(l)
		}
		return -1
	}
	bytes, err := p.pictures(o)
	if err != nil && !(p.isTable() && errors.As(err, new(noPictures))) {
		return nil, err
	}
	if err == nil {
		r.pictures = want(bytes)
		if whole, ok := strings.CutSuffix(bytes.name, structBytes); ok {
			r.path = named(whole + ".path")
		}
	}
	caption, ok, err := p.caption(o)
	if err != nil {
		return nil, err
	}
	if ok {
		r.caption = want(caption)
	}
	key, ok, err := p.key(o)
	if err != nil {
		return nil, err
	}
	if ok {
		r.key = want(key)
	}
	if p.isTable() {
		r.status, r.why = named(tableStatus), named(tableError)
		if r.pictures < 0 {
			r.path = named(tableURL)
		}
	}
	for _, c := range o.Columns {
		name := c.Name
		if own, ok := strings.CutPrefix(name, source); ok && output.IsOwn(strings.ToLower(own)) {
			name = own
		}
		at := -1
		if l, ok := p.leaf(name); ok && typeOf(l) != "" {
			at = want(l)
		}
		r.user = append(r.user, at)
	}
	return r, nil
}

// sample returns the sample of a row.
func (r *rowReader) sample(values []parquet.Value, at string, limit int64) (s Sample) {
	get := func(i int) string {
		if i < 0 || values[i].IsNull() {
			return ""
		}
		v, err := r.columns[i].value(values[i], output.Text)
		if err != nil {
			s.fail(err)
			return ""
		}
		t, _ := v.(string)
		return t
	}
	s.Path = at
	s.Key = get(r.key)
	s.Caption = strings.TrimSpace(get(r.caption))
	s.HasCaption = s.Caption != ""
	s.Columns = make([]any, len(r.user))
	for i, at := range r.user {
		if at >= 0 {
			v, err := r.columns[at].value(values[at], r.options.Columns[i].Type)
			if err != nil {
				s.fail(err)
			}
			s.Columns[i] = v
		}
	}
	if r.status >= 0 {
		if status := get(r.status); status != statusSuccess {
			s.Err = nil
			s.fail(failedDownload(status, get(r.why)))
			return s
		}
	}
	if r.pictures < 0 || s.Err != nil {
		return s
	}
	switch v := values[r.pictures]; {
	case v.IsNull():
		if path := get(r.path); path != "" {
			s.fail(fmt.Errorf("has no bytes, but the path %.200q: the picture is not in the parquet", path))
		} else {
			s.fail(errors.New("has no bytes"))
		}
	case int64(len(v.ByteArray())) > limit:
		s.fail(fmt.Errorf("has %d bytes, want at most %d", len(v.ByteArray()), limit))
	default:
		s.Image = slices.Clone(v.ByteArray())
	}
	return s
}

// failedDownload is the error of a picture that img2dataset could not download, with its reason.
func failedDownload(status, why string) error {
	if why == "" {
		why = "status " + strconv.Quote(status)
	}
	return fmt.Errorf("%w: %.400s", ErrDownload, why)
}
