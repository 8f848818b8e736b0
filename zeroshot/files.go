package zeroshot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/pycsv"
)

// ReadTemplate returns the template that a line of a file says, with {} in the place of {c}. A line is the template itself, or an
// element of a list in Python, with the comma behind it: 'a photo of a {}.', as in OpenAI's notebooks, or lambda c: f'a photo of a
// {c}.', as in open_clip's zero_shot_metadata.py. The lines that begin and end such a list are "". A [clip.ErrRequest] is
// returned for a line without a place for the label, and for Python's escapes other than those of quotes and backslashes.
//
// Sources: openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb, imagenet_templates; mlfoundations/open_clip,
// src/open_clip/zero_shot_metadata.py, OPENAI_IMAGENET_TEMPLATES.
func ReadTemplate(line string) (string, error) {
	t := strings.TrimSpace(line)
	if t == "" || bracket(t) {
		return "", nil
	}
	if element, ok := strings.CutSuffix(t, ","); ok {
		element = strings.TrimSpace(element)
		body, isCall := strings.CutPrefix(element, "lambda c:")
		body = strings.TrimSpace(body)
		if isCall {
			body = strings.TrimPrefix(body, "f")
		}
		text, err := quoted(body)
		switch {
		case err == nil:
			t = text
		case isCall || !errors.Is(err, errPlain):
			return "", badRequest("%q: %v", line, err)
		}
	}
	t = strings.ReplaceAll(t, namedPlace, Place)
	if !strings.Contains(t, Place) {
		return "", badRequest("%q, has no %s, where the label stands", t, Place)
	}
	return t, nil
}

// bracket says whether a line begins or ends a list of Python.
func bracket(t string) bool {
	switch t {
	case "[", "]", "(", ")", "],", "),":
		return true
	}
	name, rest, ok := strings.Cut(t, "=")
	rest = strings.TrimSpace(rest)
	return ok && (rest == "[" || rest == "(") && !strings.ContainsAny(strings.TrimSpace(name), " {}")
}

// errPlain says that a text is no string of Python.
var errPlain = errors.New("want a string of Python in quotes")

// quoted returns what a string of Python says.
func quoted(s string) (string, error) {
	if len(s) < 2 || s[0] != '\'' && s[0] != '"' || s[len(s)-1] != s[0] {
		return "", errPlain
	}
	quote, inner := s[0], s[1:len(s)-1]
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == quote:
			return "", errPlain
		case c != '\\':
			b.WriteByte(c)
		case i+1 < len(inner) && strings.IndexByte("\\'\"", inner[i+1]) >= 0:
			i++
			b.WriteByte(inner[i])
		case i+1 == len(inner):
			return "", errPlain // the quote at the end is none
		default:
			return "", fmt.Errorf("the escape %q, want \\', \\\" or \\\\", inner[i:i+2])
		}
	}
	return b.String(), nil
}

// ReadPrompts returns the labels of a file, in the order in which they come first, with the prompts of all its rows that have the
// label. The ending of the file's name says what it is:
//
//	.csv      the columns label and prompt, which the first row names, as Python's csv and pandas read it
//	.jsonl    an object a line, with the members label and prompt, which is a text or a list of texts
//	any other a label, a tab, and a prompt a line
//
// The text is UTF-8, with or without a byte order mark; lines without anything are left out, and so are other columns and members.
// White space around labels and prompts is none of them. A [clip.ErrRequest] says which line is wrong, and how.
func ReadPrompts(name string, text []byte) ([]Label, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return nil, badRequest("%s: the text is UTF-16, want UTF-8", name)
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, badRequest("%s: want text in UTF-8", name)
	}
	p := prompts{at: map[string]int{}}
	var err error
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		err = p.csv(text)
	case ".jsonl":
		err = p.lines(text, p.json)
	default:
		err = p.lines(text, p.tabbed)
	}
	if err != nil {
		return nil, badRequest("%s: %v", name, err)
	}
	if len(p.labels) == 0 {
		return nil, badRequest("%s: got 0 labels, want at least 1", name)
	}
	return p.labels, nil
}

// prompts are those that have been read so far.
type prompts struct {
	labels []Label
	at     map[string]int
}

func (p *prompts) add(label, prompt string) error {
	label, prompt = strings.TrimSpace(label), strings.TrimSpace(prompt)
	switch {
	case label == "":
		return errors.New("the label is empty")
	case prompt == "":
		return fmt.Errorf("the prompt of the label %q is empty", label)
	}
	i, ok := p.at[label]
	if !ok {
		i = len(p.labels)
		p.at[label], p.labels = i, append(p.labels, Label{Name: label})
	}
	if slices.Contains(p.labels[i].Prompts, prompt) {
		return fmt.Errorf("the label %q has the prompt %q twice", label, prompt)
	}
	p.labels[i].Prompts = append(p.labels[i].Prompts, prompt)
	return nil
}

// lines gives all lines that are not empty to a function.
func (p *prompts) lines(text []byte, read func(line string) error) error {
	n := 0
	for line := range strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n") {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := read(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

func (p *prompts) tabbed(line string) error {
	label, prompt, ok := strings.Cut(line, "\t")
	if !ok {
		return fmt.Errorf("%.60q has no tab, want a label, a tab, and a prompt", line)
	}
	return p.add(label, prompt)
}

func (p *prompts) json(line string) error {
	var row struct {
		Label  *string         `json:"label"`
		Prompt json.RawMessage `json:"prompt"`
	}
	if err := json.Unmarshal([]byte(line), &row); err != nil {
		return fmt.Errorf("want an object with label and prompt: %w", err)
	}
	if row.Label == nil || row.Prompt == nil {
		return fmt.Errorf("%.60q has no label and prompt", line)
	}
	var one string
	if json.Unmarshal(row.Prompt, &one) == nil {
		return p.add(*row.Label, one)
	}
	var all []string
	if err := json.Unmarshal(row.Prompt, &all); err != nil || len(all) == 0 {
		return fmt.Errorf("the prompt is %.60s, want a text or a list of texts", row.Prompt)
	}
	for _, one := range all {
		if err := p.add(*row.Label, one); err != nil {
			return err
		}
	}
	return nil
}

func (p *prompts) csv(text []byte) error {
	var head []string
	label, prompt := -1, -1
	err := pycsv.Table(text, func(r pycsv.Record) error {
		if head == nil {
			head = r.Fields
			label, prompt = slices.Index(head, "label"), slices.Index(head, "prompt")
			if label < 0 || prompt < 0 {
				return fmt.Errorf("the first row is %.80q, want columns that are called label and prompt", strings.Join(head, ","))
			}
			return nil
		}
		if err := p.add(r.Fields[label], r.Fields[prompt]); err != nil {
			return fmt.Errorf("line %d: %w", r.Line, err)
		}
		return nil
	})
	if err == nil && head == nil {
		return errors.New("the first row is \"\", want columns that are called label and prompt")
	}
	return err
}
