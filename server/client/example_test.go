package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imageencoding"
)

// server starts a server with the small model. Package server has one with tokens, limits and more; the command's serve starts it.
func server() (address string, stop func()) {
	e, err := engine.New(context.Background(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	s := rpc.NewServer(rpc.Options{Engine: e})
	go s.Serve(l)
	return l.Addr().String(), func() {
		_ = s.Drain(context.Background())
		_ = e.Close(context.Background())
	}
}

// The tasks of package tasks, by a server.
func Example() {
	address, stop := server()
	defer stop()
	c, err := client.New(address, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	file, err := os.ReadFile("../../demo/pictures/red-circle.png")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := c.ImageEncoding("demo").EncodeImage(ctx, file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Kind, r.Vector.Size())
	labels, err := c.ImageClassification("demo").ClassifyImages(ctx, imageclassification.Request{
		Images: [][]byte{file}, Labels: []string{"a red circle", "a blue square"}, Templates: []string{"{}"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(labels[0].Labels[0].Name)

	_, err = c.ImageEncoding("demo").EncodeImage(ctx, []byte("no picture"))
	var e *client.Error
	fmt.Println(errors.Is(err, imageencoding.ErrImage), errors.As(err, &e) && e.Field == "images[0]")
	// Output:
	// embedding 64
	// a red circle
	// true true
}

// Any number of pictures over one call, of which neither side holds more than a few.
func ExampleClient_EncodeImageStream() {
	address, stop := server()
	defer stop()
	c, err := client.New(address, client.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	var files [][]byte
	for _, name := range []string{"red-circle", "blue-square"} {
		file, err := os.ReadFile("../../demo/pictures/" + name + ".png")
		if err != nil {
			fmt.Println(err)
			return
		}
		files = append(files, file)
	}
	for one, err := range c.EncodeImageStream(context.Background(), "demo", client.StreamOptions{Normalize: true}, slices.Values(files)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(one.Index, len(one.Vector), len(one.Fingerprint))
	}
	// Output:
	// 0 64 64
	// 1 64 64
}
