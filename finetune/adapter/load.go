package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nlpodyssey/spago/mat"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/pillow"
)

// A placed correction is one of a list of a tower's layer.
type placed struct {
	list *[]*transformer.LoRA
	l    *transformer.LoRA
}

// Load reads an adapter that [Save] or peft wrote into the directory dir, as package peft reads it. It freezes m and gives it
// the corrections, and returns what they were made with: the rank and alpha that no pattern says, and the weights that are
// corrected. The corrections want a gradient. Adapters with more than corrections of a tower's linear layers, such as
// DoRA's, are an error: converter.Adapter merges these.
func Load(m *clipvit.Model, dir string) (LoRA, error) {
	if err := Merged(m); err != nil {
		return LoRA{}, err
	}
	c, all, err := read(m, dir)
	if err != nil {
		return c, err
	}
	m.Freeze()
	for _, p := range all {
		*p.list = append(*p.list, p.l)
	}
	return c, nil
}

// read reads the corrections of m from a directory, and says what they were made with.
func read(m *clipvit.Model, dir string) (c LoRA, all []placed, err error) {
	type layer struct {
		target loraTarget
		block  *transformer.Block
	}
	layers := map[string]layer{} // by their names without what is in front of "encoder"
	var modules []string
	LoRA{Targets: Targets}.each(m, func(module string, t loraTarget, b *transformer.Block) {
		layers[moduleName(module)] = layer{t, b}
		modules = append(modules, module)
	})
	find := func(parameter string) (layer, bool) {
		module, ok := strings.CutSuffix(parameter, ".weight")
		l, there := layers[moduleName(module)]
		return l, ok && there
	}
	a, err := peft.Open(dir, func(parameter string) bool { _, ok := find(parameter); return ok })
	if err != nil {
		return c, nil, fmt.Errorf("adapter: %w", pillow.Bare(err, "peft", "checkpoint"))
	}
	c = LoRA{Rank: a.Config.Rank, Alpha: a.Config.Alpha}
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("adapter: %s: "+format, append([]any{dir}, args...)...))
	}
	if b := a.Config.Bias; b != "none" && b != "" {
		wrong("bias is %.20q, want none", b)
	}
	for _, name := range a.Others {
		wrong("%s is no correction of %d blocks of a tower's %v", name, len(m.Blocks), Targets)
	}
	corrected := map[string]string{}
	for _, change := range a.Changes {
		l, _ := find(change.Parameter)
		module := strings.TrimSuffix(change.Parameter, ".weight")
		if !a.Config.Corrects(module) {
			wrong("%s is no correction that target_modules and layers_to_transform in %s name", change.Parameter, peft.ConfigFile)
			continue
		}
		w, list := l.target.layer(l.block)
		low, ok := change.LowRank()
		if !ok {
			wrong("%s is no correction by LoRA alone: merge it (converter.Adapter)", change.Parameter)
			continue
		}
		if was, ok := corrected[moduleName(module)]; ok {
			if was == module {
				wrong("%s is corrected twice", module)
			}
			continue // under the names of several versions of transformers
		}
		corrected[moduleName(module)] = module
		in, rows := w.W.Shape()[1], w.W.Shape()[0]/l.target.of
		if got, want := [2]int{len(low.A) / low.Rank, len(low.B) / low.Rank}, [2]int{in, rows}; got != want {
			wrong("%s: A has shape %v, want %v; B %v, want %v", module, []int{low.Rank, got[0]}, []int{low.Rank, want[0]}, []int{got[1], low.Rank}, []int{want[1], low.Rank})
			continue
		}
		if !slices.Contains(c.Targets, l.target.name) {
			c.Targets = append(c.Targets, l.target.name)
		}
		lora := transformer.NewLoRA(low.Rank, in, l.target.band*rows, rows, low.Scale)
		copy(mat.Data[float32](lora.A), low.A)
		copy(mat.Data[float32](lora.B), low.B)
		all = append(all, placed{list, lora})
	}
	for _, module := range modules { // of a file that is not whole
		_, ok := corrected[moduleName(module)]
		name := module[strings.LastIndex(module, ".")+1:]
		if !ok && errs == nil && slices.Contains(c.Targets, name) && a.Config.Corrects(module) {
			wrong("no correction of %s, and others of %s", module, name)
		}
	}
	slices.SortFunc(c.Targets, func(x, y string) int { return slices.Index(Targets, x) - slices.Index(Targets, y) })
	return c, all, errors.Join(errs...)
}
