// Package kernel holds the float32 primitives that everything else is computed with: matrix
// products, attention, layer norm, softmax and the activations, on plain slices.
//
// Matrices are row-major. The exported functions check lengths once and panic with a named string,
// since a wrong length is a mistake of the program; the assembly below them checks nothing. They
// use all of GOMAXPROCS when there is enough to do, return when the work is done, keep no state but
// recycled buffers, and may be called by many goroutines at once.
//
// One routine of assembly per need, generated with avo from _asm, with Go drivers around it: the
// tile of the matrix product, the transposition that packs for it, and a few row-wise loops. The
// generic versions, compiled everywhere, are their definition, their fallback and the oracle of
// their tests. The build tag purego leaves the assembly out.
//
// NaN and infinities go through as IEEE 754 has them: no product is skipped because a factor is 0.
package kernel

//go:generate go -C _asm run . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel
