package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/kernel"
)

const (
	tinyArchive = "../../testdata/tiny/openai_torch1.7.1.pt"
	tinyModel   = "../../testdata/tiny/huggingface"
)

// A ran is what a command line gave.
type ran struct {
	status   int
	out, err string
}

// vitago runs a command line with nothing on standard input.
func vitago(args ...string) ran {
	return vitagoContext(context.Background(), strings.NewReader(""), args...)
}

func vitagoContext(ctx context.Context, in io.Reader, args ...string) ran {
	var out, err bytes.Buffer
	status := run(ctx, args, in, &out, &err)
	return ran{status, out.String(), err.String()}
}

// want fails the test unless the status is this and the texts are in the outputs.
func (r ran) want(t *testing.T, status int, out, err []string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d", r.status, status)
	}
	for _, c := range []struct {
		name, got string
		want      []string
	}{{"standard output", r.out, out}, {"standard error", r.err, err}} {
		if c.want == nil && c.got != "" {
			t.Errorf("%s is %q, want nothing", c.name, c.got)
		}
		for _, w := range c.want {
			if !strings.Contains(c.got, w) {
				t.Errorf("%s lacks %q:\n%s", c.name, w, c.got)
			}
		}
	}
}

// files lists everything below dir, hidden files too.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+string(filepath.Separator)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	png := "testdata/demo/cat.png"
	for _, c := range []struct {
		args []string
		err  []string
	}{
		{nil, []string{"Usage:", "encode", "vitago: no verb"}},
		{[]string{"encoed"}, []string{`unknown verb "encoed"; did you mean "encode"?`, "Run 'vitago --help'"}},
		{[]string{"--nonsense"}, []string{"unknown flag: --nonsense"}},
		{[]string{"demo", "x"}, []string{"vitago demo: got 1 argument, want none", "Run 'vitago demo --help'"}},
		{[]string{"version", "x"}, []string{"got 1 argument, want none"}},
		{[]string{"inspect"}, []string{"vitago inspect: got 0 arguments, want PATH"}},
		{[]string{"convert", tinyArchive}, []string{"got 1 argument, want SRC and DST"}},
		{[]string{"convert", "--dtype", "int8", tinyArchive, dir}, []string{"--dtype", "want source, f16, bf16, f32"}},
		{[]string{"encode", "--model", tinyModel}, []string{"got 0 arguments, want at least one IMAGE"}},
		{[]string{"encode", png}, []string{
			"vitago encode: no model: give --model DIR", "or any checkpoint.\nOpenAI's ViT-B/32, 354 MB:\n  vitago download ViT-B/32\n  vitago encode --model ViT-B/32 photo.jpg\n",
			"\nWithout a download: --model builtin:demo, the small model in this program\nRun 'vitago encode --help'",
		}},
		{[]string{"encode", "--model", png, tinyModel}, []string{"--model testdata/demo/cat.png is an image, want a model directory"}},
		{[]string{"encode", "--model", tinyModel, "https://example.com/cat.jpg"}, []string{"https://example.com/cat.jpg: addresses are not read; download it", "curl"}},
		{[]string{"encode", "--model", tinyModel, "--skip-errors", "HTTP://example.com/cat?size=[1]"}, []string{"addresses are not read"}},
		{[]string{"encode", "--model", tinyModel, "-o", filepath.Join(dir, "x.npy"), "--format", "safetensors", png}, []string{"x.npy has the extension of npy, and --format is safetensors"}},
		{[]string{"encode", "--model", tinyModel, "-o", filepath.Join(dir, "x.jsonl"), "--format", "npy", png}, []string{"x.jsonl has the extension of jsonl, and --format is npy"}},
		{[]string{"encode", "--model", tinyModel, "--layer", "1", png}, []string{"--layer 1: an embedding has no layer"}},
		{[]string{"encode", "--model", tinyModel, "--layer", "3", "--features", "cls", png}, []string{"--layer is 3, want -3 to 2"}},
		{[]string{"encode", "--model", tinyModel, "--layer", "-4", "--features", "all", png}, []string{"--layer is -4, want -3 to 2"}},
		{[]string{"encode", "--model", tinyModel, "--batch", "0", png}, []string{"--batch is 0, want 1 to 64"}},
		{[]string{"encode", "--model", tinyModel, "--features", "pixels", png}, []string{"want embedding, post_norm, cls, patches, all"}},
		{[]string{"encode", "--model", tinyModel, "--format", "xml", png}, []string{"want jsonl, npy, safetensors"}},
		{[]string{"encode", "--model", tinyModel, "-o", filepath.Join(dir, "x.npz"), png}, []string{`no format has the extension ".npz"`}},
		{[]string{"encode", "--model", tinyModel, "-o", filepath.Join(dir, "x"), png}, []string{`no format has the extension ""`}},
		{[]string{"encode", "--model", tinyModel, "-", "-"}, []string{"standard input is named twice"}},
		{[]string{"encode", "--model", tinyModel, "--text", "-", "-"}, []string{"standard input is named twice"}},
		{[]string{"encode", "--model", tinyModel, "--text"}, []string{"got 0 arguments, want at least one TEXT"}},
		{[]string{"encode", "--model", tinyModel, "--text", "-"}, []string{"standard input: got 0 texts, want at least 1"}},
		{[]string{"encode", "--model", tinyModel, "--text-file", dir}, []string{"is a directory, want a file of lines"}},
		{[]string{"encode", "--model", tinyModel, "--text-file", png}, []string{"line 1 is ", "want text in UTF-8"}},
		{[]string{"encode", "--model", tinyModel, "--text-file", png, png}, []string{"--text-file has the texts: got 1 argument, want none"}},
		{[]string{"encode", "--model", tinyModel, "--resume", "-o", "-", png}, []string{"--resume goes with -o FILE"}},
		{[]string{"help", "nope"}, []string{`vitago help: unknown verb "nope"`}},
		{[]string{"help", "encoed"}, []string{`unknown verb "encoed"; did you mean "encode"?`}},
		{[]string{"help", "encode", "more"}, []string{`unknown verb "more"`}},
		{[]string{"compare", tinyArchive}, []string{"vitago compare: got 1 argument, want A and B"}},
		{[]string{"compare", "--plot", filepath.Join(dir, "x.bmp"), tinyArchive, tinyModel}, []string{`no plot has the extension ".bmp", want .pdf, .png or .svg`}},
		{[]string{"completion", "tcsh"}, []string{"tcsh", "vitago completion"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			vitago(c.args...).want(t, exitUsage, nil, c.err)
		})
	}
	if got := files(t, dir); len(got) > 0 {
		t.Errorf("wrong usage left %q", got)
	}
}

func TestHelp(t *testing.T) {
	vitago("--help").want(t, exitDone, []string{"Exit status: 0 done", "demo", "convert", "inspect", "encode", "version", "completion"}, nil)
	vitago("help", "encode").want(t, exitDone, []string{"hidden_states", "--features embedding|post_norm|cls|patches|all", "jsonl|npy|safetensors", "[N,T,C]"}, nil)
	vitago("convert", "-h").want(t, exitDone, []string{"--dtype source|f16|bf16|f32", "--vocab FILE"}, nil)
	vitago("inspect", "-h").want(t, exitDone, []string{"cannot be loaded as\na tower or a projector"}, nil)
	vitago("help").want(t, exitDone, []string{"Exit status: 0 done", "encode"}, nil)
	vitago("--version").want(t, exitDone, []string{"vitago version "}, nil)
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := vitago("completion", shell)
		r.want(t, exitDone, []string{"vitago", "__complete"}, nil)
	}
	// What the scripts call.
	vitago("__complete", "convert", "--dtype", "").want(t, exitDone, []string{"source\nf16\nbf16\nf32\n"}, []string{"Completion ended"})
	vitago("__complete", "en").want(t, exitDone, []string{"encode\tTurn images or texts into features"}, []string{"Completion ended"})
}

// TestSourceOf: what a build of a commit, one with changes, one by a proxy and a test say of their source.
func TestSourceOf(t *testing.T) {
	set := func(pairs ...string) (all []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return all
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		main              string
		settings          []debug.BuildSetting
		version, revision string
	}{
		{"v0.0.1", nil, "v0.0.1", ""}, // go install …@v0.0.1
		{"v0.0.0-20261201000000-0123456789ab", set("vcs.revision", commit, "vcs.modified", "false"), "v0.0.0-20261201000000-0123456789ab", commit},
		{"v0.0.2+dirty", set("vcs.revision", commit, "vcs.modified", "true"), "v0.0.2+dirty", commit + " (modified)"},
		{"v0.0.2+dirty", set("vcs.modified", "true", "vcs.revision", commit), "v0.0.2+dirty", commit + " (modified)"},
		{"", nil, "(devel)", ""},
	} {
		version, revision := sourceOf(&debug.BuildInfo{Main: debug.Module{Version: c.main}, Settings: c.settings})
		if version != c.version || revision != c.revision {
			t.Errorf("%q, %v: got %q and %q, want %q and %q", c.main, c.settings, version, revision, c.version, c.revision)
		}
	}
}

func TestVersion(t *testing.T) {
	vitago("version").want(t, exitDone, []string{runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, "generic"}, nil)
	r := vitago("version", "--json")
	r.want(t, exitDone, []string{"kernels"}, nil)
	var v version
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(v.Kernels, v.Kernel) || v.Threads != runtime.GOMAXPROCS(0) || v.Version == "" {
		t.Errorf("got %+v", v)
	}
	t.Setenv(kernel.Env, "sse")
	vitago("version").want(t, exitUsage, nil, []string{"VITAGO_KERNEL is \"sse\", want ", "generic, or nothing"})
}

func TestInspect(t *testing.T) {
	vitago("inspect", tinyArchive).want(t, exitDone, []string{
		"container   TorchScript archive", "dialect     OpenAI", "image 24, patch 6, width 64", "embedding 10, quick_gelu",
		"2      F16    [192,64]", "visual.transformer.resblocks.#.attn.in_proj_weight", "I64",
	}, nil)
	r := vitago("inspect", "--json", tinyModel)
	r.want(t, exitDone, []string{"Hugging Face"}, nil)
	var info converter.Info
	if err := json.Unmarshal([]byte(r.out), &info); err != nil {
		t.Fatal(err)
	}
	want, err := converter.Inspect(t.Context(), tinyModel)
	if err != nil {
		t.Fatal(err)
	}
	if info.SHA256 != want.SHA256 || len(info.Tensors) != len(want.Tensors) || info.Config.Vision != want.Config.Vision {
		t.Errorf("got %+v, want %+v", info, want)
	}
	vitago("inspect", "absent.pt").want(t, exitFailed, nil, []string{"vitago: no model absent.pt: "})
	vitago("inspect", "testdata/demo/cat.png").want(t, exitFailed, nil, []string{"testdata/demo/cat.png", "not a TorchScript archive"})
}

// A checkpoint that is sound but no model is shown, and is a failure.
func TestInspectNoModel(t *testing.T) {
	half := filepath.Join(t.TempDir(), "half.safetensors")
	header := `{"visual.proj":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`
	file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	if err := os.WriteFile(half, append(file, make([]byte, 8)...), 0o666); err != nil {
		t.Fatal(err)
	}
	problem := "missing (visual.conv1.weight, "
	vitago("inspect", half).want(t, exitFailed, []string{"dialect     OpenAI", "problem", problem, "[2,1]"}, []string{"vitago: " + half + ": ", problem})
	r := vitago("inspect", "--json", half)
	r.want(t, exitFailed, []string{`"problem": `, `"sha256": `}, []string{"vitago: " + half + ": ", problem})
	var info converter.Info
	if err := json.Unmarshal([]byte(r.out), &info); err != nil || len(info.Tensors) != 1 {
		t.Errorf("got %+v, %v", info, err)
	}
}

// Errors lose the names of packages, wherever one was wrapped, and nothing else.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"converter: a.pt: torn":                           "a.pt: torn",
		"clipvit: pillow: not an image":                   "not an image",
		"a.png: clipvit: pillow: not an image":            "a.png: not an image",
		"converter: one\nconverter: two":                  "one; two",
		"dir/converter: 3 tensors; projector: 2 layers":   "dir/converter: 3 tensors; 2 layers",
		"open converter.pt: no such file":                 "open converter.pt: no such file",
		"3 files (projector: has no bias) pillow:nothing": "3 files (projector: has no bias) pillow:nothing",
	} {
		if got := plain(errors.New(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A file or folder may have the name of a package.
func TestPlainPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"pictures", "clip", "data", "hub"} {
		if err := os.Mkdir(name, 0o777); err != nil {
			t.Fatal(err)
		}
		vitago("inspect", name).want(t, exitFailed, nil, []string{"vitago: " + name + ": a directory without"})
	}
	for text, want := range map[string]string{
		"converter: pictures: no model":             "pictures: no model",
		"clip: pictures: no model":                  "pictures: no model",
		"pictures: pictures: no pictures":           "pictures: no pictures",
		"pictures: none; converter: data: is empty": "pictures: none; data: is empty",
		"converter: hub: torn":                      "torn", // no argument
		"converter: projector: torn":                "torn", // no file
	} {
		if got := plain(errors.New(text), "encode", "--model=pictures", "data/", "hub.pt", "--recipe", "projector"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestGroupTensors(t *testing.T) {
	tensor := func(name string, shape ...int) converter.TensorInfo {
		return converter.TensorInfo{Name: name, DType: checkpoint.F32, Shape: shape}
	}
	var got []string
	for _, g := range groupTensors([]converter.TensorInfo{
		tensor("a.0.w", 2, 3), tensor("a.1.w", 2, 3), tensor("a.2.w", 3, 2), tensor("b1.w", 2, 3), tensor("a.3.w", 2, 3),
	}) {
		got = append(got, strings.Join([]string{count(int64(g.n)), shape(g.Shape), g.Name}, " "))
	}
	if want := []string{"3 [2,3] a.#.w", "1 [3,2] a.2.w", "1 [2,3] b1.w"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "model")
	r := vitago("convert", tinyArchive, dst)
	r.want(t, exitDone, []string{
		"TorchScript archive", "OpenAI", "image 24, patch 6", "vocabulary 50", "config.json", "F16",
		"left out    input_resolution, context_length, vocab_size",
	}, []string{"converted in "})
	if strings.Count(r.err, "\n") != 1 {
		t.Errorf("standard error is %q, want one line", r.err)
	}
	if _, err := converter.Load(dst); err != nil {
		t.Error(err)
	}
	vitago("convert", tinyArchive, dst).want(t, exitFailed, nil, []string{"vitago: " + dst + " is not empty, and overwriting was not asked for; give --overwrite\n"})
	vitago("convert", "--overwrite", "--vision-only", "--dtype", "f32", tinyArchive, dst).want(t, exitDone,
		[]string{"text        none", "left out    the text tower, input_resolution"}, []string{"converted in "})
	info, err := converter.Inspect(t.Context(), dst)
	if err != nil {
		t.Fatal(err)
	}
	if info.Config.Text != nil || info.DTypes["F32"] != len(info.Tensors) {
		t.Errorf("text tower %v, dtypes %v; want none, F32 alone", info.Config.Text, info.DTypes)
	}
	vitago("convert", "absent.pt", filepath.Join(dir, "x")).want(t, exitFailed, nil, []string{"absent.pt"})
	vitago("convert", "--vocab", "absent.gz", tinyArchive, filepath.Join(dir, "x")).want(t, exitFailed, nil, []string{"absent.gz"})

	file := filepath.Join(t.TempDir(), "text.txt")
	if err := os.WriteFile(file, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"convert"}, {"convert", "--overwrite"}, {"export", "--to", "openclip"}} {
		vitago(append(args, tinyArchive, file)...).want(t, exitFailed, nil, []string{"vitago: " + file + " is a file, want a directory that does not exist or is empty\n"})
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	vitagoContext(ctx, nil, "convert", tinyArchive, filepath.Join(dir, "x", "y")).want(t, exitInterrupted, nil, []string{"vitago: interrupted\n"})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("failed conversions left %v (%v), want the model alone", entries, err)
	}
}

func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} { // what os.TempDir reads
		t.Setenv(name, tmp)
	}
	first := vitago("demo")
	first.want(t, exitDone, []string{
		"what is in a picture", "%  three blue stars\n", "which picture words mean", "most alike: ", "where the model looks", "██", "a blue cross in circle-left-of-cross.png",
	}, []string{"loaded the model", "encoded 9 pictures and 17 texts, and drew 2 maps"})
	if second := vitago("demo"); second.out != first.out {
		t.Errorf("the demo says\n%s\nand then\n%s", first.out, second.out)
	}
	if got := files(t, tmp); len(got) > 0 {
		t.Errorf("the demo left %q", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	vitagoContext(ctx, nil, "demo").want(t, exitInterrupted, nil, []string{"interrupted"})
	if got := files(t, tmp); len(got) > 0 {
		t.Errorf("an interrupted demo left %q", got)
	}

	dir := filepath.Join(tmp, "kept")
	vitago("demo", "--dir", dir).want(t, exitDone, []string{"red-circle.png"}, []string{"vitago encode --model " + dir})
	vitago("encode", "--model", dir, "testdata/demo/cat.png").want(t, exitDone, []string{`{"image":"testdata/demo/cat.png","embedding":[`}, nil)
	vitago("encode", "--model", dir, "--text", "A red circle.").want(t, exitDone, []string{`{"text":"A red circle.","embedding":[`}, nil)
	vitago("classify", "--model", dir, "--labels", "star,red circle,three hearts", "../../demo/pictures/red-circle.png").want(t, exitDone, []string{"red-circle.png\n", " %  red circle\n"}, nil)
	vitago("encode", "--model", dir, "--text", "a cat").want(t, exitFailed, nil, []string{`the vocabulary of 78 tokens lacks "cat"`})
	m, err := converter.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tokenizer, _, err := m.Tokenizer("")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int, 0, 9) // the places in the vocabulary of the ids that OpenAI's tokenizer gives
	for _, word := range []string{"<|startoftext|>", "a</w>", "photo</w>", "of</w>", "a</w>", "circle</w>", ".</w>", "<|endoftext|>"} {
		want = append(want, vocabularyOf(t, dir)[word])
	}
	if got, err := tokenizer.Tokenize([]string{"A photo of a circle."}, 16, false); err != nil || !slices.Equal(got[0], want) {
		t.Errorf("got %d, %v, want %d", got, err, want)
	}
	vitago("demo", "--dir", dir).want(t, exitFailed, nil, []string{"is not empty", "; give --overwrite\n"})
	vitago("demo", "--dir", dir, "--overwrite").want(t, exitDone, []string{"red-circle.png"}, []string{"vitago encode --model " + dir})

	page := filepath.Join(tmp, "page.html")
	vitago("demo", "--sheet", page).want(t, exitDone, []string{first.out}, []string{"encoded"})
	if text := read(t, page); strings.Count(text, "<figure") != 9+5+2+2 || strings.Count(text, "data:image/") != 9+5+2+2 || !strings.Contains(text, "Where the model looks") {
		t.Errorf("the page has %d figures and %d pictures:\n%.2000s", strings.Count(text, "<figure"), strings.Count(text, "data:image/"), text)
	}
	vitago("demo", "--sheet", page).want(t, exitFailed, nil, []string{page, "give --overwrite"})
	vitago("demo", "--sheet", page, "--overwrite").want(t, exitDone, []string{first.out}, []string{"encoded"})
}

// vocabularyOf returns the words of a model directory's vocab.json.
func vocabularyOf(t *testing.T, dir string) map[string]int {
	t.Helper()
	var words map[string]int
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "vocab.json"))), &words); err != nil {
		t.Fatal(err)
	}
	return words
}

// TestArchiveEmbeddings goes the whole way on an archive in OpenAI's form, and compares the embeddings with OpenAI's code.
func TestArchiveEmbeddings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	vitago("convert", "testdata/demo/tiny-clip.pt", dir).want(t, exitDone, []string{"TorchScript archive", "OpenAI"}, []string{"converted"})
	m, err := converter.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := golden.Load(t, "testdata/demo/expected.npz")
	const tol = 1e-5 // four blocks in float32, summed in another order, and JPEG by our own decoder
	names := []string{"blue-square.png", "cat.jpg", "cat.png", "gradient.png", "orange-circle.png", "red-circle.png"}
	var images []image.Image
	for _, name := range names {
		img, err := clipvit.DecodeImage(strings.NewReader(read(t, "testdata/demo/"+name)))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, img)
	}
	embeddings, err := m.Encode(t.Context(), images...)
	if err != nil {
		t.Fatal(err)
	}
	var cosines []float32
	for i, name := range names {
		golden.Compare(t, name, embeddings[i], want.Float32("embedding/"+name), tol)
		for _, e := range embeddings {
			cosines = append(cosines, float32(clip.Cosine(embeddings[i], e)))
		}
	}
	golden.Compare(t, "cosine", cosines, want.Float32("cosine"), tol)
}

func TestProgress(t *testing.T) {
	p := &progress{label: "converting", unit: megabytes, width: 100}
	if got, want := p.line(2500*time.Millisecond), "converting  2.5 s"; got != want {
		t.Errorf("without a total: got %q, want %q", got, want)
	}
	p.set(25e6, 100e6)
	if got, want := p.line(3*time.Second), "converting  [=======                       ]   25%  25.0 MB of 100.0 MB  8.3 MB/s  10s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.width = 0
	if got, want := p.line(3*time.Second), "converting   25%  25.0 MB of 100.0 MB  8.3 MB/s  10s left"; got != want {
		t.Errorf("not on a terminal: got %q, want %q", got, want)
	}

	var b bytes.Buffer
	p = startProgress(&b, "x", count)
	if p.stop(); b.Len() > 0 {
		t.Errorf("at once: got %q, want nothing", b.String())
	}
	p = &progress{w: &b, label: "encoding", unit: count, width: 20, stopped: make(chan struct{})}
	p.set(10, 10)
	p.show(time.Second)
	p.label, p.width = "e", 40
	p.show(time.Second)
	p.stop()
	want := "\rencoding  100%  10 " + "\re  100%  10 of 10  " + "\r" + strings.Repeat(" ", 17) + "\r"
	if b.String() != want {
		t.Errorf("on a terminal: got %q, want %q", b.String(), want)
	}

	// The last line says that all is done, if it is, and only if there was a line before it.
	for _, c := range []struct {
		shown, done int64 // when a line is shown and at the end; -1 is no line
		want        string
	}{
		{4, 10, "e   40%  4 of 10  4/s  2s left\ne  100%  10 of 10\n"},
		{10, 10, "e  100%  10 of 10\n"},
		{4, 8, "e   40%  4 of 10  4/s  2s left\n"},
		{-1, 10, ""},
	} {
		b.Reset()
		p = &progress{w: &b, label: "e", unit: count, stopped: make(chan struct{})}
		if c.shown >= 0 {
			p.set(c.shown, 10)
			p.show(time.Second)
		}
		p.set(c.done, 10)
		p.stop()
		if b.String() != c.want {
			t.Errorf("%d and then %d of 10: got %q, want %q", c.shown, c.done, b.String(), c.want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 427944193: "427,944,193"} {
		if got := grouped(n); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHelpWidth: no line of any verb's help is wider than 100 columns, or ends in blanks. An address of the net cannot be broken.
func TestHelpWidth(t *testing.T) {
	var each func(c *cobra.Command, path []string)
	each = func(c *cobra.Command, path []string) {
		r := vitago(append(path, "--help")...)
		r.want(t, exitDone, []string{"Flags:\n"}, nil)
		for line := range strings.Lines(r.out) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > helpColumns && !strings.Contains(line, "https://") || strings.HasSuffix(line, " ") {
				t.Errorf("%s: %d columns: %q", c.CommandPath(), n, line)
			}
		}
		for _, sub := range c.Commands() {
			each(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	each(newRoot(strings.NewReader(""), io.Discard, io.Discard), nil)
}

// TestNotThere: what is not there is called by what it was to be, and a model of the hub by the verb that brings it.
func TestNotThere(t *testing.T) {
	pictures, out := colours(t, 2), filepath.Join(t.TempDir(), "out")
	for _, c := range []struct{ args, want string }{
		{"encode --model nope x.png", "no model nope: "},
		{"tokens --model nope x.png", "no model nope: "},
		{"classify --model nope x.png", "no model nope: "},
		{"eval --model nope PICTURES", "no model nope: "},
		{"eval --model MODEL nope", "no pictures: nope: no such file"},
		{"encode --model openai/clip-vit-base-patch32 x.png", `if a model of that name is meant, "vitago download openai/clip-vit-base-patch32" brings it`},
		{"encode --model ViT-B/32 x.png", `if a model of that name is meant, "vitago download ViT-B/32" brings it`},
		{"encode --model MODEL nope.png", "no image: nope.png: no such file"},
		{"finetune --model nope --data PICTURES --out OUT --recipe lora", "no model nope: "},
		{"finetune --model MODEL --data nope --out OUT --recipe lora", "no pictures: nope: no such file"},
		{"finetune --model MODEL --data PICTURES --val nope --out OUT --recipe lora", "to validate on: no pictures: nope: no such file"},
		{"finetune --model MODEL --data PICTURES --out OUT --recipe full --teacher nope", "the teacher: no model nope: "},
		{"finetune --model MODEL --data PICTURES --out OUT --recipe full --targets nope", "the targets: "},
		{"convert nope OUT", "no model nope: "},
		{"convert --adapter nope MODEL OUT", "no adapter: nope: no such file"},
		{"inspect nope", "no model nope: "},
		{"export nope OUT --to openai", "no model nope: "},
	} {
		args := strings.Fields(strings.NewReplacer("MODEL", tinyModel, "PICTURES", pictures, "OUT", out).Replace(c.args))
		vitago(args...).want(t, exitFailed, nil, []string{c.want})
	}
	// The output of a run is no model, but what it has in it.
	run := []string{"finetune", "--model", tinyModel, "--data", pictures, "--out", out, "--recipe", "full", "--epochs", "1"}
	vitago(run...).want(t, exitDone, []string{"model"}, []string{""})
	vitago("encode", "--model", out, filepath.Join(pictures, "red", "00.png")).want(t, exitDone, []string{`"embedding"`}, []string{out + ": taking " + filepath.Join(out, "model")})
	vitago("finetune", "--model", out, "--data", pictures, "--out", out+"-again", "--recipe", "probe", "--split", "0.5").want(t, exitDone, []string{"model"}, []string{": taking " + filepath.Join(out, "model")})
	if err := os.RemoveAll(filepath.Join(out, "model")); err != nil {
		t.Fatal(err)
	}
	vitago("encode", "--model", out, "x.png").want(t, exitFailed, nil, []string{`a run that has not ended and has no model yet; "vitago finetune --resume" goes on with it`})
	vitago("classify", "--model", filepath.Join(out, "model"), "x.png").want(t, exitFailed, nil, []string{`the run there has not ended; "vitago finetune --resume" goes on with it`})
}
