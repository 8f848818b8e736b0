package search

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/internal/scan"
)

// A Filter chooses rows by what they are of. The zero value chooses all.
//
// The elements of a glob are those of [path.Match], and ** is any number of elements. A glob that does not begin with a slash, or a
// drive, may match the last elements of a path alone: *.jpg and cats/*.jpg match /photos/cats/a.jpg, as do /photos/** and cats/**.
type Filter struct {
	Paths   []string    // globs, of which one has to match
	Exclude []string    // globs, of which none may match
	Where   []Condition // all have to hold
}

// ErrFilter is of a filter that is wrong: a glob, a condition, or a column that there is not.
var ErrFilter = errors.New("search: a filter is wrong")

// A Condition compares a column with a value.
type Condition struct {
	Column string // of the user, or path, caption, width, height, size or sha256
	Op     string // =, !=, <, <=, > or >=
	Value  string // a number where the column has numbers; else compared as text
}

// ops are the operators, those that begin like others first.
var ops = []string{"!=", "<=", ">=", "=", "<", ">"}

// ownColumns are those of the index.
var ownColumns = []string{"path", captionColumn, widthColumn, heightColumn, sizeColumn, sha256Column}

// ParseCondition reads a condition such as "label=cat", "year>=2020" or "label!=", of which the last holds for rows that have a
// label. The error is an [ErrFilter].
func ParseCondition(text string) (Condition, error) {
	at := strings.IndexAny(text, "=<>!")
	if at > 0 {
		for _, op := range ops {
			if value, ok := strings.CutPrefix(text[at:], op); ok {
				return Condition{text[:at], op, value}, nil
			}
		}
	}
	return Condition{}, fmt.Errorf("%w: condition %q, want COLUMN=VALUE, or with != < <= > >=", ErrFilter, text)
}

// holds reports whether a record meets the condition. Values are compared as numbers if both are, and as bytes otherwise. A
// column that a row does not have is empty: it equals "", and is neither less nor greater than anything.
func (c Condition) holds(r *Record) bool {
	var has string
	switch c.Column {
	case "path":
		has = r.Path
	case captionColumn:
		has = r.Caption
	case widthColumn:
		has = strconv.Itoa(r.Width)
	case heightColumn:
		has = strconv.Itoa(r.Height)
	case sizeColumn:
		has = strconv.FormatInt(r.Size, 10)
	case sha256Column:
		has = r.SHA256.String()
	default:
		has = r.Columns[c.Column]
	}
	order := strings.Compare(has, c.Value)
	a, errA := strconv.ParseFloat(has, 64)
	b, errB := strconv.ParseFloat(c.Value, 64)
	if errA == nil && errB == nil {
		order = cmp.Compare(a, b)
	}
	switch c.Op {
	case "=":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return has != "" && order < 0
	case "<=":
		return has != "" && order <= 0
	case ">":
		return has != "" && order > 0
	}
	return has != "" && order >= 0
}

// matchPath reports whether a glob of a [Filter] matches a path. The error is an [ErrFilter].
func matchPath(glob, name string) (bool, error) {
	elements := strings.Split(filepath.ToSlash(glob), "/")
	for _, e := range elements {
		if _, err := path.Match(e, ""); err != nil {
			return false, fmt.Errorf("%w: glob %q: %w", ErrFilter, glob, err)
		}
	}
	if elements[0] != "" && elements[0] != "**" && filepath.VolumeName(glob) == "" {
		elements = slices.Insert(elements, 0, "**")
	}
	return matchElements(elements, strings.Split(filepath.ToSlash(name), "/")), nil
}

// matchElements is the matching of a glob, whose elements are right. The last ** is all that has to be tried again.
func matchElements(glob, name []string) bool {
	g, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		if g < len(glob) && glob[g] == "**" {
			star, from = g, n
			g++
			continue
		}
		if g < len(glob) {
			if ok, _ := path.Match(glob[g], name[n]); ok {
				g, n = g+1, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		g, n = star+1, from
	}
	for g < len(glob) && glob[g] == "**" {
		g++
	}
	return g == len(glob)
}

// empty reports whether all rows are chosen.
func (f *Filter) empty() bool { return len(f.Paths) == 0 && len(f.Exclude) == 0 && len(f.Where) == 0 }

// check returns what is wrong with a filter for an index with columns of the user.
func (f *Filter) check(columns []string) error {
	for _, glob := range slices.Concat(f.Paths, f.Exclude) {
		if _, err := matchPath(glob, ""); err != nil {
			return err
		}
		if glob == "" {
			return fmt.Errorf("%w: a glob is empty, and matches no path", ErrFilter)
		}
	}
	for _, c := range f.Where {
		switch {
		case !slices.Contains(ops, c.Op):
			return fmt.Errorf("%w: operator is %q, want one of %s", ErrFilter, c.Op, strings.Join(ops, " "))
		case !slices.Contains(ownColumns, c.Column) && !slices.Contains(columns, c.Column):
			return fmt.Errorf("%w: the index has no column %q, want one of %s", ErrFilter, c.Column, strings.Join(slices.Concat(ownColumns, columns), ", "))
		case c.Column == widthColumn, c.Column == heightColumn, c.Column == sizeColumn:
			if v, err := strconv.ParseFloat(c.Value, 64); err != nil || v-v != 0 {
				return fmt.Errorf("%w: column %s is compared with %q, want a number", ErrFilter, c.Column, c.Value)
			}
		}
	}
	return nil
}

// chooses reports whether a record is chosen. The globs are right.
func (f *Filter) chooses(r *Record) bool {
	matches := func(glob string) bool { ok, _ := matchPath(glob, r.Path); return ok }
	return (len(f.Paths) == 0 || slices.ContainsFunc(f.Paths, matches)) && !slices.ContainsFunc(f.Exclude, matches) &&
		!slices.ContainsFunc(f.Where, func(c Condition) bool { return !c.holds(r) })
}

// chosen returns the rows of a filter that are not deleted, nil if that is all. It reads the metadata if there is a filter.
func (x *Index) chosen(f *Filter) (scan.Set, error) {
	if err := f.check(x.about.Columns); err != nil {
		return nil, err
	}
	if f.empty() && x.changes.dead == 0 {
		return nil, nil
	}
	set := scan.NewSet(x.Len())
	if f.empty() {
		for row := range x.Len() {
			if !x.Dead(row) {
				set.Add(row)
			}
		}
		return set, nil
	}
	for r, err := range x.each {
		if err != nil {
			return nil, err
		}
		if f.chooses(&r.Record) {
			set.Add(r.Index)
		}
	}
	return set, nil
}
