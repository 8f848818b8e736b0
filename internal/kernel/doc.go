// Package kernel computes the float32, bfloat16 and int8 primitives below everything else, on plain slices: matrix products,
// attention, layer norm, softmax, activations, and their gradients.
//
// Matrices are row-major. The exported functions check lengths once and panic with a named string, since a wrong
// length is a mistake of the program. The assembly below them checks nothing. The functions use all of GOMAXPROCS when
// there is enough to do, and return when the work is done. They keep no state but recycled buffers, and many
// goroutines may call them at once.
//
// Every routine of assembly has a generic version in Go, which is its definition, its fallback and the oracle of its
// tests. Package _asm generates the assembly for AVX2, AVX-512, AMX and NEON: the tile of the matrix product, the
// transposition that packs for it, loops over rows and columns, and scans of many rows for searches. With AMX, a product of float32 is a sum of
// products of bfloat16; see amx.go. The build tag purego leaves the assembly out. docs/kernels.md draws which driver of
// products runs when.
//
// NaN and infinities propagate as IEEE 754 has it: no product is skipped because one side is 0. With AMX alone, an
// infinity may become NaN in a product.
package kernel

//go:generate go -C _asm run . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel
//go:generate go -C _asm run ./lowprec -out ../lowprec_amd64.s -stubs ../lowprec_amd64.go -pkg kernel
//go:generate go -C _asm run ./arm64 -out ../kernel_arm64.s -stubs ../kernel_arm64.go
