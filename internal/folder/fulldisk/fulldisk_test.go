//go:build linux || darwin

package fulldisk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestLimit: a file gets as many bytes as the limit permits, the write says why it gets no more, and once the limit is lifted there is room.
func TestLimit(t *testing.T) {
	if !Alone(t) {
		return
	}
	path := filepath.Join(t.TempDir(), "x")
	lift := Limit(t, 5)
	if err := os.WriteFile(path, make([]byte, 8), 0o666); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("error is %v, want %v", err, syscall.EFBIG)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 5 {
		t.Errorf("%v, %v; want 5 bytes", info, err)
	}
	lift()
	if err := os.WriteFile(path, make([]byte, 8), 0o666); err != nil {
		t.Error(err)
	}
}
