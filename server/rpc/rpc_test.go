package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	textencodingv1 "github.com/nlpodyssey/cybertron/pkg/server/gen/proto/go/textencoding/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
)

// newEngine returns an engine with the model in the program, called "demo", alias "small".
func newEngine(t testing.TB, change ...func(*engine.Config)) *engine.Engine {
	t.Helper()
	c := engine.Config{Models: []engine.Model{{Name: "demo", Aliases: []string{"small"}, Path: demo.Name}}}
	for _, f := range change {
		f(&c)
	}
	e, err := engine.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// serve starts a server in memory, and returns a connection to it.
func serve(t testing.TB, o rpc.Options) (*rpc.Server, *grpc.ClientConn) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := rpc.NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, conn
}

// pictures returns the files of the demo's pictures, by their order.
func pictures(t testing.TB) (names []string, files [][]byte) {
	t.Helper()
	names, err := filepath.Glob("../../demo/pictures/*.png")
	if err != nil || len(names) == 0 {
		t.Fatal(err, len(names))
	}
	for i, n := range names {
		file, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		names[i], files = filepath.Base(n), append(files, file)
	}
	return names, files
}

func model(t testing.TB) *clip.Model {
	t.Helper()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// plainly returns the values of vectors.
func plainly(all []*vitagov1.Vector) (v [][]float32) {
	for _, one := range all {
		v = append(v, one.Values)
	}
	return v
}

// Vectors have the bits of package clip's.
func TestEncodeImages(t *testing.T) {
	_, conn := serve(t, rpc.Options{Engine: newEngine(t)})
	c := vitagov1.NewImageEncodingServiceClient(conn)
	_, files := pictures(t)
	m := model(t)
	for _, f := range []clipvit.Features{{}, {Kind: clipvit.PostNorm}, {Kind: clipvit.ClassToken, Layer: -2}, {Kind: clipvit.Patches, Layer: -1}, {Kind: clipvit.AllTokens}} {
		taken := f
		if f.Kind == "" {
			taken.Kind = clipvit.Embedding
		}
		var all []clip.Picture
		for _, file := range files {
			all = append(all, clip.Bytes("picture", file))
		}
		want, err := m.Features(t.Context(), taken, all...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.EncodeImages(t.Context(), &vitagov1.EncodeImagesRequest{Images: files, Features: &vitagov1.Features{Kind: string(f.Kind), Layer: int32(f.Layer)}})
		if err != nil {
			t.Fatalf("%v: %v", f, err)
		}
		if !reflect.DeepEqual(plainly(got.Vectors), want) {
			t.Errorf("%v: vectors differ from those of package clip", f)
		}
		if got.Model != "demo" || len(got.Fingerprint) != 64 || got.Kind != string(taken.Kind) {
			t.Errorf("%v: model %q, fingerprint %q, kind %q", f, got.Model, got.Fingerprint, got.Kind)
		}
	}
}

func TestEncodeTexts(t *testing.T) {
	_, conn := serve(t, rpc.Options{Engine: newEngine(t)})
	words := []string{"a red circle", "a blue square"}
	want, err := model(t).EncodeText(t.Context(), words)
	if err != nil {
		t.Fatal(err)
	}
	got, err := vitagov1.NewTextEncodingServiceClient(conn).EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Model: "small", Texts: words})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(plainly(got.Vectors), want) {
		t.Error("vectors differ from those of package clip")
	}
	theirs, err := textencodingv1.NewTextEncodingServiceClient(conn).Encode(t.Context(), &textencodingv1.EncodingRequest{Input: words[1]})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(theirs.Vector, want[1]) {
		t.Error("cybertron's service: the vector differs from that of package clip")
	}
	_, err = textencodingv1.NewTextEncodingServiceClient(conn).Encode(t.Context(), &textencodingv1.EncodingRequest{Input: words[1], PoolingStrategy: 1})
	if grpcstatus.Code(err) != codes.InvalidArgument {
		t.Errorf("another pooling: %v", err)
	}
}

// More pictures than a stream holds at a time come back in their order, and one that is none may be passed over.
func TestEncodeImageStream(t *testing.T) {
	_, conn := serve(t, rpc.Options{Engine: newEngine(t)})
	_, files := pictures(t)
	m := model(t)
	var want [][]float32
	for _, file := range files {
		v, err := m.Encode(t.Context(), clip.Bytes("picture", file))
		if err != nil {
			t.Fatal(err)
		}
		clip.Normalize(v...)
		want = append(want, v[0])
	}
	const rounds, bad = 10, 7
	stream, err := vitagov1.NewImageEncodingServiceClient(conn).EncodeImageStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		err := stream.Send(&vitagov1.EncodeImageStreamRequest{Settings: &vitagov1.EncodeImageStreamRequest_Settings{Normalize: true, SkipErrors: true}})
		for i := 0; i < rounds*len(files) && err == nil; i++ {
			file := files[i%len(files)]
			if i == bad {
				file = []byte("no picture")
			}
			err = stream.Send(&vitagov1.EncodeImageStreamRequest{Image: file})
		}
		sent <- err
		_ = stream.CloseSend()
	}()
	n := 0
	for ; ; n++ {
		got, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Index != int64(n):
			t.Fatalf("index %d, want %d", got.Index, n)
		case n == bad && (got.Problem.GetReason() != "INVALID_IMAGE" || got.Problem.Code != int32(codes.InvalidArgument) || got.Vector != nil):
			t.Errorf("a picture that is none: %v", got)
		case n != bad && !slices.Equal(got.Vector.GetValues(), want[n%len(files)]):
			t.Errorf("vector %d differs from that of package clip", n)
		case (n == 0) != (got.Fingerprint != ""):
			t.Errorf("answer %d: fingerprint %q", n, got.Fingerprint)
		}
	}
	if err := <-sent; err != nil || n != rounds*len(files) {
		t.Errorf("%d answers, want %d; %v", n, rounds*len(files), err)
	}
}

func TestReflection(t *testing.T) {
	_, conn := serve(t, rpc.Options{Engine: newEngine(t)})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		got = append(got, s.Name)
	}
	for _, want := range []string{"vitago.v1.ImageEncodingService", "vitago.v1.TextEncodingService", "textencoding.v1.TextEncodingService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !slices.Contains(got, want) {
			t.Errorf("reflection lists %q, want %s among them", got, want)
		}
	}
}

func TestHealth(t *testing.T) {
	ready := error(nil)
	_, conn := serve(t, rpc.Options{Engine: newEngine(t), Ready: func() error { return ready }})
	c := grpc_health_v1.NewHealthClient(conn)
	for _, c2 := range []struct {
		service string
		ready   error
		want    grpc_health_v1.HealthCheckResponse_ServingStatus
		code    codes.Code
	}{
		{"", nil, grpc_health_v1.HealthCheckResponse_SERVING, codes.OK},
		{"vitago.v1.ImageEncodingService", nil, grpc_health_v1.HealthCheckResponse_SERVING, codes.OK},
		{"textencoding.v1.TextEncodingService", io.EOF, grpc_health_v1.HealthCheckResponse_NOT_SERVING, codes.OK},
		{"", io.EOF, grpc_health_v1.HealthCheckResponse_NOT_SERVING, codes.OK},
		{"vitago.v1.NoService", nil, 0, codes.NotFound},
	} {
		ready = c2.ready
		got, err := c.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: c2.service})
		if grpcstatus.Code(err) != c2.code || got.GetStatus() != c2.want {
			t.Errorf("%+v: got %v, %v", c2, got, err)
		}
	}
}

// post sends a request to the gateway, and returns what came, parsed.
func post(t testing.TB, h http.Handler, path, request string) (code int, answer map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(request)))
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %.200s", path, err, w.Body)
	}
	return w.Code, answer
}

// text returns a value as JSON.
func text(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

// values returns a vector of JSON.
func values(t testing.TB, v any) (all []float32) {
	t.Helper()
	if err := json.Unmarshal([]byte(text(t, v)), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestGateway(t *testing.T) {
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, rpc.Options{Engine: newEngine(t)}); err != nil {
		t.Fatal(err)
	}
	names, files := pictures(t)
	circle := files[slices.Index(names, "red-circle.png")]
	m := model(t)
	want, err := m.Encode(t.Context(), clip.Bytes("picture", circle))
	if err != nil {
		t.Fatal(err)
	}
	code, got := post(t, mux, "/v1/images:encode", text(t, map[string]any{"images": [][]byte{circle}}))
	if code != http.StatusOK || !slices.Equal(values(t, got["vectors"].([]any)[0].(map[string]any)["values"]), want[0]) {
		t.Errorf("images: %d %.300s", code, text(t, got))
	}
	want, err = m.EncodeText(t.Context(), []string{"a red circle"})
	if err != nil {
		t.Fatal(err)
	}
	code, got = post(t, mux, "/v1/texts:encode", `{"texts":["a red circle"]}`)
	if code != http.StatusOK || !slices.Equal(values(t, got["vectors"].([]any)[0].(map[string]any)["values"]), want[0]) {
		t.Errorf("texts: %d %.300s", code, text(t, got))
	}
	for _, request := range []string{`{"input":"a red circle","poolingStrategy":0}`, `{"input":"a red circle","pooling_strategy":0,"unknown":1}`} {
		code, got = post(t, mux, "/v1/encode", request)
		if code != http.StatusOK || len(got) != 1 || !slices.Equal(values(t, got["vector"]), want[0]) {
			t.Errorf("cybertron's %s: %d %.300s", request, code, text(t, got))
		}
	}
	for _, c := range []struct {
		path, request string
		code          int
		want          string
	}{
		{"/v1/images:encode", `{}`, 400, `{"error":{"code":"invalid_request","message":"not a valid request: got no images, want at least 1","type":"invalid_request_error"}}`},
		{"/v1/images:encode", `{"images":["AAAA"]}`, 422, `{"error":{"code":"invalid_image","message":"images[0]: ...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", `{"texts":["a red circle","zebra"]}`, 422, `{"error":{"code":"invalid_text","message":"texts[1]: ...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", `{"texts":["a"],"model":"none"}`, 404, `{"error":{"code":"model_not_found","message":"...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", `{"text":["a"]}`, 400, `{"error":{"code":"invalid_request","message":"not a valid request: ...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", `{"texts":`, 400, `{"error":{"code":"invalid_request","message":"not a valid request: ...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", `{"texts":["a red circle"]} {}`, 400, `{"error":{"code":"invalid_request","message":"not a valid request: ...","type":"invalid_request_error"}}`},
		{"/v1/texts:encode", ` `, 400, `{"error":{"code":"invalid_request","message":"not a valid request: got no texts, want at least 1","type":"invalid_request_error"}}`},
		{"/v1/encode", `{"input":"zebra"}`, 422, `{"code":3,"details":...`},
	} {
		code, got := post(t, mux, c.path, c.request)
		if text := text(t, got); code != c.code || !like(text, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.path, c.request, code, text, c.code, c.want)
		}
	}
}

// TestOverlays: what is small as a file may be large as a picture, and be asked for once for every caption.
func TestOverlays(t *testing.T) {
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 1100, 1000))); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	if err := rpc.Gateway(mux, rpc.Options{Engine: newEngine(t)}); err != nil {
		t.Fatal(err)
	}
	r := map[string]any{"image": file.Bytes(), "captions": slices.Repeat([]string{"a red circle"}, 32)}
	if code, got := post(t, mux, "/v1/images:explain", text(t, r)); code != http.StatusOK || len(got["maps"].([]any)) != 32 {
		t.Errorf("maps alone: %d %.300s", code, text(t, got))
	}
	r["overlay"] = true
	if code, got := post(t, mux, "/v1/images:explain", text(t, r)); code != http.StatusBadRequest || !strings.Contains(text(t, got), "32 overlays of 1100x1000 pixels, want at most 33554432 pixels together") {
		t.Errorf("with overlays: %d %.300s", code, text(t, got))
	}
}

// like says whether a text is another one, in which ... stands for anything.
func like(text, want string) bool {
	for i, part := range strings.Split(want, "...") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}
