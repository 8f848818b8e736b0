package data

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/projector"
)

// Tokens are tokens to learn, a tensor [N,O] for each picture, as vitago tokens writes them. They stay in their
// file until they are asked for.
type Tokens struct {
	Width int // O

	path    string
	file    *checkpoint.File
	tensors map[string]*checkpoint.Tensor // by [Dataset.Name]
}

// OpenTokens opens a safetensors file with a tensor [N,O] for every picture of some data sets, called by its path,
// which ends with that below the data's folder: the picture dogs/1.png of the data photos has the tensor dogs/1.png,
// photos/dogs/1.png or /home/me/photos/dogs/1.png, the shortest that there is. Tensors of other pictures may be there.
func OpenTokens(path string, sets ...*Dataset) (*Tokens, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	t := &Tokens{path: path, file: c, tensors: map[string]*checkpoint.Tensor{}}
	if err := t.find(sets); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// find finds the tensors of all pictures, or says what is wrong with them.
func (t *Tokens) find(sets []*Dataset) error {
	ends := map[string][]*checkpoint.Tensor{}
	for _, x := range t.file.Tensors() {
		name := strings.ReplaceAll(x.Name, `\`, "/")
		for {
			ends[name] = append(ends[name], x)
			_, rest, more := strings.Cut(name, "/")
			if !more {
				break
			}
			name = rest
		}
	}
	var missing, several, shapes []string
	pictures, widths := 0, map[int]int{}
	for _, set := range sets {
		for i := range set.Samples {
			pictures++
			name := set.Name(i)
			switch found := shortest(ends[name]); {
			case len(found) == 0:
				missing = append(missing, name)
			case len(found) > 1:
				several = append(several, fmt.Sprintf("%s: %s and %s", name, found[0].Name, found[1].Name))
			default:
				x := found[0]
				t.tensors[name] = x
				if len(x.Shape) != 2 {
					break
				}
				if n := x.Shape[1]; n > 0 {
					if widths[n]++; widths[n] > widths[t.Width] {
						t.Width = n // what most have
					}
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.tensors)) {
		if x := t.tensors[name]; len(x.Shape) != 2 || x.Shape[0] < 1 || x.Shape[1] != t.Width {
			shapes = append(shapes, fmt.Sprintf("%s: %v, want [N,%d]", x.Name, x.Shape, t.Width))
		}
	}
	var errs []error
	for _, wrong := range []struct {
		what string
		list []string
	}{{"have no tensor of their name", missing}, {"have several tensors", several}, {"have targets of another shape", shapes}} {
		if n := len(wrong.list); n > 0 {
			errs = append(errs, fmt.Errorf("data: %s has %d tensors: %d of %d pictures %s: %s", t.path, len(t.file.Tensors()), n, pictures, wrong.what, firstOf(wrong.list)))
		}
	}
	return errors.Join(errs...)
}

// shortest returns the tensors whose paths have the fewest folders.
func shortest(all []*checkpoint.Tensor) (some []*checkpoint.Tensor) {
	fewest := math.MaxInt
	for _, x := range all {
		switch n := strings.Count(x.Name, "/") + strings.Count(x.Name, `\`); {
		case n < fewest:
			fewest, some = n, []*checkpoint.Tensor{x}
		case n == fewest:
			some = append(some, x)
		}
	}
	return some
}

// firstOf writes the first few of a list.
func firstOf(list []string) string {
	const shown = 5 // enough to see what they have in common
	s := strings.Join(list[:min(len(list), shown)], ", ")
	if n := len(list) - shown; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// Name returns the name of the file without its folder: a run goes on where its data were moved.
func (t *Tokens) Name() string {
	path := strings.ReplaceAll(t.path, `\`, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// String returns the path of the file.
func (t *Tokens) String() string { return t.path }

// Shape returns [N,O] of the picture of a name, or nil.
func (t *Tokens) Shape(name string) []int {
	if x := t.tensors[name]; x != nil {
		return x.Shape
	}
	return nil
}

// Close closes the file.
func (t *Tokens) Close() error { return t.file.Close() }

// Of returns the tokens of the picture of a name, row after row.
func (t *Tokens) Of(name string) ([]float32, error) {
	x, ok := t.tensors[name]
	if !ok {
		return nil, fmt.Errorf("data: %s has no tensor of %s", t.path, name)
	}
	rows := make([]float32, x.Len())
	if err := x.Float32s(rows); err != nil {
		return nil, fmt.Errorf("data: %s: %w", t.path, err)
	}
	return rows, nil
}

// Fits returns an error if an encoder gives other numbers of tokens than the targets of pictures have, by the pictures'
// headers. Pictures that cannot be read are passed over.
func (t *Tokens) Fits(e *projector.Encoder, sets ...*Dataset) error {
	if out := e.Projector.Config.Out; out != t.Width {
		return fmt.Errorf("data: %s has tokens of %d numbers, the projector gives %d", t.path, t.Width, out)
	}
	var wrong []string
	for _, set := range sets {
		for i := range set.Samples {
			width, height, err := sizeOf(set, i, e.Tower.Config.Transform)
			if err != nil {
				continue // the run says what is wrong with it
			}
			n, err := e.Count(width, height)
			if err != nil {
				continue
			}
			name := set.Name(i)
			if x := t.tensors[name]; x != nil && x.Shape[0] != n {
				wrong = append(wrong, fmt.Sprintf("%s (%d×%d pixels) has %v, want [%d,%d]", name, width, height, x.Shape, n, t.Width))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("data: %s: targets of %d pictures are of another layout than %q: %s", t.path, len(wrong), e.Layout.Name, firstOf(wrong))
	}
	return nil
}

func sizeOf(d *Dataset, i int, t clipvit.Transform) (width, height int, err error) {
	r, err := d.Open(i)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	return t.ImageSize(r)
}
