package engine

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks/imageclassification"
	labelled "github.com/vitago/vitago/tasks/imageclassification/clip"
	"github.com/vitago/vitago/tasks/imagesearch"
	found "github.com/vitago/vitago/tasks/imagesearch/clip"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/tasks/visualtokens"
	"github.com/vitago/vitago/tasks/visualtokens/projected"
	"github.com/vitago/vitago/zeroshot"
)

// images returns pictures as items, or what is wrong with them.
func (e *Engine) images(files [][]byte, n int) ([]Item, error) {
	if len(files) == 0 {
		return nil, refused(clip.ErrRequest, "got 0 images, want 1 to %d", n)
	}
	items := make([]Item, len(files))
	for i, f := range files {
		if f == nil {
			f = []byte{} // no picture, and no text
		}
		items[i].Image = f
	}
	return items, e.checkItems(items, clipvit.Features{}, clipvit.Choice{})
}

// Classify says which labels fit pictures, by words or by the classifier that the model has. Its pictures and texts go through the same
// batches as those of Embed.
func (e *Engine) Classify(ctx context.Context, model string, r imageclassification.Request) ([]imageclassification.Response, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	items, err := e.images(r.Images, imageclassification.MaxImages)
	if err != nil {
		return nil, err
	}
	words := r.Labels != nil || r.Prompts != nil
	served, err := e.pool.admit(ctx, len(items), false)
	if err != nil {
		return nil, err
	}
	defer served()
	in, release, err := e.acquire(ctx, model, func(en *entry) error {
		switch {
		case words && en.info.Context == 0:
			return fmt.Errorf("engine: model %q: %w, and so no labels of one's own: %w", en.Name, clip.ErrNoText, ErrTask)
		case words && !en.vision:
			return en.lacks("has no post-norm and so no embedding")
		case !words && !en.head:
			return en.lacks("has no classifier of its own: give labels")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer release()
	c, err := in.classifier.get(func() (*labelled.ImageClassification, error) { return labelled.New(ctx, in.clip) })
	if err != nil {
		return nil, err
	}
	judge, err := c.Judge(ctx, r, zeroshot.EncodeBy(encoder{e, in}.EncodeText))
	if err != nil {
		return nil, err
	}
	vectors, err := e.encode(ctx, in, EmbedRequest{Items: items}, judge.Features, nil)
	if err != nil {
		return nil, err
	}
	all := make([]imageclassification.Response, len(vectors))
	for i, v := range vectors {
		if all[i], err = judge.Response(v); err != nil {
			return nil, &ItemError{i, err}
		}
	}
	return all, nil
}

// Compare returns the similarities of pictures and texts.
func (e *Engine) Compare(ctx context.Context, model string, r imagetextsimilarity.Request) (imagetextsimilarity.Response, error) {
	var none imagetextsimilarity.Response
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	items, err := e.images(r.Images, imagetextsimilarity.MaxImages)
	if err != nil {
		return none, err
	}
	if n := len(r.Texts); n == 0 || n > imagetextsimilarity.MaxTexts {
		return none, refused(clip.ErrRequest, "got %d texts, want 1 to %d", n, imagetextsimilarity.MaxTexts)
	}
	limits := e.Limits()
	for i, text := range r.Texts {
		if len(text) > limits.TextBytes {
			return none, refused(clip.ErrText, "text %d has %d bytes, want at most %d", i+1, len(text), limits.TextBytes)
		}
	}
	served, err := e.pool.admit(ctx, len(items), false)
	if err != nil {
		return none, err
	}
	defer served()
	in, release, err := e.acquire(ctx, model, func(en *entry) error {
		if en.info.Context == 0 {
			return fmt.Errorf("engine: model %q: %w: %w", en.Name, clip.ErrNoText, ErrTask)
		}
		return en.can(items, embedding)
	})
	if err != nil {
		return none, err
	}
	defer release()
	text, err := in.clip.Text(ctx)
	if err != nil {
		return none, err
	}
	for _, t := range r.Texts {
		items = append(items, Item{Text: t})
	}
	vectors, err := e.encode(ctx, in, EmbedRequest{Items: items}, embedding, nil)
	if err != nil {
		return none, err
	}
	out := imagetextsimilarity.Response{Scale: text.Scale()}
	out.Cosines, out.Probabilities = zeroshot.Compare(out.Scale, vectors[:len(r.Images)], vectors[len(r.Images):])
	return out, nil
}

// Search finds pictures in the index of a model.
func (e *Engine) Search(ctx context.Context, model string, r imagesearch.Request) (imagesearch.Response, error) {
	var none imagesearch.Response
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	limits := e.Limits()
	if n := len(r.Query); n > imagesearch.MaxParts { // which might never have room in the queue
		return none, refused(clip.ErrRequest, "the query has %d parts, want 1 to %d", n, imagesearch.MaxParts)
	}
	for i, p := range r.Query {
		if p.Image != nil {
			if int64(len(p.Image)) > limits.ImageBytes {
				return none, refused(clip.ErrTooLarge, "part %d of the query: %d bytes, want at most %d", i+1, len(p.Image), limits.ImageBytes)
			}
			if _, err := sizeOf(p.Image, limits.Pixels); err != nil {
				return none, &ItemError{i, err}
			}
		}
		if len(p.Text) > limits.TextBytes {
			return none, refused(clip.ErrText, "part %d of the query: text of %d bytes, want at most %d", i+1, len(p.Text), limits.TextBytes)
		}
	}
	served, err := e.pool.admit(ctx, len(r.Query), false)
	if err != nil {
		return none, err
	}
	defer served()
	in, release, err := e.acquire(ctx, model, func(en *entry) error {
		if en.Index == "" {
			return en.lacks("has no index")
		}
		return nil
	})
	if err != nil {
		return none, err
	}
	defer release()
	finder, err := in.finder(ctx, e)
	if err != nil {
		return none, err
	}
	return finder.FindImages(ctx, r)
}

// finder opens the index of a model.
func (in *instance) finder(ctx context.Context, e *Engine) (*found.ImageSearch, error) {
	return in.search.get(func() (*found.ImageSearch, error) { return found.New(ctx, encoder{e, in}, in.of.Index) })
}

// Tokens returns the visual tokens of a picture.
func (e *Engine) Tokens(ctx context.Context, model string, image []byte) (visualtokens.Response, error) {
	var none visualtokens.Response
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	if _, err := e.images([][]byte{image}, 1); err != nil {
		return none, err
	}
	if _, err := sizeOf(image, e.Limits().Pixels); err != nil {
		return none, err
	}
	served, err := e.pool.admit(ctx, 1, false)
	if err != nil {
		return none, err
	}
	defer served()
	in, release, err := e.acquire(ctx, model, (*entry).hasProjector)
	if err != nil {
		return none, err
	}
	defer release()
	t, err := in.projected(ctx)
	if err != nil {
		return none, err
	}
	err = e.alone(ctx, in, func(ctx context.Context) (err error) {
		none, err = t.Tokens(ctx, image)
		return err
	})
	return none, err
}

// projected returns what makes visual tokens.
func (in *instance) projected(ctx context.Context) (*projected.Tokens, error) {
	return in.tokens.get(func() (*projected.Tokens, error) {
		encoder, err := in.clip.Checkpoint().Encoder(ctx, "")
		if err != nil {
			return nil, failed(in.name, err)
		}
		return projected.New(encoder)
	})
}

// TokenCount returns how many visual tokens a picture of width by height pixels has.
func (e *Engine) TokenCount(ctx context.Context, model string, width, height int) (int, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	in, release, err := e.acquire(ctx, model, (*entry).hasProjector)
	if err != nil {
		return 0, err
	}
	defer release()
	t, err := in.projected(ctx)
	if err != nil {
		return 0, err
	}
	n, err := t.Count(width, height)
	if err != nil {
		return 0, refused(clip.ErrRequest, "%w", pillow.Bare(err, "projector"))
	}
	return n, nil
}

// hasProjector returns an error if a model has none.
func (en *entry) hasProjector() error {
	if !en.projector {
		return en.lacks("has no projector, which is what makes tokens of a language model")
	}
	return nil
}

// maxCaptions bounds the maps of a request: each goes through the tower again.
const maxCaptions = 32

// Explain returns a map of where the model looks for each caption; without captions by rollout.
func (e *Engine) Explain(ctx context.Context, model string, image []byte, captions []string, o explain.Options) ([]*explain.Map, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if _, err := e.images([][]byte{image}, 1); err != nil {
		return nil, err
	}
	if _, err := sizeOf(image, e.Limits().Pixels); err != nil {
		return nil, err
	}
	if n := len(captions); n > maxCaptions {
		return nil, refused(clip.ErrRequest, "got %d captions, want at most %d", n, maxCaptions)
	}
	served, err := e.pool.admit(ctx, 1, false)
	if err != nil {
		return nil, err
	}
	defer served()
	in, release, err := e.acquire(ctx, model, func(en *entry) error {
		switch {
		case !slices.Contains(en.info.Tasks, "explain"):
			return en.lacks("has no class token, whose attention maps are of")
		case len(captions) > 0 && en.info.Context == 0:
			return fmt.Errorf("engine: model %q: %w, and so no captions: %w", en.Name, clip.ErrNoText, ErrTask)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer release()
	if len(captions) > 0 {
		if _, err := in.clip.Text(ctx); err != nil { // it is loaded before others have to wait for it
			return nil, err
		}
	}
	var maps []*explain.Map
	err = e.alone(ctx, in, func(ctx context.Context) (err error) {
		p := clip.Bytes("", image)
		if len(captions) == 0 {
			var m *explain.Map
			m, err = explain.Attention(ctx, in.clip, p, o)
			maps = []*explain.Map{m}
			return err
		}
		maps, err = explain.Captions(ctx, in.clip, p, captions, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return maps, nil
}

// Picture returns the file of a picture of the index of a model, as the index knows its path: for a page that shows what was found. A path
// that is of no record in the index is a [clip.ErrRequest].
func (e *Engine) Picture(ctx context.Context, model, path string) ([]byte, error) {
	ctx, leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	e.mu.Lock()
	en, err := e.find(model)
	limit := e.config.Limits.ImageBytes
	e.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case en.Index == "":
		return nil, en.lacks("has no index")
	}
	record, err := en.record(ctx, path)
	if err != nil {
		return nil, err
	}
	r, err := record.Open()
	if err != nil {
		return nil, failed(en.Name, err)
	}
	defer r.Close()
	file, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, failed(en.Name, err)
	case int64(len(file)) > limit:
		return nil, refused(clip.ErrTooLarge, "%s: more than %d bytes", path, limit)
	}
	return file, nil
}

// record returns that of a path in the index of a model.
func (en *entry) record(ctx context.Context, path string) (none search.Record, err error) {
	x, err := search.Open(en.Index)
	if err != nil {
		return none, failed(en.Name, err)
	}
	defer x.Close()
	for row, err := range x.Records() {
		switch {
		case err != nil:
			return none, failed(en.Name, err)
		case ctx.Err() != nil:
			return none, context.Cause(ctx)
		case row.Path == path:
			return row.Record, nil
		}
	}
	return none, refused(clip.ErrRequest, "%.200q is no picture of the index", path)
}
