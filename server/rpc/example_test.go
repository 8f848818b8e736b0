package rpc_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
)

// All services on a listener, and a client.
func ExampleNewServer() {
	ctx := context.Background()
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(context.Background())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := rpc.NewServer(rpc.Options{Engine: e})
	go s.Serve(listener)
	defer s.Drain(ctx) // what is in flight is answered

	c, err := client.New(listener.Addr().String(), client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.ImageEncoding("demo").EncodeImage(ctx, []byte("no picture"))
	fmt.Println(err)
	// Output: client: images[0]: not an image: the file starts with "no picture", want JPEG, PNG, GIF, WebP, TIFF, BMP, ICO, PPM or QOI
}

// The same services beside those of a server that there is.
func ExampleNewHandler() {
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(context.Background())
	s := grpc.NewServer()
	if err := rpc.NewHandler(e).RegisterServer(s); err != nil {
		log.Fatal(err)
	}
	_, there := s.GetServiceInfo()["vitago.v1.ImageEncodingService"]
	fmt.Println(there)
	// Output: true
}

// And over HTTP with JSON, on a mux of grpc-gateway.
func ExampleRegisterGateway() {
	ctx := context.Background()
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close(context.Background())
	mux := runtime.NewServeMux()
	if err := rpc.RegisterGateway(ctx, mux, rpc.Options{Engine: e}); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/v1/models:list", nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"demo"`))
	// Output: 200 true
}
