package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// A sink takes the features of images, one after the other.
type sink interface {
	write(name string, x []float32) error
	fail(name string, err error) error // instead of features
	flush() error
}

// An outputSpec says what will be written.
type outputSpec struct {
	feature string // the kind of the features: the name of what is written
	shape   []int  // of one image's features, [E] or [T,C]
	images  []string
	extra   map[string]string // for the metadata of safetensors
}

func (s outputSpec) len() int {
	n := 1
	for _, d := range s.shape {
		n *= d
	}
	return n
}

// all returns the shape of the features of all images.
func (s outputSpec) all() []int { return append([]int{len(s.images)}, s.shape...) }

// formats are what features can be written as, by name.
var formats = map[string]func(w io.Writer, s outputSpec) (sink, error){
	"jsonl":       newJSONLines,
	"npy":         newNPY,
	"safetensors": newSafetensors,
}

// formatNames are the formats in the order of the help.
var formatNames = []string{"jsonl", "npy", "safetensors"}

// jsonLines writes a JSON object a line. Numbers are the shortest that give the same float32.
type jsonLines struct {
	w *bufio.Writer
	s outputSpec
}

func newJSONLines(w io.Writer, s outputSpec) (sink, error) {
	return &jsonLines{bufio.NewWriter(w), s}, nil
}

func (j *jsonLines) write(name string, x []float32) error {
	var v any = x
	if len(j.s.shape) == 2 {
		rows := make([][]float32, 0, j.s.shape[0])
		for n := j.s.shape[1]; len(x) > 0; x = x[n:] {
			rows = append(rows, x[:n])
		}
		v = rows
	}
	if err := j.line(name, j.s.feature, v); err != nil {
		return fmt.Errorf("%s: %s: %w", name, j.s.feature, err) // a NaN or an infinity
	}
	return nil
}

func (j *jsonLines) fail(name string, err error) error {
	return j.line(name, "error", pyjson.Name(plain(err)))
}

func (j *jsonLines) line(name, key string, v any) error {
	n, err := pyjson.Quote(name)
	if err != nil {
		return err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.w, "{\"image\":%s,%q:%s}\n", n, key, value)
	return err
}

func (j *jsonLines) flush() error { return j.w.Flush() }

// rawRows writes float32, little endian, after a header that says how many there will be. The row
// of an image that failed is NaN, so that rows keep their places.
type rawRows struct {
	w   *bufio.Writer
	buf []byte
	nan []float32
}

func newRawRows(w io.Writer, header []byte, s outputSpec) (sink, error) {
	r := &rawRows{w: bufio.NewWriterSize(w, 1<<18)}
	r.nan = make([]float32, s.len())
	for i := range r.nan {
		r.nan[i] = float32(math.NaN())
	}
	_, err := r.w.Write(header)
	return r, err
}

func (r *rawRows) write(_ string, x []float32) (err error) {
	if r.buf, err = binary.Append(r.buf[:0], binary.LittleEndian, x); err != nil {
		return err
	}
	_, err = r.w.Write(r.buf)
	return err
}

func (r *rawRows) fail(name string, _ error) error { return r.write(name, r.nan) }
func (r *rawRows) flush() error                    { return r.w.Flush() }

// newNPY writes NumPy's format.
func newNPY(w io.Writer, s outputSpec) (sink, error) {
	return newRawRows(w, checkpoint.NPYHeader(checkpoint.F32, s.all()), s)
}

// newSafetensors writes one tensor with the name of the feature. The metadata has the names of the
// images, as a JSON list, in the order of the rows.
func newSafetensors(w io.Writer, s outputSpec) (sink, error) {
	names, err := json.Marshal(pyjson.Names(s.images))
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{"images": string(names)}
	for k, v := range s.extra {
		metadata[k] = v
	}
	header, err := checkpoint.SafetensorsHeader(metadata, []checkpoint.Entry{{Name: s.feature, DType: checkpoint.F32, Shape: s.all()}}, 0)
	if err != nil {
		return nil, err
	}
	return newRawRows(w, header, s)
}

// An output is a file that appears when it is complete, or standard output.
type output struct {
	w    io.Writer
	file *folder.File // nil for standard output
}

func createOutput(cmd *cobra.Command, path string) (output, error) {
	if path == "" {
		return output{w: cmd.OutOrStdout()}, nil
	}
	f, err := folder.Create(path)
	return output{f, f}, err
}

func (o output) commit() error {
	if o.file == nil {
		return nil
	}
	return o.file.Commit()
}

func (o output) discard() {
	if o.file != nil {
		o.file.Discard()
	}
}

// createNew is [createOutput] of a file that must not be there, unless it may be overwritten.
func createNew(cmd *cobra.Command, path string, overwrite bool) (output, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !overwrite { // others, such as pipes, lose nothing
		return output{}, fmt.Errorf("%s exists, and %w", path, converter.ErrExists)
	}
	return createOutput(cmd, path)
}
