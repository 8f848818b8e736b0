// Package hub downloads weights: OpenAI's archives by their public names, and models by their id from
// Hugging Face's hub or a mirror of it.
//
// A file is written beside where it belongs, as NAME.partial, and gets its name when its length and its
// hash are right. What an interrupted download leaves, the next one resumes, in this process or another:
//
//	NAME.partial       what came so far
//	NAME.partial.json  what it is a part of: address, ETag, hash
//	NAME.partial.lock  held by the process that downloads it
//
// All three are gone when NAME is there.
package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// Endpoint is the address of Hugging Face's hub.
	// Source: huggingface/huggingface_hub, constants.py, _HF_DEFAULT_ENDPOINT.
	Endpoint = "https://huggingface.co"
	// maxFile is how large a file may be of which nobody says how large it is.
	// Source: huggingface/huggingface_hub, constants.py, MAX_HTTP_DOWNLOAD_SIZE.
	maxFile = 50_000_000_000
	// maxAnswer is how large an answer of the hub's API or an index of shards may be. The index of a
	// model of 1000 shards has about 5 MB.
	maxAnswer = 64 << 20
	// maxWait is the longest pause between two tries; who asks for more is not waited for.
	maxWait = time.Minute
	// maxRedirects is how many redirects are followed, as net/http does.
	maxRedirects = 10
)

// ErrNotFound says that a server has no such file or repository.
var ErrNotFound = errors.New("no such file")

// A Client downloads, in one goroutine. Its fields may be changed before its first use, and not after it.
type Client struct {
	// Endpoint is the address of the hub.
	Endpoint string
	// Token is sent to the host of Endpoint and to no other; not even to the same host by another
	// scheme or port.
	Token string
	// Archives, if not empty, is where OpenAI's archives come from instead: Archives/SHA-256/NAME.
	Archives string
	// Idle is how long a server may send nothing.
	Idle time.Duration
	// Tries is how often in a row a download may fail without having come further.
	Tries int
	// Wait is the pause before the second try. It doubles with every further one, up to a minute.
	Wait time.Duration
	// Overwrite says that a file may be replaced that is there but is another.
	Overwrite bool
	// Progress, if not nil, is told how much of a file is there, first before anything comes. The total is 0
	// while nobody knows it.
	Progress func(done, total int64)
	// Note, if not nil, is told what a user may wonder about, such as a pause before another try.
	Note func(line string)

	cache    string            // the folder of Hugging Face's own downloads, or ""
	archives string            // the folder of OpenAI's own downloads, or ""
	base     http.RoundTripper // what sends requests; nil is net/http's own
	client   *http.Client      // made by http()
}

// New returns a client that the environment configures, as it does Hugging Face's own: HF_ENDPOINT,
// HF_TOKEN, HF_TOKEN_PATH, HF_HOME and HF_HUB_CACHE. Proxies come from HTTPS_PROXY, HTTP_PROXY and
// NO_PROXY.
//
// Source: huggingface/huggingface_hub, constants.py; utils/_auth.py, get_token.
func New() *Client {
	c := &Client{
		Endpoint: cmp.Or(os.Getenv("HF_ENDPOINT"), Endpoint),
		Token:    clean(cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))),
		Idle:     time.Minute,
		Tries:    5,
		Wait:     time.Second,
	}
	user, err := os.UserHomeDir()
	if err != nil { // then only what the environment says is known
		user = ""
	}
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~"); ok && user != "" && (rest == "" || os.IsPathSeparator(rest[0])) {
			return user + rest
		}
		return path
	}
	below := func(dir string, names ...string) string {
		if dir == "" {
			return ""
		}
		return filepath.Join(append([]string{dir}, names...)...)
	}
	home := expand(os.Getenv("HF_HOME"))
	home = cmp.Or(home, below(expand(os.Getenv("XDG_CACHE_HOME")), "huggingface"), below(user, ".cache", "huggingface"))
	c.cache = cmp.Or(expand(os.Getenv("HF_HUB_CACHE")), below(home, "hub"))
	c.archives = below(user, ".cache", "clip") // Source: openai/CLIP, clip/clip.py, load
	if path := cmp.Or(expand(os.Getenv("HF_TOKEN_PATH")), below(home, "token")); c.Token == "" && path != "" {
		if raw, err := os.ReadFile(path); err == nil { // who is not logged in has none
			c.Token = clean(string(raw))
		}
	}
	return c
}

// clean takes line ends out of a token, which files and shells leave there.
func clean(token string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(token))
}

// http returns what sends the requests.
func (c *Client) http() *http.Client {
	if c.client == nil {
		if c.base == nil {
			c.base = http.DefaultTransport
		}
		c.client = &http.Client{
			Transport: bearer{c.base, origin(c.Endpoint), c.Token},
			CheckRedirect: func(req *http.Request, via []*http.Request) error {
				switch {
				case len(via) >= maxRedirects:
					return permanent{fmt.Errorf("more than %d redirects", maxRedirects)}
				case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
					return permanent{fmt.Errorf("redirected from https to %s", origin(req.URL.String()))}
				}
				return nil
			},
		}
	}
	return c.client
}

// A bearer adds a token to the requests to one origin. It looks at every request by itself, those that
// follow a redirect too: net/http hands headers on to other ports and subdomains.
type bearer struct {
	http.RoundTripper
	origin, token string
}

func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.token != "" && b.origin != "" && origin(req.URL.String()) == b.origin {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.RoundTripper.RoundTrip(req)
}

// origin returns the scheme, host and port of an address, or "" if it is none.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(net.JoinHostPort(u.Hostname(), port))
}

// redacted returns an address for people: without a password, and without a query, where signatures are.
func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is none"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// CheckURL returns an error if address is not one that files can come from.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("hub: the address cannot be read, want https://HOST/PATH") // err may have a password in it
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("hub: address is %q, want https://HOST/PATH", redacted(address))
	}
	return nil
}

func (c *Client) note(format string, args ...any) {
	if c.Note != nil {
		c.Note(fmt.Sprintf(format, args...))
	}
}

// A permanent error is one that another try would not mend.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// A StatusError is an answer that is none of those wanted.
type StatusError struct {
	URL     string // that was asked for
	Code    int
	Message string // of the server, or ""
	hub     bool   // the server is the hub
	token   bool   // and got a token
	wait    time.Duration
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("GET %s: status is %d %s, want 200", redacted(e.URL), e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		s += fmt.Sprintf(" (the server says %q)", e.Message)
	}
	if e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden {
		switch {
		case e.hub && e.token:
			s += ": the token has no access; a gated model's page says how to get it"
		case e.hub:
			s += ": no such model, or one that needs a token with access: set HF_TOKEN"
		}
	}
	return s
}

// Is says that a [StatusError] of 404 or 410 is an [ErrNotFound].
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// later says that the server may answer otherwise another time.
func (e *StatusError) later() bool {
	return e.Code >= 500 && e.Code != http.StatusNotImplemented || e.Code == http.StatusTooManyRequests || e.Code == http.StatusRequestTimeout
}

// unprintable is what a server's words are not shown with.
var unprintable = regexp.MustCompile(`[^\x20-\x7e]+`)

// failed makes an error of an answer that is not one of those wanted.
func (c *Client) failed(address string, resp *http.Response) error {
	const maxMessage = 200 // bytes of a server's words
	said := unprintable.ReplaceAllString(resp.Header.Get("X-Error-Message"), " ")
	// The origin that answered, after redirects, is what the hint is about.
	ours := origin(resp.Request.URL.String()) == origin(c.Endpoint)
	e := &StatusError{URL: address, Code: resp.StatusCode, Message: said[:min(len(said), maxMessage)], hub: ours, token: ours && c.Token != ""}
	if after := resp.Header.Get("Retry-After"); after != "" {
		if n, err := strconv.Atoi(after); err == nil && n > 0 {
			e.wait = time.Duration(min(n, 1<<20)) * time.Second
		} else if t, err := http.ParseTime(after); err == nil {
			e.wait = time.Until(t)
		}
	}
	return e
}

// An answer is one of a server that may say nothing for idle and no longer. It must be closed.
type answer struct {
	*http.Response
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
}

// Read reads the body.
func (a *answer) Read(p []byte) (int, error) {
	n, err := a.Body.Read(p)
	if n > 0 {
		a.touch()
	}
	return n, err
}

// touch says that the server is not to blame for the time up to now.
func (a *answer) touch() { a.timer.Reset(a.idle) }

// because returns why the answer ended, if it was not the server, or else err.
func (a *answer) because(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		return cause
	}
	return err
}

func (a *answer) close() {
	a.timer.Stop()
	a.cancel(nil)
	if a.Response != nil {
		a.Body.Close()
	}
}

// get asks for an address.
func (c *Client) get(ctx context.Context, address string, header http.Header) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &answer{ctx: ctx, cancel: cancel, idle: c.Idle}
	a.timer = time.AfterFunc(c.Idle, func() { cancel(stalled(c.Idle)) })
	fail := func(err error) (*answer, error) {
		err = a.because(err)
		a.close()
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fail(permanent{errors.New("an address that is none")})
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "vitago")
	req.Header.Set("Accept-Encoding", "identity")       // lengths and ranges are those of the file
	if a.Response, err = c.http().Do(req); err != nil { //nolint:bodyclose // close does it
		a.Response = nil
		host := req.URL.Host
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // its address may have a signature in it
			if u, bad := url.Parse(e.URL); bad == nil && u.Host != "" {
				host = u.Host
			}
		}
		if certificate := (*tls.CertificateVerificationError)(nil); errors.As(err, &certificate) {
			err = permanent{err}
		}
		return fail(fmt.Errorf("%s: %w", host, err))
	}
	if e := a.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return fail(fmt.Errorf("GET %s: Content-Encoding is %.40q, want none", redacted(address), e))
	}
	return a, nil
}

// stalled says that nothing came for some time.
type stalled time.Duration

func (s stalled) Error() string { return fmt.Sprintf("nothing came for %v", time.Duration(s)) }

// unreachable says that an error is about the way to a server, and not about what it said.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}

// persist tries until it works, as long as that makes sense. A try returns whether it came further
// than all before.
func (c *Client) persist(ctx context.Context, name string, try func() (further bool, err error)) error {
	reached := false // the server, ever
	for failures := 0; ; {
		further, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if further {
			failures = 0
		}
		failures++
		reached = reached || !unreachable(err)
		allowed := c.Tries
		if !reached {
			allowed = min(allowed, 2) // off line: better said soon
		}
		var status *StatusError
		isStatus := errors.As(err, &status)
		if failures >= allowed || errors.As(err, new(permanent)) || isStatus && !status.later() {
			return err
		}
		wait := min(c.Wait<<min(failures-1, 10), maxWait)
		wait += rand.N(wait/4 + 1) // not all clients at once
		if isStatus && status.wait > 0 {
			if status.wait > maxWait {
				return fmt.Errorf("%w; it asks to be left alone for %v", err, status.wait.Round(time.Second))
			}
			wait = status.wait
		}
		c.note("%s: %v; trying again in %v", name, err, wait.Round(100*time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read returns what is at an address, at most maxAnswer bytes.
func (c *Client) read(ctx context.Context, address string) (raw []byte, err error) {
	err = c.persist(ctx, redacted(address), func() (bool, error) {
		a, err := c.get(ctx, address, nil)
		if err != nil {
			return false, err
		}
		defer a.close()
		if a.StatusCode != http.StatusOK {
			return false, c.failed(address, a.Response)
		}
		raw, err = io.ReadAll(io.LimitReader(a, maxAnswer+1))
		switch {
		case err != nil:
			return false, fmt.Errorf("after %d of %d bytes: %w", len(raw), a.ContentLength, a.because(err))
		case len(raw) > maxAnswer:
			return false, permanent{fmt.Errorf("more than %d bytes", maxAnswer)}
		}
		return false, nil
	})
	return raw, err
}
