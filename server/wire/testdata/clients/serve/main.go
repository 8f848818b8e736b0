// Serve has the small model on a port of this machine, and with a folder an index of it by the name found. It writes its address.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/wire"
)

func main() {
	models := []engine.Model{{Name: "demo", Aliases: []string{"ViT-B-32__openai"}, Path: demo.Name}}
	if len(os.Args) > 1 {
		models = append(models, engine.Model{Name: "found", Path: demo.Name, Index: os.Args[1]})
	}
	e, err := engine.New(context.Background(), engine.Config{Models: models})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	wire.Register(mux, wire.Options{Engine: e})
	mux.Handle("GET /{$}", wire.Root)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	log.Fatal(http.Serve(l, mux))
}
