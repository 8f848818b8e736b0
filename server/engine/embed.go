package engine

import (
	"context"
	"fmt"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
)

// An Item is what becomes a vector: a text, or a picture.
type Item struct {
	Text  string
	Image []byte // the content of a file; nil of a text
}

// IsImage says whether an item is a picture.
func (i Item) IsImage() bool { return i.Image != nil }

// An EmbedRequest asks for vectors.
type EmbedRequest struct {
	Model      string // "" is the first
	Items      []Item
	Features   clipvit.Features // of pictures; the zero value is the embedding
	Normalize  bool             // every vector is divided by its length; for features of several rows, every row
	Dimensions int              // the first so many values, of length 1 again; 0 is all
	Preprocess clipvit.Choice   // in the place of the model's
}

// Embeddings are the answer, in the order of the items.
type Embeddings struct {
	Model   string      // its name, not an alias
	Vectors [][]float32 // [E] of each; features of several rows lie one row after the other
	Shape   []int       // of a vector: [E], or [T,C]
	Tokens  []int       // of each text with its begin and end, 0 of a picture
	Sizes   []Size      // of each picture as its file has it, zero of a text
	// Fingerprint is that of the space of the vectors, as [clip.Space] has it, made for the features, the preprocessing and the
	// normalisation of the request.
	Fingerprint string
}

// A Size is the width and height of a picture in pixels, and the name of its format in lower case ("jpeg").
type Size struct {
	Width, Height int
	Format        string
}

// Embed returns the vectors of pictures and texts. An item that cannot be encoded ends it with an [ItemError]. Beside the errors of
// package clip there are [ErrModel], [ErrTask], [ErrBusy] if the items are more than the queue has room for, and ctx's.
func (e *Engine) Embed(ctx context.Context, r EmbedRequest) (*Embeddings, error) {
	m, info, err := e.model(ctx, r.Model)
	if err != nil {
		return nil, err
	}
	space, err := m.Space(ctx)
	if err != nil {
		return nil, err
	}
	out := &Embeddings{Model: info.Name, Shape: []int{space.Dim}, Fingerprint: space.Fingerprint(), Tokens: make([]int, len(r.Items)), Sizes: make([]Size, len(r.Items))}
	features := r.Features
	if features == (clipvit.Features{}) {
		features.Kind = clipvit.Embedding
	}
	for i, item := range r.Items {
		var v [][]float32
		if item.IsImage() {
			v, err = m.Features(ctx, features, clip.Bytes(fmt.Sprintf("image %d", i+1), item.Image))
		} else {
			v, err = m.EncodeText(ctx, []string{item.Text})
		}
		if err != nil {
			return nil, &ItemError{i, err}
		}
		if r.Normalize {
			clip.Normalize(v...)
		}
		out.Vectors = append(out.Vectors, v[0])
	}
	return out, nil
}

// An ItemError is the error of one item of a request.
type ItemError struct {
	Index int // from 0
	Err   error
}

func (e *ItemError) Error() string { return fmt.Sprintf("item %d: %v", e.Index+1, e.Err) }
func (e *ItemError) Unwrap() error { return e.Err }
