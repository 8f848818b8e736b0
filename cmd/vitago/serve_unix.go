//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// hangups returns where SIGHUP is told from now on, which ends the process no more, and what ends that.
func hangups() (<-chan os.Signal, func()) {
	signal.Reset(syscall.SIGHUP) // by which main ends other verbs
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
