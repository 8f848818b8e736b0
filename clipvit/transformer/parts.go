package transformer

import (
	"runtime"
	"sync"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
	"github.com/vitago/vitago/internal/op"
)

// partTokens is how many tokens go through a frozen tower together at least: 800 rows are as fast as 1200 to half a
// percent, and what lies between the products, 43 KB a token in ViT-B, is memory and should stay in cache.
const partTokens = 800

// Part returns how many images or texts of t tokens each go through a frozen tower together.
func Part(t int) int { return (partTokens + t - 1) / t }

// leastTokens is how many tokens a part has at least where each processor takes one. With fewer, reading the weights for each
// part, and rows that fill no panel, take what is gained.
const leastTokens = 150

// InParts returns the rows of n images or texts of t tokens each, at least one. It calls f for [Part] of them at a time, one
// after the other; f returns a matrix with as many rows for each. So a large batch takes no more memory than a small one. No
// gradient flows through several parts. The first error of f ends it, and so does a panic.
//
// If there are enough of them, each processor takes a part of its own through f, and then the next, so that none waits for
// another between two products. Several goroutines then call f. All of them together have no more at a time than [Part]. When
// nothing is left for one, the workers of the kernel help the others.
func InParts(n, t int, f func(from, to int) (mat.Tensor, error)) (mat.Tensor, error) {
	starts, helpers := partition(n, t)
	p := &parts{n: n, starts: starts, f: f}
	var others sync.WaitGroup
	defer others.Wait() // also if f panics here
	for range helpers {
		others.Go(func() {
			defer func() { p.panicked(recover()) }()
			p.work()
		})
	}
	p.work()
	others.Wait()
	switch {
	case p.panic != nil:
		panic(p.panic)
	case p.err != nil:
		return nil, p.err
	}
	return p.out, nil
}

// partition returns where the parts of n inputs of t tokens begin, and n at last, and how many goroutines help the caller.
func partition(n, t int) (starts []int, helpers int) {
	most, workers := Part(t), runtime.GOMAXPROCS(0)
	each, least := most/workers, (leastTokens+t-1)/t // of a part, if each worker has one
	// With AMX, every part would split the weights into terms anew.
	if workers > 1 && each >= least && n >= workers*least && kernel.Idle() > 1 && kernel.Name() != "amx" {
		from := 0
		for ; n-from >= workers*each; from += workers * each {
			for i := range workers {
				starts = append(starts, from+i*each)
			}
		}
		if left := n - from; left >= workers*least {
			each = (left + workers - 1) / workers
		}
		for ; from < n; from += each {
			starts = append(starts, from)
		}
		return append(starts, n), kernel.Idle() - 1
	}
	for from := 0; from < n; from += most {
		starts = append(starts, from)
	}
	return append(starts, n), 0
}

// parts are those of a call of [InParts].
type parts struct {
	n      int
	starts []int // of each part, and n
	f      func(from, to int) (mat.Tensor, error)

	mu    sync.Mutex
	taken int // parts
	out   mat.Tensor
	err   error // the first
	panic any   // the first of another goroutine than the caller's
}

// work takes parts until none is left.
func (p *parts) work() {
	kernel.Enter()
	defer kernel.Leave()
	ended := false
	defer func() {
		if !ended {
			p.fail(nil) // f panics
		}
	}()
	for {
		from, to, ok := p.take()
		if !ok {
			break
		}
		y, err := p.f(from, to)
		if err != nil {
			p.fail(err)
			break
		}
		p.give(y, from, to)
	}
	ended = true
}

// take returns the next part, or false if none is left.
func (p *parts) take() (from, to int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken+1 >= len(p.starts) {
		return 0, 0, false
	}
	p.taken++
	return p.starts[p.taken-1], p.starts[p.taken], true
}

// give copies the rows y of a part to their place. If there is no other part, they are the result.
func (p *parts) give(y mat.Tensor, from, to int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to-from == p.n {
		p.out = y
		return
	}
	rows, columns := y.Shape()[0]/(to-from), y.Shape()[1] // of an input
	if p.out == nil {
		p.out = mat.NewDense[float32](mat.WithShape(p.n*rows, columns))
	}
	copy(p.out.Data().F32()[from*rows*columns:], y.Value().Data().F32())
	op.Release(p.out, y)
}

// fail lets no further part begin, and keeps the first error.
func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = len(p.starts)
	if p.err == nil {
		p.err = err
	}
}

// panicked keeps the first panic of a goroutine, or nothing if it had none.
func (p *parts) panicked(v any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.panic == nil {
		p.panic = v
	}
}
