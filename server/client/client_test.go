package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"net"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/client"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/rpc"
	"github.com/vitago/vitago/server/status"
	"github.com/vitago/vitago/tasks/imageencoding"
	"github.com/vitago/vitago/tasks/imagesearch"
)

// dial starts a server with the small model on this machine, and returns a client of it.
func dial(t testing.TB, o rpc.Options, with client.Options) *client.Client {
	t.Helper()
	if o.Engine == nil {
		e, err := engine.New(t.Context(), engine.Config{Models: []engine.Model{{Name: "demo", Path: demo.Name}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close(context.Background()) })
		o.Engine = e
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rpc.NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	c, err := client.New(listener.Addr().String(), with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return c
}

// picture returns the file of a picture with a dark square.
func picture(t testing.TB, side int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range img.Pix {
		if x, y := i%64, i/64; x >= side || y >= side {
			img.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func small(t testing.TB) *clip.Model {
	t.Helper()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Pictures and texts over the wire have the bits of package clip.
func TestEncoding(t *testing.T) {
	c := dial(t, rpc.Options{}, client.Options{})
	m := small(t)
	files := [][]byte{picture(t, 10), picture(t, 40)}
	for _, f := range []clipvit.Features{{}, {Kind: clipvit.Embedding}} {
		taken := f
		if f.Kind == "" {
			taken.Kind = clipvit.Embedding
		}
		want, err := m.Features(t.Context(), taken, clip.Bytes("a", files[0]), clip.Bytes("b", files[1]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.ImageEncoding("demo").EncodeImages(t.Context(), imageencoding.Request{Images: files, Features: f})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !slices.Equal(got[i].Vector.Data().F32(), want[i]) || got[i].Kind != taken.Kind {
				t.Errorf("%v: picture %d differs from package clip's", f, i)
			}
		}
	}
	one, err := c.ImageEncoding("").EncodeImage(t.Context(), files[1])
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Encode(t.Context(), clip.Bytes("b", files[1]))
	if err != nil || !slices.Equal(one.Vector.Data().F32(), want[0]) {
		t.Error("one picture differs from package clip's", err)
	}
	text, err := c.TextEncoding("").Encode(t.Context(), "a red circle", 0)
	if err != nil {
		t.Fatal(err)
	}
	if want, err = m.EncodeText(t.Context(), []string{"a red circle"}); err != nil || !slices.Equal(text.Vector.Data().F32(), want[0]) {
		t.Error("a text differs from package clip's", err)
	}
	if _, err := c.TextEncoding("").Encode(t.Context(), "a red circle", 1); !errors.Is(err, clip.ErrRequest) {
		t.Errorf("another pooling: %v", err)
	}
}

// Every kind of error is the same on this side.
func TestErrors(t *testing.T) {
	c := dial(t, rpc.Options{}, client.Options{})
	good := picture(t, 10)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelLate()
	images := func(ctx context.Context, model string, f clipvit.Features, files ...[]byte) error {
		_, err := c.ImageEncoding(model).EncodeImages(ctx, imageencoding.Request{Images: files, Features: f})
		return err
	}
	words := func(text string) error {
		_, err := c.TextEncoding("").Encode(t.Context(), text, 0)
		return err
	}
	for _, x := range []struct {
		name  string
		err   error
		want  error
		code  codes.Code
		field string
	}{
		{"none", images(t.Context(), "", clipvit.Features{}), imageencoding.ErrRequest, codes.InvalidArgument, ""},
		{"no picture", images(t.Context(), "", clipvit.Features{}, good, []byte("text")), imageencoding.ErrImage, codes.InvalidArgument, "images[1]"},
		{"empty", images(t.Context(), "", clipvit.Features{}, nil), imageencoding.ErrImage, codes.InvalidArgument, "images[0]"},
		{"large", images(t.Context(), "", clipvit.Features{}, []byte("P6 100000 100000 255\n")), imageencoding.ErrImageTooLarge, codes.InvalidArgument, "images[0]"},
		{"layer", images(t.Context(), "", clipvit.Features{Kind: clipvit.Patches, Layer: 99}, good), imageencoding.ErrRequest, codes.InvalidArgument, ""},
		{"model", images(t.Context(), "none", clipvit.Features{}, good), engine.ErrModel, codes.NotFound, ""},
		{"words", words("zebra"), clip.ErrText, codes.InvalidArgument, "texts[0]"},
		{"canceled", images(ended, "", clipvit.Features{}, good), context.Canceled, codes.Canceled, ""},
		{"late", images(late, "", clipvit.Features{}, good), context.DeadlineExceeded, codes.DeadlineExceeded, ""},
	} {
		var e *client.Error
		if !errors.Is(x.err, x.want) || !errors.As(x.err, &e) || e.Code != x.code || x.field != "" && e.Field != x.field {
			t.Errorf("%s: got %v (%+v), want %v, %v, field %q", x.name, x.err, e, x.want, x.code, x.field)
		}
	}
}

func TestErrorsOfTasks(t *testing.T) {
	c := dial(t, rpc.Options{}, client.Options{})
	_, err := c.ImageSearch("").FindImages(t.Context(), imagesearch.Request{Query: []imagesearch.Part{{Text: "a red circle"}}})
	if !errors.Is(err, engine.ErrTask) {
		t.Errorf("search without an index: %v", err)
	}
	if !strings.HasPrefix(err.Error(), "client: ") {
		t.Errorf("no name in front of %q", err)
	}
}

// A stream gives what single calls give, in the order of the pictures, and goes on after one that is none if it shall.
func TestStream(t *testing.T) {
	c := dial(t, rpc.Options{}, client.Options{})
	m := small(t)
	const n, bad = 70, 5
	images := func(yield func([]byte) bool) {
		for i := range n {
			file := picture(t, i%60)
			if i == bad {
				file = nil
			}
			if !yield(file) {
				return
			}
		}
	}
	i := 0
	for got, err := range c.EncodeImageStream(t.Context(), "", client.StreamOptions{SkipErrors: true}, images) {
		if err != nil {
			t.Fatal(err)
		}
		if i == bad {
			if !errors.Is(got.Err, imageencoding.ErrImage) || got.Vector != nil {
				t.Errorf("a picture that is none: %+v", got)
			}
		} else if i%10 == 0 {
			want, err := m.Encode(t.Context(), clip.Bytes("picture", picture(t, i%60)))
			if err != nil || !slices.Equal(got.Vector, want[0]) || !slices.Equal(got.Shape, []int{len(want[0])}) || len(got.Fingerprint) != 64 {
				t.Errorf("picture %d differs from package clip's: %v", i, err)
			}
		}
		if got.Index != i {
			t.Fatalf("index %d, want %d", got.Index, i)
		}
		i++
	}
	if i != n {
		t.Errorf("%d vectors, want %d", i, n)
	}

	// The first that is none ends it, and says which.
	i = 0
	var last error
	for _, err := range c.EncodeImageStream(t.Context(), "", client.StreamOptions{}, images) {
		last = err
		i++
	}
	var e *client.Error
	if !errors.Is(last, imageencoding.ErrImage) || !errors.As(last, &e) || e.Field != fmt.Sprintf("images[%d]", bad) || i != bad+1 {
		t.Errorf("after %d: %v", i, last)
	}

	// Who stops early stops the sender as well.
	given := 0
	forever := func(yield func([]byte) bool) {
		for yield(picture(t, 10)) {
			given++
		}
	}
	for range c.EncodeImageStream(t.Context(), "", client.StreamOptions{}, forever) {
		break
	}
	if given > 10_000 {
		t.Errorf("%d pictures were sent for one", given)
	}
}

// settle waits until no more goroutines run than before.
func settle(t testing.TB, before int) {
	t.Helper()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// Many calls have one connection, and nothing is left behind.
func TestNothingIsLeft(t *testing.T) {
	if _, err := small(t).Encode(t.Context(), clip.Bytes("picture", picture(t, 10))); err != nil { // the workers of the kernels stay
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		c := dial(t, rpc.Options{}, client.Options{})
		file := picture(t, 10)
		var after int
		for i := range 50 {
			if _, err := c.ImageEncoding("").EncodeImage(t.Context(), file); err != nil {
				t.Fatal(err)
			}
			if _, err := c.TextEncoding("").Encode(t.Context(), "a red circle", 0); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				after = runtime.NumGoroutine()
			}
		}
		settle(t, after)
	})
	settle(t, before)
}

// authorized wants the token of the test.
func authorized(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if !slices.Equal(md.Get("authorization"), []string{"Bearer secret"}) {
		return status.ErrToken
	}
	return nil
}

// The token goes with every call.
func TestToken(t *testing.T) {
	var methods []string
	o := rpc.Options{Auth: func(ctx context.Context, method string) (context.Context, error) {
		methods = append(methods, method)
		return ctx, authorized(ctx)
	}}
	c := dial(t, o, client.Options{Token: "secret"})
	if _, err := c.Models(t.Context()); err != nil {
		t.Error(err)
	}
	for range c.EncodeImageStream(t.Context(), "", client.StreamOptions{}, slices.Values([][]byte{picture(t, 10)})) {
	}
	if want := []string{"/vitago.v1.ModelsService/ListModels", "/vitago.v1.ImageEncodingService/EncodeImageStream"}; !reflect.DeepEqual(methods, want) {
		t.Errorf("asked for %q, want %q", methods, want)
	}
	c = dial(t, o, client.Options{Token: "another"})
	_, err := c.Models(t.Context())
	var e *client.Error
	if !errors.Is(err, status.ErrToken) || !errors.As(err, &e) || e.Code != codes.Unauthenticated {
		t.Errorf("another token: %v", err)
	}
}
