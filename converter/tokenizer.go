package converter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// Tokenizer returns what reads texts for the text tower. It is that of vocab, as [cliptext.ReadTokenizer] reads it, or that of the model's
// directory, or of its file's, if vocab is "", or else OpenAI's, which the program brings along: embedded is true then. Archives of OpenAI and OpenCLIP, whose
// libraries have no other, get it wherever the tower's vocabulary has that size. Texts are read by the rules of the library whose names the tensors
// have, or that the directory names.
//
// A tower with a vocabulary of another size and without a tokenizer is a [cliptext.ErrVocabulary], and a tokenizer that is not of the
// tower an error.
func (m *Model) Tokenizer(vocab string) (t *cliptext.Tokenizer, embedded bool, err error) {
	if m.config.Text == nil {
		return nil, false, fmt.Errorf("converter: %s: has no text tower", m.name)
	}
	if err := m.plainTexts(); vocab == "" && err != nil {
		return nil, false, fmt.Errorf("converter: %s: %s: %w", m.name, openCLIPConfig, err)
	}
	from := vocab
	switch openAIs := m.openAIs(); {
	case vocab != "":
	case m.native() && openAIs, openAIs && m.tokenizers() == "" && !cliptext.SaysNone(m.name):
		return cliptext.NewOpenAI(m.rules()), true, nil
	case m.tokenizers() == "":
		return nil, false, fmt.Errorf("converter: %s %w", m.name, cliptext.ErrVocabulary)
	default:
		from = m.tokenizers()
	}
	if vocab == "" && m.words != nil {
		t, err = cliptext.NewTokenizerFiles(m.words)
	} else {
		t, err = cliptext.ReadTokenizer(from)
	}
	if err != nil {
		return nil, false, fmt.Errorf("converter: %w", err)
	}
	if info, err := os.Stat(from); m.native() || err == nil && !info.IsDir() {
		t = t.With(m.rules())
	}
	n, w := t.Len(), m.config.Text
	if n > w.Vocab && t.End() == w.EOS { // parts of tokens, which no text has, want no rows
		if within, err := t.Within(w.Vocab); err == nil {
			return within, false, nil
		}
	}
	if n > w.Vocab || t.End() != w.EOS {
		return nil, false, fmt.Errorf("converter: %s: the vocabulary has %d tokens, the last of a text %d; the text tower has %d, the last %d: they are not of one model",
			from, n, t.End(), w.Vocab, w.EOS)
	}
	return t, false, nil
}

// tokenizers returns the directory of the model's tokenizer: its own, or that of its file; "" if there is none.
func (m *Model) tokenizers() string {
	if m.words != nil || cliptext.HasTokenizer(m.name) {
		return m.name
	}
	if info, err := os.Stat(m.name); !m.native() && err == nil && info.Mode().IsRegular() && cliptext.HasTokenizer(filepath.Dir(m.name)) {
		return filepath.Dir(m.name)
	}
	return ""
}

// openAIs says whether the words of the text tower can be those of OpenAI's vocabulary.
func (m *Model) openAIs() bool {
	t := m.config.Text
	return t != nil && t.Vocab >= cliptext.OpenAIWords && t.EOS == cliptext.OpenAIWords-1
}

// rules returns those of the library whose names the tensors have.
func (m *Model) rules() cliptext.Rules {
	switch {
	case !m.native():
		return cliptext.Transformers
	case m.dialect == openCLIP || m.beside.openCLIP != nil:
		return cliptext.OpenCLIP
	}
	return cliptext.OpenAI
}

// plainTexts returns an error if OpenCLIP's configuration asks for another tokenizer than its own.
//
// Source: mlfoundations/open_clip, src/open_clip/factory.py, get_tokenizer.
func (m *Model) plainTexts() error {
	if !m.native() || m.beside.openCLIP == nil {
		return nil
	}
	var c struct {
		Model struct {
			Text struct {
				Name string         `json:"hf_tokenizer_name"`
				Mode string         `json:"tokenizer_mode"`
				With map[string]any `json:"tokenizer_kwargs"`
			} `json:"text_cfg"`
		} `json:"model_cfg"`
	}
	if err := pyjson.Unmarshal(m.beside.openCLIP, &c); err != nil {
		return err
	}
	t := c.Model.Text
	if t.Name != "" {
		return fmt.Errorf("text_cfg.hf_tokenizer_name is %.60q, want none: OpenCLIP's own tokenizer", t.Name)
	}
	if t.Mode != "" {
		return fmt.Errorf("text_cfg.tokenizer_mode is %.60q, want none", t.Mode)
	}
	for key, value := range t.With {
		if key != "context_length" && !(key == "clean" && value == "lower") && !(key == "reduction_mask" && value == "") {
			return fmt.Errorf("text_cfg.tokenizer_kwargs has %.40s %.60v, want OpenCLIP's defaults", key, value)
		}
	}
	return nil
}

// tokenizer finds the files of the tokenizer that is written: what [Options.Vocab] gives, or that of the source as it is, or OpenAI's. What a
// source without one, of other words than OpenAI's, gets keeps transformers from making one up.
func (o *output) tokenizer() error {
	m := o.model
	t, embedded, err := m.Tokenizer(o.vocab)
	from := o.vocab
	switch {
	case errors.Is(err, cliptext.ErrVocabulary):
		o.words, o.said = cliptext.NoFiles(m.config.Text.Vocab), "none: the source has none, and its vocabulary is not OpenAI's"
		return nil
	case o.vocab == "" && m.plainTexts() != nil:
		o.words, o.said = cliptext.NoFiles(m.config.Text.Vocab), "none: "+m.plainTexts().Error()
		return nil
	case errors.Is(err, cliptext.ErrForm) && o.vocab == "" && !m.native():
		o.said = "the source's, as it is: " + strings.TrimPrefix(err.Error(), "converter: ")
		o.words, err = cliptext.ReadFiles(m.tokenizers())
		return folder.Prefix("converter", err)
	case err != nil:
		return err
	case embedded:
		o.said = "OpenAI's"
		o.words = t.Files(m.config.Text.Context)
		if m.tokenizers() != "" { // which OpenCLIP does not read
			o.unread = append(o.unread, "the tokenizer of transformers' form")
		}
		return nil
	case from == "":
		from = m.tokenizers()
	}
	if o.vocab == "" && m.words != nil {
		o.words = m.words
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	if !info.IsDir() {
		o.words = t.Files(m.config.Text.Context)
		return nil
	}
	if o.words, err = cliptext.ReadFiles(from); err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	if m.native() {
		if o.words, err = cliptext.WithRules(o.words, m.rules()); err != nil {
			return fmt.Errorf("converter: %s: %w", from, err)
		}
	}
	return nil
}
