package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/internal/golden"
)

// lossesFile is what testdata/gen/losses.py wrote, as far as objectives need it.
type lossesFile struct {
	CrossEntropy []struct {
		Logits    [][]float64
		Labels    []int
		Weight    []float64
		Smoothing float64
		Loss      float64
	} `json:"cross_entropy"`
	BCE []struct {
		Logits, Targets [][]float64
		PosWeight       []float64 `json:"pos_weight"`
		Loss            float64
	}
	Logistic []struct {
		Y        []int
		Balanced bool
		Weights  []float64
	}
}

func losses(t *testing.T) (f lossesFile) {
	t.Helper()
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/losses.json"))
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func rowsOf(rows [][]float64) *mat.Dense[float32] {
	var x []float32
	for _, v := range slices.Concat(rows...) {
		x = append(x, float32(v))
	}
	return mat.NewDense[float32](mat.WithShape(len(rows), len(rows[0])), mat.WithBacking(x))
}

// TestClassWeights: losses with weights are torch's, balanced weights scikit-learn's, and the score counts by the weights.
func TestClassWeights(t *testing.T) {
	for _, c := range losses(t).CrossEntropy {
		b := &data.Batch{Labels: c.Labels, Index: make([]int, len(c.Labels))}
		o := Classification{c.Smoothing, c.Weight}
		loss, score, err := o.Judge(rowsOf(c.Logits), b)
		if err != nil || math.Abs(loss.Item().F64()-c.Loss) > 1e-6 {
			t.Errorf("loss %v, want %v: %v", loss, c.Loss, err)
		}
		want, all := 0.0, 0.0
		for i, row := range c.Logits {
			if all += c.Weight[c.Labels[i]]; row[c.Labels[i]] == slices.Max(row) {
				want += c.Weight[c.Labels[i]]
			}
		}
		if score != want || o.weigh(b) != all || o.Measure() != "weighted accuracy" {
			t.Errorf("score %v of %v, want %v of %v", score, o.weigh(b), want, all)
		}
	}
	for _, c := range losses(t).Logistic {
		d := &data.Dataset{Classes: make([]string, len(c.Weights))}
		for _, l := range c.Y {
			d.Samples = append(d.Samples, data.Sample{Label: l})
		}
		got, err := d.BalancedWeights()
		if err != nil || c.Balanced && !near(got, c.Weights) {
			t.Errorf("balanced %v, want %v: %v", got, c.Weights, err)
		}
	}
	for _, c := range []struct {
		weights []float64
		want    string
	}{{[]float64{1, 2}, "2 class weights, want 3"}, {[]float64{1, 0, 1}, "the weight of class 1 is 0, want above 0"}, {[]float64{1, 1, math.NaN()}, "class 2 is NaN"}} {
		if _, _, err := (Classification{Weights: c.weights}).Judge(mat.NewDense[float32](mat.WithShape(1, 3)), &data.Batch{Labels: []int{0}, Index: []int{0}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %s", err, c.want)
		}
	}
	if _, err := (&data.Dataset{Classes: []string{"a", "b"}, Samples: []data.Sample{{Label: 0}}}).BalancedWeights(); err == nil || !strings.Contains(err.Error(), `class "b" has no pictures`) {
		t.Errorf("error is %v", err)
	}
}

func near(a, b []float64) bool {
	for i, v := range a {
		if math.Abs(v-b[i]) > 1e-12 {
			return false
		}
	}
	return len(a) == len(b)
}

// TestClassWeightsAccumulate: a step of several batches is that of one with all of their images, whose classes weigh otherwise.
func TestClassWeightsAccumulate(t *testing.T) {
	var want []history.Event
	for _, batch := range []int{4, 2, 1} {
		c, _ := goldenConfig(t, batch)
		c.Objective = Classification{0.1, []float64{0.3, 2, 5}}
		_, c.Validation, _ = task(t, batch)
		_, r := run(t, c)
		if batch == 4 {
			want = r.History
		}
		for i, e := range r.History {
			if w := want[i]; math.Abs(e.Loss-w.Loss) > 1e-5 || math.Abs(e.Norm-w.Norm) > 1e-4*max(1, w.Norm) || math.Abs(e.Score-w.Score) > 1e-9 {
				t.Errorf("batches of %d, step %d: loss %v, norm %v, score %v, want %v, %v, %v", batch, e.Step, e.Loss, e.Norm, e.Score, w.Loss, w.Norm, w.Score)
			}
		}
	}
}

// TestMultiLabelLoss: the loss is torch's.
func TestMultiLabelLoss(t *testing.T) {
	for _, c := range losses(t).BCE {
		b := &data.Batch{Index: make([]int, len(c.Logits)), LabelSets: make([][]int, len(c.Logits))}
		for i, row := range c.Targets {
			for k, v := range row {
				if v == 1 {
					b.LabelSets[i] = append(b.LabelSets[i], k)
				}
			}
		}
		loss, _, err := MultiLabel{c.PosWeight}.Judge(rowsOf(c.Logits), b)
		if err != nil || math.Abs(loss.Item().F64()-c.Loss) > 1e-5*max(1, c.Loss) {
			t.Errorf("loss %v, want %v: %v", loss, c.Loss, err)
		}
	}
	b := &data.Batch{Index: []int{4}, LabelSets: [][]int{{3}}}
	if _, _, err := (MultiLabel{}).Judge(mat.NewDense[float32](mat.WithShape(1, 3)), b); err == nil || !strings.Contains(err.Error(), "sample 4 has label 3, want 0 to 2") {
		t.Errorf("error is %v", err)
	}
	d := &data.Dataset{Multi: true, Classes: []string{"a", "b"}, Samples: []data.Sample{{LabelSet: []int{0, 1}}, {}, {LabelSet: []int{1}}, {}}}
	if got, err := d.BalancedWeights(); err != nil || !slices.Equal(got, []float64{3, 1}) {
		t.Errorf("balanced %v, %v, want 3 others for 1, and 2 for 2", got, err)
	}
}

// multiSource gives the images of a source with lists of labels in the place of one.
type multiSource struct{ *memorySource }

func newMultiSource(s *memorySource) multiSource {
	s.yielded = func(b *data.Batch) {
		for i, l := range b.Labels {
			set := []int{l, 3}[:1+b.Index[i]%2] // a fourth that all may have
			if b.Index[i] == 2 {
				set = nil
			}
			b.LabelSets = append(b.LabelSets, set)
		}
	}
	return multiSource{s}
}

// TestMultiLabel: it learns; the score in validation is of all images together, whatever the batches; and it resumes to the bit.
func TestMultiLabel(t *testing.T) {
	errStop := errors.New("stop")
	config := func(batch int, dir string) Config {
		c, _ := goldenConfig(t, 4)
		head := NewClassifier(c.Tower.Config.EmbedDim, []string{"a", "b", "c", "odd"})
		head.Multi = true
		_, validation, _ := task(t, batch)
		c.Head, c.Objective, c.Train, c.Validation = head, MultiLabel{[]float64{1, 1, 2, 1}}, newMultiSource(c.Train.(*memorySource)), newMultiSource(validation)
		c.Recipe.Smoothing, c.Dir, c.Resume, c.CheckpointEvery, c.ValidateEvery = 0, dir, true, 3, 2
		return c
	}
	straight, want := run(t, config(12, t.TempDir()))
	if before, best := want.Before(), want.Best; before == nil || best == nil || best.Loss >= before.Loss || best.Score <= before.Score || best.Score > 1 {
		t.Errorf("from %+v to %+v, want it to learn", want.Before(), want.Best)
	}
	if _, r := run(t, config(5, "")); math.Abs(r.Before().Score-want.Before().Score) > 1e-9 {
		t.Errorf("mAP in batches of 5 is %v, of 12 %v", r.Before().Score, want.Before().Score)
	}
	dir := t.TempDir()
	c := config(12, dir)
	c.Sinks = []history.Sink{history.SinkFunc(func(e history.Event) error {
		if e.Step == 8 {
			return errStop
		}
		return nil
	})}
	tr, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(t.Context()); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	tr, r := run(t, config(12, dir))
	sameBits(t, "resumed", weightsOf(tr), weightsOf(straight))
	if !reflect.DeepEqual(curve(r.History), curve(want.History)) {
		t.Error("another history")
	}
	c = config(12, dir)
	c.Objective = MultiLabel{}
	if _, err := New(c); !errors.Is(err, ErrOtherRun) || !strings.Contains(err.Error(), "objective: multi-label classification, class weights [1 1 2 1], now multi-label classification") {
		t.Errorf("error is %v", err)
	}
}

// TestMultiLabelRefuses: what has one label and what has lists of them do not go together.
func TestMultiLabelRefuses(t *testing.T) {
	c, _ := goldenConfig(t, 4)
	one := &data.Dataset{Classes: threeClasses, Samples: []data.Sample{{Path: "a"}, {Path: "b", Label: 1}, {Path: "c", Label: 2}}}
	several := &data.Dataset{Classes: threeClasses, Multi: true, Samples: []data.Sample{{Path: "a", Label: -1, LabelSet: []int{0}}}}
	multi := NewClassifier(c.Tower.Config.EmbedDim, threeClasses)
	multi.Multi = true
	for _, f := range []struct {
		o    Objective
		d    *data.Dataset
		h    *Classifier
		want string
	}{
		{MultiLabel{}, one, multi, "the pictures have one label each, and multi-label classification wants lists of them"},
		{MultiLabel{}, several, c.Head.(*Classifier), "the head has classes that exclude each other"},
		{MultiLabel{[]float64{1}}, several, multi, "1 class weights, want 3"},
		{Classification{}, several, multi, "the pictures have lists of labels, and classification wants one each"},
		{Classification{}, one, multi, "the head has classes that do not exclude each other"},
		{Classification{Weights: []float64{1}}, one, c.Head.(*Classifier), "1 class weights, want 3"},
	} {
		g := c
		g.Objective, g.Head, g.Train = f.o, f.h, &data.Loader{Data: f.d, Config: c.Tower.Config, BatchSize: 2}
		if _, err := New(g); err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("error is %v, want %s", err, f.want)
		}
	}
}

// ownObjective is an objective of a test.
type ownObjective struct {
	judge func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error)
}

func (o ownObjective) Name() string    { return "own" }
func (o ownObjective) Measure() string { return "score" }
func (o ownObjective) Judge(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) {
	return o.judge(y, b)
}

// TestOwnObjectiveRefused: what is wrong with a loss of one's own is said, before it is learnt of.
func TestOwnObjectiveRefused(t *testing.T) {
	for _, c := range []struct {
		judge func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error)
		want  string
	}{
		{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) { return nil, 0, nil }, `objective "own": loss none of 4 images, want [1 1], their mean`},
		{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) { return y, 0, nil }, `objective "own": loss [4 3] of 4 images, want [1 1], their mean`},
		{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) { return mat.Scalar[float32](3), 0, nil }, `objective "own": its loss has no gradient`},
		{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) {
			loss, _, err := Classification{}.Judge(y, b)
			return loss, math.NaN(), err
		}, `objective "own": score NaN of 4 images, want a number, their sum`},
		{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) {
			return nil, 0, fmt.Errorf("no triplet")
		}, "no triplet"},
	} {
		g, _ := goldenConfig(t, 4)
		g.Objective = ownObjective{c.judge}
		tr, err := New(g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %s", err, c.want)
		}
	}
	g, _ := goldenConfig(t, 4)
	g.MaxSteps, g.Objective = 2, ownObjective{func(y mat.Tensor, b *data.Batch) (mat.Tensor, float64, error) { return mat.Scalar[float32](0), 0, nil }}
	if _, r := run(t, g); r.Steps != 2 {
		t.Errorf("%d steps, want 2 with nothing to learn of", r.Steps)
	}
}
