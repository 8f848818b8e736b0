package eino

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/cloudwego/eino/components/embedding"
	"github.com/cloudwego/eino/compose"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
)

func open(t testing.TB) *clip.Model {
	t.Helper()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// file is that of a picture of one colour.
func file(t testing.TB, c color.Color) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func uri(file []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(file)
}

func same(got []float64, want []float32) bool {
	return slices.EqualFunc(got, want, func(a float64, b float32) bool { return a == float64(b) })
}

// Strings become the vectors of package clip, whatever their order, and the framework's graph gives the same.
func TestEmbedStrings(t *testing.T) {
	m := open(t)
	red, blue := file(t, color.RGBA{255, 0, 0, 255}), file(t, color.RGBA{0, 0, 255, 255})
	texts := []string{"a red circle", uri(red), "a blue square", strings.Replace(uri(blue), "data:", "DATA:", 1)}
	pictures, err := m.Encode(t.Context(), clip.Bytes("red", red), clip.Bytes("blue", blue))
	if err != nil {
		t.Fatal(err)
	}
	words, err := m.EncodeText(t.Context(), []string{texts[0], texts[2]})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float32{words[0], pictures[0], words[1], pictures[1]}

	chain := compose.NewChain[[]string, [][]float64]()
	chain.AppendEmbedding(&Embedder{Model: m})
	run, err := chain.Compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, embed := range map[string]func(context.Context, []string) ([][]float64, error){
		"alone": func(ctx context.Context, s []string) ([][]float64, error) {
			return (&Embedder{Model: m}).EmbedStrings(ctx, s)
		},
		"a graph": func(ctx context.Context, s []string) ([][]float64, error) { return run.Invoke(ctx, s) },
	} {
		got, err := embed(t.Context(), texts)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: got %d vectors, %v", name, len(got), err)
		}
		for i := range want {
			if !same(got[i], want[i]) {
				t.Errorf("%s: string %d has another vector than package clip's", name, i)
			}
		}
	}

	e := &Embedder{Model: m, Normalize: true}
	got, err := e.EmbedStrings(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	images, err := e.EmbedImages(t.Context(), clip.Bytes("red", red))
	if err != nil || !slices.Equal(images[0], got[1]) {
		t.Errorf("a picture and its data URI have other vectors: %v", err)
	}
	clip.Normalize(want...)
	for i := range want {
		if !same(got[i], want[i]) {
			t.Errorf("normalized: string %d has another vector than package clip's", i)
		}
	}
	if got, err := e.EmbedStrings(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	e := &Embedder{Model: open(t)}
	for _, c := range []struct {
		text string
		opts []embedding.Option
		kind error
		want string
	}{
		{"data:image/png,abc", nil, clip.ErrRequest, "string 1: not a valid request: data:image/png… is not in base64"},
		{"data:", nil, clip.ErrRequest, "is not in base64"},
		{"data:image/png;base64,*", nil, clip.ErrRequest, "illegal base64 data at input byte 0"},
		{uri([]byte("no picture")), nil, clip.ErrImage, "string 1"},
		{"a red xylophone", nil, clip.ErrText, "xylophone"},
		{"a red circle", []embedding.Option{embedding.WithModel("other")}, clip.ErrRequest, `the option names model "other"`},
	} {
		_, err := e.EmbedStrings(t.Context(), []string{c.text}, c.opts...)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: got %v, want %v with %q", c.text, err, c.kind, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.EmbedStrings(ctx, []string{"a red circle"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
