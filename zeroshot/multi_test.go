package zeroshot

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/golden"
)

// multiReference is what testdata/gen/zeroshot_multi.py made with transformers, numpy and scipy.
type multiReference struct {
	Cases []struct {
		Labels               []Label
		Templates, Negatives []string
		Bias                 float64
		Pictures             map[string]struct{ Cosines, Logits, Probabilities []float64 }
	}
	Biases []struct {
		Logits [][]float64
		Wanted [][]bool
		Bias   float64
	}
}

func multiReferences(t *testing.T) (all multiReference) {
	t.Helper()
	raw, err := os.ReadFile(golden.Path(t, "testdata/tiny/zeroshot_multi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMultiLabel compares cosines, logits and probabilities with those of transformers 5.24.0 in float64, of labels with several
// prompts, and of negatives for all labels and for each. Where there is one text on each side they are the softmax of the two.
func TestMultiLabel(t *testing.T) {
	m := open(t, "hf5-clip")
	for _, r := range multiReferences(t).Cases {
		dir := t.TempDir()
		var c *Classifier
		for _, want := range []bool{true, false} { // the second time all is in the cache
			texts := 0
			var err error
			c, err = NewPrompts(t.Context(), m, r.Labels, r.Templates, MultiLabel(r.Bias, r.Negatives...), Cache(dir), Progress(func(done, _ int) { texts = done }))
			if err != nil {
				t.Fatal(err)
			}
			if want != (texts > 0) {
				t.Errorf("%d texts were encoded, want some: %v", texts, want)
			}
		}
		for name, want := range r.Pictures {
			picture := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/"+name))
			all, err := c.Classify(t.Context(), picture)
			if err != nil {
				t.Fatal(err)
			}
			x, err := m.Encode(t.Context(), picture)
			if err != nil {
				t.Fatal(err)
			}
			logits := c.Logits(x[0])
			for i, l := range all[0] {
				k := slices.Index(c.Labels(), l.Name)
				// As in TestReference; the difference of two cosines is twice as far away.
				if math.Abs(l.Cosine-want.Cosines[k]) > 2e-6 || math.Abs(logits[k]-want.Logits[k]) > 6e-5 || math.Abs(l.Probability-want.Probabilities[k]) > 2e-5 {
					t.Errorf("%s: %+v, logit %v, want cosine %v, logit %v, probability %v", name, l, logits[k], want.Cosines[k], want.Logits[k], want.Probabilities[k])
				}
				if i > 0 && l.Probability > all[0][i-1].Probability {
					t.Errorf("%s: label %d is more probable than the one before", name, i)
				}
			}
			other := c.WithBias(r.Bias + 2).Rank(x[0])
			for _, l := range other {
				k := slices.Index(c.Labels(), l.Name)
				if p := 1 / (1 + math.Exp(-logits[k]-r.Bias-2)); math.Abs(l.Probability-p) > 1e-12 {
					t.Errorf("%s: %+v with another bias, want %v", name, l, p)
				}
			}
		}
	}
}

// TestFitBias compares with scipy.optimize.minimize_scalar, which finds a minimum to about 1e-8.
func TestFitBias(t *testing.T) {
	for i, r := range multiReferences(t).Biases {
		got, err := FitBias(r.Logits, r.Wanted)
		if err != nil || math.Abs(got-r.Bias) > 1e-6*max(1, math.Abs(r.Bias)) {
			t.Errorf("%d: bias %v, %v, want %v", i, got, err, r.Bias)
		}
		sum, yes := 0.0, 0.0 // the derivative is 0
		for j, row := range r.Logits {
			for k, z := range row {
				sum += 1 / (1 + math.Exp(-z-got))
				if r.Wanted[j][k] {
					yes++
				}
			}
		}
		if math.Abs(sum-yes) > 1e-9*yes {
			t.Errorf("%d: the probabilities sum to %v, want %v", i, sum, yes)
		}
	}
	for _, c := range []struct {
		logits [][]float64
		wanted [][]bool
		want   string
	}{
		{nil, nil, "these have 0 of 0"},
		{[][]float64{{1, 2}}, [][]bool{{true, true}}, "these have 2 of 2"},
		{[][]float64{{1, 2}}, [][]bool{{false, false}}, "these have 0 of 2"},
		{[][]float64{{1, math.NaN()}}, [][]bool{{true, false}}, "logit 2 of picture 1 is NaN"},
		{[][]float64{{1}, {math.Inf(1)}}, [][]bool{{true}, {false}}, "logit 1 of picture 2 is +Inf"},
	} {
		if _, err := FitBias(c.logits, c.wanted); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.logits, err, c.want)
		}
	}
	for _, z := range []float64{-1e300, -800, 0, 800, 1e300} { // one logit, of which half the pictures have the label
		if got, err := FitBias([][]float64{{z}, {z}}, [][]bool{{true}, {false}}); err != nil || got != -z {
			t.Errorf("logits %v: bias %v, %v, want %v", z, got, err, -z)
		}
	}
}

func TestPromptErrors(t *testing.T) {
	m := open(t, "hf5-clip")
	for _, c := range []struct {
		labels    []Label
		templates []string
		options   []Option
		want      string
		kind      error
	}{
		{[]Label{{"cat", nil}, {"hat", []string{"hat"}}}, nil, nil, `the label "cat" has no prompts, want at least 1`, clip.ErrRequest},
		{[]Label{{"cat", []string{"cat", ""}}, {"hat", []string{"hat"}}}, nil, nil, `prompt 2 of the label "cat" is empty`, clip.ErrRequest},
		{[]Label{{"cat", []string{"cat", "cat"}}, {"hat", []string{"hat"}}}, nil, nil, `the label "cat" has the prompt "cat" twice`, clip.ErrRequest},
		{[]Label{{"cat", []string{"cat"}}}, nil, nil, "got 1 label, want at least 2", clip.ErrRequest},
		{nil, nil, []Option{MultiLabel(0)}, "got 0 labels, want at least 1", clip.ErrRequest},
		{named([]string{"cat"}), nil, []Option{MultiLabel(math.NaN())}, "the bias is NaN, want a number", clip.ErrRequest},
		{named([]string{"cat"}), nil, []Option{MultiLabel(0, "a", " ")}, "negative text 2 of 2 is empty", clip.ErrRequest},
		{[]Label{{"pet", []string{"cat", "zebra"}}, {"hat", []string{"hat"}}}, nil, nil, `the prompt "zebra" of the label "pet" in the template "{}": the vocabulary of 25 tokens lacks "zebra"`, clip.ErrText},
		{named([]string{"cat"}), nil, []Option{MultiLabel(0, "zebra")}, `the negative text "zebra": the vocabulary of 25 tokens lacks "zebra"`, clip.ErrText},
		{named([]string{"cat"}), []string{"a {c}"}, []Option{MultiLabel(0, "zebra {c}")}, `the label "cat" in the template "zebra {}": the vocabulary`, clip.ErrText},
	} {
		if _, err := NewPrompts(t.Context(), m, c.labels, c.templates, c.options...); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.labels, err, c.want)
		}
	}
	c, err := New(t.Context(), m, []string{"cat", "hat"}, []string{"a {c}"})
	if err != nil {
		t.Fatal(err)
	}
	same, err := New(t.Context(), m, []string{"cat", "hat"}, []string{"a {}"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.texts[0], same.texts[0]) {
		t.Error("{c} is another place than {}")
	}
	defer func() {
		if recover() == nil {
			t.Error("labels that exclude each other have a bias")
		}
	}()
	c.WithBias(1)
}

// TestThreshold: the first label or each, by probability and cosine.
func TestThreshold(t *testing.T) {
	labels := []clip.Label{{Name: "a", Probability: 0.7, Cosine: 0.3}, {Name: "b", Probability: 0.6, Cosine: 0.1}, {Name: "c", Probability: 0.1, Cosine: 0.2}}
	for _, c := range []struct {
		t    Threshold
		want string
	}{
		{Threshold{}, "a"}, {Threshold{Probability: 0.7}, "a"}, {Threshold{Probability: 0.71}, ""},
		{Threshold{Cosine: 0.3}, "a"}, {Threshold{Cosine: 0.31}, ""}, {Threshold{Probability: 0.5, Cosine: 0.31}, ""},
		{Threshold{Each: true}, "abc"}, {Threshold{Each: true, Probability: 0.5}, "ab"}, {Threshold{Each: true, Cosine: 0.2}, "ac"},
		{Threshold{Each: true, Probability: 0.5, Cosine: 0.2}, "a"}, {Threshold{Each: true, Probability: 0.8}, ""},
	} {
		got := ""
		for _, l := range c.t.Accepted(labels) {
			got += l.Name
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.t, got, c.want)
		}
	}
}

// TestOrNone: below a cosine a picture is of a label whose cosine is just that, and below a probability of one that is as
// probable beside the others.
func TestOrNone(t *testing.T) {
	m := open(t, "hf5-clip")
	c, err := New(t.Context(), m, []string{"cat", "hat"}, []string{"a photo of a {}"})
	if err != nil {
		t.Fatal(err)
	}
	picture := clip.File(golden.Path(t, "cmd/vitago/testdata/demo/cat.png"))
	plain, err := c.Classify(t.Context(), picture)
	if err != nil {
		t.Fatal(err)
	}
	p, q := plain[0][0], plain[0][1] // 0.81 and 0.19, with cosines of 0.34 and 0.24
	s := c.from.scale
	for _, x := range []struct {
		t    Threshold
		none float64 // of all
		rank int
	}{
		{Threshold{Probability: 0.9}, 0.9 / 1.9, 0},
		{Threshold{Probability: p.Probability}, p.Probability / (1 + p.Probability), 1},
		{Threshold{Probability: 0.1}, 0.1 / 1.1, 2},
		{Threshold{Cosine: 0.5}, math.Exp(s*0.5) / (math.Exp(s*0.5) + math.Exp(s*p.Cosine) + math.Exp(s*q.Cosine)), 0},
		{Threshold{Cosine: p.Cosine}, math.Exp(s*p.Cosine) / (2*math.Exp(s*p.Cosine) + math.Exp(s*q.Cosine)), 1},
		{Threshold{Cosine: -0.9, Probability: 0.1}, 0.1 / 1.1, 2},
		{Threshold{Cosine: 0.5, Probability: 0.1}, math.Exp(s*0.5) / (math.Exp(s*0.5) + math.Exp(s*p.Cosine) + math.Exp(s*q.Cosine)), 0},
	} {
		o, err := OrNone(c, "other", x.t)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.Labels(), []string{"cat", "hat", "other"}) {
			t.Errorf("labels %q", o.Labels())
		}
		all, err := o.Classify(t.Context(), picture)
		if err != nil {
			t.Fatal(err)
		}
		for y, err := range o.ClassifyAll(t.Context(), slices.Values([]clip.Picture{picture}), clip.StreamOptions{}) {
			if err != nil || !slices.Equal(y.Labels, all[0]) {
				t.Errorf("%+v: %v, %v, want %v", x.t, y.Labels, err, all[0])
			}
		}
		at := slices.IndexFunc(all[0], func(l clip.Label) bool { return l.Name == "other" })
		total := 0.0
		for i, l := range all[0] {
			total += l.Probability
			if i > 0 && l.Probability > all[0][i-1].Probability {
				t.Errorf("%+v: not in order: %v", x.t, all[0])
			}
		}
		if at != x.rank || math.Abs(all[0][at].Probability-x.none) > 1e-12 || math.Abs(total-1) > 1e-12 {
			t.Errorf("%+v: %v, want the label at %d with %v", x.t, all[0], x.rank, x.none)
		}
		if rejected := len(x.t.Accepted(plain[0])) == 0; rejected != (at == 0) {
			t.Errorf("%+v: refused is %v, and the label is at %d", x.t, rejected, at)
		}
	}
	multi, err := New(t.Context(), m, []string{"cat"}, []string{"{}"}, MultiLabel(0, "a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		c    clip.Classifier
		name string
		t    Threshold
		want string
	}{
		{c, "other", Threshold{}, `got no threshold below which a picture is "other"`},
		{c, "cat", Threshold{Probability: 0.5}, `"cat" is a label`},
		{c, "other", Threshold{Probability: 0.5, Each: true}, `"other" is one of labels that exclude each other`},
		{multi, "other", Threshold{Probability: 0.5}, `"other" is one of labels that exclude each other`},
		{clip.ClassifyBy(m, embedding, []string{"a"}, nil), "other", Threshold{Cosine: 0.5}, "the classifier has no cosines"},
	} {
		if _, err := OrNone(x.c, x.name, x.t); !errors.Is(err, clip.ErrRequest) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: error %v, want %q", x.t, err, x.want)
		}
	}
}
