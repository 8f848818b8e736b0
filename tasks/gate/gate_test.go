package gate

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/png"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEnter(t *testing.T) {
	const places = 3
	g := New("x", places)
	var inside, most atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			leave, err := g.Enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			most.Store(max(most.Load(), inside.Add(1)))
			time.Sleep(time.Millisecond)
			inside.Add(-1)
		})
	}
	all.Wait()
	if n := most.Load(); n > places || g.Inside() != 0 {
		t.Errorf("%d at a time, want at most %d; %d are left inside", n, places, g.Inside())
	}

	for range places {
		if _, err := g.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if leave, err := g.Enter(brief); !errors.Is(err, context.DeadlineExceeded) || leave != nil {
		t.Errorf("a full gate: error is %v, want %v", err, context.DeadlineExceeded)
	}
	g = New("x", 1)
	for range 20 { // although there is a place
		if _, err := g.Enter(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("an ended context: error is %v, want %v", err, context.DeadlineExceeded)
		}
	}
}

func TestDecode(t *testing.T) {
	var file bytes.Buffer
	if err := png.Encode(&file, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	g := New("x", 1)
	img, leave, err := g.Decode(t.Context(), file.Bytes())
	if err != nil || img.Bounds().Dx() != 3 || g.Inside() != 1 {
		t.Fatalf("got %v, %v, %d inside", img, err, g.Inside())
	}
	leave()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		file []byte
		want error
		text string
	}{
		{t.Context(), nil, ErrImage, "x: not a readable image: empty file"},
		{t.Context(), make([]byte, MaxImageBytes+1), ErrImageTooLarge, "x: image too large: 67108865 bytes, want at most 67108864"},
		{ended, make([]byte, MaxImageBytes+1), ErrImageTooLarge, "x: "}, // without waiting
		{ended, file.Bytes(), context.Canceled, "context canceled"},
	} {
		img, leave, err := g.Decode(c.ctx, c.file)
		if !errors.Is(err, c.want) || !bytes.HasPrefix([]byte(err.Error()), []byte(c.text)) || img != nil || leave != nil {
			t.Errorf("%d bytes: error is %v, want %v", len(c.file), err, c.want)
		}
		if g.Inside() != 0 {
			t.Errorf("%d inside, want 0", g.Inside())
		}
	}
}
