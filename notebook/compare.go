package notebook

import (
	"context"

	"github.com/vitago/vitago/converter"
	"github.com/vitago/vitago/converter/compare"
	"github.com/vitago/vitago/converter/compare/chart"
)

// A Comparison says how two checkpoints are related.
type Comparison struct {
	Summary string  // in a sentence or a few
	Verdict string  // "identical", "tuned", "unrelated", …
	Blocks  []Block // of both towers, in their order
	of      *compare.Comparison
}

// A Block says how far one of B's blocks is from A's.
type Block struct {
	Tower    string  // "vision" or "text"
	Number   int     // from 0
	Verdict  string  // as of [Comparison]
	Distance float64 // |a-b| / |a|; NaN if they have no numbers in common
}

// Compare says how the checkpoint b is related to a, whatever software wrote them: whether one was made from the other, and how far each
// block was moved.
func Compare(a, b string) *Comparison {
	c := &Comparison{}
	call("comparing", func(ctx context.Context, p *progress) error {
		ma, err := converter.Open(a)
		if err != nil {
			return err
		}
		defer ma.Close()
		mb, err := converter.Open(b)
		if err != nil {
			return err
		}
		defer mb.Close()
		if c.of, err = compare.Models(ctx, ma, mb, compare.Options{Progress: func(done, total int64) { p.set(int(done>>20), int(total>>20)) }}); err != nil {
			return err
		}
		c.Summary, c.Verdict = c.of.Summary, string(c.of.Verdict)
		for _, g := range c.of.Groups {
			if g.Block >= 0 {
				c.Blocks = append(c.Blocks, Block{g.Tower, g.Block, string(g.Verdict), float64(g.RelativeL2)})
			}
		}
		return nil
	})
	return c
}

// String returns the summary.
func (c *Comparison) String() string { return c.Summary }

// SimpleRender shows the summary, and a plot of how far each block was moved if there is anything to see.
func (c *Comparison) SimpleRender() map[string]any { return render(c) }

func (c *Comparison) bundle() (bundle, error) {
	moved := false
	for _, b := range c.Blocks {
		moved = moved || b.Distance > 0
	}
	if !moved {
		return bundle{mimeText: c.Summary}, nil
	}
	p, err := chart.Drift(c.of)
	if err != nil {
		return nil, err
	}
	file, err := chart.PNG(p, plotDPI)
	if err != nil {
		return nil, err
	}
	return bundle{mimePNG: file, mimeText: c.Summary}, nil
}
