package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
)

// noVocabulary says how to come by a tokenizer; %s is the model.
const noVocabulary = `%s has no vocabulary (vocab.json and merges.txt), which no weights hold:
give --vocab FILE, OpenAI's list of merges, or a folder with these two files, or convert with it:
  curl -LO https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz
  vitago convert --vocab bpe_simple_vocab_16e6.txt.gz models/ViT-L-14-336px.pt models/vit-l-14-336`

// place is where a template has the label.
const place = "{}"

// classifyBatch is how many images are encoded together, as by default in encode.
const classifyBatch = 4

// A classification is what the flags of classify ask for.
type classification struct {
	model      string
	activation clipvit.Activation // "" is what the model says
	vocab      string             // "" is the model's directory
	labels     []string
	templates  []string
	json       bool
}

func newClassify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "classify --model DIR --labels A,B,... [flags] IMAGE|DIR|GLOB|-...",
		Short: "Say which of some labels fits an image best, without training",
		Long: `Classify says of each image how well each label fits it, as CLIP does without training (zero-shot):
every label is put into a template, the text tower makes an embedding of that, and the cosines with
the embedding of the image, times the scale that the model has learnt, go through softmax. Labels that
are not given do not count: one of them always fits best.

With several templates, a label's embedding is the mean of theirs, each of length 1, as OpenAI does it
for its results on ImageNet.

The model must have a text tower (not converted with --vision-only) and a vocabulary: the vocab.json
and merges.txt that "vitago convert --vocab" writes, or --vocab.

It prints the name of each image and its labels, the best first. --json prints an object a line:
  {"image":"cat.jpg","labels":[{"label":"cat","probability":0.9,"cosine":0.27},...]}`,
		Example: `  vitago classify --model models/vit-l-14-336 --labels cat,dog,bird photo.jpg
  vitago classify --model models/vit-l-14-336 --labels "sunny,raining,\"dark, at night\"" --template "a photo taken when it is {}." *.jpg
  vitago classify --model ViT-L-14-336px.pt --vocab bpe_simple_vocab_16e6.txt.gz --labels cat,dog --json photos/`,
		Args: wantArgs(1, math.MaxInt, "at least one IMAGE"),
	}
	var c classification
	f := cmd.Flags()
	f.StringVar(&c.model, "model", "", "model directory or checkpoint `DIR`")
	activation := activationFlag(cmd)
	f.StringVar(&c.vocab, "vocab", "", "OpenAI's list of merges, or a folder with vocab.json and merges.txt, `FILE`; without it, that of the model")
	f.StringSliceVar(&c.labels, "labels", nil, "what an image may be, with commas between, `A,B,...`; quote one that has a comma")
	f.StringArrayVar(&c.templates, "template", []string{"a photo of a {}."}, "the `TEXT` that a label stands in, at {}; may be given several times")
	f.BoolVar(&c.json, "json", false, "print JSON, an object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.activation = clipvit.Activation(activation.value)
		if err := c.check(); err != nil {
			return err
		}
		return c.run(cmd, args)
	}
	return cmd
}

// check finds what can be wrong with the flags together.
func (c *classification) check() error {
	switch err := checkModel(c.model); {
	case err != nil:
		return err
	case len(c.labels) < 2:
		return usagef("got %d labels, want at least 2: --labels cat,dog", len(c.labels))
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

func (c *classification) run(cmd *cobra.Command, args []string) error {
	ctx, log, w := cmd.Context(), cmd.ErrOrStderr(), cmd.OutOrStdout()
	images, err := expandImages(args, false)
	if err != nil {
		return err
	}
	tokenizer, err := readTokenizer(c.model, c.vocab)
	if err != nil {
		return err
	}
	p := startProgress(log, "loading "+c.model, megabytes)
	m, err := await(ctx, func() (*zeroShot, error) { return c.load() })
	p.stop()
	if err != nil {
		return err
	}
	p = startProgress(log, "encoding labels", count)
	texts, err := await(ctx, func() ([][]float64, error) { return c.encodeLabels(m.text, tokenizer) })
	p.stop()
	if err != nil {
		return err
	}

	if _, ok := terminal(w); ok {
		log = io.Discard // the lines themselves are the progress
	}
	p = startProgress(log, "encoding", count)
	defer p.stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	size := min(classifyBatch, len(images))
	pictures := prepare(ctx, images, cmd.InOrStdin(), preprocess(m.vision.Config), size)
	for n := 0; n < len(images); {
		batch, err := nextBatch(ctx, pictures, size)
		if err != nil {
			return err
		}
		embeddings, err := await(ctx, func() ([]float32, error) { return m.embed(batch) })
		if err != nil {
			return err
		}
		for i, e := range slices.Collect(slices.Chunk(embeddings, m.vision.Config.OutputDim())) {
			labels := rank(c.labels, e, texts, m.text.Scale())
			if best := labels[0].Probability; !(best > 0) {
				return fmt.Errorf("%s: the probability of a label is %v, want a number: the model's weights are damaged or too large", batch[i].name, best)
			}
			if err := c.write(w, batch[i].name, labels); err != nil {
				return err
			}
		}
		n += len(batch)
		p.set(int64(n), int64(len(images)))
	}
	return nil
}

// readTokenizer reads the vocabulary that was named, or that of the model's directory.
func readTokenizer(model, vocab string) (*cliptext.Tokenizer, error) {
	if vocab == "" {
		vocab = model
		if _, err := os.Stat(filepath.Join(model, "vocab.json")); err != nil {
			if _, err := os.Stat(model); err != nil {
				return nil, err // about the model
			}
			return nil, verbatim(fmt.Sprintf(noVocabulary, model))
		}
	}
	return cliptext.ReadTokenizer(vocab)
}

// A zeroShot is a CLIP with both towers.
type zeroShot struct {
	vision *clipvit.Model
	text   *cliptext.Model
}

func (c *classification) load() (*zeroShot, error) {
	checkpoint, err := converter.Open(c.model)
	if err != nil {
		return nil, err
	}
	defer checkpoint.Close()
	checkpoint.Assume(c.activation)
	m := &zeroShot{}
	if m.text, err = converter.LoadTextCheckpoint(checkpoint); err != nil {
		return nil, err
	}
	m.vision, err = converter.LoadCheckpoint(checkpoint)
	return m, err
}

// encodeLabels returns the embeddings of the labels, of length 1.
func (c *classification) encodeLabels(m *cliptext.Model, tokenizer *cliptext.Tokenizer) ([][]float64, error) {
	if n := tokenizer.Len(); n > m.Config.Vocab || tokenizer.End() != m.Config.End {
		return nil, fmt.Errorf("the vocabulary has %d words, the last of a text %d; the text tower has %d, the last %d: they are not of one model",
			n, tokenizer.End(), m.Config.Vocab, m.Config.End)
	}
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

// embed returns the embeddings of pictures, one after the other.
func (m *zeroShot) embed(batch []picture[patches]) ([]float32, error) {
	c := m.vision.Config
	var all []float32 // [B·G²,3P²]
	for _, p := range batch {
		if p.err != nil {
			return nil, p.err
		}
		all = append(all, mat.Data[float32](p.of)...)
	}
	x := mat.NewDense[float32](mat.WithShape(len(batch)*c.Patches(), c.PatchLen()), mat.WithBacking(all))
	return mat.Data[float32](m.vision.Embedding(x).Value().(mat.Matrix)), nil // [B,E]
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
	Cosine      float64 `json:"cosine"`
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
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.Probability, a.Probability) })
	return all
}

// write prints what was found of an image.
func (c *classification) write(w io.Writer, image string, labels []ranked) error {
	var b bytes.Buffer
	if c.json {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(struct {
			Image  string   `json:"image"`
			Labels []ranked `json:"labels"`
		}{image, labels})
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintln(&b, image)
		for _, l := range labels {
			fmt.Fprintf(&b, "%8.2f %%  %s\n", 100*l.Probability, l.Label)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
