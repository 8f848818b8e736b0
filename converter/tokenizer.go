package converter

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/internal/folder"
)

const (
	// maxVocab is how many bytes the unpacked list of merges may have; OpenAI's has 3 MB.
	maxVocab = 16 << 20
	// merges is how many lines after the first are merges of CLIP's vocabulary.
	// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.__init__.
	merges = 49152 - 256 - 2

	startOfText = "<|startoftext|>"
	endOfText   = "<|endoftext|>"
)

// A vocabulary is CLIP's list of words, each at the place of its number, and the merges that make
// them from bytes.
type vocabulary struct {
	words  []string
	merges []string
}

// readVocabulary reads OpenAI's bpe_simple_vocab_16e6.txt.gz.
func readVocabulary(path string) (*vocabulary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("converter: %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxVocab+1))
	if err != nil {
		return nil, fmt.Errorf("converter: %s: %w", path, err)
	}
	if len(text) > maxVocab || !utf8.Valid(text) {
		return nil, fmt.Errorf("converter: %s: more than %d bytes or not UTF-8: not CLIP's vocabulary", path, maxVocab)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 1+merges {
		return nil, fmt.Errorf("converter: %s: %d lines, want at least %d: not CLIP's vocabulary", path, len(lines), 1+merges)
	}
	v := &vocabulary{merges: lines[1 : 1+merges]}
	seen := map[string]bool{}
	add := func(word string) error {
		if seen[word] {
			return fmt.Errorf("converter: %s: %q stands twice", path, word)
		}
		seen[word] = true
		v.words = append(v.words, word)
		return nil
	}
	letters := byteLetters()
	for _, end := range []string{"", "</w>"} {
		for _, l := range letters {
			if err := add(l + end); err != nil {
				return nil, err
			}
		}
	}
	for i, m := range v.merges {
		a, b, ok := strings.Cut(m, " ")
		if !ok || strings.Contains(b, " ") {
			return nil, fmt.Errorf("converter: %s: line %d is %.40q, want two words", path, i+2, m)
		}
		if err := add(a + b); err != nil {
			return nil, err
		}
	}
	for _, w := range []string{startOfText, endOfText} {
		if err := add(w); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// byteLetters returns a printable letter for every byte: the byte itself where it is one, and the
// letters from 256 on for the rest, which stand at the end.
//
// Source: openai/CLIP, clip/simple_tokenizer.py, bytes_to_unicode.
func byteLetters() []string {
	var printable, rest []string
	for b := rune(0); b < 256; b++ {
		if '!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ' {
			printable = append(printable, string(b))
		} else {
			rest = append(rest, string(256+rune(len(rest))))
		}
	}
	return append(printable, rest...)
}

// A namedFile is a small file that is written whole.
type namedFile struct {
	name string
	data []byte
}

// tokenizerFiles are those of a tokenizer in a directory; the first two are all that is needed.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py and tokenization_clip_fast.py.
var tokenizerFiles = []string{"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"}

// tokenizer returns the files of the tokenizer that is written: what [Options.Vocab] gives, or else that of
// the source, if it has one.
func (o *output) tokenizer() ([]namedFile, error) {
	from := cmp.Or(o.vocab, o.Name())
	info, err := os.Stat(from)
	switch {
	case o.vocab == "" && (err != nil || !info.IsDir()):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("converter: %w", err)
	case info.IsDir():
		return o.copyTokenizer(from)
	}
	v, err := readVocabulary(o.vocab)
	if err != nil {
		return nil, err
	}
	if n := len(v.words); n != o.config.Text.Vocab {
		return nil, fmt.Errorf("converter: %s has %d words, the text tower has %d", o.vocab, n, o.config.Text.Vocab)
	}
	return v.files(o.config.Text.Context), nil
}

// copyTokenizer returns the files of the tokenizer in a directory as they are. If it has none, that is an error
// only if it was named.
func (o *output) copyTokenizer(dir string) ([]namedFile, error) {
	var files []namedFile
	for i, name := range tokenizerFiles {
		data, err := folder.ReadSmall(filepath.Join(dir, name), maxVocab)
		switch {
		case errors.Is(err, os.ErrNotExist) && i < 2 && o.vocab == "":
			return nil, nil
		case errors.Is(err, os.ErrNotExist) && i >= 2:
			continue
		case err != nil:
			return nil, fmt.Errorf("converter: %w", err)
		}
		files = append(files, namedFile{name, data})
	}
	k, err := cliptext.ReadTokenizer(dir)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	if t := o.config.Text; k.Len() > t.Vocab || k.End() != t.EOS {
		return nil, fmt.Errorf("converter: %s has %d words, the last of a text %d; the text tower has %d, the last %d", dir, k.Len(), k.End(), t.Vocab, t.EOS)
	}
	return files, nil
}

// files returns the tokenizer's files for texts of the given number of tokens.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py.
func (v *vocabulary) files(context int) []namedFile {
	var vocab bytes.Buffer
	for i, w := range v.words {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		var word bytes.Buffer
		e := json.NewEncoder(&word)
		e.SetEscapeHTML(false)
		if err := e.Encode(w); err != nil {
			panic(err) // a string
		}
		fmt.Fprintf(&vocab, "%s%s:%d", sep, bytes.TrimSpace(word.Bytes()), i)
	}
	vocab.WriteString("}\n")
	special := func(word string, normalized bool) map[string]any {
		return map[string]any{"content": word, "lstrip": false, "normalized": normalized, "rstrip": false, "single_word": false}
	}
	words := map[string]any{
		"bos_token": special(startOfText, true),
		"eos_token": special(endOfText, true),
		"unk_token": special(endOfText, true),
		"pad_token": endOfText,
	}
	config := map[string]any{
		"tokenizer_class": "CLIPTokenizer", "add_prefix_space": false, "do_lower_case": true, "errors": "replace",
		"model_max_length": context,
	}
	for _, k := range []string{"bos_token", "eos_token", "unk_token", "pad_token"} {
		config[k] = words[k]
	}
	return []namedFile{
		{"vocab.json", vocab.Bytes()},
		{"merges.txt", []byte("#version: 0.2\n" + strings.Join(v.merges, "\n") + "\n")},
		{"tokenizer_config.json", indented(config)},
		{"special_tokens_map.json", indented(words)},
	}
}
