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

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
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
		all = append(all, clip.Cosine(image, y.Data().F32()))
	}
	return all, m.Scale()
}

func TestClassify(t *testing.T) {
	dir := withVocabulary(t, fewWords)
	args := []string{"classify", "--model", dir, "--labels", "cat, dog,photo"}
	r := vitago(append(args, "--json", "testdata/demo/cat.png", "testdata/demo")...)
	r.want(t, exitDone, []string{`"label":"cat"`}, nil)
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines, want 7:\n%s", len(lines), r.out)
	}
	names := append([]string{"cat.png"}, demoNames...)
	for i, line := range lines {
		var got struct {
			Image  string
			Labels []clip.Label
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join("testdata", "demo", names[i]); got.Image != want && got.Image != "testdata/demo/"+names[i] || len(got.Labels) != 3 {
			t.Errorf("line %d is of %q with %d labels, want %q with 3", i, got.Image, len(got.Labels), want)
		}
		cos, scale := cosines(t, "testdata/demo/"+names[i], "a photo of a cat .", "a photo of a dog .", "a photo of a photo .")
		total := 0.0
		for _, c := range cos {
			total += math.Exp(scale * c)
		}
		for j, l := range got.Labels {
			k := slices.Index([]string{"cat", "dog", "photo"}, l.Name)
			// Embeddings in a batch are those alone but for the last bits; 1/0.07 makes 1e-6 of a cosine to 2e-5.
			if p := math.Exp(scale*cos[k]) / total; math.Abs(l.Probability-p) > 2e-5 || math.Abs(l.Cosine-cos[k]) > 1e-6 {
				t.Errorf("%s: %+v, want probability %v, cosine %v", got.Image, l, p, cos[k])
			}
			if j > 0 && l.Probability > got.Labels[j-1].Probability {
				t.Errorf("%s: label %d is more probable than the one before", got.Image, j)
			}
		}
		if i == 0 {
			text := vitago(append(args, "testdata/demo/cat.png")...)
			want := "testdata/demo/cat.png\n"
			for _, l := range got.Labels {
				want += fmt.Sprintf("%8.2f %%  %s\n", 100*l.Probability, l.Name)
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
		args := []string{"classify", "--model", dir, "--labels", "cat,dog", "--json", "testdata/demo/cat.png"}
		for _, t := range templates {
			args = append(args, "--template", t)
		}
		r := vitago(args...)
		r.want(t, exitDone, []string{"cat"}, nil)
		var got struct{ Labels []clip.Label }
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err)
		}
		return got.Labels[slices.IndexFunc(got.Labels, func(l clip.Label) bool { return l.Name == "cat" })].Cosine
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
	x, e := slices.Clone(y.Data().F32()), m.Config.EmbedDim
	clip.Normalize(x[:e], x[e:])
	mean := make([]float32, e)
	for i := range mean {
		mean[i] = x[i] + x[e+i]
	}
	if got, want := probability("{}", "photo {}"), clip.Cosine(direct(t, "testdata/demo/cat.png", "embedding", -1), mean); math.Abs(got-want) > 1e-6 {
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
		{exitUsage, []string{"--model=", "--labels", "cat,dog", "testdata/demo/cat.png"}, "--model is empty, want --model DIR"},
		{exitUsage, append(two, "--model", dir), "got 0 arguments, want at least one IMAGE"},
		{exitUsage, append(two, "--model", "testdata/demo/cat.png", dir), "is an image, want a model directory"},
		{exitUsage, []string{"--model", dir, "testdata/demo/cat.png"}, "got 0 labels, want at least 2: --labels cat,dog, or a model with a head"},
		{exitUsage, []string{"--model", dir, "--labels", "cat", "testdata/demo/cat.png"}, "got 1 label, want at least 2"},
		{exitUsage, []string{"--model", dir, "--labels", "cat,,dog", "testdata/demo/cat.png"}, "label 2 of 3 is empty"},
		{exitUsage, []string{"--model", dir, "--labels", "cat,cat", "testdata/demo/cat.png"}, `the label "cat" is given twice`},
		{exitUsage, append(two, "--model", dir, "--template", "a photo", "testdata/demo/cat.png"), `--template "a photo" has no {}, where the label stands`},
		{exitUsage, append(two, "--model", dir, "https://example.com/cat.jpg"), "addresses are not read"},
		{exitFailed, append(two, "--model", tinyModel, "testdata/demo/cat.png"), "has no vocabulary (tokenizer.json, or vocab.json and merges.txt)"},
		{exitFailed, append(two, "--model", filepath.Join(t.TempDir(), "absent"), "testdata/demo/cat.png"), "absent"},
		{exitFailed, append(two, "--model", tinyModel, "--vocab", broken, "testdata/demo/cat.png"), "not a list of merges"},
		{exitFailed, append(two, "--model", withVocabulary(t, other), "testdata/demo/cat.png"), "the vocabulary has 51 tokens, the last of a text 50; the text tower has 50, the last 49"},
		{exitFailed, append(two, "--model", tinyModel+"-vision", "--vocab", dir, "testdata/demo/cat.png"), "huggingface-vision: has no text tower"},
		{exitFailed, []string{"--model", dir, "--labels", "cat,zebra", "testdata/demo/cat.png"}, `the label "zebra" in the template "a photo of a {}.": the vocabulary of 31 tokens lacks "zebra": none of them is "z"`},
		{exitFailed, append(two, "--model", dir, "--template", "a a a a a a a {}", "testdata/demo/cat.png"), "has 10 tokens with its begin and end, want at most 9"},
		{exitFailed, append(two, "--model", dir, broken), "x.png"},
	} {
		r := vitago(append([]string{"classify"}, c.args...)...)
		r.want(t, c.status, nil, []string{c.err})
	}
	// Another's vocabulary may be named.
	vitago(append([]string{"classify", "--model", tinyModel, "--vocab", dir, "testdata/demo/cat.png"}, two...)...).want(t, exitDone, []string{"% "}, nil)
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
			Labels []clip.Label
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		p := head.Predict(direct(t, got.Image, "embedding", -1))
		if len(got.Labels) != len(p) || strings.Contains(line, "cosine") {
			t.Fatalf("got %s, want %d labels without cosines", line, len(p))
		}
		for _, l := range got.Labels {
			if want := p[slices.Index(head.Classes, l.Name)]; math.Abs(l.Probability-want) > 1e-4 {
				t.Errorf("%s: %+v, want probability %v", got.Image, l, want)
			}
		}
		if got.Labels[0].Name == filepath.Base(filepath.Dir(got.Image)) {
			right++
		}
	}
	if len(lines) < 12 || right < len(lines)*9/10 {
		t.Errorf("%d of %d are right", right, len(lines))
	}
	vitago("classify", "--model", model, "testdata/demo/cat.png").want(t, exitDone, []string{"% "}, nil)
	vitago("classify", "--model", model, "--template", "{}", "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"--template goes with --labels: a head knows its classes"})
	vitago("classify", "--model", model, "--vocab", "x", "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"--vocab goes with --labels"})
	to := t.TempDir()
	for _, args := range [][]string{{"convert", model, filepath.Join(to, "a")}, {"export", model, filepath.Join(to, "b"), "--to", "openclip"}} {
		vitago(args...).want(t, exitDone, []string{"left out    the head in head.safetensors, which reads this tower's embeddings"}, []string{"ed in "})
	}
	if err := os.Truncate(filepath.Join(model, "head.safetensors"), 10); err != nil {
		t.Fatal(err)
	}
	vitago("classify", "--model", model, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"head.safetensors"})
	h := &probe.Head{Classes: head.Classes, Features: head.Features, Linear: linear.New[float32](3, len(head.Classes))}
	if err := h.Save(model); err != nil {
		t.Fatal(err)
	}
	vitago("classify", "--model", model, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"the head reads 3 features, embedding of this tower has "})
}

// TestClassifyOwn: without labels a checkpoint's own classifier says the classes. The probabilities are those of
// transformers 5.24.0 (CLIPForImageClassification) and timm 1.0.31 for this picture, in float64.
func TestClassifyOwn(t *testing.T) {
	for model, want := range map[string]map[string]float64{
		"hf5-classifier":  {"cat": 1.8975480696713244e-11, "dog": 0.9970602637938212, "a, b": 0.0029397361872033306},
		"timm-classifier": {"cat": 0.44186442844183427, "dog": 0.014053474038873337, "bird": 0.5440820975192925},
	} {
		dir := filepath.Join("..", "..", "testdata", "families", model)
		r := vitago("classify", "--model", dir, "--json", "testdata/demo/cat.png")
		r.want(t, exitDone, []string{`"label"`}, nil)
		var got struct{ Labels []clip.Label }
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Labels) != len(want) {
			t.Errorf("%s: %s, want %v", model, r.out, want)
		}
		for _, l := range got.Labels {
			if math.Abs(l.Probability-want[l.Name]) > 1e-6 {
				t.Errorf("%s: %+v, want %v", model, l, want[l.Name])
			}
		}
		vitago("classify", "--model", dir, "--vocab", "x", "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"--vocab goes with --labels"})
		vitago("convert", dir, filepath.Join(t.TempDir(), "out")).want(t, exitDone, []string{"left out"}, []string{"converted in"})
	}
	vitago("classify", "--model", filepath.Join("..", "..", "testdata", "families", "hf5-clip"), "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"got 0 labels"})
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
		if err := newVerdicts(&b, "jsonl", 0).write(clip.Classified{Name: name, Labels: []clip.Label{}}); err != nil || b.String() != want+"\n" {
			t.Errorf("%q: got %s, %v, want %s", name, b.String(), err, want)
		}
	}
	var b strings.Builder
	if err := newVerdicts(&b, "text", 0).write(clip.Classified{Name: "a\nb.png"}); err != nil || b.String() != `"a\nb.png"`+"\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
	b.Reset()
	labels := []clip.Label{{Name: "a, b", Probability: 0.75}, {Name: `"x"`, Probability: 0.25, Cosine: -0.5}}
	want := "image,rank,label,probability,cosine,error\n\"a\nb.png\",1,\"a, b\",0.75,,\n\"a\nb.png\",2,\"\"\"x\"\"\",0.25,-0.5,\n"
	if err := newVerdicts(&b, "csv", 0).write(clip.Classified{Name: "a\nb.png", Labels: labels}); err != nil || b.String() != want {
		t.Errorf("got %q, %v, want %q", b.String(), err, want)
	}
}

// TestClassifyFormats: the same in all formats, in a file and on standard output.
func TestClassifyFormats(t *testing.T) {
	dir, out := withVocabulary(t, fewWords), t.TempDir()
	labels := filepath.Join(out, "labels.txt")
	os.WriteFile(labels, []byte("\ufeffcat\r\n\r\n dog \r\nphoto\rcat of a dog\ndog of\nphoto of"), 0o666)
	templates := filepath.Join(out, "templates.txt")
	os.WriteFile(templates, []byte("{}\na {}\n"), 0o666)
	args := []string{"classify", "--model", dir, "--labels-file", labels, "--templates-file", templates, "testdata/demo/cat.png", "testdata/demo/gradient.png"}
	all := func(more ...string) ran { return vitago(append(slices.Clone(args), more...)...) }
	r := all("--json")
	r.want(t, exitDone, []string{"cat"}, nil)
	type object struct {
		Image  string
		Labels []clip.Label
	}
	var want []object
	for line := range strings.Lines(r.out) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		want = append(want, o)
	}
	if len(want) != 2 || len(want[0].Labels) != 6 {
		t.Fatalf("got %s", r.out)
	}
	flags := vitago("classify", "--model", dir, "--labels", "cat,dog,photo,cat of a dog,dog of,photo of", "--template", "{}", "--template", "a {}", "--json", "testdata/demo/cat.png", "testdata/demo/gradient.png")
	if flags.out != r.out {
		t.Errorf("got %s by flags, %s by files", flags.out, r.out)
	}
	var text, one string
	table := "image,rank,label,probability,cosine,error\n"
	for _, o := range want {
		text += o.Image + "\n"
		for i, l := range o.Labels {
			if i < 5 {
				text += fmt.Sprintf("%8.2f %%  %s\n", 100*l.Probability, l.Name)
			}
			table += fmt.Sprintf("%s,%d,%s,%v,%v,\n", o.Image, i+1, l.Name, l.Probability, l.Cosine)
		}
		one += fmt.Sprintf("%s\t%s\t%.2f %%\n", o.Image, o.Labels[0].Name, 100*o.Labels[0].Probability)
	}
	if r := all(); r.out != text || !strings.Contains(r.err, "note: the 5 best of 6 labels; --top says how many, 0 all") {
		t.Errorf("got %s%s, want %s", r.out, r.err, text)
	}
	if r := all("--top", "1"); r.out != one || r.err != "" {
		t.Errorf("got %s%s, want %s", r.out, r.err, one)
	}
	if r := all("--top", "0"); strings.Count(r.out, "%") != 12 || r.err != "" {
		t.Errorf("got %s%s, want 6 labels an image", r.out, r.err)
	}
	if r := all("--top", "2", "--json"); strings.Count(r.out, "probability") != 4 {
		t.Errorf("got %s, want 2 labels an image", r.out)
	}
	if r := all("--format", "csv"); r.out != table {
		t.Errorf("got %s, want %s", r.out, table)
	}
	for name, want := range map[string]string{"x.csv": table, "x.jsonl": r.out, "deep/x.txt": text} {
		path := filepath.Join(out, name)
		if r := all("-o", path); r.status != exitDone || r.out != "" || read(t, path) != want {
			t.Errorf("%s: status %d, %s, got %s, want %s", name, r.status, r.err, read(t, path), want)
		}
		before := read(t, path)
		all("-o", path, "--top", "1").want(t, exitFailed, nil, []string{filepath.Base(name) + " exists, and overwriting was not asked for; give --overwrite"})
		if read(t, path) != before {
			t.Errorf("%s has changed", name)
		}
		if r := all("-o", path, "--top", "1", "--overwrite"); r.status != exitDone || read(t, path) == before {
			t.Errorf("%s: status %d, %s", name, r.status, r.err)
		}
	}
	// A cache changes nothing but the time.
	cache := filepath.Join(out, "cache")
	for range 2 {
		if got := all("--json", "--cache", cache); got.out != r.out || got.status != exitDone {
			t.Errorf("got %s%s, want %s", got.out, got.err, r.out)
		}
	}
	if files, err := filepath.Glob(filepath.Join(cache, "*", "*", "*.f64")); len(files) != 6 {
		t.Errorf("%d files in the cache, want 6; %v", len(files), err)
	}
	stdin := vitagoContext(t.Context(), strings.NewReader("cat\ndog\nphoto\ncat of a dog\ndog of\nphoto of"),
		"classify", "--model", dir, "--labels-file", "-", "--templates-file", templates, "--json", "testdata/demo/cat.png", "testdata/demo/gradient.png")
	if stdin.out != r.out {
		t.Errorf("got %s%s, want %s", stdin.out, stdin.err, r.out)
	}
}

// TestClassifySkips: with --skip-errors an image that cannot be read has an error, and the others labels.
func TestClassifySkips(t *testing.T) {
	dir, out := withVocabulary(t, fewWords), t.TempDir()
	broken := filepath.Join(out, "broken.png")
	os.WriteFile(broken, []byte("no picture"), 0o666)
	args := []string{"classify", "--model", dir, "--labels", "cat,dog", "--template", "{}", "testdata/demo/cat.png", broken, "testdata/demo/gradient.png", "absent.png"}
	file := filepath.Join(out, "x.csv")
	with := func(args []string, more ...string) ran { return vitago(append(slices.Clone(args), more...)...) }
	with(args, "-o", file).want(t, exitFailed, nil, []string{"absent.png"})
	with(args[:len(args)-1], "-o", file).want(t, exitFailed, nil, []string{"broken.png: not an image"})
	if _, err := os.Stat(file); err == nil {
		t.Error("half of a file is there")
	}
	for format, want := range map[string][]string{
		"text":  {"testdata/demo/cat.png\n", "testdata/demo/gradient.png\n"},
		"jsonl": {`{"image":"testdata/demo/cat.png","labels":[`, `broken.png","error":"`, `{"image":"absent.png","error":"absent.png: no such file or directory"}`},
		"csv":   {"testdata/demo/gradient.png,2,", "broken.png,,,,,", "absent.png,,,,,absent.png: no such file or directory\n"},
	} {
		r := with(args, "--skip-errors", "--format", format)
		r.want(t, exitFailed, want, []string{"skipped: ", "2 of 4 images could not be read"})
		if format == "text" && strings.Contains(r.out, "broken") {
			t.Errorf("got %s", r.out)
		}
	}
	with(args, "--skip-errors", "-o", file).want(t, exitFailed, nil, []string{"2 of 4 images could not be read"})
	if lines := strings.Count(read(t, file), "\n"); lines != 7 {
		t.Errorf("%d lines, want 7", lines)
	}
}

func TestClassifyFlagErrors(t *testing.T) {
	dir, out := withVocabulary(t, fewWords), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(out, name)
		os.WriteFile(path, []byte(text), 0o666)
		return path
	}
	two := func(more ...string) []string { return append([]string{"--labels", "cat,dog"}, more...) }
	for _, c := range []struct {
		status int
		args   []string
		err    string
	}{
		{exitUsage, two("--labels-file", "x"), "--labels and --labels-file: give one of them"},
		{exitUsage, two("--template", "{}", "--templates-file", "x"), "--template and --templates-file: give one of them"},
		{exitUsage, two("--json", "--format", "csv"), "--json is --format jsonl: give one of them"},
		{exitUsage, two("--json", "-o", filepath.Join(out, "x.csv")), "x.csv has the extension of csv, and --format is jsonl"},
		{exitUsage, two("-o", filepath.Join(out, "x.parquet")), `no format has the extension ".parquet"; give --format`},
		{exitUsage, two("--format", "xml"), "want text, jsonl, csv"},
		{exitUsage, two("--overwrite"), "--overwrite goes with -o"},
		{exitUsage, two("--top", "-1"), "--top is -1, want 1 or more, or 0 for all"},
		{exitUsage, two("--batch", "65"), "--batch is 65, want 1 to 64"},
		{exitUsage, two("--precision", "f16"), "want f32, bf16, int8, auto"},
		{exitFailed, []string{"--labels-file", filepath.Join(out, "absent.txt")}, "--labels-file: open " + filepath.Join(out, "absent.txt")},
		{exitUsage, []string{"--labels-file", out}, out + " is a directory, want a file of lines"},
		{exitUsage, []string{"--labels-file", file("none.txt", "\n \n")}, "none.txt: got 0 labels, want at least 2: one a line"},
		{exitUsage, []string{"--labels-file", file("one.txt", "cat,dog\n")}, "one.txt: got 1 label, want at least 2: one a line"},
		{exitUsage, []string{"--labels-file", file("twice.txt", "cat\n\ndog\n cat \n")}, `twice.txt: the label "cat" is given twice, in lines 1 and 4`},
		{exitUsage, []string{"--labels-file", file("latin.txt", "cat\ncaf\xe9\n")}, `latin.txt: line 2 is "caf\xe9", want text in UTF-8`},
		{exitUsage, []string{"--labels-file", file("wide.txt", "\xff\xfec\x00a\x00")}, "wide.txt: the text is UTF-16, want UTF-8"},
		{exitUsage, two("--templates-file", file("none.txt", "\n")), "none.txt: got 0 templates, want at least 1"},
		{exitUsage, two("--templates-file", file("bad.txt", "{}\n\na photo\n")), `bad.txt: line 3, "a photo", has no {}, where the label stands`},
		{exitUsage, []string{"--labels-file", "-", "--templates-file", "-"}, "standard input is named twice"},
		{exitUsage, two("--templates-file", "-", "-"), "standard input is named twice"},
		{exitUsage, []string{"--templates-file", "x"}, "--templates-file goes with --labels: a head knows its classes"},
		{exitUsage, []string{"--cache", "x"}, "--cache goes with --labels: a head knows its classes"},
		{exitFailed, two("--template", "{}", "--cache", file("file", "")), "cache: "},
	} {
		args := append([]string{"classify", "--model", dir, "testdata/demo/cat.png"}, c.args...)
		vitagoContext(t.Context(), strings.NewReader("{}"), args...).want(t, c.status, nil, []string{c.err})
	}
	// What is missing is said first: the tower, then the vocabulary.
	for _, model := range []string{"llava", "hf5-llava", "hf5-classifier", "timm-classifier", "hf5-vision", "xcomposer2-vl"} {
		model = filepath.Join("..", "..", "testdata", "families", model)
		vitago(append([]string{"classify", "--model", model, "testdata/demo/cat.png"}, two()...)...).want(t, exitFailed, nil, []string{"has no text tower"})
	}
}

// TestClassifyNoHead: a model without a classifier says what it has in place of one.
func TestClassifyNoHead(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own")
	if err := os.CopyFS(own, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	if err := checkpoint.WriteTensors(filepath.Join(own, "head.safetensors"), nil, []checkpoint.Values{{Name: "0.W", Shape: []int{1}, Data: []float32{1}}}); err != nil {
		t.Fatal(err)
	}
	vitago("classify", "--model", own, "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"head.safetensors has no classes.json beside it, so it is a head of one's own"})
	vitago("classify", "--model", tinyModel, "testdata/demo/cat.png").want(t, exitUsage, nil, []string{"got 0 labels, want at least 2", "no head that a run has trained"})
	run := t.TempDir()
	if err := os.Mkdir(filepath.Join(run, "checkpoint-00000010"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{run, filepath.Join(run, "model")} {
		vitago("classify", "--model", model, "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"has not ended", "--resume"})
		vitago("classify", "--model", model, "--labels", "cat,dog", "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"has not ended", "--resume"})
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("\ufeffcat\r\n\n dog\rfox"))
	f.Add([]byte("\xff\xfe"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		lines, err := linesOf(raw)
		last := 0
		for _, l := range lines {
			if err != nil || l.number <= last || l.text == "" || l.text != strings.TrimSpace(l.text) || strings.ContainsAny(l.text, "\r\n") {
				t.Errorf("%q: %+v, %v", raw, l, err)
			}
			last = l.number
		}
	})
}

// TestPrecisionNotes: classify says of each tower what 8 bits do not suffice for, as encode does.
func TestPrecisionNotes(t *testing.T) {
	for _, text := range []bool{true, false} {
		name := map[bool]string{true: "the text tower", false: "the vision tower"}[text]
		m, err := clip.Open(tinyModel, clip.Int8())
		if err != nil {
			t.Fatal(err)
		}
		var tower interface{ Precision() string }
		if text {
			tower, err = m.Text(t.Context())
		} else {
			tower, err = m.Vision(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		precision := tower.Precision()
		m.Close()
		r := vitago("classify", "--model", tinyModel, "--vocab", withVocabulary(t, fewWords), "--precision", "int8", "--labels", "cat,dog", "testdata/demo/cat.png")
		note := "8 bits do not suffice " + name + ": it computes " + precision
		if said, want := strings.Contains(r.err, note), !strings.HasSuffix(precision, "products in int8"); said != want {
			t.Errorf("%s with %s: said %v, want %v\n%s", name, precision, said, want, r.err)
		}
	}
}

// TestClassifyAccepted: which labels a threshold accepts stands in every format, and an image without one is none of these.
func TestClassifyAccepted(t *testing.T) {
	dir := withVocabulary(t, fewWords)
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	os.WriteFile(prompts, []byte(`{"label":"pet","prompt":["a photo of a cat .","dog"]}`+"\n"+`{"label":"other","prompt":"photo"}`), 0o666)
	image := func(args ...string) (r ran, labels []clip.Label, accepted []string) {
		r = vitago(append([]string{"classify", "--model", dir, "testdata/demo/cat.png"}, args...)...)
		if !slices.Contains(args, "--json") {
			return r, nil, nil
		}
		var got struct {
			Labels   []clip.Label
			Accepted *[]string
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatal(err, r.err)
		}
		if got.Accepted == nil {
			return r, got.Labels, nil
		}
		return r, got.Labels, *got.Accepted
	}
	_, plain, none := image("--prompts", prompts, "--json")
	cos, scale := cosines(t, "testdata/demo/cat.png", "photo", "a photo of a cat .", "dog")
	other := plain[slices.IndexFunc(plain, func(l clip.Label) bool { return l.Name == "other" })]
	if len(plain) != 2 || none != nil || math.Abs(other.Cosine-cos[0]) > 1e-6 {
		t.Errorf("labels %v, accepted %v, want the cosine %v of the prompt without a template", plain, none, cos[0])
	}
	best := plain[0]
	for _, c := range []struct {
		flag string
		want string
	}{
		{"--min-probability=" + number(best.Probability), best.Name}, {"--min-probability=" + number(best.Probability+1e-9), ""},
		{"--min-cosine=" + number(max(best.Cosine, 1e-9)), best.Name}, {"--min-cosine=0.999", ""},
	} {
		if best.Cosine <= 0 && strings.HasPrefix(c.flag, "--min-cosine") && c.want != "" {
			continue
		}
		_, labels, accepted := image("--prompts", prompts, "--json", c.flag)
		if strings.Join(accepted, " ") != c.want || accepted == nil || !slices.Equal(labels, plain) {
			t.Errorf("%s: accepted %q of %v, want %q", c.flag, accepted, labels, c.want)
		}
	}
	r, _, _ := image("--prompts", prompts, "--min-probability=1")
	r.want(t, exitDone, []string{"testdata/demo/cat.png: none of these\n", " %  pet\n", " %  other\n"}, nil)
	r, _, _ = image("--prompts", prompts, "--min-probability=1", "--top=1")
	r.want(t, exitDone, []string{"testdata/demo/cat.png\tnone of these\t"}, nil)
	r, _, _ = image("--prompts", prompts, "--min-probability=0.51", "--top=1", "--format=csv")
	r.want(t, exitDone, []string{"image,rank,label,probability,cosine,error,accepted\ntestdata/demo/cat.png,1," + best.Name + ","}, nil)

	// Each by itself.
	_, labels, accepted := image("--labels", "dog", "--template", "{}", "--multi-label", "--negative", "photo", "--bias", "0.5", "--json")
	if want := 1 / (1 + math.Exp(-scale*(cos[2]-cos[0])-0.5)); len(labels) != 1 || math.Abs(labels[0].Probability-want) > 2e-5 || (len(accepted) == 1) != (want >= 0.5) {
		t.Errorf("labels %v, accepted %q, want %v", labels, accepted, want)
	}
	r, _, _ = image("--labels", "cat,dog", "--multi-label", "--negative", "photo", "--min-probability", "0.000001")
	r.want(t, exitDone, []string{"testdata/demo/cat.png\n*", "%  cat\n", "\n*"}, nil)

	list := filepath.Join(t.TempDir(), "templates.py")
	os.WriteFile(list, []byte("templates = [\n    'a photo of {}.',\n    lambda c: f'a {c}',\n]\n"), 0o666)
	_, python, _ := image("--labels", "cat,dog", "--templates-file", list, "--json")
	_, given, _ := image("--labels", "cat,dog", "--template", "a photo of {c}.", "--template", "a {}", "--json")
	if !slices.Equal(python, given) {
		t.Errorf("by a list of Python %v, want %v", python, given)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--prompts", prompts + ".txt"}, "--prompts: open "},
		{[]string{"--prompts", list}, `templates.py: line 1: "templates = [" has no tab, want a label, a tab, and a prompt`},
		{[]string{"--labels", "cat,dog", "--min-probability", "1.5"}, "--min-probability is 1.5, want above 0 and at most 1"},
		{[]string{"--labels", "cat,dog", "--min-cosine", "0"}, "--min-cosine is 0, want above 0 and below 1"},
		{[]string{"--labels", "cat,dog", "--multi-label", "--bias", "NaN"}, "--bias is NaN, want a number"},
		{[]string{"--labels", "cat,dog", "--multi-label", "--negative", " "}, "--negative: a text is empty, want words"},
		{[]string{"--labels", "cat,dog", "--multi-label", "--negative", "zebra"}, `the negative text "zebra": the vocabulary of 31 tokens lacks "zebra"`},
	} {
		r := vitago(append([]string{"classify", "--model", dir, "testdata/demo/cat.png"}, c.args...)...)
		if r.status == exitDone || !strings.Contains(r.err, c.want) {
			t.Errorf("%q: status %d, %s, want %q", c.args, r.status, r.err, c.want)
		}
	}
}
