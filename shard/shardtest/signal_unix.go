//go:build unix

package shardtest

import (
	"os"
	"syscall"
)

const canPause = true

func stop(p *os.Process) error    { return p.Signal(syscall.SIGSTOP) }
func proceed(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
