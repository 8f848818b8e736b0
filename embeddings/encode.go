package embeddings

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
)

// EncodeOptions are choices of [Encode] and [EncodeText]. The zero value makes a file of embeddings that is not there.
type EncodeOptions struct {
	Options
	Format     string                         // one of [Formats]; "" is what the ending of the file says
	Features   clipvit.Features               // of pictures; the zero value is [clipvit.Embedding]
	Normalize  bool                           // divide every vector by its length
	Batch      int                            // as of [clip.StreamOptions]
	SkipErrors bool                           // one that cannot be encoded has a row that says so; otherwise it ends the work
	Settings   map[string]string              // more for Spec.Settings
	Progress   func(done, total int)          // called after each row, and once before; nil is fine
	Skipped    func(name string, cause error) // called for each row that fails; nil is fine
	Output     io.Writer                      // takes the rows in the place of a file, if it is not nil: nothing is kept or resumed
}

// A Result says what is in a file.
type Result struct {
	Feature string // what a row is, such as "embedding"
	Shape   []int  // of a row
	Rows    int    // that were asked for
	Done    int    // that are there, with those that have failed
	Before  int    // that were there before
	Failed  int    // that have an error in place of values

	Complete bool     // the file was complete before
	Notes    []string // see [Writer.Notes]
}

// Encode writes the features of pictures to a file, a row of each, and goes on with it if o.Resume is set: a folder in one
// call, as of [clip.Folder]. Pictures are decoded ahead, and memory does not grow with their number, but for their names.
//
// If it ends early, by an error or the end of ctx, what is done is kept, and the result says how much that is. A picture
// that has changed under its name meanwhile is not looked at again. Errors are those of [Create] and [clip.Model.Stream].
func Encode(ctx context.Context, m *clip.Model, pictures []clip.Picture, path string, o EncodeOptions) (*Result, error) {
	if err := o.check(path); err != nil {
		return nil, err
	}
	model, err := o.model(ctx, m, vision(m))
	if err != nil {
		return nil, err
	}
	v, err := m.Vision(ctx)
	if err != nil {
		return nil, err
	}
	if o.Features == (clipvit.Features{}) {
		o.Features.Kind = clipvit.Embedding
	}
	if o.Features.Kind == clipvit.Embedding && v.Config.EmbedDim == 0 {
		o.Features.Kind = clipvit.PostNorm // by its name
	}
	shape, err := o.Features.Shape(v.Config)
	if err != nil {
		return nil, namedError{errors.Join(clip.ErrRequest, err), prefix + strings.TrimPrefix(err.Error(), "clipvit: ")}
	}
	s := o.spec("image", string(o.Features.Kind), shape, model)
	if o.Features.HasLayer() {
		s.Settings["layer"] = strconv.Itoa(o.Features.Layer)
	}
	s.Names = make([]string, len(pictures))
	for i, p := range pictures {
		s.Names[i] = p.Name()
	}
	space := func() (*clip.Space, error) {
		x, err := m.SpaceOf(ctx, "", clip.Vectors{Features: o.Features, Normalized: o.Normalize})
		return &x, err
	}
	return o.run(path, s, space, func(done int) iter.Seq2[clip.Encoded, error] {
		return m.Stream(ctx, slices.Values(pictures[done:]), clip.StreamOptions{Features: o.Features, Batch: o.Batch, SkipErrors: o.SkipErrors, First: done})
	})
}

// EncodeText is [Encode] of texts, whose names are the texts themselves. o.Features has to be zero.
func EncodeText(ctx context.Context, m *clip.Model, texts []string, path string, o EncodeOptions) (*Result, error) {
	if err := o.check(path); err != nil {
		return nil, err
	}
	model, err := o.model(ctx, m, text(m))
	if err != nil {
		return nil, err
	}
	t, err := m.Text(ctx)
	if err != nil {
		return nil, err
	}
	s := o.spec("text", string(clipvit.Embedding), []int{t.Config.EmbedDim}, model)
	s.Names = texts
	space := func() (*clip.Space, error) {
		print, err := m.TextFingerprint(ctx)
		return &clip.Space{Text: print, Features: s.Feature, Dim: t.Config.EmbedDim, Normalized: o.Normalize, Precision: t.Blocks.Rounding()}, err
	}
	return o.run(path, s, space, func(done int) iter.Seq2[clip.Encoded, error] {
		return m.StreamText(ctx, slices.Values(texts[done:]), clip.StreamOptions{Features: o.Features, Batch: o.Batch, SkipErrors: o.SkipErrors, First: done})
	})
}

// check returns what can be found wrong before a model is loaded, which takes time.
func (o *EncodeOptions) check(path string) error {
	if o.Output != nil {
		if o.Resume || o.Overwrite || path != "" {
			return errors.New("embeddings: rows go to a writer: there is no file to be named, resumed or overwritten")
		}
		return nil
	}
	return o.Check(path)
}

// model returns the fingerprint of a tower, if somebody may want to know it.
func (o *EncodeOptions) model(ctx context.Context, m *clip.Model, t tower) (string, error) {
	if o.Output != nil {
		return "", nil
	}
	return t.fingerprint(ctx, m)
}

// spec returns what the rows are, but for their names.
func (o *EncodeOptions) spec(kind, feature string, shape []int, model string) Spec {
	settings := map[string]string{"normalized": strconv.FormatBool(o.Normalize)}
	maps.Copy(settings, o.Settings)
	return Spec{Format: o.Format, Kind: kind, Feature: feature, Shape: shape, Model: model, Settings: settings}
}

// run writes the rows that are not there yet. The space, which takes as long as hashing all weights, is found beside them, but for a format
// that has it in its head.
func (o *EncodeOptions) run(path string, s Spec, space func() (*clip.Space, error), rows func(done int) iter.Seq2[clip.Encoded, error]) (_ *Result, err error) {
	var w *Writer
	if full, err := s.complete(path); err == nil && full.Format == "safetensors" {
		if s.Space, err = space(); err != nil {
			return nil, err
		}
	}
	if o.Output != nil {
		w, err = to(o.Output, s)
	} else {
		w, err = Create(path, s, o.Options)
	}
	if err != nil {
		return nil, err
	}
	if o.Output == nil && s.Space == nil && !w.Complete() {
		var found sync.WaitGroup
		var of *clip.Space
		var failed error
		found.Go(func() { of, failed = space() })
		defer found.Wait() // whoever has the model may close it then
		w.space = func() (*clip.Space, error) {
			found.Wait()
			return of, failed
		}
	}
	r := &Result{Feature: s.Feature, Shape: s.Shape, Rows: len(s.Names), Before: w.Done(), Complete: w.Complete(), Notes: w.Notes()}
	err = o.fill(w, len(s.Names), s.Shape[len(s.Shape)-1], rows)
	if err == nil {
		err = w.Commit()
	}
	r.Done, r.Failed = w.Done(), w.Failed()
	return r, errors.Join(err, w.Close())
}

// fill writes the rows, of vectors of that many values each.
func (o *EncodeOptions) fill(w *Writer, total, width int, rows func(done int) iter.Seq2[clip.Encoded, error]) error {
	if o.Progress != nil {
		o.Progress(w.Done(), total)
	}
	if w.Done() == total {
		return nil
	}
	for x, err := range rows(w.Done()) {
		if err != nil {
			return err
		}
		if x.Err != nil {
			if o.Skipped != nil {
				o.Skipped(x.Name, x.Err)
			}
			err = w.Fail(x.Name, errors.New(strings.TrimPrefix(x.Err.Error(), "clip: ")))
		} else {
			if o.Normalize {
				for v := range slices.Chunk(x.Vector, width) {
					clip.Normalize(v)
				}
			}
			err = w.Write(x.Name, x.Vector)
		}
		if err != nil {
			return err
		}
		if o.Progress != nil {
			o.Progress(w.Done(), total)
		}
	}
	return nil
}
