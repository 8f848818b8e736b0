// Package demo is a small CLIP and a few pictures that are part of the program: for a first try, for examples and for tests.
//
//	m, err := demo.Open()                                // both towers and their tokenizer
//	vectors, err := m.Encode(ctx, demo.Pictures()...)
//
// Whoever imports it can open the model by its name as well: [Name] is a path to clip.Open and converter.Open.
package demo

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/builtin"
)

// Name is what clip.Open and converter.Open, and with them whatever opens a model, know the small model by.
const Name = builtin.Prefix + "demo"

//go:embed model/*.json model/merges.txt model/model.safetensors pictures/*.png
var files embed.FS

func init() { builtin.Register(Name, below("model")) }

// below returns the files of a folder.
func below(dir string) fs.FS {
	in, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // it is part of the program
	}
	return in
}

// Open opens the small model. It need not be closed.
func Open(o ...clip.Option) (*clip.Model, error) { return clip.Open(Name, o...) }

// Pictures returns the pictures in the order of their names.
func Pictures() []clip.Picture {
	in := below("pictures")
	entries, err := fs.ReadDir(in, ".")
	if err != nil {
		panic(err) // it is part of the program
	}
	all := make([]clip.Picture, len(entries))
	for i, e := range entries {
		data, err := fs.ReadFile(in, e.Name())
		if err != nil {
			panic(fmt.Sprintf("demo: %v", err))
		}
		all[i] = clip.Bytes(e.Name(), data)
	}
	return all
}
