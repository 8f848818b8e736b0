package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"

	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/server/wire"
)

// middleware puts before a mux all that stands there: from the outside in
//
//	observed   request id, recovery, log, metrics
//	guarded    origin, host, token
//	routed     404 and 405
//	admitted   size of the body, deadline, place in the queue, speed of the body
func (s *Server) middleware(mux *http.ServeMux) http.Handler {
	return s.observed(s.guarded(s.routed(mux, s.admitted(mux))))
}

// seen is what becomes known of a request on its way.
type seen struct {
	route  string // the pattern of the mux, "" where there is none
	client string // the name of its token
}

type seenKey struct{}

func seenOf(r *http.Request) *seen { return r.Context().Value(seenKey{}).(*seen) }

// observed gives a request its id, answers for handlers that panic, and tells log and metrics what became of it.
func (s *Server) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		id := requestID(r.Header.Get("X-Request-Id"))
		about := &seen{}
		ctx, kept := status.WithRecord(context.WithValue(r.Context(), seenKey{}, about))
		r = r.WithContext(ctx)
		answer := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
		answer.Header().Set("X-Request-Id", id)
		answer.Header().Set("X-Content-Type-Options", "nosniff")
		aborted := false
		func() {
			defer func() {
				switch v := recover(); v {
				case nil:
				case http.ErrAbortHandler: // as net/http compares it
					aborted = true
				default:
					s.panicked(about.route, v, debug.Stack(), "request_id", id)
					if aborted = answer.status != 0; !aborted {
						s.refuse(answer, r, errors.New("panic"))
					}
				}
			}()
			next.ServeHTTP(answer, r)
		}()
		s.tell(r, answer, about, id, kept(), time.Since(begin), aborted)
		if aborted { // half an answer must not look whole
			panic(http.ErrAbortHandler)
		}
	})
}

// panicked tells of a mistake of the program, which one request has met.
func (s *Server) panicked(where string, v any, stack []byte, more ...any) {
	s.log.Error("panic", append(more, "at", where, "panic", fmt.Sprint(v), "stack", string(stack))...)
	s.metrics.panics.Inc()
}

// tell says in the log and the metrics what became of a request. Neither tokens nor queries nor what bodies hold are in it.
func (s *Server) tell(r *http.Request, a *answer, about *seen, id string, err error, took time.Duration, aborted bool) {
	code, level := a.status, slog.LevelInfo
	if code == 0 {
		code = http.StatusOK
	}
	word := ""
	if err != nil {
		kind := kindOf(r.Context(), err)
		word = kind.Word
		if kind.HTTP == status.StatusClientGone && r.Context().Err() != nil {
			code = kind.HTTP
		}
	}
	if aborted {
		word = "aborted"
	}
	switch {
	case aborted, code == http.StatusInternalServerError, err != nil && status.Of(err) == status.Internal: // of gRPC, too; the others are by what was sent
		level = slog.LevelError
	case isProbe(r.URL.Path):
		level = slog.LevelDebug
	}
	s.metrics.request(about.route, r.Method, code, word, took)
	if !s.log.Enabled(r.Context(), level) {
		return
	}
	at := r.URL.Path
	if len(at) > 200 {
		at = at[:200] + "…"
	}
	attrs := []slog.Attr{slog.String("request_id", id), slog.String("method", r.Method), slog.String("path", at), slog.Int("status", code),
		slog.Float64("seconds", math.Round(took.Seconds()*1e6)/1e6), slog.Int64("bytes_in", max(r.ContentLength, 0)), slog.Int64("bytes_out", a.bytes),
		slog.String("remote", r.RemoteAddr), slog.String("protocol", r.Proto)}
	if about.client != "" {
		attrs = append(attrs, slog.String("client", about.client))
	}
	if word != "" {
		attrs = append(attrs, slog.String("error", word))
	}
	if err != nil && status.Of(err) == status.Internal { // other texts may have words of the body
		attrs = append(attrs, slog.String("reason", err.Error()))
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// isProbe says whether a path is asked all the time.
func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" || path == "/metrics" }

// requestID returns the id that a client gave, if it can stand in a log and a header, or a new one.
func requestID(given string) string {
	if given == "" || len(given) > 128 || strings.ContainsFunc(given, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._:-/+=", c))
	}) {
		return rand.Text()
	}
	return given
}

// guarded lets in who may ask.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.force.Load()
		if f.origins.cors(w, r) {
			return
		}
		if f.tokens == nil && f.config.ClientCA == "" && !f.config.Insecure && !f.origins.knowsHost(r.Host) {
			s.refuse(w, r, fmt.Errorf("%w: the server does not go by the name %.100q", status.ErrForbidden, r.Host))
			return
		}
		if f.origins.crosses(r) {
			s.refuse(w, r, fmt.Errorf("%w: pages of other sites may not ask", status.ErrForbidden))
			return
		}
		if f.tokens != nil && !isOpen(r) {
			token := tokenOf(r.Header)
			name, ok := f.tokens.Find(token)
			if !ok {
				w.Header().Set("Www-Authenticate", `Bearer realm="vitago"`)
				why := "want Authorization: Bearer TOKEN"
				if token != "" {
					why = "the token is not known"
				}
				s.refuse(w, r, fmt.Errorf("%w: %s", status.ErrToken, why))
				return
			}
			seenOf(r).client = name
		}
		next.ServeHTTP(w, r)
	})
}

// routed answers for paths and methods that the mux does not have.
func (s *Server) routed(mux *http.ServeMux, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isGRPC(r) {
			seenOf(r).route = "gRPC " + r.URL.Path
			if _, ok := s.method(r.URL.Path); !ok { // there are as many as clients think of
				seenOf(r).route = "gRPC"
			}
			next.ServeHTTP(w, r)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern != "" {
			seenOf(r).route = pattern
			next.ServeHTTP(w, r)
			return
		}
		found := &discard{header: http.Header{}}
		h.ServeHTTP(found, r)
		if allowed := found.header.Get("Allow"); allowed != "" {
			w.Header().Set("Allow", allowed)
			s.refuse(w, r, fmt.Errorf("%w: %s has %s", status.ErrMethod, shortPath(r), allowed))
			return
		}
		s.refuse(w, r, fmt.Errorf("%w: %s", status.ErrNotFound, shortPath(r)))
	})
}

// method returns a method of gRPC by its path.
func (s *Server) method(at string) (grpc.MethodInfo, bool) {
	service, name, _ := strings.Cut(strings.TrimPrefix(at, "/"), "/")
	methods := s.services[service].Methods
	i := slices.IndexFunc(methods, func(m grpc.MethodInfo) bool { return m.Name == name })
	if i < 0 {
		return grpc.MethodInfo{}, false
	}
	return methods[i], true
}

func shortPath(r *http.Request) string { return fmt.Sprintf("%.100q", r.URL.Path) }

// discard is where the mux writes what it says of a path that it does not have.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// admitted takes a place in the queue for what has a body, before it is read, and lets the body come neither too large nor too slowly.
func (s *Server) admitted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := s.force.Load().config
		isCall := isGRPC(r)
		if s.lasts(r, isCall) {
			if a, ok := w.(*answer); ok {
				a.lasts = true
			}
			var h http.Handler = mux
			if isCall {
				h = s.grpc
			}
			if endless(r, isCall) {
				h = s.watched(h)
			}
			h.ServeHTTP(w, r)
			return
		}
		if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") && !isCall && r.ContentLength != 0 {
			s.refuse(w, r, fmt.Errorf("%w: the body has the Content-Encoding %.40q, want none", status.ErrMedia, e))
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), min(c.Timeout, wanted(r.Header)))
		defer cancel()
		r = r.WithContext(ctx)
		if computes(r, isCall) {
			if r.ContentLength > c.MaxBody {
				s.refuse(w, r, &http.MaxBytesError{Limit: c.MaxBody})
				return
			}
			leave, err := s.reserve(ctx, r.ContentLength)
			if err != nil {
				s.refuse(w, r, err)
				return
			}
			defer leave()
		}
		var grown []func()
		defer func() {
			for _, leave := range grown {
				leave()
			}
		}()
		if r.Body != nil && r.Body != http.NoBody {
			limited := r.Body
			if !isCall {
				limited = http.MaxBytesReader(unwrap(w), r.Body, c.MaxBody)
			}
			raw, p := r.Body, &paced{ReadCloser: limited, control: http.NewResponseController(w), begin: time.Now(), stall: c.Stall}
			if computes(r, isCall) && r.ContentLength < 0 { // gRPC's never say how long they are
				p.counted = engine.UnknownBytes
				p.grow = func(bytes int64) error {
					leave, err := s.engine.ReserveBytes(ctx, bytes, false)
					if err == nil {
						grown = append(grown, leave)
						return nil
					}
					status.Record(ctx, err)
					if isCall {
						return http2.StreamError{Code: http2.ErrCodeEnhanceYourCalm, Cause: err} // of which gRPC makes RESOURCE_EXHAUSTED
					}
					return err
				}
			}
			r.Body = p
			defer func() {
				if p.refused && p.control.Flush() == nil {
					s.throwAway(p.control, raw, r.ProtoMajor)
				}
			}()
		}
		if isCall {
			s.grpc.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// computes says whether a request wants a place in the queue.
func computes(r *http.Request, call bool) bool {
	return call || r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}

// lasts says whether a request may last as long as it likes and stand still meanwhile: streams. They have no place in the queue, where
// each of their messages waits for its own.
func (s *Server) lasts(r *http.Request, call bool) bool {
	if !call {
		return endless(r, call)
	}
	m, ok := s.method(r.URL.Path)
	return ok && (m.IsClientStream || m.IsServerStream)
}

// endless says whether a request computes nothing and does not end by itself: health and reflection of gRPC, and what watches a run. Names
// of runs are the client's to choose, so that a path alone does not say it.
func endless(r *http.Request, call bool) bool {
	if !call {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, ":watch")
	}
	return strings.HasPrefix(r.URL.Path, "/grpc.") || strings.HasPrefix(path.Base(r.URL.Path), "Watch")
}

// isGRPC says whether a request is one of gRPC.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// refuse answers with an error, says when to come again, and throws away what the client is still sending.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	kind := kindOf(r.Context(), err)
	status.RetryAfter(w.Header(), kind, s.engine.RetryAfter())
	if isGRPC(r) {
		status.Record(r.Context(), err)
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", strconv.Itoa(int(kind.Code)))
		h.Set("Grpc-Message", percent(status.Message(err)))
		w.WriteHeader(http.StatusOK)
	} else {
		s.linger(w, r, func() { s.writeError(w, r, err) })
	}
}

// percent encodes a message as gRPC has it in a header.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// forever is longer than any request takes.
const forever = 24 * time.Hour

// wanted returns how long a client waits, as the smallest header says that is of the kind: gRPC's and its gateway's, that of OpenAI's
// clients, Envoy's, and the plain one, in seconds.
func wanted(h http.Header) time.Duration {
	least := forever
	take := func(v, unit string) {
		n, err := strconv.ParseFloat(v, 64)
		u, ok := timeUnits[unit]
		if err == nil && ok && n > 0 && n < forever.Seconds()*1e9 {
			least = min(least, time.Duration(min(n*float64(u), float64(forever))))
		}
	}
	for _, name := range []string{"X-Request-Timeout", "Request-Timeout", "X-Stainless-Timeout", "X-Stainless-Read-Timeout"} {
		if v := h.Get(name); v != "" {
			take(strings.TrimSuffix(v, "s"), "S")
		}
	}
	if v := h.Get("X-Envoy-Expected-Rq-Timeout-Ms"); v != "" {
		take(v, "m")
	}
	if v := h.Get("Grpc-Timeout"); len(v) > 1 {
		take(v[:len(v)-1], v[len(v)-1:])
	}
	return least
}

// timeUnits are those of gRPC's header.
var timeUnits = map[string]time.Duration{"H": time.Hour, "M": time.Minute, "S": time.Second, "m": time.Millisecond, "u": time.Microsecond, "n": time.Nanosecond}

// writeError answers with an error in the form of the path's clients.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	wire.WriteError(w, r, err)
}

// mountOwn adds the routes of the package itself.
func (s *Server) mountOwn(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Ready(); err != nil {
			say(w, http.StatusServiceUnavailable, status.Message(fmt.Errorf("%w: %w", engine.ErrClosed, err)))
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", s.metrics.handler())
}

// say answers a probe.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n")
}

// Admin returns what answers probes and metrics alone, without tokens: for a listener that is not for clients.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	s.mountOwn(mux)
	return mux
}
