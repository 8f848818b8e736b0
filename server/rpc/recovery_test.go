package rpc

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
)

// A panic ends its call, with an error that says nothing of it to the client, and all of it to the server.
func TestRecovery(t *testing.T) {
	var method, stack string
	var value any
	o := Options{Recovered: func(m string, v any, s []byte) { method, value, stack = m, v, string(s) }}
	panics := func() { panic("secret") }
	info := &grpc.UnaryServerInfo{FullMethod: vitagov1.ModelsService_ListModels_FullMethodName}
	_, err := o.unary(t.Context(), &vitagov1.ListModelsRequest{}, info, func(context.Context, any) (any, error) { panics(); return nil, nil })
	if grpcstatus.Code(err) != codes.Internal || strings.Contains(grpcstatus.Convert(err).Message(), "secret") {
		t.Errorf("got %v", err)
	}
	if method != info.FullMethod || value != "secret" || !strings.Contains(stack, "TestRecovery") {
		t.Errorf("the server was told %q, %v, %q", method, value, stack)
	}
	stream := &grpc.StreamServerInfo{FullMethod: info.FullMethod}
	err = o.stream(nil, &contextStream{ctx: t.Context()}, stream, func(any, grpc.ServerStream) error { panics(); return nil })
	if grpcstatus.Code(err) != codes.Internal {
		t.Errorf("of a stream: %v", err)
	}
}
