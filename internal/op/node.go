package op

import (
	"sync"
	"unsafe"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"

	"github.com/vitago/vitago/internal/kernel"
)

// A node is the value of an operator in a graph. If nobody but this package's operators holds it, which
// [Release] declares, its memory goes back to the pool as soon as no gradient needs it any more. If it is cheap
// to make again, it is not even kept until then.
type node struct {
	*mat.Dense[float32] // the shape and the gradient; its values may be somebody else's by now

	mu      sync.Mutex // spago runs the gradients of a graph beside each other
	values  []float32  // nil if dropped or freed
	again   func(y []float32)
	from    []mat.Tensor // what it was computed from, and may be again
	uses    int          // operators of this package that may still want it: its own, and those it goes into until they are served
	private bool         // see Release
	lent    bool         // an operator has made its own value of the memory
}

// remaker is an operator that can compute its value again, from what the graph keeps, at little cost.
type remaker interface {
	remake(y []float32)
}

// Data implements mat.Matrix.
func (n *node) Data() float.Slice {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.values == nil && n.Size() > 0 {
		if n.again == nil {
			panic("op: the value of an operator is wanted after its gradients have been computed")
		}
		n.values = kernel.Get(n.Size())
		n.again(n.values)
	}
	return float.Make(n.values...)
}

// hide declares that only operators of this package hold the node.
func (n *node) hide() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.private = true
	if n.again != nil && !n.lent {
		kernel.Put(n.values)
		n.values = nil
	}
}

// use notes one more operator that the node goes into. It lends it its memory if y is the same; nobody may read the
// node any more then, and it is as private as with [Release].
func (n *node) use(y *mat.Dense[float32]) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uses++
	if unsafe.SliceData(n.values) == unsafe.SliceData(data(y)) {
		n.lent, n.private = true, true
	}
}

// served notes that one of the operators has done with the node for good. After the last of them, the node
// has done with those that it was computed from.
func (n *node) served() {
	n.mu.Lock()
	n.uses--
	last := n.uses == 0
	if last && n.private {
		n.free()
	}
	n.mu.Unlock()
	if !last {
		return
	}
	for _, x := range n.from {
		if m := nodeOf(x); m != nil {
			m.served()
		}
	}
}

// pass gives x the gradient gy of the node: the matrix itself, if nobody else has it.
func (n *node) pass(x, gy mat.Tensor) {
	if x == nil || !x.RequiresGrad() {
		return
	}
	g, ok := gy.(*mat.Dense[float32])
	n.mu.Lock()
	own := n.private && ok
	if own {
		n.ZeroGrad()
	}
	n.mu.Unlock()
	if !own {
		accumulate(x, func(gx []float32) { copy(gx, data(gy)) })
		return
	}
	offer := &gift{Dense: g}
	if x.AccGrad(offer); !offer.kept {
		recycle(g)
	}
}

// free gives the memory of the node back to the pool.
func (n *node) free() {
	if !n.lent {
		kernel.Put(n.values)
	}
	n.values, n.again = nil, nil
	if g, ok := n.Grad().(*mat.Dense[float32]); ok && g != nil {
		n.ZeroGrad()
		kernel.Put(data(g))
	}
}

// nodeOf returns the node of x, or nil if x is none.
func nodeOf(x mat.Tensor) *node {
	if o, ok := x.(*ag.Operator); ok {
		n, _ := o.Value().(*node)
		return n
	}
	return nil
}

// A function is an operator of this package in a graph, and takes care of its node and of those that go in.
type function struct {
	ag.AutoGradFunction
	node *node
}

// Forward implements ag.AutoGradFunction.
func (f *function) Forward() (mat.Tensor, error) {
	y, err := f.AutoGradFunction.Forward()
	if err != nil { // no operator of this package returns one
		return nil, err
	}
	d := y.(*mat.Dense[float32])
	f.node = &node{Dense: d, values: data(d), from: f.Operands(), uses: 1}
	if r, ok := f.AutoGradFunction.(remaker); ok {
		f.node.again = r.remake
	}
	for _, x := range f.node.from {
		if n := nodeOf(x); n != nil {
			n.use(d)
		}
	}
	return f.node, nil
}

// passer is an operator with an operand that has the gradient of the value, unchanged. Its Backward leaves it
// out.
type passer interface {
	passes() mat.Tensor // nil if there is none
}

// Backward implements ag.AutoGradFunction.
func (f *function) Backward(gy mat.Tensor) error {
	err := f.AutoGradFunction.Backward(gy)
	if p, ok := f.AutoGradFunction.(passer); ok {
		f.node.pass(p.passes(), gy)
	}
	f.node.served()
	return err
}
