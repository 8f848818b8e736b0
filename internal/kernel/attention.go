package kernel

import (
	"math"
	"runtime"
)

// Attention sets out [B·T,C] to softmax(q·kᵀ/√D)·v, head by head and image by image, where a row
// of qkv [B·T,3C] holds q, k and v of a token, and H heads of D = C/H columns lie side by side in
// each. If stats is not nil it receives of each row and head the largest score and the sum of the
// exponentials, [B·T,H,2], which is all that a gradient needs to make the probabilities again.
//
// No T×T matrix is kept: a worker holds the scores of one tile's rows, mr·T floats, and the keys
// and values of one head.
func Attention(out, qkv, stats []float32, images, tokens, heads, headSize int) {
	t, d := tokens, headSize
	c := heads * d
	if len(out) < images*t*c || len(qkv) < 3*images*t*c || (stats != nil && len(stats) < 2*images*t*heads) {
		panic("kernel: Attention: slice shorter than its shape")
	}
	if images*t*c == 0 {
		return
	}
	mr, nr := tileShape()
	panels := (t + mr - 1) / mr
	// One item is a share of the queries of one head; the shares are many enough for all workers.
	shares := min(panels, max(1, (4*runtime.GOMAXPROCS(0)+images*heads-1)/(images*heads)))
	per := (panels + shares - 1) / shares
	tPad, dPad := roundUp(t, nr), roundUp(d, nr)
	temperature := float32(1 / math.Sqrt(float64(d)))

	parallel(images*heads*shares, func(item int) {
		head := item / shares % heads
		image := item / shares / heads
		row0 := image * t
		q := operand{qkv[row0*3*c+head*d:], 3 * c, false}
		k := operand{qkv[row0*3*c+c+head*d:], 3 * c, false}
		v := operand{qkv[row0*3*c+2*c+head*d:], 3 * c, true}

		kp := Get(tPad * d)   // panels of keys
		vp := Get(dPad * t)   // panels of values
		qp := Get(mr * d)     // a panel of queries
		score := Get(mr * t)  // [mr,T], then probabilities up to a factor
		pp := Get(mr * t)     // the same as a panel
		mix := Get(mr * dPad) // [mr,D]
		k.pack(kp, 0, t, 0, d, nr)
		v.pack(vp, 0, d, 0, t, nr)
		for p := item % shares * per; p < min(panels, (item%shares+1)*per); p++ {
			rows := min(mr, t-p*mr)
			q.pack(qp, p*mr, rows, 0, d, mr)
			tiles(score, t, qp, kp, rows, t, d, false) // [rows,T] = q·kᵀ
			var inverse [maxRows]float32
			for r := range rows {
				s := score[r*t : (r+1)*t]
				peak := maxOf(s)
				total := expSum(s, s, peak, temperature)
				inverse[r] = 1 / total
				if stats != nil {
					i := 2 * ((row0+p*mr+r)*heads + head)
					stats[i], stats[i+1] = peak*temperature, total
				}
			}
			operand{score, t, false}.pack(pp, 0, rows, 0, t, mr)
			tiles(mix, dPad, pp, vp, rows, d, t, false) // [rows,D] = p·v
			for r := range rows {
				o := out[(row0+p*mr+r)*c+head*d:][:d]
				copy(o, mix[r*dPad:])
				scale(o, inverse[r])
			}
		}
		for _, b := range [][]float32{kp, vp, qp, score, pp, mix} {
			Put(b)
		}
	})
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
