// Package imageencoding is the task of turning images into vectors that lie near each other where
// the images show similar things. It says what the task is; package clip beside it does
// it, and registers itself with package tasks when it is imported.
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

// MaxImageBytes is how large the file of an image may be.
const MaxImageBytes = gate.MaxImageBytes

var (
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
}

// Response is the answer to EncodeImage.
type Response struct {
	// Vector is the encoded image, a column, not normalised. It is a plain value without a graph.
	Vector mat.Matrix
	// Kind is what Vector is: [clipvit.Embedding], or [clipvit.PostNorm] of a tower without a projection.
	Kind clipvit.FeatureKind
}
