package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pictures"
	"github.com/vitago/vitago/internal/pillow"
	"github.com/vitago/vitago/projector"
)

// A Loader makes batches of a Dataset. Only Data, Config and BatchSize are needed.
//
// Which samples a batch has, in which order, and how they are augmented depends on Data, BatchSize,
// Shuffle, DropLast, Augment, Seed and the epoch, and on nothing else: not on Workers, nor on where a
// run began.
type Loader struct {
	Data      *Dataset       // what is loaded; it must not be nil
	Config    clipvit.Config // of the tower: the size of its input and of its patches
	BatchSize int            // B, samples a batch; the last one of an epoch may have fewer
	Shuffle   bool           // a new order every epoch; otherwise that of Data
	DropLast  bool           // leave a last batch out that has fewer samples
	Augment   Augment        // what is done to the pictures; the zero value is nothing
	Seed      uint64         // of Shuffle and Augment
	Strict    bool           // a picture that cannot be read is an error; otherwise it is skipped

	// Layout makes of a picture what an encoder for language models sees of it, one view or several; nil
	// is clipvit.Preprocess. Several views want a BatchSize of 1. There is no Augment with it.
	Layout *projector.Layout

	Workers  int // pictures decoded at a time; 0 means one a processor
	Prefetch int // batches made ahead of the one in use; 0 means 2
}

// A Batch is what the tower takes and what is known about it, sample for sample.
//
// Pictures that cannot be read are missing from it, so it can have fewer than BatchSize samples, or
// none: then Patches is nil and the slices are empty.
type Batch struct {
	Epoch, Number int                 // which batch it is, both from 0
	Patches       *mat.Dense[float32] // [B·G²,3P²], as clipvit.Preprocess makes them, or those of Views
	Views         *projector.Tiles    // with Loader.Layout: of the one picture, or one of each; nil without
	Labels        []int               // into Data.Classes, or Unlabelled
	LabelSets     [][]int             // into Data.Classes, if Data is Multi
	Captions      []string            // empty where there is none
	Index         []int               // into Data.Samples
	Names         []string            // Dataset.Name of each
	Skipped       []Broken            // what is missing, in order
}

// Len returns how many samples the batch has.
func (b *Batch) Len() int { return len(b.Index) }

// A Broken picture cannot be read.
type Broken struct {
	Index int    // into Dataset.Samples
	Path  string // its Sample's
	Err   error  // why
}

// Error implements error.
func (b Broken) Error() string {
	return fmt.Sprintf("data: %s: %v", b.Path, pillow.Bare(b.Err, "clipvit", "data"))
}

// Unwrap returns why the picture cannot be read.
func (b Broken) Unwrap() error { return b.Err }

// Validate says what is wrong with the fields of l, all at once.
func (l *Loader) Validate() error {
	var errs []error
	if l.Data == nil || len(l.Data.Samples) == 0 {
		errs = append(errs, fmt.Errorf("data: %w", ErrEmpty))
	}
	errs = append(errs, l.Config.Validate(), l.Augment.Validate())
	if l.BatchSize < 1 {
		errs = append(errs, fmt.Errorf("data: batch of %d, want at least 1", l.BatchSize))
	}
	if l.Layout != nil {
		errs = append(errs, l.Layout.Validate())
		if n := l.Layout.Views(); n > 1 && l.BatchSize != 1 {
			errs = append(errs, fmt.Errorf("data: batch of %d, want 1: layout %q has up to %d views of a picture", l.BatchSize, l.Layout.Name, n))
		}
		if l.Augment != (Augment{}) {
			errs = append(errs, fmt.Errorf("data: layout %q and augmentation %+v: pictures of a layout are not varied", l.Layout.Name, l.Augment))
		}
	}
	if l.Workers < 0 || l.Prefetch < 0 {
		errs = append(errs, fmt.Errorf("data: %d workers and %d batches ahead, want 0 or more", l.Workers, l.Prefetch))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if l.Len() == 0 {
		return fmt.Errorf("data: %d samples make no batch of %d, and shorter ones are left out", len(l.Data.Samples), l.BatchSize)
	}
	return nil
}

// Len returns how many batches an epoch has.
func (l *Loader) Len() int {
	n := len(l.Data.Samples)
	if !l.DropLast {
		n += l.BatchSize - 1
	}
	return n / l.BatchSize
}

// Order returns the order of the samples in an epoch, as indices into Data.Samples.
func (l *Loader) Order(epoch int) []int {
	order := make([]int, len(l.Data.Samples))
	for i := range order {
		order[i] = i
	}
	if l.Shuffle {
		newStream(l.Seed, orderStream, uint64(epoch)).shuffle(order)
	}
	return order
}

// Batches yields the batches of an epoch from number from on, in order. Up to Prefetch of them are
// made ahead while the caller works on one, and up to Workers pictures are decoded at a time; no more
// is held. A picture being decoded takes its file and, once or twice, 3 or 4 bytes a pixel; one that
// [clipvit.DecodeImage] finds too large is broken. A batch belongs to the caller.
//
// It yields an error, and ends, if l is not valid, ctx ends (that is ctx's cause), or l is Strict and a
// picture cannot be read (that is a [Broken]). When the loop has ended, so have all its goroutines.
func (l *Loader) Batches(ctx context.Context, epoch, from int) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := l.Validate(); err != nil {
			yield(nil, err)
			return
		}
		if epoch < 0 || from < 0 || from > l.Len() {
			yield(nil, fmt.Errorf("data: batch %d of epoch %d, want 0 to %d of 0 or later", from, epoch, l.Len()))
			return
		}
		for p, err := range pictures.InOrder(ctx, l.work(epoch, from)) {
			if err != nil {
				yield(nil, err)
				return
			}
			b, err := p.finish(l)
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// pending is a batch in the making. Workers fill its rows in any order.
type pending struct {
	epoch, number int
	index         []int // samples
	patches       []float32
	views         *projector.Tiles // of a single sample with several; patches are not used
	errs          []error          // of each sample
}

// work says how the batches from number from on are made.
func (l *Loader) work(epoch, from int) pictures.Work[*pending] {
	order := l.Order(epoch)
	w := pictures.Work[*pending]{Items: l.Len() - from, Ahead: l.Prefetch, Workers: l.Workers}
	if w.Workers == 0 {
		w.Workers = runtime.GOMAXPROCS(0)
	}
	if w.Ahead == 0 {
		w.Ahead = 2 // one that is ready, one in the making
	}
	w.Begin = func(i int) (*pending, int) {
		number := from + i
		index := order[number*l.BatchSize : min((number+1)*l.BatchSize, len(order))]
		p := &pending{epoch: epoch, number: number, index: index, errs: make([]error, len(index))}
		if !l.several() {
			p.patches = make([]float32, len(index)*l.Config.Patches()*l.Config.PatchLen())
		}
		return p, len(index)
	}
	w.Do = func(p *pending, row int) { p.errs[row] = l.load(p, row) }
	return w
}

// several reports whether pictures have several views.
func (l *Loader) several() bool { return l.Layout != nil && l.Layout.Views() > 1 }

// load makes the patches [G²,3P²] of a row of a batch, or the views of its only one.
func (l *Loader) load(p *pending, row int) error {
	i := p.index[row]
	r, err := l.Data.Open(i)
	if path := (*os.PathError)(nil); errors.As(err, &path) && path.Path == l.Data.Samples[i].Path {
		return path.Err // whose path a Broken says
	} else if err != nil {
		return err
	}
	defer r.Close()
	img, err := clipvit.DecodeImage(r)
	if err != nil {
		return err
	}
	if l.Augment != (Augment{}) {
		if img, err = l.Config.Transform.Prepared(img); err != nil {
			return err
		}
		m := pillow.FromImage(img)
		change := l.Augment.draw(m.Width, m.Height, newStream(l.Seed, augmentStream, uint64(p.epoch), uint64(i)))
		if m, err = change.apply(m, l.Config.ImageSize, l.Config.Transform); err != nil {
			return err
		}
		return clipvit.Cut(p.patches[row*l.Config.Patches()*l.Config.PatchLen():][:l.Config.Patches()*l.Config.PatchLen()], m, l.Config)
	}
	x := &projector.Tiles{}
	if l.Layout != nil {
		x, err = l.Layout.Split(img, l.Config)
	} else {
		x.Patches, err = clipvit.Preprocess(img, l.Config)
	}
	switch {
	case err != nil:
		return err
	case l.several():
		p.views = x
	default:
		values := x.Patches.Data().F32()
		copy(p.patches[row*len(values):], values)
	}
	return nil
}

// finish makes a Batch of a pending one whose samples are all there, moving together what is left
// when some are broken.
func (p *pending) finish(l *Loader) (*Batch, error) {
	b := &Batch{Epoch: p.epoch, Number: p.number}
	n := l.Config.Patches() * l.Config.PatchLen()
	for row, i := range p.index {
		s := l.Data.Samples[i]
		if err := p.errs[row]; err != nil {
			broken := Broken{Index: i, Path: s.Path, Err: err}
			if l.Strict {
				return nil, broken
			}
			b.Skipped = append(b.Skipped, broken)
			continue
		}
		if at := len(b.Index); at < row {
			copy(p.patches[at*n:(at+1)*n], p.patches[row*n:])
		}
		b.Labels = append(b.Labels, s.Label)
		if l.Data.Multi {
			b.LabelSets = append(b.LabelSets, s.LabelSet)
		}
		b.Captions = append(b.Captions, s.Caption)
		b.Index = append(b.Index, i)
		b.Names = append(b.Names, l.Data.Name(i))
	}
	switch {
	case len(b.Index) == 0:
	case p.views != nil:
		b.Patches, b.Views = p.views.Patches, p.views
	default:
		b.Patches = mat.NewDense[float32](mat.WithShape(len(b.Index)*l.Config.Patches(), l.Config.PatchLen()), mat.WithBacking(p.patches[:len(b.Index)*n]))
		if l.Layout != nil {
			b.Views = &projector.Tiles{Patches: b.Patches}
		}
	}
	return b, nil
}
