package clip

import (
	"context"
	"iter"
	"slices"

	"github.com/vitago/vitago/clipvit"
)

// A Label is one of those that a picture may have.
type Label struct {
	Name        string  `json:"label"`           // as it was given, or as the head calls it
	Probability float64 `json:"probability"`     // from 0 to 1; all of a picture's sum to 1, unless labels do not exclude each other
	Cosine      float64 `json:"cosine,omitzero"` // of the picture and the texts of the label; 0 without such texts
}

// Classified is a picture with its labels.
type Classified struct {
	Index  int     // in the sequence, from StreamOptions.First on
	Name   string  // of the picture
	Labels []Label // the most probable first
	Err    error   // why the picture could not be read, if errors are skipped
}

// A Classifier gives pictures labels.
type Classifier interface {
	// Labels returns the names of all labels, in their order.
	Labels() []string
	// Classify returns all labels of each picture, the most probable first.
	Classify(ctx context.Context, pictures ...Picture) ([][]Label, error)
	// ClassifyAll does the same for any number of pictures, as [Model.Stream] does.
	ClassifyAll(ctx context.Context, pictures iter.Seq[Picture], o StreamOptions) iter.Seq2[Classified, error]
}

// ClassifyBy returns the classifier that ranks labels by a vector of each picture, such as one with a head of one's own. f are
// the features of m that rank takes, [D]. rank returns all labels, the most probable first; it is called by many goroutines
// if the classifier is.
func ClassifyBy(m *Model, f clipvit.Features, labels []string, rank func(vector []float32) []Label) Classifier {
	return &ranker{m, f, slices.Clone(labels), rank}
}

// A ranker is what [ClassifyBy] returns.
type ranker struct {
	model    *Model
	features clipvit.Features
	labels   []string
	by       func(vector []float32) []Label
}

func (r *ranker) Labels() []string { return slices.Clone(r.labels) }

func (r *ranker) Classify(ctx context.Context, pictures ...Picture) ([][]Label, error) {
	vectors, err := r.model.Features(ctx, r.features, pictures...)
	if err != nil {
		return nil, err
	}
	all := make([][]Label, len(vectors))
	for i, v := range vectors {
		if all[i], err = r.rank(pictures[i].Name(), v); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (r *ranker) ClassifyAll(ctx context.Context, pictures iter.Seq[Picture], o StreamOptions) iter.Seq2[Classified, error] {
	return func(yield func(Classified, error) bool) {
		if o.Features != (clipvit.Features{}) && o.Features != r.features {
			yield(Classified{}, failed(ErrRequest, "features are %s, want %s, which the classifier reads", o.Features, r.features))
			return
		}
		o.Features = r.features
		for e, err := range r.model.Stream(ctx, pictures, o) {
			c := Classified{Index: e.Index, Name: e.Name, Err: e.Err}
			if err == nil && e.Err == nil {
				c.Labels, err = r.rank(e.Name, e.Vector)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// rank returns the labels of the picture with this name.
func (r *ranker) rank(name string, vector []float32) ([]Label, error) {
	labels := r.by(vector)
	for _, l := range labels {
		if p := l.Probability; p-p != 0 {
			return nil, failed(nil, "%s: the probability of a label is %v, want a number: the model's weights are damaged or too large", name, p)
		}
	}
	return labels, nil
}
