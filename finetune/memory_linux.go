package finetune

import (
	"bytes"
	"os"
	"strconv"
)

// physicalMemory returns how many bytes of memory there are for this process, or 0 if nobody says: those of
// the machine, or of its control group if that has fewer.
func physicalMemory() int64 {
	info, _ := os.ReadFile("/proc/meminfo")
	total := int64(0)
	for line := range bytes.Lines(info) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "MemTotal:" {
			total, _ = strconv.ParseInt(string(f[1]), 10, 64)
			total <<= 10 // kB
		}
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} { // versions 2 and 1
		text, _ := os.ReadFile(file)
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && n > 0 && n < total {
			total = n
		}
	}
	return total
}

// peakMemory returns how many bytes the process has taken at most, or 0 if nobody says. What getrusage has
// begins with those of who started the process.
func peakMemory() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range bytes.Lines(status) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "VmHWM:" {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n << 10 // kB
		}
	}
	return 0
}
