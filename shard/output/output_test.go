package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/shard/store"
)

// awkward are texts that a format might not bring back.
var awkward = []string{
	"", "a red circle", `quote " in it`, `"`, `""`, "comma, comma", "two\nlines", "carriage\rreturn", "both\r\nends", "\\.", "one\n\\.\ntwo", "\\N", "NULL", "null", " spaces ",
	"\ttab", "\\", "é 日本 \U0001F600", "\u2028", "<b>&amp;</b>", "{}", "[1,2]", "'", "\x01", strings.Repeat("long,\"", 20000),
}

var columns = []Column{{"note", Text}, {"count", Int64}, {"score", Float64}, {"ok", Bool}, {`od"d, näme`, Text}}

// specs are those of every format, with all and with as little as possible.
func specs() (all []Spec) {
	for _, f := range Formats() {
		all = append(all, Spec{Format: f, Dim: 3, Digits: 1}, Spec{Format: f, Dim: 5, Normalized: true, Texts: true, Columns: columns, Header: f == "csv", Half: f == "npy", Digits: 4})
	}
	return all
}

// row returns a row that differs in everything from others.
func row(s *Spec, i int) Row {
	vector := func(seed int) []float32 {
		v := make([]float32, s.Dim)
		for j := range v {
			v[j] = float32(math.Sin(float64(seed*s.Dim + j + 1)))
		}
		if s.Normalized {
			clip.Normalize(v)
		} else {
			v[0] *= 1e-30
			v[1] *= 1e30
		}
		return v
	}
	r := Row{Key: fmt.Sprintf("key %d", i), Path: "/photos/" + awkward[i%len(awkward)], Image: vector(i), Width: i, Height: 1 << 20, SHA256: [32]byte{byte(i), 1, 31: byte(i >> 8)}}
	if i%3 != 1 || s.Texts {
		r.Caption, r.HasCaption = awkward[(i+1)%len(awkward)], true
	}
	if s.Texts {
		r.Text = vector(i + 1e6)
	}
	for j, c := range s.Columns {
		var v any
		switch {
		case (i+j)%4 == 0:
		case c.Type == Text:
			v = awkward[(i+j)%len(awkward)]
		case c.Type == Int64:
			v = []int64{math.MinInt64, -1, 0, 1 << 60, math.MaxInt64}[i%5]
		case c.Type == Float64:
			v = []float64{math.Pi, math.Copysign(0, -1), 1e-300, math.MaxFloat64, 5e-324}[i%5]
		case c.Type == Bool:
			v = i%2 == 0
		}
		r.Columns = append(r.Columns, v)
	}
	return r
}

// write writes rows as a shard into a folder.
func write(t testing.TB, dir string, number int, s Spec, rows ...Row) []File {
	t.Helper()
	w, err := Create(dir, number, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	files, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func open(t testing.TB, dir string) store.Store {
	t.Helper()
	st, err := store.Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func rowsOf(s *Spec, n int) (rows []Row) {
	for i := range n {
		rows = append(rows, row(s, i))
	}
	return rows
}

// halved returns a row as float16 has it.
func halved(s *Spec, r Row) Row {
	if s.Half {
		for _, v := range []*[]float32{&r.Image, &r.Text} {
			*v = slices.Clone(*v)
			for i, x := range *v {
				(*v)[i] = kernel.FromHalf(kernel.ToHalf(x))
			}
		}
	}
	return r
}

// TestRoundTrip: every format brings back what was written, and the same rows make the same bytes.
func TestRoundTrip(t *testing.T) {
	for _, s := range specs() {
		t.Run(fmt.Sprint(s.Format, s.Dim), func(t *testing.T) {
			for _, n := range []int{1, 2, 100} {
				dir, other := t.TempDir(), t.TempDir()
				want := rowsOf(&s, n)
				files := write(t, dir, 7, s, want...)
				again := write(t, other, 7, s, want...)
				for i, f := range files {
					if f.Rows != n || f.SHA256 != again[i].SHA256 || f.Path != filepath.Join(dir, filepath.FromSlash(f.Name)) {
						t.Errorf("%+v, then %+v", f, again[i])
					}
				}
				st := open(t, dir)
				if err := Check(t.Context(), st, files, s); err != nil {
					t.Fatal(err)
				}
				i := 0
				for r, err := range Rows(t.Context(), st, files, s) {
					if err != nil {
						t.Fatal(err)
					}
					if w := halved(&s, want[i]); !reflect.DeepEqual(*r, w) {
						t.Fatalf("row %d is %.1000v, want %.1000v", i, *r, w)
					}
					i++
				}
				if i != n {
					t.Errorf("%d rows, want %d", i, n)
				}
				for range Rows(t.Context(), st, files, s) {
					break // ends early
				}
			}
		})
	}
}

// TestNames: files lie where clip-retrieval's readers look, with as many digits as all shards have.
func TestNames(t *testing.T) {
	for format, want := range map[string]string{
		"npy":     "img_emb/img_emb_0012.npy metadata/metadata_0012.parquet text_emb/text_emb_0012.npy vitago/errors/errors_0012.jsonl",
		"parquet": "parquet/part_0012.parquet vitago/errors/errors_0012.jsonl",
		"csv":     "csv/part_0012.csv vitago/errors/errors_0012.jsonl",
		"jsonl":   "jsonl/part_0012.jsonl vitago/errors/errors_0012.jsonl",
	} {
		dir := t.TempDir()
		s := Spec{Format: format, Dim: 3, Texts: true, Digits: 4}
		w, err := Create(dir, 12, s)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(w.Write(row(&s, 1)), w.Fail(Failure{"a\xff", "/b\"", "decode", "no\npicture <b>"}), w.Write(row(&s, 2)), w.Fail(Failure{"c", "", "download", "404"}))
		if err != nil || w.Rows() != 2 || w.Failures() != 2 {
			t.Fatal(err)
		}
		files, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range files {
			names = append(names, f.Name)
			if f.Rows != 2 {
				t.Errorf("%+v", f)
			}
		}
		if got := append(s.Names(12), s.ErrorsName(12)); !slices.Equal(got, names) {
			t.Errorf("files are %q, by their Spec %q", names, got)
		}
		for i, name := range names {
			if got := s.Renumbered(name, 4321); got != append(s.Names(4321), s.ErrorsName(4321))[i] || s.Renumbered("other/"+name, 1) != "" {
				t.Errorf("%s becomes %s", name, got)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("files are %s, want %s", got, want)
		}
		b, err := os.ReadFile(filepath.Join(dir, "vitago", "errors", "errors_0012.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		const failures = `{"key":"a\\xff","image_path":"/b\"","stage":"decode","reason":"no\npicture <b>"}` + "\n" + `{"key":"c","image_path":"","stage":"download","reason":"404"}` + "\n"
		if string(b) != failures {
			t.Errorf("failures are %s", b)
		}
		if err := Check(t.Context(), open(t, dir), files, s); err != nil {
			t.Error(err)
		}
		var read []Failure
		for x, err := range Failures(t.Context(), open(t, dir), files) {
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, x)
		}
		if want := []Failure{{`a\xff`, `/b"`, "decode", "no\npicture <b>"}, {"c", "", "download", "404"}}; !slices.Equal(read, want) {
			t.Errorf("failures are %q, want %q", read, want)
		}
	}
}

// TestEmpty: a shard without rows leaves nothing but its errors, and one that is discarded nothing at all.
func TestEmpty(t *testing.T) {
	for _, s := range specs() {
		dir := t.TempDir()
		if files := write(t, dir, 0, s); len(files) != 0 {
			t.Errorf("%s: %v", s.Format, files)
		}
		if err := Check(t.Context(), open(t, dir), nil, s); err != nil {
			t.Error(err)
		}
		w, err := Create(dir, 0, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Write(row(&s, 0)), w.Fail(Failure{Key: "x"}), w.Discard()); err != nil {
			t.Fatal(err)
		}
		if w.Write(row(&s, 1)) == nil || w.Fail(Failure{}) == nil {
			t.Error("a row behind the end")
		}
		if files, err := w.Close(); err == nil || files != nil {
			t.Errorf("%v, %v", files, err)
		}
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				t.Errorf("%s is left, %v", path, err)
			}
			return nil
		})
	}
}

// TestRowErrors: a row that is wrong is refused and may be failed, and the shard goes on.
func TestRowErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, s := range specs() {
		dir := t.TempDir()
		w, err := Create(dir, 0, s)
		if err != nil {
			t.Fatal(err)
		}
		first := row(&s, 0)
		if err := w.Write(first); err != nil {
			t.Fatal(err)
		}
		refused := func(want string, change func(r *Row)) {
			t.Helper()
			r := row(&s, 1)
			change(&r)
			err := w.Write(r)
			if !errors.Is(err, ErrRow) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q", s.Format, err, want)
			}
		}
		refused("another row has this key", func(r *Row) { r.Key = first.Key })
		refused("has no key", func(r *Row) { r.Key = "" })
		refused(fmt.Sprintf("has 2 values, want %d", s.Dim), func(r *Row) { r.Image = r.Image[:2] })
		refused("value 1 of the vector is NaN", func(r *Row) { r.Image[1] = nan })
		refused("value 2 of the vector is -Inf", func(r *Row) { r.Image[2] = inf })
		refused("has -1 x", func(r *Row) { r.Width = -1 })
		refused(fmt.Sprintf("has %d columns", len(s.Columns)+1), func(r *Row) { r.Columns = append(r.Columns, "x") })
		if s.Half {
			refused("want at most 65504", func(r *Row) { r.Image[1] = 65520 })
		}
		if s.Normalized {
			refused("has the length 2.00000001, want 1", func(r *Row) {
				for i := range r.Image {
					r.Image[i] *= 2
				}
			})
			refused("has the length 0,", func(r *Row) { clear(r.Image) })
		}
		if s.Texts {
			refused("has no caption", func(r *Row) { r.HasCaption = false })
			refused("caption: the vector has 0 values", func(r *Row) { r.Text = nil })
		} else {
			refused("the vector of a text", func(r *Row) { r.Text = r.Image })
		}
		for i, c := range s.Columns {
			refused(fmt.Sprintf("column %q has a int32, want a value of type %s", c.Name, c.Type), func(r *Row) { r.Columns[i] = int32(1) })
		}
		if err := errors.Join(w.Fail(Failure{Key: "key 1"}), w.Write(row(&s, 2))); err != nil {
			t.Fatal(err)
		}
		files, err := w.Close()
		if err != nil || len(files) == 0 || files[0].Rows != 2 || files[len(files)-1].Rows != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		if err := Check(t.Context(), open(t, dir), files, s); err != nil {
			t.Error(err)
		}
	}
}

// TestTolerance: vectors whose length is 1 as near as the type permits pass, for every length and size of the values.
func TestTolerance(t *testing.T) {
	for _, half := range []bool{false, true} {
		for _, dim := range []int{1, 2, 3, 64, 512, 768, 1280, 4096} {
			s := Spec{Format: "npy", Dim: dim, Half: half, Normalized: true, Digits: 1}
			for seed := range 20 {
				v := make([]float32, dim)
				for i := range v {
					v[i] = float32(math.Pow(math.Sin(float64(seed*dim+i+1)), float64(1+2*seed))) // also such that most are nearly 0
				}
				clip.Normalize(v)
				if half {
					for i := range v {
						v[i] = kernel.FromHalf(kernel.ToHalf(v[i]))
					}
				}
				if err := s.checkVector(v); err != nil {
					t.Errorf("%d values, float16 %v: %v", dim, half, err)
				}
			}
		}
	}
}

// TestTexts: what is no UTF-8 becomes what Python's backslashreplace makes of it, in paths, captions and columns.
func TestTexts(t *testing.T) {
	for _, s := range specs() {
		dir := t.TempDir()
		r := row(&s, 1)
		r.Key, r.Path, r.Caption, r.HasCaption = "k\xff", "/a\xe4.png", "nul\x00", true
		if len(r.Columns) > 0 {
			r.Columns[0] = "\xed\xa0\x80\ufffd"
		}
		before := slices.Clone(r.Columns)
		files := write(t, dir, 0, s, r)
		if !slices.Equal(before, r.Columns) {
			t.Errorf("columns are changed to %q", r.Columns)
		}
		for got, err := range Rows(t.Context(), open(t, dir), files, s) {
			if err != nil {
				t.Fatal(err)
			}
			if got.Key != `k\xff` || got.Path != `/a\xe4.png` || got.Caption != `nul\x00` || len(s.Columns) > 0 && got.Columns[0] != `\xed\xa0\x80`+"\ufffd" {
				t.Errorf("%s: %+v", s.Format, got)
			}
		}
	}
}

// TestValidate: everything that is wrong with a Spec is said at once.
func TestValidate(t *testing.T) {
	err := Spec{Format: "arrow", Half: true, Header: true, Columns: []Column{{"Key", Text}, {"a", Text}, {"A", Bool}, {"b", "int32"}, {"", Text}, {"\xff", Text}}}.Validate()
	if err == nil {
		t.Fatal("is right")
	}
	const want = `output: the format is "arrow", want one of csv, jsonl, npy, parquet
output: vectors have 0 values, want 1 to 65536
output: numbers of shards have 0 digits, want 1 to 19
output: float16 is a choice of npy, and the format is arrow
output: a header is a choice of csv, and the format is arrow
output: a column has the name "Key", which is one of the dataset's own
output: two columns have the name "A", in which databases distinguish no upper case
output: column "b" is of type "int32", want text, int64, float64 or bool
output: a column has the name "", want a text
output: a column has the name "\xff", want a text`
	if err.Error() != want {
		t.Errorf("%v", err)
	}
	if _, err := Create(t.TempDir(), -1, specs()[0]); err == nil {
		t.Error("shard -1")
	}
	if _, err := Create(t.TempDir(), 0, Spec{}); err == nil {
		t.Error("no format")
	}
	for _, f := range Formats() {
		if formats[f] == nil || len(formats) != len(Formats()) {
			t.Errorf("%s is no format", f)
		}
	}
}

// TestNPY: the bytes are those that numpy.save writes, whatever the number of rows.
func TestNPY(t *testing.T) {
	dir := t.TempDir()
	s := Spec{Format: "npy", Dim: 2, Digits: 1}
	a, b := row(&s, 1), row(&s, 2)
	a.Image, b.Image = []float32{1, -2}, []float32{0.5, 3}
	files := write(t, dir, 0, s, a, b)
	got, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(checkpoint.NPYHeader(checkpoint.F32, []int{2, 2}), []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0x40, 0x40})
	if !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, rows := range []int{1, 1e6, math.MaxInt64} {
		if a, b := (&Spec{Dim: maxDim}).npyHead(0), (&Spec{Dim: maxDim}).npyHead(rows); len(a) != len(b) {
			t.Errorf("a head of %d rows has %d bytes, and of none %d", rows, len(b), len(a))
		}
	}
}

// TestText: the exact form of a row in CSV and JSONL.
func TestText(t *testing.T) {
	r := Row{Key: "k", Path: `/a "b".png`, Image: []float32{0.1, -2e-10}, Width: 3, Height: 4, Columns: []any{"two\nlines", int64(-5), math.Inf(-1), true, nil}}
	const sum = "0000000000000000000000000000000000000000000000000000000000000000"
	for format, want := range map[string]string{
		"csv": `"image_path","caption","key","width","height","sha256","note","count","score","ok","od""d, näme","embedding"` + "\n" +
			`"/a ""b"".png",,"k",3,4,"` + sum + `","two` + "\n" + `lines",-5,-Infinity,true,,"[0.1,-2e-10]"` + "\n",
		"jsonl": `{"image_path":"/a \"b\".png","caption":null,"key":"k","width":3,"height":4,"sha256":"` + sum + `","note":"two\nlines","count":-5,"score":null,"ok":true,"od\"d, näme":null,"embedding":[0.1,-2e-10]}` + "\n",
	} {
		files := write(t, t.TempDir(), 0, Spec{Format: format, Dim: 2, Columns: columns, Header: format == "csv", Digits: 1}, r)
		if got, err := os.ReadFile(files[0].Path); err != nil || string(got) != want {
			t.Errorf("%s, want %s, %v", got, want, err)
		}
	}
}

// TestSQL: the statements have the columns of the files, in their order.
func TestSQL(t *testing.T) {
	create, load := Spec{Format: "csv", Dim: 2, Texts: true, Columns: columns[:4], Header: true, Digits: 1}.SQL(`my "t"`)
	const want = `CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE "my ""t""" ("image_path" text NOT NULL, "caption" text, "key" text NOT NULL, "width" bigint NOT NULL, "height" bigint NOT NULL, "sha256" text NOT NULL, ` +
		`"note" text, "count" bigint, "score" double precision, "ok" boolean, "embedding" vector(2) NOT NULL, "text_embedding" vector(2) NOT NULL);
`
	if create != want || load != `COPY "my ""t""" FROM STDIN WITH (FORMAT csv, HEADER true)` {
		t.Errorf("%s%s", create, load)
	}
}
