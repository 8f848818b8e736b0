package input

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// colour returns the name of the colour that is in the middle of a fixture's picture.
func colour(t testing.TB, file []byte) string {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := img.At(4, 3).RGBA()
	at := [3]uint32{r >> 8, g >> 8, b >> 8}
	for name, c := range map[string][3]uint32{"red": {200, 30, 30}, "green": {30, 160, 60}, "blue": {40, 60, 200}, "white": {240, 240, 240}} {
		if at == c {
			return name
		}
	}
	return fmt.Sprint(at)
}

// read reads fixtures as a whole: a line a sample, with the colours of pictures and the values of some columns.
func read(t testing.TB, o Options, columns []string, inputs ...string) string {
	t.Helper()
	ps, err := parts(t, o, inputs...)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, p := range ps {
		if i > 0 {
			lines = append(lines, "--")
		}
		r, err := p.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range r.Samples() {
			if err != nil {
				t.Fatal(err)
			}
			if s.Err != nil {
				lines = append(lines, fmt.Sprintf("%s: %v %v", s.Key, s.Err, errors.Is(s.Err, ErrDownload)))
				continue
			}
			line := s.Key + "=" + colour(t, s.Image)
			if s.HasCaption {
				line += fmt.Sprintf(" %q", s.Caption)
			}
			for i, c := range o.Columns {
				if slices.Contains(columns, c.Name) {
					line += fmt.Sprintf(" %v", s.Columns[i])
				}
			}
			lines = append(lines, line)
		}
		r.Close()
	}
	return strings.Join(lines, "\n")
}

// TestImg2dataset: the three forms that img2dataset writes give the same pictures, captions, columns, and reasons of those that it could not download.
func TestImg2dataset(t *testing.T) {
	const at = "http://127.0.0.1:18097/"
	want := `000000=red "a red" 0 0.5 false ` + at + `red.png 8 6
000002=green "a green" 0.5 <nil> false ` + at + `green.png 8 6
000004=blue 1 0.5 false ` + at + `blue.png 8 6
000001: was not downloaded: HTTP Error 404: Not Found true
000003: was not downloaded: Image decoding error true
--
000010=white "a white" 1.25 0.5 false ` + at + `white.png 8 6
000011=red "a red" 1.5 0.5 false ` + at + `red.png 8 6`
	columns := []string{"similarity", "punsafe", "NSFW", "url", "original_width", "original_height"}
	for _, form := range []string{"webdataset", "files", "parquet"} {
		dir := "testdata/" + form
		o := Options{PerShard: 2}
		var err error
		if o.Columns, err = Columns(t.Context(), []string{dir}, o); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(o.Columns), "[{similarity float64} {punsafe float64} {NSFW bool} {url text} {source_width int64} {source_height int64} {original_width int64} {original_height int64} {exif text} {source_sha256 text}]"; got != want {
			t.Errorf("%s: columns %s, want %s", form, got, want)
		}
		want := want
		if form == "parquet" { // in the order of rows
			lines := strings.Split(want, "\n")
			want = strings.Join([]string{lines[0], lines[3], lines[1], lines[4], lines[2], lines[5], lines[6], lines[7]}, "\n")
		}
		if got := read(t, o, columns, dir); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", form, got, want)
		}
	}
	// By its name a tar has its table as well, and the path of a failure is the URL.
	ps, err := parts(t, Options{}, "testdata/webdataset/00000.tar")
	if err != nil || len(ps) != 1 || ps[0].Table == nil {
		t.Fatal(ps, err)
	}
	r, err := ps[0].Open(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for s, err := range r.Samples() {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, s.Path[strings.LastIndex(s.Path, "0000.tar")+1:])
	}
	if want := []string{"000.tar/000000.png", "000.tar/000002.png", "000.tar/000004.png", at + "missing.png", at + "text.png"}; !slices.Equal(paths, want) {
		t.Errorf("paths %q, want %q", paths, want)
	}
	text, err := os.ReadFile("testdata/webdataset/00000.tar")
	if want := fmt.Sprintf("%x", sha256.Sum256(text)); err != nil || r.SHA256() != want || len(r.Notes()) != 0 {
		t.Errorf("SHA-256 %s, want %s; %v; notes %q", r.SHA256(), want, err, r.Notes())
	}
}

// TestTableContradicts: pictures that the table does not have, and rows whose pictures are missing, are errors that count.
func TestTableContradicts(t *testing.T) {
	var table bytes.Buffer
	type row struct {
		Key    string `parquet:"key"`
		Status string `parquet:"status"`
		Error  string `parquet:"error_message"`
		Text   string `parquet:"caption"`
	}
	rows := []row{{"a", "success", "", "from the table"}, {"b", "success", "", ""}, {"c", "failed_to_download", "", ""}, {"a", "success", "", ""}, {"", "success", "", ""}}
	if err := parquet.Write(&table, rows); err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"x.parquet": table.String(), "x.tar": tarOf(t, 0, entry{"a.jpg", "A"}, entry{"d.jpg", "D"}, entry{"e.jpg", "E"}), "y.parquet": table.String()})
	check(t, "contradictions", all(t, Options{}, filepath.Join(dir, "x.tar")), dir, `a=A "from the table"
d: has no row in x.parquet
e: has no row in x.parquet
b: was downloaded, says x.parquet, and is not among the pictures
c: was not downloaded: status "failed_to_download" [download]
a: key "a" is there twice in x.parquet
x.parquet#4: has no key`)
	check(t, "no tar", all(t, Options{}, dir), dir, "a=A \"from the table\"\nd: has no row in x.parquet\ne: has no row in x.parquet\nb: was downloaded, says x.parquet, and is not among the pictures\n"+
		"c: was not downloaded: status \"failed_to_download\" [download]\na: key \"a\" is there twice in x.parquet\nx.parquet#4: has no key\n"+
		"error: input: $DIR: y.parquet is img2dataset's, and there is no tar beside it, nor a folder with its pictures")
}

// TestHuggingFace: datasets' struct of bytes and path.
func TestHuggingFace(t *testing.T) {
	o := Options{PerShard: 4, Columns: []output.Column{{Name: "label", Type: output.Int64}}}
	want := `hf.parquet#0=red "a red" 0
hf.parquet#1=green "a green" 1
hf.parquet#2=blue "a blue" 2
hf.parquet#3=white "a white" 3
--
hf.parquet#4: has no bytes, but the path "elsewhere.png": the picture is not in the parquet false
hf.parquet#5: has no bytes false`
	for _, column := range []string{"", "image", "image.bytes"} {
		o.Bytes = column
		if got := read(t, o, []string{"label"}, "testdata/hf.parquet"); got != want {
			t.Errorf("%q: got\n%s\nwant\n%s", column, got, want)
		}
	}
	o.Bytes, o.Key = "", "text"
	if got := read(t, o, nil, "testdata/hf.parquet"); !strings.HasPrefix(got, "a red=red \"a red\"\n") || !strings.HasSuffix(got, "hf.parquet#4: has no bytes, but the path \"elsewhere.png\": the picture is not in the parquet false\nhf.parquet#5: has no bytes false") {
		t.Errorf("with keys: got\n%s", got)
	}
}

// TestParquetForms: every encoding, compression and cut has the same rows, from any row on.
func TestParquetForms(t *testing.T) {
	var want []string
	colours := []string{"red", "green", "blue", "white"}
	for i := range 10 {
		n64 := "<nil>"
		if i > 0 {
			n64 = fmt.Sprint(i)
		}
		c := colours[i%4]
		want = append(want, fmt.Sprintf("k%d=%s %q %d %d %s %v %v %v 2024-10-%02d 2023-11-14T22:13:20.000%dZ <nil> s %s", i, c, c, i, 1<<32-1-i, n64, float64(i)/4, float64(i)/8, i%2 == 0, 4+i, 123+i, c))
	}
	want[7] = "k7: has no bytes false"
	names := []string{"n8", "u32", "n64", "f32", "f64", "flag", "day", "at", "nothing", "source_sha256", "large"}
	for _, form := range []string{"snappy", "zstd", "plain", "small"} {
		file := "testdata/" + form + ".parquet"
		for _, rows := range []int{1, 2, 3, 4, 7, 10, 100} {
			o := Options{PerShard: rows, Key: "id"}
			var err error
			if o.Columns, err = Columns(t.Context(), []string{file}, o); err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(read(t, o, names, file), "--\n", "")
			if got != strings.Join(want, "\n") {
				t.Fatalf("%s by %d: got\n%s\nwant\n%s", form, rows, got, strings.Join(want, "\n"))
			}
		}
	}
	// Row groups of 3 are cut where a group ends.
	ps, err := parts(t, Options{PerShard: 7}, "testdata/small.parquet")
	if err != nil || len(ps) != 2 || ps[0].Rows != 6 || ps[1].First != 6 || ps[1].Rows != 4 {
		t.Errorf("parts %+v, %v", ps, err)
	}
	if n, ok := ps[0].Count(); n != 6 || !ok || !strings.HasSuffix(ps[1].String(), "small.parquet, 4 rows from row 6 on") {
		t.Errorf("%d, %v, %s", n, ok, ps[1])
	}
}

// TestParquetWrong: what is asked for and is not there.
func TestParquetWrong(t *testing.T) {
	for _, c := range []struct {
		file, want string
		o          Options
	}{
		{"hf.parquet", `no column "jpg" of bytes: got image.bytes, image.path, text, label`, Options{Bytes: "jpg"}},
		{"hf.parquet", `no column "title" of captions`, Options{Caption: "title"}},
		{"hf.parquet", `no column "id" of keys`, Options{Key: "id"}},
		{"files/00000.parquet", "no column of bytes, such as image: got similarity, punsafe, NSFW, caption, url, key, status, error_message, width, height, original_width, original_height, exif, sha256", Options{}},
	} {
		if got := all(t, c.o, "testdata/"+c.file); got != "error: input: testdata/"+c.file+": "+c.want {
			t.Errorf("%s: got %s, want %s", c.file, got, c.want)
		}
	}
	dir := write(t, map[string]string{"x.parquet": "PAR1", "y.parquet": "PAR1aaaaaaaaaaaaPAR1", "z.parquet": ""})
	for _, name := range []string{"x.parquet", "y.parquet", "z.parquet"} {
		if _, err := parts(t, Options{}, filepath.Join(dir, name)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	type two struct{ A, B []byte }
	var b bytes.Buffer
	if err := parquet.Write(&b, []two{{[]byte("a"), []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	dir = write(t, map[string]string{"x.parquet": b.String()})
	check(t, "two", all(t, Options{}, filepath.Join(dir, "x.parquet")), dir, "error: input: $DIR/x.parquet: 2 columns of bytes, A, B: say which has the pictures")
	check(t, "too large", all(t, Options{Bytes: "A", MaxBytes: 1}, filepath.Join(dir, "x.parquet")), dir, "x.parquet#0=a")
	o := Options{Bytes: "B", Columns: []output.Column{{Name: "none", Type: output.Text}}}
	check(t, "one", all(t, o, filepath.Join(dir, "x.parquet")), dir, "x.parquet#0=b")
}

// TestTypes: a column whose type differs between parts.
func TestTypes(t *testing.T) {
	for _, c := range []struct {
		is   any
		want output.Type
		out  any
	}{
		{int64(3), output.Float64, 3.0}, {3.0, output.Int64, int64(3)}, {int64(3), output.Text, "3"}, {0.5, output.Text, "0.5"}, {true, output.Text, "true"}, {"a", output.Text, "a"}, {true, output.Bool, true},
		{0.5, output.Int64, "x is \"0.5\", want int64 as in the first part"}, {"a", output.Float64, "x is \"a\", want float64 as in the first part"}, {int64(1), output.Bool, "x is \"1\", want bool as in the first part"},
	} {
		got, err := as("x", c.is, c.want)
		if err != nil {
			got = err.Error()
		}
		if got != c.out {
			t.Errorf("%v as %s: got %v, want %v", c.is, c.want, got, c.out)
		}
	}
	for _, c := range [][3]output.Type{{output.Int64, output.Int64, output.Int64}, {output.Int64, output.Float64, output.Float64}, {output.Text, output.Float64, output.Text}, {output.Bool, output.Int64, output.Text}} {
		if got := both(c[0], c[1]); got != c[2] {
			t.Errorf("%s and %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// A counting store counts what is asked for.
type counting struct {
	store.Store
	asked, bytes *int
}

func (c counting) Open(ctx context.Context, name string, offset, length int64) (store.Reader, error) {
	*c.asked++
	r, err := c.Store.Open(ctx, name, offset, length)
	return counted{r, c.bytes}, err
}

type counted struct {
	store.Reader
	bytes *int
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	*c.bytes += n
	return n, err
}

// TestRanges: of a parquet the footer and the columns that are wanted are read, each column of a row group by one request.
func TestRanges(t *testing.T) {
	type row struct {
		Image []byte `parquet:"image"`
		Text  string `parquet:"text"`
		Other []byte `parquet:"other"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, parquet.PageBufferSize(1000), parquet.SkipPageBounds("other"), parquet.SkipPageBounds("image"), parquet.SkipPageStatistics("other"), parquet.SkipPageStatistics("image"))
	size := 0
	for i := range 40 {
		r := row{bytes.Repeat([]byte{byte(i)}, 5000), "x", bytes.Repeat([]byte{byte(i)}, 100_000)}
		size += len(r.Image)
		if _, err := w.Write([]row{r}); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{"x.parquet": b.String()})
	asked, read := 0, 0
	store.Register("counting", func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.Open(ctx, dir)
		return counting{s, &asked, &read}, err
	})
	o := Options{PerShard: 20, Bytes: "image"}
	ps, err := parts(t, o, "counting://b/x.parquet")
	if err != nil || len(ps) != 2 || asked > 2 {
		t.Fatal(ps, err, asked)
	}
	asked, read = 0, 0
	n := 0
	for _, p := range ps {
		lines, _, err := samples(t, t.Context(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		n += len(lines)
	}
	if n != 40 || asked > 2*(2+2*2) || read > size+2*2*footer || read < size {
		t.Errorf("%d rows by %d requests, %d bytes; pictures are %d of %d", n, asked, read, size, b.Len())
	}
}

// TestParquetDamaged: a parquet of which a byte is wrong is read, or is an error; nothing panics.
func TestParquetDamaged(t *testing.T) {
	text, err := os.ReadFile("testdata/small.parquet")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "x.parquet")
	wrong := 0
	for i := 0; i < len(text); i += 43 {
		b := slices.Clone(text)
		b[i] ^= 0x55
		wrong += tryParquet(t, at, b)
	}
	for _, n := range []int{0, 1, 11, 12, 100, len(text) / 2, len(text) - 1} {
		wrong += tryParquet(t, at, text[:n])
	}
	if wrong < 20 {
		t.Errorf("%d damaged files are errors", wrong)
	}
}

// tryParquet reads bytes as a parquet, and returns 1 if it was an error of the whole.
func tryParquet(t testing.TB, at string, content []byte) int {
	t.Helper()
	if err := os.WriteFile(at, content, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{PerShard: 4, Columns: []output.Column{{Name: "n64", Type: output.Int64}, {Name: "at", Type: output.Text}, {Name: "f32", Type: output.Float64}}}
	for p, err := range Parts(t.Context(), []string{at}, o) {
		if err == nil {
			_, _, err = samples(t, t.Context(), p, o)
		}
		if err != nil {
			return 1
		}
	}
	return 0
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"small", "snappy", "hf", "parquet/00000", "zstd", "plain"} {
		b, err := os.ReadFile("testdata/" + name + ".parquet")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	at := filepath.Join(f.TempDir(), "x.parquet")
	f.Fuzz(func(t *testing.T, b []byte) { tryParquet(t, at, b) })
}

func FuzzTar(f *testing.F) {
	f.Add([]byte(tarOf(f, 0, entry{"a.jpg", "A"}, entry{"a.json", `{"caption":"x"}`}, entry{"b/c.png", "B"}, entry{"b/c.cls", "1"})))
	f.Add([]byte(tarOf(f, 0, entry{strings.Repeat("n/", 90) + "a.jpg", "A"}, entry{"..", ""}, entry{"a.heic", "x"})))
	at := filepath.Join(f.TempDir(), "x.tar")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(at, b, 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Columns: tarColumns}
		ps, err := parts(t, o, at)
		if err != nil || len(ps) != 1 {
			t.Fatal(ps, err)
		}
		r, err := ps[0].Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		seen, done := map[string]bool{}, true
		for s, err := range r.Samples() {
			if err != nil {
				if done = false; !errors.Is(err, ErrDamaged) {
					t.Fatalf("error %v is of another kind", err)
				}
				continue
			}
			if s.Err == nil && seen[s.Key] {
				t.Fatalf("key %q is there twice", s.Key)
			}
			if s.Err == nil && (s.Key == "" || strings.HasPrefix(s.Key, "/") || strings.Contains("/"+s.Key+"/", "/../")) {
				t.Fatalf("key %q", s.Key)
			}
			seen[s.Key] = seen[s.Key] || s.Err == nil
		}
		if want := fmt.Sprintf("%x", sha256.Sum256(b)); done && r.SHA256() != want {
			t.Fatalf("SHA-256 %q, want %s", r.SHA256(), want)
		}
	})
}
