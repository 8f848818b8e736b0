// Package op holds the fused operators of the models as spago autograd functions over internal/kernel. The
// parameters live in spago's own modules. Values and gradients equal those of spago's composed operators.
//
// An operator makes no graph node if none of its operands requires a gradient: it returns a plain matrix and keeps
// nothing. The memory of results comes from a pool, and [Release] gives it back. Results of frozen models may lie in
// panels, the layout that the kernel's products read fastest; see [ToPanels].
//
// The operators keep spago's contracts:
//
//   - An error from Forward or Backward would end the process. Shapes are checked before, with a panic of *[ShapeError].
//   - Backward calls AccGrad exactly once for every operand that requires a gradient.
//   - AccGrad clones the first gradient, unless it may keep the matrix itself; gradients come from the pool.
//   - Operators run synchronously, since kernels use all processors themselves.
package op
