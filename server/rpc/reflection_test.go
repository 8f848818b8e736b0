package rpc_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	cybertron "github.com/nlpodyssey/cybertron/pkg/client"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/vitago/vitago/server/rpc"
)

// Who knows nothing of the services but what reflection says can call them with JSON, as grpcurl does.
func TestCallByReflection(t *testing.T) {
	_, conn := serve(t, rpc.Options{Engine: newEngine(t)})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const service, method = "vitago.v1.TextEncodingService", "EncodeTexts"
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var files descriptorpb.FileDescriptorSet
	for _, raw := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		f := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(raw, f); err != nil {
			t.Fatal(err)
		}
		files.File = append(files.File, f)
	}
	var registry *protoregistry.Files
	if registry, err = protodesc.NewFiles(&files); err != nil {
		t.Fatal(err)
	}
	found, err := registry.FindDescriptorByName(service)
	if err != nil {
		t.Fatal(err)
	}
	m := found.(protoreflect.ServiceDescriptor).Methods().ByName(method)
	request, got := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(`{"texts": ["a red circle"], "normalize": true}`), request); err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(t.Context(), "/"+service+"/"+method, request, got); err != nil {
		t.Fatal(err)
	}
	if n := got.Get(m.Output().Fields().ByName("vectors")).List().Len(); n != 1 {
		t.Errorf("%d vectors, want 1", n)
	}
}

// Cybertron's own client reads texts of this server.
func TestCybertronClient(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(rpc.Options{Engine: newEngine(t)})
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	defer func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	want, err := model(t).EncodeText(t.Context(), []string{"a red circle"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := cybertron.NewClientForTextEncoding(listener.Addr().String(), cybertron.Options{}).Encode(ctx, "a red circle", 0)
	if err != nil || !slices.Equal(got.Vector.Data().F32(), want[0]) {
		t.Errorf("the vector differs from package clip's, or there is none: %v", err)
	}
}
