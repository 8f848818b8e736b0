// Package wire speaks the HTTP formats of other services that give embeddings, so that their clients get them from an engine of
// package engine unchanged.
//
//	OpenAI     POST /v1/embeddings, /embeddings   also infinity's modality, Jina's objects, vLLM's messages, a form, a picture as the body
//	           GET /v1/models, /v1/models/{id}
//	Cohere     POST /v2/embed, /v1/embed
//	Voyage     POST /v1/multimodalembeddings
//	Ollama     POST /api/embed
//	immich     POST /predict, GET /ping, and [Root]
//	Weaviate   POST /vectorize, GET /meta, /.well-known/live, /.well-known/ready
//	clip-retrieval   POST /knn-service, /metadata, GET /indices-list
//
// A body whose length is known is read whole, another as it arrives; pictures in base64 are turned into bytes one after the other, and
// what is beyond a limit of the engine is refused before there is memory for it. Vectors have length 1 unless a request of a format that can ask for it says otherwise. The
// fingerprint of their space is in [FingerprintHeader] of every answer.
//
// Register leaves admission, authentication and the limit of a body to whoever mounts it; [WriteError] gives what is refused there the
// shape that the client of a path expects.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/server/engine"
)

// FingerprintHeader is the header of an answer that has the fingerprint of the space of its vectors. Vectors may be compared if theirs
// are equal.
const FingerprintHeader = "Vitago-Fingerprint"

// Options are what the handlers stand on.
type Options struct {
	Engine *engine.Engine // that computes; it must not be nil
	// Fetch returns the file of a picture that a request names by URL. Nil refuses all.
	Fetch func(ctx context.Context, url string) ([]byte, error)
	// FetchBytes is how many bytes the pictures that one request names by URL may have together; 0 is [DefaultFetchBytes].
	FetchBytes int64
	// CutDimensions permits requests for fewer dimensions than a model has: the first of a vector, of length 1 again.
	CutDimensions bool
}

// DefaultFetchBytes is the FetchBytes of [Options] where they say none.
const DefaultFetchBytes = 64 << 20

// fetches is how many pictures of a request are fetched at a time.
const fetches = 4

// A server has the handlers.
type server struct {
	Options
	found *found
}

// Register adds the routes of all formats to a mux. It panics if one is there already, as a mux does.
func Register(mux *http.ServeMux, o Options) {
	if o.FetchBytes == 0 {
		o.FetchBytes = DefaultFetchBytes
	}
	s := &server{Options: o, found: newFound(foundMost)}
	for _, route := range []struct {
		pattern string
		handle  func(w http.ResponseWriter, r *http.Request) error
	}{
		{"POST /v1/embeddings", s.openAI},
		{"POST /embeddings", s.openAI},
		{"POST /embeddings_image", s.openAI}, // of infinity's client
		{"GET /health", s.health},            // of infinity's client
		{"GET /v1/models", s.models},
		{"GET /models", s.models},
		{"GET /v1/models/{id...}", s.model},
		{"GET /models/{id...}", s.model},
		{"POST /v2/embed", s.cohere},
		{"POST /v1/embed", s.cohere},
		{"POST /v1/multimodalembeddings", s.voyage},
		{"POST /multimodalembeddings", s.voyage},
		{"POST /api/embed", s.ollama},
		{"POST /predict", s.immich},
		{"GET /ping", ping},
		{"POST /vectorize", s.vectorize},
		{"GET /meta", s.meta},
		{"GET /.well-known/live", live},
		{"GET /.well-known/ready", s.ready},
		{"POST /knn-service", s.knn},
		{"POST /metadata", s.metadata},
		{"GET /indices-list", s.indices},
	} {
		mux.HandleFunc(route.pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := route.handle(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
}

// A request is what all formats become.
type request struct {
	model      string
	items      []item
	features   clipvit.Features // the zero value is the embedding
	layer      *int             // nil if it was not said
	prepare    clipvit.Choice
	raw        bool // vectors keep their length
	dimensions int
	truncate   bool // texts that are too long are cut
}

// An answer is what comes of a request.
type answer struct {
	*engine.Embeddings
	items []engine.Item
}

// embed fetches the pictures of a request, computes its vectors, and sets the header of their fingerprint.
func (s *server) embed(w http.ResponseWriter, r *http.Request, q *request) (*answer, error) {
	if len(q.items) == 0 {
		return nil, refuse("input", "there is nothing to embed: want a text or a picture")
	}
	if err := q.check(); err != nil {
		return nil, err
	}
	model, err := s.known(q.model)
	if err != nil {
		return nil, err
	}
	dimensions := q.dimensions
	if !s.CutDimensions {
		if dimensions != 0 && model.Dim != 0 && dimensions != model.Dim {
			return nil, uncut(dimensions, model.Dim)
		}
		dimensions = 0
	}
	items, leave, err := s.fetch(r.Context(), q.items)
	if err != nil {
		return nil, err
	}
	defer leave()
	e, err := s.Engine.Embed(r.Context(), engine.EmbedRequest{
		Model: q.model, Items: items, Features: q.features, Normalize: !q.raw, Dimensions: dimensions, Preprocess: q.prepare, Truncate: q.truncate,
	})
	if err != nil {
		return nil, err
	}
	if n := len(e.Vectors[0]); q.dimensions != 0 && dimensions == 0 && n != q.dimensions {
		return nil, uncut(q.dimensions, n)
	}
	w.Header().Set(FingerprintHeader, e.Fingerprint)
	return &answer{e, items}, nil
}

func uncut(got, want int) error {
	return refuse("dimensions", "dimensions is %d and the vectors of the model have %d: the server does not cut them", got, want)
}

// known returns what the engine says of a model, of the first for "".
func (s *server) known(name string) (*engine.Info, error) {
	if i, err := s.Engine.Info(name); err == nil {
		return &i, nil
	}
	return nil, noModel(name)
}

// check finds what makes no sense of a request, whatever its model.
func (q *request) check() error {
	images := 0
	for i := range q.items {
		if q.items[i].isImage() {
			images++
		}
	}
	asked := q.features != clipvit.Features{}
	switch {
	case q.layer != nil && !q.features.HasLayer():
		return refuse("layer", "layer is %d, and an embedding has none: want features of a layer: cls, patches, mean or all", *q.layer)
	case asked && images < len(q.items):
		return refuse("features", "features is %q, and a text has an embedding alone", string(q.features.Kind))
	case q.prepare != clipvit.Choice{} && images == 0:
		return refuse("preprocess", "preprocess, fit and exif are of pictures, and there is none")
	case q.dimensions != 0 && asked && q.features.Kind != clipvit.Embedding:
		return refuse("dimensions", "dimensions is of embeddings, and features is %q", string(q.features.Kind))
	}
	if err := q.prepare.Validate(); err != nil {
		return refuse("preprocess", "%v", err)
	}
	return nil
}

// fetch returns the items of the engine, with the files of those that are URLs. These have a place in the queue, since the body that named
// them is small: leave gives it back when they are done with.
func (s *server) fetch(ctx context.Context, items []item) (all []engine.Item, leave func(), err error) {
	urls := int64(0)
	for i, it := range items {
		if it.url != "" && s.Fetch == nil {
			return nil, nil, refuse("input", "item %d is a picture by its URL, which the server does not fetch: send the picture itself, in base64 or as a data URI", i+1)
		}
		if it.url != "" {
			urls++
		}
	}
	leave = func() {}
	if urls > 0 {
		room := min(urls*s.Engine.Limits().ImageBytes, s.FetchBytes)
		if leave, err = s.Engine.ReserveBytes(ctx, room, false); errors.Is(err, clip.ErrTooLarge) {
			err = refusal{clip.ErrTooLarge, "input", fmt.Sprintf("%d pictures by their URL may have %d bytes, for which the queue has no room: send fewer in a request", urls, room)}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	all = make([]engine.Item, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetches)
	left := newBudget(s.FetchBytes)
	for i, it := range items {
		switch {
		case it.url != "":
			g.Go(func() error {
				b, err := s.Fetch(ctx, it.url)
				if err == nil && !left.take(int64(len(b))) {
					err = refusal{clip.ErrTooLarge, "input", "the pictures that the request names by their URL are too large together"}
				}
				if err != nil {
					return &engine.ItemError{Index: i, Err: err}
				}
				all[i].Image = nonNil(b)
				return nil
			})
		case it.image != nil:
			all[i].Image = it.image
		default:
			all[i].Text = it.text
		}
	}
	if err := g.Wait(); err != nil {
		leave()
		return nil, nil, err
	}
	return all, leave, nil
}

// nonNil makes of no bytes an empty file, since nil is none.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
