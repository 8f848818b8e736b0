// Package params gives the parameters of a spago model names: the paths of Go field names that
// lead to them, such as Blocks.3.Attn.QKV.W.
package params

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"sync"

	"github.com/nlpodyssey/spago/nn"
)

// Walk calls visit with every parameter of model and the path of field names, indices and map
// keys that leads to it. It visits exactly the parameters that [nn.ForEachParam] visits, in the
// same order, with two differences where spago's order is random or its walk has no names: the
// keys of maps come sorted, and a model that traverses its parameters itself
// ([nn.ParamsTraverser]) has them numbered.
//
// Source: nlpodyssey/spago, nn/traversal.go, paramsTraversal.walk.
func Walk(model any, visit func(path string, p *nn.Param)) {
	walker{param: visit}.model("", model)
}

// WalkBuffers visits the buffers of a model, such as the running means of spago's batchnorm, which are no parameters: in
// the places where [Walk] looks, by the same paths.
func WalkBuffers(model any, visit func(path string, b *nn.Buffer)) {
	walker{func(string, *nn.Param) {}, visit}.model("", model)
}

// A walker visits parameters, and buffers unless that is nil.
type walker struct {
	param  func(path string, p *nn.Param)
	buffer func(path string, b *nn.Buffer)
}

// model visits the fields of the struct m points to.
func (w walker) model(path string, m any) {
	if t, ok := m.(nn.ParamsTraverser); ok {
		w.traverse(path, t)
		return
	}
	v := reflect.Indirect(reflect.ValueOf(m))
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanInterface() || f.Kind() == reflect.Pointer && f.IsNil() {
			continue
		}
		p := join(path, v.Type().Field(i).Name)
		// Through the interface, as spago does it: a field of interface type counts as what it holds.
		switch f := reflect.ValueOf(f.Interface()); f.Kind() {
		case reflect.Struct, reflect.Pointer:
			w.item(p, f.Interface())
		case reflect.Slice, reflect.Array:
			w.slice(p, f)
		case reflect.Map:
			w.dict(p, f)
		}
	}
}

// item visits one value and says whether it may hold parameters.
func (w walker) item(path string, x any) bool {
	if v := reflect.ValueOf(x); v.Kind() == reflect.Pointer && v.Elem().Kind() != reflect.Struct {
		return false
	}
	switch x := x.(type) {
	case nn.Module, *nn.Module:
	case *nn.Param:
		w.param(path, x)
	case *nn.Buffer:
		if w.buffer == nil {
			return false // as spago
		}
		w.buffer(path, x)
	case nn.ParamsTraverser:
		w.traverse(path, x)
	case nn.Model:
		w.model(path, x)
	case *sync.Map:
		w.syncMap(path, x)
	default:
		return false
	}
	return true
}

func (w walker) traverse(path string, t nn.ParamsTraverser) {
	i := 0
	t.TraverseParams(func(p *nn.Param) {
		w.param(join(path, strconv.Itoa(i)), p)
		i++
	})
}

func (w walker) slice(path string, v reflect.Value) {
	for i := range v.Len() {
		switch e := v.Index(i); e.Kind() {
		case reflect.Struct, reflect.Pointer, reflect.Interface:
			if !w.item(join(path, strconv.Itoa(i)), e.Interface()) {
				return
			}
		default:
			return
		}
	}
}

func (w walker) dict(path string, v reflect.Value) {
	keys := v.MapKeys()
	for _, k := range keys {
		if !isKey(k.Interface()) {
			return
		}
	}
	sort.Slice(keys, func(i, j int) bool { return less(keys[i].Interface(), keys[j].Interface()) })
	for _, k := range keys {
		switch e := v.MapIndex(k); e.Kind() {
		case reflect.Struct, reflect.Pointer, reflect.Interface:
			if !w.item(join(path, fmt.Sprint(k.Interface())), e.Interface()) {
				return
			}
		default:
			return
		}
	}
}

func (w walker) syncMap(path string, m *sync.Map) {
	var keys []any
	m.Range(func(k, _ any) bool {
		if isKey(k) {
			keys = append(keys, k)
		}
		return true
	})
	sort.Slice(keys, func(i, j int) bool { return less(keys[i], keys[j]) })
	for _, k := range keys {
		e, _ := m.Load(k)
		switch reflect.ValueOf(e).Kind() {
		case reflect.Struct, reflect.Pointer:
			w.item(join(path, fmt.Sprint(k)), e)
		}
	}
}

// isKey says whether spago walks maps with such keys.
func isKey(k any) bool {
	switch k.(type) {
	case string, int:
		return true
	}
	return false
}

// less orders numbers by value and before strings.
func less(a, b any) bool {
	i, aInt := a.(int)
	j, bInt := b.(int)
	if aInt && bInt {
		return i < j
	}
	if aInt != bInt {
		return aInt
	}
	return a.(string) < b.(string)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
