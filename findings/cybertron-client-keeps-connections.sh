#!/usr/bin/env bash
# cybertron v0.2.1 (github.com/nlpodyssey/cybertron): the client of a server keeps a connection for every call that was made, until
# the program or the server ends. After 20 calls of Encode by one client the server has 20 connections.
#
# Cause: each method of pkg/client dials, and none closes what it has dialled. The interface of the task has no Close either.
#
# Who meets it: a program that runs on, as a server that asks another. Goroutines and file descriptors grow with the calls on both
# sides. client.Dial and the generated client of pkg/server/gen use one connection for all calls, as beside it here.
#
# Seen on 2026-11-30, linux/amd64, go 1.26.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/nlpodyssey/cybertron/pkg/client"
	textencodingv1 "github.com/nlpodyssey/cybertron/pkg/server/gen/proto/go/textencoding/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

type service struct {
	textencodingv1.UnimplementedTextEncodingServiceServer
}

func (service) Encode(context.Context, *textencodingv1.EncodingRequest) (*textencodingv1.EncodingResponse, error) {
	return &textencodingv1.EncodingResponse{Vector: []float32{1}}, nil
}

// open counts connections that have begun and not ended.
type open struct{ atomic.Int64 }

func (o *open) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (o *open) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (o *open) HandleRPC(context.Context, stats.RPCStats)                         {}
func (o *open) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		o.Add(1)
	case *stats.ConnEnd:
		o.Add(-1)
	}
}

func main() {
	ctx := context.Background()
	for _, own := range []bool{true, false} {
		connections := new(open)
		s := grpc.NewServer(grpc.StatsHandler(connections))
		textencodingv1.RegisterTextEncodingServiceServer(s, service{})
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		go s.Serve(l)
		encoder := client.NewClientForTextEncoding(l.Addr().String(), client.Options{})
		conn, err := client.Dial(ctx, l.Addr().String(), client.Options{})
		if err != nil {
			panic(err)
		}
		generated := textencodingv1.NewTextEncodingServiceClient(conn)
		for range 20 {
			if own {
				_, err = encoder.Encode(ctx, "a", 0)
			} else {
				_, err = generated.Encode(ctx, &textencodingv1.EncodingRequest{Input: "a"})
			}
			if err != nil {
				panic(err)
			}
		}
		name := map[bool]string{true: "cybertron's client, and one more", false: "one connection for all"}[own]
		fmt.Printf("%s: %d open after 20 calls\n", name, connections.Load())
		s.Stop()
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/nlpodyssey/cybertron@v0.2.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . >got

cat >want <<'TXT'
cybertron's client, and one more: 21 open after 20 calls
one connection for all: 1 open after 20 calls
TXT
diff want got || { echo "cybertron v0.2.1 keeps connections in another way than was seen" >&2; exit 1; }
echo "as seen: the client of cybertron v0.2.1 has a connection more after every call"
