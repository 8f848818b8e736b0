package converter

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
	"github.com/vitago/vitago/internal/builtin"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

const (
	configFile       = "config.json"
	preprocessorFile = "preprocessor_config.json"
	processorFile    = "processor_config.json"
	weightsFile      = "model.safetensors"
	torchFile        = "pytorch_model.bin"
	// maxJSON is how many bytes a configuration may have.
	maxJSON = 16 << 20
)

// weightFiles are the names (patterns of filepath.Match) that a directory's tensors may have, the best first. An index says in
// which of several files every tensor is.
//
// Source: huggingface/transformers, utils/__init__.py, SAFE_WEIGHTS_NAME and below, modeling_utils.py, _add_variant;
// mlfoundations/open_clip, src/open_clip/factory.py, _find_checkpoint_in_dir.
var weightFiles = []weightFile{
	{name: weightsFile},
	{name: "model.safetensors.index.json", index: true},
	{name: torchFile},
	{name: "pytorch_model.bin.index.json", index: true},
	{name: "model.*.safetensors"}, // a variant, as model.fp16.safetensors
	{name: "model.safetensors.index.*.json", index: true},
	{name: "model.*.safetensors.index.json", index: true},
	{name: "pytorch_model.*.bin"},
	{name: "pytorch_model.bin.index.*.json", index: true},
	{name: "pytorch_model.*.bin.index.json", index: true},
	{name: openCLIPSafetensors},
	{name: "open_clip_pytorch_model.safetensors"},
	{name: openCLIPTorch},
	{name: "open_clip_pytorch_model.pth"},
	{name: "mm_projector.bin"}, // LLaVA's, of a training of the projector alone
	{name: "*.pt"},             // an archive of OpenAI's, as it came
	{name: "*.pth"},            // xtuner's
	{name: "*.safetensors"},    // a file of any name, if it is the only one
	{name: "*.bin"},
	{name: "*.ckpt"},
}

// openCLIPFirst are those of OpenCLIP, which have what stands beside them in the names of timm.
var openCLIPFirst = []string{openCLIPSafetensors, "open_clip_pytorch_model.safetensors", openCLIPTorch, "open_clip_pytorch_model.pth"}

// A weightFile is a pattern of the names of files.
type weightFile struct {
	name  string
	index bool
}

// besideWeights are patterns of files that lie beside a model's tensors and hold others: a head, a projector, an adapter, the
// state of a training.
var besideWeights = []string{
	projectorWeights, HeadFile, "adapter_model.*", "non_lora_trainables.bin", "training_args.bin",
	"optimizer*", "scheduler*", "scaler*", "rng_state*", "random_states*", "sampler*.bin", "dl_state_dict.bin", // transformers', accelerate's
	"*_optim_states.pt", "*_model_states.pt", // DeepSpeed's, of which openStep knows
}

// isShard says whether a file is one of several that an index names.
//
// Source: huggingface/transformers, modeling_utils.py: model-00001-of-00002.safetensors.
var isShard = regexp.MustCompile(`-\d{5}-of-\d{5}\.`).MatchString

// matches returns the names of a directory's entries that the pattern of w fits.
func (w weightFile) matches(entries []os.DirEntry) []string {
	var names []string
	for _, e := range entries {
		ok, _ := filepath.Match(w.name, e.Name())
		if !ok || e.IsDir() || e.Name() != w.name && isShard(e.Name()) ||
			slices.ContainsFunc(besideWeights, func(p string) bool { ok, _ := filepath.Match(p, e.Name()); return ok }) {
			continue
		}
		names = append(names, e.Name())
	}
	return names
}

// A source is the tensors that a model is found in, with what the files beside them say.
type source struct {
	file    *checkpoint.File
	name    string // for errors: the path
	beside  configs
	words   []cliptext.File        // of the tokenizer, of a directory that is part of the program; nil of others
	dir     string                 // of a single file, where configurations may be that are wanted only if nothing else helps
	assumed transformer.Activation // what the caller says
	choice  clipvit.Choice         // likewise, of preprocessing

	transform *clipvit.Transform // likewise, the whole of it
	// Adapters to be merged: first those that the path itself was of, then what the caller says.
	below, adapters []combined
}

// configs are the configurations beside tensors; those that are not there are nil.
type configs struct {
	config       []byte // config.json
	preprocessor []byte // preprocessor_config.json
	processor    []byte // processor_config.json
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

// A NotFoundError is of a path at which there is no model.
type NotFoundError struct {
	Path string // as it was given
	Err  error  // "no such file or directory", or what else keeps it from being looked at
}

// Error implements error.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("converter: no model %s: %v", e.Path, e.Err)
}

// Unwrap returns Err.
func (e *NotFoundError) Unwrap() error { return e.Err }

// NotFound returns a *[NotFoundError] of an error that has the path itself, such as that of [os.Stat].
func NotFound(path string, err error) error {
	if p := (*fs.PathError)(nil); errors.As(err, &p) {
		err = p.Err
	}
	return &NotFoundError{path, err}
}

// openSource opens a file or a directory.
func openSource(path string, options []OpenOption) (*source, error) { return openAt(path, options, 0) }

// openAt opens a file or a directory on which so many adapters lie.
func openAt(path string, options []OpenOption, above int) (*source, error) {
	if files, ok := builtin.Find(path); ok {
		return openFiles(files, path, options)
	}
	path, err := folderOf(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, NotFound(path, err)
	}
	if info.IsDir() {
		if peft.In(path) {
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, fmt.Errorf("converter: %w", err)
			}
			return openAdapter(path, entries, options, above)
		}
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

// openFiles opens a directory that is part of the program, as a conversion wrote it.
func openFiles(files fs.FS, name string, options []OpenOption) (*source, error) {
	weights, err := fs.ReadFile(files, weightsFile)
	if err != nil {
		return nil, fmt.Errorf("converter: %s: %w", name, err)
	}
	f, err := checkpoint.OpenReader(bytes.NewReader(weights), int64(len(weights)), name)
	if err != nil {
		return nil, err
	}
	s := newSource(f, options)
	for file, to := range map[string]*[]byte{configFile: &s.beside.config, preprocessorFile: &s.beside.preprocessor} {
		if *to, err = fs.ReadFile(files, file); err != nil {
			return nil, errors.Join(fmt.Errorf("converter: %s: %w", name, err), f.Close())
		}
	}
	for _, file := range cliptext.FileNames() {
		switch data, err := fs.ReadFile(files, file); {
		case err == nil:
			s.words = append(s.words, cliptext.File{Name: file, Data: data})
		case !errors.Is(err, fs.ErrNotExist):
			return nil, errors.Join(fmt.Errorf("converter: %s: %w", name, err), f.Close())
		}
	}
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
		return nil, c, noTensors(dir, entries)
	}
	if f, err = checkpoint.Join(dir, "directory of "+members[len(members)-1].File.Container(), members...); err != nil {
		return nil, c, err
	}
	if err := c.readBeside(dir, configFile, preprocessorFile, processorFile, openCLIPConfig, projectorFile); err != nil {
		return nil, c, errors.Join(err, f.Close())
	}
	return f, c, nil
}

// noTensors returns the error about a directory that has no model, with what it has in its place.
func noTensors(dir string, entries []os.DirEntry) error {
	err := fmt.Errorf("converter: %s: a directory without %s, pytorch_model.bin, an index of such files, or a .pt file", dir, weightsFile)
	if len(entries) == 0 {
		return fmt.Errorf("%w: it is empty", err)
	}
	if steps := trainerSteps(entries); steps != nil {
		return fmt.Errorf("%w: it has folders of a training's steps, %s: give the path of the one that is meant", err, strings.Join(steps, ", "))
	}
	for _, e := range entries {
		if e.Name() == HeadFile {
			return fmt.Errorf("%w: it has a head alone, %s, and no tower", err, e.Name())
		}
		if strings.HasSuffix(e.Name(), ".partial") {
			return fmt.Errorf("%w: its download has not ended, %s is a part of a file", err, e.Name())
		}
	}
	if models := modelsIn(dir, entries); models != nil {
		return fmt.Errorf("%w: it has models in it, %s: give the path of the one that is meant", err, strings.Join(models, ", "))
	}
	return err
}

// modelsIn returns the paths of the first folders of a directory, or of the folders in it, that have tensors: NAME, or OWNER/NAME.
func modelsIn(dir string, entries []os.DirEntry) (paths []string) {
	const shown, tried = 3, 100
	has := func(entries []os.DirEntry) bool {
		return slices.ContainsFunc(weightFiles, func(w weightFile) bool { return len(w.matches(entries)) > 0 })
	}
	for _, e := range entries[:min(len(entries), tried)] {
		path := filepath.Join(dir, e.Name())
		inside, err := os.ReadDir(path)
		if err != nil { // a file
			continue
		}
		if has(inside) {
			paths = append(paths, path)
		} else {
			for _, e := range inside[:min(len(inside), tried)] {
				if below, err := os.ReadDir(filepath.Join(path, e.Name())); err == nil && has(below) {
					paths = append(paths, filepath.Join(path, e.Name()))
				}
			}
		}
		if len(paths) >= shown {
			return paths[:shown]
		}
	}
	return paths
}

// trainerSteps returns the first folders of steps in the output of a training, which are models themselves.
//
// Sources: huggingface/transformers, trainer_utils.py, PREFIX_CHECKPOINT_DIR; huggingface/accelerate, accelerator.py, save_state.
func trainerSteps(entries []os.DirEntry) (names []string) {
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "checkpoint") && e.IsDir() && len(names) < 3 {
			names = append(names, e.Name())
		}
	}
	return names
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
		configFile: &c.config, preprocessorFile: &c.preprocessor, processorFile: &c.processor, openCLIPConfig: &c.openCLIP, projectorFile: &c.projector,
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
	files := weightFiles
	if dual(dir, entries) {
		files = nil
		for _, name := range openCLIPFirst {
			files = append(files, weightFile{name: name})
		}
	}
	for _, w := range files {
		names := w.matches(entries)
		if len(names) > 1 {
			if name := pointed(dir, names); name != "" {
				names = []string{name}
			}
		}
		switch {
		case len(names) == 0:
			continue
		case len(names) > 1:
			const shown = 6
			text := strings.Join(names[:min(len(names), shown)], ", ")
			if len(names) > shown {
				text += ", …"
			}
			return nil, fmt.Errorf("converter: %s: %d files %s (%s), want 1: give the path of the one that is meant", dir, len(names), w.name, text)
		}
		path := filepath.Join(dir, names[0])
		if w.index {
			return checkpoint.OpenIndex(path, languageOnly(path))
		}
		return checkpoint.Open(path)
	}
	return openStep(dir, entries)
}

// dual says whether a directory is one of the hub for two libraries, timm and OpenCLIP: then it is OpenCLIP's files that hold
// both towers.
func dual(dir string, entries []os.DirEntry) bool {
	there := func(name string) bool {
		return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name })
	}
	if !there(openCLIPConfig) || !there(configFile) || !slices.ContainsFunc(openCLIPFirst, there) {
		return false
	}
	raw, err := folder.ReadSmall(filepath.Join(dir, configFile), maxJSON)
	var t configIdentity
	return err == nil && pyjson.Unmarshal(raw, &t) == nil && isTimm(t)
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
			var names []string
			for name := range index {
				names = append(names, plainName(name))
			}
			d, prefix, err = recognise(path, names, func(a, b string) bool { return a == b })
		}
		return err == nil && !slices.ContainsFunc(tensors, func(name string) bool {
			return !d.isLanguageBehind(plainName(name), prefix)
		})
	}
}
