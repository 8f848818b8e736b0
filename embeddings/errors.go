package embeddings

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/internal/folder"
)

// Why [Create] and [Encode] refuse, for [errors.Is].
var (
	// ErrExists is of a file that is there, and may not be replaced.
	ErrExists = errors.New("overwriting was not asked for")
	// ErrUnfinished is of a file that has been begun, where nothing is to be resumed.
	ErrUnfinished = errors.New("neither resuming nor overwriting was asked for")
	// ErrPartial is of a file that has been begun, and is to be read.
	ErrPartial = errors.New("is not complete")
	// ErrInUse is of a file that another process is writing.
	ErrInUse = folder.ErrInUse
	// ErrOther is what a [MismatchError] is.
	ErrOther = errors.New("made in another way")
	// ErrDamaged is of a file that is not what lies beside it says, or of which that cannot be read.
	ErrDamaged = errors.New("damaged")
)

// A MismatchError says what differs between a file that has been begun, or is complete, and what is to be resumed. It is an
// [ErrOther].
type MismatchError struct {
	Path     string // of the file
	What     string // a setting, or the model, or a name
	Was, Now string // in the file, and as it is asked for
}

// Error implements error.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("embeddings: %s: was begun with %s %s, which is now %s", e.Path, e.What, e.Was, e.Now)
}

// Is reports whether target is [ErrOther].
func (e *MismatchError) Is(target error) bool { return target == ErrOther }

// unwritable returns the error of path that nothing can be made beside it.
func unwritable(path string, err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		err = e.Err // its path is a temporary one
	}
	return fmt.Errorf("embeddings: %s: cannot write in the folder %s: %w", path, filepath.Dir(path), err)
}

// A namedError has the name of the file in place of that of what lies beside it.
type namedError struct {
	error
	text string
}

func (e namedError) Error() string { return e.text }
func (e namedError) Unwrap() error { return e.error }

// prefix begins the texts of errors.
const prefix = "embeddings: "

// named returns an error about what lies beside path as one about path, with the prefix of the package once a line.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n") // of errors that were joined
	for i, line := range lines {
		lines[i] = prefix + strings.TrimPrefix(line, prefix)
	}
	text := strings.Join(lines, "\n")
	for _, suffix := range []string{journalSuffix, lockSuffix, newSuffix, partialSuffix} { // the longest first
		text = strings.ReplaceAll(text, path+suffix, path)
	}
	return namedError{err, text}
}
