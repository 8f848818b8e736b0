package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/nlpodyssey/spago/mat"
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/pyjson"
)

// noVocabulary says how to come by a tokenizer; %s is the model.
const noVocabulary = `%s has no vocabulary (tokenizer.json, or vocab.json and merges.txt), which no weights hold,
and not as many tokens as OpenAI's, which vitago brings along: give --vocab FILE, the model's tokenizer.json,
a list of merges, or a folder with its tokenizer, or put these files beside the model`

// place is where a template has the label.
const place = "{}"

// classifyBatch is how many images are encoded together, as by default in encode.
const classifyBatch = 4

// A classification is what the flags of classify ask for.
type classification struct {
	model      string
	activation transformer.Activation // "" is what the model says
	vocab      string                 // "" is the model's directory
	labels     []string
	templates  []string
	json       bool
	prepare    clipvit.Choice
}

func newClassify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify --model DIR [--labels A,B,...] [flags] IMAGE|DIR|GLOB|-...",
		Short: "Say which of some labels fits an image best: any, without training, or those of a trained head",
		Long: `Classify says of each image how well each label fits it, as CLIP does without training (zero-shot):
every label is put into a template, the text tower makes an embedding of that, and the cosines with
the embedding of the image, times the scale that the model has learnt, go through softmax. Labels that
are not given do not count: one of them always fits best.

With several templates, a label's embedding is the mean of theirs, each of length 1, as OpenAI does it
for its results on ImageNet.

The model must have a text tower (not converted with --vision-only). The tokenizer is the one beside it,
or OpenAI's where there is none, unless --vocab says otherwise. A text gets the ids that the model's own
library gives it: OpenAI's, OpenCLIP or transformers.

Without --labels it is the head that says the class, which "vitago finetune" has trained and put into
OUT/model: give that as the model. No text tower is needed for this. It may also be the classifier that the
checkpoint itself has: transformers' CLIPForImageClassification, or a tower that timm has tuned.

It prints the name of each image and its labels, the best first. --json prints an object a line:
  {"image":"cat.jpg","labels":[{"label":"cat","probability":0.9,"cosine":0.27},...]}
where a head has no cosines.`,
		Example: `  vitago classify --model models/vit-l-14-336 --labels cat,dog,bird photo.jpg
  vitago classify --model models/vit-l-14-336 --labels "sunny,raining,\"dark, at night\"" --template "a photo taken when it is {}." *.jpg
  vitago classify --model tuned/model photo.jpg
  vitago classify --model ViT-L-14-336px.pt --labels cat,dog --json photos/
  vitago classify --model ViT-L-14-336px.pt --labels "$(cat labels.txt)" photo.jpg`,
		Args: wantArgs(1, math.MaxInt, "at least one IMAGE"),
	}
	var c classification
	f := cmd.Flags()
	f.StringVar(&c.model, "model", "", "`DIR` or file of the checkpoint")
	activation := activationFlag(cmd)
	f.StringVar(&c.vocab, "vocab", "", "`FILE` of merges as OpenAI's, tokenizer.json, or a folder with a tokenizer (default: the model's, or OpenAI's)")
	f.Var((*labelList)(&c.labels), "labels", "labels `A,B,...` that an image may have, in one line or several; quote one that has a comma (default: the classes of the model's head)")
	f.StringArrayVar(&c.templates, "template", []string{"a photo of a {}."}, "`TEXT` in which {} becomes the label; may be given several times")
	prepared := preprocessFlags(cmd, true)
	f.BoolVar(&c.json, "json", false, "print JSON, an object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.activation, c.prepare = transformer.Activation(activation.value), prepared()
		if err := checkModel(cmd, &c.model); err != nil {
			return err
		}
		if c.labels == nil && (probe.HasHead(c.model) || hasClassifier(c.model)) {
			for _, name := range []string{"template", "vocab"} {
				if f.Changed(name) {
					return usagef("--%s goes with --labels: a head knows its classes", name)
				}
			}
			return c.run(cmd, args, c.loadHead)
		}
		if err := c.check(); err != nil {
			return err
		}
		return c.run(cmd, args, c.loadZeroShot)
	}
	return cmd
}

// A labelList is the labels of one flag or several: lines of values with commas between them, as in a CSV file. Lines without a label, and
// commas at the end of one that is not the last, are of the form of a list, and no labels.
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
func (c *classification) check() error {
	switch len(c.labels) {
	case 0:
		if isThere(c.model, "head.safetensors") {
			return usagef("the head in %s has no classes.json, by which it would be one of ours: give --labels cat,dog, or write the classes beside it", c.model)
		}
		return usagef("got 0 labels, want at least 2: --labels cat,dog, or a model with a head that finetune has trained")
	case 1:
		return usagef("got 1 label, want at least 2: --labels cat,dog")
	}
	for i, l := range c.labels {
		c.labels[i] = strings.TrimSpace(l)
		if c.labels[i] == "" {
			return usagef("label %d of %d is empty", i+1, len(c.labels))
		}
		if slices.Contains(c.labels[:i], c.labels[i]) {
			return usagef("the label %q is given twice", c.labels[i])
		}
	}
	for _, t := range c.templates {
		if !strings.Contains(t, place) {
			return usagef("--template %q has no %s, where the label stands", t, place)
		}
	}
	return nil
}

// A judge says how well labels fit pictures.
type judge struct {
	vision *clipvit.Model
	labels func(patches mat.Tensor) ([][]ranked, error) // the best first, for each picture of patches [B·G²,3P²]
}

// run classifies images by a judge that is loaded first.
func (c *classification) run(cmd *cobra.Command, args []string, load func(ctx context.Context, log io.Writer) (*judge, error)) error {
	ctx, log, w := cmd.Context(), cmd.ErrOrStderr(), cmd.OutOrStdout()
	images, err := expandImages(cmd.ErrOrStderr(), args, false)
	if err != nil {
		return err
	}
	m, err := load(ctx, log)
	if err != nil {
		return err
	}
	if _, ok := terminal(w); ok {
		log = io.Discard // the lines themselves are the progress
	}
	p := startProgress(log, "encoding", count)
	defer p.stop()
	n, size := 0, min(classifyBatch, len(images))
	for batch, err := range prepare(ctx, images, cmd.InOrStdin(), preprocess(m.vision.Config), size) {
		if err != nil {
			return err
		}
		labels, err := await(ctx, func() ([][]ranked, error) { return m.of(batch) })
		if err != nil {
			return err
		}
		for i, l := range labels {
			if best := l[0].Probability; !(best > 0) {
				return fmt.Errorf("%s: the probability of a label is %v, want a number: the model's weights are damaged or too large", batch[i].name, best)
			}
			if err := c.write(w, batch[i].name, l); err != nil {
				return err
			}
		}
		n += len(batch)
		p.set(int64(n), int64(len(images)))
	}
	return nil
}

// of returns the labels of pictures, the best first.
func (j *judge) of(batch []*picture[patches]) ([][]ranked, error) {
	c := j.vision.Config
	var all []float32 // [B·G²,3P²]
	for _, p := range batch {
		if p.err != nil {
			return nil, p.err
		}
		all = append(all, mat.Data[float32](p.of)...)
	}
	return j.labels(mat.NewDense[float32](mat.WithShape(len(batch)*c.Patches(), c.PatchLen()), mat.WithBacking(all)))
}

// load loads what c's model is read into by a function.
func (c *classification) load(ctx context.Context, log io.Writer, read func(*converter.Model) error) error {
	p := startProgress(log, "loading "+c.model, megabytes)
	defer p.stop()
	_, err := await(ctx, func() (struct{}, error) {
		m, err := converter.Open(c.model, converter.Assume(c.activation), converter.Prepare(c.prepare))
		if err != nil {
			return struct{}{}, err
		}
		defer m.Close()
		return struct{}{}, read(m)
	})
	return err
}

// loadHead loads a tower and the head that was trained on it.
func (c *classification) loadHead(ctx context.Context, log io.Writer) (*judge, error) {
	var (
		head   *probe.Head
		vision *clipvit.Model
		err    error
	)
	if probe.HasHead(c.model) {
		if head, err = probe.LoadHead(c.model); err != nil {
			return nil, err
		}
	}
	if err := c.load(ctx, log, func(m *converter.Model) (err error) {
		if head == nil {
			if head, err = probe.HeadOf(ctx, m); err != nil {
				return err
			}
		}
		vision, err = m.Vision(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	if err := head.Fits(vision.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", c.model, err)
	}
	return &judge{vision, func(patches mat.Tensor) (all [][]ranked, err error) {
		x, err := head.Features.Of(vision, patches) // [B,D]
		if err != nil {
			return nil, err
		}
		for p := range slices.Chunk(head.Predict(mat.Data[float32](x.Value().(mat.Matrix))), len(head.Classes)) {
			labels := make([]ranked, len(p))
			for i, v := range p {
				labels[i] = ranked{Label: head.Classes[i], Probability: v}
			}
			all = append(all, sorted(labels))
		}
		return all, nil
	}}, nil
}

// hasClassifier says whether a checkpoint has a classifier among its tensors, as CLIPForImageClassification of transformers has. What cannot be
// read has none: what is wrong with it is said where it is loaded.
func hasClassifier(model string) bool {
	m, err := converter.Open(model)
	if err != nil {
		return false
	}
	defer m.Close()
	return m.HasClassifier()
}

// adviseVocabulary tells how to come by the vocabulary that the model lacks, if that is what err says.
func adviseVocabulary(err error, model string) error {
	if errors.Is(err, cliptext.ErrVocabulary) {
		return verbatim(fmt.Sprintf(noVocabulary, model))
	}
	return err
}

// loadZeroShot loads both towers of a CLIP, and encodes the labels.
func (c *classification) loadZeroShot(ctx context.Context, log io.Writer) (*judge, error) {
	var text *cliptext.Model
	var vision *clipvit.Model
	var tokenizer *cliptext.Tokenizer
	var assumed bool // that a directory without a tokenizer has OpenAI's
	if err := c.load(ctx, log, func(m *converter.Model) (err error) {
		if tokenizer, assumed, err = m.Tokenizer(c.vocab); err != nil {
			return adviseVocabulary(err, c.model)
		}
		if text, err = m.Text(ctx); err == nil {
			vision, err = m.Vision(ctx)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if assumed && tokenizer.Rules() == cliptext.Transformers {
		fmt.Fprintf(log, "%s brings no tokenizer: OpenAI's is taken\n", c.model)
	}
	p := startProgress(log, "encoding labels", count)
	texts, err := await(ctx, func() ([][]float64, error) { return c.encodeLabels(text, tokenizer) })
	p.stop()
	if err != nil {
		return nil, err
	}
	return &judge{vision, func(patches mat.Tensor) (all [][]ranked, err error) {
		x := mat.Data[float32](vision.Embedding(patches).Value().(mat.Matrix)) // [B,E]
		for e := range slices.Chunk(x, vision.Config.OutputDim()) {
			all = append(all, rank(c.labels, e, texts, text.Scale()))
		}
		return all, nil
	}}, nil
}

// encodeLabels returns the embeddings of the labels, of length 1.
func (c *classification) encodeLabels(m *cliptext.Model, tokenizer *cliptext.Tokenizer) ([][]float64, error) {
	var prompts []string // of each label all templates
	for _, label := range c.labels {
		for _, t := range c.templates {
			prompts = append(prompts, strings.ReplaceAll(t, place, label))
		}
	}
	words, err := tokenizer.Tokenize(prompts, m.Config.Context, false)
	if err != nil {
		return nil, err
	}
	y, err := m.Forward(words) // [labels·templates,E]
	if err != nil {
		return nil, err
	}
	all := mat.Data[float32](y.Value().(mat.Matrix))
	var embeddings [][]float64
	for of := range slices.Chunk(all, len(c.templates)*m.Config.EmbedDim) {
		mean := make([]float64, m.Config.EmbedDim)
		for e := range slices.Chunk(of, m.Config.EmbedDim) {
			for i, v := range unit(e) {
				mean[i] += v
			}
		}
		embeddings = append(embeddings, unit(mean))
	}
	return embeddings, nil
}

// unit returns x divided by its length.
func unit[T float32 | float64](x []T) []float64 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v) / math.Sqrt(sum)
	}
	return y
}

// A ranked label is how well it fits an image.
type ranked struct {
	Label       string  `json:"label"`
	Probability float64 `json:"probability"`
	Cosine      float64 `json:"cosine,omitzero"` // which a head has none of
}

// sorted returns labels, the most probable first, and those as probable in their order.
func sorted(labels []ranked) []ranked {
	slices.SortStableFunc(labels, func(a, b ranked) int { return cmp.Compare(b.Probability, a.Probability) })
	return labels
}

// rank returns the labels, the best first, for the embedding of an image and those of the labels, of length 1.
//
// Source: openai/CLIP, clip/model.py, CLIP.forward, and its README.md.
func rank(labels []string, image []float32, texts [][]float64, scale float64) []ranked {
	x := unit(image)
	all := make([]ranked, len(labels))
	peak, total := math.Inf(-1), 0.0
	for i, t := range texts {
		all[i].Label = labels[i]
		for j, v := range t {
			all[i].Cosine += v * x[j]
		}
		peak = max(peak, scale*all[i].Cosine)
	}
	for i := range all {
		all[i].Probability = math.Exp(scale*all[i].Cosine - peak)
		total += all[i].Probability
	}
	for i := range all {
		all[i].Probability /= total
	}
	return sorted(all)
}

// write prints what was found of an image.
func (c *classification) write(w io.Writer, image string, labels []ranked) error {
	var b bytes.Buffer
	if c.json {
		var name any = image
		if !utf8.ValidString(image) {
			name = pyjson.Name(image)
		}
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(struct {
			Image  any      `json:"image"`
			Labels []ranked `json:"labels"`
		}{name, labels})
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintln(&b, oneLine(image))
		for _, l := range labels {
			fmt.Fprintf(&b, "%8.2f %%  %s\n", 100*l.Probability, oneLine(l.Label))
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
