package pictures

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// plain are endings of files that are no pictures, which lie beside them by the thousand: they are not looked into.
var plain = map[string]bool{
	"txt": true, "json": true, "jsonl": true, "ndjson": true, "csv": true, "tsv": true, "cls": true, "xml": true, "yaml": true, "yml": true, "md": true,
	"npy": true, "npz": true, "pt": true, "pth": true, "safetensors": true, "html": true, "log": true, "py": true, "go": true,
}

// Ending says whether e is the ending of files that package clipvit decodes: in any case, without the dot.
func Ending(e string) bool {
	f, ok := pillow.FormatOfEnding(e)
	return ok && f.Decodes
}

// Unread returns the name of the format of pictures with the ending e that package clipvit does not decode, or "".
func Unread(e string) string {
	if f, ok := pillow.FormatOfEnding(e); ok && !f.Decodes {
		return f.Name
	}
	return ""
}

// ending returns what follows the last dot of a file's name, in lower case.
func ending(name string) string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
}

// List returns the pictures under a folder, however deep: all files but hidden ones whose ending, in any case, is that of
// a picture. They are sorted by the bytes of their names in each folder, folders among the files. Links are followed. A link
// to nothing whose name ends as a picture's counts as one, so that who reads it hears of it.
//
// Left has what was left out and may have been wanted: pictures of other formats or with other endings, and broken links.
// It is an error if a folder cannot be read, or a link leads to a folder that it is in.
func List(dir string) (paths []string, left *Left, err error) {
	left, err = Walk(dir, func(path string) { paths = append(paths, path) })
	return paths, left, err
}

// Walk gives visit the pictures that [List] returns, one after the other.
func Walk(dir string, visit func(path string)) (left *Left, err error) {
	left = &Left{}
	folders := maxFolders
	err = list(dir, visit, left, nil, &folders)
	return left, err
}

// maxFolders is how many folders are gone through: links to folders of links could make endless many of a few.
const maxFolders = 1 << 20

// list gives visit every picture. The folders that dir is in are above.
func list(dir string, visit func(path string), left *Left, above []os.FileInfo, folders *int) error {
	if *folders--; *folders < 0 {
		return fmt.Errorf("%s: more than %d folders, each counted as often as links lead to it", dir, maxFolders)
	}
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
			case Ending(end):
				mode = 0 // a link to nothing is a broken picture, if it is named like one
			default:
				left.Add(plural.Phrase{One: "link to nothing", Many: "links to nothing"}, path)
				continue
			}
		}
		switch {
		case mode.IsDir():
			if err := list(path, visit, left, above, folders); err != nil {
				return err
			}
		case !mode.IsRegular():
			if Ending(end) {
				left.Add(plural.Phrase{One: "file that is a pipe or device", Many: "files that are pipes or devices"}, path)
			}
		case Ending(end):
			visit(path)
		case Unread(end) != "":
			left.Add(NotRead(Unread(end)), path)
		case !plain[end]:
			if format := sniff(path); format != "" {
				left.Add(plural.Phrase{One: format + " picture whose name does not end as one's", Many: format + " pictures whose name does not end as one's"}, path)
			}
		}
	}
	return nil
}

// NotRead says for [Left.Add] what pictures of a format are that is not decoded.
func NotRead(format string) plural.Phrase {
	end := " of the format " + format + ", which is not read"
	return plural.Phrase{One: "picture" + end, Many: "pictures" + end}
}

// sniff returns the format of a file by how it begins, or "".
func sniff(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, 0) // too few bytes are no picture
	head = head[:n]
	format, ok := pillow.FormatOf(head)
	if !ok {
		return ""
	}
	if format.Name == "BMP" { // which two letters begin, as they do texts
		if info, err := f.Stat(); err != nil || n < 6 || int64(binary.LittleEndian.Uint32(head[2:])) != info.Size() {
			return ""
		}
	}
	return format.Name
}

// Left counts what was left out of a list, by what it is.
type Left struct {
	groups []leftGroup
}

type leftGroup struct {
	what  plural.Phrase
	n     int
	first []string
}

// shown is how many files of a group are named: enough to see what they have in common.
const shown = 3

// Add counts a file, which is one of what.
func (l *Left) Add(what plural.Phrase, path string) {
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
			names[i] = pyjson.Printable(name)
		}
		list := strings.Join(names, ", ")
		if n := g.n - len(g.first); n > 0 {
			list += fmt.Sprintf(" and %d more", n)
		}
		notes = append(notes, fmt.Sprintf("left out %s: %s", g.what.Of(g.n), list))
	}
	return notes
}
