package finetune

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
)

// TrainHead teaches a head of one's own the classes of pictures, from the embeddings [B,E] that a tower gives: the head maps them to logits [B,K],
// one column for each of pictures.Classes. It learns by the recipe "probe", in so many epochs and at this rate; the tower does not learn, and sees each
// picture once.
// A picture that cannot be read is an error, as is a head of another width or number of columns. For another recipe, loss or feature there is [Trainer]; [ClassifyBy] names pictures by the head.
func TrainHead(ctx context.Context, tower *clipvit.Model, head Head, pictures *data.Dataset, epochs int, rate float64) (*Result, error) {
	if tower == nil || head == nil || pictures == nil {
		return nil, errors.New("finetune: tower, head and pictures must be given")
	}
	logits, err := forward(head, mat.NewDense[float32](mat.WithShape(1, tower.Config.OutputDim())))
	if err != nil {
		return nil, err
	}
	if k := len(pictures.Classes); logits.Value().Size() != k {
		return nil, fmt.Errorf("finetune: the head %T gives %d logits, want %d, one a class", head, logits.Value().Size(), k)
	}
	recipe, err := FindRecipe("probe")
	if err != nil {
		return nil, err
	}
	recipe.Epochs, recipe.HeadRate = epochs, rate
	dir, err := os.MkdirTemp("", "vitago-features")
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	defer os.RemoveAll(dir)
	cache, err := probe.OpenCache(dir)
	if err != nil {
		return nil, err
	}
	trainer, err := New(Config{
		Tower: tower, Head: head, Objective: Classification{}, Recipe: recipe, Cache: cache,
		Train: &data.Loader{Data: pictures, Config: tower.Config, BatchSize: recipe.Batch, Shuffle: true, Strict: true},
	})
	if err != nil {
		return nil, err
	}
	return trainer.Run(ctx)
}
