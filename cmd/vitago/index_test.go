package main

import (
	"encoding/json"
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
		vitago("index", "--index", index, "--metadata", table, "demo/cat.png").want(t, exitUsage, nil, []string{want})
	}
	vitago("index", "--index", index, "--forget", photos, "--compact").want(t, exitDone, nil, []string{"forgot 6 pictures", ": 0 pictures"})
	vitago("index", "--index", index).want(t, exitUsage, nil, []string{"nothing was put into it yet"})
	lost := filepath.Join(dir, "model")
	if err := os.CopyFS(lost, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	vitago("index", "--index", other, "--model", lost, "demo/cat.png").want(t, exitDone, nil, []string{"1 added"})
	os.RemoveAll(lost)
	vitago("index", "--index", other).want(t, exitUsage, nil, []string{"was made with the model " + lost + ", which is not there any more: give --model DIR"})
}
