package checkpoint

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// Where the weights are in what a training program saved: which of its dictionaries is the state_dict, and what else
// lies beside it.

// wrappers are the keys under which training programs keep the state_dict of the model that learns, the best first.
// Wrappers are in one another: a DeepSpeed engine within Lightning, say.
//
// Sources: mlfoundations/open_clip, src/open_clip_train/main.py ("state_dict"); pytorch/examples ("state_dict", "model",
// "model_state_dict"); microsoft/DeepSpeed, runtime/engine.py, _save_checkpoint ("module"); XPixelGroup/BasicSR,
// basicsr/models/base_model.py ("params", "params_ema").
var wrappers = []string{"state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params"}

// secondary are the keys of weights that no program calls the model's own: averages, and the parts of a distillation.
// One alone is taken; of several, nobody knows which is wanted.
//
// Sources: huggingface/pytorch-image-models, timm/utils/checkpoint_saver.py ("state_dict_ema"); facebookresearch/dino,
// main_dino.py ("student", "teacher").
var secondary = []string{"state_dict_ema", "model_state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema", "student", "teacher"}

// maxWrappers is how deep wrappers may be in one another.
const maxWrappers = 4

// stateDict finds the dictionary of tensors within the dictionaries that wrap it.
func stateDict(v any) (any, error) {
	for range maxWrappers {
		i := slices.IndexFunc(wrappers, func(key string) bool { return holds(v, key) })
		if i >= 0 {
			v, _ = get(v, wrappers[i])
			continue
		}
		var found []string
		for _, key := range secondary {
			if holds(v, key) {
				found = append(found, key)
			}
		}
		switch len(found) {
		case 0:
			return v, nil
		case 1:
			v, _ = get(v, found[0])
		default:
			return nil, fmt.Errorf("weights stand under %s, and under none of %s: save the one that is wanted alone", strings.Join(found, " and "), strings.Join(wrappers, ", "))
		}
	}
	return v, nil
}

// holds says whether v has a dictionary or a module with tensors in it under a key. The attributes of a module are no
// such keys, but names of tensors.
func holds(v any, key string) bool {
	switch v := v.(type) {
	case *scriptObject:
		return false
	case *object:
		if isModule(v) {
			return false
		}
	}
	d, ok := get(v, key)
	if !ok {
		return false
	}
	left := 1 << 16 // objects that are looked at: tensors are among the first of a state_dict
	return hasTensor(d, maxDepth, &left)
}

func hasTensor(v any, depth int, left *int) bool {
	if *left--; *left < 0 || depth == 0 {
		return false
	}
	for _, v := range items(v) {
		switch v.(type) {
		case *pickledTensor, unread:
			return true
		}
		if hasTensor(v, depth-1, left) {
			return true
		}
	}
	return false
}

// items returns the keys and values of a dictionary or an object; nothing of anything else.
func items(v any) iter.Seq2[any, any] {
	var all []types.Dict
	switch v := v.(type) {
	case *types.Dict:
		all = append(all, *v)
	case *scriptObject:
		if v.attrs != nil {
			all = append(all, *v.attrs)
		}
	case *object:
		all = append(all, v.items)
		if v.state != nil {
			all = append(all, *v.state)
		}
	}
	return func(yield func(key, v any) bool) {
		for _, d := range all {
			for _, e := range d {
				if !yield(e.Key, e.Value) {
					return
				}
			}
		}
	}
}

// get returns what stands under a key.
func get(v any, key string) (found any, ok bool) {
	for k, v := range items(v) {
		if k == key {
			found, ok = v, true
		}
	}
	return found, ok
}

// The attributes of a module of torch's that hold what is in its state_dict.
//
// Source: pytorch/pytorch, torch/nn/modules/module.py, Module.__init__ and _save_to_state_dict.
const (
	moduleParameters = "_parameters"
	moduleBuffers    = "_buffers"
	moduleModules    = "_modules"
	moduleTransient  = "_non_persistent_buffers_set"
)

// isModule says whether an object is a pickled module of torch's, whatever its class is called.
func isModule(o *object) bool {
	if o.state == nil {
		return false
	}
	for _, key := range []string{moduleParameters, moduleBuffers, moduleModules} {
		if d, ok := get(o, key); !ok || d == nil {
			return false
		}
	}
	return true
}

// pickled adds the tensors of what a file of torch.save holds; the pickle has size bytes.
func (c *File) pickled(root any, size int64) error {
	v, err := stateDict(root)
	if err != nil {
		return err
	}
	if isPartitioned(root, v) {
		return errors.New("DeepSpeed divided the weights among the processes of its ZeRO stage 3, and this file has none of them: " +
			"python zero_to_fp32.py FOLDER OUT, which lies beside, merges them")
	}
	if _, ok := v.(*pickledTensor); !ok { // which has no name
		if err := c.flatten(v, size); err != nil {
			return err
		}
	}
	if o, ok := v.(*object); ok && len(c.tensors) == 0 && o.class != "collections.OrderedDict" {
		return fmt.Errorf("without tensors: it holds a pickled %.100q, of which only a state_dict or a module of torch's can be read", o.class)
	}
	if kind := ""; len(c.tensors)+len(c.unread) == 0 {
		switch v.(type) {
		case *types.List:
			kind = "list"
		case *types.Tuple:
			kind = "tuple"
		case *pickledTensor:
			kind = "tensor"
		default:
			return nil
		}
		return fmt.Errorf("without tensors by name: it holds a %s, want a dictionary", kind)
	}
	return nil
}

// isPartitioned says whether a checkpoint is DeepSpeed's and its weights are elsewhere: those that are there have no
// elements.
//
// Source: microsoft/DeepSpeed, runtime/engine.py, _save_checkpoint, and utils/zero_to_fp32.py.
func isPartitioned(root, weights any) bool {
	shapes, ok := get(root, "param_shapes")
	if version, isDeepSpeed := get(root, "ds_version"); !ok || shapes == nil || !isDeepSpeed || version == nil {
		return false
	}
	empty := true
	for _, v := range items(weights) {
		if t, ok := v.(*pickledTensor); ok && !slices.Contains(t.shape, 0) && len(t.shape) > 1 {
			empty = false
		}
	}
	return empty
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
	switch t := v.(type) {
	case *pickledTensor:
		if err := checkName(name); err != nil {
			return err
		}
		tensor, err := newTensor(name, t.data, t.offset, t.shape, t.strides)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return f.c.add(tensor)
	case unread:
		return f.c.addUnread(name, t.kind)
	case *scriptObject, *types.Dict, *object:
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
	inside := items(v)
	switch v := v.(type) {
	case *scriptObject:
		f.c.classes[v.class] = true
	case *object:
		if isModule(v) {
			inside = moduleItems(v)
		} else if name != "" { // attributes of an object are no names of tensors
			inside = items(&v.items)
		}
	}
	for key, v := range inside {
		k, ok := key.(string)
		if !ok {
			continue
		}
		if name != "" {
			k = name + "." + k
		}
		if len(k) > maxName {
			return errors.New("a path of names is longer than any tensor's")
		}
		if err := f.walk(k, v); err != nil {
			return err
		}
	}
	return nil
}

// moduleItems returns what is in the state_dict of a pickled module, by its name there, and the modules in it.
func moduleItems(o *object) iter.Seq2[any, any] {
	transient := map[string]bool{}
	if set, ok := get(o, moduleTransient); ok {
		if list, ok := set.(*types.List); ok {
			for _, name := range *list {
				if name, ok := name.(string); ok {
					transient[name] = true
				}
			}
		}
	}
	return func(yield func(key, v any) bool) {
		for _, key := range []string{moduleParameters, moduleBuffers, moduleModules} {
			d, _ := get(o, key)
			for k, v := range items(d) {
				if name, _ := k.(string); key == moduleBuffers && transient[name] {
					continue
				}
				if !yield(k, v) {
					return
				}
			}
		}
	}
}
