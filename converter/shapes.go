package converter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/clipvit"
)

// Config says which CLIP a checkpoint holds.
type Config struct {
	Vision clipvit.Config `json:"vision"`
	Text   *TextConfig    `json:"text,omitempty"` // nil without a text tower
}

// TextConfig says which text tower a checkpoint holds. Sizes are numbers of elements.
type TextConfig struct {
	Vocab      int // words
	Context    int // tokens
	Width      int
	Heads      int
	Layers     int
	MLPWidth   int
	EmbedDim   int // E, as the vision tower's
	Activation clipvit.Activation
	NormEps    float64
	BOS, EOS   int // the words that begin and end a text
}

const (
	// headWidth is the width of an attention head in all models of OpenAI; shapes do not tell it.
	// Source: openai/CLIP, clip/model.py, CLIP.__init__: vision_heads = vision_width // 64.
	headWidth = 64
	// normEps is what torch.nn.LayerNorm adds to the variance unless told otherwise.
	normEps = 1e-5
)

// A clip is a checkpoint that holds a whole CLIP: every canonical parameter and where it lies.
type clip struct {
	*Checkpoint
	dialect *dialect
	config  Config
	sizes   sizes
	hasProj bool
	params  map[string]param // by canonical path
	excused []string         // tensors that are no parameters
}

// A param is a canonical parameter: parts of tensors, one after the other.
type param []part

// A part is a range of the elements of a tensor, in row-major order.
type part struct {
	t     *Tensor
	lo, n int
}

func (p param) len() int {
	n := 0
	for _, q := range p {
		n += q.n
	}
	return n
}

// band returns the i-th of n equal parts.
func (p param) band(i, n int) param {
	size := p.len() / n
	lo, hi := i*size, (i+1)*size
	var out param
	at := 0
	for _, q := range p {
		a, b := max(lo, at), min(hi, at+q.n)
		if a < b {
			out = append(out, part{q.t, q.lo + a - at, b - a})
		}
		at += q.n
	}
	return out
}

// dtype returns the type that holds all elements: that of the parts, or float32 if they differ.
func (p param) dtype() DType {
	for _, q := range p[1:] {
		if q.t.DType != p[0].t.DType {
			return F32
		}
	}
	return p[0].t.DType
}

// sizes has the value of every letter that shapes are written in.
type sizes map[string]int

// A dim is a dimension of a tensor: a product of letters and numbers, divided into bands.
type dim struct {
	factors []string
	bands   int
}

// dims returns the dimensions of the tensor that rule r speaks of.
func (r *rule) dims() []dim {
	fields := strings.Fields(specOf[r.to].shape)
	var all []dim
	for i, f := range fields {
		factors := strings.Split(f, "*")
		if r.as == flat && i == len(fields)-1 {
			for _, one := range factors {
				all = append(all, dim{[]string{one}, 1})
			}
			continue
		}
		all = append(all, dim{factors, 1})
	}
	if r.as == transposed {
		slices.Reverse(all)
	}
	if r.bands > 1 {
		all[0].bands = r.bands
	}
	return all
}

// size returns the value of a dimension.
func (d dim) size(s sizes) int {
	n := 1
	for _, f := range d.factors {
		if k, err := strconv.Atoi(f); err == nil {
			n *= k
		} else {
			n *= s[f]
		}
	}
	return n / d.bands
}

// solve returns the letter of a dimension and its value if the dimension has size n.
func (d dim) solve(n int) (letter string, value int, ok bool) {
	k := 1
	for _, f := range d.factors {
		if i, err := strconv.Atoi(f); err == nil {
			k *= i
		} else if letter != "" {
			return "", 0, false
		} else {
			letter = f
		}
	}
	if n > math.MaxInt32 {
		return "", 0, false
	}
	n *= d.bands
	return letter, n / k, letter != "" && n > 0 && n%k == 0
}

// shape returns the shape of the tensor that rule r speaks of.
func (r *rule) shape(s sizes) []int {
	shape := []int{}
	for _, d := range r.dims() {
		shape = append(shape, d.size(s))
	}
	return shape
}

// shapeText returns the shape as an error shows it, with the letters that nothing told the value of.
func (r *rule) shapeText(s sizes) string {
	var text []string
	for i, n := range r.shape(s) {
		if n > 0 {
			text = append(text, strconv.Itoa(n))
		} else {
			text = append(text, strings.Join(r.dims()[i].factors, "*"))
		}
	}
	return fmt.Sprint(text)
}

// A slot is one tensor of a whole model in some dialect.
type slot struct {
	name  string
	path  string
	rule  *rule
	shape []int
}

// isText says whether a canonical parameter is left out with the text tower.
func isText(path string) bool { return strings.HasPrefix(path, "Text.") || path == "LogitScale" }

// slots returns all tensors of a model in dialect d, in the order of the canonical parameters.
func (d *dialect) slots(s sizes, proj, text bool) []slot {
	var all []slot
	add := func(sp spec, block int) {
		for _, r := range d.byTo[sp.path] {
			all = append(all, slot{number(r.from, block), number(r.to, block), r, r.shape(s)})
		}
	}
	tower := func(specs []spec, layers int) {
		for i := 0; i < len(specs); i++ {
			sp := specs[i]
			if !strings.Contains(sp.path, "#") {
				if sp.path != "Proj" || proj {
					add(sp, -1)
				}
				continue
			}
			n := i // the specs of a block stand together
			for n < len(specs) && strings.Contains(specs[n].path, "#") {
				n++
			}
			for b := range layers {
				for _, sp := range specs[i:n] {
					add(sp, b)
				}
			}
			i = n - 1
		}
	}
	tower(visionSpecs, s["L"])
	if text {
		tower(textSpecs, s["l"])
	}
	return all
}

// recognise returns the dialect and the prefix that explain most names of a checkpoint.
func recognise(c *Checkpoint) (best *dialect, prefix string, err error) {
	most := 0
	for _, d := range dialects {
		for _, p := range prefixes {
			n := 0
			for _, t := range c.tensors {
				if name, ok := strings.CutPrefix(t.Name, p); ok {
					if r, _ := d.match(name); r != nil {
						n++
					}
				}
			}
			if n > most {
				best, prefix, most = d, p, n
			}
		}
	}
	if best == nil {
		names := c.Names()
		return nil, "", fmt.Errorf("converter: %s: none of %d tensors has a name of CLIP's (%s, …)", c.name, len(names), strings.Join(names[:min(3, len(names))], ", "))
	}
	return best, prefix, nil
}

// resolve finds every parameter of a CLIP in a checkpoint, or says all that is wrong.
func resolve(c *Checkpoint) (*clip, error) {
	d, prefix, err := recognise(c)
	if err != nil {
		return nil, err
	}
	m := &clip{Checkpoint: c, dialect: d, sizes: sizes{}, params: map[string]param{}}
	wrong := &MismatchError{File: c.name, Dialect: d.name}

	// What the shapes say, by vote: one wrong tensor must not make all others wrong.
	votes := map[string]map[int]int{}
	blocks := map[string]map[int]bool{"L": {}, "l": {}}
	matched := map[*Tensor]bool{}
	text := false
	for _, t := range c.tensors {
		name, ok := strings.CutPrefix(t.Name, prefix)
		r, block := d.match(name)
		if !ok || r == nil {
			if ok && d.dropped[name] {
				m.excused = append(m.excused, t.Name)
			} else {
				wrong.Unexpected = append(wrong.Unexpected, t.Name)
			}
			continue
		}
		matched[t] = true
		letter := "L"
		if strings.HasPrefix(r.to, "Text.") {
			letter, text = "l", true
		}
		if block >= 0 {
			blocks[letter][block] = true
		}
		m.hasProj = m.hasProj || r.to == "Proj"
		if dims := r.dims(); len(dims) == len(t.Shape) {
			for i, x := range dims {
				if letter, v, ok := x.solve(t.Shape[i]); ok {
					if votes[letter] == nil {
						votes[letter] = map[int]int{}
					}
					votes[letter][v]++
				}
			}
		}
	}
	m.hasProj = m.hasProj || text
	for letter, count := range votes {
		best := 0
		for v, n := range count {
			if n > count[best] || n == count[best] && v < best {
				best = v
			}
		}
		m.sizes[letter] = best
	}
	for letter, seen := range blocks {
		n := 0
		for b := range seen {
			// A block far beyond the others is no block: an index costs a file nothing.
			if b < 2*len(seen) {
				n = max(n, b+1)
			}
		}
		m.sizes[letter] = n
	}

	for _, s := range d.slots(m.sizes, m.hasProj, text) {
		t := c.byName[prefix+s.name]
		if t == nil {
			wrong.Missing = append(wrong.Missing, prefix+s.name)
			continue
		}
		delete(matched, t)
		switch {
		case !slices.Equal(t.Shape, s.shape):
			wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: shape %v, want %s", t.Name, t.Shape, s.rule.shapeText(m.sizes)))
		case !t.DType.isFloat():
			wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: elements are %s, want floating point", t.Name, t.DType))
		default:
			if s.rule.as == transposed {
				t = t.transposed()
				if err := t.readable(); err != nil {
					wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: %v", t.Name, err))
				}
			}
			m.params[s.path] = append(m.params[s.path], part{t, 0, t.Len()})
		}
	}
	for _, t := range c.tensors {
		if matched[t] {
			wrong.Unexpected = append(wrong.Unexpected, t.Name)
		}
	}
	if len(wrong.Missing)+len(wrong.Unexpected)+len(wrong.Shapes) > 0 {
		return nil, wrong
	}
	if m.config, err = m.configure(text); err != nil {
		return nil, err
	}
	return m, nil
}

// configure returns the configuration that the shapes, and config.json if there is one, give.
//
// Source: openai/CLIP, clip/model.py, build_model.
func (m *clip) configure(text bool) (c Config, err error) {
	s := m.sizes
	grid := int(math.Round(math.Sqrt(math.Max(0, float64(s["T"]-1)))))
	if grid < 1 || grid*grid != s["T"]-1 {
		return c, fmt.Errorf("converter: %s: %d positions, want 1 and a square number", m.name, s["T"])
	}
	c.Vision = clipvit.Config{
		ImageSize: grid * s["P"], PatchSize: s["P"], Width: s["C"], Heads: s["C"] / headWidth, Layers: s["L"],
		MLPWidth: s["F"], Activation: clipvit.QuickGELU, NormEps: normEps,
	}
	if m.hasProj {
		c.Vision.EmbedDim = s["E"]
	}
	if text {
		c.Text = &TextConfig{
			Vocab: s["v"], Context: s["n"], Width: s["c"], Heads: s["c"] / headWidth, Layers: s["l"],
			MLPWidth: s["f"], EmbedDim: s["E"], Activation: clipvit.QuickGELU, NormEps: normEps,
			BOS: s["v"] - 2, EOS: s["v"] - 1, // the last two words: clip/simple_tokenizer.py
		}
	}
	if m.Checkpoint.config == nil {
		for _, width := range []int{s["C"], s["c"]} {
			if width%headWidth != 0 {
				return c, fmt.Errorf("converter: %s: width %d is not a multiple of %d, and no config.json says how many heads it has", m.name, width, headWidth)
			}
		}
	} else if err := agree(m.Checkpoint.config, &c); err != nil {
		return c, fmt.Errorf("converter: %s: %s: %w", m.name, configFile, err)
	}
	if err := c.Vision.Validate(); err != nil {
		return c, fmt.Errorf("converter: %s: %w", m.name, err)
	}
	if m.preprocessor != nil {
		if err := checkPreprocessor(m.preprocessor, c.Vision.ImageSize); err != nil {
			return c, fmt.Errorf("converter: %s is not CLIP's preprocessing: %w", filepath.Join(m.name, preprocessorFile), err)
		}
	}
	if t := c.Text; t != nil && (t.Vocab < 2 || t.Heads < 1 || t.Width%t.Heads != 0) {
		return c, fmt.Errorf("converter: %s: text tower of %d words, width %d and %d heads", m.name, t.Vocab, t.Width, t.Heads)
	}
	return c, nil
}

// hfTower is a tower in Hugging Face's config.json. Its zero value has to be replaced by the
// defaults of the class: what the file leaves out has those values.
//
// Source: huggingface/transformers, models/clip/configuration_clip.py.
type hfTower struct {
	HiddenSize       int     `json:"hidden_size"`
	IntermediateSize int     `json:"intermediate_size"`
	ProjectionDim    int     `json:"projection_dim"`
	Layers           int     `json:"num_hidden_layers"`
	Heads            int     `json:"num_attention_heads"`
	Channels         int     `json:"num_channels"`
	ImageSize        int     `json:"image_size"`
	PatchSize        int     `json:"patch_size"`
	Vocab            int     `json:"vocab_size"`
	Positions        int     `json:"max_position_embeddings"`
	HiddenAct        string  `json:"hidden_act"`
	LayerNormEps     float64 `json:"layer_norm_eps"`
	BOS              int     `json:"bos_token_id"`
	EOS              int     `json:"eos_token_id"`
}

var (
	hfVisionDefaults = hfTower{
		HiddenSize: 768, IntermediateSize: 3072, ProjectionDim: 512, Layers: 12, Heads: 12, Channels: 3,
		ImageSize: 224, PatchSize: 32, HiddenAct: "quick_gelu", LayerNormEps: 1e-5,
	}
	hfTextDefaults = hfTower{
		HiddenSize: 512, IntermediateSize: 2048, ProjectionDim: 512, Layers: 12, Heads: 8,
		Vocab: 49408, Positions: 77, HiddenAct: "quick_gelu", LayerNormEps: 1e-5, BOS: 49406, EOS: 49407,
	}
)

// legacyEOS stands in the configurations that OpenAI's models were published with; it is wrong,
// and transformers takes the largest word instead. Source: modeling_clip.py, CLIPTextTransformer.
const legacyEOS = 2

// agree completes c, which shapes gave, by what only config.json says, and returns an error with
// everything that the two say differently.
func agree(file []byte, c *Config) error {
	var top struct {
		ModelType string            `json:"model_type"`
		Project   *int              `json:"projection_dim"`
		Vision    []json.RawMessage `json:"-"`
		Text      []json.RawMessage `json:"-"`

		VisionConfig     json.RawMessage `json:"vision_config"`
		VisionConfigDict json.RawMessage `json:"vision_config_dict"` // an old name; it wins
		TextConfig       json.RawMessage `json:"text_config"`
		TextConfigDict   json.RawMessage `json:"text_config_dict"`
	}
	if err := json.Unmarshal(file, &top); err != nil {
		return err
	}
	vision, text := hfVisionDefaults, hfTextDefaults
	switch top.ModelType {
	case "clip":
		top.Vision = []json.RawMessage{top.VisionConfig, top.VisionConfigDict}
		top.Text = []json.RawMessage{top.TextConfig, top.TextConfigDict}
	case "clip_vision_model":
		top.Vision = []json.RawMessage{file}
	default:
		return fmt.Errorf("model_type is %.40q, want \"clip\" or \"clip_vision_model\"", top.ModelType)
	}
	for _, overlay := range []struct {
		tower *hfTower
		files []json.RawMessage
	}{{&vision, top.Vision}, {&text, top.Text}} {
		for _, raw := range overlay.files {
			if raw == nil {
				continue
			}
			if err := json.Unmarshal(raw, overlay.tower); err != nil {
				return err
			}
		}
	}
	if top.ModelType == "clip" {
		vision.ProjectionDim = 512
		if top.Project != nil {
			vision.ProjectionDim = *top.Project
		}
		text.ProjectionDim = vision.ProjectionDim
	}

	var errs []error
	equal := func(tower, field string, config, tensors int) {
		if config != tensors {
			errs = append(errs, fmt.Errorf("%s %s is %d, the tensors say %d", tower, field, config, tensors))
		}
	}
	activation := func(tower, act string) clipvit.Activation {
		a := clipvit.Activation(act)
		if a != clipvit.QuickGELU && a != clipvit.GELU {
			errs = append(errs, fmt.Errorf("%s hidden_act is %.40q, want %q or %q", tower, act, clipvit.QuickGELU, clipvit.GELU))
		}
		return a
	}
	heads := func(tower string, heads, width int) int {
		if heads < 1 || width%heads != 0 {
			errs = append(errs, fmt.Errorf("%s num_attention_heads is %d, which does not divide the width %d", tower, heads, width))
		}
		return heads
	}
	v := &c.Vision
	equal("vision", "hidden_size", vision.HiddenSize, v.Width)
	equal("vision", "intermediate_size", vision.IntermediateSize, v.MLPWidth)
	equal("vision", "num_hidden_layers", vision.Layers, v.Layers)
	equal("vision", "image_size", vision.ImageSize, v.ImageSize)
	equal("vision", "patch_size", vision.PatchSize, v.PatchSize)
	equal("vision", "num_channels", vision.Channels, 3)
	if v.EmbedDim > 0 {
		equal("vision", "projection_dim", vision.ProjectionDim, v.EmbedDim)
	}
	v.Activation, v.NormEps = activation("vision", vision.HiddenAct), vision.LayerNormEps
	v.Heads = heads("vision", vision.Heads, v.Width)
	if t := c.Text; t != nil && top.Text != nil {
		equal("text", "hidden_size", text.HiddenSize, t.Width)
		equal("text", "intermediate_size", text.IntermediateSize, t.MLPWidth)
		equal("text", "num_hidden_layers", text.Layers, t.Layers)
		equal("text", "vocab_size", text.Vocab, t.Vocab)
		equal("text", "max_position_embeddings", text.Positions, t.Context)
		t.Activation, t.NormEps = activation("text", text.HiddenAct), text.LayerNormEps
		t.Heads = heads("text", text.Heads, t.Width)
		if text.EOS != legacyEOS {
			t.BOS, t.EOS = text.BOS, text.EOS
		}
	}
	return errors.Join(errs...)
}
