package optim

import "math"

// A Schedule gives the factor, 0 to 1, of the rates for the step that follows after so many: the first
// step's is that of 0.
type Schedule func(step int) float64

// Constant is
//
//	step/warmup   for step < warmup
//	1             after that
//
// Source: huggingface/transformers, src/transformers/optimization.py, get_constant_schedule_with_warmup.
func Constant(warmup int) Schedule {
	return afterWarmup(warmup, math.MaxInt, func(float64) float64 { return 1 })
}

// Cosine is
//
//	step/warmup                        for step < warmup
//	floor + (1-floor)·(1+cos(π·p))/2   with p = (step-warmup)/(total-warmup), at most 1
//
// Source: huggingface/transformers, src/transformers/optimization.py,
// get_cosine_with_min_lr_schedule_with_warmup; with floor 0, get_cosine_schedule_with_warmup. Those let
// the factor rise again after total steps.
func Cosine(warmup, total int, floor float64) Schedule {
	return afterWarmup(warmup, total, func(p float64) float64 {
		return floor + (1-floor)*(1+math.Cos(math.Pi*p))/2
	})
}

// Linear is
//
//	step/warmup   for step < warmup
//	1 - p         with p = (step-warmup)/(total-warmup), at most 1
//
// Source: huggingface/transformers, src/transformers/optimization.py, get_linear_schedule_with_warmup.
func Linear(warmup, total int) Schedule {
	return afterWarmup(warmup, total, func(p float64) float64 { return 1 - p })
}

// afterWarmup rises from 0 to 1 in warmup steps and goes on with f, whose argument rises from 0 to 1
// until total steps.
func afterWarmup(warmup, total int, f func(p float64) float64) Schedule {
	return func(step int) float64 {
		if step < warmup {
			return float64(max(0, step)) / float64(warmup)
		}
		return f(min(1, float64(step-warmup)/float64(max(1, total-warmup))))
	}
}
