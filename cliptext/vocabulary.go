package cliptext

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	// The files of a tokenizer in a directory of Hugging Face.
	vocabFile, mergesFile = "vocab.json", "merges.txt"

	// maxVocab is how many bytes a file of a vocabulary may have; CLIP's have 1 to 3 MB.
	maxVocab = 16 << 20

	// mergesNumber is how many lines after the first of OpenAI's list are merges of CLIP's vocabulary.
	// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.__init__.
	mergesNumber = 49152 - 256 - 2
)

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
	if err := json.Unmarshal([]byte(vocab), &words); err != nil {
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
