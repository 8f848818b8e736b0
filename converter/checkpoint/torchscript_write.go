package checkpoint

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// A scriptModule is a module of TorchScript that has no code: tensors, and modules by their names.
type scriptModule struct {
	class   string
	tensors []scriptTensor
	names   []string // of the modules
	modules map[string]*scriptModule
}

// A scriptTensor is a parameter of a module, and the number of its entry.
type scriptTensor struct {
	name  string
	entry int
}

// A Script says of an archive of TorchScript what the names of tensors do not.
type Script struct {
	// Class is that of the outermost module. Those below it are called Module1, Module2, …
	Class string
	// Within has the modules without tensors that every module of a name has inside, by that name: known by
	// their class, they may say what the code of the original computes.
	Within map[string]Submodule
}

// A Submodule is a module without tensors.
type Submodule struct {
	Name  string // inside of the module: "gelu"
	Class string // of Python
}

// attribute is what a module or a tensor may be called: a name in Python, or a number, as in a list of modules.
var attribute = regexp.MustCompile(`^(?:[A-Za-z_][A-Za-z_0-9]*|[0-9]+)$`)

// check returns an error if a name is no path of modules, or one and the same is a tensor and a module.
func (s Script) check(entries []Entry) error {
	modules := map[string]bool{}
	for _, e := range entries {
		path := strings.Split(e.Name, ".")
		for i, name := range path {
			if !attribute.MatchString(name) {
				return fmt.Errorf("tensor %.100q, want names or numbers between dots", e.Name)
			}
			if i > 0 {
				modules[strings.Join(path[:i], ".")] = true
			}
		}
		if last := path[len(path)-1]; last[0] <= '9' {
			return fmt.Errorf("tensor %.100q, want a name behind the last dot", e.Name)
		}
	}
	for _, e := range entries {
		if modules[e.Name] {
			return fmt.Errorf("%s is a tensor, and a module of others", e.Name)
		}
	}
	return nil
}

// modules returns the tree of modules that the names of entries make.
func (s Script) modules(entries []Entry) *scriptModule {
	n := 0
	module := func(class string) *scriptModule {
		return &scriptModule{class: class, modules: map[string]*scriptModule{}}
	}
	root := module(s.Class)
	for i, e := range entries {
		m := root
		path := strings.Split(e.Name, ".")
		for _, name := range path[:len(path)-1] {
			child := m.modules[name]
			if child == nil {
				n++
				child = module("Module" + strconv.Itoa(n))
				m.modules[name] = child
				m.names = append(m.names, name)
				if inside, ok := s.Within[name]; ok {
					child.modules[inside.Name] = module(inside.Class)
					child.names = []string{inside.Name}
				}
			}
			m = child
		}
		m.tensors = append(m.tensors, scriptTensor{path[len(path)-1], i})
	}
	return root
}

// code writes the classes of m and of the modules below it: what attributes they have, of which type.
func (m *scriptModule) code(b *bytes.Buffer, known map[string]bool) {
	if known[m.class] {
		return
	}
	known[m.class] = true
	fmt.Fprintf(b, "class %s(Module):\n  __parameters__ = [", m.class)
	for _, t := range m.tensors {
		fmt.Fprintf(b, "%q, ", t.name)
	}
	b.WriteString("]\n  __buffers__ = []\n")
	for _, t := range m.tensors {
		fmt.Fprintf(b, "  %s : Tensor\n", t.name)
	}
	b.WriteString("  training : bool\n")
	for _, name := range m.names {
		format := "  %s : %s.%s\n"
		if strings.Trim(name, "0123456789") == "" { // no name in Python
			format = "  __annotations__[\"%s\"] = %s.%s\n"
		}
		fmt.Fprintf(b, format, name, scriptRoot, m.modules[name].class)
	}
	for _, name := range m.names {
		m.modules[name].code(b, known)
	}
}

// script writes an object of the class of m.
func (p *pickleWriter) script(m *scriptModule, entries []Entry) {
	p.global(scriptRoot, m.class)
	p.WriteString(")\x81}(") // EMPTY_TUPLE NEWOBJ EMPTY_DICT MARK
	for _, t := range m.tensors {
		p.text(t.name)
		p.tensor(t.entry, entries[t.entry])
	}
	p.text("training")
	p.WriteByte(0x89) // NEWFALSE
	for _, name := range m.names {
		p.text(name)
		p.script(m.modules[name], entries)
	}
	p.WriteString("ub") // SETITEMS BUILD
}

// WriteTorchScript writes an archive of TorchScript that holds the tensors as parameters of modules without
// code: the dots in their names lead from module to module. Its state_dict is that of the module which the
// names come from.
//
// Source: pytorch/pytorch, torch/csrc/jit/docs/serialization.md.
func WriteTorchScript(w io.Writer, s Script, entries []Entry, emit Emit) error {
	if err := s.check(entries); err != nil {
		return fmt.Errorf("checkpoint: archive of TorchScript: %w", err)
	}
	root := s.modules(entries)
	var code bytes.Buffer
	root.code(&code, map[string]bool{})
	p := &pickleWriter{}
	p.WriteString("\x80\x02") // PROTO 2
	p.script(root, entries)
	p.WriteByte('.') // STOP
	return writeArchive(w, []record{
		{"data.pkl", p.Bytes()},
		{"code/" + scriptRoot + ".py", code.Bytes()},
		{"constants.pkl", []byte("\x80\x02).")}, // PROTO 2 EMPTY_TUPLE STOP
	}, entries, emit)
}
