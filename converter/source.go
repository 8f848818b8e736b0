package converter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
)

const (
	configFile       = "config.json"
	preprocessorFile = "preprocessor_config.json"
	weightsFile      = "model.safetensors"
	torchFile        = "pytorch_model.bin"
	// maxJSON is how many bytes a configuration may have.
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

// A source is the tensors that a model is found in, with what the files beside them say.
type source struct {
	file    *checkpoint.File
	name    string // for errors: the path
	beside  configs
	dir     string                 // of a single file, where configurations may be that are wanted only if nothing else helps
	assumed transformer.Activation // what the caller says
}

// configs are the configurations beside tensors; those that are not there are nil.
type configs struct {
	config       []byte // config.json
	preprocessor []byte // preprocessor_config.json
	openCLIP     []byte // open_clip_config.json
	projector    []byte // projector_config.json
}

func newSource(f *checkpoint.File, options []OpenOption) *source {
	s := &source{file: f, name: f.Name()}
	for _, o := range options {
		o(s)
	}
	return s
}

// openSource opens a file or a directory.
func openSource(path string, options []OpenOption) (*source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("converter: %w", err)
	}
	if info.IsDir() {
		f, beside, err := openDir(path)
		if err != nil {
			return nil, err
		}
		s := newSource(f, options)
		s.beside = beside
		return s, nil
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	s := newSource(f, options)
	s.dir = filepath.Dir(path)
	return s, nil
}

// openDir opens a directory: as Hugging Face lays it out, as a conversion wrote it, with a projector beside
// the tower, or as xtuner does, with both in directories of their own.
func openDir(dir string) (f *checkpoint.File, c configs, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, c, fmt.Errorf("converter: %w", err)
	}
	if isXtuner(entries) {
		return openXtuner(dir, entries)
	}
	tower, err := openTensors(dir, entries)
	if err != nil {
		return nil, c, err
	}
	var members []checkpoint.Member
	if tower != nil {
		members = append(members, checkpoint.Member{File: tower})
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == projectorWeights }) {
		p, err := checkpoint.Open(filepath.Join(dir, projectorWeights))
		if err != nil {
			return nil, c, errors.Join(err, closeMembers(members))
		}
		members = append(members, checkpoint.Member{File: p, Prefix: projectorPrefix})
	}
	if members == nil {
		return nil, c, fmt.Errorf("converter: %s: a directory without %s, pytorch_model.bin, an index of such files, or a .pt file", dir, weightsFile)
	}
	if f, err = checkpoint.Join(dir, "directory of "+members[len(members)-1].File.Container(), members...); err != nil {
		return nil, c, err
	}
	if err := c.readBeside(dir, configFile, preprocessorFile, openCLIPConfig, projectorFile); err != nil {
		return nil, c, errors.Join(err, f.Close())
	}
	return f, c, nil
}

// closeMembers closes the files of members that come to nothing.
func closeMembers(members []checkpoint.Member) error {
	var errs []error
	for _, p := range members {
		errs = append(errs, p.File.Close())
	}
	return errors.Join(errs...)
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
func openXtuner(dir string, entries []os.DirEntry) (f *checkpoint.File, c configs, err error) {
	var (
		members []checkpoint.Member
		errs    []error
	)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch e.Name() {
		case xtunerTower, xtunerProjector:
			f, config, err := openWithConfig(path)
			if errs = append(errs, err); err != nil {
				continue
			}
			members = append(members, checkpoint.Member{File: f, Prefix: e.Name() + "."})
			if e.Name() == xtunerProjector {
				c.projector = config
			} else {
				c.config = config
			}
		case xtunerAdapter:
			errs = append(errs, fmt.Errorf("converter: %s: a LoRA of the tower, which has to be merged with it first: xtuner convert merge --is-clip", path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, c, errors.Join(err, closeMembers(members))
	}
	f, err = checkpoint.Join(dir, "xtuner's "+members[len(members)-1].File.Container(), members...)
	return f, c, err
}

// openWithConfig opens the tensors of a directory and reads the config.json beside them.
func openWithConfig(dir string) (*checkpoint.File, []byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("converter: %w", err)
	}
	f, err := openTensors(dir, entries)
	if err != nil {
		return nil, nil, err
	}
	if f == nil {
		return nil, nil, fmt.Errorf("converter: %s: no tensors", dir)
	}
	var c configs
	if err := c.readBeside(dir, configFile); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, c.config, nil
}

// readBeside reads the configurations of the given names in a directory.
func (c *configs) readBeside(dir string, names ...string) error {
	for name, to := range map[string]*[]byte{
		configFile: &c.config, preprocessorFile: &c.preprocessor, openCLIPConfig: &c.openCLIP, projectorFile: &c.projector,
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
func openTensors(dir string, entries []os.DirEntry) (*checkpoint.File, error) {
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
			return checkpoint.OpenIndex(path, languageOnly(path))
		}
		return checkpoint.Open(path)
	}
	return nil, nil
}

// languageOnly returns what says whether tensors of the index at path are all of the language model, which nothing
// here wants. It recognises the whole index once: there may be as many files as tensors.
func languageOnly(path string) func(tensors []string, index map[string]string) bool {
	var (
		d      *dialect
		prefix string
		err    error
	)
	return func(tensors []string, index map[string]string) bool {
		if d == nil && err == nil {
			d, prefix, err = recognise(path, slices.Collect(maps.Keys(index)))
		}
		return err == nil && !slices.ContainsFunc(tensors, func(name string) bool {
			return !d.isLanguage(name) && !d.isLanguage(strings.TrimPrefix(name, prefix))
		})
	}
}
