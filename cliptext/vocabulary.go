package cliptext

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

const (
	vocabFile, mergesFile = "vocab.json", "merges.txt"

	// maxVocab is how many bytes a file of a vocabulary may have; CLIP's have 1 to 3 MB.
	maxVocab = 16 << 20

	// mergesNumber is how many lines after the first of OpenAI's list are merges of CLIP's vocabulary.
	// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.__init__.
	mergesNumber = 49152 - 256 - 2
)

// fileNames are those of the files of a tokenizer in a directory; the first two are all that is needed.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py and tokenization_clip_fast.py.
var fileNames = []string{vocabFile, mergesFile, "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"}

// FileNames returns the names that a [File] may have.
func FileNames() []string { return slices.Clone(fileNames) }

// A File is one of the files that a tokenizer has in a directory of Hugging Face's form.
type File struct {
	Name string
	Data []byte
}

// ReadTokenizer reads a tokenizer: OpenAI's bpe_simple_vocab_16e6.txt.gz, or vocab.json and merges.txt
// in a directory, as a conversion writes them.
func ReadTokenizer(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cliptext: %w", err)
	}
	var t *Tokenizer
	if info.IsDir() {
		t, err = readDirectory(path)
	} else {
		t, err = readList(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cliptext: %s: %w", path, err)
	}
	return t, nil
}

// ErrVocabulary is of a model without the words that texts are read by.
var ErrVocabulary = errors.New("has no vocabulary (vocab.json and merges.txt), which no weights hold")

// FindTokenizer reads the tokenizer for a model, a directory or a checkpoint: that of vocab, as [ReadTokenizer] does, or
// that of the model's directory if vocab is "". A model that has none is an [ErrVocabulary].
func FindTokenizer(model, vocab string) (*Tokenizer, error) {
	if vocab != "" {
		return ReadTokenizer(vocab)
	}
	if _, err := os.Stat(filepath.Join(model, vocabFile)); err == nil {
		return ReadTokenizer(model)
	}
	if _, err := os.Stat(model); err != nil {
		return nil, fmt.Errorf("cliptext: %w", err)
	}
	return nil, fmt.Errorf("cliptext: %s %w", model, ErrVocabulary)
}

// readList reads OpenAI's list of merges.
func readList(path string) (*Tokenizer, error) {
	text, err := readText(path, func(r io.Reader) (io.Reader, error) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("not in gzip's form: %w", err)
		}
		return z, nil
	})
	if err != nil {
		return nil, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 1+mergesNumber {
		return nil, fmt.Errorf("%d lines, want at least %d: not CLIP's vocabulary", len(lines)-1, 1+mergesNumber)
	}
	return NewTokenizer(lines[1 : 1+mergesNumber])
}

// readDirectory reads vocab.json and merges.txt.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py, CLIPTokenizer.__init__.
func readDirectory(dir string) (*Tokenizer, error) {
	plain := func(r io.Reader) (io.Reader, error) { return r, nil }
	vocab, err := readText(filepath.Join(dir, vocabFile), plain)
	if err != nil {
		return nil, err
	}
	list, err := readText(filepath.Join(dir, mergesFile), plain)
	if err != nil {
		return nil, err
	}
	var words map[string]int
	if err := pyjson.Unmarshal([]byte(vocab), &words); err != nil {
		return nil, fmt.Errorf("%s: %w", vocabFile, err)
	}
	var merges []string
	for i, line := range strings.Split(list, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" && !(i == 0 && strings.HasPrefix(line, "#version")) {
			merges = append(merges, line)
		}
	}
	return NewTokenizerOf(words, merges)
}

// readText reads a file of text of no more than maxVocab bytes, after open.
func readText(path string, open func(io.Reader) (io.Reader, error)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := open(f)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxVocab+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxVocab || !utf8.Valid(text) {
		return "", fmt.Errorf("%s: more than %d bytes or not UTF-8: not CLIP's vocabulary", filepath.Base(path), maxVocab)
	}
	return string(text), nil
}

// ReadFiles returns the files of the tokenizer in a directory as they are, without a look into them. If one that
// [ReadTokenizer] needs is missing, the error is an [fs.ErrNotExist].
func ReadFiles(dir string) ([]File, error) {
	var files []File
	for i, name := range fileNames {
		data, err := folder.ReadSmall(filepath.Join(dir, name), maxVocab)
		switch {
		case errors.Is(err, fs.ErrNotExist) && i >= 2:
			continue
		case err != nil:
			return nil, fmt.Errorf("cliptext: %w", err)
		}
		files = append(files, File{name, data})
	}
	return files, nil
}

// Files returns the files of the tokenizer in a directory of Hugging Face's form, but for tokenizer.json, which
// transformers does not need. A text has at most context words, with those that begin and end it.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py.
func (t *Tokenizer) Files(context int) []File {
	var vocab bytes.Buffer
	for i, n := range slices.Sorted(maps.Keys(t.texts)) {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		var word bytes.Buffer
		e := json.NewEncoder(&word)
		e.SetEscapeHTML(false)
		if err := e.Encode(t.texts[n]); err != nil {
			panic(err) // a string
		}
		fmt.Fprintf(&vocab, "%s%s:%d", sep, bytes.TrimSpace(word.Bytes()), n)
	}
	vocab.WriteString("}\n")
	merges := make([]string, len(t.ranks))
	for pair, i := range t.ranks {
		merges[i] = pair[0] + " " + pair[1]
	}
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
	maps.Copy(config, words)
	return []File{
		{vocabFile, vocab.Bytes()},
		{mergesFile, []byte("#version: 0.2\n" + strings.Join(merges, "\n") + "\n")},
		{"tokenizer_config.json", folder.MustJSON(config)},
		{"special_tokens_map.json", folder.MustJSON(words)},
	}
}
