package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pages"
)

// A pageCommand is one of this program that a page has in a block for the shell.
type pageCommand struct {
	where string
	args  []string // after vitago
}

// ownArgs returns what stands behind vitago, or behind go run ./cmd/vitago, in a command.
func ownArgs(words []string) ([]string, bool) {
	switch {
	case len(words) > 0 && words[0] == "vitago":
		words = words[1:]
	case len(words) > 2 && slices.Equal(words[:3], []string{"go", "run", "./cmd/vitago"}):
		words = words[3:]
	default:
		return nil, false
	}
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "…" }), true
}

// commandsIn returns the commands in blocks.
func commandsIn(where string, blocks ...pages.Block) (all []pageCommand) {
	for _, b := range blocks {
		for _, c := range b.Commands() {
			for _, words := range c.Pipe {
				if args, ok := ownArgs(words); ok {
					all = append(all, pageCommand{where + ": " + c.Text, args})
				}
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
	names, err := pages.All(golden.Path(t, "."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range names {
		all = append(all, commandsIn(p, pages.Blocks(p, page(t, p))...)...)
	}
	if len(all) < 30 {
		t.Errorf("%d commands were found in the pages, want 30 or more", len(all))
	}
	for _, verb := range verbs(newRoot(strings.NewReader(""), nil, nil)) {
		all = append(all, commandsIn("help of "+verb.Name(), pages.Block{Language: "sh", Text: verb.Example})...)
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
