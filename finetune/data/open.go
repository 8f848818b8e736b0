package data

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Open opens pictures by what path is: a folder ([Folder], or [Images] if they need no labels), a table
// ([Table]) or shards ([Shards]). With labelled it is an error if there are no labels.
func Open(path string, labelled bool, o ...Option) (*Dataset, error) {
	return open(path, labelled, toLearn, chosen(o))
}

// OpenTest opens labelled pictures to judge a model by, as [Open] does. A single class is enough.
func OpenTest(path string, o ...Option) (*Dataset, error) {
	return open(path, true, toJudge, chosen(o))
}

func open(path string, labelled bool, least int, o options) (*Dataset, error) {
	d, err := unkept(path, labelled, least, o)
	if err == nil {
		err = d.keep(path, o.within)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// unkept opens pictures wherever they lie.
func unkept(path string, labelled bool, least int, o options) (d *Dataset, err error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() && o.separator != "" {
		return nil, fmt.Errorf("data: %s: %w %q: a folder of classes has one label a picture, its folder", path, ErrSeparator, o.separator)
	}
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case err == nil && info.IsDir() && !labelled:
		return Images(path)
	case err == nil && info.IsDir():
		d, err = folderOf(path, least)
	case ext == ".csv" || ext == ".tsv" || ext == ".jsonl" || ext == ".ndjson":
		d, err = tableOf(path, o, least)
	case ext == ".tar", ext == ".tgz", strings.HasSuffix(strings.ToLower(path), ".tar.gz"): // which Shards refuses in its words
		if o.separator != "" {
			return nil, fmt.Errorf("data: %s: %w %q: labels of shards are lists in KEY.json", path, ErrSeparator, o.separator)
		}
		d, err = shardsOf(path, least)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("data: no pictures: %w", err)
	default:
		return nil, fmt.Errorf("data: %w", cmp.Or(err, fmt.Errorf("%s: want a folder, a .csv, .tsv, .jsonl or .ndjson, or .tar files", path)))
	}
	if err == nil && labelled && d.Classes == nil {
		return nil, fmt.Errorf("data: %s: %w: all %d have captions, and labels are to be learnt", path, ErrUnlabelled, len(d.Samples))
	}
	return d, err
}
