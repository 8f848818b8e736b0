package converter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
)

// What programs add to the names of a model's tensors: modules around the whole of it, and modules within that wrap another
// one. Who knows one more adds it to a list here.
var (
	// fronts stand in front of all names, in any order and number: what torch's DataParallel, DeepSpeed and
	// AveragedModel add, the fields that programs keep a model in, what PEFT adds, and which of two a model is.
	fronts = []string{
		"module", "model", "net", "network", "backbone", "base_model", "clip", "clip_model", "encoder", "engine",
		"student", "teacher", "ema", "ema_model", "model_ema", "online_model", "averaged_model",
	}
	// wrappers stand anywhere in a name: in no model of ours does a module have such a name.
	//
	// Sources: pytorch/pytorch, torch/_dynamo/eval_frame.py, OptimizedModule; torch/distributed/fsdp/_common_utils.py,
	// FSDP_WRAPPED_MODULE; torch/distributed/algorithms/_checkpoint/checkpoint_wrapper.py, _CHECKPOINT_WRAPPED_MODULE;
	// facebookresearch/fairscale, nn/data_parallel/fully_sharded_data_parallel.py; Lightning-AI/pytorch-lightning,
	// fabric/wrappers.py, _FabricModule.
	wrappers = []string{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module", "_forward_module", "_original_module"}
	// counters are numbers that wrappers keep beside the model.
	//
	// Sources: pytorch/pytorch, torch/optim/swa_utils.py, AveragedModel; lucidrains/ema-pytorch, ema_pytorch/ema_pytorch.py, EMA.
	counters = []string{"n_averaged", "initted", "step"}
)

const (
	maxFronts   = 7 // before one name
	maxPrefixes = 8 // of all names
)

// plainName returns a name without the wrappers in it.
func plainName(name string) string {
	if !slices.ContainsFunc(wrappers, func(w string) bool { return strings.Contains(name, w+".") }) {
		return name
	}
	return strings.Join(slices.DeleteFunc(strings.Split(name, "."), func(part string) bool { return slices.Contains(wrappers, part) }), ".")
}

// isCounter says whether a tensor is a number that a wrapper keeps.
func isCounter(name string, t *checkpoint.Tensor) bool {
	return slices.Contains(counters, name[strings.LastIndex(name, ".")+1:]) && t.Len() == 1
}

// prefixes returns what may stand in front of the names of a whole model, the shortest first: nothing, the fronts that
// names have, those of most names, and the modules that all names begin with, whatever they are called.
func prefixes(names []string) []string {
	count := map[string]int{"": len(names) + 1}
	all := common(names)
	for _, name := range names {
		at := 0
		for range maxFronts {
			part, _, ok := strings.Cut(name[at:], ".")
			if !ok || !slices.Contains(fronts, part) && at+len(part) >= len(all) {
				break
			}
			at += len(part) + 1
			count[name[:at]]++
		}
	}
	list := slices.SortedFunc(maps.Keys(count), func(a, b string) int {
		if count[a] != count[b] {
			return count[b] - count[a]
		}
		return strings.Compare(a, b)
	})
	list = list[:min(len(list), maxPrefixes)]
	slices.SortStableFunc(list, func(a, b string) int { return len(a) - len(b) })
	return list
}

// common returns the modules that all names begin with, but for those of counters: "image_encoder.model.".
func common(names []string) string {
	text, found := "", false
	for _, name := range names {
		if slices.Contains(counters, name) {
			continue
		}
		if !found {
			text, found = name, true
		}
		n := 0
		for n < min(len(text), len(name)) && text[n] == name[n] {
			n++
		}
		text = text[:n]
	}
	return text[:strings.LastIndex(text, ".")+1]
}

// An unwrapped is the tensors of a file by their bare names.
type unwrapped struct {
	file   *checkpoint.File
	byName map[string]*checkpoint.Tensor
	unread map[string]string // of which kind those are that are not read
}

// unwrap returns an error if two tensors have one name without the wrappers.
func unwrap(f *checkpoint.File) (*unwrapped, error) {
	u := &unwrapped{f, map[string]*checkpoint.Tensor{}, map[string]string{}}
	for _, t := range f.Tensors() {
		name := plainName(t.Name)
		if other := u.byName[name]; other != nil {
			return nil, fmt.Errorf("%s and %s are both %s without the wrappers in their names: two models are in one file", other.Name, t.Name, name)
		}
		u.byName[name] = t
	}
	for name, kind := range f.Unread() {
		u.unread[plainName(name)] = kind
	}
	return u, nil
}

// names returns all bare names, those of tensors that are not read last.
func (u *unwrapped) names() []string {
	names := make([]string, 0, len(u.byName)+len(u.unread))
	for _, t := range u.file.Tensors() {
		names = append(names, plainName(t.Name))
	}
	return append(names, slices.Sorted(maps.Keys(u.unread))...)
}

// same says whether two bare names are of one tensor.
func (u *unwrapped) same(a, b string) bool {
	x, y := u.byName[a], u.byName[b]
	return x != nil && y != nil && x.Place() == y.Place()
}

// tensor returns the tensor of a bare name, nil if there is none.
func (u *unwrapped) tensor(name string) *checkpoint.Tensor {
	return u.byName[name]
}
