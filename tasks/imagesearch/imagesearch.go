// Package imagesearch is the task of finding pictures in an index, by words, by pictures and by vectors. It says what the task
// is; package clip beside it does it, and registers itself with package tasks when it is imported.
//
// Begin with tasks.Load[imagesearch.Interface], which gives an [Interface] of a model that has an index in its folder. Errors are of the
// kinds below, for errors.Is.
package imagesearch

import (
	"context"

	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks/gate"
)

// The limits of a request.
const (
	MaxImageBytes = gate.MaxImageBytes // of the file of a picture
	MaxParts      = 64                 // of a query
	MaxTopK       = 10_000
)

var (
	// ErrRequest means that a request makes no sense: a query of no parts, or of parts that cancel each other, a vector of another
	// length, a filter that is wrong, or a number out of its range. It is that of package clip.
	ErrRequest = gate.ErrRequest
	// ErrImage means that a picture of the query is not an image, or not one that can be read. It is that of package clip.
	ErrImage = gate.ErrImage
	// ErrImageTooLarge means that the file of a picture has more than MaxImageBytes, or that it claims too many pixels. It is
	// ErrTooLarge of package clip.
	ErrImageTooLarge = gate.ErrImageTooLarge
	// ErrText means that a text is longer than the context of the tower, or has a word that the vocabulary lacks. It is that
	// of package clip.
	ErrText = gate.ErrText
	// ErrNoText means that a query has words, and the model no text tower. It is that of package clip.
	ErrNoText = gate.ErrNoText
)

// Interface is what a finder of pictures does.
type Interface interface {
	// FindImages returns the pictures of the index that are nearest to a query, the nearest first. It looks at all, and what it
	// finds is what products in float64 would find. It sees the index as it was at one commit, the last as a rule. It may be
	// called from many goroutines at once, and does not keep or change r.
	FindImages(ctx context.Context, r Request) (Response, error)
}

// A Request says what to look for, and where.
type Request struct {
	Query   []Part        // 1 to MaxParts, whose directions are added up
	TopK    int           // how many pictures at most, up to MaxTopK; 0 is 10
	Least   *float64      // the cosine that a picture must have, -1 to 1; nil is any
	Filter  search.Filter // which pictures are looked at; zero is all
	Vectors bool          // the vectors of pictures are wanted, too
}

// A Part is a part of a query. It has one of Text, Image and Vector.
type Part struct {
	Text   string    // any words that the model's text tower takes
	Image  []byte    // the content of a file: JPEG, PNG, GIF, WebP, BMP, TIFF, ICO, PPM or QOI
	Vector []float32 // [E], of any length but 0, of the model that made the index
	Weight float64   // how much it counts; 0 is 1, and a negative weight leads away
}

// A Response has what was found.
type Response struct {
	Hits        []Hit  `json:"hits"`        // the nearest first
	Fingerprint string `json:"fingerprint"` // of the space of the vectors, as clip.Space has it
}

// A Hit is a picture that was found, with its path and columns.
type Hit struct {
	search.Record
	Score  float64   `json:"score"`            // the cosine of query and picture
	Vector []float32 `json:"vector,omitempty"` // [E], of length 1 as far as float16 has it; nil if it is not wanted
}
