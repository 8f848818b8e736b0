package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/vitago/vitago/clip"
)

// picture is the file of one.
var picture = func() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 40, 30))); err != nil {
		panic(err)
	}
	return b.Bytes()
}()

var here = netip.MustParsePrefix("127.0.0.1/32")

// A zone answers what a name's addresses are, in the place of all DNS.
type zone func(name string) []string

// resolver looks names up in a zone, over no network.
func (z zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no PacketConn, so messages have their lengths in front, as over TCP
		go func() {
			defer server.Close()
			for {
				var n uint16
				if binary.Read(server, binary.BigEndian, &n) != nil {
					return
				}
				question := make([]byte, n)
				if _, err := io.ReadFull(server, question); err != nil {
					return
				}
				answer := z.answer(question)
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

func (z zone) answer(question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		panic(err)
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	q := m.Questions[0]
	addresses := z(strings.TrimSuffix(q.Name.String(), "."))
	if addresses == nil {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, s := range addresses {
		a := netip.MustParseAddr(s)
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, Type: q.Type}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return packed
}

// at is a zone in which every name has these addresses.
func at(addresses ...string) zone { return func(string) []string { return addresses } }

// newTest returns a fetcher that looks names up in a zone.
func newTest(t *testing.T, c Config, z zone) *Fetcher {
	t.Helper()
	if c.Time == 0 {
		c.Time = time.Minute // so that no slow machine decides a test
	}
	f, err := newFetcher(c, z.resolver())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// serve starts a server and returns its port.
func serve(t *testing.T, h http.HandlerFunc) (port string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return portOf(t, s.URL)
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

func send(w http.ResponseWriter, _ *http.Request) { w.Write(picture) }

// want fails unless err is of a kind and has a text.
func want(t *testing.T, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got %v, want %v with %q", err, kind, text)
	}
	for _, other := range []error{ErrRefused, ErrFailed, ErrTimeout, clip.ErrTooLarge, clip.ErrImage} {
		if !errors.Is(kind, other) && errors.Is(err, other) {
			t.Errorf("%v is of kind %v, and of %v too", err, kind, other)
		}
	}
}

func TestFetch(t *testing.T) {
	var got *http.Request
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.Background())
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b", Path: "/"})
		w.Header().Set("Content-Type", "text/html") // is not believed
		send(w, r)
	})
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	f := newTest(t, Config{Hosts: []string{"*:" + port}, HTTP: true, Allow: []netip.Prefix{here}}, at("127.0.0.1"))
	for range 2 { // the second has the first's connection, and no cookie
		data, err := f.Fetch(t.Context(), "http://images.example.com:"+port+"/a%20b.png?x=1#fragment")
		if err != nil || !bytes.Equal(data, picture) {
			t.Fatalf("got %d bytes, %v", len(data), err)
		}
		if got.RequestURI != "/a%20b.png?x=1" || got.Host != "images.example.com:"+port || got.Method != http.MethodGet {
			t.Errorf("asked: %s %s of %s", got.Method, got.RequestURI, got.Host)
		}
		if h := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(h, []string{"Accept", "User-Agent"}) {
			t.Errorf("headers: %v", got.Header)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(send))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshakes that are meant to fail
	s.StartTLS()
	defer s.Close()
	port := portOf(t, s.URL)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := Config{Hosts: []string{"*:" + port}, Allow: []netip.Prefix{here}, Roots: roots}
	f := newTest(t, c, at("127.0.0.1"))
	if data, err := f.Fetch(t.Context(), "https://example.com:"+port+aPicture); err != nil || !bytes.Equal(data, picture) {
		t.Errorf("got %d bytes, %v", len(data), err)
	}
	_, err := f.Fetch(t.Context(), "https://example.org:"+port+aPicture) // is not in the certificate
	want(t, err, ErrFailed, "example.org did not send a whole answer")
	c.Roots = x509.NewCertPool()
	_, err = newTest(t, c, at("127.0.0.1")).Fetch(t.Context(), "https://example.com:"+port+aPicture)
	want(t, err, ErrFailed, "example.com did not send a whole answer")
}

// An address that is not of the public Internet is refused, whatever name leads to it, and no error tells which it was.
func TestAddresses(t *testing.T) {
	addresses := strings.Fields(`127.0.0.1 127.255.255.254 0.0.0.0 0.1.2.3 10.1.2.3 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1
		100.100.100.200 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16`)
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		c.Close()
		addresses = append(addresses, strings.Fields(`:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:1 100::1 2001::1
			2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1`)...)
	}
	const same = "fetch: inside.example has no address that is permitted"
	for _, a := range addresses {
		f := newTest(t, Config{Hosts: []string{"*"}, HTTP: true}, at(a))
		_, err := f.Fetch(t.Context(), "http://inside.example/latest/meta-data")
		want(t, err, ErrRefused, same)

		literal := a
		if strings.Contains(a, ":") {
			literal = "[" + a + "]"
		}
		_, err = f.Fetch(t.Context(), "http://"+literal+aPicture)
		want(t, err, ErrRefused, "has no address that is permitted")
	}
	// A name that there is not makes no other error than one that leads inside.
	_, err := newTest(t, Config{Hosts: []string{"*"}}, at()).Fetch(t.Context(), "https://inside.example/")
	want(t, err, ErrRefused, same)
	var dns *net.DNSError
	if err.Error() != same || !errors.As(err, &dns) {
		t.Errorf("got %q, want %q with the cause for logs", err, same)
	}
	// Of several addresses those that are permitted are taken.
	port := serve(t, send)
	c := Config{Hosts: []string{"*:" + port}, HTTP: true, Allow: []netip.Prefix{here}}
	if _, err := newTest(t, c, at("10.0.0.1", "127.0.0.1")).Fetch(t.Context(), "http://both.example:"+port); err != nil {
		t.Error(err)
	}
}

// A name that leads elsewhere the second time is judged by where it leads when the connection is made.
func TestRebinding(t *testing.T) {
	outside, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this system has one address for itself: %v", err)
	}
	port := outside.Addr().(*net.TCPAddr).Port
	inside, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Skipf("another program has the port: %v", err)
	}
	var asked [2]atomic.Int64
	for i, l := range []net.Listener{outside, inside} {
		s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[i].Add(1)
			w.Header().Set("Connection", "close") // or the first connection would serve again
			send(w, r)
		})}
		go s.Serve(l)
		defer s.Close()
	}
	var again atomic.Bool
	f := newTest(t, Config{Hosts: []string{fmt.Sprintf("*:%d", port)}, HTTP: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}, func(string) []string {
		if again.Load() {
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.2"}
	})
	address := fmt.Sprintf("http://rebinds.example:%d/", port)
	if _, err := f.Fetch(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	again.Store(true)
	_, err = f.Fetch(t.Context(), address)
	want(t, err, ErrRefused, "has no address that is permitted")
	if out, in := asked[0].Load(), asked[1].Load(); out != 1 || in != 0 {
		t.Errorf("asked %d times outside and %d inside, want 1 and 0", out, in)
	}
}

func TestRedirects(t *testing.T) {
	var port, securePort, referer string
	var leaked atomic.Int64
	handler := func(w http.ResponseWriter, r *http.Request) {
		to := func(format string, a ...any) { http.Redirect(w, r, fmt.Sprintf(format, a...), http.StatusFound) }
		var n int
		switch _, err := fmt.Sscanf(r.URL.Path, "/again/%d", &n); {
		case err == nil && n > 0:
			to("/again/%d", n-1)
		case r.URL.Path == "/name":
			to("http://secret-name.example:%s/leak", port)
		case r.URL.Path == "/literal":
			to("http://169.254.169.254:%s/leak", port)
		case r.URL.Path == "/inside":
			to("http://inside.images.example:%s/leak", port)
		case r.URL.Path == "/port":
			to("http://a.images.example:81/leak")
		case r.URL.Path == "/user":
			to("http://u:p@a.images.example:%s/leak", port)
		case r.URL.Path == "/file":
			to("file:///etc/passwd")
		case r.URL.Path == "/down":
			to("http://example.com:%s/leak", port)
		case r.URL.Path == "/up":
			to("https://example.com:%s/again/0", securePort)
		case r.URL.Path == "/nowhere":
			w.WriteHeader(http.StatusFound)
		case r.URL.Path == "/leak":
			leaked.Add(1)
			send(w, r)
		default:
			referer = r.Header.Get("Referer")
			send(w, r)
		}
	}
	port = serve(t, handler)
	secure := httptest.NewTLSServer(http.HandlerFunc(handler))
	t.Cleanup(secure.Close)
	securePort = portOf(t, secure.URL)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	c := Config{
		Hosts: []string{".images.example:" + port, "169.254.169.254:" + port, "example.com:" + port, "example.com:" + securePort},
		HTTP:  true, Allow: []netip.Prefix{here}, Roots: roots,
	}
	z := zone(func(name string) []string {
		if strings.HasPrefix(name, "inside.") {
			return []string{"10.0.0.1"}
		}
		return []string{"127.0.0.1"}
	})
	f := newTest(t, c, z)
	from := "http://a.images.example:" + port
	for _, fine := range []string{from + "/again/0", from + "/again/3?signature=x", from + "/up"} {
		data, err := f.Fetch(t.Context(), fine)
		if err != nil || !bytes.Equal(data, picture) {
			t.Errorf("%s: got %d bytes, %v", fine, len(data), err)
		}
		if referer != "" {
			t.Errorf("%s: the next host was told %s", fine, referer)
		}
	}
	for _, bad := range []struct {
		url  string
		kind error
		text string
	}{
		{from + "/again/4", ErrFailed, "a.images.example redirects more than 3 times"},
		{from + "/again/1000000", ErrFailed, "redirects more than 3 times"},
		{from + "/name", ErrRefused, "a.images.example redirects to a place that is not permitted"},
		{from + "/literal", ErrRefused, "a.images.example has no address that is permitted"},
		{from + "/inside", ErrRefused, "a.images.example has no address that is permitted"},
		{from + "/port", ErrRefused, "redirects to a place that is not permitted"},
		{from + "/user", ErrRefused, "redirects to a place that is not permitted"},
		{from + "/file", ErrRefused, "redirects to a place that is not permitted"},
		{"https://example.com:" + securePort + "/down", ErrRefused, "example.com redirects from https to http"},
		{from + "/nowhere", ErrFailed, "answered with status 302, want 200"},
	} {
		_, err := f.Fetch(t.Context(), bad.url)
		want(t, err, bad.kind, bad.text)
		if s := fmt.Sprint(err); strings.Contains(s, "secret") || strings.Contains(s, "169.254") || strings.Contains(s, "10.0.0.1") {
			t.Errorf("%s: tells where it leads: %v", bad.url, err)
		}
	}
	if n := leaked.Load(); n > 0 {
		t.Errorf("%d redirects were followed that should not be", n)
	}
	c.Redirects = -1
	_, err := newTest(t, c, z).Fetch(t.Context(), from+"/again/1")
	want(t, err, ErrFailed, "redirects more than 0 times")
}

// What comes back is a picture of no more than the limit, or an error that tells nothing of it.
func TestAnswers(t *testing.T) {
	gone := make(chan struct{})
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		zeros := make([]byte, 1<<20)
		switch r.URL.Path {
		case "/exact":
			w.Write(append(slices.Clone(picture), make([]byte, 5000-len(picture))...))
		case "/long": // says so
			w.Header().Set("Content-Length", "5001")
			w.Write(append(slices.Clone(picture), make([]byte, 5001-len(picture))...))
		case "/endless": // does not say so
			w.Write(picture)
			for range 1000 {
				if _, err := w.Write(zeros); err != nil {
					close(gone)
					return
				}
			}
		case "/page":
			io.WriteString(w, "<html>secret</html>")
		case "/empty":
		case "/heic":
			io.WriteString(w, "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(picture)
			z.Write(zeros)
			z.Close()
		case "/headers":
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 1000))
			}
			send(w, r)
		case "/cut":
			w.Header().Set("Content-Length", "4000")
			w.Write(picture)
		case "/cutearly":
			w.Header().Set("Content-Length", "4000")
			w.Write(picture[:20])
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, "secret")
		}
	})
	f := newTest(t, Config{Hosts: []string{"*:" + port}, HTTP: true, Allow: []netip.Prefix{here}, Bytes: 5000}, at("127.0.0.1"))
	for _, c := range []struct {
		path string
		kind error
		text string
	}{
		{"/exact", nil, "<nil>"},
		{"/long", clip.ErrTooLarge, "fetch: the picture of a.example has 5001 bytes, want at most 5000"},
		{"/endless", clip.ErrTooLarge, "fetch: the picture of a.example has more than 5000 bytes"},
		{"/page", clip.ErrImage, "fetch: what a.example sent is not a picture in a known format"},
		{"/empty", clip.ErrImage, "is not a picture"},
		{"/heic", clip.ErrImage, "fetch: what a.example sent is HEIC, which is not supported"},
		{"/gzip", clip.ErrImage, "is not a picture"},
		{"/headers", ErrFailed, "did not send a whole answer"},
		{"/cut", ErrFailed, "did not send a whole answer"},
		{"/cutearly", ErrFailed, "did not send a whole answer"},
		{"/none", ErrFailed, "a.example answered with status 204, want 200"},
		{"/404", ErrFailed, "a.example answered with status 404, want 200"},
	} {
		_, err := f.Fetch(t.Context(), "http://a.example:"+port+c.path)
		if want(t, err, c.kind, c.text); strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: tells what was sent: %v", c.path, err)
		}
	}
	<-gone // the rest of the endless one was not read
}

// Who sends slowly, or nothing, is left when the time is over, and when the caller leaves.
func TestSlow(t *testing.T) {
	asked := make(chan struct{}, 10)
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Write(picture[:len(picture)-1])
			w.(http.Flusher).Flush()
		}
		asked <- struct{}{}
		<-r.Context().Done()
	})
	c := Config{Hosts: []string{"*:" + port}, HTTP: true, Allow: []netip.Prefix{here}, Time: 50 * time.Millisecond}
	for _, path := range []string{"/body", "/headers"} {
		_, err := newTest(t, c, at("127.0.0.1")).Fetch(t.Context(), "http://a.example:"+port+path)
		want(t, err, ErrTimeout, "fetch: the picture of a.example did not come within 50ms")
		<-asked
	}
	c.Time = time.Hour
	f := newTest(t, c, at("127.0.0.1"))
	for _, path := range []string{"/body", "/headers"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the client left")
		go func() { <-asked; cancel(cause) }()
		_, err := f.Fetch(ctx, "http://a.example:"+port+path)
		want(t, err, cause, "a.example: the client left")
	}
	if len(f.places) != 0 {
		t.Errorf("%d places are taken", len(f.places))
	}
}

func TestConcurrent(t *testing.T) {
	const places, all = 2, 6
	var inside, most atomic.Int64
	entered, release := make(chan struct{}, all), make(chan struct{})
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		entered <- struct{}{}
		<-release
		send(w, r)
	})
	c := Config{Hosts: []string{"*:" + port}, HTTP: true, Allow: []netip.Prefix{here}, Concurrent: places}
	f := newTest(t, c, at("127.0.0.1"))
	errs := make(chan error, all)
	for range all {
		go func() {
			_, err := f.Fetch(t.Context(), "http://a.example:"+port+aPicture)
			errs <- err
		}()
	}
	for range places {
		<-entered
	}
	ctx, cancel := context.WithCancel(t.Context()) // one who waits may leave
	cancel()
	_, err := f.Fetch(ctx, "http://a.example:"+port+aPicture)
	want(t, err, context.Canceled, "a.example")
	close(release)
	for range all {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n != places {
		t.Errorf("%d at a time, want %d", n, places)
	}
}

// With a proxy it is the proxy's address that is judged.
func TestProxy(t *testing.T) {
	var asked string
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { asked = r.RequestURI; send(w, r) })
	c := Config{Hosts: []string{"a.example"}, HTTP: true, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example:" + port})}
	_, err := newTest(t, c, at("127.0.0.1")).Fetch(t.Context(), "http://a.example/a.png")
	want(t, err, ErrRefused, "has no address that is permitted")
	c.Allow = []netip.Prefix{here}
	f := newTest(t, c, at("127.0.0.1"))
	if _, err := f.Fetch(t.Context(), "http://a.example/a.png"); err != nil || asked != "http://a.example/a.png" {
		t.Errorf("the proxy was asked for %q: %v", asked, err)
	}
	_, err = f.Fetch(t.Context(), "http://b.example/a.png")
	want(t, err, ErrRefused, "pictures of b.example at port 80 are not permitted")
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{}, "no hosts are permitted"},
		{Config{Hosts: []string{"*"}, Bytes: -1}, "limits are -1 bytes"},
		{Config{Hosts: []string{"*"}, Redirects: -2}, "-2 redirects"},
		{Config{Hosts: []string{"*"}, Allow: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8")}}, "addresses 10.1.2.3/8 are no range"},
		{Config{Hosts: []string{"*"}, Allow: []netip.Prefix{{}}}, "are no range"},
	} {
		if _, err := New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
