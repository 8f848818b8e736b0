package folder

import (
	"errors"
	"os"

	"github.com/gofrs/flock"
)

// ErrInUse is of what another process has locked.
var ErrInUse = errors.New("another process is writing it")

// Lock keeps others from a file until unlock is called, which removes what it took. Of file systems without locks it does
// nothing.
func Lock(path string) (unlock func(), err error) {
	for {
		l := flock.New(path, flock.SetPermissions(0o666))
		ok, err := l.TryLock()
		switch {
		case errors.Is(err, errors.ErrUnsupported): // some network file systems, some systems
			return func() { os.Remove(path) }, nil
		case err != nil:
			return nil, err
		case !ok:
			return nil, ErrInUse
		case isAt(l, path):
			return func() {
				// Before others can get it, where that can be done; Windows removes no open file.
				err := os.Remove(path)
				_ = l.Unlock()
				if err != nil {
					os.Remove(path)
				}
			}, nil
		}
		_ = l.Unlock() // its last holder has removed it
	}
}

// isAt says whether the file that is locked is the one with that name.
func isAt(l *flock.Flock, path string) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}
