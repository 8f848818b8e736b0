package folder

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// KindSize is how many bytes of a file Kind wants.
const KindSize = 512

// kinds are what files begin with that are often found in the place of others.
var kinds = []struct{ magic, name string }{
	{"\xff\xd8\xff", "a JPEG picture"}, {"\x89PNG\r\n\x1a\n", "a PNG picture"}, {"GIF8", "a GIF picture"}, {"BM", "a BMP picture"},
	{"II*\x00", "a TIFF picture"}, {"MM\x00*", "a TIFF picture"}, {"\x00\x00\x01\x00", "an ICO picture"}, {"qoif", "a QOI picture"},
	{"%PDF-", "a PDF document"}, {"\x7fELF", "a program"}, {"MZ", "a program"}, {"\xcf\xfa\xed\xfe", "a program"},
	{"PK\x03\x04", "a zip archive"}, {"\x1f\x8b", "compressed by gzip"}, {"\x89HDF\r\n\x1a\n", "HDF5"}, {"GGUF", "GGUF"},
	{"\x93NUMPY", "an array of NumPy"}, {"version https://git-lfs", "a pointer of Git LFS, and the file itself is not here: git lfs pull fetches it"},
}

// Kind says what a file is by its first [KindSize] bytes, or all of a shorter one. It knows what is often taken for another
// kind: a picture, a page that a server gave in the place of the file, text, nothing. It returns "" for any other.
func Kind(begin []byte) string {
	if len(begin) == 0 {
		return "empty, of 0 bytes"
	}
	for _, k := range kinds {
		if bytes.HasPrefix(begin, []byte(k.magic)) {
			return k.name
		}
	}
	if len(begin) >= 12 && bytes.HasPrefix(begin, []byte("RIFF")) && string(begin[8:12]) == "WEBP" {
		return "a WebP picture"
	}
	if len(bytes.Trim(begin, "\x00")) == 0 {
		return "zeros alone, such as a download that was never filled leaves"
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(begin, []byte("\ufeff")))
	lower := bytes.ToLower(text[:min(len(text), 15)])
	switch {
	case !isText(begin):
		return ""
	case bytes.HasPrefix(lower, []byte("<!doctype html")), bytes.HasPrefix(lower, []byte("<html")):
		return fmt.Sprintf("an HTML page, as a server gives it in the place of a file, that begins with %.40q", text)
	case bytes.HasPrefix(text, []byte("<")):
		return "a page of XML or HTML"
	case bytes.HasPrefix(text, []byte("{")), bytes.HasPrefix(text, []byte("[")):
		return fmt.Sprintf("JSON that begins with %.40q", text)
	}
	return fmt.Sprintf("text that begins with %.40q", text)
}

// isText says whether bytes are UTF-8 without control characters, but perhaps for a letter that is cut off at their end.
func isText(b []byte) bool {
	for i := 0; i < utf8.UTFMax && len(b) > 1 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1]
	}
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' })
}
