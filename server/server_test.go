package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/vitago/vitago/clip"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/fetch"
	"github.com/vitago/vitago/server/status"
)

// demoEngine has the model in the program.
var demoEngine = engine.Config{Models: []engine.Model{{Name: "demo", Path: "builtin:demo"}}}

// A running server is one on a port of this machine, with some routes beside its own.
type running struct {
	*Server
	url, addr string
	stop      context.CancelFunc
	done      chan error    // what Serve returned
	entered   chan struct{} // a request is in POST /test/wait, and has been read
	release   chan struct{} // what it waits for
	log       *logged
	ended     chan error // how the body of POST /test/wait ended, or the context
}

// logged is a log that tests read.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// reset forgets what was logged.
func (l *logged) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = bytes.Buffer{}
}

// lines returns the entries with a message.
func (l *logged) lines(t *testing.T, message string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log: %s: %v", line, err)
		}
		if m["msg"] == message {
			all = append(all, m)
		}
	}
	return all
}

func newServer(t testing.TB, c Config) *running {
	t.Helper()
	r := &running{log: &logged{}, entered: make(chan struct{}, 1000), release: make(chan struct{}), done: make(chan error, 1), ended: make(chan error, 1000)}
	c.Log = slog.New(slog.NewJSONHandler(r.log, nil))
	c.Engine = demoEngine
	var err error
	if r.Server, err = New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	r.mux.HandleFunc("POST /test/length", func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			status.Write(w, req, err)
			return
		}
		fmt.Fprintf(w, "%d bytes", len(b))
	})
	r.mux.HandleFunc("POST /test/wait", func(w http.ResponseWriter, req *http.Request) {
		_, err := io.Copy(io.Discard, req.Body)
		if err != nil {
			r.ended <- err
			status.Write(w, req, err)
			return
		}
		r.entered <- struct{}{}
		select {
		case <-r.release:
			fmt.Fprint(w, "released")
		case <-req.Context().Done():
			err := req.Context().Err()
			r.ended <- err
			r.refuse(w, req, err)
		}
	})
	r.mux.HandleFunc("POST /test/panic", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery != "" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		panic("oh")
	})
	r.mux.HandleFunc("POST /test/internal", func(w http.ResponseWriter, req *http.Request) {
		status.Write(w, req, errors.New("cannot read secret/place"))
	})
	return r
}

// start serves until the test ends, and then wants no request to be lost, and no goroutine to be left.
func start(t *testing.T, c Config) *running {
	t.Helper()
	r := newServer(t, c)
	l, err := Listen(c, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l[0].Addr().String()
	r.url = "http://" + r.addr
	if c.Certificate != "" {
		r.url = "https://" + r.addr
	}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() {
		r.done <- r.Serve(ctx, l...)
		close(r.done)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// client is one with connections of its own, by a version of HTTP: 1, or 2 without TLS, or what TLS agrees upon.
func client(t testing.TB, version int, config *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols), ExpectContinueTimeout: time.Minute}
	switch version {
	case 1:
		tr.Protocols.SetHTTP1(true)
	case 2:
		tr.Protocols.SetHTTP2(true)
		tr.Protocols.SetUnencryptedHTTP2(true)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask sends a request and returns the answer and its body.
func ask(t testing.TB, c *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res, string(b)
}

// goroutines returns how many there are when nothing begins or ends any more.
func goroutines() int {
	n := runtime.NumGoroutine()
	for same := 0; same < 5; same++ {
		time.Sleep(2 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, same = now, 0
		}
	}
	return n
}

// rest waits until there are no more goroutines than at first. It closes connections of the clients until then: one whose request
// was broken off is idle a moment later.
func rest(t *testing.T, first int, clients ...*http.Client) {
	t.Helper()
	for range 200 {
		for _, c := range clients {
			c.CloseIdleConnections()
		}
		if runtime.NumGoroutine() <= first {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b := make([]byte, 1<<20)
	t.Errorf("%d goroutines are left, there were %d:\n%s", runtime.NumGoroutine(), first, b[:runtime.Stack(b, true)])
}

// many is a body without a length that is known.
type many struct{ io.Reader }

func TestAnswers(t *testing.T) {
	s := start(t, Config{MaxBody: 1000})
	for _, version := range []int{1, 2} {
		c := client(t, version, nil)
		for _, row := range []struct {
			method, path string
			body         io.Reader
			header       []string
			status       int
			contains     string
		}{
			{"POST", "/test/length", strings.NewReader("12345"), nil, 200, "5 bytes"},
			{"POST", "/test/length", nil, nil, 200, "0 bytes"},
			{"POST", "/test/length", many{strings.NewReader("12345")}, nil, 200, "5 bytes"},
			{"POST", "/test/length", strings.NewReader(strings.Repeat("x", 1000)), nil, 200, "1000 bytes"},
			{"POST", "/test/length", strings.NewReader(strings.Repeat("x", 1001)), nil, 413, "larger than 1000 bytes"},
			{"POST", "/test/length", many{strings.NewReader(strings.Repeat("x", 1001))}, nil, 413, "larger than 1000 bytes"},
			{"POST", "/test/length", strings.NewReader("12345"), []string{"Expect", "100-continue"}, 200, "5 bytes"},
			{"POST", "/test/length", strings.NewReader(strings.Repeat("x", 1001)), []string{"Expect", "100-continue"}, 413, "too_large"},
			{"POST", "/v1/finetuning/runs/Watch:stop", strings.NewReader(strings.Repeat("x", 1001)), nil, 413, "larger than 1000 bytes"},
			{"POST", "/test/length", strings.NewReader("12345"), []string{"Content-Encoding", "identity"}, 200, "5 bytes"},
			{"POST", "/test/length", strings.NewReader("12345"), []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
			{"GET", "/test/length", nil, nil, 405, "method_not_allowed"},
			{"GET", "/nothing", nil, nil, 404, "not_found"},
			{"POST", "/nothing", strings.NewReader("12345"), nil, 404, "not_found"},
			{"BREW", "/healthz", nil, nil, 405, "method_not_allowed"},
			{"GET", "/healthz", nil, nil, 200, "ok"},
			{"HEAD", "/healthz", nil, nil, 200, ""},
			{"GET", "/readyz", nil, nil, 200, "ready"},
			{"POST", "/test/internal", strings.NewReader("x"), nil, 500, "under the id of the request"},
			{"POST", "/test/panic", strings.NewReader("x"), nil, 500, "internal_error"},
			{"GET", "/healthz", nil, []string{"Host", "evil.example"}, 403, "does not go by the name"},
			{"GET", "/healthz", nil, []string{"Host", "localhost:8080"}, 200, "ok"},
			{"POST", "/test/length", strings.NewReader("1"), []string{"Origin", "https://evil.example"}, 403, "other sites"},
			{"POST", "/test/length", strings.NewReader("1"), []string{"Sec-Fetch-Site", "cross-site"}, 403, "other sites"},
			{"POST", "/test/length", strings.NewReader("1"), []string{"Sec-Fetch-Site", "same-origin"}, 200, "1 bytes"},
		} {
			res, body := ask(t, c, row.method, s.url+row.path, row.body, row.header...)
			if res.StatusCode != row.status || !strings.Contains(body, row.contains) || res.ProtoMajor != version {
				t.Errorf("HTTP/%d %s %s: %d %s, want %d and %q", version, row.method, row.path, res.StatusCode, body, row.status, row.contains)
			}
			if res.Header.Get("X-Request-Id") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: header is %v", row.method, row.path, res.Header)
			}
			if row.status >= 400 {
				var e status.Body
				if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Message == "" || e.Error.Code == "" || res.Header.Get("X-Should-Retry") != "false" {
					t.Errorf("%s %s: %s with %v, want JSON as OpenAI has it, not to be sent again", row.method, row.path, body, res.Header)
				}
			}
			if row.status == 405 && res.Header.Get("Allow") == "" {
				t.Errorf("%s %s: no Allow", row.method, row.path)
			}
			if row.status == 500 && strings.Contains(body, "secret") {
				t.Errorf("%s: the client reads %s", row.path, body)
			}
		}
		// Half an answer does not look whole.
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/test/panic?begun", nil)
		if res, err := c.Do(req); err == nil {
			if _, err = io.ReadAll(res.Body); err == nil {
				t.Errorf("HTTP/%d: an answer that broke off looks whole", version)
			}
			res.Body.Close()
		}
	}
	if log := s.log.String(); !strings.Contains(log, "secret/place") || !strings.Contains(log, "server_test.go") || !strings.Contains(log, `"panic":"oh"`) {
		t.Errorf("the log has no reason, or no stack: %s", log)
	}
}

func TestRequestID(t *testing.T) {
	s := start(t, Config{})
	c := client(t, 1, nil)
	for given, kept := range map[string]bool{"abc-1.2_3:4/5": true, "": false, "a b": false, strings.Repeat("a", 129): false, "é": false, `"}`: false} {
		res, _ := ask(t, c, "GET", s.url+"/healthz", nil, "X-Request-Id", given)
		if got := res.Header.Get("X-Request-Id"); (got == given) != kept || len(got) < 10 {
			t.Errorf("id %q became %q", given, got)
		}
	}
}

// TestLog: what is secret is not in it.
func TestLog(t *testing.T) {
	tokens := write(t, "tokens", "alice 0123456789abcdefXYZ\n")
	s := start(t, Config{Tokens: tokens})
	c := client(t, 1, nil)
	ask(t, c, "POST", s.url+"/test/length?key=queried", strings.NewReader("in the body"), "Authorization", "Bearer 0123456789abcdefXYZ", "X-Request-Id", "r1")
	ask(t, c, "POST", s.url+"/test/length?key=queried", strings.NewReader("in the body"), "Authorization", "Bearer wrong-wrong-wrong", "X-Request-Id", "r2")
	ask(t, c, "GET", s.url+"/healthz", nil)
	s.stop()
	<-s.done
	requests := s.log.lines(t, "request")
	if len(requests) != 2 {
		t.Fatalf("the log has %v, want two requests", requests)
	}
	for i, want := range []map[string]any{
		{"request_id": "r1", "status": 200.0, "client": "alice", "method": "POST", "path": "/test/length", "bytes_in": 11.0, "bytes_out": 8.0, "level": "INFO"},
		{"request_id": "r2", "status": 401.0, "error": "invalid_token", "client": nil},
	} {
		for name, value := range want {
			if requests[i][name] != value {
				t.Errorf("request %d: %s is %v, want %v", i, name, requests[i][name], value)
			}
		}
	}
	for _, secret := range []string{"queried", "0123456789", "wrong-wrong", "in the body"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, s.log)
		}
	}
}

func TestDeadline(t *testing.T) {
	s := start(t, Config{})
	c := client(t, 1, nil)
	for _, header := range [][]string{{"X-Request-Timeout", "0.01"}, {"Grpc-Timeout", "10m"}, {"X-Stainless-Timeout", "0.01"}, {"X-Envoy-Expected-Rq-Timeout-Ms", "10"}, {"Request-Timeout", "0.01s"}} {
		res, body := ask(t, c, "POST", s.url+"/test/wait", strings.NewReader("x"), header...)
		if err := <-s.ended; res.StatusCode != http.StatusGatewayTimeout || !strings.Contains(body, "deadline_exceeded") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %d %s, and the handler had %v", header, res.StatusCode, body, err)
		}
	}
	for header, want := range map[string]time.Duration{"": forever, "x": forever, "-1": forever, "0": forever, "NaN": forever, "Inf": forever, "1e300": forever, "1.5": 1500 * time.Millisecond} {
		if got := wanted(http.Header{"X-Request-Timeout": {header}}); got != want {
			t.Errorf("X-Request-Timeout: %s is %v, want %v", header, got, want)
		}
	}
	for header, want := range map[string]time.Duration{"5S": 5 * time.Second, "1H": time.Hour, "20u": 20 * time.Microsecond, "S": forever, "5": forever, "5x": forever} {
		if got := wanted(http.Header{"Grpc-Timeout": {header}}); got != want {
			t.Errorf("Grpc-Timeout: %s is %v, want %v", header, got, want)
		}
	}
}

// TestGone: who goes away in the middle of an upload, or while it is computed, holds nothing.
func TestGone(t *testing.T) {
	s := start(t, Config{})
	first := goroutines()
	var places sync.WaitGroup
	s.reserve = func(context.Context, int64) (func(), error) {
		places.Add(1)
		return places.Done, nil
	}
	for range 20 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /test/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", 1000))
		conn.Close()
		if err := <-s.ended; !errors.Is(err, status.ErrBody) {
			t.Errorf("in mid-upload: %v, want %v", err, status.ErrBody)
		}
	}
	var clients []*http.Client
	for _, version := range []int{1, 2} {
		c := client(t, version, nil)
		clients = append(clients, c)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/test/wait", strings.NewReader("x"))
			go func() {
				<-s.entered
				cancel()
			}()
			if res, err := c.Do(req); err == nil {
				res.Body.Close()
				t.Errorf("HTTP/%d: an answer to who has gone", version)
			}
			if err := <-s.ended; !errors.Is(err, context.Canceled) {
				t.Errorf("HTTP/%d: while it is computed: %v, want %v", version, err, context.Canceled)
			}
		}
	}
	places.Wait()
	rest(t, first, clients...)
	if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) || !strings.Contains(log, `"status":499`) {
		t.Errorf("the log: %s", log)
	}
}

// TestSlow: a body that stands still, or trickles, is cut; one that comes steadily is not.
func TestSlow(t *testing.T) {
	s := start(t, Config{Stall: 50 * time.Millisecond})
	for name, send := range map[string]func(io.Writer){
		"stands still": func(io.Writer) {},
		"trickles": func(w io.Writer) {
			for range 400 {
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		},
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /test/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
		go send(conn)
		b, err := io.ReadAll(conn)
		if conn.Close(); !strings.HasPrefix(string(b), "HTTP/1.1 400 ") || !strings.Contains(string(b), "incomplete_body") {
			t.Errorf("a body that %s: %s (%v)", name, b, err)
		}
		if err := <-s.ended; !errors.Is(err, status.ErrBody) {
			t.Errorf("a body that %s: %v", name, err)
		}
	}
	// The time of a computation is not that of its body: here it lasts longer than the body may stand still.
	c := client(t, 1, nil)
	go func() {
		<-s.entered
		time.Sleep(120 * time.Millisecond)
		s.release <- struct{}{}
	}()
	if res, body := ask(t, c, "POST", s.url+"/test/wait", strings.NewReader("x")); res.StatusCode != http.StatusOK || body != "released" {
		t.Errorf("a long computation: %d %s", res.StatusCode, body)
	}
}

// TestRaw: what no client of HTTP sends.
func TestRaw(t *testing.T) {
	s := start(t, Config{Stall: 100 * time.Millisecond})
	first := goroutines()
	const host = "Host: localhost\r\n"
	for name, row := range map[string]struct{ send, want string }{
		"nothing":           {"", ""},
		"no HTTP":           {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", "HTTP/1.1 400 "},
		"no host":           {"GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		"HTTP/1.0":          {"GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "},
		"large header":      {"GET /healthz HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"negative length":   {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n", "HTTP/1.1 400 "},
		"two lengths":       {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 400 "},
		"length and chunks": {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "HTTP/1.1 "},
		"bad chunk":         {"POST /test/length HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
		"short":             {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\nxx", "HTTP/1.1 400 "},
		"huge length":       {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: 9000000000000000000\r\n\r\nxx", "HTTP/1.1 413 "},
		"pipeline": {"POST /test/length HTTP/1.1\r\n" + host + "Content-Length: 2\r\n\r\nxxPOST /test/length HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nxxxGET /healthz HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n",
			"2 bytes"},
		"long path":     {"GET /" + strings.Repeat("a", 10000) + " HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n", "HTTP/1.1 404 "},
		"path":          {"GET /../../etc/passwd HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n", "HTTP/1.1 "},
		"absolute":      {"GET http://evil.example/healthz HTTP/1.1\r\nConnection: close\r\n" + host + "\r\n", "HTTP/1.1 403 "},
		"CONNECT":       {"CONNECT evil.example:443 HTTP/1.1\r\nConnection: close\r\nHost: evil.example:443\r\n\r\n", "HTTP/1.1 403 "},
		"upgrade":       {"GET /healthz HTTP/1.1\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n" + host + "\r\n", "HTTP/1.1 200 "},
		"broken HTTP/2": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\xff", 100), ""},
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, row.send)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(conn)
		conn.Close()
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() || !strings.Contains(string(b), row.want) || strings.Contains(string(b), "HTTP/1.1 500") {
			t.Errorf("%s: %.300q (%v), want %q", name, b, err, row.want)
		}
		if name == "pipeline" && (strings.Count(string(b), "HTTP/1.1 200 ") != 3 || !strings.Contains(string(b), "3 bytes")) {
			t.Errorf("pipeline: %s", b)
		}
	}
	rest(t, first)
	if strings.Contains(s.log.String(), `"panic"`) {
		t.Errorf("the log: %s", s.log)
	}
}

// TestBusy: who is refused before the body is read sees why, whatever is still being sent.
func TestBusy(t *testing.T) {
	cert, key, pool := certificate(t, "first")
	large, some := bytes.Repeat([]byte("x"), 20<<20), 4<<20
	for name, c := range map[string]Config{"plain": {}, "TLS": {Certificate: cert, Key: key}} {
		s := start(t, c)
		var asked []int64
		s.reserve = func(_ context.Context, n int64) (func(), error) {
			asked = append(asked, n)
			return nil, fmt.Errorf("engine: %w", engine.ErrBusy)
		}
		for _, version := range []int{1, 2} {
			cl := client(t, version, &tls.Config{RootCAs: pool})
			for kind, header := range map[string][]string{"": nil, "continue": {"Expect", "100-continue"}} {
				body := &counted{Reader: bytes.NewReader(large[:some])}
				res, text := ask(t, cl, "POST", s.url+"/test/length", io.MultiReader(body), header...)
				if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" || res.Header.Get("X-Should-Retry") != "" || !strings.Contains(text, "overloaded") || res.ProtoMajor != version {
					t.Errorf("%s HTTP/%d %s: %d %v %s", name, version, kind, res.StatusCode, res.Header, text)
				}
				if kind == "continue" && body.n > 0 && version == 1 {
					t.Errorf("%s HTTP/%d: %d bytes were sent without being asked for", name, version, body.n)
				}
			}
		}
		if name == "TLS" {
			continue
		}
		// A client that reads nothing before it has sent all, as Python's and curl without 100-continue.
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /test/length HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", len(large))
		if n, err := conn.Write(large); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
		b, err := io.ReadAll(conn)
		if conn.Close(); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 429 ") || !strings.Contains(string(b), "Connection: close") {
			t.Errorf("a client that sends first: %.200s (%v)", b, err)
		}
		if n := asked[len(asked)-1]; n != int64(len(large)) {
			t.Errorf("a place was asked for %d bytes, want %d", n, len(large))
		}
	}
}

type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

// TestFlood: of many at once, as many as there are places are computed, the others are told to come again, and nothing is left.
func TestFlood(t *testing.T) {
	s := start(t, Config{})
	first := goroutines()
	places := make(chan struct{}, 4)
	s.reserve = func(context.Context, int64) (func(), error) {
		select {
		case places <- struct{}{}:
			return func() { <-places }, nil
		default:
			return nil, engine.ErrBusy
		}
	}
	clients := []*http.Client{client(t, 1, nil), client(t, 2, nil)}
	var all sync.WaitGroup
	codes := make(chan int, 300)
	for i := range 300 {
		all.Go(func() {
			res, _ := ask(t, clients[i%2], "POST", s.url+"/test/wait", bytes.NewReader(make([]byte, 10000)))
			codes <- res.StatusCode
		})
	}
	for range 296 { // those who were told to come again
		if code := <-codes; code != 429 {
			t.Errorf("status %d, want 429", code)
		}
	}
	close(s.release)
	all.Wait()
	for range 4 {
		if code := <-codes; code != 200 {
			t.Errorf("status %d, want 200", code)
		}
	}
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	rest(t, first)
}

// TestDrain: at the end readiness goes first, then nobody is let in, and what is in flight is answered.
func TestDrain(t *testing.T) {
	first := goroutines()
	s := newServer(t, Config{Grace: 300 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	go func() { s.done <- s.Serve(ctx, l) }()
	var all sync.WaitGroup
	clients := []*http.Client{client(t, 1, nil), client(t, 2, nil)}
	for i := range 10 {
		all.Go(func() {
			if res, body := ask(t, clients[i%2], "POST", s.url+"/test/wait", strings.NewReader("x")); res.StatusCode != http.StatusOK || body != "released" {
				t.Errorf("in flight: %d %s", res.StatusCode, body)
			}
		})
	}
	for range 10 {
		<-s.entered
	}
	stop()
	for s.Ready() == nil {
		runtime.Gosched()
	}
	if res, body := ask(t, clients[0], "GET", s.url+"/readyz", nil); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "shutting down") {
		t.Errorf("/readyz: %d %s", res.StatusCode, body)
	}
	if res, _ := ask(t, clients[0], "GET", s.url+"/healthz", nil); res.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d", res.StatusCode)
	}
	if res, _ := ask(t, clients[0], "POST", s.url+"/test/length", strings.NewReader("late")); res.StatusCode != http.StatusOK {
		t.Errorf("in the grace: %d", res.StatusCode)
	}
	for { // until the listener is closed
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case err := <-s.done:
		t.Fatalf("Serve returned with requests in flight: %v", err)
	default:
	}
	close(s.release)
	all.Wait()
	if err := <-s.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for _, c := range clients {
		c.CloseIdleConnections()
	}
	rest(t, first)
}

// TestDrainDeadline: what is not answered in time is cut, and Serve says so.
func TestDrainDeadline(t *testing.T) {
	first := goroutines()
	s := newServer(t, Config{Drain: 50 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	go func() { s.done <- s.Serve(ctx, l) }()
	c := client(t, 1, nil)
	over := make(chan struct{})
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+"/test/wait", strings.NewReader("x"))
		if res, err := c.Do(req); err == nil {
			res.Body.Close()
		}
		close(over)
	}()
	<-s.entered
	stop()
	if err := <-s.done; err == nil || !strings.Contains(err.Error(), "1 request is not answered after 50ms") {
		t.Errorf("Serve: %v", err)
	}
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler had %v", err)
	}
	<-over
	rest(t, first, c)
}

// TestListenerFails: Serve ends with the error of a listener.
func TestListenerFails(t *testing.T) {
	s := newServer(t, Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want %v", err, net.ErrClosed)
	}
}

func TestMetrics(t *testing.T) {
	s := start(t, Config{})
	c := client(t, 1, nil)
	ask(t, c, "POST", s.url+"/test/length", strings.NewReader("x"))
	ask(t, c, "GET", s.url+"/nothing/of/the/kind", nil)
	ask(t, c, "BREW", s.url+"/healthz", nil)
	s.hooks(engine.Hooks{}).Batch("demo", 3, time.Millisecond, time.Second)
	s.hooks(engine.Hooks{}).Load("demo", time.Second, nil)
	s.hooks(engine.Hooks{}).Unload("demo")
	_, body := ask(t, c, "GET", s.url+"/metrics", nil)
	for _, want := range []string{
		`vitago_http_requests_total{method="POST",route="POST /test/length",status="200"} 1`,
		`vitago_http_requests_total{method="GET",route="none",status="404"} 1`,
		`vitago_http_requests_total{method="other",route="none",status="405"} 1`,
		`vitago_http_request_seconds_count{route="POST /test/length"} 1`,
		`vitago_errors_total{error="not_found"} 1`,
		`vitago_batch_items_bucket{model="demo",le="4"} 1`,
		`vitago_batch_seconds_count{model="demo"} 1`,
		`vitago_batch_wait_seconds_count{model="demo"} 1`,
		`vitago_model_loads_total{model="demo",result="ok"} 1`,
		`vitago_model_unloads_total{model="demo"} 1`,
		"vitago_http_in_flight 1", "vitago_ready 1", "vitago_build_info{", "go_goroutines",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}

func testLog(l *logged) *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// TestLarge: a body without a length that turns out to be too large gets its answer, although the client reads nothing before it has sent all.
func TestLarge(t *testing.T) {
	s := start(t, Config{MaxBody: 1 << 20})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /test/length HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := "100000\r\n" + strings.Repeat("x", 1<<20) + "\r\n"
	for i := range 10 {
		if _, err := io.WriteString(conn, chunk); err != nil {
			t.Fatalf("chunk %d: %v", i, err)
		}
	}
	_, _ = io.WriteString(conn, "0\r\n\r\n")
	b, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 413 ") || !strings.Contains(string(b), "larger than 1048576 bytes") || !strings.Contains(string(b), "Connection: close") {
		t.Errorf("%s (%v)", b, err)
	}
}

// TestLevel: what a client has sent is no error of the server, whichever status it has, and what the server did wrong is one, of gRPC too,
// whose status is always 200.
func TestLevel(t *testing.T) {
	s := newServer(t, Config{})
	defer s.engine.Close(t.Context())
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	for _, row := range []struct {
		status  int
		err     error
		aborted bool
		want    string
	}{
		{200, nil, false, "INFO"},
		{200, errors.New("cannot read"), false, "ERROR"},
		{500, errors.New("cannot read"), false, "ERROR"},
		{500, nil, false, "ERROR"},
		{200, nil, true, "ERROR"},
		{502, fetch.ErrFailed, false, "INFO"},
		{504, fetch.ErrTimeout, false, "INFO"},
		{504, context.DeadlineExceeded, false, "INFO"},
		{503, engine.ErrClosed, false, "INFO"},
		{200, fmt.Errorf("engine: %w", clip.ErrImage), false, "INFO"},
	} {
		s.log.reset()
		s.tell(r, &answer{status: row.status}, &seen{}, "r1", row.err, 0, row.aborted)
		if got := s.log.lines(t, "request"); len(got) != 1 || got[0]["level"] != row.want {
			t.Errorf("status %d, error %v: %v, want %s", row.status, row.err, got, row.want)
		}
	}
}

// TestUnknownLength: a body that does not say how long it is takes room in the queue as it comes, and gives it back.
func TestUnknownLength(t *testing.T) {
	s := start(t, Config{})
	leave, err := s.engine.Reserve(t.Context(), engine.DefaultQueueBytes-2<<20)
	if err != nil {
		t.Fatal(err)
	}
	before := s.engine.Stats()
	for _, version := range []int{1, 2} {
		c := client(t, version, nil)
		res, body := ask(t, c, "POST", s.url+"/test/length", many{strings.NewReader(strings.Repeat("x", 3<<19))})
		if res.StatusCode != http.StatusOK || body != "1572864 bytes" {
			t.Errorf("HTTP/%d: a body that has room: %d %s", version, res.StatusCode, body)
		}
		for range 3 {
			res, body = ask(t, c, "POST", s.url+"/test/length", many{strings.NewReader(strings.Repeat("x", 20<<20))})
			if res.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, "overloaded") {
				t.Errorf("HTTP/%d: a body that has none: %d %s", version, res.StatusCode, body)
			}
		}
	}
	texts := vitagov1.NewTextEncodingServiceClient(dial(t, s, insecure.NewCredentials()))
	long := &vitagov1.EncodeTextsRequest{Texts: []string{strings.Repeat("x", 5<<20)}}
	if _, err := texts.EncodeTexts(t.Context(), long); grpcstatus.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "too many requests") {
		t.Errorf("gRPC: %v, want ResourceExhausted", err)
	}
	if got := s.engine.Stats(); got.Bytes != before.Bytes || got.Requests != before.Requests {
		t.Errorf("%+v, want %+v as before", got, before)
	}
	leave()
	if _, err := texts.EncodeTexts(t.Context(), long); grpcstatus.Code(err) != codes.InvalidArgument {
		t.Errorf("gRPC: %v, want that the text is too long", err)
	}
	for range 200 { // the end of a call is told before its handler has returned
		if got := s.engine.Stats(); got.Bytes == 0 && got.Requests == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%+v, want nothing", s.engine.Stats())
}
