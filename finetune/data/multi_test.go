package data

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestMultiTables: labels that do not exclude each other are lists in JSONL and fields that are split in CSV, and the same of both.
func TestMultiTables(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := [][]int{{0, 1}, nil, {0, 1, 2}, {2}}
	for _, c := range []struct {
		name, text string
		o          []Option
		classes    []string
	}{
		{"a.jsonl", `{"image": "a.png", "labels": ["cat", "dog"]}
{"image": "b.png", "labels": []}
{"image": "c.png", "labels": ["red", "dog", "cat"]}
{"image": "d.png", "labels": [" red "]}`, nil, []string{"cat", "dog", "red"}},
		{"b.jsonl", `{"image": "a.png", "label": [2, 10]}
{"image": "b.png", "label": []}
{"image": "c.png", "label": [30, 10, 2]}
{"image": "d.png", "label": [30]}`, nil, []string{"2", "10", "30"}},
		{"c.csv", "path,labels,more\na.png,cat|dog,1\nb.png,,2\nc.png,red | dog|cat,3\nd.png,red,4\n", []Option{Separator("|")}, []string{"cat", "dog", "red"}},
		{"d.tsv", "path\tlabel\na.png\tcat dog\nb.png\t \nc.png\tred dog cat\nd.png\tred\n", []Option{Separator(" ")}, []string{"cat", "dog", "red"}},
		{"e.csv", "path,class\na.png,\"cat, dog\"\nb.png,\nc.png,\"red,dog,cat\"\nd.png,red\n", []Option{Separator(",")}, []string{"cat", "dog", "red"}},
	} {
		d, err := Open(write(c.name, c.text), true, c.o...)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var sets [][]int
		for _, s := range d.Samples {
			if s.Label != Unlabelled {
				t.Errorf("%s: label %d", c.name, s.Label)
			}
			sets = append(sets, s.LabelSet)
		}
		if !d.Multi || !slices.Equal(d.Classes, c.classes) || !reflect.DeepEqual(sets, want) || !slices.Equal(d.Counts(), []int{2, 2, 2}) {
			t.Errorf("%s: multi %v, classes %q, labels %v, counts %v", c.name, d.Multi, d.Classes, sets, d.Counts())
		}
	}
	for _, c := range []struct {
		name, text string
		o          []Option
		want       string
	}{
		{"x.csv", "path,labels\na.png,cat|dog\n", nil, `column "labels" of the first line has several labels of a picture: want the separator of them`},
		{"x.csv", "path,label,labels\na.png,cat,dog\n", []Option{Separator("|")}, `columns "label" and "labels" of the first line both have labels, want one`},
		{"x.csv", "path,caption\na.png,cat\n", []Option{Separator("|")}, "want a column labels or label or class"},
		{"x.csv", "path,labels\na.png,cat||dog\n", []Option{Separator("|")}, `line 2: the labels "cat||dog" have an empty one between the separators "|"`},
		{"x.csv", "path,labels\na.png,cat|cat\n", []Option{Separator("|")}, `line 2: the label "cat" is there twice`},
		{"x.csv", "path,labels\na.png,1|2\nb.png,1.0\n", []Option{Separator("|")}, `line 3: the label "1.0" is the number of the "1" of line 2`},
		{"x.csv", "path,labels\na.png,\nb.png,\n", []Option{Separator("|")}, "2 pictures, and none has a label"},
		{"x.jsonl", `{"path": "a.png", "labels": ["a"]}`, []Option{Separator("|")}, `separator "|": labels of JSONL are lists`},
		{"x.jsonl", "{\"path\": \"a.png\", \"labels\": [\"a\"]}\n{\"path\": \"b.png\", \"label\": \"a\"}", nil, "1 of 2 pictures has no list of labels, as others have; want [] where there are none: line 2"},
		{"x.jsonl", `{"path": "a.png", "labels": "a"}`, nil, `"labels" is "a", want a list of strings or numbers`},
		{"x.jsonl", `{"path": "a.png", "labels": ["a"], "Labels": ["b"]}`, nil, `keys "Labels" and "labels" mean the same`},
		{"x.jsonl", `{"path": "a.png", "labels": [["a"]]}`, nil, `"labels" is ["a"], want a string or a number`},
		{"x.jsonl", `{"path": "a.png", "labels": [null]}`, nil, `"labels" has null`},
		{"x.jsonl", `{"path": "a.png", "labels": [NaN]}`, nil, `"labels" is NaN, want a string or a finite number`},
		{"x.jsonl", `{"path": "a.png", "labels": [" "]}`, nil, `"labels" has an empty label`},
		{"x.jsonl", `{"path": "a.png", "labels": ["a", "a"]}`, nil, `line 1: the label "a" is there twice`},
	} {
		if _, err := Open(write(c.name, c.text), true, c.o...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.text, err, c.want)
		}
	}
	// Beside a label they are what the rest of a row is, and beside captions alone a field of several is.
	for name, text := range map[string]string{
		"y.csv": "path,label,labels\na.png,cat,x|y\nb.png,dog,z\n", "z.csv": "path,labels,caption\na.png,x|y,a cat\nb.png,z,a dog\n",
		"y.jsonl": `{"path": "a.png", "label": "cat", "labels": ["x"]}` + "\n" + `{"path": "b.png", "label": "dog", "labels": {}, "tags": "t"}`,
	} {
		write(name, text)
		if d, err := Table(filepath.Join(dir, name)); err != nil || d.Multi || name[0] == 'y' && !slices.Equal(d.Classes, []string{"cat", "dog"}) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "*.tar")} {
		if _, err := Open(path, true, Separator("|")); !errors.Is(err, ErrSeparator) {
			t.Errorf("%s: error is %v, want that it has no use for a separator", path, err)
		}
	}
}

// TestMultiShards: a shard has lists in its JSON.
func TestMultiShards(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, e := range [][2]string{{"a.png", "x"}, {"a.json", `{"labels": ["cat", "dog"]}`}, {"b.png", "x"}, {"b.json", `{"labels": []}`}} {
		w.WriteHeader(&tar.Header{Name: e[0], Size: int64(len(e[1])), Mode: 0o666, Typeflag: tar.TypeReg})
		w.Write([]byte(e[1]))
	}
	w.Close()
	f.Close()
	beside := filepath.Join(t.TempDir(), "y.tar")
	if f, err = os.Create(beside); err != nil {
		t.Fatal(err)
	}
	w = tar.NewWriter(f)
	for _, e := range [][2]string{{"a.png", "x"}, {"a.json", `{"labels": ["x"]}`}, {"a.cls", "cat"}, {"b.cls", "dog"}, {"b.png", "x"}, {"b.json", `{"labels": ["y"], "tags": "z"}`}} {
		w.WriteHeader(&tar.Header{Name: e[0], Size: int64(len(e[1])), Mode: 0o666, Typeflag: tar.TypeReg})
		w.Write([]byte(e[1]))
	}
	w.Close()
	f.Close()
	if d, err := Shards(beside); err != nil || d.Multi || !slices.Equal(d.Classes, []string{"cat", "dog"}) {
		t.Errorf("beside labels: %+v, %v", d, err)
	}
	d, err := Shards(path)
	if err != nil || !d.Multi || !reflect.DeepEqual(d.Samples[0].LabelSet, []int{0, 1}) || d.Samples[1].LabelSet != nil {
		t.Errorf("%+v, %v", d, err)
	}
}

// made returns a data set of n samples of which sample i has label l if has says so.
func madeMulti(n, k int, has func(i, l int) bool) *Dataset {
	d := &Dataset{Multi: true}
	for l := range k {
		d.Classes = append(d.Classes, fmt.Sprint(l))
	}
	for i := range n {
		s := Sample{Path: fmt.Sprint(i), Label: Unlabelled}
		for l := range k {
			if has(i, l) {
				s.LabelSet = append(s.LabelSet, l)
			}
		}
		d.Samples = append(d.Samples, s)
	}
	return d
}

// TestSplitMulti: each label has about the fraction of its samples on the other side, and some on both; nothing is lost.
func TestSplitMulti(t *testing.T) {
	d := madeMulti(200, 4, func(i, l int) bool { return []bool{i%2 == 0, i%3 == 0, i < 10, i == 7 || i == 150}[l] })
	train, validation, err := d.Split(0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(train.Samples)+len(validation.Samples) != 200 || !train.Multi || !validation.Multi {
		t.Errorf("%d and %d samples", len(train.Samples), len(validation.Samples))
	}
	all, aside := d.Counts(), validation.Counts()
	for l, n := range all {
		if share := float64(aside[l]) / float64(n); aside[l] < 1 || aside[l] == n || n > 20 && (share < 0.15 || share > 0.25) {
			t.Errorf("label %d: %d of %d are set aside", l, aside[l], n)
		}
	}
	again, _, _ := d.Split(0.2, 1)
	if other, _, _ := d.Split(0.2, 2); again.Fingerprint() != train.Fingerprint() || other.Fingerprint() == train.Fingerprint() {
		t.Error("the seed does not decide")
	}
	if _, _, err := madeMulti(9, 2, func(i, l int) bool { return l == 0 || i == 3 }).Split(0.2, 1); err == nil || !strings.Contains(err.Error(), `1 of 2 classes has fewer than 2 pictures: "1" (1)`) {
		t.Errorf("error is %v", err)
	}
	changed := madeMulti(9, 2, func(i, l int) bool { return i%2 == l })
	before := changed.Fingerprint()
	changed.Samples[3].LabelSet = nil
	if changed.Fingerprint() == before {
		t.Error("the fingerprint does not know the labels")
	}
}

// TestAlignMulti: labels of validation data are changed to mean the same names.
func TestAlignMulti(t *testing.T) {
	train := &Dataset{Classes: []string{"a", "b", "c"}, Multi: true, Samples: []Sample{{Path: "1", Label: Unlabelled, LabelSet: []int{0, 1, 2}}}}
	validation := &Dataset{Classes: []string{"c", "a"}, Multi: true, Samples: []Sample{{Path: "2", Label: Unlabelled, LabelSet: []int{0, 1}}, {Path: "3", Label: Unlabelled}}}
	if err := Align(train, validation); err != nil || !reflect.DeepEqual(validation.Samples[0].LabelSet, []int{0, 2}) {
		t.Errorf("%+v, %v", validation, err)
	}
	if err := Align(train, &Dataset{Classes: []string{"a", "b"}, Samples: []Sample{{Path: "4", Label: 0}}}); !errors.Is(err, ErrClasses) || !strings.Contains(err.Error(), "a list of labels each, those to validate on one label") {
		t.Errorf("error is %v", err)
	}
}
