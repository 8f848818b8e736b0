package input

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitago/vitago/shard/output"
)

// looked is how many samples of a tar are looked at to know what it has beside pictures.
const looked = 16

// Columns returns what the samples of inputs have besides keys and captions, as the first part of each input has it: the columns of
// a parquet that are texts, numbers, times or truth values, one a row; img2dataset's likewise; of other tars "metadata", KEY.json, and "cls", KEY.cls.
// A column that has the name of one of a dataset's own gets "source_" in front of it.
//
// Parts without such a column have no values of it. Two types of one column become one that holds both. A part that is damaged says
// nothing, and the next of its input is asked; the error is that of the first one if all are.
func Columns(ctx context.Context, inputs []string, o Options) ([]output.Column, error) {
	var all []output.Column
	var damaged error
	o.Note = nil
	looked := false
	for _, in := range inputs {
		for p, err := range Parts(ctx, []string{in}, o) {
			if err != nil {
				return nil, err
			}
			found, err := p.columns(ctx, o)
			if err != nil {
				if err = fmt.Errorf("input: %s: %w", text(p.Location), err); !errors.Is(err, ErrDamaged) {
					return nil, err
				}
				if damaged == nil {
					damaged = err
				}
				continue
			}
			looked = true
			for _, c := range found {
				i := slices.IndexFunc(all, func(a output.Column) bool { return a.Name == c.Name })
				if i < 0 {
					all = append(all, c)
				} else {
					all[i].Type = both(all[i].Type, c.Type)
				}
			}
			break
		}
	}
	if !looked {
		return nil, damaged
	}
	return all, nil
}

// both returns the type that has the values of two.
func both(a, b output.Type) output.Type {
	number := func(t output.Type) bool { return t == output.Int64 || t == output.Float64 }
	switch {
	case a == b:
		return a
	case number(a) && number(b):
		return output.Float64
	}
	return output.Text
}

// columns returns what the samples of a part have.
func (p Part) columns(ctx context.Context, o Options) ([]output.Column, error) {
	a := &access{ctx: ctx}
	at, size, version := p.Location, p.Size, p.Version
	if p.Table != nil {
		at, size, version = p.Table.Location, p.Table.Size, p.Table.Version
	}
	if p.Table != nil || p.Kind == parquetPart {
		f, err := a.openParquet(at, size, version)
		if err != nil {
			return nil, err
		}
		if p.Kind == parquetPart || f.isTable() {
			return f.columns(o)
		}
	}
	if p.Kind != tarPart {
		return nil, nil
	}
	p.Table = nil
	o.Columns = []output.Column{{Name: jsonColumn, Type: output.Text}, {Name: clsColumn, Type: output.Text}}
	r, err := p.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	has, n := make([]bool, len(o.Columns)), 0
	for s, err := range r.samples { // whose error has no location yet
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		for i, v := range s.Columns {
			has[i] = has[i] || v != nil
		}
		if n++; n == looked {
			break
		}
	}
	var found []output.Column
	for i, c := range o.Columns {
		if has[i] {
			found = append(found, c)
		}
	}
	return found, nil
}
