package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

const (
	configFile       = "config.json"
	preprocessorFile = "preprocessor_config.json"
	weightsFile      = "model.safetensors"
	// maxJSON is how many bytes a configuration or an index may have.
	maxJSON = 16 << 20
)

// weightFiles are the names (patterns of filepath.Match) that a directory's tensors may have, the best first. An index says in
// which of several files every tensor is.
//
// Source: huggingface/transformers, utils/__init__.py, SAFE_WEIGHTS_NAME and below.
var weightFiles = []struct {
	name  string
	index bool
}{
	{weightsFile, false},
	{"model.safetensors.index.json", true},
	{"pytorch_model.bin", false},
	{"pytorch_model.bin.index.json", true},
	{"*.pt", false}, // an archive of OpenAI's, as it came
}

// openDir opens a directory as Hugging Face lays it out.
func openDir(dir string) (*Checkpoint, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	for _, w := range weightFiles {
		var names []string
		for _, e := range entries {
			if ok, _ := filepath.Match(w.name, e.Name()); ok {
				names = append(names, e.Name())
			}
		}
		switch {
		case len(names) == 0:
			continue
		case len(names) > 1:
			return nil, fmt.Errorf("converter: %s: %d files %s (%s, %s, …), want 1", dir, len(names), w.name, names[0], names[1])
		}
		path := filepath.Join(dir, names[0])
		var c *Checkpoint
		if w.index {
			c, err = openShards(dir, path)
		} else {
			c, err = Open(path)
		}
		if err != nil {
			return nil, err
		}
		c.name = dir
		c.container = "directory of " + c.container
		for name, to := range map[string]*[]byte{configFile: &c.config, preprocessorFile: &c.preprocessor} {
			*to, err = readSmall(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				c.Close()
				return nil, fmt.Errorf("converter: %w", err)
			}
		}
		return c, nil
	}
	return nil, fmt.Errorf("converter: %s: a directory without %s, pytorch_model.bin, an index of such files, or a .pt file", dir, weightsFile)
}

// openShards opens all files that an index names, as one checkpoint.
func openShards(dir, index string) (c *Checkpoint, err error) {
	raw, err := readSmall(index)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	var list struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("converter: %s: %w", index, err)
	}
	files := map[string]bool{}
	for tensor, file := range list.WeightMap {
		if file != filepath.Base(file) || !filepath.IsLocal(file) {
			return nil, fmt.Errorf("converter: %s: tensor %.100q is in %.100q, want a file of the same directory", index, tensor, file)
		}
		files[file] = true
	}
	all := &Checkpoint{byName: map[string]*Tensor{}}
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
	for _, f := range names {
		shard, err := Open(filepath.Join(dir, f))
		if err != nil {
			return nil, err
		}
		all.closers = append(all.closers, shard)
		all.files = append(all.files, shard.files...)
		all.packed = append(all.packed, shard.packed...)
		all.container = fmt.Sprintf("%d files of %s", len(names), shard.container)
		for _, t := range shard.tensors {
			if list.WeightMap[t.Name] != f {
				return nil, fmt.Errorf("converter: %s: %s is in %s, the index says %.100q", index, t.Name, f, list.WeightMap[t.Name])
			}
			if err := all.add(t); err != nil {
				return nil, fmt.Errorf("converter: %s: %w", index, err)
			}
		}
	}
	if len(all.tensors) != len(list.WeightMap) {
		return nil, fmt.Errorf("converter: %s: the index names %d tensors, the files have %d", index, len(list.WeightMap), len(all.tensors))
	}
	all.name = dir
	return all, all.finish()
}

// readSmall reads a file that must not be large.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err == nil && len(b) > maxJSON {
		err = fmt.Errorf("%s: more than %d bytes", path, maxJSON)
	}
	return b, err
}
