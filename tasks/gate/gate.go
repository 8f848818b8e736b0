// Package gate limits what tasks work on: how many calls at a time, and images of which size. It decodes the images
// as well.
package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// MaxImageBytes is how large the file of an image may be.
const MaxImageBytes = 64 << 20

// The errors of tasks, which are those of package clip; the first two are those of [Gate.Decode]. Packages of tasks export them
// under names of their own.
var (
	ErrImage         = clip.ErrImage
	ErrImageTooLarge = clip.ErrTooLarge
	ErrRequest       = clip.ErrRequest
	ErrText          = clip.ErrText
	ErrNoText        = clip.ErrNoText
)

// A Gate lets a few calls through at a time.
type Gate struct {
	pkg    string
	places chan struct{}
}

// New returns a gate with so many places. Its errors begin with "pkg: ".
func New(pkg string, places int) *Gate { return &Gate{pkg, make(chan struct{}, places)} }

// Enter waits for a place, which the caller has until it calls leave. If ctx has ended or ends meanwhile, it returns
// ctx's error.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil { // a select with two choices may take either
		return nil, err
	}
	select {
	case g.places <- struct{}{}:
		return func() { <-g.places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Decode waits for a place as [Gate.Enter] does, and decodes an image, given as the content of a file. It returns an
// [ErrImageTooLarge], of a file before it waits and of pixels after that, ctx's error, or an [ErrImage]; the caller has no
// place then.
func (g *Gate) Decode(ctx context.Context, file []byte) (img image.Image, leave func(), err error) {
	if n := len(file); n > MaxImageBytes {
		return nil, nil, fmt.Errorf("%s: %w: %d bytes, want at most %d", g.pkg, ErrImageTooLarge, n, MaxImageBytes)
	}
	if leave, err = g.Enter(ctx); err != nil {
		return nil, nil, err
	}
	m, err := clipvit.DecodeImage(bytes.NewReader(file))
	if err != nil {
		leave()
		return nil, nil, g.Refuse(err)
	}
	return m, leave, nil
}

// Pictures returns the pictures of a request, given as the contents of files, of which there have to be 1 to most. In errors they are
// called "image 1" and so on, but not one that is alone where no more may be. It returns an [ErrRequest] or an [ErrImageTooLarge], and
// decodes nothing.
func (g *Gate) Pictures(files [][]byte, most int) ([]clip.Picture, error) {
	if n := len(files); n < 1 || n > most {
		return nil, fmt.Errorf("%s: %w: got %d images, want 1 to %d", g.pkg, ErrRequest, n, most)
	}
	pictures := make([]clip.Picture, len(files))
	for i, file := range files {
		name, in := "", ""
		if most > 1 {
			name = fmt.Sprintf("image %d", i+1)
			in = name + ": "
		}
		if n := len(file); n > MaxImageBytes {
			return nil, fmt.Errorf("%s: %s%w: %d bytes, want at most %d", g.pkg, in, ErrImageTooLarge, n, MaxImageBytes)
		}
		pictures[i] = clip.Bytes(name, file)
	}
	return pictures, nil
}

// Refuse returns an [ErrImage] that says why, or an [ErrImageTooLarge] if it has too many pixels. It serves for images that
// decode and turn out to be of no use.
func (g *Gate) Refuse(why error) error {
	kind := ErrImage
	if errors.Is(why, ErrImageTooLarge) {
		kind = ErrImageTooLarge
	}
	return fmt.Errorf("%s: %w: %w", g.pkg, kind, Bare(why))
}

// Bare returns err without the names of this module's packages in front of it, so that who puts its own there has but one.
func Bare(err error) error {
	return pillow.Bare(err, "adapter", "checkpoint", "clip", "cliptext", "clipvit", "converter", "data", "finetune", "job", "op", "optim",
		"peft", "pictures", "probe", "projector", "report", "runs", "scan", "search", "zeroshot")
}

// Inside returns how many calls have a place.
func (g *Gate) Inside() int { return len(g.places) }
