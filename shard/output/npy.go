package output

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/kernel"
)

// npyFormat has the vectors as arrays of NumPy, and the rest as parquet.
var npyFormat = &format{
	names: func(s *Spec, n int) []string {
		names := []string{s.numbered("img_emb/img_emb_", n, ".npy"), s.numbered("metadata/metadata_", n, ".parquet")}
		if s.Texts {
			names = append(names, s.numbered("text_emb/text_emb_", n, ".npy"))
		}
		return names
	},
	create: func(s *Spec, files []*file) sink {
		w := &npySink{spec: s, image: &npyWriter{spec: s, f: files[0]}, rows: newTable(files[1], s.fields(false))}
		if s.Texts {
			w.text = &npyWriter{spec: s, f: files[2]}
		}
		return w
	},
	read: readNPY,
}

// npyHead returns the head of an array of vectors.
func (s *Spec) npyHead(rows int) []byte {
	if s.Half {
		return checkpoint.NPYHeader(checkpoint.F16, []int{rows, s.Dim})
	}
	return checkpoint.NPYHeader(checkpoint.F32, []int{rows, s.Dim})
}

// size returns the bytes of a value.
func (s *Spec) size() int {
	if s.Half {
		return 2
	}
	return 4
}

type npySink struct {
	spec        *Spec
	image, text *npyWriter // text may be nil
	rows        *table
}

func (w *npySink) write(r *Row) error {
	if err := w.rows.write(r.values(w.spec, false)); err != nil {
		return err
	}
	if err := w.image.write(r.Image); err != nil || w.text == nil {
		return err
	}
	return w.text.write(r.Text)
}

func (w *npySink) close() error {
	if err := errors.Join(w.rows.close(), w.image.close()); err != nil || w.text == nil {
		return err
	}
	return w.text.close()
}

// An npyWriter writes vectors behind a head that is replaced at the end: its length does not depend on the number of rows.
type npyWriter struct {
	spec   *Spec
	f      *file
	rows   int
	buffer []byte
}

func (w *npyWriter) write(v []float32) error {
	if w.rows == 0 {
		if _, err := w.f.Write(w.spec.npyHead(0)); err != nil {
			return err
		}
	}
	w.rows++
	w.buffer = w.buffer[:0]
	for _, x := range v {
		if w.spec.Half {
			w.buffer = binary.LittleEndian.AppendUint16(w.buffer, kernel.ToHalf(x))
		} else {
			w.buffer = binary.LittleEndian.AppendUint32(w.buffer, math.Float32bits(x))
		}
	}
	_, err := w.f.Write(w.buffer)
	return err
}

func (w *npyWriter) close() error {
	if err := w.f.Flush(); err != nil {
		return err
	}
	head := w.spec.npyHead(w.rows)
	if len(head) != len(w.spec.npyHead(0)) {
		return fmt.Errorf("the head of %d rows has %d bytes, want %d", w.rows, len(head), len(w.spec.npyHead(0)))
	}
	_, err := w.f.f.WriteAt(head, 0)
	return err
}

// readVectors reads the vectors of so many rows, each into the same slice.
func readVectors(s *Spec, in io.Reader, rows int) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		want := s.npyHead(rows)
		head := make([]byte, len(want))
		if n, err := io.ReadFull(in, head); err != nil || !bytes.Equal(head, want) {
			yield(nil, fmt.Errorf("begins with %.100q, want the head %q", head[:n], bytes.TrimSpace(want)))
			return
		}
		b, v := make([]byte, s.size()*s.Dim), make([]float32, s.Dim)
		for i := range rows {
			if _, err := io.ReadFull(in, b); err != nil {
				yield(nil, fmt.Errorf("row %d of %d: %w", i, rows, noEOF(err)))
				return
			}
			if s.Half {
				kernel.Widen(v, b)
			} else {
				for j := range v {
					v[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
				}
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// readNPY reads rows of all files side by side.
func readNPY(s *Spec, files []*input, rows int) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		type next = func() ([]float32, error, bool)
		images, stop := iter.Pull2(readVectors(s, files[0], rows))
		defer stop()
		var texts next
		if s.Texts {
			var stop func()
			texts, stop = iter.Pull2(readVectors(s, files[2], rows))
			defer stop()
		}
		n := 0
		for values, err := range readTable(files[1], s.fields(false), rows) {
			var r *Row
			if err == nil {
				r, err = rowOf(s, values, false)
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", files[1].name, err))
				return
			}
			of := func(next next, f *input) (v []float32) {
				if err == nil {
					if v, err, _ = next(); err != nil {
						err = fmt.Errorf("%s: %w", f.name, err)
					}
				}
				return v
			}
			r.Image = of(images, files[0])
			if s.Texts {
				r.Text = of(texts, files[2])
			}
			if !yield(r, err) || err != nil {
				return
			}
			n++
		}
	}
}

// noEOF returns an error that is no io.EOF: something was expected.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
