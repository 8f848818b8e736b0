// Package fetch brings pictures by URL, for a server whose clients name pictures in the place of sending them.
//
// A client chooses the URL, and the server asks: from where it stands it may reach what the client may not. So hosts are permitted by
// name, and the address of every connection is judged when the connection is made, not when a name is looked up: a name that leads to
// another address the second time gains nothing. Addresses that are not of the public Internet are refused unless they are permitted
// too. What comes back must begin as a picture does, and no error tells what else it was.
//
// Lists of addresses: IANA's registries of special-purpose addresses, by [ssrf].
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"code.dny.dev/ssrf"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/pillow"
)

// Config says what may be fetched.
type Config struct {
	// Hosts are those that may be asked, at least one: a name ("images.example.com") or an address as it stands in a URL
	// ("[2001:db8::1]"); ".example.com" is every name below example.com; "*" is every host. They mean the scheme's own port;
	// "images.example.com:8443" means that one alone.
	Hosts []string
	HTTP  bool           // permits http beside https
	Allow []netip.Prefix // addresses that are permitted though they are private, of this machine or otherwise special

	Bytes      int64         // of a picture's file at most; 0 is [DefaultBytes]
	Time       time.Duration // for all of a picture, with waiting and redirects; 0 is [DefaultTime]
	Redirects  int           // that are followed; 0 is [DefaultRedirects], and -1 none
	Concurrent int           // pictures that are fetched at a time; the others wait. 0 is [DefaultConcurrent]

	Roots *x509.CertPool // of servers' certificates; nil is the system's
	// Proxy is the proxy of a request, as [http.Transport] has it; nil is none, whatever the environment says. A proxy looks names up
	// itself: only its own address is judged then.
	Proxy func(*http.Request) (*url.URL, error)
}

// Defaults of a [Config].
const (
	DefaultBytes      = 20 << 20
	DefaultTime       = 10 * time.Second
	DefaultRedirects  = 3
	DefaultConcurrent = 16
)

const (
	agent   = "vitago (+https://github.com/vitago/vitago)"
	sniffed = 512      // bytes that tell a picture, as pillow.FormatOf wants them
	headers = 64 << 10 // bytes of an answer's headers
	idle    = 30 * time.Second
	longest = 8000 // bytes of a URL. Source: RFC 9110, 4.1, what every server should take
)

// wireServer answers a virtual machine on Azure about itself, though it has a public address.
// Source: learn.microsoft.com, "What is IP address 168.63.129.16?"
var wireServer = netip.MustParsePrefix("168.63.129.16/32")

// A Fetcher fetches pictures. It may be used by many goroutines at once.
type Fetcher struct {
	config    Config
	rules     rules
	places    chan struct{}
	client    *http.Client
	transport *http.Transport
}

// New returns a fetcher, and an error if the configuration makes no sense.
func New(c Config) (*Fetcher, error) { return newFetcher(c, nil) }

// newFetcher looks names up by a resolver, nil for the system's.
func newFetcher(c Config, resolver *net.Resolver) (*Fetcher, error) {
	rules, err := parseRules(c.Hosts)
	if err != nil {
		return nil, err
	}
	if c.Bytes < 0 || c.Time < 0 || c.Redirects < -1 || c.Concurrent < 0 {
		return nil, fmt.Errorf("fetch: limits are %d bytes, %v, %d redirects and %d at a time; want none below 0, redirects not below -1", c.Bytes, c.Time, c.Redirects, c.Concurrent)
	}
	set(&c.Bytes, DefaultBytes)
	set(&c.Time, DefaultTime)
	set(&c.Redirects, DefaultRedirects)
	set(&c.Concurrent, DefaultConcurrent)

	var v4, v6 []netip.Prefix
	for _, p := range c.Allow {
		if !p.IsValid() || p != p.Masked() {
			return nil, fmt.Errorf("fetch: addresses %v are no range, want one as 10.1.0.0/16 or fd00::/8, whose bits behind the length are 0", p)
		}
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	guardian := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...), ssrf.WithDeniedV4Prefixes(wireServer))
	f := &Fetcher{config: c, rules: rules, places: make(chan struct{}, c.Concurrent)}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	f.transport = &http.Transport{
		Proxy:                  c.Proxy,
		DialContext:            (&net.Dialer{Control: guardian.Safe, Resolver: resolver}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		Protocols:              protocols,
		DisableCompression:     true, // a picture is compressed already, and what is decompressed has no limit but ours
		MaxIdleConns:           c.Concurrent,
		MaxConnsPerHost:        c.Concurrent,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: headers,
	}
	f.client = &http.Client{Transport: f.transport, CheckRedirect: f.redirected} // without a jar there are no cookies
	return f, nil
}

// set gives v its default.
func set[T int | int64 | time.Duration](v *T, otherwise T) {
	if *v == 0 {
		*v = otherwise
	}
}

// Close closes the connections that nobody uses.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

// Fetch returns the file of a picture. The errors are [ErrRefused], [ErrFailed], [ErrTimeout], [clip.ErrTooLarge], [clip.ErrImage] of
// what is no picture, and that of ctx.
func (f *Fetcher) Fetch(ctx context.Context, address string) ([]byte, error) {
	u, err := f.check(address)
	if err != nil {
		return nil, err
	}
	host := u.Hostname()
	own, cancel := context.WithTimeoutCause(ctx, f.config.Time, errSlow)
	defer cancel()
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-own.Done():
		return nil, f.because(ctx, own, host, own.Err())
	}
	req, err := http.NewRequestWithContext(own, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, refused(err, "the URL makes no request")
	}
	req.Header.Set("Accept", "image/*")
	req.Header.Set("User-Agent", agent)
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, f.because(ctx, own, host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, failed(ErrFailed, nil, "%s answered with status %d, want 200", host, resp.StatusCode)
	}
	data, err := f.read(resp, host)
	if err != nil {
		return nil, f.because(ctx, own, host, err)
	}
	return data, nil
}

// read returns the body of an answer, if it is a picture that is not too large.
func (f *Fetcher) read(resp *http.Response, host string) ([]byte, error) {
	if n := resp.ContentLength; n > f.config.Bytes {
		return nil, failed(clip.ErrTooLarge, nil, "the picture of %s has %d bytes, want at most %d", host, n, f.config.Bytes)
	}
	var data bytes.Buffer
	if _, err := io.CopyN(&data, resp.Body, sniffed); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch format, ok := pillow.FormatOf(data.Bytes()); {
	case !ok: // not a word of what it is: it may be for others' eyes
		return nil, failed(clip.ErrImage, nil, "what %s sent is not a picture in a known format", host)
	case !format.Decodes:
		return nil, failed(clip.ErrImage, nil, "what %s sent is %s, which is not supported", host, format.Name)
	}
	if _, err := io.Copy(&data, io.LimitReader(resp.Body, f.config.Bytes+1-int64(data.Len()))); err != nil {
		return nil, err
	}
	if int64(data.Len()) > f.config.Bytes {
		return nil, failed(clip.ErrTooLarge, nil, "the picture of %s has more than %d bytes", host, f.config.Bytes)
	}
	return data.Bytes(), nil
}

// redirected judges where a redirect leads.
func (f *Fetcher) redirected(req *http.Request, via []*http.Request) error {
	host := via[0].URL.Hostname()
	if len(via) > max(f.config.Redirects, 0) {
		return failed(ErrFailed, nil, "%s redirects more than %d times", host, max(f.config.Redirects, 0))
	}
	// The place is the server's to know, and not told.
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
		return refused(nil, "%s redirects from https to http", host)
	}
	if err := f.permits(req.URL); err != nil {
		return refused(err, "%s redirects to a place that is not permitted", host)
	}
	req.Header.Del("Referer") // a URL may be signed
	return nil
}
