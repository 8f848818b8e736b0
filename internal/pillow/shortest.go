package pillow

// ShortestEdge returns the size that a picture of width by height has when its shorter side becomes
// size; the longer one is cut to an integer, not rounded.
// Source: torchvision 0.24.1, transforms/functional.py, _compute_resized_output_size.
func ShortestEdge(width, height, size int) (int, int) {
	if width <= 0 || height <= 0 {
		return size, size
	}
	long := func(long, short int) int { return int(float64(size) * float64(long) / float64(short)) }
	if width <= height {
		return size, long(height, width)
	}
	return long(width, height), size
}
