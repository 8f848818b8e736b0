package op

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/internal/kernel"
)

// Contrastive returns CLIP's loss [1,1] of B images and their texts. It takes the embeddings [B,E] of both, whose
// rows have length 1, and the logarithm [1,1] of the scale of their cosines. Row i of both is a pair. The loss is the
// mean of two cross-entropies: of every image with the texts, and of every text with the images.
//
//	logits = exp(logScale)·images·textsᵀ [B,B]    loss = (CE(logits) + CE(logitsᵀ)) / 2
//
// Texts with the same number in same, one for each row, are one text. The target of their images is spread evenly
// over them, and the target of each of them over their images. If same is nil, or all its numbers differ, that is
// CLIP's loss.
//
// Source: openai/CLIP, clip/model.py, CLIP.forward; mlfoundations/open_clip, src/open_clip/loss.py, ClipLoss.
func Contrastive(images, texts, logScale mat.Tensor, same []int) mat.Tensor {
	b, e := dims(images)
	requireShape("Contrastive texts", texts, b, e)
	requireShape("Contrastive scale", logScale, 1, 1)
	if b == 0 || same != nil && len(same) != b {
		panic(&ShapeError{"Contrastive", images.Shape(), fmt.Sprintf("a row for each of %d texts, at least 1", len(same))})
	}
	return run(&contrastiveOp{images: images, texts: texts, logScale: logScale, same: same})
}

type contrastiveOp struct {
	images, texts mat.Tensor // [B,E]
	logScale      mat.Tensor // [1,1]
	same          []int      // [B], or nil

	scale     float32
	grad      []float32 // [B,B] of the logits, kept only for Backward
	gradScale float64   // of logScale
}

func (f *contrastiveOp) Operands() []mat.Tensor {
	return []mat.Tensor{f.images, f.texts, f.logScale}
}

func (f *contrastiveOp) Forward() (mat.Tensor, error) {
	b, _ := dims(f.images)
	f.scale = float32(math.Exp(float64(data(f.logScale)[0])))
	rows, rowGrad := f.direction(data(f.images), data(f.texts))
	cols, colGrad := f.direction(data(f.texts), data(f.images))
	loss, along := 0.0, 0.0
	for r := range b { // in order, whoever computed them
		loss += rows[r].loss + cols[r].loss
		along += rows[r].along + cols[r].along
	}
	if wantsGrad(f.Operands()...) {
		half := float32(1 / float64(2*b))
		eachRow(b, b, func(r int) {
			for c := range b {
				rowGrad[r*b+c] = (rowGrad[r*b+c] + colGrad[c*b+r]) * half
			}
		})
		f.grad, f.gradScale = rowGrad, along/float64(2*b)
	}
	y := fresh(1, 1)
	data(y)[0] = float32(loss / float64(2*b))
	return y, nil
}

// A rowLoss is the cross-entropy of a row of logits, and what it changes by if all logits grow together.
type rowLoss struct{ loss, along float64 }

// direction returns the cross-entropies of the rows of from with those of to, and their gradients [B,B].
func (f *contrastiveOp) direction(from, to []float32) ([]rowLoss, []float32) {
	b, e := dims(f.images)
	x, losses := make([]float32, b*b), make([]rowLoss, b)
	kernel.MatMulNT(x, from, to, b, b, e, kernel.Epilogue{})
	eachRow(b, b, func(r int) { losses[r] = f.row(x[r*b:(r+1)*b], r) })
	return losses, x
}

// row returns the cross-entropy of row r of the cosines x, and sets x to its gradient softmax - target.
func (f *contrastiveOp) row(x []float32, r int) (l rowLoss) {
	peak := math.Inf(-1)
	equal := 0.0 // texts like that of the row
	for i := range x {
		x[i] *= f.scale
		peak = math.Max(peak, float64(x[i])) // NaN if any is
		if f.alike(i, r) {
			equal++
		}
	}
	total := 0.0
	for _, v := range x {
		total += math.Exp(float64(v) - peak)
	}
	l.loss = math.Log(total)
	for i, v := range x {
		g := math.Exp(float64(v)-peak) / total
		if f.alike(i, r) {
			g -= 1 / equal
			l.loss -= (float64(v) - peak) / equal
		}
		l.along += g * float64(v)
		x[i] = float32(g)
	}
	return l
}

// alike reports whether two texts are one.
func (f *contrastiveOp) alike(i, j int) bool {
	return i == j || f.same != nil && f.same[i] == f.same[j]
}

func (f *contrastiveOp) Backward(gy mat.Tensor) error {
	b, e := dims(f.images)
	g := data(gy)[0]
	accumulate(f.images, func(gx []float32) {
		kernel.MatMulNN(gx, f.grad, data(f.texts), b, e, b, kernel.Epilogue{})
		scaleBy(gx, g*f.scale)
	})
	accumulate(f.texts, func(gx []float32) {
		kernel.MatMulTN(gx, f.grad, data(f.images), b, e, b, kernel.Epilogue{})
		scaleBy(gx, g*f.scale)
	})
	accumulate(f.logScale, func(gx []float32) { gx[0] = float32(float64(g) * f.gradScale) })
	return nil
}

// Recalled returns the number of images [B,E] to which their own text [B,E] has a greater cosine than all others. It
// also returns the number of texts to which their own image has. Rows have length 1. Texts with the same number in
// same are one, and all of its images are its own; same may be nil. A tie is a miss, and so is NaN.
func Recalled(images, texts mat.Tensor, same []int) (ofImages, ofTexts int) {
	requireShape("Recalled", texts, images.Shape()[0], images.Shape()[1])
	f := &contrastiveOp{images: images, texts: texts, same: same}
	return f.recalled(data(images), data(texts)), f.recalled(data(texts), data(images))
}

// recalledRows is how many rows are compared at a time, so that memory does not grow with the square of their number.
const recalledRows = 256

func (f *contrastiveOp) recalled(from, to []float32) int {
	b, e := dims(f.images)
	x := make([]float32, min(b, recalledRows)*b)
	var hits atomic.Int64
	for at := 0; at < b; at += recalledRows {
		n := min(recalledRows, b-at)
		kernel.MatMulNT(x[:n*b], from[at*e:(at+n)*e], to, n, b, e, kernel.Epilogue{})
		eachRow(n, b, func(r int) {
			own, other := math.Inf(-1), math.Inf(-1)
			for i, v := range x[r*b : (r+1)*b] {
				if f.alike(i, at+r) {
					own = math.Max(own, float64(v))
				} else {
					other = math.Max(other, float64(v))
				}
			}
			if own > other {
				hits.Add(1)
			}
		})
	}
	return int(hits.Load())
}

// fewElements is how many elements are not worth a second goroutine: some 50 µs of exponentials.
const fewElements = 1 << 13

// eachRow calls f with the number of every row of n elements, on as many processors as are worth it.
func eachRow(rows, n int, f func(r int)) {
	var next atomic.Int64
	work := func() {
		for r := int(next.Add(1)) - 1; r < rows; r = int(next.Add(1)) - 1 {
			f(r)
		}
	}
	var wg sync.WaitGroup
	for range min(rows, rows*n/fewElements, runtime.GOMAXPROCS(0)-1) {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
