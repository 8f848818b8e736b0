package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/embeddings"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/shard"
)

// maxBatch bounds the activations: those of ViT-L/14-336 take 45 MB an image.
const maxBatch = 64

// An encoding is what the flags of encode ask for.
type encoding struct {
	model      string
	activation transformer.Activation // "" is what the model says
	vocab      string                 // "" is the model's
	text       bool                   // the arguments are texts
	textFile   string                 // has texts, "" if the arguments are what is encoded
	features   clipvit.Features
	normalize  bool
	format     string
	output     string // "" is standard output
	keep       embeddings.Options
	batch      int
	skipErrors bool
	precision  string // f32, bf16 or int8
	prepare    clipvit.Choice
	adapters   []converter.OpenOption // are merged with the model
	sharding   sharding
}

func newEncode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "encode --model DIR [flags] IMAGE|DIR|GLOB|-...",
		Short: "Turn images or texts into features",
		Long: `Encode turns images into features, one after the other in the order of the arguments: a file is
always tried; of a folder, the JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM and QOI files in it and all folders in it
are taken, sorted, but not hidden ones; - is one image on standard input. Links are followed. Pictures of
other formats, such as HEIC, are counted and named on standard error.

With --text the arguments are texts, and - is standard input, a text a line. --text-file has them in a file, a
line each. A line that is empty is an empty text. Each becomes an embedding, as OpenAI's encode_text gives it.

Features (T tokens of width C, the first the class token, the others the patches row by row):
  embedding  [E]       what OpenAI's encode_image gives, not normalised; of a tower without a
                       projection it is post_norm, and has that name
  post_norm  [C]       the class token after the post-norm, before the projection
  cls        [C]       the class token of a layer
  patches    [T-1,C]   the patches of a layer
  all        [T,C]     both
Layers count like Hugging Face's hidden_states: 0 is the output of the pre-norm, -1 the last block,
without post-norm. --normalize divides every vector by its length.

Images are prepared as the model's own library does it and its files say. --preprocess has the rules of
another library, --fit another way to a square; docs/preprocessing.md has what each does.

Formats:
  jsonl        {"image":"a.jpg","embedding":[...]} a line; other features under their own names, and
               "text" in the place of "image" with --text. A byte of a name that is no UTF-8 is
               \udc80 to \udcff, as Python writes and reads it
  npy          float32, C order, one row per image: [N,E] or [N,T,C]. The names of the rows are in
               FILE.names.jsonl, a JSON string a line
  safetensors  float32, one tensor with the name of the feature; its metadata has the file names as
               a JSON list, "images", or the "texts"
Without --format the extension of FILE decides; without FILE it is jsonl. FILE appears complete or
not at all; folders above it are made. FILE.about.json beside it says which model and settings made it, and
which images failed.

Every row of FILE is kept as soon as it is done, in FILE.partial and FILE.partial.journal. Whatever ends it,
Ctrl-C, an error, a full disk, kill -9, --resume goes on behind the last row, and FILE has the same bytes
in the end. Model, settings and images have to be those with which it was begun. A FILE that is complete stays
as it is. --overwrite begins again.

` + precisionHelp + `

An image that cannot be read ends it with status 1. With --skip-errors all others are encoded, and
the status is 1 in the end: the image has an "error" in place of features, or a row of NaN. --resume does not
try it again.

` + shardsHelp,
		Example: `  vitago encode --model models/vit-l-14-336 photo.jpg
  vitago encode --model models/vit-l-14-336 --normalize -o photos.npy photos/
  vitago encode --model models/vit-l-14-336 --features patches --layer -2 -o llava.safetensors *.png
  vitago encode --model models/vit-l-14-336 --resume --skip-errors -o photos.npy photos/
  vitago encode --model models/vit-l-14-336 --text "a red car" "a dog in the snow"
  vitago encode --model models/vit-l-14-336 --text-file captions.txt -o captions.npy
  vitago encode --model models/vit-l-14-336 --shards -o dataset --resume tars/
  curl -s https://example.com/cat.jpg | vitago encode --model models/vit-l-14-336 -`,
	}
	var e encoding
	f := cmd.Flags()
	f.StringVar(&e.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought")
	activation := activationFlag(cmd)
	f.BoolVar(&e.text, "text", false, "the arguments are texts; - is standard input, a text a line")
	f.StringVar(&e.textFile, "text-file", "", "`FILE` of texts, one a line, in UTF-8; - is standard input")
	f.StringVar(&e.vocab, "vocab", "", "with texts: `FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	features := choiceFlag(cmd, "features", string(clipvit.Embedding), "what to write",
		string(clipvit.Embedding), string(clipvit.PostNorm), string(clipvit.ClassToken), string(clipvit.Patches), string(clipvit.AllTokens))
	f.IntVar(&e.features.Layer, "layer", -1, "layer of cls, patches or all")
	f.BoolVar(&e.normalize, "normalize", false, "divide every vector by its length")
	format := choiceFlag(cmd, "format", "", "how to write it", encodeFormats()...)
	f.StringVarP(&e.output, "output", "o", "", "write to `FILE`, in place of standard output; with --shards to OUT")
	f.BoolVar(&e.keep.Resume, "resume", false, "go on with FILE, behind what is done")
	f.BoolVar(&e.keep.Overwrite, "overwrite", false, "begin again, and replace FILE if it is there")
	f.IntVar(&e.batch, "batch", 4, "images that are encoded together; more is faster for small models only")
	precision := precisionFlag(cmd, "of the products' weights and operands")
	prepared := preprocessFlags(cmd, true)
	merged := newAdapters(cmd)
	merged.flag()
	f.BoolVar(&e.skipErrors, "skip-errors", false, "go on after an image that cannot be read")
	e.sharding.flag(cmd)
	groupHelp(cmd, encodeGroups())
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case e.sharding.on && e.keep.Resume: // with those of the plan
			return nil
		case e.textFile != "" && len(args) > 0:
			return usagef("--text-file has the texts: got %s, want none", plural.Of(len(args), "argument"))
		case e.textFile != "":
			return nil
		case e.text:
			return wantArgs(1, math.MaxInt, "at least one TEXT")(cmd, args)
		}
		return wantArgs(1, math.MaxInt, "at least one IMAGE")(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.features.Kind, e.format, e.precision, e.activation = clipvit.FeatureKind(features.value), format.value, precision.value, transformer.Activation(activation.value)
		e.prepare = prepared()
		var err error
		if e.adapters, err = merged.options(peft.Cat); err != nil {
			return err
		}
		if e.output == stdinName {
			e.output = ""
		}
		if err := e.check(cmd); err != nil {
			return err
		}
		if e.precision, err = choosePrecision(cmd.ErrOrStderr(), e.precision); err != nil {
			return err
		}
		frugal()
		if e.sharding.on {
			return e.shards(cmd, args)
		}
		return e.run(cmd, args)
	}
	return cmd
}

// encodeFormats are those of files, and those of shards alone.
func encodeFormats() []string {
	all := embeddings.Formats()
	for _, f := range shard.Formats() {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	return all
}

// encodeGroups are the flags of encode as the help shows them.
func encodeGroups() []flagGroup {
	return []flagGroup{
		{title: "Model", flags: []string{"model", "activation", "precision", "preprocess", "fit", "exif", "adapter", "combination-type"}},
		{title: "What is encoded", flags: []string{"text", "text-file", "vocab", "features", "layer", "normalize"}},
		{title: "Output", flags: []string{"format", "output", "resume", "overwrite", "skip-errors", "batch"}},
		{title: "Shards", flags: append([]string{"shards"}, shardFlags...)},
	}
}

// check finds what can be wrong with the flags together.
func (e *encoding) check(cmd *cobra.Command) error {
	flags := cmd.Flags()
	e.text = e.text || e.textFile != ""
	if err := e.sharding.check(cmd, e); err != nil {
		return err
	}
	switch {
	case !e.sharding.on && e.format != "" && !slices.Contains(embeddings.Formats(), e.format):
		return usagef("--format %s goes with --shards", e.format)
	case e.features.HasLayer() && e.text:
		return usagef("--features %s: a text has an embedding alone", e.features.Kind)
	case !e.features.HasLayer() && flags.Changed("layer"):
		return usagef("--layer %d: an embedding has no layer, nor has post_norm; give --features cls, patches or all", e.features.Layer)
	case e.batch < 1 || e.batch > maxBatch:
		return usagef("--batch is %d, want 1 to %d", e.batch, maxBatch)
	case e.keep.Resume && e.keep.Overwrite:
		return usagef("--resume goes on, and --overwrite begins again: give one of them")
	case e.keep != embeddings.Options{} && e.output == "":
		return usagef("--%s goes with -o FILE: nothing is kept of what goes to standard output", map[bool]string{true: "resume", false: "overwrite"}[e.keep.Resume])
	case !e.text && flags.Changed("vocab") && !e.sharding.on:
		return usagef("--vocab goes with --text: images have no words")
	}
	for _, name := range []string{"features", "preprocess", "fit", "exif"} {
		if e.text && flags.Changed(name) && !(name == "features" && e.features.Kind == clipvit.Embedding) {
			return usagef("--%s is of images, and --text encodes texts", name)
		}
	}
	if e.text && !flags.Changed("batch") {
		e.batch = 0 // as many as their length permits
	}
	if !e.features.HasLayer() {
		e.features.Layer = 0
	}
	if !e.sharding.on {
		if err := chooseFormat(cmd, &e.format, e.output, embeddings.Formats()); err != nil {
			return err
		}
	}
	return checkModel(cmd, &e.model)
}

// chooseFormat makes of "" the format that the extension of the output says, or jsonl without an output. What
// contradicts is an error.
func chooseFormat(cmd *cobra.Command, format *string, output string, known []string) error {
	ext := filepath.Ext(output)
	said := strings.TrimPrefix(ext, ".")
	switch {
	case *format == "" && output == "":
		*format = "jsonl"
	case *format == "" && slices.Contains(known, said):
		*format = said
	case *format == "":
		return usagef("%s: no format has the extension %q; give --format", output, ext)
	case slices.Contains(known, said) && said != *format:
		return usagef("%s has the extension of %s, and --format is %s", output, said, *format)
	}
	if _, ok := terminal(cmd.OutOrStdout()); ok && output == "" && *format != "jsonl" {
		return usagef("%s is not for a terminal; give -o FILE", *format)
	}
	return nil
}

func (e *encoding) run(cmd *cobra.Command, args []string) error {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	what := "images"
	var names []string
	var err error
	if e.text {
		what = "texts"
		names, err = e.texts(args, cmd.InOrStdin())
	} else {
		names, err = expandImages(log, args, e.skipErrors)
	}
	if err != nil {
		return err
	}
	m, err := e.open(log)
	if err != nil {
		return err
	}
	defer m.Close()
	o := embeddings.EncodeOptions{Options: e.keep, Format: e.format, Features: e.features, Normalize: e.normalize, Batch: e.batch, SkipErrors: e.skipErrors, Settings: map[string]string{}}
	if !e.text || e.precision != "f32" { // files of texts from versions before have none
		o.Settings["precision"] = e.precision
	}
	if e.output == "" {
		o.Output = cmd.OutOrStdout()
	}
	lines := log
	if _, ok := terminal(o.Output); ok {
		lines = io.Discard // the rows themselves are the progress
	}
	p := startProgress(log, "loading "+e.model, megabytes)
	var loaded time.Duration // none until then
	o.Progress = func(done, total int) {
		if loaded == 0 {
			loaded = p.stop()
			p = startProgress(lines, "encoding", count)
			p.skipped.Store(int64(done))
		}
		p.set(int64(done), int64(total))
	}
	var skipped []error
	o.Skipped = func(_ string, err error) { skipped = append(skipped, err) }
	var r *embeddings.Result
	if e.text {
		r, err = embeddings.EncodeText(ctx, m, names, e.output, o)
	} else {
		r, err = embeddings.Encode(ctx, m, slices.AppendSeq(make([]clip.Picture, 0, len(names)), picturesOf(names, cmd.InOrStdin())), e.output, o)
	}
	elapsed := p.stop()
	for _, s := range skipped {
		fmt.Fprintf(failures(ctx, cmd.ErrOrStderr()), "skipped: %s\n", plain(s))
	}
	if err != nil {
		return e.kept(cmd, r, what, adviseVocabulary(err, e.model))
	}
	note(log, r.Notes)
	if e.precision == "int8" {
		noteRounding(ctx, log, m, e.text)
	}
	if e.output != "" {
		fmt.Fprintln(log, e.summary(r, what, elapsed, loaded))
	}
	if r.Failed > 0 {
		return fmt.Errorf("%d of %s could not be %s", r.Failed, plural.Of(r.Rows, strings.TrimSuffix(what, "s")), map[bool]string{true: "encoded", false: "read"}[e.text])
	}
	return nil
}

// summary says what is in the output.
func (e *encoding) summary(r *embeddings.Result, what string, elapsed, loaded time.Duration) string {
	of := plural.Of(r.Rows, strings.TrimSuffix(what, "s"))
	if r.Failed > 0 {
		of = fmt.Sprintf("%d of %s", r.Rows-r.Failed, of)
	}
	rows := fmt.Sprintf("%s %s of %s", r.Feature, shape(append([]int{r.Rows}, r.Shape...)), of)
	switch {
	case r.Complete:
		return fmt.Sprintf("%s: is complete: %s; nothing was left to do", e.output, rows)
	case r.Before > 0:
		rows += fmt.Sprintf(", %d of them from before,", r.Before)
	}
	return fmt.Sprintf("%s: %s in %s, after %s of loading", e.output, rows, seconds(elapsed), seconds(loaded))
}

// kept returns the error that ended it, with what is kept.
func (e *encoding) kept(cmd *cobra.Command, r *embeddings.Result, what string, err error) error {
	other := (*embeddings.MismatchError)(nil)
	if errors.As(err, &other) && other.What == "precision" { // of which files of texts in float32 say nothing
		name := strings.NewReplacer("none", "f32")
		other.Was, other.Now = name.Replace(other.Was), name.Replace(other.Now)
	}
	if other != nil && other.What == "model" {
		of := ", --preprocess, --fit or --exif"
		if e.text {
			of = " or --vocab"
		}
		return fmt.Errorf("%w, by other weights, or another --activation, --adapter%s", err, of)
	}
	if r == nil || r.Done == 0 || e.output == "" || r.Complete {
		return err
	}
	says := fmt.Sprintf("%d of %d %s are kept, and --resume goes on behind them", r.Done, r.Rows, what)
	if cmd.Context().Err() != nil {
		fmt.Fprintf(failures(cmd.Context(), cmd.ErrOrStderr()), "%s: %s\n", e.output, says)
		return err
	}
	return fmt.Errorf("%w; %s", err, says)
}

// texts returns what is to be encoded: the arguments, or the lines of a file or of standard input.
func (e *encoding) texts(args []string, stdin io.Reader) ([]string, error) {
	if e.textFile != "" {
		return textLines("text-file", e.textFile, stdin)
	}
	var all []string
	for i, a := range args {
		if a != stdinName {
			all = append(all, a)
			continue
		}
		if slices.Contains(args[i+1:], stdinName) {
			return nil, usagef("standard input is named twice")
		}
		lines, err := textLines("text", a, stdin)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return all, nil
}

// open finds the model, and what can be wrong with the flags for it.
func (e *encoding) open(log io.Writer) (*clip.Model, error) {
	options := []clip.Option{clip.Checkpoint(append(e.adapters, converter.Assume(e.activation), converter.Prepare(e.prepare))...), clip.Vocabulary(e.vocab)}
	m, err := clip.Open(e.model, append(options, precisionOptions(e.precision)...)...)
	if err != nil {
		return nil, err
	}
	if e.text {
		err = e.checkText(log, m)
	} else {
		err = e.checkFeatures(m.Checkpoint().Stated().Vision)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// checkText returns an error if the model takes no texts.
func (e *encoding) checkText(log io.Writer, m *clip.Model) error {
	if !m.HasText() {
		return fmt.Errorf("%s: has no text tower, which --text wants: it has a vision tower alone", e.model)
	}
	tokenizer, assumed, err := m.Tokenizer()
	if err != nil {
		return adviseVocabulary(err, e.model)
	}
	if assumed && tokenizer.Rules() == cliptext.Transformers {
		fmt.Fprintf(log, "%s brings no tokenizer: OpenAI's is taken\n", e.model)
	}
	return nil
}

// checkFeatures returns an error if a tower of configuration c does not have the features.
func (e *encoding) checkFeatures(c clipvit.Config) error {
	if !e.features.HasLayer() && c.NoPostNorm { // whatever it is called
		return usagef("%s has no post-norm and so no embedding; give --features cls, patches or all", e.model)
	}
	if n := 1 + c.Layers; e.features.Layer < -n || e.features.Layer >= n {
		return usagef("--layer is %d, want %d to %d for this model", e.features.Layer, -n, n-1)
	}
	return nil
}

// unread returns an error if images were skipped.
func unread(skipped, images int) error {
	if skipped > 0 {
		return fmt.Errorf("%d of %s could not be read", skipped, plural.Of(images, "image"))
	}
	return nil
}
