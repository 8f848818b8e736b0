package cliptext

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeFiles writes files into a new directory.
func writeFiles(t *testing.T, files []File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestVocabulary: the words of OpenAI's list have OpenAI's numbers, and so have they in the files. The numbers were
// read from clip.simple_tokenizer.SimpleTokenizer().encoder.
func TestVocabulary(t *testing.T) {
	k := NewOpenAI(OpenAI)
	if len(k.words) != 49408 || k.Len() != 49408 {
		t.Errorf("%d words, want 49408", len(k.words))
	}
	for word, n := range map[string]int{"!": 0, "Ń": 255, "!</w>": 256, "a</w>": 320, "photo</w>": 1125, "cat</w>": 2368, startOfText: 49406, endOfText: 49407} {
		if k.texts[n] != word {
			t.Errorf("word %d is %q, want %q", n, k.texts[n], word)
		}
	}
	files := k.Files(77)
	var vocab map[string]int
	if err := json.Unmarshal(files[0].Data, &vocab); err != nil || len(vocab) != len(k.words) {
		t.Fatalf("vocab.json has %d words: %v", len(vocab), err)
	}
	for i, w := range k.texts {
		if vocab[w] != i {
			t.Fatalf("vocab.json says %q is %d, want %d", w, vocab[w], i)
		}
	}
	if lines := strings.Split(string(files[1].Data), "\n"); len(lines) != mergesNumber+2 || lines[0] != "#version: 0.2" || lines[1] != "i n" {
		t.Errorf("merges.txt has %d lines, beginning with %q", len(lines), lines[:2])
	}

	again, err := ReadTokenizer(writeFiles(t, files))
	if err != nil {
		t.Fatal(err)
	}
	const text = "A photo of a naïve café's 3 cats & 日本語 🐱 <|endoftext|>!"
	words, err := k.Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := again.Encode(text); err != nil || len(words) < 15 || !slices.Equal(words, same) {
		t.Errorf("got %v by the list, %v by the files: %v", words, same, err)
	}
}

func TestFiles(t *testing.T) {
	k, err := NewTokenizerOf(map[string]int{"a": 3, "<b>": 7, "a<b>": 4, startOfText: 0, endOfText: 9}, []string{"a <b>"})
	if err != nil {
		t.Fatal(err)
	}
	files := k.Files(5)
	if got, want := string(files[0].Data), `{"<|startoftext|>":0,"a":3,"a<b>":4,"<b>":7,"<|endoftext|>":9}`+"\n"; got != want {
		t.Errorf("vocab.json is %s, want %s", got, want)
	}
	if got, want := string(files[1].Data), "#version: 0.2\na <b>\n"; got != want {
		t.Errorf("merges.txt is %q, want %q", got, want)
	}
	if config := string(files[2].Data); !strings.Contains(config, `"model_max_length": 5,`) || !strings.Contains(config, `"content": "<|endoftext|>"`) {
		t.Errorf("tokenizer_config.json is %s", config)
	}

	// What is read is what was written, and what is not needed may be missing.
	dir := writeFiles(t, files)
	same := func(a, b File) bool { return a.Name == b.Name && string(a.Data) == string(b.Data) }
	if got, err := ReadFiles(dir); err != nil || !slices.EqualFunc(got, files, same) {
		t.Errorf("read %v: %v", got, err)
	}
	os.Remove(filepath.Join(dir, files[2].Name))
	if got, err := ReadFiles(dir); err != nil || !slices.EqualFunc(got, slices.Delete(files, 2, 3), same) {
		t.Errorf("without a file: read %v: %v", got, err)
	}
	os.Remove(filepath.Join(dir, mergesFile))
	os.Remove(filepath.Join(dir, tokenizerFile))
	if _, err := ReadFiles(dir); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "cliptext: ") {
		t.Errorf("without merges: error is %v, want %v", err, fs.ErrNotExist)
	}
}

// TestWithRules: a tokenizer_config.json that is not there, or that says null, gets what is needed.
func TestWithRules(t *testing.T) {
	for _, files := range [][]File{nil, {{configFile, []byte("null")}}} {
		got, err := WithRules(files, OpenCLIP)
		if err != nil || len(got) != 1 || !strings.Contains(string(got[0].Data), `"vitago_library": "open_clip"`) || !strings.Contains(string(got[0].Data), `"tokenizer_class": "CLIPTokenizer"`) {
			t.Errorf("of %s: %s, %v", files, got, err)
		}
	}
	if _, err := WithRules([]File{{configFile, []byte("[]")}}, OpenCLIP); err == nil || !strings.HasPrefix(err.Error(), "cliptext: tokenizer_config.json: ") {
		t.Errorf("error is %v", err)
	}
}

// TestManyKeys: many keys in a file of a tokenizer take time in proportion.
func TestManyKeys(t *testing.T) {
	k, err := NewTokenizerOf(map[string]int{"a": 0, startOfText: 1, endOfText: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var keys, list, words strings.Builder
	const n = 300_000 // whose square takes a minute
	for i := range n {
		fmt.Fprintf(&keys, `"%x":0,`, i)
		fmt.Fprintf(&list, `"%x",`, i)
		fmt.Fprintf(&words, `"w%x":%d,`, i, i)
	}
	dir := writeFiles(t, k.Files(77))
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(configFile, "{"+keys.String()+`"extra_special_tokens":[`+list.String()+`"x"]}`)
	write(addedFile, "{"+words.String()+`"x":0}`)
	start := time.Now()
	if _, err := ReadTokenizer(dir); err == nil {
		t.Error("two words of number 0 were read")
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}
