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
