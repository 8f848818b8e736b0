//go:build unix

package main

import (
	"syscall"
	"time"
)

// pause stops a server for a while.
func (c *cluster) pause(i int, d time.Duration) {
	c.must(c.cmds[i].Process.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	c.must(c.cmds[i].Process.Signal(syscall.SIGCONT))
}
