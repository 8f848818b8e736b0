// Package engine is what a server computes with: models by name, loaded when they are first asked for, and one pool of compute behind a
// queue, in which the pictures and texts of many requests go through a tower together. It knows neither HTTP nor gRPC.
//
//	request ─▶ Reserve (queue of requests and bytes) ─▶ body read ─▶ Embed, Classify, … ─▶ decoded ─▶ batches across requests ─▶ tower ─▶ answer
//
// Whoever answers requests calls [Engine.Reserve] before it reads a body, so that what is too much is refused while it costs nothing.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/builtin"
)

// Config says what an engine has, and how much of it a request may use.
type Config struct {
	Models []Model // the first is taken where a request names none

	Memory int64         // bytes of weights that are loaded at a time; models that were not used longest are let go. 0 is any
	Idle   time.Duration // a model that nobody asked for so long is let go; 0 is never

	MaxBatch   int           // pictures or texts that go through a tower together; 0 lets the tower's size decide
	MaxWait    time.Duration // how long a batch that is not full waits for more; 0 is not at all while the tower has nothing to do
	QueueItems int           // pictures and texts that wait or are computed, of all requests; 0 is [DefaultQueueItems]
	QueueBytes int64         // bytes of bodies that wait or are computed, of all requests; 0 is [DefaultQueueBytes]

	Limits Limits
	Hooks  Hooks
}

// Defaults of a [Config].
const (
	DefaultQueueItems = 1024
	DefaultQueueBytes = 256 << 20
)

// A Model is one that clients may name.
type Model struct {
	Name      string   // that clients give
	Aliases   []string // other names of the same
	Path      string   // of a directory or a checkpoint, or builtin:demo
	Precision string   // "f32", "bf16" or "int8"; "" is f32
	Prepare   clipvit.Choice
	Adapters  []string // directories that peft wrote, merged when the model is loaded
	Vocab     string   // of the tokenizer; "" is the model's own
	Index     string   // folder of a search index that the model made; "" is none
	Preload   bool     // load it before the first request
}

// Limits are what one request may ask for. Zero values are the defaults.
type Limits struct {
	ImageBytes int64 // of a picture's file; 0 is 20 MiB
	Pixels     int64 // of a picture; 0 is 89,478,485, at which Pillow warns
	Items      int   // pictures and texts of a request; 0 is 256
	TextBytes  int   // of a text; 0 is 64 KiB
}

// Hooks are told what an engine does, for metrics. Any may be nil; they must return at once.
type Hooks struct {
	Batch  func(model string, items int, waited, took time.Duration) // one went through a tower; waited is that of its oldest item
	Load   func(model string, took time.Duration, err error)
	Unload func(model string)
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
	config Config

	mu     sync.Mutex
	loaded map[string]*clip.Model
}

// New returns an engine of a configuration, and an error if that makes no sense. It loads those models that are to be preloaded.
func New(ctx context.Context, c Config) (*Engine, error) {
	if len(c.Models) == 0 {
		return nil, errors.New("engine: no models")
	}
	return &Engine{config: c, loaded: map[string]*clip.Model{}}, nil
}

// Close waits until what was asked for is done, or ctx ends, and lets go of all models. Requests that come meanwhile are an [ErrClosed].
func (e *Engine) Close(ctx context.Context) error { return nil }

// Ready returns nil when the engine takes requests, and else why not.
func (e *Engine) Ready() error { return nil }

// Reserve takes the place of a request in the queue whose body has so many bytes, -1 if that is not known. The caller gives it back by
// leave. When there is none the error is an [ErrBusy] at once, and after Close an [ErrClosed].
func (e *Engine) Reserve(ctx context.Context, bytes int64) (leave func(), err error) {
	return func() {}, nil
}

// RetryAfter is for how long whom [Engine.Reserve] refused should wait, at least a second and at most a minute.
func (e *Engine) RetryAfter() time.Duration { return time.Second }

// Models returns what the engine has, in the order of the configuration. It loads nothing.
func (e *Engine) Models() []Info {
	all := make([]Info, len(e.config.Models))
	for i, m := range e.config.Models {
		all[i] = Info{Name: m.Name, Aliases: m.Aliases}
	}
	return all
}

// Info says of a model what is known without loading it.
type Info struct {
	Name      string
	Aliases   []string
	Loaded    bool
	Dim       int      // of embeddings; 0 if it is not known
	ImageSize int      // pixels of the square that the tower sees
	Context   int      // tokens of a text at most; 0 without a text tower
	Tasks     []string // the names of tasks that it can do, as their packages are called
	Created   time.Time
}

// find returns the model of a name, the first for "".
func (e *Engine) find(name string) (*Model, error) {
	for i := range e.config.Models {
		m := &e.config.Models[i]
		if name == "" || m.Name == name || slices.Contains(m.Aliases, name) {
			return m, nil
		}
	}
	return nil, fmt.Errorf("engine: model %q: %w", name, ErrModel)
}

// model returns a model that is open.
func (e *Engine) model(ctx context.Context, name string) (*clip.Model, *Model, error) {
	m, err := e.find(name)
	if err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if c, ok := e.loaded[m.Name]; ok {
		return c, m, nil
	}
	var c *clip.Model
	if _, ok := builtin.Find(m.Path); ok {
		c, err = demo.Open()
	} else {
		c, err = clip.Open(m.Path, clip.Checkpoint(converter.Prepare(m.Prepare)))
	}
	if err != nil {
		return nil, nil, err
	}
	e.loaded[m.Name] = c
	return c, m, nil
}
