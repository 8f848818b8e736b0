package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCommandsOfPages runs this program's commands of deploy/README.md and docs/serving.md, which write elsewhere here.
func TestCommandsOfPages(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command for two processors")
	}
	t.Chdir("..") // where the pages run them
	found := 0
	for _, name := range []string{"deploy/README.md", "docs/serving.md"} {
		page, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(page)) {
			line, _, _ = strings.Cut(line, " #")
			rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "cd deploy && "), "go run ./image ")
			if !ok {
				continue
			}
			found++
			args := strings.Fields(rest)
			i := slices.Index(args, "-o")
			if i < 0 {
				t.Fatalf("%s: %s: no -o", name, line)
			}
			args[i+1] = filepath.Join(t.TempDir(), args[i+1])
			if err := run(t.Context(), args); err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			} else if _, err := os.Stat(args[i+1]); err != nil {
				t.Error(err)
			}
		}
	}
	if found < 3 {
		t.Errorf("%d commands were found, want 3 or more", found)
	}
}
