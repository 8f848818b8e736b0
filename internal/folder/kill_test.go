package folder

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// killEnv names the environment variable with the folder that the process writes to that TestKill kills.
const killEnv = "VITAGO_TEST_KILL"

// A file, or each of the files of a directory, holds killed times the same byte.
const killed = 1 << 16

// TestKill: whenever a process is killed, what it wrote is whole, and what it left is removed.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		writeForEver(t, dir)
	}
	dir := t.TempDir()
	left := 0
	for i := range 20 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadByte(); err != nil { // it writes
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Millisecond / 3)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed

		found, _ := filepath.Glob(filepath.Join(dir, ".*"+partial+"*"))
		left += len(found)
		if err := Clean(dir); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); got != "dir file" {
			t.Fatalf("killed: found %s, want dir file", got)
		}
		if got := names(t, filepath.Join(dir, "dir")); got != "a b" {
			t.Fatalf("killed: dir holds %s, want a b", got)
		}
		a, b := whole(t, filepath.Join(dir, "dir", "a")), whole(t, filepath.Join(dir, "dir", "b"))
		if whole(t, filepath.Join(dir, "file")); a != b {
			t.Errorf("files of two directories in one: %d and %d", a, b)
		}
	}
	t.Logf("20 processes left %d unfinished things", left)
}

// whole returns the byte that a file repeats.
func whole(t *testing.T, path string) byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) != killed || bytes.Count(content, content[:1]) != killed {
		t.Fatalf("%s is not whole: %d bytes", path, len(content))
	}
	return content[0]
}

// writeForEver replaces a file and a directory by others, again and again, and says each time that both are there. It
// ends when nobody can hear that any more.
func writeForEver(t *testing.T, dir string) {
	for n := 0; ; n++ {
		content := bytes.Repeat([]byte{byte(n)}, killed)
		err := WriteBytes(filepath.Join(dir, "file"), content)
		if err == nil {
			err = WriteDir(filepath.Join(dir, "dir"), true, func(tmp string) error {
				for _, name := range []string{"a", "b"} {
					if err := WriteBytes(filepath.Join(tmp, name), content); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.Write([]byte(".")); err != nil {
			t.Fatal(err)
		}
	}
}
