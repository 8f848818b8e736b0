package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/search"
)

// TestIndex: an index is begun, brought up to date with the model and the sources that it knows, and refuses another space.
func TestIndex(t *testing.T) {
	dir := t.TempDir()
	index, photos, table := filepath.Join(dir, "index"), filepath.Join(dir, "photos"), filepath.Join(dir, "places.csv")
	if err := os.CopyFS(photos, os.DirFS(colours(t, 2))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(table, []byte("path,place\nphotos/red/00.png,\"here, there\"\nphotos/none.png,x\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	vitago("index", "--index", index, "--model", "builtin:demo", "--metadata", table, photos).want(t, exitDone, nil, []string{"index: 6 pictures: 6 added; in", "1 row of no picture that was met, such as " + filepath.Join(photos, "none.png")})
	x, err := search.Open(index)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for r, err := range x.Records() {
		want := ""
		if strings.HasSuffix(filepath.ToSlash(r.Path), "red/00.png") {
			want = "here, there"
		}
		if err != nil || r.Columns["place"] != want {
			t.Errorf("%+v: %v, want the place %q", r, err, want)
		}
	}
	if err := errorsOf(os.Rename(filepath.Join(photos, "red"), filepath.Join(photos, "rot")), os.WriteFile(filepath.Join(photos, "bad.png"), []byte("no picture"), 0o666)); err != nil {
		t.Fatal(err)
	}
	r := vitago("index", "--index", index, "--json")
	r.want(t, exitDone, []string{`"renamed": 2`}, []string{"skipped: ", "bad.png: not an image", "6 pictures: 2 renamed, 4 unchanged", "1 image could not be read: " + filepath.Join(index, "errors.jsonl")})
	var done indexed
	if err := json.Unmarshal([]byte(r.out), &done); err != nil || done.Pictures != 6 || done.Failed != 1 || done.Fingerprint != x.Space().Fingerprint() {
		t.Errorf("%+v %v", done, err)
	}
	vitago("index", "--index", index, "--model", tinyModel).want(t, exitFailed, nil, []string{index + ": its vectors have the fingerprint " + done.Fingerprint[:16] + ", and those of the model ", "number of values 64 against"})
	vitago("index", "--index", index, "--precision", "int8").want(t, exitFailed, nil, []string{": precision f32 against int8"})
	if err := errorsOf(os.RemoveAll(photos), os.Mkdir(photos, 0o777)); err != nil {
		t.Fatal(err)
	}
	vitago("index", "--index", index).want(t, exitFailed, nil, []string{"has no pictures any more, and the index has some of it: is a disk missing?; --forget deletes them"})
	vitago("index", "--index", index, "--forget", "").want(t, exitUsage, nil, []string{"--forget is empty, want --forget PATH"})
	for content, want := range map[string]string{"path,width\nx.png,3\n": `--metadata ` + table + `: a column has a wrong name: "width"`, "path,place\n": "has no rows behind the names of columns"} {
		if err := os.WriteFile(table, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		vitago("index", "--index", index, "--metadata", table, "testdata/demo/cat.png").want(t, exitUsage, nil, []string{want})
	}
	vitago("index", "--index", index, "--forget", photos, "--compact").want(t, exitDone, nil, []string{"forgot 6 pictures", ": 0 pictures"})
	vitago("index", "--index", index).want(t, exitUsage, nil, []string{"nothing was put into it yet"})
	lost := filepath.Join(dir, "model")
	if err := os.CopyFS(lost, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	vitago("index", "--index", other, "--model", lost, "testdata/demo/cat.png").want(t, exitDone, nil, []string{"1 added"})
	os.RemoveAll(lost)
	vitago("index", "--index", other).want(t, exitUsage, nil, []string{"was made with the model " + lost + ", which is not there any more: give --model DIR"})
}

// TestMetadata: a table of metadata is read as finetune's tables are, by Python's csv.
func TestMetadata(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.csv")
	read := func(text string) (columns []string, describe func(string) map[string]string, err error) {
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		columns, describe, _, err = metadataOf(file)
		return columns, describe, err
	}
	want := map[string]map[string]string{"a.png": {"place": "the \"Old\" town,\nbelow"}, "b,c.png": {"place": "Big square", "year": "6\""}}
	for _, text := range []string{
		"\ufeffpath,place,year\na.png,\"the \"\"Old\"\" town,\nbelow\",\n\n\"b,c.png\",\"Big\" square,6\"",
		"year,path,place\r\n,a.png,\"the \"\"Old\"\" town,\nbelow\"\r\n\"6\"\"\",\"b,c.png\",Big square\r\n",
		"path,place,year\ra.png,\"the \"\"Old\"\" town,\nbelow\",\r\"b,c.png\",Big square,6\"\r",
	} {
		columns, describe, err := read(text)
		if err != nil || strings.Join(columns, " ") != "place year" {
			t.Errorf("%q: columns %q, %v", text, columns, err)
			continue
		}
		for path, want := range want {
			if got := describe(filepath.Join(filepath.Dir(file), path)); !maps.Equal(got, want) {
				t.Errorf("%q: %s is %q, want %q", text, path, got, want)
			}
		}
	}
	for text, want := range map[string]string{
		"":                                 "empty file, want a first line that names the columns",
		"path,place\na.png,\"x\nb.png,y\n": "line 2: a quote opens a field and is never closed",
		"path,place\na.png,\"x\ny\" z\n":   "line 2: a quote opens a field, closes on line 3, and text follows there",
		"path,place\na.png,x\na.png,y\n":   `line 3: the path is "a.png", want each once`,
		"path,place\na.png,x,y\n":          "line 2 has 3 fields, the first line has 2",
		"path,place\na.png,caf\xe9\n":      "line 2: byte 10 of the line is 0xe9, which is no UTF-8",
		"path,place\na.png,x\x00\n":        "line 2 has a NUL byte, want text",
		"place\nx\n":                       `columns are ["place"], want one that is called path`,
		"path,place,place\na.png,x,y\n":    "want each with a name of its own",
		"path\na.png\n":                    "has the column path alone",
	} {
		if _, _, err := read(text); err == nil || !strings.HasPrefix(err.Error(), "--metadata "+file+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
