package notebook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// An Error is what a call panics with that cannot do what it was asked for. Kernels print its sentence below the cell.
type Error struct {
	Sentence string // what is wrong, and what was wanted
	Cause    error  // nil of what panicked inside
	Stack    string // of what panicked inside: a fault of this module's
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Sentence }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Try calls f and returns the [Error] of a call in it, or nil. Other panics go on.
func Try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	f()
	return nil
}

// failf ends a call with a sentence.
func failf(format string, args ...any) {
	panic(&Error{Sentence: fmt.Sprintf(format, args...)})
}

// prefixes are names of packages at the beginning of an error, which help who programs with them.
var prefixes = regexp.MustCompile(`^(?:(?:clip|clipvit|cliptext|converter|checkpoint|compare|zeroshot|search|explain|finetune|job|probe|data|adapter|projector|pillow|folder|sheet|builtin|demo|embeddings): )+`)

// sentence says an error as a person reads it.
func sentence(err error) string { return prefixes.ReplaceAllString(err.Error(), "") }

// interrupts are signals that end a call. Tests send them by hand.
var interrupts = func(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, os.Interrupt)
	return func() { signal.Stop(c) }
}

// errInterrupted is the cause of the context of a call that an interrupt ends.
var errInterrupted = errors.New("interrupted")

// call is the door of every call that computes: an interrupt ends ctx, what is slow says how far it is, and whatever goes wrong is
// an [Error].
func call(doing string, f func(ctx context.Context, p *progress) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	stop := interrupts(signals)
	defer stop()
	go func() {
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	p := startProgress(doing)
	err := guarded(func() error { return f(ctx, p) })
	p.stop()
	if err == nil {
		return
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		panic(e)
	case errors.Is(context.Cause(ctx), errInterrupted):
		panic(&Error{Sentence: "interrupted while " + doing, Cause: err})
	default:
		panic(&Error{Sentence: sentence(err), Cause: err})
	}
}

// guarded makes an [Error] of a panic.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				e = &Error{Sentence: fmt.Sprintf("a fault of Vitago, not of yours: %v (please report it, with the Stack of this Error)", r), Stack: string(debug.Stack())}
			}
			err = e
		}
	}()
	return f()
}

// When progress is said. Below two seconds nobody wonders.
const (
	progressAfter = 2 * time.Second
	progressFrame = 500 * time.Millisecond
)

// A progress says on standard error how far a call is, over and over in one line, and wipes it in the end.
type progress struct {
	doing       string
	start       time.Time
	mu          sync.Mutex
	done, total int
	first       int    // where it began: not at 0 if it goes on with what was done before
	begun       bool   // whether that is known
	note        string // in the place of the counts
	shown       int    // characters
	ended       chan struct{}
	wg          sync.WaitGroup
}

func startProgress(doing string) *progress {
	p := &progress{doing: doing, start: time.Now(), ended: make(chan struct{})}
	p.wg.Go(func() {
		for wait := progressAfter; ; wait = progressFrame {
			select {
			case <-p.ended:
				return
			case <-time.After(wait):
				p.show()
			}
		}
	})
	return p
}

// set says how far it is. Any goroutine may call it.
func (p *progress) set(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun {
		p.first, p.begun = max(done-1, 0), true // the first that is heard of may be the first that is done
	}
	p.done, p.total = done, total
}

// say says it in other words.
func (p *progress) say(note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = note
}

// line is what is said after so long.
func (p *progress) line(elapsed time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.note != "":
		return p.doing + ": " + p.note
	case p.total > 0 && p.done > p.first && p.done < p.total:
		left := time.Duration(float64(elapsed) / float64(p.done-p.first) * float64(p.total-p.done))
		return fmt.Sprintf("%s: %d of %d, %v left", p.doing, p.done, p.total, left.Round(time.Second))
	case p.total > 0:
		return fmt.Sprintf("%s: %d of %d", p.doing, p.done, p.total)
	}
	return fmt.Sprintf("%s: %v", p.doing, elapsed.Round(time.Second))
}

func (p *progress) show() {
	line := p.line(time.Since(p.start))
	fmt.Fprintf(os.Stderr, "\r%-*s", p.shown, line)
	p.shown = len(line)
}

// stop ends it, and wipes the line.
func (p *progress) stop() {
	close(p.ended)
	p.wg.Wait()
	if p.shown > 0 {
		fmt.Fprintf(os.Stderr, "\r%s\r", strings.Repeat(" ", p.shown))
	}
}
