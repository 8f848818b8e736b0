// Package genkit makes CLIP an embedder of [genkit], for flows, indexers and retrievers that compare texts with pictures.
//
//	g := genkit.Init(ctx)
//	embedder, err := vitago.Define(ctx, g, "vitago/clip", model, vitago.Options{Normalize: true})
//	response, err := genkit.Embed(ctx, g, ai.WithEmbedder(embedder), ai.WithTextDocs("a red circle"))
//
// A document is a text or a picture. For a server there is no need of this package: genkit's plugin compat_oai works with vitago serve.
//
// [genkit]: https://github.com/firebase/genkit
package genkit

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/firebase/genkit/go/ai"
	"github.com/firebase/genkit/go/genkit"

	"github.com/vitago/vitago/clip"
)

// Options are what else an embedder does.
type Options struct {
	Normalize bool // every vector is divided by its length, for stores that compare by the inner product
	// Fetch returns the file of a picture that a document names by URL, as the method of that name of package server/fetch does, which
	// has hosts and addresses permitted. With nil such a document is a [clip.ErrRequest]; data URIs need none.
	Fetch func(ctx context.Context, url string) ([]byte, error)
}

// Define registers a model as an embedder of g, under a name as genkit has them: "vitago/clip". It loads the vision tower, whose
// embeddings say how many values a vector has.
func Define(ctx context.Context, g *genkit.Genkit, name string, m *clip.Model, o Options) (ai.Embedder, error) {
	vision, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	about := &ai.EmbedderOptions{Label: "Vitago - " + m.Name(), Dimensions: cmp.Or(vision.Config.EmbedDim, vision.Config.Width), Supports: &ai.EmbedderSupports{Input: []string{"image"}}}
	if m.HasText() {
		about.Supports.Input = []string{"text", "image"}
	}
	e := &embedder{m, o}
	return genkit.DefineEmbedder(g, name, about, e.embed), nil
}

type embedder struct {
	model   *clip.Model
	options Options
}

// embed returns one vector for each document, which all that indexes documents relies on.
func (e *embedder) embed(ctx context.Context, r *ai.EmbedRequest) (*ai.EmbedResponse, error) {
	if given, ok := r.Options.(map[string]any); r.Options != nil && (!ok || len(given) > 0) {
		return nil, fmt.Errorf("genkit: %w: the request has options, and the embedder knows none", clip.ErrRequest)
	}
	var texts []string
	var pictures []clip.Picture
	isPicture := make([]bool, len(r.Input))
	for i, d := range r.Input {
		text, file, err := e.read(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("genkit: document %d: %w", i+1, err)
		}
		if isPicture[i] = file != nil; isPicture[i] {
			pictures = append(pictures, clip.Bytes(fmt.Sprintf("document %d", i+1), file))
		} else {
			texts = append(texts, text)
		}
	}
	var ofPictures, ofTexts [][]float32
	var err error
	if len(pictures) > 0 {
		if ofPictures, err = e.model.Encode(ctx, pictures...); err != nil {
			return nil, err
		}
	}
	if len(texts) > 0 {
		if ofTexts, err = e.model.EncodeText(ctx, texts); err != nil {
			return nil, err
		}
	}
	answer := &ai.EmbedResponse{}
	for _, is := range isPicture {
		from := &ofTexts
		if is {
			from = &ofPictures
		}
		v := (*from)[0]
		*from = (*from)[1:]
		if e.options.Normalize {
			clip.Normalize(v)
		}
		answer.Embeddings = append(answer.Embeddings, &ai.Embedding{Embedding: v})
	}
	return answer, nil
}

// read returns the text of a document, or the file of its picture. Neither tower takes both at once.
func (e *embedder) read(ctx context.Context, d *ai.Document) (text string, file []byte, err error) {
	if d == nil {
		return "", nil, fmt.Errorf("%w: there is none", clip.ErrRequest)
	}
	var texts, media int
	for _, p := range d.Content {
		switch {
		case p.IsText():
			texts++
			text += p.Text
		case p.IsMedia():
			if media++; media > 1 {
				break
			}
			if file, err = e.open(ctx, p.Text); err != nil {
				return "", nil, err
			}
		default:
			return "", nil, fmt.Errorf("%w: a part is neither text nor media", clip.ErrRequest)
		}
	}
	if media > 1 || media == 1 && texts > 0 || media+texts == 0 {
		return "", nil, fmt.Errorf("%w: %d parts of text and %d of media, want text or one picture", clip.ErrRequest, texts, media)
	}
	return text, file, nil
}

// open returns the file of a picture, which is a data URI or a URL.
func (e *embedder) open(ctx context.Context, address string) ([]byte, error) {
	const scheme = "data:"
	if len(address) < len(scheme) || !strings.EqualFold(address[:len(scheme)], scheme) {
		if e.options.Fetch == nil {
			return nil, fmt.Errorf("%w: the picture is given by URL, want a data URI, or Options.Fetch", clip.ErrRequest)
		}
		return e.options.Fetch(ctx, address)
	}
	head, data, ok := strings.Cut(address[len(scheme):], ",")
	if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
		return nil, fmt.Errorf("%w: data:%.40s… is not in base64, want data:image/png;base64,…", clip.ErrRequest, head)
	}
	file, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("%w: the data URI: %w", clip.ErrRequest, err)
	}
	return append([]byte{}, file...), nil
}
