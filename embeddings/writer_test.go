package embeddings

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
)

// bad is the name of a row that fails; it is no UTF-8.
const bad = "b\xe9\n.png"

// sample is what the tests write: few rows, one of which fails.
func sample(format string) Spec {
	return Spec{
		Format: format, Shape: []int{3}, Names: []string{"a.png", bad, `"c".png`, "d.png", "e.png"}, Model: "0123456789abcdef0123456789abcdef",
		Settings: map[string]string{"normalized": "false", "precision": "f32"},
	}
}

// values returns those of row i.
func values(i, n int) []float32 {
	x := make([]float32, n)
	for j := range x {
		x[j] = float32(i) + float32(j)/7
	}
	return x
}

// writeRows writes rows up to number n, or all, and commits them.
func writeRows(w *Writer, n int) error {
	for i := w.Done(); i < min(n, len(w.spec.Names)); i++ {
		name, err := w.spec.Names[i], error(nil)
		if name == bad {
			err = w.Fail(name, errors.New("no picture"))
		} else {
			err = w.Write(name, values(i, w.spec.values()))
		}
		if err != nil {
			return err
		}
	}
	if n < len(w.spec.Names) {
		return nil
	}
	return w.Commit()
}

// written writes a file, up to row n.
func written(t testing.TB, path string, s Spec, o Options, n int) *Writer {
	t.Helper()
	w, err := Create(path, s, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeRows(w, n), w.Close()); err != nil {
		t.Fatal(err)
	}
	return w
}

// lying returns the names of all files in a folder.
func lying(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// left is what lies in a folder when a file is complete.
func left(format string) []string {
	all := []string{"x." + format, "x." + format + aboutSuffix}
	if format == "npy" {
		all = append(all, "x.npy"+namesSuffix)
	}
	return all
}

func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range lying(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFormats: the bytes of each format, and what is read of them.
func TestFormats(t *testing.T) {
	names := `"a.png"` + "\n" + `"b\udce9\n.png"` + "\n" + `"\"c\".png"` + "\n" + `"d.png"` + "\n" + `"e.png"` + "\n"
	for _, format := range Formats() {
		for _, shape := range [][]int{{3}, {2, 2}} {
			dir := t.TempDir()
			path, s := filepath.Join(dir, "sub", "x."+format), sample("")
			s.Shape = shape
			w := written(t, path, s, Options{}, 9)
			if !w.Complete() || w.Done() != 5 || w.Failed() != 1 {
				t.Errorf("%s: complete %v, %d done, %d failed", format, w.Complete(), w.Done(), w.Failed())
			}
			if got := lying(t, filepath.Dir(path)); !slices.Equal(got, left(format)) {
				t.Errorf("found %q, want %q", got, left(format))
			}
			if format == "npy" {
				if got := contents(t, filepath.Dir(path))["x.npy"+namesSuffix]; got != names {
					t.Errorf("names are %q, want %q", got, names)
				}
			}
			var b bytes.Buffer
			s.Format = format
			stream, err := to(&b, s)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(writeRows(stream, 9), stream.Close()); err != nil {
				t.Fatal(err)
			}
			file, err := os.ReadFile(path)
			if err != nil || string(file) != b.String() {
				t.Errorf("%s: a stream of %d bytes, and Create %d (%v)", format, b.Len(), len(file), err)
			}
			set, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			want := &Set{Shape: shape, Names: s.Names, Feature: "embedding"}
			if format == "npy" {
				want.Feature = ""
			}
			for i, name := range s.Names {
				if want.Vectors = append(want.Vectors, values(i, w.spec.values())); name == bad {
					want.Vectors[i] = nil
				}
			}
			if fmt.Sprintf("%#v", set) != fmt.Sprintf("%#v", want) {
				t.Errorf("%s: read %#v, want %#v", format, set, want)
			}
		}
	}
	got, err := os.ReadFile(func() string {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		written(t, path, sample(""), Options{}, 9)
		return path
	}())
	if want := `{"image":"a.png","embedding":[0,0.14285715,0.2857143]}` + "\n" + `{"image":"b\udce9\n.png","error":"no picture"}` + "\n"; err != nil || !strings.HasPrefix(string(got), want) {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// TestAbout: what lies beside a file says what it is.
func TestAbout(t *testing.T) {
	dir := t.TempDir()
	written(t, filepath.Join(dir, "x.npy"), sample(""), Options{}, 9)
	var got map[string]any
	if err := json.Unmarshal([]byte(contents(t, dir)["x.npy"+aboutSuffix]), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "vitago")
	delete(got, "kernel")
	delete(got, "crc32c")
	want := map[string]any{
		"version": 1., "format": "npy", "kind": "image", "feature": "embedding", "shape": []any{3.}, "model": sample("").Model, "rows": 5., "bytes": 128 + 60.,
		"settings":     map[string]any{"normalized": "false", "precision": "f32"},
		"names_sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(contents(t, dir)["x.npy"+namesSuffix]))),
		"failed":       []any{map[string]any{"row": 1., "name": "b\ufffd\n.png", "error": "no picture"}},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// leaveOut leaves the disk out, until the function is called that it returns.
func leaveOut() (back func()) {
	file, dir := fsync, syncDir
	fsync, syncDir = func(*os.File) error { return nil }, func(string) {}
	return func() { fsync, syncDir = file, dir }
}

// TestTorn: wherever what is kept ends, as a process leaves it that is killed, or a machine that loses power, the end is the
// same.
func TestTorn(t *testing.T) {
	defer leaveOut()()
	for _, format := range Formats() {
		s, whole, torn := sample(format), t.TempDir(), t.TempDir()
		written(t, filepath.Join(whole, "x."+format), s, Options{}, 9)
		path := filepath.Join(torn, "x."+format)
		written(t, path, s, Options{}, 4)
		kept := contents(t, torn)
		if len(kept) != 2 {
			t.Fatalf("kept %q", slices.Collect(maps.Keys(kept)))
		}
		rows, journal := kept["x."+format+partialSuffix], kept["x."+format+journalSuffix]
		header := strings.IndexByte(journal, '\n') + 1
		want := contents(t, whole)
		damaged := 0
		try := func(rows, journal string, about string) {
			t.Helper()
			put(t, torn, map[string]string{"x." + format + partialSuffix: rows, "x." + format + journalSuffix: journal})
			w, err := Create(path, s, Options{Resume: true})
			if errors.Is(err, ErrDamaged) {
				damaged++
				return
			}
			if err != nil {
				t.Fatal(about, err)
			}
			if err := errors.Join(writeRows(w, 9), w.Close()); err != nil {
				t.Fatal(about, err)
			}
			if got := contents(t, torn); !maps.Equal(got, want) {
				t.Fatalf("%s, %s: got %q, want %q", format, about, got, want)
			}
			for name := range want {
				os.Remove(filepath.Join(torn, name))
			}
		}
		step := map[bool]int{true: 1, false: 5}[format == "jsonl"] // the journal of all is one
		for i := 0; i < len(rows); i += step {
			try(rows[:i], journal, fmt.Sprintf("rows end at %d", i))
			try(rows[:i]+"\x00"+rows[i+1:], journal, fmt.Sprintf("rows are damaged at %d", i))
		}
		for i := header; i < len(journal); i += step {
			try(rows, journal[:i], fmt.Sprintf("journal ends at %d", i))
			try(rows+"half a row", journal[:i]+"#"+journal[i+1:], fmt.Sprintf("journal is damaged at %d", i))
		}
		if damaged > 0 {
			t.Errorf("%d are called damaged", damaged)
		}
		tried := 0
		for i := 0; i < header; i += step {
			tried++
			try(rows, journal[:i]+"#"+journal[i+1:], fmt.Sprintf("journal is damaged at %d", i))
		}
		if damaged != tried {
			t.Errorf("%d are called damaged, want %d", damaged, tried)
		}
		os.Remove(path + partialSuffix)
		try(rows[:0], journal, "no rows")
	}
}

// TestStopped: wherever the last steps are stopped, in which the file gets its name, they are gone on with.
func TestStopped(t *testing.T) {
	for _, format := range Formats() {
		for _, replace := range []bool{false, true} {
			s, dir := sample(format), t.TempDir()
			path := filepath.Join(dir, "x."+format)
			old := s
			old.Names, old.Model = old.Names[:3], "other"
			o := Options{}
			if replace {
				written(t, path, old, Options{}, 9)
				o.Overwrite = true
			}
			w, err := Create(path, s, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeRows(w, 4); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.Write("e.png", values(4, 3)), w.log(&point{Whole: true}), w.Close()); err != nil {
				t.Fatal(err)
			}
			about, names, rows := "x."+format+aboutSuffix, "x."+format+namesSuffix, "x."+format+partialSuffix
			unfinished := contents(t, dir)
			written(t, path, s, Options{Resume: true}, 9)
			want := contents(t, dir)
			if got := lying(t, dir); !slices.Equal(got, left(format)) {
				t.Fatalf("found %q, want %q", got, left(format))
			}
			state := func(change func(m map[string]string)) map[string]string {
				m := maps.Clone(unfinished)
				change(m)
				return m
			}
			for i, m := range []map[string]string{
				unfinished,
				state(func(m map[string]string) { delete(m, about) }),
				state(func(m map[string]string) { delete(m, about); delete(m, "x."+format) }),
				state(func(m map[string]string) {
					delete(m, about)
					delete(m, "x."+format)
					m["x."+format+newSuffix] = want[names][:len(want[names])/2]
				}),
				state(func(m map[string]string) {
					delete(m, about)
					delete(m, "x."+format)
					if format == "npy" {
						m[names] = want[names]
					}
				}),
				state(func(m map[string]string) {
					delete(m, about)
					delete(m, rows)
					m["x."+format] = want["x."+format]
					if format == "npy" {
						m[names] = want[names]
					}
				}),
				state(func(m map[string]string) {
					delete(m, rows)
					maps.Copy(m, want)
				}),
				want,
			} {
				for name := range contents(t, dir) {
					os.Remove(filepath.Join(dir, name))
				}
				put(t, dir, m)
				_, there := m[rows]
				var plain error
				if w, err := Create(path, s, Options{}); err == nil {
					t.Errorf("state %d: without resuming it goes on", i)
					w.Close()
				} else {
					plain = err
				}
				if wanted := map[bool]error{true: ErrUnfinished, false: ErrExists}[there]; !errors.Is(plain, wanted) {
					t.Errorf("state %d: error %v, want %v", i, plain, wanted)
				}
				w, err := Create(path, s, Options{Resume: true})
				if err != nil {
					t.Fatalf("%s, state %d: %v", format, i, err)
				}
				if w.Done() != 5 || w.Failed() != 1 || w.Complete() == there {
					t.Errorf("%s, state %d: %d done, %d failed, complete %v", format, i, w.Done(), w.Failed(), w.Complete())
				}
				if err := errors.Join(w.Commit(), w.Close()); err != nil {
					t.Fatal(err)
				}
				if got := contents(t, dir); !maps.Equal(got, want) {
					t.Errorf("%s, state %d: got %q, want %q", format, i, got, want)
				}
			}
		}
	}
}

// TestRefused: what is there is not lost by mistake.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.npy")
	refused := func(o Options, want error, text string) {
		t.Helper()
		before := contents(t, dir)
		w, err := Create(path, sample(""), o)
		if err == nil {
			w.Close()
			t.Fatalf("%+v is not refused", o)
		}
		if want != nil && !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "embeddings: "+path) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), ".partial") {
			t.Errorf("%+v: error %v, want %v", o, err, want)
		}
		if !maps.Equal(contents(t, dir), before) {
			t.Errorf("%+v: left %q, before it was %q", o, lying(t, dir), slices.Collect(maps.Keys(before)))
		}
	}
	w, err := Create(path, sample(""), Options{Resume: true}) // there is nothing
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, sample(""), Options{Resume: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("two at once: %v, want %v", err, ErrInUse)
	}
	if _, err := Create(path, sample(""), Options{Overwrite: true}); !errors.Is(err, ErrInUse) {
		t.Errorf("two at once: %v, want %v", err, ErrInUse)
	}
	if err := w.Close(); err != nil || len(lying(t, dir)) > 0 {
		t.Errorf("without rows: %v, left %q", err, lying(t, dir))
	}
	if err := w.Write("a.png", values(0, 3)); err == nil {
		t.Error("a closed file takes rows")
	}
	written(t, path, sample(""), Options{}, 2)
	refused(Options{}, ErrUnfinished, "has been begun, with 2 rows")
	refused(Options{Resume: true, Overwrite: true}, nil, "cannot both")
	written(t, path, sample(""), Options{Overwrite: true}, 1)
	refused(Options{}, ErrUnfinished, "has been begun, with 1 row,")
	written(t, path, sample(""), Options{Resume: true}, 9)
	refused(Options{}, ErrExists, "")
	if err := os.WriteFile(path, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused(Options{Resume: true}, ErrDamaged, "has 4 bytes")
	if err := os.Remove(path + aboutSuffix); err != nil {
		t.Fatal(err)
	}
	refused(Options{Resume: true}, ErrExists, "no x.npy.about.json says how it was made")

	// A file that is to be replaced stays until the end, and one that comes meanwhile stays.
	w, err = Create(path, sample(""), Options{Overwrite: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeRows(w, 4); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dir)["x.npy"]; got != "mine" {
		t.Errorf("it is %q", got)
	}
	if err := w.Commit(); err == nil || !strings.Contains(err.Error(), "4 of 5 rows are written") {
		t.Errorf("an early end: %v", err)
	}
	if err := errors.Join(w.Write("e.png", values(4, 3)), w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if got := lying(t, dir); !slices.Equal(got, left("npy")) {
		t.Errorf("found %q", got)
	}
	other := filepath.Join(dir, "other.jsonl")
	if w, err = Create(other, sample(""), Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := writeRows(w, 9); !errors.Is(err, ErrExists) {
		t.Errorf("one that came: %v", err)
	}
	w.Close()
	path = other
	refused(Options{Resume: true}, ErrExists, "since after its rows")
	os.Remove(other)
	written(t, other, sample(""), Options{Resume: true}, 9)

	path = filepath.Join(dir, "foreign.npy")
	if err := os.WriteFile(path+partialSuffix, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path, sample(""), Options{Overwrite: true}); err == nil || !strings.Contains(err.Error(), "nothing says what it is") {
		t.Errorf("a foreign file: %v", err)
	}
}

// TestMismatch: what differs is named.
func TestMismatch(t *testing.T) {
	for _, done := range []int{3, 9} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.npy")
		written(t, path, sample(""), Options{}, done)
		before := contents(t, dir)
		for want, change := range map[string]func(s *Spec){
			"normalized false, which is now true":         func(s *Spec) { s.Settings["normalized"] = "true" },
			"layer none, which is now 2":                  func(s *Spec) { s.Settings["layer"] = "2" },
			"precision f32, which is now none":            func(s *Spec) { delete(s.Settings, "precision") },
			"model 0123456789abcdef, which is now abcdef": func(s *Spec) { s.Model = "abcdef" },
			"feature embedding, which is now post_norm":   func(s *Spec) { s.Feature = "post_norm" },
			"shape of a row [3], which is now [4]":        func(s *Spec) { s.Shape = []int{4} },
			"rows of a image, which is now text":          func(s *Spec) { s.Kind = "text" },
			"the number of rows 5, which is now 6":        func(s *Spec) { s.Names = append(s.Names, "f.png") },
			"names with the SHA-256 ":                     func(s *Spec) { s.Names[4] = "f.png" },
			`image 2 "b\xe9\n.png", which is now d.png`:   func(s *Spec) { s.Names = slices.Delete(s.Names, 1, 3) },
			`image 1 a.png, which is now x.png`:           func(s *Spec) { s.Names[0] = "x.png" },
			"precision f32, which is now int8":            func(s *Spec) { s.Settings["precision"], s.Model = "int8", "abcdef" }, // of which that comes
		} {
			if done == 9 && strings.HasPrefix(want, "image ") {
				continue // the journal is gone
			}
			s := sample("npy")
			change(&s)
			w, err := Create(path, s, Options{Resume: true})
			if err == nil {
				w.Close()
			}
			if e := (*MismatchError)(nil); !errors.As(err, &e) || !errors.Is(err, ErrOther) || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("error %v, want %s", err, want)
			}
			if got := contents(t, dir); !maps.Equal(got, before) {
				t.Fatalf("%s: it has changed something", want)
			}
		}
	}
}

// TestWrong: what makes no row.
func TestWrong(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "x.jsonl"), sample(""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for want, err := range map[string]error{
		"row 1 is of d.png, want a.png":                        w.Write("d.png", values(0, 3)),
		"a.png: 4 values, want 3":                              w.Write("a.png", values(0, 4)),
		"a.png: embedding: value 2 of 3 is NaN, want a finite": w.Write("a.png", []float32{0, nan, 1}),
		"a.png: embedding: value 3 of 3 is +Inf":               w.Write("a.png", []float32{0, 1, inf}),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), "embeddings: "+want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if err := writeRows(w, 9); err != nil {
		t.Error(err)
	}
	if err := w.Write("f.png", values(0, 3)); err == nil || !strings.Contains(err.Error(), "all 5 rows are written") {
		t.Errorf("one more: %v", err)
	}
	for want, change := range map[string]func(s *Spec){
		`format is "x", want jsonl, npy, safetensors`:  func(s *Spec) { s.Format = "x" },
		"shape of a row is [], want [E] or [T,C]":      func(s *Spec) { s.Shape = nil },
		"shape of a row is [0], want":                  func(s *Spec) { s.Shape = []int{0} },
		`rows are called "image", and their names "im`: func(s *Spec) { s.Feature = "image" },
	} {
		s := sample("npy")
		change(&s)
		if _, err := to(io.Discard, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	twice := named("x", errors.Join(named("x", io.ErrShortWrite), errors.New("x"+journalSuffix+": gone")))
	if twice.Error() != "embeddings: short write\nembeddings: x: gone" || !errors.Is(twice, io.ErrShortWrite) {
		t.Errorf("error named twice: %q", twice)
	}
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:           "is a directory",
		dir + "/sub/": "names a folder",
		dir + "/" + strings.Repeat("x", 250) + ".npy": "cannot write in the folder " + dir,
	} {
		if _, err := Create(path, sample("npy"), Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".partial") {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if got := lying(t, dir); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// TestDevices: what is no file is written to as it is, and a link stays one.
func TestDevices(t *testing.T) {
	if _, err := os.Stat("/dev/null"); err != nil {
		t.Skip("no devices")
	}
	written(t, "/dev/null", sample("npy"), Options{Overwrite: true}, 9)
	if _, err := Create("/dev/null", sample("npy"), Options{Resume: true}); err == nil || !strings.Contains(err.Error(), "no file that could be resumed") {
		t.Errorf("error %v", err)
	}
	dir := t.TempDir()
	target, link := filepath.Join(dir, "x.npy"), filepath.Join(t.TempDir(), "link.npy")
	if err := errors.Join(os.WriteFile(target, nil, 0o666), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	written(t, link, sample(""), Options{Overwrite: true}, 9)
	if got := lying(t, dir); !slices.Equal(got, left("npy")) {
		t.Errorf("found %q", got)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}

	// A link to what is not there yet, such as on a larger disk.
	far, near := filepath.Join(t.TempDir(), "new"), t.TempDir()
	link = filepath.Join(near, "x.npy")
	if err := os.Symlink(filepath.Join(far, "y.npy"), link); err != nil {
		t.Fatal(err)
	}
	written(t, link, sample(""), Options{}, 3)
	written(t, link, sample(""), Options{Resume: true}, 9)
	if got, want := lying(t, far), []string{"y.npy", "y.npy.about.json", "y.npy.names.jsonl"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := lying(t, near); !slices.Equal(got, []string{"x.npy"}) {
		t.Errorf("beside the link lies %q", got)
	}
	circle := filepath.Join(near, "circle.npy")
	if err := os.Symlink("circle.npy", circle); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(circle, sample(""), Options{}); err == nil || !strings.Contains(err.Error(), "circle.npy: too many") {
		t.Errorf("a circle of links: %v", err)
	}
}

// TestInTheWay: what has a name that is needed is said before rows are made.
func TestInTheWay(t *testing.T) {
	for _, suffix := range []string{partialSuffix, journalSuffix, newSuffix, aboutSuffix, namesSuffix} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.npy")
		if err := os.Mkdir(path+suffix, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{}, {Resume: true}, {Overwrite: true}} {
			if _, err := Create(path, sample(""), o); err == nil || !strings.Contains(err.Error(), "x.npy"+suffix+": is a directory, want a file") {
				t.Errorf("%s, %+v: error %v", suffix, o, err)
			}
		}
		if got := lying(t, dir); !slices.Equal(got, []string{"x.npy" + suffix}) {
			t.Errorf("%s: found %q", suffix, got)
		}
	}
	path := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.Mkdir(path+namesSuffix, 0o777); err != nil { // which it does not need
		t.Fatal(err)
	}
	written(t, path, sample(""), Options{}, 9)
}

// TestMemory: what is held does not grow with the number of rows, and the names are held once.
func TestMemory(t *testing.T) {
	const rows = 100_000
	s := sample("")
	s.Names = make([]string, rows)
	for i := range s.Names {
		s.Names[i] = fmt.Sprintf("a/folder/of/pictures/%08d.jpg", i)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, format := range Formats() {
		s.Format = format
		path := filepath.Join(t.TempDir(), "x."+format)
		before := heap()
		for _, n := range []int{rows / 2, rows} { // and resumed
			w, err := Create(path, s, Options{Resume: true})
			if err != nil {
				t.Fatal(err)
			}
			if n == rows && w.Done() != rows/2 {
				t.Errorf("%d rows are done, want %d", w.Done(), rows/2)
			}
			if err := writeRows(w, n); err != nil {
				t.Fatal(err)
			}
			if grown := heap() - before; grown > 1<<20 {
				t.Errorf("%s: %d bytes are held after %d rows", format, grown, n)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		set, err := Read(path)
		if err != nil || len(set.Names) != rows || set.Names[rows-1] != s.Names[rows-1] || !slices.Equal(set.Vectors[rows-1], values(rows-1, 3)) {
			t.Errorf("%s: read %v", format, err)
		}
	}
}

// TestLine: JSON has no NaN, and numbers are the shortest.
func TestLine(t *testing.T) {
	if b, err := AppendLine(nil, "image", "a.png", "embedding", []float32{1, float32(math.NaN())}, 2); err == nil {
		t.Errorf("got %s, want an error", b)
	}
	for want, got := range map[string]func() ([]byte, error){
		`{"image":"b\"\udcff\u0026.png","embedding":[1e-7,0.1]}` + "\n": func() ([]byte, error) {
			return AppendLine(nil, "image", "b\"\xff&.png", "embedding", []float32{1e-7, 0.1}, 2)
		},
		`1{"text":"a","all":[[1],[2]]}` + "\n":  func() ([]byte, error) { return AppendLine([]byte("1"), "text", "a", "all", []float32{1, 2}, 2, 1) },
		`{"text":"a","error":"b\udcff"}` + "\n": func() ([]byte, error) { return AppendError(nil, "text", "a", "b\xff") },
	} {
		if b, err := got(); err != nil || string(b) != want {
			t.Errorf("got %s, %v; want %s", b, err, want)
		}
	}
}

// TestReadAbout: what a file says of itself is that of its rows; one that is not complete is none.
func TestReadAbout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.npy")
	space := &clip.Space{Vision: "v", Features: "embedding", Dim: 2, Precision: "f32", Preprocessing: "{}"}
	w, err := Create(path, Spec{Shape: []int{2}, Names: []string{"a", "b"}, Model: "m", Space: space}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write("a", []float32{1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAbout(path); !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "1 row so far") {
		t.Errorf("half of it: %v", err)
	}
	if err := errors.Join(w.Write("b", []float32{3, 4}), w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	about, err := ReadAbout(path)
	if err != nil || about.Rows != 2 || about.Kind != "image" || about.Feature != "embedding" || about.Model != "m" || *about.Space != *space {
		t.Errorf("%+v, %v", about, err)
	}
	if _, err := ReadAbout(filepath.Join(filepath.Dir(path), "none.npy")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}
