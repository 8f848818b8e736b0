package input

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/webdataset"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

var tarColumns = []output.Column{{Name: "metadata", Type: output.Text}, {Name: "cls", Type: output.Text}}

func TestTarSamples(t *testing.T) {
	long := strings.Repeat("long/", 50) // longer than the 100 bytes of a tar header
	for _, c := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"columns", []entry{{"0001.jpg", "A"}, {"0001.cls", "7\n"}, {"0002.json", ` {"x": NaN} `}, {"0002.PNG", "BB"}}, "0001=A cls:string:7\n0002=BB metadata:string:{\"x\": NaN}"},
		{"captions", []entry{{"./d/a.webp", "A"}, {"./d/a.txt", "\ufeff a cat \n"}, {"d/", ""}, {"b.jpg", "B"}, {"b.txt", ""}}, "d/a=A \"a cat\"\nb=B"},
		{"caption of json", []entry{{"a.json", `{"caption":"x"}`}, {"a.jpg", "A"}, {"b.json", `{"title":"y","caption":null}`}, {"b.jpg", "B"}, {"b.txt", "z"}},
			"a=A \"x\" metadata:string:{\"caption\":\"x\"}\nb=B \"z\" metadata:string:{\"title\":\"y\",\"caption\":null}"},
		{"others", []entry{{"a.jpg", "A"}, {"a.txt", "x"}, {"a.seg.png", "S"}, {"a.npy", "N"}, {"README", "R"}, {".hidden.jpg", "H"}}, "a=A \"x\""},
		{"dots in folders", []entry{{"v1.0/a.jpg", "A"}, {"v1.0/a.txt", "x"}}, "v1.0/a=A \"x\""},
		{"bytes", []entry{{"caf\xe9.jpg", "A"}, {"caf\xe9.txt", "x"}, {"caf\xe8.jpg", "B"}}, "caf\xe9=A \"x\"\ncaf\xe8=B"},
		{"long names", []entry{{long + "a.jpg", "A"}, {long + "a.txt", "x"}}, long + "a=A \"x\""},
		{"empty picture", []entry{{"a.jpg", ""}}, "a="},

		{"apart", []entry{{"a.jpg", "A"}, {"b.jpg", "B"}, {"a.txt", "0"}}, "a=A\nb=B\na: a.txt: the files of a sample lie apart, or its key is there twice: \"a\" was read before"},
		{"key twice", []entry{{"a.jpg", "A"}, {"b.jpg", "B"}, {"a.jpg", "C"}}, "a=A\nb=B\na: a.jpg: the files of a sample lie apart, or its key is there twice: \"a\" was read before"},
		{"half a character", []entry{{"a.jpg", "A"}, {"a.json", `{"caption":"\udce9"}`}}, "a=A metadata:string:{\"caption\":\"\\udce9\"}"},
		{"no picture", []entry{{"a.jpg", "A"}, {"b.cls", "1"}, {"c.jpg", "C"}}, "a=A\nb: no picture beside \"b.cls\"\nc=C"},
		{"another format", []entry{{"a.heic", "A"}, {"a.txt", "1"}, {"b.jpg", "B"}, {"b.avif", "B"}}, "a: \"a.heic\" is a picture of the format HEIC, which is not read\nb=B"},
		{"two pictures", []entry{{"a.jpg", "A"}, {"a.png", "1"}, {"b.jpg", "B"}}, "a: \"a.jpg\" and \"a.png\" are two pictures of one sample\nb=B"},
		{"twice", []entry{{"a.txt", "A"}, {"./a.txt", "1"}, {"a.jpg", "A"}}, "a: \"a.txt\" is there twice"},
		{"upwards", []entry{{"b.jpg", "B"}, {"x/../../a.jpg", "A"}, {"b.txt", "b"}}, "\"x/../../a.jpg\": name \"x/../../a.jpg\" is absolute or leads upwards\nb=B \"b\""},
		{"upwards in Windows", []entry{{`..\a.jpg`, "A"}}, `"..\\a.jpg": name "..\\a.jpg" is absolute or leads upwards`},
		{"absolute", []entry{{"/etc/a.jpg", "A"}}, `"/etc/a.jpg": name "/etc/a.jpg" is absolute or leads upwards`},
		{"name", []entry{{strings.Repeat("a/", 2100) + "a.jpg", "A"}}, `"` + strings.Repeat("a/", 40) + `": name of 4205 bytes, want at most 4096: "` + strings.Repeat("a/", 20) + `" …`},
		{"large note", []entry{{"a.txt", strings.Repeat("a", webdataset.MaxNote+1)}, {"a.jpg", "A"}}, "a: \"a.txt\" has 1048577 bytes, want at most 1048576"},
		{"large picture", []entry{{"a.jpg", strings.Repeat("a", 1001)}, {"a.txt", "A"}, {"b.jpg", "B"}}, "a: \"a.jpg\" has 1001 bytes, want at most 1000\nb=B"},
		{"not text", []entry{{"a.txt", "\xff"}, {"a.jpg", "A"}}, "a: \"a.txt\": not UTF-8"},
		{"bad json", []entry{{"a.json", "{"}, {"a.jpg", "A"}}, "a: \"a.json\": unexpected end of JSON input"},
		{"nothing", nil, ""},
	} {
		format := tar.FormatPAX
		if c.name == "bytes" {
			format = tar.FormatGNU // whose names are any bytes
		}
		dir := write(t, map[string]string{"x.tar": tarOf(t, format, c.entries...)})
		check(t, c.name, all(t, Options{Columns: tarColumns, MaxBytes: 1000}, filepath.Join(dir, "x.tar")), dir, c.want)
	}
}

// TestTarForms: names are read in every form of header, and the checksum is that of the file, whatever follows the end mark of zeros.
func TestTarForms(t *testing.T) {
	long := strings.Repeat("n", 150)
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		name := "b"
		if format != tar.FormatUSTAR {
			name = long
		}
		text := tarOf(t, format, entry{"a.jpg", strings.Repeat("A", 1000)}, entry{name + ".jpg", "B"}) + strings.Repeat("\x00", 10240)
		dir := write(t, map[string]string{"x.tar": text})
		ps, err := parts(t, Options{}, filepath.Join(dir, "x.tar"))
		if err != nil || len(ps) != 1 {
			t.Fatal(ps, err)
		}
		lines, r, err := samples(t, t.Context(), ps[0], Options{})
		if want := "a=" + strings.Repeat("A", 1000) + "\n" + name + "=B"; err != nil || strings.Join(lines, "\n") != want {
			t.Errorf("%v: got %q, %v, want %q", format, lines, err, want)
		}
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(text))); r.SHA256() != want {
			t.Errorf("%v: SHA-256 %s, want %s", format, r.SHA256(), want)
		}
		if n, ok := ps[0].Bytes(); n != int64(len(text)) || !ok {
			t.Errorf("%v: %d bytes, want %d", format, n, len(text))
		}
	}
}

// TestTarDamaged: a tar that is cut, or is none, is the error of the part, wherever it is cut. What came before it is yielded.
func TestTarDamaged(t *testing.T) {
	text := tarOf(t, tar.FormatPAX, entry{"a.jpg", strings.Repeat("A", 600)}, entry{"b.jpg", "B"})
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "error: input: $DIR/x.tar: 0 bytes, want a tar file"},
		{"head", text[:100], "error: input: $DIR/x.tar: after 0 samples: unexpected EOF"},
		{"picture", text[:700], "error: input: $DIR/x.tar: \"a.jpg\": unexpected EOF"},
		{"padding", text[:512+601], "error: input: $DIR/x.tar: after 1 sample: the file ends without the mark of an archive's end: it is cut short"},
		{"end", text[:5*512], "a=" + strings.Repeat("A", 600) + "\nerror: input: $DIR/x.tar: after 2 samples: the file ends without the mark of an archive's end: it is cut short"},
		{"mark", text[:6*512], "a=" + strings.Repeat("A", 600) + "\nerror: input: $DIR/x.tar: after 2 samples: the file ends without the mark of an archive's end: it is cut short"},
		{"second head", text[:3*512+100], "error: input: $DIR/x.tar: after 0 samples: unexpected EOF"},
		{"none", strings.Repeat("x", 2000), "error: input: $DIR/x.tar: after 0 samples: archive/tar: invalid tar header"},
		{"gzip", "\x1f\x8b" + text, "error: input: $DIR/x.tar: compressed with gzip, want a plain tar file: pictures are read from its middle"},
		{"two", text + text, "a=" + strings.Repeat("A", 600) + "\nerror: input: $DIR/x.tar: more follows the mark of the archive's end: two tar files in one, of which programs read the first"},
	} {
		dir := write(t, map[string]string{"x.tar": c.text})
		check(t, c.name, all(t, Options{}, filepath.Join(dir, "x.tar")), dir, c.want)
		ps, err := parts(t, Options{}, filepath.Join(dir, "x.tar"))
		if err != nil {
			t.Fatal(err)
		}
		if _, r, err := samples(t, t.Context(), ps[0], Options{}); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrChanged) || r.SHA256() != "" {
			t.Errorf("%s: error %v of the kind damaged: %v; checksum %q", c.name, err, errors.Is(err, ErrDamaged), r.SHA256())
		}
	}
	dir := write(t, map[string]string{"x.tar.gz": "", "x.txt": "y.tar.gz\n"})
	check(t, "name", all(t, Options{}, filepath.Join(dir, "x.tar.gz")), dir, "error: input: $DIR/x.tar.gz: compressed, want a plain tar file: pictures are read from its middle")
}

// TestTarOthers: entries without bytes are left out and counted; a sparse file is the error of its sample.
func TestTarOthers(t *testing.T) {
	var b strings.Builder
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "l.jpg", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "h.jpg", Typeflag: tar.TypeLink, Linkname: "a.jpg"},
		{Name: "c.jpg", Typeflag: tar.TypeChar}, {Name: "p.jpg", Typeflag: tar.TypeFifo}, {Name: "d.jpg/", Typeflag: tar.TypeDir},
		{Name: "a.jpg", Size: 1}, {Name: "a.npy", Size: 1}, {Name: "a.json", Size: 2},
	} {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "{}"[:h.Size])
		}
	}
	w.Close()
	sparse, err := os.ReadFile("../../finetune/data/testdata/sparse.tar")
	if errors.Is(err, fs.ErrNotExist) {
		sparse = nil
	}
	dir := write(t, map[string]string{"x.tar": b.String(), "s.tar": string(sparse)})
	ps, err := parts(t, Options{}, filepath.Join(dir, "x.tar"))
	if err != nil {
		t.Fatal(err)
	}
	lines, r, err := samples(t, t.Context(), ps[0], Options{})
	if err != nil || strings.Join(lines, "\n") != "a={" {
		t.Errorf("got %q, %v", lines, err)
	}
	check(t, "notes", strings.Join(r.Notes(), "\n"), dir, "left out 4 entries that are links or devices, which WebDataset does not follow: l.jpg, h.jpg, c.jpg and 1 more\n"+
		"left out 1 file that is neither a picture nor of the endings cls, txt, json: $DIR/x.tar/a.npy\n"+
		"left out 1 file of samples of the ending json, for which there is no column: $DIR/x.tar/a.jpg")
}

// TestColumns: what the first samples of a tar have is columns of all.
func TestColumns(t *testing.T) {
	dir := write(t, map[string]string{
		"plain.tar": tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"}, entry{"a.txt", "a"}),
		"json.tar":  tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"}, entry{"b.jpg", "B"}, entry{"b.json", "{}"}),
		"cls.tar":   tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"}, entry{"a.cls", "1"}),
		"c/a.jpg":   "A",
		"cut/0.tar": "",
		"cut/1.tar": strings.Repeat("x", 2000),
		"cut/2.tar": tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"}, entry{"a.cls", "1"}),
	})
	for _, c := range []struct{ inputs, want string }{
		{"cut", "[{cls text}]"}, {"cut/0.tar plain.tar", "[]"}, {"cut/0.tar json.tar", "[{metadata text}]"}, {"json.tar cut/1.tar", "[{metadata text}]"},
		{"cut/0.tar cut/1.tar", "input: $DIR/cut/0.tar: 0 bytes, want a tar file"},
		{"plain.tar", "[]"}, {"json.tar", "[{metadata text}]"}, {"c cls.tar json.tar", "[{cls text} {metadata text}]"}, {"none.tar", "input: $DIR/none.tar: no such file or directory"},
	} {
		var inputs []string
		for _, name := range strings.Fields(c.inputs) {
			inputs = append(inputs, filepath.Join(dir, name))
		}
		columns, err := Columns(t.Context(), inputs, Options{})
		got := fmt.Sprint(columns)
		if err != nil {
			got = err.Error()
		}
		check(t, c.inputs, got, dir, c.want)
	}
}

// TestChanged: a part that is not what it was when it was listed is refused.
func TestChanged(t *testing.T) {
	text := tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"})
	dir := write(t, map[string]string{"x.tar": text, "list.txt": "a.jpg\n", "a.jpg": "A", "f/a.jpg": "A", "f/b.jpg": "B", "f/c.jpg": "C"})
	at := func(name string) string { return filepath.Join(dir, name) }
	ps, err := parts(t, Options{}, at("x.tar"), at("list.txt"), at("f"))
	if err != nil || len(ps) != 3 {
		t.Fatal(ps, err)
	}
	for _, name := range []string{"x.tar", "list.txt", "f/a.jpg"} { // the same size, another time
		if err := os.Chtimes(at(name), time.Time{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(at("f/b.jpg"))
	for i := range 2 {
		if _, _, err := samples(t, t.Context(), ps[i], Options{}); !errors.Is(err, ErrChanged) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error is %v", ps[i], err)
		}
	}
	lines, _, err := samples(t, t.Context(), ps[2], Options{})
	if err != nil || len(lines) != 3 || !strings.Contains(lines[0], "a.jpg: it has changed since") || !strings.Contains(lines[1], "no such file") || lines[2] != "c.jpg=C" {
		t.Errorf("got %q, %v", lines, err)
	}
	os.Remove(at("x.tar"))
	if _, _, err := samples(t, t.Context(), ps[0], Options{}); !errors.Is(err, ErrChanged) {
		t.Errorf("without a file: error is %v", err)
	}
}

// A slow store fails in the middle of what it reads.
type failing struct {
	store.Store
	at int64
}

var errNetwork = errors.New("connection reset")

func (f failing) Open(ctx context.Context, name string, offset, length int64) (store.Reader, error) {
	r, err := f.Store.Open(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
		infoer
	}{io.MultiReader(io.LimitReader(r, f.at), broken{}), r, r}, nil
}

type infoer interface{ Info() store.Info }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errNetwork }

func (f failing) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return f.Store.List(ctx, prefix)
}

// TestNetwork: an error of the store is no damage: the part can be tried again.
func TestNetwork(t *testing.T) {
	dir := write(t, map[string]string{"x.tar": tarOf(t, tar.FormatPAX, entry{"a.jpg", strings.Repeat("A", 2000)}, entry{"b.jpg", "B"}), "a.jpg": "AAAA"})
	store.Register("failing", func(ctx context.Context, location string) (store.Store, error) {
		s, err := store.Open(ctx, dir)
		return failing{s, 3}, err
	})
	ps, err := parts(t, Options{}, "failing://b/x.tar", "failing://b/a.jpg")
	if err != nil || len(ps) != 2 {
		t.Fatal(ps, err)
	}
	for _, p := range ps {
		lines, _, err := samples(t, t.Context(), p, Options{})
		if !errors.Is(err, errNetwork) || errors.Is(err, ErrDamaged) || len(lines) != 0 {
			t.Errorf("%s: got %q, %v", p, lines, err)
		}
	}
}

// TestEnds: a context that ends, and a loop that is left, end the reading.
func TestEnds(t *testing.T) {
	dir := write(t, map[string]string{"x.tar": tarOf(t, tar.FormatPAX, entry{"a.jpg", "A"}, entry{"b.jpg", "B"}), "f/a.jpg": "A", "f/b.jpg": "B"})
	ps, err := parts(t, Options{}, filepath.Join(dir, "x.tar"), filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps {
		r, err := p.Open(t.Context(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range r.Samples() {
			if err != nil || string(s.Image) != "A" {
				t.Fatal(s, err)
			}
			break
		}
		if r.SHA256() != "" {
			t.Errorf("%s: a checksum after one of two", p)
		}
		r.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errNetwork)
		if _, _, err := samples(t, ctx, p, Options{}); !errors.Is(err, errNetwork) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: error is %v, want the cause", p, err)
		}
	}
}
