package transformer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/params"
)

var small = Config{Width: 8, Heads: 2, Layers: 3, MLPWidth: 12, Activation: GELU, NormEps: 1e-5}

// A tower is the least that has blocks.
type tower struct {
	nn.Module
	Blocks Blocks
}

// filled returns values for the parameter of a path, from -0.5 to 0.5.
func filled(path string, values []float32) error {
	at := len(path)
	for i := range values {
		values[i] = float32(scrambled(at*1000+i)>>8)/(1<<24) - 0.5
	}
	return nil
}

func newTower(t *testing.T, c Config) *tower {
	m := &tower{Blocks: NewBlocks(c)}
	if err := FillFrozen(m, Weights{Panels: m.Blocks.Products()}, filled); err != nil {
		t.Fatal(err)
	}
	return m
}

// A frozen tower has the values that a plain one has, and computes the same; unfrozen it has them again.
func TestFillFrozen(t *testing.T) {
	m := newTower(t, small)
	if WantsGrad(m) {
		t.Error("a frozen tower wants gradients")
	}
	plain := &tower{Blocks: NewBlocks(small)}
	var paths []string
	params.Walk(plain, func(path string, p *nn.Param) {
		paths = append(paths, path)
		values := make([]float32, p.Size())
		_ = filled(path, values)
		mat.SetData(p.Value(), values)
	})
	if want := 3 * 12; len(paths) != want || !slices.Contains(paths, "Blocks.2.Attn.QKV.W") {
		t.Errorf("paths are %v, want %d with Blocks.2.Attn.QKV.W", paths, want)
	}
	if !WantsGrad(plain) {
		t.Error("a new tower wants no gradients")
	}
	x := make([]float32, 5*8)
	_ = filled("x", x)
	run := func(m *tower) []float32 {
		in := mat.NewDense[float32](mat.WithShape(5, 8), mat.WithBacking(slices.Clone(x)))
		return slices.Clone(m.Blocks.Forward(in, 5, false, Visit(nil)).Value().Data().F32())
	}
	want := run(plain)
	for i, got := range run(m) {
		if d := got - want[i]; d > 1e-5 || d < -1e-5 {
			t.Fatalf("frozen, value %d is %v, plain it is %v", i, got, want[i])
		}
	}
	Unfreeze(m)
	if !slices.Equal(run(m), want) {
		t.Error("unfrozen, the tower computes something else than the plain one")
	}
	first := errors.New("first")
	calls := 0
	err := FillFrozen(plain, Weights{Panels: plain.Blocks.Products()}, func(string, []float32) error {
		calls++
		return first
	})
	if !errors.Is(err, first) || calls != 1 {
		t.Errorf("error %v after %d calls, want the first after 1", err, calls)
	}
}

// A causal block's token depends on those before it alone.
func TestCausal(t *testing.T) {
	for _, causal := range []bool{false, true} {
		c := small
		c.Causal = causal
		m := newTower(t, c)
		run := func(last float32) []float32 {
			x := make([]float32, 4*8)
			_ = filled("x", x)
			for i := range 8 {
				x[3*8+i] *= last
			}
			in := mat.NewDense[float32](mat.WithShape(4, 8), mat.WithBacking(x))
			return slices.Clone(m.Blocks.Forward(in, 4, false, Visit(nil)).Value().Data().F32()[:3*8])
		}
		if got := slices.Equal(run(1), run(-2)); got != causal {
			t.Errorf("causal %v: the first tokens do not depend on the last: %v", causal, got)
		}
	}
}

func TestVisit(t *testing.T) {
	m := newTower(t, small)
	var stages []string
	x := mat.NewDense[float32](mat.WithShape(2, 8))
	m.Blocks[:2].Forward(x, 2, false, Visit(func(stage string, x mat.Tensor) { stages = append(stages, stage) }))
	if want := []string{"block00", "block01"}; !slices.Equal(stages, want) {
		t.Errorf("stages are %v, want %v", stages, want)
	}
}

func TestConfigCheck(t *testing.T) {
	if errs := small.Check("x"); errs != nil {
		t.Errorf("%+v: %v", small, errs)
	}
	for want, change := range map[string]func(c *Config){
		"towers: width is 0, want 1 to 1048576":               func(c *Config) { c.Width = 0 },
		"towers: heads is -1":                                 func(c *Config) { c.Heads = -1 },
		"towers: MLP width is 1048577":                        func(c *Config) { c.MLPWidth = MaxDim + 1 },
		"towers: width 8 is not a multiple of the 3 heads":    func(c *Config) { c.Heads = 3 },
		`activation is "", want one of ["quick_gelu" "gelu"]`: func(c *Config) { c.Activation = "" },
		"norm epsilon is 1, want above 0 and below 1":         func(c *Config) { c.NormEps = 1 },
	} {
		c := small
		change(&c)
		if errs := c.Check("towers"); len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("errors are %v, want one with %q", errs, want)
		}
	}
}
