package embeddings

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
)

// of returns the bytes of a file of the sample, and those of its names.
func of(t testing.TB, format string) (file, names []byte) {
	t.Helper()
	dir := t.TempDir()
	written(t, filepath.Join(dir, "x."+format), sample(format), Options{}, 9)
	all := contents(t, dir)
	return []byte(all["x."+format]), []byte(all["x."+format+namesSuffix])
}

// TestReadForeign: files that others wrote.
func TestReadForeign(t *testing.T) {
	header := func(metadata, tensors string, data int) string {
		h := fmt.Sprintf(`{"__metadata__":%s,%s}`, metadata, tensors)
		return fmt.Sprintf("%c\x00\x00\x00\x00\x00\x00\x00%s%s", len(h), h, make([]byte, data))
	}
	half := string(checkpoint.NPYHeader(checkpoint.F16, []int{2, 2})) + "\x00\x3c\x00\x3c\x00\x3c\x00\x3c" // ones
	npy := func(dtype checkpoint.DType, bits ...uint64) string {
		b := checkpoint.NPYHeader(dtype, []int{2, 2})
		for _, v := range bits {
			b = append(b, binary.LittleEndian.AppendUint64(nil, v)[:dtype.Size()]...)
		}
		return string(b)
	}
	const one, inf, nan = 0x3f800000, 0x7f800000, 0x7fc00000
	for _, c := range []struct {
		name, file, names string
		want              any // a Set, or what is said
	}{
		{"x.npy", half, "\ufeff\"a\"\r\n\"b\"\r\n", &Set{"", []int{2}, []string{"a", "b"}, [][]float32{{1, 1}, {1, 1}}}},
		{"x.npy", npy(checkpoint.F32, one, one, nan, nan), "\"a\"\n\"b\"", &Set{"", []int{2}, []string{"a", "b"}, [][]float32{{1, 1}, nil}}},
		{"x.npy", npy(checkpoint.F32, one, nan, one, one), "\"a\"\n\"b\"", "a: value 2 of 2 is NaN as float32, want a finite number"},
		{"x.npy", npy(checkpoint.F32, one, one, nan, one), "\"a\"\n\"b\"", "b: value 1 of 2 is NaN"},
		{"x.npy", npy(checkpoint.F32, one, one, inf, inf), "\"a\"\n\"b\"", "b: value 1 of 2 is +Inf"},
		{"x.npy", npy(checkpoint.F64, 0, 0, math.Float64bits(-1e300), 0), "\"a\"\n\"b\"", "b: value 1 of 2 is -Inf as float32"},
		{"x.npy", npy(checkpoint.I64, 1, 2, 3, 4), "\"a\"\n\"b\"", `x.npy: elements are of "I64", want F32, F16, BF16, F64`},
		{"x.npy", half, "a.png\nb.png\n", `line 1 of the names: is "a.png", want a JSON string: `},
		{"x.safetensors", header(`{"images":"[]"}`, `"e":{"dtype":"F32","shape":[0,6],"data_offsets":[0,0]}`, 0), "", &Set{"e", []int{6}, nil, [][]float32{}}},
		{"x.safetensors", header(`{"images":"[\"a\"]"}`, `"e":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}`, 4), "", &Set{"e", []int{2}, []string{"a"}, [][]float32{{0, 0}}}},
		{"x.safetensors", header(`{"images":"[\"a\"]"}`, `"e":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}`, 4), "", &Set{"e", []int{2}, []string{"a"}, [][]float32{{0, 0}}}},
		{"x.safetensors", header(`{"images":"[\"a\"]"}`, `"e":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]}`, 8), "", &Set{"e", []int{1}, []string{"a"}, [][]float32{{0}}}},
		{"x.safetensors", header(`{"images":"[\"a\"]"}`, `"e":{"dtype":"F16","shape":[1,2],"data_offsets":[0,8]}`, 8), "", "cut short or damaged"},
		{"x.safetensors", header(`{"images":"[]"}`, `"e":{"dtype":"F32","shape":[0,-2],"data_offsets":[0,0]}`, 0), "", "cut short or damaged"},
		{"x.safetensors", header(`{"images":"{\"a\":1}"}`, `"e":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}`, 4), "", `is "{\"a\":1}", want a JSON list of names: got a JSON object, want a list`},
		{"x.jsonl", `{"image":"a","error":null,"b":[1]}`, "", &Set{"b", []int{1}, []string{"a"}, [][]float32{{1}}}},
		{"x.jsonl", `{"image":"a","b":[1,null]}`, "", `line 1: "b": a value is null, want a number`},
		{"x.jsonl", `{"image":"a","b":[[1],[null]]}`, "", `line 1: "b": a value is null, want a number`},
		{"x.jsonl", `{"image":"a","b":[1e39]}`, "", `line 1: "b": got a JSON number 1e39, want a number of float32`},
		{"x.jsonl", `[1,2]`, "", "line 1: is no JSON object: got a JSON array, want an object"},
		{"x.jsonl", "", "", &Set{}},
		{"x.jsonl", `{"text":"a","embedding":[1,2.5]}`, "", &Set{"embedding", []int{2}, []string{"a"}, [][]float32{{1, 2.5}}}},
		{"x.jsonl", "\n" + `{"image":"\udcff","id":7,"v":[[1],[2]],"more":{}}` + "\r\n\n" + `{"image":"b","v":[[3],[4]],"w":[]}` + "\n", "", &Set{"v", []int{2, 1}, []string{"\xff", "b"}, [][]float32{{1, 2}, {3, 4}}}},
		{"x.jsonl", `{"image":"a","error":"no"}` + "\n" + `{"image":"b","e":[1]}`, "", &Set{"e", []int{1}, []string{"a", "b"}, [][]float32{nil, {1}}}},
		{"x.npy", half, "\"a\"\n\"b\"", &Set{"", []int{2}, []string{"a", "b"}, [][]float32{{1, 1}, {1, 1}}}},
		{"x.npy", half, "\"a\"\n", "has 2 rows, and there are 1 names"},
		{"x.npy", half, "a\nb\n", "line 1 of the names: "},
		{"x.npy", half, "", "has 2 rows, and there are 0 names"},
		{"x.npy", half, "none", "x.npy.names.jsonl is not beside it"},
		{"x.npy", half[:20], "\"a\"", "x.npy: npy: truncated: header of 118 bytes"},
		{"x.npy", string(checkpoint.NPYHeader(checkpoint.F32, []int{1})) + "1234", `"a"`, "has the shape [1], want [N,E] or [N,T,C]"},
		{"x.npy", header("{}", `"x":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}`, 4), `"a"`, "want an array of NumPy's"},
		{"x.safetensors", header(`{"texts":"[\"a\"]"}`, `"e":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`, 8), "", &Set{"e", []int{2}, []string{"a"}, [][]float32{{0, 0}}}},
		{"x.safetensors", header(`{"images":"[]"}`, `"e":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`, 8), "", "has 1 rows, and there are 0 names"},
		{"x.safetensors", header(`{"images":"x"}`, `"e":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`, 8), "", `metadata "images": `},
		{"x.safetensors", header(`{}`, `"e":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`, 8), "", `neither "images" nor "texts"`},
		{"x.safetensors", header(`{}`, `"e":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}`, 7), "", "cut short or damaged"},
		{"x.safetensors", header(`{}`, `"e":{"dtype":"F32","shape":[1,-2],"data_offsets":[0,8]}`, 8), "", "cut short or damaged"},
		{"x.safetensors", header(`{}`, `"e":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}`, 8), "", "cut short or damaged"},
		{"x.safetensors", header(`{}`, `"e":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}`, 8), "", `is of "I64", want F32`},
		{"x.safetensors", header(`{}`, `"e":{},"f":{}`, 8), "", "has 2 tensors, want one"},
		{"x.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff", "", "header of safetensors has 18446744073709551615 bytes"},
		{"x.safetensors", "abc", "", "no header of safetensors: 3 bytes"},
		{"x.csv", "", "", `has the ending ".csv", want .jsonl, .npy or .safetensors`},
		{"x.jsonl", "{", "", "line 1: is no JSON object"},
		{"x.jsonl", `{"embedding":[1]}`, "", `line 1: has neither "image" nor "text"`},
		{"x.jsonl", `{"image":7,"embedding":[1]}`, "", `line 1: "image" is 7, want a name`},
		{"x.jsonl", `{"image":null,"embedding":[1]}`, "", `line 1: "image" is null, want a name`},
		{"x.jsonl", `{"image":"a"}`, "", `line 1: has no list "embedding" of values`},
		{"x.jsonl", `{"image":"a","b":[1],"c":[2]}`, "", `line 1: has the lists "b" and "c", want one`},
		{"x.jsonl", `{"image":"a","b":[]}`, "", `line 1: "b" is empty`},
		{"x.jsonl", `{"image":"a","b":["x"]}`, "", `line 1: "b": `},
		{"x.jsonl", `{"image":"a","b":[NaN]}`, "", `line 1: "b": `},
		{"x.jsonl", `{"image":"a","b":[[1],[2,3]]}`, "", `line 1: "b" has vectors of 1 and of 2 values`},
		{"x.jsonl", `{"image":"a","b":[1]}` + "\n" + `{"image":"a","b":[1,2]}`, "", `line 2: "b" has the shape [2], and that of the rows before is [1]`},
		{"x.jsonl", `{"image":"a","b":[1]}` + "\n" + `{"image":"a","c":[1]}`, "", `line 2: has no list "b" of values`},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		put(t, filepath.Dir(path), map[string]string{c.name: c.file})
		if c.names != "none" {
			put(t, filepath.Dir(path), map[string]string{c.name + namesSuffix: c.names})
		}
		got, err := Read(path)
		if want, ok := c.want.(string); ok {
			if err == nil || !strings.HasPrefix(err.Error(), "embeddings: "+path+": ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%.60q: error %v, want %s", c.file, err, want)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.60q: got %+v, %v; want %+v", c.file, got, err, c.want)
		}
	}
	if _, err := Read("absent.npy"); !os.IsNotExist(errorOf(err)) || err.Error() != "embeddings: absent.npy: no such file or directory" {
		t.Errorf("absent: %v", err)
	}
}

// TestNothing: a file without rows is one.
func TestNothing(t *testing.T) {
	for _, format := range Formats() {
		path := filepath.Join(t.TempDir(), "x."+format)
		s := sample(format)
		s.Names = nil
		written(t, path, s, Options{}, 0)
		if got, err := Read(path); err != nil || len(got.Names) != 0 || len(got.Vectors) != 0 {
			t.Errorf("%s: got %+v, %v", format, got, err)
		}
		written(t, path, s, Options{Resume: true}, 0)
	}
}

func errorOf(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func TestNearest(t *testing.T) {
	s := &Set{Names: []string{"a", "b", "c", "d", "e"}, Vectors: [][]float32{{1, 0}, nil, {3, 3}, {-1, 0}, {2, 2}}}
	hits, err := s.Nearest([]float32{0, 5}, 3)
	want := []string{"c", "e", "a"} // ties in the order of the rows
	var got []string
	for _, h := range hits {
		got = append(got, h.Name)
	}
	if err != nil || !slices.Equal(got, want) || hits[0].Index != 2 {
		t.Errorf("got %v, %v; want %v", hits, err, want)
	}
	for k, n := range map[int]int{-1: 0, 0: 0, 1: 1, 9: 4} {
		if hits, err := s.Nearest([]float32{0, 5}, k); err != nil || len(hits) != n {
			t.Errorf("%d: got %v, %v", k, hits, err)
		}
	}
	if _, err := s.Nearest([]float32{1}, 1); err == nil || !strings.Contains(err.Error(), "a has 2 values, want the 1 of what is searched") {
		t.Errorf("error %v", err)
	}
}

// check fails the test unless every row of s has a name, and the values of its shape or none.
func check(t *testing.T, s *Set) {
	t.Helper()
	n := 1
	for _, d := range s.Shape {
		n *= d
	}
	if len(s.Names) != len(s.Vectors) {
		t.Fatalf("%d names of %d rows", len(s.Names), len(s.Vectors))
	}
	for _, v := range s.Vectors {
		if v != nil && len(v) != n {
			t.Fatalf("a row of %d values, want %d", len(v), n)
		}
	}
}

func FuzzReadLines(f *testing.F) {
	file, _ := of(f, "jsonl")
	f.Add(file)
	f.Add([]byte(`{"text":"a","v":[[1,2],[3,4]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readLines(bytes.NewReader(b)); err == nil {
			check(t, s)
		}
	})
}

func FuzzReadNPY(f *testing.F) {
	file, list := of(f, "npy")
	f.Add(file, list)
	f.Fuzz(func(t *testing.T, b, names []byte) {
		if s, err := readNPY(bytes.NewReader(b), int64(len(b)), names); err == nil {
			check(t, s)
		}
	})
}

func FuzzReadSafetensors(f *testing.F) {
	file, _ := of(f, "safetensors")
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readSafetensors(bytes.NewReader(b), int64(len(b))); err == nil {
			check(t, s)
		}
	})
}

// FuzzResume: whatever lies beside a file, it is refused, or the end is the same.
func FuzzResume(f *testing.F) {
	defer leaveOut()()
	want, _ := of(f, "jsonl")
	dir := f.TempDir()
	written(f, filepath.Join(dir, "x.jsonl"), sample(""), Options{}, 3)
	kept := contents(f, dir)
	f.Add([]byte(kept["x.jsonl"+partialSuffix]), []byte(kept["x.jsonl"+journalSuffix]))
	f.Fuzz(func(t *testing.T, rows, journal []byte) {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		put(t, filepath.Dir(path), map[string]string{"x.jsonl" + partialSuffix: string(rows), "x.jsonl" + journalSuffix: string(journal)})
		w, err := Create(path, sample(""), Options{Resume: true})
		if err != nil {
			return
		}
		if err := writeRows(w, 9); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q (%v), want %q", got, err, want)
		}
	})
}

// FuzzAbout: whatever is said of a file that is complete, it is refused or known.
func FuzzAbout(f *testing.F) {
	dir := f.TempDir()
	written(f, filepath.Join(dir, "x.jsonl"), sample(""), Options{}, 9)
	all := contents(f, dir)
	f.Add([]byte(all["x.jsonl"+aboutSuffix]))
	f.Fuzz(func(t *testing.T, about []byte) {
		path := filepath.Join(t.TempDir(), "x.jsonl")
		put(t, filepath.Dir(path), map[string]string{"x.jsonl": all["x.jsonl"], "x.jsonl" + aboutSuffix: string(about)})
		if a, err := ReadAbout(path); err == nil && a.Space != nil && a.Space.Vision != "" {
			a.Space.Fingerprint()
			_, _, _ = a.Space.Transform() // whatever stands there
		}
		w, err := Create(path, sample(""), Options{Resume: true})
		if err != nil {
			return
		}
		if !w.Complete() {
			t.Error("it is not complete")
		}
		w.Close()
	})
}
