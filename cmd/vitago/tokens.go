package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"unicode/utf8"

	"github.com/nlpodyssey/spago/mat"
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/projector"
)

// A tokenizing is what the flags of tokens ask for.
type tokenizing struct {
	model      string
	activation transformer.Activation // "" is what the model says
	layout     string                 // "" is that of the family
	hdNum      int                    // 0 is the layout's
	count      bool
	json       bool // of count
	format     string
	output     string // "" is standard output
	overwrite  bool
	batch      int // 0 leaves it to the tower
	skipErrors bool
	prepare    clipvit.Choice
	adapters   []converter.OpenOption // are merged with the model
}

func newTokens() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tokens --model DIR [flags] IMAGE|DIR|GLOB|-...",
		Short: "Turn images into tokens of a language model",
		Long: `Tokens turns images into what the language model of LLaVA or InternLM-XComposer gets in their place,
[N,O]: the tower's patches of an image, or of its tiles, projected. Images are named as in encode.

Layouts say how an image becomes what the tower sees. T is the side of a tile or of the only view in
patches: 24 with 336 pixels, 35 with 490, 40 with 560.
  processor                what the image processor of the files does         T²
  clip, clip-transformers  the middle square                                  T²
  squash                   XComposer2-VL: both sides at once                  T²
  pad                      LLaVA-1.5: made square with the mean colour        T²
  llava-1.6                the squashed image and up to 4 tiles               T²+rows·(columns+1)
  xcomposer2-4khd          the image, hw tiles, 25 at most; -train: 16        (hw+1)T²/4+1+(h+1)T/2
  xcomposer2.5             24 at most; -several: 6; -train: 18                the same
Without --layout it is what the model's own files say (image_aspect_ratio, say), or else that of its family, for
one image in use.

Formats:
  safetensors  float32, a tensor [N,O] for each image under the name that it was given; the metadata
               has layout, hd_num, layer, feature, model, model_sha256 (but of a model with a
               language model) and, as JSON lists, images: name, tokens, width, height, rows and
               cols of tiles; and skipped: names
  npz          float32, an array [N,O] for each image under its name
  npy          float32, [N,O]; for one image
  jsonl        {"image":"a.jpg","tokens":[[...],...]} a line
Without --format the extension of FILE decides; without FILE it is jsonl. FILE appears complete or
not at all; folders above it are made. Images are written as they are done: two at most are in memory.

--count prints the number of tokens, the size and the name of each image, and reads neither pixels nor
weights.

An image that cannot be read ends it with status 1. With --skip-errors all others are done, and the
status is 1 in the end: the image has no tensor, or an "error" in place of tokens.`,
		Example: `  vitago tokens --model models/llava-1.5-7b -o tokens.safetensors photos/
  vitago tokens --model models/xcomposer2-4khd --hd-num 55 -o page.npy page.png
  vitago tokens --model models/xcomposer2-4khd --count *.png`,
		Args: wantArgs(1, math.MaxInt, "at least one IMAGE"),
	}
	var names []string
	for _, l := range projector.Layouts {
		names = append(names, l.Name)
	}
	var t tokenizing
	f := cmd.Flags()
	f.StringVar(&t.model, "model", "", "`DIR` or file of the checkpoint, which has a projector, or the name of a model that download has brought")
	activation := activationFlag(cmd)
	layout := choiceFlag(cmd, "layout", "", "how an image becomes views (default: the family's)", names...)
	f.IntVar(&t.hdNum, "hd-num", 0, "at most `N` tiles of an image (default: the layout's)")
	f.BoolVar(&t.count, "count", false, "print how many tokens there would be")
	f.BoolVar(&t.json, "json", false, "with --count: print JSON, an object a line")
	format := choiceFlag(cmd, "format", "", "how to write them", tokenFormatNames...)
	f.StringVarP(&t.output, "output", "o", "", "write to `FILE`, in place of standard output")
	f.BoolVar(&t.overwrite, "overwrite", false, "replace FILE if it is there")
	f.IntVar(&t.batch, "batch", 0, "at most `N` views of an image go through the tower together (default: as many as are worth it)")
	prepared := preprocessFlags(cmd, false)
	merged := newAdapters(cmd)
	merged.flag()
	f.BoolVar(&t.skipErrors, "skip-errors", false, "go on after an image that cannot be read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t.layout, t.format, t.activation = layout.value, format.value, transformer.Activation(activation.value)
		t.prepare = prepared()
		var err error
		if t.adapters, err = merged.options(peft.Cat); err != nil {
			return err
		}
		if t.output == stdinName {
			t.output = ""
		}
		if err := t.check(cmd); err != nil {
			return err
		}
		images, err := expandImages(cmd.ErrOrStderr(), args, t.skipErrors)
		if err != nil {
			return err
		}
		if t.count {
			return t.runCount(cmd, images)
		}
		return t.run(cmd, images)
	}
	return cmd
}

// check finds what can be wrong with the flags together.
func (t *tokenizing) check(cmd *cobra.Command) error {
	flags := cmd.Flags()
	switch {
	case t.batch < 0 || t.batch > maxBatch || t.batch == 0 && flags.Changed("batch"):
		return usagef("--batch is %d, want 1 to %d", t.batch, maxBatch)
	case t.hdNum < 1 && flags.Changed("hd-num"):
		return usagef("--hd-num is %d, want at least 1", t.hdNum)
	case t.count && (t.format != "" || t.output != ""):
		return usagef("--count writes lines of text to standard output; leave --format and -o out")
	case t.json && !t.count:
		return usagef("--json goes with --count; tokens are written in JSON by --format jsonl")
	case t.count && flags.Changed("batch"):
		return usagef("--batch is of the tower, and --count leaves that out")
	case t.overwrite && t.output == "":
		return usagef("--overwrite goes with -o")
	case !t.count:
		if err := chooseFormat(cmd, &t.format, t.output, tokenFormatNames); err != nil {
			return err
		}
	}
	return checkModel(cmd, &t.model)
}

// fit changes the layout as the flags want it.
func (t *tokenizing) fit(e *projector.Encoder) error {
	if t.hdNum != 0 {
		if e.Layout.Fit != projector.Tile {
			return usagef("--hd-num %d: layout %s has no tiles of that kind", t.hdNum, e.Layout.Name)
		}
		e.Layout.HDNum = t.hdNum
	}
	e.Batch = t.batch
	if err := e.Validate(); err != nil {
		return usageError{err}
	}
	return nil
}

// open opens the model.
func (t *tokenizing) open() (*converter.Model, error) {
	return converter.Open(t.model, append(t.adapters, converter.Assume(t.activation), converter.Prepare(t.prepare))...)
}

// counted is what --count says of an image in JSON.
type counted struct {
	Image  pyjson.Name `json:"image"`
	Tokens int         `json:"tokens"`
	Width  int         `json:"width"`
	Height int         `json:"height"`
}

// runCount prints how many tokens there would be.
func (t *tokenizing) runCount(cmd *cobra.Command, images []string) error {
	c, err := t.open()
	if err != nil {
		return err
	}
	defer c.Close()
	e, err := c.Outline(t.layout)
	if err != nil {
		return err
	}
	if err := t.fit(e); err != nil {
		return err
	}
	skipped := 0
	for _, name := range images {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		line := ""
		err := withImage(name, cmd.InOrStdin(), func(r io.Reader) error {
			width, height, err := e.Tower.Config.Transform.ImageSize(r)
			if err != nil {
				return err
			}
			n, err := e.Count(width, height)
			if line = fmt.Sprintf("%d\t%dx%d\t%s\n", n, width, height, oneLine(name)); t.json && err == nil {
				var b []byte
				b, err = json.Marshal(counted{pyjson.Name(name), n, width, height})
				line = string(b) + "\n"
			}
			return err
		})
		switch {
		case err == nil:
			if _, err := io.WriteString(cmd.OutOrStdout(), line); err != nil {
				return err
			}
		case t.skipErrors:
			skipped++
			fmt.Fprintf(failures(cmd.Context(), cmd.ErrOrStderr()), "skipped: %s\n", plain(err))
		default:
			return err
		}
	}
	return unread(skipped, len(images))
}

func (t *tokenizing) run(cmd *cobra.Command, images []string) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	log := cmd.ErrOrStderr()
	if err := t.checkNames(images); err != nil {
		return err
	}
	out, err := createNew(cmd, t.output, t.overwrite)
	if err != nil {
		return err
	}
	defer out.discard()

	c, err := t.open()
	if err != nil {
		return err
	}
	defer c.Close()
	p := startProgress(log, "loading "+t.model, megabytes)
	e, err := await(ctx, func() (*projector.Encoder, error) { return c.Encoder(ctx, t.layout) })
	loaded := p.stop()
	if err != nil {
		return err
	}
	if err := t.fit(e); err != nil {
		return err
	}
	sink, err := tokenFormats[t.format](out.w, t.spec(ctx, c, e, images))
	if err != nil {
		return err
	}
	if c, ok := sink.(io.Closer); ok {
		defer c.Close()
	}
	if _, ok := terminal(out.w); ok {
		log = io.Discard // the lines themselves are the progress
	}
	p = startProgress(log, "encoding", count)
	tokens, skipped, err := t.encode(ctx, e, images, cmd.InOrStdin(), sink, func(n int) { p.set(int64(n), int64(len(images))) })
	elapsed := p.stop()
	for _, s := range skipped {
		fmt.Fprintf(failures(ctx, cmd.ErrOrStderr()), "skipped: %s\n", plain(s))
	}
	if err == nil {
		err = sink.finish()
	}
	if err == nil {
		err = out.commit()
	}
	if err != nil {
		return err
	}
	if out.file != nil {
		fmt.Fprintf(log, "%s: %s of width %d of %s in %s, after %s of loading\n",
			t.output, plural.Of(tokens, "token"), e.Projector.Config.Out, plural.Of(len(images)-len(skipped), "image"), seconds(elapsed), seconds(loaded))
	}
	return unread(len(skipped), len(images))
}

// checkNames returns an error if the format cannot hold these images.
func (t *tokenizing) checkNames(images []string) error {
	if t.format == "npy" && len(images) != 1 {
		return usagef("npy holds the tokens of one image, and there are %d; give --format npz, or safetensors", len(images))
	}
	if !keyed(t.format) {
		return nil
	}
	seen := map[string]bool{"__metadata__": true} // a name that safetensors has for itself
	for _, name := range images {
		if !utf8.ValidString(name) {
			return usagef("%q is not UTF-8, which names in %s are; rename the file, or give --format jsonl", name, t.format)
		}
		if seen[name] {
			return usagef("%s: a second image of that name; %s has each name once", name, t.format)
		}
		seen[name] = true
	}
	return nil
}

// spec says what will be written. The model is summed up meanwhile.
func (t *tokenizing) spec(ctx context.Context, c *converter.Model, e *projector.Encoder, images []string) tokenSpec {
	s := tokenSpec{images: images, width: e.Projector.Config.Out, sum: func() (string, error) { return "", nil }, metadata: map[string]string{
		"model": pyjson.Printable(filepath.ToSlash(t.model)), "layout": e.Layout.Name, "layer": strconv.Itoa(e.Select.Layer), "feature": projector.SelectFeature(e.Select.Kind),
	}}
	if e.Layout.Fit == projector.Tile {
		s.metadata["hd_num"] = strconv.Itoa(e.Layout.HDNum)
	}
	// A language model would have to be read for it, as much as ten times of what is used.
	if t.format != "safetensors" || c.LanguageModel() > 0 {
		return s
	}
	type result struct {
		sum string
		err error
	}
	done := make(chan result, 1)
	go func() {
		sum, err := c.SHA256(ctx)
		done <- result{sum, err}
	}()
	s.sum = func() (string, error) {
		r := <-done
		return r.sum, r.err
	}
	return s
}

// encode writes the tokens of all images to out, decoding the next one meanwhile. It says how many images are done, and
// returns how many tokens there were and the errors of the images that were skipped.
func (t *tokenizing) encode(ctx context.Context, e *projector.Encoder, images []string, stdin io.Reader, out tokenSink, done func(n int)) (tokens int, skipped []error, err error) {
	n := 0
	for p, err := range prepare(ctx, images, stdin, e.Split) {
		if err != nil {
			return tokens, skipped, err
		}
		if p.err != nil {
			if !t.skipErrors {
				return tokens, skipped, p.err
			}
			skipped = append(skipped, p.err)
			err = out.fail(p.name, p.err)
		} else {
			var y mat.Tensor
			if y, err = await(ctx, func() (mat.Tensor, error) { return e.Forward(p.of) }); err != nil { // [N,O]
				return tokens, skipped, fmt.Errorf("%s: %w", p.name, err)
			}
			m := imageTokens{
				Name: p.name, Tokens: y.Shape()[0], x: y.Value().Data().F32(),
				Width: p.of.Width, Height: p.of.Height, Rows: p.of.Rows, Cols: p.of.Cols,
			}
			tokens += m.Tokens
			if err = finite(p.name, m.x); err == nil {
				err = out.write(m)
			}
		}
		if err != nil {
			return tokens, skipped, err
		}
		n++
		done(n)
	}
	return tokens, skipped, nil
}

// finite returns an error if a value of the tokens of an image is no number.
func finite(name string, x []float32) error {
	if i := op.NotFinite(x); i >= 0 {
		return fmt.Errorf("%s: tokens: value %d of %d is %v, want a finite number: the model's weights are damaged or too large", name, i+1, len(x), x[i])
	}
	return nil
}
