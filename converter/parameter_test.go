package converter

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
)

// TestParameterNames: a parameter in several tensors has the names of all.
func TestParameterNames(t *testing.T) {
	for want, names := range map[string][]string{
		"h.{q,k,v}_proj.weight": {"h.q_proj.weight", "h.k_proj.weight", "h.v_proj.weight"},
		"w":                     {"w", "w"},
		"{a,b}":                 {"a", "b"},
		"a{,aa}":                {"a", "aaa"},
		"x.{a,b}a.w":            {"x.aa.w", "x.ba.w"},
	} {
		var p param
		for _, name := range names {
			p = append(p, part{t: &checkpoint.Tensor{Name: name}})
		}
		if got := (Parameter{parts: p}).Tensors(); got != want {
			t.Errorf("%q: got %s, want %s", names, got, want)
		}
	}
}

// TestParameterParts: elements are read across the parts that a parameter lies in, wherever they begin and end.
func TestParameterParts(t *testing.T) {
	var all []named
	for i, n := range []int{3, 1, 5} {
		x := vector(fmt.Sprint("x", i), n)
		x.dtype, x.data = []DType{F32, F64, F16}[i], make([]byte, n*[]int{4, 8, 2}[i])
		for k := range n {
			v := float32(10*i + k)
			switch i {
			case 0:
				encode(x.data[4*k:], []float32{v}, F32)
			case 1:
				binary.LittleEndian.PutUint64(x.data, math.Float64bits(float64(v)))
			case 2:
				encode(x.data[2*k:], []float32{v}, F16)
			}
		}
		all = append(all, x)
	}
	s := sourceOf(t, asSafetensors(t, all))
	p := Parameter{Path: "P"}
	for i, lo := range []int{1, 0, 0} { // the first without its first element
		x, _ := s.file.Tensor(fmt.Sprint("x", i))
		p.parts = append(p.parts, part{x, lo, x.Len() - lo})
	}
	want := []float64{1, 2, 10, 20, 21, 22, 23, 24}
	for from := -1; from <= len(want)+1; from++ {
		for n := range len(want) + 2 {
			got := make([]float64, n)
			err := p.Float64s(got, from, nil)
			if from < 0 || from+n > len(want) {
				if err == nil || !strings.Contains(err.Error(), "P: ") || !strings.Contains(err.Error(), "want some of 8") {
					t.Errorf("%d from %d: error is %v", n, from, err)
				}
			} else if err != nil || !slices.Equal(got, want[from:from+n]) {
				t.Errorf("%d from %d: %v (%v), want %v", n, from, got, err, want[from:from+n])
			}
		}
	}
	if n := p.Bytes(); n != 2*4+8+5*2 {
		t.Errorf("%d bytes, want 26", n)
	}
}
