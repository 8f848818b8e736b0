package cliptext

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitago/vitago/internal/golden"
)

// A tokenizing is a small vocabulary, and texts with the words that OpenAI's code makes of them.
type tokenizing struct {
	Merges []string
	Texts  []struct {
		Text        string
		Small, Clip []int
		Cut         []int // to 77; nil if it is shorter
	}
}

func readTokenizing(t testing.TB) (g tokenizing) {
	t.Helper()
	text, err := os.ReadFile(golden.Path(t, "testdata/tiny/bpe.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Texts) < 200 || len(g.Merges) < 100 {
		t.Fatalf("%d texts and %d merges, want more", len(g.Texts), len(g.Merges))
	}
	return g
}

func TestTokenizerSmall(t *testing.T) {
	g := readTokenizing(t)
	k, err := NewTokenizer(g.Merges)
	if err != nil {
		t.Fatal(err)
	}
	if want := 512 + len(g.Merges) + 2; k.Len() != want || k.Start() != want-2 || k.End() != want-1 {
		t.Errorf("%d words, start %d, end %d, want %d and the last two", k.Len(), k.Start(), k.End(), want)
	}
	for _, c := range g.Texts {
		if got, err := k.Encode(c.Text); err != nil || !slices.Equal(got, c.Small) {
			t.Errorf("%q: got %v, want %v; error %v", c.Text, got, c.Small, err)
		}
	}
}

// TestTokenizerCLIP is with CLIP's own vocabulary.
func TestTokenizerCLIP(t *testing.T) {
	k := NewOpenAI(OpenAI)
	if k.Len() != 49408 || k.Start() != 49406 || k.End() != 49407 {
		t.Errorf("%d words, start %d, end %d, want 49408 and the last two", k.Len(), k.Start(), k.End())
	}
	cut := 0
	for _, c := range readTokenizing(t).Texts {
		if got, err := k.Encode(c.Text); err != nil || !slices.Equal(got, c.Clip) {
			t.Errorf("%q: got %v, want %v; error %v", c.Text, got, c.Clip, err)
		}
		got, err := k.Tokenize([]string{c.Text}, 77, true)
		if err != nil {
			t.Fatal(err)
		}
		want := c.Cut
		if want == nil {
			want = slices.Concat([]int{k.Start()}, c.Clip, []int{k.End()})
		} else {
			cut++
			if _, err := k.Tokenize([]string{c.Text}, 77, false); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), "tokens with its begin and end, want at most 77") {
				t.Errorf("%.20q: error %v", c.Text, err)
			}
		}
		if !slices.Equal(got[0], want) {
			t.Errorf("%q: got %v, want %v", c.Text, got[0], want)
		}
	}
	if cut < 3 {
		t.Errorf("%d texts were cut, want at least 3", cut)
	}
	if got, want := k.Decode([]int{320, 1125, 539, 320, 2368, 269}), "a photo of a cat . "; got != want {
		t.Errorf("decoded %q, want %q", got, want)
	}
}

func TestDecode(t *testing.T) {
	k, err := NewTokenizer(readTokenizing(t).Merges)
	if err != nil {
		t.Fatal(err)
	}
	words, err := k.Encode("Ünïcode 🐱, twice!")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Decode(words), "ünïcode 🐱, twice ! "; strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("decoded %q, want %q", got, want)
	}
	if got := k.Decode([]int{-1, k.Len()}); got != "\uFFFD\uFFFD" {
		t.Errorf("decoded %q of no words", got)
	}
}

// writeDirectory writes the files of a tokenizer as Hugging Face has them.
func writeDirectory(t *testing.T, words map[string]int, merges []string) string {
	t.Helper()
	dir := t.TempDir()
	vocab, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, vocabFile), vocab, 0o666)
	os.WriteFile(filepath.Join(dir, mergesFile), []byte("#version: 0.2\n"+strings.Join(merges, "\n")+"\n"), 0o666)
	return dir
}

func TestReadTokenizer(t *testing.T) {
	g := readTokenizing(t)
	k, err := NewTokenizer(g.Merges)
	if err != nil {
		t.Fatal(err)
	}
	shifted := map[string]int{}
	for w, n := range k.words {
		shifted[w] = n + 7
	}
	dir := writeDirectory(t, shifted, g.Merges)
	os.WriteFile(filepath.Join(dir, configFile), []byte(`{"vitago_library": "openai"}`), 0o666)
	other, err := ReadTokenizer(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range g.Texts {
		got, err := other.Encode(c.Text)
		for i := range got {
			got[i] -= 7
		}
		if err != nil || !slices.Equal(got, c.Small) {
			t.Errorf("%q: got %v, want %v; error %v", c.Text, got, c.Small, err)
		}
	}

	few := map[string]int{startOfText: 2, endOfText: 3, "a</w>": 0, "b": 1}
	small, err := ReadTokenizer(writeDirectory(t, few, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := small.Encode("A a"); err != nil || !slices.Equal(got, []int{0, 0}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := small.Encode("a ab"); !errors.Is(err, ErrText) || !strings.Contains(err.Error(), `the vocabulary of 4 tokens lacks "ab": none of them is "a"`) {
		t.Errorf("error %v for a word that is not there", err)
	}

	packed := func(text string) string {
		path := filepath.Join(t.TempDir(), "bpe.txt.gz")
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, text)
		z.Close()
		os.WriteFile(path, b.Bytes(), 0o666)
		return path
	}
	plain := filepath.Join(t.TempDir(), "plain.txt")
	os.WriteFile(plain, []byte("a b\n"), 0o666)
	wrong := writeDirectory(t, few, nil)
	os.WriteFile(filepath.Join(wrong, vocabFile), []byte("[1]"), 0o666)
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "absent"): "absent",
		t.TempDir():                          vocabFile,
		plain:                                "not a list of merges as OpenAI's bpe_simple_vocab_16e6.txt.gz: 1 lines",
		wrong:                                vocabFile,
		packed("#version\na b\n"):            "2 lines, want at least 48895",
		writeDirectory(t, map[string]int{"a": 0}, nil):               "none is <|startoftext|>",
		writeDirectory(t, map[string]int{"a": 0, "b": 0}, nil):       "the id of the token",
		writeDirectory(t, map[string]int{"a": -1}, nil):              "the id of the token",
		writeDirectory(t, few, []string{"a"}):                        `merge 0 is "a", want two tokens`,
		writeDirectory(t, few, []string{"a b", "a b"}):               "stands twice",
		writeDirectory(t, few, []string{"a b c"}):                    "want two tokens",
		packed("\xff" + strings.Repeat("\n", 50000)):                 "not UTF-8",
		packed("#version\n" + strings.Repeat("a b\n", mergesNumber)): `the token "ab" stands twice`,
	} {
		if _, err := ReadTokenizer(path); err == nil || !strings.HasPrefix(err.Error(), "cliptext: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// mergeNaive is [Tokenizer.merge] as OpenAI's code has it: look for the pair that comes first, join all of it,
// and again.
func mergeNaive(t *Tokenizer, piece string) []string {
	var word []string
	for i := range len(piece) {
		word = append(word, byteLetters[piece[i]])
	}
	word[len(word)-1] += endOfWord
	for len(word) > 1 {
		best, first := math.MaxInt, [2]string{}
		for i := range len(word) - 1 {
			pair := [2]string{word[i], word[i+1]}
			if rank, ok := t.ranks[pair]; ok && rank < best {
				best, first = rank, pair
			}
		}
		if best == math.MaxInt {
			break
		}
		var merged []string
		for i := 0; i < len(word); i++ {
			if i+1 < len(word) && word[i] == first[0] && word[i+1] == first[1] {
				merged = append(merged, first[0]+first[1])
				i++
			} else {
				merged = append(merged, word[i])
			}
		}
		word = merged
	}
	return word
}

// TestMerge compares with the naive way, also for lists that no training gives: a merge may come before
// those of its parts.
func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	random := func(letters, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(rng.IntN(letters))
		}
		return string(b)
	}
	joined := 0
	for range 300 {
		var merges []string
		words := map[string]bool{}
		for range 1 + rng.IntN(30) {
			a, b := random(3, 1+rng.IntN(3)), random(3, 1+rng.IntN(3))
			if rng.IntN(3) == 0 {
				b += endOfWord
			}
			if !words[a+b] {
				words[a+b] = true
				merges = append(merges, a+" "+b)
			}
		}
		k, err := NewTokenizerOf(map[string]int{startOfText: 0, endOfText: 1}, merges)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			piece := random(3, 1+rng.IntN(40))
			got, want := k.merge(piece, nil), mergeNaive(k, piece)
			joined += len(piece) - len(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%q by %q: got %q, want %q", piece, merges, got, want)
			}
		}
	}
	if joined < 10000 {
		t.Errorf("%d pairs were joined, want more for a test", joined)
	}
}

// TestLongTexts: time does not grow with the square of the length; it would be minutes here.
func TestLongTexts(t *testing.T) {
	g := readTokenizing(t)
	k, err := NewTokenizer(g.Merges)
	if err != nil {
		t.Fatal(err)
	}
	const n = 300_000
	word := make([]byte, n)
	rng := rand.New(rand.NewPCG(43, 44))
	for i := range word {
		word[i] = "etaoinshr"[rng.IntN(9)]
	}
	start := time.Now()
	for _, text := range []string{string(word), "&" + strings.Repeat("amp;", n/4), "<&" + strings.Repeat("amp;", n/4), strings.Repeat("&#38;", n/5)} {
		if words, err := k.Encode(text); err != nil || len(words) == 0 {
			t.Errorf("%.10q…: %d words, error %v", text, len(words), err)
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

// FuzzEncode: no text makes the tokenizer fail, and what it makes of one is what it makes of its own reading.
func FuzzEncode(f *testing.F) {
	g := readTokenizing(f)
	for _, c := range g.Texts {
		f.Add(c.Text)
	}
	f.Add("\xff\xfe")
	k, err := NewTokenizer(g.Merges)
	if err != nil {
		f.Fatal(err)
	}
	all := []*Tokenizer{k, k.With(OpenCLIP), k.With(Transformers)}
	for _, text := range readTexts(f).Texts[:300] {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range all {
			words, err := k.Encode(text)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			for _, w := range words {
				if w < 0 || w >= k.Len() {
					t.Fatalf("%q: word %d of %d", text, w, k.Len())
				}
			}
			k.Decode(words)
		}
	})
}
