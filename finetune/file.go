package finetune

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/internal/folder"
)

// writeFile writes a file as a whole and returns when it lies on the disk.
func writeFile(path string, data []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	defer func() {
		if e := f.Close(); e != nil && err == nil {
			err = fmt.Errorf("finetune: %w", e)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// partial is in the names of directories that are not finished. What they replace is moved into them, under
// the name replaced.
const (
	partial  = ".partial-"
	replaced = "old"
)

// removeUnfinished removes directories that a run that was killed has left in dir, after putting back what was
// about to be replaced.
func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name, _, ok := strings.Cut(e.Name(), partial)
		if name, hidden := strings.CutPrefix(name, "."); ok && hidden {
			tmp, whole := filepath.Join(dir, e.Name()), filepath.Join(dir, name)
			if _, err := os.Lstat(whole); errors.Is(err, fs.ErrNotExist) {
				_ = os.Rename(filepath.Join(tmp, replaced), whole) // which is seldom there
			}
			errs = append(errs, os.RemoveAll(tmp))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	return nil
}

// writeDir has fill write the files of a new directory, which then gets the name dir: it appears complete
// or not at all. What had the name is removed when the new one is whole.
func writeDir(dir string, fill func(tmp string) error) (err error) {
	parent := filepath.Dir(dir)
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+partial)
	if err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	defer os.RemoveAll(tmp) // after success it is empty, or holds what was replaced
	fresh := filepath.Join(tmp, "new")
	if err := os.Mkdir(fresh, 0o777); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if err := fill(fresh); err != nil {
		return folder.Renamed(err, fresh, dir)
	}
	syncDir(fresh)
	old := filepath.Join(tmp, replaced)
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("finetune: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		_ = os.Rename(old, dir) // back; it fails if there was none
		return fmt.Errorf("finetune: %w", err)
	}
	syncDir(parent)
	return nil
}

// syncDir makes the entries of a directory durable where the system can do that.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not every system can sync a directory
		d.Close()
	}
}
