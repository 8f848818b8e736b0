package checkpoint

import (
	"errors"
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

// wrappers are the keys under which training programs keep the state_dict of the model.
var wrappers = []string{"state_dict", "model_state_dict", "model"}

// stateDict finds the dictionary of tensors within the dictionaries that wrap it.
func stateDict(v any) any {
	for range len(wrappers) {
		for _, key := range wrappers {
			if d, ok := get(v, key); ok && isDict(d) {
				v = d
				break
			}
		}
	}
	return v
}

func isDict(v any) bool {
	switch v.(type) {
	case *types.Dict, *types.OrderedDict:
		return true
	}
	return false
}

func get(v any, key string) (any, bool) {
	switch v := v.(type) {
	case *types.Dict:
		for _, e := range *v {
			if e.Key == key {
				return e.Value, true
			}
		}
	case *types.OrderedDict:
		return v.Get(key)
	}
	return nil, false
}

// maxDepth is how deep modules may be nested: real ones are 8 deep.
const maxDepth = 64

// flatten adds every tensor below v, named by the path of keys and attributes that leads to it.
// A graph that shares its branches has exponentially many paths, so the pickle must have at least
// a byte for every step.
func (c *File) flatten(v any, pickle int64) error {
	f := &flattener{c: c, path: map[any]bool{}, limit: pickle}
	return f.walk("", v)
}

type flattener struct {
	c      *File
	path   map[any]bool // the objects that are being walked
	visits int64
	limit  int64
}

func (f *flattener) walk(name string, v any) error {
	if f.visits++; f.visits > f.limit {
		return fmt.Errorf("more than %d objects in a pickle of so many bytes", f.limit)
	}
	if t, ok := v.(*pickledTensor); ok {
		if err := checkName(name); err != nil {
			return err
		}
		tensor, err := newTensor(name, t.data, t.offset, t.shape, t.strides)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return f.c.add(tensor)
	}
	switch v.(type) {
	case *scriptObject, *types.Dict, *types.OrderedDict:
	default:
		return nil // flags, numbers, strings
	}
	if f.path[v] {
		return fmt.Errorf("%.100q contains itself", name)
	}
	if len(f.path) == maxDepth {
		return fmt.Errorf("%.100q: more than %d objects deep", name, maxDepth)
	}
	f.path[v] = true
	defer delete(f.path, v)
	child := func(key, v any) error {
		k, ok := key.(string)
		if !ok {
			return nil
		}
		if name != "" {
			k = name + "." + k
		}
		if len(k) > maxName {
			return errors.New("a path of names is longer than any tensor's")
		}
		return f.walk(k, v)
	}
	switch v := v.(type) {
	case *scriptObject:
		f.c.classes[v.class] = true
		if v.attrs == nil {
			return nil
		}
		return f.entries(*v.attrs, child)
	case *types.Dict:
		return f.entries(*v, child)
	case *types.OrderedDict:
		for e := v.List.Front(); e != nil; e = e.Next() {
			if e := e.Value.(*types.OrderedDictEntry); e != nil {
				if err := child(e.Key, e.Value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (f *flattener) entries(d types.Dict, child func(key, v any) error) error {
	for _, e := range d {
		if err := child(e.Key, e.Value); err != nil {
			return err
		}
	}
	return nil
}
