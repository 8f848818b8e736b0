package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/vitago/vitago/shard/store"
)

// A patient store tries again what has failed for no reason that it knows: a network is away for a moment, or a service restarts. What S3's client
// tries again by itself comes before that.
type patient struct {
	store.Store
	wait func(ctx context.Context, d time.Duration) error
}

// patience is how long it waits before each other attempt: half a minute together, as long as a service restarts.
var patience = []time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 17 * time.Second}

// final says whether an error would be the same again.
func final(err error) bool {
	for _, kind := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, errors.ErrUnsupported, store.ErrChanged, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// try calls f until it has no error, or one that stays.
func (p patient) try(ctx context.Context, f func() error) error {
	err := f()
	for _, d := range patience {
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		if e := p.wait(ctx, d); e != nil {
			return err
		}
		err = f()
	}
	return err
}

func (p patient) Open(ctx context.Context, name string, offset, length int64) (r store.Reader, err error) {
	err = p.try(ctx, func() error {
		r, err = p.Store.Open(ctx, name, offset, length)
		return err
	})
	return r, err
}

func (p patient) Stat(ctx context.Context, name string) (i store.Info, err error) {
	err = p.try(ctx, func() error {
		i, err = p.Store.Stat(ctx, name)
		return err
	})
	return i, err
}

// List begins again, and leaves out what it has given already: names are in order.
func (p patient) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		last, left := "", false
		err := p.try(ctx, func() error {
			for i, err := range p.Store.List(ctx, prefix) {
				if err != nil {
					return err
				}
				if i.Name <= last {
					continue
				}
				if last = i.Name; !yield(i, nil) {
					left = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !left {
			yield(store.Info{}, err)
		}
	}
}

// Put of something that may not be there already can find itself there, if the answer to an attempt before was lost: the error is then
// store.ErrExists, and who has put it has to look.
func (p patient) Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o store.PutOptions) error {
	return p.try(ctx, func() error { return p.Store.Put(ctx, name, content, size, o) })
}

func (p patient) Rename(ctx context.Context, from, to string) error {
	return p.try(ctx, func() error { return p.Store.Rename(ctx, from, to) })
}

func (p patient) Delete(ctx context.Context, name string) error {
	return p.try(ctx, func() error { return p.Store.Delete(ctx, name) })
}

// A below store has the names of another that begin with a prefix, without it. It is read.
type below struct {
	of     store.Store
	prefix string
}

var errRead = errors.New("shard: the store is read alone")

func (b below) Open(ctx context.Context, name string, offset, length int64) (store.Reader, error) {
	r, err := b.of.Open(ctx, b.prefix+name, offset, length)
	if err != nil {
		return nil, err
	}
	return named{r, name}, nil
}

// named reads what has another name in a store above.
type named struct {
	store.Reader
	name string
}

func (n named) Info() store.Info {
	i := n.Reader.Info()
	i.Name = n.name
	return i
}

func (b below) Stat(ctx context.Context, name string) (store.Info, error) {
	i, err := b.of.Stat(ctx, b.prefix+name)
	i.Name = name
	return i, err
}

func (b below) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for i, err := range b.of.List(ctx, b.prefix+prefix) {
			if err == nil {
				i.Name = i.Name[len(b.prefix):]
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func (b below) Put(context.Context, string, io.ReadSeeker, int64, store.PutOptions) error {
	return errRead
}
func (b below) Rename(context.Context, string, string) error { return errRead }
func (b below) Delete(context.Context, string) error         { return errRead }
func (b below) String() string                               { return fmt.Sprintf("%s/%s", b.of, b.prefix) }
