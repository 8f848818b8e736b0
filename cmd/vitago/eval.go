package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/evaluation"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/finetune/report"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
	"github.com/vitago/vitago/zeroshot"
)

// An examination is what the flags of eval ask for.
type examination struct {
	classification         // with labels where it is zero-shot
	data           string  // path
	separator      string  // of the labels of a picture in a table; "" if it has one
	k              int     // of the top k; 0 is not said
	json           bool    // in the place of a page
	least          float64 // accuracy that is wanted; 0 is any
	fit            bool    // find the bias of labels that do not exclude each other
	none           string  // the class of pictures that are none of the labels
}

// evaluationFile has all of an evaluation, in the directory that eval writes.
const evaluationFile = "evaluation.json"

func newEval() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval --model DIR [flags] DATA",
		Short: "Judge a trained head, or a model without training, by labelled pictures",
		Long: `Eval asks a model for the class of each picture of DATA, and says how often it is right: accuracy, top 5,
each class by itself, which class is taken for which, and which pictures are wrong.

DATA is what "vitago finetune" learns from: a folder with a folder of pictures for each class, a table (.csv,
.tsv, .jsonl with the columns path and label), or .tar shards. A single class is enough.

The classifier is the head that "vitago finetune" has trained (give OUT/model as the model), or that of the checkpoint
itself. It knows its classes by name. Where there is none, or with --labels, the model tells the
classes apart by their names, without training (zero-shot; see "vitago classify --help"):
  - Without --labels the labels are the names of the classes, with spaces for underscores.
  - --labels and --labels-file say all labels that a picture may get, in any order. The label of a
    class is that of its name, with or without underscores. Others are there to be mistaken for.
  - Classes that are called otherwise, as n01440764, have lines in --labels-file: CLASS, a tab, and
    LABEL.
  - Classes that are all numbers take the label at that place, from 0, unless labels are numbers,
    too.

Prompts of labels, by --prompts, stand in the place of labels; see "vitago classify --help". With
--min-probability or --min-cosine a picture whose best label is below that is taken for none of these.
That is a class more, and --none names the class of DATA whose pictures are just that: its recall says
how many of them are refused, its precision how many of those that are refused are right. In the loss it
is as probable as a label at the threshold.

With --multi-label each label has a probability of its own, also where DATA has one class a picture. --fit-bias
finds the bias of the greatest likelihood on DATA, at which as many labels are expected as there are, and
judges with that. So judge on other pictures, by --bias, and do not trust what it says of those that it fits.

It prints a page of Markdown, or with --json an object a line. -o writes a directory with
  report.md         the page
  evaluation.json   the object: model, data, classifier, pictures, skipped, right, accuracy, top,
                    top_accuracy, loss, macro, classes, confusion (rows are wanted, in the order of
                    classes), wrong; with --multi-label bias
  classes.csv       recall, precision and F1 of each class
  confusion.csv     the confusion matrix, a row for each class that is wanted
  wrong.csv         all wrong pictures, those first of which the model is most sure
  wrong.jpg         the first 60 of them as a contact sheet
It appears whole or not at all.

Where the pictures of a table or of shards have lists of labels (in a .csv by --label-separator), the head must be
one that was trained on such, or --multi-label given. Each label counts by itself, above a probability of 0.5: there is mean average precision
in the place of top 5, the accuracy is the share of pictures all of whose labels are right, and there is no
confusion matrix.

The numbers are scikit-learn's. Of classes that are as probable the first counts, in the order of the head or
of the labels. A class's recall is its accuracy; means are over the classes that have pictures.

` + precisionHelp + `

With --min-accuracy the status is 1 if the accuracy is lower. A picture that cannot be read ends it with status 1; with
--skip-errors all others are judged, and the status is 1 in the end.`,
		Example: `  vitago eval --model tuned/model photos/test
  vitago eval --model tuned/model -o evaluated --min-accuracy 0.9 test.csv
  vitago eval --model openai/clip-vit-base-patch32 --template "a photo of a {}, a type of pet." \
      photos
  vitago eval --model ViT-B/32 --labels-file imagenet.tsv --templates-file templates.txt \
      --cache labels imagenet/val
  vitago eval --model ViT-B/32 --prompts prompts.tsv --min-cosine 0.25 --none other photos
  vitago eval --model ViT-B/32 --labels cat,dog,grass --multi-label --fit-bias photos.jsonl
  vitago eval --model tuned/model --json photos/test | jq .accuracy`,
		Args: wantArgs(1, 1, "DATA: a folder with a folder for each class, a table, or .tar files"),
	}
	var e examination
	f := cmd.Flags()
	f.StringVar(&e.model, "model", "", "`DIR` or file of the checkpoint, or the name of a model")
	activation := activationFlag(cmd)
	f.StringVar(&e.vocab, "vocab", "", "`FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	f.Var((*labelList)(&e.labels), "labels", "labels `A,B,...` that a picture may get (default: the classes of the model's head, or those of DATA)")
	f.StringVar(&e.labelsFile, "labels-file", "", "`FILE` of labels, one a line, or CLASS, a tab and LABEL; - is standard input")
	f.StringArrayVar(&e.templates, "template", []string{zeroshot.DefaultTemplate}, "`TEXT` in which {} becomes the label; may be given several times")
	f.StringVar(&e.templatesFile, "templates-file", "", "`FILE` of templates, one a line; - is standard input")
	zeroShotFlags(cmd, &e.classification)
	f.BoolVar(&e.fit, "fit-bias", false, "with --multi-label: find the bias by the pictures of DATA, and judge with it")
	f.StringVar(&e.none, "none", noneOfThese, "`CLASS` of the pictures that are none of the labels, with --min-probability or --min-cosine")
	f.StringVar(&e.cache, "cache", "", "`DIR` that keeps the embeddings of labels for other runs")
	prepared := preprocessFlags(cmd, true)
	merged := newAdapters(cmd)
	merged.flag()
	f.StringVar(&e.separator, "label-separator", "", "what is between the labels of one picture in a .csv or .tsv, if it can have several: \"|\"; in a .jsonl they are lists")
	f.IntVar(&e.k, "top", 0, "count a picture whose class is among the `N` most probable, too (default: 5, of more than 5 classes)")
	f.Float64Var(&e.least, "min-accuracy", 0, "fail if the accuracy is below `X`, above 0 and at most 1")
	f.BoolVar(&e.json, "json", false, "print JSON in the place of the page")
	f.StringVarP(&e.output, "output", "o", "", "write the page, tables and a contact sheet into `DIR` as well")
	f.BoolVar(&e.overwrite, "overwrite", false, "replace DIR if an evaluation is there")
	f.IntVar(&e.batch, "batch", classifyBatch, "pictures that are encoded together; more is faster for small models only")
	precision := precisionFlag(cmd, "of the products' weights and operands")
	f.BoolVar(&e.skipErrors, "skip-errors", false, "go on after a picture that cannot be read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.activation, e.precision, e.prepare, e.data = transformer.Activation(activation.value), precision.value, prepared(), args[0]
		var err error
		if e.adapters, err = merged.options(peft.Cat); err != nil {
			return err
		}
		if err := e.check(cmd); err != nil {
			return err
		}
		if e.precision, err = choosePrecision(cmd.ErrOrStderr(), e.precision); err != nil {
			return err
		}
		frugal()
		return e.run(cmd)
	}
	return cmd
}

// check finds what can be wrong with the flags together.
func (e *examination) check(cmd *cobra.Command) error {
	f := cmd.Flags()
	if err := e.checkZeroShot(cmd); err != nil {
		return err
	}
	switch {
	case e.fit && !e.multi:
		return usagef("--fit-bias goes with --multi-label")
	case e.fit && f.Changed("bias"):
		return usagef("--bias and --fit-bias: give one of them")
	case e.multi && f.Changed("min-probability"):
		return usagef("--min-probability goes without --multi-label, where eval accepts labels above %v: --bias moves it", probe.Threshold)
	case e.multi && f.Changed("min-cosine"):
		return usagef("--min-cosine goes without --multi-label")
	case e.multi && e.k > 0:
		return usagef("--top is of labels that exclude each other: --multi-label has none")
	case f.Changed("none") && !e.refuses():
		return usagef("--none goes with --min-probability or --min-cosine")
	case e.batch < 1 || e.batch > maxBatch:
		return usagef("--batch is %d, want 1 to %d", e.batch, maxBatch)
	case f.Changed("label-separator") && e.separator == "":
		return usagef("--label-separator is empty")
	case f.Changed("top") && e.k < 1:
		return usagef("--top is %d, want 1 or more", e.k)
	case f.Changed("min-accuracy") && !(e.least > 0 && e.least <= 1):
		return usagef("--min-accuracy is %v, want above 0 and at most 1", e.least)
	case e.overwrite && e.output == "":
		return usagef("--overwrite goes with -o")
	}
	if err := e.mayWrite(); err != nil {
		return err
	}
	if e.output != "" && folder.Holds(e.output) {
		return usagef("-o %s is the working directory, or above it, and would be replaced as a whole: want another name", e.output)
	}
	for _, f := range []struct{ name, v string }{{"-o", e.output}, {"--cache", e.cache}} {
		if f.v != "" && folder.Inside(f.v, e.data) {
			return usagef("%s %s lies in the data %s, where it would be taken for a class", f.name, f.v, e.data)
		}
	}
	return checkModel(cmd, &e.model)
}

// refuses says whether a picture may be none of the labels.
func (e *examination) refuses() bool {
	return !e.multi && (e.threshold.Probability > 0 || e.threshold.Cosine > 0)
}

// mayWrite returns an error if the output would take the place of something.
func (e *examination) mayWrite() error {
	if e.output == "" {
		return nil
	}
	entries, err := os.ReadDir(e.output)
	switch {
	case os.IsNotExist(err), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return usagef("-o wants a directory: %w", err)
	case !isThere(e.output, evaluationFile):
		return fmt.Errorf("%s has something else than an evaluation: choose another directory", e.output)
	case !e.overwrite:
		return fmt.Errorf("%s has an evaluation, and %w", e.output, converter.ErrExists)
	}
	return nil
}

// run judges the model.
func (e *examination) run(cmd *cobra.Command) error {
	ctx, log := cmd.Context(), cmd.ErrOrStderr()
	var options []data.Option
	if e.separator != "" {
		options = append(options, data.Separator(e.separator))
	}
	d, err := data.OpenTest(e.data, options...)
	if errors.Is(err, data.ErrSeparator) {
		return usagef("--label-separator: %w", err)
	} else if errors.Is(err, data.ErrParts) {
		return fmt.Errorf("%w; eval judges by one of them", err)
	} else if err != nil {
		return err
	}
	note(log, d.Notes)
	m, judge, err := e.open(cmd, d)
	if err != nil {
		return err
	}
	defer m.Close()
	tuned, _ := judge.(*finetune.Tuned)
	if d.Multi && !e.multi && !(tuned != nil && tuned.Head().Multi) {
		return fmt.Errorf("the pictures of %s have lists of labels, and a classifier whose classes exclude each other says nothing of several: "+
			"want a head that was trained on such lists, or --multi-label", e.data)
	}
	if e.refuses() && (d.Multi || tuned != nil && tuned.Head().Multi) {
		return usagef("--min-probability and --min-cosine are of labels that exclude each other")
	}
	if d.Multi && e.k > 0 {
		return usagef("--top is of pictures of one class each, and those of %s have lists of labels", e.data)
	}
	classes := len(e.labels)
	if judge != nil {
		classes = len(judge.Labels())
	}
	if err := e.checkThreshold(classes, e.multi); err != nil {
		return err
	}
	if e.k >= classes {
		return usagef("--top is %d, and there are %d classes: every picture would be right", e.k, classes)
	}
	if err := e.load(ctx, log, m); err != nil {
		return err
	}
	by := "its head"
	if judge == nil {
		by = e.words()
		zero, err := e.zeroShot(ctx, log, m)
		if err != nil {
			return err
		}
		judge = zero
		if e.multi {
			several(d)
		}
		if e.fit {
			if judge, err = e.fitted(ctx, log, m, zero, d); err != nil {
				return err
			}
			by += fmt.Sprintf(" of %.4f, which was found by these pictures", e.bias)
		} else if e.multi {
			by += fmt.Sprintf(" of %v", e.bias)
		}
	}
	if e.refuses() {
		if judge, err = zeroshot.OrNone(judge, e.none, e.threshold); err != nil {
			return usagef("--none: %w", err)
		}
		by += ", or " + strconv.Quote(e.none)
	}
	p := startProgress(log, "judging", count)
	r, err := evaluation.Run(ctx, judge, d, evaluation.Options{
		Top: e.k, Wrong: -1, Batch: e.batch, SkipErrors: e.skipErrors,
		Progress: func(done, total int) { p.set(int64(done), int64(total)) },
	})
	elapsed := p.stop()
	if err != nil {
		return err
	}
	if err := e.write(ctx, cmd.OutOrStdout(), r, d, by); err != nil {
		return err
	}
	fmt.Fprintf(log, "%s in %s\n", plural.Of(r.Pictures, "picture"), seconds(elapsed))
	if r.Accuracy < e.least {
		return fmt.Errorf("the accuracy is %.4f, want at least %v, which --min-accuracy says", r.Accuracy, e.least)
	}
	return unread(len(r.Skipped), len(d.Samples))
}

// words say what tells classes apart without training.
func (e *examination) words() string {
	by := fmt.Sprintf("zero-shot, %s, %s", plural.Of(len(e.labels), "label"), plural.Of(len(e.templates), "template"))
	if e.prompts != nil {
		n := 0
		for _, l := range e.prompts {
			n += len(l.Prompts)
		}
		by = fmt.Sprintf("zero-shot, %s, %s in %s", plural.Of(len(e.labels), "label"), plural.Of(n, "prompt"), plural.Of(len(e.templates), "template"))
	}
	if e.multi {
		by += fmt.Sprintf(", each by itself, %s, a bias", plural.Of(len(e.negatives), "negative text"))
	}
	return by
}

// several gives each picture of one class a list of one.
func several(d *data.Dataset) {
	if d.Multi {
		return
	}
	for i := range d.Samples {
		s := &d.Samples[i]
		s.LabelSet, s.Label = []int{s.Label}, data.Unlabelled
	}
	d.Multi = true
}

// fitted finds the bias by the pictures, and returns the classifier with that, which encodes none of them again.
func (e *examination) fitted(ctx context.Context, log io.Writer, m *clip.Model, zero *zeroshot.Classifier, d *data.Dataset) (clip.Classifier, error) {
	at := map[string]int{}
	for i, l := range zero.Labels() {
		at[l] = i
	}
	pictures := func(yield func(clip.Picture) bool) {
		for i, s := range d.Samples {
			if !yield(clip.Opened(s.Path, func() (io.ReadCloser, error) { return d.Open(i) })) {
				return
			}
		}
	}
	var logits [][]float64
	var wanted [][]bool
	all := make([]clip.Encoded, 0, len(d.Samples))
	p := startProgress(log, "encoding", count)
	defer p.stop()
	for x, err := range m.Stream(ctx, pictures, clip.StreamOptions{Batch: e.batch, SkipErrors: e.skipErrors}) {
		if err != nil {
			return nil, err
		}
		if all = append(all, x); x.Err == nil {
			has := make([]bool, len(at))
			for _, l := range d.Samples[x.Index].LabelSet {
				has[at[d.Classes[l]]] = true
			}
			logits, wanted = append(logits, zero.Logits(x.Vector)), append(wanted, has)
		}
		p.set(int64(x.Index+1), int64(len(d.Samples)))
	}
	if len(logits) == 0 {
		return zero, nil // which says why none can be read
	}
	var err error
	if e.bias, err = zeroshot.FitBias(logits, wanted); err != nil {
		return nil, err
	}
	return &encoded{zero.WithBias(e.bias), all}, nil
}

// encoded is a classifier of pictures that are encoded already, in their order.
type encoded struct {
	*zeroshot.Classifier
	all []clip.Encoded
}

func (e *encoded) ClassifyAll(context.Context, iter.Seq[clip.Picture], clip.StreamOptions) iter.Seq2[clip.Classified, error] {
	return func(yield func(clip.Classified, error) bool) {
		for _, x := range e.all {
			c := clip.Classified{Index: x.Index, Name: x.Name, Err: x.Err}
			if x.Err == nil {
				c.Labels = e.Rank(x.Vector)
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// open opens the model, and its head if that is to judge. For zero-shot it finds the labels, of which d gets its classes.
func (e *examination) open(cmd *cobra.Command, d *data.Dataset) (*clip.Model, clip.Classifier, error) {
	ctx, f := cmd.Context(), cmd.Flags()
	given := e.given()
	if !given {
		tuned, err := finetune.Open(ctx, e.model, e.options()...)
		if err == nil {
			for _, name := range textFlags {
				if f.Changed(name) {
					return nil, nil, errors.Join(tuned.Close(), usagef("--%s goes with --labels or --labels-file: %s has a head, which knows its classes", name, e.model))
				}
			}
			return tuned.Model(), tuned, nil
		}
		if !errors.Is(err, finetune.ErrNoHead) {
			return nil, nil, err
		}
	}
	m, err := clip.Open(e.model, e.options()...)
	if err != nil {
		return nil, nil, err
	}
	if !given && !m.HasText() {
		return nil, nil, errors.Join(m.Close(), fmt.Errorf("%s has neither a head, nor a text tower for labels: it can tell no classes apart", e.model))
	}
	if err := e.findLabels(cmd.InOrStdin(), d, given); err != nil {
		return nil, nil, errors.Join(m.Close(), err)
	}
	return m, nil, nil
}

// spaced returns the name of a class as one writes it.
func spaced(class string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(class, "_", " ")), " ")
}

// findLabels reads the labels, or takes them from the classes of d, and gives these the names of their labels.
func (e *examination) findLabels(stdin io.Reader, d *data.Dataset, given bool) error {
	label := make([]string, len(d.Classes)) // of each class
	apart := -1                             // the class of pictures that are none of the labels
	if e.refuses() {
		apart = slices.Index(d.Classes, e.none)
	}
	if !given {
		e.labels = nil
		of := map[string]string{}
		for i, c := range d.Classes {
			if i == apart {
				continue
			}
			label[i] = spaced(c)
			if before, twice := of[label[i]]; twice || label[i] == "" {
				return usagef("%s: the classes %q and %q are one label, %q: give --labels-file with lines of CLASS, a tab, and LABEL", e.data, before, c, label[i])
			}
			of[label[i]] = c
			e.labels = append(e.labels, label[i])
		}
		if len(e.labels) < e.fewest() {
			if len(e.labels) == 0 {
				return usagef("%s has no class but %q: give --labels", e.data, e.none)
			}
			return usagef("%s has one class, %q, and no picture could be wrong: give --labels with those that it may be mistaken for", e.data, of[e.labels[0]])
		}
	} else {
		from, lines, err := givenLines("labels-file", e.labelsFile, e.labels, stdin)
		if e.promptsFile != "" {
			if err = e.readPrompts(stdin); err == nil {
				from = e.promptsFile + ": "
				for _, l := range e.prompts {
					lines = append(lines, line{text: l.Name})
				}
			}
		}
		if err != nil {
			return err
		}
		classes := slices.Clone(d.Classes)
		if apart >= 0 {
			classes = slices.Delete(classes, apart, apart+1)
		}
		found := make([]string, len(classes))
		if err := e.matchLabels(from, lines, classes, found); err != nil {
			return err
		}
		if apart >= 0 {
			found = slices.Insert(found, apart, "")
		}
		copy(label, found)
	}
	if apart >= 0 {
		label[apart] = e.none
	}
	d.Classes = label
	return e.readTemplates(stdin)
}

// matchLabels sets the labels to those of lines, and finds that of each class.
func (e *examination) matchLabels(from string, lines []line, classes, label []string) error {
	e.labels = nil
	first, named := map[string]int{}, map[string]string{} // where a label is, and the label of a class
	for i, l := range lines {
		class, text, tabbed := strings.Cut(l.text, "\t")
		if class, text = strings.TrimSpace(class), strings.TrimSpace(text); !tabbed || e.labelsFile == "" {
			class, text = "", strings.TrimSpace(l.text)
		}
		if text == "" {
			return usagef("%slabel %d of %d is empty", from, i+1, len(lines))
		}
		if before, twice := first[text]; twice {
			return usagef("%sthe label %q is given twice, as number %d and %d", from, text, before+1, i+1)
		}
		if before, twice := named[class]; twice && class != "" {
			return usagef("%sthe class %q has two labels, %q and %q", from, class, before, text)
		}
		first[text], named[class] = i, text
		e.labels = append(e.labels, text)
	}
	if len(e.labels) < e.fewest() {
		return usagef("%sgot %d labels, want at least %d", from, len(e.labels), e.fewest())
	}
	var missing []string
	for i, c := range classes {
		_, whole := first[c]
		_, apart := first[spaced(c)]
		switch text, ok := named[c]; {
		case ok && c != "":
			label[i] = text
		case whole:
			label[i] = c
		case apart:
			label[i] = spaced(c)
		default:
			missing = append(missing, c)
		}
	}
	if len(missing) == len(classes) && e.byNumber(classes, label) {
		missing = nil
	}
	if missing != nil {
		return usagef("%s%d of the %d classes of %s have no label: %s; want one of these names, or a line of --labels-file with CLASS, a tab, and LABEL; the %d labels are %s",
			from, len(missing), len(classes), e.data, fewOf(missing), len(e.labels), fewOf(e.labels))
	}
	of := map[string]string{}
	for i, c := range classes {
		if before, twice := of[label[i]]; twice {
			return usagef("%sthe classes %q and %q have one label, %q", from, before, c, label[i])
		}
		of[label[i]] = c
	}
	return nil
}

// byNumber gives classes that are numbers the labels at these places, from 0, or says that they are none.
func (e *examination) byNumber(classes, label []string) bool {
	for i, c := range classes {
		n, err := strconv.Atoi(c)
		if err != nil || n < 0 || n >= len(e.labels) || strconv.Itoa(n) != c {
			return false
		}
		label[i] = e.labels[n]
	}
	return true
}

// fewOf writes the first names of a list.
func fewOf(names []string) string {
	const shown = 5 // enough to see how they are written
	var quoted []string
	for _, n := range names[:min(len(names), shown)] {
		quoted = append(quoted, fmt.Sprintf("%.60q", n))
	}
	s := strings.Join(quoted, ", ")
	if n := len(names) - shown; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// write writes the directory, and prints what was found, which is not lost with that.
func (e *examination) write(ctx context.Context, w io.Writer, r *evaluation.Result, d *data.Dataset, by string) error {
	facts := [][2]string{{"model", e.model}, {"data", e.data}, {"classifier", by}}
	title := "Evaluation of " + e.model
	object, err := e.object(r, by)
	if err != nil {
		return err
	}
	files := evaluation.Files{}
	if e.output != "" {
		page := r.Page(title, facts, r.Files())
		if err = e.writeDir(ctx, r, d, page, object); err == nil {
			files = r.Files().Below(filepath.ToSlash(e.output))
		}
	}
	out := object
	if !e.json {
		out = []byte(r.Page(title, facts, files))
	}
	_, werr := w.Write(out)
	return errors.Join(err, werr)
}

// writeDir writes the directory.
func (e *examination) writeDir(ctx context.Context, r *evaluation.Result, d *data.Dataset, page string, object []byte) error {
	if err := e.mayWrite(); err != nil { // what has come there since
		return err
	}
	return folder.WithParents(e.output, func() error {
		return folder.WriteDir(e.output, true, func(dir string) error {
			return errors.Join(
				r.Write(ctx, dir, d, e.prepare.EXIF),
				folder.WriteBytes(filepath.Join(dir, report.PageFile), []byte(page)),
				folder.WriteBytes(filepath.Join(dir, evaluationFile), object),
			)
		})
	})
}

// object returns what was found as JSON, a line.
func (e *examination) object(r *evaluation.Result, by string) ([]byte, error) {
	found, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var bias *float64 // 0 is one, too
	if e.multi {
		bias = &e.bias
	}
	head, err := json.Marshal(struct {
		Model      pyjson.Name `json:"model"`
		Data       pyjson.Name `json:"data"`
		Classifier string      `json:"classifier"`
		Bias       *float64    `json:"bias,omitempty"`
	}{pyjson.Name(e.model), pyjson.Name(e.data), by, bias})
	if err != nil {
		return nil, err
	}
	// One object of both.
	return bytes.Join([][]byte{bytes.TrimSuffix(head, []byte("}")), append(bytes.TrimPrefix(found, []byte("{")), '\n')}, []byte(",")), nil
}
