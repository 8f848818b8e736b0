// Package op holds the fused operators of the model as spago autograd functions over
// internal/kernel. The parameters live in spago's own modules; what is computed equals spago's
// composed operators, in value and gradient.
//
// An operator none of whose operands requires a gradient computes and returns a plain matrix: no
// node of a graph is made and nothing is retained. Such results come from a pool, and [Release] gives
// them back.
//
// Contracts of spago that bind here: an error from Forward or Backward ends the process, so shapes
// are checked before, with a panic of *[ShapeError]; Backward calls AccGrad exactly once for every
// operand that requires a gradient; AccGrad clones on first use, so gradients come from the pool;
// operators run synchronously, since kernels use all processors themselves.
package op
