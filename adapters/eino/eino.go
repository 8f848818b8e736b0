// Package eino makes CLIP an embedder of [eino], for graphs, indexers and retrievers that compare texts with pictures.
//
// eino's embedders take strings. One that is the data URI of a picture ("data:image/png;base64,…") becomes the vector of the picture,
// so that a document whose content is one can be indexed and found by words. For a server there is no need of this package: eino-ext's
// embedder for OpenAI works with vitago serve.
//
// [eino]: https://github.com/cloudwego/eino
package eino

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/cloudwego/eino/components/embedding"

	"github.com/vitago/vitago/clip"
)

// An Embedder embeds texts and pictures by a model. It may be used by many goroutines at once.
type Embedder struct {
	Model     *clip.Model // what computes the vectors; it must not be nil
	Normalize bool        // every vector is divided by its length, for stores that compare by the inner product
}

var _ embedding.Embedder = (*Embedder)(nil)

// GetType returns the name by which eino's callbacks know the embedder.
func (*Embedder) GetType() string { return "Vitago" }

// EmbedStrings returns the vectors [E] of texts and of the data URIs of pictures, in their order. The errors are those of
// [clip.Model.Encode] and [clip.Model.EncodeText]; a data URI that is not in base64, and an option that names a model, are a
// [clip.ErrRequest].
func (e *Embedder) EmbedStrings(ctx context.Context, texts []string, opts ...embedding.Option) ([][]float64, error) {
	if o := embedding.GetCommonOptions(nil, opts...); o.Model != nil {
		return nil, fmt.Errorf("eino: %w: the option names model %q, and an embedder has one", clip.ErrRequest, *o.Model)
	}
	var words []string
	var pictures []clip.Picture
	isPicture := make([]bool, len(texts))
	for i, s := range texts {
		if len(s) < len("data:") || !strings.EqualFold(s[:len("data:")], "data:") {
			words = append(words, s)
			continue
		}
		p, err := picture(fmt.Sprintf("string %d", i+1), s[len("data:"):])
		if err != nil {
			return nil, err
		}
		pictures, isPicture[i] = append(pictures, p), true
	}
	ofPictures, err := e.vectors(len(pictures), func() ([][]float32, error) { return e.Model.Encode(ctx, pictures...) })
	if err != nil {
		return nil, err
	}
	ofWords, err := e.vectors(len(words), func() ([][]float32, error) { return e.Model.EncodeText(ctx, words) })
	if err != nil {
		return nil, err
	}
	all := make([][]float64, len(texts))
	for i := range all {
		from := &ofWords
		if isPicture[i] {
			from = &ofPictures
		}
		all[i], *from = (*from)[0], (*from)[1:]
	}
	return all, nil
}

// EmbedImages returns the vectors [E] of pictures, in their order.
func (e *Embedder) EmbedImages(ctx context.Context, pictures ...clip.Picture) ([][]float64, error) {
	return e.vectors(len(pictures), func() ([][]float32, error) { return e.Model.Encode(ctx, pictures...) })
}

// vectors returns n vectors as eino has them.
func (e *Embedder) vectors(n int, encode func() ([][]float32, error)) ([][]float64, error) {
	if n == 0 {
		return nil, nil
	}
	vectors, err := encode()
	if err != nil {
		return nil, err
	}
	if e.Normalize {
		clip.Normalize(vectors...)
	}
	all := make([][]float64, n)
	for i, v := range vectors {
		all[i] = make([]float64, len(v))
		for j, x := range v {
			all[i][j] = float64(x)
		}
	}
	return all, nil
}

// picture returns that of a data URI, without its scheme.
func picture(name, uri string) (p clip.Picture, err error) {
	head, data, ok := strings.Cut(uri, ",")
	if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
		return p, fmt.Errorf("eino: %s: %w: data:%.40s… is not in base64, want data:image/png;base64,…", name, clip.ErrRequest, head)
	}
	file, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return p, fmt.Errorf("eino: %s: %w: the data URI: %w", name, clip.ErrRequest, err)
	}
	return clip.Bytes(name, file), nil
}
