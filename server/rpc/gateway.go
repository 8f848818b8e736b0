package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	textencodingv1 "github.com/nlpodyssey/cybertron/pkg/server/gen/proto/go/textencoding/v1"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitago/vitago/server/api"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/status"
)

// Gateway adds to a mux the services over HTTP, with JSON: the paths that the OpenAPI document has of them, cybertron's /v1/encode, and the
// document itself. It calls the services directly, so that limits, admission and tokens are those of what stands before the mux, and not
// of o.
//
// Fields have the names of the .proto files. Errors are those of package status, but for cybertron's path, where they are a
// google.rpc.Status as cybertron's own.
func Gateway(mux *http.ServeMux, o Options) error {
	ours := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, whole{&runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
			UnmarshalOptions: protojson.UnmarshalOptions{}, // an unknown field would do nothing
		}}),
		runtime.WithErrorHandler(o.answerError),
		runtime.WithDisablePathLengthFallback(),
	)
	ctx := context.Background() // of nothing: there are no connections
	if err := RegisterGateway(ctx, ours, o); err != nil {
		return err
	}
	t := trains{Options: o}
	if err := vitagov1.RegisterFinetuningServiceHandlerServer(ctx, ours, t); err != nil {
		return err
	}
	if err := ours.HandlePath(http.MethodGet, "/v1/finetuning/runs/{id}:watch", t.watch(ours)); err != nil { // goes before the generated one, which has no streams
		return err
	}
	for pattern, parameters := range patterns(api.Routes()) {
		mux.Handle(pattern, known(parameters, body(ours)))
	}
	theirs := runtime.NewServeMux(runtime.WithErrorHandler(o.answerStatus), runtime.WithDisablePathLengthFallback())
	if err := textencodingv1.RegisterTextEncodingServiceHandlerServer(ctx, theirs, cybertronText{Options: o}); err != nil {
		return err
	}
	mux.Handle("POST /v1/encode", body(theirs))
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(api.OpenAPI()))
	})
	return nil
}

// RegisterGateway adds the routes of the services of package vitagov1 to a mux of grpc-gateway.
func RegisterGateway(ctx context.Context, mux *runtime.ServeMux, o Options) error {
	return errors.Join(
		vitagov1.RegisterImageEncodingServiceHandlerServer(ctx, mux, images{Options: o}),
		vitagov1.RegisterTextEncodingServiceHandlerServer(ctx, mux, texts{Options: o}),
		vitagov1.RegisterImageClassificationServiceHandlerServer(ctx, mux, classes{Options: o}),
		vitagov1.RegisterImageTextSimilarityServiceHandlerServer(ctx, mux, similarities{Options: o}),
		vitagov1.RegisterImageSearchServiceHandlerServer(ctx, mux, finds{Options: o}),
		vitagov1.RegisterVisualTokensServiceHandlerServer(ctx, mux, tokens{Options: o}),
		vitagov1.RegisterExplanationServiceHandlerServer(ctx, mux, explanations{Options: o}),
		vitagov1.RegisterModelsServiceHandlerServer(ctx, mux, models{Options: o}),
	)
}

// patterns returns those of [http.ServeMux], which knows no end after a name in a path, with the parameters that their URLs may have.
func patterns(routes []api.Route) map[string][]string {
	all := map[string][]string{}
	for _, r := range routes {
		before, _, named := strings.Cut(r.Path, "}")
		if named {
			before += "}"
		}
		pattern := r.Method + " " + before
		all[pattern] = append(all[pattern], r.Parameters...)
	}
	return all
}

// known refuses parameters of a URL that would do nothing. The gateway passes over them.
func known(parameters []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.URL.Query() {
			if !slices.Contains(parameters, name) {
				status.Write(w, r, invalid("the URL has a parameter %.80q, want one of %q", name, parameters))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A whole reads all of a body. The gateway's own reads the first value, and passes over what follows it.
type whole struct{ *runtime.JSONPb }

// NewDecoder implements [runtime.Marshaler]. A body without anything is an [io.EOF], as the gateway has it.
func (m whole) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return io.EOF
		}
		if message, ok := v.(proto.Message); ok {
			return m.UnmarshalOptions.Unmarshal(text, message)
		}
		return m.Unmarshal(text, v)
	})
}

type bodyKey struct{}

// A watched body keeps the error that it ended with, of which the gateway keeps the text alone.
type watched struct {
	io.ReadCloser
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// body lets the answer to an error know how reading ended.
func body(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := &watched{ReadCloser: r.Body}
		r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, b))
		r.Body = b
		next.ServeHTTP(w, r)
	})
}

// plain returns an error of the gateway as one of package status: by how the body ended, by the error of a service, or by its code.
func plain(ctx context.Context, err error) error {
	if b, ok := ctx.Value(bodyKey{}).(*watched); ok && b.err != nil {
		if errors.As(b.err, new(*http.MaxBytesError)) {
			return b.err
		}
		return fmt.Errorf("%w: %w", status.ErrBody, b.err)
	}
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	text := grpcstatus.Convert(err).Message()
	switch grpcstatus.Code(err) {
	case codes.InvalidArgument:
		return invalid("%s", text)
	case codes.NotFound:
		return status.ErrNotFound
	case codes.Unimplemented:
		return status.ErrMethod
	}
	return err
}

// answerError is the gateway's error handler for services of package vitagov1.
func (o Options) answerError(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	err = plain(ctx, err)
	status.RetryAfter(w.Header(), status.Of(err), o.Engine.RetryAfter())
	status.Write(w, r, err)
}

// answerStatus is the gateway's error handler for cybertron's service.
func (o Options) answerStatus(ctx context.Context, _ *runtime.ServeMux, m runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	err = plain(ctx, err)
	status.RetryAfter(w.Header(), status.Of(err), o.Engine.RetryAfter())
	status.Header(w.Header(), status.Of(err))
	text, wrong := m.Marshal(grpcstatus.Convert(o.fail(ctx, err)).Proto())
	if wrong != nil {
		text = []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status.HTTP(err))
	_, _ = w.Write(text) // unless nobody listens any more
}
