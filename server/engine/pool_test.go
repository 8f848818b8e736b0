package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
)

// until waits for what other goroutines do.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 20_000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// occupy keeps the tower of a model busy until free is called.
func occupy(t testing.TB, e *Engine, name string) (free func()) {
	t.Helper()
	in, release, err := e.acquire(context.Background(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		defer release()
		done <- e.alone(context.Background(), in, func(context.Context) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	free = sync.OnceFunc(func() {
		close(end)
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(free)
	return free
}

// inside returns how many pictures and texts of all lanes are ready for a tower.
func inside(e *Engine) (ready int) {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	for _, l := range e.pool.lanes {
		ready += l.ready
	}
	return ready
}

// waiting returns how many works are not over.
func waiting(e *Engine) int {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	return len(e.pool.all)
}

// part is how many pictures of the demo's go through its tower together.
func part(t testing.TB) int {
	t.Helper()
	n, err := model(t).Batch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A log has the sizes of batches.
type log struct {
	mu  sync.Mutex
	all []int
}

func (l *log) batch(_ string, n int, waited, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if waited < 0 || took < 0 {
		n = -1
	}
	l.all = append(l.all, n)
}

func (l *log) sizes() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// TestBatches: the pictures of many requests go through the tower together, and so do their texts; all get the bits that they have alone.
func TestBatches(t *testing.T) {
	var batches log
	e, m := start(t, Config{Hooks: Hooks{Batch: batches.batch}}), model(t)
	names := []string{"cat.png", "red-circle.png", "orange-circle.png", "blue-square.png", "gradient.png"}
	n := part(t) + 3
	free := occupy(t, e, "demo")
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() {
			file := picture(t, names[i%len(names)])
			got, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{{Image: file}}})
			if err != nil {
				t.Error(err)
				return
			}
			if want, err := m.Encode(context.Background(), clip.Bytes("", file)); err != nil || !slices.Equal(got.Vectors[0], want[0]) {
				t.Errorf("%v: other bits in a batch than alone", err)
			}
		})
	}
	until(t, "all are ready", func() bool { return inside(e) == n })
	free()
	clients.Wait()
	if got, want := batches.sizes(), []int{part(t), 3}; !slices.Equal(got, want) {
		t.Errorf("batches of %v, want %v", got, want)
	}

	texts := []string{"a red circle", "a blue square", "a circle", "a red circle and a blue square", "a green triangle"}
	batches.all = nil
	free = occupy(t, e, "demo")
	for i := range 20 {
		clients.Go(func() {
			text := texts[i%len(texts)]
			got, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{{Text: text}, {Text: "a circle"}}})
			if err != nil {
				t.Error(err)
				return
			}
			if want, err := m.EncodeText(context.Background(), []string{text, "a circle"}); err != nil || !slices.EqualFunc(got.Vectors, want, slices.Equal) {
				t.Errorf("%v: other bits in a batch than alone", err)
			}
		})
	}
	until(t, "all are ready", func() bool { return inside(e) == 40 })
	free()
	clients.Wait()
	if got := batches.sizes(); len(got) > 3 || got[0] < 8 {
		t.Errorf("batches of %v, want few of like length", got)
	}
}

// TestMaxBatch: no more go together than the operator says, and one waits for no more.
func TestMaxBatch(t *testing.T) {
	var batches log
	e := start(t, Config{MaxBatch: 2, MaxWait: -1, Hooks: Hooks{Batch: batches.batch}})
	cat := picture(t, "cat.png")
	if _, err := e.Embed(t.Context(), EmbedRequest{Items: slices.Repeat([]Item{{Image: cat}, {Text: "a red circle"}}, 8)}); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range batches.sizes() {
		if sum += n; n < 1 || n > 2 {
			t.Errorf("a batch of %d, want 1 or 2", n)
		}
	}
	if sum != 16 {
		t.Errorf("%d items in batches, want 16", sum)
	}
}

// TestWait: a batch that is not full waits for a picture that is being decoded, and for no longer than it is said.
func TestWait(t *testing.T) {
	var mu sync.Mutex
	var late []func()
	after := func(d time.Duration, f func()) func() bool {
		mu.Lock()
		defer mu.Unlock()
		if d > time.Hour || d <= 0 {
			t.Errorf("waits for %v, want at most an hour", d)
		}
		late = append(late, f)
		return func() bool { return false }
	}
	var batches log
	e, err := open(Config{Models: []Model{{Name: "demo", Path: demo.Name}}, MaxWait: time.Hour, Hooks: Hooks{Batch: batches.batch}}, after)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	in, release, err := e.acquire(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	gate := make(chan struct{})
	slow := clip.Opened("", func() (io.ReadCloser, error) {
		<-gate
		return nil, errors.New("slow")
	})
	done := make(chan error, 1)
	go func() {
		done <- e.pool.do(context.Background(), in, []*job{{source: slow, features: embedding}}, e.share(in))
	}()
	until(t, "it is being decoded", func() bool {
		e.pool.mu.Lock()
		defer e.pool.mu.Unlock()
		return len(e.pool.lanes) == 1 && e.pool.lanes[0].making == 1
	})
	quick := make(chan error, 1)
	go func() {
		_, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{{Image: picture(t, "cat.png")}}})
		quick <- err
	}()
	until(t, "the tower waits", func() bool { mu.Lock(); defer mu.Unlock(); return len(late) > 0 })
	if got := batches.sizes(); got != nil || inside(e) != 1 {
		t.Fatalf("batches of %v while one is being decoded, want none", got)
	}
	close(gate)
	if err := <-done; err == nil {
		t.Error("the slow picture has no error")
	}
	if err := <-quick; err != nil {
		t.Error(err)
	}
	if got := batches.sizes(); !slices.Equal(got, []int{1}) {
		t.Errorf("batches of %v, want the other alone", got)
	}
}

// turns sends a small request behind a large one of n items, while the tower is occupied and as many of the large one as may be are ready.
// It returns how many batches were computed until the small one was done.
func turns(t *testing.T, maxBatch, n, ready int, many, one Item) (batches int) {
	t.Helper()
	var e *Engine
	var seen []int // how many works were not over at each batch, before that itself ended one
	e = start(t, Config{MaxBatch: maxBatch, Hooks: Hooks{Batch: func(string, int, time.Duration, time.Duration) { seen = append(seen, waiting(e)) }}})
	free := occupy(t, e, "demo")
	large, small := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := e.Embed(context.Background(), EmbedRequest{Items: slices.Repeat([]Item{many}, n)})
		large <- err
	}()
	until(t, "the large one is ready", func() bool { return inside(e) == ready })
	go func() {
		_, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{one}})
		small <- err
	}()
	until(t, "both wait", func() bool { return waiting(e) == 3 }) // with who occupies the tower
	free()
	if err := errors.Join(<-small, <-large); err != nil {
		t.Fatal(err)
	}
	return slices.Index(seen, 1)
}

// TestTurns: a request of many pictures does not keep a single one waiting until it is done.
func TestTurns(t *testing.T) {
	cat := Item{Image: picture(t, "cat.png")}
	n := part(t)
	if got := turns(t, 0, 8*n, ahead*n, cat, cat); got < 1 || got > ahead+1 {
		t.Errorf("the small request was answered after %d batches, want at most %d", got, ahead+1)
	}
}

// TestTextsTurns: the same of texts.
func TestTextsTurns(t *testing.T) {
	if got := turns(t, 4, 64, 64, Item{Text: "a red circle"}, Item{Text: "a red circle and a blue square"}); got < 1 || got > 2 {
		t.Errorf("the small request was answered after %d batches, want at most 2", got)
	}
}

// TestCancel: what nobody waits for leaves the queue before it is computed, and holds nobody else.
func TestCancel(t *testing.T) {
	step := make(chan int)
	e := start(t, Config{Hooks: Hooks{Batch: func(_ string, n int, _, _ time.Duration) { step <- n }}})
	free := occupy(t, e, "demo")
	cat := picture(t, "cat.png")
	cause := errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := e.Embed(ctx, EmbedRequest{Items: append(slices.Repeat([]Item{{Image: cat}}, 4*part(t)), Item{Text: "a red circle"})})
		gone <- err
	}()
	until(t, "it is ready", func() bool { return inside(e) == ahead*part(t)+1 })
	cancel(cause)
	if err := <-gone; !errors.Is(err, cause) { // while the tower is occupied
		t.Errorf("got %v, want the cause", err)
	}
	if n, s := inside(e), e.Stats(); n != 0 || s.Items != 0 || waiting(e) != 1 {
		t.Errorf("%d are still ready, %+v, %d works", n, s, waiting(e))
	}
	// One of two in a batch goes when that has been computed, and the other gets its vector.
	ctx, cancel = context.WithCancelCause(t.Context())
	stays := make(chan error, 1)
	go func() {
		_, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}}})
		gone <- err
	}()
	go func() {
		_, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{{Image: cat}}})
		stays <- err
	}()
	until(t, "both are ready", func() bool { return inside(e) == 2 })
	free()
	until(t, "both are in the tower", func() bool { return inside(e) == 0 && e.Stats().Computing == 2 })
	cancel(cause)
	if err := <-gone; !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	if n := <-step; n != 2 {
		t.Errorf("a batch of %d, want 2", n)
	}
	if err := <-stays; err != nil {
		t.Error(err)
	}
	// A context that has ended is no request.
	if _, err := e.Embed(ctx, EmbedRequest{Items: []Item{{Image: cat}}}); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	late, end := context.WithTimeout(t.Context(), 0)
	defer end()
	if _, err := e.Embed(late, EmbedRequest{Items: []Item{{Image: cat}}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

// TestGone: a batch of which nobody waits any more is told so.
func TestGone(t *testing.T) {
	e := start(t, Config{})
	in, release, err := e.acquire(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	begun, told := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- e.alone(ctx, in, func(ctx context.Context) error {
			close(begun)
			<-ctx.Done()
			close(told)
			return ctx.Err()
		})
	}()
	<-begun
	cancel()
	<-told
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

// TestPanic: a mistake of the program ends one request, and is told.
func TestPanic(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	e := start(t, Config{Hooks: Hooks{Panic: func(v any, stack []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(v, " ", len(stack) > 0))
	}}})
	in, release, err := e.acquire(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := e.alone(t.Context(), in, func(context.Context) error { panic("in the tower") }); err == nil {
		t.Error("no error of a panic in a batch")
	}
	bad := clip.Opened("", func() (io.ReadCloser, error) { panic("in the decoder") })
	good := clip.Bytes("", picture(t, "cat.png"))
	err = e.pool.do(t.Context(), in, []*job{{source: good, features: embedding}, {index: 1, source: bad, features: embedding}}, e.share(in))
	if at := (*ItemError)(nil); !errors.As(err, &at) || at.Index != 1 {
		t.Errorf("got %v, want an error of the second picture", err)
	}
	if want := []string{"in the tower true", "in the decoder true"}; !slices.Equal(seen, want) {
		t.Errorf("told of %q, want %q", seen, want)
	}
	if _, err := e.Embed(t.Context(), EmbedRequest{Items: []Item{{Text: "a red circle"}}}); err != nil {
		t.Error(err)
	}
}

// TestQueue: what is too much is refused at once, before it costs anything, or waits where that is wanted.
func TestQueue(t *testing.T) {
	e := start(t, Config{QueueItems: 4, QueueBytes: 1000, Limits: Limits{ImageBytes: 1000}})
	cat := Item{Text: "a red circle"}
	free := occupy(t, e, "demo")
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			if _, err := e.Embed(context.Background(), EmbedRequest{Items: []Item{cat}}); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "the queue is full", func() bool { return e.Stats().Items == 4 })
	if _, err := e.Embed(t.Context(), EmbedRequest{Items: []Item{cat}}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if leave, err := e.Reserve(t.Context(), 10); leave != nil || !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if d := e.RetryAfter(); d < time.Second || d > time.Minute {
		t.Errorf("retry after %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error, 2)
	for _, ctx := range []context.Context{ctx, context.Background()} {
		go func() {
			_, err := e.Embed(ctx, EmbedRequest{Items: []Item{cat}, Wait: true})
			waits <- err
		}()
	}
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	free()
	if err := <-waits; err != nil {
		t.Errorf("who waited for room: %v", err)
	}
	clients.Wait()

	if s := e.Stats(); s.Items != 0 || s.Requests != 0 || s.Bytes != 0 {
		t.Fatalf("%+v, want nothing", s)
	}
	leave, err := e.Reserve(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Reserve(t.Context(), 401); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if _, err := e.Reserve(t.Context(), 1001); !errors.Is(err, clip.ErrTooLarge) || errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrTooLarge, since it will never fit", err)
	}
	other, err := e.Reserve(t.Context(), 400)
	if err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); s.Requests != 2 || s.Bytes != 1000 {
		t.Errorf("%+v, want 2 requests of 1000 bytes", s)
	}
	if _, err := e.ReserveBytes(t.Context(), 1, false); !errors.Is(err, ErrBusy) {
		t.Errorf("more bytes: got %v, want ErrBusy", err)
	}
	if _, err := e.ReserveBytes(t.Context(), 1001, true); !errors.Is(err, clip.ErrTooLarge) {
		t.Errorf("more bytes: got %v, want ErrTooLarge, since they will never fit", err)
	}
	got := make(chan func(), 1)
	go func() {
		leave, err := e.ReserveBytes(t.Context(), 500, true)
		if err != nil {
			t.Error(err)
		}
		got <- leave
	}()
	short, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := e.ReserveBytes(short, 500, true); !errors.Is(err, context.Canceled) {
		t.Errorf("who waits for bytes: got %v, want Canceled", err)
	}
	leave()
	leave() // once counts
	more := <-got
	if s := e.Stats(); s.Requests != 1 || s.Bytes != 900 {
		t.Errorf("%+v, want a request, and 900 bytes", s)
	}
	more()
	other()
	if s := e.Stats(); s.Requests != 0 || s.Bytes != 0 {
		t.Errorf("%+v, want nothing", s)
	}
}

// TestClose: what is under way is done, what comes is refused, and nothing is left running.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	items := []Item{{Image: picture(t, "cat.png")}, {Text: "a red circle"}}
	busy := func() (e *Engine, free func(), answer chan error) {
		e, err := New(t.Context(), Config{Models: []Model{{Name: "demo", Path: demo.Name, Preload: true}}})
		if err != nil {
			t.Fatal(err)
		}
		free, answer = occupy(t, e, "demo"), make(chan error, 1)
		go func() {
			_, err := e.Embed(context.Background(), EmbedRequest{Items: items})
			answer <- err
		}()
		until(t, "it is ready", func() bool { return inside(e) == 2 })
		return e, free, answer
	}
	closing := func(e *Engine, ctx context.Context) chan error {
		end := make(chan error, 1)
		go func() { end <- e.Close(ctx) }()
		until(t, "it is closing", func() bool { return e.Ready() != nil })
		return end
	}

	e, free, answer := busy()
	end := closing(e, context.Background())
	for what, err := range map[string]error{
		"Embed":   second(e.Embed(t.Context(), EmbedRequest{Items: items})),
		"Reserve": second(e.Reserve(t.Context(), 1)),
		"Reload":  e.Reload(t.Context(), Config{Models: []Model{{Name: "demo", Path: demo.Name}}}),
		"Ready":   e.Ready(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	free()
	if err := <-answer; err != nil {
		t.Errorf("who was under way: %v", err)
	}
	if err := <-end; err != nil {
		t.Errorf("close: %v", err)
	}

	e, free, answer = busy()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	end = closing(e, ctx)
	if err := <-answer; !errors.Is(err, ErrClosed) { // while the tower is occupied
		t.Errorf("who was under way: %v, want ErrClosed", err)
	}
	free()
	if err := <-end; !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v, want ctx's cause", err)
	}
	if err := e.Close(context.Background()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	until(t, "goroutines are at rest", func() bool { return runtime.NumGoroutine() <= before })
}
