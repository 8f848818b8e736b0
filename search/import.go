package search

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"time"

	"github.com/vitago/vitago/clip"
)

// Given are the vectors of pictures that were made elsewhere, such as by "vitago encode".
type Given struct {
	Paths   []string    // of the pictures' files
	Vectors [][]float32 // of each [E], of any length but 0; nil of one that has none, which counts as failed
	Made    time.Time   // when: a picture that was changed later counts as failed. Zero is not asked
}

// Import is [Update] with vectors that there are, in the place of a model: files are read to know their contents, and those that are new or
// changed get the vectors given. The space is that of normalised embeddings, as [clip.Model.Space] has it. What is given is no source that
// later updates go through. Errors are those of [Update].
func Import(ctx context.Context, dir string, space clip.Space, g Given, o UpdateOptions) (*Report, error) {
	if len(g.Paths) != len(g.Vectors) {
		return nil, fmt.Errorf("search: %d vectors of %d pictures, want one of each", len(g.Vectors), len(g.Paths))
	}
	at := make(map[string]int, len(g.Paths))
	paths := make([]string, len(g.Paths))
	for i, p := range g.Paths {
		path, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("search: %s: %w", p, err)
		}
		if other, twice := at[path]; twice {
			return nil, fmt.Errorf("search: vectors %d and %d are both of %s, want one of each picture", other+1, i+1, path)
		}
		paths[i], at[path] = path, i
	}
	g.Paths = paths
	stream := func(ctx context.Context, pictures iter.Seq[clip.Picture]) iter.Seq2[clip.Encoded, error] {
		return func(yield func(clip.Encoded, error) bool) {
			for p := range pictures {
				if ctx.Err() != nil {
					yield(clip.Encoded{}, context.Cause(ctx))
					return
				}
				if !yield(clip.Encoded{Name: p.Name(), Vector: g.Vectors[at[p.Name()]]}, nil) {
					return
				}
			}
		}
	}
	return (&update{o: o, sources: []Source{{Kind: fileSource}}, given: &g, stream: stream}).all(ctx, dir, space)
}

// each gives visit the pictures of a source, or what is given.
func (u *update) each(s Source, visit func(it item)) (notes []string, err error) {
	if u.given == nil {
		return s.each(visit)
	}
	for i, path := range u.given.Paths {
		it := fileItem(path)
		switch made := u.given.Made; {
		case u.given.Vectors[i] == nil:
			it.open = func() (io.ReadCloser, error) { return nil, errors.New("has no vector: it could not be encoded") }
		case !made.IsZero() && it.modified > made.UnixNano():
			it.open = func() (io.ReadCloser, error) {
				return nil, fmt.Errorf("was changed at %s, after the vectors were made at %s", time.Unix(0, it.modified).UTC().Format(time.RFC3339), made.UTC().Format(time.RFC3339))
			}
		}
		visit(it)
	}
	return nil, nil
}
