package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/pictures"
)

// An Extractor makes features of pictures, each once. Model and Features are needed.
type Extractor struct {
	Model    *clipvit.Model   // better frozen: otherwise a graph is kept for every batch
	Features clipvit.Features // what of the tower is made: [D], one row a picture
	Cache    *Cache           // where features are looked up and kept; nil is nowhere
	Batch    int              // pictures that go through the tower together; 0 means 4, which keeps activations below 0.2 GB
	Strict   bool             // a picture that cannot be read is an error; otherwise it is skipped
	// Progress, if it is not nil, is called with the number of pictures that are done, and of them
	// how many came from the cache.
	Progress func(done, cached, total int)
}

const (
	defaultBatch = 4
	// groupBatches is how many batches of pictures may wait for one another: so many whose features are in the
	// cache are taken along until a batch is full of others.
	groupBatches = 4
)

// A picture is on its way through the extractor.
type picture struct {
	index   int // in the dataset
	key     Key
	x       []float32 // features, if they were in the cache
	patches []float32 // [G²,3P²] otherwise
	err     error     // it is broken
	fatal   error     // the cache is
}

// Each calls visit with the features of every picture that can be read, in the order of the dataset, and
// returns those that cannot. What x holds belongs to visit. It ends with the first error, of visit
// as well, or when ctx does, and all that is in the cache by then stays there.
func (e *Extractor) Each(ctx context.Context, d *data.Dataset, visit func(i int, x []float32) error) (skipped []data.Broken, err error) {
	shape, err := e.Features.Shape(e.Model.Config)
	if err != nil {
		return nil, err
	}
	n := 1
	for _, s := range shape {
		n *= s
	}
	batch := e.Batch
	if batch == 0 {
		batch = defaultBatch
	}
	if batch < 0 {
		return nil, fmt.Errorf("probe: batch of %d, want at least 1", batch)
	}
	var space *Space
	if e.Cache != nil {
		if space, err = e.Cache.Space(e.Model, e.Features); err != nil {
			return nil, err
		}
	}

	// A group ends when a batch of pictures is wanting, or when it is long enough.
	var group []*picture
	wanting, done, cached := 0, 0, 0
	for p, err := range e.read(ctx, d, space, batch) {
		if err != nil {
			return skipped, err
		}
		group = append(group, p)
		if p.patches != nil {
			wanting++
		}
		if len(group) < groupBatches*batch && wanting < batch && done+len(group) < len(d.Samples) {
			continue
		}
		if err := e.encode(group, wanting, n); err != nil {
			return skipped, err
		}
		for _, p := range group {
			i := p.index
			path := d.Samples[i].Path
			switch {
			case p.fatal != nil:
				return skipped, p.fatal
			case p.err != nil:
				broken := data.Broken{Index: i, Path: path, Err: p.err}
				if e.Strict {
					return skipped, broken
				}
				skipped = append(skipped, broken)
				continue
			case p.patches == nil:
				cached++
			default:
				if at := op.NotFinite(p.x); at >= 0 {
					return skipped, fmt.Errorf("probe: %s: %s: value %d of %d is %v, want a finite number: the model's weights are damaged or too large", path, e.Features, at+1, n, p.x[at])
				}
				if space != nil {
					if err := space.Put(p.key, p.x); err != nil {
						return skipped, err
					}
				}
			}
			if err := visit(i, p.x); err != nil {
				return skipped, err
			}
		}
		done += len(group)
		group, wanting = nil, 0
		if e.Progress != nil {
			e.Progress(done, cached, len(d.Samples))
		}
	}
	return skipped, nil
}

// read reads the pictures in the background, a few at a time, and yields them in their order. So many
// are read ahead as the next batch has.
func (e *Extractor) read(ctx context.Context, d *data.Dataset, space *Space, batch int) iter.Seq2[*picture, error] {
	return pictures.InOrder(ctx, pictures.Work[*picture]{
		Items: len(d.Samples), Ahead: batch, Workers: pictures.Decoders(),
		Begin: func(i int) (*picture, int) { return &picture{index: i}, 1 },
		Do:    func(p *picture, _ int) { p.read(d, space, e.Model.Config) },
	})
}

// read looks the picture up in the cache, and decodes it if it is not there.
func (p *picture) read(d *data.Dataset, space *Space, c clipvit.Config) {
	var raw []byte
	if raw, p.err = readAll(d, p.index); p.err != nil {
		return
	}
	p.key = KeyOf(raw)
	if space != nil {
		if p.x, p.fatal = space.Get(p.key); p.x != nil || p.fatal != nil {
			return
		}
	}
	p.patches, p.err = decode(raw, c)
}

// encode gives the pictures of a group that are wanting their features, n of them each.
func (e *Extractor) encode(group []*picture, wanting, n int) error {
	if wanting == 0 {
		return nil
	}
	c := e.Model.Config
	patches := make([]float32, 0, wanting*c.Patches()*c.PatchLen())
	for _, p := range group {
		patches = append(patches, p.patches...)
	}
	f, err := e.Features.Of(e.Model, mat.NewDense[float32](mat.WithShape(wanting*c.Patches(), c.PatchLen()), mat.WithBacking(patches)))
	if err != nil {
		return err
	}
	y := values(f)
	for _, p := range group {
		if p.patches != nil {
			p.x, y = slices.Clone(y[:n]), y[n:] // or one picture would keep all of them in memory
		}
	}
	return nil
}

// Set returns the features of all pictures of a labelled dataset that can be read, and those that
// cannot. The features must be one vector a picture.
func (e *Extractor) Set(ctx context.Context, d *data.Dataset) (*Set, []data.Broken, error) {
	dim, err := vectorLen(e.Features, e.Model.Config)
	if err != nil {
		return nil, nil, err
	}
	if d.Classes == nil {
		return nil, nil, errors.New("probe: the pictures have no labels")
	}
	s := &Set{Dim: dim, Classes: d.Classes, X: make([]float32, 0, dim*len(d.Samples))}
	skipped, err := e.Each(ctx, d, func(i int, x []float32) error {
		s.X = append(s.X, x...)
		s.Labels = append(s.Labels, d.Samples[i].Label)
		s.Index = append(s.Index, i)
		if d.Multi {
			s.LabelSets = append(s.LabelSets, d.Samples[i].LabelSet)
		}
		return nil
	})
	if err != nil {
		return nil, skipped, err
	}
	return s, skipped, nil
}

// Features returns the features of picture i of a dataset from the part of a cache that
// [Extractor.Each] has filled: for training that takes the pictures in an order of its own. It returns
// nil if they are not there.
func (s *Space) Features(d *data.Dataset, i int) ([]float32, error) {
	raw, err := readAll(d, i)
	if err != nil {
		return nil, data.Broken{Index: i, Path: d.Samples[i].Path, Err: err}
	}
	return s.Get(KeyOf(raw))
}

func readAll(d *data.Dataset, i int) ([]byte, error) {
	r, err := d.Open(i)
	if at := (*os.PathError)(nil); errors.As(err, &at) && at.Path == d.Samples[i].Path {
		return nil, at.Err // whose path a Broken says
	} else if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// decode returns the patches [G²,3P²] of a picture.
func decode(raw []byte, c clipvit.Config) ([]float32, error) {
	img, err := clipvit.DecodeImage(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	x, err := clipvit.Preprocess(img, c)
	if err != nil {
		return nil, err
	}
	return mat.Data[float32](x), nil
}
