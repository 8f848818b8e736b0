package converter

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/converter/peft"
)

const (
	// headWidth is the width of an attention head in all models of OpenAI; shapes do not tell it.
	// Source: openai/CLIP, clip/model.py, CLIP.__init__: vision_heads = vision_width // 64.
	headWidth = 64
	// normEps is what torch.nn.LayerNorm adds to the variance unless told otherwise.
	normEps = 1e-5
	// maxHeadless is the width up to which all towers of OpenAI and OpenCLIP have heads of headWidth.
	// Source: mlfoundations/open_clip, src/open_clip/model_configs: ViT-H-14 has 1280 and heads of 80.
	maxHeadless = 1024
)

// recognise returns the dialect and the prefix that explain most names of a checkpoint, which are bare. It is told which
// two are names of one tensor.
func recognise(file string, names []string, same func(a, b string) bool) (best *dialect, prefix string, err error) {
	most := 0
	var equal []string // other prefixes that explain as many
	for _, p := range prefixes(names) {
		var stripped []string
		for _, name := range names {
			if name, ok := strings.CutPrefix(name, p); ok {
				stripped = append(stripped, name)
			}
		}
		for _, d := range dialects {
			n := 0
			for _, name := range stripped {
				if r, _ := d.match(name); r != nil {
					n++
				}
			}
			switch {
			case n > most:
				best, prefix, most, equal = d, p, n, nil
			case n == most && d == best:
				equal = append(equal, p)
			}
		}
	}
	if best == nil && slices.ContainsFunc(names, peft.Names) {
		return nil, "", fmt.Errorf("converter: %s is %w", file, ErrAdapter)
	}
	if best == nil {
		return nil, "", fmt.Errorf("converter: %s: none of %d tensors has a name of CLIP's (%s, …)", file, len(names), strings.Join(names[:min(3, len(names))], ", "))
	}
	for _, p := range equal {
		if !best.both(names, prefix, p) && !best.twice(names, prefix, p, same) {
			return nil, "", fmt.Errorf("converter: %s: two models, in front of whose names stand %q and %q: save the one that is wanted alone", file, prefix, p)
		}
	}
	return best, prefix, nil
}

// both says whether there is a name that d knows behind either of two prefixes.
func (d *dialect) both(names []string, a, b string) bool {
	knows := func(name, prefix string) bool {
		name, ok := strings.CutPrefix(name, prefix)
		r, _ := d.match(name)
		return ok && r != nil
	}
	return slices.ContainsFunc(names, func(name string) bool { return knows(name, a) && knows(name, b) })
}

// twice says whether all tensors that d knows behind prefix b are those behind prefix a: one module in two places.
func (d *dialect) twice(names []string, a, b string, same func(a, b string) bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		bare, ok := strings.CutPrefix(name, b)
		r, _ := d.match(bare)
		return ok && r != nil && !same(a+bare, name)
	})
}

// align finds every parameter of a model in a source, and what shapes and configurations say of it, or says all
// that is wrong.
func align(c *source) (*Model, error) {
	names, err := unwrap(c.file)
	if err != nil {
		return nil, fmt.Errorf("converter: %s: %w", c.name, err)
	}
	d, prefix, err := recognise(c.name, names.names(), names.same)
	if err != nil {
		if family := c.foreign(); family != "" {
			err = fmt.Errorf("%w: %s", err, family)
		}
		return nil, err
	}
	m := &Model{
		file: c.file, name: c.name, beside: c.beside, words: c.words, assumed: c.assumed, choice: c.choice, transform: c.transform,
		dialect: d, sizes: sizes{}, params: map[string]param{}, language: len(c.file.Absent()),
	}
	m.has.extra = map[string]bool{}
	if err := m.findHead(names, prefix); err != nil {
		return nil, err
	}
	wrong := &MismatchError{File: c.name, Dialect: d.name}

	// What the shapes say, by vote: one wrong tensor must not make all others wrong.
	votes := map[string]map[int]int{}
	blocks := map[string]map[int]bool{"L": {}, "l": {}}
	matched := map[*checkpoint.Tensor]bool{}
	places := map[checkpoint.Place]bool{} // of parameters
	var strange []*checkpoint.Tensor
	var long *checkpoint.Tensor // positions of Long-CLIP's text
	for _, t := range c.file.Tensors() {
		name, ok := strings.CutPrefix(plainName(t.Name), prefix)
		r, block := d.match(name)
		switch {
		case isCounter(t.Name, t), t.Len() == 0 && (!ok || r == nil): // of nothing
			m.excused = append(m.excused, t.Name)
			continue
		case m.head.has(t):
			m.excused = append(m.excused, t.Name)
			continue
		case ok && name == longText && d.byFrom[openTextPositions] != nil:
			long = t
			continue
		case ok && r != nil:
		case ok && d.dropped[name]:
			m.excused = append(m.excused, t.Name)
			continue
		case d.isLanguageBehind(plainName(t.Name), prefix):
			m.language++
			continue
		default:
			strange = append(strange, t)
			continue
		}
		matched[t] = true
		letter := "L"
		switch {
		case strings.HasPrefix(r.to, "Projector."):
			if n, ok := projectorLayer(r.to); ok {
				m.has.layers = max(m.has.layers, n+1)
				m.has.alone = m.has.alone || r.as == alone
			}
		case isText(r.to):
			letter, m.has.text = "l", m.has.text || r.to != "LogitScale"
		default:
			m.has.vision = true
		}
		if block >= 0 {
			blocks[letter][block] = true
		}
		if optional[r.to] != "" {
			m.has.extra[r.to] = true
		}
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
	for _, name := range slices.Sorted(maps.Keys(names.unread)) {
		bare, ok := strings.CutPrefix(name, prefix)
		if r, _ := d.match(bare); ok && r != nil {
			wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: %s, which is not read", name, names.unread[name]))
		}
	}
	m.expect()
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

	for _, s := range d.slots(m.sizes, m.has) {
		t := names.tensor(prefix + s.name)
		if t == nil {
			if names.unread[prefix+s.name] == "" {
				wrong.Missing = append(wrong.Missing, prefix+s.name)
			}
			continue
		}
		delete(matched, t)
		places[t.Place()] = true
		switch {
		case !slices.Equal(t.Shape, s.shape) && !(len(s.shape) == 0 && t.Len() == 1): // a scalar may be a vector of one
			wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: shape %v, want %s", t.Name, t.Shape, s.rule.shapeText(m.sizes)))
		case !t.DType.IsFloat():
			wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: elements are %s, want floating point", t.Name, t.DType))
		default:
			if s.rule.as == transposed {
				t = t.Transposed()
				if err := t.Readable(); err != nil {
					wrong.Shapes = append(wrong.Shapes, fmt.Sprintf("%s: %v", t.Name, err))
				}
			}
			m.params[s.path] = append(m.params[s.path], part{t, 0, t.Len()})
		}
	}
	for _, t := range strange {
		if places[t.Place()] { // a parameter under another name
			m.excused = append(m.excused, t.Name)
		} else {
			wrong.Unexpected = append(wrong.Unexpected, t.Name)
		}
	}
	for _, t := range c.file.Tensors() {
		if matched[t] {
			wrong.Unexpected = append(wrong.Unexpected, t.Name)
		}
	}
	if long != nil {
		if err := m.lengthen(long); err != nil {
			wrong.Shapes = append(wrong.Shapes, err.Error())
		}
	}
	if len(wrong.Missing)+len(wrong.Unexpected)+len(wrong.Shapes) > 0 {
		wrong.Family = c.foreign()
		return nil, wrong
	}
	if err := m.configure(); err != nil {
		return nil, err
	}
	if v := m.config.Vision; m.has.vision && c.dir != "" && (v.Activation == "" && m.assumed == "" || v.Heads == 0) {
		if err := m.beside.readBeside(c.dir, configFile, openCLIPConfig); err != nil {
			return nil, err
		}
		if err := m.configure(); err != nil {
			return nil, err
		}
	}
	m.settle()
	for _, a := range slices.Concat(c.below, c.adapters) {
		if err := m.adapt(a); err != nil {
			return nil, m.wrap(err)
		}
		m.adapters = append(m.adapters, inWords(a.adapters)...)
	}
	return m, nil
}

// settle completes the configuration by what is assumed, and notes what keeps it from computing.
func (m *Model) settle() {
	m.stated = m.config
	if t := m.config.Text; t != nil {
		text := *t
		m.config.Text = &text
	}
	m.unsettled = m.decide()
}

// expect adds to the inventory what a model must have: both towers a projection, and one whose
// embedding is the point of it the norm before.
func (m *Model) expect() {
	if m.has.text {
		m.has.vision = true
		m.has.extra["Proj"] = true
	}
	if m.has.vision && (m.has.extra["Proj"] || m.dialect.language == nil && !m.noPostNorm()) {
		m.has.extra["PostNorm.W"] = true
	}
	there := map[string]bool{} // of the optional parts
	for path := range m.has.extra {
		there[optional[path]] = m.has.extra[path] || there[optional[path]]
	}
	for path, part := range optional {
		if there[part] {
			m.has.extra[path] = true
		}
	}
	m.has.without = map[string]bool{}
	for _, s := range visionSpecs {
		if optional[s.path] == "" && m.dialect.byTo[s.path] == nil {
			m.has.without[s.path] = true
		}
	}
	if m.has.extra["Projector.Newline"] || m.has.extra["Projector.GlobalSeparator"] || m.has.extra["Projector.RowSeparator"] {
		m.has.layers = max(m.has.layers, 1)
	}
}

// configure finds the configuration that the shapes, and the files beside the tensors, give.
//
// Source: openai/CLIP, clip/model.py, build_model.
func (m *Model) configure() error {
	c, s := &m.config, m.sizes
	if m.has.vision {
		c.Vision = clipvit.Config{NoClassToken: m.has.without["Embed.Class"], NoPreNorm: m.has.without["PreNorm.W"]}
		patches := s["T"] - c.Vision.ClassTokens()
		grid := int(math.Round(math.Sqrt(math.Max(0, float64(patches)))))
		if grid < 1 || grid*grid != patches {
			return fmt.Errorf("converter: %s: %d positions, want %d and a square number", m.name, s["T"], c.Vision.ClassTokens())
		}
		v := &c.Vision
		v.ImageSize, v.PatchSize, v.Width, v.Layers, v.MLPWidth = grid*s["P"], s["P"], s["C"], s["L"], s["F"]
		v.NormEps, v.NoPostNorm = normEps, !m.has.extra["PostNorm.W"]
		if m.has.extra["Proj"] {
			c.Vision.EmbedDim = s["E"]
		}
	}
	if m.has.text && s["v"] == metaCLIP2Words {
		return fmt.Errorf("converter: %s: %s", m.name, foreignFamily{name: "MetaCLIP 2 (worldwide)", why: metaCLIP2Why}.text(fmt.Sprintf("the text tower has %d tokens", s["v"])))
	}
	if m.has.text {
		c.Text = &TextConfig{
			Vocab: s["v"], Context: s["n"], Width: s["c"], Layers: s["l"], MLPWidth: s["f"], EmbedDim: s["E"],
			NormEps: normEps, BOS: s["v"] - 2, EOS: s["v"] - 1, // the last two words: clip/simple_tokenizer.py
		}
		if t := c.Text; t.Vocab > cliptext.OpenAIWords { // filled up, or with words that were added
			t.BOS, t.EOS, t.PoolLargest = cliptext.OpenAIWords-2, cliptext.OpenAIWords-1, true
		}
	}
	if m.has.layers > 0 {
		m.projector = &ProjectorConfig{Type: fmt.Sprintf("mlp%dx_gelu", m.has.layers), In: s["M"], Out: s["O"]}
		if m.has.alone {
			m.projector.Type = "linear"
		}
	}
	if err := m.readConfigs(); err != nil {
		return fmt.Errorf("converter: %s: %w", m.name, err)
	}
	m.family()
	if p := m.projector; p != nil && m.has.vision && p.SelectLayer != nil && (*p.SelectLayer > s["L"] || *p.SelectLayer < -1-s["L"]) {
		return fmt.Errorf("converter: %s: the projector is fed with layer %d, want %d to %d", m.name, *p.SelectLayer, -1-s["L"], s["L"])
	}
	if v := &c.Vision; m.has.vision {
		v.Activation = cmp.Or(v.Activation, m.scripted())
		if v.Heads == 0 && v.Width%headWidth == 0 && v.Width <= maxHeadless {
			v.Heads = v.Width / headWidth
		}
	}
	if t := c.Text; t != nil && t.Heads == 0 && t.Width%headWidth == 0 {
		t.Heads = t.Width / headWidth
	}
	if m.has.vision {
		if err := m.readTransform(); err != nil {
			return err
		}
		return m.readTiles()
	}
	if m.choice != (clipvit.Choice{}) || m.transform != nil {
		return fmt.Errorf("converter: %s: has no vision tower, whose preprocessing could be chosen", m.name)
	}
	return nil
}

// scriptActivations are the classes of activations in TorchScript. A GELU by torch may be the approximate
// one, which only the code says, so it tells nothing.
//
// Source: openai/CLIP, clip/model.py, QuickGELU.
var scriptActivations = map[string]transformer.Activation{"QuickGELU": transformer.QuickGELU}

// scripted returns the activation that the classes of a TorchScript archive say, "" if they say none.
func (m *Model) scripted() (a transformer.Activation) {
	for _, class := range m.file.Classes() {
		a = cmp.Or(scriptActivations[class], a)
	}
	return a
}

// decide decides what neither shapes nor files have said, and refuses what cannot be known.
func (m *Model) decide() error {
	v, t := &m.config.Vision, m.config.Text
	if !m.has.vision {
		return nil
	}
	if v.Activation != "" && m.assumed != "" && v.Activation != m.assumed {
		return fmt.Errorf("the activation is %q, and %q was asked for", v.Activation, m.assumed)
	}
	if v.Activation = cmp.Or(v.Activation, m.assumed); v.Activation == "" {
		return cmp.Or(m.unsure, ErrActivation)
	}
	if v.Heads == 0 {
		return fmt.Errorf("width %d, and no configuration says how many heads it has: known is that of multiples of %d up to %d; put the model's config.json or open_clip_config.json beside the tensors", v.Width, headWidth, maxHeadless)
	}
	if err := v.Validate(); err != nil || t == nil {
		return err
	}
	t.Activation = cmp.Or(t.Activation, v.Activation)
	if t.Vocab < 2 || t.Heads < 1 || t.Width%t.Heads != 0 {
		return fmt.Errorf("text tower of %d tokens, width %d and %d heads", t.Vocab, t.Width, t.Heads)
	}
	return nil
}
