// Package visualtokens is the task of turning images into what a language model that can see reads in their place. It
// says what the task is; package projected beside it does it, and registers itself with package tasks when it is
// imported.
//
// Begin with tasks.Load[visualtokens.Interface], which gives an [Interface]: the content of a file goes in, tokens [N,O] come out. Errors
// are of the kinds below, for errors.Is.
package visualtokens

import (
	"context"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/tasks/gate"
)

// MaxImageBytes is how large the file of an image may be.
const MaxImageBytes = gate.MaxImageBytes

var (
	// ErrImage means that there is no image, or not one that can be read: it is in none of the known formats, corrupt,
	// cut short, or has a shape that the layout has no place for. It is that of package clip.
	ErrImage = gate.ErrImage
	// ErrImageTooLarge means that the file of the image has more than MaxImageBytes, or that the image claims too many
	// pixels. It is ErrTooLarge of package clip.
	ErrImageTooLarge = gate.ErrImageTooLarge
)

// Interface is what gives a language model its images.
type Interface interface {
	// Tokens returns the tokens of an image, given as the content of a file (JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM or QOI). It
	// may be called from many goroutines at once, and does not keep or change image.
	Tokens(ctx context.Context, image []byte) (Response, error)
	// Count returns how many tokens an image of width by height pixels has.
	Count(width, height int) (int, error)
}

// Response is the answer to Tokens.
type Response struct {
	// Tokens [N,O] are a plain value without a graph: N rows, O as wide as the language model.
	Tokens mat.Matrix
	// Rows and Cols are those of the tiles that the image was cut into; 0 where it was not.
	Rows, Cols int
}
