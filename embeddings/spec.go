package embeddings

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/pyjson"
)

// A Spec says what the rows of a file are.
type Spec struct {
	Format   string            // one of [Formats]; "" is what the ending of the file says
	Kind     string            // of what the rows are, "image" or "text": what a name is called in the file. "" is "image"
	Feature  string            // what the rows are called in the file; "" is "embedding"
	Shape    []int             // of one row, [E] or [T,C]
	Names    []string          // of all rows, in order; the list is kept, and not copied
	Model    string            // the fingerprint of the model, "" if nobody knows
	Settings map[string]string // all else that the values depend on; the metadata of safetensors have it

	// Space is that of the vectors, nil if nobody knows. Its fingerprint stands in the metadata of safetensors, as "fingerprint", of texts as
	// "text_fingerprint". It is no setting: Model stands for it when a file is gone on with.
	Space *clip.Space
}

// Formats returns the names of the formats, which are the endings of their files, too.
func Formats() []string { return []string{"jsonl", "npy", "safetensors"} }

// complete returns s with its defaults, for a file of that name.
func (s Spec) complete(path string) (Spec, error) {
	if s.Kind == "" {
		s.Kind = "image"
	}
	if s.Feature == "" {
		s.Feature = "embedding"
	}
	if s.Format == "" {
		s.Format = strings.TrimPrefix(filepath.Ext(path), ".")
	}
	switch {
	case !slices.Contains(Formats(), s.Format):
		return s, fmt.Errorf("embeddings: %s: format is %q, want %s", path, s.Format, strings.Join(Formats(), ", "))
	case len(s.Shape) < 1 || len(s.Shape) > 2 || slices.Min(s.Shape) < 1:
		return s, fmt.Errorf("embeddings: %s: shape of a row is %v, want [E] or [T,C]", path, s.Shape)
	case s.Feature == s.Kind || s.Feature == "error" || s.Kind == "error":
		return s, fmt.Errorf("embeddings: %s: rows are called %q, and their names %q: want two words, and none of them \"error\"", path, s.Feature, s.Kind)
	}
	return s, nil
}

// values returns how many values a row has.
func (s *Spec) values() int {
	n := 1
	for _, d := range s.Shape {
		n *= d
	}
	return n
}

// list returns what the list of names is called in a file of safetensors.
func (s *Spec) list() string { return s.Kind + "s" }

// head returns what stands in front of the rows.
func (s *Spec) head() ([]byte, error) {
	all := append([]int{len(s.Names)}, s.Shape...)
	switch s.Format {
	case "npy":
		return checkpoint.NPYHeader(checkpoint.F32, all), nil
	case "safetensors":
		names, err := json.Marshal(pyjson.Names(s.Names))
		if err != nil {
			return nil, err
		}
		metadata := map[string]string{s.list(): string(names)}
		for k, v := range s.Settings {
			metadata[k] = v
		}
		switch x := s.Space; {
		case x != nil && x.Vision != "":
			metadata["fingerprint"] = x.Fingerprint()
		case x != nil && x.Text != "":
			metadata["text_fingerprint"] = x.Text
		}
		return checkpoint.SafetensorsHeader(metadata, []checkpoint.Entry{{Name: s.Feature, DType: checkpoint.F32, Shape: all}}, 0)
	}
	return nil, nil
}

// row appends a row to b.
func (s *Spec) row(b []byte, name string, x []float32) ([]byte, error) {
	if s.Format == "jsonl" {
		return AppendLine(b, s.Kind, name, s.Feature, x, s.Shape...)
	}
	return binary.Append(b, binary.LittleEndian, x)
}

// failed appends to b what stands in the place of a row.
func (s *Spec) failed(b []byte, name, why string) ([]byte, error) {
	if s.Format == "jsonl" {
		return AppendError(b, s.Kind, name, why)
	}
	nan := math.Float32bits(float32(math.NaN()))
	for range s.values() {
		b = binary.LittleEndian.AppendUint32(b, nan)
	}
	return b, nil
}

// AppendLine appends to b a row as it stands in jsonl: an object with the name of what it is of, which is called kind, and
// under key the values, a list of the given shape. Values are the shortest decimals that give the same float32; one
// that is no number is an error.
func AppendLine(b []byte, kind, name, key string, x []float32, shape ...int) ([]byte, error) {
	var v any = x
	if len(shape) == 2 {
		rows := make([][]float32, 0, shape[0])
		for n := shape[1]; len(x) > 0; x = x[n:] {
			rows = append(rows, x[:n])
		}
		v = rows
	}
	return line(b, kind, name, key, v)
}

// AppendError appends to b what stands in jsonl in the place of a row that there is not.
func AppendError(b []byte, kind, name, why string) ([]byte, error) {
	return line(b, kind, name, "error", pyjson.Name(why))
}

func line(b []byte, kind, name, key string, v any) ([]byte, error) {
	n, err := pyjson.Quote(name)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b, "{%q:%s,%q:%s}\n", kind, n, key, value), nil
}

// writeNames writes names, a JSON string a line.
func writeNames(w io.Writer, names []string) error {
	b := make([]byte, 0, 1<<16)
	for _, name := range names {
		n, err := pyjson.Quote(name)
		if err != nil {
			return err
		}
		if b = append(append(b, n...), '\n'); len(b) > 1<<15 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}

// hashOf returns the SHA-256 of bytes.
func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// hashNames returns the SHA-256 of what writeNames writes.
func hashNames(names []string) (string, error) {
	h := sha256.New()
	err := writeNames(h, names)
	return hex.EncodeToString(h.Sum(nil)), err
}
