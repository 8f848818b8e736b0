package kernel

import (
	"math/bits"
	"sync"
)

// buffers holds recycled scratch memory by size class.
var buffers [4 * 40]sync.Pool

// classOf returns the class of the smallest buffers with n floats, and their size. There are four
// classes from one power of two to the next, so that at most a fifth of a buffer is not used.
func classOf(n int) (class, size int) {
	if n <= 8 {
		return 0, 8
	}
	shift := bits.Len(uint(n-1)) - 3 // n-1 is 1xx in units of 1<<shift
	quarters := (n-1)>>shift + 1     // 5 to 8
	return 4*shift + quarters - 8, quarters << shift
}

// Get returns n floats of scratch memory with any content. [Put] gives them back.
func Get(n int) []float32 {
	class, size := classOf(n)
	if p, ok := buffers[class].Get().(*[]float32); ok {
		return (*p)[:n]
	}
	return make([]float32, n, size)
}

// Put gives memory from [Get] back; nobody may use it any more. Memory from elsewhere is mostly
// told by its capacity, and left to the garbage collector.
func Put(x []float32) {
	c := cap(x)
	if class, size := classOf(c); size == c {
		x = x[:0]
		buffers[class].Put(&x)
	}
}
