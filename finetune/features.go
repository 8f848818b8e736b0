package finetune

import (
	"cmp"
	"fmt"

	"github.com/vitago/vitago/clipvit"
)

// orEmbedding returns f, or the embedding if f is zero.
func orEmbedding(f clipvit.Features) clipvit.Features {
	return cmp.Or(f, clipvit.Features{Kind: clipvit.Embedding})
}

// checkFeatures returns nil if m has the features, and can learn from what is made of them.
func checkFeatures(f clipvit.Features, m *clipvit.Model) error {
	if err := f.Validate(m.Config); err != nil {
		return fmt.Errorf("finetune: %w", err)
	}
	if f.Kind != clipvit.Embedding && f.Kind != clipvit.Patches && f.Kind != clipvit.AllTokens {
		return fmt.Errorf("finetune: features are %s, want %s, or %s or %s of a layer", f, clipvit.Embedding, clipvit.Patches, clipvit.AllTokens)
	}
	return nil
}

// rowsAndWidth returns how many rows the features of an image have, and how many columns.
func rowsAndWidth(f clipvit.Features, c clipvit.Config) (rows, width int) {
	shape, err := orEmbedding(f).Shape(c)
	if err != nil {
		panic(err) // checkFeatures has been asked
	}
	if len(shape) == 1 {
		return 1, shape[0]
	}
	return shape[0], shape[1]
}
