// Package imagetextsimilarity is the task of saying how alike pictures and texts are. It says what the task is; package clip beside it
// does it, and registers itself with package tasks when it is imported.
//
// Begin with tasks.Load[imagetextsimilarity.Interface], which gives an [Interface]: B pictures and N texts go in, cosines [B][N] come
// out. Errors are of the kinds below, for errors.Is.
package imagetextsimilarity

import (
	"context"

	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// DefaultModel is the model that InternLM-XComposer and LLaVA start from, with its text tower.
const DefaultModel = imageencoding.DefaultModel

// The limits of a request.
const (
	MaxImageBytes = gate.MaxImageBytes // of the file of a picture
	MaxImages     = 256
	MaxTexts      = 1024
)

var (
	// ErrRequest means that a request makes no sense: no pictures, no texts, or too many. It is that of package clip.
	ErrRequest = gate.ErrRequest
	// ErrImage means that a picture is not an image, or not one that can be read. It is that of package clip.
	ErrImage = gate.ErrImage
	// ErrImageTooLarge means that the file of a picture has more than MaxImageBytes, or that it claims too many pixels. It is
	// ErrTooLarge of package clip.
	ErrImageTooLarge = gate.ErrImageTooLarge
	// ErrText means that a text is longer than the context of the tower, or has a word that the vocabulary lacks. It is that of package
	// clip.
	ErrText = gate.ErrText
	// ErrNoText means that the model has no text tower. It is that of package clip.
	ErrNoText = gate.ErrNoText
)

// Interface is what compares pictures with texts.
type Interface interface {
	// CompareImagesTexts compares every picture with every text. It may be called from many goroutines at once, and does not keep or
	// change r.
	CompareImagesTexts(ctx context.Context, r Request) (Response, error)
}

// A Request has what is to be compared.
type Request struct {
	Images [][]byte // 1 to MaxImages contents of files: JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM or QOI
	Texts  []string // 1 to MaxTexts
}

// A Response has a row for every picture, and in it a value for every text.
type Response struct {
	Cosines [][]float64 `json:"cosines"` // [B][N]
	Scale   float64     `json:"scale"`   // that the model has learnt; times it the cosines are the logits of OpenAI's CLIP.forward
	// Probabilities [B][N] are the softmax over the texts of a picture: what OpenAI's example prints.
	Probabilities [][]float64 `json:"probabilities"`
}
