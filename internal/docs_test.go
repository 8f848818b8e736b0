package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are what a reader is sent to. What they name must be there.
var pages = []string{"README.md", "CONTRIBUTING.md", "bench/README.md", "testdata/README.md", "docs/*.md"}

var (
	link   = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`) // [text](file#part)
	source = regexp.MustCompile("`((?:bench|clip[a-z]+|cmd|converter|docs|examples|findings|finetune|internal|projector|tasks)/[A-Za-z0-9_./-]*|[a-z0-9_]+\\.go)`")
)

// missing returns the links and the paths in backquotes of a page that lead nowhere. Links begin where the page is. A path
// begins there, at the root, or, without a folder, anywhere in the module; NAME stands for any.
func missing(page, text string, exists func(path string) bool, named map[string]bool) (wrong []string) {
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(m[1], "://") && !exists(filepath.Join(filepath.Dir(page), m[1])) {
			wrong = append(wrong, m[1])
		}
	}
	for _, m := range source.FindAllStringSubmatch(text, -1) {
		if p := m[1]; !strings.Contains(p, "NAME") && !exists(p) && !exists(filepath.Join(filepath.Dir(page), p)) && !named[p] {
			wrong = append(wrong, p)
		}
	}
	return wrong
}

func TestPages(t *testing.T) {
	named := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == ".venv") {
			return filepath.SkipDir
		}
		for p := filepath.ToSlash(path); p != "" && err == nil; { // every ending of the path, as pages shorten it
			_, p, _ = strings.Cut(p, "/")
			named[p] = true
			if d.IsDir() {
				named[p+"/"] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool {
		_, err := os.Stat(filepath.Join("..", path))
		return err == nil
	}
	found := 0
	for _, pattern := range pages {
		files, err := filepath.Glob(filepath.Join("..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found++
			page, _ := filepath.Rel("..", file)
			for _, p := range missing(page, string(b), exists, named) {
				t.Errorf("%s names %s, which is not there", page, p)
			}
		}
	}
	if found < len(pages) {
		t.Errorf("%d pages were read, want at least %d", found, len(pages))
	}
}

// The patterns catch what they are for.
func TestMissing(t *testing.T) {
	exists := func(path string) bool { return path == "docs/there.md" || path == "cmd/b.go" || path == "cmd/" }
	const text = "[x](there.md#part) [y](gone.md) [z](https://example.org/gone) `cmd/b.go` `cmd/c.go` `cmd/` `docs/d/` `e.go` `f.go` `no path`"
	got := strings.Join(missing("docs/page.md", text, exists, map[string]bool{"e.go": true}), " ")
	if want := "gone.md cmd/c.go docs/d/ f.go"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The picture of the layers in docs/architecture.md is the list that TestImports holds packages to.
func TestLayersAreDrawn(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "## What may import what")
	_, rest, _ = strings.Cut(rest, "```\n")
	drawn, _, ok := strings.Cut(rest, "\n```")
	if !ok {
		t.Fatal("no picture of the layers")
	}
	var lines []string // those with names, the highest layer first
	for line := range strings.Lines(drawn) {
		if strings.Trim(line, " │\n") != "" {
			lines = append(lines, line)
		}
	}
	var there [][]string
	for _, folders := range layers {
		if _, err := os.Stat(filepath.Join("..", folders[0])); err == nil { // server comes later
			there = append(there, folders)
		}
	}
	if len(lines) != len(there) {
		t.Fatalf("%d layers are drawn, want %d:\n%s", len(lines), len(there), drawn)
	}
	for i, folders := range there {
		for _, f := range folders {
			if name := strings.TrimPrefix(f, "internal/"); !strings.Contains(lines[i], name) && f != "internal/tiny" && f != "internal/golden" { // those two are of tests
				t.Errorf("layer %d is drawn as %q, want %s in it", i, lines[i], f)
			}
		}
	}
}
