package page

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bare is a page without an engine, for what needs none.
func bare(other http.Handler) *fixture {
	mux := http.NewServeMux()
	Register(mux, Options{Other: other})
	return &fixture{Handler: mux}
}

// TestIndex: the page has the headers that hold a browser to it.
func TestIndex(t *testing.T) {
	w := bare(nil).get("/")
	if w.Code != http.StatusOK {
		t.Fatalf("status %d", w.Code)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Vary": "Accept",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "ETag": `"` + hash + `"`, "Set-Cookie": "",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	for directive := range strings.SplitSeq(policy, "; ") {
		name, sources, _ := strings.Cut(directive, " ")
		want := map[string]string{
			"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' blob: data:", "connect-src": "'self'", "base-uri": "'none'",
			"form-action": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
		}[name]
		if sources != want {
			t.Errorf("%s has %s, want %q", name, sources, want)
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	if again := bare(nil).get("/", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("asked again: status %d with %d bytes, want %d with none", again.Code, again.Body.Len(), http.StatusNotModified)
	}
	r := httptest.NewRequest(http.MethodHead, "/", nil)
	head := httptest.NewRecorder()
	if bare(nil).ServeHTTP(head, r); head.Code != http.StatusOK || head.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
		t.Errorf("HEAD: status %d, %v", head.Code, head.Header())
	}
}

// TestAccept: browsers get the page, and others what they know.
func TestAccept(t *testing.T) {
	other := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "other") })
	for accept, html := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/*": false, "text/html;q=0": false, "text/html; q=0.00, */*": false, "text/html5": false,
		"text/html": true, "TEXT/HTML": true, "application/json, text/html;q=0.1": true, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
	} {
		var header []string
		if accept != "" {
			header = []string{"Accept", accept}
		}
		w := bare(other).get("/", header...)
		if got := w.Body.String() != "other"; got != html || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%q gets the page: %t, want %t; Vary is %q", accept, got, html, w.Header().Get("Vary"))
		}
		if w := bare(nil).get("/", header...); !strings.HasPrefix(w.Body.String(), "<!doctype html>") {
			t.Errorf("%q, with nothing else to get, gets %.40q", accept, w.Body)
		}
	}
}

// TestOpen: what is open to who has no token is in the program, and nothing else.
func TestOpen(t *testing.T) {
	for path, want := range map[string]bool{"/": true, staticPrefix + hash + "/page.js": true, "/ui/static": false, "/ui/static/../info": false, "/ui/info": false, "/ui/picture": false, "/x": false, "/ui/": false} {
		if got := Open(path); got != want {
			t.Errorf("%s is open: %t, want %t", path, got, want)
		}
	}
}

var (
	referred = regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	imported = regexp.MustCompile(`(?m)^(?:import|export) .*from "([^"]*)";$|^import "([^"]*)";$`)
	asked    = regexp.MustCompile(`\$\("([\w-]+)"\)`)
	ids      = regexp.MustCompile(` id="([\w-]+)"`)
	pointed  = regexp.MustCompile(` (?:for|aria-labelledby|aria-describedby)="([^"]+)"`)
)

// TestStatic: all that the page is made of is there, may be kept for ever, and leads nowhere else.
func TestStatic(t *testing.T) {
	x := bare(nil)
	folder := "ui/static/" + hash + "/"
	seen := map[string]bool{"legend.png": false}
	for name := range assets {
		seen[name] = false
	}
	fetch := func(name string) {
		t.Helper()
		if strings.Contains(name, "/") {
			t.Errorf("%q is in no folder of the page", name)
		}
		seen[name] = true
		w := x.get("/" + folder + name)
		want := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml"}[path.Ext(name)]
		h := w.Header()
		if w.Code != http.StatusOK || h.Get("Content-Type") != want || h.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Security-Policy") != "default-src 'none'" {
			t.Errorf("%s: status %d, %v", name, w.Code, h)
		}
	}
	for _, m := range referred.FindAllSubmatch(html, -1) {
		name, ok := strings.CutPrefix(string(m[1]), folder)
		if !ok {
			t.Errorf("the page refers to %s, want what is below %s", m[1], folder)
		}
		fetch(name)
	}
	for name, content := range assets {
		if path.Ext(name) == ".js" {
			for _, m := range imported.FindAllSubmatch(content, -1) {
				from := string(m[1]) + string(m[2])
				local, ok := strings.CutPrefix(from, "./")
				if !ok {
					t.Errorf("%s imports %s, want ./…", name, from)
				}
				fetch(local)
			}
		}
	}
	for name, used := range seen {
		if !used {
			t.Errorf("%s is served, and nothing refers to it", name)
		}
	}
	all := map[string][]byte{"index.html": html}
	for name, content := range assets {
		all[name] = content
	}
	for name, content := range all {
		content = bytes.ReplaceAll(content, []byte(`xmlns="http://www.w3.org/2000/svg"`), nil)
		for _, no := range []string{"http:", "https:", `"//`, "eval(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "new Function", "localStorage", "document.cookie", "import("} {
			if bytes.Contains(content, []byte(no)) {
				t.Errorf("%s has %s", name, no)
			}
		}
	}
	for _, no := range []string{"url(", "@import"} {
		if bytes.Contains(assets["page.css"], []byte(no)) {
			t.Errorf("page.css has %s", no)
		}
	}
	for _, no := range []string{" style=", "<style", " on", "javascript:"} { // what a strict policy forbids
		if i := bytes.Index(html, []byte(no)); i >= 0 && (no != " on" || regexp.MustCompile(` on\w+=`).Match(html)) {
			t.Errorf("the page has %q", no)
		}
	}
	for _, m := range regexp.MustCompile(`<script[^>]*>([^<]*)</script>`).FindAllSubmatch(html, -1) {
		if len(m[1]) > 0 {
			t.Errorf("the page has a script in itself: %s", m[1])
		}
	}
	for _, want := range []string{`<html lang="en">`, "<title>Vitago</title>", `name="viewport"`, `rel="icon"`, "<main>", "<h1>"} {
		if !bytes.Contains(html, []byte(want)) {
			t.Errorf("the page has no %s", want)
		}
	}
}

// TestNames: an element that a script or another element names is on the page once.
func TestNames(t *testing.T) {
	var all []string
	for _, m := range ids.FindAllSubmatch(html, -1) {
		if id := string(m[1]); slices.Contains(all, id) {
			t.Errorf("the page has %s twice", id)
		} else {
			all = append(all, id)
		}
	}
	want := func(from, id string) {
		if !slices.Contains(all, id) {
			t.Errorf("%s names %s, which the page does not have", from, id)
		}
	}
	for name, content := range assets {
		if path.Ext(name) == ".js" {
			for _, m := range asked.FindAllSubmatch(content, -1) {
				want(name, string(m[1]))
			}
		}
	}
	for _, m := range pointed.FindAllSubmatch(html, -1) {
		for id := range strings.FieldsSeq(string(m[1])) {
			want("the page", id)
		}
	}
}
