package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vitago/vitago/shard/store"
)

// ErrFault is what a [Faulty] store gives when it was told to fail.
var ErrFault = errors.New("storetest: a fault that was asked for")

// Faulty returns a store that fails a share of its calls, each of them at random before it did anything, or after it did all: an
// answer that is lost. What it reads breaks off in the middle with that share too.
func Faulty(s store.Store, seed uint64, share float64) store.Store {
	return &faulty{Store: s, dice: newDice(seed), share: share}
}

type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64) *dice { return &dice{r: rand.New(rand.NewPCG(seed, 0))} }

func (d *dice) float() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.Float64()
}

type faulty struct {
	store.Store
	dice  *dice
	share float64
}

// call does what a call does, or fails before it or behind it.
func (f *faulty) call(do func() error) error {
	x := f.dice.float()
	if x < f.share/2 {
		return fmt.Errorf("%w, before", ErrFault)
	}
	if err := do(); err != nil {
		return err
	}
	if x < f.share {
		return fmt.Errorf("%w, behind", ErrFault)
	}
	return nil
}

func (f *faulty) Open(ctx context.Context, name string, offset, length int64) (r store.Reader, err error) {
	if f.dice.float() < f.share {
		return nil, fmt.Errorf("%w: open", ErrFault)
	}
	r, err = f.Store.Open(ctx, name, offset, length)
	if err == nil && f.dice.float() < f.share {
		r = &cut{r, int64(f.dice.float() * float64(r.Info().Size))}
	}
	return r, err
}

// cut is a reader that fails after some bytes.
type cut struct {
	store.Reader
	left int64
}

func (c *cut) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("%w: read", ErrFault)
	}
	n, err := c.Reader.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

func (f *faulty) Stat(ctx context.Context, name string) (i store.Info, err error) {
	err = f.call(func() error { i, err = f.Store.Stat(ctx, name); return err })
	return i, err
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for i, err := range f.Store.List(ctx, prefix) {
			if f.dice.float() < f.share/10 { // of each item
				yield(store.Info{}, fmt.Errorf("%w: list", ErrFault))
				return
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func (f *faulty) Put(ctx context.Context, name string, content io.ReadSeeker, size int64, o store.PutOptions) error {
	return f.call(func() error { return f.Store.Put(ctx, name, content, size, o) })
}

func (f *faulty) Rename(ctx context.Context, from, to string) error {
	return f.call(func() error { return f.Store.Rename(ctx, from, to) })
}

func (f *faulty) Delete(ctx context.Context, name string) error {
	return f.call(func() error { return f.Store.Delete(ctx, name) })
}

// A Fault is what can happen to a request of HTTP.
type Fault int

const (
	None       Fault = iota // the request is answered
	Error500                // the answer is InternalError
	Error503                // the answer is SlowDown
	Reset                   // the connection is closed before the request was carried out
	LostAnswer              // and behind that
	Cut                     // half of the answer's body comes
	Slow                    // the answer comes a piece at a time
	Stall                   // half of the body comes, and then nothing until the client gives up
	OtherTag                // the answer has another ETag
)

// A Plan says what happens to a request.
type Plan func(r *http.Request) Fault

// Random gives a share of the requests one of the faults.
func Random(seed uint64, share float64, faults ...Fault) Plan {
	d := newDice(seed)
	return func(*http.Request) Fault {
		if d.float() >= share {
			return None
		}
		return faults[int(d.float()*float64(len(faults)))]
	}
}

// Each gives the requests of a method one fault after the other, and none to all behind them.
func Each(method string, faults ...Fault) Plan {
	var n atomic.Int64
	return func(r *http.Request) Fault {
		if r.Method != method {
			return None
		}
		if i := n.Add(1) - 1; i < int64(len(faults)) {
			return faults[i]
		}
		return None
	}
}

// FaultyHandler answers as next does, but for the requests that a plan gives a fault.
func FaultyHandler(next http.Handler, plan Plan) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := plan(r)
		switch fault {
		case None:
			next.ServeHTTP(w, r)
			return
		case Error500, Error503:
			_, _ = io.Copy(io.Discard, r.Body)
			code, status := "InternalError", http.StatusInternalServerError
			if fault == Error503 {
				code, status = "SlowDown", http.StatusServiceUnavailable
			}
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			if r.Method != http.MethodHead {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>a fault that was asked for</Message></Error>", code)
			}
			return
		case Reset:
			panic(http.ErrAbortHandler)
		}
		a := &answer{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(a, r)
		if fault == LostAnswer {
			panic(http.ErrAbortHandler)
		}
		body := a.body.Bytes()
		maps.Copy(w.Header(), a.header)
		if fault == OtherTag && w.Header().Get("ETag") != "" {
			w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		}
		if w.Header().Get("Content-Length") == "" && r.Method != http.MethodHead {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.WriteHeader(a.status)
		flush := func() { _ = http.NewResponseController(w).Flush() }
		switch {
		case fault == Slow:
			for i := 0; i < len(body); i += max(1, len(body)/4) {
				_, _ = w.Write(body[i:min(len(body), i+max(1, len(body)/4))])
				flush()
				time.Sleep(time.Millisecond)
			}
		case (fault == Cut || fault == Stall) && len(body) > 0:
			_, _ = w.Write(body[:len(body)/2])
			flush()
			if fault == Stall {
				<-r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		default:
			_, _ = w.Write(body)
		}
	})
}

// answer holds an answer back.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

// send gives the answer away.
func (a *answer) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}
