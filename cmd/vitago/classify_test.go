package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/spago/nn/linear"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/probe"
)

// The words of a vocabulary that is small enough for the tiny model, which has 50.
var (
	fewMerges = []string{"p h", "ph o", "pho t", "phot o</w>", "o f</w>", "c a", "ca t</w>", "d o", "do g</w>"}
	fewWords  = func() map[string]int {
		words := map[string]int{"<|startoftext|>": 48, "<|endoftext|>": 49}
		for _, l := range "aphotfcdg." {
			for _, w := range []string{string(l), string(l) + "</w>"} {
				words[w] = len(words) - 2
			}
		}
		for _, m := range fewMerges {
			words[strings.ReplaceAll(m, " ", "")] = len(words) - 2
		}
		return words
	}()
)

// withVocabulary returns a copy of the tiny model with this vocabulary beside it.
func withVocabulary(t *testing.T, words map[string]int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	vocab, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "vocab.json"), vocab, 0o666)
	os.WriteFile(filepath.Join(dir, "merges.txt"), []byte("#version: 0.2\n"+strings.Join(fewMerges, "\n")+"\n"), 0o666)
	return dir
}

// cosines computes those of a picture and texts by calls of the two towers.
func cosines(t *testing.T, path string, texts ...string) (all []float64, scale float64) {
	t.Helper()
	source, err := converter.Open(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	m, err := source.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image := direct(t, path, "embedding", -1)
	for _, text := range texts {
		words := []int{48}
		for _, w := range strings.Fields(text) {
			n, ok := fewWords[w+"</w>"]
			if !ok {
				t.Fatalf("no word %q", w)
			}
			words = append(words, n)
		}
		y, err := m.Forward([][]int{append(words, 49)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cosine(image, y.Data().F32()))
	}
	return all, m.Scale()
}

func TestClassify(t *testing.T) {
	dir := withVocabulary(t, fewWords)
	args := []string{"classify", "--model", dir, "--labels", "cat, dog,photo"}
	r := vitago(append(args, "--json", "demo/cat.png", "demo")...)
	r.want(t, exitDone, []string{`"label":"cat"`}, nil)
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7:\n%s", len(lines), r.out)
	}
	names := append([]string{"cat.png"}, demoNames...)
	for i, line := range lines {
		var got struct {
			Image  string
			Labels []ranked
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join("demo", names[i]); got.Image != want && got.Image != "demo/"+names[i] || len(got.Labels) != 3 {
			t.Errorf("line %d is of %q with %d labels, want %q with 3", i, got.Image, len(got.Labels), want)
		}
		cos, scale := cosines(t, "demo/"+names[i], "a photo of a cat .", "a photo of a dog .", "a photo of a photo .")
		total := 0.0
		for _, c := range cos {
			total += math.Exp(scale * c)
		}
		for j, l := range got.Labels {
			k := slices.Index([]string{"cat", "dog", "photo"}, l.Label)
			// Embeddings in a batch are those alone but for the last bits; 1/0.07 makes 1e-6 of a cosine to 2e-5.
			if p := math.Exp(scale*cos[k]) / total; math.Abs(l.Probability-p) > 2e-5 || math.Abs(l.Cosine-cos[k]) > 1e-6 {
				t.Errorf("%s: %+v, want probability %v, cosine %v", got.Image, l, p, cos[k])
			}
			if j > 0 && l.Probability > got.Labels[j-1].Probability {
				t.Errorf("%s: label %d is more probable than the one before", got.Image, j)
			}
		}
		if i == 0 {
			text := vitago(append(args, "demo/cat.png")...)
			want := "demo/cat.png\n"
			for _, l := range got.Labels {
				want += fmt.Sprintf("%8.2f %%  %s\n", 100*l.Probability, l.Label)
			}
			if text.status != exitDone || text.out != want {
				t.Errorf("status %d, got\n%swant\n%s", text.status, text.out, want)
			}
		}
	}
}

// TestClassifyTemplates: a label's embedding is the mean of its templates', each of length 1.
func TestClassifyTemplates(t *testing.T) {
	dir := withVocabulary(t, fewWords)
	probability := func(templates ...string) float64 {
		args := []string{"classify", "--model", dir, "--labels", "cat,dog", "--json", "demo/cat.png"}
		for _, t := range templates {
			args = append(args, "--template", t)
		}
		r := vitago(args...)
		r.want(t, exitDone, []string{"cat"}, nil)
		var got struct{ Labels []ranked }
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err)
		}
		return got.Labels[slices.IndexFunc(got.Labels, func(l ranked) bool { return l.Label == "cat" })].Cosine
	}
	source, err := converter.Open(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	m, err := source.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cat, photo := fewWords["cat</w>"], fewWords["photo</w>"]
	y, err := m.Forward([][]int{{48, cat, 49}, {48, photo, cat, 49}})
	if err != nil {
		t.Fatal(err)
	}
	x, e := y.Data().F32(), m.Config.EmbedDim
	mean := make([]float32, e)
	for i := range mean {
		mean[i] = float32(unit(x[:e])[i] + unit(x[e:])[i])
	}
	if got, want := probability("{}", "photo {}"), cosine(direct(t, "demo/cat.png", "embedding", -1), mean); math.Abs(got-want) > 1e-6 {
		t.Errorf("cosine %v, want %v", got, want)
	}
	if a, b := probability("{}"), probability("photo {}"); math.Abs(a-b) < 1e-4 {
		t.Errorf("the template makes no difference: %v and %v", a, b)
	}
}

func TestClassifyErrors(t *testing.T) {
	dir := withVocabulary(t, fewWords)
	other := map[string]int{"<|startoftext|>": 48, "<|endoftext|>": 50}
	two := []string{"--labels", "cat,dog"}
	broken := filepath.Join(t.TempDir(), "x.png")
	os.WriteFile(broken, []byte("no image"), 0o666)
	for _, c := range []struct {
		status int
		args   []string
		err    string
	}{
		{exitUsage, []string{"--labels", "cat,dog", "demo/cat.png"}, "no model: give --model DIR"},
		{exitUsage, append(two, "--model", dir), "got 0 arguments, want at least one IMAGE"},
		{exitUsage, append(two, "--model", "demo/cat.png", dir), "is an image, want a model directory"},
		{exitUsage, []string{"--model", dir, "demo/cat.png"}, "got 0 labels, want at least 2: --labels cat,dog, or a model with a head"},
		{exitUsage, []string{"--model", dir, "--labels", "cat", "demo/cat.png"}, "got 1 label, want at least 2"},
		{exitUsage, []string{"--model", dir, "--labels", "cat,,dog", "demo/cat.png"}, "label 2 of 3 is empty"},
		{exitUsage, []string{"--model", dir, "--labels", "cat,cat", "demo/cat.png"}, `the label "cat" is given twice`},
		{exitUsage, append(two, "--model", dir, "--template", "a photo", "demo/cat.png"), `--template "a photo" has no {}, where the label stands`},
		{exitUsage, append(two, "--model", dir, "https://example.com/cat.jpg"), "addresses are not read"},
		{exitFailed, append(two, "--model", tinyModel, "demo/cat.png"), "has no vocabulary (tokenizer.json, or vocab.json and merges.txt)"},
		{exitFailed, append(two, "--model", filepath.Join(t.TempDir(), "absent"), "demo/cat.png"), "absent"},
		{exitFailed, append(two, "--model", tinyModel, "--vocab", broken, "demo/cat.png"), "not a list of merges"},
		{exitFailed, append(two, "--model", withVocabulary(t, other), "demo/cat.png"), "the vocabulary has 51 tokens, the last of a text 50; the text tower has 50, the last 49"},
		{exitFailed, append(two, "--model", tinyModel+"-vision", "--vocab", dir, "demo/cat.png"), "huggingface-vision: has no text tower"},
		{exitFailed, []string{"--model", dir, "--labels", "cat,zebra", "demo/cat.png"}, `has none for "z" in "zebra"`},
		{exitFailed, append(two, "--model", dir, "--template", "a a a a a a a {}", "demo/cat.png"), "has 10 tokens with its begin and end, want at most 9"},
		{exitFailed, append(two, "--model", dir, broken), "x.png"},
	} {
		r := vitago(append([]string{"classify"}, c.args...)...)
		r.want(t, c.status, nil, []string{c.err})
	}
	// Another's vocabulary may be named.
	vitago(append([]string{"classify", "--model", tinyModel, "--vocab", dir, "demo/cat.png"}, two...)...).want(t, exitDone, []string{"% "}, nil)
}

// TestClassifyHead: what finetune has trained tells its classes apart.
func TestClassifyHead(t *testing.T) {
	pictures, out := colours(t, 6), filepath.Join(t.TempDir(), "out")
	vitago("finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "probe").want(t, exitDone, []string{"accuracy"}, []string{""})
	model := filepath.Join(out, "model")
	head, err := probe.LoadHead(model)
	if err != nil {
		t.Fatal(err)
	}
	r := vitago("classify", "--model", model, "--json", pictures+"/*/*")
	r.want(t, exitDone, []string{`"label"`}, nil)
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	right := 0
	for _, line := range lines {
		var got struct {
			Image  string
			Labels []ranked
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		p := head.Predict(direct(t, got.Image, "embedding", -1))
		if len(got.Labels) != len(p) || strings.Contains(line, "cosine") {
			t.Fatalf("got %s, want %d labels without cosines", line, len(p))
		}
		for _, l := range got.Labels {
			if want := p[slices.Index(head.Classes, l.Label)]; math.Abs(l.Probability-want) > 1e-4 {
				t.Errorf("%s: %+v, want probability %v", got.Image, l, want)
			}
		}
		if got.Labels[0].Label == filepath.Base(filepath.Dir(got.Image)) {
			right++
		}
	}
	if len(lines) < 12 || right < len(lines)*9/10 {
		t.Errorf("%d of %d are right", right, len(lines))
	}
	vitago("classify", "--model", model, "demo/cat.png").want(t, exitDone, []string{"% "}, nil)
	vitago("classify", "--model", model, "--template", "{}", "demo/cat.png").want(t, exitUsage, nil, []string{"--template goes with --labels: a head knows its classes"})
	vitago("classify", "--model", model, "--vocab", "x", "demo/cat.png").want(t, exitUsage, nil, []string{"--vocab goes with --labels"})
	to := t.TempDir()
	for _, args := range [][]string{{"convert", model, filepath.Join(to, "a")}, {"export", model, filepath.Join(to, "b"), "--to", "openclip"}} {
		vitago(args...).want(t, exitDone, []string{"left out    the head in head.safetensors, which reads this tower's embeddings"}, []string{"ed in "})
	}
	if err := os.Truncate(filepath.Join(model, "head.safetensors"), 10); err != nil {
		t.Fatal(err)
	}
	vitago("classify", "--model", model, "demo/cat.png").want(t, exitFailed, nil, []string{"head.safetensors"})
	h := &probe.Head{Classes: head.Classes, Features: head.Features, Linear: linear.New[float32](3, len(head.Classes))}
	if err := h.Save(model); err != nil {
		t.Fatal(err)
	}
	vitago("classify", "--model", model, "demo/cat.png").want(t, exitFailed, nil, []string{"the head reads 3 features, embedding of this tower has "})
}

// TestClassifyOwn: without labels a checkpoint's own classifier says the classes. The probabilities are those of
// transformers 5.24.0 (CLIPForImageClassification) and timm 1.0.31 for this picture, in float64.
func TestClassifyOwn(t *testing.T) {
	for model, want := range map[string]map[string]float64{
		"hf5-classifier":  {"cat": 1.8975480696713244e-11, "dog": 0.9970602637938212, "a, b": 0.0029397361872033306},
		"timm-classifier": {"cat": 0.44186442844183427, "dog": 0.014053474038873337, "bird": 0.5440820975192925},
	} {
		dir := filepath.Join("..", "..", "testdata", "families", model)
		r := vitago("classify", "--model", dir, "--json", "demo/cat.png")
		r.want(t, exitDone, []string{`"label"`}, nil)
		var got struct{ Labels []ranked }
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Labels) != len(want) {
			t.Errorf("%s: %s, want %v", model, r.out, want)
		}
		for _, l := range got.Labels {
			if math.Abs(l.Probability-want[l.Label]) > 1e-6 {
				t.Errorf("%s: %+v, want %v", model, l, want[l.Label])
			}
		}
		vitago("classify", "--model", dir, "--vocab", "x", "demo/cat.png").want(t, exitUsage, nil, []string{"--vocab goes with --labels"})
		vitago("convert", dir, filepath.Join(t.TempDir(), "out")).want(t, exitDone, []string{"left out"}, []string{"converted in"})
	}
	vitago("classify", "--model", filepath.Join("..", "..", "testdata", "families", "hf5-clip"), "demo/cat.png").want(t, exitUsage, nil, []string{"got 0 labels"})
}

func TestRank(t *testing.T) {
	got := rank([]string{"a", "b", "c"}, []float32{0, 2}, [][]float64{{1, 0}, {0, 1}, {0.6, 0.8}}, 1000)
	if got[0].Label != "b" || got[1].Label != "c" || got[2].Label != "a" || got[0].Probability != 1 || got[2].Probability != 0 {
		t.Errorf("got %+v", got)
	}
	if got := rank([]string{"a", "b"}, make([]float32, 2), [][]float64{{1, 0}, {0, 1}}, 1); !math.IsNaN(got[0].Probability) {
		t.Errorf("an embedding of length 0 has the probability %v", got[0].Probability)
	}
}

// TestLabelList: labels may stand in several lines, as in "$(cat labels.txt)".
func TestLabelList(t *testing.T) {
	for _, c := range []struct {
		given []string
		want  []string
	}{
		{[]string{"cat,dog,bird"}, []string{"cat", "dog", "bird"}},
		{[]string{"cat,dog\nbird,fox"}, []string{"cat", "dog", "bird", "fox"}},
		{[]string{"cat\ndog\n"}, []string{"cat", "dog"}},
		{[]string{"cat,\ndog,\nbird,\nfox"}, []string{"cat", "dog", "bird", "fox"}},
		{[]string{"cat,\r\ndog,\r\n"}, []string{"cat", "dog"}},
		{[]string{"cat\rdog"}, []string{"cat", "dog"}},
		{[]string{"cat\n\n  \ndog"}, []string{"cat", "dog"}},
		{[]string{"cat", "dog"}, []string{"cat", "dog"}},
		{[]string{"\"dark, at night\",\"two\nlines\""}, []string{"dark, at night", "two\nlines"}},
		{[]string{"cat,,dog"}, []string{"cat", "", "dog"}}, // refused afterwards
		{[]string{"cat,dog,"}, []string{"cat", "dog", ""}},
		{[]string{""}, []string{}},
	} {
		var l labelList
		for _, s := range c.given {
			if err := l.Set(s); err != nil {
				t.Errorf("%q: %v", c.given, err)
			}
		}
		if l == nil || !slices.Equal(l, c.want) {
			t.Errorf("%q: got %q, want %q", c.given, l, c.want)
		}
	}
	vitago("classify", "--model", "x", "--labels", "cat,\"dog", "y.png").want(t, exitUsage, nil, []string{"--labels"})
}

// TestClassifyName: a name is what it is in JSON, a byte that is no UTF-8 as Python has it.
func TestClassifyName(t *testing.T) {
	for name, want := range map[string]string{
		"a&<é>.png": `{"image":"a&<é>.png","labels":[]}`, "caf\xe9.png": `{"image":"caf\udce9.png","labels":[]}`,
	} {
		var b strings.Builder
		if err := (&classification{json: true}).write(&b, name, []ranked{}); err != nil || b.String() != want+"\n" {
			t.Errorf("%q: got %s, %v, want %s", name, b.String(), err, want)
		}
	}
	var b strings.Builder
	if err := new(classification).write(&b, "a\nb.png", nil); err != nil || b.String() != `"a\nb.png"`+"\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
