package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pillow"
)

// An Item is what becomes a vector: a text, or a picture.
type Item struct {
	Text  string // "" of a picture
	Image []byte // the content of a file; nil of a text
}

// IsImage says whether an item is a picture.
func (i Item) IsImage() bool { return i.Image != nil }

// An EmbedRequest asks for vectors.
type EmbedRequest struct {
	Model      string           // "" is the first
	Items      []Item           // pictures and texts, mixed as one likes
	Features   clipvit.Features // of pictures; the zero value is the embedding
	Normalize  bool             // every vector is divided by its length; for features of several rows, every row
	Dimensions int              // the first so many values of every row, of length 1 again; 0 is all
	Preprocess clipvit.Choice   // of pictures, in the place of the model's
	Truncate   bool             // texts that are longer than the context are cut, as OpenAI's tokenize(truncate=True) does
	Wait       bool             // where the queue has no room it is waited for
}

// Embeddings are the answer, in the order of the items.
type Embeddings struct {
	Model   string      // its name, not an alias
	Vectors [][]float32 // [E] of each; features of several rows lie one row after the other
	Shape   []int       // of a vector: [E], or [T,C]
	// Kind is what vectors of pictures are: what was asked for, but [clipvit.PostNorm] in the place of the embedding of a tower without a
	// projection.
	Kind   clipvit.FeatureKind
	Tokens []int  // of each text with its begin and end, 0 of a picture
	Sizes  []Size // of each picture as its file has it, zero of a text
	// Fingerprint is that of the space of the vectors, as [clip.Model.SpaceOf] has it for the features, the preprocessing, the
	// normalisation and the dimensions of the request.
	Fingerprint string
}

// A Size is the width and height of a picture in pixels, and the name of its format in lower case ("jpeg").
type Size struct {
	Width, Height int    // in pixels
	Format        string // "jpeg", "png", …
}

// An ItemError is the error of one item of a request.
type ItemError struct {
	Index int   // from 0
	Err   error // of a kind, for errors.Is; see package clip
}

// Error implements error; it counts items from 1.
func (e *ItemError) Error() string { return fmt.Sprintf("item %d: %v", e.Index+1, e.Err) }

// Unwrap returns Err.
func (e *ItemError) Unwrap() error { return e.Err }

// refused returns an error of a kind.
func refused(kind error, format string, args ...any) error {
	return fmt.Errorf("engine: %w: %w", kind, fmt.Errorf(format, args...))
}

// lacks returns an [ErrTask] that says what a model has not.
func (en *entry) lacks(format string, args ...any) error {
	return fmt.Errorf("engine: model %q %s: %w", en.Name, fmt.Sprintf(format, args...), ErrTask)
}

// embedding is what is taken of a picture unless another thing is asked for.
var embedding = clipvit.Features{Kind: clipvit.Embedding}

// Embed returns the vectors of pictures and texts. They go through the towers together with those of other requests, and have the same bits
// as alone. An item that cannot be encoded ends it with an [ItemError]. Beside the errors of package clip there are [ErrModel], [ErrTask],
// [ErrBusy] if the items are more than the queue has room for, [ErrClosed], and the cause of ctx's end.
func (e *Engine) Embed(ctx context.Context, r EmbedRequest) (*Embeddings, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	of := clip.Vectors{Features: r.Features, Preprocess: r.Preprocess, Normalized: r.Normalize || r.Dimensions > 0, Dim: r.Dimensions}
	if err := e.checkItems(r.Items, r.Features, r.Preprocess); err != nil {
		return nil, err
	}
	served, err := e.pool.admit(ctx, len(r.Items), r.Wait)
	if err != nil {
		return nil, err
	}
	defer served()
	in, release, err := e.acquire(ctx, r.Model, func(en *entry) error { return en.can(r.Items, r.Features) })
	if err != nil {
		return nil, err
	}
	defer release()
	if of.Features == (clipvit.Features{}) {
		of.Features = embedding
	}
	v, err := in.clip.Vision(ctx)
	if err != nil {
		return nil, err
	}
	shape, err := of.Features.Shape(v.Config)
	if err != nil {
		return nil, refused(clip.ErrRequest, "%w", pillow.Bare(err, "clipvit"))
	}
	width := shape[len(shape)-1]
	if r.Dimensions < 0 || r.Dimensions > width {
		return nil, refused(clip.ErrRequest, "got %d dimensions, want 1 to %d, or 0 for all", r.Dimensions, width)
	}
	each := 1
	for _, n := range shape {
		each *= n
	}
	if limit := e.Limits().Values; each > limit/len(r.Items) {
		return nil, refused(clip.ErrRequest, "the answer has %d vectors of %v values, want at most %d values: ask for fewer pictures at a time", len(r.Items), shape, limit)
	}
	kind := of.Features.Kind
	if kind == clipvit.Embedding && v.Config.EmbedDim == 0 {
		kind = clipvit.PostNorm
	}
	out := &Embeddings{Model: in.name, Kind: kind, Tokens: make([]int, len(r.Items)), Sizes: make([]Size, len(r.Items))}
	if out.Vectors, err = e.encode(ctx, in, r, of.Features, out); err != nil {
		return nil, err
	}
	vision, err := in.fingerprint(e.base)
	if err != nil {
		return nil, err
	}
	space, err := in.clip.SpaceOf(ctx, vision, of)
	if err != nil {
		return nil, err
	}
	out.Fingerprint = space.Fingerprint()
	for i, x := range out.Vectors {
		out.Vectors[i] = finish(x, width, of)
	}
	shape[len(shape)-1] = space.Dim
	out.Shape = shape
	return out, nil
}

// finish cuts every row [C] of a vector to the dimensions that are wanted, and gives it the length 1 if that is.
func finish(x []float32, width int, of clip.Vectors) []float32 {
	if of.Dim > 0 && of.Dim < width {
		rows := len(x) / width
		for row := range rows {
			copy(x[row*of.Dim:], x[row*width:][:of.Dim])
		}
		x = x[:rows*of.Dim]
		width = of.Dim
	}
	if of.Normalized {
		for at := 0; at < len(x); at += width {
			clip.Normalize(x[at:][:width])
		}
	}
	return x
}

// can returns an error if a model cannot encode the items.
func (en *entry) can(items []Item, f clipvit.Features) error {
	texts := false
	for _, item := range items {
		texts = texts || !item.IsImage()
	}
	switch {
	case texts && en.info.Context == 0:
		return fmt.Errorf("engine: model %q: %w, and so no texts: %w", en.Name, clip.ErrNoText, ErrTask)
	case !en.vision && !f.HasLayer():
		return en.lacks("has no post-norm and so no embedding; it has features of layers")
	}
	return nil
}

// checkItems returns what is wrong with a request before anything is loaded for it.
func (e *Engine) checkItems(items []Item, f clipvit.Features, c clipvit.Choice) error {
	limits := e.Limits()
	if n := len(items); n == 0 || n > limits.Items {
		return refused(clip.ErrRequest, "got %d items, want 1 to %d", n, limits.Items)
	}
	images := 0
	for i, item := range items {
		n := len(item.Image)
		switch {
		case !item.IsImage() && len(item.Text) > limits.TextBytes:
			return &ItemError{i, refused(clip.ErrText, "text of %d bytes, want at most %d", len(item.Text), limits.TextBytes)}
		case !item.IsImage():
			continue
		case item.Text != "":
			return &ItemError{i, refused(clip.ErrRequest, "a text and a picture, want one of them")}
		case int64(n) > limits.ImageBytes:
			return &ItemError{i, refused(clip.ErrTooLarge, "%d bytes, want at most %d", n, limits.ImageBytes)}
		}
		images++
	}
	if zero := (clipvit.Choice{}); images == 0 && c != zero {
		return refused(clip.ErrRequest, "a preprocessing of pictures, and there are none")
	}
	if images < len(items) && f != (clipvit.Features{}) && f != embedding {
		return refused(clip.ErrRequest, "features of texts are %s, want %s", f, clipvit.Embedding)
	}
	if err := c.Validate(); err != nil {
		return refused(clip.ErrRequest, "%w", pillow.Bare(err, "clipvit"))
	}
	return nil
}

// encode returns the vectors of the items of a request as the towers give them. What is known of the items goes to out, if that is not nil.
func (e *Engine) encode(ctx context.Context, in *instance, r EmbedRequest, f clipvit.Features, out *Embeddings) ([][]float32, error) {
	limits := e.Limits()
	jobs := make([]*job, len(r.Items))
	for i, item := range r.Items {
		j := &job{index: i, features: f, choice: r.Preprocess}
		jobs[i] = j
		if !item.IsImage() {
			ids, err := in.clip.Tokenize(ctx, item.Text, r.Truncate)
			if err != nil {
				return nil, &ItemError{i, err}
			}
			if j.ids = ids; out != nil {
				out.Tokens[i] = len(ids)
			}
			continue
		}
		size, err := sizeOf(item.Image, limits.Pixels)
		if err != nil {
			return nil, &ItemError{i, err}
		}
		if out != nil {
			out.Sizes[i] = size
		}
		j.source = clip.Bytes("", item.Image)
	}
	return e.run(ctx, in, jobs)
}

// run has jobs done, and returns their vectors.
func (e *Engine) run(ctx context.Context, in *instance, jobs []*job) ([][]float32, error) {
	if err := e.pool.do(ctx, in, jobs, e.share(in)); err != nil {
		return nil, err
	}
	vectors := make([][]float32, len(jobs))
	for i, j := range jobs {
		vectors[i] = j.vector
	}
	return vectors, nil
}

// alone runs f when it is its turn, as a batch of its own: what computes and cannot be put together with anything.
func (e *Engine) alone(ctx context.Context, in *instance, f func(ctx context.Context) error) error {
	err := e.pool.do(ctx, in, []*job{{call: f}}, e.share(in))
	if at := (*ItemError)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}

// sizeOf returns the size of a picture from its headers, or what is wrong with it.
func sizeOf(file []byte, pixels int64) (s Size, err error) {
	if s.Width, s.Height, err = clip.SizeOf("", file); err != nil {
		return s, err
	}
	if n := int64(s.Width) * int64(s.Height); n > pixels {
		return s, refused(clip.ErrTooLarge, "size %dx%d is more than %d pixels", s.Width, s.Height, pixels)
	}
	if f, ok := pillow.FormatOf(file[:min(len(file), 1<<10)]); ok {
		s.Format = strings.ToLower(f.Name)
	}
	return s, nil
}

// An encoder encodes by an engine what a task wants encoded.
type encoder struct {
	e  *Engine
	in *instance
}

func (x encoder) Space(ctx context.Context) (clip.Space, error) { return x.in.clip.Space(ctx) }

func (x encoder) Encode(ctx context.Context, pictures ...clip.Picture) ([][]float32, error) {
	jobs := make([]*job, len(pictures))
	for i, p := range pictures {
		jobs[i] = &job{index: i, features: embedding, source: p}
	}
	return x.e.run(ctx, x.in, jobs)
}

func (x encoder) EncodeText(ctx context.Context, texts []string) ([][]float32, error) {
	jobs := make([]*job, len(texts))
	for i, text := range texts {
		ids, err := x.in.clip.Tokenize(ctx, text, false)
		if err != nil {
			return nil, err
		}
		jobs[i] = &job{index: i, ids: ids}
	}
	return x.e.run(ctx, x.in, jobs)
}
