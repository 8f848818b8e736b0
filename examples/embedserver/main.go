// Embedserver answers over HTTP and gRPC, with the small model in the program and a handler of one's own beside it.
//
//	go run ./examples/embedserver localhost:8080
//
// "vitago serve" is the same with flags. Ctrl-C lets requests in flight end.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server"
	"github.com/vitago/vitago/server/engine"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: embedserver ADDRESS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// serve answers until ctx ends.
func serve(ctx context.Context, address string) error {
	config := server.Config{Engine: engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name, Preload: true}}}, Wrap: hello}
	s, err := server.New(ctx, config)
	if err != nil {
		return err
	}
	listeners, err := server.Listen(config, address)
	if err != nil {
		return err
	}
	fmt.Println(listeners[0].Addr())
	return s.Serve(ctx, listeners...)
}

// hello answers a path of its own, and leaves the others to next.
func hello(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	mux.Handle("/", next)
	return mux
}
