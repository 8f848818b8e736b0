package evaluation

import (
	"fmt"
	"math"
	"strings"

	"github.com/vitago/vitago/finetune/probe"
)

// several is what a tally keeps of labels that do not exclude each other. The average precision of a label is of all
// pictures in the order of its probability, so there are 9 bytes for each picture and label.
type several struct {
	p      [][]float64 // of each label, of each picture
	wanted [][]bool
}

// NewMultiTally begins with no pictures, whose labels do not exclude each other. So many wrong pictures are kept, those
// with the surest mistake about a label; below 0 all are. It keeps 9 bytes for each label of a picture, by which average
// precision is found.
func NewMultiTally(classes []string, wrong int) *Tally {
	t := NewTally(classes, 0, wrong)
	t.top, t.several = 0, &several{make([][]float64, len(classes)), make([][]bool, len(classes))}
	return t
}

// AddSet counts a picture of the classes that are wanted, indices, for which a classifier says these probabilities, each by
// itself; it gets the classes above [probe.Threshold]. It is for a tally of [NewMultiTally]; see [Tally.Add].
func (t *Tally) AddSet(index int, path string, wanted []int, p []float64) error {
	if err := t.check(path, p); err != nil {
		return err
	}
	is := make([]bool, len(p))
	for _, i := range wanted {
		if i < 0 || i >= len(p) {
			return fmt.Errorf("evaluation: %s: class %d, want 0 to %d", path, i, len(p)-1)
		}
		is[i] = true
	}
	w := Wrong{Index: index, Path: path}
	var names, got []string
	loss := 0.0
	for i, v := range p {
		said, right := v > probe.Threshold, v
		if is[i] {
			t.has[i]++
			names = append(names, t.classes[i])
		} else {
			right = 1 - v
		}
		if said {
			t.predicted[i]++
			got = append(got, t.classes[i])
		}
		if said && is[i] {
			t.hits[i]++
		}
		if said != is[i] && (w.Label == "" || 1-right > w.Probability) {
			w.Label, w.Probability, w.OfWanted = t.classes[i], 1-right, right
		}
		loss -= math.Log(max(right, math.SmallestNonzeroFloat64))
		t.several.p[i], t.several.wanted[i] = append(t.several.p[i], v), append(t.several.wanted[i], is[i])
	}
	t.pictures++
	t.loss += loss / float64(len(p))
	if w.Label == "" {
		t.right++
		return nil
	}
	w.Wanted, w.Got = strings.Join(names, ", "), strings.Join(got, ", ")
	t.mistaken(w)
	return nil
}

// judge adds to a result what there is of labels that do not exclude each other.
func (s *several) judge(r *Result) {
	r.Multi = true
	there := 0.0 // labels with pictures
	var hits, has, predicted int
	for i := range r.Classes {
		c := &r.Classes[i]
		hits, has, predicted = hits+c.Right, has+c.Pictures, predicted+c.Predicted
		if c.Pictures > 0 {
			c.AveragePrecision = probe.AveragePrecision(s.p[i], s.wanted[i])
			r.MeanAP += c.AveragePrecision
			there++
		}
	}
	r.Micro = Scores{share(hits, has), share(hits, predicted), share(2*hits, has+predicted)}
	if there > 0 {
		r.MeanAP /= there
	}
}
