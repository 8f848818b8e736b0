// Package rpc answers over gRPC, and over HTTP with JSON, with what an engine computes: the services of package vitagov1, cybertron's service
// for texts, reflection and health.
//
//	call ─▶ header: Auth, Engine.Reserve ─▶ message ─▶ Unary and Stream of the Options ─▶ recovery ─▶ service ─▶ engine
//
// A call that is refused for its token or for want of room is refused before its message is read. Errors have the codes of package
// status, and details by which package client makes the same errors of them.
package rpc

import (
	"context"
	"net/http"
	"sync"

	textencodingv1 "github.com/nlpodyssey/cybertron/pkg/server/gen/proto/go/textencoding/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// DefaultMaxReceive is how many bytes a message may have: a request with pictures in it.
const DefaultMaxReceive = 64 << 20

// Options say what services stand on.
type Options struct {
	Engine *engine.Engine // that computes; it must not be nil
	Runs   *runs.Runs     // of finetuning; nil refuses it

	// Auth decides by the header of a call whether it is permitted, and may put into its context who asks. It must not wait. Errors are
	// those of package status. Calls of health and reflection are asked as well. nil permits all.
	Auth func(ctx context.Context, method string) (context.Context, error)
	// Ready says whether calls are answered, for health; nil is the engine's.
	Ready func() error

	Unary     []grpc.UnaryServerInterceptor                // interceptors around calls with one answer, the outermost first
	Stream    []grpc.StreamServerInterceptor               // those around streams
	Stats     []stats.Handler                              // hear of every call, as of grpc.StatsHandler
	Recovered func(method string, value any, stack []byte) // is told of a handler that panicked

	MaxReceive int             // bytes of a message; 0 is DefaultMaxReceive
	Done       <-chan struct{} // calls that watch end when it is closed, as they do when a Server drains; nil is never

	draining <-chan struct{} // closed when the server drains; nil where there is none
}

// A Server is gRPC's, with all services.
type Server struct {
	*grpc.Server
	draining chan struct{}
	drain    sync.Once
}

// NewServer returns a server with all services. Its options begin with what o says; those of more come after it, such as credentials.
//
// Serve it by a listener of its own, or by [Server.Handler] behind what decides about requests. By its ServeHTTP messages are read before
// a call is refused.
func NewServer(o Options, more ...grpc.ServerOption) *Server {
	if o.MaxReceive == 0 {
		o.MaxReceive = DefaultMaxReceive
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(o.MaxReceive),
		grpc.InTapHandle(o.tap),
		grpc.ChainUnaryInterceptor(append(o.Unary[:len(o.Unary):len(o.Unary)], o.unary)...),
		grpc.ChainStreamInterceptor(append(o.Stream[:len(o.Stream):len(o.Stream)], o.stream)...),
	}
	for _, h := range o.Stats {
		options = append(options, grpc.StatsHandler(h))
	}
	s := &Server{Server: grpc.NewServer(append(options, more...)...), draining: make(chan struct{})}
	o.draining = s.draining
	Register(s, o)
	vitagov1.RegisterFinetuningServiceServer(s, trains{Options: o})
	textencodingv1.RegisterTextEncodingServiceServer(s, cybertronText{Options: o})
	h := &health{ready: o.Ready, draining: s.draining}
	if h.ready == nil {
		h.ready = o.Engine.Ready
	}
	grpc_health_v1.RegisterHealthServer(s, h)
	reflection.Register(s)
	for name := range s.GetServiceInfo() {
		h.names = append(h.names, name)
	}
	return s
}

// Register adds the services of package vitagov1, but for finetuning, to a server of one's own. It has no admission, limit or recovery of
// theirs.
func Register(r grpc.ServiceRegistrar, o Options) {
	vitagov1.RegisterImageEncodingServiceServer(r, images{Options: o})
	vitagov1.RegisterTextEncodingServiceServer(r, texts{Options: o})
	vitagov1.RegisterImageClassificationServiceServer(r, classes{Options: o})
	vitagov1.RegisterImageTextSimilarityServiceServer(r, similarities{Options: o})
	vitagov1.RegisterImageSearchServiceServer(r, finds{Options: o})
	vitagov1.RegisterVisualTokensServiceServer(r, tokens{Options: o})
	vitagov1.RegisterExplanationServiceServer(r, explanations{Options: o})
	vitagov1.RegisterModelsServiceServer(r, models{Options: o})
}

// computes has the services whose calls take a place in the queue.
var computes = map[string]bool{
	vitagov1.ImageEncodingService_ServiceDesc.ServiceName:      true,
	vitagov1.TextEncodingService_ServiceDesc.ServiceName:       true,
	textencodingv1.TextEncodingService_ServiceDesc.ServiceName: true,
}

// Handler answers over net/http what has been admitted before: neither Options.Auth nor a place in the queue is asked for again. Who
// calls it does both. HTTP/2 is needed, with or without TLS.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), admittedKey{}, true)))
	})
}

// Leave lets health say that the server does not serve, and ends calls that would not end by themselves: those that watch. Others are
// answered as before.
func (s *Server) Leave() { s.drain.Do(func() { close(s.draining) }) }

// Drain leaves, takes no more calls, and returns when those in flight have been answered. Those that are not when ctx ends are cut off,
// and its cause is returned.
func (s *Server) Drain(ctx context.Context) error {
	s.Leave()
	done := make(chan struct{})
	go func() {
		s.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Stop()
		<-done
		return context.Cause(ctx)
	}
}
