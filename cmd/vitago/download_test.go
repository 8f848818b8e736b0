package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitago/vitago/converter"
)

const hubCommit = "0123456789012345678901234567890123456789"

// A fakeHub serves a directory as the model org/tiny, all of it in LFS, at the revision v1.
type fakeHub struct {
	*httptest.Server
	dir   string
	mu    sync.Mutex
	asked []*http.Request
	// misbehave answers for a file instead of the hub, or returns false.
	misbehave func(name string, w http.ResponseWriter, r *http.Request) bool
}

// serveHub starts one, and makes it what the environment names, with a token.
func serveHub(t *testing.T, dir string) *fakeHub {
	t.Helper()
	h := &fakeHub{dir: dir}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	home := t.TempDir()
	for name, value := range map[string]string{
		"HF_ENDPOINT": h.URL, "HF_TOKEN": "hf_secret", "HF_HOME": home, "HOME": home, "USERPROFILE": home,
		"HF_HUB_CACHE": "", "HF_TOKEN_PATH": "", "XDG_CACHE_HOME": "",
	} {
		t.Setenv(name, value)
	}
	return h
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r)
	h.mu.Unlock()
	name, isFile := strings.CutPrefix(r.URL.Path, "/org/tiny/resolve/"+hubCommit+"/")
	switch {
	case r.URL.Path == "/api/models/org/tiny/revision/main" || r.URL.Path == "/api/models/org/tiny/revision/v1":
		var files []map[string]any
		err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(h.dir, path)
			sum := sha256.Sum256(content)
			files = append(files, map[string]any{
				"rfilename": filepath.ToSlash(rel), "size": len(content), "blobId": hubCommit,
				"lfs": map[string]any{"sha256": hex.EncodeToString(sum[:]), "size": len(content), "pointerSize": 1},
			})
			return err
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"sha": hubCommit, "siblings": files})
	case !isFile:
		http.NotFound(w, r)
	case h.misbehave != nil && h.misbehave(name, w, r):
	default:
		w.Header().Set("ETag", `"v1"`)
		http.ServeFileFS(w, r, os.DirFS(h.dir), name)
	}
}

// names returns the files that were asked for, and forgets them.
func (h *fakeHub) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, r := range h.asked {
		if _, name, ok := strings.Cut(r.URL.Path, "/resolve/"+hubCommit+"/"); ok {
			names = append(names, name)
		}
	}
	h.asked = nil
	return names
}

func TestDownload(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	if err := os.CopyFS(src, os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"README.md": "about", "pytorch_model.bin": "other form", "onnx/model.onnx": "another"} {
		path := filepath.Join(src, filepath.FromSlash(name))
		if err := errorsOf(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	h := serveHub(t, src)
	dir := filepath.Join(t.TempDir(), "models")
	dst := filepath.Join(dir, "org", "tiny")

	vitago("download", "org/tiny", "--dir", dir, "--list").want(t, exitDone, []string{"sha256:", "config.json", h.URL + "/org/tiny/resolve/" + hubCommit + "/model.safetensors"}, nil)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("--list made a directory (%v)", err)
	}

	r := vitago("download", "org/tiny", "--dir", dir)
	r.want(t, exitDone, []string{dst + "\n"}, []string{"downloaded 0.", "next: vitago convert " + dst + " " + filepath.Join(dir, "tiny")})
	if r.out != dst+"\n" {
		t.Errorf("standard output is %q, want the path alone", r.out)
	}
	if got, want := files(t, dst), files(t, tinyModel); !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
	if got := h.names(); len(got) != len(files(t, tinyModel)) || got[len(got)-1] != "model.safetensors" {
		t.Errorf("asked for %q, want the weights last", got)
	}
	if _, err := converter.Load(dst); err != nil {
		t.Error(err)
	}

	vitago("download", "org/tiny@v1", "--dir", dir).want(t, exitDone, []string{dst}, []string{"nothing to download: it is there"})
	if got := h.names(); len(got) != 0 {
		t.Errorf("asked for %q again", got)
	}
	vitago("download", "org/tiny", "--revision", "v1", "--all-files", "--dir", dir).want(t, exitDone, []string{dst}, []string{"downloaded 0.0 MB"})
	if got, want := h.names(), []string{"README.md", "onnx/model.onnx", "pytorch_model.bin"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	for _, args := range [][]string{{"org/tiny@v2"}, {"org/tiny", "--revision", "v2"}, {"org/none"}} {
		vitago(append([]string{"download", "--dir", dir}, args...)...).want(t, exitFailed, nil, []string{"vitago: ", "404", "OpenAI's archives are ViT-B/32"})
	}

	// A file of the user's is not replaced unasked.
	config := filepath.Join(dst, "config.json")
	if err := os.WriteFile(config, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	vitago("download", "org/tiny", "--dir", dir).want(t, exitFailed, nil, []string{config + " is there and is another: size is 4, want ", "; give --overwrite\n"})
	vitago("download", "org/tiny", "--dir", dir, "--overwrite").want(t, exitDone, []string{dst}, []string{"downloaded"})
	if b, err := os.ReadFile(config); err != nil || string(b) == "mine" {
		t.Errorf("config.json is %q (%v)", b, err)
	}
}

// errorsOf returns the first error.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Ctrl-C says that the next run resumes, and it does.
func TestDownloadInterrupted(t *testing.T) {
	h := serveHub(t, tinyModel)
	dir := t.TempDir()
	weights, err := os.ReadFile(filepath.Join(tinyModel, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	half := len(weights) / 2
	h.misbehave = func(name string, w http.ResponseWriter, r *http.Request) bool {
		if name != "model.safetensors" || r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("ETag", `"v1"`)
		w.Write(weights[:half])
		http.NewResponseController(w).Flush()
		partial := filepath.Join(dir, "org", "tiny", "model.safetensors.partial")
		for { // until the client has it
			if info, err := os.Stat(partial); err == nil && info.Size() == int64(half) || r.Context().Err() != nil {
				break
			}
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	vitagoContext(ctx, nil, "download", "org/tiny", "--dir", dir).want(t, exitInterrupted, nil,
		[]string{"model.safetensors: context canceled", " bytes are kept, and the next run resumes there\nvitago: interrupted\n"})
	h.names()
	vitago("download", "org/tiny", "--dir", dir).want(t, exitDone, []string{"tiny"}, []string{"downloaded"})
	got, err := os.ReadFile(filepath.Join(dir, "org", "tiny", "model.safetensors"))
	if err != nil || !bytes.Equal(got, weights) {
		t.Errorf("got %d bytes (%v), want %d", len(got), err, len(weights))
	}
	if got := h.names(); !slices.Equal(got, []string{"model.safetensors"}) {
		t.Errorf("asked for %q, want what was missing", got)
	}
	if got, want := files(t, filepath.Join(dir, "org", "tiny")), files(t, tinyModel); !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
}

// The token goes to HF_ENDPOINT, and not to a mirror.
func TestDownloadMirror(t *testing.T) {
	mirror := serveHub(t, tinyModel)
	h := serveHub(t, tinyModel) // that of the environment
	vitago("download", "org/tiny", "--dir", t.TempDir(), "--mirror", mirror.URL+"/").want(t, exitDone, []string{"tiny"}, []string{"downloaded"})
	if len(h.asked) > 0 || len(mirror.asked) < 2 {
		t.Errorf("%d requests to the endpoint and %d to the mirror, want none and some", len(h.asked), len(mirror.asked))
	}
	vitago("download", "org/tiny", "--dir", t.TempDir()).want(t, exitDone, []string{"tiny"}, []string{"downloaded"})
	for want, requests := range map[string][]*http.Request{"": mirror.asked, "Bearer hf_secret": h.asked} {
		for _, r := range requests {
			if got := r.Header.Get("Authorization"); got != want {
				t.Errorf("%s: Authorization is %q, want %q", r.URL, got, want)
			}
		}
	}

	// A mirror of OpenAI's archives that has something else.
	const sum = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/clip/"+sum+"/ViT-B-32.pt" || r.Header.Get("Authorization") != "" {
			t.Errorf("asked for %s with Authorization %q", r.URL, r.Header.Get("Authorization"))
		}
		w.Write([]byte("something else"))
	}))
	above := t.TempDir()
	dir := filepath.Join(above, "models", "here")
	vitago("download", "ViT-B/32", "--dir", dir, "--mirror", wrong.URL+"/clip").want(t, exitFailed, nil, []string{"SHA-256 is ", "want " + sum})
	wrong.Close()
	vitago("download", "ViT-B/32", "--dir", dir, "--mirror", wrong.URL+"/clip").want(t, exitFailed, nil, []string{
		"off line? fetch " + wrong.URL + "/clip/" + sum + "/ViT-B-32.pt by hand, to " + filepath.Join(dir, "ViT-B-32.pt"), "sha256:" + sum,
	})
	h.Close()
	vitago("download", "org/tiny", "--dir", dir).want(t, exitFailed, nil, []string{"off line? fetch them by hand from " + h.URL + "/org/tiny/tree/main"})
	if got := files(t, above); len(got) > 0 {
		t.Errorf("failed downloads left %q", got)
	}
}

func TestDownloadUsage(t *testing.T) {
	h := serveHub(t, tinyModel)
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		err  string
	}{
		{nil, "no name, want one of ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, or OWNER/NAME"},
		{[]string{"a/b", "c/d"}, "got 2 arguments, want NAME"},
		{[]string{"RN50"}, "RN50 is a ResNet"},
		{[]string{"../x"}, `"../x" is no name of a model`},
		{[]string{"foo"}, `"foo" is no name of a model, want one of ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, or OWNER/NAME of Hugging Face's hub`},
		{[]string{"foo@v1"}, `"foo@v1" is no name of a model, want one of ViT-B/32`},
		{[]string{"ViT-L/14@448"}, `"ViT-L/14@448" is no name of a model, want one of ViT-B/32`},
		{[]string{"vit-h/14"}, `"vit-h/14" is no name of a model`},
		{[]string{"RN50x4/x"}, `"RN50x4/x" is no name of a model`},
		{[]string{"org/tiny@"}, "no revision after the @"},
		{[]string{"org/tiny@v1", "--revision", "v2"}, "the revision is given twice"},
		{[]string{"ViT-B/32", "--revision", "v2"}, "--revision and --all-files are for models of the hub"},
		{[]string{"ViT-B/32", "--all-files"}, "--revision and --all-files are for models of the hub"},
		{[]string{"ViT-B/32", "--mirror", "mirror.example"}, "--mirror: "},
	} {
		vitago(append([]string{"download", "--dir", filepath.Join(dir, "models")}, c.args...)...).want(t, exitUsage, nil, []string{c.err, "Run 'vitago download --help'"})
	}
	if got := files(t, dir); len(got) > 0 || len(h.asked) > 0 {
		t.Errorf("wrong usage left %q, after %d requests; want nothing after none", got, len(h.asked))
	}
	t.Setenv("HF_ENDPOINT", "mirror.example")
	vitago("download", "org/tiny").want(t, exitUsage, nil, []string{"HF_ENDPOINT: "})
	vitago("download", "--list").want(t, exitDone, []string{
		"353976522  sha256:40d3", "350837078  sha256:5806", "932768134  sha256:b8cc",
		"934088680  sha256:3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02  ViT-L-14-336px.pt  https://openaipublic.azureedge.net/clip/models/3035c92b",
	}, nil)
}

func TestBar(t *testing.T) {
	var w bytes.Buffer
	b := startBar(&w, "x")
	b.total = 300
	b.next()
	b.set(100, 100) // was there
	b.next()
	b.set(40, 200) // of an earlier run
	b.set(90, 200)
	if b.done() != 190 || b.skipped != 140 {
		t.Errorf("done %d, skipped %d, want 190, 140", b.done(), b.skipped)
	}
	b.unit = count
	if got, want := b.line(5e9), "x   63%  190 of 300  10/s  12s left"; got != want { // 50 in 5 s, 110 to go
		t.Errorf("got %q, want %q", got, want)
	}
	b.note("a word")
	b.unit = count
	b.set(140, 200)
	if got, want := b.line(5e9), "x   80%  240 of 300  10/s  7s left"; got != want {
		t.Errorf("after a note: got %q, want %q", got, want)
	}
	b.stop()
	if w.String() != "a word\n" {
		t.Errorf("wrote %q", w.String())
	}
}
