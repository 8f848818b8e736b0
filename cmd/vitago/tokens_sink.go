package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/internal/folder"
)

// The tokens of an image.
type imageTokens struct {
	Name   string `json:"name"`
	Tokens int    `json:"tokens"`
	Width  int    `json:"width"` // of the image, in pixels
	Height int    `json:"height"`
	Rows   int    `json:"rows"` // of tiles; 0 where there is one view only
	Cols   int    `json:"cols"`

	x []float32 // [N,O]
}

// A tokenSink takes the tokens of images, one after the other.
type tokenSink interface {
	write(t imageTokens) error
	fail(name string, err error) error // instead of tokens
	finish() error                     // after the last
}

// A tokenSpec says what will be written.
type tokenSpec struct {
	images   []string
	width    int // O
	metadata map[string]string
	// sum returns the SHA-256 of the model, "" if there is none; it waits for it.
	sum func() (string, error)
}

// tokenFormats are what tokens can be written as, by name.
var tokenFormats = map[string]func(w io.Writer, s tokenSpec) (tokenSink, error){
	"jsonl": func(w io.Writer, s tokenSpec) (tokenSink, error) {
		return &tokenLines{w: w, s: s}, nil
	},
	"npy": func(w io.Writer, s tokenSpec) (tokenSink, error) { return tokenArray{w, s}, nil },
	"npz": func(w io.Writer, s tokenSpec) (tokenSink, error) {
		return tokenArchive{checkpoint.NewNPZWriter(w), s}, nil
	},
	"safetensors": newTokenTensors,
}

// tokenFormatNames are the formats in the order of the help.
var tokenFormatNames = []string{"jsonl", "npy", "npz", "safetensors"}

// keyed says which formats have the name of an image as a key, so that none may come twice.
func keyed(format string) bool { return format == "npz" || format == "safetensors" }

// writeRows writes rows of n numbers, float32, little endian.
func writeRows(w io.Writer, x []float32, n int) error {
	out := bufio.NewWriterSize(w, 1<<18)
	for row := range slices.Chunk(x, n) {
		if err := binary.Write(out, binary.LittleEndian, row); err != nil {
			return err
		}
	}
	return out.Flush()
}

// tokenLines writes a JSON object a line.
type tokenLines struct {
	w io.Writer
	s tokenSpec
	b []byte // the last line
}

func (j *tokenLines) write(t imageTokens) (err error) {
	if j.b, err = embeddings.AppendLine(j.b[:0], "image", t.Name, "tokens", t.x, t.Tokens, j.s.width); err != nil {
		return fmt.Errorf("%s: tokens: %w", t.Name, err) // a NaN or an infinity
	}
	_, err = j.w.Write(j.b)
	return err
}

func (j *tokenLines) fail(name string, cause error) (err error) {
	if j.b, err = embeddings.AppendError(j.b[:0], "image", name, plain(cause)); err != nil {
		return err
	}
	_, err = j.w.Write(j.b)
	return err
}

func (j *tokenLines) finish() error { return nil }

// tokenArray writes the tokens of one image in NumPy's format.
type tokenArray struct {
	w io.Writer
	s tokenSpec
}

func (a tokenArray) write(t imageTokens) error {
	if _, err := a.w.Write(checkpoint.NPYHeader(checkpoint.F32, []int{t.Tokens, a.s.width})); err != nil {
		return err
	}
	return writeRows(a.w, t.x, a.s.width)
}

func (a tokenArray) fail(_ string, err error) error { return err } // nothing is left to write
func (a tokenArray) finish() error                  { return nil }

// tokenArchive writes what numpy.savez does, with an array for every image.
type tokenArchive struct {
	z *checkpoint.NPZWriter
	s tokenSpec
}

func (a tokenArchive) write(t imageTokens) error {
	w, err := a.z.Create(checkpoint.Entry{Name: t.Name, DType: checkpoint.F32, Shape: []int{t.Tokens, a.s.width}})
	if err != nil {
		return err
	}
	return writeRows(w, t.x, a.s.width)
}

func (a tokenArchive) fail(string, error) error { return nil }
func (a tokenArchive) finish() error            { return a.z.Close() }

// tokenTensors writes one tensor for each image. The header stands in front and is known at the end: room is left for the
// longest that there can be. Where one cannot go back, the tensors wait in a temporary file.
type tokenTensors struct {
	w       io.Writer
	file    *os.File // what the tensors are written to
	spooled bool     // whether that is a temporary file, and not w
	room    int64    // for the header
	s       tokenSpec
	images  []imageTokens
	skipped []string
}

func newTokenTensors(w io.Writer, s tokenSpec) (tokenSink, error) {
	t := &tokenTensors{w: w, s: s, images: []imageTokens{}, skipped: []string{}}
	if file, ok := w.(*folder.File); ok && file.Seekable() {
		most := make([]imageTokens, len(s.images))
		for i, name := range s.images {
			const n = math.MaxInt32
			most[i] = imageTokens{Name: name, Tokens: n, Width: n, Height: n, Rows: n, Cols: n}
		}
		header, err := t.header(most, nil, strings.Repeat("f", 2*sha256.Size), 0)
		if err != nil {
			return nil, err
		}
		t.file, t.room = file.File, int64(len(header))
		_, err = t.file.Seek(t.room, io.SeekStart)
		return t, err
	}
	file, err := os.CreateTemp("", "vitago-tokens-")
	if err != nil {
		return nil, err
	}
	t.file, t.spooled = file, true
	return t, nil
}

// header describes the images in the order of their tensors.
func (t *tokenTensors) header(images []imageTokens, skipped []string, sum string, least int) ([]byte, error) {
	metadata := map[string]string{}
	for k, v := range t.s.metadata {
		metadata[k] = v
	}
	if sum != "" {
		metadata["model_sha256"] = sum
	}
	for key, v := range map[string]any{"images": images, "skipped": skipped} {
		list, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		metadata[key] = string(list)
	}
	tensors := make([]checkpoint.Entry, len(images))
	for i, m := range images {
		tensors[i] = checkpoint.Entry{Name: m.Name, DType: checkpoint.F32, Shape: []int{m.Tokens, t.s.width}}
	}
	return checkpoint.SafetensorsHeader(metadata, tensors, least)
}

func (t *tokenTensors) write(m imageTokens) error {
	x := m.x
	m.x = nil
	t.images = append(t.images, m)
	return t.named(writeRows(t.file, x, t.s.width))
}

func (t *tokenTensors) fail(name string, _ error) error {
	t.skipped = append(t.skipped, name)
	return nil
}

func (t *tokenTensors) finish() error {
	sum, err := t.s.sum()
	if err != nil {
		return err
	}
	header, err := t.header(t.images, t.skipped, sum, int(t.room))
	if err != nil {
		return err
	}
	if !t.spooled {
		if int64(len(header)) != t.room {
			return fmt.Errorf("the header has %d bytes, and there is room for %d", len(header), t.room) // a mistake of this program
		}
		_, err := t.file.WriteAt(header, 0)
		return t.named(err)
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := t.w.Write(header); err != nil {
		return err
	}
	_, err = io.Copy(t.w, t.file)
	return err
}

// Close removes the temporary file, if there is one.
func (t *tokenTensors) Close() error {
	if !t.spooled {
		return nil
	}
	return errors.Join(t.file.Close(), os.Remove(t.file.Name()))
}

// named gives an error the name of the file that there will be.
func (t *tokenTensors) named(err error) error {
	if file, ok := t.w.(*folder.File); ok && err != nil && !t.spooled {
		return file.Named(err)
	}
	return err
}
