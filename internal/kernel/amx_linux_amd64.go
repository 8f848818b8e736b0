//go:build !purego

package kernel

import (
	"syscall"
	"unsafe"
)

// allowAMX asks Linux, 5.16 or later, for the tile registers, which a process may not touch without permission. It
// returns false if there are none, or if a thread's signal stack has no room for them.
//
// Source: the Linux kernel, Documentation/arch/x86/xstate.rst.
func allowAMX() bool {
	const (
		request, get = 0x1023, 0x1022 // ARCH_REQ_XCOMP_PERM, ARCH_GET_XCOMP_PERM
		tileData     = 18             // the number of the state component
	)
	if _, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, request, tileData, 0); err != 0 {
		return false
	}
	var allowed uint64
	_, _, err := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, get, uintptr(unsafe.Pointer(&allowed)), 0)
	return err == 0 && allowed>>tileData&1 == 1
}
