package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxSafetensorsHeader is the largest header that readers take.
// Source: huggingface/safetensors, safetensors/src/tensor.rs, MAX_HEADER_SIZE.
const maxSafetensorsHeader = 100_000_000

// metadataKey is what metadata are called among the tensors.
const metadataKey = "__metadata__"

// SafetensorsHeader returns the first bytes of a safetensors file whose tensors lie in the given order. It
// is padded to at least so many bytes, and so that the tensors begin at a multiple of 64. Metadata may be
// nil.
//
// Elements of the widest types should come first: then all are aligned, since the format permits no gap.
// Who knows metadata or shapes only in the end leaves room for the longest, and puts the header in front
// then.
//
// Source: huggingface/safetensors, README.md, "Format".
func SafetensorsHeader(metadata map[string]string, entries []Entry, least int) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	if metadata == nil {
		metadata = map[string]string{} // an object in JSON
	}
	for key, value := range metadata {
		if !utf8.ValidString(key) || !utf8.ValidString(value) { // json.Marshal would replace what is not
			return nil, fmt.Errorf("checkpoint: safetensors: metadata %q: %.80q is not UTF-8", key, value)
		}
	}
	meta, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, `{%q:%s`, metadataKey, meta)
	var at int64
	for _, e := range entries {
		if e.Name == metadataKey {
			return nil, fmt.Errorf("checkpoint: safetensors: a tensor is called %s, which the format has for itself", e.Name)
		}
		if !utf8.ValidString(e.Name) {
			return nil, fmt.Errorf("checkpoint: safetensors: the name %q is not UTF-8", e.Name)
		}
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
	for b.Len() < least || b.Len()%64 != 0 {
		b.WriteByte(' ')
	}
	if n := b.Len() - 8; n > maxSafetensorsHeader {
		return nil, fmt.Errorf("checkpoint: safetensors: header of %d bytes, want at most %d: shorter names or metadata", n, maxSafetensorsHeader)
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
	header, err := SafetensorsHeader(metadata, entries, 0)
	if err != nil {
		return err
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
