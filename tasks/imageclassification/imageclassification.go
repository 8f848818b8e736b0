// Package imageclassification is the task of saying which labels fit a picture: any labels, without training, or those of a classifier
// that finetune trained. It says what the task is; package clip beside it does it, and registers itself with package tasks when it is
// imported.
//
// Begin with tasks.Load[imageclassification.Interface], which gives an [Interface]: file contents and labels go in, probabilities come
// out. Errors are of the kinds below, for errors.Is.
package imageclassification

import (
	"context"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imageencoding"
	"github.com/vitago/vitago/zeroshot"
)

// DefaultModel is the model that InternLM-XComposer and LLaVA start from, whose text tower the labels need.
const DefaultModel = imageencoding.DefaultModel

// The limits of a request.
const (
	MaxImageBytes = gate.MaxImageBytes // of the file of a picture
	MaxImages     = 256
	MaxLabels     = 10_000
)

var (
	// ErrRequest means that a request makes no sense: labels or templates that are wrong, or labels for a classifier of other ones.
	// It is that of package clip.
	ErrRequest = gate.ErrRequest
	// ErrImage means that what was to be classified is not an image, or not one that can be read. It is that of package clip.
	ErrImage = gate.ErrImage
	// ErrImageTooLarge means that the file of an image has more than MaxImageBytes, or that it claims too many pixels. It is ErrTooLarge
	// of package clip.
	ErrImageTooLarge = gate.ErrImageTooLarge
	// ErrText means that a label in its template is longer than the context of the tower, or has a word that the vocabulary lacks. It is
	// that of package clip.
	ErrText = gate.ErrText
	// ErrNoText means that a request has labels, and the model no text tower. It is that of package clip.
	ErrNoText = gate.ErrNoText
)

// Interface is what a classifier of pictures does.
type Interface interface {
	// ClassifyImages says of each picture how well the labels fit it, in the order of the pictures. The first that cannot be read ends
	// it. It may be called from many goroutines at once, and does not keep or change r.
	ClassifyImages(ctx context.Context, r Request) ([]Response, error)
}

// A Request says which pictures are to be classified, and how.
type Request struct {
	Images    [][]byte           // 1 to MaxImages contents of files: JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM or QOI
	Labels    []string           // nil are those of the classifier that the model has
	Prompts   []zeroshot.Label   // labels with texts of their own, in the place of Labels
	Templates []string           // in which {} stands for the label; nil is [zeroshot.DefaultTemplate], and with Prompts none
	Multi     bool               // labels do not exclude each other, as [zeroshot.MultiLabel] has it
	Bias      float64            // of Multi
	Negatives []string           // of Multi
	Threshold zeroshot.Threshold // which labels are accepted; zero accepts all
	TopK      int                // how many labels of a picture at most; 0 is all
}

// A Response says what fits a picture.
type Response struct {
	Labels []clip.Label `json:"labels"` // the most probable first
	// Accepted are the names of those that reach the threshold, empty if none does; nil without a threshold.
	Accepted []string `json:"accepted,omitzero"`
}
