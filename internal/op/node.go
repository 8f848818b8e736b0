package op

import (
	"sync"
	"unsafe"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/mat/float"

	"github.com/vitago/vitago/internal/kernel"
)

// A node is the value of an operator in a graph. [Release] declares that only operators of this package hold it. Its
// memory then goes back to the pool when no gradient needs it any more. A value that is cheap to recompute is not
// even kept until then.
type node struct {
	*mat.Dense[float32] // the shape and the gradient; another matrix may have the values by now

	gradMu    sync.Mutex // of the gradient, while a product adds to it
	mu        sync.Mutex // spago computes the gradients of a graph concurrently
	values    []float32  // nil if dropped or freed
	recompute func(y []float32)
	inputs    []mat.Tensor // what it was computed from, and can be recomputed from
	refs      int          // operators of this package that may still read it: its own, and those it goes into
	released  bool         // see Release
	aliased   bool         // the result of another operator has the same memory
}

// A recomputer is an operator that can compute its value again at little cost, from what the graph keeps.
type recomputer interface {
	recompute(y []float32)
}

// Data implements mat.Matrix. It recomputes a value that was dropped.
func (n *node) Data() float.Slice {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.values == nil && n.Size() > 0 {
		if n.recompute == nil {
			panic("op: the value of a released operator was read after its gradients were computed")
		}
		n.values = kernel.Get(n.Size())
		n.recompute(n.values)
	}
	return float.Make(n.values...)
}

// release declares that only operators of this package hold the node.
func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.released = true
	if n.recompute != nil && !n.aliased {
		kernel.Put(n.values)
		n.values = nil
	}
}

// ref counts one more operator that the node goes into, with the result y. If y has the memory of the node, nobody
// may read the node any more, and it counts as released.
func (n *node) ref(y *mat.Dense[float32]) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refs++
	if unsafe.SliceData(n.values) == unsafe.SliceData(data(y)) {
		n.aliased, n.released = true, true
	}
}

// unref counts one operator less. After the last of them, the node unrefs the nodes that it was computed from.
func (n *node) unref() {
	n.mu.Lock()
	n.refs--
	last := n.refs == 0
	if last && n.released {
		n.free()
	}
	n.mu.Unlock()
	if !last {
		return
	}
	for _, x := range n.inputs {
		if m := nodeOf(x); m != nil {
			m.unref()
		}
	}
}

// AccGrad implements mat.Tensor. A second gradient it adds on all processors; spago does so on one.
func (n *node) AccGrad(g mat.Tensor) {
	if _, ok := g.(added); ok {
		return
	}
	n.gradMu.Lock()
	defer n.gradMu.Unlock()
	sum := n.gradient()
	if sum == nil {
		n.Dense.AccGrad(g)
		return
	}
	kernel.Add(sum, sum, data(g))
}

// gradient returns the gradient of the node so far, or nil if it has none.
func (n *node) gradient() []float32 {
	if g, ok := n.Grad().(*mat.Dense[float32]); ok && g != nil {
		return data(g)
	}
	return nil
}

// add lets f add to the gradient of the node, if it has one, and reports whether it did.
func (n *node) add(f func(sum []float32)) bool {
	n.gradMu.Lock()
	defer n.gradMu.Unlock()
	sum := n.gradient()
	if sum == nil {
		return false
	}
	f(sum)
	return true
}

// added stands for a gradient that is in the sum already.
type added struct{ *mat.Dense[float32] }

// passGrad gives x the gradient gy of the node: the matrix itself, if nobody else holds it, or a copy.
func (n *node) passGrad(x, gy mat.Tensor) {
	if x == nil || !x.RequiresGrad() {
		return
	}
	g, ok := gy.(*mat.Dense[float32])
	n.mu.Lock()
	own := n.released && ok
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

// free puts the memory of the node, and of its gradient, into the pool.
func (n *node) free() {
	if !n.aliased {
		kernel.Put(n.values)
	}
	n.values, n.recompute = nil, nil
	if g := n.gradient(); g != nil {
		n.ZeroGrad()
		kernel.Put(g)
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

// A function is an operator of this package in a graph. It counts the references to its node and to its operands'
// nodes.
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
	f.node = &node{Dense: d, values: data(d), inputs: f.Operands(), refs: 1}
	if r, ok := f.AutoGradFunction.(recomputer); ok {
		f.node.recompute = r.recompute
	}
	for _, x := range f.node.inputs {
		if n := nodeOf(x); n != nil {
			n.ref(d)
		}
	}
	return f.node, nil
}

// A gradPasser is an operator one of whose operands has the gradient of the result, unchanged. Its Backward leaves
// that operand to node.passGrad.
type gradPasser interface {
	gradPassesTo() mat.Tensor // nil if there is none
}

// Backward implements ag.AutoGradFunction.
func (f *function) Backward(gy mat.Tensor) error {
	err := f.AutoGradFunction.Backward(gy)
	if p, ok := f.AutoGradFunction.(gradPasser); ok {
		f.node.passGrad(p.gradPassesTo(), gy)
	}
	f.node.unref()
	return err
}
