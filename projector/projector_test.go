package projector

import (
	"bytes"
	"encoding/gob"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/tiny"
)

// types are the projectors of testdata/gen/families_projector.py.
var types = []string{"linear", "mlp1x_gelu", "mlp2x_gelu", "mlp3x_gelu"}

// load returns a projector of the golden file, unfrozen, with the file.
func load(t testing.TB, kind string) (*Model, *golden.File) {
	t.Helper()
	f := golden.Load(t, "testdata/families/projector.npz")
	m := tiny.New(t, New, Config{Type: kind, In: f.Shape(kind + "/x")[1], Out: f.Shape(kind + "/y")[1]})
	tiny.Load(m, f, kind+"/")
	return m, f
}

func matrix(f *golden.File, name string) *mat.Dense[float32] {
	return mat.NewDense[float32](mat.WithShape(f.Shape(name)...), mat.WithBacking(slices.Clone(f.Float32(name))))
}

// TestGolden compares outputs and all gradients with PyTorch's float64; one product, or three with
// GELU between, are summed in another order.
func TestGolden(t *testing.T) {
	for _, kind := range types {
		t.Run(kind, func(t *testing.T) {
			m, f := load(t, kind)
			x := matrix(f, kind+"/x")
			x.SetRequiresGrad(true)
			y := m.Forward(x)
			golden.Compare(t, "y", y.Value().Data().F32(), f.Float32(kind+"/y"), 5e-7)
			y.AccGrad(matrix(f, kind+"/grad_y"))
			ag.Backward(y)
			n := 0
			params.Walk(m, func(name string, p *nn.Param) {
				n++
				golden.Compare(t, name, p.Grad().Data().F32(), f.Float32(kind+"/grad/"+name), 1e-6)
			})
			if want := 2 * m.Config.Layers(); n != want {
				t.Errorf("%d parameters, want %d", n, want)
			}
			golden.Compare(t, "x", x.Grad().Data().F32(), f.Float32(kind+"/grad/x"), 1e-6)

			m.Freeze()
			z := m.Forward(matrix(f, kind+"/x"))
			golden.Compare(t, "frozen", z.Value().Data().F32(), f.Float32(kind+"/y"), 5e-7)
			if z.RequiresGrad() {
				t.Error("a frozen projector makes a graph")
			}
			m.Unfreeze()
			if !m.Forward(matrix(f, kind+"/x")).RequiresGrad() {
				t.Error("an unfrozen projector makes no graph")
			}
		})
	}
}

// TestInputStays: the caller's features are not recycled, whatever is frozen.
func TestInputStays(t *testing.T) {
	for _, kind := range types {
		m, f := load(t, kind)
		m.Freeze()
		x := matrix(f, kind+"/x")
		for range 3 { // the pool is warm from the second time on
			m.Forward(x)
		}
		if !slices.Equal(x.Data().F32(), f.Float32(kind+"/x")) {
			t.Errorf("%s: x changed", kind)
		}
	}
}

func TestIdentity(t *testing.T) {
	m, err := New(Config{Type: Identity, In: 4, Out: 4})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(rand.New(rand.NewPCG(1, 2)))
	x := mat.NewDense[float32](mat.WithShape(2, 4))
	if m.Forward(x) != mat.Tensor(x) {
		t.Error("x does not come back")
	}
}

// TestInit: the distribution of torch's nn.Linear, whose bounds and variance are known.
func TestInit(t *testing.T) {
	m, err := New(Config{Type: "mlp2x_gelu", In: 256, Out: 400})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(rand.New(rand.NewPCG(1, 2)))
	params.Walk(m, func(name string, p *nn.Param) {
		in := 256.0
		if strings.HasPrefix(name, "Layers.1.") {
			in = 400
		}
		bound := 1 / math.Sqrt(in)
		var sum, square, largest float64
		data := mat.Data[float32](p)
		for _, v := range data {
			v := float64(v)
			sum, square, largest = sum+v, square+v*v, max(largest, math.Abs(v))
		}
		n := float64(len(data))
		// A mean of n has the deviation bound/√(3n); that of squares bound²·√(4/45n). Five of them.
		if largest > bound || largest < bound*0.98 || math.Abs(sum/n) > 5*bound/math.Sqrt(3*n) || math.Abs(square/n-bound*bound/3) > 5*bound*bound*math.Sqrt(4/(45*n)) {
			t.Errorf("%s: largest %v of %v, mean %v, variance %v, want %v", name, largest, bound, sum/n, square/n, bound*bound/3)
		}
	})
	other, _ := New(m.Config)
	other.Freeze()
	other.Init(rand.New(rand.NewPCG(1, 2)))
	if !slices.Equal(mat.Data[float32](m.Layers[1].W), mat.Data[float32](other.Layers[1].W)) {
		t.Error("the same seed gives other values")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		c    Config
		want []string // nil if it is valid
	}{
		{Config{"linear", 4, 8}, nil},
		{Config{"identity", 4, 4}, nil},
		{Config{"mlp9x_gelu", 1, 1}, nil},
		{Config{"identity", 4, 8}, []string{"identity of 4 columns to 8"}},
		{Config{"mlp0x_gelu", 4, 8}, []string{`"mlp0x_gelu"`}},
		{Config{"mlp10x_gelu", 4, 8}, []string{`"mlp10x_gelu"`}},
		{Config{"xmlp2x_gelu", 4, 8}, []string{`"xmlp2x_gelu"`}},
		{Config{"", 0, 1 << 21}, []string{`type is ""`, "input width is 0", "output width is 2097152"}},
	} {
		_, err := New(c.c)
		if (err == nil) != (c.want == nil) {
			t.Errorf("%+v: error is %v, want %q", c.c, err, c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: error is %v, want %q in it", c.c, err, w)
			}
		}
	}
}

// TestGob: the exported field names are the contract of what is saved.
func TestGob(t *testing.T) {
	m, f := load(t, "mlp2x_gelu")
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(m); err != nil {
		t.Fatal(err)
	}
	back := &Model{}
	if err := gob.NewDecoder(&b).Decode(back); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "y", back.Forward(matrix(f, "mlp2x_gelu/x")).Value().Data().F32(), f.Float32("mlp2x_gelu/y"), 5e-7)
}
