package converter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/clipvit/transformer"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
)

// ErrProjectorAlone is within the error of an export that lacks the tower and has the projector; see
// [ExportOptions.ProjectorOnly].
var ErrProjectorAlone = errors.New("the projector alone can be written")

// ExportOptions are the choices of an export. To must be set; otherwise the zero value keeps the
// precision of the source and writes the format that the software prefers.
type ExportOptions struct {
	// To says whose checkpoint to write: one of [ExportForms].
	To string
	// Format is "safetensors", "torch", the zip form of torch.save, or "torchscript". If it is empty the
	// extension of the file decides, and where that says nothing what the software prefers.
	Format string
	// DType is the precision of the output: "source" keeps that of every tensor, "f16", "bf16" and
	// "f32" convert them all. In GGUF it is that of the matrices alone; vectors and positions are
	// float32. If it is empty it is "f16" for GGUF, as llama.cpp's own converter has it, and "source"
	// for the others.
	DType string
	// ProjectorOnly leaves the tower out of a form that has a projector: what LLaVA calls
	// mm_projector.bin.
	ProjectorOnly bool
	// Overwrite permits to replace a checkpoint that exists already.
	Overwrite bool
	// Progress, if it is not nil, hears how many bytes of how many have been written. It is called
	// by one goroutine at a time.
	Progress func(done, total int64)
}

// A piece is a part of a model that software has or has not.
type piece string

const (
	visionPiece    piece = "the vision tower"
	postPiece      piece = "the vision tower's last norm"
	projPiece      piece = "the projection into the joint space"
	textPiece      piece = "the text tower"
	projectorPiece piece = "the projector"
)

// pieces are all pieces, in the order of params.Walk.
var pieces = []piece{visionPiece, postPiece, projPiece, textPiece, projectorPiece}

// pieceOf returns the piece that a canonical parameter belongs to.
func pieceOf(path string) piece {
	switch {
	case isText(path):
		return textPiece
	case path == "Proj":
		return projPiece
	case strings.HasPrefix(path, "PostNorm."):
		return postPiece
	case strings.HasPrefix(path, "Projector."):
		return projectorPiece
	}
	return visionPiece
}

// only returns the inventory of some pieces.
func (has inventory) only(keep func(p piece) bool) inventory {
	some := inventory{vision: has.vision && keep(visionPiece), text: has.text && keep(textPiece), extra: map[string]bool{}, without: has.without}
	if keep(projectorPiece) {
		some.layers, some.alone = has.layers, has.alone
	}
	for path, ok := range has.extra {
		some.extra[path] = ok && keep(pieceOf(path))
	}
	return some
}

// pieces returns the pieces that there are.
func (has inventory) pieces() map[piece]bool {
	return map[piece]bool{
		visionPiece: has.vision, postPiece: has.vision && has.extra["PostNorm.W"], projPiece: has.vision && has.extra["Proj"],
		textPiece: has.text, projectorPiece: has.layers > 0,
	}
}

// The formats of weights. GGUF is the only one of its form, so it is never asked for.
const (
	safetensorsFormat = "safetensors"
	torchFormat       = "torch"
	scriptFormat      = "torchscript"
	ggufFormat        = "gguf"
)

// A form is a kind of checkpoint that Export writes.
type form struct {
	name    string
	dialect *dialect
	formats []string // that the software reads, what it prefers first
	needs   []piece
	takes   []piece // if the source has them
	// fits returns an error if the software would compute something else from the weights.
	fits func(m *Model) error
	// writeDir fills a directory. Without it the form is one file.
	writeDir func(ctx context.Context, o *output, dir string) error
}

// The kinds of checkpoints that Export writes; the list of them is forms.
var (
	openAIForm = &form{
		name: "openai", dialect: openAI,
		formats: []string{scriptFormat, torchFormat}, // see Export
		needs:   []piece{visionPiece, postPiece, projPiece, textPiece},
		fits:    fitsOpenAI,
	}
	huggingFaceForm = &form{
		name: "huggingface", dialect: huggingFace,
		formats:  []string{safetensorsFormat, torchFormat},
		needs:    []piece{visionPiece},
		takes:    []piece{postPiece, projPiece, textPiece, projectorPiece},
		writeDir: func(ctx context.Context, o *output, dir string) error { return o.write(ctx, dir) },
	}
	openCLIPForm = &form{
		name: "openclip", dialect: openAI, // open_clip itself puts "text." where a model has it
		formats:  []string{safetensorsFormat, torchFormat},
		needs:    []piece{visionPiece, postPiece, projPiece, textPiece},
		fits:     fitsOpenCLIP,
		writeDir: writeOpenCLIP,
	}
	llavaForm = &form{
		name: "llava", dialect: llava,
		formats: []string{torchFormat, safetensorsFormat},
		needs:   []piece{visionPiece, projectorPiece},
		takes:   []piece{postPiece},
	}
	hfLLaVAForm = &form{
		name: "llava-hf", dialect: hfLLaVA,
		formats: []string{torchFormat, safetensorsFormat},
		needs:   []piece{visionPiece, projectorPiece},
		takes:   []piece{postPiece},
		fits:    fitsTwoLayers,
	}
	xComposerForm = &form{
		name: "xcomposer", dialect: xComposer,
		formats: []string{torchFormat, safetensorsFormat},
		needs:   []piece{visionPiece, projectorPiece},
		fits:    fitsXComposer,
	}
	ggufForm = &form{
		name: "gguf", dialect: ggufNames,
		formats: []string{ggufFormat},
		needs:   []piece{visionPiece, projectorPiece},
		fits:    fitsGGUF,
	}
)

// Export writes the model to dst as other software has it, in one of the forms that [ExportForms] names.
// The output appears complete or not at all, and tensors go through memory in parts. What the form
// has no place for is left out, and [Report.Left] says what that is. What it needs and the source
// does not have is an error, as is a model that the software would compute something else from.
func (m *Model) Export(ctx context.Context, dst string, opts ExportOptions) (*Report, error) {
	f, format, target, err := opts.choose(dst)
	if err != nil {
		return nil, err
	}
	if err := m.ready(); err != nil {
		return nil, err
	}
	// The report shares nothing with m.
	o := &output{model: m.clone(), target: target, format: format, progress: opts.Progress}
	left, err := f.prepare(o, opts.ProjectorOnly)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if f.writeDir != nil {
		err = writeDir(dst, opts.Overwrite, func(dir string) error { return f.writeDir(ctx, o, dir) })
		r = o.report(dst)
	} else {
		o.files = []string{filepath.Base(dst)}
		err = writeOne(dst, opts.Overwrite, func(w *os.File) error { return o.writeWeights(ctx, w) })
		r = o.report(filepath.Dir(dst))
	}
	if err != nil {
		return nil, err
	}
	for _, p := range left {
		r.Left = append(r.Left, string(p))
	}
	if f.dialect == openAI && m.config.Text != nil {
		if t, _, err := m.Tokenizer(""); err == nil && t.Len() > cliptext.OpenAIWords {
			r.Left = append(r.Left, "tokens that were added to the vocabulary")
		}
	}
	r.Left = append(r.Left, m.headBeside()...)
	return r, nil
}

// Check returns an error if o contradicts itself or the name dst of the output, whatever the source is.
func (o ExportOptions) Check(dst string) error {
	_, _, _, err := o.choose(dst)
	return err
}

// choose returns what o asks for: the form, the format of the weights and their type, "" for that of the
// source.
func (o ExportOptions) choose(dst string) (f *form, format string, target checkpoint.DType, err error) {
	i := slices.IndexFunc(forms, func(f *form) bool { return f.name == o.To })
	if i < 0 {
		return nil, "", "", fmt.Errorf("converter: export to %q, want %s", o.To, strings.Join(ExportForms(), ", "))
	}
	f = forms[i]
	if o.ProjectorOnly && !f.alone() {
		return nil, "", "", fmt.Errorf("converter: export to %s: there is no file of a projector alone", f.name)
	}
	if format, err = f.format(dst, o.Format); err != nil {
		return nil, "", "", err
	}
	if o.DType == "" && format == ggufFormat {
		o.DType = "f16"
	}
	target, err = parseTarget(o.DType)
	return f, format, target, err
}

// extensions are those that say the format of a file. Others, as .bin, say nothing.
var extensions = map[string][]string{
	".safetensors": {safetensorsFormat},
	".pt":          {torchFormat, scriptFormat},
	".pth":         {torchFormat, scriptFormat},
	".gguf":        {ggufFormat},
}

// format returns the format of the weights.
func (f *form) format(dst, asked string) (string, error) {
	const extension = ".safetensors" // software tells the formats apart by it
	ext := filepath.Ext(dst)
	file := f.writeDir == nil
	format := asked
	switch {
	case asked == "" && file && ext == extension && slices.Contains(f.formats, safetensorsFormat):
		format = safetensorsFormat
	case asked == "":
		format = f.formats[0]
	}
	said := extensions[ext]
	switch {
	case !slices.Contains(f.formats, format):
		return "", fmt.Errorf("converter: export to %s: format is %q, want %s", f.name, format, strings.Join(f.formats, " or "))
	case file && format == safetensorsFormat && ext != extension:
		return "", fmt.Errorf("converter: export to %s: %s is to be a file of safetensors, want the extension %s", f.name, dst, extension)
	case file && said != nil && !slices.Contains(said, format):
		return "", fmt.Errorf("converter: export to %s: %s is to be a file of %s, and has the extension of %s", f.name, dst, format, said[0])
	}
	return format, nil
}

// alone says whether there is a file of the projector alone. llama.cpp needs the tower.
func (f *form) alone() bool {
	return slices.Contains(f.needs, projectorPiece) && f.dialect != ggufNames
}

// prepare decides what is written, finds all that can be wrong with it before anything is, and returns
// the pieces of the source that are not.
func (f *form) prepare(o *output, projectorOnly bool) (left []piece, err error) {
	refuse := func(format string, a ...any) ([]piece, error) {
		return nil, fmt.Errorf("converter: %s: cannot be exported to %s: %w", o.model.name, f.name, fmt.Errorf(format, a...))
	}
	needs, takes := f.needs, f.takes
	if projectorOnly {
		needs, takes = []piece{projectorPiece}, nil
	}
	there := o.model.has.pieces()
	var missing []string
	for _, p := range pieces {
		switch {
		case there[p] && !slices.Contains(needs, p) && !slices.Contains(takes, p):
			left = append(left, p)
		case !there[p] && slices.Contains(needs, p):
			missing = append(missing, string(p))
		}
	}
	if missing != nil {
		if f.alone() && there[projectorPiece] {
			return refuse("it lacks %s (%w)", strings.Join(missing, ", "), ErrProjectorAlone)
		}
		return refuse("it lacks %s", strings.Join(missing, ", "))
	}
	if f.fits != nil {
		if err := f.fits(o.model); err != nil {
			return refuse("%w", err)
		}
	}
	has := o.model.has.only(func(p piece) bool { return !slices.Contains(left, p) })
	if err := f.dialect.fits(o.model.sizes, has); err != nil {
		return refuse("%w", err)
	}
	switch f.dialect {
	case huggingFace: // the projector has a file of its own
		return left, o.prepare()
	case ggufNames:
		o.plan(f.dialect.slots(o.model.sizes, has))
		o.ggufDTypes()
		return left, nil
	}
	o.plan(f.dialect.slots(o.model.sizes, has))
	if o.format == safetensorsFormat {
		o.wideFirst()
	}
	return left, nil
}

// writeOne has write fill a file that appears as dst when it is complete. If anything fails nothing is left. It
// does not replace what it cannot recognise as a checkpoint.
func writeOne(dst string, overwrite bool, write func(f *os.File) error) error {
	dst, err := filepath.Abs(dst)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	if err := checkReplaceable(dst, overwrite); err != nil {
		return err
	}
	return folder.Prefix("converter", folder.WithParents(dst, func() error { return folder.WriteFile(dst, write) }))
}

// checkReplaceable returns an error if a file dst must not be written.
func checkReplaceable(dst string, overwrite bool) error {
	info, err := os.Lstat(dst)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("converter: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("converter: %s is not a regular file, so it is not overwritten", dst)
	case !overwrite:
		return fmt.Errorf("converter: %s exists, and %w", dst, ErrExists)
	}
	f, err := os.Open(dst)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	defer f.Close()
	known, err := checkpoint.Recognised(f)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	if !known {
		return fmt.Errorf("converter: %s is no checkpoint, so it is not overwritten", dst)
	}
	return nil
}

// openAIRatio is F/C in OpenAI's code, which has it built in, as it has headWidth and normEps.
const openAIRatio = 4

// A towerConfig is what the configurations of both towers have in common.
type towerConfig struct {
	name                   string
	width, heads, mlpWidth int
	activation             transformer.Activation
	eps                    float64
}

// towers returns the towers of a model.
func (c Config) towers() []towerConfig {
	v := c.Vision
	all := []towerConfig{{"vision", v.Width, v.Heads, v.MLPWidth, v.Activation, v.NormEps}}
	if t := c.Text; t != nil {
		all = append(all, towerConfig{"text", t.Width, t.Heads, t.MLPWidth, t.Activation, t.NormEps})
	}
	return all
}

// fitsOpenAI checks what OpenAI's code takes for granted.
//
// Source: openai/CLIP, clip/model.py, CLIP, Transformer and build_model.
func fitsOpenAI(m *Model) error {
	var errs []error
	for _, t := range m.config.towers() {
		want := func(what string, got, want any) {
			if got != want {
				errs = append(errs, fmt.Errorf("the %s tower's %s is %v, and its code has %v built in", t.name, what, got, want))
			}
		}
		want("activation", t.activation, transformer.QuickGELU)
		want("head", fmt.Sprint(t.width/t.heads, " wide"), fmt.Sprint(headWidth, " wide"))
		want("MLP", fmt.Sprint(t.mlpWidth, " wide"), fmt.Sprint(openAIRatio*t.width, " wide"))
		want("epsilon", t.eps, float64(normEps))
	}
	if p, _ := clipvit.FindPreset(byOpenAI); m.config.Vision.Transform.Follow(p).Canonical() != (clipvit.Transform{}) {
		errs = append(errs, fmt.Errorf("images are prepared by %+v, and its code has its own preprocessing built in", m.config.Vision.Transform))
	}
	return errors.Join(append(errs, fitsEndOfText(m), fitsWords(m))...)
}

// fitsWords checks that texts have the words which OpenAI's code and OpenCLIP give every model of as many: OpenAI's.
func fitsWords(m *Model) error {
	const builtIn = "and its code takes OpenAI's vocabulary"
	if m.config.Text == nil {
		return nil
	}
	if err := m.plainTexts(); err != nil {
		return fmt.Errorf("%s: %w, %s", openCLIPConfig, err, builtIn)
	}
	if !m.openAIs() { // of which fitsEndOfText says what is wrong, or its code does
		return nil
	}
	t, _, err := m.Tokenizer("")
	switch {
	case errors.Is(err, cliptext.ErrVocabulary):
		return fmt.Errorf("tokenizer_config.json says that the checkpoint's own tokenizer is not there (vitago_library is none), %s", builtIn)
	case err != nil:
		return fmt.Errorf("the tokenizer is not OpenAI's: %s, %s", strings.TrimPrefix(err.Error(), "converter: "), builtIn)
	case !t.HasOpenAIs():
		return fmt.Errorf("the words or merges of the tokenizer are not OpenAI's, %s", builtIn)
	}
	return nil
}

// fitsEndOfText checks that the largest word ends a text, by which OpenAI's code and OpenCLIP find
// the end. Of a vocabulary that was filled up, their tokenizers give OpenAI's words alone.
func fitsEndOfText(m *Model) error {
	if t := m.config.Text; t != nil && t.EOS != t.Vocab-1 && t.EOS != cliptext.OpenAIWords-1 {
		return fmt.Errorf("token %d ends a text, and its code takes the largest, %d", t.EOS, t.Vocab-1)
	}
	return nil
}

// fitsTwoLayers checks a projector for software that knows no other.
func fitsTwoLayers(m *Model) error {
	if m.has.layers != 2 {
		return fmt.Errorf("the projector is %s, and its code has mlp2x_gelu built in", m.projector.Type)
	}
	return nil
}

// fitsXComposer checks what InternLM-XComposer's code takes for granted.
//
// Source: build_mlp.py of the models on Hugging Face, CLIPVisionTower and build_vision_projector.
func fitsXComposer(m *Model) error {
	errs := []error{fitsTwoLayers(m)}
	if v := m.config.Vision; m.has.vision && v.Activation != transformer.QuickGELU {
		errs = append(errs, fmt.Errorf("the activation is %s, and its code has %s built in", v.Activation, transformer.QuickGELU))
	}
	if layer, ok := m.selected(); ok && layer != m.config.Vision.Layers {
		errs = append(errs, fmt.Errorf("the projector is fed by layer %d of %d, and its code takes the last", layer, m.config.Vision.Layers))
	}
	return errors.Join(errs...)
}

// selected returns the layer whose tokens are projected, counted from the output of the pre-norm
// on, if that and the number of layers are known.
func (m *Model) selected() (layer int, ok bool) {
	if p := m.projector; m.has.vision && p != nil && p.SelectLayer != nil {
		if layer = *p.SelectLayer; layer < 0 {
			layer += m.config.Vision.Layers + 1
		}
		return layer, true
	}
	return 0, false
}

// The names of files in a directory of OpenCLIP's.
// Source: mlfoundations/open_clip, src/open_clip/constants.py.
const (
	openCLIPConfig      = "open_clip_config.json"
	openCLIPSafetensors = "open_clip_model.safetensors"
	openCLIPTorch       = "open_clip_pytorch_model.bin"
)

// fitsOpenCLIP checks what open_clip_config.json has no place for, or open_clip no code.
func fitsOpenCLIP(m *Model) error {
	_, err := preprocessJSON(m.config.Vision.Transform)
	errs := []error{fitsEndOfText(m), fitsWords(m), err}
	if v, t := m.config.Vision, m.config.Text; v.Activation != t.Activation {
		errs = append(errs, fmt.Errorf("activations are %s and %s, and its configuration has one for both towers", v.Activation, t.Activation))
	}
	for _, t := range m.config.towers() {
		if t.eps != normEps {
			errs = append(errs, fmt.Errorf("the %s tower's epsilon is %v, want %v", t.name, t.eps, float64(normEps)))
		}
		errs = append(errs, fitsTwoActivations(t.activation))
	}
	return errors.Join(errs...)
}

// fitsTwoActivations checks an activation for a form that says whether it is the one or the other.
func fitsTwoActivations(a transformer.Activation) error {
	if a != transformer.QuickGELU && a != transformer.GELU {
		return fmt.Errorf("the activation is %s, and the form has %s and %s only", a, transformer.QuickGELU, transformer.GELU)
	}
	return nil
}

// openCLIPConfigJSON returns what open_clip_config.json says.
//
// Source: mlfoundations/open_clip, src/open_clip/model.py, CLIPVisionCfg and CLIPTextCfg;
// push_to_hf_hub.py, save_config_for_hf.
func openCLIPConfigJSON(c Config) map[string]any {
	v, t := c.Vision, c.Text
	preprocess, _ := preprocessJSON(v.Transform) // which fitsOpenCLIP has looked at
	vision := map[string]any{
		"image_size": v.ImageSize, "patch_size": v.PatchSize, "width": v.Width, "layers": v.Layers, "head_width": v.Width / v.Heads,
		"mlp_ratio": ratio(v.MLPWidth, v.Width),
	}
	text := map[string]any{
		"context_length": t.Context, "vocab_size": t.Vocab, "width": t.Width, "layers": t.Layers, "heads": t.Heads,
		"mlp_ratio": ratio(t.MLPWidth, t.Width),
	}
	return map[string]any{
		"model_cfg": map[string]any{
			"embed_dim": v.EmbedDim, "quick_gelu": v.Activation == transformer.QuickGELU, "vision_cfg": vision, "text_cfg": text,
		},
		"preprocess_cfg": preprocess,
	}
}

// ratio returns a/b, or the next number whose product with b is not less than a in floating point:
// the other side cuts the product off.
func ratio(a, b int) float64 {
	r := float64(a) / float64(b)
	for int(float64(b)*r) < a {
		r = math.Nextafter(r, math.Inf(1))
	}
	return r
}

// writeOpenCLIP fills a directory that open_clip.create_model loads as local-dir:DIR.
func writeOpenCLIP(ctx context.Context, o *output, dir string) error {
	weights := openCLIPSafetensors
	if o.format == torchFormat {
		weights = openCLIPTorch
	}
	o.files = []string{weights, openCLIPConfig}
	if err := writeFile(filepath.Join(dir, weights), func(f *os.File) error { return o.writeWeights(ctx, f) }); err != nil {
		return err
	}
	config := folder.MustJSON(openCLIPConfigJSON(o.model.config))
	return folder.Prefix("converter", folder.WriteBytes(filepath.Join(dir, openCLIPConfig), config))
}
