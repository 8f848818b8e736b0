package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAttentionAt: the query of one token an image has the bits that it has among the queries of all, in any layout and in rows,
// whatever stands in columns before keys and values.
func TestAttentionAt(t *testing.T) {
	eachImpl(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(111, 112))
		for _, heads := range []int{1, 3} {
			for _, d := range []int{1, 7, 16, 40} {
				for _, tokens := range []int{1, 2, 9, 31, 32, 33, 50, 97} {
					for images := 1; images <= 4; images++ {
						if testing.Short() && (images != 3 || tokens%8 != 1) {
							continue // under emulation
						}
						for _, causal := range []bool{false, true} {
							c, m := heads*d, images*tokens
							qkv := random(rng, m*3*c).data
							all, rows := make([]float32, m*c), make([]int, images)
							attention(all, qkv, nil, images, tokens, heads, d, causal)
							var q, want []float32
							for i := range rows {
								rows[i] = i*tokens + (7*i+tokens/2)%tokens
								q = append(q, qkv[rows[i]*3*c:][:c]...)
								want = append(want, all[rows[i]*c:][:c]...)
							}
							for _, before := range []int{0, 5, c} {
								n := before + 2*c
								var kv []float32
								for r := range m {
									kv = append(append(kv, guards(before)...), qkv[r*3*c+c:][:2*c]...)
								}
								for _, o := range []PanelLayout{{images, tokens}, {1, m}, {m, 1}} {
									out, x := newGuarded(images*c), newGuarded(m*n)
									o.ToPanels(x.data, kv, n)
									o.AttentionAt(out.data, q, x.data, n, rows, tokens, heads, d, causal)
									out.check(t, "AttentionAt")
									if !slices.Equal(out.data, want) {
										t.Fatalf("%v, %d heads of %d, %d images of %d tokens, %d columns before, causal %v: other bits than among all queries", o, heads, d, images, tokens, before, causal)
									}
								}
							}
						}
					}
				}
			}
		}
	})
}

// guards returns n words that spoil what reads them.
func guards(n int) []float32 { return slices.Repeat([]float32{guardWord}, n) }

// A partial is weights that can be split, and how they are multiplied.
type partial[W any] struct {
	pack     func(w []float32, n, k int) W
	split    func(w W, n int) (first, rest W)
	rows     func(w W) int
	multiply func(y, x []float32, w W, m int, e Epilogue)
}

// check compares products with parts of weights to those with the whole.
func (p partial[W]) check(t *testing.T, name string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(113, 114))
	const m = 19
	for _, s := range [][2]int{{96, 32}, {75, 40}, {33, kcMax + 5}, {70, 2*kcMax + 3}} {
		n, k := s[0], s[1]
		values, x, bias := random(rng, n*k).data, random(rng, m*k).data, random(rng, n).data
		for i, v := range values {
			if k == 40 {
				values[i] = FromHalf(ToHalf(v))
			}
		}
		w, whole := p.pack(values, n, k), make([]float32, m*n)
		p.multiply(whole, x, w, m, Epilogue{Bias: bias, Activation: QuickGELU})
		for _, at := range []int{0, 1, n / 3, 32, n - 1, n} {
			first, rest := p.split(w, at)
			if p.rows(first) != at || p.rows(rest) < n-at || p.rows(rest) >= n-at+32 {
				t.Fatalf("%s: %d rows are split at %d into %d and %d", name, n, at, p.rows(first), p.rows(rest))
			}
			for _, part := range []struct {
				w    W
				from int
			}{{first, 0}, {rest, n - p.rows(rest)}} {
				n1 := p.rows(part.w)
				y := newGuarded(m * n1)
				p.multiply(y.data, x, part.w, m, Epilogue{Bias: bias[part.from : part.from+n1], Activation: QuickGELU})
				y.check(t, name)
				for r := range m {
					if !slices.Equal(y.data[r*n1:(r+1)*n1], whole[r*n+part.from:][:n1]) {
						t.Fatalf("%s: rows %d to %d of %d, %d deep: other bits than with all", name, part.from, part.from+n1, n, k)
					}
				}
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: %d rows are split at %d", name, n, n+1)
				}
			}()
			p.split(w, n+1)
		}()
	}
}

// TestSplit: products with a part of packed weights are a part of the product with all of them, in every precision.
func TestSplit(t *testing.T) {
	packedRows := func(w *Packed) int { return w.n }
	eachImpl(t, func(t *testing.T) {
		if amx() { // whose tiles are not split, and which takes another routine for fewer than 32 rows
			return
		}
		partial[*Packed]{Pack, (*Packed).Split, packedRows, MatMulPacked}.check(t, "rows")
		partial[*Packed]{PackLeft, (*Packed).Split, packedRows, func(y, x []float32, w *Packed, m int, e Epilogue) {
			for _, o := range []PanelLayout{{1, m}, {m, 1}} {
				panels := make([]float32, len(y))
				o.MatMul(panels, inPanels(o, x, w.k), w, e)
				o.FromPanels(y, panels, w.n)
			}
		}}.check(t, "panels")
		first, rest := PackLeft(make([]float32, 60), 30, 2).Split(20)
		for _, part := range []*Packed{first, rest} {
			func() {
				defer func() {
					if recover() == nil {
						t.Error("a part is split once more")
					}
				}()
				part.Split(1)
			}()
		}
	})
	eachBF16(t, func(t *testing.T) {
		partial[*BF16]{PackBF16, (*BF16).Split, func(w *BF16) int { return w.n }, MatMulBF16}.check(t, "bf16")
	})
	eachInt8(t, func(t *testing.T) {
		for i, how := range []Rounding{{}, {Apart: []int{0, 3, 17}}, {Words: true}, {Scales: slices.Repeat([]float32{2, 0.5}, 20)}} {
			pack := func(w []float32, n, k int) *Int8 {
				if h := how; h.Scales != nil {
					h.Scales = slices.Repeat(h.Scales, k/40+1)[:k]
					return PackRounded(w, n, k, h)
				}
				return PackRounded(w, n, k, how)
			}
			partial[*Int8]{pack, (*Int8).Split, func(w *Int8) int { return w.n }, MatMulInt8}.check(t, fmt.Sprint("int8 ", i))
		}
	})
}

// TestSplitKept: parts are made once, so that a product still knows them as what follows it, and keep the weights' memory.
func TestSplitKept(t *testing.T) {
	w := Pack(make([]float32, 128*300), 128, 300)
	first, rest := w.Split(64)
	again, _ := w.Split(64)
	if first != again || first.whole != w || rest.whole != w {
		t.Error("parts are made anew, or do not hold what they are parts of")
	}
}
