// Package clip finds pictures in an index of package search, with the towers of CLIP that made it. Importing it registers the model
// types "clip" (both towers) and "clip_vision_model" (no words) for the task imagesearch.
//
// Programs call tasks.Load, which finds it. [New] makes one of a model that is loaded already, and of an index anywhere.
package clip

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/search"
	"github.com/vitago/vitago/tasks"
	"github.com/vitago/vitago/tasks/gate"
	"github.com/vitago/vitago/tasks/imagesearch"
)

// IndexDir is where tasks.Load looks for the index, in the folder of the model:
//
//	vitago index --index models/NAME/index --model models/NAME photos/
const IndexDir = "index"

// files are what the hub has of a model. The index it does not have. Of a vision tower alone no tokenizer is downloaded.
var files = []tasks.File{
	{Names: []string{"preprocessor_config.json"}, Optional: true},
	{Names: []string{"tokenizer_config.json"}, Optional: true},
	{Names: []string{"tokenizer.json", "vocab.json"}, Optional: true},
	{Names: []string{"merges.txt"}, Optional: true},
	{Names: []string{"model.safetensors", "pytorch_model.bin", "*.index.json", "*.pt"}},
}

func init() {
	load := func(dir string) (imagesearch.Interface, error) {
		m, err := LoadImageSearch(context.Background(), dir, filepath.Join(dir, IndexDir))
		if err != nil {
			return nil, err // and not an Interface that holds a nil pointer
		}
		return m, nil
	}
	tasks.Register("clip", tasks.Provider[imagesearch.Interface]{Files: files, Load: load})
	tasks.Register("clip_vision_model", tasks.Provider[imagesearch.Interface]{Files: []tasks.File{files[0], files[len(files)-1]}, Load: load})
}

// concurrent is how many requests are worked on at once; others wait. Towers and scan take all cores for each.
const concurrent = 4

var _ imagesearch.Interface = &ImageSearch{}

// An Encoder makes vectors of pictures and texts, and knows their space, as [clip.Model] does.
type Encoder interface {
	// Space says what vectors must have in common with those of the index.
	Space(ctx context.Context) (clip.Space, error)
	// Encode returns the embedding [E] of each picture.
	Encode(ctx context.Context, pictures ...clip.Picture) ([][]float32, error)
	// EncodeText returns the embedding [E] of each text.
	EncodeText(ctx context.Context, texts []string) ([][]float32, error)
}

var _ Encoder = &clip.Model{}

// ImageSearch is an [imagesearch.Interface] on the towers of a model and an index.
type ImageSearch struct {
	model Encoder
	space clip.Space // of model
	dir   string     // of the index
	gate  *gate.Gate

	mu  sync.Mutex
	now *snapshot // the last that was opened; nil when closed
}

// A snapshot is an index that is open, and closed when nobody uses it any more.
type snapshot struct {
	*search.Index
	users int // of whom ImageSearch is one while it is the last; guarded by ImageSearch.mu
}

// New returns what finds pictures in the index in folder dir, with the model that made it; another one is a [search.SpaceError]. The
// model has to stay open.
func New(ctx context.Context, model Encoder, dir string) (*ImageSearch, error) {
	space, err := model.Space(ctx)
	if err != nil {
		return nil, err
	}
	m := &ImageSearch{model: model, space: space, dir: dir, gate: gate.New("clip", concurrent)}
	if m.now, err = m.open(); err != nil {
		return nil, err
	}
	return m, nil
}

// LoadImageSearch returns what finds pictures in the index in folder index, with the model in dir, in any form that [clip.Open] knows.
// Its weights are rounded and its pictures prepared as those of the model that made the index were. Errors are those of [clip.Open], [search.Open] and [New].
func LoadImageSearch(ctx context.Context, dir, index string, options ...clip.Option) (*ImageSearch, error) {
	x, err := search.Open(index) // before the weights, which take longer
	if err != nil {
		return nil, err
	}
	options = append(options, x.ModelOptions()...)
	if err := x.Close(); err != nil {
		return nil, err
	}
	model, err := clip.Open(dir, options...)
	if err != nil {
		return nil, err
	}
	m, err := New(ctx, model, index)
	return m, errors.Join(err, model.Close()) // both towers are loaded
}

// open opens the index, of which it is the first user.
func (m *ImageSearch) open() (*snapshot, error) {
	x, err := search.Open(m.dir)
	if err != nil {
		return nil, err
	}
	if err := x.Check(m.space); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return &snapshot{x, 1}, nil
}

// errClosed is of who asks what has been closed.
var errClosed = errors.New("clip: the search is closed")

// snapshot returns the index as it is on disk. The caller calls leave when it is done with it.
func (m *ImageSearch) snapshot() (x *search.Index, leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		return nil, nil, errClosed
	}
	current, err := m.now.Current()
	if err != nil {
		return nil, nil, err
	}
	if !current {
		next, err := m.open()
		if err != nil {
			return nil, nil, err
		}
		before := m.now
		m.now = next
		if err := before.release(); err != nil {
			return nil, nil, err
		}
	}
	s := m.now
	s.users++
	return s.Index, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		_ = s.release() // nothing was written to it
	}, nil
}

// release closes a snapshot if that was its last user.
func (s *snapshot) release() error {
	if s.users--; s.users > 0 {
		return nil
	}
	return s.Close()
}

// Close lets go of the index when the calls that use it have ended. Later ones are errors.
func (m *ImageSearch) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil {
		return nil
	}
	s := m.now
	m.now = nil
	return s.release()
}

// FindImages implements [imagesearch.Interface]. If the index on disk has changed, it is opened again, and a call sees either the old
// or the new one. One that is gone, damaged or of another model by then is an error until it is mended.
func (m *ImageSearch) FindImages(ctx context.Context, r imagesearch.Request) (imagesearch.Response, error) {
	var none imagesearch.Response
	if err := m.check(r); err != nil {
		return none, err
	}
	leave, err := m.gate.Enter(ctx)
	if err != nil {
		return none, err
	}
	defer leave()
	x, done, err := m.snapshot()
	if err != nil {
		return none, err
	}
	defer done()
	query, err := m.query(ctx, x, r.Query)
	if err != nil {
		return none, err
	}
	hits, err := x.Find(ctx, query, search.FindOptions{K: r.TopK, Least: r.Least, Filter: r.Filter})
	switch {
	case errors.Is(err, search.ErrFilter):
		return none, refuse("%w", gate.Bare(err))
	case err != nil:
		return none, err
	}
	found := imagesearch.Response{Hits: make([]imagesearch.Hit, len(hits)), Fingerprint: x.Space().Fingerprint()}
	for i, h := range hits {
		found.Hits[i] = imagesearch.Hit{Record: h.Record, Score: h.Cosine}
		if r.Vectors {
			found.Hits[i].Vector = x.Vector(h.Index)
		}
	}
	return found, nil
}

// refuse returns an [imagesearch.ErrRequest].
func refuse(format string, args ...any) error {
	return fmt.Errorf("clip: %w: %w", imagesearch.ErrRequest, fmt.Errorf(format, args...))
}

// check finds what is wrong with a request before anything is computed for it.
func (m *ImageSearch) check(r imagesearch.Request) error {
	switch n := len(r.Query); {
	case n < 1 || n > imagesearch.MaxParts:
		return refuse("the query has %d parts, want 1 to %d", n, imagesearch.MaxParts)
	case r.TopK < 0 || r.TopK > imagesearch.MaxTopK:
		return refuse("top k is %d, want 1 to %d, or 0 for 10", r.TopK, imagesearch.MaxTopK)
	case r.Least != nil && !(*r.Least >= -1 && *r.Least <= 1):
		return refuse("the least cosine is %v, want -1 to 1", *r.Least)
	}
	for i, p := range r.Query {
		kinds := 0
		for _, has := range []bool{p.Text != "", p.Image != nil, p.Vector != nil} {
			if has {
				kinds++
			}
		}
		switch {
		case kinds != 1:
			return refuse("part %d of the query has %d of text, image and vector, want one", i+1, kinds)
		case p.Weight-p.Weight != 0:
			return refuse("part %d of the query has the weight %v, want a finite number", i+1, p.Weight)
		case p.Vector != nil && len(p.Vector) != m.space.Dim:
			return refuse("part %d of the query is a vector of %d values, want the %d of the index", i+1, len(p.Vector), m.space.Dim)
		case len(p.Image) > imagesearch.MaxImageBytes:
			return fmt.Errorf("clip: part %d of the query: %w: %d bytes, want at most %d", i+1, imagesearch.ErrImageTooLarge, len(p.Image), imagesearch.MaxImageBytes)
		}
	}
	return nil
}

// query returns the vector [E] of a query.
func (m *ImageSearch) query(ctx context.Context, x *search.Index, parts []imagesearch.Part) ([]float32, error) {
	var texts []string
	var pictures []clip.Picture
	for i, p := range parts {
		switch {
		case p.Text != "":
			texts = append(texts, p.Text)
		case p.Image != nil:
			pictures = append(pictures, clip.Bytes(fmt.Sprintf("part %d of the query", i+1), p.Image))
		}
	}
	var words, images [][]float32 // [n][E] of each
	var err error
	if len(texts) > 0 {
		if err := x.CheckText(m.space); err != nil {
			return nil, err
		}
		if words, err = m.model.EncodeText(ctx, texts); err != nil {
			return nil, err
		}
	}
	if len(pictures) > 0 {
		if images, err = m.model.Encode(ctx, pictures...); err != nil {
			return nil, err
		}
	}
	terms := make([]search.Term, len(parts))
	for i, p := range parts {
		t := &terms[i]
		t.Weight = p.Weight
		if p.Weight == 0 {
			t.Weight = 1
		}
		switch {
		case p.Text != "":
			t.Vector, words = words[0], words[1:]
		case p.Image != nil:
			t.Vector, images = images[0], images[1:]
		default:
			t.Vector = p.Vector
		}
	}
	query, err := search.Combine(terms...)
	if err != nil {
		return nil, refuse("%w", gate.Bare(err))
	}
	return query, nil
}
