//go:build linux || darwin

package embeddings

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// limitFiles makes writing more than n bytes to a file fail until the function is called that it returns: what a full disk
// does, in the middle of a file.
func limitFiles(t *testing.T, n uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // or it would end the process
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = n
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &low); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: wherever there is no more room, the error says so, what was written is kept, and the end is the same.
func TestFullDisk(t *testing.T) {
	const is = "VITAGO_TEST_ALONE"
	if os.Getenv(is) == "" { // a limit is of the whole process, in which go test keeps a log
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$")
		cmd.Env = append(os.Environ(), is+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v:\n%s", err, out)
		}
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
			lift := limitFiles(t, n)
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
