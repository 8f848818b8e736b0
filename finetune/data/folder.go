package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// parts are names of folders that data sets are split into.
var parts = map[string]bool{"train": true, "training": true, "val": true, "valid": true, "validation": true, "dev": true, "test": true, "testing": true}

// Folder opens a folder that has one folder per class, as torchvision's ImageFolder does: the
// pictures of class C are all files under DIR/C, however deep, whose names end as those of a format that package clipvit
// decodes, such as jpg or png, in any case. Links are followed. What begins with a dot is left out, as is every
// other file; [Dataset.Notes] tells of those that are pictures too. Samples are in the order of their paths, sorted by
// the bytes of the names in each folder; see [Table] for that of the classes.
//
// It returns an error if there are no pictures, a single class, a class without pictures, a class whose name is not UTF-8,
// pictures beside the class folders, whose class nobody knows, or no other folders than train, val and the like.
func Folder(dir string) (*Dataset, error) { return folderOf(dir, toLearn) }

func folderOf(dir string, least int) (*Dataset, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	paths, left, err := pictures.List(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var found []labelled
	var loose, hollow, garbled problems
	in := map[string]int{} // pictures of a class
	for _, path := range paths {
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		label, _, deeper := strings.Cut(filepath.ToSlash(rel), "/")
		if !deeper {
			loose.add(pyjson.Printable(label))
			continue
		}
		in[label]++
		found = append(found, labelled{Sample: Sample{Path: path}, label: label, where: path})
	}
	classes := 0
	var split []string // folders that are called as parts of a data set are
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			continue // of links to nothing left tells
		}
		classes++
		if parts[strings.ToLower(name)] {
			split = append(split, path)
		}
		if in[name] == 0 {
			hollow.add(pyjson.Printable(name))
		}
		if !utf8.ValidString(name) {
			garbled.add(pyjson.Printable(name))
		}
	}
	notes := left.Notes()
	switch {
	case classes == 0 && loose.n == 0:
		return nil, withNotes(dir, of(ErrEmpty, fmt.Errorf("data: %s: no folders of classes, and 0 pictures without: want DIR/CLASS/picture.jpg%s", dir, instead(dir, entries))), notes)
	case classes == 0:
		return nil, of(ErrUnlabelled, fmt.Errorf("data: %s: no folders of classes, and %s without: want DIR/CLASS/picture.jpg%s", dir, plural.Of(loose.n, "picture"), instead(dir, entries)))
	case len(split) == classes:
		return nil, fmt.Errorf("data: %s: its folders are %w: train on one of them, and validate on another: %s", dir, ErrParts, strings.Join(split, ", "))
	}
	d, err := build(dir, dir, found, false, least)
	if err := errors.Join(
		loose.err(dir, plural.Phrase{One: "picture is beside the folders of the classes, not in one", Many: "pictures are beside the folders of the classes, not in one"}),
		hollow.err(dir, plural.Phrase{One: "of %d folders of classes has no pictures", Many: "of %d folders of classes have no pictures"}, classes),
		garbled.err(dir, plural.Phrase{One: "of %d folders of classes has a name that is not UTF-8", Many: "of %d folders of classes have a name that is not UTF-8"}, classes),
		err,
	); err != nil {
		return nil, withNotes(dir, err, notes)
	}
	d.Notes = notes
	return d, nil
}

// instead says what else in a folder may have been meant: a table, or shards. It is the end of an error, or "".
func instead(dir string, entries []os.DirEntry) string {
	for _, e := range entries {
		switch ending(e.Name()) {
		case "csv", "tsv", "jsonl", "ndjson":
			return fmt.Sprintf(", or the table %s itself", filepath.Join(dir, e.Name()))
		case "tar":
			return fmt.Sprintf(", or the shards %s themselves", filepath.Join(dir, "*.tar"))
		}
	}
	return ""
}

// Images opens all pictures under a folder, however deep, without label or caption, in the order of
// their paths. The rules are those of [Folder].
func Images(dir string) (*Dataset, error) {
	paths, left, err := pictures.List(dir)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var found []labelled
	for _, path := range paths {
		found = append(found, labelled{Sample: Sample{Path: path}, where: path})
	}
	d, err := build(dir, dir, found, true, toLearn)
	if err != nil {
		return nil, withNotes(dir, err, left.Notes())
	}
	d.Notes = left.Notes()
	return d, nil
}

// withNotes adds to an error what was left out: it may be why.
func withNotes(name string, err error, notes []string) error {
	for _, n := range notes {
		err = errors.Join(err, fmt.Errorf("data: %s: %s", name, n))
	}
	return err
}
