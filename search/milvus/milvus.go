// Package milvus keeps the vectors of an index in Milvus: a [search.Store].
//
//	index ──▶ Index.CopyTo ──▶ a new collection ──▶ flushed, indexed, loaded ──▶ the alias NAME leads to it
//	query ──▶ Store.Find ──▶ search by inner product ──▶ rows ──▶ cosines in float64
//
// NAME is an alias of the collection that counts, NAME_1 and so on, which have the fields path, caption, width, height, sha256,
// size, modified, columns (JSON) and embedding. NAME_space has one row that says of which space the vectors are.
//
// It is a module of its own, so that nobody downloads Milvus' client who does not use it. Vectors are float32, which holds the
// float16 values of an index exactly: Milvus Lite, by which this is tested, has no others.
package milvus

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/index"
	"github.com/milvus-io/milvus/client/v2/milvusclient"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/search"
)

const (
	maxDim   = 32768 // of a vector. Source: Milvus' documentation, Milvus Limits, "Maximum dimension"
	maxBytes = 65535 // of a VARCHAR. Source: the same, "max_length"
	batch    = 1000  // rows in a request: far below the 64 MB that one may have, at any dimension
)

// fields are those of a row, but for its vector.
var fields = []string{"path", "caption", "width", "height", "sha256", "size", "modified", "columns"}

// A Store is a collection of Milvus. Many goroutines may use it at once, but for Replace.
type Store struct {
	client *milvusclient.Client
	name   string
	space  clip.Space
	index  index.Index
}

var _ search.Store = &Store{}

// An Option says more of how [Open] makes collections.
type Option func(*Store)

// By has new collections searched by an index of Milvus for inner products (entity.IP), such as one of HNSW: fast, and it finds
// nearly always the nearest. Without it all rows are looked at.
func By(i index.Index) Option { return func(s *Store) { s.index = i } }

// Open opens a collection of a server for vectors of a space, and makes it if it is not there. A collection of another space is a
// [search.SpaceError]. The name has letters, digits and underscores. The Store has to be closed.
func Open(ctx context.Context, config milvusclient.ClientConfig, name string, space clip.Space, o ...Option) (s *Store, err error) {
	if space.Dim < 2 || space.Dim > maxDim {
		return nil, fmt.Errorf("milvus: vectors have %d values, want 2 to %d", space.Dim, maxDim)
	}
	if !space.Normalized {
		return nil, errors.New("milvus: want a space whose vectors have the length 1")
	}
	client, err := milvusclient.New(ctx, &config)
	if err != nil {
		return nil, fmt.Errorf("milvus: %s: %w", config.Address, err)
	}
	s = &Store{client: client, name: name, space: space, index: index.NewFlatIndex(entity.IP)}
	for _, f := range o {
		f(s)
	}
	if err = s.check(ctx); err == nil {
		var there bool
		if there, err = client.HasCollection(ctx, milvusclient.NewHasCollectionOption(name)); err == nil && !there {
			if err = s.create(ctx, s.numbered(1)); err == nil {
				err = client.CreateAlias(ctx, milvusclient.NewCreateAliasOption(s.numbered(1), name))
			}
		}
	}
	if err != nil {
		return nil, errors.Join(s.failed(err), client.Close(ctx))
	}
	return s, nil
}

// numbered returns the name of a collection.
func (s *Store) numbered(n int) string { return s.name + "_" + strconv.Itoa(n) }

// check writes which space the vectors are of, or compares with what is written.
func (s *Store) check(ctx context.Context) error {
	name := s.name + "_space"
	there, err := s.client.HasCollection(ctx, milvusclient.NewHasCollectionOption(name))
	if err != nil {
		return err
	}
	if !there {
		schema := entity.NewSchema().WithName(name).WithField(text("fingerprint", 64).WithIsPrimaryKey(true)).WithField(text("space", maxBytes)).
			WithField(entity.NewField().WithName("none").WithDataType(entity.FieldTypeFloatVector).WithDim(2)) // Milvus wants a vector in every collection
		none := milvusclient.NewCreateIndexOption(name, "none", index.NewFlatIndex(entity.IP))
		if err := s.client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(name, schema).WithIndexOptions(none).WithConsistencyLevel(entity.ClStrong)); err != nil {
			return err
		}
	}
	if err := s.load(ctx, name); err != nil {
		return err
	}
	found, err := s.client.Query(ctx, milvusclient.NewQueryOption(name).WithFilter(`fingerprint != ""`).WithLimit(1).WithOutputFields("fingerprint", "space").WithConsistencyLevel(entity.ClStrong))
	if err != nil {
		return err
	}
	if found.ResultCount == 0 {
		text, err := json.Marshal(s.space)
		if err != nil {
			return err
		}
		_, err = s.client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(name).WithVarcharColumn("fingerprint", []string{s.space.Fingerprint()}).
			WithVarcharColumn("space", []string{string(text)}).WithFloatVectorColumn("none", 2, [][]float32{{1, 0}}))
		return err
	}
	fingerprint, err := found.GetColumn("fingerprint").GetAsString(0)
	if err != nil {
		return err
	}
	if fingerprint == s.space.Fingerprint() {
		return nil
	}
	about, err := found.GetColumn("space").GetAsString(0)
	if err != nil {
		return err
	}
	var was clip.Space
	if err := json.Unmarshal([]byte(about), &was); err != nil {
		return err
	}
	return &search.SpaceError{Path: s.name, Was: was, Now: s.space}
}

func text(name string, bytes int64) *entity.Field {
	return entity.NewField().WithName(name).WithDataType(entity.FieldTypeVarChar).WithMaxLength(bytes)
}

func number(name string) *entity.Field {
	return entity.NewField().WithName(name).WithDataType(entity.FieldTypeInt64)
}

// create makes a collection without rows, which can be searched.
func (s *Store) create(ctx context.Context, name string) error {
	schema := entity.NewSchema().WithName(name).WithField(text("path", maxBytes).WithIsPrimaryKey(true)).WithField(text("caption", maxBytes)).
		WithField(number("width")).WithField(number("height")).WithField(text("sha256", 64)).WithField(number("size")).WithField(number("modified")).
		WithField(entity.NewField().WithName("columns").WithDataType(entity.FieldTypeJSON)).
		WithField(entity.NewField().WithName("embedding").WithDataType(entity.FieldTypeFloatVector).WithDim(int64(s.space.Dim)))
	by := milvusclient.NewCreateIndexOption(name, "embedding", s.index)
	if err := s.client.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(name, schema).WithIndexOptions(by).WithConsistencyLevel(entity.ClStrong)); err != nil {
		return err
	}
	return s.load(ctx, name)
}

func (s *Store) load(ctx context.Context, name string) error {
	task, err := s.client.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(name))
	if err != nil {
		return err
	}
	return task.Await(ctx)
}

// Close closes the connection.
func (s *Store) Close(ctx context.Context) error { return s.client.Close(ctx) }

// Client returns the connection, for requests of one's own.
func (s *Store) Client() *milvusclient.Client { return s.client }

// Space returns the space of the vectors.
func (s *Store) Space() clip.Space { return s.space }

// failed says of which collection an error is.
func (s *Store) failed(err error) error {
	if err == nil || errors.Is(err, search.ErrSpace) {
		return err
	}
	return fmt.Errorf("milvus: %s: %w", s.name, err)
}

// Put adds entries, a thousand at a time, each in the place of the row of the same path, and returns how many were written. Milvus
// has no transactions: after an error those of the first requests are there.
func (s *Store) Put(ctx context.Context, entries iter.Seq2[search.Entry, error]) (int, error) {
	n, err := s.put(ctx, s.name, entries)
	return n, s.failed(err)
}

// Replace writes all entries into a new collection, to which the alias leads once it is complete, and drops the old one. After an
// error nothing has changed. n is how many were written. Only one may be at it at a time.
func (s *Store) Replace(ctx context.Context, entries iter.Seq2[search.Entry, error]) (n int, err error) {
	alias, err := s.client.DescribeAlias(ctx, milvusclient.NewDescribeAliasOption(s.name))
	if err != nil {
		return 0, s.failed(err)
	}
	old, err := strconv.Atoi(strings.TrimPrefix(alias.CollectionName, s.name+"_"))
	if err != nil {
		return 0, s.failed(fmt.Errorf("the alias leads to %q, want %s and a number", alias.CollectionName, s.name+"_"))
	}
	name := s.numbered(old + 1)
	drop := func(ctx context.Context, name string) error {
		return s.client.DropCollection(ctx, milvusclient.NewDropCollectionOption(name))
	}
	if left, err := s.client.HasCollection(ctx, milvusclient.NewHasCollectionOption(name)); err != nil {
		return 0, s.failed(err)
	} else if left { // of one that was interrupted
		if err := drop(ctx, name); err != nil {
			return 0, s.failed(err)
		}
	}
	if err = s.create(ctx, name); err == nil {
		n, err = s.put(ctx, name, entries)
	}
	if err == nil {
		err = s.client.AlterAlias(ctx, milvusclient.NewAlterAliasOption(s.name, name))
	}
	if err != nil {
		return 0, errors.Join(s.failed(err), drop(context.WithoutCancel(ctx), name))
	}
	return n, s.failed(drop(ctx, alias.CollectionName))
}

// put writes entries into a collection, and returns how many.
func (s *Store) put(ctx context.Context, name string, entries iter.Seq2[search.Entry, error]) (n int, err error) {
	seen := map[string]bool{}
	group := make([]search.Entry, 0, batch)
	for e, err := range entries {
		if err == nil {
			err = s.validate(&e)
		}
		if err == nil && seen[e.Path] {
			err = fmt.Errorf("%s: is there twice", e.Path)
		}
		if err != nil {
			return n, err
		}
		seen[e.Path] = true
		if group = append(group, e); len(group) == batch {
			if err := s.upsert(ctx, name, group); err != nil {
				return n, err
			}
			n, group = n+len(group), group[:0]
		}
	}
	if len(group) > 0 {
		if err := s.upsert(ctx, name, group); err != nil {
			return n, err
		}
		n += len(group)
	}
	task, err := s.client.Flush(ctx, milvusclient.NewFlushOption(name))
	if err != nil {
		return n, err
	}
	return n, task.Await(ctx)
}

// validate says what of an entry Milvus cannot keep.
func (s *Store) validate(e *search.Entry) error {
	for _, t := range []struct{ what, text string }{{"path", e.Path}, {"caption", e.Caption}} {
		switch {
		case !utf8.ValidString(t.text):
			return fmt.Errorf("the %s %.200q is not UTF-8, which is all that Milvus keeps", t.what, t.text)
		case len(t.text) > maxBytes:
			return fmt.Errorf("the %s %.60q... has %d bytes, of which Milvus keeps %d", t.what, t.text, len(t.text), maxBytes)
		}
	}
	if e.Path == "" {
		return errors.New("a row has no path")
	}
	if len(e.Half) != s.space.Dim {
		return fmt.Errorf("%s: a vector of %d values, want %d", e.Path, len(e.Half), s.space.Dim)
	}
	for i, h := range e.Half {
		if h&0x7c00 == 0x7c00 {
			return fmt.Errorf("%s: value %d of the vector is NaN or infinite, want a finite number", e.Path, i+1)
		}
	}
	return nil
}

// upsert writes a few entries.
func (s *Store) upsert(ctx context.Context, name string, all []search.Entry) error {
	var paths, captions, hashes []string
	var widths, heights, sizes, times []int64
	var columns [][]byte
	var vectors [][]float32
	for _, e := range all {
		more := e.Columns
		if more == nil {
			more = map[string]string{}
		}
		text, err := json.Marshal(more)
		if err != nil {
			return err
		}
		paths, captions, hashes = append(paths, e.Path), append(captions, e.Caption), append(hashes, hex.EncodeToString(e.SHA256[:]))
		widths, heights = append(widths, int64(e.Width)), append(heights, int64(e.Height))
		sizes, times = append(sizes, e.Size), append(times, e.Modified)
		columns, vectors = append(columns, text), append(vectors, e.Float32())
	}
	_, err := s.client.Upsert(ctx, milvusclient.NewColumnBasedInsertOption(name).
		WithVarcharColumn("path", paths).WithVarcharColumn("caption", captions).WithInt64Column("width", widths).WithInt64Column("height", heights).
		WithVarcharColumn("sha256", hashes).WithInt64Column("size", sizes).WithInt64Column("modified", times).
		WithColumns(column.NewColumnJSONBytes("columns", columns)).WithFloatVectorColumn("embedding", s.space.Dim, vectors))
	return err
}

// Delete takes rows away.
func (s *Store) Delete(ctx context.Context, paths []string) (n int, err error) {
	for part := range slices.Chunk(paths, batch) {
		r, err := s.client.Delete(ctx, milvusclient.NewDeleteOption(s.name).WithStringIDs("path", part))
		if err != nil {
			return n, s.failed(err)
		}
		n += int(r.DeleteCount)
	}
	return n, nil
}

// more is how many rows are asked for beyond k, of which products in float64 choose: Milvus' own sums are float32.
const more = 16

// Find returns the k rows nearest to a query [E], the nearest first, and of equal ones that with the smaller path. Cosines are
// products in float64. Without [By] it is exact but where more than 16 rows differ by less from the last one found than float32 can
// tell. Milvus finds at most 16,384 rows.
func (s *Store) Find(ctx context.Context, query []float32, k int) ([]search.Hit, error) {
	return s.FindWhere(ctx, query, k, "")
}

// FindWhere is Find among the rows for which an expression of Milvus holds, such as `columns["year"] == "2024"`.
func (s *Store) FindWhere(ctx context.Context, query []float32, k int, where string) ([]search.Hit, error) {
	if len(query) != s.space.Dim {
		return nil, fmt.Errorf("milvus: %s: a query has %d values, want %d: they are of different models", s.name, len(query), s.space.Dim)
	}
	if k < 1 {
		return nil, fmt.Errorf("milvus: %d rows are asked for, want 1 or more", k)
	}
	unit, err := search.Combine(search.Term{Vector: query, Weight: 1})
	if err != nil {
		return nil, err
	}
	o := milvusclient.NewSearchOption(s.name, min(k+more, max(k, 16384)), []entity.Vector{entity.FloatVector(unit)}).WithANNSField("embedding").
		WithOutputFields(append(slices.Clone(fields), "embedding")...).WithConsistencyLevel(entity.ClStrong)
	if where != "" {
		o = o.WithFilter(where)
	}
	found, err := s.client.Search(ctx, o)
	if err != nil {
		return nil, s.failed(err)
	}
	var hits []search.Hit
	for _, r := range found {
		if r.Err != nil {
			return nil, s.failed(r.Err)
		}
		for i := range r.ResultCount {
			h, err := hit(&r, i, unit)
			if err != nil {
				return nil, s.failed(err)
			}
			hits = append(hits, h)
		}
	}
	slices.SortStableFunc(hits, func(a, b search.Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), strings.Compare(a.Path, b.Path))
	})
	return hits[:min(k, len(hits))], nil
}

// hit returns a row of a result that was found by a query of length 1.
func hit(r *milvusclient.ResultSet, i int, unit []float32) (h search.Hit, err error) {
	h.Index = -1
	var texts [3]string
	var numbers [4]int64
	var errs []error
	for n, name := range []string{"path", "caption", "sha256"} {
		texts[n], err = r.GetColumn(name).GetAsString(i)
		errs = append(errs, err)
	}
	for n, name := range []string{"width", "height", "size", "modified"} {
		numbers[n], err = r.GetColumn(name).GetAsInt64(i)
		errs = append(errs, err)
	}
	columns, err1 := r.GetColumn("columns").Get(i)
	vector, err2 := r.GetColumn("embedding").Get(i)
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		return h, err
	}
	h.Path, h.Caption = texts[0], texts[1]
	h.Width, h.Height, h.Size, h.Modified = int(numbers[0]), int(numbers[1]), numbers[2], numbers[3]
	hash, err := hex.DecodeString(texts[2])
	if err != nil || len(hash) != len(h.SHA256) {
		return h, fmt.Errorf("%s: sha256 is %.70q, want %d hexadecimal digits", h.Path, texts[2], 2*len(h.SHA256))
	}
	copy(h.SHA256[:], hash)
	if text, ok := columns.([]byte); ok && len(text) > 0 {
		if err := json.Unmarshal(text, &h.Columns); err != nil {
			return h, fmt.Errorf("%s: columns: %w", h.Path, err)
		}
	}
	if len(h.Columns) == 0 {
		h.Columns = nil
	}
	stored, ok := vector.(entity.FloatVector)
	if !ok || len(stored) != len(unit) {
		return h, fmt.Errorf("%s: the vector is %T, want %d values in float32", h.Path, vector, len(unit))
	}
	half := make([]uint16, len(stored))
	for j, v := range stored {
		half[j] = kernel.ToHalf(v)
	}
	h.Cosine = kernel.ExactDot(half, unit)
	return h, nil
}
