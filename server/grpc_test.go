package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
)

func dial(t *testing.T, s *running, c credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestGRPC: calls go through the same doors as requests, on the same port, and are refused in gRPC's words.
func TestGRPC(t *testing.T) {
	cert, key, pool := certificate(t, "x")
	tokens := write(t, "tokens", "alice 0123456789abcdef\n")
	for name, c := range map[string]Config{"plain": {Tokens: tokens, MaxBody: 1 << 20}, "TLS": {Tokens: tokens, MaxBody: 1 << 20, Certificate: cert, Key: key}} {
		s := start(t, c)
		with := insecure.NewCredentials()
		if name == "TLS" {
			with = credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		}
		texts := vitagov1.NewTextEncodingServiceClient(dial(t, s, with))
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer 0123456789abcdef", "x-request-id", "r1")
		red := &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}}
		var header metadata.MD
		got, err := texts.EncodeTexts(ctx, red, grpc.Header(&header))
		if err != nil || got.Model != "demo" || header.Get("x-request-id")[0] != "r1" {
			t.Fatalf("%s: %v, %v, header %v", name, got, err, header)
		}
		is := func(err error, code codes.Code, want string) {
			t.Helper()
			if grpcstatus.Code(err) != code || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v, want %v and %q", name, err, code, want)
			}
		}
		_, err = texts.EncodeTexts(t.Context(), red)
		is(err, codes.Unauthenticated, "want Authorization: Bearer TOKEN")
		_, err = texts.EncodeTexts(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer x"), red)
		is(err, codes.Unauthenticated, "the token is not known")
		_, err = texts.EncodeTexts(ctx, &vitagov1.EncodeTextsRequest{Model: "none", Texts: []string{"a"}})
		is(err, codes.NotFound, "no such model")
		_, err = texts.EncodeTexts(ctx, &vitagov1.EncodeTextsRequest{Texts: []string{strings.Repeat("x", 2<<20)}})
		is(err, codes.ResourceExhausted, "larger than max")
		s.reserve = func(context.Context, int64) (func(), error) { return nil, fmt.Errorf("engine: %w: é", engine.ErrBusy) }
		_, err = texts.EncodeTexts(ctx, &vitagov1.EncodeTextsRequest{Texts: []string{strings.Repeat("x", 1<<19)}}, grpc.Trailer(&header)) // which is all that there is
		is(err, codes.ResourceExhausted, "too many requests: é")
		if header.Get("retry-after") == nil {
			t.Errorf("%s: header %v", name, header)
		}
		if m := s.log.lines(t, "request"); len(m) < 5 || m[0]["client"] != "alice" || m[0]["request_id"] != "r1" || m[len(m)-1]["error"] != "overloaded" {
			t.Errorf("%s: log %s", name, s.log)
		}
		var b bytes.Buffer
		all, err := s.metrics.registry.Gather()
		fmt.Fprint(&b, all)
		if err != nil || !strings.Contains(b.String(), "gRPC /vitago.v1.TextEncodingService/EncodeTexts") {
			t.Errorf("%s: metrics %v %s", name, err, &b)
		}
	}
}

// TestWatch: who watches health does not keep the server from its end, which it is told.
func TestWatch(t *testing.T) {
	s := start(t, Config{})
	watch, err := grpc_health_v1.NewHealthClient(dial(t, s, insecure.NewCredentials())).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := watch.Recv(); err != nil || r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v: %v", r, err)
	}
	s.stop()
	if err := <-s.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for {
		r, err := watch.Recv()
		if err != nil {
			break
		}
		if r.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
			t.Errorf("at the end: %v", r)
		}
	}
}

// TestStream: a stream stands still for as long as it likes, and is answered at the end.
func TestStream(t *testing.T) {
	s := start(t, Config{Stall: 1}) // nanosecond, of bodies
	stream, err := vitagov1.NewImageEncodingServiceClient(dial(t, s, insecure.NewCredentials())).EncodeImageStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := picture(t)
	var all sync.WaitGroup
	all.Go(func() {
		for range 3 {
			if r, err := stream.Recv(); err != nil || r == nil {
				t.Errorf("%v: %v", r, err)
			}
		}
	})
	for range 3 {
		if err := stream.Send(&vitagov1.EncodeImageStreamRequest{Image: file}); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
