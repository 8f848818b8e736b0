package finetune

import (
	"fmt"
	"io"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
)

// features returns those of a batch: from the cache, if it is used and has them all, or what compute returns.
func (t *Trainer) features(b *data.Batch, from Source, compute func() (mat.Tensor, error)) (mat.Tensor, error) {
	loader, ok := from.(*data.Loader)
	if t.space == nil || !ok || loader.Augment != (data.Augment{}) {
		return compute()
	}
	var rows []float32
	for _, sample := range b.Index {
		key, err := t.key(loader, sample)
		if err != nil {
			return nil, err
		}
		x, err := t.space.Get(key)
		if err != nil {
			return nil, err
		}
		if x == nil {
			rows = nil
			break
		}
		rows = append(rows, x...)
	}
	_, width := rowsAndWidth(t.Features, t.Tower.Config)
	if rows != nil {
		return mat.NewDense[float32](mat.WithShape(len(rows)/width, width), mat.WithBacking(rows)), nil
	}
	y, err := compute()
	if err != nil {
		return nil, err
	}
	values := y.Value().Data().F32()
	n := len(values) / b.Len()
	for i, sample := range b.Index {
		key, err := t.key(loader, sample)
		if err != nil {
			return nil, err
		}
		if err := t.space.Put(key, values[i*n:(i+1)*n]); err != nil {
			return nil, err
		}
	}
	return y, nil
}

// key returns the cache's key of a sample, whose file is read for it once.
func (t *Trainer) key(l *data.Loader, sample int) (probe.Key, error) {
	known := t.keys[l]
	if known == nil {
		known = map[int]probe.Key{}
		t.keys[l] = known
	}
	if k, ok := known[sample]; ok {
		return k, nil
	}
	r, err := l.Data.Open(sample)
	if err != nil {
		return probe.Key{}, fmt.Errorf("finetune: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		return probe.Key{}, fmt.Errorf("finetune: %s: %w", l.Data.Samples[sample].Path, err)
	}
	known[sample] = probe.KeyOf(raw)
	return known[sample], nil
}
