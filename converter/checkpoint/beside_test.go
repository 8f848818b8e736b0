package checkpoint

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// bytesOf writes bytes as protocol 3 does.
func (p *pickler) bytesOf(n int) *pickler {
	p.op("B")
	binary.Write(p, binary.LittleEndian, uint32(n))
	return p.op(strings.Repeat("\xff", n))
}

// beside returns a pickle of a state_dict with the tensor w beside which stands what f writes, as an entry and as the value
// of an entry.
func beside(f func(p *pickler)) []byte {
	p := newPickler().op("}(").str("extra")
	f(p)
	p.str("state_dict").op("}(").str("w").tensor(good)
	return p.op("uu.").Bytes()
}

// besides are pickles of a state_dict with what training programs keep beside it, in the operations that Python writes for
// it in protocols 2 to 5.
func besides() map[string][]byte {
	obj := func(module, name string, build func(p *pickler)) func(p *pickler) {
		return func(p *pickler) {
			p.global(module, name).op(")\x81")
			build(p)
		}
	}
	named := func(s string) func(p *pickler) { // the operations of protocol 4 and 5
		return func(p *pickler) { p.op(s) }
	}
	all := map[string][]byte{}
	for name, f := range map[string]func(p *pickler){
		"set":                  named("\x8f\x94(K\x01\x8c\x01a\x94\x90"),
		"set of bytes":         named("\x8f(C\x01aC\x01b\x90"),
		"frozenset":            named("(K\x01K\x02\x91\x94"),
		"bytes":                func(p *pickler) { p.bytesOf(5000) },
		"bytes of 8":           named("\x8e\x03\x00\x00\x00\x00\x00\x00\x00abc"),
		"bytearray":            named("\x96\x03\x00\x00\x00\x00\x00\x00\x00abc"),
		"string of 8":          named("\x8d\x03\x00\x00\x00\x00\x00\x00\x00abc"),
		"string of 100 kB":     func(p *pickler) { p.str(strings.Repeat("ä", 50000)) },
		"integer of 20 bytes":  named("\x8a\x14" + strings.Repeat("\xfe", 20)),
		"integer of 300 bytes": named("\x8b\x2c\x01\x00\x00" + strings.Repeat("\xfe", 300)),
		"dtype":                func(p *pickler) { p.global("torch", "float16") },
		"strange dtype":        func(p *pickler) { p.global("torch", "float4_e2m1fn_x2") },
		"function":             func(p *pickler) { p.global("__main__", "collate") },
		"Counter":              func(p *pickler) { p.global("collections", "Counter").op("}").str("a").op("K\x01s\x85R") },
		"defaultdict": func(p *pickler) {
			p.global("collections", "defaultdict").global("builtins", "list").op("\x85R").str("k").op("]s")
		},
		"OrderedDict of pairs": func(p *pickler) { p.global("collections", "OrderedDict").op("](](").str("a").op("K\x01ee\x85R") },
		"NumPy number": func(p *pickler) {
			p.global("numpy._core.multiarray", "scalar").global("numpy", "dtype").str("i8").op("\x89\x88\x87R(K\x03").str("<").op("NNNK\xffK\xffK\x00tb").bytesOf(8).op("\x86R")
		},
		"NumPy array": func(p *pickler) {
			p.global("numpy.core.multiarray", "_reconstruct").global("numpy", "ndarray").op("K\x00\x85C\x01b\x87R(K\x01K\x03\x85NNC\x04abcdtb")
		},
		"array.array": func(p *pickler) {
			p.global("array", "_array_reconstructor").op("(").global("array", "array").str("d").op("K\x0eC\x08abcdefghtR")
		},
		"Namespace": obj("argparse", "Namespace", func(p *pickler) { p.op("}").str("lr").op("G?PbM\xd2\xf1\xa9\xfcsb") }),
		"Path":      func(p *pickler) { p.global("pathlib", "PosixPath").op("(").str("/").str("x").op("tR") },
		"enum": func(p *pickler) {
			p.global("torchvision.transforms.functional", "InterpolationMode").str("bicubic").op("\x85R")
		},
		"slots":                   obj("a.b", "C", func(p *pickler) { p.op("N}").str("x").op("K\x01s\x86b") }),
		"class derived from list": obj("a.b", "L", func(p *pickler) { p.op("(").str("x").op("K\x01e") }),
		"class derived from dict": obj("a.b", "D", func(p *pickler) { p.str("x").op("K\x01s") }),
		"keyword arguments":       func(p *pickler) { p.global("a.b", "C").op(")}").str("x").op("K\x01s\x92") },
		"nested name":             named("\x8c\x08builtins\x94\x8c\x07getattr\x94\x93\x94\x8c\x01m\x94\x8c\x01C\x94\x93\x94\x8c\x01f\x94\x86R\x94)R"),
		"extension":               named("\x82\x05)\x81"),
		"complex": func(p *pickler) {
			p.global("builtins", "complex").op("G?PbM\xd2\xf1\xa9\xfcG?PbM\xd2\xf1\xa9\xfc\x86R")
		},
		"_codecs.encode":            func(p *pickler) { p.global("_codecs", "encode").str("\u00ff").str("latin1").op("\x86R") },
		"os.system":                 func(p *pickler) { p.global("os", "system").str("id").op("\x85R") },
		"recursive tuple":           named("(]q\x07(h\x07K\x01tq\x08aK\x011h\x08"),
		"recursive object":          obj("a.b", "C", func(p *pickler) { p.op("q\x05}").str("me").op("h\x05sb") }),
		"quantized tensor":          func(p *pickler) { p.global("torch._utils", "_rebuild_qtensor").op(")R") },
		"tensor of another class":   func(p *pickler) { p.global("torch.distributed.tensor", "DTensor").op(")R") },
		"reference of another kind": func(p *pickler) { p.op("(").str("rref").op("K\x01tQ") },
		"storage of another class":  func(p *pickler) { p.op("(").str("storage").global("torch_xla", "S").str("7").str("cpu").op("K\x01tQ") },
		"history of a long training": func(p *pickler) {
			p.op("]")
			for range 400 { // 400,000 numbers are more operations than gopickle is given
				p.op("(" + strings.Repeat("K\x01", 1000) + "e")
			}
		},
	} {
		all[name] = beside(f)
	}
	return all
}

// TestBesides: what stands beside the weights is skipped, whatever it is.
func TestBesides(t *testing.T) {
	for name, pickle := range besides() {
		for form, b := range map[string][]byte{"zip": torchZip(t, pickle), "legacy": legacyOf(pickle, []string{"0"}, sized(floats(6)))} {
			c, err := openBytes(b)
			if err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
				continue
			}
			if got := fmt.Sprint(c.Names()); got != "[w]" {
				t.Errorf("%s, %s: tensors are %s, want [w]", name, form, got)
			}
		}
	}
}

// module returns a pickled module of torch's of a class that is not known here.
func (p *pickler) module(class string, parameters, modules func(p *pickler)) *pickler {
	p.global("__main__", class).op(")\x81}(").str("training").op("\x88").str("_parameters").op("}")
	parameters(p)
	p.str("_buffers").op("}(").str("kept").tensor(good).str("mask").tensor(good).op("u").str("_non_persistent_buffers_set").op("\x8f(").str("mask").op("\x90")
	p.str("_modules").global("collections", "OrderedDict").op(")R")
	modules(p)
	return p.str("other").tensor(good).op("ub")
}

func TestWherePickledWeightsAre(t *testing.T) {
	none := func(*pickler) {}
	w := func(p *pickler) { p.str("w").tensor(good).op("s") }
	dict := func(p *pickler) { p.op("}"); w(p) }
	under := func(p *pickler, key string, f func(p *pickler)) { p.str(key); f(p); p.op("s") }
	for _, c := range []struct {
		name string
		f    func(p *pickler)
		want string
	}{
		{"module", func(p *pickler) { p.module("CLIP", w, none) }, "kept w"},
		{"module in a module", func(p *pickler) {
			p.module("CLIP", w, func(p *pickler) { under(p, "visual", func(p *pickler) { p.module("ViT", w, none) }) })
		}, "kept visual.kept visual.w w"},
		{"what is made of a module", func(p *pickler) {
			p.global("torch._dynamo.eval_frame", "OptimizedModule").module("CLIP", w, none).op("K\x01\x86R")
		}, "kept w"},
		{"module of protocol 2", func(p *pickler) {
			p.global("__main__", "M").op(")\x81}(").str("_parameters").op("}").str("w").tensor(good).op("s").str("_modules").op("}").str("_buffers").op("}").str("mask").tensor(good)
			p.op("s").str("_non_persistent_buffers_set").global("__builtin__", "set").op("](").str("mask").op("e\x85Rub")
		}, "w"},
		{"module under a key", func(p *pickler) { p.op("}"); under(p, "model", func(p *pickler) { p.module("CLIP", w, none) }) }, "kept w"},
		{"object with a state_dict", func(p *pickler) {
			p.global("__main__", "State").op(")\x81}").str("epoch").op("K\x01s")
			under(p, "model", dict)
			p.op("b")
		}, "w"},
		{"class derived from dict", func(p *pickler) { p.global("easydict", "EasyDict").op(")\x81"); under(p, "state_dict", dict) }, "w"},
		{"DeepSpeed's within Lightning's", func(p *pickler) {
			p.op("}")
			under(p, "state_dict", func(p *pickler) { p.op("}"); under(p, "module", dict) })
		}, "w"},
		{"average alone", func(p *pickler) { p.op("}").str("epoch").op("K\x01s"); under(p, "ema", dict) }, "w"},
		{"average beside", func(p *pickler) {
			p.op("}")
			under(p, "ema", func(p *pickler) { p.op("}"); under(p, "average", dict) })
			under(p, "model", dict)
		}, "w"},
		{"a configuration called model", func(p *pickler) {
			p.op("}")
			under(p, "model", func(p *pickler) { p.op("}").str("name").str("ViT-B-32").op("s") })
			under(p, "net", dict)
		}, "w"},
		{"parameter with attributes", func(p *pickler) {
			p.op("}").str("w").global("torch._tensor", "_rebuild_from_type_v2").op("(").global("torch._utils", "_rebuild_parameter").global("torch.nn.parameter", "Parameter")
			p.tensor(good).op("\x88").global("collections", "OrderedDict").op(")R\x87}").str("x").op("K\x01stRs")
		}, "w"},
		{"kinds that are not read", func(p *pickler) {
			dict(p)
			under(p, "q", func(p *pickler) { p.global("torch._utils", "_rebuild_qtensor").op(")R") })
			under(p, "a", func(p *pickler) { p.global("numpy.core.multiarray", "_reconstruct").op(")R") })
		}, "w"},
	} {
		p := newPickler()
		c.f(p)
		f, err := openBytes(torchZip(t, p.op(".").Bytes()))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		names := f.Names()
		slices.Sort(names)
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: tensors are %s, want %s", c.name, got, c.want)
		}
		if kind, ok := f.Unread()["q"]; ok && kind != "quantized" || ok != (c.name == "kinds that are not read") {
			t.Errorf("%s: q is %q, %v", c.name, kind, ok)
		}
	}
}

// TestYoungTypes: torch writes types that are younger than its classes of storages with _rebuild_tensor_v3.
func TestYoungTypes(t *testing.T) {
	p := newPickler().op("}").str("w").global("torch._utils", "_rebuild_tensor_v3").op("((").str("storage").global("torch.storage", "UntypedStorage")
	p.str("0").str("cpu").int(24).op("tQ").int(1).ints([]int64{2, 2}).ints([]int64{3, 1}).op("\x89").global("collections", "OrderedDict").op(")R")
	p.global("torch", "float32").op("NtRs").str("v").global("torch._utils", "_rebuild_tensor_v3").op("((").str("storage").global("torch.storage", "UntypedStorage")
	p.str("0").str("cpu").int(24).op("tQ").int(0).ints([]int64{12}).ints([]int64{1}).op("\x89").global("collections", "OrderedDict").op(")R")
	pickle := p.global("torch", "uint16").op("NtRs.").Bytes()
	legacy := binary.LittleEndian.AppendUint64(nil, 24)
	for form, b := range map[string][]byte{"zip": torchZip(t, pickle), "legacy": legacyOf(pickle, []string{"0"}, append(legacy, floats(6)...))} {
		c, err := openBytes(b)
		if err != nil {
			t.Fatal(form, err)
		}
		w, _ := c.Tensor("w")
		got := make([]float32, 4)
		if err := w.Float32s(got); err != nil || fmt.Sprint(got) != "[1 2 4 5]" {
			t.Errorf("%s: w is %v (%v), want [1 2 4 5]", form, got, err)
		}
		if v, _ := c.Tensor("v"); v.DType != "U16" || v.Len() != 12 {
			t.Errorf("%s: v is %s %v", form, v.DType, v.Shape)
		}
		if _, err := c.SHA256(t.Context()); err != nil {
			t.Error(form, err)
		}
		if err := c.Verify(t.Context(), c.Tensors()...); err != nil {
			t.Error(form, err)
		}
	}
}

// TestLibraries: files as libraries save them.
func TestLibraries(t *testing.T) {
	for file, c := range map[string]struct {
		want   string // names
		tensor string // that is the numbers 0 to 5
	}{
		"beside2.pt": {"w", "w"}, "beside5.pt": {"w", "w"}, "beside_legacy2.pt": {"w", "w"}, "legacy5.pt": {"w", "w"}, "mmengine.pth": {"w", "w"},
		"module.pt": {"w", "w"}, "module_legacy.pt": {"w", "w"}, "parallel.pt": {"module.w", "module.w"}, "averaged.pt": {"module.w n_averaged", "module.w"},
		"script.pt": {"mask w", "w"}, "tied.safetensors": {"v w", "w"}, "beside.npz": {"w", "w"},
	} {
		f, err := Open(golden.Path(t, "testdata/containers/"+file))
		if err != nil {
			t.Error(err)
			continue
		}
		names := f.Names()
		slices.Sort(names)
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: tensors are %s, want %s", file, got, c.want)
		}
		got := make([]float32, 6)
		if w, ok := f.Tensor(c.tensor); !ok || fmt.Sprint(w.Shape) != "[2 3]" {
			t.Errorf("%s: %s is %+v, want [2 3]", file, c.tensor, w)
		} else if err := w.Float32s(got); err != nil || fmt.Sprint(got) != "[0 1 2 3 4 5]" {
			t.Errorf("%s: %s is %v (%v)", file, c.tensor, got, err)
		}
		if _, err := f.SHA256(t.Context()); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		f.Close()
	}
}

// TestPartitioned: DeepSpeed's files of ZeRO stage 3 have tensors without elements, and the sentence says what to do.
func TestPartitioned(t *testing.T) {
	empty := good
	empty.shape, empty.strides = []int64{0}, []int64{1}
	file := func(w pickled) []byte {
		p := newPickler().op("}(").str("module").op("}").str("w").tensor(w).op("s").str("param_shapes").op("]").str("ds_version").str("0.17.0")
		return torchZip(t, p.op("u.").Bytes())
	}
	if _, err := openBytes(file(empty)); err == nil || !strings.Contains(err.Error(), "zero_to_fp32.py") {
		t.Errorf("error is %v, want that zero_to_fp32.py merges", err)
	}
	if _, err := openBytes(file(good)); err != nil {
		t.Error(err)
	}
}

// TestSafetensorsOfTheLibrary: what the library of safetensors 0.8.0 reads.
func TestSafetensorsOfTheLibrary(t *testing.T) {
	const w = `"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}`
	for _, c := range []struct{ header, want string }{
		{`{"__metadata__":null,` + w + `}`, "[w]"},
		{"\n  {" + w + "}  ", "[w]"},
		{`{"z":{"dtype":"F32","shape":[0,768],"data_offsets":[0,0]},` + w + `}`, "[z w]"},
		{`{"z":{"dtype":"F32","shape":[0],"data_offsets":[24,24]},` + w + `}`, "[z w]"},
		{`{"q":{"dtype":"F4","shape":[8],"data_offsets":[24,28]},"c":{"dtype":"C64","shape":[1],"data_offsets":[28,36]},` + w + `}`, "[c w]"},
		{`{"q":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[24,26]},"x":{"dtype":"NEW","shape":[2],"data_offsets":[26,29]},` + w + `}`, "[q w]"},
	} {
		data := 24
		for _, end := range []int{26, 28, 29, 36} {
			if strings.Contains(c.header, fmt.Sprintf(",%d]", end)) {
				data = max(data, end)
			}
		}
		f, err := openBytes(safetensorsOf(c.header, data))
		if err != nil {
			t.Errorf("%s: %v", c.header, err)
			continue
		}
		if got := fmt.Sprint(f.Names()); got != c.want {
			t.Errorf("%s: tensors are %s, want %s", c.header, got, c.want)
		}
	}
	f, err := openBytes(safetensorsOf(`{"__metadata__":{"format":"pt","v":"w","w":"v"},`+w+`}`, 24))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := f.Tensor("v"); !ok || v.Name != "v" || v.Len() != 6 || fmt.Sprint(f.Names()) != "[w v]" {
		t.Errorf("v is another name of w, and is %+v of %v", v, f.Names())
	}
}
