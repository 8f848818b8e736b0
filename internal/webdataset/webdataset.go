// Package webdataset has the rules of WebDataset's tar files: which entries are files, how a name is made of a sample's key and
// what the file is of, and what is no part of a sample.
//
// Source: webdataset/webdataset, README.md, "The WebDataset Format", and tariterators.py.
package webdataset

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/plural"
)

// Bounds on what a tar may make us hold. Tars come from the network.
const (
	MaxNote = 1 << 20 // bytes of a .cls, .txt or .json file; img2dataset's, with EXIF, have a few thousand
	MaxName = 4096    // bytes of a name: Linux's PATH_MAX
)

// Notes are the endings of what WebDataset keeps beside a picture: its label, its caption, and an object with more.
var Notes = []string{"cls", "txt", "json"}

// Captions are the keys that a caption may have in a .json file. Source: OpenCLIP's --csv-caption-key (title), the metadata files of
// Hugging Face's imagefolder (text), img2dataset (caption).
var Captions = []string{"caption", "text", "title"}

// A Kind says what an entry of a tar is to who reads samples.
type Kind int

const (
	File    Kind = iota // has bytes
	Nothing             // a folder, or a header of others
	Link                // to elsewhere, or a device
)

// LeftLinks says what entries of the kind [Link] are that are left out.
var LeftLinks = plural.Phrase{
	One:  "entry that is a link or device, which WebDataset does not follow",
	Many: "entries that are links or devices, which WebDataset does not follow",
}

// KindOf returns the kind of an entry.
func KindOf(h *tar.Header) Kind {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont: // Source: CPython, Lib/tarfile.py, REGULAR_TYPES
		return File
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return Nothing
	}
	return Link
}

// Sparse tells whether the bytes of an entry are not in one piece.
func Sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// CleanName returns the name of an entry without "./", or an error if it does not stay in the tar.
func CleanName(name string) (string, error) {
	if len(name) > MaxName {
		return "", fmt.Errorf("name of %d bytes, want at most %d: %.40q …", len(name), MaxName, name)
	}
	if strings.HasPrefix(name, "/") || slices.Contains(strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }), "..") ||
		strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("name %.80q is absolute or leads upwards", name)
	}
	return path.Clean(name), nil
}

// SplitKey splits a name at the first dot of its last part; key is empty if there is none or it is the
// first character. Source: webdataset/webdataset, tariterators.py, base_plus_ext; the suffix in lower
// case as in group_by_keys.
func SplitKey(name string) (key, suffix string) {
	base := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[base:], '.')
	if dot < 1 {
		return "", ""
	}
	return name[:base+dot], strings.ToLower(name[base+dot+1:])
}

// Stranger says what a file is that is no part of a sample; the zero Phrase if it is one.
func Stranger(key, suffix string) plural.Phrase {
	known := func(e string) bool { return pictures.Ending(e) || slices.Contains(Notes, e) }
	last := suffix[strings.LastIndexByte(suffix, '.')+1:]
	switch {
	case key != "" && known(suffix):
		return plural.Phrase{}
	case key != "" && pictures.Unread(suffix) != "":
		return pictures.NotRead(pictures.Unread(suffix))
	case key != "" && last != "" && (known(last) || pictures.Unread(last) != ""):
		return plural.Phrase{
			One:  "file with a second dot in its name: the key of a sample ends at the first",
			Many: "files with a second dot in their names: the key of a sample ends at the first",
		}
	case key != "" && suffix != "":
		ends := " of the endings " + strings.Join(Notes, ", ")
		return plural.Phrase{One: "file that is neither a picture nor" + ends, Many: "files that are neither pictures nor" + ends}
	}
	return plural.Phrase{
		One:  "file whose name does not begin with the key of a sample and a dot",
		Many: "files whose names do not begin with the key of a sample and a dot",
	}
}

// AtEnd returns an error if there is anything but zeros in the rest of a tar file that has been read to the mark of its end.
func AtEnd(r io.Reader) error {
	b := make([]byte, 1<<15)
	for {
		n, err := r.Read(b)
		if slices.ContainsFunc(b[:n], func(v byte) bool { return v != 0 }) {
			return errors.New("more follows the mark of the archive's end: two tar files in one, of which programs read the first")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// compressions are how files begin that were a tar file once.
var compressions = map[string]string{"\x1f\x8b": "gzip", "BZh": "bzip2", "\xfd7zXZ": "xz", "\x28\xb5\x2f\xfd": "zstd"}

// Compressed says whether a file is called as a compressed tar is.
func Compressed(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"}, func(end string) bool { return strings.HasSuffix(name, end) })
}

// HeadBytes is how many bytes of a file [Plain] looks at.
const HeadBytes = 6

// Plain returns an error if a file that begins so is a compressed tar: a sample in it cannot be read without all before it.
func Plain(head []byte) error {
	for magic, name := range compressions {
		if strings.HasPrefix(string(head), magic) {
			return fmt.Errorf("compressed with %s, want a plain tar file: pictures are read from its middle", name)
		}
	}
	return nil
}
