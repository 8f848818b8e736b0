package clip

import (
	"fmt"
	"math"
)

// Normalize divides every vector by its length, in place. One whose length is zero stays so.
func Normalize(vectors ...[]float32) {
	for _, v := range vectors {
		n := math.Sqrt(dot(v, v))
		if n == 0 {
			continue // has no direction
		}
		for i, a := range v {
			v[i] = float32(float64(a) / n)
		}
	}
}

// Cosine returns the cosine of the angle between a and b, which need not be normalised: 0 if one is zero. It panics if
// they are not equally long.
func Cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("clip: cosine of vectors of %d and %d values", len(a), len(b)))
	}
	n := math.Sqrt(dot(a, a)) * math.Sqrt(dot(b, b))
	if n == 0 {
		return 0
	}
	return dot(a, b) / n
}

func dot(a, b []float32) (sum float64) {
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
