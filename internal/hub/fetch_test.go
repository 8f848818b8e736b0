package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server has one file, in versions, and misbehaves as a test says. It remembers what it was asked for.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	content []byte
	etag    string
	// misbehave answers request n, from 0 on, instead of the server, or returns false.
	misbehave func(n int, w http.ResponseWriter, r *http.Request) bool
	asked     []*http.Request
	served    int64 // bytes of bodies
}

func serve(t *testing.T, content []byte) *server {
	t.Helper()
	s := &server{content: content, etag: `"v1"`}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// A counter counts the bytes of a body.
type counter struct {
	http.ResponseWriter
	s *server
}

func (c counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.s.mu.Lock()
	c.s.served += int64(n)
	c.s.mu.Unlock()
	return n, err
}

func (c counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, r)
	s.mu.Unlock()
	w = counter{w, s}
	if s.misbehave != nil && s.misbehave(n, w, r) {
		return
	}
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content)) // ranges, If-Range
}

// ranges returns the Range headers of the requests.
func (s *server) ranges() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.asked {
		all = append(all, r.Header.Get("Range"))
	}
	return all
}

func (s *server) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// part writes n bytes of an answer that should have all, and breaks the connection.
func (s *server) part(w http.ResponseWriter, n int) {
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
	w.Write(s.content[:n])
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// once makes misbehave act on the first request alone.
func once(f func(w http.ResponseWriter, r *http.Request)) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			f(w, r)
		}
		return n == 0
	}
}

// client returns one that loses no time, and what it notes.
func client(s *server) (*Client, *[]string) {
	notes := &[]string{}
	return &Client{
		Endpoint: s.URL, Token: "hf_secret", Idle: 5 * time.Second, Tries: 3, Wait: time.Millisecond,
		Note: func(line string) { *notes = append(*notes, line) },
	}, notes
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func sum256(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// blob is what "git hash-object" says; a test of its own compares it with git's words.
func blob(b []byte) string {
	h := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...))
	return hex.EncodeToString(h[:])
}

func ls(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range append(words, "hub: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is %q, want %q in it", err, w)
		}
	}
	if strings.Contains(err.Error(), "hf_secret") {
		t.Errorf("error %q has the token in it", err)
	}
}

// wantFile fails the test unless dir has the file and nothing else, of this content.
func wantFile(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if got, want := ls(t, dir), []string{name}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s has %d bytes (%v), want the %d that were served", name, len(got), err, len(content))
	}
}

const size = 300_000 // more than one piece of 256 KiB

func TestFetch(t *testing.T) {
	s := serve(t, pattern(size))
	for name, f := range map[string]File{
		"SHA-256": {Size: size, SHA256: sum256(s.content)},
		"no size": {Size: -1, SHA256: sum256(s.content)},
		"blob":    {Size: size, Blob: blob(s.content)},
		"nothing": {Size: -1},
	} {
		t.Run(name, func(t *testing.T) {
			s.asked = nil
			c, notes := client(s)
			var done, total int64
			c.Progress = func(d, t int64) { done, total = d, t }
			f.Name, f.URL = "sub/w.bin", s.URL+"/w.bin"
			dir := t.TempDir()
			for i := range 2 { // the second time it is there
				path, had, err := c.Fetch(t.Context(), f, dir)
				if err != nil || had != (i == 1) || path != filepath.Join(dir, "sub", "w.bin") {
					t.Fatalf("got %q, %v, %v", path, had, err)
				}
			}
			wantFile(t, filepath.Join(dir, "sub"), "w.bin", s.content)
			if done != size || total != size {
				t.Errorf("progress is %d of %d, want %d", done, total, size)
			}
			if got := s.ranges(); !slices.Equal(got, []string{""}) || len(*notes) > 0 {
				t.Errorf("asked for %q and noted %q, want one request and no note", got, *notes)
			}
		})
	}
}

// git hash-object of "hello world\n", as in every introduction to git.
func TestBlob(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	os.WriteFile(path, []byte("hello world\n"), 0o666)
	if err := verify(t.Context(), File{Size: 12, Blob: "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"}, path); err != nil {
		t.Error(err)
	}
	err := verify(t.Context(), File{Size: 12, Blob: strings.Repeat("0", 40)}, path)
	if want := "git's SHA-1 is 3b18e512dba79e4c8300dd08aeb37f8e728b8dad, want 00"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// After a broken connection only the rest is asked for, and served.
func TestResume(t *testing.T) {
	content := pattern(size)
	const cut = 100_000
	for name, c := range map[string]struct {
		f       File
		etag    string
		ifRange string
	}{
		"SHA-256 and ETag": {File{Size: size, SHA256: sum256(content)}, `"v1"`, `"v1"`},
		"SHA-256":          {File{Size: -1, SHA256: sum256(content)}, "", ""},
		"weak ETag":        {File{Size: size, SHA256: sum256(content)}, `W/"v1"`, ""}, // nothing for If-Range
		"blob":             {File{Size: size, Blob: blob(content)}, `"v1"`, `"v1"`},
		"ETag":             {File{Size: -1}, `"v1"`, `"v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, content)
			s.etag = c.etag
			s.misbehave = once(func(w http.ResponseWriter, _ *http.Request) { s.part(w, cut) })
			cl, notes := client(s)
			dir := t.TempDir()
			c.f.Name, c.f.URL = "w.bin", s.URL
			if _, _, err := cl.Fetch(t.Context(), c.f, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", content)
			if got, want := s.ranges(), []string{"", "bytes=100000-"}; !slices.Equal(got, want) {
				t.Errorf("asked for %q, want %q", got, want)
			}
			if got := s.asked[1].Header.Get("If-Range"); got != c.ifRange {
				t.Errorf("If-Range is %q, want %q", got, c.ifRange)
			}
			if got := s.bytes(); got != size {
				t.Errorf("%d bytes were served, want %d", got, size)
			}
			if len(*notes) != 1 || !strings.Contains((*notes)[0], "after 100000 of 300000 bytes: unexpected EOF; trying again") {
				t.Errorf("noted %q", *notes)
			}
		})
	}
}

// Without an ETag or a hash nobody knows whether the rest is of the same file.
func TestNoResumeWithoutValidator(t *testing.T) {
	s := serve(t, pattern(size))
	s.etag = ""
	s.misbehave = once(func(w http.ResponseWriter, _ *http.Request) { s.part(w, 1000) })
	c, _ := client(s)
	dir := t.TempDir()
	if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if got, want := s.ranges(), []string{"", ""}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// Ctrl-C keeps what came, and the next run asks for the rest.
func TestInterrupt(t *testing.T) {
	s := serve(t, pattern(size))
	const cut = 100_000
	ctx, cancel := context.WithCancel(t.Context())
	s.misbehave = once(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", s.etag)
		w.Header().Set("Content-Length", fmt.Sprint(size))
		w.Write(s.content[:cut])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c, _ := client(s)
	c.Progress = func(done, _ int64) {
		if done == cut {
			cancel()
		}
	}
	dir := t.TempDir()
	f := File{Name: "w.bin", URL: s.URL, Size: -1, SHA256: sum256(s.content)}
	_, _, err := c.Fetch(ctx, f, dir)
	wantError(t, err, "100000 bytes are kept, and the next run resumes there")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got, want := ls(t, dir), []string{"w.bin.partial", "w.bin.partial.json"}; !slices.Equal(got, want) {
		t.Errorf("directory has %q, want %q", got, want)
	}
	c, _ = client(s)
	var first int64 = -1
	c.Progress = func(done, _ int64) {
		if first < 0 {
			first = done
		}
	}
	if _, _, err := c.Fetch(t.Context(), f, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if got := s.ranges(); got[1] != "bytes=100000-" || len(got) != 2 || s.bytes() != size {
		t.Errorf("asked for %q, and got %d bytes, want the rest", got, s.bytes())
	}
	if first != cut {
		t.Errorf("progress began at %d, want %d", first, cut)
	}
}

// What was complete but not yet verified when a process ended is not asked for again.
func TestCompletePartial(t *testing.T) {
	s := serve(t, pattern(size))
	f := File{Name: "w.bin", URL: s.URL, Size: -1, SHA256: sum256(s.content)}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "w.bin.partial"), s.content, 0o666)
	os.WriteFile(filepath.Join(dir, "w.bin.partial.json"), fmt.Appendf(nil, `{"url":%q,"digest":"sha256:%s","size":%d}`, s.URL, f.SHA256, size), 0o666)
	os.WriteFile(filepath.Join(dir, "w.bin.partial.lock"), nil, 0o666) // of a process that was killed
	c, _ := client(s)
	if _, _, err := c.Fetch(t.Context(), f, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if n := len(s.ranges()); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// Whatever partial files there are, the result is right.
func TestForeignPartial(t *testing.T) {
	content := pattern(size)
	good := func(url string) string {
		return fmt.Sprintf(`{"url":%q,"etag":"\"v1\"","digest":"sha256:%s","size":%d}`, url, sum256(content), size)
	}
	for name, c := range map[string]struct {
		partial []byte
		state   func(url string) string
		want    []string // Range headers
	}{
		"no state":      {content[:10], nil, []string{""}},
		"torn state":    {content[:10], func(string) string { return `{"url` }, []string{""}},
		"other hash":    {content[:10], func(u string) string { return strings.ReplaceAll(good(u), sum256(content), sum256(nil)) }, []string{""}},
		"other address": {content[:10], func(string) string { return good("http://elsewhere") }, []string{"bytes=10-"}}, // the hash is the same
		"too long":      {append(bytes.Clone(content), 1), good, []string{""}},
		"wrong bytes":   {make([]byte, 10), good, []string{"bytes=10-", ""}},
		"wrong, whole":  {make([]byte, size), good, []string{""}},
		"empty":         {nil, good, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, content)
			dir := t.TempDir()
			os.WriteFile(filepath.Join(dir, "w.bin.partial"), c.partial, 0o666)
			if c.state != nil {
				os.WriteFile(filepath.Join(dir, "w.bin.partial.json"), []byte(c.state(s.URL)), 0o666)
			}
			cl, _ := client(s)
			if _, _, err := cl.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(content)}, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", content)
			if got := s.ranges(); !slices.Equal(got, c.want) {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
		})
	}
}

// The file on the server changes while it is downloaded.
func TestChanged(t *testing.T) {
	first, second := pattern(size), bytes.Repeat([]byte("new"), size/3)
	for name, c := range map[string]struct {
		second  func(s *server, w http.ResponseWriter, r *http.Request) bool // how the second request is answered
		content []byte
		known   bool // the hash of the new content is
		want    []string
	}{
		"If-Range":             {nil, second, false, []string{"", "bytes=1000-"}},
		"If-Range, hash known": {nil, second, true, []string{"", "bytes=1000-"}},
		"no If-Range": {func(s *server, w http.ResponseWriter, r *http.Request) bool { // 206 with another ETag
			r.Header.Del("If-Range")
			return false
		}, second, false, []string{"", "bytes=1000-", ""}},
		"no If-Range, hash known": {func(s *server, w http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("If-Range")
			return false
		}, second, true, []string{"", "bytes=1000-", ""}},
		"shorter": {func(s *server, w http.ResponseWriter, r *http.Request) bool { // 416
			r.Header.Del("If-Range")
			return false
		}, []byte("new"), false, []string{"", "bytes=1000-", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, first)
			s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
				switch n {
				case 0:
					defer func() { s.content, s.etag = c.content, `"v2"` }()
					s.part(w, 1000)
				case 1:
					return c.second != nil && c.second(s, w, r)
				}
				return false
			}
			cl, _ := client(s)
			dir := t.TempDir()
			f := File{Name: "w.bin", URL: s.URL, Size: -1}
			if c.known {
				f.SHA256 = sum256(c.content)
			}
			if _, _, err := cl.Fetch(t.Context(), f, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", c.content)
			if got := s.ranges(); !slices.Equal(got, c.want) {
				t.Errorf("asked for %q, want %q", got, c.want)
			}
		})
	}

	// One that changes all the time never comes.
	s := serve(t, first)
	s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-Range")
		s.etag = fmt.Sprintf(`"v%d"`, n)
		if r.Header.Get("Range") == "" {
			s.part(w, 1000)
		}
		return false
	}
	cl, _ := client(s)
	cl.Tries = 9
	dir := t.TempDir()
	_, _, err := cl.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir)
	wantError(t, err, "the file changed on the server 4 times")
	if got := ls(t, dir); len(got) > 0 {
		t.Errorf("directory has %q, want nothing", got)
	}
}

// Answers that are wrong in one way or another, first all the time and then once.
func TestMisbehaviour(t *testing.T) {
	content := pattern(size)
	write := func(w http.ResponseWriter, length int64, b []byte) {
		if length >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(length))
		} else {
			http.NewResponseController(w).Flush() // chunked
		}
		w.Write(b)
	}
	for _, c := range []struct {
		name    string
		answer  func(w http.ResponseWriter, r *http.Request)
		want    string // the error, if the server never does better
		heals   bool   // is right if the second answer is
		unknown bool   // the size and the hash are
	}{
		{"too short", func(w http.ResponseWriter, _ *http.Request) { write(w, size, content[:10]) }, "after 10 of 300000 bytes: unexpected EOF", true, true},
		{"too short, chunked", func(w http.ResponseWriter, _ *http.Request) { write(w, -1, content[:10]) }, "after 10 of 300000 bytes: unexpected EOF", true, false},
		{"says less", func(w http.ResponseWriter, _ *http.Request) { write(w, 10, content[:10]) }, "the server has 10 bytes, want 300000", true, false},
		{"says more", func(w http.ResponseWriter, _ *http.Request) { write(w, size+1, append(content, 0)) }, "the server has 300001 bytes, want 300000", true, false},
		{"sends more", func(w http.ResponseWriter, _ *http.Request) { write(w, -1, append(content, 0)) }, "more than 300000 bytes came", true, false},
		{"says too much", func(w http.ResponseWriter, _ *http.Request) { write(w, maxFile+1, nil) }, "the server has 50000000001 bytes, want at most 50000000000", false, true},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) {}, "got 0 bytes, want at least 1", true, true},
		{"wrong bytes", func(w http.ResponseWriter, _ *http.Request) { write(w, size, make([]byte, size)) }, "want " + sum256(content), false, false},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			write(w, size, content)
		}, `Content-Encoding is "gzip", want none`, true, false},
		{"partial unasked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-299999/300000")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(content)
		}, "status is 206 Partial Content, want 200", false, false},
		{"reset", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "EOF", true, false},
		{"404", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "status is 404 Not Found, want 200", false, false},
		{"401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "status is 401 Unauthorized, want 200: the token has no access", false, false},
		{"403", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Error-Message", "accept\tthe licence")
			w.WriteHeader(http.StatusForbidden)
		}, `status is 403 Forbidden, want 200 (the server says "accept the licence")`, false, false},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "status is 429 Too Many Requests, want 200", true, false},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "status is 500 Internal Server Error, want 200", true, false},
		{"503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "status is 503 Service Unavailable, want 200", true, false},
		{"busy for long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, "it asks to be left alone for 1h0m0s", false, false},
		{"redirects for ever", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x"+r.URL.Path, http.StatusFound) }, "more than 10 redirects", true, false},
		{"other scheme", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, "unsupported protocol scheme", true, false},
	} {
		for _, always := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/always=%v", c.name, always), func(t *testing.T) {
				s := serve(t, content)
				s.etag = ""
				s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
					if always || n == 0 {
						c.answer(w, r)
					}
					return always || n == 0
				}
				cl, _ := client(s)
				dir := t.TempDir()
				f := File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(content)}
				if c.unknown {
					f.Size, f.SHA256 = -1, ""
				}
				_, _, err := cl.Fetch(t.Context(), f, dir)
				if !always && c.heals {
					if err != nil {
						t.Fatal(err)
					}
					wantFile(t, dir, "w.bin", content)
					return
				}
				wantError(t, err, "downloading w.bin: ", c.want)
				if got := errors.Is(err, ErrNotFound); got != (c.name == "404") {
					t.Errorf("errors.Is(err, ErrNotFound) is %v", got)
				}
				tries := 1
				if c.heals {
					tries = cl.Tries
				}
				if n := len(s.ranges()); n != tries && c.name != "redirects for ever" {
					t.Errorf("%d requests, want %d", n, tries)
				}
				for _, name := range ls(t, dir) { // a start that the hash can judge is kept
					if !strings.HasPrefix(name, "w.bin.partial") || c.unknown {
						t.Errorf("%s was left", name)
					}
				}
			})
		}
	}
}

func TestRangeAnswers(t *testing.T) {
	s := serve(t, pattern(size))
	answer := func(status int, header, body string) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				s.part(w, 1000)
			}
			w.Header().Set("Content-Range", header)
			w.WriteHeader(status)
			io.WriteString(w, body)
			return true
		}
	}
	for _, c := range []struct{ header, want string }{
		{"bytes 0-9/300000", "got bytes from 0 on, want 1000"},
		{"bytes 2000-2009/300000", "got bytes from 2000 on, want 1000"},
		{"bytes 1000-1009/400000", "the server has 400000 bytes, want 300000"},
		{"", `Content-Range is "", want bytes FIRST-LAST/TOTAL`},
		{"bytes 1000-1009/9", "Content-Range is"},
		{"bytes -1-1009/300000", "Content-Range is"},
		{"bytes 1000-99999999999999999999/300000", "Content-Range is"},
		{"bytes 1000-1009/*", "got bytes from 1000 on, want 1010"}, // a part of what was asked for, twice
	} {
		s.asked, s.misbehave = nil, answer(http.StatusPartialContent, c.header, "0123456789")
		cl, _ := client(s)
		_, _, err := cl.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content)}, t.TempDir())
		wantError(t, err, c.want)
	}
	// A server that gives less than was asked for is asked again.
	s.asked = nil
	s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		to := min(from+100_000, size)
		w.Header().Set("ETag", s.etag)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
		if n == 0 {
			s.part(w, 100_000)
		}
		w.WriteHeader(http.StatusPartialContent)
		w.Write(s.content[from:to])
		return true
	}
	cl, _ := client(s)
	dir := t.TempDir()
	if _, _, err := cl.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if got, want := s.ranges(), []string{"", "bytes=100000-", "bytes=200000-"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// A server that knows no ranges sends all again.
func TestIgnoresRange(t *testing.T) {
	s := serve(t, pattern(size))
	s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			s.part(w, 1000)
		}
		w.Write(s.content)
		return true
	}
	c, notes := client(s)
	dir := t.TempDir()
	if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content)}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if len(*notes) != 2 || !strings.Contains((*notes)[1], "sends all of it again") {
		t.Errorf("noted %q", *notes)
	}
}

// A download may fail any number of times as long as it comes further.
func TestFurther(t *testing.T) {
	s := serve(t, pattern(size))
	const step = 20_000 // 15 requests, with 3 tries
	s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		if from == 0 {
			s.part(w, step)
		}
		w.Header().Set("ETag", s.etag)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
		w.Header().Set("Content-Length", fmt.Sprint(size-from))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(s.content[from:min(from+step, size)])
		return true
	}
	c, _ := client(s)
	dir := t.TempDir()
	if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if n := len(s.ranges()); n != size/step {
		t.Errorf("%d requests, want %d", n, size/step)
	}
}

func TestStall(t *testing.T) {
	for _, where := range []string{"header", "body"} {
		t.Run(where, func(t *testing.T) {
			s := serve(t, pattern(size))
			stall := func(w http.ResponseWriter, r *http.Request) {
				if where == "body" {
					w.Header().Set("ETag", s.etag)
					w.Header().Set("Content-Length", fmt.Sprint(size))
					w.Write(s.content[:1000])
					http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			}
			s.misbehave = once(stall)
			c, notes := client(s)
			c.Idle = 200 * time.Millisecond
			dir := t.TempDir()
			f := File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content)}
			if _, _, err := c.Fetch(t.Context(), f, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", s.content)
			if len(*notes) != 1 || !strings.Contains((*notes)[0], "nothing came for 200ms; trying again") {
				t.Errorf("noted %q", *notes)
			}
			if s.bytes() != size {
				t.Errorf("%d bytes were served, want %d", s.bytes(), size)
			}
			s.misbehave = func(_ int, w http.ResponseWriter, r *http.Request) bool { stall(w, r); return true }
			c.Idle = 50 * time.Millisecond
			_, _, err := c.Fetch(t.Context(), f, t.TempDir())
			wantError(t, err, "nothing came for 50ms")
		})
	}
}

// The token goes to the endpoint and nowhere else: not to another port of the same host, and not along
// with a redirect. The range does.
func TestToken(t *testing.T) {
	content := pattern(size)
	cdn, hub := serve(t, content), serve(t, nil)
	cdn.misbehave = once(func(w http.ResponseWriter, _ *http.Request) { cdn.part(w, 1000) })
	hub.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/w.bin", http.StatusTemporaryRedirect) // to itself, as for a renamed model
		} else {
			http.Redirect(w, r, cdn.URL+"/signed?signature=abc", http.StatusFound)
		}
		return true
	}
	c, notes := client(hub)
	dir := t.TempDir()
	if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: hub.URL + "/old", Size: size, SHA256: sum256(content)}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", content)
	if got, want := cdn.ranges(), []string{"", "bytes=1000-"}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
	for _, r := range cdn.asked {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("the other host got Authorization %q", got)
		}
	}
	if len(hub.asked) != 4 {
		t.Errorf("%d requests to the hub, want 4", len(hub.asked))
	}
	for _, r := range hub.asked {
		if got := r.Header.Get("Authorization"); got != "Bearer hf_secret" {
			t.Errorf("%s: the hub got Authorization %q", r.URL, got)
		}
	}
	if strings.Contains(strings.Join(*notes, ""), "signature") {
		t.Errorf("noted %q, with a signature", *notes)
	}

	// A mirror of OpenAI's archives is not the endpoint.
	mirror := serve(t, nil)
	c, _ = client(hub)
	c.Archives, c.archives = mirror.URL, ""
	f, _ := c.Archive("ViT-B/32")
	_, _, err := c.Fetch(t.Context(), f, t.TempDir())
	wantError(t, err, "got 0 bytes")
	for _, r := range mirror.asked {
		if got := r.Header.Get("Authorization"); got != "" || r.URL.Path != "/"+f.SHA256+"/ViT-B-32.pt" {
			t.Errorf("%s: the mirror got Authorization %q", r.URL.Path, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://hub.co", "https://HUB.co:443/x/y?z", true},
		{"https://hub.co/base", "https://user:pass@hub.co/", true},
		{"http://hub.co", "http://hub.co:80", true},
		{"https://hub.co", "http://hub.co", false},
		{"https://hub.co", "https://hub.co:8443", false},
		{"https://hub.co", "https://cdn.hub.co", false},
		{"https://hub.co", "https://hub.co.evil.org", false},
		{"https://hub.co", "https://hub.co@evil.org", false},
	} {
		if got := origin(c.a) == origin(c.b); got != c.same {
			t.Errorf("%s and %s: same is %v, want %v", c.a, c.b, got, c.same)
		}
	}
	if origin("nonsense") != "" || origin("%") != "" {
		t.Error("what is no address has an origin")
	}
	if got, want := redacted("https://me:secret@hub.co/x?signature=1#y"), "https://me:xxxxx@hub.co/x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// From https nothing leads to http.
func TestNoDowngrade(t *testing.T) {
	plain := serve(t, pattern(size))
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer secure.Close()
	c, _ := client(plain)
	f := File{Name: "w.bin", URL: secure.URL, Size: -1}
	_, _, err := c.Fetch(t.Context(), f, t.TempDir())
	wantError(t, err, "certificate")
	c, _ = client(plain)
	c.base = secure.Client().Transport
	_, _, err = c.Fetch(t.Context(), f, t.TempDir())
	wantError(t, err, "redirected from https to http://127.0.0.1")
	if n := len(plain.asked); n != 0 {
		t.Errorf("%d requests over http, want none", n)
	}
}

// Many who download the same file at once get it whole, and it is downloaded once.
func TestConcurrent(t *testing.T) {
	s := serve(t, pattern(size))
	s.misbehave = func(n int, _ http.ResponseWriter, _ *http.Request) bool {
		time.Sleep(50 * time.Millisecond)
		return false
	}
	dir := t.TempDir()
	var had, waited int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, notes := client(s)
			_, h, err := c.Fetch(context.Background(), File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content)}, dir)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if h {
				had++
			}
			if strings.Contains(strings.Join(*notes, ""), "waiting for another process") {
				waited++
			}
		})
	}
	wg.Wait()
	wantFile(t, dir, "w.bin", s.content)
	if had != 7 || waited == 0 || s.bytes() != size {
		t.Errorf("%d had it, %d waited, %d bytes were served; want 7, some, %d", had, waited, s.bytes(), size)
	}

	// Who waits can be interrupted.
	c, _ := client(s)
	unlock, err := c.lock(t.Context(), filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := c.Fetch(ctx, File{Name: "x", URL: s.URL, Size: size}, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	unlock()
	if got := ls(t, dir); len(got) != 1 {
		t.Errorf("directory has %q, want w.bin alone", got)
	}
}

func TestOverwrite(t *testing.T) {
	s := serve(t, pattern(size))
	dir := t.TempDir()
	path := filepath.Join(dir, "w.bin")
	mine := []byte("mine")
	os.WriteFile(path, mine, 0o666)
	f := File{Name: "w.bin", URL: s.URL, Size: -1, SHA256: sum256(s.content)}
	c, _ := client(s)
	_, _, err := c.Fetch(t.Context(), f, dir)
	wantError(t, err, path+" is there and is another", "SHA-256 is "+sum256(mine), "want "+f.SHA256)
	f.Size = size
	_, _, err = c.Fetch(t.Context(), f, dir)
	wantError(t, err, "size is 4, want 300000")
	wantFile(t, dir, "w.bin", mine)

	// A download that fails leaves it.
	c.Overwrite = true
	s.misbehave = func(_ int, w http.ResponseWriter, _ *http.Request) bool { w.Write(make([]byte, size)); return true }
	_, _, err = c.Fetch(t.Context(), f, dir)
	wantError(t, err, "SHA-256 is")
	wantFile(t, dir, "w.bin", mine)

	s.misbehave = nil
	if _, had, err := c.Fetch(t.Context(), f, dir); err != nil || had {
		t.Fatalf("got %v, %v", had, err)
	}
	wantFile(t, dir, "w.bin", s.content)
}

func TestDisk(t *testing.T) {
	s := serve(t, pattern(size))
	c, _ := client(s)
	dir := t.TempDir()
	f := File{Name: "sub/w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content)}
	os.WriteFile(filepath.Join(dir, "sub"), nil, 0o666)
	_, _, err := c.Fetch(t.Context(), f, dir) // a file where a directory should be
	wantError(t, err, filepath.Join(dir, "sub"))
	os.Remove(filepath.Join(dir, "sub"))
	os.MkdirAll(filepath.Join(dir, "sub", "w.bin"), 0o777)
	_, _, err = c.Fetch(t.Context(), f, dir)
	wantError(t, err, "is there and is no file (d")
	os.Remove(filepath.Join(dir, "sub", "w.bin"))
	os.Mkdir(filepath.Join(dir, "sub", "w.bin.partial"), 0o777)
	_, _, err = c.Fetch(t.Context(), f, dir)
	wantError(t, err, "w.bin.partial is there and is no file (d")
	if n := len(s.asked); n != 0 {
		t.Errorf("%d requests, want none", n)
	}

	// A full disk: what was written counts, and nobody tries again.
	wrote := 0
	err = appendAll(full{10}, bytes.NewReader(s.content), func(n int) { wrote += n })
	if !errors.Is(err, errFull) || !errors.As(err, new(permanent)) || wrote != 10 || !strings.Contains(err.Error(), "writing to disk: ") {
		t.Errorf("got %v after %d bytes, want a permanent error after 10", err, wrote)
	}
}

// A full disk has some bytes left.
type full struct{ left int }

var errFull = errors.New("no space left on device")

func (f full) Write(p []byte) (int, error) { return min(f.left, len(p)), errFull }

func TestUnreachable(t *testing.T) {
	s := serve(t, nil)
	s.Close()
	c, notes := client(s)
	c.Tries = 9
	dir := t.TempDir()
	sum := sum256(nil)
	_, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL + "/w.bin", Size: -1, SHA256: sum}, dir)
	wantError(t, err, "refused", "off line? fetch "+s.URL+"/w.bin by hand, to "+filepath.Join(dir, "w.bin"), "must have sha256:"+sum)
	if len(*notes) != 1 { // said after the second try
		t.Errorf("noted %q, want one line", *notes)
	}
	if got := ls(t, dir); len(got) > 0 {
		t.Errorf("directory has %q, want nothing", got)
	}
}

// What other software has is copied, and verified like the rest.
func TestCached(t *testing.T) {
	s := serve(t, pattern(size))
	for name, cached := range map[string][]byte{"right": s.content, "wrong": make([]byte, size), "absent": nil} {
		t.Run(name, func(t *testing.T) {
			s.asked = nil
			c, _ := client(s)
			dir, path := t.TempDir(), filepath.Join(t.TempDir(), "cached")
			if cached != nil {
				os.WriteFile(path, cached, 0o666)
			}
			if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: size, SHA256: sum256(s.content), cached: path}, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", s.content)
			if n, want := len(s.asked), map[bool]int{true: 0, false: 1}[name == "right"]; n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		})
	}
}

// Of a file of which nothing is known the hub says the hash, in the answer or the redirect.
func TestLearn(t *testing.T) {
	content := pattern(size)
	for _, c := range []struct {
		name, etag string
		redirect   bool
		commit     string
		want       string
	}{
		{"SHA-256", `"` + sum256(content) + `"`, true, "c0ffee", ""},
		{"SHA-256, wrong", `"` + sum256(nil) + `"`, true, "c0ffee", "SHA-256 is " + sum256(content)},
		{"blob", `"` + blob(content) + `"`, false, "c0ffee", ""},
		{"blob, weak", `W/"` + blob(content) + `"`, false, "c0ffee", ""},
		{"blob, wrong", `"` + blob(nil) + `"`, false, "c0ffee", "git's SHA-1 is " + blob(content)},
		{"another server's ETag", `"` + blob(nil) + `"`, false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cdn, hub := serve(t, content), serve(t, content)
			hub.misbehave = func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if c.commit != "" {
					w.Header().Set("X-Repo-Commit", c.commit)
				}
				if c.redirect {
					w.Header().Set("X-Linked-Etag", c.etag)
					w.Header().Set("X-Linked-Size", fmt.Sprint(size))
					http.Redirect(w, r, cdn.URL, http.StatusFound)
					return true
				}
				hub.etag = c.etag
				w.Header().Set("ETag", c.etag)
				return false
			}
			cl, _ := client(hub)
			dir := t.TempDir()
			_, _, err := cl.Fetch(t.Context(), File{Name: "w.bin", URL: hub.URL, Size: -1}, dir)
			if c.want != "" {
				wantError(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", content)
		})
	}
}

// A branch moves on while a file of it is downloaded: what the hub says last counts.
func TestLearnChanged(t *testing.T) {
	first, second := pattern(size), bytes.Repeat([]byte("new"), size/3)
	for name, ranges := range map[string]bool{"ranges": true, "no ranges": false} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, first)
			s.misbehave = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Del("If-Range"); !ranges {
					r.Header.Del("Range")
				}
				w.Header().Set("X-Repo-Commit", "c0ffee")
				w.Header().Set("X-Linked-Etag", sum256(s.content))
				if n == 0 {
					defer func() { s.content = second }()
					s.part(w, 1000)
				}
				return false
			}
			c, _ := client(s)
			dir := t.TempDir()
			if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "w.bin", second)
		})
	}
}

// What is a part of another file is not gone on from, whatever the hub said of that one.
func TestPartialOfAnother(t *testing.T) {
	s := serve(t, pattern(size))
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "w.bin.partial"), make([]byte, 10), 0o666)
	os.WriteFile(filepath.Join(dir, "w.bin.partial.json"), fmt.Appendf(nil, `{"url":"http://elsewhere","etag":"\"v1\"","digest":"sha256:%s","size":%d}`, sum256(nil), size), 0o666)
	c, _ := client(s)
	if _, _, err := c.Fetch(t.Context(), File{Name: "w.bin", URL: s.URL, Size: -1}, dir); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dir, "w.bin", s.content)
	if got, want := s.ranges(), []string{""}; !slices.Equal(got, want) {
		t.Errorf("asked for %q, want %q", got, want)
	}
}

// A folder that cannot be written in is said in the names that a user knows.
func TestUnlocked(t *testing.T) {
	path := filepath.Join("models", "w.bin")
	err := unlocked(path, &fs.PathError{Op: "open", Path: path + lockSuffix, Err: fs.ErrPermission})
	if want := "hub: " + path + ": cannot write in the folder models: permission denied"; err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %q, want %q", err, want)
	}
	if err := unlocked(path, context.Canceled); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "cannot write") {
		t.Errorf("got %q, want that it was cancelled", err)
	}
}
