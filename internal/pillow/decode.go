package pillow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"
)

const (
	// MaxPixels is the largest picture that Decode takes: beyond it Pillow raises DecompressionBombError.
	// Source: Pillow, src/PIL/Image.py, twice MAX_IMAGE_PIXELS.
	MaxPixels = 2 * (1024 * 1024 * 1024 / 4 / 3)

	// MaxBytes is the largest file that Decode reads. A picture of MaxPixels in three bytes a pixel takes half of it.
	MaxBytes = 1 << 30
)

// ErrTooLarge is of a file of more than MaxBytes, and of a picture of more than MaxPixels.
var ErrTooLarge = errors.New("too large")

// ReadError is the error with which a reader ended, before anything could be said of the picture.
type ReadError struct{ error }

// Unwrap returns the reader's error.
func (e ReadError) Unwrap() error { return e.error }

// Decode reads a picture as PIL.Image.open and load give it, mode included: the first frame of an animation,
// EXIF orientation left alone, but told.
func Decode(r io.Reader) (m *Image, err error) {
	f, data, err := read(r)
	if err != nil {
		return nil, err
	}
	return safely(f.Name, func() (*Image, error) {
		m, err := f.decode(data)
		if err == nil {
			m.describe(f.Name, data)
		}
		return m, err
	})
}

// read reads a file of a format that is decoded.
func read(r io.Reader) (f Format, data []byte, err error) {
	head := make([]byte, 512)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return f, nil, fmt.Errorf("pillow: %w", ReadError{err})
	}
	if head = head[:n]; n == 0 {
		return f, nil, errors.New("pillow: empty file")
	}
	if f, ok := FormatOf(head); ok && f.Decodes {
		data, err := readAll(io.MultiReader(bytes.NewReader(head), r), length(r), MaxBytes)
		if err != nil {
			return f, nil, fmt.Errorf("pillow: %s: %w", f.Name, err)
		}
		return f, data, nil
	}
	return f, nil, unknown(head)
}

// length returns how long a file is, or zero if that is not known.
func length(r io.Reader) int64 {
	if f, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return info.Size()
		}
	}
	return 0
}

// readAll is io.ReadAll with a limit, and room for size bytes from the beginning.
func readAll(r io.Reader, size, most int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(size, 0), most, 1<<24)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		err = ReadError{err}
	case int64(b.Len()) > most:
		err = &reason{fmt.Sprintf("file of more than %d bytes", most), ErrTooLarge}
	}
	return b.Bytes(), err
}

// safely gives errors the format's name, and turns a panic of a decoder, most of which are
// not ours and read hostile input, into an error.
func safely(format string, decode func() (*Image, error)) (m *Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("pillow: %s: corrupt file: %v", format, p)
		}
	}()
	m, err = decode()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &reason{"pillow: " + format + ": the file is cut short", err}
	case err != nil:
		return nil, fmt.Errorf("pillow: %s: %w", format, err)
	}
	return m, nil
}

// reason is an error with a text of its own.
type reason struct {
	text string
	err  error
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.err }

// Bare returns err without the names of packages in front, so that who puts its own there has but one.
func Bare(err error, packages ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for cut := true; cut; {
		cut = false
		for _, p := range append(packages, "pillow") {
			if rest, ok := strings.CutPrefix(text, p+": "); ok {
				text, cut = rest, true
			}
		}
	}
	return &reason{text, err}
}

// checkSize rejects what Pillow calls a decompression bomb, and pictures without pixels.
func checkSize(width, height int) error {
	if width < 1 || height < 1 {
		return fmt.Errorf("size %dx%d, want at least 1x1", width, height)
	}
	if int64(width) > MaxPixels || int64(height) > MaxPixels || int64(width)*int64(height) > MaxPixels {
		return &reason{fmt.Sprintf("size %dx%d is more than %d pixels", width, height, MaxPixels), ErrTooLarge}
	}
	return nil
}

// size makes an int of a number from a file. Where int has 32 bits, what does not fit becomes
// a number that no file and no picture is large enough for.
func size(v uint32) int { return int(min(uint64(v), math.MaxInt-1<<10)) }

// checkHolds rejects a picture that needs more bytes than the file can possibly expand to.
func checkHolds(most, want int64) error {
	if want > most {
		return fmt.Errorf("the file can hold %d bytes of pixels, its header claims %d", most, want)
	}
	return nil
}
