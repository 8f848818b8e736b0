package clip_test

import (
	"errors"
	"image"
	"image/color"
	"slices"
	"strings"
	"testing"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
)

// drawn returns a picture of a few colours.
func drawn(name string, width, height int) clip.Picture {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.Set(x, y, color.NRGBA{uint8(17 * x), uint8(29 * y), uint8(x * y), uint8(255 - 3*x)})
		}
	}
	return clip.Image(name, m)
}

// TestPrepared: pictures and texts that are prepared one by one and encoded together have the bits of Encode and EncodeText.
func TestPrepared(t *testing.T) {
	v, w := towers(t, 1)
	m := clip.New(v, w, cliptext.NewOpenAI(cliptext.OpenAI))
	ctx := t.Context()
	pictures := []clip.Picture{drawn("a", 20, 13), drawn("b", 8, 8), drawn("c", 7, 31)}
	for _, f := range []clipvit.Features{{Kind: clipvit.Embedding}, {Kind: clipvit.Patches, Layer: -1}} {
		want, err := m.Features(ctx, f, pictures...)
		if err != nil {
			t.Fatal(err)
		}
		var all []*clip.Prepared
		for _, p := range pictures {
			x, err := m.Prepare(ctx, p, clipvit.Choice{})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, x)
		}
		got, err := m.EncodePrepared(ctx, f, all...)
		if err != nil || !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %v, other bits than those of Features", f, err)
		}
	}
	x, err := m.Prepare(ctx, pictures[0], clipvit.Choice{Fit: clipvit.FitSquash})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.EncodePrepared(ctx, clipvit.Features{Kind: clipvit.Embedding}, x)
	if err != nil {
		t.Fatal(err)
	}
	other := *v
	other.Config.Transform.Fit = clipvit.FitSquash
	want, err := clip.New(&other, nil, nil).Encode(ctx, pictures[0])
	if err != nil || !slices.Equal(got[0], want[0]) {
		t.Errorf("squashed: %v, other bits than those of a model that squashes", err)
	}

	texts := []string{"a cat", "", "a much longer text about two dogs and a cat"}
	words, err := m.EncodeText(ctx, texts)
	if err != nil {
		t.Fatal(err)
	}
	var ids [][]int
	for _, text := range texts {
		x, err := m.Tokenize(ctx, text, false)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, x)
	}
	if got, err := m.EncodeTokens(ctx, ids...); err != nil || !slices.EqualFunc(got, words, slices.Equal) {
		t.Errorf("%v, other bits than those of EncodeText", err)
	}
	if n := len(ids[1]); n != 2 {
		t.Errorf("the empty text has %d tokens, want begin and end", n)
	}

	if x, err := m.Tokenize(ctx, strings.Repeat("cat ", 100), true); err != nil || len(x) != 77 || x[76] != ids[1][1] {
		t.Errorf("%d tokens, %v, want 77 with the end", len(x), err)
	}
	for name, c := range map[string]struct {
		err  error
		kind error
	}{
		"no fit":      {second(m.Prepare(ctx, pictures[0], clipvit.Choice{Fit: "round"})), clip.ErrRequest},
		"no picture":  {second(m.Prepare(ctx, clip.Bytes("x", []byte("text")), clipvit.Choice{})), clip.ErrImage},
		"no pictures": {second(m.EncodePrepared(ctx, clipvit.Features{Kind: clipvit.Embedding})), clip.ErrRequest},
		"no layer":    {second(m.EncodePrepared(ctx, clipvit.Features{Kind: clipvit.Patches, Layer: 7}, x)), clip.ErrRequest},
		"no texts":    {second(m.EncodeTokens(ctx)), clip.ErrRequest},
		"long":        {second(m.Tokenize(ctx, strings.Repeat("cat ", 100), false)), clip.ErrText},
		"no tower":    {second(clip.New(v, nil, nil).Tokenize(ctx, "a cat", false)), clip.ErrNoText},
	} {
		if !errors.Is(c.err, c.kind) {
			t.Errorf("%s: %v, want %v", name, c.err, c.kind)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTogether(t *testing.T) {
	for _, c := range []struct {
		lengths []int
		batch   int
		want    int
	}{
		{nil, 0, 0},
		{[]int{7}, 0, 1},
		{[]int{7, 7, 7}, 2, 2},
		{slices.Repeat([]int{8}, 200), 0, 100}, // 800 tokens
		{append(slices.Repeat([]int{8}, 60), 77, 77), 0, 60},           // more than half full
		{append(slices.Repeat([]int{8}, 4), 77, 77), 0, 6},             // 11 of 77 tokens are full
		{append(slices.Repeat([]int{8}, 8), 77, 77, 77, 77), 0, 8},     // more than half of 11
		{append(slices.Repeat([]int{77}, 12), 78), 0, (800 + 76) / 77}, // full
	} {
		if got := clip.Together(c.lengths, c.batch); got != c.want {
			t.Errorf("%d texts, batch %d: %d together, want %d", len(c.lengths), c.batch, got, c.want)
		}
	}
}

// TestSpaceOf: normalised embeddings have the fingerprint of Space, and whatever differs has another.
func TestSpaceOf(t *testing.T) {
	v, w := towers(t, 1)
	m := clip.New(v, w, cliptext.NewOpenAI(cliptext.OpenAI))
	ctx := t.Context()
	space, err := m.Space(ctx)
	if err != nil {
		t.Fatal(err)
	}
	vision, err := m.VisionFingerprint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	at := func(of clip.Vectors) string {
		t.Helper()
		s, err := m.SpaceOf(ctx, vision, of)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := m.SpaceOf(ctx, "", of); err != nil || again != s {
			t.Errorf("%+v: %v, %v, want the same without the fingerprint of the tower", of, again, err)
		}
		return s.Fingerprint()
	}
	if got := at(clip.Vectors{Normalized: true}); got != space.Fingerprint() {
		t.Errorf("fingerprint %s, want %s of Space", got, space.Fingerprint())
	}
	seen := map[string]clip.Vectors{}
	for _, of := range []clip.Vectors{
		{Normalized: true},
		{},
		{Normalized: true, Dim: 4},
		{Normalized: true, Preprocess: clipvit.Choice{Preset: "immich"}},
		{Normalized: true, Preprocess: clipvit.Choice{Fit: clipvit.FitSquash}},
		{Normalized: true, Features: clipvit.Features{Kind: clipvit.PostNorm}},
		{Normalized: true, Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}},
		{Normalized: true, Features: clipvit.Features{Kind: clipvit.Patches}},
		{Normalized: true, Features: clipvit.Features{Kind: clipvit.ClassToken}},
	} {
		f := at(of)
		if before, twice := seen[f]; twice {
			t.Errorf("%+v and %+v have one fingerprint", before, of)
		}
		seen[f] = of
	}
	for _, same := range [][2]clip.Vectors{
		{{}, {Features: clipvit.Features{Kind: clipvit.Embedding}}},
		{{}, {Preprocess: clipvit.Choice{Preset: "open_clip"}}}, // by the rules of the model
		{{Features: clipvit.Features{Kind: clipvit.Patches, Layer: -1}}, {Features: clipvit.Features{Kind: clipvit.Patches, Layer: 1}}},
		{{}, {Dim: 8}},
	} {
		if at(same[0]) != at(same[1]) {
			t.Errorf("%+v and %+v have two fingerprints, want one", same[0], same[1])
		}
	}
	for _, of := range []clip.Vectors{{Dim: 9}, {Dim: -1}, {Features: clipvit.Features{Kind: "x"}}, {Preprocess: clipvit.Choice{Preset: "x"}}} {
		if _, err := m.SpaceOf(ctx, vision, of); !errors.Is(err, clip.ErrRequest) {
			t.Errorf("%+v: %v, want ErrRequest", of, err)
		}
	}
}
