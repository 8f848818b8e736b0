package finetune

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/projector"
)

var _, _ Objective = &TokenRegression{}, &TokenDistillation{}

// TokenTargets are tokens to learn, a tensor [N,O] for each picture, as vitago tokens writes them. They stay in their
// file until they are asked for.
type TokenTargets struct {
	Width int // O

	path    string
	file    *checkpoint.File
	tensors map[string]*checkpoint.Tensor // by [data.Dataset.Name]
}

// OpenTokenTargets opens a safetensors file with a tensor [N,O] for every picture of some data sets, called by its path,
// which ends with that below the data's folder: the picture dogs/1.png of the data photos has the tensor dogs/1.png,
// photos/dogs/1.png or /home/me/photos/dogs/1.png, the shortest that there is. Tensors of other pictures may be there.
func OpenTokenTargets(path string, sets ...*data.Dataset) (*TokenTargets, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	t := &TokenTargets{path: path, file: c, tensors: map[string]*checkpoint.Tensor{}}
	if err := t.find(sets); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return t, nil
}

// find finds the tensors of all pictures, or says what is wrong with them.
func (t *TokenTargets) find(sets []*data.Dataset) error {
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
			errs = append(errs, fmt.Errorf("finetune: %s has %d tensors: %d of %d pictures %s: %s", t.path, len(t.file.Tensors()), n, pictures, wrong.what, firstOf(wrong.list)))
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

// Close closes the file.
func (t *TokenTargets) Close() error { return t.file.Close() }

// Of returns the tokens of the picture of a name, row after row.
func (t *TokenTargets) Of(name string) ([]float32, error) {
	x, ok := t.tensors[name]
	if !ok {
		return nil, fmt.Errorf("finetune: %s has no tensor of %s", t.path, name)
	}
	rows := make([]float32, x.Len())
	if err := x.Float32s(rows); err != nil {
		return nil, fmt.Errorf("finetune: %s: %w", t.path, err)
	}
	return rows, nil
}

// Fits returns an error if an encoder gives other numbers of tokens than the targets of pictures have, by the pictures'
// headers. Pictures that cannot be read are passed over.
func (t *TokenTargets) Fits(e *projector.Encoder, sets ...*data.Dataset) error {
	if out := e.Projector.Config.Out; out != t.Width {
		return fmt.Errorf("finetune: %s has tokens of %d numbers, the projector gives %d", t.path, t.Width, out)
	}
	var wrong []string
	for _, set := range sets {
		for i := range set.Samples {
			width, height, err := sizeOf(set, i)
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
		return fmt.Errorf("finetune: %s: targets of %d pictures are of another layout than %q: %s", t.path, len(wrong), e.Layout.Name, firstOf(wrong))
	}
	return nil
}

func sizeOf(d *data.Dataset, i int) (width, height int, err error) {
	r, err := d.Open(i)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	return clipvit.ImageSize(r)
}

// SetTokenTargets makes the encoder of c learn tokens that are given.
func (c *Config) SetTokenTargets(t *TokenTargets, d Distance) {
	c.Objective = &TokenRegression{Distance: d, Targets: t}
}

// TokenRegression is the distance of an encoder's tokens to given ones, as many as each picture has.
type TokenRegression struct {
	Distance Distance
	Targets  *TokenTargets
}

// Name implements [Objective].
func (o *TokenRegression) Name() string {
	return fmt.Sprintf("regression of tokens to %s, %s", folderless(o.Targets.path), o.Distance)
}

// Judge implements [Objective]: for the score see [Distance.score].
func (o *TokenRegression) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	n, width := y.Shape()[0]/b.Len(), y.Shape()[1]
	target := make([]float32, 0, y.Size())
	for _, name := range b.Names {
		rows, err := o.Targets.Of(name)
		if err != nil {
			return nil, 0, err
		}
		if len(rows) != n*width {
			return nil, 0, fmt.Errorf("finetune: %s: %s: targets are %v, the encoder gives [%d,%d]", o.Targets.path, name, o.Targets.tensors[name].Shape, n, width)
		}
		target = append(target, rows...)
	}
	if len(target) != y.Size() {
		return nil, 0, fmt.Errorf("finetune: tokens %v of %d pictures, their targets have %d numbers", y.Shape(), b.Len(), len(target))
	}
	return o.Distance.loss(y, target), o.Distance.score(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *TokenRegression) Measure() string { return o.Distance.measure() }

// SetTeacherEncoder makes the encoder of c learn the tokens of another one, which is frozen for it. They have one layout,
// and towers of one input. If c's recipe, which must be there, freezes the tower and the teacher's has the same weights,
// the teacher gets c's, and pictures go through it once for both.
func (c *Config) SetTeacherEncoder(teacher *projector.Encoder, name string, d Distance) error {
	e := c.Encoder
	if err := errors.Join(e.Validate(), teacher.Validate()); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	a, b := e.Tower.Config, teacher.Tower.Config
	var errs []error
	for _, f := range []struct {
		what    string
		is, has any
	}{
		{"pixels a side", a.ImageSize, b.ImageSize}, {"pixels a patch", a.PatchSize, b.PatchSize},
		{"the layout", layoutName(e.Layout), layoutName(teacher.Layout)}, {"the feature", e.Select.Kind, teacher.Select.Kind},
		{"numbers in a token", e.Projector.Config.Out, teacher.Projector.Config.Out},
	} {
		if f.is != f.has {
			errs = append(errs, fmt.Errorf("finetune: the teacher %s has %v %s, the encoder %v: want the same", name, f.has, f.what, f.is))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	teacher.Freeze()
	o := &TokenDistillation{Distance: d, Teacher: teacher, What: fmt.Sprintf("%s (%.12s)", name, hashOf(teacher))}
	if c.Recipe.Tower == None && e.Select.Layer == teacher.Select.Layer && a == b && hashOf(e.Tower) == hashOf(teacher.Tower) {
		teacher.Tower = e.Tower
	}
	c.Objective = o
	return nil
}

// TokenDistillation is the distance of an encoder's tokens to those that another one, which must be frozen, gives for the
// same views.
type TokenDistillation struct {
	Distance Distance
	Teacher  *projector.Encoder
	What     string // names the teacher, for [Objective.Name]
}

// sharedWith returns o if the features of e's tower, when it is frozen, are the teacher's too; otherwise nil.
func (o *TokenDistillation) sharedWith(e *projector.Encoder) *TokenDistillation {
	if o.Teacher.Tower == e.Tower && o.Teacher.Select.Layer == e.Select.Layer {
		return o
	}
	return nil
}

func (o *TokenDistillation) bytes() int64 { return bytesOf(o.Teacher) }

// Name implements [Objective].
func (o *TokenDistillation) Name() string {
	return fmt.Sprintf("distillation of the tokens of %s, %s", o.What, o.Distance)
}

// Judge implements [Objective]: for the score see [Distance.score].
func (o *TokenDistillation) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	z, err := o.Teacher.Forward(b.Views)
	return o.judge(y, z, b, err)
}

// judgeOf judges as Judge does, of the features x [B·T,C] of a tower that is the teacher's, too.
func (o *TokenDistillation) judgeOf(x, y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	z, err := o.Teacher.Project(x, b.Views)
	return o.judge(y, z, b, err)
}

// judge compares tokens y with those that the teacher gave, z, unless it gave an error.
func (o *TokenDistillation) judge(y, z mat.Tensor, b *data.Batch, err error) (loss mat.Tensor, score float64, _ error) {
	if err != nil {
		return nil, 0, fmt.Errorf("finetune: the teacher: %w", err)
	}
	if !slices.Equal(y.Shape(), z.Shape()) {
		return nil, 0, fmt.Errorf("finetune: the encoder gives %v for %s, the teacher %v", y.Shape(), firstOf(b.Names), z.Shape())
	}
	target := z.Value().Data().F32()
	return o.Distance.loss(y, target), o.Distance.score(y, target, b.Len()), nil
}

// Measure implements [Objective].
func (o *TokenDistillation) Measure() string { return o.Distance.measure() }

// measure names what score returns.
func (d Distance) measure() string {
	if d == CosineDistance {
		return "cosine"
	}
	return "r2"
}

// score returns the sum over the images of how near their tokens are: the mean cosine; or, where their length counts as
// well, the part of the targets' variance over an image's tokens that is explained, R²: 1 is all, 0 no better than the mean.
func (d Distance) score(y mat.Tensor, target []float32, images int) float64 {
	if d == CosineDistance {
		return cosines(y, target, images)
	}
	width := y.Shape()[1]
	values := y.Value().Data().F32()
	n := len(target) / images
	sum := 0.0
	for i := range images {
		sum += explained(values[i*n:(i+1)*n], target[i*n:(i+1)*n], width)
	}
	return sum
}

// explained returns 1 - Σ(y-t)²/Σ(t-mean)², with the mean of each column of t. Targets that do not vary are explained as a
// whole or, by as much as is left, not.
func explained(y, t []float32, width int) float64 {
	mean := make([]float64, width)
	for row := range slices.Chunk(t, width) {
		for j, v := range row {
			mean[j] += float64(v) * float64(width) / float64(len(t))
		}
	}
	var left, all float64
	for i, v := range t {
		l, a := float64(y[i])-float64(v), float64(v)-mean[i%width]
		left, all = left+l*l, all+a*a
	}
	if left == 0 {
		return 1
	}
	return 1 - left/max(all, math.SmallestNonzeroFloat32) // which keeps it a number
}

// folderless returns the name of a file without its folder: a run goes on where its data were moved.
func folderless(path string) string {
	path = strings.ReplaceAll(path, `\`, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}
