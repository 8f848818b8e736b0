package finetune

import (
	"testing"

	"github.com/nlpodyssey/spago/ag"
	"github.com/nlpodyssey/spago/optimizers"
	"github.com/nlpodyssey/spago/optimizers/adam"
	"github.com/nlpodyssey/spago/optimizers/sgd"

	"github.com/vitago/vitago/finetune/optim"
	"github.com/vitago/vitago/internal/op"
)

// TestSpagoOptimizers: spago's own optimisers train a tower and a head.
func TestSpagoOptimizers(t *testing.T) {
	for name, strategy := range map[string]optimizers.OptimizationStrategy{
		"Adam": adam.New(adam.NewConfig(3e-3, 0.9, 0.999, 1e-8)),
		"SGD":  sgd.New[float32](sgd.NewConfig(1e-2, 0.9, true)),
	} {
		t.Run(name, func(t *testing.T) {
			m, s, _ := task(t, 12)
			head := NewClassifier(m.Config.EmbedDim, threeClasses)
			var first, last float64
			for step := range 60 {
				x := matrix(s.patches, []int{12 * m.Config.Patches(), m.Config.PatchLen()})
				loss := op.CrossEntropy(head.Forward(m.Embedding(x)), s.labels, 0)
				if err := ag.Backward(loss); err != nil {
					t.Fatal(err)
				}
				for _, p := range optim.Collect(&parts{Tower: m, Head: head}) {
					if err := strategy.OptimizeParams(p.Param); err != nil {
						t.Fatal(err)
					}
				}
				if last = loss.Item().F64(); step == 0 {
					first = last
				}
			}
			if !(last < 0.3*first) { // of one batch, over and over
				t.Errorf("loss from %v to %v", first, last)
			}
		})
	}
}
