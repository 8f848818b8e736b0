package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/shard/output"
	"github.com/vitago/vitago/shard/store"
)

// MergeOptions are choices of [Merge]. The zero value is fine.
type MergeOptions struct {
	Incomplete bool                  // leave out the shards that are not done, in place of an error
	Progress   func(done, total int) // called after each shard; nil is fine
}

// Merged says what [Merge] has done.
type Merged struct {
	Shards int `json:"shards"` // of the dataset that was made
	Rows   int `json:"rows"`   // of them all
	Before int `json:"before"` // shards that were there already
	Left   int `json:"left"`   // shards that were left out: they are not done
	Empty  int `json:"empty"`  // shards without rows, which have no number any more
}

// Merge makes one dataset of several, whose shards get numbers from 0 on without gaps. They have to be of one space, format and columns: a difference
// is a [MismatchError]. Sums are compared while files are copied, and what was merged is read back. It may be done again, and goes on behind what is
// there.
func Merge(ctx context.Context, out string, locations []string, o MergeOptions) (m Merged, err error) {
	var from []*dataset
	var parts []merging
	for i, location := range locations {
		if same(location, out) || slices.ContainsFunc(locations[:i], func(l string) bool { return same(l, location) }) {
			return m, fmt.Errorf("shard: %s is named twice", location)
		}
		if within(out, location) || within(location, out) {
			return m, fmt.Errorf("shard: of %s and %s one lies in the other, want an output beside them", out, location)
		}
		d, err := openDataset(ctx, location)
		if err != nil {
			return m, err
		}
		if len(from) > 0 {
			if err := mergeable(from[0], d); err != nil {
				return m, err
			}
		}
		if err := d.checkShards(ctx); err != nil {
			return m, err
		}
		from = append(from, d)
		records, err := d.newest(ctx, "shards")
		if err != nil {
			return m, err
		}
		for n := range d.plan.Shards {
			r, _, err := d.recordAt(ctx, n, records.of(n))
			if err != nil {
				return m, err
			}
			whole := r != nil
			if whole {
				if whole, err = d.settle(ctx, r); err != nil {
					return m, err
				}
			}
			switch {
			case !whole && !o.Incomplete:
				return m, fmt.Errorf("shard: %s: shard %d is not done", location, n)
			case !whole:
				m.Left++
			case r.Rows == 0:
				m.Empty++
			default:
				parts = append(parts, merging{d, n, r.Generation})
				m.Rows += r.Rows
			}
		}
	}
	if len(parts) == 0 {
		return m, fmt.Errorf("shard: %s: no shard has rows", strings.Join(locations, ", "))
	}
	first := from[0].plan
	p := &Plan{Version: version, Inputs: locations, Spec: first.Spec, Shards: len(parts), Fingerprint: first.Fingerprint, Space: first.Space, Model: first.Model, Vitago: build()}
	p.Spec.Digits = digits(p.Shards)
	to, err := mergeTarget(ctx, out, p)
	if err != nil {
		return m, err
	}
	m.Shards = len(parts)
	j := &Job{dataset: to, worker: workerName()}
	records, err := to.newest(ctx, "shards")
	if err != nil {
		return m, err
	}
	for n, part := range parts {
		before, err := j.merge(ctx, n, records.of(n), part)
		if err != nil {
			return m, err
		}
		if before {
			m.Before++
		}
		if o.Progress != nil {
			o.Progress(n+1, len(parts))
		}
	}
	return m, nil
}

// same says whether two locations are one: links and relative paths of this machine are followed.
func same(a, b string) bool { return place(a) == place(b) }

// within says whether a location lies in another, or is it.
func within(a, b string) bool {
	a, b = place(a), place(b)
	return a == b || strings.HasPrefix(a, strings.TrimSuffix(b, "/")+"/")
}

// place returns a location in a form that others of the same place have too, with slashes.
func place(location string) string {
	if !store.IsLocal(location) {
		scheme, rest, _ := strings.Cut(location, "://")
		return strings.ToLower(scheme) + "://" + strings.TrimPrefix(path.Clean("/"+rest), "/")
	}
	at, err := filepath.Abs(location)
	if err != nil {
		at = filepath.Clean(location)
	}
	// What is not there yet lies in a folder that is.
	for dir, behind := at, ""; ; dir, behind = filepath.Dir(dir), filepath.Join(filepath.Base(dir), behind) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.ToSlash(filepath.Join(real, behind))
		}
		if dir == filepath.Dir(dir) {
			return filepath.ToSlash(at)
		}
	}
}

// merging is a shard that becomes one of another dataset.
type merging struct {
	of         *dataset
	n          int
	generation int // of its record
}

// mergeable returns a [MismatchError] if two datasets cannot become one.
func mergeable(a, b *dataset) error {
	first := *a.plan
	first.Inputs = nil
	err := b.plan.compare(b.location, &first, a.location)
	if says(a.plan.Spec.Columns) != says(b.plan.Spec.Columns) {
		err = errors.Join(err, &MismatchError{b.location, "columns", says(b.plan.Spec.Columns), says(a.plan.Spec.Columns), a.location})
	}
	if err != nil {
		return fmt.Errorf("shard: %s and %s cannot be merged: %w", a.location, b.location, err)
	}
	return nil
}

// mergeTarget puts the plan of what is to be made, or finds it there.
func mergeTarget(ctx context.Context, out string, p *Plan) (*dataset, error) {
	d, err := openDataset(ctx, out)
	if errors.Is(err, ErrNoPlan) {
		err = store.Write(ctx, d.store, planName, folder.MustJSON(p), store.PutOptions{IfAbsent: true})
		if err == nil || errors.Is(err, store.ErrExists) {
			d, err = openDataset(ctx, out)
		}
	}
	if err != nil {
		return nil, err
	}
	was := *d.plan
	was.Vitago = p.Vitago // another version may go on
	if a, b := says(was), says(p); a != b {
		return nil, fmt.Errorf("shard: %s: %w: another dataset has been begun there, of %s from %s; to be merged are %d from %s", out, ErrOther, plural.Of(d.plan.Shards, "shard"), strings.Join(d.plan.Inputs, ", "), p.Shards, strings.Join(p.Inputs, ", "))
	}
	return d, nil
}

// merge copies a shard, whose newest record here is of a generation, -1 if it has none, and says whether it was there before.
func (j *Job) merge(ctx context.Context, n, generation int, from merging) (before bool, err error) {
	s, err := j.stateAt(ctx, n, generation)
	if err != nil || s.record != nil {
		return s.record != nil, err
	}
	was, _, err := from.of.recordAt(ctx, from.n, from.generation)
	if err != nil {
		return false, err
	}
	if was == nil {
		return false, fmt.Errorf("shard: %s: the record of shard %d is gone", from.of.location, from.n)
	}
	r := *was
	r.Plan, r.Shard, r.Generation, r.Worker, r.Temporary, r.Files = j.sum, n, s.generation+1, j.worker, j.temporary(n, s.generation+1, j.worker), nil
	for _, f := range was.Files {
		old := f.Name
		if f.Name = j.plan.Spec.Renumbered(old, n); f.Name == "" {
			return false, fmt.Errorf("shard: %s: %w: the record of shard %d has the file %s", from.of.location, ErrDamaged, from.n, old)
		}
		if err := copyFile(ctx, from.of.store, old, j.store, r.Temporary+f.Name); err != nil {
			return false, err
		}
		r.Files = append(r.Files, f)
	}
	if err := output.Check(ctx, below{j.store, r.Temporary}, r.Files, j.plan.Spec); err != nil {
		return false, fmt.Errorf("shard: %s: shard %d, copied: %w", from.of.location, from.n, err)
	}
	if err := store.Write(ctx, j.store, j.recordName(n, r.Generation), folder.MustJSON(&r), store.PutOptions{IfAbsent: true}); errors.Is(err, store.ErrExists) { // another merge was first
		s, err := j.state(ctx, n)
		if err == nil && s.record == nil {
			err = fmt.Errorf("shard: %s: %w: shard %d has a record of somebody else, and not its files", j.location, ErrDamaged, n)
		}
		return true, errors.Join(err, j.remove(ctx, r.Temporary))
	} else if err != nil {
		return false, err
	}
	whole, err := j.settle(ctx, &r)
	if err == nil && !whole {
		err = fmt.Errorf("shard: %s: the files of shard %d are gone from %s", j.location, n, r.Temporary)
	}
	return false, err
}

// copyFile copies a file from one store to another.
func copyFile(ctx context.Context, from store.Store, name string, to store.Store, as string) error {
	i, err := from.Stat(ctx, name)
	if err != nil {
		return err
	}
	c := &copying{ctx: ctx, store: from, info: i}
	defer c.close()
	return to.Put(ctx, as, c, i.Size, store.PutOptions{})
}

// copying reads a file of a store, and goes back to its start when it is put again.
type copying struct {
	ctx   context.Context
	store store.Store
	info  store.Info
	at    int64
	r     store.Reader // nil before the first byte
}

func (c *copying) close() {
	if c.r != nil {
		c.r.Close()
		c.r = nil
	}
}

func (c *copying) Read(b []byte) (int, error) {
	if c.at >= c.info.Size {
		return 0, io.EOF
	}
	if c.r == nil {
		r, err := c.store.Open(c.ctx, c.info.Name, c.at, -1)
		if err != nil {
			return 0, err
		}
		c.r = r
		if err := store.Same(c.store, r.Info(), c.info); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(b)
	c.at += int64(n)
	return n, err
}

func (c *copying) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.at
	case io.SeekEnd:
		offset += c.info.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("shard: %s: offset %d, want 0 or more", c.info.Name, offset)
	}
	if offset != c.at {
		c.close()
	}
	c.at = offset
	return offset, nil
}
