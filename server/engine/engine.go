// Package engine is what a server computes with: models by name, loaded when they are first asked for, and one pool of compute behind a
// queue, in which the pictures and texts of many requests go through a tower together. It knows neither HTTP nor gRPC.
//
//	request ─▶ Reserve (queue of requests and bytes) ─▶ body read ─▶ Embed, Classify, … ─▶ decoded ─▶ batches across requests ─▶ tower ─▶ answer
//
// Begin with [New] and [Engine.Embed]. Whoever answers requests calls [Engine.Reserve] before it reads a body, so that what is too much is refused while it costs nothing.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	_ "github.com/vitago/vitago/demo" // which makes builtin:demo known
	"github.com/vitago/vitago/internal/plural"
)

// Config says what an engine has, and how much of it a request may use.
type Config struct {
	Models []Model // the first is taken where a request names none

	Memory int64         // bytes of weights that are loaded at a time; models that were not used longest are let go. 0 is any
	Idle   time.Duration // a model that nobody asked for so long is let go; 0 is never

	MaxBatch   int           // pictures or texts that go through a tower together; 0 lets the tower's size decide
	MaxWait    time.Duration // how long a batch that is not full waits for pictures that are being decoded; 0 is [DefaultMaxWait], less is not at all
	QueueItems int           // pictures and texts that wait or are computed, of all requests; 0 is [DefaultQueueItems]
	QueueBytes int64         // bytes of bodies that wait or are computed, of all requests; 0 is [DefaultQueueBytes]

	Limits Limits // of a request; the zero value has defaults
	Hooks  Hooks  // the zero value tells nobody
}

// A Model is one that clients may name.
type Model struct {
	Name      string         // that clients give
	Aliases   []string       // other names of the same
	Path      string         // of a directory or a checkpoint, or builtin:demo
	Precision string         // "f32", "bf16" or "int8"; "" is f32
	Prepare   clipvit.Choice // how pictures are prepared; the zero value is as the model says
	Adapters  []string       // directories that peft wrote, merged when the model is loaded
	Vocab     string         // of the tokenizer; "" is the model's own
	Index     string         // folder of a search index that the model made; "" is none
	Preload   bool           // load it before the first request
}

// Limits are what one request may ask for. Zero values are the defaults.
type Limits struct {
	ImageBytes int64 // of a picture's file; 0 is [DefaultImageBytes]
	Pixels     int64 // of a picture; 0 is [DefaultPixels]
	Items      int   // pictures and texts of a request; 0 is [DefaultItems]
	TextBytes  int   // of a text; 0 is [DefaultTextBytes]
	Values     int   // numbers of an answer of Embed, of all its vectors together; 0 is [DefaultValues]
}

// Hooks are told what an engine does, for metrics. Any may be nil; they must return at once.
type Hooks struct {
	Batch  func(model string, items int, waited, took time.Duration) // one went through a tower; waited is that of its oldest item
	Load   func(model string, took time.Duration, err error)         // a model was loaded, or could not be
	Unload func(model string)                                        // one was let go
	Panic  func(v any, stack []byte)                                 // a mistake of the program, which one batch or one picture ended with
}

// The kinds of errors that are of the engine, beside those of package clip.
var (
	// ErrBusy means that the queue is full. The request may be sent again later.
	ErrBusy = errors.New("too many requests")
	// ErrModel means that no model has that name.
	ErrModel = errors.New("no such model")
	// ErrTask means that a model cannot do what was asked for: it has no text tower, no index, no classifier or no projector.
	ErrTask = errors.New("the model cannot do that")
	// ErrClosed means that the engine is being closed.
	ErrClosed = errors.New("shutting down")
)

// An Engine has models. It may be used by many goroutines at once.
type Engine struct {
	pool  *pool
	base  context.Context // of all that outlives a request
	end   context.CancelFunc
	after func(time.Duration, func()) (stop func() bool) // time.AfterFunc, but for tests

	oneLoad sync.Mutex     // of who loads a model
	running sync.WaitGroup // what the engine does in the background

	mu      sync.Mutex
	config  Config
	entries []*entry           // in the order of the configuration
	loaded  map[*instance]bool // also those that are let go soon
	bytes   int64              // that the weights of loaded ones take, and those on their way
	room    *sync.Cond         // of who waits for bytes, of weights or of bodies

	closed   bool
	calls    int           // that are under way
	idle     chan struct{} // closed when there are none after Close
	reserved int           // requests that have a place
	body     int64         // bytes of theirs
}

// New returns an engine of a configuration, and an error with everything that is wrong with that. It loads those models that are to be
// preloaded. It must be closed in the end.
func New(ctx context.Context, c Config) (*Engine, error) {
	e, err := open(c, afterFunc)
	if err != nil {
		return nil, err
	}
	if err := e.preload(ctx); err != nil {
		return nil, errors.Join(err, e.Close(context.Background()))
	}
	return e, nil
}

func afterFunc(d time.Duration, f func()) (stop func() bool) { return time.AfterFunc(d, f).Stop }

// open returns an engine that has loaded nothing.
func open(c Config, after func(time.Duration, func()) func() bool) (*Engine, error) {
	c = c.withDefaults()
	entries, err := c.entries()
	if err != nil {
		return nil, err
	}
	e := &Engine{config: c, entries: entries, loaded: map[*instance]bool{}, idle: make(chan struct{}), after: after}
	e.base, e.end = context.WithCancel(context.Background())
	e.room = sync.NewCond(&e.mu)
	e.pool = &pool{after: after}
	e.pool.set(c)
	e.pool.start()
	return e, nil
}

// Close waits until what was asked for is done, or ctx ends: then it ends that with an [ErrClosed], and returns ctx's cause. It lets go of
// all models. Requests that come meanwhile are an [ErrClosed].
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	if e.calls == 0 {
		close(e.idle)
	}
	e.room.Broadcast()
	e.mu.Unlock()
	var err error
	select {
	case <-e.idle:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.end()
	e.pool.endAll(ErrClosed)
	e.mu.Lock()
	e.room.Broadcast()
	e.mu.Unlock()
	<-e.idle
	e.pool.close()
	e.mu.Lock()
	for in := range maps.Clone(e.loaded) {
		e.leave(in)
	}
	e.mu.Unlock()
	e.running.Wait()
	return err
}

// enter counts a call until leave.
func (e *Engine) enter(ctx context.Context) (of context.Context, leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, nil, ErrClosed
	}
	e.calls++
	of, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.base, func() { cancel(ErrClosed) })
	return of, func() {
		stop()
		cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.calls--; e.calls == 0 && e.closed {
			close(e.idle)
		}
	}, nil
}

// Ready returns nil when the engine takes requests, and else why not.
func (e *Engine) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	return nil
}

// UnknownBytes is what a body counts for whose length is not known, until there are more: see [Engine.ReserveBytes].
const UnknownBytes = 1 << 20

// Reserve takes the place of a request in the queue whose body has so many bytes, -1 if that is not known. The caller gives it back by
// leave. When there is none the error is an [ErrBusy] at once, and after Close an [ErrClosed]. A body that is larger than the whole queue is a
// [clip.ErrTooLarge].
func (e *Engine) Reserve(ctx context.Context, bytes int64) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if bytes < 0 {
		bytes = UnknownBytes
	}
	queued := e.pool.stats().Items
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &e.config
	switch {
	case e.closed:
		return nil, ErrClosed
	case bytes > c.QueueBytes:
		return nil, fmt.Errorf("engine: %w: the body has %d bytes, want at most %d", clip.ErrTooLarge, bytes, c.QueueBytes)
	case queued >= c.QueueItems || e.reserved >= c.QueueItems:
		return nil, fmt.Errorf("engine: %w: %s", ErrBusy, crowd.Of(max(queued, e.reserved)))
	case e.body+bytes > c.QueueBytes:
		return nil, fmt.Errorf("engine: %w: bodies of %d bytes wait", ErrBusy, e.body)
	}
	e.reserved++
	e.body += bytes
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.reserved--
		e.body -= bytes
		e.room.Broadcast()
	}), nil
}

// ReserveBytes takes room in the queue for more bytes of a request that has its place, or of a stream. A caller that does not know how long a
// body will be calls it as the bytes come, and gives the room back by leave. The errors are those of [Engine.Reserve]; with wait it waits for room in the place of an [ErrBusy].
func (e *Engine) ReserveBytes(ctx context.Context, bytes int64, wait bool) (leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.room.Broadcast()
	})
	defer stop()
	for {
		switch most := e.config.QueueBytes; {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case e.closed:
			return nil, ErrClosed
		case bytes > most:
			return nil, fmt.Errorf("engine: %w: %d bytes, want at most %d", clip.ErrTooLarge, bytes, most)
		case e.body+bytes <= most:
			e.body += bytes
			return sync.OnceFunc(func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.body -= bytes
				e.room.Broadcast()
			}), nil
		case !wait:
			return nil, fmt.Errorf("engine: %w: bodies of %d bytes wait", ErrBusy, e.body)
		}
		e.room.Wait()
	}
}

// RetryAfter returns how long a caller that [Engine.Reserve] refused should wait: until what is queued now is done, at the pace that was measured. It
// is at least a second and at most a minute.
func (e *Engine) RetryAfter() time.Duration {
	p := e.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := time.Duration(p.queued) * p.pace
	return min(max(wait.Round(time.Second), time.Second), time.Minute)
}

// Stats say what an engine has to do and what it has, for gauges and for who decides how many servers are wanted.
type Stats struct {
	Requests    int           // that have a place, by [Engine.Reserve]
	Bytes       int64         // of their bodies
	Items       int           // pictures and texts that wait or are computed
	Computing   int           // those of them that are in a tower
	Computed    int64         // those that ever were
	Loaded      int           // models
	LoadedBytes int64         // that their weights take, and those that are being loaded, as an estimate
	Memory      int64         // that they may take; 0 is any
	Models      []LoadedModel // those that are loaded
}

// A LoadedModel is a model that is loaded, with an estimate of its bytes.
type LoadedModel struct {
	Name  string // that clients give
	Bytes int64  // of its weights, as an estimate
	Users int    // requests that use it now
}

// Stats returns what the engine has to do now.
func (e *Engine) Stats() Stats {
	s := e.pool.stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Requests, s.Bytes, s.Loaded, s.LoadedBytes, s.Memory = e.reserved, e.body, len(e.loaded), e.bytes, e.config.Memory
	for in := range e.loaded {
		s.Models = append(s.Models, LoadedModel{in.name, in.of.bytes, in.users})
	}
	slices.SortFunc(s.Models, func(a, b LoadedModel) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Limits returns what one request may ask for, without zeros.
func (e *Engine) Limits() Limits {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config.Limits
}

// Models returns what the engine has, in the order of the configuration. It loads nothing.
func (e *Engine) Models() []Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Info, len(e.entries))
	for i, en := range e.entries {
		all[i] = en.copyInfo()
	}
	return all
}

// Info returns what [Engine.Models] has of one model, by a name that clients give; "" is the first. An unknown name is an [ErrModel].
func (e *Engine) Info(name string) (Info, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en, err := e.find(name)
	if err != nil {
		return Info{}, err
	}
	return en.copyInfo(), nil
}

// copyInfo returns what is known of a model, for callers to keep. Engine.mu is held.
func (en *entry) copyInfo() Info {
	i := en.info
	i.Aliases, i.Tasks = slices.Clone(i.Aliases), slices.Clone(i.Tasks)
	i.Loaded = en.now != nil
	return i
}

// Model returns a model as the configuration has it, by a name that clients give; "" is the first. An unknown name is an [ErrModel].
func (e *Engine) Model(name string) (Model, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	en, err := e.find(name)
	if err != nil {
		return Model{}, err
	}
	return en.Model, nil
}

// Info says of a model what is known without loading it.
type Info struct {
	Name      string    // that clients give
	Aliases   []string  // other names of the same
	Loaded    bool      // its weights are in memory now
	Dim       int       // of embeddings; 0 if it is not known
	ImageSize int       // pixels of the square that the tower sees
	Context   int       // tokens of a text at most; 0 without a text tower
	Tasks     []string  // the names of tasks that it can do, as their packages are called, and "explain" if it has maps; sorted
	Created   time.Time // when its file was last changed; zero of a model in the program
}

// crowd is what an error says of a queue that is full.
var crowd = plural.Phrase{One: "picture or text waits", Many: "pictures and texts wait"}
