//go:build !unix

package kernel

// newBlock returns memory for the weights of owner.
func newBlock[T uint16 | uint32 | float32, O any](owner *O, n int) []T { return make([]T, n) }
