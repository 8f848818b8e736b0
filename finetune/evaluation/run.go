package evaluation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/plural"
)

// Options are choices of [Run]. The zero value is fine.
type Options struct {
	// Top is how many of the most probable classes of a picture count as right for [Result.TopAccuracy]; 0 is [DefaultTop],
	// as far as there are more classes than that.
	Top        int
	Wrong      int  // how many of the wrong pictures are kept, the surest; 0 is 100, below 0 all
	Batch      int  // pictures that are encoded together; 0 lets the classifier decide
	SkipErrors bool // pictures that cannot be read are left out, and counted; otherwise the first is an error
	// Progress, if it is not nil, hears how many pictures are done.
	Progress func(done, total int)
}

// defaultWrong is how many wrong pictures are kept where nothing is said.
const defaultWrong = 100

// Run judges a classifier by labelled pictures. Their classes are the classifier's labels of the same names; a class that it
// does not know is an error, and labels that no picture has count as answers. Pictures are decoded ahead, and it takes no
// more memory for more of them, but for those that it names.
//
// Where the labels of a picture do not exclude each other (d.Multi), the classifier's probabilities are taken one by one. 9
// bytes are then kept for each label of a picture. A softmax says little of such pictures: a label gets more only if another
// gets less.
//
// An error of a picture is one of package clip. If ctx ends, the error is its cause.
func Run(ctx context.Context, c clip.Classifier, d *data.Dataset, o Options) (*Result, error) {
	labels := c.Labels()
	index, err := match(labels, d)
	if err != nil {
		return nil, err
	}
	if o.Top < 0 || o.Top >= len(labels) && o.Top != 0 {
		return nil, fmt.Errorf("evaluation: top %d of %d classes, want 1 to %d: every picture would be right", o.Top, len(labels), len(labels)-1)
	}
	wrong := cmp.Or(o.Wrong, defaultWrong)
	tally := NewTally(labels, o.Top, wrong)
	if d.Multi {
		if o.Top != 0 {
			return nil, errors.New("evaluation: there is no top of labels that do not exclude each other")
		}
		tally = NewMultiTally(labels, wrong)
	}
	at := make(map[string]int, len(labels))
	for i, l := range labels {
		at[l] = i
	}
	var skipped []Skipped
	done := 0
	p := make([]float64, len(labels))
	for x, err := range c.ClassifyAll(ctx, pictures(d), clip.StreamOptions{Batch: o.Batch, SkipErrors: o.SkipErrors}) {
		if err != nil {
			return nil, err
		}
		s := d.Samples[x.Index]
		if done++; o.Progress != nil {
			o.Progress(done, len(d.Samples))
		}
		if x.Err != nil {
			skipped = append(skipped, Skipped{s.Path, x.Err})
			continue
		}
		if err := spread(p, x.Labels, at); err != nil {
			return nil, fmt.Errorf("evaluation: %s: %w", s.Path, err)
		}
		if !d.Multi {
			err = tally.Add(x.Index, s.Path, index[s.Label], p)
		} else {
			set := make([]int, len(s.LabelSet))
			for i, l := range s.LabelSet {
				set[i] = index[l]
			}
			err = tally.AddSet(x.Index, s.Path, set, p)
		}
		if err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if tally.pictures == 0 {
		return nil, fmt.Errorf("evaluation: %s, and none can be read: %w", plural.Of(len(d.Samples), "picture"), pillow.Bare(skipped[0].Err, "clip"))
	}
	r, err := tally.Result()
	if err != nil {
		return nil, err
	}
	r.Skipped = skipped
	return r, nil
}

// match returns which label each class of the pictures is.
func match(labels []string, d *data.Dataset) (index []int, err error) {
	switch {
	case d == nil || len(d.Samples) == 0:
		return nil, fmt.Errorf("evaluation: %w", data.ErrEmpty)
	case d.Classes == nil:
		return nil, fmt.Errorf("evaluation: %w to judge by", data.ErrUnlabelled)
	case len(labels) == 0:
		return nil, errors.New("evaluation: the classifier has no labels")
	}
	at := make(map[string]int, len(labels))
	for i, l := range labels {
		if first, twice := at[l]; twice {
			return nil, fmt.Errorf("evaluation: labels %d and %d of the classifier are both %q", first+1, i+1, l)
		}
		at[l] = i
	}
	counts := d.Counts()
	var unknown []string
	for i, c := range d.Classes {
		label, ok := at[c]
		if !ok && counts[i] > 0 {
			unknown = append(unknown, c)
		}
		index = append(index, label)
	}
	if unknown != nil {
		return nil, fmt.Errorf("evaluation: %w: %d of the %d classes of the pictures are no label of the classifier: %s; it has the %d labels %s",
			errClasses, len(unknown), len(d.Classes), few(unknown), len(labels), few(labels))
	}
	return index, nil
}

// errClasses is what [data.ErrClasses] says of training, in words of its own.
var errClasses error = unknownClasses{}

type unknownClasses struct{}

func (unknownClasses) Error() string        { return "other classes" }
func (unknownClasses) Is(target error) bool { return target == data.ErrClasses }

// few writes the first names of a list.
func few(names []string) string {
	const shown = 10 // enough to see how the two sides are written
	s := fmt.Sprintf("%.60q", names[:min(len(names), shown)])
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if n := len(names) - shown; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// spread puts the probabilities of labels into the order of the classifier's.
func spread(p []float64, labels []clip.Label, at map[string]int) error {
	if len(labels) != len(p) {
		return fmt.Errorf("the classifier gives %d labels, want all %d", len(labels), len(p))
	}
	for i := range p {
		p[i] = -1
	}
	for _, l := range labels {
		i, ok := at[l.Name]
		if !ok || p[i] != -1 {
			return fmt.Errorf("the classifier gives the label %q, which it does not have, or twice", l.Name)
		}
		p[i] = l.Probability
	}
	return nil
}

// pictures returns those of a dataset.
func pictures(d *data.Dataset) iter.Seq[clip.Picture] {
	return func(yield func(clip.Picture) bool) {
		for i, s := range d.Samples {
			if !yield(clip.Opened(s.Path, func() (io.ReadCloser, error) { return d.Open(i) })) {
				return
			}
		}
	}
}
