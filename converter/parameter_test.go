package converter

import (
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
)

// TestParameterNames: a parameter in several tensors has the names of all.
func TestParameterNames(t *testing.T) {
	for want, names := range map[string][]string{
		"h.{q,k,v}_proj.weight": {"h.q_proj.weight", "h.k_proj.weight", "h.v_proj.weight"},
		"w":                     {"w", "w"},
		"{a,b}":                 {"a", "b"},
		"a{,aa}":                {"a", "aaa"},
		"x.{a,b}a.w":            {"x.aa.w", "x.ba.w"},
	} {
		var p param
		for _, name := range names {
			p = append(p, part{t: &checkpoint.Tensor{Name: name}})
		}
		if got := (Parameter{parts: p}).Tensors(); got != want {
			t.Errorf("%q: got %s, want %s", names, got, want)
		}
	}
}
