package checkpoint

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

const (
	// torchRoot is the folder of an archive that everything is in; any name will do.
	torchRoot = "archive"
	// torchVersion is what torch.save has written into the record "version" since 1.6.
	// Source: pytorch/pytorch, caffe2/serialize/versions.h, kProducedFileFormatVersion.
	torchVersion = "3\n"
	// torchAlignment is what the offsets of storages in an archive are multiples of, so that they can
	// be mapped into memory. Source: pytorch/pytorch, caffe2/serialize/inline_container.h,
	// kFieldAlignment.
	torchAlignment = 64
)

// storageNames are torch's classes of storages.
var storageNames = func() map[DType]string {
	names := map[DType]string{}
	for global, v := range globals {
		if class, ok := v.(storageClass); ok {
			names[DType(class)] = strings.TrimPrefix(global, "torch ")
		}
	}
	return names
}()

// WriteTorch writes an archive of torch.save with a dictionary of tensors.
func WriteTorch(w io.Writer, entries []Entry, emit Emit) error {
	return writeArchive(w, []record{{"data.pkl", pickleTensors(entries)}}, entries, emit)
}

// A record is a small file in an archive.
type record struct {
	name string
	data []byte
}

// writeArchive writes an archive of torch: first some files, then the tensors, which emit writes one after
// the other. All is stored, not compressed, so that torch can map the file. Every tensor has a storage of
// its own, so that nothing has to be kept in memory.
//
// Source: pytorch/pytorch, torch/serialization.py, _save; torch/csrc/jit/docs/serialization.md;
// caffe2/serialize/inline_container.cc, PyTorchStreamWriter.
func writeArchive(w io.Writer, files []record, entries []Entry, emit Emit) error {
	if err := checkEntries(entries); err != nil {
		return fmt.Errorf("checkpoint: archive of torch: %w", err)
	}
	for _, e := range entries {
		if storageNames[e.DType] == "" {
			return fmt.Errorf("checkpoint: archive of torch: %s: elements are %s, for which there is no storage", e.Name, e.DType)
		}
	}
	out := bufio.NewWriterSize(w, writeBuffer)
	z := newAlignedZip(out)
	for _, f := range append(files, record{"byteorder", []byte("little")}) {
		if err := z.add(f); err != nil {
			return err
		}
	}
	for i, e := range entries {
		r, err := z.create("data/" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		if err := emit(i, r); err != nil {
			return err
		}
		if n := z.last.n; n != e.Bytes() {
			return wrongLength(e, n)
		}
	}
	if err := z.add(record{"version", []byte(torchVersion)}); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return out.Flush()
}

// An alignedZip is a zip file whose entries are stored from multiples of 64 bytes on.
type alignedZip struct {
	*zip.Writer
	out  *counter
	last *counter // bytes of the last entry; nil before the first
}

func newAlignedZip(w io.Writer) *alignedZip {
	out := &counter{w: w}
	return &alignedZip{Writer: zip.NewWriter(out), out: out}
}

// Sizes of what stands in a zip file beside the entries.
// Source: PKWARE, APPNOTE.TXT, sections 4.3.7 and 4.3.9.
const (
	zipHeaderSize       = 30 // before the name
	zipDescriptorSize   = 16 // behind an entry
	zip64DescriptorSize = 24 // behind one of 2³²-1 bytes or more
	zipExtraSize        = 4  // identifier and length of an extra field
)

// create begins an entry.
func (z *alignedZip) create(name string) (io.Writer, error) {
	if err := z.Flush(); err != nil {
		return nil, err
	}
	at := z.out.n
	if z.last != nil { // zip writes what is behind an entry when the next begins
		at += zipDescriptorSize
		if z.last.n >= math.MaxUint32 {
			at += zip64DescriptorSize - zipDescriptorSize
		}
	}
	name = torchRoot + "/" + name
	at += int64(zipHeaderSize + len(name) + zipExtraSize)
	pad := (torchAlignment - at%torchAlignment) % torchAlignment
	extra := binary.LittleEndian.AppendUint16([]byte("FB"), uint16(pad))
	extra = append(extra, bytes.Repeat([]byte("Z"), int(pad))...)
	f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Extra: extra})
	if err != nil {
		return nil, err
	}
	z.last = &counter{w: f}
	return z.last, nil
}

// add writes a whole entry.
func (z *alignedZip) add(f record) error {
	w, err := z.create(f.name)
	if err != nil {
		return err
	}
	_, err = w.Write(f.data)
	return err
}

// A pickleWriter writes the operations that a dictionary of tensors needs. Libraries that write
// pickles have none for dictionaries with an order, nor for storages.
//
// Source: python/cpython, Lib/pickletools.py, protocol 2.
type pickleWriter struct{ bytes.Buffer }

func (p *pickleWriter) text(s string) {
	p.WriteByte('X') // BINUNICODE
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickleWriter) int(n int64) {
	if int64(int32(n)) == n {
		p.WriteByte('J') // BININT
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
		return
	}
	p.WriteString("\x8a\x08") // LONG1 of 8 bytes
	p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (p *pickleWriter) global(module, name string) {
	p.WriteString("c" + module + "\n" + name + "\n") // GLOBAL
}

func (p *pickleWriter) ints(ns []int) {
	p.WriteByte('(') // MARK
	for _, n := range ns {
		p.int(int64(n))
	}
	p.WriteByte('t') // TUPLE
}

// orderedDict writes an empty collections.OrderedDict.
func (p *pickleWriter) orderedDict() {
	p.global("collections", "OrderedDict")
	p.WriteString(")R") // EMPTY_TUPLE REDUCE
}

// tensor writes the tensor that has the whole of storage i:
// torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks).
func (p *pickleWriter) tensor(i int, e Entry) {
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.WriteString("((") // MARK MARK
	p.text("storage")
	p.global("torch", storageNames[e.DType])
	p.text(strconv.Itoa(i))
	p.text("cpu")
	p.int(int64(e.Len()))
	p.WriteString("tQ") // TUPLE BINPERSID
	p.int(0)
	p.ints(e.Shape)
	p.ints(rowMajor(e.Shape))
	p.WriteByte(0x89) // NEWFALSE
	p.orderedDict()
	p.WriteString("tR") // TUPLE REDUCE
}

// pickleTensors returns the pickle of a dictionary of tensors.
func pickleTensors(entries []Entry) []byte {
	p := &pickleWriter{}
	p.WriteString("\x80\x02") // PROTO 2
	p.orderedDict()
	p.WriteByte('(') // MARK
	for i, e := range entries {
		p.text(e.Name)
		p.tensor(i, e)
	}
	p.WriteString("u.") // SETITEMS STOP
	return p.Bytes()
}
