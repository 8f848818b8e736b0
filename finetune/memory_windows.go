package finetune

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// physicalMemory returns how many bytes of memory the machine has, or 0 if nobody says.
func physicalMemory() int64 {
	var kilobytes uint64
	get := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetPhysicallyInstalledSystemMemory")
	if get.Find() != nil {
		return 0
	}
	if ok, _, _ := get.Call(uintptr(unsafe.Pointer(&kilobytes))); ok == 0 {
		return 0
	}
	return int64(kilobytes) << 10
}

// peakMemory returns 0: nobody says how many bytes the process has taken at most.
func peakMemory() int64 { return 0 }
