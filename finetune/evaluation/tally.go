package evaluation

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
)

// DefaultTop is how many classes of a picture count where nothing else is said: ImageNet's top 5.
const DefaultTop = 5

// A Tally adds up what a classifier says of pictures, one after the other. It takes no more memory for more pictures, but for
// those that were wrong and are to be named.
type Tally struct {
	classes                 []string
	top                     int // 0 if every picture would be right
	keep                    int // wrong pictures; below 0 all
	pictures, right, within int // within the first top classes
	loss                    float64
	has, predicted, hits    []int // of each class
	confusion               map[pair]int
	wrong                   wrongHeap
	several                 *several // where labels do not exclude each other
}

// A pair is the class that a picture has, and the one that it got.
type pair struct{ wanted, got int }

// NewTally begins with no pictures. top is how many of the most probable classes of a picture count as right for
// [Result.TopAccuracy]; where there are no more classes than that, there is none, and 0 is [DefaultTop]. So many wrong pictures
// are kept, those with the highest probability; below 0 all are.
func NewTally(classes []string, top, wrong int) *Tally {
	t := &Tally{
		classes: classes, top: cmp.Or(top, DefaultTop), keep: wrong, confusion: map[pair]int{},
		has: make([]int, len(classes)), predicted: make([]int, len(classes)), hits: make([]int, len(classes)),
	}
	if t.top >= len(classes) {
		t.top = 0
	}
	return t
}

// Add counts a picture. Wanted is the index of its class, and p [K] are the probabilities that a classifier gives, one for
// each class. index and path name it among the wrong ones. Nothing is kept of p. It is an error if the numbers are no
// probabilities.
func (t *Tally) Add(index int, path string, wanted int, p []float64) error {
	if err := t.check(path, p); err != nil {
		return err
	}
	if wanted < 0 || wanted >= len(p) {
		return fmt.Errorf("evaluation: %s: class %d, want 0 to %d", path, wanted, len(p)-1)
	}
	got, before := 0, 0 // the most probable class, and how many are more probable than the wanted one
	for i, v := range p {
		if v > p[got] {
			got = i
		}
		if v > p[wanted] || v == p[wanted] && i < wanted {
			before++
		}
	}
	t.pictures++
	t.has[wanted]++
	t.predicted[got]++
	t.confusion[pair{wanted, got}]++
	t.loss -= math.Log(max(p[wanted], math.SmallestNonzeroFloat64)) // or one picture would make it infinite
	if before < t.top {
		t.within++
	}
	if got == wanted {
		t.right++
		t.hits[got]++
		return nil
	}
	t.mistaken(Wrong{Index: index, Path: path, Wanted: t.classes[wanted], Got: t.classes[got], Probability: p[got], OfWanted: p[wanted]})
	return nil
}

// mistaken keeps a wrong picture, if it is among those that are to be named.
func (t *Tally) mistaken(w Wrong) {
	if t.keep == 0 {
		return
	}
	heap.Push(&t.wrong, w)
	if t.keep > 0 && len(t.wrong) > t.keep {
		heap.Pop(&t.wrong)
	}
}

// A wrongHeap has the wrong picture on top that is the first to be dropped.
type wrongHeap []Wrong

func (h wrongHeap) Len() int           { return len(h) }
func (h wrongHeap) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h wrongHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wrongHeap) Push(x any)        { *h = append(*h, x.(Wrong)) }
func (h *wrongHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// check returns an error if p are no probabilities of the classes.
func (t *Tally) check(path string, p []float64) error {
	if len(p) != len(t.classes) {
		return fmt.Errorf("evaluation: %s: %d probabilities, want %d", path, len(p), len(t.classes))
	}
	for i, v := range p {
		if !(v >= 0 && v <= 1+1e-6) { // rounding may leave a little above
			return fmt.Errorf("evaluation: %s: the probability of %q is %v, want 0 to 1: the model's weights are damaged or too large", path, t.classes[i], v)
		}
	}
	return nil
}

// Result returns what the pictures so far come to. It is an error if there are none.
func (t *Tally) Result() (*Result, error) {
	if t.pictures == 0 {
		return nil, errors.New("evaluation: no pictures to judge by")
	}
	n := float64(t.pictures)
	r := &Result{
		Pictures: t.pictures, Right: t.right, Accuracy: float64(t.right) / n, Top: t.top, Loss: t.loss / n,
		Wrong: slices.Clone([]Wrong(t.wrong)),
	}
	if t.several == nil {
		r.Confusion = &Confusion{t.classes, t.confusion}
	}
	if t.top > 0 {
		r.TopAccuracy = float64(t.within) / n
	}
	slices.SortFunc(r.Wrong, Wrong.compare)
	there := 0.0 // classes with pictures
	for i, name := range t.classes {
		c := Class{
			Name: name, Pictures: t.has[i], Predicted: t.predicted[i], Right: t.hits[i],
			Scores: Scores{share(t.hits[i], t.has[i]), share(t.hits[i], t.predicted[i]), share(2*t.hits[i], t.has[i]+t.predicted[i])},
		}
		r.Classes = append(r.Classes, c)
		if c.Pictures > 0 {
			there++
			r.Macro.Recall += c.Recall
			r.Macro.Precision += c.Precision
			r.Macro.F1 += c.F1
		}
	}
	if there > 0 { // which labels that do not exclude each other may all lack
		r.Macro.Recall /= there
		r.Macro.Precision /= there
		r.Macro.F1 /= there
	}
	if t.several != nil {
		t.several.judge(r)
	}
	return r, nil
}

// share returns n of all, 0 of none.
func share(n, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(n) / float64(all)
}
