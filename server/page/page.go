// Package page is the page at / of a server, on which a visitor tries its models: drop a picture, type labels, see which fit, where the model
// looks, and which pictures of an index are alike. It is HTML, CSS and modules of JavaScript that are part of the program; nothing is built,
// and nothing is asked of another server.
//
// What it serves below /ui/ is for the page alone, and may change with it: programs have the routes of packages wire and rpc.
//
//	GET  /                    the page
//	GET  /ui/static/HASH/…    what it is made of
//	GET  /ui/info             models, examples, limits
//	GET  /ui/example/NAME     a picture to try
//	POST /ui/classify         picture, labels ─▶ probabilities
//	POST /ui/map              picture, label ─▶ where the model looks
//	POST /ui/search           picture, words or a path of the index ─▶ pictures of the index
//	GET  /ui/picture          a picture of the index, small
package page

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
)

// Options say what a page is of.
type Options struct {
	Engine *engine.Engine // that computes; it must not be nil
	// Examples are pictures that a visitor may take, whose names say what they show, as those of demo.Pictures do. Nil is none.
	Examples []clip.Picture
	// Other answers GET / of clients that do not accept HTML. Nil is the page for all.
	Other http.Handler
}

// Open says whether a path is to be served to who has no token: the page itself, which asks for one. All of it is part of the program.
func Open(path string) bool {
	return path == "/" || strings.HasPrefix(path, staticPrefix) && !strings.Contains(path, "..")
}

// Register gives the page and its routes to a mux. A place in the engine's queue, tokens, and the refusal of what pages of other sites post
// are the business of who serves the mux.
func Register(mux *http.ServeMux, o Options) {
	p := &page{Options: o, shrinking: make(chan struct{}, shrinkers)}
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			harden(w.Header())
			w.Header().Set("Cache-Control", "no-store")
			if err := h(w, r); err != nil {
				status.RetryAfter(w.Header(), status.Of(err), o.Engine.RetryAfter())
				status.Write(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /{$}", p.index)
	mux.HandleFunc("GET "+staticPrefix+"{hash}/{name}", asset)
	handle("GET /ui/info", p.info)
	handle("GET /ui/example/{name}", p.example)
	handle("POST /ui/classify", p.classify)
	handle("POST /ui/map", p.explain)
	handle("POST /ui/search", p.search)
	handle("GET /ui/picture", p.picture)
}

// A page is the page of an engine.
type page struct {
	Options
	shrinking chan struct{} // has a place for each picture that is made small
}

// harden says of an answer that a browser must take it for what it is, and show it to nobody else.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // unless nobody listens any more
	return nil
}

// wantsHTML says whether a client accepts HTML by that name, as browsers do and curl and immich do not.
func wantsHTML(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Accept"), func(accept string) bool {
		return slices.ContainsFunc(strings.Split(accept, ","), func(part string) bool {
			kind, quality, _ := strings.Cut(part, ";")
			zero := strings.Trim(strings.ReplaceAll(quality, " ", ""), "0.") == "q="
			return strings.EqualFold(strings.TrimSpace(kind), "text/html") && !zero
		})
	})
}
