package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/zeroshot"
)

// verdictFormats are what labels of images can be written as, in the order of the help.
var verdictFormats = []string{"text", "jsonl", "csv"}

// verdicts writes the labels of images, one image after the other.
type verdicts struct {
	w      *bufio.Writer
	format string
	top    int                 // how many labels of an image; 0 is all
	table  *csv.Writer         // of csv
	by     *zeroshot.Threshold // by which labels are accepted; nil where all are as they are
	began  bool
	err    error
}

func newVerdicts(w io.Writer, format string, top int) *verdicts {
	v := &verdicts{w: bufio.NewWriter(w), format: format, top: top}
	if format == "csv" {
		v.table = csv.NewWriter(v.w)
	}
	return v
}

// accept has it say which labels a threshold accepts. It comes before the first image.
func (v *verdicts) accept(t zeroshot.Threshold) { v.by = &t }

// row writes one of csv.
func (v *verdicts) row(accepted string, cells ...string) {
	if v.by != nil {
		cells = append(cells, accepted)
	}
	v.keep(v.table.Write(cells))
}

// begin writes what stands before the first image.
func (v *verdicts) begin() {
	if v.table != nil && !v.began {
		v.row("accepted", "image", "rank", "label", "probability", "cosine", "error")
	}
	v.began = true
}

// write writes what was found of an image. What goes to a pipe or a terminal is there at once.
func (v *verdicts) write(c clip.Classified) error {
	v.begin()
	var accepted []clip.Label
	if v.by != nil {
		accepted = v.by.Accepted(c.Labels)
	}
	if v.top > 0 && v.top < len(c.Labels) {
		c.Labels = c.Labels[:v.top]
	}
	switch v.format {
	case "jsonl":
		v.keep(v.json(c, accepted))
	case "csv":
		v.csv(c, accepted)
	default:
		v.text(c, accepted)
	}
	return v.flush()
}

func (v *verdicts) keep(err error) {
	if v.err == nil {
		v.err = err
	}
}

func (v *verdicts) flush() error {
	v.begin()
	if v.table != nil {
		v.table.Flush()
		v.keep(v.table.Error())
	}
	v.keep(v.w.Flush())
	return v.err
}

func (v *verdicts) json(c clip.Classified, accepted []clip.Label) error {
	e := json.NewEncoder(v.w)
	e.SetEscapeHTML(false)
	var name any = c.Name
	if !utf8.ValidString(c.Name) {
		name = pyjson.Name(c.Name)
	}
	if c.Err != nil {
		return e.Encode(struct {
			Image any `json:"image"`
			Error any `json:"error"`
		}{name, pyjson.Name(plain(c.Err))})
	}
	var names *[]string // none is another than not asked
	if v.by != nil {
		names = &[]string{}
		for _, l := range accepted {
			*names = append(*names, l.Name)
		}
	}
	return e.Encode(struct {
		Image    any          `json:"image"`
		Labels   []clip.Label `json:"labels"`
		Accepted *[]string    `json:"accepted,omitempty"`
	}{name, c.Labels, names})
}

func (v *verdicts) csv(c clip.Classified, accepted []clip.Label) {
	if c.Err != nil {
		v.row("", c.Name, "", "", "", "", plain(c.Err))
	}
	for i, l := range c.Labels {
		cosine := ""
		if l.Cosine != 0 {
			cosine = number(l.Cosine)
		}
		v.row(strconv.FormatBool(slices.Contains(accepted, l)), c.Name, strconv.Itoa(i+1), l.Name, number(l.Probability), cosine, "")
	}
}

// number returns the shortest text that is the same float64.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// noneOfThese is what text says of an image whose labels are not accepted, and eval calls the class of such images.
const noneOfThese = "none of these"

func (v *verdicts) text(c clip.Classified, accepted []clip.Label) {
	if c.Err != nil {
		return // standard error says it
	}
	none := v.by != nil && len(accepted) == 0
	if v.top == 1 && len(c.Labels) > 0 {
		name := oneLine(c.Labels[0].Name)
		if none {
			name = noneOfThese
		}
		fmt.Fprintf(v.w, "%s\t%s\t%.2f %%\n", oneLine(c.Name), name, 100*c.Labels[0].Probability)
		return
	}
	if none {
		fmt.Fprintf(v.w, "%s: %s\n", oneLine(c.Name), noneOfThese)
	} else {
		fmt.Fprintln(v.w, oneLine(c.Name))
	}
	for _, l := range c.Labels {
		mark := " "
		if slices.Contains(accepted, l) {
			mark = "*"
		}
		fmt.Fprintf(v.w, "%s%7.2f %%  %s\n", mark, 100*l.Probability, oneLine(l.Name))
	}
}
