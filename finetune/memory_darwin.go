package finetune

import "golang.org/x/sys/unix"

// physicalMemory returns how many bytes of memory the machine has, or 0 if nobody says.
func physicalMemory() int64 {
	n, _ := unix.SysctlUint64("hw.memsize")
	return int64(n)
}

// peakMemory returns how many bytes the process has taken at most, or 0 if nobody says.
func peakMemory() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return int64(u.Maxrss)
}
