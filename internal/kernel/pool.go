package kernel

import (
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// classes is how many size classes there are.
const classes = 4 * 40

// buffers are the small pieces that [Put] took back, by size class. The large ones are in shelves: a [sync.Pool] keeps some for
// each processor, where no other finds them, so that a tower whose goroutines wander holds twice what it uses.
var (
	buffers [classes]sync.Pool
	shelves shelf
)

// shared is from how many floats on a piece is large: 256 KB.
const shared = 1 << 16

// A shelf holds large pieces for all processors.
type shelf struct {
	mu      sync.Mutex
	pieces  [classes][]piece // the last put back is the last, and is taken first
	watched bool             // the collector is
}

type piece struct {
	x     []float32
	since time.Time // it lies here
	seen  bool      // by a run of the collector
}

// idle is how long a piece lies unused before the second run of the collector lets it go.
const idle = time.Second

func (s *shelf) put(class int, x []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pieces[class] = append(s.pieces[class], piece{x: x, since: time.Now()})
	if !s.watched {
		s.watched = true
		s.watch()
	}
}

// take returns a piece of a class or, of many floats, of a larger one. It returns nil if there is none.
func (s *shelf) take(class, n int) []float32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.last(class); x != nil || n < large {
		return x
	}
	for c := min(class+4, classes-1); c > class; c-- { // the largest, and leaves others for pieces that do not fit into it
		if x := s.last(c); x != nil {
			return x
		}
	}
	return nil
}

func (s *shelf) last(class int) []float32 {
	n := len(s.pieces[class])
	if n == 0 {
		return nil
	}
	x := s.pieces[class][n-1].x
	s.pieces[class][n-1] = piece{}
	s.pieces[class] = s.pieces[class][:n-1]
	return x
}

// tidy lets go of what has lain idle since the run of the collector before.
func (s *shelf) tidy(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, all := range s.pieces {
		s.pieces[c] = slices.DeleteFunc(all, func(p piece) bool { return p.seen && now.Sub(p.since) > idle })
		for i := range s.pieces[c] {
			s.pieces[c][i].seen = true
		}
	}
}

// Drain lets go of all large pieces that lie unused, without waiting until they have been idle. The collector takes them.
func Drain() {
	shelves.mu.Lock()
	defer shelves.mu.Unlock()
	shelves.pieces = [classes][]piece{}
}

// watch calls tidy after every run of the collector: an object that nobody holds is finalized then.
func (s *shelf) watch() {
	runtime.SetFinalizer(&struct{ s *shelf }{s}, func(o *struct{ s *shelf }) {
		o.s.tidy(time.Now())
		o.s.watch()
	})
}

// classOf returns the class of the smallest buffers with room for n floats, and their size. There are four classes
// between two powers of two, so that at most a fifth of a buffer is unused.
func classOf(n int) (class, size int) {
	if n <= 8 {
		return 0, 8
	}
	shift := bits.Len(uint(n-1)) - 3 // n-1 is 1xx in units of 1<<shift
	quarters := (n-1)>>shift + 1     // 5 to 8
	return 4*shift + quarters - 8, quarters << shift
}

// large is how many floats are worth looking for in larger buffers.
const large = 1 << 20

// Get returns n floats of scratch memory with any content. [Put] takes them back.
//
// A large piece may come from a buffer of up to twice the size. In training, what the forward pass keeps then lies
// where the gradients of the step before were.
func Get(n int) []float32 {
	x := get(n)
	if poisoned {
		poisonGet(x)
	}
	return x
}

func get(n int) []float32 {
	class, size := classOf(n)
	if size >= shared {
		if x := shelves.take(class, n); x != nil {
			return x[:n]
		}
	} else if first, ok := buffers[class].Get().(*float32); ok {
		return unsafe.Slice(first, size)[:n]
	}
	x := make([]float32, n, size)
	if poisoned {
		poisonPut(x)
	}
	return x
}

// Reserve makes memory for pieces of these sizes, which [Get] hands out later.
func Reserve(sizes []int) {
	for _, n := range sizes {
		_, size := classOf(n)
		Put(make([]float32, size))
	}
}

// Put takes memory from [Get] back; the caller must not use it any more. It leaves memory from elsewhere, which it
// tells by its capacity in most cases, to the garbage collector.
func Put(x []float32) {
	if poisoned {
		poisonPut(x)
	}
	c := cap(x)
	switch class, size := classOf(c); {
	case size != c:
	case size >= shared:
		shelves.put(class, x[:0])
	default:
		buffers[class].Put(unsafe.SliceData(x)) // the class says the rest; a slice in a pool would be an allocation
	}
}
