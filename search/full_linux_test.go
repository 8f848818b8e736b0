package search

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFull: when the disk takes no more, the error says so, the index is as it was, and what was added stays.
func TestFull(t *testing.T) {
	const env, dim = "VITAGO_TEST_FULL", 64
	if dir := os.Getenv(env); dir != "" { // where no file may grow beyond 10,000 bytes: 77 rows
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 10_000, Max: 10_000}); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		w, err := NewWriter(dir, space(dim), WriterOptions{})
		for i := 5; err == nil && i < 200; i++ {
			err = w.Add(record(i), vector(i, dim))
		}
		fmt.Println(errors.Is(err, syscall.EFBIG), err, w.Commit() != nil, w.Close())
		os.Exit(0)
	}
	dir := filepath.Join(t.TempDir(), "index")
	fill(t, dir, dim, 0, 5, WriterOptions{})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFull$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	out, err := cmd.Output()
	if got := string(out); err != nil || !strings.HasPrefix(got, "true search: "+dir+": write ") || !strings.HasSuffix(got, "file too large true <nil>\n") {
		t.Fatalf("%s %v", got, err)
	}
	holds(t, opened(t, dir), upTo(0, 5)...)
	w, err := NewWriter(dir, space(dim), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := w.Len()
	if err := errors.Join(w.Commit(), w.Close()); err != nil || n < 30 {
		t.Fatalf("%d rows are kept: %v", n, err)
	}
	holds(t, opened(t, dir), upTo(0, n)...)
}
