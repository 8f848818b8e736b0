package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// layouts are of one span and several, of fewer rows than a panel has, whole panels, and some left.
var layouts = []PanelLayout{{1, 1}, {2, 5}, {1, 32}, {3, 33}, {2, 67}, {5, 50}, {1, 8}, {2, 31}, {1, 14}, {1, 18}}

// inPanels returns x [B·T,n] in the layout o.
func inPanels(o PanelLayout, x []float32, n int) []float32 {
	y := make([]float32, len(x))
	o.ToPanels(y, x, n)
	return y
}

// TestPanelLayout: ToPanels keeps every row, FromPanels puts it back, and Row finds it.
func TestPanelLayout(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(91, 92))
		for _, o := range layouts {
			for _, n := range []int{1, 7, 40} {
				x := random(rng, o.Spans*o.Rows*n).data
				there, back := newGuarded(len(x)), newGuarded(len(x))
				o.ToPanels(there.data, x, n)
				there.check(t, "ToPanels")
				o.FromPanels(back.data, there.data, n)
				back.check(t, "FromPanels")
				if !slices.Equal(back.data, x) {
					t.Errorf("%v of %d: restored to something else", o, n)
				}
				_, nr := tileShape()
				if o.Rows >= nr && n > 1 && there.data[1] != x[n] {
					t.Errorf("%v of %d: the second token's first element is not the second of the first panel", o, n)
				}
				row := newGuarded(n)
				for r := range o.Spans * o.Rows {
					o.Row(row.data, there.data, n, r)
					row.check(t, "Row")
					if !slices.Equal(row.data, x[r*n:(r+1)*n]) {
						t.Errorf("%v of %d: row %d is another", o, n, r)
					}
				}
			}
		}
	})
}

func TestPanelLayoutMatMul(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(93, 94))
		for _, o := range layouts {
			for _, s := range [][2]int{{1, 1}, {14, 9}, {29, 0}, {37, shorter(1060, 40)}, {150, 40}}[:shorter(5, 4)] {
				m, n, k := o.Spans*o.Rows, s[0], s[1]
				a, w := random(rng, m*k).data, random(rng, n*k).data
				bias, residual := random(rng, n).data, random(rng, m*n).data
				for _, e := range []Epilogue{{}, {Bias: bias}, {Bias: bias, Activation: QuickGELU}, {Activation: GELU}, {Bias: bias, Residual: residual}, {Residual: residual}} {
					checkProduct(t, product{fmt.Sprint(o), func(c, a, b []float32, m, n, k int, e Epilogue) {
						y := newGuarded(m * n)
						if e.Residual != nil {
							e.Residual = inPanels(o, e.Residual, n)
						}
						o.MatMul(y.data, inPanels(o, a, k), PackLeft(b, n, k), e)
						y.check(t, "PanelLayout.MatMul")
						o.FromPanels(c, y.data, n)
					}, byRow, byRow}, a, w, m, n, k, e)
				}
			}
		}
	})
}

// TestPanelLayoutAlone: what an image becomes does not depend on how many others there are, to the last bit, wherever
// it lies. The weights are halves, and others.
func TestPanelLayoutAlone(t *testing.T) {
	const n, heads, most = 42, 2, 9
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(95, 96))
		scale := random(rng, n).data
		plain := random(rng, 3*n*n).data
		full := PackLeft(plain, 3*n, n)
		for i, v := range plain {
			plain[i] = FromHalf(ToHalf(v))
		}
		half := PackLeft(plain, 3*n, n)
		longPlain := random(rng, 15*(kcMax+9)).data
		long := PackLeft(longPlain, 15, kcMax+9)
		x := random(rng, most*257*n).data
		longX := random(rng, most*33*(kcMax+9)).data
		for _, c := range []struct {
			name    string
			x       []float32
			in, out int
			f       func(y, x []float32, o PanelLayout, images, tokens int)
		}{
			{"MatMul", x, n, 3 * n, func(y, x []float32, o PanelLayout, _, _ int) { o.MatMul(y, x, full, Epilogue{Bias: plain}) }},
			{"MatMul of halves", x, n, 3 * n, func(y, x []float32, o PanelLayout, _, _ int) {
				o.MatMul(y, x, half, Epilogue{Bias: plain, Activation: QuickGELU})
			}},
			{"MatMul in two blocks", longX, kcMax + 9, 15, func(y, x []float32, o PanelLayout, _, _ int) {
				o.MatMul(y, x, long, Epilogue{Bias: plain})
			}},
			{"LayerNorm", x, n, n, func(y, x []float32, o PanelLayout, _, _ int) { o.LayerNorm(y, x, scale, scale, n, 1e-5) }},
			{"Attention", x, n, n / 3, func(y, x []float32, o PanelLayout, images, tokens int) {
				o.Attention(y, x, images, tokens, heads, n/3/heads, false)
			}},
			{"causal Attention", x, n, n / 3, func(y, x []float32, o PanelLayout, images, tokens int) {
				o.Attention(y, x, images, tokens, heads, n/3/heads, true)
			}},
		} {
			for _, tokens := range []int{1, 3, 5, 10, 14, 16, 17, 31, 32, 33, 50, 65, 77, 197, 257} {
				if tokens*most*c.in > len(c.x) || testing.Short() && tokens > 77 {
					continue
				}
				of := func(x []float32) []float32 {
					images := len(x) / tokens / c.in
					o := LayoutOf(images, tokens)
					y, back := newGuarded(images*tokens*c.out), newGuarded(images*tokens*c.out)
					c.f(y.data, inPanels(o, x, c.in), o, images, tokens)
					y.check(t, c.name)
					o.FromPanels(back.data, y.data, c.out)
					return back.data
				}
				var alone [most][]float32
				for i := range alone {
					alone[i] = of(c.x[i*tokens*c.in : (i+1)*tokens*c.in])
				}
				for images := 2; images <= most; images++ {
					all := of(c.x[:images*tokens*c.in])
					for i := range images {
						if !slices.Equal(alone[i], all[i*tokens*c.out:(i+1)*tokens*c.out]) {
							t.Fatalf("%s of %d tokens: image %d alone becomes something else than in %d", c.name, tokens, i, images)
						}
					}
				}
			}
		}
	})
}

// TestFew: few gives every element the bits that the tile gives it.
func TestFew(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		if !hasFew() {
			t.Skip("there is no such routine")
		}
		rng := rand.New(rand.NewPCG(101, 102))
		mr, nr := tileShape()
		for _, k := range []int{1, 2, 15, 64} {
			for _, panels := range []int{1, 2, 3, 4, 7, 9, 12} {
				w := random(rng, panels*mr*k).data
				halves := make([]uint16, len(w))
				for i, v := range w {
					halves[i] = ToHalf(v)
					w[i] = FromHalf(halves[i])
				}
				for columns := 1; columns < 33; columns++ {
					rowsOfLast, ldx, ldy := 1+(columns+panels)%mr, k+3, panels*mr+1
					x := random(rng, columns*ldx).data
					before := random(rng, columns*ldy)
					want := slices.Clone(before.data)
					for c0 := 0; c0 < columns; c0 += nr {
						b := make([]float32, nr*k)
						matrix{x, ldx, false}.pack(b, c0, min(nr, columns-c0), 0, k, nr)
						for j := range panels {
							part := make([]float32, maxTile)
							tile(part, nr, mr, w[j*mr*k:], b, k, false, nil, 0)
							rows := mr
							if j == panels-1 {
								rows = rowsOfLast
							}
							for r := range rows {
								for c := range min(nr, columns-c0) {
									want[(c0+c)*ldy+j*mr+r] += part[r*nr+c]
								}
							}
						}
					}
					for _, h := range [][]uint16{nil, halves} {
						if h != nil && !fewReadsHalves() {
							continue
						}
						y := newGuarded(columns * ldy)
						copy(y.data, before.data)
						few(y.data, ldy, w, h, panels, rowsOfLast, x, ldx, columns, k, true, span{})
						y.check(t, "few")
						if !slices.Equal(y.data, want) {
							t.Fatalf("%d columns, %d panels, k=%d, halves %v: other bits than the tile's", columns, panels, k, h != nil)
						}
						few(y.data, ldy, w, h, panels, rowsOfLast, x, ldx, columns, k, false, span{})
						few(y.data, ldy, w, h, panels, rowsOfLast, x, ldx, columns, k, true, span{})
						for i, v := range y.data {
							if c := i % ldy; c >= (panels-1)*mr+rowsOfLast {
								if v != before.data[i] {
									t.Fatalf("%d columns, %d panels, k=%d: wrote beyond the rows", columns, panels, k)
								}
							} else if sum := want[i] - before.data[i]; v-2*sum > 1e-5 || v-2*sum < -1e-5 {
								t.Fatalf("%d columns, %d panels, k=%d: twice the product is %v, want %v", columns, panels, k, v, 2*sum)
							}
						}
					}
				}
			}
		}
	})
}

// TestTileStrip: a strip of columns gets the bits that the tile gives it, added to what was there or in its place.
func TestTileStrip(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		if leastOfStrip() == 0 {
			t.Skip("there is no such routine")
		}
		rng := rand.New(rand.NewPCG(105, 106))
		mr, nr := tileShape()
		columns := nr / 2
		for _, k := range []int{1, 2, 3, 15, 64} {
			for panels := 1; panels <= 2; panels++ {
				w, x := random(rng, panels*mr*k).data, random(rng, k*columns).data
				wide := make([]float32, k*nr) // x, and zeros
				copyRows(wide, nr, x, columns, columns, k)
				before := random(rng, panels*mr*columns)
				for _, accumulate := range []bool{false, true} {
					got := newGuarded(len(before.data))
					copy(got.data, before.data)
					tileStrip(got.data, w, x, panels, k, accumulate, nil, 0)
					got.check(t, "tileStrip")
					for j := range panels {
						part := make([]float32, maxTile)
						tile(part, nr, mr, w[j*mr*k:], wide, k, false, nil, 0)
						for i, v := range got.data[j*mr*columns:][:mr*columns] {
							want := part[i/columns*nr+i%columns]
							if accumulate {
								want += before.data[j*mr*columns+i]
							}
							if v != want {
								t.Fatalf("k=%d, panel %d, adding %v: element %d is %v, want %v as of the tile", k, j, accumulate, i, v, want)
							}
						}
					}
				}
			}
		}
	})
}

// TestCutStrips: every row that fills no panel is in a strip or left for few, which never has as many as pay for a strip.
func TestCutStrips(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		_, nr := tileShape()
		for rows := range 3 * nr {
			strips, inStrips := cutStrips(rows)
			switch least := leastOfStrip(); {
			case least == 0 && strips > 0:
				t.Errorf("%d rows: %d strips without a routine", rows, strips)
			case inStrips > rows || inStrips > strips*nr/2 || inStrips <= (strips-1)*nr/2:
				t.Errorf("%d rows: %d of them in %d strips", rows, inStrips, strips)
			case least > 0 && rows-inStrips >= least:
				t.Errorf("%d rows: %d of them left", rows, rows-inStrips)
			}
		}
	})
}

// TestPrecedes: a product prefetches what follows it, of any shape, and computes the same; it does not keep that in memory,
// and takes no notice of weights that are packed for another implementation.
func TestPrecedes(t *testing.T) {
	first := map[string]*Packed{}
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(103, 104))
		const k = 700
		for _, o := range []PanelLayout{{1, 10}, {1, 80}} {
			for _, n := range []int{1, 37, 512} {
				m := o.Spans * o.Rows
				x, values := inPanels(o, random(rng, m*k).data, k), random(rng, n*k).data
				w, want, got := PackLeft(values, n, k), make([]float32, m*n), make([]float32, m*n)
				o.MatMul(want, x, w, Epilogue{})
				all := []*Packed{w, PackLeft(values[:n], n, 1), PackLeft(values[:5*n], 1, 5*n)}
				for _, other := range first {
					all = append(all, other)
				}
				for _, next := range all {
					w.Precedes(next)
					if w.follower() != next {
						t.Error("another product follows")
					}
					o.MatMul(got, x, w, Epilogue{})
					if !slices.Equal(got, want) {
						t.Errorf("%v, n=%d: other bits beside the product that follows", o, n)
					}
					first[Name()] = next
				}
			}
		}
	})
	w := PackLeft(make([]float32, 1<<16), 1<<8, 1<<8)
	w.Precedes(PackLeft(make([]float32, 1<<16), 1<<8, 1<<8))
	for range 100 { // a worker that still spins may hold the job that packed them
		if runtime.GC(); w.follower() == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if w.follower() != nil {
		t.Error("weights keep those that follow them in memory")
	}
}

// TestNextSpan: what a product prefetches beside its last item is what the product that follows begins with.
func TestNextSpan(t *testing.T) {
	mr, _ := tileShape()
	p := pack(make([]float32, 100*mr), mr, 100, mr)
	starts := []int{0, mr}
	for _, c := range []struct{ item, k0, want int }{
		{0, 0, 100}, {0, 100, 0}, {-runtime.GOMAXPROCS(0), 100, 100}, {-runtime.GOMAXPROCS(0) - 1, 100, 0}, {1 - runtime.GOMAXPROCS(0), 100, 0},
	} {
		if got := p.nextSpan(starts, c.item, c.k0); got.size != 2*mr*c.want { // zeros are halves
			t.Errorf("after depth %d of item %d come %d bytes, want %d", c.k0, c.item, got.size, 2*mr*c.want)
		}
	}
}

func TestPanelLayoutLayerNorm(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(97, 98))
		for _, o := range layouts {
			for _, n := range []int{1, 7, 40, 129} {
				m := o.Spans * o.Rows
				x, w, b := random(rng, m*n).data, random(rng, n).data, random(rng, n).data
				for i := range x {
					x[i] += 3 // a mean that matters
				}
				got, back, want := newGuarded(m*n), make([]float32, m*n), make([]float32, m*n)
				o.LayerNorm(got.data, inPanels(o, x, n), w, b, n, 1e-5)
				got.check(t, "Order.LayerNorm")
				o.FromPanels(back, got.data, n)
				LayerNorm(want, x, w, b, nil, m, n, 1e-5)
				for i, v := range want {
					near(t, fmt.Sprint("LayerNorm ", o, n, i), back[i], float64(v), 8e-6)
				}
			}
		}
	})
}

func TestPanelLayoutAttention(t *testing.T) {
	rng := rand.New(rand.NewPCG(99, 100))
	sizes := [][4]int{
		{1, 1, 3, 7}, {2, 5, 1, 1}, {1, 32, 3, 7}, {3, 33, 3, 7}, {2, 67, 2, 64}, {1, 8, 1, 80}, {2, 31, 3, 7}, {7, 10, 1, 64},
		{5, 50, 2, 64}, {2, 77, 1, 80}, {1, 257, 1, 16}, {1, 257, 3, 7},
	}
	for _, s := range sizes[:shorter(len(sizes), 8)] {
		images, tokens, heads, d := s[0], s[1], s[2], s[3]
		m, c := images*tokens, heads*d
		qkv := random(rng, m*3*c).data
		for causal, ref := range map[bool]func(qkv []float32, images, t, heads, d int) []float64{false: attentionRef, true: causalRef} {
			wants := ref(qkv, images, tokens, heads, d)
			t.Run(fmt.Sprint(s, causal), func(t *testing.T) {
				eachImpl(t, func(t *testing.T) {
					for _, o := range []PanelLayout{{images, tokens}, {1, m}} {
						got, back := newGuarded(m*c), make([]float32, m*c)
						o.Attention(got.data, inPanels(o, qkv, 3*c), images, tokens, heads, d, causal)
						got.check(t, "PanelLayout.Attention")
						o.FromPanels(back, got.data, c)
						for i, want := range wants {
							near(t, "attention", back[i], want, 6e-6)
						}
					}
				})
			})
		}
	}
}

// TestShortAttention: tokens that fit into a panel have the bits that they have at the beginning of a longer text, wherever they lie in
// panels, all of them and each alone.
func TestShortAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		_, nr := tileShape()
		rng := rand.New(rand.NewPCG(105, 106))
		long := nr + 3
		for _, s := range [][3]int{{5, 1, 64}, {1, 3, 16}, {4*processors() + 1, 2, 33}, {7, 2, 6}} {
			images, heads, d := s[0], s[1], s[2]
			c := heads * d
			x := random(rng, images*long*3*c).data
			o := LayoutOf(images, long)
			y, want := make([]float32, images*long*c), make([]float32, images*long*c)
			o.Attention(y, inPanels(o, x, 3*c), images, long, heads, d, true)
			o.FromPanels(want, y, c)
			for _, tokens := range []int{1, 2, 3, 5, 7, 8, 9, 10, 13, 15, 16, 17, 21, 27, 31, 32} {
				if tokens > nr {
					break
				}
				short := make([]float32, 0, images*tokens*3*c)
				for i := range images {
					short = append(short, x[i*long*3*c:][:tokens*3*c]...)
				}
				o := LayoutOf(images, tokens)
				qkv := inPanels(o, short, 3*c)
				got, back := newGuarded(images*tokens*c), make([]float32, images*tokens*c)
				o.Attention(got.data, qkv, images, tokens, heads, d, true)
				got.check(t, "Attention")
				o.FromPanels(back, got.data, c)
				rows, q := make([]int, images), make([]float32, images*c)
				for i := range images {
					rows[i] = i*tokens + (i*5+tokens/2)%tokens
					copy(q[i*c:][:c], short[rows[i]*3*c:])
					if !slices.Equal(back[i*tokens*c:][:tokens*c], want[i*long*c:][:tokens*c]) {
						t.Fatalf("%v: image %d of %d tokens has other bits than at the beginning of %d", s, i, tokens, long)
					}
				}
				for _, stats := range [][]float32{nil, make([]float32, 2*images*tokens*heads)} {
					inRows := newGuarded(images * tokens * c)
					CausalAttention(inRows.data, short, stats, images, tokens, heads, d)
					inRows.check(t, "CausalAttention")
					if !slices.Equal(inRows.data, back) {
						t.Fatalf("%v: %d tokens in rows have other bits than in panels", s, tokens)
					}
				}
				kv := make([]float32, 0, images*tokens*2*c)
				for i := range images * tokens {
					kv = append(kv, short[i*3*c+c:][:2*c]...)
				}
				for n, x := range map[int][]float32{3 * c: qkv, 2 * c: inPanels(o, kv, 2*c)} {
					at := newGuarded(images * c)
					o.AttentionAt(at.data, q, x, n, rows, tokens, heads, d, true)
					at.check(t, "AttentionAt")
					for i, row := range rows {
						if !slices.Equal(at.data[i*c:][:c], back[row*c:][:c]) {
							t.Fatalf("%v: one token of image %d of %d has other bits than among all, of %d columns", s, i, tokens, n)
						}
					}
				}
			}
		}
	})
}

// TestShortNeighbours: what is not finite in an image reaches no other in its panel.
func TestShortNeighbours(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(107, 108))
		const images, tokens, d = 9, 7, 16
		o, x := LayoutOf(images, tokens), random(rng, images*tokens*3*d).data
		of := func() []float32 {
			y, back := make([]float32, images*tokens*d), make([]float32, images*tokens*d)
			o.Attention(y, inPanels(o, x, 3*d), images, tokens, 1, d, false)
			o.FromPanels(back, y, d)
			return back
		}
		want := of()
		for i := range x {
			if i/(tokens*3*d)%3 != 1 {
				x[i] = float32(math.NaN())
			}
		}
		for i, v := range of() {
			if i/(tokens*d)%3 == 1 && v != want[i] {
				t.Fatalf("image %d becomes %v beside images of NaN, want %v", i/(tokens*d), v, want[i])
			}
		}
	})
}

// TestAttentionAtNothing: no images, and images without heads, have no results.
func TestAttentionAtNothing(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		many := make([]int, 4*processors())
		for i := range many {
			many[i] = i
		}
		LayoutOf(len(many), 1).AttentionAt(nil, nil, nil, 0, many, 1, 0, 64, true)
		LayoutOf(0, 5).AttentionAt(nil, nil, nil, 2*64, nil, 5, 1, 64, true)
	})
}
