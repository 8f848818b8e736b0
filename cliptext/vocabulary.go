package cliptext

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

const (
	vocabFile, mergesFile = "vocab.json", "merges.txt"
	tokenizerFile         = "tokenizer.json"
	configFile            = "tokenizer_config.json"
	specialsFile          = "special_tokens_map.json"
	addedFile             = "added_tokens.json"

	// maxVocab is how many bytes a file of a vocabulary may have; CLIP's have 1 to 3 MB.
	maxVocab = 16 << 20

	// mergesNumber is how many lines after the first of OpenAI's list are merges of CLIP's vocabulary.
	// Source: openai/CLIP, clip/simple_tokenizer.py, SimpleTokenizer.__init__.
	mergesNumber = 49152 - 256 - 2
)

// fileNames are those of the files of a tokenizer in a directory; the first two, or tokenizer.json, are all that is needed.
//
// Source: huggingface/transformers, tokenization_utils_base.py and models/clip/tokenization_clip.py.
var fileNames = []string{vocabFile, mergesFile, configFile, specialsFile, tokenizerFile, addedFile}

// FileNames returns the names that a [File] may have.
func FileNames() []string { return slices.Clone(fileNames) }

// A File is one of the files that a tokenizer has in a directory of Hugging Face's form.
type File struct {
	Name string // without a folder: "vocab.json", "merges.txt", "tokenizer.json", …
	Data []byte // its bytes
}

// ReadTokenizer reads a tokenizer: OpenAI's bpe_simple_vocab_16e6.txt.gz, a tokenizer.json, or a directory with that or with vocab.json and
// merges.txt, as transformers and [Tokenizer.Files] write them. What a directory says of added tokens, and of the library whose rules it
// follows, holds; without the latter, and in a tokenizer.json alone, the rules are those of transformers. A tokenizer that is not of
// CLIP's form is an error that names file, key and value.
func ReadTokenizer(path string) (*Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cliptext: no vocabulary: %w", err)
	}
	var t *Tokenizer
	if info.IsDir() {
		t, err = readDirectory(path)
	} else {
		t, err = readFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("cliptext: %s: %w", path, err)
	}
	return t, nil
}

// ErrText is of a text that has more tokens than the context, or a letter for which the vocabulary has none.
var ErrText = errors.New("not a text that can be encoded")

// wrong is an ErrText with a text of its own.
type wrong struct{ error }

func (wrong) Is(target error) bool { return target == ErrText }

func ofText(format string, args ...any) error { return wrong{fmt.Errorf("cliptext: "+format, args...)} }

// ErrVocabulary is of a model without a vocabulary of tokens.
var ErrVocabulary = errors.New("has no vocabulary (tokenizer.json, or vocab.json and merges.txt), which no weights hold")

// ErrForm is of a tokenizer of another form than CLIP's, which transformers may read all the same.
var ErrForm = errors.New("not a tokenizer of CLIP's form")

// HasTokenizer says whether there is a tokenizer's vocabulary in a directory.
func HasTokenizer(dir string) bool {
	return slices.ContainsFunc([]string{tokenizerFile, vocabFile, mergesFile}, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	})
}

// NewTokenizerFiles returns the tokenizer of the files of a directory in memory, as [ReadTokenizer] reads those on a disk.
func NewTokenizerFiles(files []File) (*Tokenizer, error) {
	d := &directory{name: tokenizerFile, files: map[string][]byte{}}
	for _, f := range files {
		d.files[f.Name] = f.Data
	}
	t, err := d.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("cliptext: %w", err)
	}
	return t, nil
}

// readFile reads OpenAI's list of merges, or a tokenizer.json.
func readFile(path string) (*Tokenizer, error) {
	data, err := folder.ReadSmall(path, maxVocab)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.TrimSpace(string(data[:min(len(data), 100)])), "{") {
		return (&directory{name: filepath.Base(path), files: map[string][]byte{tokenizerFile: data}}).tokenizer()
	}
	return parseList(bytes.NewReader(data))
}

// readDirectory reads the tokenizer of a directory.
func readDirectory(dir string) (*Tokenizer, error) {
	d := &directory{name: tokenizerFile, files: map[string][]byte{}}
	for _, name := range fileNames {
		data, err := folder.ReadSmall(filepath.Join(dir, name), maxVocab)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		default:
			d.files[name] = data
		}
	}
	return d.tokenizer()
}

// checkText returns a text of no more than maxVocab bytes.
func checkText(text []byte) (string, error) {
	switch {
	case len(text) > maxVocab:
		return "", fmt.Errorf("more than %d bytes", maxVocab)
	case !utf8.Valid(text):
		return "", errors.New("not UTF-8")
	}
	return string(text), nil
}

// ReadFiles returns the files of the tokenizer in a directory as they are, without a look into them. If there is neither
// a tokenizer.json nor both a vocab.json and a merges.txt, the error is an [fs.ErrNotExist].
func ReadFiles(dir string) ([]File, error) {
	var files []File
	var missing error
	for i, name := range fileNames {
		data, err := folder.ReadSmall(filepath.Join(dir, name), maxVocab)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if i < 2 && missing == nil {
				missing = fmt.Errorf("cliptext: %w", err)
			}
		case err != nil:
			return nil, fmt.Errorf("cliptext: %w", err)
		default:
			files = append(files, File{name, data})
		}
	}
	if missing != nil && !slices.ContainsFunc(files, func(f File) bool { return f.Name == tokenizerFile }) {
		return nil, missing
	}
	return files, nil
}

// Files returns the files of the tokenizer in a directory of Hugging Face's form, which says whose rules it follows if they are not
// transformers'. A text has at most context tokens, with those that begin and end it.
//
// Source: huggingface/transformers, models/clip/tokenization_clip.py, as 4.57 and 5.24 read them.
func (t *Tokenizer) Files(context int) []File {
	merges := make([]string, len(t.ranks))
	for pair, i := range t.ranks {
		merges[i] = pair[0] + " " + pair[1]
	}
	named := func(n int) map[string]any {
		all := t.addedJSON()
		i := slices.IndexFunc(t.added, func(w addedWord) bool { return w.number == n })
		return maps.Clone(all[i])
	}
	specials, words, decoder := map[string]any{"pad_token": t.texts[t.end]}, map[string]any{"pad_token": t.texts[t.end]}, map[string]any{}
	for _, w := range []struct {
		key string
		n   int
	}{{"bos_token", t.start}, {"eos_token", t.end}, {"unk_token", t.end}} {
		specials[w.key] = named(w.n)
		typed := named(w.n)
		typed["__type"] = "AddedToken"
		words[w.key] = typed
	}
	added := map[string]int{}
	for i, w := range t.addedJSON() {
		w["special"] = t.added[i].Special
		decoder[strconv.Itoa(t.added[i].number)] = w
		if _, known := t.words[t.added[i].Content]; !known {
			added[t.added[i].Content] = t.added[i].number
		}
	}
	config := map[string]any{
		"tokenizer_class": "CLIPTokenizer", "add_prefix_space": false, "do_lower_case": true, "errors": "replace",
		"model_max_length": context, "added_tokens_decoder": decoder,
	}
	maps.Copy(config, words)
	if t.rules != Transformers {
		config[libraryKey] = t.rules
	}
	vocab := t.vocabJSON()
	files := []File{
		{vocabFile, append(slices.Clip(vocab), '\n')},
		{mergesFile, []byte("#version: 0.2\n" + strings.Join(merges, "\n") + "\n")},
		{configFile, folder.MustJSON(config)},
		{specialsFile, folder.MustJSON(specials)},
		{tokenizerFile, t.tokenizerJSON(vocab, merges)},
	}
	if len(added) > 0 {
		files = append(files, File{addedFile, folder.MustJSON(added)})
	}
	return files
}

// addedJSON returns the added words as a tokenizer_config.json has them, but for what special says.
func (t *Tokenizer) addedJSON() []map[string]any {
	var all []map[string]any
	for _, w := range t.added {
		all = append(all, map[string]any{"content": w.Content, "lstrip": w.LStrip, "normalized": w.Normalized, "rstrip": w.RStrip, "single_word": w.SingleWord})
	}
	return all
}

// vocabJSON returns the words that were not added and their numbers, in the order of these.
func (t *Tokenizer) vocabJSON() []byte {
	vocab := []byte("{")
	for _, w := range slices.SortedFunc(maps.Keys(t.words), func(a, b string) int { return cmp.Compare(t.words[a], t.words[b]) }) {
		if len(vocab) > 1 {
			vocab = append(vocab, ',')
		}
		vocab = fmt.Appendf(vocab, "%s:%d", plainJSON(w), t.words[w])
	}
	return append(vocab, '}')
}

// plainJSON is [json.Marshal] without its escapes for HTML and the newline.
func plainJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, numbers, and maps of these
	}
	return bytes.TrimSpace(b.Bytes())
}

// NoFiles returns the files of a directory whose model has a vocabulary of so many tokens and no tokenizer. By these files
// transformers refuses to load one, where it would make a tokenizer of two tokens without a warning.
//
// Source: huggingface/transformers, tokenization_utils_base.py, _from_pretrained, which takes the keys of added_tokens_decoder for numbers.
func NoFiles(words int) []File {
	why := fmt.Sprintf("no tokenizer: the checkpoint that this model of %d tokens was converted from brought none", words)
	return []File{{configFile, folder.MustJSON(map[string]any{
		"tokenizer_class": "CLIPTokenizer", libraryKey: noLibrary, "added_tokens_decoder": map[string]any{why: map[string]any{"content": endOfText}},
	})}}
}

// SaysNone says whether the files of a directory are those of [NoFiles].
func SaysNone(dir string) bool {
	var config struct {
		Library string `json:"vitago_library"`
	}
	data, err := folder.ReadSmall(filepath.Join(dir, configFile), maxVocab)
	return err == nil && pyjson.Unmarshal(data, &config) == nil && config.Library == noLibrary
}

// WithRules returns files of a tokenizer whose directory says whose rules it follows.
func WithRules(files []File, r Rules) ([]File, error) {
	files = slices.Clone(files)
	i := slices.IndexFunc(files, func(f File) bool { return f.Name == configFile })
	var config map[string]json.RawMessage
	if i < 0 {
		files = append(files, File{Name: configFile})
		i = len(files) - 1
	} else if err := json.Unmarshal(files[i].Data, &config); err != nil {
		return nil, fmt.Errorf("cliptext: %s: %w", configFile, err)
	}
	if config == nil { // no file, or one that says null
		config = map[string]json.RawMessage{"tokenizer_class": []byte(`"CLIPTokenizer"`)}
	}
	config[libraryKey] = plainJSON(r)
	files[i].Data = folder.MustJSON(config)
	return files, nil
}
