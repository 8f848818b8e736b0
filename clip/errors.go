package clip

import (
	"errors"
	"fmt"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// The kinds of errors that are the fault of who asked, for [errors.Is].
var (
	// ErrRequest means that what was asked for makes no sense: nothing to encode, or features that the tower does not have.
	ErrRequest = errors.New("not a valid request")
	// ErrTooLarge means that the file of a picture has too many bytes, or the picture too many pixels.
	ErrTooLarge = clipvit.ErrTooLarge
	// ErrImage means that what was to be encoded is not a picture, or not one that can be read: it is in none of the
	// known formats, damaged or cut short.
	ErrImage = clipvit.ErrImage
	// ErrText means that a text is longer than the context of the tower, or has a word that the vocabulary lacks.
	ErrText = cliptext.ErrText
	// ErrNoText means that the model has no text tower.
	ErrNoText = errors.New("no text tower")
)

// A failure is an error of a kind. Its text is whole.
type failure struct {
	kind  error // nil if it is none of the above
	text  string
	cause error // may be nil
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() []error {
	var all []error
	for _, err := range []error{f.kind, f.cause} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// failed returns an error of a kind.
func failed(kind error, format string, args ...any) error {
	return &failure{kind: kind, text: "clip: " + fmt.Sprintf(format, args...)}
}

// because returns an error of a kind, nil for none, whose text is that of cause behind the name of what it befell. It is nil
// if cause is.
func because(kind, cause error, name string) error {
	if cause == nil {
		return nil
	}
	text := bare(cause).Error()
	if name != "" {
		text = name + ": " + text
	}
	return &failure{kind: kind, text: "clip: " + text, cause: cause}
}

// bare returns an error without the names of packages in front.
func bare(err error) error {
	return pillow.Bare(err, "clip", "clipvit", "cliptext", "converter", "checkpoint", "transformer")
}
