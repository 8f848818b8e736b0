package finetune

import (
	"fmt"
	"strings"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Memory is how many bytes a run takes at its peak, by part, as far as shapes tell.
type Memory struct {
	Frozen      int64 // weights that do not learn, packed
	Learning    int64 // weights that do
	Gradients   int64 // of these
	Optimizer   int64 // two numbers for each
	Averages    int64 // one, if the recipe has them
	Activations int64 // what is kept of a batch for the gradients, and those on the way
	Data        int64 // batches made ahead
}

// Total returns the sum of the parts.
func (m Memory) Total() int64 {
	return m.Frozen + m.Learning + m.Gradients + m.Optimizer + m.Averages + m.Activations + m.Data
}

// String returns a line for every part.
func (m Memory) String() string {
	var b strings.Builder
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"frozen weights", m.Frozen}, {"learning weights", m.Learning}, {"gradients", m.Gradients}, {"optimiser", m.Optimizer},
		{"averages", m.Averages}, {"activations", m.Activations}, {"batches ahead", m.Data}, {"in all", m.Total()},
	} {
		fmt.Fprintf(&b, "%-18s %8.1f MB\n", p.name, float64(p.n)/1e6)
	}
	return b.String()
}

// Memory estimates what the run takes.
func (t *Trainer) Memory() Memory {
	var m Memory
	params.Walk(&t.model, func(_ string, p *nn.Param) {
		n := 4 * int64(p.Size())
		switch frozen, ok := p.Matrix.(*op.Frozen); {
		case p.RequiresGrad():
			m.Learning += n
		case ok:
			m.Frozen += int64(frozen.Bytes())
		default:
			m.Frozen += n
		}
	})
	m.Gradients, m.Optimizer = m.Learning, 2*m.Learning
	if t.Recipe.EMA > 0 {
		m.Averages = m.Learning
	}
	m.Activations = activations(t.Tower, t.Features, t.Recipe.Batch)
	c := t.Tower.Config
	const ahead = 4 // the batch in use, two of data.Loader's, one in the making
	m.Data = ahead * 4 * int64(t.Recipe.Batch) * int64(c.Patches()*c.PatchLen())
	return m
}

// activations estimates what the tower keeps of a batch: of every block through which a gradient flows what
// its operators have as operands, and as much again for the gradients of these, which spago's graph holds
// until it is dropped. If blocks are computed again, it is that of one block, and what goes into each.
//
//	of a token: Norm1 C, QKV 3C, attention C, sum C, Norm2 C, Up F, activation F, sum C
func activations(m *clipvit.Model, f Features, batch int) int64 {
	c := m.Config
	n := f.blocks(m)
	first := n // the first block with a gradient to compute
	for i := n - 1; i >= 0; i-- {
		if learns(m.Blocks[i]) {
			first = i
		}
	}
	if learns(m.Embed) || learns(m.PreNorm) {
		first = 0
	}
	tokens := int64(batch) * int64(c.Tokens())
	block := 4 * tokens * int64(8*c.Width+2*c.MLPWidth+2*c.Heads)
	blocks := int64(n - first)
	passing := block // without a graph
	if m.Recompute {
		between := 4 * tokens * int64(c.Width)
		return 2*between*blocks + 2*block*min(blocks, 1) + passing
	}
	return 2*block*blocks + passing
}

// learns reports whether any parameter wants a gradient.
func learns(m nn.Model) (yes bool) {
	nn.ForEachParam(m, func(p *nn.Param) { yes = yes || p.RequiresGrad() })
	return yes
}

// checkMemory has blocks computed again where the run would take more memory than it may otherwise, and
// returns an error with advice if it still would.
func (t *Trainer) checkMemory() error {
	limit := t.MemoryLimit
	if limit == 0 {
		limit = physicalMemory()
	}
	m := t.Memory()
	if limit > 0 && m.Total() > limit && !t.Tower.Recompute {
		t.Tower.Recompute = true // slower, but to the same end
		m = t.Memory()
	}
	if limit <= 0 || m.Total() <= limit {
		return nil
	}
	var advice []string
	if t.Recipe.Batch > 1 {
		advice = append(advice, "a smaller batch, with more of them in a step")
	}
	switch t.Recipe.Tower {
	case Complete:
		advice = append(advice, `recipe "last-n" or "lora"`)
	case Last:
		advice = append(advice, `fewer blocks, or recipe "lora"`)
	case LowRank:
		advice = append(advice, `recipe "probe"`)
	}
	if m.Averages > 0 {
		advice = append(advice, "no averages")
	}
	if len(advice) == 0 {
		advice = []string{"a machine with more memory"}
	}
	return fmt.Errorf("finetune: about %.1f GB of memory are needed, the limit is %.1f GB; try %s\n%s",
		float64(m.Total())/1e9, float64(limit)/1e9, strings.Join(advice, ", or "), m)
}
