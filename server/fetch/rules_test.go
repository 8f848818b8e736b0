package fetch

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParseRules(t *testing.T) {
	for _, c := range []struct {
		hosts []string
		want  string
	}{
		{nil, `fetch: no hosts are permitted, want their names, or "*" for all`},
		{[]string{"a.example", ""}, `fetch: host "": want a name whose parts are not empty`},
		{[]string{"https://a.example"}, `fetch: host "https://a.example": want NAME, .NAME, * or an address (IPv6 in brackets), perhaps with :PORT, and no scheme or path`},
		{[]string{"a.example/x"}, `fetch: host "a.example/x": want NAME, .NAME, * or an address (IPv6 in brackets), perhaps with :PORT, and no scheme or path`},
		{[]string{"a.example:0"}, `fetch: host "a.example:0": port is "0", want 1 to 65535`},
		{[]string{"a.example:65536"}, `fetch: host "a.example:65536": port is "65536", want 1 to 65535`},
		{[]string{"a.example:080"}, `fetch: host "a.example:080": port is "080", want 1 to 65535`},
		{[]string{"a.example:"}, `fetch: host "a.example:": port is "", want 1 to 65535`},
		{[]string{"*.example.com"}, `fetch: host "*.example.com": want a name of ASCII letters, digits, - and _; others by their form of xn--`},
		{[]string{"bücher.example"}, `fetch: host "bücher.example": want a name of ASCII letters, digits, - and _; others by their form of xn--`},
		{[]string{"2001:db8::1"}, `fetch: host "2001:db8::1": want NAME, .NAME, * or an address (IPv6 in brackets), perhaps with :PORT, and no scheme or path`},
		{[]string{"[a.example]"}, `fetch: host "[a.example]": want an IPv6 address in brackets`},
		{[]string{"[fe80::1%eth0]"}, `fetch: host "[fe80::1%eth0]": want an IPv6 address without a zone`},
		{[]string{"127.1"}, `fetch: host "127.1": want an IPv4 address as four decimal numbers`},
		{[]string{".10.0.0.1"}, `fetch: host ".10.0.0.1": nothing is below an address`},
		{[]string{"."}, `fetch: host ".": want a name whose parts are not empty`},
		{[]string{"*", "*:8080", "a.example", ".A.example:8443", "10.0.0.1", "[2001:db8::1]:443", "a.example."}, ""},
	} {
		_, err := parseRules(c.hosts)
		if got := text(err); got != c.want {
			t.Errorf("%q: got %q, want %q", c.hosts, got, c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

const aPicture = "/a.png"

// What a URL may be, before anything is asked of anybody.
func TestPermits(t *testing.T) {
	const (
		notHere  = "are not permitted"
		noHost   = "the URL has no host"
		noURL    = "that is no URL"
		fourNums = "want an IPv4 address as four decimal numbers"
	)
	for _, c := range []struct {
		hosts string // by spaces; with "http" in front http is permitted
		url   string
		want  string // part of the error, or "" if it is permitted
	}{
		{"images.example.com", "https://images.example.com/a.png?x=1#f", ""},
		{"images.example.com", "HTTPS://IMAGES.Example.COM:443/a.png", ""},
		{"images.example.com", "https://images.example.com./a.png", ""},
		{"images.example.com", "https://images.example.com:/a.png", ""},
		{"images.example.com", "https://images.example.com:8443/a.png", "at port 8443 " + notHere},
		{"images.example.com", "https://images.example.com:0443/a.png", notHere},
		{"images.example.com", "https://images.example.com:80/a.png", "at port 80 " + notHere},
		{"images.example.com", "https://example.com/a.png", notHere},
		{"images.example.com", "https://x.images.example.com/a.png", notHere},
		{"images.example.com", "https://images.example.com.evil.example/a.png", notHere},
		{"images.example.com", "https://evil.example/images.example.com", notHere},
		{"images.example.com", "https://evil.example#images.example.com", notHere},
		{"images.example.com", "https://evil.example?@images.example.com/", notHere},
		{"images.example.com", `https://evil.example\@images.example.com/`, noURL},
		{"images.example.com:8443", "https://images.example.com:8443/a.png", ""},
		{"images.example.com:8443", "https://images.example.com/a.png", "at port 443 " + notHere},
		{".example.com", "https://a.b.example.com/a.png", ""},
		{".example.com", "https://example.com/a.png", notHere},
		{".example.com", "https://badexample.com/a.png", notHere},
		{"*", "https://anything.example/a.png", ""},
		{"*", "https://anything.example:8443/a.png", notHere},
		{"*", "https://192.0.2.1/a.png", ""}, // the address is judged when the connection is made
		{"192.0.2.1", "https://192.0.2.1/a.png", ""},
		{".0.2.com", "https://192.0.2.1/a.png", notHere},
		{"[2001:db8::1]", "https://[2001:DB8:0::1]/a.png", ""},
		{"[2001:db8::1]", "https://[2001:db8::2]/a.png", notHere},
		{"10.0.0.1", "https://[::ffff:10.0.0.1]/a.png", ""}, // one address, two ways to write it

		{"images.example.com", "http://images.example.com/a.png", `scheme is "http", want https`},
		{"http images.example.com", "http://images.example.com/a.png", ""},
		{"http images.example.com", "http://images.example.com:443/a.png", notHere},
		{"http *", "ftp://images.example.com/a.png", `scheme is "ftp", want https or http`},
		{"http *", "file:///etc/passwd", `scheme is "file"`},
		{"http *", "gopher://images.example.com/", `scheme is "gopher"`},
		{"http *", "//images.example.com/a.png", `scheme is "", want`},
		{"http *", "images.example.com/a.png", `scheme is "", want`},
		{"http *", "", `scheme is "", want`},
		{"http *", "https:images.example.com", noHost},
		{"http *", "https:///a.png", noHost},
		{"http *", "https://:443/a.png", "want a name whose parts are not empty"},
		{"http *", "https://user:secret@images.example.com/", "user's name or password"},
		{"http *", "https://@images.example.com/", "user's name or password"},
		{"http *", "https://images.example.com:x/", noURL},
		{"http *", "https://images.example.com/\r\nHost: evil.example", noURL},
		{"http *", "https://images.example.com\x00.evil.example/", noURL},
		{"http *", "https://images..example.com/", "want a name whose parts are not empty"},
		{"http *", "https://bücher.example/", "of xn--"},
		{"http *", "https://images。example.com/", "of xn--"},
		{"http *", "https://①②⑦.0.0.1/", "of xn--"},
		{"http *", "https://%31%32%37.0.0.1/", noURL},
		{"http *", "https://127.1/", fourNums},
		{"http *", "https://2130706433/", fourNums},
		{"http *", "https://0x7f000001/", fourNums},
		{"http *", "https://0x7f.0.0.0x1/", fourNums},
		{"http *", "https://0177.0.0.1/", fourNums},
		{"http *", "https://127.0.0.0x/", fourNums},
		{"http *", "https://127.0.0.1.1/", fourNums},
		{"http *", "https://[fe80::1%25eth0]/", "IPv6 address without a zone"},
		{"http *", "https://[::1%25]/", noURL},
		{"http *", "https://[v1.x]/", noURL},
		{"http *", "https://images.example.com/" + strings.Repeat("a", longest), "want at most 8000"},
	} {
		hosts := strings.Fields(c.hosts)
		config := Config{HTTP: hosts[0] == "http"}
		if config.HTTP {
			hosts = hosts[1:]
		}
		config.Hosts = hosts
		f, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.check(c.url)
		switch got := text(err); {
		case c.want == "" && err != nil, !strings.Contains(got, c.want):
			t.Errorf("%s of %q: got %q, want %q", c.hosts, c.url, got, c.want)
		case err != nil && !errors.Is(err, ErrRefused):
			t.Errorf("%s of %q: %v is no ErrRefused", c.hosts, c.url, err)
		case strings.Contains(got, "secret"):
			t.Errorf("%s of %q: the error has a password: %v", c.hosts, c.url, err)
		}
	}
}

// Whatever a URL is, what is permitted is so by its host in its one form, and is dialled under no other.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		"https://images.example.com/a.png", "https://a.example.com:443", "http://[2001:db8::1]:80/", "https://user@images.example.com",
		"https://images.example.com:99999/", "https://%69mages.example.com", "https://127.0.0.1.example.com/", "https://xn--a.example.com./",
		"https://images.example.com\\@evil/", "//images.example.com", "https://[::ffff:1.2.3.4]/", "https://0x7f.1/",
	} {
		f.Add(s)
	}
	fetcher, err := New(Config{Hosts: []string{"images.example.com", ".example.com", "[2001:db8::1]"}, HTTP: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address string) {
		u, err := fetcher.check(address)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%q: %v is no ErrRefused", address, err)
			}
			return
		}
		again, err := url.Parse(u.String()) // as a request has it
		if err != nil {
			t.Fatalf("%q: %v", address, err)
		}
		host := strings.TrimSuffix(strings.ToLower(again.Hostname()), ".")
		if host != "2001:db8::1" && !strings.HasSuffix(host, ".example.com") {
			if c, err := canonical(host); err != nil || c != "2001:db8::1" {
				t.Errorf("%q leads to %q, which is not permitted", address, host)
			}
		}
		if p := again.Port(); p != "" && p != map[string]string{"https": "443", "http": "80"}[again.Scheme] || again.User != nil {
			t.Errorf("%q leads to port %q and user %v", address, p, again.User)
		}
		if err := fetcher.permits(again); err != nil {
			t.Errorf("%q is permitted, and what is asked, %q, is not: %v", address, again, err)
		}
	})
}
