package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/page"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/server/wire"
	"github.com/vitago/vitago/tasks/finetuning"
)

// mount adds the routes of all wire formats, the page, and gRPC.
func (s *Server) mount(c Config) error {
	s.mountOwn(s.mux)
	wire.Register(s.mux, wire.Options{Engine: s.engine, Fetch: s.fetch, CutDimensions: c.CutDimensions})
	if c.NoPage {
		s.mux.Handle("GET /{$}", wire.Root)
	} else {
		p := page.Options{Engine: s.engine, Other: wire.Root}
		if slices.ContainsFunc(c.Engine.Models, func(m engine.Model) bool { return m.Path == demo.Name }) {
			p.Examples = demo.Pictures()
		}
		page.Register(s.mux, p)
	}
	o := rpc.Options{Engine: s.engine, Runs: s.runs, Done: s.left.Done(), Ready: s.Ready, MaxReceive: int(c.MaxBody), Recovered: func(method string, v any, stack []byte) { s.panicked(method, v, stack) }}
	if err := rpc.Gateway(s.mux, o); err != nil {
		return err
	}
	s.rpc = rpc.NewServer(o)
	s.grpc, s.services = s.rpc.Handler(), s.rpc.GetServiceInfo()
	return nil
}

// base returns the path of the model that a run of finetuning begins with.
func (s *Server) base(name string) (string, error) {
	m, err := s.engine.Model(name)
	if err == nil && len(m.Adapters) > 0 {
		err = fmt.Errorf("server: model %.100q: %w: it has adapters, which a run would leave out: merge them before", name, finetuning.ErrRefused)
	}
	return m.Path, err
}

// fetch returns what fetches pictures by URL, which a reload may replace, begin or end.
func (s *Server) fetch(ctx context.Context, url string) ([]byte, error) {
	if f := s.force.Load().config.Fetch; f != nil {
		return f(ctx, url)
	}
	return nil, fmt.Errorf("%w: pictures by URL are not fetched here: send the file itself, or its base64", clip.ErrRequest)
}

// watched gives requests a context that ends when the server listens no more, for those that nothing else ends: they watch its health.
func (s *Server) watched(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(s.left, func() { cancel(fmt.Errorf("server: %w", engine.ErrClosed)) })()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
