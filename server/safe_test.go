package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/server/engine"
)

// write makes a file of a test.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate makes one that vouches for itself, of servers on this machine and of clients, with a name.
func certificate(t testing.TB, name string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return write(t, "cert.pem", string(certPEM)), write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))), pool
}

func TestTokens(t *testing.T) {
	tokens, err := parseTokens([]byte(fmt.Sprintf("\ufeff# ours\n\nalice 0123456789abcdef\r\n  fedcba9876543210  \nbob sha256:%x\n", sha256.Sum256([]byte("a token of bob's")))))
	if err != nil || tokens.Len() != 3 {
		t.Fatalf("%v: %v", tokens, err)
	}
	for token, want := range map[string]string{"0123456789abcdef": "alice", "fedcba9876543210": "line 4", "a token of bob's": "bob"} {
		if name, ok := tokens.Find(token); name != want || !ok {
			t.Errorf("%s is %q, %v, want %q", token, name, ok, want)
		}
	}
	for _, token := range []string{"", "0123456789abcde", "0123456789abcdeF", "alice", "# ours"} {
		if name, ok := tokens.Find(token); ok || name != "" {
			t.Errorf("%q is let in as %q", token, name)
		}
	}
	for file, want := range map[string]string{
		"":                                     "no tokens",
		"# nothing\n":                          "no tokens",
		"\nshort":                              "line 2: the token has 5 characters, want at least 16",
		"a b c":                                "line 1: got 3 words",
		"x sha256:00":                          "line 1: sha256: has 2 characters after it, want 64",
		"x sha256:" + strings.Repeat("g", 64):  "want 64 hexadecimal digits",
		"0123456789abcdef\nx 0123456789abcdef": "line 2: the token stands in line 1 already",
	} {
		if _, err := parseTokens([]byte(file)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "0123456789abcdef") {
			t.Errorf("%q: %v, want %q", file, err, want)
		}
	}
	if _, err := ReadTokens(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("no file: %v", err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		if os.IsNotExist(err) {
			return err
		}
		err = u.Unwrap()
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("alice 0123456789abcdef\n# x\n", "0123456789abcdef")
	f.Add("sha256:"+strings.Repeat("0", 64), "")
	f.Fuzz(func(t *testing.T, file, token string) {
		tokens, err := parseTokens([]byte(file))
		if err != nil {
			return
		}
		if _, ok := tokens.Find(token); ok && !strings.Contains(file, token) && !strings.Contains(file, "sha256:") {
			t.Errorf("%q is let in by %q", token, file)
		}
	})
}

func TestAuth(t *testing.T) {
	s := start(t, Config{Tokens: write(t, "tokens", "alice 0123456789abcdef\n")})
	c := client(t, 1, nil)
	for _, row := range []struct {
		method, path string
		header       []string
		status       int
	}{
		{"POST", "/test/length", nil, 401},
		{"POST", "/test/length", []string{"Authorization", "Bearer 0123456789abcdef"}, 200},
		{"POST", "/test/length", []string{"Authorization", "bearer  0123456789abcdef"}, 200},
		{"POST", "/test/length", []string{"Authorization", "Basic 0123456789abcdef"}, 401},
		{"POST", "/test/length", []string{"Authorization", "Bearer"}, 401},
		{"POST", "/test/length", []string{"Authorization", "Bearer "}, 401},
		{"POST", "/test/length", []string{"Authorization", "0123456789abcdef"}, 401},
		{"POST", "/test/length", []string{"X-Api-Key", "0123456789abcdef"}, 200},
		{"POST", "/test/length", []string{"Api-Key", "0123456789abcdef"}, 200},
		{"POST", "/test/length", []string{"Api-Key", "0123456789abcde"}, 401},
		{"POST", "/test/length?api_key=0123456789abcdef", nil, 401},
		{"GET", "/healthz", nil, 200},
		{"GET", "/readyz", nil, 200},
		{"GET", "/metrics", nil, 401},
		{"GET", "/metrics", []string{"Authorization", "Bearer 0123456789abcdef"}, 200},
		{"GET", "/nothing", nil, 401}, // what there is, is not told
		{"POST", "/healthz", nil, 401},
		{"GET", "/ui/static/nothing", nil, 404},
		{"GET", "/ui/other", nil, 401},
		{"GET", "/healthz", []string{"Host", "any.example"}, 200}, // a page of another site has no token
	} {
		res, body := ask(t, c, row.method, s.url+row.path, nil, row.header...)
		if res.StatusCode != row.status {
			t.Errorf("%s %s with %v: %d %s, want %d", row.method, row.path, row.header, res.StatusCode, body, row.status)
		}
		if (res.Header.Get("Www-Authenticate") != "") != (row.status == 401) {
			t.Errorf("%s %s: header %v", row.method, row.path, res.Header)
		}
	}
	admin := httptest.NewServer(s.Admin())
	defer admin.Close()
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/test/length": 404} {
		if res, _ := ask(t, c, "GET", admin.URL+path, nil); res.StatusCode != want {
			t.Errorf("admin %s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	s := start(t, Config{Origins: []string{"https://app.example"}, Hosts: []string{"box.example"}})
	c := client(t, 1, nil)
	res, _ := ask(t, c, "OPTIONS", s.url+"/test/length", nil, "Origin", "https://app.example", "Access-Control-Request-Method", "POST")
	if h := res.Header; res.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "https://app.example" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight: %d %v", res.StatusCode, h)
	}
	res, _ = ask(t, c, "POST", s.url+"/test/length", nil, "Origin", "https://app.example", "Sec-Fetch-Site", "cross-site", "Host", "box.example:80")
	if h := res.Header; res.StatusCode != http.StatusOK || h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Vary") != "Origin" || !strings.Contains(h.Get("Access-Control-Expose-Headers"), "Retry-After") {
		t.Errorf("%d %v", res.StatusCode, h)
	}
	for _, origin := range []string{"https://evil.example", "http://app.example", "https://app.example.evil.example", "null"} {
		if res, _ := ask(t, c, "OPTIONS", s.url+"/test/length", nil, "Origin", origin, "Access-Control-Request-Method", "POST"); res.Header.Get("Access-Control-Allow-Origin") != "" || res.StatusCode == http.StatusNoContent {
			t.Errorf("%s: %d %v", origin, res.StatusCode, res.Header)
		}
		if res, _ := ask(t, c, "POST", s.url+"/test/length", nil, "Origin", origin); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", origin, res.StatusCode)
		}
	}
	any := start(t, Config{Origins: []string{"*"}})
	if res, _ := ask(t, c, "POST", any.url+"/test/length", nil, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusOK || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("*: %d %v", res.StatusCode, res.Header)
	}
	for _, c := range []Config{{Origins: []string{"app.example"}}, {Origins: []string{"https://app.example/"}}, {Origins: []string{"ftp://app.example"}}, {Hosts: []string{"http://x"}}, {Hosts: []string{""}}} {
		if err := Check(c); err == nil {
			t.Errorf("%v %v: no error", c.Origins, c.Hosts)
		}
	}
}

func TestTLS(t *testing.T) {
	cert, key, pool := certificate(t, "first")
	ca, caKey, _ := certificate(t, "client")
	s := start(t, Config{Certificate: cert, Key: key, ClientCA: ca})
	bare := client(t, 1, &tls.Config{RootCAs: pool})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/healthz", nil)
	if res, err := bare.Do(req); err == nil {
		res.Body.Close()
		t.Error("a client without a certificate is let in")
	}
	pair, err := tls.LoadX509KeyPair(ca, caKey)
	if err != nil {
		t.Fatal(err)
	}
	old := client(t, 1, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, Certificates: []tls.Certificate{pair}})
	if res, err := old.Do(req); err == nil {
		res.Body.Close()
		t.Error("TLS 1.1 is spoken")
	}
	for _, version := range []int{1, 2} {
		c := client(t, version, &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}})
		if res, _ := ask(t, c, "GET", s.url+"/healthz", nil); res.StatusCode != http.StatusOK || res.ProtoMajor != version || res.TLS.PeerCertificates[0].Subject.CommonName != "first" {
			t.Errorf("HTTP/%d: %d by %s", version, res.StatusCode, res.Proto)
		}
	}
}

// TestCertificateChanges: a new one is taken when it is there, a broken one is not.
func TestCertificateChanges(t *testing.T) {
	cert, key, _ := certificate(t, "first")
	second, secondKey, _ := certificate(t, "second")
	var log logged
	c, err := newCertificates(cert, key, "", testLog(&log))
	if err != nil {
		t.Fatal(err)
	}
	name := func(at time.Duration) string {
		x, err := x509.ParseCertificate(c.current(time.Now().Add(at)).Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return x.Subject.CommonName
	}
	replace := func(to, from string, after time.Duration) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, time.Time{}, time.Now().Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	replace(cert, second, time.Second)
	if got := name(0); got != "first" {
		t.Errorf("at once it is %s", got)
	}
	if got := name(10 * time.Second); got != "first" || !strings.Contains(log.String(), "stays as it was") {
		t.Errorf("with the key of another it is %s; log: %s", got, &log)
	}
	replace(key, secondKey, time.Second)
	if got := name(20 * time.Second); got != "second" || !strings.Contains(log.String(), "has changed") {
		t.Errorf("after both have changed it is %s; log: %s", got, &log)
	}
}

func TestCheck(t *testing.T) {
	cert, key, _ := certificate(t, "x")
	tokens := write(t, "tokens", "0123456789abcdef")
	for want, c := range map[string]Config{
		"belong together":              {Certificate: cert},
		"want a certificate and key":   {ClientCA: cert},
		"MaxBody is -1":                {MaxBody: -1},
		"Stall is -1":                  {Stall: -1},
		"certificate: ":                {Certificate: tokens, Key: key},
		"holds no certificate":         {Certificate: cert, Key: key, ClientCA: tokens},
		"the token has 2 characters":   {Tokens: write(t, "short", "xx")},
		"no tokens, want one a line":   {Tokens: write(t, "empty", "")},
		"tokens: open ":                {Tokens: filepath.Join(t.TempDir(), "none")},
		`origin "x", want scheme and `: {Origins: []string{"x"}},
	} {
		if err := Check(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	if err := Check(Config{Certificate: cert, Key: key, ClientCA: cert, Tokens: tokens}); err != nil {
		t.Error(err)
	}
}

func TestListen(t *testing.T) {
	cert, key, _ := certificate(t, "x")
	tokens := write(t, "tokens", "0123456789abcdef")
	both := Config{Certificate: cert, Key: key, Tokens: tokens}
	for _, row := range []struct {
		c             Config
		address, want string // "" permits it
	}{
		{Config{}, "0.0.0.0:0", "without TLS"},
		{Config{}, ":0", "without TLS"},
		{Config{}, "[::]:0", "without TLS"},
		{Config{}, "192.0.2.1:0", "without TLS"},
		{Config{Tokens: tokens}, "0.0.0.0:0", "without TLS"},
		{Config{Certificate: cert, Key: key}, "0.0.0.0:0", "asks for neither"},
		{Config{Insecure: true}, "192.0.2.1:0", "bind"}, // permitted, but not an address of this machine
		{both, "192.0.2.1:0", "bind"},
		{Config{Certificate: cert, Key: key, ClientCA: cert}, "192.0.2.1:0", "bind"},
		{Config{}, "127.0.0.1", "want HOST:PORT"},
		{Config{}, "", "want HOST:PORT"},
		{Config{}, "127.0.0.1:x", "server: "},
		{Config{}, "systemd", "LISTEN_PID"},
		{Config{}, "127.0.0.1:0", ""},
		{Config{}, "localhost:0", ""},
	} {
		l, err := Listen(row.c, row.address)
		for _, l := range l {
			l.Close()
		}
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: %v, want %q", row.address, err, row.want)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	dir, err := os.MkdirTemp("", "v") // a socket's path has 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := Listen(Config{}, "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{}, "unix:"+path); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a socket in use: %v", err)
	}
	l[0].(*net.UnixListener).SetUnlinkOnClose(false) // as if it were killed
	l[0].Close()
	if l, err = Listen(Config{}, "unix:"+path); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, Config{})
	ctx, stop := context.WithCancel(t.Context())
	go func() { s.done <- s.Serve(ctx, l...) }()
	c := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }, DisableKeepAlives: true}}
	if res, _ := ask(t, c, "GET", "http://localhost/healthz", nil); res.StatusCode != http.StatusOK {
		t.Errorf("over a socket: %d", res.StatusCode)
	}
	stop()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
}

// TestReload: while requests go on, tokens are replaced; none fails but those with the old token, and a wrong configuration changes nothing.
func TestReload(t *testing.T) {
	path := write(t, "tokens", "old 0123456789abcdef\nkept fedcba9876543210\n")
	config := Config{Tokens: path}
	s := start(t, config)
	config.Engine = demoEngine
	c := client(t, 1, nil)
	var all sync.WaitGroup
	var asked atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if res, body := ask(t, c, "POST", s.url+"/test/length", strings.NewReader("x"), "Authorization", "Bearer fedcba9876543210"); res.StatusCode != http.StatusOK {
					t.Errorf("while it is reloaded: %d %s", res.StatusCode, body)
					return
				}
				asked.Add(1)
			}
		})
	}
	is := func(token string, want int) {
		t.Helper()
		if res, _ := ask(t, c, "POST", s.url+"/test/length", nil, "Authorization", "Bearer "+token); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", token, res.StatusCode, want)
		}
	}
	is("0123456789abcdef", 200)
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context(), config); err == nil || !strings.Contains(err.Error(), "the token has 5 characters") {
		t.Errorf("a wrong file: %v", err)
	}
	is("0123456789abcdef", 200)
	if err := os.WriteFile(path, []byte("new 0000000000000000\nkept fedcba9876543210\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := s.Reload(t.Context(), config); err != nil {
			t.Error(err)
		}
	}
	is("0123456789abcdef", 401)
	is("0000000000000000", 200)
	for before := asked.Load(); asked.Load() < before+20 && !t.Failed(); {
		runtime.Gosched()
	}
	close(stop)
	all.Wait()
	cert, key, _ := certificate(t, "x")
	for want, c := range map[string]Config{
		"TLS begins and ends":   {Engine: demoEngine, Tokens: path, Certificate: cert, Key: key},
		"tokens were asked for": {Engine: demoEngine},
		"MaxBody is -1":         {Engine: demoEngine, Tokens: path, MaxBody: -1},
	} {
		if err := s.Reload(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	is("0000000000000000", 200)
}

// FuzzServer: whatever is asked, with whatever body, nothing panics, and what is answered is HTTP.
func FuzzServer(f *testing.F) {
	for _, seed := range []struct{ method, path, kind, body string }{
		{"POST", "/v1/embeddings", "application/json", `{"model":"demo","input":["a red circle"]}`},
		{"POST", "/v1/embeddings", "application/json", `{"input":{"image":"data:image/png;base64,AAAA"}}`},
		{"POST", "/predict", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"entries\"\r\n\r\n{}\r\n--x--\r\n"},
		{"GET", "/", "", ""},
		{"GET", "/v1/models", "", ""},
		{"POST", "/ui/classify", "application/json", "{}"},
		{"BREW", "/healthz", "", ""},
		{"POST", "/%2e%2e/x", "application/grpc", "\x00\x00\x00\x00\x01x"},
	} {
		f.Add(seed.method, seed.path, seed.kind, []byte(seed.body))
	}
	s := newServer(f, Config{MaxBody: 1 << 20})
	f.Fuzz(func(t *testing.T, method, path, kind string, body []byte) {
		if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "/test/") {
			return
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, bytes.NewReader(body))
		if err != nil {
			return
		}
		r.RequestURI, r.RemoteAddr = path, "127.0.0.1:1"
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code == 500 || strings.Contains(s.log.String(), `"panic"`) {
			t.Errorf("%s %s: %d %s\n%s", method, path, w.Code, w.Body, s.log)
		}
		if w.Code < 200 || w.Code > 599 || w.Code == 409 || w.Code == 408 {
			t.Errorf("%s %s: %d", method, path, w.Code)
		}
		_, _ = io.Copy(io.Discard, w.Result().Body)
	})
}

// picture is a file of a picture.
func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestReloadModels: while vectors are asked for, models come and go; no request for one that stays fails, and its vectors are the same.
func TestReloadModels(t *testing.T) {
	s := start(t, Config{})
	c := client(t, 1, nil)
	const body = `{"model":"demo","input":["a red circle"]}`
	_, want := ask(t, c, "POST", s.url+"/v1/embeddings", strings.NewReader(body))
	var all sync.WaitGroup
	var asked atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if res, got := ask(t, c, "POST", s.url+"/v1/embeddings", strings.NewReader(body)); res.StatusCode != http.StatusOK || got != want {
					t.Errorf("while models come and go: %d %s", res.StatusCode, got)
					return
				}
				asked.Add(1)
			}
		})
	}
	more := demoEngine
	more.Models = append(more.Models[:1:1], engine.Model{Name: "more", Path: "builtin:demo", Preload: true})
	for i := range 10 {
		e, code := demoEngine, 404
		if i%2 == 0 {
			e, code = more, 200
		}
		if err := s.Reload(t.Context(), Config{Engine: e}); err != nil {
			t.Fatal(err)
		}
		if res, text := ask(t, c, "POST", s.url+"/v1/embeddings", strings.NewReader(`{"model":"more","input":["a red circle"]}`)); res.StatusCode != code {
			t.Errorf("%d: %d %s, want %d", i, res.StatusCode, text, code)
		}
		for before := asked.Load(); asked.Load() < before+4 && !t.Failed(); {
			runtime.Gosched()
		}
	}
	wrong := demoEngine
	wrong.Models = append(wrong.Models[:1:1], engine.Model{Name: "broken", Path: write(t, "x.pt", "no model")})
	if err := s.Reload(t.Context(), Config{Engine: wrong}); err == nil {
		t.Error("a model that is none is taken")
	}
	close(stop)
	all.Wait()
}
