package kernel

import "syscall"

// yield lets another thread run that waits for this processor, of whatever process.
func yield() { syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
