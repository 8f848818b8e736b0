package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are what a reader is sent to. What they name must be there.
var pages = []string{"README.md", "README.zh-CN.md", "examples/README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md", "testdata/README.md", "docs/*.md"}

var (
	goBlock = regexp.MustCompile("(?s)```go[ \n].*?\n```")    // in which f[T](x) is no link
	link    = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`) // [text](file#part)
	source  = regexp.MustCompile("`((?:bench|clip[a-z]+|cmd|converter|docs|examples|findings|finetune|internal|projector|tasks)/[A-Za-z0-9_./-]*|[a-z0-9_]+\\.go)`")
)

// missing returns the links and the paths in backquotes of a page that lead nowhere. Links begin where the page is. A path
// begins there, at the root, or, without a folder, anywhere in the module; NAME stands for any.
func missing(page, text string, exists func(path string) bool, named map[string]bool) (wrong []string) {
	for _, m := range link.FindAllStringSubmatch(goBlock.ReplaceAllString(text, ""), -1) {
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

// codeBlock is a block of a page, with its language.
var codeBlock = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// comment is that of a line of the shell or of Go: words that differ from language to language.
var comment = regexp.MustCompile(`(?m)[ \t]*(#|//) .*$`)

// TestTranslation: the README in Chinese has the commands and the Go of the English one, up to their comments, and as many rows of what works.
func TestTranslation(t *testing.T) {
	blocksOf := func(name string) (blocks []string, rows int) {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeBlock.FindAllStringSubmatch(string(b), -1) {
			blocks = append(blocks, m[1]+"\n"+comment.ReplaceAllString(m[2], ""))
		}
		_, works, _ := strings.Cut(string(b), "|---|---|---|\n")
		works, _, _ = strings.Cut(works, "\n\n")
		return blocks, strings.Count(works, "\n|")
	}
	want, rows := blocksOf("README.md")
	got, translated := blocksOf("README.zh-CN.md")
	if len(want) < 4 || len(got) != len(want) || rows < 5 || translated != rows {
		t.Fatalf("README.zh-CN.md has %d blocks and %d rows of what works, README.md %d and %d", len(got), translated, len(want), rows)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("block %d of README.zh-CN.md is\n%s\nwant\n%s", i+1, got[i], want[i])
		}
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

// quoted is a file that a page shows whole.
var quoted = regexp.MustCompile("(?s)```go (\\S+)\n(.*?)```")

// TestQuotedFiles: a page that shows a file shows it as it is.
func TestQuotedFiles(t *testing.T) {
	found, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, page := range found {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			file, err := os.ReadFile(filepath.Join("..", m[1]))
			if err != nil || string(file) != m[2] {
				t.Errorf("%s shows %s as it is not (%v)", filepath.Base(page), m[1], err)
			}
			compared++
		}
	}
	if compared < 3 {
		t.Errorf("%d files are shown, want those of docs/tasks.md", compared)
	}
}
