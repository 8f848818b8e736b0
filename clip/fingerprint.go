package clip

import (
	"context"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
)

// VisionFingerprint returns 64 hexadecimal digits that change with anything that an embedding of a picture depends on: the
// parameters of the vision tower, how they are rounded, and how pictures are prepared. A checkpoint, its conversion and
// its export have the same. It loads the tower.
func (m *Model) VisionFingerprint(ctx context.Context) (string, error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return "", err
	}
	f := clipvit.Features{Kind: clipvit.Embedding}
	if v.Config.NoPostNorm {
		f = clipvit.Features{Kind: clipvit.AllTokens, Layer: -1}
	}
	h, err := f.Fingerprint(v)
	if err != nil {
		return "", because(nil, err, "")
	}
	return h, nil
}

// TextFingerprint returns 64 hexadecimal digits that change with anything that an embedding of a text depends on: the
// parameters of the text tower, the vocabulary, and the rules by which texts are read. It loads the tower.
func (m *Model) TextFingerprint(ctx context.Context) (string, error) {
	t, k, err := m.reader(ctx)
	if err != nil {
		return "", err
	}
	h, err := cliptext.Fingerprint(t, k)
	if err != nil {
		return "", because(nil, err, "")
	}
	return h, nil
}
