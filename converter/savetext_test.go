package converter

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/params"
)

// TestSaveText: a tuned text tower takes the place of the one it was, or stands beside a tower that had none, in
// whatever form that was.
func TestSaveText(t *testing.T) {
	for _, src := range []string{"testdata/tiny/huggingface", "testdata/tiny/openai_torch2.9.1.pt", "testdata/tiny/openclip.pt", "testdata/tiny/huggingface-vision", ""} {
		t.Run(filepath.Base(src), func(t *testing.T) {
			m, err := loadText(golden.Path(t, "testdata/tiny/huggingface"))
			if err != nil {
				t.Fatal(err)
			}
			m.Unfreeze()
			rng := rand.New(rand.NewPCG(1, 2))
			params.Walk(m, func(_ string, p *nn.Param) {
				for i := range mat.Data[float32](p) {
					mat.Data[float32](p)[i] += float32(rng.NormFloat64())
				}
			})
			models := Models{Text: m}
			var c *Model
			if src != "" {
				c = open(t, filepath.Base(src))
			}
			if src == "" {
				if models.Vision, err = Load(golden.Path(t, "testdata/tiny/huggingface-vision")); err != nil {
					t.Fatal(err)
				}
			}
			dst := filepath.Join(t.TempDir(), "model")
			if _, err := Save(t.Context(), models, c, dst, Options{}); err != nil {
				t.Fatal(err)
			}
			back, err := loadText(dst)
			if err != nil {
				t.Fatal(err)
			}
			if back.Config != m.Config {
				t.Errorf("configuration %+v, want %+v", back.Config, m.Config)
			}
			sameWeights(t, weightsOf(back), weightsOf(m))
			vision, err := Load(dst)
			if err != nil {
				t.Fatal(err)
			}
			original, err := Load(golden.Path(t, "testdata/tiny/huggingface-vision"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(filepath.Base(src), "open") { // whose towers are rounded
				sameWeights(t, weightsOf(vision), weightsOf(original))
			}
		})
	}
}

func TestSaveTextRefuses(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "model")
	tower := func(change func(c *cliptext.Config)) *cliptext.Model {
		c := cliptext.Config{Vocab: 50, Context: 9, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 10, Activation: "quick_gelu", NormEps: 1e-5, End: 49}
		change(&c)
		m, err := cliptext.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, c := range []struct {
		like   string
		change func(c *cliptext.Config)
		want   string
	}{
		{"huggingface", func(c *cliptext.Config) { c.Layers = 2 }, "that in memory"},
		{"huggingface-vision", func(c *cliptext.Config) { c.EmbedDim = 12 }, "embeddings of 12 numbers, and a tower of images with 10"},
		{"", func(*cliptext.Config) {}, "a tower of images with 0"},
	} {
		var like *Model
		if c.like != "" {
			like = open(t, c.like)
		}
		if _, err := Save(t.Context(), Models{Text: tower(c.change)}, like, dst, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", c.like, err, c.want)
		}
	}
}

// TestTokenizerKept: the files of the tokenizer go with the text tower, from the source's directory or the one that
// is named, as they are.
func TestTokenizerKept(t *testing.T) {
	const vocab = `{"a</w>":0,"<|startoftext|>":48,"<|endoftext|>":49}`
	write := func(dir string, files map[string]string) string {
		t.Helper()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	model := func(files map[string]string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(golden.Path(t, "testdata/tiny/huggingface"))); err != nil {
			t.Fatal(err)
		}
		return write(dir, files)
	}
	small, err := cliptext.NewTokenizerOf(map[string]int{"a</w>": 0, "<|startoftext|>": 48, "<|endoftext|>": 49}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var file string // tokenizer.json
	for _, f := range small.Files(77) {
		if f.Name == "tokenizer.json" {
			file = string(f.Data)
		}
	}
	whole := map[string]string{"vocab.json": vocab, "merges.txt": "#version: 0.2\n", "tokenizer.json": file, "tokenizer_config.json": "{ }", "notes.txt": "x"}
	named := write(t.TempDir(), map[string]string{"vocab.json": vocab, "merges.txt": "\n"})
	for _, c := range []struct {
		name  string
		src   string
		o     Options
		files []string
		err   string
	}{
		{"as it is", model(whole), Options{}, []string{"vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"}, ""},
		{"tokenizer.json alone", model(map[string]string{"tokenizer.json": file}), Options{}, []string{"tokenizer.json"}, ""},
		{"with words that were added", model(map[string]string{"vocab.json": `{"a</w>":0,"b":1,"<|startoftext|>":2,"<|endoftext|>":49}`, "merges.txt": "", "added_tokens.json": `{"<x>": 4}`}),
			Options{}, []string{"vocab.json", "merges.txt", "added_tokens.json"}, ""},
		{"none", model(nil), Options{}, []string{"tokenizer_config.json"}, ""},
		{"not CLIP's", model(map[string]string{"tokenizer.json": "{}"}), Options{}, []string{"tokenizer.json"}, ""},
		{"half", model(map[string]string{"vocab.json": vocab}), Options{}, nil, "no merges.txt, and no tokenizer.json"},
		{"no text", model(whole), Options{VisionOnly: true}, nil, ""},
		{"named", model(whole), Options{Vocab: named}, []string{"vocab.json", "merges.txt"}, ""},
		{"named and empty", model(whole), Options{Vocab: t.TempDir()}, nil, "vocab.json"},
		{"named and absent", model(whole), Options{Vocab: filepath.Join(named, "absent")}, nil, "absent"},
		{"another model's", model(map[string]string{"vocab.json": `{"<|startoftext|>":60,"<|endoftext|>":61}`, "merges.txt": ""}), Options{}, nil, "has 62 tokens, the last of a text 61; the text tower has 50, the last 49"},
		{"broken", model(map[string]string{"vocab.json": `{`, "merges.txt": ""}), Options{}, nil, "vocab.json"},
	} {
		dst := filepath.Join(t.TempDir(), "converted")
		r, err := convertFile(t.Context(), c.src, dst, c.o)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error is %v, want one with %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, f := range r.Files {
			if slices.Contains(cliptext.FileNames(), f) {
				got = append(got, f)
				a, err := os.ReadFile(filepath.Join(dst, f))
				b, err2 := os.ReadFile(filepath.Join(c.src, f))
				if c.o.Vocab != "" {
					b, err2 = os.ReadFile(filepath.Join(c.o.Vocab, f))
				}
				if c.name == "none" { // which transformers does not load without a word
					b, err2 = cliptext.NoFiles(50)[0].Data, nil
				}
				if err != nil || err2 != nil || string(a) != string(b) {
					t.Errorf("%s: %s is %q, want %q: %v %v", c.name, f, a, b, err, err2)
				}
			}
		}
		if !slices.Equal(got, c.files) {
			t.Errorf("%s: files %v, want %v", c.name, got, c.files)
		}
		c.o.Overwrite = true // what has been written is known
		if _, err := convertFile(t.Context(), c.src, dst, c.o); err != nil {
			t.Errorf("%s, again: %v", c.name, err)
		}
	}
}

// words is a model of a small text tower of some words beside the tower of the tiny model.
func words(t *testing.T, vocab int, dst string, o Options) string {
	t.Helper()
	c := cliptext.Config{Vocab: vocab, Context: 9, Width: 64, Heads: 1, Layers: 1, MLPWidth: 256, EmbedDim: 10, Activation: "quick_gelu", NormEps: 1e-5, End: min(vocab, cliptext.OpenAIWords) - 1}
	c.PoolLargest = vocab > cliptext.OpenAIWords
	text, err := cliptext.New(c)
	if err != nil {
		t.Fatal(err)
	}
	vision, err := Load(golden.Path(t, "testdata/tiny/huggingface-vision"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Save(t.Context(), Models{Vision: vision, Text: text}, nil, dst, o); err != nil {
		t.Fatal(err)
	}
	return dst
}

// TestTokenizer: a model has the tokenizer beside it, or OpenAI's if it has as many words, with the rules of its own library.
func TestTokenizer(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	remove := func(dir string, names ...string) string {
		for _, n := range names {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	files := []string{"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"}
	with := words(t, 49408, at("with"), Options{})
	alone := remove(words(t, 49408, at("alone"), Options{}), "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json")
	none := remove(words(t, 49408, at("none"), Options{}), files...)
	padded := remove(words(t, 49472, at("padded"), Options{}), files...)
	few := words(t, 50, at("few"), Options{})
	archive, openCLIP := at("openai.pt"), at("openclip")
	for _, e := range []struct{ dst, to, format string }{{archive, "openai", ""}, {at("padded.pt"), "openai", "torch"}, {openCLIP, "openclip", ""}} {
		src := with
		if filepath.Base(e.dst) == "padded.pt" {
			src = padded
		}
		if _, err := exportFile(t.Context(), src, e.dst, ExportOptions{To: e.to, Format: e.format}); err != nil {
			t.Fatal(err)
		}
	}
	foreign := words(t, 49408, at("foreign"), Options{})
	os.WriteFile(filepath.Join(foreign, "tokenizer_config.json"), []byte(`{"tokenizer_class": "XLMRobertaTokenizer"}`), 0o666)
	asked := at("asked")
	if err := os.CopyFS(asked, os.DirFS(openCLIP)); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(asked, openCLIPConfig))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(asked, openCLIPConfig), []byte(strings.Replace(string(config), `"text_cfg": {`, `"text_cfg": {"hf_tokenizer_name": "x/y",`, 1)), 0o666)

	const text = "caf&eacute; <end_of_text>"
	of := map[cliptext.Rules][]int{} // the numbers of text, by testdata/gen/texts.py's libraries
	for _, r := range []cliptext.Rules{cliptext.OpenAI, cliptext.OpenCLIP, cliptext.Transformers} {
		k, err := cliptext.NewOpenAI(r).Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		of[r] = k
	}
	if slices.Equal(of[cliptext.OpenAI], of[cliptext.OpenCLIP]) || slices.Equal(of[cliptext.OpenAI], of[cliptext.Transformers]) {
		t.Fatal("the text tells nothing")
	}
	list := golden.Path(t, "cliptext/bpe_simple_vocab_16e6.txt.gz")
	for _, c := range []struct {
		src, vocab string
		rules      cliptext.Rules // "": an error
		embedded   bool
		want       string // of the error, or of what a conversion says
	}{
		{with, "", cliptext.Transformers, false, ""},
		{alone, "", cliptext.Transformers, false, ""},
		{filepath.Join(alone, "model.safetensors"), "", cliptext.Transformers, false, ""},
		{none, "", cliptext.Transformers, true, "OpenAI's"},
		{padded, "", cliptext.Transformers, true, "OpenAI's"},
		{archive, "", cliptext.OpenAI, true, "OpenAI's"},
		{at("padded.pt"), "", cliptext.OpenAI, true, "OpenAI's"},
		{openCLIP, "", cliptext.OpenCLIP, true, "OpenAI's"},
		{none, list, cliptext.Transformers, false, ""},
		{archive, list, cliptext.OpenAI, false, ""},
		{archive, with, cliptext.OpenAI, false, ""},
		{archive, filepath.Join(with, "tokenizer.json"), cliptext.OpenAI, false, ""},
		{few, "", "", false, "has no vocabulary"},
		{few, list, "", false, "the vocabulary has 49408 tokens, the last of a text 49407; the text tower has 50, the last 49"},
		{foreign, "", "", false, `tokenizer_config.json: not a tokenizer of CLIP's form: tokenizer_class is "XLMRobertaTokenizer", want "CLIPTokenizer"`},
		{asked, "", "", false, `open_clip_config.json: text_cfg.hf_tokenizer_name is "x/y"`},
	} {
		t.Run(filepath.Base(c.src)+" "+filepath.Base(c.vocab), func(t *testing.T) {
			m, err := Open(c.src, Assume("quick_gelu"))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			k, embedded, err := m.Tokenizer(c.vocab)
			if c.rules == "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error is %v, want one with %q", err, c.want)
				}
			} else if err != nil {
				t.Fatal(err)
			} else if got, err := k.Encode(text); k.Rules() != c.rules || embedded != c.embedded || !slices.Equal(got, of[c.rules]) {
				t.Errorf("rules %q, embedded %v, %v, want %q, %v, %v: %v", k.Rules(), embedded, got, c.rules, c.embedded, of[c.rules], err)
			}
			// What is converted has the same words.
			dst := filepath.Join(t.TempDir(), "out")
			r, err := m.Convert(t.Context(), dst, Options{Vocab: c.vocab})
			switch {
			case c.src == few && c.vocab == list:
				if err == nil {
					t.Error("no error of the conversion")
				}
				return
			case err != nil:
				t.Fatal(err)
			case c.rules != "" && r.Tokenizer != c.want, c.rules == "" && !strings.Contains(r.Tokenizer, "none") && !strings.Contains(r.Tokenizer, c.want):
				t.Errorf("the conversion says %q", r.Tokenizer)
			case c.rules == "":
				if c.src == asked { // whose words may be as many as OpenAI's, and are others
					back, err := Open(dst)
					if err != nil {
						t.Fatal(err)
					}
					defer back.Close()
					if _, _, err := back.Tokenizer(""); !errors.Is(err, cliptext.ErrVocabulary) {
						t.Errorf("converted: error is %v, want %v", err, cliptext.ErrVocabulary)
					}
				}
				return
			}
			back, err := Open(dst)
			if err != nil {
				t.Fatal(err)
			}
			defer back.Close()
			again, embedded, err := back.Tokenizer("")
			if err != nil || embedded {
				t.Fatalf("converted: embedded %v, %v", embedded, err)
			}
			if got, err := again.Encode(text); again.Rules() != c.rules || !slices.Equal(got, of[c.rules]) {
				t.Errorf("converted: rules %q, %v, want %q, %v: %v", again.Rules(), got, c.rules, of[c.rules], err)
			}
		})
	}
}

// TestExportOtherWords: what OpenAI's code and OpenCLIP would read by OpenAI's vocabulary is not exported if its tokenizer is another.
func TestExportOtherWords(t *testing.T) {
	dir := t.TempDir()
	with := words(t, 49408, filepath.Join(dir, "with"), Options{})
	openCLIP := filepath.Join(dir, "openclip")
	if _, err := exportFile(t.Context(), with, openCLIP, ExportOptions{To: "openclip"}); err != nil {
		t.Fatal(err)
	}
	copied := func(name, src string, edit func(dir string)) string {
		dst := filepath.Join(dir, name)
		if err := os.CopyFS(dst, os.DirFS(src)); err != nil {
			t.Fatal(err)
		}
		edit(dst)
		return dst
	}
	replace := func(file, old, new string) func(dir string) {
		return func(dir string) {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || !strings.Contains(string(raw), old) {
				t.Fatalf("%s: %v, or no %s", file, err, old)
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Replace(string(raw), old, new, 1)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	asks := copied("asks", openCLIP, replace(openCLIPConfig, `"text_cfg": {`, `"text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"},`))
	none := filepath.Join(dir, "none")
	if _, err := convertFile(t.Context(), asks, none, Options{}); err != nil {
		t.Fatal(err)
	}
	const tokenizer = "tokenizer.json"
	plain := copied("plain", with, func(dir string) {
		for _, name := range []string{"vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, c := range []struct{ src, want string }{
		{plain, ""},
		{asks, "text_cfg.tokenizer_kwargs has clean canonicalize"},
		{none, "vitago_library is none"},
		{copied("foreign", plain, func(dir string) {
			os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"tokenizer_class": "XLMRobertaTokenizer"}`), 0o666)
		}), `tokenizer_class is "XLMRobertaTokenizer"`},
		{copied("fewer", plain, replace(tokenizer, `"i n",`, "")), "the words or merges of the tokenizer are not OpenAI's"},
	} {
		for _, to := range []string{"openai", "openclip"} {
			name := filepath.Base(c.src) + "." + to
			_, err := exportFile(t.Context(), c.src, filepath.Join(dir, name), ExportOptions{To: to})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error is %v, want one with %q", name, err, c.want)
			}
		}
	}
}
