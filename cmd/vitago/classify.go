package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/zeroshot"
)

// noVocabulary says how to come by a tokenizer; %s is the model.
const noVocabulary = `%s has no vocabulary (tokenizer.json, or vocab.json and merges.txt), which no weights hold,
and not as many tokens as OpenAI's, which vitago brings along: give --vocab FILE, the model's tokenizer.json,
a list of merges, or a folder with its tokenizer, or put these files beside the model`

// classifyBatch is how many images are encoded together, as by default in encode.
const classifyBatch = 4

// textTop is how many labels of an image are printed as text, unless --top says otherwise: more than a handful nobody reads.
const textTop = 5

// A classification is what the flags of classify ask for.
type classification struct {
	model         string
	activation    transformer.Activation // "" is what the model says
	vocab         string                 // "" is the model's directory
	labels        []string               // nil are those of the model's head
	labelsFile    string
	promptsFile   string
	prompts       []zeroshot.Label // of promptsFile
	templates     []string
	templatesFile string
	multi         bool     // labels do not exclude each other
	negatives     []string // what they are compared with then
	bias          float64
	threshold     zeroshot.Threshold
	cache         string // "" is none
	top           int    // 0 is all
	format        string
	output        string // "" is standard output
	overwrite     bool
	skipErrors    bool
	batch         int
	precision     string // f32, bf16 or int8
	prepare       clipvit.Choice
	adapters      []converter.OpenOption // are merged with the model
}

func newClassify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify --model DIR [--labels A,B,... | --labels-file FILE] [flags] IMAGE|DIR|GLOB|-...",
		Short: "Say which label fits an image: any, without training, or those of a trained head",
		Long: `Classify says of each image how well each label fits it, as CLIP does without training (zero-shot):
every label is put into a template, the text tower makes an embedding of that, and the cosines with
the embedding of the image, times the scale that the model has learnt, go through softmax. Labels that
are not given do not count: one of them always fits best.

Labels are those of --labels, or the lines of --labels-file; empty lines are none. With several
templates, of --template or the lines of --templates-file, a label's embedding is the mean of theirs,
each of length 1, as OpenAI does it for its results on ImageNet, whose 80 templates are in
notebooks/Prompt_Engineering_for_ImageNet.ipynb of openai/CLIP; the lines of that list, as they stand there, are
such a file. --cache keeps the embeddings of labels in a folder, where they are found again for the same
text tower, tokenizer, label and templates.

Labels with texts of their own are those of --prompts: a label, a tab, and a prompt a line, or the columns
label and prompt of a .csv or .jsonl file. Several prompts of a label are averaged. A prompt is the whole
text, unless templates are given.

A picture of something else gets a label, too, and often with a high probability. With --min-probability
and --min-cosine its best label is accepted only if it is as probable, and as near, as that; else it is
none of these. Neither knows what else there is: choose them by such pictures ("vitago eval --none").

With --multi-label labels do not exclude each other. The probability of each is a sigmoid, of the cosine
with the label less that with --negative, times the model's scale, and --bias on top. Labels of at least
--min-probability, by default 0.5, are accepted. "vitago eval --fit-bias" finds the bias.

` + precisionHelp + `

The model must have a text tower (not converted with --vision-only). The tokenizer is the one beside it,
or OpenAI's where there is none, unless --vocab says otherwise. A text gets the ids that the model's own
library gives it: OpenAI's, OpenCLIP or transformers.

Without labels it is the head that says the class, which "vitago finetune" has trained and put into
OUT/model: give that as the model. No text tower is needed for this. It may also be the classifier that the
checkpoint itself has: transformers' CLIPForImageClassification, or a tower that timm has tuned. Where
the classes of a head do not exclude each other, each has a probability of its own.

Formats:
  text   the name of each image, and a line for each of its 5 best labels. With --top 1 there is one
         line an image: its name, label and probability, with tabs between
  jsonl  {"image":"cat.jpg","labels":[{"label":"cat","probability":0.9,"cosine":0.27},...]} a line,
         the best label first; a head has no cosines. --json is the same. Where labels are accepted
         or not, "accepted" is the list of the names of those that are, empty if there is none
  csv    the columns image, rank, label, probability, cosine and error, and a row for each label of
         each image, the best first; quotes as in RFC 4180, lines end with LF. Where labels are
         accepted or not, there is the column accepted, with true or false
As text an accepted label has a star, and an image without one is "none of these".
Without --format the extension of FILE decides; without FILE it is text. FILE appears complete or not
at all. jsonl and csv have all labels, unless --top says how many.

An image that cannot be read ends it with status 1. With --skip-errors all others are classified, and
the status is 1 in the end: the image has an "error" in place of labels, and as text none.`,
		Example: `  vitago classify --model models/vit-l-14-336 --labels cat,dog,bird photo.jpg
  vitago classify --model models/vit-l-14-336 --labels "sunny,raining,\"dark, at night\"" \
      --template "a photo taken when it is {}." *.jpg
  vitago classify --model tuned/model photo.jpg
  vitago classify --model ViT-L-14-336px.pt --labels cat,dog --json photos/
  vitago classify --model ViT-L-14-336px.pt --labels-file labels.txt \
      --templates-file templates.txt --cache labels --top 1 photos/
  vitago classify --model tuned/model --skip-errors -o photos.csv photos/`,
		Args: wantArgs(1, math.MaxInt, "at least one IMAGE"),
	}
	var c classification
	f := cmd.Flags()
	f.StringVar(&c.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model that download has brought (default: builtin:demo, the small model in this program)")
	activation := activationFlag(cmd)
	f.StringVar(&c.vocab, "vocab", "", "`FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	f.Var((*labelList)(&c.labels), "labels", "labels `A,B,...` that an image may have, in one line or several; quote one that has a comma (default: the classes of the model's head)")
	f.StringVar(&c.labelsFile, "labels-file", "", "`FILE` of labels, one a line, in UTF-8; - is standard input")
	f.StringArrayVar(&c.templates, "template", []string{zeroshot.DefaultTemplate}, "`TEXT` in which {} becomes the label; may be given several times")
	f.StringVar(&c.templatesFile, "templates-file", "", "`FILE` of templates, one a line, in UTF-8; - is standard input")
	zeroShotFlags(cmd, &c)
	f.StringVar(&c.cache, "cache", "", "`DIR` that keeps the embeddings of labels for other runs")
	prepared := preprocessFlags(cmd, true)
	merged := newAdapters(cmd)
	merged.flag()
	f.IntVar(&c.top, "top", 0, "`N` best labels of an image; 0 is all (default: 5 as text, else all)")
	asJSON := f.Bool("json", false, "print JSON, an object a line: --format jsonl")
	format := choiceFlag(cmd, "format", "", "how to write it", verdictFormats...)
	f.StringVarP(&c.output, "output", "o", "", "write to `FILE`, in place of standard output")
	f.BoolVar(&c.overwrite, "overwrite", false, "replace FILE if it is there")
	f.IntVar(&c.batch, "batch", classifyBatch, "images that are encoded together; more is faster for small models only")
	precision := precisionFlag(cmd, "of the products' weights and operands")
	f.BoolVar(&c.skipErrors, "skip-errors", false, "go on after an image that cannot be read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.activation, c.precision, c.format, c.prepare = transformer.Activation(activation.value), precision.value, format.value, prepared()
		var err error
		if c.adapters, err = merged.options(peft.Cat); err != nil {
			return err
		}
		if c.output == stdinName {
			c.output = ""
		}
		if err := c.check(cmd, *asJSON); err != nil {
			return err
		}
		if c.precision, err = choosePrecision(cmd.ErrOrStderr(), c.precision); err != nil {
			return err
		}
		frugal()
		return c.run(cmd, args)
	}
	return cmd
}

// zeroShotFlags declares the flags of classify and eval that say more of zero-shot than labels and templates.
func zeroShotFlags(cmd *cobra.Command, c *classification) {
	f := cmd.Flags()
	f.StringVar(&c.promptsFile, "prompts", "", "`FILE` of labels with their prompts: LABEL, a tab, and PROMPT a line, or a .csv or .jsonl; - is standard input")
	f.BoolVar(&c.multi, "multi-label", false, "labels do not exclude each other: each has a probability of its own")
	f.StringArrayVar(&c.negatives, "negative", []string{zeroshot.DefaultNegative}, "`TEXT` that --multi-label compares labels with; {} becomes the label; may be given several times")
	f.Float64Var(&c.bias, "bias", 0, "`B` that --multi-label adds below the sigmoid")
	f.Float64Var(&c.threshold.Probability, "min-probability", 0, "accept labels of at least this probability `P`, above 0 and at most 1 (default: any, with --multi-label 0.5)")
	f.Float64Var(&c.threshold.Cosine, "min-cosine", 0, "accept labels of at least this cosine `C`, above 0 and below 1 (default: any)")
}

// checkZeroShot finds what can be wrong with these flags, and with those that labels come from.
func (c *classification) checkZeroShot(cmd *cobra.Command) error {
	f := cmd.Flags()
	switch {
	case f.Changed("labels") && c.labelsFile != "":
		return usagef("--labels and --labels-file: give one of them")
	case f.Changed("labels") && c.promptsFile != "":
		return usagef("--labels and --prompts: give one of them")
	case c.labelsFile != "" && c.promptsFile != "":
		return usagef("--labels-file and --prompts: give one of them")
	case f.Changed("template") && c.templatesFile != "":
		return usagef("--template and --templates-file: give one of them")
	case twice(stdinName, c.labelsFile, c.templatesFile, c.promptsFile):
		return usagef("standard input is named twice")
	case f.Changed("negative") && !c.multi:
		return usagef("--negative goes with --multi-label")
	case slices.ContainsFunc(c.negatives, func(t string) bool { return strings.TrimSpace(t) == "" }):
		return usagef("--negative: a text is empty, want words")
	case f.Changed("bias") && !c.multi:
		return usagef("--bias goes with --multi-label")
	case f.Changed("bias") && c.bias-c.bias != 0:
		return usagef("--bias is %v, want a number", c.bias)
	case f.Changed("min-probability") && !(c.threshold.Probability > 0 && c.threshold.Probability <= 1):
		return usagef("--min-probability is %v, want above 0 and at most 1", c.threshold.Probability)
	case f.Changed("min-cosine") && !(c.threshold.Cosine > 0 && c.threshold.Cosine < 1):
		return usagef("--min-cosine is %v, want above 0 and below 1", c.threshold.Cosine)
	}
	if c.promptsFile != "" && !f.Changed("template") {
		c.templates = []string{zeroshot.Place}
	}
	if c.multi {
		if c.threshold.Each = true; !f.Changed("min-probability") {
			c.threshold.Probability = probe.Threshold
		}
	}
	return nil
}

// twice says whether at least two names are s.
func twice(s string, names ...string) bool {
	n := 0
	for _, name := range names {
		if name == s {
			n++
		}
	}
	return n > 1
}

// checkThreshold returns an error if the threshold would refuse nothing of a classifier with k labels.
func (c *classification) checkThreshold(k int, each bool) error {
	if p := c.threshold.Probability; p > 0 && !each && p <= 1/float64(k) {
		return usagef("--min-probability is %v, and the best of %d labels has at least %.4g: it would refuse nothing", p, k, 1/float64(k))
	}
	return nil
}

// A labelList is the labels of one flag or several: lines of values with commas between them, as in a CSV file. Lines
// without a label, and commas at the end of one that is not the last, are of the form of a list, and no labels.
type labelList []string

func (l *labelList) Set(s string) error {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	r := csv.NewReader(strings.NewReader(s))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		return err
	}
	for i, line := range lines {
		if last := len(line) - 1; last > 0 && line[last] == "" && len(lines) > 1 && (i < len(lines)-1 || strings.HasSuffix(s, "\n")) {
			line = line[:last]
		}
		if len(lines) > 1 && len(line) == 1 && strings.TrimSpace(line[0]) == "" {
			continue
		}
		*l = append(*l, line...)
	}
	if *l == nil {
		*l = labelList{} // given, and empty
	}
	return nil
}

func (l *labelList) Type() string   { return "labels" }
func (l *labelList) String() string { return strings.Join(*l, ",") }

// check finds what can be wrong with the flags together.
func (c *classification) check(cmd *cobra.Command, asJSON bool) error {
	f := cmd.Flags()
	if err := c.checkZeroShot(cmd); err != nil {
		return err
	}
	switch {
	case asJSON && f.Changed("format"):
		return usagef("--json is --format jsonl: give one of them")
	case c.batch < 1 || c.batch > maxBatch:
		return usagef("--batch is %d, want 1 to %d", c.batch, maxBatch)
	case c.top < 0:
		return usagef("--top is %d, want 1 or more, or 0 for all", c.top)
	case c.overwrite && c.output == "":
		return usagef("--overwrite goes with -o")
	}
	for _, name := range textFlags {
		if !c.given() && f.Changed(name) {
			return usagef("--%s goes with --labels: a head knows its classes", name)
		}
	}
	if asJSON {
		c.format = "jsonl"
	}
	switch {
	case c.format == "" && (c.output == "" || filepath.Ext(c.output) == ".txt"):
		c.format = "text"
	case c.output != "":
		if err := chooseFormat(cmd, &c.format, c.output, verdictFormats); err != nil {
			return err
		}
	}
	if c.format == "text" && !f.Changed("top") {
		c.top = textTop
	}
	defaultModel(cmd, &c.model)
	if err := checkModel(cmd, &c.model); err != nil {
		return err
	}
	return c.readLabels(cmd.InOrStdin())
}

// textFlags are those that do nothing without texts.
var textFlags = []string{"template", "templates-file", "vocab", "cache", "multi-label", "min-cosine"}

// given says whether there are labels, or a file of them.
func (c *classification) given() bool {
	return c.labels != nil || c.labelsFile != "" || c.promptsFile != ""
}

// readPrompts reads the file of prompts.
func (c *classification) readPrompts(stdin io.Reader) error {
	name, raw, err := readLines("prompts", c.promptsFile, maxLines, stdin)
	if err == nil && len(raw) > maxLines {
		err = usagef("%s: more than %d bytes", name, maxLines)
	}
	if err != nil {
		return err
	}
	if c.prompts, err = zeroshot.ReadPrompts(name, raw); err != nil {
		return usageError{err}
	}
	return nil
}

// fewest is how many labels there have to be.
func (c *classification) fewest() int {
	if c.multi {
		return 1
	}
	return 2
}

// readLabels reads the files of labels, prompts and templates, and finds what can be wrong with them.
func (c *classification) readLabels(stdin io.Reader) error {
	if !c.given() {
		return nil
	}
	if c.promptsFile != "" {
		if err := c.readPrompts(stdin); err != nil {
			return err
		}
		c.labels = nil
		for _, l := range c.prompts {
			c.labels = append(c.labels, l.Name)
		}
		if n := len(c.labels); n < c.fewest() {
			return usagef("%s: got %s, want at least %d", c.promptsFile, plural.Of(n, "label"), c.fewest())
		}
		return c.readTemplates(stdin)
	}
	from, labels, err := givenLines("labels-file", c.labelsFile, c.labels, stdin)
	if err != nil {
		return err
	}
	how := "--labels cat,dog"
	if c.labelsFile != "" {
		how = "one a line"
	}
	if n := len(labels); n < c.fewest() {
		return usagef("%sgot %s, want at least %d: %s", from, plural.Of(n, "label"), c.fewest(), how)
	}
	c.labels = nil
	first := map[string]line{}
	for i, l := range labels {
		l.text = strings.TrimSpace(l.text)
		before, twice := first[l.text]
		switch {
		case l.text == "":
			return usagef("label %d of %d is empty", i+1, len(labels))
		case twice && l.number > 0:
			return usagef("%sthe label %q is given twice, in lines %d and %d", from, l.text, before.number, l.number)
		case twice:
			return usagef("the label %q is given twice", l.text)
		}
		first[l.text] = l
		c.labels = append(c.labels, l.text)
	}
	return c.readTemplates(stdin)
}

// readTemplates reads the file of templates, and finds what can be wrong with them.
func (c *classification) readTemplates(stdin io.Reader) error {
	from, templates, err := givenLines("templates-file", c.templatesFile, c.templates, stdin)
	if err != nil {
		return err
	}
	if len(templates) == 0 {
		return usagef("%sgot 0 templates, want at least 1", from)
	}
	c.templates = nil
	for _, t := range templates {
		text := strings.ReplaceAll(t.text, "{c}", zeroshot.Place)
		if t.number > 0 {
			if text, err = zeroshot.ReadTemplate(t.text); err != nil {
				return usagef("%sline %d, %s", from, t.number, strings.TrimPrefix(err.Error(), "zeroshot: "))
			}
		}
		switch {
		case t.number > 0 && text == "": // begins or ends a list of Python
			continue
		case !strings.Contains(text, zeroshot.Place):
			return usagef("--template %q has no %s, where the label stands", t.text, zeroshot.Place)
		}
		c.templates = append(c.templates, text)
	}
	if len(c.templates) == 0 {
		return usagef("%sgot 0 templates, want at least 1", from)
	}
	return nil
}

// run classifies images.
func (c *classification) run(cmd *cobra.Command, args []string) (err error) {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	var m *clip.Model
	var judge clip.Classifier
	options := c.options()
	if c.labels == nil {
		tuned, err := finetune.Open(ctx, c.model, options...)
		if errors.Is(err, finetune.ErrNoHead) {
			return usagef("got 0 labels, want at least 2: --labels cat,dog, or a model with a head that finetune has trained; %w", err)
		} else if err != nil {
			return err
		}
		judge, m, c.threshold.Each = tuned, tuned.Model(), tuned.Head().Multi
	} else if m, err = clip.Open(c.model, options...); err != nil {
		return err
	}
	defer m.Close()
	images, err := expandImages(log, args, c.skipErrors)
	if err != nil {
		return err
	}
	for _, name := range []string{c.labelsFile, c.templatesFile, c.promptsFile} {
		if name == stdinName && slices.Contains(images, stdinName) {
			return usagef("standard input is named twice")
		}
	}
	dst, err := createNew(cmd, c.output, c.overwrite)
	if err != nil {
		return err
	}
	defer dst.discard()
	if err := c.load(ctx, log, m); err != nil {
		return err
	}
	if judge == nil {
		if judge, err = c.zeroShot(ctx, log, m); err != nil {
			return err
		}
	}
	if err := c.checkThreshold(len(judge.Labels()), c.threshold.Each); err != nil {
		return err
	}
	out := newVerdicts(dst.w, c.format, c.top)
	if c.threshold.Probability > 0 || c.threshold.Cosine > 0 {
		out.accept(c.threshold)
	}
	if n := len(judge.Labels()); c.format == "text" && !cmd.Flags().Changed("top") && n > c.top {
		fmt.Fprintf(log, "note: the %d best of %d labels; --top says how many, 0 all\n", c.top, n)
	}
	if _, ok := terminal(dst.w); ok {
		log = io.Discard // the lines themselves are the progress
	}
	p := startProgress(log, "encoding", count)
	skipped, err := c.classify(ctx, judge, picturesOf(images, cmd.InOrStdin()), out, func(n int) { p.set(int64(n), int64(len(images))) })
	p.stop()
	for _, s := range skipped {
		fmt.Fprintf(failures(ctx, cmd.ErrOrStderr()), "skipped: %s\n", plain(s))
	}
	if err == nil {
		err = dst.commit()
	}
	if err != nil {
		return err
	}
	return unread(len(skipped), len(images))
}

// options say how the model is read.
func (c *classification) options() []clip.Option {
	options := []clip.Option{clip.Checkpoint(append(c.adapters, converter.Assume(c.activation), converter.Prepare(c.prepare))...), clip.Vocabulary(c.vocab)}
	return append(options, precisionOptions(c.precision)...)
}

// classify writes the labels of pictures, says how many are done, and returns the errors of those that were skipped.
func (c *classification) classify(ctx context.Context, judge clip.Classifier, of iter.Seq[clip.Picture], out *verdicts, done func(n int)) (skipped []error, err error) {
	for x, err := range judge.ClassifyAll(ctx, of, clip.StreamOptions{Batch: c.batch, SkipErrors: c.skipErrors}) {
		if err != nil {
			return skipped, err
		}
		if x.Err != nil {
			skipped = append(skipped, x.Err)
		}
		if err := out.write(x); err != nil {
			return skipped, err
		}
		done(x.Index + 1)
	}
	return skipped, out.flush()
}

// picturesOf returns those of names, of which - is standard input.
func picturesOf(names []string, stdin io.Reader) iter.Seq[clip.Picture] {
	return func(yield func(clip.Picture) bool) {
		for _, name := range names {
			p := clip.File(name)
			if name == stdinName {
				p = clip.Reader(name, stdin)
			}
			if !yield(p) {
				return
			}
		}
	}
}

// load loads the towers that are needed.
func (c *classification) load(ctx context.Context, log io.Writer, m *clip.Model) error {
	if c.labels != nil { // what is missing is said before anything is read
		if !m.HasText() {
			return fmt.Errorf("%s: has no text tower, which labels want: it has a vision tower alone", c.model)
		}
		tokenizer, assumed, err := m.Tokenizer()
		if err != nil {
			return adviseVocabulary(err, c.model)
		}
		if assumed && tokenizer.Rules() == cliptext.Transformers {
			fmt.Fprintf(log, "%s brings no tokenizer: OpenAI's is taken\n", c.model)
		}
	}
	p := startProgress(log, "loading "+c.model, megabytes)
	_, err := await(ctx, func() (any, error) {
		if c.labels != nil { // the vision tower follows when the text tower has gone
			_, err := m.Text(ctx)
			return nil, err
		}
		_, err := m.Vision(ctx)
		return nil, err
	})
	p.stop()
	if err == nil && c.precision == "int8" {
		noteRounding(ctx, log, m, c.labels != nil)
	}
	return err
}

// zeroShot encodes the labels.
func (c *classification) zeroShot(ctx context.Context, log io.Writer, m *clip.Model) (*zeroshot.Classifier, error) {
	p := startProgress(log, "encoding labels", count)
	options := []zeroshot.Option{zeroshot.Progress(func(done, total int) { p.set(int64(done), int64(total)) })}
	if c.cache != "" {
		options = append(options, zeroshot.Cache(c.cache))
	}
	if c.multi {
		options = append(options, zeroshot.MultiLabel(c.bias, c.negatives...))
	}
	judge, err := await(ctx, func() (judge *zeroshot.Classifier, err error) {
		if c.prompts != nil {
			judge, err = zeroshot.NewPrompts(ctx, m, c.prompts, c.templates, options...)
		} else {
			judge, err = zeroshot.New(ctx, m, c.labels, c.templates, options...)
		}
		if err == nil { // both towers are never in memory together
			m.ReleaseText()
			runtime.GC()
			_, err = m.Vision(ctx)
		}
		return judge, err
	})
	p.stop()
	if err == nil && c.precision == "int8" {
		noteRounding(ctx, log, m, false)
	}
	return judge, err
}

// adviseVocabulary tells how to come by the vocabulary that the model lacks, if that is what err says.
func adviseVocabulary(err error, model string) error {
	if errors.Is(err, cliptext.ErrVocabulary) {
		return verbatim(fmt.Sprintf(noVocabulary, model))
	}
	return err
}
