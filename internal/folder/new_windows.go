package folder

import "golang.org/x/sys/windows"

// renameNew renames a file to a name that nothing may have yet, since links gave an error.
func renameNew(tmp, path string, _ error) error {
	from, err := windows.UTF16PtrFromString(tmp)
	if err != nil {
		return err
	}
	to, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	return windows.MoveFileEx(from, to, windows.MOVEFILE_WRITE_THROUGH) // which replaces nothing
}
