package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// origins says which pages of other sites may ask, and by which names.
type origins struct {
	any     bool
	allowed []string
	hosts   []string
	cross   *http.CrossOriginProtection
}

func newOrigins(allowed, hosts []string) (*origins, error) {
	o := &origins{cross: http.NewCrossOriginProtection()}
	for _, a := range allowed {
		if a == "*" {
			o.any = true
			continue
		}
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("server: origin %q, want scheme and host as https://example.org, or *", a)
		}
		a = strings.ToLower(a)
		if err := o.cross.AddTrustedOrigin(a); err != nil {
			return nil, fmt.Errorf("server: origin %q: %w", a, err)
		}
		o.allowed = append(o.allowed, a)
	}
	for _, h := range hosts {
		if h == "" || strings.ContainsAny(h, "/ ") {
			return nil, fmt.Errorf("server: host %q, want a name as example.org", h)
		}
		o.hosts = append(o.hosts, strings.ToLower(h))
	}
	return o, nil
}

// permits says whether a page of an origin may read answers.
func (o *origins) permits(origin string) bool {
	return o.any || slices.Contains(o.allowed, strings.ToLower(origin))
}

// knowsHost says whether a name is one that the server goes by: a page of another site, whose name was made to lead to this machine,
// sends its own.
func (o *origins) knowsHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || host == "" {
		return true
	}
	return slices.Contains(o.hosts, host)
}

// What pages of other sites may send and see.
const (
	corsMethods = "GET, POST, OPTIONS"
	corsHeaders = "Authorization, Content-Type, X-Api-Key, Api-Key, X-Request-Id, X-Request-Timeout, X-Stainless-Arch, X-Stainless-Lang, X-Stainless-OS, " +
		"X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, X-Stainless-Runtime-Version, X-Stainless-Timeout"
	corsExposed = "Retry-After, Vitago-Fingerprint, X-Request-Id, X-Should-Retry"
)

// cors writes the header for a page of a permitted origin, and answers what browsers ask before.
func (o *origins) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	w.Header().Add("Vary", "Origin")
	if !o.permits(origin) {
		return false
	}
	h := w.Header()
	if o.any {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// crosses says whether a page of another site asks that may not.
func (o *origins) crosses(r *http.Request) bool {
	return !o.any && o.cross.Check(r) != nil
}
