package converter

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A layout says how the elements of a tensor lie in comparison with the parameter.
type layout int

const (
	asIs       layout = iota // the shapes are equal
	flat                     // the last dimension of the parameter is several of the tensor's
	transposed               // rows are columns
	alone                    // as it is, and the name of a projector's layer that is its only one
	row                      // the first dimension of the tensor is a batch of one, which the parameter does not have
	row2                     // so are the first two
)

// sizes has the value of every letter that shapes are written in.
type sizes map[string]int

// A dim is a dimension of a tensor: a product of letters and numbers, divided into bands.
type dim struct {
	factors []string
	bands   int
}

// dims returns the dimensions of the tensor that rule r speaks of.
func (r *rule) dims() []dim {
	fields := strings.Fields(specOf[r.to].shape)
	var all []dim
	for i, f := range fields {
		factors := strings.Split(f, "*")
		if r.as == flat && i == len(fields)-1 {
			for _, f := range factors {
				all = append(all, dim{[]string{f}, 1})
			}
			continue
		}
		all = append(all, dim{factors, 1})
	}
	if r.as == transposed {
		slices.Reverse(all)
	}
	switch r.as {
	case row:
		all = append([]dim{one}, all...)
	case row2:
		all = append([]dim{one, one}, all...)
	}
	if r.bands > 1 {
		all[0].bands = r.bands
	}
	return all
}

// one is the dimension of a batch of one.
var one = dim{[]string{"1"}, 1}

// size returns the value of a dimension.
func (d dim) size(s sizes) int {
	n := 1
	for _, f := range d.factors {
		if k, err := strconv.Atoi(f); err == nil {
			n *= k
		} else {
			n *= s[f]
		}
	}
	return n / d.bands
}

// solve returns the letter of a dimension and its value if the dimension has size n.
func (d dim) solve(n int) (letter string, value int, ok bool) {
	k := 1
	for _, f := range d.factors {
		if i, err := strconv.Atoi(f); err == nil {
			k *= i
		} else if letter != "" {
			return "", 0, false
		} else {
			letter = f
		}
	}
	if n > math.MaxInt32 {
		return "", 0, false
	}
	n *= d.bands
	return letter, n / k, letter != "" && n > 0 && n%k == 0
}

// shape returns the shape of the tensor that rule r speaks of.
func (r *rule) shape(s sizes) []int {
	shape := []int{}
	for _, d := range r.dims() {
		shape = append(shape, d.size(s))
	}
	return shape
}

// shapeText returns the shape as an error shows it, with the letters that nothing told the value of.
func (r *rule) shapeText(s sizes) string {
	var text []string
	for i, n := range r.shape(s) {
		if n > 0 {
			text = append(text, strconv.Itoa(n))
		} else {
			text = append(text, strings.Join(r.dims()[i].factors, "*"))
		}
	}
	return fmt.Sprint(text)
}
