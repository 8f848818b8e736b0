package data

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/webdataset"
)

// entry is a file in a tar file; a name that ends in a slash is a folder.
type entry struct{ name, text string }

func shard(t testing.TB, format tar.Format, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.text)), Typeflag: tar.TypeReg, Format: format}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, e.text); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestShards(t *testing.T) {
	long := strings.Repeat("long/", 50) // longer than the 100 bytes of a tar header
	for _, c := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"classes", []entry{{"0001.jpg", "A"}, {"0001.cls", "7\n"}, {"0002.PNG", "BB"}, {"0002.cls", "10"}}, "x.tar/0001.jpg=7 x.tar/0002.PNG=10"},
		{"captions", []entry{{"./d/a.webp", "A"}, {"./d/a.txt", " a cat \n"}, {"d/", ""}}, `x.tar/d/a.webp"a cat"`},
		{"json", []entry{{"a.json", `{"caption":"x","key":"a","exif":"{}","label":1}`}, {"a.jpg", "A"}, {"b.jpg", "B"}, {"b.json", `{"class":"2"}`}}, `x.tar/a.jpg=1"x" x.tar/b.jpg=2`},
		{"both agree", []entry{{"a.txt", "x"}, {"a.json", `{"caption":"x"}`}, {"a.jpg", "A"}}, `x.tar/a.jpg"x"`},
		{"others", []entry{{"a.jpg", "A"}, {"a.txt", "x"}, {"a.seg.png", "S"}, {"a.npy", "N"}, {"README", "R"}, {".hidden.jpg", "H"}}, `x.tar/a.jpg"x"`},
		{"apart", []entry{{"a.jpg", "A"}, {"b.jpg", "B"}, {"b.cls", "1"}, {"a.cls", "0"}}, "x.tar/a.jpg=0 x.tar/b.jpg=1"},
		{"dots in folders", []entry{{"v1.0/a.jpg", "A"}, {"v1.0/a.txt", "x"}}, `x.tar/v1.0/a.jpg"x"`},
		{"bytes", []entry{{"caf\xe9.jpg", "A"}, {"caf\xe9.txt", "x"}, {"caf\xe8.jpg", "B"}, {"caf\xe8.txt", "y"}}, "x.tar/caf\xe9.jpg\"x\" x.tar/caf\xe8.jpg\"y\""},
		{"half a character", []entry{{"a.json", `{"caption":"\udce9"}`}}, `data: $DIR/x.tar: "a.json": "\xe9" is not UTF-8`},
		{"long names", []entry{{long + "a.jpg", "A"}, {long + "a.txt", "x"}}, "x.tar/" + long + `a.jpg"x"`},

		{"none", nil, "data: $DIR/*.tar: no pictures"},
		{"unlabelled", []entry{{"a.jpg", "A"}}, "data: $DIR/*.tar: 1 picture, and none has a label or a caption"},
		{"one unlabelled", []entry{{"a.jpg", "A"}, {"b.jpg", "B"}, {"b.cls", "1"}, {"c.jpg", "C"}, {"c.cls", "2"}}, "data: $DIR/*.tar: 1 of 3 pictures has no label: $DIR/x.tar/a.jpg"},
		{"one class", []entry{{"a.jpg", "A"}, {"a.cls", "1"}}, `data: $DIR/*.tar: 1 picture, all of one class, "1"; want at least 2 classes`},
		{"no picture", []entry{{"a.jpg", "A"}, {"a.cls", "1"}, {"b.cls", "1"}}, `data: $DIR/x.tar: 1 of 2 samples have no picture, the first is that of "b.cls"`},
		{"two pictures", []entry{{"a.jpg", "A"}, {"a.png", "1"}}, `data: $DIR/x.tar: "a.jpg" and "a.png" are two pictures of one sample`},
		{"twice", []entry{{"a.txt", "A"}, {"./a.txt", "1"}}, `data: $DIR/x.tar: "a.txt" is there twice`},
		{"contradiction", []entry{{"a.txt", "A"}, {"a.json", `{"text":"B"}`}}, `data: $DIR/x.tar: "a.json": caption "B", where another file of the sample says "A"`},
		{"upwards", []entry{{"x/../../a.jpg", "A"}}, `data: $DIR/x.tar: name "x/../../a.jpg" is absolute or leads upwards`},
		{"upwards in Windows", []entry{{`..\a.jpg`, "A"}}, `data: $DIR/x.tar: name "..\\a.jpg" is absolute or leads upwards`},
		{"absolute", []entry{{"/etc/a.jpg", "A"}}, `data: $DIR/x.tar: name "/etc/a.jpg" is absolute or leads upwards`},
		{"name", []entry{{strings.Repeat("a/", 2100) + "a.jpg", "A"}}, `data: $DIR/x.tar: name of 4205 bytes, want at most 4096: "` + strings.Repeat("a/", 20) + `" …`},
		{"large note", []entry{{"a.txt", strings.Repeat("a", maxNote+1)}}, `data: $DIR/x.tar: "a.txt" has 1048577 bytes, want at most 1048576`},
		{"not text", []entry{{"a.txt", "\xff"}}, `data: $DIR/x.tar: "a.txt": not UTF-8`},
		{"bad json", []entry{{"a.json", "{"}}, `data: $DIR/x.tar: "a.json": unexpected end of JSON input`},
	} {
		format := tar.FormatPAX
		if c.name == "bytes" {
			format = tar.FormatGNU // whose names are any bytes
		}
		dir := write(t, map[string]string{"x.tar": shard(t, format, c.entries...)})
		d, err := Shards(filepath.Join(dir, "*.tar"))
		check(t, c.name, d, err, dir, c.want)
	}
}

// TestShardsNotes: what is no part of a sample is counted and named.
func TestShardsNotes(t *testing.T) {
	dir := write(t, map[string]string{"x.tar": shard(t, tar.FormatPAX,
		entry{"a.jpg", "A"}, entry{"a.txt", "\ufeffx\n"}, entry{"a.seg.png", "S"}, entry{"photo.0.jpg", "P"}, entry{"photo.0.txt", "p"}, entry{"photo.1.HEIC", "p"},
		entry{"a.npy", "N"}, entry{"README", "R"}, entry{"._a.jpg", "R"}, entry{"d/", ""}, entry{"a.heic", "H"}, entry{"b.json", `{"caption":"y"}`}, entry{"v1.0/b", "B"}, entry{"b.jfif", "B"},
	), "y.tar": shard(t, tar.FormatPAX), "z/only.tar": shard(t, tar.FormatPAX, entry{"IMG 2023.06.00.jpg", "A"}, entry{"IMG 2023.06.00.cls", "1"}),
		"bare/x.tar": shard(t, tar.FormatPAX, entry{"a.heic", "A"}, entry{"a.txt", "1"})})
	d, err := Shards(filepath.Join(dir, "*.tar"))
	check(t, "notes", d, err, dir, `x.tar/a.jpg"x" x.tar/b.jfif"y"`)
	if d != nil {
		got := strings.ReplaceAll(strings.Join(d.Notes, "\n"), filepath.Join(dir, "x.tar"), "X")
		want := "left out 4 files with a second dot in their names: the key of a sample ends at the first: X/a.seg.png, X/photo.0.jpg, X/photo.0.txt and 1 more\n" +
			"left out 1 file that is neither a picture nor of the endings cls, txt, json: X/a.npy\n" +
			"left out 3 files whose names do not begin with the key of a sample and a dot: X/README, X/._a.jpg, X/v1.0/b\n" +
			"left out 1 picture of the format HEIC, which is not read: X/a.heic\n" +
			"left out 1 shard without samples: " + filepath.Join(dir, "y.tar")
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	d, err = Shards(filepath.Join(dir, "z", "*.tar"))
	check(t, "all left out", d, err, dir, "data: $DIR/z/*.tar: no pictures\ndata: $DIR/z/*.tar: left out 2 files with a second dot in their names: the key of a sample ends at the first: "+
		"$DIR/z/only.tar/IMG 2023.06.00.jpg, $DIR/z/only.tar/IMG 2023.06.00.cls")
	d, err = Shards(filepath.Join(dir, "bare", "*.tar"))
	check(t, "pictures that are not read", d, err, dir, "data: $DIR/bare/x.tar: 1 of 1 samples have no picture, the first is that of \"a.txt\"\n"+
		"data: $DIR/bare/*.tar: left out 1 picture of the format HEIC, which is not read: $DIR/bare/x.tar/a.heic")
}

// The bytes of a picture are found whatever form the headers have, in any order, and in several shards.
func TestShardsOpen(t *testing.T) {
	long := strings.Repeat("n", 150)
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		name := "b"
		if format != tar.FormatUSTAR {
			name = long
		}
		dir := write(t, map[string]string{
			"s-1.tar": shard(t, format, entry{"a.cls", "0"}, entry{"a.jpg", "first"}, entry{name + ".jpg", strings.Repeat("second", 200)}, entry{name + ".cls", "1"}),
			"s-0.tar": shard(t, format, entry{"a.jpg", ""}, entry{"a.cls", "1"}),
		})
		d, err := Shards(filepath.Join(dir, "s-*.tar"))
		if err != nil {
			t.Error(format, err)
			continue
		}
		var got []string
		for _, i := range []int{2, 0, 1} {
			r, err := d.Open(i)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			got = append(got, string(b))
		}
		if want := []string{strings.Repeat("second", 200), "", "first"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: got %.30q, want %.30q", format, got, want)
		}
		if d.Samples[0].Label != 1 || d.Samples[1].Label != 0 {
			t.Errorf("%v: labels are %d, %d, want 1, 0", format, d.Samples[0].Label, d.Samples[1].Label)
		}
	}
}

func TestShardsBad(t *testing.T) {
	good := shard(t, tar.FormatUSTAR, entry{"a.jpg", strings.Repeat("A", 600)}, entry{"a.txt", strings.Repeat("x", 600)})
	for _, c := range []struct{ name, text, want string }{
		{"picture cut short", good[:512+100], `"a.jpg" claims 600 bytes, want at most 1073741824 and the 100 that are left in the file`},
		{"note cut short", good[:512+1024+512+100], `"a.txt": unexpected EOF`},
		{"header cut short", good[:512+1024+100], "after 1 sample: unexpected EOF"},
		{"empty", "", "0 bytes, want a tar file"},
		{"two in one", good + good, "more follows the mark of the archive's end: two tar files in one, of which programs read the first"},
		{"gzip", "\x1f\x8b\x08\x00\x00\x00", "compressed with gzip, want a plain tar file: pictures are read from its middle"},
		{"zstd", "\x28\xb5\x2f\xfdxx", "compressed with zstd, want"},
		{"no tar", strings.Repeat("hello", 1000), "after 0 samples: archive/tar: invalid tar header"},
		{"sparse", sparseShard(t), `"a.jpg" is a sparse file, want its bytes in one piece`},
		{"sum", strings.Replace(good, "a.jpg", "b.jpg", 1), "after 0 samples: archive/tar: invalid tar header"},
	} {
		dir := write(t, map[string]string{"x.tar": c.text})
		_, err := Shards(filepath.Join(dir, "x.tar"))
		if want := "data: " + filepath.Join(dir, "x.tar") + ": " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", c.name, err, want)
		}
	}
	dir := t.TempDir()
	if _, err := Shards(filepath.Join(dir, "*.tar")); err == nil || !strings.HasSuffix(err.Error(), "no such files, want a pattern like train-*.tar") {
		t.Errorf("no files: got %v", err)
	}
	if _, err := Shards(filepath.Join(dir, "[")); err == nil {
		t.Error("a bad pattern is no error")
	}
	if _, err := Shards(dir); err == nil || !strings.Contains(err.Error(), "no regular file but d") {
		t.Errorf("a folder: got %v", err)
	}
}

// sparseShard is a tar file whose picture is of PAX's sparse format 0.1, as GNU tar writes it: archive/tar
// reads such files, but does not write them.
func sparseShard(t testing.TB) string {
	t.Helper()
	record := func(key, value string) string {
		text := " " + key + "=" + value + "\n"
		n := len(text)
		for n != len(text)+len(fmt.Sprint(n)) {
			n = len(text) + len(fmt.Sprint(n))
		}
		return fmt.Sprint(n) + text
	}
	pax := record("GNU.sparse.size", "1000") + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.map", "996,4")
	header := func(name string, kind byte, size int) string {
		b := make([]byte, 512)
		copy(b, name)
		copy(b[100:], "0000644\x000000000\x000000000\x00")
		copy(b[124:], fmt.Sprintf("%011o\x0000000000000\x00", size))
		b[156] = kind
		copy(b[257:], "ustar\x0000")
		copy(b[148:], checksum(b))
		return string(b)
	}
	pad := func(s string) string { return s + strings.Repeat("\x00", (512-len(s)%512)%512) }
	return header("pax", 'x', len(pax)) + pad(pax) + header("a.jpg", '0', 4) + pad("tail") + strings.Repeat("\x00", 1024)
}

// checksum returns the field of that name for a header of a tar file.
func checksum(header []byte) string {
	sum := 8 * int(' ') // as if it were blank
	for i, v := range header {
		if i < 148 || i >= 156 {
			sum += int(v)
		}
	}
	return fmt.Sprintf("%06o\x00 ", sum)
}

// FuzzShards: whatever a shard holds, reading it ends without a panic, and what it gives lies in the file.
func FuzzShards(f *testing.F) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		f.Add([]byte(shard(f, format, entry{"a.jpg", "A"}, entry{"a.cls", "1"}, entry{"d/", ""}, entry{"b.json", `{"label":2}`}, entry{"b.png", "B"})))
	}
	f.Add([]byte(sparseShard(f)))
	f.Add([]byte(shard(f, tar.FormatPAX, entry{strings.Repeat("n", 200) + ".jpg", "A"}, entry{"../x.jpg", "B"})))
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.Clone(text) // which must not be changed
		for at := 0; at+512 <= len(text); at += 512 {
			if b := text[at : at+512]; string(b[257:262]) == "ustar" {
				copy(b[148:], checksum(b)) // or hardly anything that is tried would be read
			}
		}
		members, err := readShard(bytes.NewReader(text), int64(len(text)), func(plural.Phrase, string) {})
		if err != nil {
			return
		}
		for _, m := range members {
			p := m.part
			if p.offset < 512 || p.size < 0 || p.offset+p.size > int64(len(text)) {
				t.Fatalf("%q is at %d, %d bytes, of a file of %d", m.name, p.offset, p.size, len(text))
			}
			if strings.Contains("/"+m.name+"/", "/../") || strings.HasPrefix(m.name, "/") || len(m.name) > webdataset.MaxName {
				t.Fatalf("name %q", m.name)
			}
		}
	})
}

// FuzzTable: whatever a table holds, reading it ends without a panic, and every row has a path.
func FuzzTable(f *testing.F) {
	f.Add([]byte("path,label\na.png,1\n\"b,\"\"\",2\n"), 0)
	f.Add([]byte("path\tcaption\na.png\t6\"\n"), 1)
	f.Add([]byte(`{"path":"a.png","label":3}`+"\n"+`{"path":"b","text":"x"}`), 2)
	f.Add([]byte(`{"path":"a.png","labels":["a",3]}`+"\n"+`{"path":"b","label":[]}`), 2)
	f.Add([]byte("path,labels\na.png,a|b\nb.png,\n"), 3)
	f.Fuzz(func(t *testing.T, text []byte, kind int) {
		name := []string{"a.csv", "a.tsv", "a.jsonl"}[uint(kind)%3]
		separator := []string{"", "|"}[uint(kind)/3%2]
		found, err := readTable(text, name, "dir", separator)
		if err != nil {
			return
		}
		for _, s := range found {
			if s.Path == "" || s.where == "" {
				t.Fatalf("got %+v", s)
			}
		}
		if d, err := build(name, "dir", found, false, toLearn); err == nil {
			for _, s := range d.Samples {
				if s.Label < Unlabelled || s.Label >= len(d.Classes) || s.Label == Unlabelled && s.Caption == "" && !d.Multi {
					t.Fatalf("got %+v of %d classes", s, len(d.Classes))
				}
				for i, l := range s.LabelSet {
					if !d.Multi || l < 0 || l >= len(d.Classes) || i > 0 && l <= s.LabelSet[i-1] {
						t.Fatalf("got %+v of %d classes", s, len(d.Classes))
					}
				}
			}
		}
	})
}
