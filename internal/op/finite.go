package op

import "slices"

// NotFinite returns the place of the first value that is infinite or NaN, -1 if there is none.
func NotFinite(x []float32) int {
	return slices.IndexFunc(x, func(v float32) bool { return v-v != 0 })
}
