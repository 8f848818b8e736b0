package rpc

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/vitago/vitago/server/engine"
)

// waits says whether calls of a method take a place in the queue of the engine. Others compute nothing, or for hours.
func waits(method string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return computes[service]
}

// A place is that of a call in the queue. It is given back when the handler has returned, or, if there never was one, when the call has
// ended.
type place struct {
	mu      sync.Mutex
	leave   func()
	started bool
}

type (
	placeKey    struct{}
	admittedKey struct{} // of calls about which has been decided
)

// tap decides about a call when its header is there, and nothing of its message. gRPC calls it on the goroutine that reads the connection,
// so that it must not wait.
func (o Options) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	if o.Auth != nil {
		var err error
		if ctx, err = o.Auth(ctx, info.FullMethodName); err != nil {
			return ctx, o.fail(ctx, err)
		}
	}
	ctx = context.WithValue(ctx, admittedKey{}, true)
	if !waits(info.FullMethodName) {
		return ctx, nil
	}
	leave, err := o.Engine.Reserve(ctx, -1)
	if err != nil {
		return ctx, o.fail(ctx, err)
	}
	p := &place{leave: leave}
	context.AfterFunc(ctx, p.ended)
	return context.WithValue(ctx, placeKey{}, p), nil
}

// ended gives a place back unless a handler has it.
func (p *place) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started && p.leave != nil {
		p.leave()
		p.leave = nil
	}
}

// take gives a place to a handler. It says whether there still is one.
func (p *place) take() (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	return p.leave, p.leave != nil
}

// enter returns what gives the place of a call back. About a call that came without a tap, as through ServeHTTP, it decides here.
func (o Options) enter(ctx context.Context, method string) (in context.Context, leave func(), err error) {
	if p, ok := ctx.Value(placeKey{}).(*place); ok {
		if leave, ok := p.take(); ok {
			return ctx, leave, nil
		}
		return ctx, nil, context.Cause(ctx)
	}
	if ctx.Value(admittedKey{}) != nil {
		return ctx, func() {}, nil
	}
	if o.Auth != nil {
		if ctx, err = o.Auth(ctx, method); err != nil {
			return ctx, nil, err
		}
	}
	if !waits(method) {
		return ctx, func() {}, nil
	}
	leave, err = o.Engine.Reserve(ctx, -1)
	return ctx, leave, err
}

// weigh takes room for the bytes that the message of a call turned out to have beside those that were counted.
func (o Options) weigh(ctx context.Context, leave func(), request any) (func(), error) {
	m, ok := request.(proto.Message)
	if ctx.Value(placeKey{}) == nil || !ok {
		return leave, nil
	}
	more := int64(proto.Size(m)) - engine.UnknownBytes
	if more <= 0 {
		return leave, nil
	}
	less, err := o.Engine.ReserveBytes(ctx, more, false)
	if err != nil {
		leave()
		return nil, err
	}
	return func() { less(); leave() }, nil
}

// unary answers a call that has one message on each side.
func (o Options) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (answer any, err error) {
	ctx, leave, err := o.enter(ctx, info.FullMethod)
	if err != nil {
		return nil, o.fail(ctx, err)
	}
	if leave, err = o.weigh(ctx, leave, request); err != nil {
		return nil, o.fail(ctx, err)
	}
	defer leave()
	defer o.recovered(ctx, info.FullMethod, &err)
	answer, err = handle(ctx, request)
	return answer, o.fail(ctx, err)
}

// stream answers a call of many messages.
func (o Options) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx, leave, err := o.enter(stream.Context(), info.FullMethod)
	if err != nil {
		return o.fail(ctx, err)
	}
	defer leave()
	defer o.recovered(ctx, info.FullMethod, &err)
	return o.fail(ctx, handle(service, &contextStream{stream, ctx}))
}

// A contextStream has a context of its own.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *contextStream) Context() context.Context { return s.ctx }

// A panicked is the error of a handler that panicked.
type panicked struct{ value any }

func (p *panicked) Error() string { return "a handler panicked" }

// recovered makes an error of a panic, so that it ends one call and not the program.
func (o Options) recovered(ctx context.Context, method string, err *error) {
	if v := recover(); v != nil {
		if o.Recovered != nil {
			o.Recovered(method, v, debug.Stack())
		}
		*err = o.fail(ctx, &panicked{v})
	}
}
