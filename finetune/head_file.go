package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/pyjson"
)

// What head.safetensors says of a head of one's own beside its tensors.
const (
	classesKey = "classes" // a JSON list of names
	moduleKey  = "module"  // the Go type, for people
)

// SaveHead writes a head of one's own, which may be any spago model of float32, into the directory dir, which it makes if
// need be: that of a model, say. There is one file, head.safetensors, which appears complete or not at all and takes the
// place of the one that was there. It holds the parameters by the paths of their Go fields (Hidden.W), and so the buffers of
// more than one number, such as the running means of batchnorm. Its metadata have the classes, which are nil for a head that
// has none. A classes.json of another head is removed. [LoadHead] reads it back; no other program knows what the head computes.
//
// A [Classifier] is written as by its method Save, with its own classes, which classes must equal or be nil.
func SaveHead(dir string, head Head, classes []string) error {
	if c, ok := head.(*Classifier); ok {
		if classes != nil && !slices.Equal(classes, c.Classes) {
			return fmt.Errorf("finetune: the head has the classes %.200q, got %.200q", c.Classes, classes)
		}
		return c.Save(dir)
	}
	if err := checkClasses(classes); err != nil {
		return err
	}
	parts, err := partsOf(head)
	if err != nil {
		return err
	}
	var all []checkpoint.Values
	for _, p := range parts {
		if i := op.NotFinite(p.data()); i >= 0 {
			return fmt.Errorf("finetune: %s of the head has %v at place %d, want finite numbers", p.path, p.data()[i], i)
		}
		all = append(all, checkpoint.Values{Name: p.path, Shape: p.shape(), Data: p.data()})
	}
	meta := map[string]string{moduleKey: fmt.Sprintf("%T", head)}
	if classes != nil {
		text, err := json.Marshal(pyjson.Names(classes))
		if err != nil {
			return fmt.Errorf("finetune: %w", err)
		}
		meta[classesKey] = string(text)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if err := checkpoint.WriteTensors(filepath.Join(dir, converter.HeadFile), meta, all); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, probe.ClassesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// LoadHead fills a head, as the program makes it new, with what [SaveHead] or [Trainer.Save] has written into dir, and
// returns the classes; nil if none were saved. A [Classifier] gets its classes as well. All that does not fit, tensors that
// are missing, unexpected or of another shape, is one error, and the head is then as it was.
//
// With a nil head it returns the classes alone, of whichever kind the head in dir is: a program that is to load one makes it
// new for as many classes.
func LoadHead(dir string, head Head) (classes []string, err error) {
	if head == nil {
		return headClasses(dir)
	}
	if c, ok := head.(*Classifier); ok {
		return c.load(dir)
	}
	file, err := checkpoint.Open(filepath.Join(dir, converter.HeadFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return fill(head, file)
}

// fill is [LoadHead] of a file.
func fill(head Head, file *checkpoint.File) (classes []string, err error) {
	parts, err := partsOf(head)
	if err != nil {
		return nil, err
	}
	if classes, err = classesOf(file); err != nil {
		return nil, err
	}
	var missing, unexpected, shapes []string
	wanted := map[string]bool{}
	for _, p := range parts {
		wanted[p.path] = true
		switch t, ok := file.Tensor(p.path); {
		case !ok:
			missing = append(missing, p.path)
		case !slices.Equal(t.Shape, p.shape()):
			shapes = append(shapes, fmt.Sprintf("%s is %v, want %v", p.path, t.Shape, p.shape()))
		}
	}
	for _, t := range file.Tensors() {
		if !wanted[t.Name] {
			unexpected = append(unexpected, fmt.Sprintf("%.100s", t.Name))
		}
	}
	for name := range file.Unread() {
		if !wanted[name] {
			unexpected = append(unexpected, fmt.Sprintf("%.100s", name))
		}
	}
	if err := mismatch(file.Name(), head, missing, unexpected, shapes); err != nil {
		return nil, err
	}
	values := make([][]float32, len(parts)) // all of them, before the head is touched
	for i, p := range parts {
		t, _ := file.Tensor(p.path)
		values[i] = make([]float32, t.Len())
		if err := t.Float32s(values[i]); err != nil {
			return nil, err
		}
		if j := op.NotFinite(values[i]); j >= 0 {
			return nil, fmt.Errorf("finetune: %s: %s has %v at place %d, want finite numbers", file.Name(), p.path, values[i][j], j)
		}
	}
	for i, p := range parts {
		p.set(values[i])
	}
	return classes, nil
}

// headClasses returns the classes of the head in dir, of whichever kind it is.
func headClasses(dir string) ([]string, error) {
	if probe.HasHead(dir) {
		h, err := probe.LoadHead(dir)
		if err != nil {
			return nil, err
		}
		return h.Classes, nil
	}
	file, err := checkpoint.Open(filepath.Join(dir, converter.HeadFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return classesOf(file)
}

// classesOf returns the classes that the file of a head names.
func classesOf(file *checkpoint.File) (classes []string, err error) {
	text, ok := file.Metadata()[classesKey]
	if !ok {
		return nil, nil
	}
	var names []pyjson.Name
	if err := json.Unmarshal([]byte(text), &names); err != nil {
		return nil, fmt.Errorf("finetune: %s: its classes are no list of names: %w", file.Name(), err)
	}
	for _, n := range names {
		classes = append(classes, string(n))
	}
	if classes == nil {
		classes = []string{} // there is a list, and it is empty
	}
	if err := checkClasses(classes); err != nil {
		return nil, fmt.Errorf("%w in %s", err, file.Name())
	}
	return classes, nil
}

// mismatch returns the error of a file that does not fit a head; nil if it does.
func mismatch(path string, head Head, missing, unexpected, shapes []string) error {
	var what []string
	for _, l := range []struct {
		name string
		list []string
	}{{"missing", missing}, {"unexpected", unexpected}, {"of the wrong shape", shapes}} {
		const most = 20
		if n := len(l.list); n > most {
			l.list = append(l.list[:most:most], fmt.Sprintf("%d more", n-most))
		}
		if l.list != nil {
			what = append(what, l.name+" ("+strings.Join(l.list, ", ")+")")
		}
	}
	if what == nil {
		return nil
	}
	return fmt.Errorf("finetune: %s does not fit a %T: tensors are %s", path, head, strings.Join(what, "; "))
}

// load fills a classifier with one of as many classes and features.
func (m *Classifier) load(dir string) ([]string, error) {
	from, err := LoadClassifier(dir)
	if err != nil {
		return nil, err
	}
	if got, want := from.Linear.W.Shape(), m.Linear.W.Shape(); !slices.Equal(got, want) {
		return nil, fmt.Errorf("finetune: the classifier in %s has weights %v, want %v", dir, got, want)
	}
	m.Linear, m.Classes, m.Multi = from.Linear, from.Classes, from.Multi
	return slices.Clone(m.Classes), nil
}

// checkClasses says what is wrong with names of classes; nil are right.
func checkClasses(classes []string) error {
	if classes != nil && len(classes) == 0 {
		return errors.New("finetune: an empty list of classes, want one name at least, or nil for none")
	}
	seen := map[string]bool{}
	for _, c := range classes {
		if seen[c] {
			return fmt.Errorf("finetune: two classes are called %q", c)
		}
		seen[c] = true
	}
	return nil
}

// A part is a parameter or a buffer of a head.
type part struct {
	path   string
	tensor mat.Tensor
	param  *nn.Param // nil of a buffer
}

func (p part) shape() []int { return p.tensor.Shape() }

func (p part) data() []float32 { return p.tensor.Value().Data().F32() }

func (p part) set(values []float32) {
	if p.param != nil {
		op.Thaw(p.param)
	}
	copy(p.data(), values)
}

// partsOf lists what of a head is saved.
func partsOf(head Head) (parts []part, err error) {
	add := func(p part) {
		if bits := p.tensor.Value().Data().BitSize(); bits != 32 && err == nil {
			err = fmt.Errorf("finetune: %s of the head %T is float%d, want float32", p.path, head, bits)
		}
		parts = append(parts, p)
	}
	params.Walk(head, func(path string, p *nn.Param) { add(part{path, p, p}) })
	if parts == nil && err == nil {
		return nil, fmt.Errorf("finetune: the head %T has no parameters in exported fields", head)
	}
	params.WalkBuffers(head, func(path string, b *nn.Buffer) {
		if b.Size() > 1 { // one number is a constant of the module, such as the epsilon of a norm
			add(part{path, b, nil})
		}
	})
	return parts, err
}
