// Package pages reads what the project's pages show: blocks, and the commands in them. The tests that run these begin here, so that what a
// page shows is what runs.
//
//	page ─▶ Blocks: language, text, mark ─▶ Block.Commands: words of a shell, folder, variables
package pages

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// patterns are the pages, from the root of the module.
var patterns = []string{"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/*.md", "examples/README.md", "bench/README.md", "deploy/README.md", "testdata/README.md"}

// All returns the pages of the module at root, by their paths from there, with slashes.
func All(root string) ([]string, error) {
	var all []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(p)))
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			rel, err := filepath.Rel(root, f)
			if err != nil {
				return nil, err
			}
			all = append(all, filepath.ToSlash(rel))
		}
	}
	return all, nil
}

// Read returns the text of a page, with lines that end as on Unix.
func Read(root, page string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(page)))
	return strings.ReplaceAll(string(b), "\r\n", "\n"), err
}

// A Block is what stands in a page between two fences.
type Block struct {
	Page     string // from the root
	Line     int    // of the first fence, from 1
	Language string // all that stands behind the fence
	Text     string // with its last newline
	// Mark is what the block wants that tests do not have, such as "released weights": the paragraph before it says so in italics, as
	// *Wants released weights.*
	Mark string
}

// mark is that of a block, and remark that of a line.
var (
	mark   = regexp.MustCompile(`\*Wants ([^*.]+)\.\*`)
	remark = regexp.MustCompile(`(?:^|\s)#.*\b(released weights)\b`)
)

// Blocks returns the blocks of a page's text.
func Blocks(page, text string) []Block {
	var all []Block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "```") {
			continue
		}
		b := Block{Page: page, Line: i + 1, Language: strings.TrimPrefix(lines[i], "```")}
		above := strings.TrimRight(strings.Join(lines[:i], "\n"), "\n")
		if m := mark.FindStringSubmatch(above[strings.LastIndex(above, "\n\n")+1:]); m != nil {
			b.Mark = m[1]
		}
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "```"); i++ {
			b.Text += lines[i] + "\n"
		}
		all = append(all, b)
	}
	return all
}

// A Command is one line of a block for the shell, or a part of one between &&.
type Command struct {
	Text  string     // as it stands, without variables and the comment; lines that go on are one
	Pipe  [][]string // words of each command of the pipe
	Env   []string   // NAME=VALUE before it
	Dir   string     // where a cd before it in the block led
	Mark  string     // that of the block, or what its comment says that it wants
	Block Block
}

// Words are those of the first command of the pipe.
func (c Command) Words() []string { return c.Pipe[0] }

// Where names the command in messages.
func (c Command) Where() string { return c.Block.Page + ": " + c.Text }

// onward is the end of a line that goes on.
var onward = regexp.MustCompile(`(\\|(\|))\n\s*`)

// Commands returns those of a block of sh or console. A cd is none: it is the Dir of those behind it.
func (b Block) Commands() []Command {
	if b.Language != "sh" && b.Language != "console" {
		return nil
	}
	var all []Command
	dir := ""
	for line := range strings.Lines(onward.ReplaceAllString(b.Text, "$2 ")) {
		for _, text := range strings.Split(strings.TrimSpace(line), " && ") {
			c := Command{Text: text, Pipe: Split(text), Dir: dir, Mark: b.Mark, Block: b}
			if m := remark.FindStringSubmatch(line); m != nil && c.Mark == "" {
				c.Mark = m[1]
			}
			for len(c.Words()) > 0 && variable.MatchString(c.Words()[0]) {
				c.Env = append(c.Env, c.Words()[0])
				c.Pipe[0] = c.Pipe[0][1:]
				_, rest, _ := strings.Cut(c.Text, " ")
				c.Text = strings.TrimSpace(rest)
			}
			if i := comment(c.Text); i >= 0 {
				c.Text = strings.TrimSpace(c.Text[:i])
			}
			switch words := c.Words(); {
			case len(words) == 0:
			case words[0] == "cd" && len(words) == 2:
				dir = words[1]
			default:
				all = append(all, c)
			}
		}
	}
	return all
}

// variable is NAME=VALUE.
var variable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*=`)

// Split splits a line as a shell does, as far as pages need it: quotes, comments, and the commands of a pipe.
func Split(line string) (commands [][]string) {
	commands, _ = scan(line)
	return commands
}

// comment returns where the comment of a line begins, -1 if it has none.
func comment(line string) int {
	_, at := scan(line)
	return at
}

func scan(line string) (commands [][]string, comment int) {
	var command []string
	word, in, quote := []byte(nil), false, byte(0)
	end := func() {
		if in {
			command = append(command, string(word))
		}
		word, in = nil, false
	}
	comment = -1
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
			comment = i
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
	return append(commands, command), comment
}
