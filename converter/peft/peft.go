// Package peft reads the adapters that the Python library peft writes: corrections of weights by products of low rank,
// LoRA and DoRA, and weights in the place of others. It knows modules by their names and nothing of a model.
//
//	adapter_config.json ──────▶ Config ─┐
//	adapter_model.safetensors, .bin ────┴▶ Adapter: Changes, each of one parameter
//
// Source: huggingface/peft, tuners/lora/config.py, LoraConfig; tuners/lora/layer.py; utils/save_and_load.py.
package peft

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
	"github.com/vitago/vitago/internal/pyjson"
)

// The files of an adapter. Source: huggingface/peft, utils/constants.py.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
	torchFile   = "adapter_model.bin"
)

// Prefix is in front of every name in an adapter. Source: huggingface/peft, utils/save_and_load.py,
// get_peft_model_state_dict.
const Prefix = "base_model.model."

// maxConfig is how many bytes an adapter_config.json may have.
const maxConfig = 1 << 20

// In reports whether a directory holds an adapter.
func In(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, ConfigFile))
	return err == nil && info.Mode().IsRegular()
}

// Names reports whether a name of a tensor is one that adapters have and models have not.
func Names(tensor string) bool { return strings.Contains(tensor, ".lora_") }

// Config is what of adapter_config.json decides about what is computed.
type Config struct {
	Base  string  // the path or name of the model that it corrects
	Rank  int     // of modules that no pattern is of
	Alpha float64 // likewise
	// RSLoRA scales by α/√R, in the place of α/R.
	RSLoRA        bool
	DoRA          bool // rows of a corrected weight have learnt lengths (arXiv 2402.09353)
	ranks, alphas []pattern
	// Of what is corrected, which the tensors say as well: see [Config.Corrects].
	targets []string       // of target_modules; nil if it is a pattern
	target  *regexp.Regexp // which it is, or nil
	layers  []int          // of layers_to_transform; nil for all
	// Bias is "none", or which biases have learnt beside: "all", "lora_only".
	Bias string
}

// number is the number of a block in a module's name.
var number = regexp.MustCompile(`\.(\d+)\.`)

// Corrects reports whether the configuration says that a module of this name is corrected. Where it does not, peft leaves its
// tensors in the file. A configuration that names no modules says nothing about them.
//
// Source: huggingface/peft, tuners/tuners_utils.py, check_target_module_exists.
func (c *Config) Corrects(module string) bool {
	if c.layers != nil {
		m := number.FindStringSubmatch(module)
		if m == nil {
			return false
		}
		if n, err := strconv.Atoi(m[1]); err != nil || !slices.Contains(c.layers, n) {
			return false
		}
	}
	if c.target != nil {
		return c.target.MatchString(module)
	}
	return c.targets == nil || slices.ContainsFunc(c.targets, func(t string) bool { return module == t || strings.HasSuffix(module, "."+t) })
}

// A pattern is a value of the modules whose names end as a regular expression says.
type pattern struct {
	Value float64
	match *regexp.Regexp
}

// settings are the fields of adapter_config.json that are read, those that decide about training alone, and those that may
// only have the value that changes nothing. Any other that is set is an error.
var (
	read = []string{
		"peft_type", "base_model_name_or_path", "r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "init_lora_weights",
	}
	ofTraining = []string{
		"task_type", "auto_mapping", "revision", "inference_mode", "peft_version", "lora_dropout", "runtime_config", "ensure_weight_tying",
		"megatron_config", "megatron_core", "eva_config", "loftq_config", "qalora_group_size",
		// Which modules are corrected says the file of the tensors as well, which has those alone.
		"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save", "bias", "lora_bias",
		"fan_in_fan_out", // of GPT-2's Conv1D: peft itself takes it back for layers of torch
	}
	// harmless are the values of init_lora_weights by which the model itself stays as it is.
	harmless = []any{true, false, nil, "gaussian", "eva", "orthogonal"}
)

// ReadConfig reads the adapter_config.json in a directory. An adapter of another kind than LoRA, or with a setting that is not
// known, is an error that names it.
func ReadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigFile)
	raw, err := folder.ReadSmall(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("peft: %s: %w", path, err)
	}
	return c, nil
}

func parseConfig(raw []byte) (*Config, error) {
	f := struct {
		Type   string          `json:"peft_type"`
		Base   string          `json:"base_model_name_or_path"`
		R      int             `json:"r"`
		Alpha  float64         `json:"lora_alpha"`
		RSLoRA bool            `json:"use_rslora"`
		DoRA   bool            `json:"use_dora"`
		Ranks  json.RawMessage `json:"rank_pattern"`
		Alphas json.RawMessage `json:"alpha_pattern"`
		Init   any             `json:"init_lora_weights"`

		Targets json.RawMessage `json:"target_modules"`      // a list of names, a pattern, or "all-linear"
		Layers  json.RawMessage `json:"layers_to_transform"` // a list of numbers, or one
		Bias    any             `json:"bias"`
	}{R: 8, Alpha: 8} // as LoraConfig has them
	var all map[string]any
	if err := errors.Join(pyjson.Unmarshal(raw, &f), pyjson.Unmarshal(raw, &all)); err != nil {
		return nil, err
	}
	if f.Type != "LORA" {
		return nil, fmt.Errorf("peft_type is %.40q, want LORA: merge it with peft's merge_and_unload", f.Type)
	}
	if !slices.ContainsFunc(harmless, func(v any) bool { return v == f.Init }) {
		return nil, fmt.Errorf("init_lora_weights is %.40q, which changes the model below the adapter, want true: merge it with peft's merge_and_unload", fmt.Sprint(f.Init))
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if v := all[name]; !slices.Contains(read, name) && !slices.Contains(ofTraining, name) && !nothing(v) {
			return nil, fmt.Errorf("%.60s is %.60s, want nothing: merge it with peft's merge_and_unload", name, fmt.Sprint(v))
		}
	}
	c := &Config{Base: f.Base, Rank: f.R, Alpha: f.Alpha, RSLoRA: f.RSLoRA, DoRA: f.DoRA}
	var err1, err2 error
	c.ranks, err1 = patterns("rank_pattern", f.Ranks)
	c.alphas, err2 = patterns("alpha_pattern", f.Alphas)
	c.Bias, _ = f.Bias.(string)
	return c, errors.Join(err1, err2, c.corrected(f.Targets, f.Layers))
}

// allLinear is the target_modules of all linear layers, of which peft writes the names when it has found them.
const allLinear = "all-linear"

// corrected reads which modules are corrected.
func (c *Config) corrected(targets, layers json.RawMessage) error {
	var text string
	if len(targets) > 0 && pyjson.Unmarshal(targets, &text) == nil && text != "" && text != allLinear {
		c.target, _ = regexp.Compile(`^(?:` + text + `)$`) // one that Go does not know says nothing
	} else if len(targets) > 0 && text == "" {
		if err := pyjson.Unmarshal(targets, &c.targets); err != nil {
			return fmt.Errorf("target_modules is %.60s, want a list of names or a pattern", targets)
		}
	}
	if len(layers) == 0 || string(layers) == "null" {
		return nil
	}
	var one int
	if pyjson.Unmarshal(layers, &one) == nil {
		c.layers = []int{one}
	} else if err := pyjson.Unmarshal(layers, &c.layers); err != nil {
		return fmt.Errorf("layers_to_transform is %.60s, want numbers", layers)
	}
	return nil
}

// nothing reports whether a value of a setting sets nothing.
func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return false
}

// patterns reads an object of regular expressions and values, in their order, of which the first that fits counts.
//
// Source: huggingface/peft, utils/other.py, get_pattern_key.
func patterns(what string, raw json.RawMessage) (all []pattern, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	plain, err := pyjson.Plain(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	d := json.NewDecoder(strings.NewReader(string(plain)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("%s is %.40s, want an object", what, raw)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var p pattern
		if err := d.Decode(&p.Value); err != nil {
			return nil, fmt.Errorf("%s: %.60v: %w", what, key, err)
		}
		if p.match, err = regexp.Compile(fmt.Sprintf(`^(?:.*\.)?(?:%s)$`, key)); err != nil {
			return nil, fmt.Errorf("%s: %.60v: %w", what, key, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// of returns the value of the first pattern that a module's name fits, or otherwise.
func of(all []pattern, module string, otherwise float64) float64 {
	for _, p := range all {
		if p.match.MatchString(module) {
			return p.Value
		}
	}
	return otherwise
}

// maxRank is far above what is of use: a correction of that rank has as many numbers as the weights.
const maxRank = 1 << 12

// scale returns the rank of a module's correction, and what the product is scaled by.
func (c *Config) scale(module string) (rank int, scale float64, err error) {
	r, alpha := of(c.ranks, module, float64(c.Rank)), of(c.alphas, module, c.Alpha)
	switch {
	case r != math.Trunc(r) || r < 1 || r > maxRank:
		return 0, 0, fmt.Errorf("rank of %s is %v, want 1 to %d", module, r, maxRank)
	case alpha-alpha != 0:
		return 0, 0, fmt.Errorf("alpha of %s is %v, want a finite number", module, alpha)
	case c.RSLoRA:
		return int(r), alpha / math.Sqrt(r), nil
	}
	return int(r), alpha / r, nil
}

// A Change is of one parameter of a model: a correction that is added to it, or what it is from now on.
type Change struct {
	Parameter string // its name in the model, without [Prefix]: "visual_projection.weight"
	Shape     []int  // that it has to have

	value []float32 // what it is from now on, or what is added to it; nil if it is A and B that are added
	add   bool
	// Of a product [rows,rank]·[rank,columns], which may have to be transposed.
	rows, columns, rank int
	b, a                []float32
	transposed          bool
	scale               float64
	magnitude           []float32 // of the rows, of DoRA
}

// LowRank is a correction Scale·B·A of a linear layer's weights.
type LowRank struct {
	A     []float32 // [Rank,in]
	B     []float32 // [out,Rank]
	Rank  int       // R, at least 1
	Scale float64   // α/R, or α/√R
}

// LowRank returns the correction that c is of the weights [out,in] of a linear layer; ok is false if it is another change: a whole
// parameter, a bias, an embedding, or one with a magnitude (DoRA).
func (c *Change) LowRank() (l LowRank, ok bool) {
	if c.value != nil || c.magnitude != nil || c.transposed || len(c.Shape) != 2 {
		return l, false
	}
	return LowRank{c.a, c.b, c.rank, c.scale}, true
}

// Whole reports whether it is what the parameter is from now on, whatever that was.
func (c *Change) Whole() bool { return c.value != nil && !c.add }

// Apply changes a parameter. It panics if there are not as many values as its shape says.
func (c *Change) Apply(values []float32) {
	if n := (checkpoint.Entry{Shape: c.Shape}).Len(); n != len(values) {
		panic(fmt.Sprintf("peft: %s: %d values, want %d", c.Parameter, len(values), n))
	}
	switch {
	case c.add:
		for i, v := range c.value {
			values[i] += v
		}
	case c.value != nil:
		copy(values, c.value)
	default:
		c.product(values)
	}
}

// product adds scale·B·A, row by row in float64, and gives the rows the length that DoRA says.
//
// Source: huggingface/peft, tuners/lora/layer.py, Linear.merge, and tuners/lora/dora.py, get_weight_norm.
func (c *Change) product(values []float32) {
	row := make([]float64, c.columns)
	for i := range c.rows {
		clear(row)
		for k := range c.rank {
			f := float64(c.b[i*c.rank+k])
			for j, a := range c.a[k*c.columns:][:c.columns] {
				row[j] += f * float64(a)
			}
		}
		at := func(j int) int { return i*c.columns + j }
		if c.transposed {
			at = func(j int) int { return j*c.rows + i }
		}
		norm := 0.0
		for j, v := range row {
			row[j] = float64(values[at(j)]) + c.scale*v
			norm += row[j] * row[j]
		}
		factor := 1.0
		if c.magnitude != nil {
			factor = float64(c.magnitude[i]) / math.Sqrt(norm)
		}
		for j, v := range row {
			values[at(j)] = float32(factor * v)
		}
	}
}

// An Adapter is what a directory of peft's holds.
type Adapter struct {
	Dir     string    // as it was given to [Open]
	Config  *Config   // never nil
	Changes []*Change // in the order of their parameters
	// Others are names of tensors of modules that were not asked for.
	Others []string
}

// Open reads the adapter in a directory, as far as its modules are wanted: their names are those of the model, without
// [Prefix]. A pair of matrices of which one is missing, another rank than the configuration says, and a tensor that is of no
// module are errors.
func Open(dir string, wanted func(parameter string) bool) (*Adapter, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, WeightsFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, torchFile)); err == nil {
			path = filepath.Join(dir, torchFile)
		}
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		return nil, fmt.Errorf("peft: %w", err)
	}
	defer f.Close()
	a := &Adapter{Dir: dir, Config: c}
	if err := a.read(f, wanted); err != nil {
		return nil, fmt.Errorf("peft: %s: %w", path, err)
	}
	return a, nil
}

// The parts of a correction, as names end.
const (
	partA, partB           = "lora_A.weight", "lora_B.weight"
	embeddingA, embeddingB = "lora_embedding_A", "lora_embedding_B"
	magnitude, biasB       = "lora_magnitude_vector", "lora_B.bias"
)

// endings are all that names of parts may end in, and the part.
var endings = map[string]string{
	partA: partA, partB: partB, embeddingA: embeddingA, embeddingB: embeddingB, magnitude: magnitude, biasB: biasB,
	magnitude + ".weight": magnitude,
}

// partOf splits the name of a tensor into that of a module and of a part of its correction; "" if it is none.
func partOf(name string) (module, part string) {
	name = strings.Replace(name, ".default.", ".", 1) // as the model itself has it in memory
	name = strings.TrimSuffix(name, ".default")
	for ending, part := range endings {
		if module, ok := strings.CutSuffix(name, "."+ending); ok {
			return module, part
		}
	}
	return name, ""
}

// read finds the changes in a file of tensors.
func (a *Adapter) read(f *checkpoint.File, wanted func(parameter string) bool) error {
	modules := map[string]map[string]*checkpoint.Tensor{}
	for _, t := range f.Tensors() {
		name := strings.TrimPrefix(t.Name, Prefix)
		module, part := partOf(name)
		if part == "" {
			if Names(name) {
				return fmt.Errorf("%s is no part of a correction by LoRA that is known: merge it with peft's merge_and_unload", t.Name)
			}
			// A whole parameter: of modules_to_save, or a bias that learnt.
			name = strings.NewReplacer(".modules_to_save.", ".", ".base_layer.", ".").Replace(name)
			if !wanted(name) {
				a.Others = append(a.Others, t.Name)
				continue
			}
			v, err := values(t)
			if err != nil {
				return err
			}
			a.Changes = append(a.Changes, &Change{Parameter: name, Shape: t.Shape, value: v})
			continue
		}
		if !wanted(module + ".weight") {
			a.Others = append(a.Others, t.Name)
			continue
		}
		if modules[module] == nil {
			modules[module] = map[string]*checkpoint.Tensor{}
		}
		if modules[module][part] != nil {
			return fmt.Errorf("%s stands twice", t.Name)
		}
		modules[module][part] = t
	}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		c, err := a.correction(module, modules[module])
		if err != nil {
			return err
		}
		a.Changes = append(a.Changes, c...)
	}
	slices.SortStableFunc(a.Changes, func(x, y *Change) int { return strings.Compare(x.Parameter, y.Parameter) })
	return nil
}

// values reads a tensor.
func values(t *checkpoint.Tensor) ([]float32, error) {
	if !t.DType.IsFloat() {
		return nil, fmt.Errorf("%s: elements are %s, want floating point", t.Name, t.DType)
	}
	v := make([]float32, t.Len())
	return v, t.Float32s(v)
}

// correction returns the changes of a module whose parts these are.
func (a *Adapter) correction(module string, parts map[string]*checkpoint.Tensor) ([]*Change, error) {
	rank, scale, err := a.Config.scale(module)
	if err != nil {
		return nil, err
	}
	down, up, embedding := partA, partB, parts[embeddingA] != nil || parts[embeddingB] != nil
	if embedding {
		down, up = embeddingA, embeddingB
	}
	ta, tb, tm := parts[down], parts[up], parts[magnitude]
	for name, t := range map[string]*checkpoint.Tensor{down: ta, up: tb} {
		if t == nil {
			return nil, fmt.Errorf("no %s.%s beside the others of the module", module, name)
		}
	}
	switch {
	case embedding && len(parts) > 2:
		return nil, fmt.Errorf("%s: DoRA of an embedding: merge it with peft's merge_and_unload", module)
	case a.Config.DoRA && !embedding && tm == nil:
		return nil, fmt.Errorf("no %s.%s, and use_dora is true", module, magnitude)
	case !a.Config.DoRA && tm != nil:
		return nil, fmt.Errorf("%s, and use_dora is false", tm.Name)
	}
	c := &Change{Parameter: module + ".weight", rank: rank, scale: scale, transposed: embedding}
	// A is [R,in] or, of a convolution, [R,channels,P,P]; B [out,R] or [out,R,1,1]. Of an embedding A is [R,rows].
	if len(ta.Shape) < 2 || ta.Shape[0] != rank {
		return nil, fmt.Errorf("%s: shape %v, want %d rows, the rank that the configuration says", ta.Name, ta.Shape, rank)
	}
	if len(tb.Shape) < 2 || tb.Shape[1] != rank || slices.ContainsFunc(tb.Shape[2:], func(d int) bool { return d != 1 }) {
		return nil, fmt.Errorf("%s: shape %v, want %d columns, the rank that the configuration says", tb.Name, tb.Shape, rank)
	}
	c.rows, c.columns = tb.Shape[0], ta.Len()/rank
	c.Shape = append([]int{c.rows}, ta.Shape[1:]...)
	if embedding {
		c.Shape = []int{c.columns, c.rows}
	}
	if c.a, err = values(ta); err != nil {
		return nil, err
	}
	if c.b, err = values(tb); err != nil {
		return nil, err
	}
	if tm != nil {
		if c.magnitude, err = values(tm); err != nil {
			return nil, err
		}
		if len(c.magnitude) != c.rows {
			return nil, fmt.Errorf("%s: shape %v, want %d values", tm.Name, tm.Shape, c.rows)
		}
	}
	all := []*Change{c}
	if t := parts[biasB]; t != nil {
		v, err := values(t)
		if err != nil {
			return nil, err
		}
		for i := range v {
			v[i] = float32(scale * float64(v[i]))
		}
		all = append(all, &Change{Parameter: module + ".bias", Shape: t.Shape, value: v, add: true})
	}
	return all, nil
}
