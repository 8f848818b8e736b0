package folder

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameNew renames a file to a name that nothing may have yet, since links gave the error failed.
func renameNew(tmp, path string, failed error) error {
	err := unix.RenamexNp(tmp, path, unix.RENAME_EXCL)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EINVAL) {
		return failed
	}
	return err
}
