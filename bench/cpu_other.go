//go:build !unix

package main

import "time"

var processStart = time.Now()

// cpuSeconds returns the time since the start, in the place of what this process has computed.
func cpuSeconds() float64 { return time.Since(processStart).Seconds() }
