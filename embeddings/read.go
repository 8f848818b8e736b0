package embeddings

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// A Set is what a file of rows holds.
type Set struct {
	Feature string      // what the rows are called in the file, "" if it does not say
	Shape   []int       // of one row, [E] or [T,C]
	Names   []string    // in the order of the rows
	Vectors [][]float32 // the rows, several vectors of one one after the other; nil where there is none, since it failed
}

// Read reads a file of any of the three formats, which the ending of its name says: one that [Writer] wrote, or one of the
// same form. Of an npy the names have to lie in [NamesFile]. Values of other types than float32 are converted.
func Read(path string) (*Set, error) {
	s, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("embeddings: %s: %w", path, err)
	}
	return s, nil
}

func read(path string) (*Set, error) {
	format := formatOf(path)
	if format == "" {
		return nil, fmt.Errorf("has the ending %q, want .jsonl, .npy or .safetensors", filepath.Ext(path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	switch {
	case info.IsDir():
		return nil, errors.New("is a directory, want a file")
	case format == "jsonl":
		return readLines(f)
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file")
	}
	if format == "safetensors" {
		return readSafetensors(f, info.Size())
	}
	names, err := folder.ReadSmall(NamesFile(path), maxAbout)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not beside it, which has the names of its rows, a JSON string a line", filepath.Base(NamesFile(path)))
	} else if err != nil {
		return nil, reason(err)
	}
	return readNPY(f, info.Size(), names)
}

// reason returns an error without the path, which stands in front already.
func reason(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// readLines reads jsonl.
func readLines(r io.Reader) (*Set, error) {
	s, in := &Set{}, bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, reason(err)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			if err := s.line(text); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
		if err != nil {
			return s, nil
		}
	}
}

// plain returns an error of JSON in words that name no type of Go's.
func plain(err error) error {
	if e := (*json.UnmarshalTypeError)(nil); errors.As(err, &e) {
		want := map[reflect.Kind]string{reflect.Float32: "a number of float32", reflect.Map: "an object", reflect.Slice: "a list"}[e.Type.Kind()]
		return fmt.Errorf("got a JSON %s, want %s", e.Value, cmp.Or(want, e.Type.String()))
	}
	return err
}

// line adds a row of jsonl.
func (s *Set) line(text []byte) error {
	var members map[string]json.RawMessage
	if err := pyjson.Unmarshal(text, &members); err != nil {
		return fmt.Errorf("is no JSON object: %w", plain(err))
	}
	var name pyjson.Name
	named := false
	for _, kind := range []string{"image", "text"} {
		if raw, ok := members[kind]; ok {
			if err := name.UnmarshalJSON(raw); err != nil || raw[0] != '"' {
				return fmt.Errorf("%q is %.40s, want a name", kind, raw)
			}
			named = true
			break
		}
	}
	if !named {
		return errors.New(`has neither "image" nor "text", the name of what it is of`)
	}
	s.Names = append(s.Names, string(name))
	if raw, ok := members["error"]; ok && string(raw) != "null" {
		s.Vectors = append(s.Vectors, nil)
		return nil
	}
	key := s.Feature
	if key == "" {
		for k, raw := range members {
			if raw[0] != '[' {
				continue
			}
			if key != "" {
				return fmt.Errorf("has the lists %q and %q, want one: the values", min(k, key), max(k, key))
			}
			key = k
		}
	}
	raw, ok := members[key]
	if !ok {
		return fmt.Errorf("has no list %q of values", cmp.Or(key, "embedding"))
	}
	if bytes.Contains(raw, []byte("null")) { // which would be 0
		return fmt.Errorf("%q: a value is null, want a number", key)
	}
	var row []float32
	shape := []int{0}
	if err := pyjson.Unmarshal(raw, &row); err != nil {
		var rows [][]float32
		if e := pyjson.Unmarshal(raw, &rows); e != nil || len(rows) == 0 {
			return fmt.Errorf("%q: %w", key, plain(err))
		}
		row, shape = nil, []int{len(rows), len(rows[0])}
		for _, r := range rows {
			if len(r) != len(rows[0]) {
				return fmt.Errorf("%q has vectors of %d and of %d values", key, len(rows[0]), len(r))
			}
			row = append(row, r...)
		}
	} else {
		shape[0] = len(row)
	}
	switch {
	case len(row) == 0:
		return fmt.Errorf("%q is empty, want values", key)
	case s.Shape == nil:
		s.Feature, s.Shape = key, shape
	case !slices.Equal(s.Shape, shape):
		return fmt.Errorf("%q has the shape %v, and that of the rows before is %v", key, shape, s.Shape)
	}
	s.Vectors = append(s.Vectors, slices.Clip(row))
	return nil
}

// readNPY reads an array of NumPy's.
func readNPY(r io.ReaderAt, size int64, names []byte) (*Set, error) {
	const name = "array"
	c, err := checkpoint.OpenReader(r, size, name)
	if err != nil {
		return nil, namedError{err, strings.TrimPrefix(err.Error(), "checkpoint: "+name+": ")} // the path stands in front
	}
	tensors := c.Tensors()
	if c.Container() != "npy" || len(tensors) != 1 {
		return nil, fmt.Errorf("is of the kind %s, want an array of NumPy's", c.Container())
	}
	s := &Set{}
	names = bytes.TrimSuffix(bytes.TrimPrefix(names, []byte("\ufeff")), []byte("\n"))
	for n, text := range bytes.Split(names, []byte("\n")) {
		if len(names) == 0 {
			break
		}
		name, err := pyjson.Unquote(bytes.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("line %d of the names: is %.40q, want a JSON string: %w", n+1, text, err)
		}
		s.Names = append(s.Names, name)
	}
	return s, s.tensor(tensors[0])
}

// tensor takes the rows of a tensor.
func (s *Set) tensor(t *checkpoint.Tensor) error {
	if !slices.Contains(floats, t.DType) {
		return fmt.Errorf("elements are of %q, want %s", t.DType, strings.Join(floatNames(), ", "))
	}
	values := make([]float32, t.Len())
	if err := t.Float32s(values); err != nil {
		return reason(err)
	}
	return s.rows(t.Shape, values)
}

// floats are the types that values of rows may have.
var floats = []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.F64}

func floatNames() (names []string) {
	for _, d := range floats {
		names = append(names, string(d))
	}
	return names
}

// maxHeader is the largest header that readers of safetensors take.
// Source: huggingface/safetensors, safetensors/src/tensor.rs, MAX_HEADER_SIZE.
const maxHeader = 100_000_000

// readSafetensors reads a file of one tensor, whose names are in the metadata.
func readSafetensors(r io.ReaderAt, size int64) (*Set, error) {
	var length [8]byte
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, fmt.Errorf("no header of safetensors: %d bytes", size)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > uint64(size-8) || n > maxHeader {
		return nil, fmt.Errorf("header of safetensors has %d bytes in a file of %d, want at most %d", n, size, maxHeader)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && !errors.Is(err, io.EOF) {
		return nil, reason(err)
	}
	var members map[string]json.RawMessage
	if err := pyjson.Unmarshal(header, &members); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	const metadataKey = "__metadata__"
	var metadata map[string]string
	if raw, ok := members[metadataKey]; ok {
		if err := json.Unmarshal(raw, &metadata); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
	}
	delete(members, metadataKey)
	if len(members) != 1 {
		return nil, fmt.Errorf("has %d tensors, want one, with a row of each name", len(members))
	}
	s := &Set{}
	for key, raw := range members {
		var t struct {
			DType   string    `json:"dtype"`
			Shape   []int     `json:"shape"`
			Offsets [2]uint64 `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", key, err)
		}
		dtype := checkpoint.DType(t.DType)
		if !slices.Contains(floats, dtype) {
			return nil, fmt.Errorf("tensor %q is of %.20q, want %s", key, t.DType, strings.Join(floatNames(), ", "))
		}
		s.Feature = key
		data, width := uint64(size)-8-n, uint64(dtype.Size())
		count, ok := product(t.Shape, data/width)
		if !ok || t.Offsets != [2]uint64{0, data} || width*count != data {
			return nil, fmt.Errorf("tensor %q of shape %v lies at %d to %d of %d bytes: cut short or damaged", key, t.Shape, t.Offsets[0], t.Offsets[1], data)
		}
		if err := s.list(metadata); err != nil {
			return nil, err
		}
		rows, err := checkpoint.NewTensor(key, dtype, t.Shape, io.NewSectionReader(r, 8+int64(n), int64(data)))
		if err != nil {
			return nil, namedError{err, strings.TrimPrefix(err.Error(), "checkpoint: ")}
		}
		return s, s.tensor(rows)
	}
	return s, nil
}

// list takes the names out of the metadata.
func (s *Set) list(metadata map[string]string) error {
	for _, key := range []string{"images", "texts"} {
		text, ok := metadata[key]
		if !ok {
			continue
		}
		var names []pyjson.Name
		if err := json.Unmarshal([]byte(text), &names); err != nil {
			return fmt.Errorf("metadata %q: is %.40q, want a JSON list of names: %w", key, text, plain(err))
		}
		for _, n := range names {
			s.Names = append(s.Names, string(n))
		}
		return nil
	}
	return errors.New(`metadata have neither "images" nor "texts", the names of the rows`)
}

// product returns how many values a shape has, unless they are more than most.
func product(shape []int, most uint64) (n uint64, ok bool) {
	n = 1
	if slices.Contains(shape, 0) {
		return 0, slices.Min(shape) == 0
	}
	for _, d := range shape {
		if d < 0 || uint64(d) > most || d > 0 && n > most/uint64(d) {
			return 0, false
		}
		n *= uint64(d)
	}
	return n, true
}

// rows divides values of that shape into rows.
func (s *Set) rows(shape []int, values []float32) error {
	if len(shape) < 2 || len(shape) > 3 {
		return fmt.Errorf("has the shape %v, want [N,E] or [N,T,C]", shape)
	}
	if shape[0] != len(s.Names) {
		return fmt.Errorf("has %d rows, and there are %d names", shape[0], len(s.Names))
	}
	s.Shape = shape[1:]
	n, _ := product(s.Shape, math.MaxInt)
	if n == 0 {
		return fmt.Errorf("has the shape %v, want values in each row", shape)
	}
	s.Vectors = make([][]float32, 0, shape[0])
	for row := range slices.Chunk(values, int(n)) {
		if i := slices.IndexFunc(row, func(v float32) bool { return v-v != 0 }); i >= 0 {
			if slices.ContainsFunc(row, func(v float32) bool { return v == v }) { //nolint:gocritic // all are NaN of a row that has failed
				name := pyjson.Printable(s.Names[len(s.Vectors)])
				return fmt.Errorf("%s: value %d of %d is %v as float32, want a finite number, or NaN in the whole row of what has failed", name, i+1, n, row[i])
			}
			row = nil
		}
		s.Vectors = append(s.Vectors, row)
	}
	return nil
}

// formatOf returns the format that the ending of a name says, "" if none does.
func formatOf(path string) string {
	if ext := filepath.Ext(path); len(ext) > 1 && slices.Contains(Formats(), ext[1:]) {
		return ext[1:]
	}
	return ""
}

// A Hit is a row that was found.
type Hit struct {
	Index  int     // of the row, from 0
	Name   string  // of the row
	Cosine float64 // of the row and the query, from -1 to 1
}

// Nearest returns the k rows with the largest cosine to a vector, the best first; rows that have failed are none. Vectors need
// not be normalised. It is an error if the rows have another number of values.
func (s *Set) Nearest(query []float32, k int) ([]Hit, error) {
	var hits []Hit
	for i, v := range s.Vectors {
		if v == nil {
			continue
		}
		if len(v) != len(query) {
			return nil, fmt.Errorf("embeddings: %s has %d values, want the %d of what is searched: they are of different models", pyjson.Printable(s.Names[i]), len(v), len(query))
		}
		h := Hit{i, s.Names[i], clip.Cosine(v, query)}
		at, _ := slices.BinarySearchFunc(hits, h, func(a, b Hit) int { return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Index, b.Index)) })
		if at < k {
			hits = slices.Insert(hits[:min(len(hits), k-1)], at, h)
		}
	}
	return hits, nil
}
