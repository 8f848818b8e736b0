package folder

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameNew renames a file to a name that nothing may have yet, since links gave the error failed.
func renameNew(tmp, path string, failed error) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return failed
	}
	return err
}
