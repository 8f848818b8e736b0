package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitago/vitago/internal/hub"
)

// TestModelByName: what download brings is what --model finds by the same name, in any verb, and a path that exists is meant as it is.
func TestModelByName(t *testing.T) {
	tiny, err := filepath.Abs(tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := filepath.Abs("testdata/demo/cat.png")
	if err != nil {
		t.Fatal(err)
	}
	archive := read(t, tinyArchive)
	serveHub(t, tiny)
	t.Chdir(t.TempDir())
	vitago("encode", "--model", "org/tiny", picture).want(t, exitFailed, nil,
		[]string{`vitago: --model: no model org/tiny: no such file or directory, and none of that name in models; if a model of that name is meant, "vitago download org/tiny" brings it, to ` + filepath.Join("models", "org", "tiny")})
	want := vitago("encode", "--model", tiny, picture)

	vitago("download", "org/tiny").want(t, exitDone, []string{filepath.Join("models", "org", "tiny")}, []string{"downloaded"})
	taking := ": taking " + filepath.Join("models", "org", "tiny") + "\n"
	for _, name := range []string{"org/tiny", "hf-hub:org/tiny", "https://huggingface.co/org/tiny", "hf_hub:org/tiny", "org/tiny@v1"} {
		r := vitago("encode", "--model", name, picture)
		if r.out != want.out || r.err != name+taking {
			t.Errorf("%s: got %q, %q", name, r.out, r.err)
		}
		if r := vitago("encode", "--quiet", "--model", name, picture); r.out != want.out || r.err != "" {
			t.Errorf("%s, quietly: got %q, %q", name, r.out, r.err)
		}
	}
	for _, args := range []string{
		"inspect org/tiny", "compare org/tiny org/tiny", "convert org/tiny converted", "export org/tiny exported --to openclip",
		"classify --model org/tiny --labels a,b --vocab nope " + picture, "tokens --model org/tiny --count " + picture,
		"finetune --model org/tiny --data nope --out out --recipe probe",
	} {
		if r := vitago(strings.Fields(args)...); !strings.HasPrefix(r.err, "org/tiny"+taking) || strings.Contains(r.err, "no model") {
			t.Errorf("%s: got %q", args, r.err)
		}
	}
	vitago("finetune", "--model", tiny, "--teacher", "org/tiny", "--data", "nope", "--out", "out", "--recipe", "full").want(t, exitFailed, nil, []string{"org/tiny" + taking})

	// By the folder that the environment names, and by the place of a conversion.
	if err := os.Rename("models", "elsewhere"); err != nil {
		t.Fatal(err)
	}
	t.Setenv(modelsEnv, "elsewhere")
	vitago("inspect", "org/tiny").want(t, exitDone, []string{"Hugging Face"}, []string{"org/tiny: taking " + filepath.Join("elsewhere", "org", "tiny")})
	vitago("download", "org/tiny").want(t, exitDone, []string{filepath.Join("elsewhere", "org", "tiny")}, []string{"nothing to download"})
	if err := errorsOf(os.Rename(filepath.Join("elsewhere", "org", "tiny"), filepath.Join("elsewhere", "tiny"))); err != nil {
		t.Fatal(err)
	}
	vitago("inspect", "org/tiny").want(t, exitDone, []string{"Hugging Face"}, []string{"org/tiny: taking " + filepath.Join("elsewhere", "tiny")})
	vitago("inspect", "tiny").want(t, exitDone, []string{"Hugging Face"}, []string{"tiny: taking " + filepath.Join("elsewhere", "tiny")})
	vitago("inspect", "org").want(t, exitFailed, nil, []string{"no model org: "}) // a folder of models is none

	// OpenAI's, by all names of them.
	t.Setenv(modelsEnv, "")
	if err := errorsOf(os.MkdirAll("models", 0o777), os.WriteFile(filepath.Join("models", "ViT-L-14-336px.pt"), []byte(archive), 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ViT-L/14@336px", "ViT-L-14-336px", "ViT-L-14-336px.pt", "vit_l_14_336", "ViT-L-14-336/openai", "ViT-L-14-336:openai", "ViT-L-14-336-quickgelu:openai"} {
		vitago("inspect", name).want(t, exitDone, []string{"TorchScript archive"}, []string{name + ": taking " + filepath.Join("models", "ViT-L-14-336px.pt")})
	}
	if err := os.CopyFS("ViT-L-14-336px", os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	if r := vitago("inspect", "ViT-L-14-336px"); !strings.Contains(r.out, "Hugging Face") || r.err != "" {
		t.Errorf("a path that exists: got %q, %q", r.out, r.err)
	}
}

// TestModelNotThere: a name that nothing has is answered with what brings it, what may have been meant, or why it would be of no use.
func TestModelNotThere(t *testing.T) {
	t.Chdir(t.TempDir())
	partial := filepath.Join("models", "ViT-B-16.pt.partial")
	if err := errorsOf(os.MkdirAll("models", 0o777), os.WriteFile(partial, nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	if !hub.Unfinished(filepath.Join("models", "ViT-B-16.pt")) || !hub.Unfinished("models") || hub.Unfinished(filepath.Join("models", "ViT-B-32.pt")) {
		t.Error("Unfinished does not see what is")
	}
	for name, want := range map[string]string{
		"openai/clip-vit-base-patch32":       `"vitago download openai/clip-vit-base-patch32" brings it, to ` + filepath.Join("models", "openai", "clip-vit-base-patch32"),
		"clip-vit-base-patch32":              `"vitago download openai/clip-vit-base-patch32" brings it`,
		"ViT-B/32":                           `"vitago download ViT-B/32" brings it, to ` + filepath.Join("models", "ViT-B-32.pt"),
		"ViT-B-32:openai":                    `"vitago download ViT-B/32" brings it`,
		"ViT-B-32/laion2b_s34b_b79k":         `"vitago download laion/CLIP-ViT-B-32-laion2B-s34B-b79K" brings it`,
		"hf-hub:laion/CLIP-ViT-H-14-laion2B": `"vitago download laion/CLIP-ViT-H-14-laion2B" brings it`,
		"clip-ViT-B-32":                      `"vitago download sentence-transformers/clip-ViT-B-32" brings it`,
		"openai/clip-vit-base-patch23":       `did you mean "openai/clip-vit-base-patch32"?`,
		"ViT-B/23":                           `did you mean "ViT-B/32"?`,
		"ViT-B/16":                           `its download to ` + filepath.Join("models", "ViT-B-16.pt") + ` has not ended, and "vitago download ViT-B/16" goes on with it`,
		"ViT-L/14@448":                       `OpenAI's models are ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, and "vitago models" lists more`,
		"ViT-H-14":                           `models of that form are laion/CLIP-ViT-H-14-laion2B-s32B-b79K`,
		"google/siglip-base-patch16-224":     `SigLIP is not supported: no class token, pooling by attention; "vitago models" lists what is`,
		"RN50":                               `are not supported: convolutions`,
	} {
		vitago("encode", "--model", name, "x.png").want(t, exitFailed, nil, []string{"vitago: --model: no model " + name + ": no such file or directory", want})
	}
	for _, name := range []string{"nope", "./a/b/c.pt", "../x", "/nowhere/model"} { // meant as paths
		vitago("inspect", name).want(t, exitFailed, nil, []string{"vitago: no model " + name + ": no such file or directory\n"})
	}
}

// TestNearest: slips are found, other words are not.
func TestNearest(t *testing.T) {
	words := []string{"encode", "classify", "finetune", "features", "format", "labels", "npy", "npz"}
	for word, want := range map[string]string{
		"encod": "encode", "ENCODE": "encode", "lables": "labels", "feature": "features", "feat": "features", "nyp": "npy", "clasify": "classify", "fine-tune": "finetune",
		"x": "", "": "", "photo": "", "model": "", "tokens": "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}, {"ä", "a", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// TestThreads: so many are used, and only by this run.
func TestThreads(t *testing.T) {
	before := readVersion().Threads
	r := vitago("version", "--threads", "3", "--json")
	var v version
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v.Threads != 3 {
		t.Errorf("got %d threads (%v), want 3", v.Threads, err)
	}
	if after := readVersion().Threads; after != before {
		t.Errorf("after it there are %d threads, before it were %d", after, before)
	}
	vitago("--threads", "1", "encode", "--model", tinyModel, "testdata/demo/cat.png").want(t, exitDone, []string{`"embedding":[`}, nil)
	vitago("encode", "--model", tinyModel, "testdata/demo/cat.png", "--threads=2").want(t, exitDone, []string{`"embedding":[`}, nil)
}

// TestQuiet: results and errors stay, all else goes.
func TestQuiet(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.png")
	if err := os.WriteFile(broken, []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, args := range []string{
		"demo", "version", "models", "inspect " + tinyModel, "compare " + tinyModel + " " + tinyArchive, "encode --model " + tinyModel + " testdata/demo",
		"convert --overwrite " + tinyModel + " " + filepath.Join(dir, "m"), "export --overwrite --to openclip " + tinyModel + " " + filepath.Join(dir, "e"),
		"tokens --model ../../testdata/families/llava --count testdata/demo", "finetune --dry-run --recipe full --model " + tinyModel + " --data " + colours(t, 2) + " --out " + filepath.Join(dir, "out"),
	} {
		loud, quiet := vitago(strings.Fields(args)...), vitago(append(strings.Fields(args), "--quiet")...)
		if loud.status != exitDone || quiet.status != exitDone || quiet.err != "" || loud.out != quiet.out && !strings.HasPrefix(args, "finetune") { // which tells of times
			t.Errorf("%s: %d %q; quiet: %d %q; the same output: %v", args, loud.status, loud.err, quiet.status, quiet.err, loud.out == quiet.out)
		}
	}
	words := withVocabulary(t, fewWords)
	for _, verb := range []string{"encode --model " + tinyModel, "tokens --format jsonl --model ../../testdata/families/llava", "tokens --count --model ../../testdata/families/llava", "classify --labels photo,dog. --template {} --vocab " + words + " --model " + words} {
		args := append(strings.Fields(verb), "--quiet", "--skip-errors", broken, "testdata/demo/cat.png")
		r := vitago(args...)
		if r.status != exitFailed || !strings.HasPrefix(r.err, "skipped: "+broken+": ") || strings.Count(r.err, "\n") != 2 {
			t.Errorf("%s: %d %q, want the error of the picture and of the whole", verb, r.status, r.err)
		}
	}
	vitago("encode", "--quiet").want(t, exitUsage, nil, []string{"got 0 arguments"})
}
