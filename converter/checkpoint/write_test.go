package checkpoint

import (
	"bytes"
	"errors"
	"io"
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
