package golden

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A File holds the arrays of a .npz file.
type File struct {
	t      testing.TB
	path   string
	arrays map[string]array
}

// array is one .npy record.
type array struct {
	shape []int
	data  any // []float32, []float64, []int64 or []uint8, in C order
}

// Load reads the .npz file rel, given from the root of this module as for [Path]. It and every
// method of the File fail the test at once if something is not there.
func Load(t testing.TB, rel string) *File {
	t.Helper()
	return LoadFile(t, Path(t, rel))
}

// LoadFile reads the .npz file path, wherever that is.
func LoadFile(t testing.TB, path string) *File {
	t.Helper()
	arrays, err := readNPZ(path)
	if err != nil {
		t.Fatalf("golden: %s: %v", path, err)
	}
	return &File{t, path, arrays}
}

// Names returns the names of all arrays, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.arrays)) }

// Has tells whether there is an array of this name.
func (f *File) Has(name string) bool { _, ok := f.arrays[name]; return ok }

// Shape returns the shape of an array; that of a scalar is empty.
func (f *File) Shape(name string) []int {
	f.t.Helper()
	return f.get(name).shape
}

// Float32 returns the values of a float32 array, in C order.
func (f *File) Float32(name string) []float32 { f.t.Helper(); return values[float32](f, name) }

// Float64 returns the values of a float64 array, in C order.
func (f *File) Float64(name string) []float64 { f.t.Helper(); return values[float64](f, name) }

// Int64 returns the values of an int64 array, in C order.
func (f *File) Int64(name string) []int64 { f.t.Helper(); return values[int64](f, name) }

// Uint8 returns the values of a uint8 array, in C order.
func (f *File) Uint8(name string) []uint8 { f.t.Helper(); return values[uint8](f, name) }

func (f *File) get(name string) array {
	f.t.Helper()
	a, ok := f.arrays[name]
	if !ok {
		f.t.Fatalf("golden: %s has no array %q, but %q", f.path, name, f.Names())
	}
	return a
}

func values[E any](f *File, name string) []E {
	f.t.Helper()
	a := f.get(name)
	v, ok := a.data.([]E)
	if !ok {
		f.t.Fatalf("golden: %s: %s is %T, want %T", f.path, name, a.data, v)
	}
	return v
}

// readNPZ reads all of a .npz file, which is a zip archive of .npy files.
//
// The maintained library for it, github.com/sbinet/npyio, would bring gonum with it.
func readNPZ(path string) (map[string]array, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	arrays := map[string]array{}
	for _, rec := range z.File {
		name, ok := strings.CutSuffix(rec.Name, ".npy")
		if !ok {
			return nil, fmt.Errorf("record %q is not a .npy file", rec.Name)
		}
		r, err := rec.Open()
		if err != nil {
			return nil, err
		}
		a, err := readNPY(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		arrays[name] = a
	}
	return arrays, nil
}

// header is the Python literal with which a .npy file of version 1 begins.
// Source: numpy/lib/format.py, "Format Version 1.0".
var header = regexp.MustCompile(`^\{'descr': '([^']*)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n$`)

func readNPY(r io.Reader) (array, error) {
	var fixed struct {
		Magic   [6]byte
		Version [2]byte
		Len     uint16
	}
	if err := binary.Read(r, binary.LittleEndian, &fixed); err != nil {
		return array{}, err
	}
	if string(fixed.Magic[:]) != "\x93NUMPY" || fixed.Version != [2]byte{1, 0} {
		return array{}, fmt.Errorf("got magic %q version %d, want \\x93NUMPY version [1 0]", fixed.Magic, fixed.Version)
	}
	text := make([]byte, fixed.Len)
	if _, err := io.ReadFull(r, text); err != nil {
		return array{}, err
	}
	m := header.FindStringSubmatch(string(text))
	if m == nil {
		return array{}, fmt.Errorf("header is %q, want C order", text)
	}
	shape, n := []int{}, 1
	for s := range strings.FieldsFuncSeq(m[2], func(c rune) bool { return c == ',' || c == ' ' }) {
		d, err := strconv.Atoi(s)
		if err != nil {
			return array{}, err
		}
		shape, n = append(shape, d), n*d
	}
	var data any
	switch m[1] {
	case "<f4":
		data = make([]float32, n)
	case "<f8":
		data = make([]float64, n)
	case "<i8":
		data = make([]int64, n)
	case "|u1":
		data = make([]uint8, n)
	default:
		return array{}, fmt.Errorf("dtype is %q, want one of <f4 <f8 <i8 |u1", m[1])
	}
	if err := binary.Read(r, binary.LittleEndian, data); err != nil {
		return array{}, fmt.Errorf("%d values: %w", n, err)
	}
	return array{shape, data}, nil
}
