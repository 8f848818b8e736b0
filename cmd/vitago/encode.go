package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/spago/mat"
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
)

// maxBatch bounds the activations: those of ViT-L/14-336 take 45 MB an image.
const maxBatch = 64

// An encoding is what the flags of encode ask for.
type encoding struct {
	model      string
	activation transformer.Activation // "" is what the model says
	features   clipvit.Features
	normalize  bool
	format     string
	output     string // "" is standard output
	batch      int
	skipErrors bool
	precision  string // f32 or int8
	prepare    clipvit.Choice
}

func newEncode() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "encode --model DIR [flags] IMAGE|DIR|GLOB|-...",
		Short: "Turn images into features",
		Long: `Encode turns images into features, one after the other in the order of the arguments: a file is
always tried; of a folder, the JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM and QOI files in it and all folders in it
are taken, sorted, but not hidden ones; - is one image on standard input. Links are followed. Pictures of
other formats, such as HEIC, are counted and named on standard error.

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
  jsonl        {"image":"a.jpg","embedding":[...]} a line; other features under their own names. A byte
               of a file's name that is no UTF-8 is \udc80 to \udcff, as Python writes and reads it
  npy          float32, C order, one row per image: [N,E] or [N,T,C]
  safetensors  float32, one tensor with the name of the feature; its metadata has the file names as
               a JSON list, "images"
Without --format the extension of FILE decides; without FILE it is jsonl. FILE appears complete or
not at all; folders above it are made.

--precision int8 rounds the weights of the blocks, and what enters a product, to 8 bits: the embedding
then has a cosine of about 0.9996 with that of float32, in place of six equal digits, and with AMX or
VNNI it takes a fraction of the time. "vitago version" says which instruction there is.

An image that cannot be read ends it with status 1. With --skip-errors all others are encoded, and
the status is 1 in the end: the image has an "error" in place of features, or a row of NaN.`,
		Example: `  vitago encode --model models/vit-l-14-336 photo.jpg
  vitago encode --model models/vit-l-14-336 --normalize -o photos.npy photos/
  vitago encode --model models/vit-l-14-336 --features patches --layer -2 -o llava.safetensors *.png
  curl -s https://example.com/cat.jpg | vitago encode --model models/vit-l-14-336 -`,
		Args: wantArgs(1, math.MaxInt, "at least one IMAGE"),
	}
	var e encoding
	f := cmd.Flags()
	f.StringVar(&e.model, "model", "", "`DIR` or file of the checkpoint")
	activation := activationFlag(cmd)
	features := choiceFlag(cmd, "features", string(clipvit.Embedding), "what to write",
		string(clipvit.Embedding), string(clipvit.PostNorm), string(clipvit.ClassToken), string(clipvit.Patches), string(clipvit.AllTokens))
	f.IntVar(&e.features.Layer, "layer", -1, "layer of cls, patches or all")
	f.BoolVar(&e.normalize, "normalize", false, "divide every vector by its length")
	format := choiceFlag(cmd, "format", "", "how to write it", formatNames...)
	f.StringVarP(&e.output, "output", "o", "", "write to `FILE`, in place of standard output")
	f.IntVar(&e.batch, "batch", 4, "images that are encoded together; more is faster for small models only")
	precision := choiceFlag(cmd, "precision", "f32", "of the products' weights and operands", "f32", "int8")
	prepared := preprocessFlags(cmd, true)
	f.BoolVar(&e.skipErrors, "skip-errors", false, "go on after an image that cannot be read")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		e.features.Kind, e.format, e.precision, e.activation = clipvit.FeatureKind(features.value), format.value, precision.value, transformer.Activation(activation.value)
		e.prepare = prepared()
		if e.output == stdinName {
			e.output = ""
		}
		if err := e.check(cmd); err != nil {
			return err
		}
		return e.run(cmd, args)
	}
	return cmd
}

// check finds what can be wrong with the flags together.
func (e *encoding) check(cmd *cobra.Command) error {
	switch {
	case !e.features.HasLayer() && cmd.Flags().Changed("layer"):
		return usagef("--layer %d: an embedding has no layer, nor has post_norm; give --features cls, patches or all", e.features.Layer)
	case e.batch < 1 || e.batch > maxBatch:
		return usagef("--batch is %d, want 1 to %d", e.batch, maxBatch)
	}
	if !e.features.HasLayer() {
		e.features.Layer = 0
	}
	if err := chooseFormat(cmd, &e.format, e.output, formatNames); err != nil {
		return err
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
	images, err := expandImages(cmd.ErrOrStderr(), args, e.skipErrors)
	if err != nil {
		return err
	}
	dst, err := createOutput(cmd, e.output)
	if err != nil {
		return err
	}
	defer dst.discard()

	if e.precision == "int8" && !clipvit.Int8Pays() {
		fmt.Fprintln(log, "note: this processor is not faster with int8 than with float32")
	}
	p := startProgress(log, "loading "+e.model, megabytes)
	m, err := await(ctx, func() (*clipvit.Model, error) { return e.load(ctx) })
	loaded := p.stop()
	if err != nil {
		return err
	}
	spec, err := e.spec(m.Config, images)
	if err != nil {
		return err
	}
	out, err := formats[e.format](dst.w, spec)
	if err != nil {
		return err
	}

	if _, ok := terminal(dst.w); ok {
		log = io.Discard // the lines themselves are the progress
	}
	p = startProgress(log, "encoding", count)
	skipped, err := e.encode(ctx, m, spec, cmd.InOrStdin(), out, func(n int) { p.set(int64(n), int64(len(images))) })
	elapsed := p.stop()
	for _, s := range skipped {
		fmt.Fprintf(failures(cmd), "skipped: %s\n", plain(s))
	}
	if err == nil {
		err = dst.commit()
	}
	if err != nil {
		return err
	}
	if dst.file != nil {
		fmt.Fprintf(log, "%s: %s %s of %d images in %s, after %s of loading\n", e.output, e.features.Kind,
			shape(append([]int{len(images)}, spec.shape...)), len(images), seconds(elapsed), seconds(loaded))
	}
	return unread(len(skipped), len(images))
}

// unread returns an error if images were skipped.
func unread(skipped, images int) error {
	if skipped > 0 {
		return fmt.Errorf("%d of %d images could not be read", skipped, images)
	}
	return nil
}

// load reads the model.
func (e *encoding) load(ctx context.Context) (*clipvit.Model, error) {
	c, err := converter.Open(e.model, converter.Assume(e.activation), converter.Prepare(e.prepare))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m, err := c.Vision(ctx)
	if err == nil && e.precision == "int8" {
		m.Quantize()
	}
	return m, err
}

// spec says what a model of configuration c makes of the images.
func (e *encoding) spec(c clipvit.Config, images []string) (s outputSpec, err error) {
	if e.features.Kind == clipvit.Embedding && c.EmbedDim == 0 {
		e.features.Kind = clipvit.PostNorm // by its name
	}
	s = outputSpec{feature: string(e.features.Kind), images: images, extra: map[string]string{
		"normalized": strconv.FormatBool(e.normalize), "precision": e.precision,
	}}
	if !e.features.HasLayer() && c.NoPostNorm { // whatever it is called
		return s, usagef("%s has no post-norm and so no embedding; give --features cls, patches or all", e.model)
	}
	if n := 1 + c.Layers; e.features.Layer < -n || e.features.Layer >= n {
		return s, usagef("--layer is %d, want %d to %d for this model", e.features.Layer, -n, n-1)
	}
	if e.features.HasLayer() {
		s.extra["layer"] = strconv.Itoa(e.features.Layer)
	}
	s.shape, err = e.features.Shape(c)
	return s, err
}

// encode writes the features of all images to out, decoding the images of the next batch while
// those of this one are encoded. It says how many are done, and returns the errors of the images
// that were skipped.
func (e *encoding) encode(ctx context.Context, m *clipvit.Model, s outputSpec, stdin io.Reader, out sink, done func(n int)) (skipped []error, err error) {
	n, size := 0, min(e.batch, len(s.images))
	all := make([]float32, 0, size*m.Config.Patches()*m.Config.PatchLen()) // [B·G²,3P²]
	for batch, err := range prepare(ctx, s.images, stdin, preprocess(m.Config), size) {
		if err != nil {
			return skipped, err
		}
		all = all[:0]
		for _, p := range batch {
			switch {
			case p.err == nil:
				all = append(all, mat.Data[float32](p.of)...)
			case e.skipErrors:
				skipped = append(skipped, p.err)
			default:
				return skipped, p.err
			}
		}
		x, err := await(ctx, func() ([]float32, error) { return e.compute(m, all) })
		if err != nil {
			return skipped, err
		}
		for _, p := range batch {
			if p.err != nil {
				err = out.fail(p.name, p.err)
			} else {
				y := x[:s.len()]
				x = x[s.len():]
				// A row of NaN stands for an image that was skipped: no other may be written.
				if err := finite(p.name, string(e.features.Kind), y); err != nil {
					return skipped, err
				}
				err = out.write(p.name, y)
			}
			if err != nil {
				return skipped, err
			}
		}
		if err := out.flush(); err != nil {
			return skipped, err
		}
		n += len(batch)
		done(n)
	}
	return skipped, nil
}

// finite returns an error if a value of what was made of an image is no number.
func finite(name, what string, x []float32) error {
	if i := slices.IndexFunc(x, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return fmt.Errorf("%s: %s: value %d of %d is %v, want a finite number: the model's weights are damaged or too large", name, what, i+1, len(x), x[i])
	}
	return nil
}

// compute returns the features of the images whose patches [B·G²,3P²] these are, one image after
// the other.
func (e *encoding) compute(m *clipvit.Model, patches []float32) ([]float32, error) {
	c := m.Config
	if len(patches) == 0 {
		return nil, nil
	}
	rows := len(patches) / c.PatchLen()
	x := mat.NewDense[float32](mat.WithShape(rows, c.PatchLen()), mat.WithBacking(patches)) // [B·G²,3P²]
	y, err := e.features.Of(m, x)
	if err != nil {
		return nil, err
	}
	return e.normalized(mat.Data[float32](y.Value().(mat.Matrix)), y.Shape()[1]), nil
}

// normalized divides every vector of n values in x by its length, if that is wanted.
func (e *encoding) normalized(x []float32, n int) []float32 {
	if !e.normalize {
		return x
	}
	for v := range slices.Chunk(x, n) {
		var sum float64
		for _, a := range v {
			sum += float64(a) * float64(a)
		}
		if sum == 0 {
			continue // has no direction
		}
		for i, a := range v {
			v[i] = float32(float64(a) / math.Sqrt(sum))
		}
	}
	return x
}
