package clip_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	small "github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/tiny"
)

// settled waits until no more goroutines run than before.
func settled(t *testing.T, before int) {
	t.Helper()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d goroutines run, %d did before", runtime.NumGoroutine(), before)
}

// TestCancelBlocks: when a context ends, the block that is being computed is the last, also of what goes on in the background. What is
// encoded afterwards has the same bits.
func TestCancelBlocks(t *testing.T) {
	m, err := small.Open()
	if err != nil {
		t.Fatal(err)
	}
	vision, err := m.Vision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Text(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pictures := small.Pictures()
	for len(pictures) <= transformer.Part(vision.Config.Tokens()) { // more than go through the tower at once
		pictures = append(pictures, pictures...)
	}
	texts := []string{"a red circle", "a blue square"}
	var prepared []*clip.Prepared
	for _, p := range pictures {
		x, err := m.Prepare(t.Context(), p, clipvit.Choice{})
		if err != nil {
			t.Fatal(err)
		}
		prepared = append(prepared, x)
	}
	var tokens [][]int
	for _, s := range texts {
		ids, err := m.Tokenize(t.Context(), s, false)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, ids)
	}
	// Blocks are watched from the start: what goes on in the background may read them whenever it likes.
	var hook atomic.Pointer[func(block int)] // is told of each block that is computed
	for _, blocks := range []transformer.Blocks{vision.Blocks, text.Blocks} {
		for i, b := range blocks {
			weight := *b.Norm1.W
			b.Norm1.W = &weight
			tiny.Watch(b.Norm1.W, func() {
				if f := hook.Load(); f != nil {
					(*f)(i)
				}
			})
		}
	}
	wrong := errors.New("wrong")
	of := func(f clipvit.Features) func(context.Context) ([][]float32, error) {
		return func(ctx context.Context) ([][]float32, error) { return m.Features(ctx, f, pictures...) }
	}
	for name, c := range map[string]struct {
		blocks transformer.Blocks
		do     func(ctx context.Context) ([][]float32, error)
	}{
		"Encode":   {vision.Blocks, func(ctx context.Context) ([][]float32, error) { return m.Encode(ctx, pictures...) }},
		"patches":  {vision.Blocks, of(clipvit.Features{Kind: clipvit.Patches, Layer: -1})},
		"postnorm": {vision.Blocks, of(clipvit.Features{Kind: clipvit.PostNorm})},
		"Stream": {vision.Blocks, func(ctx context.Context) (all [][]float32, err error) {
			for e, err := range m.Stream(ctx, slices.Values(pictures), clip.StreamOptions{}) {
				if err != nil {
					return nil, err
				}
				all = append(all, e.Vector)
			}
			return all, nil
		}},
		"EncodePrepared": {vision.Blocks, func(ctx context.Context) ([][]float32, error) {
			return m.EncodePrepared(ctx, clipvit.Features{Kind: clipvit.Embedding}, prepared...)
		}},
		"EncodeTokens": {text.Blocks, func(ctx context.Context) ([][]float32, error) { return m.EncodeTokens(ctx, tokens...) }},
		"EncodeText":   {text.Blocks, func(ctx context.Context) ([][]float32, error) { return m.EncodeText(ctx, texts) }},
	} {
		want, err := c.do(t.Context()) // starts what stays, and is what comes out of a whole pass
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		before := runtime.NumGoroutine()
		const last = 1 // the block in which the context ends
		var seen atomic.Int64
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		f := func(block int) {
			seen.Store(max(seen.Load(), int64(block)))
			if block == last {
				cancel(wrong)
			}
		}
		hook.Store(&f)
		if _, err := c.do(ctx); err != wrong { //nolint:errorlint // the cause itself
			t.Errorf("%s: error is %v, want the cause of the end", name, err)
		}
		settled(t, before)
		if n := seen.Load(); n != last || len(c.blocks) < last+2 {
			t.Errorf("%s: block %d of %d was computed after the context had ended in block %d", name, n, len(c.blocks), last)
		}
		hook.Store(nil)
		got, err := c.do(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range want {
			for j, v := range want[i] {
				if math.Float32bits(got[i][j]) != math.Float32bits(v) {
					t.Fatalf("%s: %s", name, fmt.Sprintf("value %d of %d is %v after a pass that was ended, want %v", j, i, got[i][j], v))
				}
			}
		}
	}
}
