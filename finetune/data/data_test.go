package data

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// write makes files of a map from names, with slashes, to contents, below a new folder.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// picture returns a PNG file of noise, other noise for every n.
func picture(t testing.TB, n, width, height int) string {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	s := newStream(uint64(n), 99)
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, color.RGBA{byte(s.below(256)), byte(s.below(256)), byte(s.below(256)), 255})
		}
	}
	var b strings.Builder
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// show returns a Dataset in one line: paths below dir, labels by name, captions.
func show(d *Dataset, dir string) string {
	var lines []string
	for _, s := range d.Samples {
		rel, err := filepath.Rel(dir, s.Path)
		if err != nil {
			rel = s.Path
		}
		line := filepath.ToSlash(rel)
		if s.Label != Unlabelled {
			line += "=" + d.Classes[s.Label]
		}
		if s.Caption != "" {
			line += fmt.Sprintf("%q", s.Caption)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " ")
}

// check compares a source's result with what show should give, or its error with that.
// "$DIR" stands for the folder.
func check(t *testing.T, what string, d *Dataset, err error, dir, want string) {
	t.Helper()
	want = strings.ReplaceAll(want, "$DIR", dir)
	got := ""
	if err != nil {
		got = filepath.ToSlash(err.Error())
		want = filepath.ToSlash(want)
	} else {
		got = show(d, dir)
	}
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func TestFolder(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  string
	}{
		{"two", []string{"dog/b.JPG", "cat/a.png", "cat/deep/er/c.webp", "cat/.hidden.png", "cat/notes.txt", "readme.md", ".git/x.png"},
			"cat/a.png=cat cat/deep/er/c.webp=cat dog/b.JPG=dog"},
		{"numbers", []string{"10/a.png", "9/a.png", "100/a.gif"}, "10/a.png=10 100/a.gif=100 9/a.png=9"},
		{"empty", nil, "data: $DIR: no folders of classes, and 0 pictures without: want DIR/CLASS/picture.jpg"},
		{"unlabelled", []string{"a.png", "b.png"}, "data: $DIR: no folders of classes, and 2 pictures without: want DIR/CLASS/picture.jpg"},
		{"table beside", []string{"a.png", "metadata.csv"}, "data: $DIR: no folders of classes, and 1 picture without: want DIR/CLASS/picture.jpg, or the table $DIR/metadata.csv itself"},
		{"shards", []string{"0.tar", "1.tar"}, "data: $DIR: no folders of classes, and 0 pictures without: want DIR/CLASS/picture.jpg, or the shards $DIR/*.tar themselves"},
		{"one class", []string{"cat/a.png", "cat/b.png"}, `data: $DIR: 2 pictures, all of one class, "cat"; want at least 2 classes`},
		{"parts", []string{"Train/cat/a.png", "Train/dog/b.png", "val/cat/c.png", "readme.md"}, "data: $DIR: its folders are parts of a data set, not classes: train on one of them, and validate on another: $DIR/Train, $DIR/val"},
		{"one part", []string{"train/a.png"}, "data: $DIR: its folders are parts of a data set, not classes: train on one of them, and validate on another: $DIR/train"},
		{"vehicles", []string{"train/a.png", "car/b.png"}, "car/b.png=car train/a.png=train"},
		{"no pictures", []string{"cat/a.txt"}, "data: $DIR: 1 of 1 folders of classes has no pictures: cat\ndata: $DIR: no pictures"},
		{"all at once", []string{"x.png", "cat/a.png", "dog/a.txt", "y.jpg"},
			"data: $DIR: 2 pictures are beside the folders of the classes, not in one: x.png, y.jpg\n" +
				"data: $DIR: 1 of 2 folders of classes has no pictures: dog\n" +
				`data: $DIR: 1 picture, all of one class, "cat"; want at least 2 classes`},
	} {
		files := map[string]string{}
		for _, f := range c.files {
			files[f] = ""
		}
		dir := write(t, files)
		d, err := Folder(dir)
		check(t, c.name, d, err, dir, c.want)
	}
	dir := write(t, map[string]string{"9/a.png": "", "10/a.png": "", "100/a.png": ""})
	if d, err := Folder(dir); err != nil || !slices.Equal(d.Classes, []string{"9", "10", "100"}) {
		t.Errorf("got classes %v (%v), want them by value", d, err)
	}
	if _, err := Folder(filepath.Join(dir, "absent")); err == nil || !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("an absent folder: got %v", err)
	}
}

// TestFolderNotes: pictures that are not read are counted and named, beside what is read and in errors.
func TestFolderNotes(t *testing.T) {
	dir := write(t, map[string]string{"set/cat/a.png": "", "set/cat/b.heic": "", "set/dog/a.jfif": "", "set/x.avif": "", "hollow/cat/a.HEIC": "", "hollow/dog/a.png": ""})
	for _, open := range []func(string) (*Dataset, error){Folder, Images} {
		d, err := open(filepath.Join(dir, "set"))
		if err != nil {
			t.Fatal(err)
		}
		got := filepath.ToSlash(strings.ReplaceAll(strings.Join(d.Notes, "\n"), dir, "$DIR"))
		want := "left out 1 picture of the format HEIC, which is not read: $DIR/set/cat/b.heic\nleft out 1 picture of the format AVIF, which is not read: $DIR/set/x.avif"
		if got != want || len(d.Samples) != 2 {
			t.Errorf("got %d pictures and\n%s\nwant 2 and\n%s", len(d.Samples), got, want)
		}
	}
	d, err := Folder(filepath.Join(dir, "hollow"))
	check(t, "hollow", d, err, dir, "data: $DIR/hollow: 1 of 2 folders of classes has no pictures: cat\n"+
		"data: $DIR/hollow: 1 picture, all of one class, \"dog\"; want at least 2 classes\n"+
		"data: $DIR/hollow: left out 1 picture of the format HEIC, which is not read: $DIR/hollow/cat/a.HEIC")
	if err := os.Mkdir(filepath.Join(dir, "set", "caf\xe9"), 0o755); err != nil {
		t.Skipf("names are text here: %v", err)
	}
	if _, err := Folder(filepath.Join(dir, "set")); err == nil || !strings.Contains(err.Error(), `: 1 of 3 folders of classes has a name that is not UTF-8: "caf\xe9"`) {
		t.Errorf("a class of bytes: error %v", err)
	}
}

// unwrapAll returns the innermost error.
func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

func TestFolderLinks(t *testing.T) {
	dir := write(t, map[string]string{"real/one.png": "", "set/cat/a.png": "", "set/dog/a.png": ""})
	link := func(to, from string) {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	link(filepath.Join(dir, "real"), "set/emu")
	link(filepath.Join(dir, "real", "one.png"), "set/cat/b.png")
	link(filepath.Join(dir, "real"), "set/dog/more")
	link(filepath.Join(dir, "absent.png"), "set/dog/z.png")
	d, err := Folder(filepath.Join(dir, "set"))
	check(t, "links", d, err, filepath.Join(dir, "set"), "cat/a.png=cat cat/b.png=cat dog/a.png=dog dog/more/one.png=dog dog/z.png=dog emu/one.png=emu")
	link(filepath.Join(dir, "set"), "set/cat/loop")
	if _, err := Folder(filepath.Join(dir, "set")); err == nil || !strings.Contains(err.Error(), "is a link to a folder that it is in") {
		t.Errorf("a loop: got %v", err)
	}
}

func TestImages(t *testing.T) {
	dir := write(t, map[string]string{"b.png": "", "a/x.jpg": "", "a/y.txt": ""})
	d, err := Images(dir)
	check(t, "images", d, err, dir, "a/x.jpg b.png")
	if d != nil && (d.Classes != nil || d.Counts() != nil) {
		t.Errorf("got classes %v, want none", d.Classes)
	}
	_, err = Images(t.TempDir())
	if err == nil || !strings.HasSuffix(err.Error(), ": no pictures") {
		t.Errorf("an empty folder: got %v", err)
	}
}

func TestTable(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.csv", "path,label\nx/a.png,cat\nb.png,dog\n", "x/a.png=cat b.png=dog"},
		{"a.csv", "\ufeffLabel, File_Name ,size\r\n 2 ,a.png,7\r\n10,b.png,8\r\n", "a.png=2 b.png=10"},
		{"a.csv", "filepath,title\na.png,\"a cat, \"\"asleep\"\"\"\n../b.png,a dog\n", `a.png"a cat, \"asleep\"" ../b.png"a dog"`},
		{"a.csv", "image,class,text\na.png,cat,hello\nb.png,dog,\n", `a.png=cat"hello" b.png=dog`},
		{"a.tsv", "path\tcaption\na.png\ta pipe of 6\" \nb.png\tb\n", `a.png"a pipe of 6\"" b.png"b"`},
		{"a.jsonl", `{"path":"a.png","label":3}` + "\n\n" + `{"file_name":"b.png","Label":"4","other":{"x":[1]},"text":null}`, "a.png=3 b.png=4"},
		{"a.ndjson", `{"image":"a.png","caption":"\u00e9"}`, `a.png"é"`},

		{"a.csv", "", "data: a.csv: empty file, want a first line that names the columns"},
		{"a.csv", "path,label\n", "data: a.csv: no pictures"},
		{"a.csv", "a,b\n", `data: a.csv: first line is ["a" "b"], want a column path, filepath, file_name, filename, file or image`},
		{"a.csv", "path,b\n", `data: a.csv: first line is ["path" "b"], want a column label or class, or caption, text or title`},
		{"a.csv", "path,label,class\n", `data: a.csv: columns "label" and "class" of the first line mean the same, want one of label or class`},
		{"a.csv", "path,label\na.png,cat\n\nb.png,\nc.png,dog\nd.png, \n", "data: a.csv: 2 of 4 pictures have no label: line 4, line 6"},
		{"a.csv", "path,caption\na.png,cat\nb.png,\n", "data: a.csv: 1 of 2 pictures has no caption: line 3"},
		{"a.csv", "path,label\na.png,\nb.png,\n", "data: a.csv: 2 pictures, and none has a label or a caption"},
		{"a.csv", "path,label\n,cat\nb.png,dog\n", "data: a.csv: 1 of 2 rows has no path: line 2"},
		{"a.csv", "path,label\na.png,cat\n./x/../a.png,dog\n", "data: a.csv: 1 of 2 pictures is listed twice: a.png (line 2 and line 3)"},
		{"a.csv", "path,label\na.png,cat\nb.png,cat\n", `data: a.csv: 2 pictures, all of one class, "cat"; want at least 2 classes`},
		{"a.csv", "path,label\na.png,cat\nb.png\n", "data: a.csv: line 3 has 1 fields, the first line has 2"},
		{"a.csv", "path,label\n" + strings.Repeat("a.png,\n", 7) + "b.png,x\n",
			"data: a.csv: 7 of 8 pictures have no label: line 2, line 3, line 4, line 5, line 6 and 2 more\n" +
				"data: a.csv: 6 of 8 pictures are listed twice: a.png (line 2 and line 3), a.png (line 2 and line 4), a.png (line 2 and line 5), a.png (line 2 and line 6), a.png (line 2 and line 7) and 1 more\n" +
				`data: a.csv: 1 picture, all of one class, "x"; want at least 2 classes`},
		{"a.jsonl", "{\"path\":\"a.png\",\"label\":1}\n[]", "data: a.jsonl: line 2: [], want an object; a list of objects is one a line, without the brackets and commas"},
		{"a.jsonl", "null", "data: a.jsonl: line 1: null, want an object"},
		{"a.jsonl", `{"path":"a","label":[[1]]}`, `data: a.jsonl: line 1: "label" is [1], want a string or a number`},
		{"a.jsonl", `{"path":"a","file":"b"}`, `data: a.jsonl: line 1: keys "file" and "path" mean the same, want one of path, filepath, file_name, filename, file or image`},
		{"a.jsonl", `{"path":"` + strings.Repeat("a", maxLine) + `"}`, "data: a.jsonl: line 1 has 1048587 bytes, want at most 1048576"},
		{"a.txt", "", `data: a.txt: the name ends in ".txt", want .csv, .tsv, .jsonl or .ndjson`},
	} {
		dir := write(t, map[string]string{"t/" + c.name: c.text})
		d, err := Table(filepath.Join(dir, "t", c.name))
		check(t, fmt.Sprintf("%s %.60q", c.name, c.text), d, err, filepath.Join(dir, "t"), c.want)
	}
}

// A dataset of classes with so many samples each.
func made(counts ...int) *Dataset {
	d := &Dataset{root: "r"}
	for label, n := range counts {
		d.Classes = append(d.Classes, fmt.Sprintf("c%d", label))
		for i := range n {
			d.Samples = append(d.Samples, Sample{Path: fmt.Sprintf("r/%d/%d.png", label, i), Label: label})
		}
	}
	return d
}

func TestSplit(t *testing.T) {
	d := made(10, 2, 101)
	train, val, err := d.Split(0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(train.Counts(), val.Counts()), "[8 1 81] [2 1 20]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Nothing is lost, nothing is double, the order stays.
	place := map[string]int{}
	for i, s := range d.Samples {
		place[s.Path] = i
	}
	seen := map[string]bool{}
	for _, part := range []*Dataset{train, val} {
		last := -1
		for _, s := range part.Samples {
			if place[s.Path] <= last || seen[s.Path] {
				t.Fatalf("%s is out of order or in both", s.Path)
			}
			last, seen[s.Path] = place[s.Path], true
		}
	}
	if len(seen) != len(d.Samples) {
		t.Errorf("%d of %d samples are left", len(seen), len(d.Samples))
	}
	again, _, _ := made(10, 2, 101).Split(0.2, 1)
	if again.Fingerprint() != train.Fingerprint() {
		t.Error("the same seed splits otherwise")
	}
	other, _, _ := d.Split(0.2, 2)
	if other.Fingerprint() == train.Fingerprint() {
		t.Error("another seed splits the same")
	}
	// A class that grows leaves the others alone.
	grown, _, _ := made(10, 2, 150).Split(0.2, 1)
	if !reflect.DeepEqual(grown.Samples[:9], train.Samples[:9]) {
		t.Error("the third class decides about the first two")
	}
	for _, c := range []struct {
		d        *Dataset
		fraction float64
		want     string
	}{
		{d, 0, "data: split of 0, want a fraction between 0 and 1"},
		{d, 1, "data: split of 1, want a fraction between 0 and 1"},
		{made(1, 3, 0), 0.5, `data: split: 2 of 3 classes have fewer than 2 pictures: "c0" (1), "c2" (0)`},
	} {
		if _, _, err := c.d.Split(c.fraction, 1); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	bare := made(8)
	bare.Classes = nil
	for i := range bare.Samples {
		bare.Samples[i].Label = Unlabelled
	}
	train, val, err = bare.Split(0.25, 1)
	if err != nil || len(train.Samples) != 6 || len(val.Samples) != 2 {
		t.Errorf("without labels: %v", err)
	}
}

func TestAlign(t *testing.T) {
	train := &Dataset{Classes: []string{"ant", "bee", "cat"}, Samples: []Sample{{Path: "t/1", Label: 0}, {Path: "t/2", Label: 1}, {Path: "t/3", Label: 2}}}
	val := &Dataset{Classes: []string{"bee", "cat"}, Samples: []Sample{{Path: "v/1", Label: 0}, {Path: "v/2", Label: 1}}}
	if err := Align(train, val); err != nil || val.Samples[0].Label != 1 || val.Samples[1].Label != 2 || !slices.Equal(val.Classes, train.Classes) {
		t.Errorf("got %v, %+v", err, val)
	}
	before := Dataset{Classes: []string{"bee", "dog", "eel"}, Samples: []Sample{{Path: "./t/../t/2", Label: 0}, {Path: "v/2", Label: 1}}}
	val = &Dataset{Classes: slices.Clone(before.Classes), Samples: slices.Clone(before.Samples)}
	err := Align(train, val)
	const want = `data: validation: 1 class is not among the 3 of the training data (["ant" "bee" "cat"]): "dog" (1)` + "\n" +
		`data: validation: 1 picture is training data too: ./t/../t/2`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !slices.Equal(val.Classes, before.Classes) || !reflect.DeepEqual(val.Samples, before.Samples) {
		t.Errorf("a failed Align left %+v, want it as it was", val)
	}
	err = Align(train, &Dataset{Samples: []Sample{{Path: "v/1", Label: Unlabelled}}})
	if err == nil || err.Error() != "data: 3 classes to train on, 0 to validate on: want both or neither labelled" {
		t.Errorf("got %v", err)
	}
	bare := &Dataset{Samples: []Sample{{Path: "v/1", Label: Unlabelled}}}
	if err := Align(bare, &Dataset{Samples: []Sample{{Path: "v/2", Label: Unlabelled}}}); err != nil {
		t.Errorf("neither labelled: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	base := made(2, 2)
	seen := map[string]string{base.Fingerprint(): "base"}
	for name, change := range map[string]func(d *Dataset){
		"path":    func(d *Dataset) { d.Samples[0].Path = "r/x.png" },
		"label":   func(d *Dataset) { d.Samples[0].Label = 1 },
		"caption": func(d *Dataset) { d.Samples[0].Caption = "x" },
		"order":   func(d *Dataset) { slices.Reverse(d.Samples) },
		"class":   func(d *Dataset) { d.Classes[1] = "x" },
		"fewer":   func(d *Dataset) { d.Samples = d.Samples[1:] },
	} {
		d := made(2, 2)
		change(d)
		if was := seen[d.Fingerprint()]; was != "" {
			t.Errorf("%s has the fingerprint of %s", name, was)
		}
		seen[d.Fingerprint()] = name
	}
	// The data may move.
	moved := made(2, 2)
	moved.root = filepath.Join("else", "where")
	for i, s := range moved.Samples {
		rel, _ := filepath.Rel("r", s.Path)
		moved.Samples[i].Path = filepath.Join(moved.root, rel)
	}
	if moved.Fingerprint() != base.Fingerprint() {
		t.Error("data in another folder have another fingerprint")
	}
}

func TestOpen(t *testing.T) {
	dir := write(t, map[string]string{"a.png": "bytes"})
	d := &Dataset{Samples: []Sample{{Path: filepath.Join(dir, "a.png")}, {Path: dir}, {Path: filepath.Join(dir, "b.png")}}}
	r, err := d.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "bytes" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := d.Open(1); err == nil || !strings.Contains(err.Error(), "is no regular file but d") {
		t.Errorf("a folder: got %v", err)
	}
	if _, err := d.Open(2); !os.IsNotExist(err) {
		t.Errorf("an absent file: got %v", err)
	}
}
