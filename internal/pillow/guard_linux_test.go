package pillow

import (
	"math/rand/v2"
	"syscall"
	"testing"
)

// fence returns bytes between pages that must not be touched.
func fence(t *testing.T) (last, first func(n int) []byte) {
	t.Helper()
	size := syscall.Getpagesize()
	const pages = 40
	b, err := syscall.Mmap(-1, 0, (pages+2)*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	for _, page := range [][]byte{b[:size], b[(pages+1)*size:]} {
		if err := syscall.Mprotect(page, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	free := b[size:][:pages*size]
	return func(n int) []byte { return free[len(free)-n:] }, func(n int) []byte { return free[:n:n] }
}

// TestFence: no routine reads or writes in front of its slices or behind them.
func TestFence(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	lastA, firstA := fence(t)
	lastB, firstB := fence(t)
	lastC, firstC := fence(t)
	lastOut, firstOut := fence(t)
	for n := 1; n <= 100; n++ {
		for _, at := range [][4]func(int) []byte{{lastA, lastB, lastC, lastOut}, {firstA, firstB, firstC, firstOut}} {
			a, b, c := noise(rng, at[0](n)), noise(rng, at[1](n)), noise(rng, at[2](n))
			fast.triangle2x1(at[3](2*n), a)
			fast.triangle2x2(at[3](2*n), a, b)
			fast.yccRow(at[3](3*n), a, b, c)
		}
	}
	jpegBlocks(func(b *[64]int16, q *[64]uint16) {
		for _, stride := range []int{8, 40} {
			fast.inverse(lastOut(7*stride+8), stride, b, q)
			fast.inverse(firstOut(7*stride+8), stride, b, q)
		}
	})
	resizes(func(m *Image, width, height int) {
		pix := m.Pix
		for _, at := range []func(int) []byte{lastA, firstA} {
			m.Pix = at(len(pix))
			copy(m.Pix, pix)
			if _, err := m.Resize(width, height, Bicubic); err != nil {
				t.Fatal(err)
			}
		}
		m.Pix = pix
	})
	for _, at := range []func(int) []byte{lastOut, firstOut} { // what is written
		for _, size := range [][2]int{{4, 4}, {5, 9}, {17, 3}} {
			m := newImage(RGB, 40, 30)
			noise(rng, m.Pix)
			across, down := newWeights(40, size[0], Bicubic, 0, size[0]), newWeights(30, size[1], Bicubic, 0, size[1])
			(&Image{Mode: RGB, Width: size[0], Height: 30, Pix: at(3 * size[0] * 30)}).across(m, across, 0, 0)
			(&Image{Mode: RGB, Width: 40, Height: size[1], Pix: at(3 * 40 * size[1])}).down(m, down, 0, 0)
		}
	}
}
