package projector

import (
	"bytes"
	"encoding/gob"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// loadPLoRA returns a layer of testdata/gen/plora.py, unfrozen, with its file and mask.
func loadPLoRA(t testing.TB, name string) (*PLoRA, *golden.File, []bool) {
	t.Helper()
	f := golden.Load(t, "testdata/projector/plora.npz")
	w, a := f.Shape(name+"/Linear.W"), f.Shape(name+"/A")
	scale := f.Float32(name + "/scale")[0]
	m, err := NewPLoRA(w[1], w[0], a[0], float64(scale)*float64(a[0]), f.Has(name+"/Linear.B"))
	if err != nil {
		t.Fatal(err)
	}
	tiny.Load(m, f, name+"/")
	var mask []bool
	for _, v := range f.Uint8(name + "/mask") {
		mask = append(mask, v != 0)
	}
	return m, f, mask
}

// TestPLoRA compares values and all gradients with PyTorch's float64; three products are summed in
// another order.
func TestPLoRA(t *testing.T) {
	for _, name := range []string{"mixed", "bias", "images", "words"} {
		t.Run(name, func(t *testing.T) {
			m, f, mask := loadPLoRA(t, name)
			x := matrix(f, name+"/x")
			x.SetRequiresGrad(true)
			y := m.Forward(x, mask)
			golden.Compare(t, "y", y.Value().Data().F32(), f.Float32(name+"/y"), 5e-7)
			y.AccGrad(matrix(f, name+"/grad_y"))
			ag.Backward(y)
			golden.Compare(t, "x", x.Grad().Data().F32(), f.Float32(name+"/grad/x"), 1e-6)
			params.Walk(m, func(path string, p *nn.Param) {
				want := f.Float32(name + "/grad/" + path)
				if !p.HasGrad() { // where PyTorch has a gradient of zeros
					if name != "words" || slices.ContainsFunc(want, func(v float32) bool { return v != 0 }) {
						t.Errorf("%s has no gradient", path)
					}
					return
				}
				golden.Compare(t, path, p.Grad().Data().F32(), want, 1e-6)
			})

			m.Freeze()
			x = matrix(f, name+"/x")
			for range 3 { // the pool is warm from the second time on
				z := m.Forward(x, mask)
				golden.Compare(t, "frozen", z.Value().Data().F32(), f.Float32(name+"/y"), 5e-7)
				if z.RequiresGrad() {
					t.Error("a frozen layer makes a graph")
				}
			}
			if !slices.Equal(x.Data().F32(), f.Float32(name+"/x")) {
				t.Error("x changed")
			}
		})
	}
}

// TestPLoRAWords: what is no image goes through Linear alone, to the bit, whatever stands beside it.
func TestPLoRAWords(t *testing.T) {
	m, f, mask := loadPLoRA(t, "mixed")
	x := matrix(f, "mixed/x")
	y, plain := m.Forward(x, mask).Value().Data().F32(), m.Forward(x, nil).Value().Data().F32()
	for i, image := range mask {
		n := len(y) / len(mask)
		if same := slices.Equal(y[i*n:(i+1)*n], plain[i*n:(i+1)*n]); same == image {
			t.Errorf("row %d, of an image: %v, is as without a mask: %v", i, image, same)
		}
	}
}

// TestPLoRAInit: before training an image is read as words are.
func TestPLoRAInit(t *testing.T) {
	m, f, mask := loadPLoRA(t, "mixed")
	m.Freeze()
	m.Init(rand.New(rand.NewPCG(1, 2)))
	x := matrix(f, "mixed/x")
	if !slices.Equal(m.Forward(x, mask).Value().Data().F32(), m.Forward(x, nil).Value().Data().F32()) {
		t.Error("the correction is not zero")
	}
	y := m.Forward(x, mask)
	y.AccGrad(matrix(f, "mixed/grad_y"))
	ag.Backward(y)
	if !slices.ContainsFunc(m.B.Grad().Data().F32(), func(v float32) bool { return v != 0 }) {
		t.Error("it cannot learn")
	}
}

func TestPLoRAErrors(t *testing.T) {
	for _, c := range [][3]int{{0, 4, 2}, {4, maxWidth + 1, 2}, {4, 4, 0}} {
		if _, err := NewPLoRA(c[0], c[1], c[2], 1, false); err == nil {
			t.Errorf("no error of %v", c)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a mask of another length does not panic")
		}
	}()
	m, f, mask := loadPLoRA(t, "mixed")
	m.Forward(matrix(f, "mixed/x"), mask[1:])
}

// TestPLoRAGob: the exported field names are the contract of what is saved.
func TestPLoRAGob(t *testing.T) {
	for _, name := range []string{"mixed", "bias"} {
		m, f, mask := loadPLoRA(t, name)
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(m); err != nil {
			t.Fatal(err)
		}
		back := &PLoRA{}
		if err := gob.NewDecoder(&b).Decode(back); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, name, back.Forward(matrix(f, name+"/x"), mask).Value().Data().F32(), f.Float32(name+"/y"), 5e-7)
	}
}
