package kernel

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// A fence hands out slices that end where a page begins that must not be touched: reading one element
// too many faults, which guard words do not see.
type fence struct{ page []byte }

func newFence(t *testing.T) *fence {
	t.Helper()
	size := syscall.Getpagesize()
	const pages = 16
	b, err := syscall.Mmap(-1, 0, (pages+1)*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mprotect(b[pages*size:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return &fence{b[:pages*size]}
}

// last returns the last n floats before the fence, filled with noise.
func (f *fence) last(rng *rand.Rand, n int) []float32 {
	x := unsafe.Slice((*float32)(unsafe.Pointer(&f.page[len(f.page)-4*max(n, 1)])), max(n, 1))[:n]
	for i := range x {
		x[i] = rng.Float32() - 0.5
	}
	return x
}

// TestFence: no routine reads or writes beyond its slices, whatever the tail.
func TestFence(t *testing.T) {
	a, b, c, d := newFence(t), newFence(t), newFence(t), newFence(t)
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		mr, nr := tileShape()
		for n := 1; n <= 2*nr+1; n++ {
			x, y, w, v := a.last(rng, n), b.last(rng, n), c.last(rng, n), d.last(rng, n)
			LayerNorm(y, x, w, v, nil, 1, n, 1e-5)
			Softmax(y, x, 1, n)
			Activate(y, x, QuickGELU)
			Activate(y, x, GELU)
			addBias(y, w)
			addBias2(y, w, v)
			for _, m := range []int{1, mr - 1, mr, mr + 1} {
				for _, k := range []int{1, 7, 8, 17} {
					for _, p := range products {
						p.f(c.last(rng, m*n), a.last(rng, m*k), b.last(rng, n*k), m, n, k, Epilogue{Bias: d.last(rng, n)})
					}
				}
			}
		}
		for _, s := range [][3]int{{32, 32, 32}, {33, 40, 45}, {64, 33, 70}, {40, 64, 33}} { // large enough for AMX
			m, n, k := s[0], s[1], s[2]
			for _, p := range products {
				p.f(c.last(rng, m*n), a.last(rng, m*k), b.last(rng, n*k), m, n, k, Epilogue{Bias: d.last(rng, n)})
			}
			w := PackLeft(b.last(rng, n*k), n, k)
			PanelLayout{1, m}.MatMul(c.last(rng, m*n), a.last(rng, m*k), w, Epilogue{Residual: d.last(rng, m*n)})
			MatMulPackedNN(c.last(rng, m*k), a.last(rng, m*n), Pack(b.last(rng, n*k), n, k), m)
			PanelLayout{2, m}.LayerNorm(c.last(rng, 2*m*n), a.last(rng, 2*m*n), b.last(rng, n), d.last(rng, n), n, 1e-5)
			PanelLayout{1, m}.Attention(c.last(rng, m*16), a.last(rng, 3*m*16), 1, m, 2, 8, true)
		}
		for _, s := range [][4]int{{1, 5, 1, 3}, {2, 17, 2, 8}, {1, 33, 1, 16}} {
			n := s[0] * s[1] * s[2] * s[3]
			if 3*n*4 > len(a.page) {
				t.Fatal(fmt.Sprint("the fence is too short for ", s))
			}
			Attention(b.last(rng, n), a.last(rng, 3*n), c.last(rng, 2*s[0]*s[1]*s[2]), s[0], s[1], s[2], s[3])
		}
		// Short ones are read as they lie, with what follows: in a panel at the end of the matrix, and in rows behind it.
		for tokens := 1; tokens <= nr; tokens++ {
			for _, images := range []int{nr / tokens, nr/tokens + 1} {
				m, rows := images*tokens, make([]int, images)
				for i := range rows {
					rows[i] = i*tokens + tokens - 1
				}
				o := LayoutOf(images, tokens)
				o.Attention(c.last(rng, m*16), a.last(rng, 3*m*16), images, tokens, 1, 16, true)
				o.AttentionAt(c.last(rng, images*16), b.last(rng, images*16), a.last(rng, 2*m*16), 2*16, rows, tokens, 1, 16, true)
				CausalAttention(c.last(rng, m*16), a.last(rng, 3*m*16), nil, images, tokens, 1, 16)
			}
		}
	})
}

// TestFenceTile: the tile itself, whose panels in a product lie in buffers that go on behind them.
func TestFenceTile(t *testing.T) {
	a, b, c, d, h := newFence(t), newFence(t), newFence(t), newFence(t), newFence(t)
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		mr, nr := tileShape()
		for k := 1; k < 20; k++ {
			for rows := 1; rows <= mr; rows++ {
				for _, ldc := range []int{nr, nr + 1} {
					x, y, z := a.last(rng, mr*k), b.last(rng, nr*k), c.last(rng, (mr-1)*ldc+nr)
					checkTile(t, z, x, y, ldc, rows, k, rows%2 == 0)
					if rows <= 2 && leastOfStrip() > 0 {
						tileStrip(c.last(rng, rows*mr*nr/2), a.last(rng, rows*mr*k), b.last(rng, nr/2*k), rows, k, ldc == nr, nil, 0)
					}
					if rows == mr && canWiden(k) {
						tileWidening(z, ldc, x, y, k, true, nil, 0, nil, nil, d.last(rng, mr*k), h.halves(mr*k))
					}
				}
			}
		}
	})
}

// TestFencePanelTiles is TestFenceTile for products of panels.
func TestFencePanelTiles(t *testing.T) {
	a, b, c := newFence(t), newFence(t), newFence(t)
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		mr, nr := tileShape()
		for k := 1; k <= 3*nr+1; k++ {
			apart := (mr + 1) * nr
			for rows := 1; rows <= mr; rows++ {
				x, y, z := a.last(rng, (k-1)/nr*apart+(mr-1)*nr+(k-1)%nr+1), b.last(rng, nr*k), c.last(rng, (mr-1)*(nr+1)+nr)
				tileRows(z, nr+1, rows, x, apart, y, 0, nr-rows, k, k%2 == 0)
			}
			for rows := 1; rows <= nr; rows++ {
				cols := 1 + nr - rows
				x, y, z := a.last(rng, k*nr), b.last(rng, nr*k), c.last(rng, (rows-1)*(nr+1)+cols)
				tileTurned(z, nr+1, rows, x, y, 0, cols, k)
			}
		}
	})
}

// TestFenceAMX: what is split and multiplied in tiles of bfloat16.
func TestFenceAMX(t *testing.T) {
	a, b, c := newFence(t), newFence(t), newFence(t)
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, steps := range []int{1, 2} {
			splitColumnsBF16(b.halves(3*steps*amxTileLen), a.last(rng, (32*steps-1)*(amxTile+3)+amxTile), amxTile+3, steps)
			splitHalvesBF16(b.halves(2*steps*amxTileLen), a.halves(steps*amxTileLen), steps)
			splitRowsBF16(b.halves(3*steps*amxTileLen), a.last(rng, (amxTile-1)*(32*steps+3)+32*steps), 32*steps+3, amxTile, steps)
			for _, bf16Terms := range [][2]int{{2, 3}, {3, 3}, {3, 2}} {
				x, y := a.halves(bf16Terms[0]*steps*amxTileLen), b.halves(3*steps*amxTileLen)
				clear(x)
				clear(y)
				tileBF16(c.last(rng, 31*35+32), 35, x, y, bf16Terms[0], bf16Terms[1], steps, true, nil, 0, nil, 0)
			}
			if amx() {
				h := a.halves(steps * amxTileLen)
				clear(h)
				dotHalves(c.last(rng, amxTile), h, b.last(rng, steps*amxTile), steps)
				dotRows(c.last(rng, amxTile), a.last(rng, steps*amxTileLen), b.last(rng, steps*amxTile), steps)
			}
		}
	})
}

// halves returns the last n half-precision numbers before the fence.
func (f *fence) halves(n int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(&f.page[len(f.page)-2*max(n, 1)])), max(n, 1))[:n]
}

// TestFencePacked is TestFence for what goes down columns, for halves, and for weights packed ahead.
func TestFencePacked(t *testing.T) {
	a, b, c := newFence(t), newFence(t), newFence(t)
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		mr, nr := tileShape()
		for rows := 1; rows < 20; rows++ {
			x, m, s := a.last(rng, rows*nr), b.last(rng, nr), c.last(rng, nr)
			columnMax(m, x)
			columnExp(x, m, s, 0.5)
			scaleColumns(x, s)
			columnSum(m, x)
			columnSquares(s, x, m)
			columnNormalize(x, x, m, s, b.last(rng, rows), c.last(rng, rows))
			for columns := 1; columns <= nr; columns++ {
				copyColumns(b.last(rng, (rows-1)*nr+columns), nr, a.last(rng, (rows-1)*(nr+3)+columns), nr+3, columns, rows)
			}
		}
		for k := 1; k < 20 && hasFew(); k++ {
			for columns := 1; columns < nr; columns++ {
				for _, panels := range []int{1, 2, 8} {
					rowsOfLast := 1 + (k+columns)%mr
					ldy := (panels-1)*mr + rowsOfLast
					y, x := c.last(rng, columns*ldy), a.last(rng, (columns-1)*(k+3)+k)
					few(y, ldy, b.last(rng, panels*mr*k), nil, panels, rowsOfLast, x, k+3, columns, k, k%2 == 0, span{})
					if fewReadsHalves() {
						few(y, ldy, nil, b.halves(panels*mr*k), panels, rowsOfLast, x, k+3, columns, k, k%2 == 0, span{})
					}
				}
			}
		}
		for n := 1; n < 100; n++ {
			x, h := a.last(rng, n), b.halves(n)
			narrow(h, x)
			widen(x, h)
		}
		for _, s := range [][3]int{{1, 1, 1}, {7, 17, 5}, {15, 33, 40}, {mr, nr, 33}, {2, 3, 9}} {
			m, n, k := s[0], s[1], s[2]
			for _, whole := range []bool{false, true} { // numbers that are halves, and others
				w := a.last(rng, n*k)
				for i := range w {
					if w[i] = float32(i%7) / 8; whole {
						w[i] /= 3
					}
				}
				p := Pack(w, n, k)
				if full := a.last(rng, len(p.full)); p.full != nil {
					copy(full, p.full)
					p.full = full
				}
				if half := a.halves(len(p.half)); p.half != nil {
					copy(half, p.half)
					p.half = half
				}
				MatMulPacked(c.last(rng, m*n), b.last(rng, m*k), p, m, Epilogue{})
				p.Unpack(b.last(rng, n*k))
			}
		}
	})
}
