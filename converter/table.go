package converter

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A table says which tensor of a checkpoint is which parameter, in both directions. # stands for
// the number of a block; {a,b} in From pairs with {x,y} in To, in order; X[i/n] is the i-th of n
// equal bands of the rows of X.
type table []struct {
	From, To string
	As       layout
}

// A rule is a row of a table without alternatives.
type rule struct {
	from, to    string // with # for the number of a block, if there is one
	band, bands int    // from is the band-th of so many bands of to
	as          layout
}

var bandIndex = regexp.MustCompile(`\[(\d+)/(\d+)\]`)

// expand returns one rule for every pair of names that the table stands for.
func (t table) expand() []rule {
	var rules []rule
	for _, row := range t {
		for _, p := range pairs(row.From, row.To) {
			r := rule{from: p[0], to: p[1], bands: 1, as: row.As}
			if m := bandIndex.FindStringSubmatch(r.to); m != nil {
				r.band, _ = strconv.Atoi(m[1])
				r.bands, _ = strconv.Atoi(m[2])
				r.to = strings.Replace(r.to, m[0], "", 1)
			}
			rules = append(rules, r)
		}
	}
	return rules
}

// pairs expands the alternatives of two patterns together. It panics if they do not pair: a table
// is part of the program.
func pairs(from, to string) [][2]string {
	a, as, aEnd := alternatives(from)
	b, bs, bEnd := alternatives(to)
	if len(as) != len(bs) {
		panic(fmt.Sprintf("converter: %q and %q have different alternatives", from, to))
	}
	if as == nil {
		return [][2]string{{from, to}}
	}
	var all [][2]string
	for i := range as {
		all = append(all, pairs(a+as[i]+aEnd, b+bs[i]+bEnd)...)
	}
	return all
}

// alternatives splits "x{a,b}y" into "x", [a b] and "y". Without braces there are none.
func alternatives(s string) (before string, list []string, after string) {
	before, rest, ok := strings.Cut(s, "{")
	if !ok {
		return s, nil, ""
	}
	inner, after, ok := strings.Cut(rest, "}")
	if !ok {
		panic(fmt.Sprintf("converter: %q has no closing brace", s))
	}
	return before, strings.Split(inner, ","), after
}

// join returns the rows of all tables.
func join(all ...table) table { return slices.Concat(all...) }

// under returns the rows of a table with prefix in front of the tensors' names.
func under(prefix string, t table) table {
	t = slices.Clone(t)
	for i := range t {
		t[i].From = prefix + t[i].From
	}
	return t
}

// without returns the rows of a table without a module in the tensors' names.
func (t table) without(module string) table {
	t = slices.Clone(t)
	for i := range t {
		t[i].From = strings.Replace(t[i].From, module, "", 1)
	}
	return t
}

// A dialect is what one kind of software calls the tensors of CLIP, and of what is built upon it.
type dialect struct {
	name     string
	table    table
	excused  []string // tensors that are dropped: no parameters
	language []string // what the names of a language model's tensors begin with; they are never read
	family   func(m *Model) (family string, layer int)
	head     headNames // of a classifier that may stand on the tower
	library  string    // whose preprocessing such models have, a preset of clipvit; "" for transformers'

	rules   []rule
	byFrom  map[string]*rule
	byTo    map[string][]*rule // in the order of their bands
	only    map[string]*rule   // by To, those of layout alone
	dropped map[string]bool
}

// withLanguage declares how the names of the language model begin. Such a model takes the tokens of
// the last blocks, so that its tower may lack the post-norm.
func (d *dialect) withLanguage(prefixes ...string) *dialect {
	d.language = prefixes
	return d
}

// isLanguage says whether a tensor is one of the language model's.
func (d *dialect) isLanguage(name string) bool {
	return slices.ContainsFunc(d.language, func(p string) bool { return strings.HasPrefix(name, p) })
}

// isLanguageBehind is isLanguage of a name that has prefix in front, or the first modules of it alone: a LLaVA's tower may be
// deeper in it than its language model.
func (d *dialect) isLanguageBehind(name, prefix string) bool {
	for !d.isLanguage(name) {
		part, rest, ok := strings.Cut(prefix, ".")
		if !ok || !strings.HasPrefix(name, part+".") {
			return false
		}
		name, prefix = name[len(part)+1:], rest
	}
	return true
}

// lacks returns the canonical parameters of a model that dialect d has no names for.
func (d *dialect) lacks(s sizes, has inventory) []string {
	var paths []string
	for _, p := range has.paths(s) {
		if d.byTo[p.spec.path] == nil && !(has.alone && d.only[p.spec.path] != nil) {
			paths = append(paths, number(p.spec.path, p.block))
		}
	}
	return paths
}

// fits returns an error if a model has a parameter that d has no name for, or the other way round.
func (d *dialect) fits(s sizes, has inventory) error {
	if lacks := d.lacks(s, has); lacks != nil {
		return fmt.Errorf("there is no name for %s", strings.Join(lacks, ", "))
	}
	for _, path := range slices.Sorted(maps.Keys(has.without)) {
		if has.vision && has.without[path] && d.byTo[path] != nil {
			return fmt.Errorf("it lacks %s", path)
		}
	}
	return nil
}

// withFamily declares what is known by a dialect's names alone, though the configuration does not say it: f completes
// a model's, and returns the family and the layer of its tower that the projector is fed with.
func (d *dialect) withFamily(f func(m *Model) (family string, layer int)) *dialect {
	d.family = f
	return d
}

// withLibrary declares whose preprocessing models of a dialect have: the name of a preset of clipvit.
func (d *dialect) withLibrary(name string) *dialect {
	d.library = name
	return d
}

// newDialect returns a dialect ready for use.
func newDialect(name string, t table, excused ...string) *dialect {
	d := &dialect{
		name: name, table: t, excused: excused, rules: t.expand(),
		byFrom: map[string]*rule{}, byTo: map[string][]*rule{}, only: map[string]*rule{}, dropped: map[string]bool{},
	}
	for i := range d.rules {
		r := &d.rules[i]
		if d.byFrom[r.from] != nil {
			panic(fmt.Sprintf("converter: %s: %q stands twice", name, r.from))
		}
		d.byFrom[r.from] = r
		if r.as == alone {
			d.only[r.to] = r
			continue
		}
		if len(d.byTo[r.to]) != r.band {
			panic(fmt.Sprintf("converter: %s: bands of %q are not in order", name, r.to))
		}
		d.byTo[r.to] = append(d.byTo[r.to], r)
	}
	for _, n := range excused {
		d.dropped[n] = true
	}
	return d
}

// match returns the rule of a tensor's name and the number of its block, -1 if it is in none.
func (d *dialect) match(name string) (r *rule, block int) {
	if r := d.byFrom[name]; r != nil {
		return r, -1
	}
	const most = 4 // numbers in a name that are tried; names have up to two
	for i, tried := 0, 0; tried < most; {
		part, _, more := strings.Cut(name[i:], ".")
		if !more {
			break
		}
		// Only the canonical form of a number: Atoi would take +3 and 03 as well.
		if n, err := strconv.Atoi(part); err == nil && n >= 0 && strconv.Itoa(n) == part {
			if r := d.byFrom[name[:i]+"#"+name[i+len(part):]]; r != nil {
				return r, n
			}
			tried++
		}
		i += len(part) + 1
	}
	return nil, 0
}

// number puts the number of a block into a pattern.
func number(pattern string, block int) string {
	return strings.Replace(pattern, "#", strconv.Itoa(block), 1)
}

// A MismatchError lists everything that keeps the tensors of a checkpoint from being a model.
type MismatchError struct {
	File       string   // the path that was opened
	Dialect    string   // whose names the tensors come nearest to
	Missing    []string // tensors that are wanted and not there
	Unexpected []string // tensors that are there and not wanted
	Shapes     []string // tensors of another shape or type than wanted, with both
	Family     string   // what the tensors are of, in words, if that is known; "" otherwise
}

// Error implements error.
func (e *MismatchError) Error() string {
	var parts []string
	for _, l := range []struct {
		what string
		list []string
	}{{"missing", e.Missing}, {"unexpected", e.Unexpected}, {"of the wrong shape", e.Shapes}} {
		const shown = 6 // the whole lists are in the fields
		n := len(l.list)
		if n == 0 {
			continue
		}
		text := strings.Join(l.list[:min(n, shown)], ", ")
		if n > shown {
			text += fmt.Sprintf(" and %d more", n-shown)
		}
		parts = append(parts, fmt.Sprintf("%d %s (%s)", n, l.what, text))
	}
	family := ""
	if e.Family != "" {
		family = e.Family + ": "
	}
	return fmt.Sprintf("converter: %s: %stensors are not a whole model in the names of %s: %s", e.File, family, e.Dialect, strings.Join(parts, "; "))
}
