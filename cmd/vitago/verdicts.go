package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/pyjson"
)

// verdictFormats are what labels of images can be written as, in the order of the help.
var verdictFormats = []string{"text", "jsonl", "csv"}

// verdicts writes the labels of images, one image after the other.
type verdicts struct {
	w      *bufio.Writer
	format string
	top    int         // how many labels of an image; 0 is all
	table  *csv.Writer // of csv
	err    error
}

func newVerdicts(w io.Writer, format string, top int) *verdicts {
	v := &verdicts{w: bufio.NewWriter(w), format: format, top: top}
	if format == "csv" {
		v.table = csv.NewWriter(v.w)
		v.err = v.table.Write([]string{"image", "rank", "label", "probability", "cosine", "error"})
	}
	return v
}

// write writes what was found of an image. What goes to a pipe or a terminal is there at once.
func (v *verdicts) write(c clip.Classified) error {
	if v.top > 0 && v.top < len(c.Labels) {
		c.Labels = c.Labels[:v.top]
	}
	switch v.format {
	case "jsonl":
		v.keep(v.json(c))
	case "csv":
		v.csv(c)
	default:
		v.text(c)
	}
	return v.flush()
}

func (v *verdicts) keep(err error) {
	if v.err == nil {
		v.err = err
	}
}

func (v *verdicts) flush() error {
	if v.table != nil {
		v.table.Flush()
		v.keep(v.table.Error())
	}
	v.keep(v.w.Flush())
	return v.err
}

func (v *verdicts) json(c clip.Classified) error {
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
	return e.Encode(struct {
		Image  any          `json:"image"`
		Labels []clip.Label `json:"labels"`
	}{name, c.Labels})
}

func (v *verdicts) csv(c clip.Classified) {
	if c.Err != nil {
		v.keep(v.table.Write([]string{c.Name, "", "", "", "", plain(c.Err)}))
	}
	for i, l := range c.Labels {
		cosine := ""
		if l.Cosine != 0 {
			cosine = number(l.Cosine)
		}
		v.keep(v.table.Write([]string{c.Name, strconv.Itoa(i + 1), l.Name, number(l.Probability), cosine, ""}))
	}
}

// number returns the shortest text that is the same float64.
func number(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

func (v *verdicts) text(c clip.Classified) {
	if c.Err != nil {
		return // standard error says it
	}
	if v.top == 1 && len(c.Labels) > 0 {
		fmt.Fprintf(v.w, "%s\t%s\t%.2f %%\n", oneLine(c.Name), oneLine(c.Labels[0].Name), 100*c.Labels[0].Probability)
		return
	}
	fmt.Fprintln(v.w, oneLine(c.Name))
	for _, l := range c.Labels {
		fmt.Fprintf(v.w, "%8.2f %%  %s\n", 100*l.Probability, oneLine(l.Name))
	}
}
