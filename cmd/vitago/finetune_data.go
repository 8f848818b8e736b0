package main

import (
	"fmt"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
)

// datasets opens the pictures to train on and, unless there are to be none, to validate on.
func (f *finetuneFlags) datasets() (train, validation *data.Dataset, err error) {
	labelled := f.teacher == "" && f.targets == ""
	if train, err = data.Open(f.data, labelled); err != nil {
		return nil, nil, err
	}
	switch {
	case f.val != "" && f.targets != "":
		return nil, nil, usagef("--val has no --targets: they are of the pictures of --data alone")
	case f.val != "":
		if validation, err = data.Open(f.val, labelled); err != nil {
			return nil, nil, err
		}
		if labelled {
			err = data.Align(train, validation)
		}
		return train, validation, err
	case f.split == 0 || f.targets != "": // whose order is that of all pictures
		return train, nil, nil
	}
	return train.Split(f.split, f.seed)
}

// readTargets reads a safetensors file of one tensor, [N,width] or [N,rows,width] for N pictures, and
// returns what it has for a picture.
func readTargets(path string, d *data.Dataset) (of func(i int) []float32, rows, width int, err error) {
	tensors, err := converter.ReadTensors(path)
	if err != nil {
		return nil, 0, 0, err
	}
	if len(tensors) != 1 {
		return nil, 0, 0, fmt.Errorf("finetune: %s has %d tensors, want 1", path, len(tensors))
	}
	t := tensors[0]
	n := len(d.Samples)
	switch s := t.Shape; {
	case len(s) == 2 && s[0] == n:
		rows, width = 1, s[1]
	case len(s) == 3 && s[0] == n:
		rows, width = s[1], s[2]
	default:
		return nil, 0, 0, fmt.Errorf("finetune: %s: %s has the shape %v, want [%d,…,width] for %d pictures", path, t.Name, s, n, n)
	}
	size := rows * width
	return func(i int) []float32 { return t.Data[i*size : (i+1)*size] }, rows, width, nil
}
