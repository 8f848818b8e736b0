package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A watched writer tells who waits for a text that it has come.
type watchedWriter struct {
	mu   sync.Mutex
	more *sync.Cond
	b    bytes.Buffer
	over bool
}

func newWatched() *watchedWriter {
	w := &watchedWriter{}
	w.more = sync.NewCond(&w.mu)
	return w
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.more.Broadcast()
	return w.b.Write(b)
}

func (w *watchedWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.more.Broadcast()
}

// await returns what has been written when a pattern matches it, and where.
func (w *watchedWriter) await(t *testing.T, pattern string) []string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(w.b.String()); m != nil {
			return m
		}
		if w.over {
			t.Fatalf("it ended without %s: %s", pattern, &w.b)
		}
		w.more.Wait()
	}
}

// startServe runs the verb until it is stopped; the status is what it ends with.
func startServe(t *testing.T, args ...string) (log *watchedWriter, stop context.CancelFunc, status chan int) {
	log, status = newWatched(), make(chan int, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer log.end()
		status <- run(ctx, append([]string{"serve"}, args...), strings.NewReader(""), io.Discard, log)
	}()
	t.Cleanup(stop)
	return log, stop, status
}

func fetchText(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestServe: it says where, answers, reads its files again on SIGHUP, and ends with 0.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	tokens, config := filepath.Join(dir, "tokens"), filepath.Join(dir, "serve.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(tokens, "0123456789abcdef\n")
	write(config, "models: [{name: demo, path: 'builtin:demo', aliases: [other]}]\nlisten: 127.0.0.1:0\nadmin-listen: 127.0.0.1:0\nlog: json\ntokens: "+tokens+"\n")
	log, stop, status := startServe(t, "--config", config)
	url := log.await(t, `serving (http://\S+) to who has a token\nmodels: demo, other \(builtin:demo, f32\)\nlimits: `)[1]
	admin := log.await(t, `probes and metrics: (http://\S+)`)[1]
	const body = `{"model":"other","input":["a red circle"]}`
	if code, text := fetchText(t, "POST", url+"/v1/embeddings", body, "Authorization", "Bearer 0123456789abcdef"); code != 200 || !strings.Contains(text, `"embedding"`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := fetchText(t, "POST", url+"/v1/embeddings", body); code != 401 {
		t.Errorf("without a token: %d %s", code, text)
	}
	for path, want := range map[string]string{"/readyz": "ready", "/healthz": "ok", "/metrics": "vitago_models_loaded 1"} {
		if code, text := fetchText(t, "GET", admin+path, ""); code != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if runtime.GOOS != "windows" { // which has no SIGHUP
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		write(tokens, "short\n")
		self.Signal(syscall.SIGHUP)
		log.await(t, `"the configuration stays as it was","error":"[^"]*the token has 5 characters`)
		if code, _ := fetchText(t, "POST", url+"/v1/embeddings", body, "Authorization", "Bearer 0123456789abcdef"); code != 200 {
			t.Errorf("with a wrong file: %d", code)
		}
		write(tokens, "fedcba9876543210\n")
		self.Signal(syscall.SIGHUP)
		log.await(t, "the configuration is in force")
		if code, _ := fetchText(t, "POST", url+"/v1/embeddings", body, "Authorization", "Bearer 0123456789abcdef"); code != 401 {
			t.Errorf("with the old token: %d", code)
		}
		if code, _ := fetchText(t, "POST", url+"/v1/embeddings", body, "Authorization", "Bearer fedcba9876543210"); code != 200 {
			t.Errorf("with the new token: %d", code)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if s := <-status; s != exitDone {
		t.Errorf("status %d, want %d: %s", s, exitDone, &log.b)
	}
	log.await(t, `"msg":"stopped"`)
}

// TestServeFile: what a file says, and what is wrong with one.
func TestServeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "serve.yaml")
	for text, want := range map[string]string{
		"max-bdy: 3":                          `unknown key "max-bdy"`,
		"check: true":                         `unknown key "check"`,
		"models: [{name: a, pth: x}]":         "line 1: field pth not found in the row of a model",
		"models: {a: b}":                      "as a list of models",
		"max-body: many":                      `--max-body is "many": want a whole number`,
		"max-body: [1, 2]":                    "max-body is a list, want one value",
		"listen: {a: b}":                      "listen is neither a text",
		"tokens: ''":                          "tokens is empty",
		"drain:":                              "drain is neither a text",
		"a: b\n---\nc: d":                     "more than one document",
		"\t":                                  "found character that cannot start any token",
		"models: [{name: '', path: x}]":       "model : ",
		"precision: f64\n":                    `--precision is "f64": want f32, bf16, int8`,
		`{"models":[{"name":"a","path":""}]}`: "model a: ",
		"models: [{name: a, path: 'builtin:demo', index: nowhere}]":                   "nowhere",
		"models: [{name: a, path: 'builtin:demo', precision: f16}]":                   `precision is "f16"`,
		"models: [{name: a, path: 'builtin:demo'}, {name: a, path: nowhere}]":         "a",
		"models: [{name: a, path: 'builtin:demo'}]\nlisten: nonsense":                 `address "nonsense": want HOST:PORT`,
		"models: [{name: a, path: 'builtin:demo'}]\nlisten: '127.0.0.1:http2'":        `want HOST:PORT`,
		"models: [{name: a, path: 'builtin:demo'}]\nlisten: '0.0.0.0:80'":             "give --tls-cert",
		"models: [{name: a, path: 'builtin:demo'}]\nlisten: ['[::1]:80', '[::1]:80']": "stands twice",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := vitago("serve", "--config", path, "--check")
		if r.status == exitDone || !strings.Contains(r.err, want) || strings.Contains(r.err, "main.") {
			t.Errorf("%q: status %d, %s, want %q", text, r.status, r.err, want)
		}
	}
	if err := os.WriteFile(path, []byte("models: [{name: a, path: 'builtin:demo', exif: true, preload: false}, {name: b, path: 'builtin:demo', precision: int8}]\nlisten: ['127.0.0.1:1', '127.0.0.1:2']\nmax-body: 7\nmax-items: 8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VITAGO_SERVE_MAX_ITEMS", "9")
	t.Setenv("VITAGO_SERVE_DRAIN", "9s")
	t.Setenv("VITAGO_SERVE_HOST", "a.example b.example")
	r := vitago("serve", "--config", path, "--check", "--drain", "10s")
	r.want(t, exitDone, []string{"max-body: 7\n", "max-items: 9\n", "drain: 10s\n", "- 127.0.0.1:1\n  - 127.0.0.1:2\n", "- a.example\n  - b.example\n", "exif: true\n    preload: false\n", "precision: int8\n"}, []string{""})
	if err := os.WriteFile(path, []byte(r.out), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := vitago("serve", "--config", path, "--check", "--drain", "10s"); again.out != r.out {
		t.Errorf("what it writes is read as\n%s\nand was\n%s", again.out, r.out)
	}
}

func FuzzServeFile(f *testing.F) {
	f.Add([]byte("models: [{name: a, path: b}]\nmax-body: 3\n"))
	f.Add([]byte(`{"listen":["a"],"tokens":"x"}`))
	f.Add([]byte("a: &x [1, *x]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := parseServeFile(b)
		if err != nil {
			return
		}
		_, s := serveCommand()
		for name, v := range file.Flags {
			if flag := s.flags.Lookup(name); flag != nil {
				_, _ = fileValues(flag, v.value)
			}
		}
	})
}

// TestServeFinetuning: a run is begun, watched, stopped and resumed over HTTP, its model is one of the others; what trains when the server ends
// stops with a checkpoint, and goes on in the next.
func TestServeFinetuning(t *testing.T) {
	dir := t.TempDir()
	folder, data := filepath.Join(dir, "runs"), filepath.Join(dir, "data")
	if err := os.CopyFS(filepath.Join(data, "pictures"), os.DirFS(colours(t, 4))); err != nil {
		t.Fatal(err)
	}
	args := []string{"--model", "demo,other=builtin:demo", "--listen", "127.0.0.1:0", "--runs", folder, "--data", data, "--no-page"}
	log, stop, status := startServe(t, args...)
	url := log.await(t, `serving (http://\S+) to anybody\n(?s:.*)finetuning: runs in `)[1]
	type run struct {
		ID, State, Error string
		Events           int `json:",string"`
		Response         struct{ Model, Adapter string }
	}
	ask := func(method, path, body string) (r run) {
		t.Helper()
		code, text := fetchText(t, method, url+"/v1/finetuning/runs"+path, body)
		if err := json.Unmarshal([]byte(text), &r); code != 200 || err != nil {
			t.Fatalf("%s %s: %d %s %v", method, path, code, text, err)
		}
		return r
	}
	watch := func(id string) (next func() string, end func()) { // a line, "" at the end
		t.Helper()
		res, err := http.Get(url + "/v1/finetuning/runs/" + id + ":watch")
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("watch: %d", res.StatusCode)
		}
		lines := bufio.NewScanner(res.Body)
		return func() string {
			if lines.Scan() {
				return lines.Text()
			}
			return ""
		}, func() { res.Body.Close() }
	}

	begun := ask("POST", "", `{"model":"other","request":{"data":"pictures","recipe":"probe","split":0.25}}`)
	next, end := watch(begun.ID)
	told := 0
	for next() != "" {
		told++
	}
	end()
	done := ask("GET", "/"+begun.ID, "")
	if done.State != "done" || told == 0 || told != done.Events {
		t.Fatalf("%d events, and the run is %+v", told, done)
	}
	vitago("classify", "--model", filepath.Join(folder, done.Response.Model), filepath.Join(data, "pictures", "red", "00.png"), "--json").
		want(t, exitDone, []string{`"red"`, `"blue"`}, []string{""})

	long := ask("POST", "", `{"request":{"data":"pictures","recipe":"lora","overrides":{"epochs":1000000,"batch":4,"accumulate":1}}}`)
	next, end = watch(long.ID)
	for line := next(); !regexp.MustCompile(`"kind": *"train"`).MatchString(line); line = next() {
		if line == "" {
			t.Fatalf("it ended: %+v", ask("GET", "/"+long.ID, ""))
		}
	}
	end()
	if stopped := ask("POST", "/"+long.ID+":stop", ""); stopped.State != "stopped" {
		t.Fatalf("stopped, it is %+v", stopped)
	}
	events := ask("POST", "/"+long.ID+":resume", "").Events
	next, end = watch(long.ID)
	for range events + 3 {
		if line := next(); line == "" || strings.HasPrefix(line, `{"error"`) {
			t.Fatalf("resumed, it ended: %s %+v", line, ask("GET", "/"+long.ID, ""))
		}
	}

	stop()
	last := ""
	for line := next(); line != ""; line = next() {
		last = line
	}
	end()
	if !strings.Contains(last, "shutting") {
		t.Errorf("who watched was told at last %s", last)
	}
	http.DefaultClient.CloseIdleConnections()
	if s := <-status; s != exitDone {
		t.Errorf("status %d, want %d: %s", s, exitDone, &log.b)
	}

	log, stop, status = startServe(t, args...)
	url = log.await(t, `serving (http://\S+) to `)[1]
	before := ask("GET", "/"+long.ID, "")
	if before.State != "stopped" || before.Events <= events {
		t.Errorf("after the end it is %+v", before)
	}
	ask("POST", "/"+long.ID+":resume", "")
	next, end = watch(long.ID)
	for range before.Events + 3 {
		if line := next(); line == "" || strings.HasPrefix(line, `{"error"`) {
			t.Fatalf("in the next server it ended: %s %+v", line, ask("GET", "/"+long.ID, ""))
		}
	}
	end()
	if code, text := fetchText(t, "GET", url+"/", "", "Accept", "text/html"); code != 200 || strings.Contains(text, "<html") {
		t.Errorf("there is a page: %d %.100s", code, text)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if s := <-status; s != exitDone {
		t.Errorf("status %d, want %d: %s", s, exitDone, &log.b)
	}
}
