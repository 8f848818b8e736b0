// Package server answers over HTTP and gRPC what an [engine.Engine] computes. What it mounts knows the wire formats; the package itself
// is what stands before them: listeners and TLS, tokens, limits, admission, deadlines, logs, metrics, health, reload and the end.
//
//	listener ─▶ TLS ─▶ request id, recovery, log, metrics ─▶ origin, token ─▶ route ─▶ size, place in the queue ─▶ handler reads the body
//
// What is refused is refused before its body is read. The rest of such a body is read and thrown away within bounds, so that a client
// that is still sending sees the answer and no reset connection.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"

	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/finetuning/runs"
)

// Config says what a server is. Zero values of limits and times are the defaults.
type Config struct {
	Engine engine.Config // its Hooks are called beside those of the metrics

	Tokens      string   // file of tokens, as [ReadTokens] reads it; "" lets everybody in
	Origins     []string // of pages of other sites that may ask, as https://example.org; "*" is any
	Hosts       []string // names that the server is asked by, where it has no tokens and listens on this machine alone; localhost and addresses always
	Certificate string   // file of TLS, PEM; "" is no TLS
	Key         string   // file of its key
	ClientCA    string   // file of authorities, PEM: clients have to show a certificate of one of them; "" asks for none
	Insecure    bool     // permit addresses that other machines reach without TLS or without tokens

	MaxBody        int64         // bytes of a body; 0 is [DefaultMaxBody]
	MaxConnections int           // open at a time, of a listener; 0 is [DefaultMaxConnections]
	Timeout        time.Duration // longest time of a request, from its first byte; 0 is [DefaultTimeout]
	Stall          time.Duration // how long a body may stand still, and what it gets beside a second for every 16 KiB; 0 is [DefaultStall]
	Grace          time.Duration // from the signal to the end of listening, while /readyz says 503
	Drain          time.Duration // how long requests in flight have at the end; 0 is [DefaultDrain]

	Fetch         func(ctx context.Context, url string) ([]byte, error) // pictures by URL; nil refuses them
	CutDimensions bool                                                  // permits requests for fewer dimensions than a model has

	Runs   string // folder of the runs of finetuning that clients begin, made if it is not there; "" refuses them
	Data   string // folder that they learn from: what their requests name lies below it
	NoPage bool   // leaves out the page at /

	Log  *slog.Logger                    // nil is [slog.Default]
	Wrap func(http.Handler) http.Handler // round all else, for traces as those of OpenTelemetry; may be nil
}

// Defaults of a [Config].
const (
	DefaultMaxBody        = 64 << 20
	DefaultMaxConnections = 4096
	DefaultTimeout        = 10 * time.Minute // that of OpenAI's clients
	DefaultStall          = 20 * time.Second
	DefaultDrain          = 30 * time.Second
)

// Limits that nobody sets.
const (
	maxHeader     = 64 << 10          // bytes of a header
	headerTimeout = 10 * time.Second  // to send one
	idleTimeout   = 120 * time.Second // of a connection without a request
	bodyRate      = 16 << 10          // bytes a second that a body has to come with in the long run
)

// withDefaults returns the configuration with its zero values replaced.
func (c Config) withDefaults() Config {
	c.MaxBody = cmp.Or(c.MaxBody, DefaultMaxBody)
	c.MaxConnections = cmp.Or(c.MaxConnections, DefaultMaxConnections)
	c.Timeout = cmp.Or(c.Timeout, DefaultTimeout)
	c.Stall = cmp.Or(c.Stall, DefaultStall)
	c.Drain = cmp.Or(c.Drain, DefaultDrain)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// check returns an error for what makes no sense.
func (c Config) check() error {
	var all []error
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"MaxBody", c.MaxBody}, {"MaxConnections", int64(c.MaxConnections)}, {"Timeout", int64(c.Timeout)}, {"Stall", int64(c.Stall)},
		{"Grace", int64(c.Grace)}, {"Drain", int64(c.Drain)},
	} {
		if n.value < 0 {
			all = append(all, fmt.Errorf("server: %s is %d, want 0 or more", n.name, n.value))
		}
	}
	switch {
	case (c.Certificate == "") != (c.Key == ""):
		all = append(all, errors.New("server: a certificate and its key belong together, got one of them"))
	case (c.Runs == "") != (c.Data == ""):
		all = append(all, errors.New("server: a folder of runs and one of data belong together, got one of them"))
	case c.ClientCA != "" && c.Certificate == "":
		all = append(all, errors.New("server: certificates of clients are asked for over TLS alone: want a certificate and key"))
	}
	if c.Runs != "" && c.Data != "" {
		if info, err := os.Stat(c.Data); err != nil {
			all = append(all, fmt.Errorf("server: data of runs: %w", err))
		} else if !info.IsDir() {
			all = append(all, fmt.Errorf("server: data of runs: %s is a file, want a folder", c.Data))
		}
	}
	d, queue := c.withDefaults(), cmp.Or(c.Engine.QueueBytes, engine.DefaultQueueBytes)
	if d.MaxBody > queue {
		all = append(all, fmt.Errorf("server: a body may have %d bytes, and the queue has room for %d: such a one would never be taken", d.MaxBody, queue))
	}
	return errors.Join(all...)
}

// A Server answers requests. Its methods may be called by many goroutines.
type Server struct {
	engine   *engine.Engine
	log      *slog.Logger
	metrics  *metrics
	mux      *http.ServeMux
	handler  http.Handler
	rpc      *rpc.Server
	grpc     http.Handler
	services map[string]grpc.ServiceInfo
	runs     *runs.Runs // nil where there are none
	reserve  func(ctx context.Context, bytes int64) (leave func(), err error)
	force    atomic.Pointer[inForce]
	lingers  chan struct{} // places for bodies that are thrown away

	left     context.Context // ends when the server listens no more
	leave    context.CancelFunc
	reload   sync.Mutex // held by Reload
	draining atomic.Bool
	inFlight atomic.Int64
}

// inForce is the part of a configuration that Reload replaces.
type inForce struct {
	config  Config
	tokens  *Tokens // nil lets everybody in
	origins *origins
	certs   *certificates // nil is no TLS
}

// force makes of a configuration what stands behind it, or returns why that is not possible.
func force(c Config) (*inForce, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f := &inForce{config: c.withDefaults()}
	var err error
	if f.origins, err = newOrigins(c.Origins, c.Hosts); err != nil {
		return nil, err
	}
	if c.Tokens != "" {
		if f.tokens, err = ReadTokens(c.Tokens); err != nil {
			return nil, err
		}
	}
	if c.Certificate != "" {
		if f.certs, err = newCertificates(c.Certificate, c.Key, c.ClientCA, f.config.Log); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Check returns an error if a configuration makes no sense, or its files cannot be read. It opens no model.
func Check(c Config) error {
	_, err := force(c)
	return err
}

// New returns a server of a configuration. It loads those models that are to be preloaded, and listens to nobody yet. What it holds, such as
// the folder of runs, Serve lets go in the end.
func New(ctx context.Context, c Config) (*Server, error) {
	f, err := force(c)
	if err != nil {
		return nil, err
	}
	s := &Server{log: f.config.Log, lingers: make(chan struct{}, maxLingers), mux: http.NewServeMux()}
	s.left, s.leave = context.WithCancel(context.WithoutCancel(ctx))
	s.metrics = newMetrics(s)
	c.Engine.Hooks = s.hooks(c.Engine.Hooks)
	if s.engine, err = engine.New(ctx, c.Engine); err != nil {
		return nil, err
	}
	s.reserve = s.engine.Reserve
	s.force.Store(f)
	if c.Runs != "" {
		if s.runs, err = runs.Open(runs.Options{Dir: c.Runs, Data: c.Data, Model: s.base}); err != nil {
			return nil, errors.Join(err, s.engine.Close(ctx))
		}
	}
	if err := s.mount(f.config); err != nil {
		return nil, errors.Join(err, s.endRuns(ctx, f.config), s.engine.Close(ctx))
	}
	s.handler = s.middleware(s.mux)
	if c.Wrap != nil {
		s.handler = c.Wrap(s.handler)
	}
	return s, nil
}

// Engine returns what the server computes with.
func (s *Server) Engine() *engine.Engine { return s.engine }

// Handler returns what answers, for servers of one's own. Such a server has to set limits of headers and times itself.
func (s *Server) Handler() http.Handler { return s.handler }

// Ready returns nil when the server takes requests, and else why not.
func (s *Server) Ready() error {
	if s.draining.Load() {
		return fmt.Errorf("server: %w", engine.ErrClosed)
	}
	return s.engine.Ready()
}

// Serve answers on listeners until ctx ends or one of them fails. Then it says that it is not ready, goes on for the grace of the
// configuration, listens no more, and returns when the requests in flight are answered or their time is over, which is an error. It
// closes the listeners and the engine. Runs of finetuning stop with a checkpoint, and have the same time. A server serves once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	c := s.force.Load().config
	requests, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	srv := s.httpServer(s.handler)
	srv.BaseContext = func(net.Listener) context.Context { return requests }

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		l = netutil.LimitListener(l, c.MaxConnections)
		if s.force.Load().certs != nil {
			l = tls.NewListener(l, s.tlsConfig())
		}
		go func() { failed <- srv.Serve(l) }()
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
	}
	s.draining.Store(true)
	s.log.Info("draining", "in_flight", s.inFlight.Load(), "grace", c.Grace, "deadline", c.Drain)
	if failure == nil && c.Grace > 0 {
		timer := time.NewTimer(c.Grace)
		select {
		case <-timer.C:
		case failure = <-failed:
		}
		timer.Stop()
	}
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Drain)
	defer cancel()
	s.leave()
	ended := make(chan error, 1)
	go func() { ended <- s.endRuns(deadline, c) }() // meanwhile: requests may wait for a run to stop
	if err := srv.Shutdown(deadline); err != nil {
		failure = errors.Join(failure, fmt.Errorf("server: %s not answered after %v", plural.Phrase{One: "request is", Many: "requests are"}.Of(int(s.inFlight.Load())), c.Drain))
		cut(fmt.Errorf("server: %w", engine.ErrClosed))
		srv.Close()
	}
	s.rpc.Stop() // which has nothing to do any more
	failure = errors.Join(failure, <-ended, s.engine.Close(deadline))
	s.log.Info("stopped")
	return failure
}

// endRuns stops what trains, if anything does.
func (s *Server) endRuns(ctx context.Context, c Config) error {
	if s.runs == nil {
		return nil
	}
	if err := s.runs.Close(ctx); err != nil {
		return fmt.Errorf("server: the run of finetuning has not stopped after %v: it will go on from its last checkpoint", c.Drain)
	}
	return nil
}

// ServeAdmin answers probes and metrics on a listener, without tokens, until stop is called.
func (s *Server) ServeAdmin(l net.Listener) (stop func()) {
	srv := s.httpServer(s.Admin())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("probes and metrics", "error", err)
		}
	}()
	return func() {
		srv.Close()
		<-done
	}
}

// httpServer returns a server with the limits that hold for all.
func (s *Server) httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC without TLS
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(quietHandshakes{s.log.Handler()}, slog.LevelWarn),
		HTTP2: &http.HTTP2Config{ // a peer that is gone without a word is found by a ping
			MaxConcurrentStreams: 256, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: writeTimeout,
			MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 2 << 20,
			MaxReadFrameSize: 64 << 10, // a connection keeps a buffer of its largest frame, for a while even when it is closed
		},
	}
}

// Reload replaces models, tokens, certificates, origins, limits and times by those of another configuration. What is wrong leaves the
// old one in force whole, and is the error. Whether there is TLS stays as it was, as do the listeners, MaxConnections, CutDimensions,
// Runs, Data, NoPage, Log and Wrap, and how large a message of gRPC may be.
func (s *Server) Reload(ctx context.Context, c Config) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	old := s.force.Load()
	c.Log, c.Wrap, c.MaxConnections, c.CutDimensions = old.config.Log, old.config.Wrap, old.config.MaxConnections, old.config.CutDimensions
	c.Runs, c.Data, c.NoPage = old.config.Runs, old.config.Data, old.config.NoPage
	f, err := force(c)
	if err != nil {
		return err
	}
	if (f.certs == nil) != (old.certs == nil) {
		return errors.New("server: TLS begins and ends with the process: want a certificate if there was one, and none if there was none")
	}
	if old.tokens != nil && f.tokens == nil && !c.Insecure {
		return errors.New("server: tokens were asked for, and would not be any more: want Insecure for that")
	}
	c.Engine.Hooks = s.hooks(c.Engine.Hooks)
	if err := s.engine.Reload(ctx, c.Engine); err != nil {
		return err
	}
	s.force.Store(f)
	s.metrics.reloads.Inc()
	return nil
}

// kindOf is status.Of with the reason why requests are cut at the end.
func kindOf(ctx context.Context, err error) status.Kind {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), engine.ErrClosed) {
		err = engine.ErrClosed
	}
	return status.Of(err)
}
