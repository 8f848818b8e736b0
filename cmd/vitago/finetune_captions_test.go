package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/converter/checkpoint"
)

// captions are those of the colours of pictures.
var captions = [][2]string{{"blue", "a photo of a cat"}, {"green", "dog."}, {"red", "photo"}}

// captioned writes a table of pictures of three colours, whose captions are words of the tiny vocabulary.
func captioned(t *testing.T, each int) (table, pictures string) {
	t.Helper()
	pictures = colours(t, each)
	text := "filepath,title\n"
	for _, c := range captions {
		for i := range each {
			text += fmt.Sprintf("%s/%02d.png,%s\n", c[0], i, c[1])
		}
	}
	table = filepath.Join(pictures, "captions.csv")
	if err := os.WriteFile(table, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return table, pictures
}

// TestFinetuneCaptions: captions are learnt by both towers, or one; the model has its tokenizer, and classify
// finds the captions with it.
func TestFinetuneCaptions(t *testing.T) {
	table, pictures := captioned(t, 8)
	model := withVocabulary(t, fewWords)
	before := tensors(t, model)
	for _, c := range []struct {
		name         string
		flags        []string
		vision, text bool // learn
		best         string
	}{
		{"both", []string{"--recipe", "contrastive", "--scale-rate", "0.01", "--rate", "0.001", "--text-rate", "0.001"}, true, true, "1.0000"},
		{"texts locked", []string{"--recipe", "contrastive", "--lock", "texts", "--rate", "0.002"}, true, false, "1.0000"},
		{"images locked", []string{"--recipe", "contrastive", "--lock", "images", "--text-rate", "0.002", "--cache", filepath.Join(t.TempDir(), "cache")}, false, true, "0.8"}, // a random tower hardly tells colours apart
		{"lora", []string{"--recipe", "lora", "--captions", "--rate", "0.005", "--rank", "4", "--text-rate", "0.001", "--wise-ft", "0.9"}, true, true, "1.0000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string{"finetune", "--model", model, "--data", table, "--out", out, "--split", "0.25", "--epochs", "24", "--batch", "4", "--accumulate", "3"}, c.flags...)
			r := vitago(args...)
			r.want(t, exitDone, []string{"recall@1 before", filepath.Join(out, "model")}, []string{"Text.LogitScale"}[:min(1, strings.Count(c.name, "both"))])
			if want := "best recall@1 " + c.best; !strings.Contains(strings.Join(strings.Fields(r.out), " "), want) {
				t.Errorf("got\n%swant %s", r.out, want)
			}
			after := tensors(t, filepath.Join(out, "model"))
			if len(after) != len(before) {
				t.Errorf("%d tensors, want %d", len(after), len(before))
			}
			changed := map[bool]bool{}
			for name, w := range before {
				if a, ok := after[name]; !ok {
					t.Errorf("%s is gone", name)
				} else if a != w {
					changed[strings.HasPrefix(name, "text")] = true
				}
			}
			if changed[false] != c.vision || changed[true] != c.text {
				t.Errorf("images changed %v, texts %v", changed[false], changed[true])
			}
			for _, c := range captions {
				colour, label := c[0], c[1]
				r := vitago("classify", "--model", filepath.Join(out, "model"), "--labels", "a photo of a cat,dog.,photo", "--template", "{}", filepath.Join(pictures, colour, "00.png"))
				if lines := strings.Split(r.out, "\n"); r.status != exitDone || len(lines) < 2 || !strings.HasSuffix(lines[1], "  "+label) {
					t.Errorf("%s is not %s:\n%s%s", colour, label, r.out, r.err)
				}
			}
			if page := read(t, out, "report.md"); !strings.Contains(page, "18 pictures and their captions, 12 pairs a step") {
				t.Errorf("report:\n%s", page)
			}
		})
	}
}

// tensors returns the values of a model directory, as text that can be compared.
func tensors(t *testing.T, dir string) map[string]string {
	t.Helper()
	c, err := checkpoint.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all := map[string]string{}
	for _, x := range c.Tensors() {
		values := make([]float32, x.Len())
		if err := x.Float32s(values); err != nil {
			t.Fatal(err)
		}
		all[x.Name] = fmt.Sprint(values)
	}
	return all
}

func TestFinetuneCaptionsRefused(t *testing.T) {
	table, pictures := captioned(t, 2)
	model := withVocabulary(t, fewWords)
	long := filepath.Join(pictures, "long.csv")
	os.WriteFile(long, []byte("filepath,title\nred/00.png,a a a a a a a a\nblue/00.png,cat\nblue/01.png,dog\ngreen/00.png,a cat\n"), 0o666)
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, "--text-rate goes with captions", []string{"--model", model, "--data", table, "--recipe", "full", "--text-rate", "1e-5"}},
		{exitUsage, "--captions goes with the recipes", []string{"--model", model, "--data", table, "--recipe", "projector", "--captions"}},
		{exitUsage, "no --teacher", []string{"--model", model, "--data", table, "--recipe", "contrastive", "--teacher", tinyModel}},
		{exitFailed, "has no vocabulary", []string{"--model", tinyModel, "--data", table, "--recipe", "contrastive"}},
		{exitFailed, "has no text tower", []string{"--model", tinyModel + "-vision", "--data", table, "--recipe", "contrastive"}},
		{exitFailed, "have no caption: ", []string{"--model", model, "--data", pictures, "--recipe", "contrastive"}},
		{exitFailed, "1 of 4 pictures have captions of more than the 9 tokens", []string{"--model", model, "--data", long, "--recipe", "contrastive", "--split", "0"}},
		{exitFailed, "0.png (10); captions may not be cut; --truncate cuts them\n", []string{"--model", model, "--data", long, "--recipe", "contrastive", "--split", "0"}},
		{exitUsage, "--blocks: more blocks are to learn than are used: the last 9 blocks of 2\n", []string{"--model", model, "--data", pictures, "--recipe", "last-n", "--blocks", "9"}},
		{exitDone, "Text.Token ", []string{"--model", model, "--data", long, "--recipe", "contrastive", "--split", "0", "--truncate", "--dry-run"}},
	} {
		r := vitago(append([]string{"finetune", "--out", filepath.Join(t.TempDir(), "out")}, c.args...)...)
		var out []string
		if c.status == exitDone { // what the run would come to
			out = []string{"pictures  4 to train on", "steps     5, of 64 pictures"}
		}
		r.want(t, c.status, out, []string{c.want})
	}
}
