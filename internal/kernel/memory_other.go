//go:build !unix

package kernel

// newOffHeap returns memory for the weights of owner.
func newOffHeap[T uint16 | uint32 | float32, O any](owner *O, n int) []T { return make([]T, n) }
