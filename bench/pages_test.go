package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pages"
)

// shortest is what makes a run short: behind the flags of a page it counts in their place.
var shortest = map[string]string{
	"":       "-config tiny -rounds 1 -threads 1 -batch 1 -contenders best,torch,ort",
	"scale":  "-config tiny -rounds 1 -threads 1 -batch 1,2 -contenders best,torch",
	"train":  "-config tiny -rounds 1 -threads 1 -batch 1",
	"files":  "-config tiny -rounds 1 -files 32",
	"serve":  "-config tiny -rounds 1 -files 32 -clients 8",
	"shards": "-config tiny -rounds 1 -files 32",
	"search": "-rows 10000 -rounds 1",
}

// quoted is a command of this program within a text.
var quoted = regexp.MustCompile("`go run \\./bench ([^`]*)`")

// TestPages: each command of this program that a page shows, or names beside a figure, has flags and values that there are. Those that VITAGO_BENCH matches, a regular expression, run in
// their shortest form, beside the peers that bench/setup.sh has installed.
func TestPages(t *testing.T) {
	root := golden.Path(t, ".")
	all, err := pages.All(root)
	if err != nil {
		t.Fatal(err)
	}
	pattern := os.Getenv("VITAGO_BENCH")
	really, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	placeholders := strings.NewReplacer("\n", " ", "BINARY", os.Args[0]) // -before looks whether there is such a program
	dir, found, inline := t.TempDir(), 0, 0
	t.Chdir(root)
	for _, page := range all {
		text, err := pages.Read(root, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) { // beside figures
			inline++
			args := pages.Split(placeholders.Replace(m[1]))[0]
			if len(args) > 0 && args[0] == "page" { // which parse leaves
				continue
			}
			if _, err := parse(args); err != nil {
				t.Errorf("%s: %s: %v", page, m[0], err)
			}
		}
		for _, b := range pages.Blocks(page, text) {
			for _, c := range b.Commands() {
				words := c.Words()
				if len(words) < 3 || !slices.Equal(words[:3], []string{"go", "run", "./bench"}) {
					continue
				}
				found++
				args := slices.Clone(words[3:])
				o, err := parse(args)
				if err != nil {
					t.Errorf("%s: %v", c.Where(), err)
					continue
				}
				if pattern == "" || !really.MatchString(c.Text) {
					continue
				}
				for i, w := range args[:len(args)-1] {
					switch w {
					case "-o", "-json", "-plot", "-dir":
						args[i+1] = filepath.Join(dir, args[i+1])
					case "-python":
						args[i+1] = filepath.Join("bench", ".venv", "bin", "python")
					case "-pictures":
						args[i+1] = ""
					}
				}
				args = append(args, strings.Fields(shortest[o.mode])...)
				t.Logf("go run ./bench %s", strings.Join(args, " "))
				if err := run(t.Context(), args); err != nil {
					t.Errorf("%s: %v", c.Where(), err)
				}
			}
		}
	}
	if found < 15 {
		t.Errorf("%d commands were found, want 15 or more", found)
	}
	if inline < 10 {
		t.Errorf("%d commands were found in text, want 10 or more", inline)
	}
}
