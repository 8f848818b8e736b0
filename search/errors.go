package search

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/folder"
)

// The kinds of errors, for [errors.Is].
var (
	// ErrNoIndex is of a folder that is not there, or holds no index.
	ErrNoIndex = errors.New("no index")
	// ErrDamaged is of an index of which something is missing, cut short or changed.
	ErrDamaged = errors.New("damaged")
	// ErrInUse is of an index that another process is writing.
	ErrInUse = folder.ErrInUse
	// ErrColumn is of a column of the user with a name that it cannot have.
	ErrColumn = errors.New("a column has a wrong name")
	// ErrSpace is what a [SpaceError] is.
	ErrSpace = errors.New("vectors of another space")
)

// A SpaceError says that vectors are of another space than those of an index. It is an [ErrSpace].
type SpaceError struct {
	Path     string     // of the index
	Was, Now clip.Space // of the index, and of the vectors
}

// Error implements error.
func (e *SpaceError) Error() string {
	return fmt.Sprintf("search: %s: its vectors have the fingerprint %.16s, and those of the model %.16s: %s", e.Path, e.Was.Fingerprint(), e.Now.Fingerprint(), strings.Join(e.Was.Differences(e.Now), "; "))
}

// Is reports whether target is [ErrSpace].
func (e *SpaceError) Is(target error) bool { return target == ErrSpace }

// damaged returns an [ErrDamaged] of a file.
func damaged(path, format string, args ...any) error {
	return fmt.Errorf("search: %s: %w: %w", path, ErrDamaged, fmt.Errorf(format, args...))
}

// reason returns an error without the path, which stands in front already.
func reason(err error) error {
	if e := (*fs.PathError)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}
