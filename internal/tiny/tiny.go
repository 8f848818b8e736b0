// Package tiny makes the small models that tests compute with. It knows no package of models, so that the tests
// inside of these can use it: whoever calls it says how a model is built.
package tiny

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/params"
)

// New returns the model that build makes of a configuration.
func New[C any, M nn.Model](t testing.TB, build func(C) (M, error), c C) M {
	t.Helper()
	m, err := build(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Golden returns a model and the file of its goldens, path.npz from the root of this module. The model has the
// configuration of path.json, and the parameters of the golden file under "param/".
func Golden[C any, M nn.Model](t testing.TB, path string, build func(C) (M, error)) (M, *golden.File) {
	t.Helper()
	text, err := os.ReadFile(golden.Path(t, path+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var c C
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	m, f := New(t, build, c), golden.Load(t, path+".npz")
	Load(m, f, "param/")
	return m, f
}

// Load gives every parameter of a model the values of a golden file, where it has the name of its path behind a
// prefix.
func Load(m nn.Model, f *golden.File, prefix string) {
	params.Walk(m, func(path string, p *nn.Param) { mat.SetData(p.Value(), f.Float32(prefix+path)) })
}

// Fill gives the values of all parameters of a model, one after the other, in the order of their paths in it, what
// next returns.
func Fill(m nn.Model, next func() float32) {
	params.Walk(m, func(_ string, p *nn.Param) {
		x := mat.Data[float32](p)
		for i := range x {
			x[i] = next()
		}
	})
}

// Kernels returns the implementations that a test of a whole model tries: all that this processor has. With -short, as
// under the race detector, where Go takes some ten times as long, it leaves out the generic one beside others.
func Kernels() []string {
	all := kernel.Available()
	if testing.Short() && len(all) > 1 {
		return slices.DeleteFunc(all, func(name string) bool { return name == "generic" })
	}
	return all
}

// A Tower is what both towers are for [EachPrecision].
type Tower interface {
	Freeze()
	Unfreeze()
	ToBF16()
	Quantize()
}

// EachPrecision calls f with the name of each precision, m being frozen in it: "f32", "bf16", "int8".
func EachPrecision(m Tower, f func(precision string)) {
	m.Unfreeze()
	m.Freeze()
	f("f32")
	m.ToBF16()
	f("bf16")
	m.Unfreeze()
	m.Quantize()
	f("int8")
}

// Watch calls f whenever an operator reads the values of p, which wants no gradient and is not packed: with the weights of a norm one
// sees which blocks are computed.
func Watch(p *nn.Param, f func()) {
	p.Matrix = watched{p.Matrix.(*mat.Dense[float32]), f}
}

type watched struct {
	*mat.Dense[float32]
	f func()
}

func (w watched) Value() mat.Tensor { return w }

func (w watched) Data() float.Slice {
	w.f()
	return w.Dense.Data()
}

// Operators returns the operators that y has been computed by, as far as it knows them: what a gradient would go through.
func Operators(y mat.Tensor) (all []*ag.Operator) {
	seen := map[mat.Tensor]bool{}
	var walk func(x mat.Tensor)
	walk = func(x mat.Tensor) {
		o, ok := x.(*ag.Operator)
		if !ok || seen[x] {
			return
		}
		seen[x] = true
		all = append(all, o)
		for _, operand := range o.Operands() {
			walk(operand)
		}
	}
	walk(y)
	return all
}
