package data

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pycsv"
	"github.com/vitago/vitago/internal/pyjson"
)

// columns are the names that a column, or a key of JSONL, may have, by what it holds. Case does not
// matter. Source: OpenCLIP's --csv-img-key and --csv-caption-key (filepath, title), the metadata files
// of Hugging Face's imagefolder (file_name, text), img2dataset (caption).
var columns = map[string]int{
	"path": pathColumn, "filepath": pathColumn, "file_name": pathColumn, "filename": pathColumn, "file": pathColumn, "image": pathColumn,
	"label": labelColumn, "class": labelColumn,
	"labels":  labelsColumn,
	"caption": captionColumn, "text": captionColumn, "title": captionColumn,
}

const (
	pathColumn = iota
	labelColumn
	captionColumn
	labelsColumn // of labels that do not exclude each other
	numColumns
)

// A row is what a line of a table says.
type row struct {
	text [numColumns]string
	list // of JSONL
}

// columnNames are the names of each kind, for errors.
var columnNames = [numColumns]string{"path, filepath, file_name, filename, file or image", "label or class", "caption, text or title", "labels"}

// maxLine bounds a line of JSONL. The longest caption of a picture is far below.
const maxLine = 1 << 20 // bytes

// Table opens a file that lists pictures: .csv or .tsv, whose first line names the columns, or .jsonl
// or .ndjson, an object a line. Paths are relative to the file's folder. Columns are known by name:
//
//	path      path, filepath, file_name, filename, file, image
//	label     label, class       any text or number
//	caption   caption, text, title
//	labels    labels             of pictures that may be of several classes, where there is no label
//
// Labels that do not exclude each other are a list in JSONL, as Hugging Face's datasets write it: {"image": "a.png", "labels":
// ["cat", "dog"]}, [] for a picture of none. In CSV they are one field, split at a [Separator]. If a row has a list all need
// one.
//
// The rest is ignored. There must be a path, and all rows must have a label or all a caption. Samples are in the order of the rows. Classes are sorted by value if all are
// integers (so that 0 to N-1 keep their numbers), and by their bytes if not.
//
// The text is UTF-8. Quotes are read as Python's csv and pandas read them; fields are text, so that NA and null are names as
// others are. Spaces around a field are no part of it. A .csv whose first line has tabs and no comma is read as a .tsv.
//
// It returns an error, with line numbers, if a row has no path, a path that another
// has, no label where others have one, or no caption in a table without labels; if the text is not UTF-8, a row has more or fewer
// fields than the first, or csv and pandas would read something else each, as labels 1 and 1.0; if a quote swallows rows; if a
// path is an address of the net; if there are no rows; and if there is a single class.
func Table(path string, o ...Option) (*Dataset, error) { return tableOf(path, chosen(o), toLearn) }

// An Option says how a source is read.
type Option func(*options)

type options struct{ separator, within string }

// chosen returns what options say.
func chosen(o []Option) (c options) {
	for _, f := range o {
		f(&c)
	}
	return c
}

// Separator says what stands between the labels of a picture in the column of labels of a .csv or .tsv, where labels do not
// exclude each other. An empty field is a picture of no class. Spaces around a label are no part of it. It is an error if a
// label is empty or there twice, or if the source is no such table.
func Separator(text string) Option { return func(o *options) { o.separator = text } }

// Within says below which folder all pictures have to lie, for tables of others: one that a row of a table names and that lies elsewhere is an
// [ErrOutside]. A link is followed as far as it stays below it; one that leads elsewhere is an error of [Dataset.Open].
func Within(folder string) Option { return func(o *options) { o.within = folder } }

func tableOf(path string, o options, least int) (*Dataset, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	found, err := readTable(data, filepath.Base(path), filepath.Dir(path), o.separator)
	if err != nil {
		return nil, err
	}
	d, err := build(filepath.Base(path), filepath.Dir(path), found, false, least)
	if err != nil {
		return nil, err
	}
	return d, d.keep(filepath.Base(path), o.within)
}

func readTable(data []byte, name, dir, separator string) ([]labelled, error) {
	text, err := pycsv.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", name, err)
	}
	var rows func(add func(line int, v row) error) error
	switch ending(name) {
	case "csv":
		rows = func(add func(int, row) error) error { return readCSV(text, pycsv.Delimiter(text), dir, separator, add) }
	case "tsv":
		rows = func(add func(int, row) error) error { return readCSV(text, '\t', dir, separator, add) }
	case "jsonl", "ndjson":
		if separator != "" {
			return nil, fmt.Errorf("data: %s: %w %q: labels of JSONL are lists", name, ErrSeparator, separator)
		}
		rows = func(add func(int, row) error) error { return readJSONL([]byte(text), add) }
	default:
		return nil, fmt.Errorf("data: %s: the name ends in %q, want .csv, .tsv, .jsonl or .ndjson", name, filepath.Ext(name))
	}
	var found []labelled
	var pathless problems
	spelling := map[string]spelled{} // of a label, with the spaces around it
	if err := rows(func(line int, r row) error {
		v, where := r.text, fmt.Sprintf("line %d", line)
		file := filepath.FromSlash(unpadded(v[pathColumn]))
		if whole := filepath.FromSlash(v[pathColumn]); whole != file && isFile(below(dir, whole)) {
			file = whole // a name that begins or ends with a space
		}
		if file == "" {
			pathless.add(where)
			return nil
		}
		if address.MatchString(file) && !isFile(below(dir, file)) {
			return fmt.Errorf("line %d: %s is an address, want the path of a file; bring the pictures first", line, pyjson.Printable(file))
		}
		for i, l := range r.labels {
			if !utf8.ValidString(l) {
				return fmt.Errorf("line %d: %q is not UTF-8", line, l)
			}
			if slices.Contains(r.labels[:i], l) {
				return fmt.Errorf("line %d: the label %q is there twice", line, l)
			}
		}
		label := unpadded(v[labelColumn])
		switch first, seen := spelling[strings.TrimSpace(label)]; {
		case label == "":
		case !seen:
			spelling[strings.TrimSpace(label)] = spelled{v[labelColumn], line}
		case first.text != v[labelColumn]:
			return fmt.Errorf("line %d: the label %q differs from the %q of line %d in nothing but spaces around it", line, v[labelColumn], first.text, first.line)
		}
		for kind, text := range v {
			if kind != pathColumn && !utf8.ValidString(text) { // a JSON string with half a character
				return fmt.Errorf("line %d: %q is not UTF-8", line, text)
			}
		}
		found = append(found, labelled{Sample: Sample{Path: filepath.Clean(below(dir, file)), Caption: strings.TrimSpace(v[captionColumn])}, label: label, where: where, list: r.list})
		return nil
	}); err != nil {
		return nil, fmt.Errorf("data: %s: %w", name, err)
	}
	if err := pathless.err(name, plural.Phrase{One: "of %d rows has no path", Many: "of %d rows have no path"}, len(found)+pathless.n); err != nil {
		return nil, err
	}
	if err := sameNumber(found); err != nil {
		return nil, fmt.Errorf("data: %s: %w", name, err)
	}
	return found, nil
}

// address is how the place of a picture on the net begins, as img2dataset's tables have them.
var address = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]+://`)

// sameNumber returns an error if all labels are numbers, and two of them are one number in other words: pandas makes one class
// of 1 and 1.0, csv two.
func sameNumber(found []labelled) error {
	first := map[float64]labelled{}
	var twice error
	for _, s := range found {
		labels := s.labels
		if s.label != "" {
			labels = []string{s.label}
		}
		for _, s.label = range labels {
			v, err := strconv.ParseFloat(s.label, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil
			}
			switch f, seen := first[v]; {
			case !seen:
				first[v] = s
			case f.label != s.label && twice == nil:
				twice = fmt.Errorf("%s: the label %q is the number of the %q of %s: one class to pandas, two to csv; write them alike", s.where, s.label, f.label, f.where)
			}
		}
	}
	return twice
}

// A spelled label is one as a row has it.
type spelled struct {
	text string
	line int
}

// unpadded returns a field without the spaces around it; "" if there is nothing but white space.
func unpadded(field string) string {
	if strings.TrimSpace(field) == "" {
		return ""
	}
	return strings.Trim(field, " ")
}

// below returns the path of a table's file.
func below(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

// isFile says whether there is a file of that path.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// readCSV gives add every row of a table with a header. Paths are relative to dir. With a separator labels are split at it.
func readCSV(text string, comma byte, dir, separator string, add func(line int, v row) error) error {
	var head []string
	var at [numColumns][]int
	err := pycsv.Read(text, comma, func(r pycsv.Record) error {
		if head == nil {
			head = r.Fields
			return findColumns(head, separator, &at)
		}
		if err := r.Whole(); err != nil {
			return err
		}
		if r.Last > r.Line {
			if line, path := swallowed(r, comma, len(head), at[pathColumn][0], dir); line > 0 {
				return fmt.Errorf("line %d: a quote opens a field that swallows line %d, the row of %s; a quote that is meant as one is doubled in quotes: \"6\"\" pipe\"",
					r.Line, line, pyjson.Printable(path))
			}
		}
		var v row
		for kind, is := range at {
			if len(is) > 0 {
				v.text[kind] = r.Fields[is[0]]
			}
		}
		if separator != "" {
			var err error
			if v.list, err = split(cmp.Or(v.text[labelsColumn], v.text[labelColumn]), separator); err != nil {
				return fmt.Errorf("line %d: %w", r.Line, err)
			}
			v.text[labelColumn] = ""
		}
		return add(r.Line, v)
	})
	if err == nil && head == nil {
		return errors.New("empty file, want a first line that names the columns")
	}
	return err
}

// split returns the labels of a field.
func split(field, separator string) (l list, err error) {
	l.listed = true
	if strings.TrimSpace(field) == "" {
		return l, nil
	}
	for part := range strings.SplitSeq(field, separator) {
		if part = strings.TrimSpace(part); part == "" {
			return l, fmt.Errorf("the labels %q have an empty one between the separators %q", field, separator)
		}
		l.labels = append(l.labels, part)
	}
	return l, nil
}

// findColumns finds the columns by their names. With a separator there is one of labels.
func findColumns(head []string, separator string, at *[numColumns][]int) error {
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
	hint := ""
	switch one := len(head) == 1; {
	case one && strings.Contains(head[0], ";"):
		hint = "; its fields seem to be separated by semicolons, want commas"
	case one && strings.Contains(head[0], "|"):
		hint = "; its fields seem to be separated by bars, want commas"
	case one && strings.Contains(head[0], ","): // of a .tsv
		hint = "; its fields seem to be separated by commas, want tabs"
	}
	if len(at[pathColumn]) == 0 {
		return fmt.Errorf("first line is %.80q, want a column %s%s", head, columnNames[pathColumn], hint)
	}
	switch label, labels := at[labelColumn], at[labelsColumn]; {
	case separator == "" && len(labels) > 0 && len(label)+len(at[captionColumn]) == 0:
		return fmt.Errorf("column %q of the first line has several labels of a picture: want the %w of them", head[labels[0]], ErrSeparator)
	case separator != "" && len(label)+len(labels) == 0:
		return fmt.Errorf("first line is %.80q, want a column %s or %s%s", head, columnNames[labelsColumn], columnNames[labelColumn], hint)
	case separator != "" && len(label)+len(labels) > 1:
		return fmt.Errorf("columns %q and %q of the first line both have labels, want one", head[label[0]], head[labels[0]])
	}
	if len(at[labelColumn])+len(at[labelsColumn])+len(at[captionColumn]) == 0 {
		return fmt.Errorf("first line is %.80q, want a column %s, or %s%s", head, columnNames[labelColumn], columnNames[captionColumn], hint)
	}
	return nil
}

// swallowed returns the first line within a field of several lines that is itself the row of a file that is there, and
// the file's path; 0 if there is none.
func swallowed(r pycsv.Record, comma byte, width, path int, dir string) (line int, file string) {
	line = r.Line
	for _, field := range r.Fields {
		for i, text := range strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(field), "\n") {
			if i > 0 {
				line++
			}
			if parts := strings.Split(text, string(comma)); i > 0 && len(parts) == width {
				if file = strings.Trim(parts[path], ` "`); file != "" && isFile(below(dir, filepath.FromSlash(file))) {
					return line, file
				}
			}
		}
	}
	return 0, ""
}

// readJSONL gives add every object of a file with one a line. Empty lines are left out.
func readJSONL(data []byte, add func(line int, v row) error) error {
	for line := 1; len(data) > 0; line++ {
		var text []byte
		text, data, _ = bytes.Cut(data, []byte("\n"))
		if len(text) > maxLine {
			return fmt.Errorf("line %d has %d bytes, want at most %d", line, len(text), maxLine)
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		v, err := readObject(text)
		if err != nil && text[0] == '{' && text[len(text)-1] != '}' {
			return fmt.Errorf("line %d: %w, want a whole object on the line", line, err)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if err := add(line, v); err != nil {
			return err
		}
	}
	return nil
}

// readObject finds the columns among the keys of a JSON object. Values may be strings, numbers or, of a
// class, true and false, and lists of these where labels do not exclude each other; null counts as absent.
func readObject(object []byte) (v row, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(object), []byte("[")) {
		return v, fmt.Errorf("%.40s, want an object; a list of objects is one a line, without the brackets and commas", object)
	}
	var keys map[string]json.RawMessage
	if err := pyjson.Unmarshal(object, &keys); err != nil {
		return v, err
	}
	plain, err := pyjson.Plain(object)
	if err != nil {
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
		isLabel := kind == labelColumn || kind == labelsColumn
		switch {
		case kind == labelsColumn && hasLabel(keys):
			// of which the label says what counts
		case isLabel && raw[0] == '[':
			v.list, err = labelList(key, raw, object, plain)
		case kind == labelsColumn:
			err = fmt.Errorf("%q is %.40s, want a list of strings or numbers", key, raw)
		default:
			v.text[kind], err = scalar(key, raw, object, plain)
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

// hasLabel says whether one of the keys of an object is that of a label.
func hasLabel(keys map[string]json.RawMessage) bool {
	for key, raw := range keys {
		if columns[strings.ToLower(key)] == labelColumn && string(raw) != "null" {
			return true
		}
	}
	return false
}

// labelList returns the labels of a JSON list.
func labelList(key string, raw json.RawMessage, object, plain []byte) (l list, err error) {
	l.listed = true
	var all []json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return l, fmt.Errorf("%q: %w", key, err)
	}
	for _, raw := range all {
		if string(raw) == "null" {
			return l, fmt.Errorf("%q has null, want strings or numbers", key)
		}
		label, err := scalar(key, raw, object, plain)
		if err != nil {
			return l, err
		}
		if label = strings.TrimSpace(label); label == "" {
			return l, fmt.Errorf("%q has an empty label", key)
		}
		l.labels = append(l.labels, label)
	}
	return l, nil
}

// scalar returns a JSON string, or the text of a number, true or false, of a key of an object, which is also there without names
// that are no numbers.
func scalar(key string, raw json.RawMessage, object, plain []byte) (string, error) {
	switch raw[0] {
	case '"':
		// A number that is none has become a string.
		if s := string(raw); (s == `"NaN"` || s == `"Infinity"` || s == `"-Infinity"`) && bytes.Count(object, raw) < bytes.Count(plain, raw) {
			return "", fmt.Errorf("%q is %s, want a string or a finite number", key, strings.Trim(s, `"`))
		}
		return pyjson.Unquote(raw)
	case '{', '[':
		return "", fmt.Errorf("%q is %.40s, want a string or a number", key, raw)
	}
	return string(raw), nil
}
