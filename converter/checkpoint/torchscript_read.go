package checkpoint

import (
	"fmt"

	"github.com/nlpodyssey/gopickle/types"
)

// scriptRoot is the module that all classes of TorchScript are in. Their names below it depend on the
// program that was compiled: objects are told by their attributes, never by their class. Who knows the
// program may know more, so classes are noted.
const scriptRoot = "__torch__"

// A scriptClass is any class of TorchScript, by its name without the module.
type scriptClass struct{ name string }

// PyNew implements gopickle's types.PyNewable.
func (c scriptClass) PyNew(...any) (any, error) { return &scriptObject{class: c.name}, nil }

// A scriptObject is a module: parameters, buffers, flags and modules by the names of attributes.
type scriptObject struct {
	class string
	attrs *types.Dict
}

// PySetState implements gopickle's types.PyStateSettable.
func (o *scriptObject) PySetState(state any) error {
	d, ok := state.(*types.Dict)
	if !ok || o.attrs != nil {
		return fmt.Errorf("state of a TorchScript object is a %T or set twice, want one dictionary", state)
	}
	o.attrs = d
	return nil
}
