package main

import (
	"os"
	"runtime/debug"
)

// frugal has the collector run when a fifth of what is in use has become garbage, unless GOGC says otherwise. A run costs next to
// nothing here, where all large pieces are numbers without pointers, and weights lie outside the heap.
func frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(20)
	}
}
