// Cybertronserver adds pictures to a server of cybertron: beside cybertron's own service of texts, with cybertron's handler, there are those
// of package vitagov1, over gRPC and as JSON.
//
//	go run ./examples/cybertronserver builtin:demo 127.0.0.1:8080
//	curl -d '{"input": "a red circle"}' 127.0.0.1:8080/v1/encode
//	curl -d "{\"images\": [\"$(base64 -w0 demo/pictures/red-circle.png)\"]}" 127.0.0.1:8080/v1/images:encode
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/nlpodyssey/cybertron/pkg/server"
	"google.golang.org/grpc"

	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	textencoding "github.com/vitago/vitago/tasks/textencoding/clip"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: cybertronserver MODEL ADDRESS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, path, address string) error {
	texts, err := textencoding.LoadTextEncoding(path) // or any other model of cybertron's
	if err != nil {
		return err
	}
	e, err := engine.New(ctx, engine.Config{Models: []engine.Model{{Name: "clip", Path: path}}})
	if err != nil {
		return err
	}
	handlers := both{server.NewServerForTextEncoding(texts), rpc.NewHandler(e)}
	err = server.New(&server.Config{Address: address}, handlers).Start(ctx)
	return errors.Join(err, e.Close(context.Background()))
}

// both are the handlers of a server that has the services of all.
type both []server.RequestHandler

func (b both) RegisterServer(r grpc.ServiceRegistrar) error {
	for _, h := range b {
		if err := h.RegisterServer(r); err != nil {
			return err
		}
	}
	return nil
}

func (b both) RegisterHandlerServer(ctx context.Context, mux *runtime.ServeMux) error {
	for _, h := range b {
		if err := h.RegisterHandlerServer(ctx, mux); err != nil {
			return err
		}
	}
	return nil
}
