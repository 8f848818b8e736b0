package pillow

import "sync"

// recycled holds memory of pictures in the making, of which a folder of photographs takes the same sizes over and over.
var recycled sync.Pool

// get returns n bytes, which may have any value, to be written before they are read.
func get(n int) []byte {
	if b, ok := recycled.Get().(*[]byte); ok && cap(*b) >= n && cap(*b) <= 4*n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

// put takes back memory that get gave and nobody reads any more.
func put(b []byte) { recycled.Put(&b) }
