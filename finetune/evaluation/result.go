package evaluation

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/internal/pyjson"
)

// A Result says how well a classifier tells pictures apart.
type Result struct {
	Pictures    int        // N, that were judged
	Right       int        // whose most probable class is their own, or with Multi all of whose labels are right
	Accuracy    float64    // the share of these, from 0 to 1
	Top         int        // how many classes count for TopAccuracy; 0 where there are no more classes than that
	TopAccuracy float64    // the share of pictures whose class is among the Top most probable
	Loss        float64    // the mean of -log of the probability of the picture's class; with Multi that of all its labels, each yes or no
	Macro       Scores     // means over the classes that have pictures; that of Recall is the balanced accuracy
	Classes     []Class    // [K], in the order of the classifier
	Confusion   *Confusion // [K,K]; nil with Multi
	Wrong       []Wrong    // the surest first; no more than were asked for, of Pictures - Right
	Skipped     []Skipped  // pictures that could not be read, which nothing above counts

	Multi  bool    // the labels of a picture do not exclude each other
	MeanAP float64 // the mean of the average precisions of the classes that have pictures; 0 without Multi
	Micro  Scores  // of all labels of all pictures together; 0 without Multi
}

// Scores are what a class comes to, each from 0 to 1. A share of nothing is 0, as scikit-learn's zero_division=0 has it.
//
// Source: scikit-learn, sklearn/metrics/_classification.py, precision_recall_fscore_support.
type Scores struct {
	Recall    float64 `json:"recall"`    // the share of the class's pictures that got it: the accuracy on the class
	Precision float64 `json:"precision"` // the share of the pictures that got the class that have it
	F1        float64 `json:"f1"`        // the harmonic mean of the two
}

// A Class is how well pictures of a class are told from others.
type Class struct {
	Name      string `json:"class"`     // as the classifier calls it
	Pictures  int    `json:"pictures"`  // that have it
	Predicted int    `json:"predicted"` // that got it
	Right     int    `json:"right"`     // both
	Scores
	AveragePrecision float64 `json:"average_precision,omitzero"` // the area below precision over recall; with Multi alone
}

// A Wrong picture got another class than it has.
type Wrong struct {
	Index       int     // in the dataset
	Path        string  // as in [data.Sample]
	Wanted, Got string  // with Multi all labels, with commas between
	Probability float64 // of the class that it got, or with Multi of what was said of Label
	OfWanted    float64 // the probability of the class that it has, or of what is right of Label
	Label       string  // with Multi the label of which the classifier is most sure, and wrong
}

// compare orders wrong pictures: the surest first, and those as sure in the order of the data.
func (w Wrong) compare(other Wrong) int {
	return cmp.Or(cmp.Compare(other.Probability, w.Probability), cmp.Compare(w.Index, other.Index))
}

// A Skipped picture could not be read.
type Skipped struct {
	Path string // of the picture
	Err  error  // why it could not be read
}

// reason returns why, without the path.
func (s Skipped) reason() string {
	text := strings.TrimPrefix(s.Err.Error(), "clip: ")
	return strings.TrimPrefix(text, s.Path+": ")
}

// A Confusion says how many pictures of each class got which. It is kept by the pairs that there are: of 1000 classes most
// of the million have none.
type Confusion struct {
	classes []string
	counts  map[pair]int
}

// Classes returns the names of rows and columns, in their order.
func (c *Confusion) Classes() []string { return c.classes }

// Count returns how many pictures of the class wanted got the class got, both indices.
func (c *Confusion) Count(wanted, got int) int { return c.counts[pair{wanted, got}] }

// Row returns how many pictures of a class got each class, [K].
func (c *Confusion) Row(wanted int) []int {
	row := make([]int, len(c.classes))
	for got := range row {
		row[got] = c.Count(wanted, got)
	}
	return row
}

// MarshalJSON writes the matrix [K,K], a row for each class that is wanted.
func (c *Confusion) MarshalJSON() ([]byte, error) {
	rows := make([][]int, len(c.classes))
	for i := range rows {
		rows[i] = c.Row(i)
	}
	return json.Marshal(rows)
}

// mistakes returns the pairs of different classes, those of most pictures first.
func (c *Confusion) mistakes() (all []pair) {
	for p := range c.counts {
		if p.wanted != p.got {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b pair) int {
		return cmp.Or(cmp.Compare(c.counts[b], c.counts[a]), cmp.Compare(a.wanted, b.wanted), cmp.Compare(a.got, b.got))
	})
	return all
}

// MarshalJSON writes an object with the members pictures, skipped, right, accuracy, top, top_accuracy, loss, macro, classes,
// confusion and wrong. With Multi there are mean_average_precision and micro in the place of top, top_accuracy and
// confusion. Paths that are no UTF-8 stand as Python has them.
func (r *Result) MarshalJSON() ([]byte, error) {
	type wrong struct {
		Path        pyjson.Name `json:"path"`
		Wanted      string      `json:"wanted"`
		Got         string      `json:"got"`
		Probability float64     `json:"probability"`
		OfWanted    float64     `json:"probability_of_wanted"`
		Label       string      `json:"label,omitzero"`
	}
	type skipped struct {
		Path  pyjson.Name `json:"path"`
		Error pyjson.Name `json:"error"`
	}
	v := struct {
		Pictures    int        `json:"pictures"`
		Skipped     []skipped  `json:"skipped"`
		Right       int        `json:"right"`
		Accuracy    float64    `json:"accuracy"`
		Top         int        `json:"top,omitzero"`
		TopAccuracy *float64   `json:"top_accuracy,omitzero"`
		Loss        float64    `json:"loss"`
		MeanAP      *float64   `json:"mean_average_precision,omitzero"`
		Micro       *Scores    `json:"micro,omitzero"`
		Macro       Scores     `json:"macro"`
		Classes     []Class    `json:"classes"`
		Confusion   *Confusion `json:"confusion,omitzero"`
		Wrong       []wrong    `json:"wrong"`
	}{
		Pictures: r.Pictures, Skipped: []skipped{}, Right: r.Right, Accuracy: r.Accuracy, Top: r.Top, Loss: r.Loss,
		Macro: r.Macro, Classes: r.Classes, Confusion: r.Confusion, Wrong: []wrong{},
	}
	if r.Multi {
		v.MeanAP, v.Micro = &r.MeanAP, &r.Micro
	}
	if r.Top > 0 {
		v.TopAccuracy = &r.TopAccuracy
	}
	for _, s := range r.Skipped {
		v.Skipped = append(v.Skipped, skipped{pyjson.Name(s.Path), pyjson.Name(s.reason())})
	}
	for _, w := range r.Wrong {
		v.Wrong = append(v.Wrong, wrong{pyjson.Name(w.Path), w.Wanted, w.Got, w.Probability, w.OfWanted, w.Label})
	}
	return json.Marshal(v)
}

// WriteConfusion writes the matrix as CSV: a row for each class that is wanted, its name in front, and the names of the
// columns in the first line. With Multi there is none.
func (r *Result) WriteConfusion(w io.Writer) error {
	if r.Multi {
		return errors.New("evaluation: labels that do not exclude each other have no confusion matrix")
	}
	b := bufio.NewWriter(w)
	c := csv.NewWriter(b)
	classes := r.Confusion.Classes()
	if err := c.Write(append([]string{`wanted\got`}, classes...)); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	for i, name := range classes {
		row := []string{name}
		for _, n := range r.Confusion.Row(i) {
			row = append(row, strconv.Itoa(n))
		}
		if err := c.Write(row); err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
	}
	return flushed(c, b)
}

// WriteClasses writes a row of CSV for each class.
func (r *Result) WriteClasses(w io.Writer) error {
	b := bufio.NewWriter(w)
	c := csv.NewWriter(b)
	rows := [][]string{{"class", "pictures", "predicted", "right", "recall", "precision", "f1"}}
	for _, k := range r.Classes {
		rows = append(rows, []string{k.Name, strconv.Itoa(k.Pictures), strconv.Itoa(k.Predicted), strconv.Itoa(k.Right), number(k.Recall), number(k.Precision), number(k.F1)})
	}
	if r.Multi {
		rows[0] = append(rows[0], "average_precision")
		for i, k := range r.Classes {
			rows[i+1] = append(rows[i+1], number(k.AveragePrecision))
		}
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	return flushed(c, b)
}

// WriteWrong writes a row of CSV for each wrong picture, the surest first. Their numbers are those of the contact sheet.
func (r *Result) WriteWrong(w io.Writer) error {
	b := bufio.NewWriter(w)
	c := csv.NewWriter(b)
	rows := [][]string{{"number", "path", "wanted", "got", "probability", "probability_of_wanted"}}
	for i, k := range r.Wrong {
		rows = append(rows, []string{strconv.Itoa(i + 1), k.Path, k.Wanted, k.Got, number(k.Probability), number(k.OfWanted)})
	}
	if r.Multi {
		rows[0] = append(rows[0], "label")
		for i, k := range r.Wrong {
			rows[i+1] = append(rows[i+1], k.Label)
		}
	}
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	return flushed(c, b)
}

// number writes the shortest text that gives the same float64.
func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func flushed(c *csv.Writer, b *bufio.Writer) error {
	c.Flush()
	if err := cmp.Or(c.Error(), b.Flush()); err != nil {
		return fmt.Errorf("evaluation: %w", err)
	}
	return nil
}
