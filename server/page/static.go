package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"image/png"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/server/status"
)

//go:embed static
var files embed.FS

// staticPrefix is where the files lie that the page is made of, below the hash of all of them: so browsers may keep them for ever, and modules
// may name each other.
const staticPrefix = "/ui/static/"

// policy lets the page load what is part of the program, show pictures that it has got, and ask this server. Nothing else runs.
//
// Source: W3C, Content Security Policy Level 3 and Trusted Types.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// The width and height of the legend in pixels.
const legendWidth, legendHeight = 256, 8

// types are those of the files by their endings. Those of package mime depend on the machine.
var types = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".png": "image/png",
	".svg": "image/svg+xml",
}

// assets are the files of the page by their names, hash is that of all of them, and html is the page with the hash in it.
var assets, hash, html = func() (map[string][]byte, string, []byte) {
	all := map[string][]byte{}
	sum := sha256.New()
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // it is part of the program
	}
	for _, e := range entries { // in the order of their names
		content, err := files.ReadFile(path.Join("static", e.Name()))
		if err != nil {
			panic(err)
		}
		all[e.Name()] = content
	}
	var legend bytes.Buffer
	if err := png.Encode(&legend, explain.Legend(legendWidth, legendHeight)); err != nil {
		panic(err) // a buffer takes all
	}
	all["legend.png"] = legend.Bytes()
	for _, e := range entries {
		sum.Write(all[e.Name()])
	}
	sum.Write(all["legend.png"])
	hash := hex.EncodeToString(sum.Sum(nil)[:8])
	var html bytes.Buffer
	// The address is relative, so that the page may lie below any path of a proxy.
	if err := template.Must(template.New("").Parse(string(all["index.html"]))).Execute(&html, strings.TrimPrefix(staticPrefix, "/")+hash); err != nil {
		panic(err)
	}
	delete(all, "index.html")
	return all, hash, html.Bytes()
}()

// index answers with the page.
func (p *page) index(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Accept")
	if p.Other != nil && !wantsHTML(r) {
		p.Other.ServeHTTP(w, r)
		return
	}
	harden(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `"`+hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(html))
}

// asset answers with a file of the page.
func asset(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	harden(h)
	content, ok := assets[r.PathValue("name")]
	if !ok || r.PathValue("hash") != hash {
		status.Write(w, r, status.ErrNotFound)
		return
	}
	h.Set("Content-Type", types[path.Ext(r.PathValue("name"))])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Content-Security-Policy", "default-src 'none'") // if it is opened by itself
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
