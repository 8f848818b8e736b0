package engine

import (
	"context"

	"github.com/vitago/vitago/explain"
	"github.com/vitago/vitago/tasks/imageclassification"
	"github.com/vitago/vitago/tasks/imagesearch"
	"github.com/vitago/vitago/tasks/imagetextsimilarity"
	"github.com/vitago/vitago/tasks/visualtokens"
)

// Classify says which labels fit pictures, by words or by the classifier that the model has. Its pictures go through the same batches
// as those of Embed.
func (e *Engine) Classify(ctx context.Context, model string, r imageclassification.Request) ([]imageclassification.Response, error) {
	return nil, ErrTask
}

// Compare returns the similarities of pictures and texts.
func (e *Engine) Compare(ctx context.Context, model string, r imagetextsimilarity.Request) (imagetextsimilarity.Response, error) {
	return imagetextsimilarity.Response{}, ErrTask
}

// Search finds pictures in the index of a model.
func (e *Engine) Search(ctx context.Context, model string, r imagesearch.Request) (imagesearch.Response, error) {
	return imagesearch.Response{}, ErrTask
}

// Tokens returns the visual tokens of a picture.
func (e *Engine) Tokens(ctx context.Context, model string, image []byte) (visualtokens.Response, error) {
	return visualtokens.Response{}, ErrTask
}

// Explain returns a map of where the model looks for each caption; without captions by rollout.
func (e *Engine) Explain(ctx context.Context, model string, image []byte, captions []string, o explain.Options) ([]*explain.Map, error) {
	return nil, ErrTask
}

// Picture returns the file of a picture of the index of a model, as the index knows its path: for a page that shows what was found. Paths
// that are not in the index are an error.
func (e *Engine) Picture(ctx context.Context, model, path string) ([]byte, error) {
	return nil, ErrTask
}
