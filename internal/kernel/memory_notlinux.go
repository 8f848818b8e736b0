//go:build unix && !linux

package kernel

import "syscall"

// mapWeights returns so many bytes, which are zero, and what gives them back to the system.
func mapWeights(size int) (b []byte, giveBack func(), err error) {
	b, err = syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	return b, func() { _ = syscall.Munmap(b) }, err
}
