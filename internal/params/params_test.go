package params

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"
	"github.com/nlpodyssey/spago/nn/linear"
	"github.com/nlpodyssey/spago/nn/normalization/layernorm"
)

type leaf struct {
	nn.Module
	W *nn.Param
	B *nn.Param
}

// custom hands out its parameters itself.
type custom struct {
	nn.Module
	hidden []*nn.Param
}

func (c *custom) TraverseParams(f func(*nn.Param)) {
	for _, p := range c.hidden {
		f(p)
	}
}

// tree has every kind of field that spago's walk knows, and some that it skips.
type tree struct {
	nn.Module
	Name    string
	Count   int
	Ratio   []float64
	Direct  *nn.Param
	Missing *nn.Param
	Lin     *linear.Model
	Any     nn.Model
	NilAny  nn.Model
	List    []*leaf
	Mixed   []any
	Raw     []*nn.Param
	Array   [2]*leaf
	ByName  map[string]*leaf
	ByInt   map[int]*nn.Param
	ByBool  map[bool]*nn.Param
	Own     *custom
	Sync    *sync.Map
	private *nn.Param
	Plain   struct{ P *nn.Param }
	Last    *layernorm.Model
}

func param() *nn.Param { return nn.NewParam(mat.NewDense[float32](mat.WithShape(1, 1))) }

func newLeaf() *leaf { return &leaf{W: param(), B: param()} }

func newTree() *tree {
	t := &tree{
		Direct: param(),
		Lin:    linear.New[float32](2, 3),
		Any:    newLeaf(),
		List:   []*leaf{newLeaf(), newLeaf()},
		Mixed:  []any{newLeaf(), param(), 7, newLeaf()},
		Raw:    []*nn.Param{param(), param()},
		Array:  [2]*leaf{newLeaf(), newLeaf()},
		// One entry each: spago's order over a map is random.
		ByName:  map[string]*leaf{"x": newLeaf()},
		ByInt:   map[int]*nn.Param{4: param()},
		ByBool:  map[bool]*nn.Param{true: param()},
		Own:     &custom{hidden: []*nn.Param{param(), param()}},
		Sync:    &sync.Map{},
		private: param(),
		Last:    layernorm.New[float32](2, 1e-5),
	}
	t.Plain.P = param()
	t.Sync.Store("k", newLeaf())
	return t
}

// TestWalkVisitsWhatSpagoVisits compares pointers and order with nn.ForEachParam.
func TestWalkVisitsWhatSpagoVisits(t *testing.T) {
	for _, m := range []nn.Model{newLeaf(), newTree(), linear.New[float32](2, 3), &custom{hidden: []*nn.Param{param()}}} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			var want, got []*nn.Param
			nn.ForEachParam(m, func(p *nn.Param) { want = append(want, p) })
			Walk(m, func(_ string, p *nn.Param) { got = append(got, p) })
			if len(want) == 0 {
				t.Fatal("spago visits nothing: the test tests nothing")
			}
			if !slices.Equal(got, want) {
				t.Errorf("Walk visits %d parameters, spago %d, or in another order", len(got), len(want))
			}
		})
	}
}

func TestWalkNames(t *testing.T) {
	var got []string
	seen := map[string]bool{}
	Walk(newTree(), func(path string, _ *nn.Param) {
		if seen[path] {
			t.Errorf("two parameters are called %s", path)
		}
		seen[path] = true
		got = append(got, path)
	})
	want := []string{
		"Direct", "Lin.W", "Lin.B", "Any.W", "Any.B",
		"List.0.W", "List.0.B", "List.1.W", "List.1.B",
		"Mixed.0.W", "Mixed.0.B", "Mixed.1",
		"Raw.0", "Raw.1",
		"Array.0.W", "Array.0.B", "Array.1.W", "Array.1.B",
		"ByName.x.W", "ByName.x.B", "ByInt.4", "Own.0", "Own.1",
		"Sync.k.W", "Sync.k.B", "Last.W", "Last.B",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("paths\n got %v\nwant %v", got, want)
	}
}

func TestWalkBuffers(t *testing.T) {
	buf := func(n int) *nn.Buffer { return nn.Buf(mat.NewDense[float32](mat.WithShape(n, 1))) }
	type stats struct {
		nn.Module
		Mean *nn.Buffer
		W    *nn.Param
		List []*nn.Buffer
		Norm *layernorm.Model
	}
	var got []string
	WalkBuffers(&stats{Mean: buf(2), W: param(), List: []*nn.Buffer{buf(1), buf(3)}, Norm: layernorm.New[float32](2, 1e-5)}, func(path string, b *nn.Buffer) {
		got = append(got, fmt.Sprint(path, b.Size()))
	})
	if want := []string{"Mean2", "List.01", "List.13", "Norm.Eps1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestWalkSortsMaps: the same model gives the same order every time.
func TestWalkSortsMaps(t *testing.T) {
	m := &tree{ByInt: map[int]*nn.Param{10: param(), 9: param(), -1: param()}}
	var got []string
	Walk(m, func(path string, _ *nn.Param) { got = append(got, path) })
	if want := []string{"ByInt.-1", "ByInt.9", "ByInt.10"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
