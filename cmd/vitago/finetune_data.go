package main

import (
	"github.com/vitago/vitago/finetune/data"
)

// datasets opens the pictures to train on and, unless there are to be none, to validate on.
// Of targets that are not named the order is that of all pictures.
func (f *finetuneFlags) datasets(named bool) (train, validation *data.Dataset, err error) {
	labelled := f.teacher == "" && f.targets == "" && !f.captions
	if train, err = data.Open(f.data, labelled); err != nil {
		return nil, nil, err
	}
	if f.captions {
		train = bare(train)
	}
	switch {
	case f.val != "" && f.targets != "" && !named:
		return nil, nil, usagef("--val has no --targets: they are of the pictures of --data alone")
	case f.val != "":
		if validation, err = data.Open(f.val, labelled); err != nil {
			return nil, nil, err
		}
		if f.captions {
			validation = bare(validation)
		}
		if labelled || f.captions {
			err = data.Align(train, validation)
		}
		return train, validation, err
	case f.split == 0 || f.targets != "" && !named:
		return train, nil, nil
	}
	return train.Split(f.split, f.seed)
}
