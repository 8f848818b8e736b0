package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/search"
)

// madeIndex returns an index of a folder's pictures by the small model in the program, with the column "kind": the ending.
func madeIndex(t *testing.T, folder, hint string) string {
	t.Helper()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	source, err := search.NewSource(folder)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "index")
	o := search.UpdateOptions{WriterOptions: search.WriterOptions{Model: hint, Columns: []string{"kind"}}}
	o.Describe = func(path string) map[string]string { return map[string]string{"kind": filepath.Ext(path)[1:]} }
	if _, err := search.Update(t.Context(), m, dir, []search.Source{source}, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// picturesWithCopy returns a folder with the pictures of the demo, and a copy of one.
func picturesWithCopy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{"cat.png", "cat.jpg", "red-circle.png", "orange-circle.png", "blue-square.png", "gradient.png"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(read(t, filepath.Join("testdata", "demo", path))), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "copy & <b>.png"), []byte(read(t, "testdata/demo/cat.png")), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestSearch: a picture finds itself, its copy and then others; JSON has what the index knows; words are a query, too.
func TestSearch(t *testing.T) {
	pictures := picturesWithCopy(t)
	index := madeIndex(t, pictures, demo.Name)
	r := vitago("search", "--index", index, "--image", "testdata/demo/cat.png", "--top", "3")
	r.want(t, exitDone, []string{"cat.png"}, []string{""})
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	// 1 but for the length of what is stored in float16, which is 1±2⁻¹¹.
	if len(lines) != 3 || lines[0] < "0.9995" || lines[0] > "1.0005\x7f" || !strings.HasSuffix(lines[0], "cat.png") || !strings.HasSuffix(lines[1], "copy & <b>.png") {
		t.Fatalf("got %q", r.out)
	}
	// The same, from standard input and from a vector.
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "v.npy")
	vitago("encode", "--model", demo.Name, "-o", file, "testdata/demo/cat.png").want(t, exitDone, nil, []string{""})
	for _, got := range []ran{
		vitagoContext(t.Context(), strings.NewReader(read(t, "testdata/demo/cat.png")), "search", "--index", index, "--image", "-", "--top", "3"),
		vitago("search", "--index", index, "--vector", file, "--top", "3"),
		vitago("search", "--index", index, "--image", "testdata/demo/cat.png", "--image", "testdata/demo/cat.png", "--weights", "3,0.5", "--top", "3"),
	} {
		if got.status != exitDone || got.out != r.out {
			t.Errorf("got %q, %q, want %q", got.out, got.err, r.out)
		}
	}
	// A query of all parts is the sum that the library makes.
	texts, err := m.EncodeText(t.Context(), []string{"a circle", "a star"})
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := m.Encode(t.Context(), clip.File("testdata/demo/cat.png"), clip.File("testdata/demo/gradient.png"))
	if err != nil {
		t.Fatal(err)
	}
	query, err := search.Combine(search.Term{Vector: texts[0], Weight: 1}, search.Term{Vector: vectors[0], Weight: 2}, search.Term{Vector: vectors[0], Weight: 3}, search.Term{Vector: texts[1], Weight: -4}, search.Term{Vector: vectors[1], Weight: -0.5})
	if err != nil {
		t.Fatal(err)
	}
	x, err := search.Open(index)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	want, err := x.Find(t.Context(), query, search.FindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r = vitago("search", "--index", index, "a circle", "--image", "testdata/demo/cat.png", "--vector", file, "--not", "a star", "--not-image", "testdata/demo/gradient.png", "--weights", "1,2,3,4,0.5", "--json", "--vectors")
	r.want(t, exitDone, []string{""}, []string{""})
	var got []found
	for line := range strings.Lines(r.out) {
		var f found
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		got = append(got, f)
	}
	if len(got) != 7 || len(want) != 7 {
		t.Fatalf("%d pictures, and %d", len(got), len(want))
	}
	for i, f := range got {
		h := want[i]
		if math.Abs(f.Cosine-h.Cosine) > 1e-6 || string(f.Image) != h.Path || f.Width != h.Width || f.SHA256 != h.SHA256.String() || f.Columns["kind"] != filepath.Ext(h.Path)[1:] || !slices.Equal(f.Vector, x.Vector(h.Index)) {
			t.Errorf("%d: got %+v, want %+v", i, f, h)
		}
	}
	for line, want := range map[string]int{
		"--image testdata/demo/cat.png --where kind=jpg": 1, "--image testdata/demo/cat.png --path *.jpg": 1, "--image testdata/demo/cat.png --exclude *circle* --exclude copy*": 4,
		"--image testdata/demo/cat.png --where kind!=png --where width>=1": 1, "--image testdata/demo/cat.png --threshold 0.99995": 2,
	} {
		r := vitago(append([]string{"search", "--index", index}, strings.Fields(line)...)...)
		if n := strings.Count(r.out, "\n"); r.status != exitDone || n != want {
			t.Errorf("%s: %d lines, want %d: %s%s", line, n, want, r.out, r.err)
		}
	}
	vitago("search", "--index", index, "--image", "testdata/demo/cat.png", "--where", "kind=gif").want(t, exitDone, nil, []string{"none of the 7 pictures is chosen"})
}

// TestSearchDuplicates: a copy is found, as lines, as JSON and on a sheet.
func TestSearchDuplicates(t *testing.T) {
	index := madeIndex(t, picturesWithCopy(t), demo.Name)
	r := vitago("search", "--index", index, "--duplicates", "1")
	r.want(t, exitDone, []string{"1.0000\t"}, []string{"2 pictures in 1 group, of 7"})
	if lines := strings.Split(strings.TrimSpace(r.out), "\n"); len(lines) != 2 || !strings.HasSuffix(lines[0], "cat.png") || !strings.HasSuffix(lines[1], "copy & <b>.png") {
		t.Errorf("got %q", r.out)
	}
	sheet := filepath.Join(t.TempDir(), "new", "same.html")
	r = vitago("search", "--index", index, "--duplicates", "1", "--json", "--sheet", sheet)
	r.want(t, exitDone, []string{`{"images":[{"image":"`, `"cosine":1,`}, []string{""})
	if html := read(t, sheet); strings.Count(html, "<img") != 2 || !strings.Contains(html, "1 of 1: 2 pictures") {
		t.Errorf("the sheet is %.2000s", html)
	}
}

// TestSearchSheet: pictures are in the page, names are escaped, nothing is loaded; what is gone is said in its place.
func TestSearchSheet(t *testing.T) {
	pictures := picturesWithCopy(t)
	index := madeIndex(t, pictures, demo.Name)
	if err := os.Remove(filepath.Join(pictures, "gradient.png")); err != nil {
		t.Fatal(err)
	}
	sheet := filepath.Join(t.TempDir(), "found.html")
	evil := filepath.Join(t.TempDir(), "<script>.png")
	if err := os.WriteFile(evil, []byte(read(t, "testdata/demo/gradient.png")), 0o666); err != nil {
		t.Fatal(err)
	}
	line := []string{"search", "--index", index, "a circle", "--not-image", evil, "--sheet", sheet}
	vitago(line...).want(t, exitDone, []string{"gradient.png"}, []string{""})
	html := read(t, sheet)
	if n := strings.Count(html, `<img alt="`); n != 6 || !strings.Contains(html, "<h1>a circle, not like &lt;script&gt;.png</h1>") || !strings.Contains(html, "copy &amp; &lt;b&gt;.png") || !strings.Contains(html, "gradient.png: open") {
		t.Errorf("%d pictures in %.3000s", n, html)
	}
	if loads := regexp.MustCompile(`(?i)<script|<link|https?:|src="[^d]`).FindString(html); loads != "" {
		t.Errorf("the page has %q", loads)
	}
	vitago(line...).want(t, exitFailed, nil, []string{"exists, and", "give --overwrite"})
	vitago(append(line, "--overwrite")...).want(t, exitDone, []string{""}, []string{""})
}

// TestSearchModel: another model is refused, the small one in the program taken only for what it made, and a lost one named.
func TestSearchModel(t *testing.T) {
	pictures := picturesWithCopy(t)
	another := golden.Path(t, "testdata/families/hf5-clip")
	query := []string{"--image", "testdata/demo/cat.png", "--top", "1"}
	lost := madeIndex(t, pictures, filepath.Join(t.TempDir(), "gone"))
	vitago(append([]string{"search", "--index", lost}, query...)...).want(t, exitDone, []string{"cat.png"}, []string{builtinNote})
	vitago(append([]string{"search", "--index", lost, "--model", another}, query...)...).want(t, exitFailed, nil, []string{"fingerprint", "number of values 64 against 10"})
	// One of another model that is not there.
	other, err := clip.Open(another)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	source, err := search.NewSource(pictures)
	if err != nil {
		t.Fatal(err)
	}
	for hint, want := range map[string]string{"": "does not say which model made it: give --model DIR", "/no/such/model": "made with the model /no/such/model, which is not there any more: give --model DIR"} {
		dir := filepath.Join(t.TempDir(), "index")
		if _, err := search.Update(t.Context(), other, dir, []search.Source{source}, search.UpdateOptions{WriterOptions: search.WriterOptions{Model: hint}}); err != nil {
			t.Fatal(err)
		}
		vitago(append([]string{"search", "--index", dir}, query...)...).want(t, exitUsage, nil, []string{want})
		vitago(append([]string{"search", "--index", dir, "--model", another}, query...)...).want(t, exitDone, []string{"cat.png"}, []string{""})
		vitago("search", "--index", dir, "--model", demo.Name, "cat").want(t, exitFailed, nil, []string{"fingerprint"})
	}
}

// TestSearchText: words by another text tower are refused, and pictures are not.
func TestSearchText(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	space, err := m.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	space.Text = strings.Repeat("0", 64)
	dir := filepath.Join(t.TempDir(), "index")
	w, err := search.NewWriter(dir, space, search.WriterOptions{Model: demo.Name})
	if err != nil {
		t.Fatal(err)
	}
	v := make([]float32, space.Dim)
	v[0] = 1
	if err := errors.Join(w.Add(search.Record{Path: "/a.jpg", Width: 1, Height: 1}, v), w.Commit(), w.Close()); err != nil {
		t.Fatal(err)
	}
	vitago("search", "--index", dir, "--image", "testdata/demo/cat.png").want(t, exitDone, []string{"/a.jpg"}, []string{""})
	vitago("search", "--index", dir, "--image", "testdata/demo/cat.png", "--not", "a cat").want(t, exitFailed, nil, []string{"the text tower of its model", "0000000000000000"})
}

// TestSearchRefuses: what is no query, and what is damaged.
func TestSearchRefuses(t *testing.T) {
	index := madeIndex(t, picturesWithCopy(t), demo.Name)
	broken, vector := filepath.Join(t.TempDir(), "broken.png"), filepath.Join(t.TempDir(), "v.npy")
	vitago("encode", "--model", tinyModel, "--features", "all", "-o", vector, "testdata/demo/cat.png").want(t, exitDone, nil, []string{""})
	if err := os.WriteFile(broken, []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	x, err := search.Open(index)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	zeros, notNumbers := filepath.Join(t.TempDir(), "zeros.npy"), filepath.Join(t.TempDir(), "nan.npy")
	content := append(checkpoint.NPYHeader(checkpoint.F32, []int{x.Dim()}), make([]byte, 4*x.Dim())...)
	err = os.WriteFile(zeros, content, 0o666)
	binary.LittleEndian.PutUint32(content[len(content)-4*x.Dim()+8:], math.Float32bits(float32(math.NaN())))
	if err := errors.Join(err, os.WriteFile(notNumbers, content, 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		args   []string
		want   string
	}{
		{exitUsage, []string{" "}, "a text is empty"},
		{exitUsage, []string{"star", "--not", ""}, "a text is empty"},
		{exitFailed, []string{strings.Repeat("star ", 200)}, "tokens with its begin and end, want at most"},
		{exitFailed, []string{"--image", broken}, "broken.png: "},
		{exitFailed, []string{"--image", "nope.png"}, "nope.png: "},
		{exitFailed, []string{"--vector", broken}, "--vector: "},
		{exitFailed, []string{"--vector", vector}, "has the shape"},
		{exitFailed, []string{"star", "--not", "star"}, "cancel each other"},
		{exitUsage, []string{"--image", "-", "--not-image", "-"}, "standard input is named twice"},
		{exitUsage, []string{"star", "--where", "size"}, `condition "size", want COLUMN=VALUE`},
		{exitUsage, []string{"star", "--where", "colour=red"}, `no column "colour", want one of path, caption, width, height, size, sha256, kind`},
		{exitUsage, []string{"star", "--path", "["}, `glob "["`},
		{exitUsage, []string{"star", "--path", ""}, "--path is empty, want --path GLOB"},
		{exitUsage, []string{"star", "--where", "width==3"}, "--where width==3: the operator is ==, want one of"},
		{exitUsage, []string{"star", "--where", "width>>3"}, "--where width>>3: the operator is >>, want one of"},
		{exitUsage, []string{"star", "--where", "width=>3"}, `column width is compared with ">3", want a number`},
		{exitUsage, []string{"star", "--weights", "x"}, `--weights is "x": want numbers, with commas between them`},
		{exitUsage, []string{"star", "--model", "builtin:other"}, "--model builtin:other: this program has no such model, want builtin:demo"},
		{exitFailed, []string{"star", "--not", "\u65e5"}, "--not: text 1: "},
		{exitFailed, []string{"--vector", notNumbers}, notNumbers + ": value 3 of "},
		{exitFailed, []string{"--vector", zeros}, zeros + ": all values are 0"},
	} {
		vitago(append([]string{"search", "--index", index}, c.args...)...).want(t, c.status, nil, []string{c.want})
	}
	vitago("search", "--index", t.TempDir(), "cat").want(t, exitFailed, nil, []string{"no index"})
	var shard string
	err = filepath.WalkDir(index, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".npy" {
			shard = path
		}
		return err
	})
	if err := errors.Join(err, os.Truncate(shard, 100)); err != nil {
		t.Fatal(err)
	}
	vitago("search", "--index", index, "cat").want(t, exitFailed, nil, []string{"img_emb_00000.npy", "damaged", "100 bytes"})
}

// TestIndexFrom: vectors that encode wrote become an index, in which the model finds; those of others are refused.
func TestIndexFrom(t *testing.T) {
	pictures, dir := picturesWithCopy(t), t.TempDir()
	out := func(name string) string { return filepath.Join(dir, name) }
	cat := filepath.Join(pictures, "cat.png")
	for _, format := range []string{"npy", "jsonl", "safetensors"} {
		file, index := out("x."+format), out("index-"+format)
		vitago("encode", "--model", demo.Name, "-o", file, pictures).want(t, exitDone, nil, []string{"of 7 images"})
		vitago("index", "--index", index, "--from", file).want(t, exitDone, nil, []string{"7 pictures: 7 added"})
		vitago("search", "--index", index, "--image", cat, "--top", "1").want(t, exitDone, []string{"\t" + cat + "\n"}, []string{"small model"})
		vitago("index", "--index", index, "--from", file, "--model", demo.Name, "--json").want(t, exitDone, []string{`"unchanged": 7`}, []string{"7 unchanged"})
		vitago("index", "--index", index).want(t, exitUsage, nil, []string{"came with --from"})
		vitago("index", "--index", index, pictures).want(t, exitDone, nil, []string{"7 unchanged"})
		vitago("index", "--index", index, "--from", file, "--model", "../../testdata/families/hf5-clip").want(t, exitFailed, nil, []string{file, "fingerprint"})
	}
	file := out("x.npy")
	vitago("index", "--index", out("index-npy"), "--from", file, "--batch", "2").want(t, exitUsage, nil, []string{"--batch is of pictures to be encoded"})
	vitago("index", "--index", out("index-npy"), "--from", file, pictures).want(t, exitUsage, nil, []string{"--from has the names of the pictures: got 1 argument"})
	vitago("encode", "--model", demo.Name, "--text", "-o", out("t.npy"), "a star").want(t, exitDone, nil, []string{"of 1 text in"})
	vitago("encode", "--model", demo.Name, "--features", "patches", "-o", out("p.npy"), pictures).want(t, exitDone, nil, []string{"of 7 images"})
	vitago("encode", "--model", demo.Name, "--features", "cls", "-o", out("c.npy"), pictures).want(t, exitDone, nil, []string{"of 7 images"})
	vitago("encode", "--model", demo.Name, "--fit", "pad", "-o", out("f.npy"), pictures).want(t, exitDone, nil, []string{"of 7 images"})
	for name, says := range map[string]string{
		"t.npy": "its rows are of texts, want pictures", "p.npy": "a row is patches of the shape", "c.npy": "its rows are cls, want embeddings",
		"f.npy": "preprocessing", "nope.npy": "no such file",
	} {
		vitago("index", "--index", out("index-npy"), "--from", out(name)).want(t, exitFailed, nil, []string{says})
	}
	about, err := os.ReadFile(file + ".about.json")
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Fingerprint string
		Space       clip.Space
	}
	if err := json.Unmarshal(about, &said); err != nil || said.Fingerprint != said.Space.Fingerprint() || len(said.Fingerprint) != 64 {
		t.Errorf("%s: %v", about, err)
	}
	changed := bytes.Replace(about, []byte(`"dim": 64`), []byte(`"dim": 63`), 1)
	rows, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{file + ".about.json": changed, file: rows[:len(rows)-4], file + ".names.jsonl": []byte(`"a.png"` + "\n")} {
		was, err := os.ReadFile(path)
		if err := errors.Join(err, os.WriteFile(path, text, 0o666)); err != nil {
			t.Fatal(err)
		}
		vitago("index", "--index", out("new"), "--from", file).want(t, exitFailed, nil, []string{filepath.Base(path), "damaged"})
		if err := os.WriteFile(path, was, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file + ".about.json"); err != nil {
		t.Fatal(err)
	}
	vitago("index", "--index", out("new"), "--from", file).want(t, exitFailed, nil, []string{"no x.npy.about.json says how it was made"})
	if _, err := os.Stat(out("new")); err == nil {
		t.Error("an index was begun")
	}
}

// TestVerifyIndex: a bit that has changed in any file is found by --verify, and named.
func TestVerifyIndex(t *testing.T) {
	index := filepath.Join(t.TempDir(), "index")
	vitago("index", "--index", index, "--model", demo.Name, picturesWithCopy(t)).want(t, exitDone, nil, []string{"7 added"})
	vitago("index", "--index", index, "--verify", "--json").want(t, exitDone, []string{`"pictures": 7`}, []string{"7 pictures, and all files are what was written"})
	for _, name := range []string{"dataset/img_emb/img_emb_00000.npy", "dataset/metadata/metadata_00000.parquet", "codes/codes_00000.bin"} {
		path := filepath.Join(index, filepath.FromSlash(name))
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(whole)
		changed[len(changed)-20] ^= 1
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		vitago("index", "--index", index, "--verify").want(t, exitFailed, nil, []string{filepath.Base(path), "damaged"})
		if err := os.WriteFile(path, whole, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	vitago("index", "--index", index, "--verify").want(t, exitDone, nil, []string{"all files"})
}

// TestPrepared: an index of pictures that are prepared in another way than the model's files say is brought up to date and searched
// in that way, which need not be said again, and in no other.
func TestPrepared(t *testing.T) {
	pictures, index := picturesWithCopy(t), filepath.Join(t.TempDir(), "index")
	square := filepath.Join(pictures, "blue-square.png")
	const hint = "; --preprocess, --fit and --exif say how pictures are prepared"
	vitago("index", "--index", index, "--model", demo.Name, "--fit", "pad", pictures).want(t, exitDone, nil, []string{"7 added"})
	vitago("index", "--index", index).want(t, exitDone, nil, []string{"7 unchanged"})
	vitago("index", "--index", index, "--fit", "pad").want(t, exitDone, nil, []string{"7 unchanged"})
	vitago("index", "--index", index, "--fit", "squash").want(t, exitFailed, nil, []string{"preprocessing", hint})
	said := vitago("search", "--index", index, "--image", square, "--fit", "pad", "--top", "1")
	said.want(t, exitDone, []string{"\t" + square + "\n"}, nil)
	if plain := vitago("search", "--index", index, "--image", square, "--top", "1"); plain.status != exitDone || plain.out != said.out {
		t.Errorf("as the index says: status %d, %q, want %q", plain.status, plain.out, said.out)
	}
	vitago("search", "--index", index, "--image", square, "--fit", "squash").want(t, exitFailed, nil, []string{"preprocessing", hint})
	vitago("search", "--index", index, "--image", square, "--exif").want(t, exitFailed, nil, []string{"preprocessing", hint})
}
