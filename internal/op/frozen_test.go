package op

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/internal/kernel"
)

// halves fills x with numbers that half precision has.
func halves(rng *rand.Rand, x []float32) {
	for i := range x {
		x[i] = float32(rng.IntN(2048)-1024) / 4096
	}
}

func frozenLinear(rng *rand.Rand, in, out int) (plain, frozen *linear.Model) {
	plain, frozen = NewLinear(in, out), NewLinear(in, out)
	for _, m := range []*linear.Model{plain, frozen} {
		m.W.SetRequiresGrad(false)
		m.B.SetRequiresGrad(false)
	}
	halves(rng, data(plain.W))
	halves(rng, data(plain.B))
	copy(data(frozen.W), data(plain.W))
	copy(data(frozen.B), data(plain.B))
	Freeze(frozen.W)
	return plain, frozen
}

// TestFreeze: a frozen weight is half as large, gives the same results to the last bit, and comes back
// as it was.
func TestFreeze(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const m, in, out = 5, 96, 64
	plain, frozen := frozenLinear(rng, in, out)
	x, r := fresh(m, in), fresh(m, out)
	halves(rng, data(x))
	halves(rng, data(r))
	for name, f := range map[string]func(*linear.Model) mat.Tensor{
		"Linear":    func(l *linear.Model) mat.Tensor { return Linear(x, l) },
		"LinearAct": func(l *linear.Model) mat.Tensor { return LinearAct(x, l, kernel.QuickGELU) },
		"LinearAdd": func(l *linear.Model) mat.Tensor { return LinearAdd(x, l, r) },
		"Project":   func(l *linear.Model) mat.Tensor { return Project(x, l.W) },
	} {
		if got, want := data(f(frozen)), data(f(plain)); !slices.Equal(got, want) {
			t.Errorf("%s of a frozen weight differs", name)
		}
	}
	if got, want := packed(frozen.W).Bytes(), 2*in*out; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	before := packed(frozen.W)
	if Freeze(frozen.W); packed(frozen.W) != before {
		t.Error("a frozen weight was packed again")
	}
	Thaw(frozen.W)
	if packed(frozen.W) != nil || frozen.W.RequiresGrad() || !slices.Equal(data(frozen.W), data(plain.W)) {
		t.Error("thawing does not give the weight back as it was")
	}
}

// TestFrozenGradient: what goes through a frozen weight to its operand is what goes through a plain one.
func TestFrozenGradient(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const m, in, out = 5, 24, 40
	plain, frozen := frozenLinear(rng, in, out)
	values, g := make([]float32, m*in), mat.NewDense[float32](mat.WithShape(m, out))
	halves(rng, values)
	halves(rng, data(g))
	var grads [2][]float32
	for i, l := range []*linear.Model{plain, frozen} {
		x := mat.NewDense[float32](mat.WithShape(m, in), mat.WithBacking(slices.Clone(values)), mat.WithGrad(true))
		y := Linear(x, l)
		y.AccGrad(g)
		ag.Backward(y)
		grads[i] = data(x.Grad())
	}
	if !slices.Equal(grads[0], grads[1]) {
		t.Error("the gradients differ")
	}
}

// TestFrozenElsewhere: spago's own operators read a frozen weight, gob keeps it, and nothing writes it.
func TestFrozenElsewhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	plain, frozen := frozenLinear(rng, 12, 10)
	w := frozen.W
	if !slices.Equal(w.Shape(), []int{10, 12}) || w.Dims() != 2 || w.Size() != 120 {
		t.Errorf("shape %v, %d dimensions, %d elements", w.Shape(), w.Dims(), w.Size())
	}
	x := mat.NewDense[float32](mat.WithShape(12, 1))
	halves(rng, data(x))
	if got, want := data(ag.Affine(frozen.B, w, x)), data(ag.Affine(plain.B, plain.W, x)); !slices.Equal(got, want) {
		t.Errorf("spago's Affine gives %v, want %v", got, want)
	}
	for name, got := range map[string]mat.Tensor{"Value": w.Value(), "Clone": w.Clone(), "T.T": w.T().T()} {
		if !mat.Equal(got, plain.W) {
			t.Errorf("%s is not the weight", name)
		}
	}
	if got, want := w.ScalarAt(3, 4).F32(), plain.W.ScalarAt(3, 4).F32(); got != want {
		t.Errorf("element (3,4) is %v, want %v", got, want)
	}

	var file bytes.Buffer
	if err := gob.NewEncoder(&file).Encode(frozen); err != nil {
		t.Fatal(err)
	}
	var back linear.Model
	if err := gob.NewDecoder(&file).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if packed(back.W) == nil || !mat.Equal(back.W, plain.W) {
		t.Error("gob does not keep a frozen weight")
	}

	if w.RequiresGrad() || w.HasGrad() || w.Grad() != nil {
		t.Error("a frozen weight has or wants a gradient")
	}
	w.SetRequiresGrad(false)
	for name, f := range map[string]func(){
		"SetRequiresGrad": func() { w.SetRequiresGrad(true) },
		"AccGrad":         func() { w.AccGrad(plain.W) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			f()
		}()
	}
}

// TestQuantizeLong: a row too long for int8 stays exact.
func TestQuantizeLong(t *testing.T) {
	l := NewLinear(kernel.Int8MaxK+1, 1)
	data(l.W)[7] = 1.0 / 3
	Quantize(l.W, kernel.Rounding{})
	if got := data(l.W)[7]; packed(l.W) == nil || got != 1.0/3 {
		t.Errorf("a weight of 1/3 became %v", got)
	}
}

func TestFrozenUnmarshal(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 7), {1, 0, 0, 0, 1, 0, 0, 0}, {255, 255, 255, 255, 255, 255, 255, 255}, make([]byte, 9)} {
		if err := new(Frozen).UnmarshalBinary(b); err == nil {
			t.Errorf("%v is no frozen weight, but no error says so", b)
		}
	}
	if _, err := new(Frozen).MarshalBinary(); err == nil {
		t.Error("no error for a frozen weight without values")
	}
}

// TestRoundBF16: a product in bfloat16 is near that of the weights that it was rounded to.
func TestRoundBF16(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	const m, in, out = 5, 128, 64 // whole blocks of every implementation
	plain, rounded := frozenLinear(rng, in, out)
	RoundBF16(rounded.W)
	RoundBF16(rounded.W)
	if !RoundedBF16(rounded.W) || RoundedBF16(plain.W) || Quantized(rounded.W) {
		t.Error("what is rounded is not told apart")
	}
	if got, want := packed(rounded.W).Bytes(), 2*in*out; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	for i, v := range data(rounded.W) {
		if w := data(plain.W)[i]; math.Abs(float64(v-w)) > math.Abs(float64(w))/256 { // half of a step of 8 bits
			t.Fatalf("weight %d is %v, and was %v", i, v, w)
		}
	}
	x := fresh(m, in)
	halves(rng, data(x))
	got := data(Linear(x, rounded))
	Thaw(rounded.W)
	want := data(Linear(x, rounded))
	for i := range got {
		// Of in products of elements up to 1/4, one of them off by 2⁻⁹ of it at most.
		if d := math.Abs(float64(got[i] - want[i])); d > in*0.25*0.25/256 {
			t.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// TestQuantize: a product in 8 bits is near that of the weights that it was rounded to.
func TestQuantize(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const m, in, out = 5, 128, 64 // whole blocks of every implementation
	plain, rounded := frozenLinear(rng, in, out)
	Quantize(rounded.W, kernel.Rounding{})
	if got, want := packed(rounded.W).Bytes(), in*out+8*out; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	for j := range out {
		var largest float64
		for _, v := range data(plain.W)[j*in : (j+1)*in] {
			largest = max(largest, math.Abs(float64(v)))
		}
		for i, v := range data(rounded.W)[j*in : (j+1)*in] {
			// Half of a step, of which there are 127, or 63 with AVX2's instruction.
			if d := math.Abs(float64(v - data(plain.W)[j*in+i])); d > largest/63/2*1.0001 {
				t.Fatalf("weight (%d,%d) is off by %v, want at most %v", j, i, d, largest/63/2)
			}
		}
	}
	x := fresh(m, in)
	halves(rng, data(x))
	got := data(Linear(x, rounded))
	Thaw(rounded.W)
	want := data(Linear(x, rounded))
	for i := range got {
		// Of in products of elements up to 1/4, each off by half of a step of the row: at most 1/255 of
		// its range of 1/2, times the weight.
		if d := math.Abs(float64(got[i] - want[i])); d > in*0.25*0.5/255/2 {
			t.Errorf("element %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// TestUseRows: weights come whole and in order, however many rows at a time, in every form.
func TestUseRows(t *testing.T) {
	const rows, cols = 37, 5
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(i) - 80
	}
	for name, form := range map[string]func(p *nn.Param){
		"plain":  func(*nn.Param) {},
		"panels": func(p *nn.Param) { FreezeForPanels(p) },
		"rows":   func(p *nn.Param) { Freeze(p) },
		"int8":   func(p *nn.Param) { Quantize(p, kernel.Rounding{}) },
		"bf16":   RoundBF16,
	} {
		p := NewParam(rows, cols)
		copy(data(p), values)
		form(p)
		var want []float32
		UseWeights(p, func(v []float32) { want = slices.Clone(v) })
		for _, each := range []int{0, 1, cols, 14*cols - 1, 14 * cols, 16 * cols, rows*cols - 1, rows * cols, 1 << 20} {
			var got []float32
			UseRows(p, each, func(v []float32) {
				if name != "plain" && len(v) > max(each, cols) {
					t.Errorf("%s: %d values at a time, want %d", name, len(v), each)
				}
				got = append(got, v...)
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d values at a time: they are not those of UseWeights", name, each)
			}
		}
	}
}
