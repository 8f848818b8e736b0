//go:build linux || darwin

package embeddings

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vitago/vitago/internal/folder/fulldisk"
)

// TestFullDisk: wherever there is no more room, the error says so, what was written is kept, and the end is the same.
func TestFullDisk(t *testing.T) {
	if !fulldisk.Alone(t) {
		return
	}
	for _, format := range Formats() {
		whole := t.TempDir()
		written(t, filepath.Join(whole, "x."+format), sample(format), Options{}, 9)
		want := contents(t, whole)
		kept := 0
		for n := uint64(0); ; n += 13 {
			dir := t.TempDir()
			path := filepath.Join(dir, "sub", "x."+format)
			lift := fulldisk.Limit(t, n)
			w, err := Create(path, sample(format), Options{})
			if err == nil {
				err = writeRows(w, 9)
				kept = w.Done()
				err = errors.Join(err, w.Close())
			}
			lift()
			if err == nil {
				break
			}
			if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), partialSuffix) {
				t.Fatalf("%s, %d bytes: error %v", format, n, err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Fatalf("%s, %d bytes: the file is there", format, n)
			}
			if w == nil || kept == 0 {
				if got := lying(t, dir); len(got) > 0 {
					t.Fatalf("%s, %d bytes: left %q", format, n, lying(t, filepath.Join(dir, "sub")))
				}
			}
			if w, err = Create(path, sample(format), Options{Resume: true}); err != nil {
				t.Fatal(err)
			}
			if w.Done() != kept {
				t.Errorf("%s, %d bytes: %d rows are kept, want %d", format, n, w.Done(), kept)
			}
			if err := errors.Join(writeRows(w, 9), w.Close()); err != nil {
				t.Fatal(err)
			}
			if got := contents(t, filepath.Dir(path)); !maps.Equal(got, want) {
				t.Errorf("%s, %d bytes: got %q, want %q", format, n, got, want)
			}
			w, kept = nil, 0
		}
	}
}
