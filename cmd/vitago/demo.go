package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/sheet"
	"github.com/vitago/vitago/zeroshot"
)

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See what a model does with pictures, by a small one in this program",
		Long: `Demo shows what a CLIP does, without a download: what is in a picture, which picture some words mean,
which two are most alike, and where in a picture the model looks.

The model is part of this program, as are the pictures. It has learnt from drawn scenes of eight
shapes in eight colours, by "vitago finetune" and from random weights, and knows some eighty words.
Wherever a model is named it is ` + demo.Name + `; classify, search, explain and verify take it where none
is named.`,
		Example: `  vitago demo
  vitago demo --sheet demo.html
  vitago classify --labels "red circle,blue square,green heart" drawing.png
  vitago demo --dir models/demo`,
		Args: wantArgs(0, 0, "none"),
	}
	dir := cmd.Flags().String("dir", "", "write the model directory to `DIR`")
	file := cmd.Flags().String("sheet", "", "write what is shown as a page with the pictures to `FILE`.html")
	asJSON := jsonFlag(cmd)
	overwrite := cmd.Flags().Bool("overwrite", false, "replace a model directory or a page that is there")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch ext := strings.ToLower(filepath.Ext(*file)); {
		case *overwrite && *dir == "" && *file == "":
			return usagef("--overwrite goes with --dir or --sheet: otherwise nothing is written")
		case *file != "" && ext != ".html" && ext != ".htm":
			return usagef("--sheet is %s, want a file that ends with .html", *file)
		}
		ctx, log := cmd.Context(), cmd.ErrOrStderr()
		var page output
		if *file != "" {
			var err error
			if page, err = createNew(cmd, *file, *overwrite); err != nil {
				return err
			}
			defer page.discard()
		}
		if *dir != "" { // what stands in the way of it is said first
			if err := writeDemo(ctx, *dir, *overwrite); err != nil {
				return err
			}
		}
		r, err := runDemo(ctx, log)
		if err != nil {
			return err
		}
		if *asJSON {
			err = writeJSON(cmd.OutOrStdout(), r.json())
		} else {
			_, err = cmd.OutOrStdout().Write(r.text())
		}
		if err != nil {
			return err
		}
		if *file != "" {
			if err := r.page().Write(ctx, page.w); err != nil {
				return err
			}
			if err := page.commit(); err != nil {
				return err
			}
		}
		if *dir == "" {
			return nil
		}
		fmt.Fprintf(log, "the model is in %s; try: vitago encode --model %[1]s IMAGE\n"+
			"  vitago encode --model %[1]s --text \"a red circle\"\n  vitago classify --model %[1]s --labels \"a circle,a star\" IMAGE\n", *dir)
		return nil
	}
	return cmd
}

// writeDemo writes the model directory of the small model.
func writeDemo(ctx context.Context, dir string, overwrite bool) error {
	c, err := converter.Open(demo.Name)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Convert(ctx, dir, converter.Options{Overwrite: overwrite})
	return err
}

// What the demo asks. Labels are one for each picture, and one more.
var (
	demoLabels = []string{
		"a red circle", "a big blue square", "a green heart with dots", "a small purple moon", "a yellow circle", "three blue stars", "four red hearts",
		"a green triangle above an orange square", "a red circle to the left of a blue cross", "two blue stars",
	}
	demoQueries = []string{"something purple in the top right corner", "stars", "a heart with dots", "a triangle above a square", "something yellow"}
	demoLooks   = []struct{ picture, caption string }{{"circle-left-of-cross.png", "a red circle"}, {"circle-left-of-cross.png", "a blue cross"}}
)

// A demoResult is what the demo found.
type demoResult struct {
	parameters int64
	names      []string       // of the pictures
	labels     [][]clip.Label // of each picture, the best first
	found      []answer       // for each query
	alike      answer         // the two most alike
	maps       []*explain.Map
}

// An answer is pictures that were looked for.
type answer struct {
	query  string
	names  []string
	cosine float64 // of the first to the query, or of two
}

// runDemo asks the small model everything. It writes what it does to log.
func runDemo(ctx context.Context, log io.Writer) (r *demoResult, err error) {
	r = &demoResult{}
	p := startProgress(log, "loading", count)
	m, err := demo.Open()
	if err == nil {
		defer m.Close()
		_, err = m.Vision(ctx)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	info, err := converter.Inspect(ctx, demo.Name)
	if err != nil {
		p.stop()
		return nil, err
	}
	r.parameters = info.Parameters
	fmt.Fprintf(log, "loaded the model in %s\n", milliseconds(p))

	p = startProgress(log, "asking", count)
	pictures := demo.Pictures()
	_, err = await(ctx, func() (any, error) { return nil, r.ask(ctx, m, pictures) })
	if err != nil {
		p.stop()
		return nil, err
	}
	fmt.Fprintf(log, "encoded %d pictures and %d texts, and drew %d maps, in %s\n", len(pictures), len(demoLabels)+len(demoQueries)+len(demoLooks), len(r.maps), milliseconds(p))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Fprintf(log, "memory taken from the system: %s\n", megabytes(int64(mem.Sys)))
	return r, nil
}

func milliseconds(p *progress) string { return fmt.Sprintf("%d ms", p.stop().Milliseconds()) }

// ask asks a model about pictures.
func (r *demoResult) ask(ctx context.Context, m *clip.Model, pictures []clip.Picture) error {
	judge, err := zeroshot.New(ctx, m, demoLabels, []string{zeroshot.Place})
	if err != nil {
		return err
	}
	if r.labels, err = judge.Classify(ctx, pictures...); err != nil {
		return err
	}
	x, err := m.Encode(ctx, pictures...)
	if err != nil {
		return err
	}
	y, err := m.EncodeText(ctx, demoQueries)
	if err != nil {
		return err
	}
	for _, p := range pictures {
		r.names = append(r.names, p.Name())
	}
	for i, q := range demoQueries {
		r.found = append(r.found, r.nearest(q, y[i], x))
	}
	for i := range x {
		for j := range i {
			if c := clip.Cosine(x[i], x[j]); r.alike.names == nil || c > r.alike.cosine {
				r.alike = answer{names: []string{r.names[j], r.names[i]}, cosine: c}
			}
		}
	}
	for _, l := range demoLooks {
		look, err := explain.Caption(ctx, m, pictures[slices.Index(r.names, l.picture)], l.caption, explain.Options{})
		if err != nil {
			return err
		}
		r.maps = append(r.maps, look)
	}
	return nil
}

// nearest returns the two pictures that are nearest to a query.
func (r *demoResult) nearest(query string, y []float32, x [][]float32) answer {
	order := make([]int, len(x))
	cosines := make([]float64, len(x))
	for i := range x {
		order[i], cosines[i] = i, clip.Cosine(x[i], y)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case cosines[a] > cosines[b]:
			return -1
		case cosines[a] < cosines[b]:
			return 1
		}
		return 0
	})
	return answer{query, []string{r.names[order[0]], r.names[order[1]]}, cosines[order[0]]}
}

// A demoJSON is what the demo found in JSON.
type demoJSON struct {
	Model      string       `json:"model"`
	Parameters int64        `json:"parameters"`
	Pictures   []demoLabel  `json:"pictures"`
	Queries    []demoAnswer `json:"queries"`
	Alike      demoAlike    `json:"alike"`
	Looks      []demoLook   `json:"looks"`
}

type demoLabel struct {
	Image       string  `json:"image"`
	Label       string  `json:"label"`
	Probability float64 `json:"probability"`
}

type demoAnswer struct {
	Query  string  `json:"query"`
	Image  string  `json:"image"`
	Cosine float64 `json:"cosine"`
}

type demoAlike struct {
	Images []string `json:"images"`
	Cosine float64  `json:"cosine"`
}

type demoLook struct {
	Image   string    `json:"image"`
	Caption string    `json:"caption"`
	Cosine  float64   `json:"cosine"`
	Grid    int       `json:"grid"` // patches of a side
	Map     []float32 `json:"map"`  // [grid,grid]
}

// json is what the text has.
func (r *demoResult) json() demoJSON {
	j := demoJSON{Model: demo.Name, Parameters: r.parameters, Alike: demoAlike{r.alike.names, r.alike.cosine}}
	for i, name := range r.names {
		j.Pictures = append(j.Pictures, demoLabel{name, r.labels[i][0].Name, r.labels[i][0].Probability})
	}
	for _, f := range r.found {
		j.Queries = append(j.Queries, demoAnswer{f.query, f.names[0], f.cosine})
	}
	for _, m := range r.maps {
		j.Looks = append(j.Looks, demoLook{m.Picture, m.Caption, m.Score, m.Grid, m.Values})
	}
	return j
}

// text is the same on every run.
func (r *demoResult) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s parameters, which have learnt from drawn scenes alone.\n", demo.Name, grouped(r.parameters))

	fmt.Fprintf(&b, "\nwhat is in a picture, of %d labels\n", len(demoLabels))
	for i, name := range r.names {
		best := r.labels[i][0]
		fmt.Fprintf(&b, "  %-26s %5.1f %%  %s\n", name, 100*best.Probability, best.Name)
	}
	b.WriteString("\nwhich picture words mean\n")
	for _, f := range r.found {
		fmt.Fprintf(&b, "  %-42s %5.2f  %s\n", f.query, f.cosine, f.names[0])
	}
	fmt.Fprintf(&b, "\nmost alike: %s and %s, %.2f\n", r.alike.names[0], r.alike.names[1], r.alike.cosine)
	b.WriteString("\nwhere the model looks\n")
	var rows [][]string
	for _, m := range r.maps {
		var drawn bytes.Buffer
		printShades(&drawn, m, false)
		rows = append(rows, strings.Split(strings.TrimSpace(drawn.String()), "\n"))
	}
	for y := range rows[0] {
		line := " "
		for _, row := range rows {
			line += " " + row[y] + "  "
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	line := " "
	for i, m := range r.maps {
		line += fmt.Sprintf(" %-*s  ", 2*m.Grid+2, demoLooks[i].caption)
	}
	fmt.Fprintf(&b, "%s in %s\n", strings.TrimRight(line, " "), demoLooks[0].picture)
	return b.Bytes()
}

// page is the contact sheet.
func (r *demoResult) page() *sheet.Page {
	at := map[string]int{}
	for i, n := range r.names {
		at[n] = i
	}
	pictures := demo.Pictures()
	figure := func(name string, lines ...string) sheet.Figure {
		return sheet.Figure{Picture: func() (image.Image, error) { return pictures[at[name]].Decode() }, Alt: name, Lines: append([]string{name}, lines...)}
	}
	p := &sheet.Page{Title: "What a small CLIP makes of pictures", Note: fmt.Sprintf("%s: %s parameters, which have learnt from drawn scenes alone", demo.Name, grouped(r.parameters))}
	labels := sheet.Section{Heading: fmt.Sprintf("What is in a picture, of %d labels", len(demoLabels))}
	for i, name := range r.names {
		var lines []string
		for _, l := range r.labels[i][:3] {
			lines = append(lines, fmt.Sprintf("%.1f %% %s", 100*l.Probability, l.Name))
		}
		labels.Figures = append(labels.Figures, figure(name, lines...))
	}
	p.Sections = append(p.Sections, labels)
	words := sheet.Section{Heading: "Which picture words mean"}
	for _, f := range r.found {
		words.Figures = append(words.Figures, figure(f.names[0], f.query, fmt.Sprintf("cosine %.2f; next: %s", f.cosine, f.names[1])))
	}
	p.Sections = append(p.Sections, words)
	p.Sections = append(p.Sections, sheet.Section{
		Heading: fmt.Sprintf("Most alike, cosine %.2f", r.alike.cosine),
		Figures: []sheet.Figure{figure(r.alike.names[0]), figure(r.alike.names[1])},
	})
	looks := sheet.Section{Heading: "Where the model looks"}
	for _, m := range r.maps {
		looks.Figures = append(looks.Figures, sheet.Figure{
			Picture: func() (image.Image, error) { return m.Overlay(), nil }, Alt: m.Caption, Lines: []string{m.Picture, m.Caption, fmt.Sprintf("cosine %.2f", m.Score)},
		})
	}
	p.Sections = append(p.Sections, looks)
	return p
}
