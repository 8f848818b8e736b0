package cliptext

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"

	"github.com/vitago/vitago/internal/folder"
)

// openAIList is OpenAI's list of merges, of 262,144 lines packed by gzip, of which CLIP takes the first 48,894 after the
// headline. Its license lies beside it.
//
// Source: openai/CLIP, clip/bpe_simple_vocab_16e6.txt.gz (commit d05afc4), MIT.
//
//go:embed bpe_simple_vocab_16e6.txt.gz
var openAIList []byte

// OpenAIWords is how many tokens OpenAI's vocabulary has, as almost all towers do; the last two begin and end a text.
const OpenAIWords = 49408

// NewOpenAI returns the tokenizer of OpenAI's vocabulary, which the program brings along, with the rules of a library.
func NewOpenAI(r Rules) *Tokenizer { return openAITokenizer().With(r) }

// HasOpenAIs says whether the words of OpenAI's vocabulary are among the tokenizer's, with their numbers, and its merges are OpenAI's.
func (t *Tokenizer) HasOpenAIs() bool {
	of := openAITokenizer()
	for w, n := range of.words {
		if got, ok := t.words[w]; !ok || got != n {
			return false
		}
	}
	return t.start == of.start && t.end == of.end && maps.Equal(t.ranks, of.ranks)
}

var openAITokenizer = sync.OnceValue(func() *Tokenizer {
	t, err := parseList(bytes.NewReader(openAIList))
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return t
})

// errNoList is of a file that is no list of merges.
var errNoList = errors.New("not a list of merges as OpenAI's bpe_simple_vocab_16e6.txt.gz")

// notAList returns the error about a file of these bytes that is no list of merges, since err: with what it is, where that is known.
func notAList(file []byte, err error) error {
	if kind := folder.Kind(file[:min(len(file), folder.KindSize)]); kind != "" && !bytes.HasPrefix(file, []byte("\x1f\x8b")) {
		return fmt.Errorf("%w: %w; it is %s", errNoList, err, kind)
	}
	return fmt.Errorf("%w: %w", errNoList, err)
}

// parseList reads OpenAI's list of merges, packed by gzip or plain.
func parseList(r io.Reader) (*Tokenizer, error) {
	packed, err := io.ReadAll(io.LimitReader(r, maxVocab+1))
	if err != nil {
		return nil, err
	}
	text := packed
	if bytes.HasPrefix(packed, []byte("\x1f\x8b")) { // gzip's: RFC 1952, section 2.3.1
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err == nil {
			text, err = io.ReadAll(io.LimitReader(z, maxVocab+1))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: damaged gzip: %w", errNoList, err)
		}
	}
	list, err := checkText(text)
	if err != nil {
		return nil, notAList(packed, err)
	}
	lines := strings.Split(list, "\n")
	if len(lines) < 1+mergesNumber {
		return nil, notAList(packed, fmt.Errorf("%d lines, want at least %d", len(lines)-1, 1+mergesNumber))
	}
	t, err := fromMerges(lines[1 : 1+mergesNumber])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoList, err)
	}
	return t, nil
}
