package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/pictures"
)

// parts are names of folders that data sets are split into.
var parts = map[string]bool{"train": true, "training": true, "val": true, "valid": true, "validation": true, "dev": true, "test": true, "testing": true}

// Folder opens a folder that has one folder per class, as torchvision's ImageFolder does: the
// pictures of class C are all files under DIR/C, however deep, that end in jpg, jpeg, png, gif, webp,
// bmp, tif or tiff in any case. Links are followed. What begins with a dot is left out, as is every
// other file. Samples are in the order of their paths; see [Table] for that of the classes.
//
// It returns an error if there are no pictures, a single class, a class without pictures, pictures
// beside the class folders, whose class nobody knows, or no other folders than train, val and the like.
func Folder(dir string) (*Dataset, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var found []labelled
	var loose, hollow problems
	classes := 0
	var split []string // folders that are called as parts of a data set are
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		if !info.IsDir() {
			if pictures.Ending(ending(name)) {
				loose.add(name)
			}
			continue
		}
		classes++
		if parts[strings.ToLower(name)] {
			split = append(split, path)
		}
		n := len(found)
		if err := walk(path, func(path string) {
			found = append(found, labelled{Sample: Sample{Path: path}, label: name, where: path})
		}); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		if len(found) == n {
			hollow.add(name)
		}
	}
	switch {
	case classes == 0 && loose.n == 0:
		return nil, of(ErrEmpty, fmt.Errorf("data: %s: no folders of classes, and 0 pictures without: want DIR/CLASS/picture.jpg", dir))
	case classes == 0:
		return nil, of(ErrUnlabelled, fmt.Errorf("data: %s: no folders of classes, and %d pictures without: want DIR/CLASS/picture.jpg", dir, loose.n))
	case len(split) == classes:
		return nil, fmt.Errorf("data: %s: its folders are %w: train on one of them, and validate on another: %s", dir, ErrParts, strings.Join(split, ", "))
	}
	d, err := build(dir, dir, found, false)
	if err := errors.Join(
		loose.err(dir, "pictures are beside the folders of the classes, not in one"),
		hollow.err(dir, "of %d folders of classes have no pictures", classes),
		err,
	); err != nil {
		return nil, err
	}
	return d, nil
}

// Images opens all pictures under a folder, however deep, without label or caption, in the order of
// their paths. The rules are those of [Folder].
func Images(dir string) (*Dataset, error) {
	var found []labelled
	if err := walk(dir, func(path string) {
		found = append(found, labelled{Sample: Sample{Path: path}, where: path})
	}); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return build(dir, dir, found, true)
}

// walk gives visit every picture under dir, sorted by name in each folder. It differs from
// filepath.WalkDir in that it follows links to folders, which large data sets are made of; above are
// the folders that dir is in, lest a link leads back to one of them.
func walk(dir string, visit func(path string), above ...os.FileInfo) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(above, func(a os.FileInfo) bool { return os.SameFile(a, info) }) {
		return fmt.Errorf("%s is a link to a folder that it is in", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	above = append(slices.Clip(above), info)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		mode := e.Type()
		if mode&os.ModeSymlink != 0 {
			if info, err := os.Stat(path); err == nil {
				mode = info.Mode()
			} else {
				mode = 0 // a link to nothing is a broken picture, if it is named like one
			}
		}
		switch {
		case mode.IsDir():
			if err := walk(path, visit, above...); err != nil {
				return err
			}
		case mode.IsRegular() && pictures.Ending(ending(path)):
			visit(path)
		}
	}
	return nil
}
