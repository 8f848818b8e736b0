package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/folder"
)

// A sink takes the features of images, one after the other.
type sink interface {
	write(name string, x []float32) error
	fail(name string, err error) error // instead of features
	flush() error
}

// An outputSpec says what will be written.
type outputSpec struct {
	feature string // "embedding", "cls", "patches" or "all": the name of what is written
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

func (j *jsonLines) fail(name string, err error) error { return j.line(name, "error", plain(err)) }

func (j *jsonLines) line(name, key string, v any) error {
	n, err := json.Marshal(name)
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
	return newRawRows(w, npyHeader(append([]int{len(s.images)}, s.shape...)), s)
}

// npyHeader returns what stands in front of an array of float32. Source: numpy/lib/format.py, "Format Version 1.0".
func npyHeader(shape []int) []byte {
	dims := strings.Trim(fmt.Sprint(shape), "[]")
	dict := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", strings.ReplaceAll(dims, " ", ", "))
	const prefix, align = 10, 64
	size := (prefix + len(dict) + 1 + align - 1) / align * align // with the newline
	header := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(size-prefix))
	return fmt.Appendf(header, "%-*s\n", size-prefix-1, dict)
}

// maxSafetensorsHeader is the largest header that readers take.
// Source: huggingface/safetensors, safetensors/src/tensor.rs, MAX_HEADER_SIZE.
const maxSafetensorsHeader = 100_000_000

// newSafetensors writes one tensor with the name of the feature. The metadata has the names of the
// images, as a JSON list, in the order of the rows.
func newSafetensors(w io.Writer, s outputSpec) (sink, error) {
	names, err := json.Marshal(s.images)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{"images": string(names)}
	for k, v := range s.extra {
		metadata[k] = v
	}
	header, err := safetensorsHeader(metadata, []namedShape{{s.feature, append([]int{len(s.images)}, s.shape...)}}, 0)
	if err != nil {
		return nil, err
	}
	return newRawRows(w, header, s)
}

// A namedShape is a tensor of float32.
type namedShape struct {
	name  string
	shape []int
}

// safetensorsHeader returns what stands in front of tensors that follow each other without a gap. It is filled up with
// spaces to at least so many bytes. Source: huggingface/safetensors, README.md, "Format".
func safetensorsHeader(metadata map[string]string, tensors []namedShape, least int) ([]byte, error) {
	all := map[string]any{"__metadata__": metadata}
	var at int64
	for _, t := range tensors {
		n := int64(4)
		for _, d := range t.shape {
			n *= int64(d)
		}
		all[t.name] = map[string]any{"dtype": "F32", "shape": t.shape, "data_offsets": []int64{at, at + n}}
		at += n
	}
	header, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	const length = 8                                                // of the length
	header = append(header, strings.Repeat(" ", -len(header)&7)...) // numbers are aligned
	header = append(header, strings.Repeat(" ", max(least-length-len(header), 0))...)
	if len(header) > maxSafetensorsHeader {
		return nil, fmt.Errorf("the names of the images take %d bytes in safetensors, want at most %d", len(header), maxSafetensorsHeader)
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), nil
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
