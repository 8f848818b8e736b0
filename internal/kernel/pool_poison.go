//go:build poison

package kernel

import "math"

// With the build tag poison, memory of the pool that nobody has written since is full of NaN. Who reads what he has
// not written gets NaN, and so does who reads what was handed back.
//
//	go test -tags poison ./internal/op ./clipvit/...
const poisoned = true

// Two NaNs, which no computation makes. Their upper and lower 16 bits are NaN in bfloat16 and in half precision too.
const (
	handedOut  = 0x7fe17fe1 // by Get, and not written yet
	handedBack = 0x7fe27fe2 // by Put, or fresh
)

// poisonGet marks memory of the pool as handed out. It panics if it was written after it had been handed back.
func poisonGet(x []float32) {
	x = x[:cap(x)]
	for i, v := range x {
		if math.Float32bits(v) != handedBack {
			panic("kernel: memory was written after Put")
		}
		x[i] = math.Float32frombits(handedOut)
	}
}

// poisonPut marks memory as handed back. It panics if it was already.
func poisonPut(x []float32) {
	x = x[:cap(x)]
	again := len(x) > 0
	for i, v := range x {
		again = again && math.Float32bits(v) == handedBack
		x[i] = math.Float32frombits(handedBack)
	}
	if again {
		panic("kernel: Put of memory that was handed back before")
	}
}
