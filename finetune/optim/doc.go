// Package optim makes parameters of spago models learn from their gradients: AdamW and SGD as PyTorch
// computes them, clipping, schedules of the rate, decay of the rate by layer, and averages of weights.
//
// One step of training, for groups of parameters, a schedule and step counting from 0:
//
//	ag.Backward(loss)                       // as often as there are micro-batches
//	optim.ScaleGradients(groups, 1/batches) // their mean, if there is more than one
//	norm := optim.ClipGradNorm(groups, 1)
//	err := optimizer.Step(schedule(step))   // ClipStep is these three in fewer passes over memory
//	optimizer.ZeroGrad()
//	ema.Update(0.9998)
//
// As in PyTorch, a parameter without a gradient is passed over: it is neither moved nor decayed, and
// keeps its own count of steps. Values are float32, and so is what the optimisers keep of them. All work
// is shared among the processors; results do not depend on how many there are. Nothing here may run
// beside another use of the same parameters.
package optim
