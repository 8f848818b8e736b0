package clipvit_test

import (
	"context"
	"fmt"
	"image"
	"log"
	"os"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
)

// The model of these examples is a tiny CLIP with random weights; a directory that "vitago convert"
// wrote, or OpenAI's archive itself, goes in its place.
const modelDir = "../testdata/tiny/huggingface"

func open(path string) image.Image {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	img, err := clipvit.DecodeImage(f)
	if err != nil {
		log.Fatal(err)
	}
	return img
}

// From an image file to its embedding.
func ExampleModel_Encode() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	embeddings, err := model.Encode(context.Background(), open("../cmd/vitago/testdata/demo/cat.png"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(embeddings), "image,", len(embeddings[0]), "values")
	// Output: 1 image, 10 values
}

// The tokens that leave the last block but one: what LLaVA gives to its language model.
func ExampleModel_Features() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	patches, err := clipvit.Preprocess(open("../cmd/vitago/testdata/demo/cat.jpg"), model.Config)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := model.Features(patches, -2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("patches", patches.Shape(), "tokens", tokens.Shape())
	// Output: patches [16 108] tokens [17 64]
}

// The patches of several images at once.
func ExamplePreprocessBatch() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	images := []image.Image{open("../cmd/vitago/testdata/demo/cat.jpg"), open("../cmd/vitago/testdata/demo/red-circle.png")}
	patches, err := clipvit.PreprocessBatch(images, model.Config)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := clipvit.Features{Kind: clipvit.Patches, Layer: -2}.Of(model, patches)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("patches", patches.Shape(), "tokens", tokens.Shape())
	// Output: patches [32 108] tokens [32 64]
}

// Every intermediate on the way to the embedding.
func ExampleModel_Probe() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	patches, err := clipvit.Preprocess(image.NewGray(image.Rect(0, 0, 30, 20)), model.Config)
	if err != nil {
		log.Fatal(err)
	}
	model.Probe(patches, func(stage string, x mat.Tensor) {
		fmt.Println(stage, x.Shape())
	})
	// Output:
	// embed [17 64]
	// pre_norm [17 64]
	// block00 [17 64]
	// block01 [17 64]
	// class [1 64]
	// post_norm [1 64]
	// embedding [1 10]
}

// A tower for images of another size: the position embedding is resampled.
func ExampleModel_Resize() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	before := model.Config.Tokens()
	if err := model.Resize(48, clipvit.BicubicTorch); err != nil {
		log.Fatal(err)
	}
	fmt.Println(before, "tokens, then", model.Config.Tokens())
	// Output: 17 tokens, then 65
}

// Gradients of every parameter, by spago's autograd.
func ExampleModel_Embedding() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	model.Unfreeze()
	patches, err := clipvit.Preprocess(image.NewGray(image.Rect(0, 0, 30, 20)), model.Config)
	if err != nil {
		log.Fatal(err)
	}
	embedding := ag.T(model.Embedding(patches)) // [E,1]: spago's losses take column vectors
	loss := ag.ReduceSum(ag.Square(embedding))
	if err := ag.Backward(loss); err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.Blocks[0].Attn.QKV.W.Grad().Shape())
	// Output: [192 64]
}

// A tower of one's own, with parameters that are zero.
func ExampleNew() {
	model, err := clipvit.New(clipvit.Config{
		ImageSize: 32, PatchSize: 8, Width: 64, Heads: 4, Layers: 2, MLPWidth: 256, EmbedDim: 16,
		Activation: transformer.QuickGELU, NormEps: 1e-5,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(model.Config.Grid(), model.Config.Tokens(), model.Config.HeadSize())

	_, err = clipvit.New(clipvit.Config{
		ImageSize: 33, PatchSize: 8, Width: 64, Heads: 4, Layers: 2, MLPWidth: 256, EmbedDim: 16,
		Activation: transformer.QuickGELU, NormEps: 1e-5,
	})
	fmt.Println(err)
	// Output:
	// 4 17 16
	// clipvit: image size 33 is not a multiple of patch size 8
}

func ExampleModel_Quantize() {
	model, err := converter.Load(modelDir)
	if err != nil {
		log.Fatal(err)
	}
	if clipvit.Int8Pays() {
		model.Quantize() // once, before the first image
	}
	embeddings, err := model.Encode(context.Background(), image.NewGray(image.Rect(0, 0, 8, 8)))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(embeddings[0]))
	// Output: 10
}

func ExampleNewFrozen() {
	config := clipvit.Config{
		ImageSize: 8, PatchSize: 4, Width: 8, Heads: 2, Layers: 1, MLPWidth: 16, EmbedDim: 4,
		Activation: transformer.QuickGELU, NormEps: 1e-5,
	}
	paths := 0
	model, err := clipvit.NewFrozen(config, func(path string, values []float32) error {
		paths++ // a reader of files would set values here
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(paths, "parameters for", model.Config.Layers, "block")
	// Output: 20 parameters for 1 block
}

// Patches become tokens: one for each, and the class token in front.
func ExampleNewEmbed() {
	c := clipvit.Config{ImageSize: 32, PatchSize: 8, Width: 64, Heads: 4, Layers: 2, MLPWidth: 256, EmbedDim: 16, Activation: transformer.QuickGELU, NormEps: 1e-5}
	if err := c.Validate(); err != nil {
		log.Fatal(err)
	}
	patches, err := clipvit.Preprocess(open("../cmd/vitago/testdata/demo/cat.png"), c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(patches.Shape(), clipvit.NewEmbed(c).Forward(patches).Shape())
	// Output: [16 192] [17 64]
}

// Features as flags and requests name them.
func ExampleParseFeatures() {
	for _, name := range []string{"embedding", "patches of layer -2", "colours"} {
		f, err := clipvit.ParseFeatures(name)
		fmt.Println(f, err)
	}
	// Output:
	// embedding <nil>
	// patches of layer -2 <nil>
	//  clipvit: features are "colours", want embedding, post_norm, cls, mean, patches or all
}
