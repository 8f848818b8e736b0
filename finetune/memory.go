package finetune

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/nn"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/internal/op"
	"github.com/vitago/vitago/internal/params"
)

// Memory is how many bytes a run takes at its peak, by part, as far as shapes tell.
type Memory struct {
	Frozen      int64 // weights that do not learn, packed, a teacher's among them
	Learning    int64 // weights that do
	Gradients   int64 // of these
	Optimizer   int64 // two numbers for each
	Averages    int64 // one, if the recipe has them
	Activations int64 // what is kept of a batch for the gradients, and those on the way
	Data        int64 // batches made ahead

	// Recomputed are the activations if blocks are computed again for the gradients; see [Config.Recompute].
	Recomputed int64
}

// Total returns the sum of the parts.
func (m Memory) Total() int64 {
	return m.Frozen + m.Learning + m.Gradients + m.Optimizer + m.Averages + m.Activations + m.Data
}

// String returns a line for every part.
func (m Memory) String() string {
	var b strings.Builder
	line := func(name string, n int64) { fmt.Fprintf(&b, "%-18s %8.1f MB\n", name, float64(n)/1e6) }
	line("frozen weights", m.Frozen)
	line("learning weights", m.Learning)
	line("gradients", m.Gradients)
	line("optimiser", m.Optimizer)
	line("averages", m.Averages)
	line("activations", m.Activations)
	line("batches ahead", m.Data)
	line("in all", m.Total())
	if m.Recomputed < m.Activations {
		line("with recomputation", m.Total()-m.Activations+m.Recomputed)
	}
	return b.String()
}

// Memory estimates what the run takes.
func (t *Trainer) Memory() Memory {
	var m Memory
	m.Frozen = t.learner.beside()
	params.Walk(&t.model, func(_ string, p *nn.Param) {
		if p.RequiresGrad() {
			m.Learning += bytesOfParam(p)
		} else {
			m.Frozen += bytesOfParam(p)
		}
	})
	m.Gradients, m.Optimizer = m.Learning, 2*m.Learning
	if t.Recipe.EMA > 0 {
		m.Averages = m.Learning
	}
	m.Activations, m.Data = t.learner.activations(t.Tower.Recompute)
	m.Recomputed, _ = t.learner.activations(true)
	return m
}

// bytesOf returns what the weights of a model take.
func bytesOf(m nn.Model) (n int64) {
	nn.ForEachParam(m, func(p *nn.Param) { n += bytesOfParam(p) })
	return n
}

func bytesOfParam(p *nn.Param) int64 {
	if frozen, ok := p.Matrix.(*op.Frozen); ok {
		return int64(frozen.Bytes())
	}
	return 4 * int64(p.Size())
}

// kept estimates what a tower keeps of so many tokens if a gradient flows through the blocks from the first
// that learns on, or through all if something below them does. Who comes after them reads so many rows of these tokens.
func kept(blocks []*transformer.Block, below bool, tokens, rows int64, width, mlpWidth, heads int, recompute bool) int64 {
	n := len(blocks)
	if !below {
		n = 0
		if i := slices.IndexFunc(blocks, func(b *transformer.Block) bool { return transformer.WantsGrad(b) }); i >= 0 {
			n = len(blocks) - i
		}
	}
	return activations(n, tokens, rows, width, mlpWidth, heads, recompute)
}

// activations estimates what is kept of tokens: of every block through which a gradient flows what
// its operators have as operands, and as much again of one block for the gradients of these, since a graph
// gives memory back as it goes. If blocks are computed again, it is that of one block, and what goes into each.
//
//	of a token: Norm1 C, QKV 3C, attention C, sum C, Norm2 C, Up F, activation F, sum C
//
// If not all tokens are read of the last block, it has all but Norm1 and QKV of these rows alone, and what goes into it, C, once
// more; see [transformer.Block.ForwardRows]. That is given back before the block below has gradients.
func activations(blocks int, tokens, rows int64, width, mlpWidth, heads int, recompute bool) int64 {
	n := int64(blocks)
	block := 4 * tokens * int64(8*width+2*mlpWidth+2*heads)
	passing := block // without a graph
	if n == 0 {
		return passing
	}
	last := block
	if rows < tokens {
		last = 4 * (tokens*int64(4*width) + rows*int64(5*width+2*mlpWidth))
	}
	if recompute {
		again, between := last, 4*tokens*int64(width)
		if n > 1 {
			again = max(last, block)
		}
		return 2*between*n + 2*again + passing
	}
	top := 2 * last // with its gradients
	if n > 1 {
		top = max(top, block) // the gradients of the block below, when the last is gone
	}
	return block*(n-1) + top + passing
}

// headActivations estimates the same of a head that gets so many rows: of each product what comes out, twice,
// since most have an activation behind them, and the gradients of these.
func headActivations(h Head, rows int64) (n int64) {
	if h == nil {
		return 0
	}
	nn.ForEachParam(h, func(p *nn.Param) {
		if s := p.Shape(); len(s) == 2 && s[1] > 1 {
			n += 4 * rows * 2 * 2 * int64(s[0])
		}
	})
	return n
}

// A MemoryError says that a run would take more memory than it may, although blocks may be computed again for
// the gradients.
type MemoryError struct {
	Need   Memory   // of the run, by what takes it
	Limit  int64    // bytes
	Advice []Saving // what would take less, the least first
}

// A Saving is another way to run, and the bytes that it would take, about.
type Saving struct {
	What  string // in words: "with a batch of 8", …
	Total int64  // bytes
}

// Error implements error.
func (e *MemoryError) Error() string {
	again := "even"
	if e.Need.Recomputed > e.Need.Activations {
		again = "and more"
	}
	s := fmt.Sprintf("finetune: about %s of memory are needed, %s if blocks are computed again for the gradients (recompute); the limit is %s", size(e.Need.Total()), again, size(e.Limit))
	for i, a := range e.Advice {
		s += fmt.Sprintf("%s %s %s", []string{"; it would take", ","}[min(i, 1)], size(a.Total), a.What)
	}
	return s + "\n" + padding.ReplaceAllString(e.Need.String(), " ")
}

// padding is what aligns the columns of a table, which an error may stand in one line with.
var padding = regexp.MustCompile(` {2,}`)

// size writes bytes for a person.
func size(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// checkMemory has blocks computed again where the run would take more memory than it may otherwise and less by that, and
// returns a *[MemoryError] if it still would. loaded is what the tower took before it was to learn.
func (t *Trainer) checkMemory(loaded int64) error {
	limit := t.MemoryLimit
	if limit == 0 {
		limit = physicalMemory()
	}
	m := t.Memory()
	if limit > 0 && m.Total() > limit && m.Recomputed < m.Activations {
		t.learner.recompute(true) // slower, but to the same end
		m = t.Memory()
	}
	if limit <= 0 || m.Total() <= limit {
		return nil
	}
	return &MemoryError{m, limit, t.savings(m, loaded, limit)}
}

// savings returns what a run that takes m could do to take less, the least first.
func (t *Trainer) savings(m Memory, loaded, limit int64) []Saving {
	var all []Saving
	add := func(total int64, format string, a ...any) {
		if total < m.Total() {
			all = append(all, Saving{fmt.Sprintf(format, a...), total})
		}
	}
	r := t.Recipe
	if r.Batch > 1 { // the largest that fits, or else 1
		moving := m.Activations + m.Data // in proportion to the batch
		batch := (limit - m.Total() + moving) * int64(r.Batch) / moving
		batch = min(max(batch, 1), int64(r.Batch)-1)
		steps := (int64(r.Batch*r.Accumulate) + batch - 1) / batch
		add(m.Total()-moving+moving*batch/int64(r.Batch), "with batches of %d, %d to a step", batch, steps)
	}
	if m.Averages > 0 {
		add(m.Total()-m.Averages, "without averages (EMA 0)")
	}
	t.learner.savings(m, loaded, limit, add)
	slices.SortStableFunc(all, func(a, b Saving) int { return cmp.Compare(a.Total, b.Total) })
	return all
}
