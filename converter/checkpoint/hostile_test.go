package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// with returns good with a change.
func with(edit func(p *pickled)) pickled {
	p := good
	edit(&p)
	return p
}

// wrapped returns a pickle of a dictionary whose only value is what f writes.
func wrapped(f func(p *pickler)) []byte {
	p := newPickler().op("}(").str("w")
	f(p)
	return p.op("u.").Bytes()
}

// goodFiles are small files of every kind, each with the tensor w as good has it.
func goodFiles(t testing.TB) map[string][]byte {
	deflated := zipOf(t, entry{name: "m/data.pkl", data: stateDictOf(good), method: zip.Deflate}, entry{name: "m/data/0", data: floats(6), method: zip.Deflate})
	noCRC := func(h *zip.FileHeader) { h.CRC32 = 0 }
	return map[string][]byte{
		"zip":              torchZip(t, stateDictOf(good)),
		"deflated":         deflated,
		"without checksum": zipOf(t, entry{"m/data.pkl", stateDictOf(good), 0, noCRC}, entry{"m/data/0", floats(6), 0, noCRC}),
		"legacy":           legacyOf(stateDictOf(good), []string{"0"}, sized(floats(6))),
		"wrapped":          torchZip(t, newPickler().op("}(").str("epoch").int(3).str("state_dict").op("}(").str("w").tensor(good).op("uu.").Bytes()),
		"parameter": torchZip(t, wrapped(func(p *pickler) {
			p.global("torch._utils", "_rebuild_parameter").op("(").tensor(good).op("\x88").global("collections", "OrderedDict").op(")RtR")
		})),
		"TorchScript": torchZip(t, newPickler().global("__torch__.any.Thing", "Thing").op(")\x81}(").str("w").tensor(good).str("training").op("\x88ub.").Bytes(), entry{name: "m/constants.pkl"}),
		"protocol 4": torchZip(t, func() []byte {
			body := stateDictOf(good)[2:]
			return append(binary.LittleEndian.AppendUint64([]byte("\x80\x04\x95"), uint64(len(body))), body...)
		}()),
		"npz":          zipOf(t, entry{name: "w.npy", data: npyOf(plainNPY, floats(6))}),
		"npz deflated": zipOf(t, entry{name: "w.npy", data: npyOf(plainNPY, floats(6)), method: zip.Deflate}),
		"safetensors":  append(safetensorsOf(`{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}  `, 0), floats(6)...),
	}
}

func TestGoodFilesOpen(t *testing.T) {
	for name, b := range goodFiles(t) {
		t.Run(name, func(t *testing.T) {
			c, err := openBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			x, ok := c.Tensor("w")
			if !ok || len(c.Names()) != 1 {
				t.Fatalf("tensors are %v, want w", c.Names())
			}
			got := make([]float32, 6)
			if err := x.Float32s(got); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got, x.Shape) != "[0 1 2 3 4 5] [2 3]" {
				t.Errorf("w is %v %v", got, x.Shape)
			}
			if _, err := c.SHA256(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// doubled returns a pickle of lists that each hold the one before twice, n deep: printed it would
// have 2ⁿ parts.
func doubled(n int) []byte {
	p := newPickler().op(strings.Repeat("]", n+1))
	for i := range n {
		p.op("q" + string(rune(i)) + "ah" + string(rune(i)) + "a")
	}
	return p.op(".").Bytes()
}

// TestHostile opens files that want to do harm or are broken. Every error must say what was found
// and what was wanted.
func TestHostile(t *testing.T) {
	sd := stateDictOf(good)
	ok := torchZip(t, sd)
	storage := entry{name: "m/data/0", data: floats(6)}
	pickle := entry{name: "m/data.pkl", data: sd}
	st := func(shape, offsets string) []byte {
		return safetensorsOf(`{"w":{"dtype":"F32","shape":`+shape+`,"data_offsets":`+offsets+`}}`, 24)
	}
	nested := newPickler()
	for range 70 {
		nested.op("}(").str("k")
	}
	nested.tensor(good).op(strings.Repeat("u", 70) + ".")
	for _, c := range []struct {
		name string
		data []byte
		want []string // all of these
	}{
		// Containers.
		{"empty file", nil, []string{"test.pt", "not a TorchScript archive", "0 bytes"}},
		{"text", []byte("<html>404"), []string{"not a TorchScript archive", "<html>404"}},
		{"pointer of Git LFS", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0"), []string{"a pointer of Git LFS", "git lfs pull", "not a TorchScript archive"}},
		{"tar", append(append([]byte("pickle"), make([]byte, 251)...), "ustar\x0000"...), []string{"a tar archive", "save it again with torch"}},
		{"gzip", []byte("\x1f\x8b\x08\x00"), []string{"compressed by gzip: unpack it"}},
		{"pickle of another", []byte("\x80\x04}."), []string{"none that torch.save wrote"}},
		{"protocol 0", torchZip(t, []byte("(dp0\n.")), []string{"operation 0x64 at byte 1", "protocol 0 or 1, want 2 to 5"}},
		{"list of tensors", torchZip(t, newPickler().op("]").tensor(good).op("a.").Bytes()), []string{"holds a list, want a dictionary"}},
		{"tensor alone", torchZip(t, newPickler().tensor(good).op(".").Bytes()), []string{"holds a tensor, want a dictionary"}},
		{"GGUF", []byte("GGUF\x03\x00\x00\x00"), []string{"test.pt: GGUF is written, not read", "not a TorchScript archive"}},
		{"truncated zip", ok[:len(ok)/2], []string{"zip", "cut short", fmt.Sprint(len(ok)/2, " bytes")}},
		{"zip of something else", zipOf(t, entry{name: "word/document.xml"}), []string{"none of 1 entries", "data.pkl"}},
		{"data.pkl too deep", zipOf(t, entry{name: "a/b/data.pkl", data: sd}), []string{"data.pkl", "not an archive of torch"}},
		{"data.pkl without folder", zipOf(t, entry{name: "/data.pkl", data: sd}), []string{"has no folder"}},
		{"DATA.PKL", zipOf(t, entry{name: "m/DATA.PKL", data: sd}, storage), []string{"m/DATA.PKL", "lower case"}},
		{"data.pkl and Data.pkl", torchZip(t, sd, entry{name: "x/Data.pkl"}), []string{"x/Data.pkl", "lower case"}},
		{"two data.pkl", torchZip(t, sd, entry{name: "x/data.pkl"}), []string{"two entries are data.pkl", `"m"`, `"x"`}},
		{"duplicate entry", torchZip(t, sd, storage), []string{"two entries are called", "m/data/0"}},
		{"encrypted", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.Flags |= 1 }}), []string{"m/data/0", "encrypted"}},
		{"strongly encrypted", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.Flags |= 1 << 6 }}), []string{"m/data/0", "encrypted"}},
		{"strange compression", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.Method = 12 }}), []string{"m/data/0", "method 12"}},
		{"stored sizes differ", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.UncompressedSize64 = 1 << 40 }}), []string{"m/data/0", "24 bytes", "1099511627776"}},
		{"stored beyond the end", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.UncompressedSize64, h.CompressedSize64 = 1<<40, 1<<40 }}), []string{"m/data/0", "1099511627776"}},
		{"deflate bomb", zipOf(t, pickle, entry{name: "m/data/0", data: make([]byte, 20<<20), method: zip.Deflate}), []string{"at most 16 times"}},
		{"deflate claims too much", zipOf(t, pickle, entry{"m/data/0", floats(6), 0, func(h *zip.FileHeader) { h.Method = zip.Deflate; h.UncompressedSize64 = 1 << 50 }}), []string{"at most 16 times"}},
		{"damaged pickle", zipOf(t, entry{"m/data.pkl", sd, 0, func(h *zip.FileHeader) { h.CRC32 ^= 1 }}, storage), []string{"data.pkl is damaged", "CRC-32"}},
		{"big-endian", torchZip(t, sd, entry{name: "m/byteorder", data: []byte("big")}), []string{"byte order", "big", "little"}},
		{"overlapping entries", overlapping(t), []string{"overlap", "m/data/"}},

		// Storages and tensors.
		{"no storage", zipOf(t, pickle), []string{`no entry "m/data/0"`}},
		{"storage too short", zipOf(t, pickle, entry{name: "m/data/0", data: floats(5)}), []string{"m/data/0", "20 bytes", "want 24", "6 elements of F32"}},
		{"storage too long", zipOf(t, pickle, entry{name: "m/data/0", data: floats(7)}), []string{"m/data/0", "28 bytes", "want 24"}},
		{"storage of another type", torchZip(t, stateDictOf(good, with(func(p *pickled) { p.name, p.class, p.elements = "v", "HalfStorage", 12 }))), []string{"m/data/0", "F32", "F16"}},
		{"negative storage", torchZip(t, stateDictOf(with(func(p *pickled) { p.elements = -6 }))), []string{"-6 elements"}},
		{"absurd storage", torchZip(t, stateDictOf(with(func(p *pickled) { p.elements = 1 << 62 }))), []string{"4611686018427387904 elements"}},
		{"storage of another folder", torchZip(t, stateDictOf(with(func(p *pickled) { p.key = "../data/0" }))), []string{"no entry"}},
		{"shape beyond storage", torchZip(t, stateDictOf(with(func(p *pickled) { p.shape = []int64{3, 3} }))), []string{"w:", "[3 3]", "6 elements"}},
		{"offset beyond storage", torchZip(t, stateDictOf(with(func(p *pickled) { p.offset = 1 }))), []string{"w:", "offset 1", "6 elements"}},
		{"stride beyond storage", torchZip(t, stateDictOf(with(func(p *pickled) { p.strides = []int64{4, 1} }))), []string{"w:", "[4 1]", "6 elements"}},
		{"negative shape", torchZip(t, stateDictOf(with(func(p *pickled) { p.shape = []int64{-2, -3} }))), []string{"w:", "negative"}},
		{"negative stride", torchZip(t, stateDictOf(with(func(p *pickled) { p.strides = []int64{-3, 1} }))), []string{"w:", "negative"}},
		{"negative offset", torchZip(t, stateDictOf(with(func(p *pickled) { p.offset = -1 }))), []string{"w:", "offset -1"}},
		{"shape that overflows", torchZip(t, stateDictOf(with(func(p *pickled) { p.shape = []int64{1 << 32, 1 << 32} }))), []string{"w:", "claims more"}},
		{"zero beside absurd", torchZip(t, stateDictOf(with(func(p *pickled) { p.shape = []int64{0, 1 << 60} }))), []string{"w:", "claims more"}},
		{"strides that overflow", torchZip(t, stateDictOf(with(func(p *pickled) { p.strides = []int64{1 << 62, 1 << 62} }))), []string{"w:", "beyond"}},
		{"stride 0 makes much of little", torchZip(t, stateDictOf(with(func(p *pickled) { p.shape, p.strides = []int64{100, 1000}, []int64{0, 0} }))), []string{"w:", "claims more"}},
		{"strides missing", torchZip(t, stateDictOf(with(func(p *pickled) { p.strides = []int64{1} }))), []string{"w:", "2 dimensions and 1 strides"}},
		{"too many dimensions", torchZip(t, stateDictOf(with(func(p *pickled) {
			p.shape, p.strides = []int64{1, 1, 1, 1, 1, 1, 1, 1, 1}, make([]int64, 9)
		}))), []string{"w:", "9 dimensions"}},
		{"one storage for everybody", torchZip(t, stateDictOf(many(5, nil)...)), []string{"claim 120 bytes", "hold 24", "4 times"}},
		{"two tensors of one name", torchZip(t, stateDictOf(good, good)), []string{"two tensors are called w"}},
		{"name that cannot be shown", torchZip(t, stateDictOf(with(func(p *pickled) { p.name = "a\x1b[2J" }))), []string{"cannot be shown"}},
		{"name too long", torchZip(t, stateDictOf(with(func(p *pickled) { p.name = strings.Repeat("x", 600) }))), []string{"longer than any"}},
		{"no tensors", torchZip(t, newPickler().op("}.").Bytes()), []string{"without tensors"}},
		{"no dictionary", torchZip(t, newPickler().int(7).op(".").Bytes()), []string{"without tensors"}},

		// Pickles.
		{"os.system", torchZip(t, newPickler().global("os", "system").str("id").op("\x85R.").Bytes()), []string{`without tensors: it holds a pickled "os.system"`}},
		{"posix.system by STACK_GLOBAL", torchZip(t, newPickler().str("posix").str("system").op("\x93.").Bytes()), []string{"without tensors"}},
		{"builtins.eval", torchZip(t, newPickler().global("builtins", "eval").str("1").op("\x85R.").Bytes()), []string{`a pickled "builtins.eval"`}},
		{"STACK_GLOBAL of numbers", torchZip(t, newPickler().int(1).int(2).op("\x93.").Bytes()), []string{"STACK_GLOBAL at byte 12", "no strings"}},
		{"a class called torch-like", torchZip(t, newPickler().global("__torch__evil", "x").op(")R.").Bytes()), []string{`a pickled "__torch__evil.x"`}},
		{"gopickle's own classes", torchZip(t, newPickler().global("copy_reg", "_reconstructor").op(")R.").Bytes()), []string{`a pickled "copy_reg._reconstructor"`}},
		{"untyped storage", torchZip(t, newPickler().global("torch.storage", "UntypedStorage").op(".").Bytes()), []string{"without tensors"}},
		{"text integer", torchZip(t, []byte("\x80\x02I12\n.")), []string{"operation 0x49 at byte 2"}},
		{"INST", torchZip(t, []byte("\x80\x02(ios\nsystem\n.")), []string{"operation 0x69"}},
		{"bytes of 2⁶² bytes", torchZip(t, append(binary.LittleEndian.AppendUint64([]byte("\x80\x04\x8e"), 1<<62), '.')), []string{"BINBYTES8 at byte 2", "claims 4611686018427387904 bytes, want at most 67108864"}},
		{"bytes longer than the file", torchZip(t, []byte("\x80\x04B\x00\x10\x00\x00ab.")), []string{"BINBYTES at byte 2: claims 4096 bytes, has 3"}},
		{"buffer that is elsewhere", torchZip(t, []byte("\x80\x05\x97.")), []string{"operation 0x97"}},
		{"string of 4 GB", torchZip(t, []byte("\x80\x02X\xff\xff\xff\xffab.")), []string{"BINUNICODE at byte 2", "4294967295"}},
		{"string longer than the file", torchZip(t, []byte("\x80\x02X\x00\x10\x00\x00ab.")), []string{"claims 4096 bytes, has 3"}},
		{"integer of 255 bytes", torchZip(t, []byte("\x80\x02\x8a\xff"+strings.Repeat("x", 255)+".")), []string{"without tensors"}},
		{"integer of 0 bytes", torchZip(t, []byte("\x80\x02\x8a\x00.")), []string{"without tensors"}},
		{"integer of 4 GB", torchZip(t, []byte("\x80\x02\x8b\xff\xff\xff\xff.")), []string{"LONG4 at byte 2: claims 4294967295 bytes"}},
		{"frame of 2⁶³ bytes", torchZip(t, []byte("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.")), []string{"FRAME", "9223372036854775807"}},
		{"global without end", torchZip(t, []byte("\x80\x02c"+strings.Repeat("x", 5000))), []string{"GLOBAL", "1024"}},
		{"memo never filled", torchZip(t, []byte("\x80\x02h\x05.")), []string{"memo has no 5"}},
		{"stack too low", torchZip(t, []byte("\x80\x02R.")), []string{"REDUCE at byte 2", "takes 2", "stack of 0"}},
		{"operand below the mark", torchZip(t, []byte("\x80\x02N(b.")), []string{"BUILD at byte 4"}},
		{"tuple without mark", torchZip(t, []byte("\x80\x02t.")), []string{"TUPLE at byte 2 without a mark"}},
		{"odd items", torchZip(t, []byte("\x80\x02}(Nu.")), []string{"SETITEMS", "1 keys and values"}},
		{"left over values", torchZip(t, []byte("\x80\x02NN.")), []string{"STOP", "leaves 1 values"}},
		{"no STOP", torchZip(t, sd[:len(sd)-1]), []string{"pickle: ends at byte", "EOF"}},
		{"bytes after STOP", torchZip(t, append(bytes.Clone(sd), "more"...)), []string{"4 bytes after"}},
		{"marks without end", torchZip(t, []byte("\x80\x02"+strings.Repeat("(", 100))), []string{"64 nested marks"}},
		{"operations without end", torchZip(t, []byte("\x80\x02"+strings.Repeat("N", maxOps+1)), entry{name: "pad", data: make([]byte, 1<<16)}), []string{"more than 262144 operations"}},
		{"pickle too long", torchZip(t, append(bytes.Clone(sd), make([]byte, maxPickle)...)), []string{"m/data.pkl", "at most 67108864"}},
		{"dictionary in itself", torchZip(t, []byte("\x80\x02}q\x00(X\x01\x00\x00\x00kh\x00u.")), []string{`"k" contains itself`}},
		{"object in itself", torchZip(t, []byte("\x80\x02c__torch__\nM\n)\x81q\x00}(X\x01\x00\x00\x00kh\x00ub.")), []string{`"k" contains itself`}},
		{"nested too deep", torchZip(t, nested.Bytes()), []string{"nested marks"}},
		{"dictionary of dictionaries", torchZip(t, deepDicts(100)), []string{"objects deep"}},
		{"exponentially many paths", torchZip(t, lattice(40)), []string{"more than", "objects in a pickle of so many bytes"}},
		{"function as key", torchZip(t, newPickler().global("collections", "OrderedDict").op(")R(").global("torch._utils", "_rebuild_tensor_v2").op("Nu.").Bytes()), []string{"without tensors"}},
		{"state that is no dictionary", torchZip(t, newPickler().global("__torch__", "M").op(")\x81Nb.").Bytes()), []string{"state of a TorchScript object"}},
		{"call of what is no function", torchZip(t, newPickler().int(1).op(")R.").Bytes()), []string{"pickle:", "REDUCE"}},
		{"tensor of nothing", torchZip(t, newPickler().global("torch._utils", "_rebuild_tensor_v2").op(")R.").Bytes()), []string{"0 arguments, want at least 4"}},
		{"tensor of strings", torchZip(t, newPickler().global("torch._utils", "_rebuild_tensor_v2").op("(").str("a").str("b").str("c").str("d").op("tR.").Bytes()), []string{"want storage, offset, shape and strides"}},
		{"whole module", torchZip(t, newPickler().op("(").str("module").op("NNNNtQ.").Bytes()), []string{"module", "state_dict"}},
		{"averages of two kinds", torchZip(t, newPickler().op("}(").str("student").op("}(").str("w").tensor(good).op("u").str("teacher").op("}(").str("w").tensor(good).op("uu.").Bytes()), []string{"student and teacher"}},
		{"only a tensor that is not read", torchZip(t, wrapped(func(p *pickler) { p.global("torch._utils", "_rebuild_qtensor").op(")R") })), []string{"without tensors that can be read: w: quantized"}},
		{"view of a storage", torchZip(t, newPickler().op("(").str("storage").global("torch", "FloatStorage").str("0").str("cpu").int(6).op("(").str("v").int(0).int(6).op("ttQ.").Bytes()), []string{"view of another"}},
		{"identifier of nothing", torchZip(t, []byte("\x80\x02)Q.")), []string{"persistent identifier"}},

		// Legacy files.
		{"legacy: only the magic", legacyMagic, []string{"legacy", "ends at byte 0"}},
		{"legacy: another version", append(bytes.Clone(legacyMagic), newPickler().int(9).op(".").Bytes()...), []string{"version is 9, want 1001"}},
		{"legacy: a version that holds itself", append(bytes.Clone(legacyMagic), "\x80\x02}q\x00K\x01h\x00s."...), []string{"version is *types.Dict, want 1001"}},
		{"legacy: a version that is large", append(bytes.Clone(legacyMagic), doubled(30)...), []string{"version is *types.List, want 1001"}},
		{"a storage that holds itself", torchZip(t, []byte("\x80\x02(}q\x00K\x01h\x00sK\x01K\x01K\x01K\x01tQ.")), []string{"identifier of a \"*types.Dict\""}},
		{"legacy: storage truncated", legacyOf(sd, []string{"0"}, sized(floats(6))[:20]), []string{"truncated", "wants 24 bytes"}},
		{"legacy: storage of another size", legacyOf(sd, []string{"0"}, sized(floats(5))), []string{"5 elements, want 6"}},
		{"legacy: storage not there", legacyOf(sd, nil), []string{"not in the file"}},
		{"legacy: storage twice", legacyOf(sd, []string{"0", "0"}, sized(floats(6)), sized(floats(6))), []string{"listed twice"}},
		{"legacy: storage of nobody", legacyOf(sd, []string{"9"}, sized(floats(6))), []string{"listed twice or without a tensor"}},
		{"legacy: absurd size", legacyOf(stateDictOf(with(func(p *pickled) { p.elements = 1 << 60 })), []string{"0"}, binary.LittleEndian.AppendUint64(nil, 1<<60)), []string{"truncated", "wants 4611686018427387904 bytes"}},

		// Safetensors.
		{"safetensors: header longer than the file", []byte("\x00\x10\x00\x00\x00\x00\x00\x00{}"), []string{"truncated", "4096 bytes in a file of 10"}},
		{"safetensors: absurd header", []byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), []string{"header of 18446744073709551615 bytes"}},
		{"safetensors: no JSON", safetensorsOf(`{"w":`, 0), []string{"header", "EOF"}},
		{"safetensors: not UTF-8", safetensorsOf("{\"\xff\":1}", 0), []string{"UTF-8"}},
		{"safetensors: more after it", safetensorsOf(`{}{}`, 0), []string{"after the closing brace"}},
		{"safetensors: no tensors", safetensorsOf(`{}`, 0), []string{"without tensors"}},
		{"safetensors: duplicate name", safetensorsOf(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), []string{"two entries", `"w"`}},
		{"safetensors: duplicate key", safetensorsOf(`{"w":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4), []string{"w:", "dtype stands twice"}},
		{"safetensors: unknown key", safetensorsOf(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4), []string{"w:", `"x" is not known`}},
		{"safetensors: key in capitals", safetensorsOf(`{"w":{"DTYPE":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), []string{"w:", `"DTYPE" is not known`}},
		{"safetensors: missing key", safetensorsOf(`{"w":{"dtype":"F32","shape":[1]}}`, 4), []string{"w:", "2 of the keys"}},
		{"safetensors: a type alone that is not read", safetensorsOf(`{"w":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}`, 4), []string{"w:", `"F4"`}},
		{"safetensors: gap", st("[5]", "[4,24]"), []string{"w:", "gap after 0"}},
		{"safetensors: overlap", safetensorsOf(`{"v":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"w":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}`, 24), []string{"w:", "overlaps what ends at 16"}},
		{"safetensors: bytes left over", st("[5]", "[0,20]"), []string{"4 bytes after the last tensor"}},
		{"safetensors: beyond the end", st("[7]", "[0,28]"), []string{"w:", "ends at 28", "24"}},
		{"safetensors: backwards", st("[6]", "[24,0]"), []string{"w:", "24"}},
		{"safetensors: shape and size differ", st("[5]", "[0,24]"), []string{"w:", "[5]", "20 bytes, want 24"}},
		{"safetensors: shape that overflows", st("[4294967296,4294967296]", "[0,24]"), []string{"w:", "claims more"}},
		{"safetensors: negative", st("[-6]", "[0,24]"), []string{"shape", `"-6"`}},
		{"safetensors: fraction", st("[6.0]", "[0,24]"), []string{"shape", `"6.0"`}},
		{"safetensors: beyond 2⁶³", st("[9223372036854775808]", "[0,24]"), []string{"shape", "9223372036854775808"}},
		{"safetensors: no list", st(`"6"`, "[0,24]"), []string{"shape", `"6"`}},
		{"safetensors: one offset", st("[6]", "[24]"), []string{"1 numbers, want 2"}},
		{"safetensors: endless shape", st("["+strings.Repeat("1,", 1000)+"6]", "[0,24]"), []string{"more than 8 numbers"}},
		{"safetensors: metadata of numbers", safetensorsOf(`{"__metadata__":{"a":1}}`, 0), []string{"want a string"}},
		{"safetensors: metadata of a number", safetensorsOf(`{"__metadata__":1}`, 0), []string{"want an object of strings, or null"}},
		{"safetensors: packed type of another size", safetensorsOf(`{"w":{"dtype":"F4","shape":[47],"data_offsets":[0,24]}}`, 24), []string{"w: shape [47] of \"F4\" is 188 bits, want 24 bytes"}},
		{"safetensors: zero beside absurd", safetensorsOf(`{"w":{"dtype":"F32","shape":[0,1152921504606846976],"data_offsets":[0,0]}}`, 0), []string{"w:", "claims more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := openBytes(c.data)
			if err == nil {
				t.Fatalf("opened: %v", k.Names())
			}
			for _, w := range append(c.want, "checkpoint: test.pt: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is %q, want %q in it", err, w)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

// many returns n tensors of one storage.
func many(n int, edit func(i int, p *pickled)) []pickled {
	var ts []pickled
	for i := range n {
		p := good
		p.name = fmt.Sprint("t", i)
		if edit != nil {
			edit(i, &p)
		}
		ts = append(ts, p)
	}
	return ts
}

// deepDicts returns dictionaries n deep without nested marks.
func deepDicts(n int) []byte {
	p := newPickler()
	for range n {
		p.op("}").str("k")
	}
	return p.op("}" + strings.Repeat("s", n) + ".").Bytes()
}

// lattice returns dictionaries in which both keys of each lead to the one below: 2ⁿ paths.
func lattice(n int) []byte {
	inner := "}"
	for i := range n {
		var p pickler
		inner = p.op("}").str("a").op(fmt.Sprintf("%sq%cs", inner, rune(i))).str("b").op(fmt.Sprintf("h%cs", rune(i))).String()
	}
	return []byte("\x80\x02" + inner + ".")
}

// overlapping returns an archive whose directory says that two storages are the same bytes.
func overlapping(t *testing.T) []byte {
	sd := stateDictOf(many(2, func(i int, p *pickled) { p.key = fmt.Sprint(i) })...)
	b := zipOf(t, entry{name: "m/data.pkl", data: sd}, entry{name: "m/data/0", data: floats(6)}, entry{name: "m/data/1", data: floats(6)})
	// In the directory, the offset of the local header stands 4 bytes before the name.
	dir := bytes.LastIndex(b, []byte("PK\x01\x02"))
	first := bytes.Index(b, []byte("m/data/0")) - 30
	binary.LittleEndian.PutUint32(b[dir+42:], uint32(first))
	return b
}

// TestDamagedCompressedStorage: checksums of compressed storages are verified as well.
func TestDamagedCompressedStorage(t *testing.T) {
	b := zipOf(t, entry{name: "m/data.pkl", data: stateDictOf(good)}, entry{name: "m/data/0", data: floats(6), method: zip.Deflate})
	dir := bytes.LastIndex(b, []byte("PK\x01\x02"))
	b[dir+16] ^= 1 // CRC-32 in the directory
	c, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SHA256(t.Context()); err == nil || !strings.Contains(err.Error(), "m/data/0 is damaged") {
		t.Errorf("error is %v, want that m/data/0 is damaged", err)
	}
}

// TestTruncated cuts good files at many places: never a panic, never a success.
func TestTruncated(t *testing.T) {
	for _, file := range []string{"openai_torch1.7.1.pt", "state_legacy.pt", "state_torch2.9.1.pt", "huggingface/model.safetensors"} {
		b, err := os.ReadFile(golden.Path(t, "testdata/tiny/"+file))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			n := len(b) * i / 200
			if _, err := openBytes(b[:n]); err == nil {
				t.Errorf("%s: opened with %d of %d bytes", file, n, len(b))
			}
		}
	}
}

// TestMemoryIsBounded: what a file costs is in proportion to what it has.
func TestMemoryIsBounded(t *testing.T) {
	for name, b := range map[string][]byte{
		"marks":    torchZip(t, []byte("\x80\x02("+strings.Repeat("(t", 100000)+"t.")),
		"dicts":    torchZip(t, []byte("\x80\x02("+strings.Repeat("}", 200000)+"t.")),
		"deflated": zipOf(t, entry{name: "m/data.pkl", data: []byte("\x80\x02(" + strings.Repeat("}", 200000) + "t."), method: zip.Deflate}),
		"header":   safetensorsOf(`{`+strings.Repeat(`"a":{`, 100000), 0),
		"claims":   torchZip(t, []byte("\x80\x02"+strings.Repeat("X\xff\xff\x0f\x00", 1000))),
	} {
		t.Run(name, func(t *testing.T) {
			n, limit := allocated(func() { openBytes(b) }), allocLimit(len(b))
			if n > limit {
				t.Errorf("%d bytes were allocated for a file of %d, want at most %d", n, len(b), limit)
			}
			t.Logf("%d bytes for a file of %d", n, len(b))
		})
	}
}

// TestInflatersAreFewer: a file with many compressed entries keeps no memory for each that was read.
func TestInflatersAreFewer(t *testing.T) {
	const n = 2000
	var all []entry
	for i := range n {
		all = append(all, entry{name: fmt.Sprint(i) + ".npy", data: npyOf(plainNPY, floats(6)), method: zip.Deflate})
	}
	b := zipOf(t, all...)
	held := func() uint64 {
		runtime.GC()
		runtime.GC() // what pools give up the first time
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := held()
	c, err := openBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(t.Context(), c.Tensors()...); err != nil {
		t.Fatal(err)
	}
	if after := held(); after > before && (after-before)/n > 8<<10 {
		t.Errorf("%d bytes are held for each of %d entries", (after-before)/n, n)
	}
	runtime.KeepAlive(c)
}

// allocLimit returns how many bytes opening a file of n bytes may allocate in all, most of which
// is free again at once: gopickle makes 300 bytes of an operation of one byte, and slices double as
// they grow; a compressed file is larger inside; names and headers are copied.
func allocLimit(n int) uint64 {
	return 700*uint64(min(n*maxInflate+freeInflate, maxOps)) + 100*uint64(n) + 8<<20
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
