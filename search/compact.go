package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Compact writes an index anew without the rows that are deleted, with names as they are now, and in shards that are full. What
// has been added and not committed is committed before. If it ends early, the index is as it was. Meanwhile the index takes its
// room on the disk twice.
func Compact(ctx context.Context, dir string, o WriterOptions) (err error) {
	w, err := newWriter(dir, nil, o, func(int, *Record, []uint16) {})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Commit(); err != nil {
		return err
	}
	return w.named(w.compact(ctx))
}

func (w *Writer) compact(ctx context.Context) (err error) {
	x, err := Open(w.dir)
	if err != nil {
		return err
	}
	for _, s := range w.about.Shards { // or what is damaged would get a sum that is right; metadata are checked when they are read
		if err := checkSum(filepath.Join(w.dir, vectorsFile(s.Number)), s.Vectors); err != nil {
			return errors.Join(err, x.Close())
		}
	}
	next := *w.about
	next.Generation++
	next.Shards, next.Changes = []shardOf{}, nil
	var p *pending
	var folders []string
	defer func() {
		if p != nil {
			err = errors.Join(err, p.close())
		}
		if err := os.RemoveAll(filepath.Join(w.dir, compactDir)); err != nil {
			return // the next writer removes it
		}
	}()
	seal := func() error {
		s, err := p.seal(next.Columns)
		err = errors.Join(err, p.close())
		next.Shards, next.Next, folders, p = append(next.Shards, s), s.Number+1, append(folders, p.dir), nil
		return err
	}
	for r, err := range x.Records() {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err == nil && p == nil {
			p, err = openPending(filepath.Join(w.dir, compactDir, fmt.Sprint(next.Next)), pendingHead{version, next.Print, next.Next, next.Space.Dim}, func(int, *Record, []uint16) {})
		}
		if err == nil {
			err = p.add(&r.Record, x.Half(r.Index))
		}
		if err == nil && p.rows == w.options.ShardRows {
			err = seal()
		}
		if err != nil {
			return errors.Join(err, x.Close())
		}
	}
	if p != nil {
		if err := seal(); err != nil {
			return errors.Join(err, x.Close())
		}
	}
	if err := x.Close(); err != nil { // or its files could not be removed everywhere
		return err
	}
	for i, s := range next.Shards {
		if err := publish(w.dir, folders[i], s.Number); err != nil {
			return err
		}
	}
	if err := w.writeManifest(&next); err != nil {
		return err
	}
	w.about, w.changes, w.changed = &next, changes{}, false
	return sweep(w.dir, w.about)
}

// checkSum returns an [ErrDamaged] of a file that is not what the manifest says.
func checkSum(path string, want fileOf) error {
	got, err := sumFile(path)
	switch {
	case err != nil:
		return fmt.Errorf("search: %s: %w", path, reason(err))
	case got != want:
		return damaged(path, "has %d bytes with the SHA-256 %.16s, want %d with %.16s", got.Bytes, got.SHA256, want.Bytes, want.SHA256)
	}
	return nil
}

// Verify reads all files of an index, and returns an [ErrDamaged] of the first whose sum is not that which it was written with.
func (x *Index) Verify(ctx context.Context) error {
	for _, s := range x.about.Shards {
		for _, f := range []struct {
			name string
			want fileOf
		}{{vectorsFile(s.Number), s.Vectors}, {metadataFile(s.Number), s.Metadata}, {codesFile(s.Number), s.Codes}} {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := checkSum(filepath.Join(x.dir, f.name), f.want); err != nil {
				return err
			}
		}
	}
	return nil
}
