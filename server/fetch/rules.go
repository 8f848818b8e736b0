package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// A rule is one of [Config.Hosts].
type rule struct {
	host string // as [canonical] has it; "" is every host, and one with a leading dot every name below
	port string // "" is the scheme's own
}

type rules []rule

// parseRules reads [Config.Hosts].
func parseRules(hosts []string) (rules, error) {
	if len(hosts) == 0 {
		return nil, errors.New(`fetch: no hosts are permitted, want their names, or "*" for all`)
	}
	var all rules
	for _, h := range hosts {
		r, err := parseRule(h)
		if err != nil {
			return nil, fmt.Errorf("fetch: host %.80q: %w", h, err)
		}
		all = append(all, r)
	}
	return all, nil
}

var errForm = errors.New("want NAME, .NAME, * or an address (IPv6 in brackets), perhaps with :PORT, and no scheme or path")

func parseRule(s string) (rule, error) {
	if strings.Contains(s, "/") {
		return rule{}, errForm
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
		if a, err := netip.ParseAddrPort("0.0.0.0:" + port); err != nil || a.Port() == 0 || port[0] == '0' {
			return rule{}, fmt.Errorf("port is %q, want 1 to 65535", port)
		}
	}
	if host == "*" {
		return rule{"", port}, nil
	}
	if name, below := strings.CutPrefix(host, "."); below {
		name, err := canonical(name)
		if _, isAddr := netip.ParseAddr(name); err == nil && isAddr == nil {
			err = errors.New("nothing is below an address")
		}
		return rule{"." + name, port}, err
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if bare, bracketed = strings.CutSuffix(bare, "]"); !bracketed || !strings.Contains(bare, ":") {
			return rule{}, errors.New("want an IPv6 address in brackets")
		}
	} else if strings.Contains(bare, ":") {
		return rule{}, errForm
	}
	name, err := canonical(bare)
	return rule{name, port}, err
}

// canonical returns a host in the one form in which it is compared: a name in small letters without the last dot, or an address. The
// error says what is wrong with it.
func canonical(host string) (string, error) {
	if strings.Contains(host, ":") {
		a, err := netip.ParseAddr(host)
		if err != nil || a.Zone() != "" {
			return "", errors.New("want an IPv6 address without a zone")
		}
		return a.Unmap().String(), nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" {
			return "", errors.New("want a name whose parts are not empty")
		}
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._", c) >= 0) {
			return "", errors.New("want a name of ASCII letters, digits, - and _; others by their form of xn--")
		}
	}
	// A name that ends in a number is an address to some, and in more than one notation. Source: WHATWG URL, "ends in a number checker"
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		a, err := netip.ParseAddr(host)
		if err != nil {
			return "", errors.New("want an IPv4 address as four decimal numbers")
		}
		return a.String(), nil
	}
	return host, nil
}

// permit says whether a host, in its canonical form, may be asked at a port, where usual is the one of the scheme.
func (rs rules) permit(host, port, usual string) bool {
	_, err := netip.ParseAddr(host)
	isName := err != nil
	return slices.ContainsFunc(rs, func(r rule) bool {
		if r.port != port && (r.port != "" || port != usual) {
			return false
		}
		return r.host == "" || r.host == host || isName && strings.HasPrefix(r.host, ".") && strings.HasSuffix(host, r.host)
	})
}

// check reads a URL that a client sent, and returns an [ErrRefused] if it may not be fetched.
func (f *Fetcher) check(address string) (*url.URL, error) {
	if n := len(address); n > longest {
		return nil, refused(nil, "the URL has %d bytes, want at most %d", n, longest)
	}
	u, err := url.Parse(address)
	if err != nil { // its text may have a password
		return nil, refused(err, "that is no URL")
	}
	return u, f.permits(u)
}

// permits returns an [ErrRefused] for a URL that may not be fetched.
func (f *Fetcher) permits(u *url.URL) error {
	port := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	switch {
	case port == "" || u.Scheme == "http" && !f.config.HTTP:
		want := "https"
		if f.config.HTTP {
			want = "https or http"
		}
		return refused(nil, "the URL's scheme is %.20q, want %s", u.Scheme, want)
	case u.Opaque != "" || u.Host == "":
		return refused(nil, "the URL has no host")
	case u.User != nil:
		return refused(nil, "the URL has a user's name or password, want none")
	}
	host, err := canonical(u.Hostname())
	if err != nil {
		return refused(err, "the URL's host is %.80q, %v", u.Hostname(), err)
	}
	usual := port
	if p := u.Port(); p != "" {
		port = p
	}
	if !f.rules.permit(host, port, usual) {
		return refused(nil, "pictures of %s at port %s are not permitted", host, port)
	}
	return nil
}
