package converter

import (
	"strconv"
	"strings"
)

// An inventory says which parts of a model there are.
type inventory struct {
	vision, text bool
	layers       int             // of the projector; 0 without one
	alone        bool            // the projector's layer has the name of a linear one
	extra        map[string]bool // the optional canonical paths that are there
	without      map[string]bool // the others that are not: those of the vision tower that the dialect has no names for
}

// A slot is one tensor of a whole model in some dialect.
type slot struct {
	name  string
	path  string
	rule  *rule
	shape []int
}

// isText says whether a canonical parameter is left out with the text tower.
func isText(path string) bool { return strings.HasPrefix(path, "Text.") || path == "LogitScale" }

// A location is a canonical parameter of a model: its spec, and the number of its block or -1.
type location struct {
	spec  spec
	block int
}

// paths returns all parameters of a model, in the order of params.Walk.
func (has inventory) paths(s sizes) []location {
	var all []location
	tower := func(specs []spec, layers int) {
		for i := 0; i < len(specs); i++ {
			sp := specs[i]
			if !strings.Contains(sp.path, "#") {
				if optional[sp.path] == "" && !has.without[sp.path] || has.extra[sp.path] {
					all = append(all, location{sp, -1})
				}
				continue
			}
			n := i // the specs of a block stand together
			for n < len(specs) && strings.Contains(specs[n].path, "#") {
				n++
			}
			for b := range layers {
				for _, sp := range specs[i:n] {
					all = append(all, location{sp, b})
				}
			}
			i = n - 1
		}
	}
	if has.vision {
		tower(visionSpecs, s["L"])
	}
	if has.text {
		tower(textSpecs, s["l"])
	}
	for _, sp := range projectorSpecs {
		if n, ok := projectorLayer(sp.path); ok && n < has.layers || has.extra[sp.path] {
			all = append(all, location{sp, -1})
		}
	}
	return all
}

// projectorLayer returns the number of the projector's layer that a canonical parameter is of.
func projectorLayer(path string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(path, "Projector.Layers.")
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// slots returns all tensors of a model in dialect d, in the order of the canonical parameters.
// Parameters that d has no names for are left out; see [dialect.lacks].
func (d *dialect) slots(s sizes, has inventory) []slot {
	var all []slot
	for _, p := range has.paths(s) {
		rules := d.byTo[p.spec.path]
		if r := d.only[p.spec.path]; r != nil && has.alone {
			rules = []*rule{r}
		}
		for _, r := range rules {
			all = append(all, slot{number(r.from, p.block), number(r.to, p.block), r, r.shape(s)})
		}
	}
	return all
}
