package kernel

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// Pieces do not overlap, begin with a page and are zero; a chunk begins with a huge page, and goes with its last piece.
func TestArena(t *testing.T) {
	var a arena
	page := syscall.Getpagesize()
	sizes := []int{1, page, page + 1, 3 << 20, chunkSize - 1<<20, 2*chunkSize + 5, 7}
	var pieces []pages
	for i, size := range sizes {
		p, err := a.cut(size)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.memory) != roundUp(size, page) || uintptr(unsafe.Pointer(&p.memory[0]))%uintptr(page) != 0 {
			t.Errorf("piece %d has %d bytes at %p, want %d at a page", i, len(p.memory), &p.memory[0], roundUp(size, page))
		}
		if at := uintptr(unsafe.Pointer(&p.of.memory[0])); at%hugePage != 0 {
			t.Errorf("the chunk of piece %d begins at %x, want a huge page", i, at)
		}
		if n := bytes.Count(p.memory, []byte{0}); n != len(p.memory) {
			t.Errorf("piece %d has %d bytes that are not zero", i, len(p.memory)-n)
		}
		for j := range p.memory {
			p.memory[j] = byte(i + 1)
		}
		pieces = append(pieces, p)
	}
	for i, p := range pieces {
		if n := bytes.Count(p.memory, []byte{byte(i + 1)}); n != len(p.memory) {
			t.Errorf("%d bytes of piece %d were overwritten", len(p.memory)-n, i)
		}
	}
	var chunks []*chunk
	for _, p := range pieces {
		if len(chunks) == 0 || chunks[len(chunks)-1] != p.of {
			chunks = append(chunks, p.of)
		}
	}
	if len(chunks) != 4 || a.last != chunks[3] {
		t.Fatalf("there are %d chunks, want 4, the last for the next piece", len(chunks))
	}
	for i, p := range pieces {
		a.giveBack(p)
		if i == 0 { // beside others
			if n := bytes.Count(p.memory, []byte{0}); n != len(p.memory) {
				t.Errorf("of a piece given back %d bytes are left", len(p.memory)-n)
			}
		}
	}
	for i, c := range chunks {
		if c.pieces != 0 {
			t.Errorf("chunk %d has %d pieces that were given back", i, c.pieces)
		}
	}
	if a.last != nil {
		t.Error("the arena keeps a chunk without pieces")
	}
}

// The memory of weights goes back when nobody has them any more, though others of the chunk are there.
func TestArenaOfOwners(t *testing.T) {
	type owner struct{ _ [64]byte }
	const n = 8 << 20
	kept := new(owner)
	x := newOffHeap[uint16](kept, n/2)
	fill := func(x []uint16, v uint16) {
		for i := range x {
			x[i] = v
		}
	}
	fill(x, 7)
	before := resident(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			o := new(owner)
			fill(newOffHeap[uint16](o, n/2), 9)
			runtime.KeepAlive(o)
		})
	}
	all.Wait()
	var after int
	for range 100 {
		runtime.GC()
		if after = resident(t); after < before+n {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if after >= before+n {
		t.Errorf("%d MB are resident beside what was before, want them given back", (after-before)>>20)
	}
	for i, v := range x {
		if v != 7 {
			t.Fatalf("element %d of what is kept is %d, want 7", i, v)
		}
	}
	runtime.KeepAlive(kept)
}

// resident returns how many bytes of the process are.
func resident(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * syscall.Getpagesize()
}
