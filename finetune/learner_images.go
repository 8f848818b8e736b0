package finetune

import (
	"math/rand/v2"
	"slices"

	"github.com/nlpodyssey/spago/mat"
	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/finetune/data"
	"github.com/vitago/vitago/finetune/probe"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/projector"
)

// images is the [learner] of a tower and a head, which may be nil.
type images struct {
	batchwise
}

func newImages(t *Trainer) *images {
	l := &images{batchwise{t: t}}
	l.judged = func(b *data.Batch, from Source, all scorer) (mat.Tensor, float64, error) {
		y, err := l.forward(b, from)
		if err != nil {
			return nil, 0, err
		}
		if all != nil {
			all.add(y, b)
		}
		return t.Objective.Judge(y, b)
	}
	return l
}

// forward computes what the head gives for a batch of a source.
func (l *images) forward(b *data.Batch, from Source) (mat.Tensor, error) {
	t := l.t
	y, err := t.features(b, from, func() (mat.Tensor, error) { return t.Features.Of(t.Tower, b.Patches) })
	if err != nil || t.Head == nil {
		return y, err
	}
	return forward(t.Head, y)
}

func (l *images) names() (tower, head string) { return hashOf(l.t.Tower), headName(l.t.Head) }

func (l *images) parts() parts {
	p := parts{Tower: l.t.Tower}
	if l.t.Head != nil { // or it is no nn.Model
		p.Head = l.t.Head
	}
	return p
}

func (l *images) free(rng *rand.Rand) error {
	t := l.t
	if t.Head != nil {
		nn.ForEachParam(t.Head, func(p *nn.Param) { p.SetRequiresGrad(t.Recipe.HeadRate > 0) })
	}
	return t.Recipe.free(t.Tower, t.Features, rng)
}

func (l *images) space(c *probe.Cache) (*probe.Space, error) {
	return c.Space(l.t.Tower, l.t.Features)
}

func (l *images) activations(recompute bool) (activations, data int64) {
	t := l.t
	c, batch := t.Tower.Config, t.Recipe.Batch
	blocks := t.Tower.Blocks[:t.Features.Blocks(t.Tower.Config)]
	tower := kept(blocks, slices.ContainsFunc(t.Tower.Stem(), (*nn.Param).RequiresGrad), int64(batch)*int64(c.Tokens()), l.read(), c.Width, c.MLPWidth, c.Heads, recompute)
	rows, _ := rowsAndWidth(t.Features, c)
	return tower + headActivations(t.Head, int64(batch)*int64(rows)), ahead * 4 * int64(batch) * int64(c.Patches()*c.PatchLen())
}

// read returns how many tokens of a batch are read of those that leave the last block.
func (l *images) read() int64 {
	n := int64(l.t.Recipe.Batch)
	if l.t.Features.HasLayer() {
		n *= int64(l.t.Tower.Config.Tokens())
	}
	return n
}

func (l *images) savings(m Memory, loaded, _ int64, add func(total int64, format string, a ...any)) {
	t := l.t
	r, c := t.Recipe, t.Tower.Config
	// Of another recipe: what a tower that learns in part takes beside its activations.
	partly := func(learning int64, blocks int) int64 {
		through := activations(blocks, int64(r.Batch)*int64(c.Tokens()), l.read(), c.Width, c.MLPWidth, c.Heads, true)
		return m.Data + l.beside() + loaded + 4*learning + through
	}
	used := t.Features.Blocks(t.Tower.Config)
	blockBytes := bytesOf(t.Tower.Blocks[0]) // of float32, if it learns
	if r.Tower == Complete {
		const few = 4 // blocks, as the preset has
		n := min(few, used)
		add(partly(int64(n)*blockBytes, n), `by the recipe "last-n" with %s`, plural.Of(n, "block"))
	}
	if r.Tower == Last && r.Blocks > 1 {
		add(m.Total()-int64(r.Blocks-1)*4*blockBytes, "with 1 block that learns")
	}
	if r.Tower == Complete || r.Tower == Last {
		const rank, products = 16, 2 // as the preset has: 2 matrices [C,16] for each of 2 products
		add(partly(int64(used)*4*2*products*rank*int64(c.Width), used), `by the recipe "lora"`)
	}
	if r.Tower != None {
		add(partly(0, 0), `by the recipe "probe"`)
	}
}

func (l *images) models(all bool) (m converter.Models) {
	t := l.t
	if all || t.Recipe.Tower != None {
		m.Vision = t.Tower
	}
	m.Projector, _ = t.Head.(*projector.Model)
	return m
}
