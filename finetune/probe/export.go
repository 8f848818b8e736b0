package probe

import (
	"archive/zip"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/converter/checkpoint"
)

// WriteCSV writes the head as a table, a line for each class: its name, its bias, and its weights w0, w1, … of the features. A
// number is the shortest that is that float32 again. The logits of features x are x·wᵀ + bias.
func (h *Head) WriteCSV(w io.Writer) error {
	if err := h.check(); err != nil {
		return err
	}
	d := h.Dim()
	row := []string{"class", "bias"}
	for j := range d {
		row = append(row, fmt.Sprintf("w%d", j))
	}
	c := csv.NewWriter(w)
	_ = c.Write(row) // whose error comes again in the end
	weights, bias := mat.Data[float32](h.Linear.W), mat.Data[float32](h.Linear.B)
	number := func(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }
	for i, class := range h.Classes {
		row[0], row[1] = class, number(bias[i])
		for j, v := range weights[i*d : (i+1)*d] {
			row[2+j] = number(v)
		}
		_ = c.Write(row)
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// WriteNPZ writes the head as numpy.load reads it without pickles:
//
//	coef       float32 [K,D]  as scikit-learn calls the weights
//	intercept  float32 [K]
//	classes    unicode [K]
//	features   unicode        what the head reads
//	multi      bool           whether classes do not exclude each other
//
// Source: numpy/numpy, numpy/lib/format.py.
func (h *Head) WriteNPZ(w io.Writer) error {
	if err := h.check(); err != nil {
		return err
	}
	k := len(h.Classes)
	z := zip.NewWriter(w)
	for _, a := range []struct {
		name string
		data []byte
	}{
		{"coef", append(checkpoint.NPYHeader(checkpoint.F32, []int{k, h.Dim()}), littleEndian(mat.Data[float32](h.Linear.W))...)},
		{"intercept", append(checkpoint.NPYHeader(checkpoint.F32, []int{k}), littleEndian(mat.Data[float32](h.Linear.B))...)},
		{"classes", unicodeNPY(h.Classes, fmt.Sprintf("(%d,)", k))},
		{"features", unicodeNPY([]string{h.Features.String()}, "()")},
		{"multi", npy("|b1", "()", []byte{map[bool]byte{true: 1}[h.Multi]})},
	} {
		f, err := z.Create(a.name + ".npy")
		if err == nil {
			_, err = f.Write(a.data)
		}
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// littleEndian returns numbers as bytes.
func littleEndian(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return b
}

// unicodeNPY returns an array of texts as numpy keeps them: runes of 32 bits, filled up with zeros.
func unicodeNPY(texts []string, shape string) []byte {
	n := 1
	for _, t := range texts {
		n = max(n, utf8.RuneCountInString(t))
	}
	b := make([]byte, 4*n*len(texts))
	for i, t := range texts {
		at := 4 * n * i
		for _, r := range t {
			binary.LittleEndian.PutUint32(b[at:], uint32(r))
			at += 4
		}
	}
	return npy(fmt.Sprintf("<U%d", n), shape, b)
}

// npy returns an array of a type that [checkpoint.NPYHeader] has not, for which tensors have no use.
func npy(descr, shape string, data []byte) []byte {
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape)
	const before, align = 10, 64
	dict += strings.Repeat(" ", align-(before+len(dict)+1)%align) + "\n"
	head := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(dict)))
	return append(append(head, dict...), data...)
}
