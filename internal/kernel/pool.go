package kernel

import (
	"math/bits"
	"sync"
)

// buffers are the memory that [Put] took back, by size class.
var buffers [4 * 40]sync.Pool

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
	most := class
	if n >= large {
		most += 4
	}
	if p, ok := buffers[class].Get().(*[]float32); ok {
		return (*p)[:n]
	}
	for c := most; c > class; c-- { // the largest, and leaves others for pieces that do not fit into it
		if p, ok := buffers[c].Get().(*[]float32); ok {
			return (*p)[:n]
		}
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
	if class, size := classOf(c); size == c {
		x = x[:0]
		buffers[class].Put(&x)
	}
}
