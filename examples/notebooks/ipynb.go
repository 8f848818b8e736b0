package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// A part of a source is text or code.
type part struct {
	code         bool
	text         string // of text
	declarations string // of code: imports and variables that later cells use
	statements   string
}

// declares are the words that a declaration begins with; GoNB keeps declarations for later cells, and statements stand behind %%.
var declares = regexp.MustCompile(`^(import|var)\b`)

// parse cuts a source into text and code.
func parse(source string) (parts []part, err error) {
	for i, piece := range regexp.MustCompile("(?m)^```(?:go)?\n").Split(source, -1) {
		piece = strings.Trim(piece, "\n")
		switch {
		case i%2 == 0 && piece != "":
			parts = append(parts, part{text: piece})
		case i%2 == 1:
			p := part{code: true}
			declaration := true
			for line := range strings.Lines(piece + "\n") {
				if line != "\n" && line[0] != '\t' && line[0] != ')' && line[0] != '}' {
					declaration = declares.MatchString(line)
				}
				// A declaration of a variable that is used in this cell alone stands among the statements.
				if declaration && p.statements == "" {
					p.declarations += line
				} else {
					p.statements += line
				}
			}
			p.declarations, p.statements = strings.Trim(p.declarations, "\n"), strings.Trim(p.statements, "\n")
			if p.declarations == "" && p.statements == "" {
				return nil, fmt.Errorf("a block of code is empty")
			}
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// A kernelForm is how the parts become a notebook for one kernel.
type kernelForm struct {
	folder   string
	setup    string // a cell before the others, "" for none
	divide   string // between declarations and statements
	metadata map[string]any
}

var kernels = []kernelForm{
	{
		folder: "gonb", divide: "\n%%\n", setup: gonbSetup,
		metadata: map[string]any{
			"kernelspec":    map[string]any{"display_name": "Go (gonb)", "language": "go", "name": "gonb"},
			"language_info": map[string]any{"name": "go", "file_extension": ".go", "mimetype": "text/x-go"},
		},
	},
	{
		folder: "gophernotes", divide: "\n",
		metadata: map[string]any{
			"kernelspec":    map[string]any{"display_name": "Go", "language": "go", "name": "gophernotes"},
			"language_info": map[string]any{"name": "go", "file_extension": ".go"},
		},
	},
}

// gonbSetup takes the module from this clone. A cell of GoNB is compiled in a module of the kernel's.
const gonbSetup = "!*go mod edit -require=github.com/vitago/vitago@v0.0.0 -replace=github.com/vitago/vitago=$GONB_DIR/../../.. && cp $GONB_DIR/../../../go.sum ."

// notebook makes a notebook of parts.
func (k kernelForm) notebook(parts []part) *notebook {
	n := &notebook{Metadata: k.metadata, Format: 4, Minor: 4}
	for _, p := range parts {
		if !p.code {
			n.Cells = append(n.Cells, cell{Type: "markdown", Source: text(p.text)})
			continue
		}
		if k.setup != "" && !n.hasCode() {
			n.Cells = append(n.Cells, cell{Type: "code", Source: text(k.setup)})
		}
		source := p.declarations
		if p.statements != "" {
			source = strings.TrimPrefix(source+k.divide, "\n") + p.statements
		}
		n.Cells = append(n.Cells, cell{Type: "code", Source: text(source)})
	}
	return n
}

// A notebook is a file .ipynb, nbformat 4.
type notebook struct {
	Cells    []cell         `json:"cells"`
	Metadata map[string]any `json:"metadata"`
	Format   int            `json:"nbformat"`
	Minor    int            `json:"nbformat_minor"`
}

type cell struct {
	Type    string   `json:"cell_type"`
	Source  text     `json:"source"`
	Outputs []output `json:"outputs"`
}

// An output is what a cell has shown or written.
type output struct {
	Type string          `json:"output_type"`
	Data map[string]text `json:"data,omitempty"`
	Name string          `json:"name,omitempty"` // of a stream
	Text text            `json:"text,omitempty"` // of a stream
	// Of an error.
	EName  string `json:"ename,omitempty"`
	EValue string `json:"evalue,omitempty"`
}

// A text is in a notebook a string or a list of lines.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = text(one)
		return nil
	}
	var lines []string
	err := json.Unmarshal(b, &lines)
	*t = text(strings.Join(lines, ""))
	return err
}

func (t text) MarshalJSON() ([]byte, error) {
	lines := []string{}
	for line := range strings.Lines(string(t)) {
		lines = append(lines, line)
	}
	if len(lines) == 1 {
		return marshal(lines[0])
	}
	return marshal(lines)
}

// marshal is json.Marshal that leaves < > & as they are, as Jupyter does.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// MarshalJSON writes what nbformat wants of each type of cell.
func (c cell) MarshalJSON() ([]byte, error) {
	m := map[string]any{"cell_type": c.Type, "metadata": map[string]any{}, "source": c.Source}
	if c.Type == "code" {
		outputs := []any{}
		for _, o := range c.Outputs {
			if o.Type == "stream" {
				outputs = append(outputs, map[string]any{"output_type": o.Type, "name": o.Name, "text": o.Text})
			} else {
				outputs = append(outputs, map[string]any{"output_type": "display_data", "data": o.Data, "metadata": map[string]any{}})
			}
		}
		m["outputs"], m["execution_count"] = outputs, nil
	}
	return marshal(m)
}

func (n *notebook) hasCode() bool {
	for _, c := range n.Cells {
		if c.Type == "code" {
			return true
		}
	}
	return false
}

// dropSetup leaves out the cell that only GoNB has.
func (n *notebook) dropSetup() {
	for i, c := range n.Cells {
		if c.Source == gonbSetup {
			n.Cells = append(n.Cells[:i:i], n.Cells[i+1:]...)
			return
		}
	}
}

// takeOutputs takes the outputs of cells that are the same, but for what is said on standard error: how far a call is.
func (n *notebook) takeOutputs(from *notebook) {
	for i := range n.Cells {
		if i >= len(from.Cells) || from.Cells[i].Source != n.Cells[i].Source {
			continue
		}
		for _, o := range from.Cells[i].Outputs {
			if o.Type != "stream" || o.Name != "stderr" {
				n.Cells[i].Outputs = append(n.Cells[i].Outputs, o)
			}
		}
	}
}

func read(path string) (*notebook, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := &notebook{}
	if err := json.Unmarshal(file, n); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// encoded is the notebook as Jupyter writes it: with an indent of one space and sorted names.
func (n *notebook) encoded() ([]byte, error) {
	file, err := marshal(n)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, file, "", " "); err != nil {
		return nil, err
	}
	return append(b.Bytes(), '\n'), nil
}

func (n *notebook) write(path string) error {
	file, err := n.encoded()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, file, 0o666)
}

// same says whether two notebooks have the same cells, whatever they have shown.
func same(a, b *notebook) bool {
	strip := func(n *notebook) (cells []cell) {
		for _, c := range n.Cells {
			c.Outputs = nil
			cells = append(cells, c)
		}
		return cells
	}
	return reflect.DeepEqual(strip(a), strip(b))
}
