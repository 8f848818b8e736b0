package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/nlpodyssey/gopickle/types"
)

// legacyMagic is how torch.save began its files before version 1.6, and begins them where it is told to: the pickle of a
// number.
//
// Source: pytorch/pytorch, torch/serialization.py, _legacy_save.
var legacyMagic = []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")

// legacyStart returns where the first pickle ends, -1 if it is another. Its protocol is another where the caller of
// torch.save says so; since 4 it has a frame.
func legacyStart(head []byte) int {
	const frame = "\x95\x0d\x00\x00\x00\x00\x00\x00\x00"
	if len(head) < 2 || head[0] != 0x80 || head[1] < 2 || head[1] > 5 {
		return -1
	}
	rest := bytes.TrimPrefix(head[2:], []byte(frame))
	if !bytes.HasPrefix(rest, legacyMagic[2:]) {
		return -1
	}
	return len(head) - len(rest) + len(legacyMagic) - 2
}

// openLegacy reads a file of four pickles (magic, version, system, object) and the list of the storages'
// keys. Behind them are the storages, each with its number of elements in front.
func openLegacy(r io.ReaderAt, size int64, c *File) error {
	head := make([]byte, min(size, headSize))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	at := int64(legacyStart(head))
	next := func(persistent func(any) (any, error)) (any, error) {
		v, n, err := unpickle(r, at, size, persistent)
		at += n
		return v, err
	}
	refuse := func(any) (any, error) { return nil, errors.New("a storage where none is expected") }

	version, err := next(refuse)
	if err != nil {
		return err
	}
	if version != 1001 {
		return fmt.Errorf("protocol version is %.40s, want 1001", shown(version))
	}
	system, err := next(refuse)
	if err != nil {
		return err
	}
	if d, ok := system.(*types.Dict); ok {
		if little, ok := d.Get("little_endian"); ok && little != true {
			return errors.New("written on a big-endian machine: not supported")
		}
	}
	storages := map[string]*storage{}
	begin := at
	v, err := next(func(pid any) (any, error) {
		if o := notStorage(pid); o != nil {
			return o, nil
		}
		id, err := parseStorageID(pid)
		if err != nil {
			return nil, err
		}
		s := storages[id.key]
		if s == nil {
			s = &storage{name: fmt.Sprintf("storage %.40q", id.key), dtype: id.dtype, size: id.size}
			storages[id.key] = s
		}
		if s.dtype != id.dtype || s.size != id.size {
			return nil, fmt.Errorf("%s is called %d bytes of %s and %d bytes of %s", s.name, s.size, s.dtype, id.size, id.dtype)
		}
		return s, nil
	})
	if err != nil {
		return err
	}
	pickled := at - begin
	list, err := next(refuse)
	if err != nil {
		return err
	}
	keys, ok := list.(*types.List)
	if !ok {
		return fmt.Errorf("keys of the storages are a %T, want a list", list)
	}
	for _, k := range *keys {
		key, _ := k.(string)
		s := storages[key]
		if s == nil || s.r != nil {
			return fmt.Errorf("storage %.40q is listed twice or without a tensor", shown(k))
		}
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return fmt.Errorf("%s: truncated: no size at byte %d of %d: %w", s.name, at, size, errCut)
		}
		n, want := binary.LittleEndian.Uint64(head[:]), uint64(s.size)/uint64(s.dtype.Size())
		if n != want {
			return fmt.Errorf("%s has %d elements, want %d", s.name, n, want)
		}
		at += 8
		if s.size > size-at {
			return fmt.Errorf("%s: truncated: wants %d bytes at byte %d of %d: %w", s.name, s.size, at, size, errCut)
		}
		s.r = io.NewSectionReader(r, at, s.size)
		at += s.size
	}
	for _, s := range storages {
		if s.r == nil {
			return fmt.Errorf("%s is not in the file", s.name)
		}
	}
	return c.pickled(v, pickled)
}
