// Scenes draws the pictures with captions that the small model of package demo has learnt from, writes the random towers that it
// began as, and measures what a model says of scenes that it has not seen. demo.sh beside it goes the whole way.
//
//	go run ./testdata/gen/scenes draw DIR            DIR/train.csv, DIR/val.csv and the pictures that they name
//	go run ./testdata/gen/scenes towers DIR          a model directory with random weights
//	go run ./testdata/gen/scenes pictures DIR        the pictures of package demo
//	go run ./testdata/gen/scenes evaluate MODEL      accuracies and recall on scenes that were held out
package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/internal/params"
	"github.com/vitago/vitago/internal/scenes"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "scenes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 1 {
		return errors.New("want draw DIR, towers DIR, pictures DIR or evaluate MODEL")
	}
	f := flag.NewFlagSet(args[0], flag.ExitOnError)
	switch args[0] {
	case "draw":
		n := f.Int("n", 80000, "scenes to learn from")
		from := f.Int("from", 0, "number of the first of them")
		plain := f.Bool("plain", false, "more captions that name shapes alone, or shapes and colours")
		hued := f.Bool("hued", false, "things in colours without a name in half of the scenes, whose captions name the shape without a colour; captions of the others as by -plain")
		alike := f.Bool("alike", false, "many circles and hearts, small ones too, most of them in colours without a name")
		validation := f.Int("validation", 500, "scenes to validate on")
		return withPath(f, args, func(dir string) error {
			scene := func(i int) *scenes.Scene { return scenes.New(scenes.Train, *from+i) }
			caption := (*scenes.Scene).Caption
			switch {
			case *plain && *hued, *plain && *alike, *hued && *alike:
				return errors.New("draw: two of -plain, -hued and -alike, want one at most")
			case *alike:
				scene = func(i int) *scenes.Scene { return scenes.NewAlike(*from + i) }
				caption = (*scenes.Scene).Alike
			case *plain:
				caption = (*scenes.Scene).Plain
			case *hued:
				scene = func(i int) *scenes.Scene { return scenes.NewHued(*from + i) }
				caption = (*scenes.Scene).Hued
			}
			err := draw(dir, "train", *n, scene, caption)
			scene = func(i int) *scenes.Scene { return scenes.New(scenes.Validation, i) }
			return errors.Join(err, draw(dir, "val", *validation, scene, (*scenes.Scene).Full))
		})
	case "towers":
		var s size
		f.IntVar(&s.width, "width", 96, "of the tower of images")
		f.IntVar(&s.layers, "layers", 4, "of the tower of images")
		f.IntVar(&s.patch, "patch", 8, "pixels of a patch's side")
		f.IntVar(&s.textWidth, "text-width", 64, "of the text tower")
		f.IntVar(&s.textLayers, "text-layers", 3, "of the text tower")
		f.IntVar(&s.embed, "embed", 64, "numbers of an embedding")
		f.IntVar(&s.context, "context", 32, "tokens of a text at most")
		f.Uint64Var(&s.seed, "seed", 1, "of the weights")
		return withPath(f, args, func(dir string) error { return towers(ctx, dir, s, out) })
	case "pictures":
		return withPath(f, args, pictures)
	case "evaluate":
		validation := f.Bool("validation", false, "the scenes by which choices are made, in place of those held out to the end")
		return withPath(f, args, func(model string) error { return evaluate(ctx, model, *validation, out) })
	}
	return fmt.Errorf("%q, want draw, towers, pictures or evaluate", args[0])
}

// withPath parses flags, and calls do with the one path behind them.
func withPath(f *flag.FlagSet, args []string, do func(path string) error) error {
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("%s: got %d arguments, want 1", args[0], f.NArg())
	}
	return do(f.Arg(0))
}

// draw writes n scenes and a table of them with their captions.
func draw(dir, name string, n int, scene func(i int) *scenes.Scene, caption func(*scenes.Scene) string) (err error) {
	const folder = 1000 // pictures in one
	f, err := os.Create(filepath.Join(dir, name+".csv"))
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o777); err == nil {
			f, err = os.Create(filepath.Join(dir, name+".csv"))
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	table := csv.NewWriter(f)
	table.Write([]string{"path", "caption"}) // Error, below, has what goes wrong
	path := func(i int) string { return fmt.Sprintf("%s/%03d/%06d.png", name, i/folder, i) }
	for i := range n {
		table.Write([]string{path(i), caption(scene(i))})
		if i%folder == 0 {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path(i))), 0o777); err != nil {
				return err
			}
		}
	}
	table.Flush()
	if err := table.Error(); err != nil {
		return err
	}
	errs := make([]error, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for w := range errs {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				errs[w] = writePNG(filepath.Join(dir, path(i)), scene(i))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func writePNG(path string, x *scenes.Scene) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	e := png.Encoder{CompressionLevel: png.BestSpeed}
	return errors.Join(e.Encode(b, x.Draw(scenes.Side)), b.Flush(), f.Close())
}

// A size is that of the towers.
type size struct {
	width, layers, patch, textWidth, textLayers, embed, context int
	seed                                                        uint64
}

// headSize is that of every head of attention; CLIP's is 64.
const headSize = 32

// towers writes a model directory with random weights, and the vocabulary that captions need.
func towers(ctx context.Context, dir string, s size, out io.Writer) error {
	tokenizer, _, err := cliptext.NewOpenAI(cliptext.OpenAI).Restrict(scenes.Texts())
	if err != nil {
		return err
	}
	vision, err := clipvit.New(clipvit.Config{
		ImageSize: scenes.Side, PatchSize: s.patch, Width: s.width, Heads: s.width / headSize, Layers: s.layers, MLPWidth: 4 * s.width, EmbedDim: s.embed,
		Activation: transformer.QuickGELU, NormEps: 1e-5,
	})
	if err != nil {
		return err
	}
	text, err := cliptext.New(cliptext.Config{
		Vocab: tokenizer.Len(), Context: s.context, Width: s.textWidth, Heads: s.textWidth / headSize, Layers: s.textLayers, MLPWidth: 4 * s.textWidth, EmbedDim: s.embed,
		Activation: transformer.QuickGELU, NormEps: 1e-5, End: tokenizer.End(),
	})
	if err != nil {
		return err
	}
	r := &random{}
	r.Seed(s.seed, 0)
	n := r.fill(vision, s.width, s.layers) + r.fill(text, s.textWidth, s.textLayers)
	fmt.Fprintf(out, "%d parameters, %d tokens\n", n, tokenizer.Len())

	words, err := os.MkdirTemp("", "scenes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(words)
	for _, f := range tokenizer.Files(s.context) {
		if err := os.WriteFile(filepath.Join(words, f.Name), f.Data, 0o666); err != nil {
			return err
		}
	}
	_, err = converter.Save(ctx, converter.Models{Vision: vision, Text: text}, nil, dir, converter.Options{Vocab: words, Overwrite: true})
	return err
}

// random are numbers that are the same on every machine.
type random struct{ rand.PCG }

// normal returns a number of a distribution that is close to the normal one, of variance 1: the sum of twelve.
func (r *random) normal() float64 {
	sum := 0
	for range 12 {
		sum += int(r.Uint64() >> 40)
	}
	return float64(sum-6<<24) / (1 << 24)
}

// fill gives the parameters of a tower random values, and returns how many there are.
//
// Source: openai/CLIP, clip/model.py, CLIP.initialize_parameters, for the text tower; the blocks of the other are PyTorch's own there,
// and here the same.
func (r *random) fill(tower nn.Model, width, layers int) (n int) {
	w := 1 / math.Sqrt(float64(width))
	params.Walk(tower, func(path string, p *nn.Param) {
		x := mat.Data[float32](p)
		n += len(x)
		deviation := w
		switch {
		case path == "LogitScale":
			x[0] = float32(math.Log(1 / 0.07))
			return
		case strings.Contains(path, "Norm") && strings.HasSuffix(path, ".W"):
			for i := range x {
				x[i] = 1
			}
			return
		case strings.HasSuffix(path, ".B"):
			return // zeros
		case strings.HasSuffix(path, "Attn.Out.W"), strings.HasSuffix(path, "MLP.Down.W"):
			deviation = w / math.Sqrt(float64(2*layers))
		case strings.HasSuffix(path, "MLP.Up.W"):
			deviation = w / math.Sqrt2
		case path == "Token":
			deviation = 0.02
		case path == "Position":
			deviation = 0.01
		case path == "Embed.Patch" && len(p.Shape()) == 2 && p.Shape()[0] == width: // of patches
			deviation = 1 / math.Sqrt(float64(3*p.Shape()[1]))
		case path == "Embed.Position":
			deviation = 0.5 // that places count beside colours from the first step on
		}
		for i := range x {
			x[i] = float32(deviation * r.normal())
		}
	})
	return n
}
