//go:build unix

package kernel

import (
	"runtime"
	"unsafe"
)

// newOffHeap returns memory for the weights of owner, outside Go's heap. Weights are most of what a program holds; in
// the heap, they would let the collector wait until as much again is garbage. The memory goes back to the system when
// owner is collected, so that its readers must keep owner alive.
func newOffHeap[T uint16 | uint32 | float32, O any](owner *O, n int) []T {
	size := n * int(unsafe.Sizeof(*new(T)))
	if size < 1<<16 {
		return make([]T, n)
	}
	b, giveBack, err := mapWeights(size)
	if err != nil {
		return make([]T, n) // Go says it better when there is no memory
	}
	runtime.AddCleanup(owner, func(giveBack func()) { giveBack() }, giveBack)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
