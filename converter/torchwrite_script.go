package converter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
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

// scriptModules returns the tree of modules that the names of entries make. OpenAI's MLPs have a module
// of the activation as well, which has no tensors but a class by which it is known.
//
// Source: openai/CLIP, clip/model.py, ResidualAttentionBlock.
func scriptModules(entries []safetensor) *scriptModule {
	n := 0
	module := func(class string) *scriptModule {
		return &scriptModule{class: class, modules: map[string]*scriptModule{}}
	}
	root := module("CLIP")
	for i, e := range entries {
		m := root
		path := strings.Split(e.name, ".")
		for _, name := range path[:len(path)-1] {
			child := m.modules[name]
			if child == nil {
				n++
				child = module("Module" + strconv.Itoa(n))
				m.modules[name] = child
				m.names = append(m.names, name)
				if name == "mlp" {
					child.modules["gelu"] = module("QuickGELU")
					child.names = []string{"gelu"}
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
func (p *pickleWriter) script(m *scriptModule, entries []safetensor) {
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

// writeScript writes an archive of TorchScript that holds the tensors as parameters of modules without
// code. Its state_dict is that of the original module, which is all that clip.load asks of it.
//
// Source: pytorch/pytorch, torch/csrc/jit/docs/serialization.md.
func writeScript(w io.Writer, entries []safetensor, emit func(i int, w io.Writer) error) error {
	root := scriptModules(entries)
	var code bytes.Buffer
	root.code(&code, map[string]bool{})
	p := &pickleWriter{}
	p.WriteString("\x80\x02") // PROTO 2
	p.script(root, entries)
	p.WriteByte('.') // STOP
	return writeArchive(w, []namedFile{
		{"data.pkl", p.Bytes()},
		{"code/" + scriptRoot + ".py", code.Bytes()},
		{"constants.pkl", []byte("\x80\x02).")}, // PROTO 2 EMPTY_TUPLE STOP
	}, entries, emit)
}

// writeScript writes the tensors as OpenAI's archives have them.
func (o *output) writeScript(ctx context.Context, f *os.File) error {
	return o.writeBuffered(ctx, f, func(w io.Writer, emit func(i int, w io.Writer) error) error {
		return writeScript(w, o.entries, emit)
	})
}
