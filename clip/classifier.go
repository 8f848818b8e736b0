package clip

import (
	"context"
	"iter"
)

// A Label is one of those that a picture may have.
type Label struct {
	Name        string  `json:"label"`
	Probability float64 `json:"probability"`
	Cosine      float64 `json:"cosine,omitzero"` // of the picture and the texts of the label; 0 without such texts
}

// Classified is a picture with its labels.
type Classified struct {
	Index  int     // in the sequence
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
