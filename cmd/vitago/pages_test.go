package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/golden"
)

// words splits a line as a shell does, as far as pages need it: quotes, comments, and the commands of a pipe.
func words(line string) (commands [][]string) {
	var command []string
	word, in, quote := []byte(nil), false, byte(0)
	end := func() {
		if in {
			command = append(command, string(word))
		}
		word, in = nil, false
	}
scan:
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word, in = append(word, line[i]), true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && c == '#' && !in:
			break scan
		case quote == 0 && c == '|':
			end()
			commands, command = append(commands, command), nil
		case quote == 0 && (c == ' ' || c == '\t'):
			end()
		default:
			word, in = append(word, c), true
		}
	}
	end()
	return append(commands, command)
}

func TestWords(t *testing.T) {
	const line = `curl -s "a b" | vitago classify --labels "x,\"y, z\"" '{} #'  "" # a "comment`
	want := [][]string{{"curl", "-s", "a b"}, {"vitago", "classify", "--labels", `x,"y, z"`, "{} #", ""}}
	if got := words(line); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A pageCommand is one of this program that a page has in a block for the shell.
type pageCommand struct {
	where string
	args  []string // after vitago
}

// commandsIn returns the commands of a page, or of all of it if it is no Markdown.
func commandsIn(where, text string, markdown bool) (all []pageCommand) {
	block := !markdown
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "```") {
			block = line == "```sh"
			continue
		}
		if !block {
			continue
		}
		for _, command := range words(line) {
			if len(command) > 0 && command[0] == "vitago" {
				all = append(all, pageCommand{where + ": " + line, slices.DeleteFunc(command[1:], func(w string) bool { return w == "…" })})
			}
		}
	}
	return all
}

// page reads a file of the root.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(golden.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// verbs returns all commands that are no groups of cobra's own, by their words.
func verbs(root *cobra.Command) (all []*cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			all = append(append(all, c), verbs(c)...)
		}
	}
	return all
}

// TestPagesParse: what README, docs and the examples of the help show are verbs, flags and values that there are.
func TestPagesParse(t *testing.T) {
	var all []pageCommand
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(pages, "../../README.md", "../../bench/README.md", "../../CONTRIBUTING.md") {
		all = append(all, commandsIn(filepath.Base(p), page(t, strings.TrimPrefix(filepath.ToSlash(p), "../../")), true)...)
	}
	if len(all) < 30 {
		t.Errorf("%d commands were found in the pages, want 30 or more", len(all))
	}
	for _, verb := range verbs(newRoot(strings.NewReader(""), nil, nil)) {
		all = append(all, commandsIn("help of "+verb.Name(), verb.Example, false)...)
	}
	for _, s := range all {
		root := newRoot(strings.NewReader(""), nil, nil)
		cmd, rest, err := root.Find(s.args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil && !slices.Contains(s.args, "--help") {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil || cmd == root {
			t.Errorf("%s: %v", s.where, err)
		}
	}
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| `([a-z-]+)[ `].*$")
	coded    = regexp.MustCompile("`[^`]+`")
	optioned = regexp.MustCompile(`--([a-z0-9-]+)(?: ([^ \[\]]+))?`)
)

// TestTableOfVerbs: the table of docs/cli.md has a row for every verb, with flags and values that there are.
func TestTableOfVerbs(t *testing.T) {
	_, table, _ := strings.Cut(page(t, "docs/cli.md"), "| verb | does |")
	table, _, _ = strings.Cut(table, "\n\n")
	root, rows := newRoot(strings.NewReader(""), nil, nil), map[string]bool{}
	for _, row := range tableRow.FindAllStringSubmatch(table, -1) {
		rows[row[1]] = true
		for _, synopsis := range coded.FindAllString(row[0], -1) {
			cmd, _, err := root.Find(strings.Fields(strings.Trim(synopsis, "`")))
			if err != nil || cmd == root {
				continue // of an explanation
			}
			for _, o := range optioned.FindAllStringSubmatch(strings.ReplaceAll(synopsis, `\|`, "|"), -1) {
				f := cmd.Flags().Lookup(o[1])
				if f == nil {
					t.Errorf("%s: there is no --%s", cmd.Name(), o[1])
					continue
				}
				if c, ok := f.Value.(*choice); ok && strings.Contains(o[2], "|") {
					if got := strings.Split(strings.Trim(o[2], "`"), "|"); !slices.Equal(got, c.of) {
						t.Errorf("%s: --%s is of %q, want %q", cmd.Name(), o[1], got, c.of)
					}
				}
			}
		}
	}
	for _, verb := range root.Commands() {
		if !rows[verb.Name()] && verb.Name() != "help" && verb.Name() != "completion" {
			t.Errorf("the table of docs/cli.md has no row for %s", verb.Name())
		}
	}
}

// maxReadme bounds the lines of README: it is a page to begin with.
const maxReadme = 150

// TestReadmeRuns runs what README shows, and the pages behind it, in this order, on small models and pictures that lie where README has them.
func TestReadmeRuns(t *testing.T) {
	pictures := colours(t, 8)
	if n := strings.Count(page(t, "README.md"), "\n"); n > maxReadme {
		t.Errorf("README.md has %d lines, want at most %d", n, maxReadme)
	}
	var commands []pageCommand
	for _, name := range []string{"README.md", "docs/cli.md", "docs/formats.md", "docs/visual-tokens.md", "docs/finetuning.md"} {
		commands = append(commands, commandsIn(name, page(t, name), true)...)
	}
	letters := maps.Clone(fewWords) // and those of the words in README
	for _, w := range []string{"r", "e", "r</w>", "d</w>", "bi", "bir", "bird</w>"} {
		if _, ok := letters[w]; !ok {
			letters[w] = len(letters) - 2
		}
	}
	model := withVocabulary(t, letters)
	merges := "#version: 0.2\n" + strings.Join(append(slices.Clone(fewMerges), "b i", "bi r", "bir d</w>"), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(model, "merges.txt"), []byte(merges), 0o666); err != nil {
		t.Fatal(err)
	}
	family := func(name string) string { return golden.Path(t, "testdata/families/"+name) }
	copies := map[string]string{
		"models/vit-b-32": model, "models/llava-1.5-7b": family("llava"), "models/xcomposer2-4khd": family("xcomposer2-hd"),
		"models/teacher": family("xcomposer2-hd"), "internlm-xcomposer2-vl-7b": family("xcomposer2-vl"),
		"photos": filepath.Join(pictures, "red"), "pictures/train": pictures, "pictures/test": pictures, ".": filepath.Join(pictures, "blue"),
	}
	archive, err := os.ReadFile(golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for to, from := range copies {
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	captioned := "filepath,title\n"
	for i := range 8 {
		captioned += fmt.Sprintf("pictures/train/red/%02d.png,a red dog\npictures/train/blue/%02[1]d.png,a cat\n", i)
	}
	photo, err := os.ReadFile("00.png")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"captions.csv": []byte(captioned), "photo.jpg": photo, "page.png": photo, "ViT-B-32.pt": archive} {
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// The model with a vocabulary is no archive, and the vocabulary is not OpenAI's.
	insteadOf := map[string]string{
		"inspect models/ViT-B-32.pt": "ViT-B-32.pt", "convert models/ViT-B-32.pt": "ViT-B-32.pt", "convert models/vit-b-32": "converted",
		"compare models/ViT-L-14-336px.pt": "ViT-B-32.pt", "export tuned/model": "converted",
	}
	done := 0
	for _, c := range commands {
		var args []string
		for i, w := range c.args {
			if other, ok := insteadOf[c.args[0]+" "+w]; i > 0 && ok {
				w = other
			}
			if files, _ := filepath.Glob(w); strings.Contains(w, "*") { // as the shell does it
				args = append(args, files...)
				continue
			}
			args = append(args, w)
		}
		switch {
		case args[0] == "download": // there is no network
			continue
		case args[0] == "serve": // which goes on until it is told to end
			args = append(args, "--check")
		case slices.Contains(args, "--recipe"):
			args = append(args, "--split", "0.25")
		}
		if slices.Contains(args, "models/xcomposer2-4khd") && !slices.Contains(args, "--layout") { // it is too small to be known by its size
			args = append(args, "--layout", "xcomposer2-4khd")
		}
		done++
		if r := vitago(args...); r.status != exitDone {
			t.Errorf("%s: status %d\n%s", c.where, r.status, r.err)
		}
	}
	if done < 20 {
		t.Errorf("%d commands were run, want 20 or more", done)
	}
	for _, name := range []string{"photos.npy", "photos.npy.names.jsonl", "tuned/report.md", "tuned.pt", "tuned3/adapter/adapter_config.json", "sweep/sweep.md", "pairs/model", "tokens/model", "tokens.safetensors", "page.npy"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}
