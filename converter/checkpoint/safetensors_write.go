package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// SafetensorsHeader returns the first bytes of a safetensors file whose tensors lie in the given order,
// padded so that the tensors begin at a multiple of 64 bytes. Readers want the widest elements first:
// then all are aligned, since the format permits no gap. Metadata may be nil. Who learns it last writes
// the header twice: its length depends on the lengths of keys and values alone, as far as JSON needs no
// escapes.
//
// Source: huggingface/safetensors, README.md, "Format".
func SafetensorsHeader(metadata map[string]string, entries []Entry) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	if metadata == nil {
		metadata = map[string]string{} // an object in JSON
	}
	meta, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, `{"__metadata__":%s`, meta)
	var at int64
	for _, e := range entries {
		name, err := json.Marshal(e.Name)
		if err != nil {
			return nil, err
		}
		shape, err := json.Marshal(append([]int{}, e.Shape...))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, `,%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, e.DType, shape, at, at+e.Bytes())
		at += e.Bytes()
	}
	b.WriteByte('}')
	for b.Len()%64 != 0 {
		b.WriteByte(' ')
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

// WriteSafetensors writes a file of safetensors. Python's torch and transformers ask for the metadata
// "format": "pt".
func WriteSafetensors(w io.Writer, metadata map[string]string, entries []Entry, emit Emit) error {
	if err := checkEntries(entries); err != nil {
		return fmt.Errorf("checkpoint: safetensors: %w", err)
	}
	header, err := SafetensorsHeader(metadata, entries)
	if err != nil {
		return fmt.Errorf("checkpoint: safetensors: %w", err)
	}
	out := bufio.NewWriterSize(w, writeBuffer)
	if _, err := out.Write(header); err != nil {
		return err
	}
	if err := emit.each(entries, out, nil); err != nil {
		return err
	}
	return out.Flush()
}
