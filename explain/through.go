package explain

import (
	"context"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
)

// forward sends patches [G²,3P²] through blocks, the last of which take part. Tokens lie in rows, as gradients want them, so that
// weights are packed for that once.
func (v *view) forward(ctx context.Context, patches mat.Tensor, blocks transformer.Blocks, seen bool) error {
	t := v.tower.Config.Tokens()
	x := op.LayerNorm(v.tower.Embed.Forward(patches), v.tower.PreNorm) // [T,C]
	for i, b := range blocks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var y, p mat.Tensor
		kept := i >= len(blocks)-len(v.blocks)
		if kept && seen {
			y, p = b.ForwardSeen(x, t) // [T,C], [H·T,T]
			v.seen = append(v.seen, headMean(p.Value().Data().F32(), t))
			op.Release(y, p)
		} else {
			y = b.Forward(x, t) // [T,C]
		}
		if kept && !seen {
			v.inputs = append(v.inputs, x)
		} else {
			op.Release(y, x)
		}
		x = op.FromPanels(y)
	}
	v.inputs = append(v.inputs, x)
	v.features = v.head(x, op.ClassRows(x, t)).Value().Data().F32()
	return nil
}

// head makes features [n,D] of rows [n,C] of the tokens x.
func (v *view) head(x, rows mat.Tensor) mat.Tensor {
	if v.kind == clipvit.ClassToken {
		return rows
	}
	y := op.LayerNorm(rows, v.tower.PostNorm) // [n,C]
	if v.kind == clipvit.Embedding && v.tower.Proj != nil {
		y = op.Project(y, v.tower.Proj) // [n,E]
	}
	return y
}

// relevance returns how relevant each token [T] is to the score of a target.
func (v *view) relevance(ctx context.Context, to target) ([]float64, error) {
	t := v.tower.Config.Tokens()
	x := leaf(v.inputs[len(v.inputs)-1])
	y := v.head(x, op.ClassRows(x, t)) // [1,D]
	seed := to.vector
	if to.cosine {
		y, seed = op.Normalize(y), unit(to.vector, to.scale)
	}
	if err := backward(y, row(seed)); err != nil {
		return nil, err
	}
	return relevance(ctx, v.blocks, v.inputs, t, 0, x.Grad())
}

// rollout returns how much of each token [T] is in the class token.
func (v *view) rollout() []float64 {
	t := v.tower.Config.Tokens()
	r := make([]float64, t)
	r[0] = 1
	for i := range v.seen {
		p := v.seen[len(v.seen)-1-i]
		for j, x := range through(r, p, t) {
			r[j] = (r[j] + x) / 2
		}
	}
	return r
}

// similarity returns the cosine of each patch [G²] with a vector.
func (v *view) similarity(vector []float32) []float64 {
	x := v.inputs[len(v.inputs)-1]
	y := v.head(x, op.PatchRows(x, v.tower.Config.Tokens())).Value().Data().F32() // [G²,D]
	to := unit(vector, 1)
	values := make([]float64, v.tower.Config.Patches())
	for i := range values {
		values[i] = dot(unit(y[i*len(to):(i+1)*len(to)], 1), to)
	}
	return values
}

// A reading is a caption that has gone through the text tower.
type reading struct {
	tower  *cliptext.Model
	words  []string           // of the tokens between the first and the last
	blocks transformer.Blocks // that take part
	inputs []mat.Tensor       // of blocks, and what leaves the last [T,C]
	vector []float32          // [E]
}

// length returns T, the number of tokens up to the end of the text.
func (r *reading) length() int { return r.inputs[0].Shape()[0] }

// forward sends the ids of a text through the tower.
func (r *reading) forward(ctx context.Context, ids []int) error {
	var all []mat.Tensor // what leaves the embedding and each block
	y, err := r.tower.ProbeContext(ctx, [][]int{ids}, func(stage string, x mat.Tensor) {
		if len(all) <= r.tower.Config.Layers {
			all = append(all, x)
		}
	})
	if err != nil {
		return err
	}
	r.inputs = all[len(all)-1-len(r.blocks):]
	r.vector = y.Value().Data().F32()
	return nil
}

// tokens returns the share of each of the caption's tokens in the score of features [E]. The end of a text is its last token
// that is computed, and what it is embedded by.
func (r *reading) tokens(ctx context.Context, features []float32, scale float64) ([]Token, error) {
	t := r.length()
	x := leaf(r.inputs[len(r.inputs)-1])
	y := op.LayerNorm(op.Gather(x, []int{t - 1}), r.tower.FinalNorm)
	y = op.Normalize(op.Project(y, r.tower.Proj)) // [1,E]
	if err := backward(y, row(unit(features, scale))); err != nil {
		return nil, err
	}
	values, err := relevance(ctx, r.blocks, r.inputs, t, t-1, x.Grad())
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for i := range r.words {
		sum += values[1+i]
	}
	tokens := make([]Token, len(r.words))
	for i, w := range r.words {
		tokens[i].Text = w
		if sum > 0 {
			tokens[i].Share = values[1+i] / sum
		}
	}
	return tokens, nil
}

// relevance returns row [T] of the relevance R of tokens, of which there are t. inputs are those of blocks, and gy [T,C] is the
// gradient of what leaves the last. R is (1+Aₙ)···(1+A₁) with A the mean over heads of max(0, P·∂score/∂P), so that one row of it
// can be computed from the last block to the first, in the order in which the gradients come.
func relevance(ctx context.Context, blocks transformer.Blocks, inputs []mat.Tensor, t, row int, gy mat.Tensor) ([]float64, error) {
	r := make([]float64, t)
	r[row] = 1
	for i := len(blocks) - 1; i >= 0; i-- {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		x := leaf(inputs[i])
		y, p := blocks[i].ForwardSeen(x, t) // [T,C], [H·T,T]
		if err := backward(y, gy); err != nil {
			return nil, err
		}
		cam, g := p.Value().Data().F32(), p.Grad().Data().F32()
		for i, v := range cam {
			g[i] = max(0, v*g[i])
		}
		for j, v := range through(r, headMean(g, t), t) {
			r[j] += v
		}
		gy = x.Grad()
	}
	return r, nil
}

// through returns the row r [T] times a matrix a [T,T].
func through(r []float64, a []float32, t int) []float64 {
	y := make([]float64, t)
	for i, by := range r {
		if by == 0 {
			continue
		}
		for j, v := range a[i*t : (i+1)*t] {
			y[j] += by * float64(v)
		}
	}
	return y
}

// headMean returns the mean [T,T] of the heads of p [H·T,T].
func headMean(p []float32, t int) []float32 {
	heads := len(p) / (t * t)
	mean := make([]float32, t*t)
	for i := range mean {
		sum := 0.0
		for h := range heads {
			sum += float64(p[h*t*t+i])
		}
		mean[i] = float32(sum / float64(heads))
	}
	return mean
}

// leaf returns a matrix with the values of x, which wants a gradient and has no graph behind it.
func leaf(x mat.Tensor) mat.Tensor {
	return mat.NewDense[float32](mat.WithShape(x.Shape()...), mat.WithBacking(x.Value().Data().F32()), mat.WithGrad(true))
}

// row returns a matrix [1,n].
func row(x []float32) mat.Tensor {
	return mat.NewDense[float32](mat.WithShape(1, len(x)), mat.WithBacking(x))
}

// backward sends the gradient g of y back to the leaves.
func backward(y, g mat.Tensor) error {
	y.AccGrad(g)
	return ag.Backward(y)
}
