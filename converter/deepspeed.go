package converter

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
)

// The folder of a step of DeepSpeed's, and the folder of a training that such folders or files are in. xtuner's are mmengine's:
// with DeepSpeed, iter_500.pth is a folder.
//
// Sources: microsoft/DeepSpeed, deepspeed/runtime/engine.py, _get_ckpt_name, _get_zero_ckpt_name and save_checkpoint;
// open-mmlab/mmengine, mmengine/runner/checkpoint.py, find_latest_checkpoint, and _strategy/deepspeed.py.
const (
	// stepStates are the weights, one file for every rank of tensor parallelism.
	stepStates = "mp_rank_*_model_states.pt"
	// partStates are those of a rank of ZeRO stage 3, which have a part of every tensor each.
	partStates = "*zero_pp_rank_*_model_states.pt"
	// distributedParts are those of torch.distributed.checkpoint, as FSDP saves. Source: pytorch/pytorch,
	// torch/distributed/checkpoint/filesystem.py, DEFAULT_SUFFIX.
	distributedParts = "*.distcp"
)

// pointers are files that hold the name of the newest of several checkpoints beside them, the last element of a path.
var pointers = []string{"latest", "last_checkpoint"}

// pointed returns which of some names in a directory a pointer says, "" if none does.
func pointed(dir string, names []string) string {
	for _, p := range pointers {
		raw, err := folder.ReadSmall(filepath.Join(dir, p), 1<<12)
		if err != nil {
			continue
		}
		if name := path.Base(strings.ReplaceAll(strings.TrimSpace(string(raw)), `\`, "/")); slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

// openStep opens the weights in the folder of a step, or in the only one or the newest of such folders in a directory; nil
// without an error if there is none.
func openStep(dir string, entries []os.DirEntry) (*checkpoint.File, error) {
	if parts := matching(partStates, entries); parts != nil {
		return nil, fmt.Errorf("converter: %s: DeepSpeed divided the weights among the %d processes of its ZeRO stage 3 (%s, …): merge them first: "+
			"python zero_to_fp32.py %s OUT, with the script that lies in the folder above", dir, len(parts), parts[0], filepath.Dir(dir))
	}
	if parts := matching(distributedParts, entries); parts != nil {
		return nil, fmt.Errorf("converter: %s: a distributed checkpoint of torch's, of %d files (%s, …): merge it first: python -m torch.distributed.checkpoint.format_utils dcp_to_torch %s OUT.pt, "+
			"or accelerate merge-weights", dir, len(parts), parts[0], dir)
	}
	switch states := matching(stepStates, entries); len(states) {
	case 0:
	case 1:
		return checkpoint.Open(filepath.Join(dir, states[0]))
	default:
		return nil, fmt.Errorf("converter: %s: the weights are divided among %d ranks of tensor parallelism (%s, …): merge them first with DeepSpeed", dir, len(states), states[0])
	}
	var (
		steps  []string
		inside [][]os.DirEntry
	)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		in, err := os.ReadDir(filepath.Join(dir, e.Name()))
		if err == nil && slices.ContainsFunc([]string{stepStates, partStates, distributedParts}, func(p string) bool { return matching(p, in) != nil }) {
			steps, inside = append(steps, e.Name()), append(inside, in)
		}
	}
	if steps == nil {
		return nil, nil
	}
	i := 0
	if len(steps) > 1 {
		if i = slices.Index(steps, pointed(dir, steps)); i < 0 {
			return nil, fmt.Errorf("converter: %s: %d folders with checkpoints of DeepSpeed (%s, %s, …): give the path of the one that is meant", dir, len(steps), steps[0], steps[1])
		}
	}
	return openStep(filepath.Join(dir, steps[i]), slices.DeleteFunc(inside[i], os.DirEntry.IsDir))
}

// matching returns the names of the files that a pattern fits, nil if there are none.
func matching(pattern string, entries []os.DirEntry) (names []string) {
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
