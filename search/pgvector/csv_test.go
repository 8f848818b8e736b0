package pgvector

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/vitago/vitago/shard/output"
)

// TestCopyCSV: what a sharded encode writes as csv comes into a table by the SQL that it gives: any text, the empty one, what is missing, and
// every value of the vectors to the bit.
func TestCopyCSV(t *testing.T) {
	c, err := pgx.Connect(t.Context(), server(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, header := range []bool{false, true} {
		s := output.Spec{Format: "csv", Dim: 3, Texts: true, Header: header, Digits: 1,
			Columns: []output.Column{{Name: `No"te`, Type: output.Text}, {Name: "n", Type: output.Int64}, {Name: "f", Type: output.Float64}, {Name: "ok", Type: output.Bool}}}
		dir, table := t.TempDir(), fmt.Sprintf("copied %v", header)
		create, load := s.SQL(table)
		if _, err := c.Exec(t.Context(), `DROP TABLE IF EXISTS "`+table+`"; `+create); err != nil {
			t.Fatal(err)
		}
		texts := []string{"", `"quoted", with a comma`, "two\nlines", "a\rb\r\nc", `\.`, "one\n\\.\ntwo", `\N`, "NULL", " ", "\t", "日本 \u2028", "'", `\`}
		var want []string
		for n := range 2 { // two shards, of which the second is loaded behind the first
			w, err := output.Create(dir, n, s)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range texts {
				r := output.Row{Key: fmt.Sprint(n, i), Path: "/" + text, Caption: text, HasCaption: true, Image: []float32{0.1, -3e-38, 1e38}, Text: []float32{float32(i), 1.0 / 3, 16777217}, Width: i, Columns: []any{text, int64(-i), 0.1, i%2 == 0}}
				if i%3 == n {
					r.Columns = make([]any, 4)
				}
				want = append(want, fmt.Sprintf("%q", []any{r.Key, r.Path, r.Caption, int64(i), r.Columns}), fmt.Sprint(r.Image, r.Text))
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
			files, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(files[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if tag, err := c.PgConn().CopyFrom(t.Context(), f, load); err != nil || tag.RowsAffected() != int64(len(texts)) {
				t.Fatalf("%d rows, %v, want %d", tag.RowsAffected(), err, len(texts))
			}
		}
		rows, err := c.Query(t.Context(), `SELECT key, image_path, caption, width, "No""te", n, f, ok, embedding::real[], text_embedding::real[] FROM "`+table+`" ORDER BY left(key, 1), width`)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for rows.Next() {
			var key, path, caption string
			var width int64
			v := make([]any, 4)
			var image, text []float32
			if err := rows.Scan(&key, &path, &caption, &width, &v[0], &v[1], &v[2], &v[3], &image, &text); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%q", []any{key, path, caption, width, v}), fmt.Sprint(image, text))
		}
		if rows.Err() != nil || !slices.Equal(got, want) {
			t.Errorf("%q, want %q, %v", got, want, rows.Err())
		}
	}
}
