package op

import (
	"errors"
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"
)

// The operators of texts go through the same tests as all others.
func init() {
	words := []int{3, 0, 3, 1, 3, 2} // two texts of three words, one word twice in the first
	cases = append(cases,
		caseOf{
			"WordEmbed", [][2]int{{4, 5}, {6, 5}},
			func(in []mat.Tensor) mat.Tensor { return WordEmbed(words, 3, in[0], in[1]) },
			func(in []mat.Tensor) mat.Tensor {
				token, position := ag.RowViews(in[0]), ag.RowViews(in[1])
				var rows []mat.Tensor
				for i, w := range words {
					rows = append(rows, ag.Add(token[w], position[i%3]))
				}
				return ag.Stack(rows...)
			},
		},
		caseOf{
			"CausalAttention", [][2]int{{10, 18}},
			func(in []mat.Tensor) mat.Tensor { return CausalAttention(in[0], 3, 5) },
			func(in []mat.Tensor) mat.Tensor {
				var rows []mat.Tensor
				for text := range 2 {
					for i := range 5 { // is the last of the attention among itself and those before it
						first := ag.Slice(in[0], 5*text, 0, 5*text+i+1, 18)
						rows = append(rows, ag.RowViews(attention(first, 3, i+1))[i])
					}
				}
				return ag.Stack(rows...)
			},
		},
	)
}

func TestTextShapeErrors(t *testing.T) {
	x := func(r, c int) mat.Tensor { return mat.NewDense[float32](mat.WithShape(r, c)) }
	for name, f := range map[string]func(){
		"WordEmbed":          func() { WordEmbed([]int{0, 0, 0}, 2, x(4, 5), x(6, 5)) },
		"WordEmbed position": func() { WordEmbed([]int{0, 0}, 2, x(4, 5), x(6, 4)) },
		"CausalAttention":    func() { CausalAttention(x(5, 6), 1, 2) },
	} {
		func() {
			defer func() {
				var e *ShapeError
				if err, _ := recover().(error); !errors.As(err, &e) || e.Op != name {
					t.Errorf("%s: panicked with %v, want a ShapeError of it", name, err)
				}
			}()
			f()
		}()
	}
	for want, f := range map[string]func(){
		"op: WordEmbed: row is 4, want 0 to 3":                                   func() { WordEmbed([]int{0, 4}, 2, x(4, 5), x(6, 5)) },
		"op: Gather: row is -1, want 0 to 3":                                     func() { Gather(x(4, 5), []int{-1}) },
		"op: WordEmbed: shape [7], want a multiple of 7 words, at most 6 a text": func() { WordEmbed(make([]int, 7), 7, x(4, 5), x(6, 5)) },
	} {
		func() {
			defer func() {
				got := recover()
				if err, ok := got.(error); ok {
					got = err.Error()
				}
				if got != want {
					t.Errorf("panicked with %v, want %s", got, want)
				}
			}()
			f()
		}()
	}
}
