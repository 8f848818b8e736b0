package kernel

import (
	"sync"
	"syscall"
	"unsafe"
)

// mapWeights returns so many bytes, which are zero, and what gives them back to the system.
func mapWeights(size int) (b []byte, giveBack func(), err error) {
	p, err := weights.cut(size)
	return p.memory, func() { weights.giveBack(p) }, err
}

// weights is where all weights come from.
var weights arena

// An arena cuts memory from chunks that huge pages may back, where Linux has them always or for those who ask (madvise). The weights of a
// tower are some hundred matrices of one to some MB, and a text alone reads each of them once: with one mapping for each, in pages of 4 KB,
// it waits a tenth of its time for the processor to find its pages.
type arena struct {
	mu   sync.Mutex
	last *chunk // from which the next piece is cut, if there is room; or nil
}

// A chunk is mapped memory, and the pieces that were cut from it, one behind the other. It is unmapped when all of them have been given back.
type chunk struct {
	mapped []byte
	memory []byte // of mapped, from a whole huge page on
	used   int
	pieces int
}

// A pages is a piece of a chunk.
type pages struct {
	of     *chunk
	memory []byte
}

const (
	chunkSize = 32 << 20
	hugePage  = 2 << 20 // of amd64, and of arm64 with pages of 4 KB
)

// cut returns a piece of at least so many bytes, which are zero.
func (a *arena) cut(size int) (pages, error) {
	size = roundUp(size, syscall.Getpagesize())
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.last; c == nil || len(c.memory)-c.used < size {
		c, err := newChunk(max(size, chunkSize))
		if err != nil && size < chunkSize { // where address space is limited
			c, err = newChunk(size)
		}
		if err != nil {
			return pages{}, err
		}
		a.last = c
	}
	c := a.last
	p := pages{c, c.memory[c.used : c.used+size : c.used+size]}
	c.used += size
	c.pieces++
	return p, nil
}

// newChunk maps so many bytes. Of a huge page that nobody writes to, nothing is resident.
func newChunk(size int) (*chunk, error) {
	b, err := syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % hugePage)
	c := &chunk{mapped: b, memory: b[at : at+size]}
	_ = syscall.Madvise(c.memory, syscall.MADV_HUGEPAGE) // it is slower without
	return c, nil
}

// giveBack returns the memory of p. The system has it at once where p has whole huge pages, and else when it needs memory or the chunk goes.
func (a *arena) giveBack(p pages) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := p.of
	if c.pieces--; c.pieces > 0 {
		_ = syscall.Madvise(p.memory, syscall.MADV_DONTNEED) // if not, it goes with the chunk
		return
	}
	if a.last == c {
		a.last = nil
	}
	_ = syscall.Munmap(c.mapped)
}
