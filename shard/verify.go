package shard

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// Verified says what [Verify] has read.
type Verified struct {
	Shards int   `json:"shards"` // that the plan has
	Done   int   `json:"done"`   // those without a fault
	Rows   int   `json:"rows"`   // of these
	Bytes  int64 `json:"bytes"`  // of their files
	Faults int   `json:"faults"` // how often fault was called
}

// Verify proves that a dataset is complete and readable: each shard has a record, its files are there with the sizes and SHA-256 of the record, and
// read as what they should be; no other files lie among them. It reads everything. fault is called for each thing that is wrong, from one
// goroutine at a time; the error is that of a store that cannot be read, or of a context that has ended.
func Verify(ctx context.Context, location string, fault func(error)) (v Verified, err error) {
	d, err := openDataset(ctx, location)
	if err != nil {
		return v, err
	}
	if err := d.checkShards(ctx); err != nil {
		return v, err
	}
	v.Shards = d.plan.Shards
	var mu sync.Mutex
	known := map[string]bool{}
	wrong := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		v.Faults++
		fault(err)
	}
	records, err := d.newest(ctx, "shards")
	if err != nil {
		return v, err
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n := range d.plan.Shards {
		group.Go(func() error {
			if inner.Err() != nil {
				return context.Cause(inner)
			}
			r, generation, err := d.recordAt(inner, n, records.of(n))
			if err != nil {
				return err
			}
			mu.Lock()
			if r != nil {
				for _, f := range r.Files {
					known[f.Name] = true
				}
			}
			mu.Unlock()
			if err := d.verify(inner, n, r, generation); err != nil {
				if inner.Err() != nil {
					return context.Cause(inner)
				}
				wrong(fmt.Errorf("shard %d: %w", n, err))
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			v.Done++
			v.Rows += r.Rows
			for _, f := range r.Files {
				v.Bytes += f.Bytes
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return v, err
	}
	for i, err := range d.store.List(ctx, "") {
		if err != nil {
			return v, err
		}
		if !strings.HasPrefix(i.Name, beside) && !known[i.Name] {
			wrong(fmt.Errorf("%s: no record has such a file", i.Name))
		}
	}
	return v, nil
}

// verify returns what is wrong with a shard.
func (d *dataset) verify(ctx context.Context, n int, r *Record, generation int) error {
	switch {
	case r == nil && generation >= 0:
		text, _, err := store.Read(ctx, d.store, d.recordName(n, generation), maxSmall)
		if err == nil {
			_, err = d.record(text, n, generation)
		}
		return fmt.Errorf("%s cannot be read, or is of another plan: %w", d.recordName(n, generation), err)
	case r == nil:
		f, err := d.readFailure(ctx, n)
		if err == nil && f != nil {
			err = fmt.Errorf("it has failed: %s", f.Reason)
		}
		if err == nil {
			err = errors.New("it is not done")
		}
		return err
	case r.Fingerprint != d.plan.Fingerprint:
		return fmt.Errorf("the vectors are of the space %.16s, want %.16s", r.Fingerprint, d.plan.Fingerprint)
	}
	rows, failed := 0, 0
	for _, f := range r.Files {
		if strings.HasPrefix(f.Name, beside) {
			failed = f.Rows
		} else {
			rows = f.Rows
		}
		there, err := d.has(ctx, f.Name, f)
		if err != nil {
			return err
		}
		if waits, err := d.has(ctx, r.Temporary+f.Name, f); err == nil && waits && !there {
			return fmt.Errorf("%s still has its temporary name, in %s: encode --resume gives it that of the dataset", f.Name, r.Temporary)
		}
	}
	if rows != r.Rows || failed != r.Failed+r.Missing {
		return fmt.Errorf("%w: files have %d rows and %d failures, and the record %d and %d", ErrDamaged, rows, failed, r.Rows, r.Failed+r.Missing)
	}
	return output.Check(ctx, d.store, r.Files, d.plan.Spec)
}
