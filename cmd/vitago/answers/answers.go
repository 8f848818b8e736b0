// Package answers compares what a model says of pictures and texts with what others have published or computed: known answers,
// which are data.
//
//	answers.json ─▶ Parse ─▶ Answer.Checks ─▶ Check.Run(model, picture) ─▶ Outcome: difference, pass or fail
package answers

import (
	"bytes"
	"context"
	_ "embed" // the known answers
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/softmax"
)

// DefaultTolerance is how far a value may be from the answer where no other tolerance is given.
const DefaultTolerance = 1e-3

// published are answers that stand in other projects' pages and tests, each with its source; demo are those of the model in the
// program, which testdata/gen/verify.py made.
//
//go:embed published.json
var published []byte

//go:embed demo.json
var demo []byte

// Known returns the answers that are part of the program.
func Known() []Answer {
	var all []Answer
	for _, text := range [][]byte{published, demo} {
		some, err := Parse(text)
		if err != nil {
			panic(err) // they are part of the program
		}
		all = append(all, some...)
	}
	return all
}

// An Answer is what is known of a model from one source.
type Answer struct {
	Models   []string          `json:"models,omitempty"`   // names of the model; none stands for any
	Source   string            `json:"source"`             // where it was published, or what computed it
	Pictures map[string]Origin `json:"pictures,omitempty"` // by the names that Checks have
	Checks   []Check           `json:"checks"`             // at least one
}

// An Origin says which file a picture is, and where it can be had.
type Origin struct {
	SHA256 string `json:"sha256,omitempty"` // of the file's bytes, in hexadecimal digits; "" is not known
	URL    string `json:"url,omitempty"`    // "" is not known
}

// A Check is one answer: the embedding of a picture or a text, or the probabilities or logits of texts for a picture.
type Check struct {
	Picture       string    `json:"picture,omitempty"`       // name of the file
	Text          string    `json:"text,omitempty"`          // whose embedding is known
	Texts         []string  `json:"texts,omitempty"`         // whole texts, whose probabilities or logits are known
	Embedding     []float64 `json:"embedding,omitempty"`     // [E], as encode_image or encode_text give it: not normalised
	Probabilities []float64 `json:"probabilities,omitempty"` // softmax of the logits
	Logits        []float64 `json:"logits,omitempty"`        // cosine times the model's scale
	Tolerance     float64   `json:"tolerance,omitempty"`     // 0 is DefaultTolerance
}

// maxFile is how long a file of answers may be: a thousand embeddings.
const maxFile = 64 << 20

// Read returns the answers that r has; see [Parse].
func Read(r io.Reader) ([]Answer, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("answers: more than %d bytes", maxFile)
	}
	return Parse(text)
}

// Parse returns the answers of a text in JSON, {"answers":[...]}, whose members are those of [Answer]. All that is wrong with
// them is one error.
func Parse(text []byte) ([]Answer, error) {
	var file struct {
		Answers []Answer `json:"answers"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a slip would leave out an answer
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("answers: want an object with the member answers: %w", err)
	}
	if d.More() {
		return nil, fmt.Errorf("answers: more than one object")
	}
	if len(file.Answers) == 0 {
		return nil, errors.New("answers: got 0 answers, want at least 1")
	}
	var wrong []error
	for i, a := range file.Answers {
		if a.Source == "" {
			wrong = append(wrong, fmt.Errorf("answers: answer %d has no source", i+1))
		}
		if len(a.Checks) == 0 {
			wrong = append(wrong, fmt.Errorf("answers: answer %d has no checks", i+1))
		}
		for j, c := range a.Checks {
			if err := c.validate(); err != nil {
				wrong = append(wrong, fmt.Errorf("answers: answer %d, check %d: %w", i+1, j+1, err))
			}
		}
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return file.Answers, nil
}

// validate says what is wrong with a check.
func (c *Check) validate() error {
	kinds := 0
	for _, v := range [][]float64{c.Embedding, c.Probabilities, c.Logits} {
		if v != nil {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("got %d of embedding, probabilities and logits, want 1", kinds)
	case c.Tolerance < 0:
		return fmt.Errorf("the tolerance is %v, want above 0", c.Tolerance)
	case c.Embedding != nil && (c.Texts != nil || (c.Picture == "") == (c.Text == "")):
		return errors.New("an embedding is of a picture or of a text: want one of them")
	case c.Embedding == nil && (c.Picture == "" || c.Text != ""):
		return errors.New("probabilities and logits are of a picture and texts")
	case c.Embedding == nil && len(c.Texts) != len(c.want()):
		return fmt.Errorf("%d texts and %d values, want as many", len(c.Texts), len(c.want()))
	case len(c.want()) == 0:
		return errors.New("got no values")
	}
	return nil
}

// want returns the values.
func (c *Check) want() []float64 { return slices.Concat(c.Embedding, c.Probabilities, c.Logits) }

// What says what a check is of.
func (c *Check) What() string {
	switch {
	case c.Text != "":
		return fmt.Sprintf("the embedding of the text %q", c.Text)
	case c.Embedding != nil:
		return "the embedding of " + c.Picture
	case c.Probabilities != nil:
		return fmt.Sprintf("the probabilities of %s for %d texts", c.Picture, len(c.Texts))
	}
	return fmt.Sprintf("the logits of %s for %d texts", c.Picture, len(c.Texts))
}

// An Outcome is what a check came to.
type Outcome struct {
	Want, Got []float64 // as many values of both
	// Difference is the greatest of a value; of an embedding divided by the greatest absolute value that is wanted.
	Difference float64
	Tolerance  float64 // of the check, or [DefaultTolerance]
	Pass       bool    // Difference is at most Tolerance
}

// Run asks a model. p is the picture of the check, if it has one.
func (c *Check) Run(ctx context.Context, m *clip.Model, p clip.Picture) (o Outcome, err error) {
	o = Outcome{Want: c.want(), Tolerance: c.Tolerance}
	if o.Tolerance == 0 {
		o.Tolerance = DefaultTolerance
	}
	var picture []float32
	if c.Picture != "" {
		all, err := m.Encode(ctx, p)
		if err != nil {
			return o, err
		}
		picture = all[0]
	}
	switch {
	case c.Text != "":
		all, err := m.EncodeText(ctx, []string{c.Text})
		if err != nil {
			return o, err
		}
		o.Got = widened(all[0])
	case c.Embedding != nil:
		o.Got = widened(picture)
	default:
		if o.Got, err = c.logits(ctx, m, picture); err != nil {
			return o, err
		}
		if c.Probabilities != nil {
			softmax.Of(o.Got)
		}
	}
	if len(o.Got) != len(o.Want) {
		return o, fmt.Errorf("answers: %d values, want %d: the answer is of another model", len(o.Got), len(o.Want))
	}
	peak := 0.0
	for i, v := range o.Got {
		o.Difference = max(o.Difference, math.Abs(v-o.Want[i])) // NaN stays
		peak = max(peak, math.Abs(o.Want[i]))
	}
	if c.Embedding != nil && peak > 0 {
		o.Difference /= peak
	}
	o.Pass = o.Difference <= o.Tolerance
	return o, nil
}

// logits returns those of the texts for the embedding of a picture.
func (c *Check) logits(ctx context.Context, m *clip.Model, picture []float32) ([]float64, error) {
	texts, err := m.EncodeText(ctx, c.Texts)
	if err != nil {
		return nil, err
	}
	tower, err := m.Text(ctx)
	if err != nil {
		return nil, err
	}
	if len(texts[0]) != len(picture) {
		return nil, fmt.Errorf("answers: embeddings of pictures have %d values, those of texts %d", len(picture), len(texts[0]))
	}
	logits := make([]float64, len(texts))
	for i, t := range texts {
		logits[i] = tower.Scale() * clip.Cosine(picture, t)
	}
	return logits, nil
}

func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// For returns those of some answers that are of a model, by one of its names.
func For(all []Answer, name string) (found []Answer) {
	for _, a := range all {
		if slices.ContainsFunc(a.Models, func(m string) bool { return strings.EqualFold(m, name) }) {
			found = append(found, a)
		}
	}
	return found
}
