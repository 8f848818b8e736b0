package finetune

import "golang.org/x/sys/unix"

// physicalMemory returns how many bytes of memory the machine has, or 0 if nobody says.
func physicalMemory() int64 {
	n, _ := unix.SysctlUint64("hw.memsize")
	return int64(n)
}
