package job

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/internal/pycsv"
)

// balanced is the value of [Request.ClassWeights] for weights by which classes count alike.
const balanced = "balanced"

// maxWeights is how long a table of weights may be: a million classes.
const maxWeights = 64 << 20

// classWeights returns the weights of the classes that are asked for, or nil.
func (r Request) classWeights(d *data.Dataset) ([]float64, error) {
	if r.ClassWeights == "" {
		return nil, nil
	}
	if r.ClassWeights == balanced {
		weights, err := d.BalancedWeights()
		if err != nil {
			return nil, bad("{class_weights}: %v", pillow.Bare(err, "data"))
		}
		return weights, nil
	}
	named, err := readWeights(r.ClassWeights)
	if errors.Is(err, ErrData) {
		return nil, err
	}
	if err != nil {
		return nil, bad("{class_weights}: %v", err)
	}
	weights := make([]float64, len(d.Classes))
	for i := range weights {
		weights[i] = 1
	}
	for _, w := range named {
		i := slices.Index(d.Classes, w.class)
		if i < 0 {
			return nil, bad("{class_weights}: %q is none of the %d classes (%.200q)", w.class, len(d.Classes), d.Classes)
		}
		weights[i] = w.weight
	}
	return weights, nil
}

// A classWeight is how much a class counts.
type classWeight struct {
	class  string
	weight float64
}

// readWeights reads what is no word of its own: a list, or a table.
func readWeights(text string) (all []classWeight, err error) {
	if filepath.Ext(text) == ".csv" {
		raw, err := folder.ReadSmall(text, maxWeights)
		if err != nil {
			return nil, of(ErrData, fmt.Errorf("job: the class weights: %w", err))
		}
		if all, err = parseTable(string(raw)); err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		return all, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		at := strings.LastIndexByte(part, '=')
		if at < 0 {
			return nil, fmt.Errorf("%.80q, want %s, CLASS=WEIGHT,... or a .csv with the columns class and weight", part, balanced)
		}
		if all, err = withWeight(all, part[:at], part[at+1:]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseTable reads a CSV with the columns class and weight, as Python's csv and pandas read it.
func parseTable(text string) (all []classWeight, err error) {
	var head []string
	class, weight := -1, -1
	err = pycsv.Table([]byte(text), func(r pycsv.Record) (err error) {
		if head != nil {
			all, err = withWeight(all, r.Fields[class], r.Fields[weight])
			return err
		}
		head = r.Fields
		class, weight = slices.Index(head, "class"), slices.Index(head, "weight")
		if class < 0 || weight < 0 {
			return fmt.Errorf("first line is %.80q, want the columns class and weight", head)
		}
		for _, i := range []int{class, weight} {
			if slices.Contains(head[i+1:], head[i]) {
				return fmt.Errorf("first line is %.80q, with the column %s twice", head, head[i])
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case head == nil:
		return nil, errors.New("empty file, want the columns class and weight")
	case all == nil:
		return nil, errors.New("no line after the first, want a class and its weight")
	}
	return all, nil
}

// withWeight adds the weight of a class.
func withWeight(all []classWeight, class, weight string) ([]classWeight, error) {
	class = strings.TrimSpace(class)
	v, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
	switch {
	case class == "":
		return nil, fmt.Errorf("a weight of %.40q without a class", weight)
	case err != nil || !(v >= probe.LeastWeight && v <= probe.MostWeight):
		return nil, fmt.Errorf("the weight of %q is %.40q, want a number above 0, from %v to %v", class, weight, probe.LeastWeight, probe.MostWeight)
	case slices.ContainsFunc(all, func(w classWeight) bool { return w.class == class }):
		return nil, fmt.Errorf("%q has two weights", class)
	}
	return append(all, classWeight{class, v}), nil
}

// weightFacts says in a report which weights there are.
func weightFacts(classes []string, weights []float64) [][2]string {
	if weights == nil {
		return nil
	}
	const shown = 20 // a line or two
	var parts []string
	for i, w := range weights[:min(shown, len(weights))] {
		parts = append(parts, fmt.Sprintf("%s %.4g", classes[i], w))
	}
	if n := len(weights) - shown; n > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", n))
	}
	return [][2]string{{"class weights", strings.Join(parts, ", ")}}
}
