package checkpoint

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// errWriter fails after some bytes.
type errWriter struct{ room int }

var errFull = errors.New("disk full")

func (w *errWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return 0, errFull
	}
	w.room -= len(p)
	return len(p), nil
}

// TestWritersFail: a writer that fails, wherever, is an error, and so is a tensor of another length
// than was announced.
func TestWritersFail(t *testing.T) {
	entries := []Entry{{"a", F32, []int{3}}, {"b", F16, nil}}
	emit := func(i int, w io.Writer) error {
		_, err := w.Write(make([]byte, entries[i].Bytes()))
		return err
	}
	for name, write := range map[string]func(w io.Writer, emit Emit) error{
		"script":      func(w io.Writer, emit Emit) error { return WriteTorchScript(w, Script{Class: "C"}, entries, emit) },
		"torch":       func(w io.Writer, emit Emit) error { return WriteTorch(w, entries, emit) },
		"gguf":        func(w io.Writer, emit Emit) error { return WriteGGUF(w, []KeyValue{{"k", "v"}}, entries, emit) },
		"npz":         func(w io.Writer, emit Emit) error { return WriteNPZ(w, entries, emit) },
		"npy":         func(w io.Writer, emit Emit) error { return WriteNPY(w, entries[0], emit) },
		"safetensors": func(w io.Writer, emit Emit) error { return WriteSafetensors(w, nil, entries, emit) },
	} {
		var whole bytes.Buffer
		if err := write(&whole, emit); err != nil {
			t.Fatal(name, err)
		}
		for n := range whole.Len() {
			if err := write(&errWriter{n}, emit); !errors.Is(err, errFull) {
				t.Errorf("%s: with room for %d of %d bytes: error is %v", name, n, whole.Len(), err)
				break
			}
		}
		short := func(_ int, w io.Writer) error { _, err := w.Write(make([]byte, 5)); return err }
		if err := write(io.Discard, short); err == nil || !strings.Contains(err.Error(), "a: 5 bytes written, want 12") {
			t.Errorf("%s: error is %v, want that a has 5 bytes", name, err)
		}
		if err := write(io.Discard, func(int, io.Writer) error { return errFull }); !errors.Is(err, errFull) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// TestWritersRefuse: what no reader takes is not written, and is said before anything is.
func TestWritersRefuse(t *testing.T) {
	all := map[string]func(w io.Writer, e []Entry, emit Emit) error{
		"script":      func(w io.Writer, e []Entry, emit Emit) error { return WriteTorchScript(w, Script{Class: "C"}, e, emit) },
		"torch":       WriteTorch,
		"gguf":        func(w io.Writer, e []Entry, emit Emit) error { return WriteGGUF(w, nil, e, emit) },
		"npz":         WriteNPZ,
		"npy":         func(w io.Writer, e []Entry, emit Emit) error { return WriteNPY(w, e[0], emit) },
		"safetensors": func(w io.Writer, e []Entry, emit Emit) error { return WriteSafetensors(w, nil, e, emit) },
	}
	for _, c := range []struct {
		writers string
		entry   Entry
		want    string
	}{
		{"torch gguf npz safetensors", Entry{"", F32, nil}, "name has 0 bytes"},
		{"torch gguf npz safetensors", Entry{"\x1b[2J", F32, nil}, "cannot be shown"},
		{"script torch gguf npz npy safetensors", Entry{"x", "F7", nil}, "elements are "},
		{"script torch", Entry{"x", "U64", []int{1}}, "no storage"},
		{"script torch gguf npz npy safetensors", Entry{"x", F32, []int{2, -1}}, "product can be counted"},
		{"script torch gguf npz npy safetensors", Entry{"x", F32, []int{math.MaxInt32, math.MaxInt32, math.MaxInt32}}, "product can be counted"},
		{"script torch gguf npz npy safetensors", Entry{"x", F32, make([]int, 9)}, "9 dimensions, want at most 8"},
		{"safetensors", Entry{"__metadata__", F32, nil}, "the format has for itself"},
		{"script", Entry{"a b", F32, nil}, "want names or numbers between dots"},
		{"script", Entry{"a..b", F32, nil}, "want names or numbers between dots"},
		{"script", Entry{"a.0", F32, nil}, "want a name behind the last dot"},
	} {
		for _, name := range strings.Fields(c.writers) {
			var b bytes.Buffer
			err := all[name](&b, []Entry{c.entry}, func(int, io.Writer) error { t.Errorf("%s: %v is asked for", name, c.entry); return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "checkpoint: ") || b.Len() != 0 {
				t.Errorf("%s of %+v: error is %v after %d bytes, want %q in it", name, c.entry, err, b.Len(), c.want)
			}
		}
	}
	err := WriteTorchScript(io.Discard, Script{Class: "C"}, []Entry{{"a.b", F32, nil}, {"a", F32, nil}}, nil)
	if err == nil || !strings.Contains(err.Error(), "a is a tensor, and a module") {
		t.Errorf("error is %v", err)
	}
}

// TestCopierRefuses: elements that are not there, and those that are no numbers, are not written as others.
func TestCopierRefuses(t *testing.T) {
	for _, shape := range [][]int{{-1}, {math.MaxInt32, math.MaxInt32, math.MaxInt32}, make([]int, 9)} {
		if _, err := NewTensor("x", F32, shape, nil); err == nil {
			t.Errorf("there is a tensor of shape %v", shape)
		}
	}
	if _, err := NewTensor("x", "F7", nil, nil); err == nil || !strings.Contains(err.Error(), `x: elements are "F7", want a known type`) {
		t.Errorf("error is %v", err)
	}
	ints, err := NewTensor("ints", I64, []int{3}, bytes.NewReader(make([]byte, 24)))
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := NewTensor("numbers", F32, []int{6}, bytes.NewReader(floats(6)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		t       *Tensor
		from, n int
		to      DType
		want    string // in the error; "" if they are written
	}{
		{ints, 0, 3, I64, ""},
		{ints, 0, 3, F32, "elements are I64, which cannot be written as F32"},
		{numbers, 0, 6, F16, ""},
		{numbers, 6, 0, F32, ""},
		{numbers, 0, 6, I64, "elements are F32, which cannot be written as I64"},
		{numbers, -1, 2, F32, "2 elements from number -1 on, want some of 6"},
		{numbers, 0, -1, F32, "-1 elements from number 0 on, want some of 6"},
		{numbers, 5, 2, F32, "2 elements from number 5 on, want some of 6"},
		{numbers, math.MaxInt, 1, F32, "want some of 6"},
	} {
		var b bytes.Buffer
		err := NewCopier().Copy(t.Context(), &b, c.t, c.from, c.n, c.to)
		if c.want == "" && (err != nil || b.Len() != c.n*c.to.Size()) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || b.Len() != 0) {
			t.Errorf("%s, %d from %d as %s: error is %v after %d bytes, want %q", c.t.Name, c.n, c.from, c.to, err, b.Len(), c.want)
		}
	}
}
