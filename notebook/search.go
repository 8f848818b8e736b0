package notebook

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/sheet"
	"github.com/vitago/vitago/search"
)

// An Index is the vectors of many pictures on disk, which are searched.
type Index struct {
	model *Model
	dir   string
	of    *search.Index
}

// Index brings the index in the folder dir up to date with folders, tars and lists of pictures, begins it if it is not there, and opens it.
// What is in it already is not encoded again, and what an interrupt leaves is gone on with. Pictures that cannot be read are named on
// standard error and left out.
func (m *Model) Index(dir string, sources ...string) *Index {
	x := &Index{model: m, dir: dir}
	call("indexing", func(ctx context.Context, p *progress) error {
		var all []search.Source
		for _, path := range sources {
			s, err := search.NewSource(path)
			if err != nil {
				return err
			}
			all = append(all, s)
		}
		if len(all) > 0 {
			_, err := search.Update(ctx, m.clip(), dir, all, search.UpdateOptions{
				Progress: p.set,
				Skipped:  func(path string, cause error) { fmt.Fprintf(os.Stderr, "left out %s: %s\n", path, sentence(cause)) },
				Notes: func(_ search.Source, notes []string) {
					for _, n := range notes {
						fmt.Fprintln(os.Stderr, n)
					}
				},
			})
			if err != nil {
				return err
			}
		}
		var err error
		if x.of, err = search.Open(dir); err != nil {
			return err
		}
		space, err := m.clip().Space(ctx)
		if err != nil {
			return err
		}
		if err := x.of.Check(space); err != nil {
			x.of.Close()
			return err
		}
		return nil
	})
	return x
}

// Len returns how many pictures it has.
func (x *Index) Len() int { return x.of.Live() }

// Close closes its files.
func (x *Index) Close() {
	call("closing "+x.dir, func(context.Context, *progress) error { return x.of.Close() })
}

// String says what it is.
func (x *Index) String() string {
	return fmt.Sprintf("%s: %s, vectors of %d numbers", filepath.Base(x.dir), plural.Of(x.Len(), "picture"), x.of.Dim())
}

// SimpleRender shows it in words.
func (x *Index) SimpleRender() map[string]any { return render(x) }

func (x *Index) bundle() (bundle, error) { return bundle{mimeText: x.String()}, nil }

// Find returns the n pictures that a sentence describes best.
func (x *Index) Find(words string, n int) *Hits {
	return x.find(words, n, func(ctx context.Context) ([][]float32, error) { return x.model.clip().EncodeText(ctx, []string{words}) })
}

// FindLike returns the n pictures that are most like another.
func (x *Index) FindLike(p Picture, n int) *Hits {
	return x.find("like "+p.short(), n, func(ctx context.Context) ([][]float32, error) { return x.model.clip().Encode(ctx, p.of) })
}

func (x *Index) find(query string, n int, vector func(context.Context) ([][]float32, error)) *Hits {
	h := &Hits{Query: query}
	call("searching", func(ctx context.Context, _ *progress) error {
		if n < 1 {
			failf("%d pictures are to be found, want at least 1", n)
		}
		v, err := vector(ctx)
		if err != nil {
			return err
		}
		found, err := x.of.Find(ctx, v[0], search.FindOptions{K: n})
		if err != nil {
			return err
		}
		for _, hit := range found {
			record := hit.Record
			h.Cosines = append(h.Cosines, hit.Cosine)
			h.Pictures = append(h.Pictures, Picture{of: clip.Opened(record.Path, record.Open)})
		}
		return nil
	})
	return h
}

// Hits are pictures that were found, the nearest first.
type Hits struct {
	Query    string    // in words
	Pictures Pictures  // the nearest first
	Cosines  []float64 // of each with the query, from -1 to 1
}

// String says names and cosines, a line each.
func (h *Hits) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", h.Query)
	for i, p := range h.Pictures {
		fmt.Fprintf(&b, "%.3f  %s\n", h.Cosines[i], p.short())
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// SimpleRender shows a contact sheet with the cosines.
func (h *Hits) SimpleRender() map[string]any { return render(h) }

func (h *Hits) bundle() (bundle, error) {
	return sheetBundle(h.Pictures, func(i int) []sheet.Line {
		return []sheet.Line{{Text: fmt.Sprintf("%.3f", h.Cosines[i]), Colour: grey(true)}}
	}, h.String())
}
