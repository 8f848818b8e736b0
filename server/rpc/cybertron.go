package rpc

import (
	"context"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	textencodingv1 "github.com/nlpodyssey/cybertron/pkg/server/gen/proto/go/textencoding/v1"
	"google.golang.org/grpc"

	"github.com/vitago/vitago/server/engine"
)

// A Handler adds the services of package vitagov1 to a server of cybertron: it is a RequestHandler of cybertron's package server. It leaves
// out cybertron's own service of texts, which that server may have, and finetuning. What is computed at a time is limited by the engine;
// that server has no other limit.
type Handler struct{ options Options }

// NewHandler returns a handler on an engine.
func NewHandler(e *engine.Engine) Handler { return Handler{Options{Engine: e}} }

// RegisterServer implements cybertron's RequestHandler.
func (h Handler) RegisterServer(r grpc.ServiceRegistrar) error {
	Register(r, h.options)
	return nil
}

// RegisterHandlerServer implements cybertron's RequestHandler.
func (h Handler) RegisterHandlerServer(ctx context.Context, mux *runtime.ServeMux) error {
	return RegisterGateway(ctx, mux, h.options)
}

// cybertronText answers for cybertron's service of texts, by the first model.
type cybertronText struct {
	textencodingv1.UnimplementedTextEncodingServiceServer
	Options
}

// Encode returns the vector of a text, not normalised, as package textencoding has it.
func (s cybertronText) Encode(ctx context.Context, r *textencodingv1.EncodingRequest) (*textencodingv1.EncodingResponse, error) {
	if r.PoolingStrategy != 0 {
		return nil, s.fail(ctx, invalid("pooling_strategy is %d, want 0: CLIP's tower projects the state of the last token, and has no other", r.PoolingStrategy))
	}
	e, err := s.embedTexts(ctx, engine.EmbedRequest{}, []string{r.Input})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return &textencodingv1.EncodingResponse{Vector: e.Vectors[0]}, nil
}
