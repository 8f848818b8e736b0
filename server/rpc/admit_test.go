package rpc_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/server/status"
)

// one gives an engine room for one request.
func one(c *engine.Config) { c.QueueItems, c.Limits.Items = 1, 1 }

// rest waits until no request has a place.
func rest(t testing.TB, e *engine.Engine) {
	t.Helper()
	for range 500 {
		if e.Stats().Requests == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d requests have a place still", e.Stats().Requests)
}

// Where there is no room a call is refused when its header is there, and says when to come again. Health is answered nevertheless.
func TestBusy(t *testing.T) {
	e := newEngine(t, one)
	_, conn := serve(t, rpc.Options{Engine: e})
	leave, err := e.Reserve(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{
		vitagov1.ImageEncodingService_EncodeImages_FullMethodName, vitagov1.ImageEncodingService_EncodeImageStream_FullMethodName, "/textencoding.v1.TextEncodingService/Encode",
	} {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		err = stream.RecvMsg(&vitagov1.EncodeImagesResponse{}) // nothing was sent
		s := grpcstatus.Convert(err)
		var retry *errdetails.RetryInfo
		var info *errdetails.ErrorInfo
		for _, d := range s.Details() {
			switch d := d.(type) {
			case *errdetails.RetryInfo:
				retry = d
			case *errdetails.ErrorInfo:
				info = d
			}
		}
		if s.Code() != codes.ResourceExhausted || info.GetReason() != "OVERLOADED" || retry.GetRetryDelay().AsDuration() < time.Second {
			t.Errorf("%s: %v, %v, %v", method, err, info, retry)
		}
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	if _, err := vitagov1.NewModelsServiceClient(conn).ListModels(t.Context(), &vitagov1.ListModelsRequest{}); err != nil {
		t.Errorf("models: %v", err)
	}
	leave()
	if _, err := vitagov1.NewTextEncodingServiceClient(conn).EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}}); err != nil {
		t.Errorf("with room: %v", err)
	}
	rest(t, e)
}

// A place is given back whether a message came, was too large, or the client went away.
func TestPlacesComeBack(t *testing.T) {
	e := newEngine(t)
	_, conn := serve(t, rpc.Options{Engine: e, MaxReceive: 1 << 20})
	c := vitagov1.NewTextEncodingServiceClient(conn)
	_, err := c.EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Texts: []string{strings.Repeat("a", 1<<20)}})
	if grpcstatus.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("a message that is too large: %v", err)
	}
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, vitagov1.TextEncodingService_EncodeTexts_FullMethodName); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	rest(t, e)
}

// A deadline that passes while a call waits is one to the server, too.
func TestDeadline(t *testing.T) {
	e := newEngine(t)
	seen := make(chan error, 1)
	_, conn := serve(t, rpc.Options{Engine: e, Unary: []grpc.UnaryServerInterceptor{
		func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			<-ctx.Done()
			answer, err := next(ctx, r)
			seen <- err
			return answer, err
		},
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := vitagov1.NewTextEncodingServiceClient(conn).EncodeTexts(ctx, &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}})
	if grpcstatus.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the client got %v", err)
	}
	if err := <-seen; grpcstatus.Code(err) != codes.DeadlineExceeded && grpcstatus.Code(err) != codes.Canceled || errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v", err)
	}
	rest(t, e)
}

// Tokens are wanted of all calls, before their message, with and without a tap.
func TestAuth(t *testing.T) {
	e := newEngine(t)
	_, conn := serve(t, rpc.Options{Engine: e, Auth: func(ctx context.Context, method string) (context.Context, error) {
		if strings.HasPrefix(method, "/grpc.health") {
			return ctx, nil
		}
		return ctx, status.ErrToken
	}})
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
	_, err := vitagov1.NewModelsServiceClient(conn).ListModels(t.Context(), &vitagov1.ListModelsRequest{})
	if grpcstatus.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, vitagov1.ImageEncodingService_EncodeImages_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&vitagov1.EncodeImagesResponse{}); grpcstatus.Code(err) != codes.Unauthenticated {
		t.Errorf("before a message: %v", err)
	}
	if n := e.Stats().Requests; n != 0 {
		t.Errorf("%d requests have a place", n)
	}
}

// holding is an interceptor that says when calls begin and lets them go on when it may.
func holding() (begun chan string, release chan struct{}, hold grpc.UnaryServerInterceptor) {
	begun, release = make(chan string, 10), make(chan struct{})
	return begun, release, func(ctx context.Context, r any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if strings.HasPrefix(info.FullMethod, "/vitago.") {
			begun <- info.FullMethod
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
		return next(ctx, r)
	}
}

// What is in flight is answered while the server drains. Who watches health is told, and not waited for.
func TestDrain(t *testing.T) {
	begun, release, hold := holding()
	s, conn := serve(t, rpc.Options{Engine: newEngine(t), Unary: []grpc.UnaryServerInterceptor{hold}})
	health := grpc_health_v1.NewHealthClient(conn)
	watch, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatal(got, err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := vitagov1.NewTextEncodingServiceClient(conn).EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}})
		answered <- err
	}()
	<-begun
	s.Leave()
	if got, err := watch.Recv(); err != nil || got.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("who watches was told %v, %v", got, err)
	}
	if _, err := watch.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
	if got, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil || got.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v, %v", got, err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(t.Context()) }()
	select {
	case err := <-drained:
		t.Fatalf("drained with a call in flight: %v", err)
	case err := <-answered:
		t.Fatalf("answered while it was held: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call in flight got %v", err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Who begins to watch while the server leaves, and was told that it serves, is told that it does not before the watch ends.
func TestLeaveBesideWatch(t *testing.T) {
	var s *rpc.Server
	s, conn := serve(t, rpc.Options{Engine: newEngine(t), Ready: func() error { s.Leave(); return nil }})
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING} {
		if got, err := watch.Recv(); err != nil || got.Status != want {
			t.Errorf("who watches was told %v, %v, want %v", got, err, want)
		}
	}
	if _, err := watch.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the watch ended with %v", err)
	}
}

// What takes longer than the time to drain is cut off.
func TestDrainEnds(t *testing.T) {
	begun, release, hold := holding()
	defer close(release)
	s, conn := serve(t, rpc.Options{Engine: newEngine(t), Unary: []grpc.UnaryServerInterceptor{hold}})
	answered := make(chan error, 1)
	go func() {
		_, err := vitagov1.NewTextEncodingServiceClient(conn).EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}})
		answered <- err
	}()
	<-begun
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("late")
	cancel(late)
	if err := s.Drain(ctx); !errors.Is(err, late) {
		t.Errorf("got %v, want the cause", err)
	}
	if err := <-answered; grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the call got %v", err)
	}
}
