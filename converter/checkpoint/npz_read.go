package checkpoint

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// isNPZ says whether all files of an archive are arrays of NumPy's.
func (a *archive) isNPZ() bool {
	return len(a.order) > 0 && !slices.ContainsFunc(a.order, func(f *zip.File) bool { return !strings.HasSuffix(f.Name, npyExtension) })
}

// arrays reads the arrays of an archive that numpy.savez or savez_compressed wrote into c.
func (a *archive) arrays(c *File) error {
	c.container = "npz archive"
	var inflate io.ReadCloser // for all headers: one takes 40 kB
	for _, f := range a.order {
		name := strings.TrimSuffix(f.Name, npyExtension)
		r, off, err := a.open(f.Name)
		if err != nil {
			return err
		}
		size := int64(f.UncompressedSize64)
		head := io.Reader(io.NewSectionReader(r, 0, size))
		if compressed, ok := r.(*inflater); ok {
			if inflate == nil {
				inflate = flate.NewReader(nil)
			}
			if err := inflate.(flate.Resetter).Reset(io.NewSectionReader(compressed.src, 0, compressed.src.Size()), nil); err != nil {
				return err
			}
			head = inflate
		}
		h, err := readNPYHeader(head)
		if foreign := (foreignError{}); errors.As(err, &foreign) {
			if err := c.addUnread(name, foreign.Error()); err != nil {
				return err
			}
			a.note(f, off, c)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if h.size > size {
			return fmt.Errorf("%s: header of %d bytes, want at most the %d of the file", f.Name, h.size, size)
		}
		s := &storage{
			name: f.Name, dtype: h.dtype, size: size - h.size, r: io.NewSectionReader(r, h.size, size-h.size), compressed: off < 0,
			crc: f.CRC32, summed: io.NewSectionReader(r, 0, size),
		}
		t, err := h.tensor(name, s)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := c.add(t); err != nil {
			return err
		}
		a.note(f, off, c)
	}
	sortChecks(c)
	return nil
}
