// Package imageencoding is the task of turning images into vectors that lie near each other where
// the images show similar things. It says what the task is; package clip beside it does
// it, and registers itself with package tasks when it is imported.
//
// Begin with tasks.Load[imageencoding.Interface], which gives an [Interface]: file contents go in, vectors [E,1] come out. Errors are of
// the kinds below, for errors.Is.
package imageencoding

import (
	"context"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/tasks/gate"
)

// DefaultModel is the tower that InternLM-XComposer and LLaVA start from: ViT-L/14 of OpenAI's CLIP
// at 336 pixels, which gives vectors of 768 numbers.
// Model card: https://huggingface.co/openai/clip-vit-large-patch14-336
const DefaultModel = "openai/clip-vit-large-patch14-336"

// The limits of a request.
const (
	MaxImageBytes = gate.MaxImageBytes // of the file of an image
	MaxImages     = 256
)

var (
	// ErrRequest means that a request makes no sense: no images, too many, or features that the tower does not have. It is that of
	// package clip.
	ErrRequest = gate.ErrRequest
	// ErrImage means that what was to be encoded is not an image, or not one that can be read: it is in
	// none of the known formats, corrupt or cut short. It is that of package clip.
	ErrImage = gate.ErrImage
	// ErrImageTooLarge means that the file of the image has more than MaxImageBytes, or that the image claims too many
	// pixels. It is ErrTooLarge of package clip.
	ErrImageTooLarge = gate.ErrImageTooLarge
)

// Interface is what an image encoder does.
type Interface interface {
	// EncodeImage returns the vector of an image, given as the content of a file (JPEG, PNG, GIF, WebP,
	// BMP, TIFF, ICO, PPM or QOI). It may be called from many goroutines at once, and does not keep or change image.
	EncodeImage(ctx context.Context, image []byte) (Response, error)
	// EncodeImages returns what a request asks for of each image, in their order. They go through the tower together. The first that
	// cannot be encoded ends it. It does not keep or change r.
	EncodeImages(ctx context.Context, r Request) ([]Response, error)
}

// A Request says which images are to be encoded, and what is wanted of them.
type Request struct {
	Images    [][]byte         // 1 to MaxImages contents of files
	Features  clipvit.Features // the zero value is the embedding, as of EncodeImage
	Normalize bool             // every vector is divided by its length
}

// Response is the answer to EncodeImage, and to EncodeImages for each image.
type Response struct {
	// Vector is the encoded image, a column [E,1], not normalised unless that was asked for. Features of several tokens are a row for
	// each, [T,C]. It is a plain value without a graph.
	Vector mat.Matrix
	// Kind is what Vector is: that of the request's features, and [clipvit.PostNorm] for the embedding of a tower without a projection.
	Kind clipvit.FeatureKind
}
