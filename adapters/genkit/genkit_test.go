package genkit

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

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/genkit"

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

func document(parts ...*ai.Part) *ai.Document { return &ai.Document{Content: parts} }

// Documents become the vectors of package clip, whatever their order, by the framework's own call.
func TestEmbed(t *testing.T) {
	m := open(t)
	red, blue := file(t, color.RGBA{255, 0, 0, 255}), file(t, color.RGBA{0, 0, 255, 255})
	pictures, err := m.Encode(t.Context(), clip.Bytes("red", red), clip.Bytes("blue", blue))
	if err != nil {
		t.Fatal(err)
	}
	words, err := m.EncodeText(t.Context(), []string{"a red circle", "a blue square"})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float32{words[0], pictures[0], words[1], pictures[1]}
	documents := []*ai.Document{
		ai.DocumentFromText("a red circle", nil), document(ai.NewMediaPart("image/png", uri(red))),
		document(ai.NewTextPart("a blue "), ai.NewTextPart("square")), document(ai.NewMediaPart("", "https://images.example.com/blue.png")),
	}
	fetch := func(_ context.Context, url string) ([]byte, error) {
		if url != "https://images.example.com/blue.png" {
			t.Errorf("fetches %s", url)
		}
		return blue, nil
	}
	g := genkit.Init(t.Context())
	for _, o := range []Options{{Fetch: fetch}, {Fetch: fetch, Normalize: true}} {
		name := "vitago/raw"
		if o.Normalize {
			name = "vitago/unit"
			clip.Normalize(want...)
		}
		if _, err := Define(t.Context(), g, name, m, o); err != nil {
			t.Fatal(err)
		}
		e := genkit.LookupEmbedder(g, name)
		if e == nil {
			t.Fatalf("genkit does not know %s", name)
		}
		got, err := genkit.Embed(t.Context(), g, ai.WithEmbedder(e), ai.WithDocs(documents...))
		if err != nil || len(got.Embeddings) != len(want) {
			t.Fatalf("got %+v, %v", got, err)
		}
		for i := range want {
			if !slices.Equal(got.Embeddings[i].Embedding, want[i]) {
				t.Errorf("%s: document %d has another vector than package clip's", name, i)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	e := &embedder{model: open(t)}
	text, picture := ai.NewTextPart("a red circle"), ai.NewMediaPart("image/png", uri(file(t, color.White)))
	for _, c := range []struct {
		document *ai.Document
		options  any
		kind     error
		want     string
	}{
		{nil, nil, clip.ErrRequest, "document 1: not a valid request: there is none"},
		{document(), nil, clip.ErrRequest, "0 parts of text and 0 of media, want text or one picture"},
		{document(text, picture), nil, clip.ErrRequest, "1 parts of text and 1 of media"},
		{document(picture, picture), nil, clip.ErrRequest, "0 parts of text and 2 of media"},
		{document(ai.NewResourcePart("x")), nil, clip.ErrRequest, "neither text nor media"},
		{document(ai.NewMediaPart("image/png", "https://images.example.com/a.png")), nil, clip.ErrRequest, "given by URL, want a data URI, or Options.Fetch"},
		{document(ai.NewMediaPart("image/png", "data:image/png,abc")), nil, clip.ErrRequest, "is not in base64"},
		{document(ai.NewMediaPart("image/png", "data:;base64,*")), nil, clip.ErrRequest, "illegal base64 data"},
		{document(ai.NewMediaPart("image/png", "data:;base64,")), nil, clip.ErrImage, "document 1"},
		{document(ai.NewMediaPart("image/png", uri([]byte("no picture")))), nil, clip.ErrImage, "document 1"},
		{document(ai.NewTextPart("a red xylophone")), nil, clip.ErrText, "xylophone"},
		{document(text), map[string]any{"dimensions": 8}, clip.ErrRequest, "the request has options"},
		{document(text), "x", clip.ErrRequest, "the request has options"},
		{document(text), map[string]any{}, nil, ""},
	} {
		_, err := e.embed(t.Context(), &ai.EmbedRequest{Input: []*ai.Document{c.document}, Options: c.options})
		if !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %v with %q", err, c.kind, c.want)
		}
	}
	if got, err := e.embed(t.Context(), &ai.EmbedRequest{}); err != nil || len(got.Embeddings) != 0 {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.embed(ctx, &ai.EmbedRequest{Input: []*ai.Document{document(text)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
