package tasks

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nlpodyssey/cybertron/pkg/tasks/textencoding"
)

func unregister[T any](model string) {
	mu.Lock()
	defer mu.Unlock()
	delete(providers, key{reflect.TypeFor[T](), model})
}

// A fakeHub serves the files of the model org/parrot to who has the token, and counts what is asked for.
type fakeHub struct {
	files map[string]string
	asked []string
}

const token = "hf_secret"

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/org/parrot/resolve/main/")
	h.asked = append(h.asked, name)
	content, found := h.files[name]
	switch {
	case r.Header.Get("Authorization") != "Bearer "+token:
		http.Error(w, "no", http.StatusUnauthorized)
	case !ok || !found:
		http.NotFound(w, r)
	case content == "broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	case content == "short":
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, content)
	case content == "stall":
		fmt.Fprint(w, content)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case content == "slow":
		for _, b := range []byte(content) {
			fmt.Fprintf(w, "%c", b)
			w.(http.Flusher).Flush()
			time.Sleep(stall / 3)
		}
	default:
		fmt.Fprint(w, content)
	}
}

func (h *fakeHub) start(t *testing.T) Config {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	return Config{ModelsDir: t.TempDir(), ModelName: "org/parrot", HubAccessToken: token}
}

// ls returns the names of what is in a directory.
func ls(t *testing.T, dir string) []string {
	t.Helper()
	names := []string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

const parrotConfig = `{"model_type":"parrot"}`

func TestDownload(t *testing.T) {
	h := &fakeHub{files: map[string]string{"config.json": parrotConfig, "words.txt": "hello"}}
	conf := h.start(t)
	load := func(want string, asked ...string) {
		t.Helper()
		h.asked = nil
		g, err := Load[greeter](&conf)
		if err != nil {
			t.Fatal(err)
		}
		if g.Greet() != want {
			t.Errorf("got %q, want %q", g.Greet(), want)
		}
		if !slices.Equal(h.asked, asked) {
			t.Errorf("asked for %q, want %q", h.asked, asked)
		}
	}
	load("hello", "config.json", "manners.txt", "words.txt")
	h.files["words.txt"] = "good day"
	load("hello") // all there: nothing is asked for, not even what is optional
	conf.DownloadPolicy = DownloadAlways
	load("good day", "config.json", "manners.txt", "words.txt")
	conf.DownloadPolicy = DownloadMissing
	if err := os.Truncate(filepath.Join(conf.FullModelPath(), "words.txt"), 0); err != nil {
		t.Fatal(err)
	}
	load("good day", "manners.txt", "words.txt") // an empty file is a missing one
	if got, want := ls(t, conf.FullModelPath()), []string{"config.json", "words.txt"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
}

func TestDownloadAlternatives(t *testing.T) {
	h := &fakeHub{files: map[string]string{"config.json": parrotConfig, "words.old": "hail", "manners.txt": "please"}}
	conf := h.start(t)
	_, err := Load[greeter](&conf)
	wantError(t, err, "words.txt") // the parrot reads no other file
	if got, want := ls(t, conf.FullModelPath()), []string{"config.json", "manners.txt", "words.old"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}

	// A file that matches a pattern is a file, and a pattern is never asked for.
	if err := os.Rename(filepath.Join(conf.FullModelPath(), "words.old"), filepath.Join(conf.FullModelPath(), "my.words")); err != nil {
		t.Fatal(err)
	}
	h.asked = nil
	_, err = Load[greeter](&conf)
	wantError(t, err, "words.txt")
	if len(h.asked) != 0 {
		t.Errorf("asked for %q, want nothing", h.asked)
	}
}

func TestDownloadErrors(t *testing.T) {
	defer func(d time.Duration) { stall = d }(stall)
	stall = 300 * time.Millisecond
	for _, c := range []struct {
		name  string
		words string // on the hub
		token string
		model string
		want  []string
		left  []string
	}{
		{"absent", "", token, "org/parrot", []string{"words.txt or words.old", "org/parrot", "no such file"}, []string{"config.json"}},
		{"status 500", "broken", token, "org/parrot", []string{"words.txt", "500", "want 200"}, []string{"config.json"}},
		{"short", "short", token, "org/parrot", []string{"5 of 100 bytes"}, []string{"config.json"}},
		{"stall", "stall", token, "org/parrot", []string{"nothing came for 300ms"}, []string{"config.json"}},
		{"token", "hello", "hf_other", "org/parrot", []string{"config.json", "401", "HubAccessToken"}, nil},
		{"model", "hello", token, "org/owl", []string{"config.json", "org/owl", "no such file"}, nil},
		{"outside", "hello", token, "org/../../parrot", []string{"owner/model"}, nil},
		{"local path", "hello", token, "some/local/path", []string{"owner/model"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &fakeHub{files: map[string]string{"config.json": parrotConfig}}
			if c.words != "" {
				h.files["words.txt"] = c.words
			}
			conf := h.start(t)
			conf.ModelName, conf.HubAccessToken = c.model, c.token
			_, err := Load[greeter](&conf)
			wantError(t, err, append(c.want, "tasks: ")...)
			if strings.Contains(fmt.Sprint(err), c.token) {
				t.Errorf("error %q has the token in it", err)
			}
			if got := ls(t, conf.FullModelPath()); !slices.Equal(got, c.left) {
				t.Errorf("directory has %q, want %q", got, c.left)
			}
		})
	}

	// What was complete before a download failed stays.
	h := &fakeHub{files: map[string]string{"config.json": parrotConfig, "words.txt": "hello"}}
	conf := h.start(t)
	if _, err := Load[greeter](&conf); err != nil {
		t.Fatal(err)
	}
	h.files["words.txt"], conf.DownloadPolicy = "short", DownloadAlways
	_, err := Load[greeter](&conf)
	wantError(t, err, "5 of 100 bytes")
	if b, err := os.ReadFile(filepath.Join(conf.FullModelPath(), "words.txt")); string(b) != "hello" {
		t.Errorf("words.txt is %q (%v), want it as before", b, err)
	}

	h.files["words.txt"] = "slow" // takes longer than stall, but something comes all the time
	if g, err := Load[greeter](&conf); err != nil || g.Greet() != "slow" {
		t.Errorf("got %v, %v, want slow", g, err)
	}

	h.files["words.txt"] = ""
	_, err = Load[greeter](&conf)
	wantError(t, err, "got 0 bytes")
}

// What came before a connection broke is not asked for again, even by another process.
func TestDownloadResumes(t *testing.T) {
	h := &fakeHub{files: map[string]string{"config.json": parrotConfig, "words.txt": "good morning"}}
	var mu sync.Mutex // of what follows: handlers run beside the test
	broken := true
	var ranges []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/words.txt") {
			h.ServeHTTP(w, r)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		ranges = append(ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", `"v1"`)
		if broken && len(ranges) > 1 {
			panic(http.ErrAbortHandler)
		}
		if broken {
			w.Header().Set("Content-Length", "12")
			fmt.Fprint(w, "good ")
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("good morning"))
	}))
	defer s.Close()
	t.Setenv("HF_ENDPOINT", s.URL)
	conf := Config{ModelsDir: t.TempDir(), ModelName: "org/parrot", HubAccessToken: token}
	_, err := Load[greeter](&conf)
	wantError(t, err, "tasks: org/parrot: ", "words.txt", "5 bytes are kept, and the next run resumes there")
	if got, want := ls(t, conf.FullModelPath()), []string{"config.json", "words.txt.partial", "words.txt.partial.json"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	if g, err := Load[greeter](&conf); err != nil || g.Greet() != "good morning" {
		t.Errorf("got %v, %v, want good morning", g, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := ranges[len(ranges)-1]; got != "bytes=5-" {
		t.Errorf("asked for %q at last, want bytes=5-", got)
	}
	if got, want := ls(t, conf.FullModelPath()), []string{"config.json", "words.txt"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
}

// A transport that reaches nobody.
type offline struct{}

func (offline) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("off line") }

// Cybertron creates a file before it asks for it. What it left empty would be a broken model for ever.
func TestCybertronLeavesNothing(t *testing.T) {
	defer func(r http.RoundTripper) { http.DefaultTransport = r }(http.DefaultTransport)
	http.DefaultTransport = offline{}
	dir, name := write(t, map[string]string{"mine": ""})
	_, err := Load[textencoding.Interface](&Config{ModelsDir: dir, ModelName: name})
	wantError(t, err, "cybertron says", "off line")
	if got, want := ls(t, filepath.Join(dir, name)), []string{"mine"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
}
