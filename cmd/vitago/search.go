package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/internal/sheet"
	"github.com/vitago/vitago/search"
)

// A searching is what the flags of search ask for.
type searching struct {
	index      string
	model      string
	activation transformer.Activation // "" is what the model says
	prepare    clipvit.Choice
	vocab      string
	images     []string
	vectors    []string // files
	not        []string
	notImages  []string
	weights    []float64
	top        int
	threshold  float64
	duplicates float64
	paths      []string
	exclude    []string
	where      []string
	json       bool
	withVector bool
	sheet      string
	overwrite  bool
}

func newSearch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search --index INDEX [flags] [TEXT...]",
		Short: "Find pictures by words, pictures or vectors in an index, or those that are alike",
		Long: `Search finds the pictures of an index, which "vitago index" made, whose vectors are nearest to a query. It
looks at all of them: what it finds is what float64 finds, and equal ones are in the order of the index.

A query is one text or several, pictures of --image and vectors of --vector, whose directions are added up; those of
--not and --not-image are subtracted. --weights says how much each counts, in the order TEXT, --image, --vector,
--not, --not-image.

A line is a cosine and a picture, with a tab between them. As JSON it is
  {"image":"/photos/cat.jpg","cosine":0.31,"caption":"...","width":640,"height":480,"sha256":"...",
  "columns":{...}}
with "vector":[...] if --vectors is given. Cosines of a text and a picture are small, 0.2 to 0.35 with OpenAI's models:
they order pictures, and say little alone.

--path and --exclude are globs: *.jpg and cats/*.jpg match the last elements of a path, /photos/** all below
/photos. --where compares a column, which is path, caption, width, height, size, sha256 or one of the index's own:
label=cat, label!=cat, year>=2020; as numbers if both are. Several --path are alternatives, several --where hold all.

--duplicates finds no query's pictures but those that are alike: groups in which each has a cosine of at least that
to another one. It compares all pairs, so that twice as many pictures take four times as long.

The model is that which made the index, unless --model says where it is now: another one is refused. An index that was
made with --preprocess, --fit, --exif or --activation is searched with the same.
--sheet writes a page of HTML with the pictures in it, which needs nothing else.`,
		Example: `  vitago search --index photos.index "a red car in the snow"
  vitago search --index photos.index --image cat.jpg --not "a dog" --top 20 --sheet cats.html
  vitago search --index photos.index "a beach" "at night" --weights 1,0.5 --path "2024/**" \
      --where width>=1000
  vitago search --index photos.index --duplicates 0.98 --json`,
	}
	var s searching
	f := cmd.Flags()
	f.StringVar(&s.index, "index", "", "`INDEX`, a folder that index has made")
	f.StringVar(&s.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought (default: that of INDEX)")
	activation := activationFlag(cmd)
	prepared := preprocessFlags(cmd, true)
	f.StringVar(&s.vocab, "vocab", "", "with texts: `FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	f.StringArrayVar(&s.images, "image", nil, "`FILE` of a picture to be found, or - for standard input; repeatable")
	f.StringArrayVar(&s.vectors, "vector", nil, "`FILE`.npy with a vector of the same model; repeatable")
	f.StringArrayVar(&s.not, "not", nil, "`TEXT` that leads away; repeatable")
	f.StringArrayVar(&s.notImages, "not-image", nil, "`FILE` of a picture that leads away; repeatable")
	f.Float64SliceVar(&s.weights, "weights", nil, "`W,...`, one for each part of the query (default: all 1)")
	f.IntVar(&s.top, "top", 10, "`N` best pictures")
	f.Float64Var(&s.threshold, "threshold", 0, "cosine that a picture must have (default: any)")
	f.StringArrayVar(&s.paths, "path", nil, "`GLOB` of the paths to be searched; repeatable")
	f.StringArrayVar(&s.exclude, "exclude", nil, "`GLOB` of the paths to be left out; repeatable")
	f.StringArrayVar(&s.where, "where", nil, "`COLUMN=VALUE` that a picture must have, or with != < <= > >=; repeatable")
	f.Float64Var(&s.duplicates, "duplicates", 0, "find groups of pictures with a cosine of at least that, such as 0.98")
	f.BoolVar(&s.json, "json", false, "print JSON, an object a line")
	f.BoolVar(&s.withVector, "vectors", false, "with --json: the vectors of the pictures, too")
	f.StringVar(&s.sheet, "sheet", "", "write a contact sheet to `FILE`.html as well")
	f.BoolVar(&s.overwrite, "overwrite", false, "replace FILE if it is there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.activation, s.prepare = transformer.Activation(activation.value), prepared()
		filter, err := s.check(cmd, args)
		if err != nil {
			return err
		}
		frugal()
		return s.run(cmd, args, filter)
	}
	return cmd
}

// check finds what can be wrong with the flags together, and returns the filter.
func (s *searching) check(cmd *cobra.Command, texts []string) (filter search.Filter, err error) {
	f := cmd.Flags()
	parts := len(texts) + len(s.images) + len(s.vectors) + len(s.not) + len(s.notImages)
	switch {
	case s.index == "":
		return filter, usagef("no index: give --index INDEX, a folder that \"vitago index\" has made")
	case f.Changed("duplicates") && parts > 0:
		return filter, usagef("--duplicates compares all pictures of the index: a query does nothing there")
	case f.Changed("duplicates") && !(s.duplicates > 0 && s.duplicates <= 1):
		return filter, usagef("--duplicates is %v, want above 0 and at most 1", s.duplicates)
	case !f.Changed("duplicates") && parts == 0:
		return filter, usagef("no query: give a TEXT, --image FILE, --vector FILE.npy, or --duplicates 0.98")
	case s.top < 1:
		return filter, usagef("--top is %d, want 1 or more", s.top)
	case f.Changed("threshold") && !(s.threshold >= -1 && s.threshold <= 1):
		return filter, usagef("--threshold is %v, want -1 to 1", s.threshold)
	case f.Changed("weights") && len(s.weights) != parts:
		return filter, usagef("--weights has %s, want one for each of the %d parts of the query", plural.Of(len(s.weights), "number"), parts)
	case s.withVector && !s.json:
		return filter, usagef("--vectors goes with --json")
	case s.overwrite && s.sheet == "":
		return filter, usagef("--overwrite goes with --sheet")
	case s.sheet != "" && !slices.Contains([]string{".html", ".htm"}, strings.ToLower(filepath.Ext(s.sheet))):
		return filter, usagef("--sheet is %s, want a file that ends with .html", s.sheet)
	}
	for _, name := range []string{"top", "threshold", "weights"} {
		if f.Changed("duplicates") && f.Changed(name) {
			return filter, usagef("--%s is of a query, and --duplicates has none", name)
		}
	}
	pictures := len(s.images) + len(s.notImages)
	if f.Changed("vocab") && len(texts)+len(s.not) == 0 {
		return filter, usagef("--vocab goes with a text")
	}
	for _, name := range []string{"model", "activation", "preprocess", "fit", "exif"} {
		if f.Changed(name) && parts-len(s.vectors) == 0 {
			return filter, usagef("--%s goes with a text or a picture", name)
		}
	}
	for i, w := range s.weights {
		if w-w != 0 {
			return filter, usagef("--weights: number %d is %v, want a finite one", i+1, w)
		}
	}
	for _, t := range slices.Concat(texts, s.not) {
		if strings.TrimSpace(t) == "" {
			return filter, usagef("a text is empty, want words")
		}
	}
	if n := pictures; n > 1 {
		stdin := 0
		for _, p := range slices.Concat(s.images, s.notImages) {
			if p == stdinName {
				stdin++
			}
		}
		if stdin > 1 {
			return filter, usagef("standard input is named twice")
		}
	}
	filter.Paths, filter.Exclude = s.paths, s.exclude
	for _, w := range s.where {
		c, err := search.ParseCondition(w)
		if err != nil {
			return filter, usagef("--where: %w", err)
		}
		if strings.HasPrefix(c.Value, "=") || c.Op != "=" && strings.IndexAny(c.Value, "<>") == 0 { // of another language
			return filter, usagef("--where %s: the operator is %s, want one of = != < <= > >=", w, c.Op+c.Value[:1])
		}
		filter.Where = append(filter.Where, c)
	}
	return filter, nil
}

// run searches.
func (s *searching) run(cmd *cobra.Command, texts []string, filter search.Filter) error {
	ctx := cmd.Context()
	x, err := search.Open(s.index)
	if err != nil {
		return err
	}
	defer x.Close()
	var groups [][]search.Hit
	var title string
	var page output
	if s.sheet != "" {
		if page, err = createNew(cmd, s.sheet, s.overwrite); err != nil {
			return err
		}
		defer page.discard()
	}
	if cmd.Flags().Changed("duplicates") {
		title = "Pictures that are alike"
		p := startProgress(cmd.ErrOrStderr(), "comparing", count)
		clusters, err := x.Duplicates(ctx, s.duplicates, search.DuplicatesOptions{Filter: filter, Progress: func(done, total int) { p.set(int64(done), int64(total)) }})
		p.stop()
		if err != nil {
			return wrongFilter(err)
		}
		for _, c := range clusters {
			groups = append(groups, c)
		}
	} else {
		query, err := s.query(cmd, x, texts)
		if err != nil {
			return err
		}
		title = s.title(texts)
		o := search.FindOptions{K: s.top, Filter: filter}
		if cmd.Flags().Changed("threshold") {
			o.Least = &s.threshold
		}
		hits, err := x.Find(ctx, query, o)
		if err != nil {
			return wrongFilter(err)
		}
		groups = [][]search.Hit{hits}
	}
	s.note(cmd, x, groups)
	if err := s.write(cmd.OutOrStdout(), x, groups); err != nil {
		return err
	}
	if s.sheet == "" {
		return nil
	}
	if err := s.draw(ctx, page.w, title, x, groups); err != nil {
		return err
	}
	return page.commit()
}

// wrongFilter makes wrong usage of the error of a filter.
func wrongFilter(err error) error {
	if errors.Is(err, search.ErrFilter) {
		return usageError{err}
	}
	return err
}

// note says on standard error what no lines say.
func (s *searching) note(cmd *cobra.Command, x *search.Index, groups [][]search.Hit) {
	n := 0
	for _, g := range groups {
		n += len(g)
	}
	switch log := cmd.ErrOrStderr(); {
	case x.Live() == 0:
		fmt.Fprintf(log, "note: %s has no pictures\n", oneLine(s.index))
	case cmd.Flags().Changed("duplicates"):
		fmt.Fprintf(log, "%s in %s, of %d\n", plural.Of(n, "picture"), plural.Of(len(groups), "group"), x.Live())
	case n == 0:
		fmt.Fprintf(log, "note: none of the %s is chosen by the filters and the threshold\n", plural.Of(x.Live(), "picture"))
	}
}

// query returns the vector of the query.
func (s *searching) query(cmd *cobra.Command, x *search.Index, texts []string) ([]float32, error) {
	ctx := cmd.Context()
	var m *clip.Model
	if len(texts)+len(s.images)+len(s.not)+len(s.notImages) > 0 {
		var err error
		if m, err = s.open(cmd, x, len(texts)+len(s.not) > 0); err != nil {
			return nil, err
		}
		defer m.Close()
	}
	var terms []search.Term
	add := func(sign float64, vectors [][]float32) {
		for _, v := range vectors {
			w := 1.0
			if len(s.weights) > 0 {
				w = s.weights[len(terms)]
			}
			terms = append(terms, search.Term{Vector: v, Weight: sign * w})
		}
	}
	words := func(sign float64, texts []string) error {
		if len(texts) == 0 {
			return nil
		}
		v, err := m.EncodeText(ctx, texts)
		if err != nil && sign < 0 {
			return fmt.Errorf("--not: %w", err)
		}
		add(sign, v)
		return err
	}
	pictures := func(sign float64, names []string) error {
		if len(names) == 0 {
			return nil
		}
		v, err := m.Encode(ctx, slices.Collect(picturesOf(names, cmd.InOrStdin()))...)
		add(sign, v)
		return err
	}
	if err := words(1, texts); err != nil {
		return nil, err
	}
	if err := pictures(1, s.images); err != nil {
		return nil, err
	}
	for _, path := range s.vectors {
		v, err := readVector(path, x.Dim())
		if err != nil {
			return nil, fmt.Errorf("--vector: %w", err)
		}
		add(1, [][]float32{v})
	}
	if err := words(-1, s.not); err != nil {
		return nil, err
	}
	if err := pictures(-1, s.notImages); err != nil {
		return nil, err
	}
	return search.Combine(terms...)
}

// open opens the model of an index, for texts too if words is true.
func (s *searching) open(cmd *cobra.Command, x *search.Index, words bool) (*clip.Model, error) {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	model, asked := s.model, asIndexed(x, s.prepare, s.activation)
	if model == "" {
		model = x.Model()
		if _, err := os.Stat(model); err != nil && !isBuiltin(model) {
			small, err := demo.Open(asked...)
			if err != nil {
				return nil, err
			}
			if space, err := small.Space(ctx); err == nil && x.Check(space) == nil {
				fmt.Fprintln(log, builtinNote)
				return small, nil
			}
			if model == "" {
				return nil, usagef("%s does not say which model made it: give --model DIR", s.index)
			}
			return nil, usagef("%s was made with the model %s, which is not there any more: give --model DIR", s.index, oneLine(model))
		}
	} else if err := checkModel(cmd, &model); err != nil {
		return nil, err
	}
	m, err := clip.Open(model, append(asked, clip.Vocabulary(s.vocab))...)
	if err != nil {
		return nil, err
	}
	space, err := m.Space(ctx)
	if err == nil {
		err = x.Check(space)
	}
	if err == nil && words {
		err = x.CheckText(space)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// asIndexed returns the options for the model of an index: as it was then, but for what is asked for, which says all of the preprocessing. What
// contradicts the index is found by its space.
func asIndexed(x *search.Index, prepare clipvit.Choice, activation transformer.Activation) []clip.Option {
	asked := clip.Checkpoint(converter.Assume(activation))
	if prepare == (clipvit.Choice{}) {
		return append(x.ModelOptions(), asked)
	}
	return append(precisionOptions(x.Space().Precision), asked, clip.Checkpoint(converter.Prepare(prepare)))
}

// readVector reads an array of NumPy's with one vector of so many values: [E], or [1,E].
func readVector(path string, dim int) ([]float32, error) {
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tensors := f.Tensors()
	if f.Container() != "npy" || len(tensors) != 1 {
		return nil, fmt.Errorf("%s: is of the kind %s, want an array of NumPy's", path, f.Container())
	}
	t := tensors[0]
	if n := len(t.Shape); n < 1 || t.Shape[n-1] != dim || t.Len() != dim {
		return nil, fmt.Errorf("%s: has the shape %v, want the %d values of a vector of the index", path, t.Shape, dim)
	}
	v := make([]float32, dim)
	if err := t.Float32s(v); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	zero := true
	for i, x := range v {
		if x-x != 0 {
			return nil, fmt.Errorf("%s: value %d of %d is %v, want a finite number", path, i+1, dim, x)
		}
		zero = zero && x == 0
	}
	if zero {
		return nil, fmt.Errorf("%s: all values are 0, want a vector with a direction", path)
	}
	return v, nil
}

// title says in words what is looked for.
func (s *searching) title(texts []string) string {
	var all []string
	add := func(before string, words []string) {
		for _, w := range words {
			w = before + w
			if len(s.weights) > 0 {
				w += " × " + strconv.FormatFloat(s.weights[len(all)], 'g', -1, 64)
			}
			all = append(all, w)
		}
	}
	bases := func(paths []string) (names []string) {
		for _, p := range paths {
			names = append(names, filepath.Base(p))
		}
		return names
	}
	add("", texts)
	add("like ", bases(s.images))
	add("like ", bases(s.vectors))
	add("not ", s.not)
	add("not like ", bases(s.notImages))
	return strings.Join(all, ", ")
}

// A found is a picture as JSON has it.
type found struct {
	Image   pyjson.Name       `json:"image"`
	Cosine  float64           `json:"cosine"`
	Caption string            `json:"caption,omitempty"`
	Width   int               `json:"width"`
	Height  int               `json:"height"`
	SHA256  string            `json:"sha256"`
	Columns map[string]string `json:"columns,omitempty"`
	Vector  []float32         `json:"vector,omitempty"`
}

// write writes the pictures: lines of text, with an empty one between groups, or of JSON, a group a line.
func (s *searching) write(w io.Writer, x *search.Index, groups [][]search.Hit) error {
	out := bufio.NewWriter(w)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for i, g := range groups {
		if !s.json && i > 0 {
			fmt.Fprintln(out)
		}
		var all []found
		for _, h := range g {
			if !s.json {
				fmt.Fprintf(out, "%.4f\t%s\n", h.Cosine, oneLine(h.Path))
				continue
			}
			one := found{pyjson.Name(h.Path), h.Cosine, h.Caption, h.Width, h.Height, h.SHA256.String(), h.Columns, nil}
			if s.withVector {
				one.Vector = x.Vector(h.Index)
			}
			all = append(all, one)
		}
		var err error
		switch {
		case !s.json:
		case s.duplicates > 0:
			err = e.Encode(map[string]any{"images": all})
		default:
			for _, one := range all {
				err = errors.Join(err, e.Encode(one))
			}
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}

// draw writes the contact sheet.
func (s *searching) draw(ctx context.Context, w io.Writer, title string, x *search.Index, groups [][]search.Hit) error {
	page := sheet.Page{Title: title, Note: fmt.Sprintf("of %s in %s", plural.Of(x.Live(), "picture"), filepath.Base(s.index))}
	for i, g := range groups {
		var section sheet.Section
		if s.duplicates > 0 {
			section.Heading = fmt.Sprintf("%d of %d: %s", i+1, len(groups), plural.Of(len(g), "picture"))
		}
		for _, h := range g {
			lines := []string{fmt.Sprintf("%.4f", h.Cosine), h.Name()}
			section.Figures = append(section.Figures, sheet.Figure{
				Picture: func() (image.Image, error) { return decodeRecord(&h.Record) },
				Alt:     cmp.Or(h.Caption, h.Path),
				Lines:   lines,
			})
		}
		page.Sections = append(page.Sections, section)
	}
	return page.Write(ctx, w)
}

// decodeRecord decodes the picture of a record.
func decodeRecord(r *search.Record) (image.Image, error) {
	f, err := r.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if r.Size > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes", r.Size)
	}
	return clipvit.DecodeImage(f)
}
