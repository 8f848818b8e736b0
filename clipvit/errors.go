package clipvit

import (
	"errors"
	"fmt"

	"github.com/vitago/vitago/internal/pillow"
)

// What is wrong with images, for [errors.Is]. The errors that are one of these say what it is in words of their own. The
// error of a reader is none of them.
var (
	// ErrImage is of what is not an image, or not one that can be used: in none of the known formats, damaged or cut short.
	ErrImage = errors.New("not a readable image")
	// ErrTooLarge is of a file with too many bytes, or an image with too many pixels.
	ErrTooLarge = errors.New("image too large")
)

// wrong is an error of a kind, with a text of its own.
type wrong struct{ error }

func (w wrong) Unwrap() []error {
	switch {
	case errors.As(w.error, new(pillow.ReadError)):
		return []error{w.error}
	case errors.Is(w.error, pillow.ErrTooLarge):
		return []error{ErrTooLarge, w.error}
	}
	return []error{ErrImage, w.error}
}

// ofImage returns what is wrong with an image, nil if that is nothing.
func ofImage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("clipvit: %w", wrong{pillow.Bare(err)})
}

// ofImages returns what is wrong with image i of n.
func ofImages(i, n int, err error) error {
	return fmt.Errorf("clipvit: image %d of %d: %w", i+1, n, wrong{pillow.Bare(err)})
}
