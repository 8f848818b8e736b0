package clip

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
)

// A Space is that of the vectors of pictures that a model computes. Vectors may be compared if their spaces have one
// [Space.Fingerprint]. The fields say in words what differs otherwise.
type Space struct {
	Vision        string `json:"vision"`         // as of [Model.VisionFingerprint]
	Text          string `json:"text,omitempty"` // as of [Model.TextFingerprint], "" without a text tower or a tokenizer
	Features      string `json:"features"`       // "embedding", or "post_norm" of a tower without a projection
	Dim           int    `json:"dim"`            // how many values a vector has
	Normalized    bool   `json:"normalized"`     // whether every vector has the length 1
	Precision     string `json:"precision"`      // of the weights of the blocks: "f32", "bf16" or "int8"
	Preprocessing string `json:"preprocessing"`  // how pictures are prepared, in JSON
}

// Fingerprint returns 64 hexadecimal digits that change with anything that the vectors of pictures depend on: the values of the
// vision tower's parameters and how they are rounded, how pictures are prepared, which features are taken, and whether they are
// normalised. Neither the form of the checkpoint nor the text tower changes it.
func (s Space) Fingerprint() string {
	text, err := json.Marshal([]any{s.Vision, s.Features, s.Dim, s.Normalized, s.Precision})
	if err != nil {
		panic(err) // strings, a number and a bool
	}
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// Transform returns how pictures are prepared for vectors of the space, and for towers of how many pixels.
func (s Space) Transform() (t clipvit.Transform, size int, err error) {
	var of struct {
		Size int `json:"size"`
		clipvit.Transform
	}
	if err := json.Unmarshal([]byte(s.Preprocessing), &of); err != nil {
		return t, 0, fmt.Errorf("clip: the preprocessing of a space is %.100q, want what Model.Space writes: %w", s.Preprocessing, err)
	}
	if err := of.Validate(); err != nil {
		return t, 0, because(nil, err, "")
	}
	return of.Transform, of.Size, nil
}

// Differences says in words in what the vectors of pictures of two spaces differ, "" if in nothing.
func (s Space) Differences(other Space) (all []string) {
	add := func(what string, was, is any) {
		if was != is {
			all = append(all, fmt.Sprintf("%s %v against %v", what, was, is))
		}
	}
	add("precision", s.Precision, other.Precision)
	add("preprocessing", s.Preprocessing, other.Preprocessing)
	add("features", s.Features, other.Features)
	add("number of values", s.Dim, other.Dim)
	add("normalized", s.Normalized, other.Normalized)
	if len(all) == 0 && s.Vision != other.Vision {
		all = append(all, "other weights of the vision tower")
	}
	return all
}

// Space returns the space of the normalised embeddings of pictures. It loads both towers.
func (m *Model) Space(ctx context.Context) (s Space, err error) {
	if s, err = m.embeddings(ctx); err == nil && m.hasText {
		if s.Text, err = m.TextFingerprint(ctx); errors.Is(err, cliptext.ErrVocabulary) {
			err = nil
		}
	}
	return s, err
}

// embeddings is [Model.Space] without that of the texts.
func (m *Model) embeddings(ctx context.Context) (s Space, err error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return s, err
	}
	c := v.Config
	if c.NoPostNorm {
		return s, failed(ErrRequest, "%s: has no post-norm and so no embedding", m.name)
	}
	s = Space{Features: string(clipvit.Embedding), Dim: c.EmbedDim, Normalized: true, Precision: v.Blocks.Rounding()}
	if s.Dim == 0 {
		s.Features, s.Dim = string(clipvit.PostNorm), c.Width
	}
	if s.Preprocessing, err = prepared(c.ImageSize, c.Transform); err == nil {
		s.Vision, err = m.VisionFingerprint(ctx)
	}
	return s, err
}

// prepared returns how pictures are prepared, in JSON.
func prepared(size int, t clipvit.Transform) (string, error) {
	text, err := json.Marshal(struct {
		Size int `json:"size"`
		clipvit.Transform
	}{size, t.Canonical()})
	return string(text), because(nil, err, "")
}

// Vectors are what may be wanted of a picture in the place of its normalised embedding. The zero value is the embedding, not normalised.
type Vectors struct {
	Features   clipvit.Features // zero is the embedding
	Preprocess clipvit.Choice   // in the place of what the model's files say
	Normalized bool             // whether every vector, or every row of one, has the length 1
	Dim        int              // how many of the first values are kept of every row; 0 is all
}

// SpaceOf returns the space of vectors. That of normalised embeddings, prepared as the model says, has the fingerprint that [Model.Space]
// gives; others have fingerprints of their own, each from that of all the vision tower and what is asked of it: two towers whose first blocks
// alone are the same have different ones. It loads the vision tower. Features that the tower does not have are an [ErrRequest]. vision is what
// [Model.VisionFingerprint] gives, for who keeps that, since it reads all weights; "" has it made.
func (m *Model) SpaceOf(ctx context.Context, vision string, of Vectors) (s Space, err error) {
	v, err := m.Vision(ctx)
	if err != nil {
		return s, err
	}
	c, f := v.Config, of.Features
	if f == (clipvit.Features{}) {
		f.Kind = clipvit.Embedding
	}
	shape, err := f.Shape(c)
	if err == nil {
		err = of.Preprocess.Validate()
	}
	if err != nil {
		return s, because(ErrRequest, err, "")
	}
	s = Space{Dim: shape[len(shape)-1], Normalized: of.Normalized, Precision: v.Blocks.Rounding()}
	if of.Dim < 0 || of.Dim > s.Dim {
		return s, failed(ErrRequest, "got %d dimensions, want 1 to %d, or 0 for all", of.Dim, s.Dim)
	}
	if s.Vision = vision; vision == "" {
		if s.Vision, err = m.VisionFingerprint(ctx); err != nil {
			return s, err
		}
	}
	if f.HasLayer() {
		f.Layer = f.Blocks(c) // one name for one layer
	} else if c.EmbedDim == 0 {
		f.Kind = clipvit.PostNorm // which the embedding then is
	}
	s.Features = f.String()
	own, err := prepared(c.ImageSize, c.Transform)
	if err != nil {
		return s, err
	}
	if s.Preprocessing, err = prepared(c.ImageSize, of.Preprocess.Apply(c.Transform)); err != nil {
		return s, err
	}
	if s.Preprocessing != own { // the tower's fingerprint is that of its own
		h := sha256.Sum256([]byte(s.Vision + s.Preprocessing))
		s.Vision = hex.EncodeToString(h[:])
	}
	if of.Dim > 0 {
		s.Dim = of.Dim
	}
	return s, nil
}
