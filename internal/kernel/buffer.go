package kernel

import (
	"math/bits"
	"sync"
)

// buffers holds recycled scratch memory by size: buffers[i] has slices of capacity 1<<i.
var buffers [40]sync.Pool

// Get returns n floats of scratch memory with any content. Put gives them back.
func Get(n int) []float32 {
	if n == 0 {
		return nil
	}
	class := bits.Len(uint(n - 1))
	if p, ok := buffers[class].Get().(*[]float32); ok {
		return (*p)[:n]
	}
	return make([]float32, n, 1<<class)
}

// Put gives memory from [Get] back; the caller must not use it again. Other slices are left to
// the garbage collector.
func Put(x []float32) {
	c := cap(x)
	if c == 0 || c&(c-1) != 0 {
		return
	}
	x = x[:0]
	buffers[bits.Len(uint(c-1))].Put(&x)
}
