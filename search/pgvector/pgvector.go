// Package pgvector keeps the vectors of an index in Postgres, by the extension pgvector 0.7 or later: a [search.Store].
//
//	index ──▶ Index.CopyTo ──▶ COPY (binary) ──▶ temporary table ──▶ INSERT … ON CONFLICT ──▶ TABLE
//	query ──▶ Store.Find ──▶ ORDER BY embedding <#> query ──▶ rows ──▶ cosines in float64
//
// A table has a row for each picture, and TABLE_space one row that says of which space the vectors are:
//
//	path text PRIMARY KEY, caption text, width integer, height integer, sha256 bytea, size bigint, modified bigint,
//	columns jsonb, embedding halfvec(E)
//
// It is a module of its own, so that nobody downloads Postgres' driver who does not use it. Other programs read the table by SQL,
// and may add columns with defaults to it, and indexes.
//
// Sources: pgvector/pgvector, src/halfvec.c, halfvec_recv; postgres, COPY, binary format.
package pgvector

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/search"
)

// maxDim is how many values a halfvec has at most.
// Source: pgvector/pgvector, src/halfvec.h, HALFVEC_MAX_DIM.
const maxDim = 16000

// A Store is a table of Postgres. Many goroutines may use it at once.
type Store struct {
	pool  *pgxpool.Pool
	name  string
	table string // quoted
	space clip.Space
	ef    int // candidates of a search by the index; 0 without it
}

var _ search.Store = &Store{}

// Open opens a table, NAME or SCHEMA.NAME, of the database that a connection string names as of pgx, for vectors of a space. It
// makes the extension and the table if they are not there. A table of another space is a [search.SpaceError]. The Store has to
// be closed.
func Open(ctx context.Context, connection, name string, space clip.Space) (*Store, error) {
	if space.Dim < 1 || space.Dim > maxDim {
		return nil, fmt.Errorf("pgvector: vectors have %d values, want 1 to %d", space.Dim, maxDim)
	}
	if !space.Normalized {
		return nil, errors.New("pgvector: want a space whose vectors have the length 1")
	}
	parts := strings.Split(name, ".")
	if len(parts) > 2 || slices.Contains(parts, "") {
		return nil, fmt.Errorf("pgvector: the table is %q, want NAME or SCHEMA.NAME", name)
	}
	config, err := pgxpool.ParseConfig(connection)
	if err != nil {
		return nil, fmt.Errorf("pgvector: %w", err)
	}
	s := &Store{name: name, table: pgx.Identifier(parts).Sanitize(), space: space}
	parts[len(parts)-1] += "_space"
	if err := s.create(ctx, config.ConnConfig, pgx.Identifier(parts).Sanitize()); err != nil {
		return nil, s.failed(err)
	}
	config.AfterConnect = register
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, s.failed(err)
	}
	return s, nil
}

// create makes the tables that are not there, and checks the space. Two that create at once wait for each other.
func (s *Store) create(ctx context.Context, config *pgx.ConnConfig, about string) error {
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		const lock = 0x7669_7461_676f // "vitago"
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lock)); err != nil {
			return err
		}
		text, err := json.Marshal(s.space)
		if err != nil {
			return err
		}
		for _, sql := range []string{
			"CREATE EXTENSION IF NOT EXISTS vector",
			"CREATE TABLE IF NOT EXISTS " + about + " (one boolean PRIMARY KEY DEFAULT true CHECK (one), fingerprint text NOT NULL, space jsonb NOT NULL)",
			fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (path text PRIMARY KEY, caption text NOT NULL, width integer NOT NULL, height integer NOT NULL, sha256 bytea NOT NULL, "+
				"size bigint NOT NULL, modified bigint NOT NULL, columns jsonb NOT NULL, embedding halfvec(%d) NOT NULL)", s.table, s.space.Dim),
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+about+" (fingerprint, space) VALUES ($1, $2) ON CONFLICT DO NOTHING", s.space.Fingerprint(), text); err != nil {
			return err
		}
		var fingerprint string
		var was clip.Space
		if err := tx.QueryRow(ctx, "SELECT fingerprint, space FROM "+about).Scan(&fingerprint, &was); err != nil {
			return err
		}
		if fingerprint != s.space.Fingerprint() {
			return &search.SpaceError{Path: s.name, Was: was, Now: s.space}
		}
		return nil
	})
}

// register makes a connection read and write halfvec and vector as bytes.
func register(ctx context.Context, c *pgx.Conn) error {
	for _, name := range []string{"halfvec", "vector"} {
		var oid uint32
		if err := c.QueryRow(ctx, "SELECT $1::regtype::oid", name).Scan(&oid); err != nil {
			return fmt.Errorf("the type %s, which pgvector 0.7 has: %w", name, err)
		}
		c.TypeMap().RegisterType(&pgtype.Type{Name: name, OID: oid, Codec: pgtype.ByteaCodec{}})
	}
	return nil
}

// Close closes all connections.
func (s *Store) Close() { s.pool.Close() }

// Pool returns the connections, for SQL of one's own. A halfvec is bytes to them: see [Halfvec].
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Space returns the space of the vectors.
func (s *Store) Space() clip.Space { return s.space }

// failed says of which table an error is.
func (s *Store) failed(err error) error {
	if err == nil || errors.Is(err, search.ErrSpace) {
		return err
	}
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) && e.Detail != "" {
		return fmt.Errorf("pgvector: %s: %w: %s", s.name, err, e.Detail)
	}
	return fmt.Errorf("pgvector: %s: %w", s.name, err)
}

// fields are the columns, in the order of [values].
var fields = []string{"path", "caption", "width", "height", "sha256", "size", "modified", "columns", "embedding"}

// Put adds entries in one transaction, each in the place of the row of the same path; one that stands twice is an error. It
// returns how many rows are new or other than they were.
func (s *Store) Put(ctx context.Context, entries iter.Seq2[search.Entry, error]) (int, error) {
	return s.load(ctx, entries, false)
}

// Replace is Put, and takes away all rows of other paths.
func (s *Store) Replace(ctx context.Context, entries iter.Seq2[search.Entry, error]) (int, error) {
	return s.load(ctx, entries, true)
}

func (s *Store) load(ctx context.Context, entries iter.Seq2[search.Entry, error], all bool) (n int, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE vitago_incoming (LIKE "+s.table+" INCLUDING DEFAULTS, PRIMARY KEY (path)) ON COMMIT DROP"); err != nil {
			return err
		}
		next, stop := iter.Pull2(entries)
		defer stop()
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"vitago_incoming"}, fields, pgx.CopyFromFunc(func() ([]any, error) {
			e, err, ok := next()
			if !ok || err != nil {
				return nil, err
			}
			return s.values(&e)
		})); err != nil {
			return err
		}
		list := strings.Join(fields, ", ")
		set := make([]string, 0, len(fields)-1)
		for _, f := range fields[1:] {
			set = append(set, f+" = EXCLUDED."+f)
		}
		tag, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s AS t (%s) SELECT %[2]s FROM vitago_incoming ON CONFLICT (path) DO UPDATE SET %s WHERE (t.%s) IS DISTINCT FROM (EXCLUDED.%s)",
			s.table, list, strings.Join(set, ", "), strings.Join(fields, ", t."), strings.Join(fields, ", EXCLUDED.")))
		if err != nil {
			return err
		}
		n = int(tag.RowsAffected())
		if all {
			_, err = tx.Exec(ctx, "DELETE FROM "+s.table+" t WHERE NOT EXISTS (SELECT FROM vitago_incoming i WHERE i.path = t.path)")
		}
		return err
	})
	if err != nil {
		return 0, s.failed(err)
	}
	return n, nil
}

// values returns those of a row.
func (s *Store) values(e *search.Entry) ([]any, error) {
	if !utf8.ValidString(e.Path) || strings.ContainsRune(e.Path, 0) {
		return nil, fmt.Errorf("the path %q is not UTF-8, which is all that Postgres keeps", e.Path)
	}
	if len(e.Half) != s.space.Dim {
		return nil, fmt.Errorf("%s: a vector of %d values, want %d", e.Path, len(e.Half), s.space.Dim)
	}
	columns := e.Columns
	if columns == nil {
		columns = map[string]string{}
	}
	return []any{e.Path, e.Caption, e.Width, e.Height, e.SHA256[:], e.Size, e.Modified, columns, Halfvec(e.Half)}, nil
}

// Delete takes rows away.
func (s *Store) Delete(ctx context.Context, paths []string) (int, error) {
	tag, err := s.pool.Exec(ctx, "DELETE FROM "+s.table+" WHERE path = ANY($1)", paths)
	return int(tag.RowsAffected()), s.failed(err)
}

// An Index is one of HNSW, by which Find is fast, and finds nearly always the nearest. The zero value is pgvector's defaults.
type Index struct {
	M              int // links of a row; 0 is 16
	EfConstruction int // candidates while a row is put in; 0 is 64
}

// CreateIndex makes one of HNSW if there is none; best when the rows are there. Without it Find looks at all rows. Postgres permits
// it for vectors of at most 4,000 values.
func (s *Store) CreateIndex(ctx context.Context, o Index) error {
	if o.M == 0 {
		o.M = 16
	}
	if o.EfConstruction == 0 {
		o.EfConstruction = 64
	}
	parts := strings.Split(s.name, ".")
	name := pgx.Identifier{parts[len(parts)-1] + "_hnsw"}.Sanitize()
	_, err := s.pool.Exec(ctx, fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s USING hnsw (embedding halfvec_ip_ops) WITH (m = %d, ef_construction = %d)", name, s.table, o.M, o.EfConstruction))
	return s.failed(err)
}

// Near returns the same table, searched by the index of [Store.CreateIndex]: fast, and finds nearly all of the nearest rows. ef is how
// many candidates a search keeps, from 1 to 1000, pgvector's hnsw.ef_search: more find more of them. It finds at most ef rows. The
// query is rounded to float16. Postgres looks at all rows nevertheless where it takes that for faster, as of a few hundred. It is
// closed with the other.
func (s *Store) Near(ef int) *Store {
	if ef < 1 || ef > 1000 {
		panic(fmt.Sprintf("pgvector: %d candidates, want 1 to 1000", ef))
	}
	other := *s
	other.ef = ef
	return &other
}

// more is how many rows are asked for beyond k, of which products in float64 choose: Postgres' own sums are float32.
const more = 16

// Find returns the k rows nearest to a query [E], the nearest first, and of equal ones that with the smaller path. Cosines are
// products in float64 of the vectors as they are stored. It looks at all rows, and is exact but where more than 16 of them differ by
// less from the last one found than float32 can tell; see [Store.Near].
func (s *Store) Find(ctx context.Context, query []float32, k int) ([]search.Hit, error) {
	return s.FindWhere(ctx, query, k, "")
}

// FindWhere is Find among the rows for which a condition in SQL holds, such as "columns->>'year' = $3", whose parameters begin
// with $3. The condition is part of the statement: it must not come from who is not trusted, but its arguments may.
func (s *Store) FindWhere(ctx context.Context, query []float32, k int, where string, args ...any) ([]search.Hit, error) {
	if len(query) != s.space.Dim {
		return nil, fmt.Errorf("pgvector: %s: a query has %d values, want %d: they are of different models", s.name, len(query), s.space.Dim)
	}
	if k < 1 {
		return nil, fmt.Errorf("pgvector: %d rows are asked for, want 1 or more", k)
	}
	unit, err := search.Combine(search.Term{Vector: query, Weight: 1})
	if err != nil {
		return nil, err
	}
	if where != "" {
		where = " WHERE (" + where + ")"
	}
	// The order that an index gives is that of its own expression alone.
	order, vector := "embedding::vector <#> $1, path", Vector(unit)
	if s.ef > 0 {
		half := make([]uint16, len(unit))
		for i, v := range unit {
			half[i] = kernel.ToHalf(v)
		}
		order, vector = "embedding <#> $1", Halfvec(half)
	}
	sql := "SELECT " + strings.Join(fields, ", ") + " FROM " + s.table + where + " ORDER BY " + order + " LIMIT $2"
	var hits []search.Hit
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if s.ef > 0 {
			if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL hnsw.ef_search = %d", s.ef)); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, sql, append([]any{vector, k + more}, args...)...)
		if err != nil {
			return err
		}
		hits, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (search.Hit, error) { return hit(row, unit) })
		return err
	})
	if err != nil {
		return nil, s.failed(err)
	}
	slices.SortStableFunc(hits, func(a, b search.Hit) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), strings.Compare(a.Path, b.Path))
	})
	return hits[:min(k, len(hits))], nil
}

// hit returns a row that was found by a query of length 1.
func hit(row pgx.CollectableRow, unit []float32) (h search.Hit, err error) {
	h.Index = -1
	var hash, vector []byte
	if err := row.Scan(&h.Path, &h.Caption, &h.Width, &h.Height, &hash, &h.Size, &h.Modified, &h.Columns, &vector); err != nil {
		return h, err
	}
	if copy(h.SHA256[:], hash) != len(h.SHA256) || len(hash) != len(h.SHA256) {
		return h, fmt.Errorf("%s: sha256 has %d bytes, want %d", h.Path, len(hash), len(h.SHA256))
	}
	if len(h.Columns) == 0 {
		h.Columns = nil
	}
	stored, err := Halves(vector)
	if err != nil {
		return h, err
	}
	h.Cosine = kernel.ExactDot(stored, unit)
	return h, nil
}

// Vector returns the bytes of a vector in float32, as Postgres reads and writes it: its length and 0 in 16 bits each, and the
// values, all big endian.
func Vector(x []float32) []byte {
	b := make([]byte, 0, 4+4*len(x))
	b = binary.BigEndian.AppendUint16(b, uint16(len(x)))
	b = binary.BigEndian.AppendUint16(b, 0)
	for _, v := range x {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Halfvec returns the bytes of a halfvec of float16 values, as Postgres reads and writes it: its length and 0 in 16 bits each, and
// the values, all big endian.
func Halfvec(x []uint16) []byte {
	b := make([]byte, 0, 4+2*len(x))
	b = binary.BigEndian.AppendUint16(b, uint16(len(x)))
	b = binary.BigEndian.AppendUint16(b, 0)
	for _, v := range x {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// Halves returns the float16 values of the bytes of a halfvec, of which none is NaN or infinite.
func Halves(b []byte) ([]uint16, error) {
	if len(b) < 4 || len(b) != 4+2*int(binary.BigEndian.Uint16(b)) {
		return nil, fmt.Errorf("pgvector: %d bytes are no halfvec", len(b))
	}
	x := make([]uint16, (len(b)-4)/2)
	for i := range x {
		x[i] = binary.BigEndian.Uint16(b[4+2*i:])
		if x[i]&0x7c00 == 0x7c00 {
			return nil, fmt.Errorf("pgvector: value %d of a halfvec is NaN or infinite, want a finite number", i+1)
		}
	}
	return x, nil
}
