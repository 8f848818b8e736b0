package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/vitago/vitago/internal/golden"
	"github.com/vitago/vitago/internal/pages"
)

// maxReadme bounds the lines of README: it is a page to begin with.
const maxReadme = 150

// inOneFolder are pages that go on in the folder of those before them, in this order. Every other page has a folder of its own.
var inOneFolder = []string{"README.md", "docs/cli.md", "docs/formats.md", "docs/visual-tokens.md", "docs/finetuning.md", "docs/go.md", "docs/embeddings.md"}

// otherwiseRun are pages that TestTranslation and TestQuickstartTranslation hold to the English.
var otherwiseRun = []string{"README.zh-CN.md", "docs/quickstart.zh-CN.md"}

// besidePython is the page whose commands .ci/long python runs, with what their models are compared with. Its blocks of Go are run here.
const besidePython = "docs/migration.md"

// A pageRun runs what a page shows, on small models and pictures that lie where pages have them.
type pageRun struct {
	t      *testing.T
	server string // HOST:PORT of the last vitago serve of the page
	run    string // the last run of fine-tuning that a server answered with
	done   int
}

// readerFolder makes a folder as a reader of the pages has it. It is called from the folder of this package.
func readerFolder(t *testing.T) string {
	t.Helper()
	pictures, dir := colours(t, 8), t.TempDir()
	letters := maps.Clone(fewWords) // and those of the words in README
	for _, w := range []string{"r", "e", "r</w>", "d</w>", "bi", "bir", "bird</w>"} {
		if _, ok := letters[w]; !ok {
			letters[w] = len(letters) - 2
		}
	}
	model := withVocabulary(t, letters)
	merges := "#version: 0.2\n" + strings.Join(append(slices.Clone(fewMerges), "b i", "bi r", "bir d</w>"), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(model, "merges.txt"), []byte(merges), 0o666); err != nil {
		t.Fatal(err)
	}
	family := func(name string) string { return golden.Path(t, "testdata/families/"+name) }
	copies := map[string]string{
		"models/vit-b-32": model, "models/ViT-B-32.pt": model, "models/openai/clip-vit-large-patch14-336": model, "models/clip-vit-base-patch32": model,
		"models/llava-1.5-7b": family("llava"), "models/xcomposer2-4khd": family("xcomposer2-hd"),
		"models/teacher": family("xcomposer2-hd"), "internlm-xcomposer2-vl-7b": family("xcomposer2-vl"),
		"photos": filepath.Join(pictures, "red"), "pictures/train": pictures, "pictures/test": pictures, "pictures/birds": pictures, ".": filepath.Join(pictures, "blue"),
		"demo/pictures": golden.Path(t, "demo/pictures"), "testdata/families/xcomposer2-vl": family("xcomposer2-vl"), "testdata/families/xcomposer2-hd": family("xcomposer2-hd"),
	}
	archive, err := os.ReadFile(golden.Path(t, "cmd/vitago/testdata/demo/tiny-clip.pt"))
	if err != nil {
		t.Fatal(err)
	}
	for to, from := range copies {
		to = filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	captioned := "filepath,title\n"
	for i := range 8 {
		captioned += fmt.Sprintf("pictures/train/red/%02d.png,a red dog\npictures/train/blue/%02[1]d.png,a cat\n", i)
	}
	photo, err := os.ReadFile(filepath.Join(dir, "00.png"))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"captions.csv": []byte(captioned), "photo.jpg": photo, "page.png": photo, "ViT-B-32.pt": archive} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// before is what the reader of a page has done when it begins.
var before = map[string]func(t *testing.T){
	"docs/quickstart.md": func(t *testing.T) { drawShapes(t, []string{"-n", "40", "-test", "10", "shapes"}) }, // by examples/shapes
	"docs/search.md": func(t *testing.T) { // its photos are those of the demo, and more that were taken earlier
		if err := os.Rename("photos", "old"); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS("photos", os.DirFS("demo/pictures")); err != nil {
			t.Fatal(err)
		}
		vitago("encode", "--model", "builtin:demo", "-o", "photos.npy", "photos").want(t, exitDone, nil, []string{""})
		if err := os.Rename("old", "photos/old"); err != nil {
			t.Fatal(err)
		}
	},
}

// The model with a vocabulary is no archive, and the vocabulary is not OpenAI's.
var insteadOf = map[string]string{
	"inspect models/ViT-B-32.pt": "ViT-B-32.pt", "convert models/ViT-B-32.pt": "ViT-B-32.pt", "convert models/vit-b-32": "converted",
	"compare models/ViT-L-14-336px.pt": "ViT-B-32.pt", "export tuned/model": "converted",
}

// vitago runs a command of this program; serve goes on.
func (p *pageRun) vitago(c pages.Command, args []string) (out string) {
	t := p.t
	var given []string
	for i, w := range args {
		if other, ok := insteadOf[args[0]+" "+w]; i > 0 && ok {
			w = other
		}
		if files, _ := filepath.Glob(w); strings.Contains(w, "*") && !strings.Contains(c.Text, `"`+w+`"`) && len(files) > 0 { // as the shell does it
			given = append(given, files...)
			continue
		}
		given = append(given, w)
	}
	p.done++
	if given[0] == "serve" {
		log, _, _ := startServe(t, append(given[1:], "--listen", "127.0.0.1:0")...)
		p.server = log.await(t, `serving http://(\S+)`)[1]
		return ""
	}
	if slices.Contains(given, "--recipe") {
		given = append(given, "--split", "0.25")
	}
	if slices.Contains(given, "models/xcomposer2-4khd") && !slices.Contains(given, "--layout") { // it is too small to be known by its size
		given = append(given, "--layout", "xcomposer2-4khd")
	}
	r := vitago(given...)
	if r.status != exitDone {
		t.Errorf("%s: status %d\n%s", c.Where(), r.status, r.err)
	}
	return r.out
}

// identity is that of a run, in the answer of a server.
var identity = regexp.MustCompile(`"id": ?"([^"]+)"`)

// changed is a command that stops a run, or lets it go on.
var changed = regexp.MustCompile(`/runs/\$ID:(stop|resume)$`)

// shell runs a command with curl in it, by bash, against the server of the page.
func (p *pageRun) shell(c pages.Command) {
	t := p.t
	if _, err := exec.LookPath("curl"); err != nil || runtime.GOOS != "linux" {
		return // it wants curl and the tools of Linux
	}
	if p.server == "" {
		t.Errorf("%s: the page has started no server", c.Where())
		return
	}
	p.done++
	text := strings.ReplaceAll(strings.ReplaceAll(c.Text, "localhost:8080", p.server), "curl -s", "curl -S --fail-with-body -s")
	var want string
	if before, call, ok := strings.Cut(text, "| grpcurl "); ok { // which is no part of what a test may want
		words := strings.Fields(call)
		text, want = strings.TrimSpace(before), words[len(words)-1]
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text)
	cmd.Env = append(os.Environ(), "ID="+p.run)
	if c.Block.Page == "docs/serving.md" { // which says so
		cmd.Dir = "demo/pictures"
	}
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err == nil && want != "" {
		out, err = p.call(want, out)
	}
	if d := json.NewDecoder(strings.NewReader(string(out))); err == nil {
		for more := true; more && err == nil; {
			var v any
			if err = d.Decode(&v); errors.Is(err, io.EOF) {
				more, err = false, nil
			}
		}
	}
	if err != nil && changed.MatchString(text) && strings.Contains(string(out), `"wrong_state"`) { // the run is done already
		err = nil
	}
	if err != nil || len(out) == 0 {
		t.Errorf("%s: %v: %s%s", c.Where(), err, out, &log)
	}
	if m := identity.FindSubmatch(out); m != nil {
		p.run = string(m[1])
	}
}

// call calls a method over gRPC with a message in JSON, as grpcurl does, and returns the answer.
func (p *pageRun) call(name string, body []byte) ([]byte, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(name, "/", ".")))
	if err != nil {
		return nil, err
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no method", name)
	}
	in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
	if err := protojson.Unmarshal(body, in); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(p.server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.Invoke(p.t.Context(), "/"+name, in, out); err != nil {
		return nil, err
	}
	return protojson.Marshal(out)
}

// firstWords are those of the lines of a text.
func firstWords(text string) (words []string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 {
			words = append(words, f[0])
		}
	}
	return words
}

// other runs a block that is neither of the shell nor of Go, and says whether it is of a kind that it knows.
func (p *pageRun) other(b pages.Block, status string) bool {
	t := p.t
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(args ...string) {
		if r := vitago(append([]string{"serve", "--check"}, args...)...); r.status != exitDone {
			t.Errorf("%s, line %d: %s", b.Page, b.Line, r.err)
		}
	}
	switch {
	case b.Language == "yaml" && b.Page == "docs/serving.md":
		write("tokens", "0123456789abcdef\n")
		vitago("index", "--index", "photos.index", "--model", "models/vit-b-32", "photos").want(t, exitDone, []string{""}, []string{""})
		const tokens, precision = "/etc/vitago/tokens", "precision: bf16, "
		if !strings.Contains(b.Text, tokens) || !strings.Contains(b.Text, precision) {
			t.Errorf("%s, line %d: no %s or no %s", b.Page, b.Line, tokens, precision)
		}
		// The index is of the small model in float32.
		write("serve.yaml", strings.ReplaceAll(strings.ReplaceAll(b.Text, tokens, "tokens"), precision, ""))
		check("--config", "serve.yaml")
	case b.Language == "yaml" && b.Page == "docs/cli.md":
		write("vitago.yaml", b.Text)
		check("--config", "vitago.yaml")
		vitago("version", "--json", "--config", "vitago.yaml").want(t, exitDone, []string{`"threads": 4`}, nil)
	case b.Page == "docs/serving.md" && strings.HasPrefix(b.Text, "# NAME TOKEN"):
		write("tokens", b.Text)
		check("--model", "demo=builtin:demo", "--tokens", "tokens")
	case b.Language == "json" && b.Page == "docs/verify.md":
		p.answers(b)
	case b.Page == "docs/shards.md" && strings.HasPrefix(b.Text, "shards "):
		if got, want := strings.Join(firstWords(status), " "), strings.Join(firstWords(b.Text), " "); got != want {
			t.Errorf("%s, line %d: lines begin with %q, and status writes %q:\n%s", b.Page, b.Line, want, got, status)
		}
	default:
		return false
	}
	p.done++
	return true
}

// answers has verify read the answers of a page. They are of another model, so that all of them differ, and each is checked.
func (p *pageRun) answers(b pages.Block) {
	t := p.t
	short := regexp.MustCompile(`"sha256": "[^"]*…"`)
	if !short.MatchString(b.Text) {
		t.Errorf("%s, line %d: no SHA-256 that is cut", b.Page, b.Line)
	}
	text := short.ReplaceAllString(b.Text, `"url": ""`)
	text = strings.ReplaceAll(text, "[0.0123, -0.4567]", "[0.0123, -0.4567"+strings.Repeat(", 0", 62)+"]") // all of the small model's
	for old, new := range map[string]string{"a photo of a dog.": "a red circle", "a dog": "a red circle", "a cat": "a blue square"} {
		text = strings.ReplaceAll(text, old, new)
	}
	photo, err := os.ReadFile("demo/pictures/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"answers.json": []byte(text), "dog.jpg": photo} {
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if got := verifyRun(t, exitFailed, "--answers", "answers.json"); got.Checked != 4 || got.Failed != 4 {
		t.Errorf("%s, line %d: %d answers were checked, and %d differ, want 4: %+v", b.Page, b.Line, got.Checked, got.Failed, got)
	}
}

// TestPagesRun runs what README shows and the pages behind it: the commands of this program, those with curl against the server that the page
// has started, settings and answers, and the Go. What a page marks as wanting something (see pages.Block) is left out.
func TestPagesRun(t *testing.T) {
	if n := strings.Count(page(t, "README.md"), "\n"); n > maxReadme {
		t.Errorf("README.md has %d lines, want at most %d", n, maxReadme)
	}
	all, err := pages.All(golden.Path(t, "."))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range inOneFolder {
		if !slices.Contains(all, name) {
			t.Errorf("there is no page %s", name)
		}
	}
	root, start := golden.Path(t, "."), readerFolder(t)
	var programs []goProgram
	done := 0
	run := func(names []string) {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(start)); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		for _, name := range names {
			text, err := pages.Read(root, name)
			if err != nil {
				t.Fatal(err)
			}
			if f := before[name]; f != nil {
				f(t)
			}
			p, status := &pageRun{t: t}, ""
			for _, b := range pages.Blocks(name, text) {
				if b.Language == "go" {
					if b.Mark == "" {
						programs = append(programs, goProgram{b, dir, p.server})
					}
					continue
				}
				if name == besidePython {
					continue
				}
				for _, c := range b.Commands() {
					switch args, own := ownArgs(c.Words()); {
					case c.Mark != "":
					case own:
						if out := p.vitago(c, args); strings.HasPrefix(c.Text, "vitago status ") && status == "" {
							status = out
						}
					case strings.Contains(c.Text, "localhost:8080"):
						p.shell(c)
					}
				}
				p.other(b, status)
			}
			done += p.done
		}
	}
	run(inOneFolder)
	for _, name := range []string{"photos.npy", "photos.npy.names.jsonl", "tuned/report.md", "tuned.pt", "tuned3/adapter/adapter_config.json", "sweep/sweep.md", "pairs/model", "tokens/model", "tokens.safetensors", "page.npy"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range all {
		if !slices.Contains(inOneFolder, name) && !slices.Contains(otherwiseRun, name) && name != "CONTRIBUTING.md" && path.Dir(name) != "bench" {
			run([]string{name})
		}
	}
	if done < 60 {
		t.Errorf("%d commands and files were run, want 60 or more", done)
	}
	runGo(t, root, programs)
}
