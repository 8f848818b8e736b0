package converter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
)

// ErrAdapter is within the error of [Open] where it is given an adapter of peft's alone, whose base is not here.
var ErrAdapter = errors.New("an adapter of peft's, which is no model by itself: it has to be merged with its base model")

// Adapter merges the adapter in a directory, which the Python library peft wrote, with the weights of the model: LoRA and DoRA
// of its towers and its projector, and whole weights that were learnt beside. The weights that it changes become float32. Of
// several the first is merged first. What of an adapter is of a language model stays where it is, and is counted by
// [Model.LanguageModel]; what is of no part of the model is an error, as is an adapter of another kind.
//
// The directory of an adapter is opened as a model, too, if its base_model_name_or_path is a path that is there.
func Adapter(dir string) OpenOption { return Combine(peft.Cat, Weighted{dir, 1}) }

// A Weighted adapter is one in a directory, whose corrections are multiplied by a weight, which may be below 0.
type Weighted struct {
	Dir    string  // with adapter_config.json and its weights, as peft writes them
	Weight float64 // 1 is the adapter as it is; it must not be 0
}

// String returns the directory, with =WEIGHT where that is not 1.
func (w Weighted) String() string {
	if w.Weight == 1 {
		return w.Dir
	}
	return fmt.Sprintf("%s=%v", w.Dir, w.Weight)
}

// Combine merges several adapters at once, each with a weight, as [peft.Combine] says: by [peft.Cat] their corrections are added
// up, and so [Adapter] several times is the same with weights of 1; [peft.Linear] is peft's combination of that name. See
// [Adapter] for what becomes of the model.
func Combine(how peft.Combination, adapters ...Weighted) OpenOption {
	return func(s *source) { s.adapters = append(s.adapters, combined{how, slices.Clone(adapters)}) }
}

// A combined is what is merged at once.
type combined struct {
	how      peft.Combination
	adapters []Weighted
}

// Adapters returns the directories of the adapters that have been merged, in their order, with =WEIGHT where it is not 1.
func (m *Model) Adapters() []string { return slices.Clone(m.adapters) }

// maxAdapters bounds how many adapters may lie one upon another.
const maxAdapters = 16

// openAdapter opens the base of the adapter in a directory.
func openAdapter(dir string, entries []os.DirEntry, options []OpenOption, above int) (*source, error) {
	for _, w := range weightFiles {
		if names := w.matches(entries); len(names) > 0 && !strings.HasPrefix(w.name, "*") { // which may be a file of anything
			return nil, fmt.Errorf("converter: %s: an adapter (%s) beside weights (%s), want one of them", dir, peft.ConfigFile, names[0])
		}
	}
	if above >= maxAdapters {
		return nil, fmt.Errorf("converter: %s: %d adapters upon it, want at most %d", dir, above, maxAdapters)
	}
	base, err := adapterBase(dir)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	s, err := openAt(base, options, above+1)
	if err == nil {
		s.below = append(s.below, combined{peft.Cat, []Weighted{{dir, 1}}})
	}
	return s, err
}

// llavaRest is what LLaVA's training writes beside an adapter of the language model: the projector, and what else has learnt.
//
// Source: haotian-liu/LLaVA, llava/train/train.py, get_peft_state_non_lora_maybe_zero_3.
const llavaRest = "non_lora_trainables.bin"

// adapterBase returns the directory of the model that the adapter in a directory corrects, an [ErrAdapter] if it is not here.
func adapterBase(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, llavaRest)); err == nil {
		return "", fmt.Errorf("%s is %w, here that of a LLaVA, with what lies in %s: LLaVA's scripts/merge_lora_weights.py merges both", dir, ErrAdapter, llavaRest)
	}
	c, err := peft.ReadConfig(dir)
	if err != nil {
		return "", err
	}
	if c.Base == "" {
		return "", fmt.Errorf("%s is %w, and base_model_name_or_path in %s says none", dir, ErrAdapter, peft.ConfigFile)
	}
	if info, err := os.Stat(c.Base); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s is %w, %.100q, which is no directory here", dir, ErrAdapter, c.Base)
	}
	return c.Base, nil
}

// adapterPrefixes are what the names of modules may have in front of those of a tower: those of the models that have it.
var adapterPrefixes = []string{
	"", "model.", "module.", "vision_tower.", "model.vision_tower.", "vision_tower.vision_tower.", "model.vision_tower.vision_tower.", "vit.vision_tower.",
	"visual_encoder.",
}

// find returns the rule of a parameter that has a name of transformers, or one of the model's own, and the number of its block.
// What transformers 5 leaves out, [towerModule], may be missing.
func (m *Model) find(parameter string) (r *rule, block int) {
	for _, d := range []*dialect{m.dialect, huggingFace} {
		for _, p := range adapterPrefixes {
			name, ok := strings.CutPrefix(parameter, p)
			if !ok {
				continue
			}
			for _, name := range []string{name, towerModule + name} {
				if r, block := d.match(name); r != nil && r.as != transposed && m.params[number(r.to, block)] != nil {
					return r, block
				}
			}
		}
	}
	return nil, 0
}

// adapt merges adapters with the parameters.
func (m *Model) adapt(c combined) error {
	var all []*peft.Adapter
	var weights []float64
	called := map[string]string{}
	for _, w := range c.adapters {
		if _, err := os.Stat(w.Dir); err != nil {
			return fmt.Errorf("no adapter: %w", err)
		}
		a, err := peft.Open(w.Dir, func(parameter string) bool {
			r, _ := m.find(parameter)
			return r != nil || m.isHead(parameter)
		})
		if err != nil {
			return err
		}
		if len(a.Changes) == 0 && len(a.Others) > 0 && len(c.adapters) > 1 { // or the other ones would hide it
			return fmt.Errorf("%s: no tensor is of a tower or a projector", w.Dir)
		}
		m.unify(a, called)
		all, weights = append(all, a), append(weights, w.Weight)
	}
	a, err := peft.Combine(c.how, all, weights)
	if err != nil {
		return err
	}
	dir := strings.Join(inWords(c.adapters), " and ")
	var strange []string
	for _, name := range a.Others {
		if m.dialect.isLanguageBehind(strings.TrimPrefix(name, peft.Prefix), "model.") {
			m.language++
		} else {
			strange = append(strange, name)
		}
	}
	if n := len(strange); n > 0 || len(a.Changes) == 0 {
		if n == 0 {
			return fmt.Errorf("%s: no tensor is of a tower or a projector", dir)
		}
		return fmt.Errorf("%s: %d of its tensors are of no part of the model (%s, …): it is of another one", dir, n, strange[0])
	}
	before := m.head
	for _, c := range a.Changes {
		if m.isHead(c.Parameter) {
			if err := m.changeHead(c); err != nil {
				return fmt.Errorf("%s: %s: %w", dir, c.Parameter, err)
			}
			continue
		}
		r, block := m.find(c.Parameter)
		if err := m.change(c, r, number(r.to, block)); err != nil {
			return fmt.Errorf("%s: %s: %w", dir, c.Parameter, err)
		}
	}
	if h := m.head; before == nil && h != nil && (h.weight == nil || h.bias == nil) {
		return fmt.Errorf("%s: half a classifier, want weight and bias", dir)
	}
	return nil
}

// unify calls every parameter that an adapter changes by one name, by its place in the model: that which an adapter before it has
// for it, as called says, which it adds to. Those that stand there under the names of several versions of transformers are left
// once.
func (m *Model) unify(a *peft.Adapter, called map[string]string) {
	seen := map[string]string{}
	a.Changes = slices.DeleteFunc(a.Changes, func(c *peft.Change) bool {
		r, block := m.find(c.Parameter)
		if r == nil || m.isHead(c.Parameter) {
			return false
		}
		slot := fmt.Sprintf("%s[%d]", number(r.to, block), r.band)
		switch was, ok := seen[slot]; {
		case ok && was != c.Parameter:
			return true
		case !ok:
			seen[slot] = c.Parameter
		}
		if called[slot] == "" {
			called[slot] = c.Parameter
		}
		c.Parameter = called[slot]
		return false
	})
}

// inWords returns the adapters as texts.
func inWords(adapters []Weighted) (all []string) {
	for _, w := range adapters {
		all = append(all, w.String())
	}
	return all
}

// isHead reports whether a parameter is one of the classifier on the tower, which the checkpoint may lack.
func (m *Model) isHead(parameter string) bool {
	prefix := m.dialect.head.prefix
	return prefix != "" && (parameter == prefix+"weight" || parameter == prefix+"bias") && (m.head == nil || m.head.weight != nil)
}

// changeHead changes a tensor of the classifier, or makes it one of the classifier that the checkpoint lacks.
func (m *Model) changeHead(c *peft.Change) error {
	h := head{features: m.dialect.head.features}
	if m.head != nil {
		h = *m.head
	}
	to := &h.weight
	if strings.HasSuffix(c.Parameter, "bias") {
		to = &h.bias
	}
	var base param // nil if there is none
	switch {
	case *to != nil && !slices.Equal((*to).Shape, c.Shape):
		return fmt.Errorf("shape %v, want %v", c.Shape, (*to).Shape)
	case *to != nil:
		base = param{{*to, 0, (*to).Len()}}
	case !c.Whole():
		return errors.New("corrects a classifier that the model does not have")
	}
	t, err := checkpoint.NewTensor(c.Parameter, checkpoint.F32, c.Shape, &changed{model: m, base: base, change: c})
	if err != nil {
		return err
	}
	*to, m.head = t, &h
	return nil
}

// change puts a changed band of a parameter in its place.
func (m *Model) change(c *peft.Change, r *rule, path string) error {
	shape := r.shape(m.sizes)
	if !slices.Equal(c.Shape, shape) {
		return fmt.Errorf("shape %v, want %v", c.Shape, shape)
	}
	var all param
	for i := range r.bands {
		band := m.params[path].band(i, r.bands)
		if i != r.band {
			all = append(all, band...)
			continue
		}
		t, err := checkpoint.NewTensor(c.Parameter, checkpoint.F32, shape, &changed{model: m, base: band, change: c})
		if err != nil {
			return err
		}
		all = append(all, part{t, 0, t.Len()})
	}
	m.params[path] = all
	return nil
}

// changed has the values of a parameter that an adapter changes, as long as they are read.
type changed struct {
	model  *Model
	base   param
	change *peft.Change

	mu     sync.Mutex
	values []float32
}

// ReadAt gives the bytes of the values as a file has them. It is asked for whole elements. After the last it forgets them.
func (c *changed) ReadAt(b []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		v := make([]float32, checkpoint.Entry{Shape: c.change.Shape}.Len())
		if c.base != nil {
			if err := c.model.fill(context.Background(), c.base, v); err != nil {
				return 0, err
			}
		}
		c.change.Apply(v)
		for i, x := range v {
			if x-x != 0 {
				return 0, fmt.Errorf("value %d is %v with the adapter merged, want a finite number: its weight is too large, or it is damaged", i, x)
			}
		}
		c.values = v
	}
	rest := c.values[min(int(off/4), len(c.values)):]
	n := min(len(b)/4, len(rest))
	for i, v := range rest[:n] {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	}
	if n == len(rest) {
		c.values = nil
	}
	if 4*n < len(b) {
		return 4 * n, io.EOF
	}
	return 4 * n, nil
}
