package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxNPYHeader is how many bytes the header of an array may have; NumPy's own limit is 10,000.
	// Source: numpy/numpy, numpy/lib/format.py, _MAX_HEADER_SIZE.
	maxNPYHeader = 10000
	// unnamed is what the only array of a file is called, as numpy.savez calls one without a name.
	unnamed = "arr_0"
)

// isNPY says whether a file with this head is an array of NumPy's.
func isNPY(head []byte) bool { return bytes.HasPrefix(head, []byte(npyMagic)) }

// openNPY reads a file of one array into c.
func openNPY(r io.ReaderAt, size int64, c *File) error {
	h, err := readNPYHeader(io.NewSectionReader(r, 0, size))
	if err != nil {
		return err
	}
	s := &storage{name: unnamed, dtype: h.dtype, size: size - h.size, r: io.NewSectionReader(r, h.size, size-h.size)}
	t, err := h.tensor(unnamed, s)
	if err != nil {
		return err
	}
	return c.add(t)
}

// An npyHeader says what an array is.
type npyHeader struct {
	dtype DType
	shape []int64
	size  int64 // bytes before the elements
}

// tensor returns the array whose elements are all of a storage.
func (h npyHeader) tensor(name string, s *storage) (*Tensor, error) {
	if s.size%int64(h.dtype.Size()) != 0 {
		return nil, fmt.Errorf("%d bytes of elements, want a multiple of the %d of %s", s.size, h.dtype.Size(), h.dtype)
	}
	t, err := newTensor(name, s, 0, h.shape, rowMajor(h.shape))
	if err != nil {
		return nil, err
	}
	if t.Bytes() != s.size {
		return nil, fmt.Errorf("shape %v of %s is %d bytes, want %d", h.shape, h.dtype, t.Bytes(), s.size)
	}
	return t, nil
}

// readNPYHeader reads what stands in front of the elements.
//
// Source: numpy/numpy, numpy/lib/format.py, versions 1.0 to 3.0.
func readNPYHeader(r io.Reader) (h npyHeader, err error) {
	var fixed [len(npyMagic) + 2]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return h, fmt.Errorf("no header of NumPy's: %w", cmpErr(err, io.ErrUnexpectedEOF))
	}
	if !isNPY(fixed[:]) {
		return h, fmt.Errorf("begins with %.8q, want %q", fixed, npyMagic)
	}
	length := make([]byte, 4)
	switch major, minor := fixed[len(npyMagic)], fixed[len(npyMagic)+1]; {
	case major == 1 && minor == 0:
		length = length[:2]
	case (major == 2 || major == 3) && minor == 0:
	default:
		return h, fmt.Errorf("version %d.%d, want 1.0, 2.0 or 3.0", major, minor)
	}
	if _, err := io.ReadFull(r, length); err != nil {
		return h, fmt.Errorf("no header of NumPy's: %w", cmpErr(err, io.ErrUnexpectedEOF))
	}
	n := binary.LittleEndian.Uint32(append(bytes.Clone(length), 0, 0)[:4])
	if n > maxNPYHeader {
		return h, fmt.Errorf("header of %d bytes, want at most %d", n, maxNPYHeader)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("truncated: header of %d bytes: %w", n, cmpErr(err, io.ErrUnexpectedEOF))
	}
	h.size = int64(len(fixed)+len(length)) + int64(n)
	return h, h.parse(string(text))
}

// A foreignError says that the elements of an array are none that are read here: texts or objects, say.
type foreignError struct{ descr string }

func (e foreignError) Error() string {
	return fmt.Sprintf("elements are %.40q, want numbers, little endian", e.descr)
}

// npyItem is an item of the dictionary in a header, and what may stand behind it.
var npyItem = regexp.MustCompile(`^'(descr|fortran_order|shape)': *('[^']*'|True|False|\((?:[0-9]+, *)*[0-9]*\)) *(?:, *|$)`)

// parse reads the dictionary of a header, a literal of Python's.
func (h *npyHeader) parse(text string) error {
	inner, ok := strings.CutPrefix(strings.TrimRight(text, " \n"), "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed {
		return fmt.Errorf("header is %.100q, want a dictionary", text)
	}
	values := map[string]string{}
	for rest := strings.TrimLeft(inner, " "); rest != ""; {
		m := npyItem.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("header has %.100q, want descr, fortran_order and shape: an array of plain numbers", rest)
		}
		if values[m[1]] != "" {
			return fmt.Errorf("header has two items called %s", m[1])
		}
		values[m[1]] = m[2]
		rest = rest[len(m[0]):]
	}
	if len(values) != 3 {
		return fmt.Errorf("header is %.100q, want descr, fortran_order and shape", text)
	}
	descr := strings.Trim(values["descr"], "'")
	for d, name := range npyTypes {
		if name == descr {
			h.dtype = d
		}
	}
	if h.dtype == "" {
		return foreignError{descr}
	}
	if values["fortran_order"] != "False" {
		return errors.New("elements are in Fortran's order, want C's: numpy.ascontiguousarray makes it so")
	}
	tuple := values["shape"]
	if !strings.HasPrefix(tuple, "(") || tuple != "()" && !strings.Contains(tuple, ",") { // (3) is a number
		return fmt.Errorf("shape is %.40q, want a tuple", tuple)
	}
	h.shape = []int64{}
	for _, d := range strings.FieldsFunc(strings.Trim(tuple, "()"), func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.ParseInt(d, 10, 64)
		if err != nil {
			return fmt.Errorf("shape is %.40q: %w", tuple, err)
		}
		h.shape = append(h.shape, n)
	}
	return nil
}
