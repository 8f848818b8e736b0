package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/internal/sheet"
)

// An explanation is what the flags of explain ask for.
type explanation struct {
	model      string
	activation transformer.Activation // "" is what the model says
	vocab      string                 // "" is the model's directory
	captions   []string
	classes    []string // of the model's head
	method     explain.Method
	startLayer int
	started    bool // startLayer was given
	overlay    string
	values     string // the file of --map
	overwrite  bool
	json       bool
	prepare    clipvit.Choice
	precision  string                 // f32, bf16 or int8
	adapters   []converter.OpenOption // are merged with the model
}

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [--model DIR] [--text CAPTION... | --class NAME...] [flags] IMAGE|-",
		Short: "Show where in an image a model looks: for captions, a class, or all by itself",
		Long: `Explain makes a map of an image: how much each patch counts when the model compares the image with a
caption (--text), or when a trained head tells a class (--class; without it the most probable one).

Methods:
  relevance   attention times its gradient, from the score back through the last blocks, as Chefer
              et al. (ICCV 2021): which patches raise the score. Of a caption's tokens too, which
              are printed
  rollout     attention of all blocks, multiplied (Abnar and Zuidema, 2020): what the class token is
              made of. It is the same for every caption, so there is no --text
  similarity  the cosine of the caption and each patch. CLIP has learnt with the class token alone,
              and its patches often show the opposite: those of the background are more like the
              caption

--start-layer says from which block on attention counts: 0 is the first, -1 the last. It is 0 for rollout.
For relevance it is -1 of towers with 12 blocks and more, as in its authors' code, and 0 of smaller ones.

It prints the map, the place that counts most, in pixels of the image, and the cosine. -o writes the image
under the colours of the map, from black, which counts least, over blue and red to white; of several
captions they stand side by side. What the model does not see, since it is cut off, is grey and hatched.
--map writes the values as NumPy's float32: [G,G], of several captions [N,G,G]. Files appear complete or
not at all. The image is taken as the model takes it, turned as its EXIF data say only if that does.

` + precisionHelp + `
The gradients of relevance are then those of the rounded weights, in float32.`,
		Example: `  vitago explain --text "a red circle" photo.png
  vitago explain --model models/vit-l-14-336 --text "a cat" --text "a dog" -o both.png photo.jpg
  vitago explain --model models/vit-l-14-336 --method rollout -o rollout.png photo.jpg
  vitago explain --model models/vit-l-14-336 --adapter tuned/adapter --text "a cat" -o cat.png \
      photo.jpg
  vitago explain --model tuned/model --class cat --start-layer -4 --map cat.npy --json photo.jpg`,
		Args: wantArgs(1, 1, "one IMAGE"),
	}
	var e explanation
	f := cmd.Flags()
	f.StringVar(&e.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought (default: builtin:demo, the small model in this program)")
	activation := activationFlag(cmd)
	f.StringVar(&e.vocab, "vocab", "", "`FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	f.StringArrayVar(&e.captions, "text", nil, "`CAPTION` of which the map is; may be given several times")
	f.StringArrayVar(&e.classes, "class", nil, "`NAME` of a class of the model's head; may be given several times")
	var methods []string
	for _, m := range explain.Methods() {
		methods = append(methods, string(m))
	}
	method := choiceFlag(cmd, "method", string(explain.Relevance), "how the map is made", methods...)
	f.IntVar(&e.startLayer, "start-layer", 0, "`N`, the block from which on attention counts (default: see above)")
	prepared := preprocessFlags(cmd, true)
	precision := precisionFlag(cmd, "of the products' weights and operands")
	merged := newAdapters(cmd)
	merged.flag()
	f.BoolVar(&e.json, "json", false, "print JSON: places, cosines and values")
	f.StringVarP(&e.overlay, "output", "o", "", "write the image under the colours of the map to `FILE.png`")
	f.StringVar(&e.values, "map", "", "write the values to `FILE.npy`")
	f.BoolVar(&e.overwrite, "overwrite", false, "replace files that are there")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.activation, e.method, e.prepare = transformer.Activation(activation.value), explain.Method(method.value), prepared()
		var err error
		if e.adapters, err = merged.options(peft.Cat); err != nil {
			return err
		}
		if err := e.check(cmd); err != nil {
			return err
		}
		if e.precision, err = choosePrecision(cmd.ErrOrStderr(), precision.value); err != nil {
			return err
		}
		frugal()
		return e.run(cmd, args[0])
	}
	return cmd
}

// check finds what can be wrong with the flags together.
func (e *explanation) check(cmd *cobra.Command) error {
	f := cmd.Flags()
	e.started = f.Changed("start-layer")
	extension := func(flag, path, want string) error {
		if path != "" && !strings.EqualFold(filepath.Ext(path), want) {
			return usagef("--%s %s: want a name that ends with %s", flag, path, want)
		}
		return nil
	}
	switch {
	case len(e.captions) > 0 && len(e.classes) > 0:
		return usagef("--text and --class: give one of them")
	case e.method == explain.Rollout && len(e.captions)+len(e.classes) > 0:
		return usagef("--method rollout is the same for every caption and class: leave --text and --class out")
	case len(e.captions) == 0 && f.Changed("vocab"):
		return usagef("--vocab goes with --text")
	case e.method == explain.Similarity && e.started:
		return usagef("--start-layer is of relevance and rollout: similarity is of the last block's patches")
	case e.overwrite && e.overlay == "" && e.values == "":
		return usagef("--overwrite goes with -o or --map")
	}
	for _, all := range [][]string{e.captions, e.classes} {
		for i, c := range all {
			if slices.Index(all, c) < i {
				return usagef("%q is given twice", c)
			}
		}
	}
	if err := errors.Join(extension("output", e.overlay, ".png"), extension("map", e.values, ".npy")); err != nil {
		return usageError{err}
	}
	defaultModel(cmd, &e.model)
	return checkModel(cmd, &e.model)
}

// run explains an image.
func (e *explanation) run(cmd *cobra.Command, name string) error {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	options := []clip.Option{clip.Checkpoint(append(e.adapters, converter.Assume(e.activation), converter.Prepare(e.prepare))...), clip.Vocabulary(e.vocab)}
	options = append(options, precisionOptions(e.precision)...)
	var m *clip.Model
	var tuned *finetune.Tuned
	var err error
	if len(e.captions) > 0 || e.method == explain.Rollout {
		m, err = clip.Open(e.model, options...)
	} else if tuned, err = finetune.Open(ctx, e.model, options...); err == nil {
		m = tuned.Model()
	} else if errors.Is(err, finetune.ErrNoHead) && len(e.classes) > 0 {
		return usagef("--class wants a model with a head that finetune has trained; %w", err)
	} else if errors.Is(err, finetune.ErrNoHead) {
		return usagef("got no caption: --text \"a red circle\", or a model with a head that finetune has trained; %w", err)
	}
	if err != nil {
		return err
	}
	defer m.Close()
	if len(e.captions) > 0 { // what is missing is said before anything is read
		if !m.HasText() {
			return fmt.Errorf("%s: has no text tower, which --text wants: it has a vision tower alone", e.model)
		}
		if _, _, err := m.Tokenizer(); err != nil {
			return adviseVocabulary(err, e.model)
		}
	}
	p := clip.File(name)
	if name == stdinName {
		p = clip.Reader(name, cmd.InOrStdin())
	}
	img, err := p.Decode()
	if err != nil {
		return err
	}
	if sameFile(name, e.overlay) {
		return usagef("--output %s is the image itself: want another name", e.overlay)
	}
	overlay, err := e.create(cmd, e.overlay)
	if err != nil {
		return err
	}
	defer overlay.discard()
	values, err := e.create(cmd, e.values)
	if err != nil {
		return err
	}
	defer values.discard()
	load := startProgress(log, "loading "+e.model, megabytes)
	_, err = await(ctx, func() (any, error) { return m.Vision(ctx) })
	load.stop()
	if err != nil {
		return err
	}
	p = clip.Image(name, img)
	looking := startProgress(log, "looking", count)
	maps, err := await(ctx, func() ([]*explain.Map, error) { return e.maps(ctx, m, tuned, p) })
	looking.stop()
	if err != nil {
		return err
	}
	if e.precision == "int8" {
		noteRounding(ctx, log, m, false)
	}
	if err := e.write(ctx, overlay, values, maps); err != nil {
		return err
	}
	if err := errors.Join(overlay.commit(), values.commit()); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(cmd.OutOrStdout(), maps)
	}
	e.print(cmd.OutOrStdout(), maps)
	return nil
}

// sameFile says whether two paths lead to one file.
func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// create is [createNew] of a file that may not be wanted.
func (e *explanation) create(cmd *cobra.Command, path string) (output, error) {
	if path == "" {
		return output{}, nil
	}
	return createNew(cmd, path, e.overwrite)
}

// maps makes those that are asked for.
func (e *explanation) maps(ctx context.Context, m *clip.Model, tuned *finetune.Tuned, p clip.Picture) ([]*explain.Map, error) {
	tower, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	f := clipvit.Features{Kind: clipvit.Embedding}
	if tuned != nil {
		f = tuned.Head().Features
	}
	o := explain.Options{Method: e.method}
	if n := f.Blocks(tower.Config); e.started {
		if e.startLayer < -n || e.startLayer >= n {
			return nil, usagef("--start-layer is %d, want %d to %d for this model", e.startLayer, -n, n-1)
		}
		if o.Blocks = n - e.startLayer; e.startLayer < 0 {
			o.Blocks = -e.startLayer
		}
	}
	switch {
	case e.method == explain.Rollout:
		one, err := explain.Attention(ctx, m, p, o)
		return []*explain.Map{one}, err
	case tuned == nil:
		return explain.Captions(ctx, m, p, e.captions, o)
	}
	classes := e.classes
	if classes == nil {
		all, err := tuned.Classify(ctx, p)
		if err != nil {
			return nil, err
		}
		classes = []string{all[0][0].Name}
	}
	var maps []*explain.Map
	head := tuned.Head()
	for _, class := range classes {
		i := slices.Index(head.Classes, class)
		if i < 0 {
			return nil, usagef("--class %q: the head has no such class, want one of %q%s", class, head.Classes[:min(len(head.Classes), 20)], didYouMean(nearest(class, head.Classes)))
		}
		direction := head.Linear.W.Value().Data().F32()[i*head.Dim() : (i+1)*head.Dim()]
		one, err := explain.Direction(ctx, m, p, f, class, direction, o)
		if err != nil {
			return nil, err
		}
		maps = append(maps, one)
	}
	return maps, nil
}

// write writes the files.
func (e *explanation) write(ctx context.Context, overlay, values output, maps []*explain.Map) error {
	if overlay.w != nil {
		var img image.Image = maps[0].Overlay()
		if len(maps) > 1 {
			var err error
			if img, err = sheet.Draw(ctx, e.cells(maps)); err != nil {
				return err
			}
		}
		if err := png.Encode(overlay.w, img); err != nil {
			return err
		}
	}
	if values.w == nil {
		return nil
	}
	g := maps[0].Grid
	entry := checkpoint.Entry{Name: "map", DType: checkpoint.F32, Shape: []int{g, g}}
	if len(maps) > 1 {
		entry.Shape = []int{len(maps), g, g}
	}
	var all []float32
	for _, m := range maps {
		all = append(all, m.Values...)
	}
	return checkpoint.WriteNPY(values.w, entry, func(_ int, w io.Writer) error { return binary.Write(w, binary.LittleEndian, all) })
}

// cells are those of a contact sheet: the image, a map for each caption, and what the colours mean.
func (e *explanation) cells(maps []*explain.Map) []sheet.Cell {
	of := func(img image.Image) func() (image.Image, error) {
		return func() (image.Image, error) { return img, nil }
	}
	cells := []sheet.Cell{{Picture: of(maps[0].Image), Lines: []sheet.Line{{Text: filepath.Base(maps[0].Picture)}}}}
	for _, m := range maps {
		cells = append(cells, sheet.Cell{Picture: of(m.Overlay()), Lines: []sheet.Line{{Text: m.Caption}, {Text: e.scoreOf(m)}}})
	}
	return append(cells, sheet.Cell{Picture: of(explain.Legend(180, 24)), Lines: []sheet.Line{{Text: "counts least … counts most"}, {Text: "grey: not seen"}}})
}

// scoreOf says in words what a map is of.
func (e *explanation) scoreOf(m *explain.Map) string {
	if len(e.captions) > 0 {
		return fmt.Sprintf("cosine %.3f", m.Score)
	}
	return fmt.Sprintf("score %.3f", m.Score)
}

// print writes maps for people.
func (e *explanation) print(w io.Writer, maps []*explain.Map) {
	file, isTerminal := terminal(w)
	colours := isTerminal && file != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	for _, m := range maps {
		p := m.Peak()
		if m.Method == explain.Rollout {
			fmt.Fprintf(w, "%s: attention is most at %.0f,%.0f\n", oneLine(m.Picture), p.X, p.Y)
		} else {
			fmt.Fprintf(w, "%s: %s: %s, counts most at %.0f,%.0f\n", oneLine(m.Picture), oneLine(m.Caption), e.scoreOf(m), p.X, p.Y)
		}
		if slices.ContainsFunc(m.Tokens, func(t explain.Token) bool { return t.Share > 0 }) {
			var shares []string
			for _, t := range m.Tokens {
				shares = append(shares, fmt.Sprintf("%s %.0f %%", oneLine(t.Text), 100*t.Share))
			}
			fmt.Fprintln(w, "of its tokens:", strings.Join(shares, ", "))
		}
		printShades(w, m, colours)
	}
}

// shades are what patches look like without colours, the one that counts least first.
var shades = []string{"  ", "░░", "▒▒", "▓▓", "██"}

// printShades draws a map with two letters a patch.
func printShades(w io.Writer, m *explain.Map, colours bool) {
	img := m.Colours()
	low, high := slices.Min(m.Values), slices.Max(m.Values)
	for row := range m.Grid {
		var line strings.Builder
		for col := range m.Grid {
			if c := img.RGBAAt(col, row); colours {
				fmt.Fprintf(&line, "\x1b[48;2;%d;%d;%dm  ", c.R, c.G, c.B)
				continue
			}
			i := 0
			if high > low {
				i = int(float64(m.Values[row*m.Grid+col]-low)/float64(high-low)*float64(len(shades)-1) + 0.5)
			}
			line.WriteString(shades[i])
		}
		if colours {
			line.WriteString("\x1b[0m")
		}
		fmt.Fprintln(w, "|"+line.String()+"|")
	}
}

// A mapJSON is what --json prints of a map.
type mapJSON struct {
	Text    string      `json:"text,omitempty"`
	Class   string      `json:"class,omitempty"`
	Cosine  *float64    `json:"cosine,omitempty"`
	Score   *float64    `json:"score,omitempty"` // of a class, without its bias
	Maximum placeJSON   `json:"maximum"`
	Tokens  []tokenJSON `json:"tokens,omitempty"`
	Values  [][]float32 `json:"values"` // [G,G]
}

type placeJSON struct {
	X      float64    `json:"x"` // of the middle, in pixels of the image
	Y      float64    `json:"y"`
	Row    int        `json:"row"`
	Column int        `json:"column"`
	Value  float32    `json:"value"`
	Patch  windowJSON `json:"patch"`
}

type windowJSON struct {
	Left   float64 `json:"left"`
	Top    float64 `json:"top"`
	Right  float64 `json:"right"`
	Bottom float64 `json:"bottom"`
}

type tokenJSON struct {
	Token string  `json:"token"`
	Share float64 `json:"share"`
}

// printJSON writes maps for programs, as one line.
func (e *explanation) printJSON(w io.Writer, maps []*explain.Map) error {
	first := maps[0]
	all := struct {
		Image  pyjson.Name    `json:"image"`
		Width  int            `json:"width"` // as the model takes the image
		Height int            `json:"height"`
		Seen   windowJSON     `json:"seen"` // by the model; beyond the image where something is added to it
		Method explain.Method `json:"method"`
		Blocks int            `json:"blocks,omitempty"` // that took part
		Maps   []mapJSON      `json:"maps"`
	}{pyjson.Name(first.Picture), first.Image.Bounds().Dx(), first.Image.Bounds().Dy(), windowJSON(first.Window), first.Method, first.Blocks, nil}
	for _, m := range maps {
		p := m.Peak()
		one := mapJSON{Maximum: placeJSON{p.X, p.Y, p.Row, p.Column, p.Value, windowJSON(p.Patch)}}
		switch {
		case len(e.captions) > 0:
			one.Text, one.Cosine = m.Caption, &m.Score
		case m.Method != explain.Rollout:
			one.Class, one.Score = m.Caption, &m.Score
		}
		for _, t := range m.Tokens {
			one.Tokens = append(one.Tokens, tokenJSON{t.Text, t.Share})
		}
		for row := range slices.Chunk(m.Values, m.Grid) {
			one.Values = append(one.Values, row)
		}
		all.Maps = append(all.Maps, one)
	}
	text := json.NewEncoder(w)
	text.SetEscapeHTML(false)
	return text.Encode(all)
}
