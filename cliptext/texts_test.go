package cliptext

import (
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/golden"
)

// oddTexts are odd texts, and what the libraries make of them: openai-clip 1.0.1 with ftfy 6.3.1 and regex 2026.11.19, open_clip 3.3.0,
// transformers 5.24.0 with tokenizers 0.23.3. See testdata/gen/texts.py.
type oddTexts struct {
	Texts        []string
	OpenAI       [][]int
	OpenCLIP     [][]int `json:"open_clip"`    // nil where it is OpenAI's
	Transformers [][]int `json:"transformers"` // likewise
	Of           []string
	Directories  []struct {
		Name             string
		Files            map[string]json.RawMessage
		Start, End, Size int
		IDs              [][]int
	}
}

func readTexts(t testing.TB) (g oddTexts) {
	t.Helper()
	f, err := os.Open(golden.Path(t, "cliptext/testdata/texts.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&g); err != nil {
		t.Fatal(err)
	}
	if len(g.Texts) < 2000 || len(g.Directories) < 10 {
		t.Fatalf("%d texts and %d directories, want more", len(g.Texts), len(g.Directories))
	}
	return g
}

// TestTexts: a text has the words of the library whose rules are followed.
func TestTexts(t *testing.T) {
	g := readTexts(t)
	for rules, want := range map[Rules][][]int{OpenAI: g.OpenAI, OpenCLIP: g.OpenCLIP, Transformers: g.Transformers} {
		t.Run(string(rules), func(t *testing.T) {
			k, differ := NewOpenAI(rules), 0
			for i, text := range g.Texts {
				w := want[i]
				if w == nil {
					w = g.OpenAI[i]
				}
				if got, err := k.Encode(text); err != nil || !slices.Equal(got, w) {
					if differ++; differ <= 10 {
						t.Errorf("%q: got %v, want %v; error %v", text, got, w, err)
					}
				}
			}
			if differ > 0 {
				t.Errorf("%d of %d texts differ", differ, len(g.Texts))
			}
		})
	}
}

// TestDirectories: what files say of words is read as transformers 5.24.0 reads it.
func TestDirectories(t *testing.T) {
	g := readTexts(t)
	var vocab map[string]int
	var merges []string
	for _, f := range NewOpenAI(Transformers).Files(77)[:2] {
		if f.Name == vocabFile {
			if err := json.Unmarshal(f.Data, &vocab); err != nil {
				t.Fatal(err)
			}
		} else {
			merges = strings.Split(strings.TrimSuffix(string(f.Data), "\n"), "\n")[1:]
		}
	}
	for i, d := range g.Directories {
		t.Run(d.Name, func(t *testing.T) {
			dir := writeDirectory(t, vocab, merges)
			for name, data := range d.Files {
				if name == tokenizerFile {
					os.Remove(filepath.Join(dir, vocabFile))
					os.Remove(filepath.Join(dir, mergesFile))
					var file map[string]any
					if err := json.Unmarshal(data, &file); err != nil {
						t.Fatal(err)
					}
					model := file["model"].(map[string]any)
					model["vocab"], model["merges"] = vocab, merges
					if _, pairs := model["byte_fallback"]; pairs {
						all := make([][]string, len(merges))
						for i, m := range merges {
							all[i] = strings.Fields(m)
						}
						model["merges"] = all
					}
					data = plainJSON(file)
				}
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			k, err := ReadTokenizer(dir)
			if err != nil {
				t.Fatal(err)
			}
			check := func(k *Tokenizer) {
				t.Helper()
				if k.Start() != d.Start || k.End() != d.End || len(k.texts) != d.Size {
					t.Errorf("start %d, end %d, %d words, want %d, %d, %d", k.Start(), k.End(), len(k.texts), d.Start, d.End, d.Size)
				}
				for i, text := range g.Of {
					if got, err := k.Encode(text); err != nil || !slices.Equal(got, d.IDs[i]) {
						t.Errorf("%q: got %v, want %v; error %v", text, got, d.IDs[i], err)
					}
				}
			}
			check(k)
			// What is written of it is read as the same, in either form.
			files := k.Files(77)
			forms := [][]string{nil, {tokenizerFile}, {vocabFile, mergesFile, specialsFile, addedFile}}
			if i > 0 {
				forms = forms[i%2+1:][:1]
			}
			for _, without := range forms {
				again, err := ReadTokenizer(writeFiles(t, slices.DeleteFunc(slices.Clone(files), func(f File) bool { return slices.Contains(without, f.Name) })))
				if err != nil {
					t.Fatal(err)
				}
				check(again)
			}
		})
	}
}

// TestRefusesTokenizer: what is not of CLIP's form is refused with file, key and value.
func TestRefusesTokenizer(t *testing.T) {
	k, err := NewTokenizerOf(map[string]int{"a": 0, "b</w>": 1, "ab</w>": 2, startOfText: 3, endOfText: 4}, []string{"a b</w>"})
	if err != nil {
		t.Fatal(err)
	}
	files := k.With(Transformers).Files(77)
	change := func(name string, change func(o map[string]any)) string {
		dir := writeFiles(t, files)
		var o map[string]any
		for _, f := range files {
			if f.Name == name {
				if err := json.Unmarshal(f.Data, &o); err != nil {
					t.Fatal(err)
				}
			}
		}
		change(o)
		if err := os.WriteFile(filepath.Join(dir, name), plainJSON(o), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	in := func(o map[string]any, keys ...string) map[string]any {
		for _, k := range keys {
			o = o[k].(map[string]any)
		}
		return o
	}
	step := func(o map[string]any, i int) map[string]any {
		return in(o, "pre_tokenizer")["pretokenizers"].([]any)[i].(map[string]any)
	}
	if same, err := ReadTokenizer(change(tokenizerFile, func(map[string]any) {})); err != nil || !maps.Equal(same.words, k.words) {
		t.Fatalf("unchanged: %v", err)
	}
	for _, c := range []struct {
		name   string
		change func(o map[string]any)
		want   string
	}{
		{tokenizerFile, func(o map[string]any) { in(o, "model")["type"] = "WordPiece" }, `tokenizer.json: not a tokenizer of CLIP's form: model.type is "WordPiece", want "BPE"`},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["dropout"] = 0.1 }, "model.dropout is 0.1, want null"},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["ignore_merges"] = true }, "model.ignore_merges is true, want false"},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["byte_fallback"] = true }, "model.byte_fallback is true, want false"},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["end_of_word_suffix"] = nil }, `model.end_of_word_suffix is null, want "</w>"`},
		{tokenizerFile, func(o map[string]any) { delete(in(o, "model"), "end_of_word_suffix") }, `model.end_of_word_suffix is null, want "</w>"`},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["continuing_subword_prefix"] = "##" }, `model.continuing_subword_prefix is "##", want ""`},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["extra"] = 1 }, "model.extra is 1, want no such key"},
		{tokenizerFile, func(o map[string]any) { o["normalizer"] = nil }, "normalizer is null, want {"},
		{tokenizerFile, func(o map[string]any) { in(o, "normalizer")["normalizers"] = []any{map[string]any{"type": "NFKC"}} }, `normalizer is {"normalizers":[{"type":"NFKC"}]`},
		{tokenizerFile, func(o map[string]any) { step(o, 0)["pattern"] = map[string]any{"Regex": `\w+`} }, "pre_tokenizer is {"},
		{tokenizerFile, func(o map[string]any) { step(o, 1)["add_prefix_space"] = true }, "pre_tokenizer is {"},
		{tokenizerFile, func(o map[string]any) { o["post_processor"] = nil }, "post_processor is null, want RobertaProcessing"},
		{tokenizerFile, func(o map[string]any) { in(o, "post_processor")["type"] = "ByteLevel" }, `post_processor type is "ByteLevel", want RobertaProcessing`},
		{tokenizerFile, func(o map[string]any) { in(o, "post_processor")["sep"] = []any{"a", 0} }, "begins texts with token 3 and ends them with 0, want 3 and 4"},
		{tokenizerFile, func(o map[string]any) { delete(o, "model") }, "tokenizer.json: not a tokenizer of CLIP's form: has no model"},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["merges"] = []any{"a c"} }, `"c" is no token of the vocabulary`},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["merges"] = []any{[]any{"a"}} }, "merge 0 has 1 tokens, want 2"},
		{tokenizerFile, func(o map[string]any) { in(o, "model")["vocab"] = []any{} }, "tokenizer.json: "},
		{tokenizerFile, func(o map[string]any) {
			o["added_tokens"] = append(o["added_tokens"].([]any), map[string]any{"id": 5, "content": "x"})
		}, `added_tokens has "x", and added_tokens_decoder in tokenizer_config.json has not`},
		{configFile, func(o map[string]any) { o["tokenizer_class"] = "T5Tokenizer" }, `tokenizer_config.json: not a tokenizer of CLIP's form: tokenizer_class is "T5Tokenizer", want "CLIPTokenizer"`},
		{configFile, func(o map[string]any) { o["split_special_tokens"] = true }, "split_special_tokens is true, want false"},
		{configFile, func(o map[string]any) { o["vitago_library"] = "timm" }, `vitago_library is "timm", want "openai", "open_clip" or "transformers"`},
		{configFile, func(o map[string]any) { o["eos_token"] = nil }, "eos_token is null, want a token"},
		{configFile, func(o map[string]any) { o["eos_token"] = 3 }, "eos_token is 3, want a text or an object"},
		{configFile, func(o map[string]any) { o["eos_token"] = "end" }, "5 tokens, and none is end"},
		{configFile, func(o map[string]any) { in(o, "added_tokens_decoder")["9"] = map[string]any{"content": "x"} }, `the added token "x" has number 9, want 5`},
		{configFile, func(o map[string]any) { in(o, "added_tokens_decoder")["5"] = "x" }, `added_tokens_decoder has "5": want numbers, and objects`},
		{configFile, func(o map[string]any) { in(o, "added_tokens_decoder")["no tokenizer"] = map[string]any{"content": "x"} }, `added_tokens_decoder has "no tokenizer"`},
		{configFile, func(o map[string]any) { o["extra_special_tokens"] = 3 }, "extra_special_tokens is 3, want a list of tokens"},
	} {
		if _, err := ReadTokenizer(change(c.name, c.change)); err == nil || !strings.HasPrefix(err.Error(), "cliptext: ") || strings.Count(err.Error(), "cliptext: ") > 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

// FuzzTokenizerJSON: no file makes the reader of tokenizers fail, and what is read encodes.
func FuzzTokenizerJSON(f *testing.F) {
	k, err := NewTokenizerOf(map[string]int{"a": 0, "b</w>": 1, "ab</w>": 2, startOfText: 3, endOfText: 4}, []string{"a b</w>"})
	if err != nil {
		f.Fatal(err)
	}
	seed := map[string]string{}
	for _, file := range k.Files(77) {
		seed[file.Name] = string(file.Data)
	}
	f.Add(seed[tokenizerFile], seed[configFile], seed[specialsFile], `{"x": 5}`, "ab <|endoftext|> x")
	f.Add("", `{"pad_token": "a", "extra_special_tokens": ["q", {"content": "r", "lstrip": true}]}`, "", "", "a q r")
	f.Fuzz(func(t *testing.T, file, config, specials, added, text string) {
		d := &directory{name: tokenizerFile, files: map[string][]byte{}}
		for name, data := range map[string]string{tokenizerFile: file, configFile: config, specialsFile: specials, addedFile: added} {
			if data != "" {
				d.files[name] = []byte(data)
			}
		}
		if file == "" {
			d.files[vocabFile], d.files[mergesFile] = []byte(seed[vocabFile]), []byte(seed[mergesFile])
		}
		k, err := d.tokenizer()
		if err != nil {
			return
		}
		words, err := k.Encode(text)
		for _, w := range words {
			if w < 0 || w >= k.Len() {
				t.Fatalf("%q: word %d of %d: %v", text, w, k.Len(), err)
			}
		}
		k.Files(77)
	})
}
