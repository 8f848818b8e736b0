package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/internal/pyjson"
)

// maxIndex is how many bytes an index may have.
const maxIndex = 16 << 20

// OpenIndex opens all files that an index (model.safetensors.index.json, pytorch_model.bin.index.json)
// names, as one.
//
// A file that is not there is an error unless mayLack says that nobody wants it. It is told the tensors of the
// file and the whole index, the names of files by tensors. The tensors of such a file are [File.Absent].
//
// Names must be those of files of the same directory, but these may be links: the cache of Hugging Face's
// hub has links into a directory of its own. Who can make a link on this system needs no index to lead us
// somewhere.
func OpenIndex(path string, mayLack func(tensors []string, index map[string]string) bool) (c *File, err error) {
	raw, err := folder.ReadSmall(path, maxIndex)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var list struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := pyjson.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	files := map[string][]string{}
	for tensor, file := range list.WeightMap {
		if err := checkName(tensor); err != nil {
			return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
		}
		if file != filepath.Base(file) || !filepath.IsLocal(file) {
			return nil, fmt.Errorf("checkpoint: %s: tensor %.100q is in %.100q, want a file of the same directory", path, tensor, file)
		}
		files[file] = append(files[file], tensor)
	}
	all := newFile("", "")
	defer func() {
		if err != nil {
			all.Close()
		}
	}()
	names := make([]string, 0, len(files))
	for f := range files {
		names = append(names, f)
	}
	slices.Sort(names)
	aliases := 0 // which an index need not name
	for _, f := range names {
		shard, err := Open(filepath.Join(filepath.Dir(path), f))
		if errors.Is(err, os.ErrNotExist) && mayLack != nil && mayLack(files[f], list.WeightMap) {
			all.absent = append(all.absent, files[f]...)
			continue
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("checkpoint: %s: it has %s in %s: %w", path, plural.Of(len(files[f]), "tensor"), f, err)
		}
		if err != nil {
			return nil, err
		}
		all.container = fmt.Sprintf("%s of %s", plural.Of(len(names), "file"), shard.container)
		for name := range shard.unread {
			if list.WeightMap[name] != f {
				shard.Close()
				return nil, fmt.Errorf("checkpoint: %s: %s is in %s, the index says %.100q", path, name, f, list.WeightMap[name])
			}
		}
		shard.tensors = slices.DeleteFunc(shard.tensors, func(t *Tensor) bool { return t.alias && list.WeightMap[t.Name] != "" && list.WeightMap[t.Name] != f })
		for _, t := range shard.tensors {
			if t.alias && list.WeightMap[t.Name] == "" {
				aliases++
				continue
			}
			if list.WeightMap[t.Name] != f {
				shard.Close()
				return nil, fmt.Errorf("checkpoint: %s: %s is in %s, the index says %.100q", path, t.Name, f, list.WeightMap[t.Name])
			}
		}
		if err := all.include(shard, ""); err != nil {
			return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
		}
	}
	if n := len(all.tensors) + len(all.unread) + len(all.absent) - aliases; n != len(list.WeightMap) {
		return nil, fmt.Errorf("checkpoint: %s: the index names %s, the files have %d", path, plural.Of(len(list.WeightMap), "tensor"), n)
	}
	all.name = filepath.Dir(path)
	return all, all.finish()
}
