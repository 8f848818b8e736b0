package data

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// columns are the names that a column, or a key of JSONL, may have, by what it holds. Case does not
// matter. Source: OpenCLIP's --csv-img-key and --csv-caption-key (filepath, title), the metadata files
// of Hugging Face's imagefolder (file_name, text), img2dataset (caption).
var columns = map[string]int{
	"path": pathColumn, "filepath": pathColumn, "file_name": pathColumn, "filename": pathColumn, "file": pathColumn, "image": pathColumn,
	"label": labelColumn, "class": labelColumn,
	"caption": captionColumn, "text": captionColumn, "title": captionColumn,
}

const (
	pathColumn = iota
	labelColumn
	captionColumn
	numColumns
)

// columnNames are the names of each kind, for errors.
var columnNames = [numColumns]string{"path, filepath, file_name, filename, file or image", "label or class", "caption, text or title"}

// maxLine bounds a line of JSONL. The longest caption of a picture is far below.
const maxLine = 1 << 20 // bytes

// Table opens a file that lists pictures: .csv or .tsv, whose first line names the columns, or .jsonl
// or .ndjson, an object a line. Paths are relative to the file's folder. Columns are known by name:
//
//	path      path, filepath, file_name, filename, file, image
//	label     label, class       any text or number
//	caption   caption, text, title
//
// The rest is ignored. There must be a path, and all rows must have a label or all a caption. Samples are in the order of the rows. Classes are sorted by value if all are
// integers (so that 0 to N-1 keep their numbers), and by their bytes if not.
//
// It returns an error, with line numbers, if a row has no path, a path that another
// has, no label where others have one, or no caption in a table without labels; if there are no rows; and if there is a single class.
func Table(path string) (*Dataset, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	found, err := readTable(data, filepath.Base(path), filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return build(filepath.Base(path), filepath.Dir(path), found, false)
}

func readTable(data []byte, name, dir string) ([]labelled, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // as Excel begins its files
	var rows func(add func(line int, v [numColumns]string)) error
	switch ending(name) {
	case "csv":
		rows = func(add func(int, [numColumns]string)) error { return readCSV(data, ',', add) }
	case "tsv":
		rows = func(add func(int, [numColumns]string)) error { return readCSV(data, '\t', add) }
	case "jsonl", "ndjson":
		rows = func(add func(int, [numColumns]string)) error { return readJSONL(data, add) }
	default:
		return nil, fmt.Errorf("data: %s: the name ends in %q, want .csv, .tsv, .jsonl or .ndjson", name, filepath.Ext(name))
	}
	var found []labelled
	var pathless problems
	if err := rows(func(line int, v [numColumns]string) {
		where := fmt.Sprintf("line %d", line)
		for i := range v {
			v[i] = strings.TrimSpace(v[i])
		}
		file := filepath.FromSlash(v[pathColumn])
		switch {
		case file == "":
			pathless.add(where)
			return
		case !filepath.IsAbs(file):
			file = filepath.Join(dir, file)
		}
		found = append(found, labelled{Sample: Sample{Path: filepath.Clean(file), Caption: v[captionColumn]}, label: v[labelColumn], where: where})
	}); err != nil {
		return nil, fmt.Errorf("data: %s: %w", name, err)
	}
	if err := pathless.err(name, "of %d rows have no path", len(found)+pathless.n); err != nil {
		return nil, err
	}
	return found, nil
}

// readCSV gives add every row of a table with a header.
func readCSV(data []byte, comma rune, add func(line int, v [numColumns]string)) error {
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma = comma
	r.ReuseRecord = true
	r.LazyQuotes = comma == '\t' // a caption of 6" is common there, and no cause for quoting
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("empty file, want a first line that names the columns")
	} else if err != nil {
		return err
	}
	head = append([]string(nil), head...)
	var at [numColumns][]int
	for i, name := range head {
		if kind, ok := columns[strings.ToLower(strings.TrimSpace(name))]; ok {
			at[kind] = append(at[kind], i)
		}
	}
	for kind, is := range at {
		if len(is) > 1 {
			return fmt.Errorf("columns %q and %q of the first line mean the same, want one of %s", head[is[0]], head[is[1]], columnNames[kind])
		}
	}
	if len(at[pathColumn]) == 0 {
		return fmt.Errorf("first line is %.80q, want a column %s", head, columnNames[pathColumn])
	}
	if len(at[labelColumn])+len(at[captionColumn]) == 0 {
		return fmt.Errorf("first line is %.80q, want a column %s, or %s", head, columnNames[labelColumn], columnNames[captionColumn])
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err // with the line
		}
		var v [numColumns]string
		for kind, is := range at {
			if len(is) > 0 {
				v[kind] = strings.Clone(record[is[0]]) // the record is one string: do not keep it all
			}
		}
		line, _ := r.FieldPos(0)
		add(line, v)
	}
}

// readJSONL gives add every object of a file with one a line. Empty lines are left out.
func readJSONL(data []byte, add func(line int, v [numColumns]string)) error {
	for line := 1; len(data) > 0; line++ {
		var row []byte
		row, data, _ = bytes.Cut(data, []byte("\n"))
		if len(row) > maxLine {
			return fmt.Errorf("line %d has %d bytes, want at most %d", line, len(row), maxLine)
		}
		if row = bytes.TrimSpace(row); len(row) == 0 {
			continue
		}
		v, err := readObject(row)
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		add(line, v)
	}
	return nil
}

// readObject finds the columns among the keys of a JSON object. Values may be strings, numbers or, of a
// class, true and false; null counts as absent.
func readObject(object []byte) (v [numColumns]string, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(object, &keys); err != nil {
		return v, err
	}
	if keys == nil {
		return v, errors.New("null, want an object")
	}
	var from [numColumns]string
	for key, raw := range keys {
		kind, ok := columns[strings.ToLower(key)]
		if !ok || string(raw) == "null" {
			continue
		}
		if from[kind] != "" {
			a, b := min(from[kind], key), max(from[kind], key) // a map has no order, an error should
			return v, fmt.Errorf("keys %q and %q mean the same, want one of %s", a, b, columnNames[kind])
		}
		from[kind] = key
		switch raw[0] {
		case '"':
			err = json.Unmarshal(raw, &v[kind])
		case '{', '[':
			err = fmt.Errorf("%q is %.40s, want a string or a number", key, raw)
		default:
			v[kind] = string(raw)
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}
