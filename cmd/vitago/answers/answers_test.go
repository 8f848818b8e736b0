package answers_test

import (
	"math"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cmd/vitago/answers"
	"github.com/vitago/vitago/demo"
)

// TestKnown: the answers that are part of the program have sources, and pictures that can be had.
func TestKnown(t *testing.T) {
	all := answers.Known()
	for _, name := range []string{demo.Name, "ViT-B/32", "vit-l/14@336px"} {
		if len(answers.For(all, name)) == 0 {
			t.Errorf("no answers of %s", name)
		}
	}
	for _, a := range answers.For(all, "ViT-B/32") {
		if !strings.HasPrefix(a.Source, "https://github.com/") {
			t.Errorf("the source is %q", a.Source)
		}
		for _, c := range a.Checks {
			if a.Pictures[c.Picture].URL == "" {
				t.Errorf("no address of %s", c.Picture)
			}
		}
	}
	if a := answers.For(all, "openai/clip-vit-base-patch32")[0].Checks[0]; a.Probabilities[0] != 0.9927937 || a.Texts[0] != "a diagram" {
		t.Errorf("OpenAI's own are %+v", a)
	}
}

// TestRun: the small model in the program gives the answers of transformers 5.24.0, and another answer is a failure by its
// difference.
func TestRun(t *testing.T) {
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	pictures := map[string]clip.Picture{}
	for _, p := range demo.Pictures() {
		pictures[p.Name()] = p
	}
	kinds := map[string]int{}
	for _, a := range answers.For(answers.Known(), demo.Name) {
		for _, c := range a.Checks {
			o, err := c.Run(t.Context(), m, pictures[c.Picture])
			if err != nil || !o.Pass || o.Difference > 1e-4 {
				t.Errorf("%s: %+v, %v", c.What(), o, err)
			}
			kinds[strings.Fields(c.What())[1]]++
			values := [][]float64{c.Embedding, c.Probabilities}[min(len(c.Probabilities), 1)]
			before, peak := values[1], 0.0
			for _, v := range c.Embedding {
				peak = max(peak, math.Abs(v))
			}
			if peak == 0 {
				peak = 1
			}
			values[1] += 0.01 * peak // which is not the greatest
			if o, err := c.Run(t.Context(), m, pictures[c.Picture]); err != nil || o.Pass || math.Abs(o.Difference-0.01) > 3e-4 {
				t.Errorf("%s of another: %+v, %v, want a difference of 0.01", c.What(), o, err)
			}
			values[1] = before
			logits := answers.Check{Picture: c.Picture, Texts: c.Texts, Logits: make([]float64, len(c.Texts)), Tolerance: math.MaxFloat64}
			if c.Probabilities == nil {
				continue
			}
			if o, err = logits.Run(t.Context(), m, pictures[c.Picture]); err != nil || !o.Pass {
				t.Errorf("%s: %+v, %v", logits.What(), o, err)
			}
			for i := range o.Got[1:] { // differences of logits are those of the logarithms of probabilities
				if want := math.Log(c.Probabilities[i+1] / c.Probabilities[i]); math.Abs(o.Got[i+1]-o.Got[i]-want) > 1e-3*max(1, math.Abs(want)) {
					t.Errorf("%s: logits %v, want a difference of %v", c.Picture, o.Got, want)
				}
			}
		}
	}
	if kinds["embedding"] < 5 || kinds["probabilities"] < 3 {
		t.Errorf("checks of %v", kinds)
	}
	short := answers.Check{Text: "a circle", Embedding: []float64{1, 2}}
	if _, err := short.Run(t.Context(), m, clip.Picture{}); err == nil || !strings.Contains(err.Error(), "values, want 2: the answer is of another model") {
		t.Errorf("error %v", err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		``:                               "want an object with the member answers: EOF",
		`[]`:                             "want an object with the member answers",
		`{"answers":[]}`:                 "got 0 answers, want at least 1",
		`{"answers":[{"source":"x"}]} 2`: "more than one object",
		`{"answer":[]}`:                  `unknown field "answer"`,
		`{"answers":[{"checks":[{"text":"a","embedding":[1]}]}]}`:                                       "answer 1 has no source",
		`{"answers":[{"source":"x"}]}`:                                                                  "answer 1 has no checks",
		`{"answers":[{"source":"x","checks":[{"text":"a"}]}]}`:                                          "answer 1, check 1: got 0 of embedding, probabilities and logits, want 1",
		`{"answers":[{"source":"x","checks":[{"text":"a","picture":"b","embedding":[1]}]}]}`:            "want one of them",
		`{"answers":[{"source":"x","checks":[{"text":"a","probabilities":[1],"texts":["a"]}]}]}`:        "probabilities and logits are of a picture and texts",
		`{"answers":[{"source":"x","checks":[{"picture":"a","probabilities":[1,0],"texts":["a"]}]}]}`:   "1 texts and 2 values, want as many",
		`{"answers":[{"source":"x","checks":[{"picture":"a","logits":[],"texts":[]}]}]}`:                "got no values",
		`{"answers":[{"source":"x","checks":[{"text":"a","embedding":[1],"tolerance":-1}]}]}`:           "the tolerance is -1, want above 0",
		`{"answers":[{"source":"x","checks":[{"text":"a","embedding":["1"]}]}]}`:                        "cannot unmarshal string",
		`{"answers":[{"source":"x","checks":[{"text":"a","embedding":[1],"logits":[1]},{"text":""}]}]}`: "got 2 of embedding, probabilities and logits, want 1\nanswers: answer 1, check 2: got 0",
	} {
		if _, err := answers.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// FuzzParse: what is read can be asked of a model without a panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"answers":[{"source":"x","models":["m"],"pictures":{"a":{"sha256":"00","url":"u"}},"checks":[{"picture":"a","texts":["a"],"logits":[1],"tolerance":0.1}]}]}`))
	f.Add([]byte(`{"answers":[{"source":"x","checks":[{"text":"a","embedding":[1e300]}]}]}`))
	m, err := demo.Open()
	if err != nil {
		f.Fatal(err)
	}
	picture := demo.Pictures()[0]
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := answers.Parse(text)
		if err != nil {
			return
		}
		for _, a := range all {
			for _, c := range a.Checks {
				if o, err := c.Run(t.Context(), m, picture); err == nil && len(o.Got) != len(o.Want) {
					t.Errorf("%s: %d values, want %d", c.What(), len(o.Got), len(o.Want))
				}
			}
		}
	})
}
