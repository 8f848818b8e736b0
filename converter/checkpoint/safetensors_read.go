package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxHeader is how many bytes the header of a safetensors file may have: room for 150 thousand
// tensors. The format itself permits 100 MB.
const maxHeader = 16 << 20

// openSafetensors reads the header of a safetensors file into c. It is as strict as the original:
// tensors lie one after the other from the first byte to the last, without gap or overlap.
//
// Source: huggingface/safetensors, safetensors/src/tensor.rs, SafeTensors::read_metadata and
// Metadata::validate.
func openSafetensors(r io.ReaderAt, size int64, c *File) error {
	var head [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxHeader {
		return fmt.Errorf("header of %d bytes, want at most %d", n, maxHeader)
	}
	if n > uint64(size-8) {
		return fmt.Errorf("truncated: header of %d bytes in a file of %d: %w", n, size, errCut)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && err != io.EOF {
		return err
	}
	entries, metadata, err := parseSafetensors(header)
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	begin := 8 + int64(n)
	data := uint64(size - begin)
	inOrder := slices.Clone(entries)
	slices.SortStableFunc(inOrder, func(a, b safetensor) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var end uint64
	for _, e := range inOrder {
		switch {
		case e.begin < end:
			return fmt.Errorf("%s: begins at %d and overlaps what ends at %d", e.name, e.begin, end)
		case e.begin > end:
			return fmt.Errorf("%s: begins at %d, leaving a gap after %d", e.name, e.begin, end)
		case e.end < e.begin:
			return fmt.Errorf("%s: ends at %d, want %d to %d", e.name, e.end, e.begin, data)
		case e.end > data:
			return fmt.Errorf("%s: ends at %d of %d bytes: %w", e.name, e.end, data, errCut)
		}
		end = e.end
	}
	if end != data {
		return fmt.Errorf("%d bytes after the last tensor", data-end)
	}
	for _, e := range entries {
		length := int64(e.end - e.begin)
		if kind := e.unread(); kind != "" {
			if err := e.checkPacked(); err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
			if err := c.addUnread(e.name, kind); err != nil {
				return err
			}
			continue
		}
		s := &storage{name: e.name, dtype: e.dtype, size: length, r: io.NewSectionReader(r, begin+int64(e.begin), length)}
		t, err := newTensor(e.name, s, 0, e.shape, rowMajor(e.shape))
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		if t.Bytes() != length {
			return fmt.Errorf("%s: shape %v of %s is %d bytes, want %d", e.name, e.shape, e.dtype, t.Bytes(), length)
		}
		if err := c.add(t); err != nil {
			return err
		}
	}
	c.metadata = metadata
	return c.alias(metadata)
}

// isSafetensors says whether a file with this head is one of safetensors. The library takes white space in front of
// the header, which the format forbids.
func isSafetensors(head []byte) bool {
	return len(head) > 8 && bytes.HasPrefix(bytes.TrimLeft(head[8:], " \t\r\n"), []byte("{"))
}

// alias adds tensors of the names that the metadata of a file has for tensors that were left out since they share their elements
// with others.
//
// Source: huggingface/safetensors, bindings/python/py_src/safetensors/torch.py, save_model.
func (c *File) alias(metadata map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		t := c.byName[metadata[name]]
		if t == nil || t.alias || c.byName[name] != nil || c.unread[name] != "" {
			continue
		}
		same := *t
		same.Name, same.alias = name, true
		if err := c.add(&same); err != nil {
			return err
		}
	}
	return nil
}

// A safetensor is one entry of the header.
type safetensor struct {
	name       string
	dtype      DType
	shape      []int64
	begin, end uint64
}

// unread returns of what kind a tensor is that is not read: of a type that is not known, or of one without whole bytes.
func (e safetensor) unread() string {
	if e.dtype.Size() > 0 {
		return ""
	}
	return fmt.Sprintf("elements are %.40q, want a known type with whole bytes", e.dtype)
}

// checkPacked returns an error if the size of a tensor is not that of its elements, where that is known.
func (e safetensor) checkPacked() error {
	n := packedBits[e.dtype]
	if n == 0 {
		return nil
	}
	for _, d := range e.shape {
		var over uint64
		if over, n = bits.Mul64(n, uint64(d)); over != 0 {
			return fmt.Errorf("shape %v claims more than can be counted", e.shape)
		}
	}
	if n%8 != 0 || n/8 != e.end-e.begin {
		return fmt.Errorf("shape %v of %q is %d bits, want %d bytes", e.shape, e.dtype, n, e.end-e.begin)
	}
	return nil
}

// parseSafetensors reads a header token by token: the decoder of encoding/json would let
// duplicates, other cases, fractions and unknown keys pass.
func parseSafetensors(header []byte) (all []safetensor, metadata map[string]string, err error) {
	if !utf8.Valid(header) {
		return nil, nil, fmt.Errorf("not UTF-8")
	}
	p := &parser{json.NewDecoder(bytes.NewReader(header))}
	p.d.UseNumber()
	seen := map[string]bool{}
	err = p.object(func(name string) error {
		if seen[name] {
			return fmt.Errorf("two entries are called %.100q", name)
		}
		seen[name] = true
		if name == metadataKey {
			metadata, err = p.metadata()
			return err
		}
		if len(all) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		if err := checkName(name); err != nil {
			return err
		}
		e, err := p.entry(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.d.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("something after the closing brace")
	}
	return all, metadata, nil
}

// A parser reads the little JSON that safetensors needs.
type parser struct{ d *json.Decoder }

func (p *parser) delim(want json.Delim) error {
	t, err := p.d.Token()
	if err != nil {
		return cmpErr(err, io.ErrUnexpectedEOF)
	}
	if t != want {
		return fmt.Errorf("%.40q at byte %d, want %q", fmt.Sprint(t), p.d.InputOffset(), want)
	}
	return nil
}

func (p *parser) text() (string, error) {
	t, err := p.d.Token()
	if err != nil {
		return "", cmpErr(err, io.ErrUnexpectedEOF)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("%.40q at byte %d, want a string", fmt.Sprint(t), p.d.InputOffset())
	}
	return s, nil
}

// object calls f with every key; f reads the value.
func (p *parser) object(f func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	return p.members(f)
}

// members is object behind the opening brace.
func (p *parser) members(f func(key string) error) error {
	for p.d.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

// metadata reads an object of strings, or null.
func (p *parser) metadata() (map[string]string, error) {
	t, err := p.d.Token()
	if t == nil || err != nil {
		return nil, cmpErr(err, nil)
	}
	if t != json.Delim('{') {
		return nil, fmt.Errorf("%.40q at byte %d, want an object of strings, or null", fmt.Sprint(t), p.d.InputOffset())
	}
	all := map[string]string{}
	return all, p.members(func(key string) (err error) { all[key], err = p.text(); return err })
}

// numbers reads an array of at most limit non-negative integers.
func (p *parser) numbers(limit int) ([]uint64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	ns := []uint64{}
	for p.d.More() {
		t, err := p.d.Token()
		if err != nil {
			return nil, cmpErr(err, io.ErrUnexpectedEOF)
		}
		text, _ := t.(json.Number)
		n, err := strconv.ParseUint(string(text), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%.40q at byte %d, want an integer from 0 to 2⁶³-1", fmt.Sprint(t), p.d.InputOffset())
		}
		if ns = append(ns, n); len(ns) > limit {
			return nil, fmt.Errorf("more than %d numbers at byte %d", limit, p.d.InputOffset())
		}
	}
	return ns, p.delim(']')
}

// entry reads {"dtype":…,"shape":[…],"data_offsets":[…,…]}.
func (p *parser) entry(name string) (e safetensor, err error) {
	e.name = name
	seen := map[string]bool{}
	err = p.object(func(key string) error {
		if seen[key] {
			return fmt.Errorf("%s stands twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			s, err := p.text()
			if err != nil {
				return err
			}
			e.dtype = DType(s)
		case "shape":
			ns, err := p.numbers(maxRank)
			if err != nil {
				return fmt.Errorf("shape: %w", err)
			}
			e.shape = []int64{}
			for _, n := range ns {
				e.shape = append(e.shape, int64(n))
			}
		case "data_offsets":
			ns, err := p.numbers(2)
			if err != nil {
				return fmt.Errorf("data_offsets: %w", err)
			}
			if len(ns) != 2 {
				return fmt.Errorf("data_offsets: %d numbers, want 2", len(ns))
			}
			e.begin, e.end = ns[0], ns[1]
		default:
			return fmt.Errorf("key %.40q is not known", key)
		}
		return nil
	})
	if err == nil && len(seen) != 3 {
		err = fmt.Errorf("%d of the keys dtype, shape and data_offsets", len(seen))
	}
	return e, err
}
