package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks/imageclassification"
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
	switch n := max(len(r.Labels), len(r.Prompts)); {
	case r.Labels != nil && r.Prompts != nil:
		return nil, refused(clip.ErrRequest, "labels and prompts, want one of them")
	case n > imageclassification.MaxLabels:
		return nil, refused(clip.ErrRequest, "got %d labels, want at most %d", n, imageclassification.MaxLabels)
	case !words && (r.Templates != nil || r.Multi || r.Bias != 0 || r.Negatives != nil):
		return nil, refused(clip.ErrRequest, "templates, multi, bias or negatives without labels, want labels")
	case !r.Multi && (r.Bias != 0 || r.Negatives != nil):
		return nil, refused(clip.ErrRequest, "bias or negatives of labels that exclude each other, want multi")
	case r.TopK < 0:
		return nil, refused(clip.ErrRequest, "top k is %d, want 1 or more, or 0 for all", r.TopK)
	case !(r.Threshold.Probability >= 0 && r.Threshold.Probability <= 1) || !(r.Threshold.Cosine >= -1 && r.Threshold.Cosine <= 1):
		return nil, refused(clip.ErrRequest, "threshold is %v and %v, want a probability of 0 to 1 and a cosine of -1 to 1", r.Threshold.Probability, r.Threshold.Cosine)
	case !words && r.Threshold.Cosine != 0:
		return nil, refused(clip.ErrRequest, "a threshold of %v for the cosine, and a trained classifier has no cosines", r.Threshold.Cosine)
	}
	if err := e.pool.admit(len(items)); err != nil {
		return nil, err
	}
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
	features, rank := embedding, (func([]float32) []clip.Label)(nil)
	if words {
		c, err := e.classifier(ctx, in, r)
		if err != nil {
			return nil, err
		}
		rank = c.Rank
	} else {
		features, rank = in.tuned.Head().Features, in.tuned.Rank
	}
	vectors, err := e.encode(ctx, in, items, features, clipvit.Choice{}, nil)
	if err != nil {
		return nil, err
	}
	all := make([]imageclassification.Response, len(vectors))
	for i, v := range vectors {
		labels := rank(v)
		if p := labels[0].Probability; p-p != 0 {
			return nil, &ItemError{i, fmt.Errorf("engine: model %q: the probability of a label is %v, want a number: the weights are damaged or too large", in.name, p)}
		}
		if r.Threshold != (zeroshot.Threshold{}) {
			all[i].Accepted = []string{}
			for _, l := range r.Threshold.Accepted(labels) {
				all[i].Accepted = append(all[i].Accepted, l.Name)
			}
		}
		if r.TopK > 0 {
			labels = labels[:min(r.TopK, len(labels))]
		}
		all[i].Labels = labels
	}
	return all, nil
}

// classifier returns the one of a request's labels. Those that were used last are kept, since their texts take time.
func (e *Engine) classifier(ctx context.Context, in *instance, r imageclassification.Request) (*zeroshot.Classifier, error) {
	text, err := json.Marshal([]any{r.Labels, r.Prompts, r.Templates, r.Multi, r.Bias, r.Negatives})
	if err != nil {
		return nil, refused(clip.ErrRequest, "%w", err) // a bias that is no number
	}
	key := sha256.Sum256(text)
	if c := in.classifiers.get(key); c != nil {
		return c, nil
	}
	options := []zeroshot.Option{zeroshot.EncodeBy(encoder{e, in}.EncodeText)}
	if r.Multi {
		options = append(options, zeroshot.MultiLabel(r.Bias, r.Negatives...))
	}
	var c *zeroshot.Classifier
	if r.Prompts != nil {
		c, err = zeroshot.NewPrompts(ctx, in.clip, r.Prompts, r.Templates, options...)
	} else {
		c, err = zeroshot.New(ctx, in.clip, r.Labels, r.Templates, options...)
	}
	if err != nil {
		return nil, err
	}
	in.classifiers.put(key, c, max(len(r.Labels), len(r.Prompts))*in.of.info.Dim)
	return c, nil
}

// classifiers are those that were used last.
type classifiers struct {
	mu   sync.Mutex
	all  []kept // the last used last
	size int    // values of all
}

// keptValues is how many values of labels' embeddings are kept, of 8 bytes each: a thousand labels of 768 values five times.
const keptValues = 4 << 20

type kept struct {
	key  [sha256.Size]byte
	c    *zeroshot.Classifier
	size int
}

func (k *classifiers) get(key [sha256.Size]byte) *zeroshot.Classifier {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.all, func(x kept) bool { return x.key == key })
	if i < 0 {
		return nil
	}
	x := k.all[i]
	k.all = append(slices.Delete(k.all, i, i+1), x)
	return x.c
}

func (k *classifiers) put(key [sha256.Size]byte, c *zeroshot.Classifier, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if size > keptValues || slices.ContainsFunc(k.all, func(x kept) bool { return x.key == key }) {
		return
	}
	for k.size += size; k.size > keptValues; {
		k.size -= k.all[0].size
		k.all = slices.Delete(k.all, 0, 1)
	}
	k.all = append(k.all, kept{key, c, size})
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
	if err := e.pool.admit(len(items)); err != nil {
		return none, err
	}
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
	vectors, err := e.encode(ctx, in, items, embedding, clipvit.Choice{}, nil)
	if err != nil {
		return none, err
	}
	pictures, texts := vectors[:len(r.Images)], vectors[len(r.Images):]
	out := imagetextsimilarity.Response{Scale: text.Scale()}
	for _, p := range pictures {
		cosines := make([]float64, len(texts))
		for i, t := range texts {
			cosines[i] = clip.Cosine(p, t)
		}
		out.Cosines = append(out.Cosines, cosines)
		out.Probabilities = append(out.Probabilities, softmax(cosines, out.Scale))
	}
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
	if err := e.pool.admit(len(r.Query)); err != nil {
		return none, err
	}
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
	if err := e.pool.admit(1); err != nil {
		return none, err
	}
	in, release, err := e.acquire(ctx, model, func(en *entry) error {
		if !en.projector {
			return en.lacks("has no projector, which is what makes tokens of a language model")
		}
		return nil
	})
	if err != nil {
		return none, err
	}
	defer release()
	t, err := in.tokens.get(func() (*projected.Tokens, error) {
		encoder, err := in.clip.Checkpoint().Encoder(ctx, "")
		if err != nil {
			return nil, failed(in.name, err)
		}
		return projected.New(encoder)
	})
	if err != nil {
		return none, err
	}
	err = e.alone(ctx, in, func(ctx context.Context) (err error) {
		none, err = t.Tokens(ctx, image)
		return err
	})
	return none, err
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
	if err := e.pool.admit(1); err != nil {
		return nil, err
	}
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

// softmax returns the probabilities [N] of cosines times a scale.
func softmax(cosines []float64, scale float64) []float64 {
	peak, total := slices.Max(cosines), 0.0
	p := make([]float64, len(cosines))
	for i, c := range cosines {
		p[i] = math.Exp(scale * (c - peak))
		total += p[i]
	}
	for i := range p {
		p[i] /= total
	}
	return p
}
