// Package client has the tasks by a Vitago server: one connection, and on it the interfaces that package tasks loads models as.
//
//	c, err := client.New("localhost:8081", client.Options{})
//	defer c.Close()
//	encoder := c.ImageEncoding("")                 // imageencoding.Interface
//	response, err := encoder.EncodeImage(ctx, file)
//
// Errors are those of the tasks: errors.Is(err, imageencoding.ErrImage) holds on this side if it holds on the server's. [Error] has what
// else is known.
package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
)

// Options say how a server is called.
type Options struct {
	TLS   *tls.Config // nil is without TLS
	Token string      // sent with every call, without TLS in the clear; "" is none
	// Dial are further options of the connection, such as keepalive parameters or interceptors.
	Dial []grpc.DialOption
}

// A Client is a connection to a server. It may be used by many goroutines at once.
type Client struct {
	conn *grpc.ClientConn
}

// New returns a client of the server at a target of gRPC, as "localhost:8081". It connects when the first call is made, and again after
// the connection was lost. Target or options that make no sense are an error.
func New(target string, o Options) (*Client, error) {
	options := []grpc.DialOption{
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), // features of many tokens are large, and were asked for
	}
	if o.TLS != nil {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(o.TLS)))
	} else {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	if o.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{o.Token, o.TLS != nil}))
	}
	conn, err := grpc.NewClient(target, append(options, o.Dial...)...)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{conn}, nil
}

// Close ends the connection and the calls on it.
func (c *Client) Close() error { return c.conn.Close() }

// Conn returns the connection, for services that the package has no method for.
func (c *Client) Conn() grpc.ClientConnInterface { return c.conn }

// bearer sends a token.
type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }

// Models returns which models the server has.
func (c *Client) Models(ctx context.Context) ([]*vitagov1.ListModelsResponse_Model, error) {
	r, err := vitagov1.NewModelsServiceClient(c.conn).ListModels(ctx, &vitagov1.ListModelsRequest{})
	return r.GetModels(), restore(err)
}
