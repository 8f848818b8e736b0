package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/internal/folder"
)

const (
	configFile       = "config.json"
	preprocessorFile = "preprocessor_config.json"
	weightsFile      = "model.safetensors"
	torchFile        = "pytorch_model.bin"
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
	{torchFile, false},
	{"pytorch_model.bin.index.json", true},
	{"open_clip_model.safetensors", false},
	{"open_clip_pytorch_model.bin", false},
	{"mm_projector.bin", false}, // LLaVA's, of a training of the projector alone
	{"*.pt", false},             // an archive of OpenAI's, as it came
	{"*.pth", false},            // xtuner's
}

// openDir opens a directory as Hugging Face lays it out, as a conversion wrote it, with a projector
// beside the tower, or as xtuner does, with both in directories of their own.
func openDir(dir string) (*Checkpoint, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	if isXtuner(entries) {
		return openXtuner(dir, entries)
	}
	c, err := openTensors(dir, entries)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == projectorWeights }) {
		tower := c
		c = &Checkpoint{byName: map[string]*Tensor{}}
		if err := errors.Join(c.include(tower, ""), c.includeFile(filepath.Join(dir, projectorWeights), projectorPrefix), c.finish()); err != nil {
			c.Close()
			return nil, err
		}
	}
	if c == nil {
		return nil, fmt.Errorf("converter: %s: a directory without %s, pytorch_model.bin, an index of such files, or a .pt file", dir, weightsFile)
	}
	if err := c.readBeside(dir, configFile, preprocessorFile, openCLIPConfig, projectorFile); err != nil {
		c.Close()
		return nil, err
	}
	c.name, c.dir, c.container = dir, "", "directory of "+c.container
	return c, nil
}

// The directories in one of xtuner's. Beside them may lie the language model.
//
// Source: InternLM/xtuner, xtuner/model/llava.py, to_xtuner_llava.
const (
	xtunerTower     = "visual_encoder"
	xtunerAdapter   = "visual_encoder_adapter"
	xtunerProjector = "projector"
)

func isXtuner(entries []os.DirEntry) bool {
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.IsDir() && e.Name() == xtunerProjector })
}

// openXtuner opens a directory of xtuner's: the projector and, if it was trained, the tower.
func openXtuner(dir string, entries []os.DirEntry) (*Checkpoint, error) {
	c := &Checkpoint{byName: map[string]*Tensor{}}
	var errs []error
	for _, e := range entries {
		switch e.Name() {
		case xtunerTower, xtunerProjector:
			errs = append(errs, c.includeDir(filepath.Join(dir, e.Name()), e.Name()+"."))
			if e.Name() == xtunerProjector {
				c.projectorConfig, c.config = c.config, nil
			}
		case xtunerAdapter:
			errs = append(errs, fmt.Errorf("converter: %s: a LoRA of the tower, which has to be merged with it first: xtuner convert merge --is-clip", filepath.Join(dir, e.Name())))
		}
	}
	if errs = append(errs, c.finish()); errors.Join(errs...) != nil {
		c.Close()
		return nil, errors.Join(errs...)
	}
	c.name, c.container = dir, "xtuner's "+c.container
	return c, nil
}

// includeFile includes a file of tensors in c, with prefix in front of all names.
func (c *Checkpoint) includeFile(path, prefix string) error {
	part, err := openOne(path)
	if err != nil {
		return err
	}
	return c.include(part, prefix)
}

// includeDir includes the tensors and the config.json of a directory.
func (c *Checkpoint) includeDir(dir, prefix string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	part, err := openTensors(dir, entries)
	if err != nil {
		return err
	}
	if part == nil {
		return fmt.Errorf("converter: %s: no tensors", dir)
	}
	if err := part.readBeside(dir, configFile); err != nil {
		part.Close()
		return err
	}
	return c.include(part, prefix)
}

// include takes all that another checkpoint has, with prefix in front of the names, and closes it
// with its own. A nil one has nothing.
func (c *Checkpoint) include(part *Checkpoint, prefix string) error {
	if part == nil {
		return nil
	}
	c.closers = append(c.closers, part)
	c.files = append(c.files, part.files...)
	c.packed = append(c.packed, part.packed...)
	c.absent = append(c.absent, part.absent...)
	c.name, c.container, c.config = part.name, part.container, part.config
	for _, t := range part.tensors {
		t.Name = prefix + t.Name
		if err := c.add(t); err != nil {
			return fmt.Errorf("converter: %s: %w", part.name, err)
		}
	}
	return nil
}

// readBeside reads the configurations of the given names in a directory.
func (c *Checkpoint) readBeside(dir string, names ...string) error {
	for name, to := range map[string]*[]byte{
		configFile: &c.config, preprocessorFile: &c.preprocessor, openCLIPConfig: &c.openCLIP, projectorFile: &c.projectorConfig,
	} {
		if !slices.Contains(names, name) {
			continue
		}
		raw, err := folder.ReadSmall(filepath.Join(dir, name), maxJSON)
		switch {
		case errors.Is(err, os.ErrNotExist):
		case err != nil:
			return fmt.Errorf("converter: %w", err)
		default:
			*to = raw
		}
	}
	return nil
}

// openTensors opens the best of the files of tensors in a directory; nil without an error if there
// are none.
func openTensors(dir string, entries []os.DirEntry) (*Checkpoint, error) {
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
		if w.index {
			return openShards(dir, path)
		}
		return openOne(path)
	}
	return nil, nil
}

// openShards opens all files that an index names, as one checkpoint. A file that is not there is no
// error if it has the language model only, which nothing here wants.
//
// Names must be those of files of the same directory, but these may be links: the cache of Hugging
// Face's hub has links into a directory of its own. Who can make a link on this system needs no index
// to lead us somewhere.
func openShards(dir, index string) (c *Checkpoint, err error) {
	raw, err := folder.ReadSmall(index, maxJSON)
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
		if err := checkName(tensor); err != nil {
			return nil, fmt.Errorf("converter: %s: %w", index, err)
		}
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
		shard, err := openOne(filepath.Join(dir, f))
		if errors.Is(err, os.ErrNotExist) {
			absent := languageOnly(list.WeightMap, f)
			if absent == nil {
				return nil, err
			}
			all.absent = append(all.absent, absent...)
			continue
		}
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
	if n := len(all.tensors) + len(all.absent); n != len(list.WeightMap) {
		return nil, fmt.Errorf("converter: %s: the index names %d tensors, the files have %d", index, len(list.WeightMap), n)
	}
	all.name = dir
	return all, all.finish()
}

// languageOnly returns the names of the tensors that an index has in a file if they are all of the
// language model, and nil otherwise.
func languageOnly(index map[string]string, file string) []string {
	d, prefix, err := recognise(file, slices.Collect(maps.Keys(index)))
	if err != nil {
		return nil
	}
	var names []string
	for name, f := range index {
		if f != file {
			continue
		}
		if !d.isLanguage(name) && !d.isLanguage(strings.TrimPrefix(name, prefix)) {
			return nil
		}
		names = append(names, name)
	}
	return names
}
