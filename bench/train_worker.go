package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune"
	"github.com/vitago/vitago/finetune/adapter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/history"
	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/projector"
)

// A lesson says what a worker is to train, and how. All contenders begin with the same weights.
type lesson struct {
	Case    string  `json:"case"`    // full, lora or projector
	Batch   int     `json:"batch"`   // images of a step
	Classes int     `json:"classes"` // of the head on a tower
	Rank    int     `json:"rank"`    // of LoRA, in every product of a block; its alpha is the same
	Width   int     `json:"width"`   // that the projector gives
	Rate    float64 `json:"rate"`    // of AdamW, whose other numbers are PyTorch's
	Decay   float64 `json:"decay"`   // of weights; norms, biases and embeddings have none
	Clip    float64 `json:"clip"`    // the largest norm of the gradients
}

// A stepResult is what a step of training computed, and what its parts took.
type stepResult struct {
	Loss  float64    `json:"loss"`
	Norm  float64    `json:"norm"`  // of the gradients, before they are clipped
	Parts [3]float64 `json:"parts"` // seconds: forward with the loss, backward, clipping and optimiser
}

// numbers gives values one after the other, each once, so that nothing is correlated with anything.
type numbers struct{ at int }

func (s *numbers) next(n int, scale float32) []float32 {
	v := valuesFrom(s.at, n)
	for i := range v {
		v[i] *= scale
	}
	s.at += n
	return v
}

// The scales of weights; powers of two, so that every product is exact. For ViT-L they give a head logits
// near 1, and the others the range of torch's nn.Linear.
const (
	headScale = 1.0 / 32
	loraScale = 1.0 / 64
	projScale = 1.0 / 64
)

// prepare makes w.step what a lesson asks for.
func (w *worker) prepare(dir string, l lesson) (err error) {
	if w.model, err = converter.Load(dir); err != nil {
		return err
	}
	switch l.Case {
	case "full", "lora":
		w.step, err = trainTower(w.model, l, w.kind == "recompute")
	case "projector":
		c := w.model.Config
		w.model = nil // its features are given
		w.step, err = trainProjector(c, l)
	default:
		err = fmt.Errorf("lesson %q, want full, lora or projector", l.Case)
	}
	return err
}

// A drill is a source of one batch, again and again, which it lets a trainer learn from, and watches: the
// clock is read when the loss has been judged, and when the trainer next asks for the number of batches,
// which it does between the gradients and the optimiser.
type drill struct {
	finetune.Classification
	batch             data.Batch
	forward, backward time.Time // when each ended
	last              history.Event
}

// Len implements finetune.Source.
func (d *drill) Len() int {
	if d.backward.IsZero() {
		d.backward = time.Now()
	}
	return 1 << 20 // an epoch that does not end
}

// Batches implements finetune.Source.
func (d *drill) Batches(_ context.Context, epoch, from int) iter.Seq2[*data.Batch, error] {
	return func(yield func(*data.Batch, error) bool) {
		for {
			b := d.batch
			b.Epoch, b.Number = epoch, from
			if !yield(&b, nil) {
				return
			}
			from++
		}
	}
}

// Judge implements finetune.Objective.
func (d *drill) Judge(y mat.Tensor, b *data.Batch) (loss mat.Tensor, score float64, err error) {
	loss, score, err = d.Classification.Judge(y, b)
	d.forward, d.backward = time.Now(), time.Time{}
	return loss, score, err
}

// Write implements history.Sink.
func (d *drill) Write(e history.Event) error {
	d.last = e
	return nil
}

// trainTower returns a step of fine-tuning as the trainer of package finetune makes it.
func trainTower(m *clipvit.Model, l lesson, recompute bool) (func() (stepResult, error), error) {
	c := m.Config
	var s numbers
	d := &drill{batch: data.Batch{Patches: patches(s.next(l.Batch*3*c.ImageSize*c.ImageSize, 1), c)}}
	for i := range l.Batch {
		d.batch.Index, d.batch.Labels = append(d.batch.Index, i), append(d.batch.Labels, i%l.Classes)
	}
	head := finetune.NewClassifier(c.OutputDim(), make([]string, l.Classes))
	copy(mat.Data[float32](head.Linear.W), s.next(l.Classes*c.OutputDim(), headScale))
	r := finetune.Recipe{
		Name: l.Case, Tower: finetune.Complete, Rate: l.Rate, HeadRate: l.Rate, WeightDecay: l.Decay, LayerDecay: 1,
		Betas: [2]float64{optim.DefaultAdamW.Beta1, optim.DefaultAdamW.Beta2}, Schedule: finetune.Constant, Clip: l.Clip, Epochs: 1, Batch: l.Batch, Accumulate: 1,
	}
	if l.Case == "lora" {
		r.Tower, r.LoRA = finetune.LowRank, adapter.LoRA{Rank: l.Rank, Alpha: float64(l.Rank), Targets: adapter.Targets}
	}
	t, err := finetune.New(finetune.Config{
		Tower: m, Head: head, Objective: d, Recipe: r, Train: d, Recompute: recompute, MemoryLimit: -1, Sinks: []history.Sink{d},
	})
	if err != nil {
		return nil, err
	}
	for _, b := range m.Blocks {
		for _, list := range [][]*transformer.LoRA{b.Attn.QKVLoRA, b.Attn.OutLoRA, b.MLP.UpLoRA, b.MLP.DownLoRA} {
			for _, lora := range list {
				same := s // for every A of a size
				copy(mat.Data[float32](lora.A), same.next(lora.A.Size(), loraScale))
			}
		}
	}
	return func() (stepResult, error) {
		t.MaxSteps++
		start := time.Now()
		if _, err := t.Run(context.Background()); err != nil {
			return stepResult{}, err
		}
		return stepResult{d.last.Loss, d.last.Norm, parts(start, d.forward, d.backward)}, nil
	}, nil
}

// trainProjector returns a step of training of a projector, on features that are given as the trainer's cache
// gives them, of what that trainer is made of.
func trainProjector(c clipvit.Config, l lesson) (func() (stepResult, error), error) {
	rows := l.Batch * c.Patches()
	m, err := projector.New(projector.Config{Type: "mlp2x_gelu", In: c.Width, Out: l.Width})
	if err != nil {
		return nil, err
	}
	var s numbers
	x := mat.NewDense[float32](mat.WithShape(rows, c.Width), mat.WithBacking(s.next(rows*c.Width, 1)))
	targets := s.next(rows*l.Width, 1)
	for _, layer := range m.Layers {
		copy(mat.Data[float32](layer.W), s.next(layer.W.Size(), projScale))
	}
	groups := []optim.Group{{Name: "weights", Rate: l.Rate, WeightDecay: l.Decay}, {Name: "biases", Rate: l.Rate}}
	for _, p := range optim.Collect(m) {
		g := &groups[0]
		if optim.NoDecay(p.Path, p.Shape()) {
			g = &groups[1]
		}
		g.Params = append(g.Params, p)
	}
	o, err := optim.NewAdamW(groups, optim.DefaultAdamW)
	if err != nil {
		return nil, err
	}
	return func() (r stepResult, err error) {
		start := time.Now()
		loss := op.MSE(m.Forward(x), targets)
		r.Loss = loss.Item().F64()
		forward := time.Now()
		if err := ag.Backward(loss); err != nil {
			return r, err
		}
		backward := time.Now()
		r.Norm, err = o.ClipStep(1, l.Clip, 1)
		o.ZeroGrad()
		r.Parts = parts(start, forward, backward)
		return r, err
	}, nil
}

// parts returns the seconds of a step's parts, the last of which ends now.
func parts(start, forward, backward time.Time) [3]float64 {
	return [3]float64{forward.Sub(start).Seconds(), backward.Sub(forward).Seconds(), time.Since(backward).Seconds()}
}
