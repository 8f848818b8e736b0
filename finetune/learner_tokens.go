package finetune

import (
	"fmt"
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

// tokens is the [learner] of an encoder.
type tokens struct {
	batchwise
	encoder *projector.Encoder
	shared  *TokenDistillation // whose teacher stands on the encoder's frozen tower; nil if none does
}

// An objective whose teacher may stand on the tower of the encoder that learns.
type sharing interface {
	sharedWith(e *projector.Encoder) *TokenDistillation
}

func newTokens(t *Trainer) *tokens {
	l := &tokens{batchwise: batchwise{t: t}, encoder: t.Encoder}
	if o, ok := t.Objective.(sharing); ok {
		l.shared = o.sharedWith(l.encoder)
	}
	l.judged = func(b *data.Batch, from Source, _ scorer) (mat.Tensor, float64, error) { return l.judgeTokens(b, from) }
	return l
}

// judgeTokens judges the tokens [N,O] of a batch. A frozen tower sees it once, for the teacher too where it has the same one.
func (l *tokens) judgeTokens(b *data.Batch, from Source) (loss mat.Tensor, score float64, err error) {
	e, t := l.encoder, l.t
	if b.Views == nil {
		return nil, 0, fmt.Errorf("finetune: a batch of %d pictures without views, which layout %q makes", b.Len(), e.Layout.Name)
	}
	if t.Recipe.Tower != None {
		y, err := e.Forward(b.Views)
		if err != nil {
			return nil, 0, err
		}
		return t.Objective.Judge(y, b)
	}
	x, err := t.features(b, from, func() (mat.Tensor, error) { return e.Features(b.Views) }) // [B·T,C]
	if err != nil {
		return nil, 0, err
	}
	y, err := e.Project(x, b.Views)
	switch {
	case err != nil:
		return nil, 0, err
	case l.shared != nil:
		return l.shared.judgeOf(x, y, b)
	default:
		return t.Objective.Judge(y, b)
	}
}

func (l *tokens) names() (tower, head string) {
	return hashOf(l.encoder), layoutName(l.encoder.Layout) + projector.SelectFeature(l.encoder.Select.Kind)
}

func (l *tokens) parts() parts {
	e := l.encoder
	return parts{Tower: e.Tower, Projector: e.Projector, Newline: e.Newline, RowSeparator: e.RowSeparator, GlobalSeparator: e.GlobalSeparator}
}

func (l *tokens) free(rng *rand.Rand) error {
	l.t.Recipe.freeProjector(l.encoder)
	return l.t.Recipe.free(l.encoder.Tower, l.t.Features, rng)
}

// space opens the part of the cache for the tokens of the encoder's tower.
func (l *tokens) space(c *probe.Cache) (*probe.Space, error) {
	layout := l.encoder.Layout
	layout.Name = "" // which decides nothing
	return c.ViewsSpace(l.encoder.Tower, l.encoder.Select.Layer, layoutName(layout))
}

func (l *tokens) beside() int64 {
	if l.shared != nil {
		return l.batchwise.beside() - bytesOf(l.encoder.Tower) // which is a part
	}
	return l.batchwise.beside()
}

// views returns how many views a batch has at most.
func (l *tokens) views() int64 { return int64(l.t.Recipe.Batch * l.encoder.Layout.Views()) }

func (l *tokens) activations(recompute bool) (activations, data int64) {
	activations, patches := l.ofViews(l.views(), l.t.Recipe.Tower, recompute)
	return activations, ahead * patches
}

// ofViews estimates the activations of a batch of so many views, with this part of the tower learning and its blocks
// computed again or not, and the bytes of their patches.
func (l *tokens) ofViews(views int64, part Part, recompute bool) (activations, patches int64) {
	e, t := l.encoder, l.t
	c := e.Tower.Config
	tokens := views * int64(c.Tokens())
	rows := views * int64(c.Patches())
	if e.Layout.Fit == projector.Tile {
		rows /= 4
	}
	rows += views * int64(c.Grid()) // separators
	// What leaves the tower, and what is put together of it.
	between := 4 * (tokens*int64(c.Width) + rows*int64(e.Projector.Config.In))
	if part == None {
		const together = 1200 // tokens that a frozen tower takes at a time: clipvit's partTokens
		n := min(tokens, max(together, int64(c.Tokens())))
		activations = kept(nil, false, n, n, c.Width, c.MLPWidth, c.Heads, recompute)
	} else {
		between *= 2 // and the gradients
		blocks := e.Tower.Blocks[:t.Features.Blocks(e.Tower.Config)]
		activations = kept(blocks, slices.ContainsFunc(e.Tower.Stem(), (*nn.Param).RequiresGrad), tokens, tokens, c.Width, c.MLPWidth, c.Heads, recompute)
	}
	target := 4 * rows * int64(e.Projector.Config.Out)
	return activations + between + headActivations(e.Projector, rows) + target, 4 * views * int64(c.Patches()*c.PatchLen())
}

func (l *tokens) savings(m Memory, loaded, limit int64, add func(total int64, format string, a ...any)) {
	e, t := l.encoder, l.t
	if t.Recipe.Tower != None {
		frozen, _ := l.ofViews(l.views(), None, false)
		learning := int64(0)
		for _, p := range t.learning() {
			if separatorNames[p.Path] != "" || groupName(p.Path) == "Projector" {
				learning += bytesOfParam(p.Param)
			}
		}
		add(frozen+m.Data+loaded+4*learning+l.batchwise.beside(), `by the recipe "projector"`)
	}
	if e.Layout.Fit != projector.Tile {
		return
	}
	for n := e.Layout.HDNum - 1; n > 0; n-- {
		activations, _ := l.ofViews(int64(1+n), t.Recipe.Tower, true)
		total := m.Total() - m.Activations - m.Data + activations + m.Data/l.views()*int64(1+n)
		if total <= limit || n == 1 {
			add(total, "with %s at most (hd_num)", plural.Of(n, "tile"))
			return
		}
	}
}

func (l *tokens) models(all bool) (m converter.Models) {
	r := l.t.Recipe
	if all || r.Tower != None {
		m.Vision = l.encoder.Tower
	}
	if all || r.HeadRate > 0 { // or it keeps its precision
		m.Encoder = l.encoder
	}
	return m
}
