package store

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestRemoved: a folder that another process removes while it is listed, as workers do with empty ones, has no names.
func TestRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows removes no open folder")
	}
	root := t.TempDir()
	dir := filepath.Join(root, "tmp")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if names, err := (local{root}).namesIn(d, "tmp/", ""); err != nil || len(names) != 0 {
		t.Errorf("names %q, error %v, want none", names, err)
	}
}
