package pictures

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readable are the endings of files that package clipvit decodes. Source: Pillow's PIL.Image.registered_extensions, for the
// formats that internal/pillow reads.
var readable = map[string]bool{
	"jpg": true, "jpeg": true, "jfif": true, "jpe": true, "png": true, "apng": true, "gif": true, "webp": true, "bmp": true, "tif": true, "tiff": true,
}

// unreadable are the endings of pictures that are not decoded, and what the formats are called.
var unreadable = map[string]string{}

func init() {
	for format, endings := range map[string]string{
		"HEIC": "heic heif hif", "AVIF": "avif avifs", "JPEG XL": "jxl", "JPEG 2000": "jp2 j2k jpc jpf jpx j2c jph", "JPEG XR": "jxr wdp hdp",
		"Photoshop": "psd psb", "SVG": "svg svgz", "QOI": "qoi", "ICO": "ico cur", "ICNS": "icns", "TGA": "tga", "DIB": "dib", "PCX": "pcx", "DDS": "dds",
		"PNM": "ppm pgm pbm pnm pam pfm", "OpenEXR": "exr", "Radiance": "hdr", "GIMP": "xcf", "MPO": "mpo", "DICOM": "dcm", "EPS": "eps", "WMF": "wmf emf",
		"raw": "cr2 cr3 crw nef nrw arw srf sr2 dng orf rw2 raf pef srw raw 3fr iiq x3f erf mef mos mrw rwl kdc dcr",
	} {
		for _, e := range strings.Fields(endings) {
			unreadable[e] = format
		}
	}
}

// plain are endings of files that are no pictures, which lie beside them by the thousand: they are not looked into.
var plain = map[string]bool{
	"txt": true, "json": true, "jsonl": true, "ndjson": true, "csv": true, "tsv": true, "cls": true, "xml": true, "yaml": true, "yml": true, "md": true,
	"npy": true, "npz": true, "pt": true, "pth": true, "safetensors": true, "html": true, "log": true, "py": true, "go": true,
}

// Ending says whether e is the ending of files that package clipvit decodes: in lower case, without the dot.
func Ending(e string) bool { return readable[e] }

// Unread returns the name of the format of pictures with the ending e that package clipvit does not decode, or "".
func Unread(e string) string { return unreadable[e] }

// ending returns what follows the last dot of a file's name, in lower case.
func ending(name string) string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
}

// List returns the pictures under a folder, however deep: all files but hidden ones whose ending, in any case, is that of
// a picture. They are sorted by the bytes of their names in each folder, folders among the files. Links are followed. A link
// to nothing that is called as a picture is counts as one, so that who reads it hears of it.
//
// Left has what was left out and may have been wanted: pictures of other formats or with other endings, and broken links.
// It is an error if a folder cannot be read, or a link leads to a folder that it is in.
func List(dir string) (paths []string, left *Left, err error) {
	left = &Left{}
	err = list(dir, func(path string) { paths = append(paths, path) }, left, nil)
	return paths, left, err
}

// list gives visit every picture. The folders that dir is in are above.
func list(dir string, visit func(path string), left *Left, above []os.FileInfo) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, info) }) {
		return fmt.Errorf("%s is a link to a folder that it is in", dir)
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	above = append(slices.Clip(above), info)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path, mode, end := filepath.Join(dir, e.Name()), e.Type(), ending(e.Name())
		if mode&os.ModeSymlink != 0 {
			switch info, err := os.Stat(path); {
			case err == nil:
				mode = info.Mode()
			case readable[end]:
				mode = 0 // a link to nothing is a broken picture, if it is named like one
			default:
				left.Add("links to nothing", path)
				continue
			}
		}
		switch {
		case mode.IsDir():
			if err := list(path, visit, left, above); err != nil {
				return err
			}
		case !mode.IsRegular():
			if readable[end] {
				left.Add("files that are pipes or devices", path)
			}
		case readable[end]:
			visit(path)
		case unreadable[end] != "":
			left.Add(NotRead(unreadable[end]), path)
		case !plain[end]:
			if format := sniffFile(path); format != "" {
				left.Add(format+" pictures whose name does not end as one's", path)
			}
		}
	}
	return nil
}

// NotRead says for [Left.Add] what pictures of a format are that is not decoded.
func NotRead(format string) string { return "pictures of the format " + format + ", which is not read" }

// sniffFile returns the format of a file by how it begins, or "".
func sniffFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 16)
	n, _ := f.ReadAt(head, 0) // too few bytes are no picture
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	return sniff(head[:n], size)
}

// sniff returns the format of a file of so many bytes that begins with head, or "".
func sniff(head []byte, size int64) string {
	s := string(head)
	has := func(at int, what string) bool { return len(s) >= at && strings.HasPrefix(s[at:], what) }
	switch {
	case has(0, "\xff\xd8\xff"):
		return "JPEG"
	case has(0, "\x89PNG\r\n\x1a\n"):
		return "PNG"
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return "GIF"
	case has(0, "RIFF") && has(8, "WEBP"):
		return "WebP"
	case has(0, "BM") && len(head) >= 10 && int64(binary.LittleEndian.Uint32(head[2:])) == size && has(6, "\x00\x00\x00\x00"):
		return "BMP"
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		return "TIFF"
	case has(4, "ftyphei"), has(4, "ftyphev"), has(4, "ftypmif1"):
		return "HEIC"
	case has(4, "ftypavi"):
		return "AVIF"
	case has(0, "\xff\x0a") && size > 16, has(0, "\x00\x00\x00\x0cJXL "):
		return "JPEG XL"
	case has(0, "\x00\x00\x00\x0cjP  "):
		return "JPEG 2000"
	case has(0, "8BPS"):
		return "Photoshop"
	case has(0, "qoif"):
		return "QOI"
	}
	return ""
}

// Left counts what was left out of a list, by what it is.
type Left struct {
	groups []leftGroup
}

type leftGroup struct {
	what  string
	n     int
	first []string
}

// shown is how many files of a group are named: enough to see what they have in common.
const shown = 3

// Add counts a file, which is one of what: a plural.
func (l *Left) Add(what, path string) {
	i := slices.IndexFunc(l.groups, func(g leftGroup) bool { return g.what == what })
	if i < 0 {
		i = len(l.groups)
		l.groups = append(l.groups, leftGroup{what: what})
	}
	g := &l.groups[i]
	if g.n++; len(g.first) < shown {
		g.first = append(g.first, path)
	}
}

// Notes says what was left out, a line for each kind in the order in which they were met: how many, and the first names.
// Bytes of a name that are no text are escaped.
func (l *Left) Notes() []string {
	var notes []string
	for _, g := range l.groups {
		names := make([]string, len(g.first))
		for i, name := range g.first {
			names[i] = Printable(name)
		}
		list := strings.Join(names, ", ")
		if n := g.n - len(g.first); n > 0 {
			list += fmt.Sprintf(" and %d more", n)
		}
		notes = append(notes, fmt.Sprintf("left out %d %s: %s", g.n, g.what, list))
	}
	return notes
}
