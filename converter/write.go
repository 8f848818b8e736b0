package converter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vitago/vitago/cliptext"
	"github.com/vitago/vitago/converter/checkpoint"
	"github.com/vitago/vitago/internal/folder"
)

// parseTarget returns the type that Options.DType means, "" for that of the source.
func parseTarget(s string) (checkpoint.DType, error) {
	switch s {
	case "", "source":
		return "", nil
	case "f16", "bf16", "f32":
		return checkpoint.DType(strings.ToUpper(s)), nil
	}
	return "", fmt.Errorf("converter: dtype is %q, want source, f16, bf16 or f32", s)
}

// An output is a model directory that is about to be written.
type output struct {
	model    *Model
	target   checkpoint.DType
	format   string // of the weights; "" is safetensors
	vocab    string
	progress func(done, total int64)

	entries      []checkpoint.Entry
	sources      []param         // of the entries
	beside       *output         // the projector, which has a file of its own
	words        []cliptext.File // the tokenizer
	said         string          // of the tokenizer
	unread       []string        // what of the source was not read, in words
	sum          string          // SHA-256 of the source, "" if not all of it is read
	bytes        int64           // of the weights file
	files        []string
	preprocessor map[string]any // preprocessor_config.json, if there is a tower
}

// prepare decides what will be written, and finds all that can be wrong with it before anything is.
func (o *output) prepare() error {
	if err := huggingFace.fits(o.model.sizes, o.model.has); err != nil {
		return fmt.Errorf("converter: %s: cannot be written for transformers: %w", o.model.name, err)
	}
	p := &output{model: o.model, target: o.target}
	for _, s := range huggingFace.slots(o.model.sizes, o.model.has) {
		if name, ok := strings.CutPrefix(s.name, projectorPrefix); ok {
			s.name = name
			p.plan([]slot{s})
		} else {
			o.plan([]slot{s})
		}
	}
	o.wideFirst()
	if p.entries != nil {
		p.wideFirst()
		o.beside = p
	}
	if o.entries != nil {
		var err error
		if o.preprocessor, err = preprocessorJSON(o.model.config.Vision, o.model.library); err != nil {
			return fmt.Errorf("converter: %s: cannot be written for transformers: %w", o.model.name, err)
		}
	}
	switch {
	case o.vocab != "" && o.model.config.Text == nil:
		return fmt.Errorf("converter: a vocabulary is given, but the output has no text tower")
	case o.model.config.Text == nil:
		return nil
	}
	return o.tokenizer()
}

// plan makes an entry of every slot, whose parameter the source must have. They lie one after the
// other, in the order of the slots.
func (o *output) plan(slots []slot) {
	for _, s := range slots {
		p := o.model.params[s.path].band(s.rule.band, s.rule.bands)
		if s.rule.as == transposed {
			p = p.transposed()
		}
		o.entries = append(o.entries, checkpoint.Entry{Name: s.name, DType: cmp.Or(o.target, p.dtype()), Shape: s.shape})
		o.sources = append(o.sources, p)
	}
}

// wideFirst puts the entries of wide elements first: then all are aligned, since safetensors
// permits no gap.
func (o *output) wideFirst() {
	order := make([]int, len(o.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return o.entries[j].DType.Size() - o.entries[i].DType.Size() })
	entries, sources := o.entries, o.sources
	o.entries, o.sources = nil, nil
	for _, i := range order {
		o.entries = append(o.entries, entries[i])
		o.sources = append(o.sources, sources[i])
	}
}

// A content is a file of a directory that is written, and what it says.
type content struct {
	name  string
	value any
}

// write fills the directory dir.
func (o *output) write(ctx context.Context, dir string) error {
	weights := weightsFile
	if o.format == torchFormat {
		weights = torchFile
	}
	var contents []content
	if o.entries != nil {
		if err := writeFile(filepath.Join(dir, weights), func(f *os.File) error { return o.writeWeights(ctx, f) }); err != nil {
			return err
		}
		o.files = append(o.files, weights)
		contents = []content{{configFile, o.configJSON()}, {preprocessorFile, o.preprocessor}}
	}
	if p := o.beside; p != nil {
		if err := writeFile(filepath.Join(dir, projectorWeights), func(f *os.File) error { return p.writeWeights(ctx, f) }); err != nil {
			return err
		}
		o.files = append(o.files, projectorWeights)
		o.sum, o.bytes = p.sum, o.bytes+p.bytes
		contents = append(contents, content{projectorFile, o.model.projector})
	}
	add := func(name string, data []byte) error {
		o.files = append(o.files, name)
		return folder.Prefix("converter", folder.WriteBytes(filepath.Join(dir, name), data))
	}
	for _, f := range contents {
		if err := add(f.name, folder.MustJSON(f.value)); err != nil {
			return err
		}
	}
	for _, f := range o.words {
		if err := add(f.Name, f.Data); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// verified has write write while another goroutine reads the whole source, for its SHA-256 and to
// verify its checksums: a damaged source ends the writing at once. A write that calls sum waits for
// the other to end. Of a source with a language model only what is written is read: then the sum
// is "", as it is without a source.
func (o *output) verified(ctx context.Context, write func(ctx context.Context, sum func() (string, error)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		var err error
		if o.hashed() {
			o.sum, err = o.model.SHA256(ctx)
		} else {
			err = o.model.verify(ctx, o.sources...)
		}
		if err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(context.Canceled)
		<-hashed
	}()
	sum := func() (string, error) {
		<-hashed
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return o.sum, nil
	}
	if err := write(ctx, sum); err != nil {
		return err
	}
	_, err := sum()
	return err
}

// hashed says whether there is a source that is read as a whole.
func (o *output) hashed() bool { return o.model.language == 0 && o.model.file.Bytes() > 0 }

// writeWeights writes the tensors in the format that was chosen.
func (o *output) writeWeights(ctx context.Context, f *os.File) error {
	switch o.format {
	case torchFormat:
		return o.writeCounted(ctx, f, func(w io.Writer, emit checkpoint.Emit) error {
			return checkpoint.WriteTorch(w, o.entries, emit)
		})
	case scriptFormat:
		return o.writeCounted(ctx, f, func(w io.Writer, emit checkpoint.Emit) error {
			return checkpoint.WriteTorchScript(w, openAIScript, o.entries, emit)
		})
	case ggufFormat:
		return o.writeGGUF(ctx, f)
	}
	return o.writeSafetensors(ctx, f)
}

// openAIScript is what OpenAI's archives have beside tensors: their MLPs have a module of the activation.
//
// Source: openai/CLIP, clip/model.py, ResidualAttentionBlock.
var openAIScript = checkpoint.Script{Class: "CLIP", Within: map[string]checkpoint.Submodule{"mlp": {Name: "gelu", Class: "QuickGELU"}}}

// writeCounted has write write to f while the source is verified, and remembers how much it was.
func (o *output) writeCounted(ctx context.Context, f *os.File, write func(w io.Writer, emit checkpoint.Emit) error) error {
	return o.verified(ctx, func(ctx context.Context, _ func() (string, error)) error {
		if err := write(f, o.emitter(ctx)); err != nil {
			return err
		}
		return o.measure(f)
	})
}

// measure remembers how many bytes have been written to a file.
func (o *output) measure(f *os.File) (err error) {
	if o.bytes, err = f.Seek(0, io.SeekCurrent); err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	return nil
}

// writeSafetensors writes the tensors as a file of safetensors, in whose header a place is kept for
// the source's SHA-256.
func (o *output) writeSafetensors(ctx context.Context, f *os.File) error {
	metadata := map[string]string{"format": "pt"}
	if o.hashed() {
		metadata["source_sha256"] = strings.Repeat("0", 64)
	}
	kept, err := checkpoint.SafetensorsHeader(metadata, o.entries, 0)
	if err != nil {
		return err
	}
	return o.verified(ctx, func(ctx context.Context, sum func() (string, error)) error {
		if err := checkpoint.WriteSafetensors(f, metadata, o.entries, o.emitter(ctx)); err != nil {
			return err
		}
		if err := o.measure(f); err != nil {
			return err
		}
		s, err := sum()
		if err != nil {
			return err
		}
		if s == "" {
			return nil
		}
		metadata["source_sha256"] = s
		final, err := checkpoint.SafetensorsHeader(metadata, o.entries, 0)
		if err != nil {
			return err
		}
		if len(final) != len(kept) {
			return fmt.Errorf("converter: header of %d bytes, kept %d", len(final), len(kept))
		}
		_, err = f.WriteAt(final, 0)
		return err
	})
}

// emitter returns what writes the elements of an entry, in chunks.
func (o *output) emitter(ctx context.Context) checkpoint.Emit {
	var done, total int64
	for _, e := range o.entries {
		total += e.Bytes()
	}
	c := checkpoint.NewCopier()
	c.Wrote = func(n int) {
		done += int64(n)
		if o.progress != nil {
			o.progress(done, total)
		}
	}
	return func(i int, w io.Writer) error {
		for _, q := range o.sources[i] {
			if err := c.Copy(ctx, w, q.t, q.lo, q.n, o.entries[i].DType); err != nil {
				return err
			}
		}
		return nil
	}
}

// report says what was done.
func (o *output) report(dst string) *Report {
	m := o.model
	r := &Report{
		Source: m.name, Dir: dst, Container: m.Container(), Dialect: m.dialect.name, SHA256: o.sum, Config: m.config,
		Bytes: o.bytes, DTypes: map[string]int{}, Files: o.files, Excused: m.excused,
		Projector: m.projector, LanguageModel: m.language, Tokenizer: o.said, Left: o.unread, Adapters: m.Adapters(),
	}
	for p := o; p != nil; p = p.beside {
		r.Tensors += len(p.entries)
		for i, e := range p.entries {
			r.DTypes[string(e.DType)]++
			r.Parameters += int64(p.sources[i].len())
		}
	}
	return r
}

// writeFile has write fill a file that appears when it is complete and lies on the disk.
func writeFile(path string, write func(f *os.File) error) error {
	return folder.Prefix("converter", folder.WriteFile(path, write))
}

// configJSON returns what config.json says. Fields that have the values of the class's defaults
// are written as well: defaults change.
//
// Source: huggingface/transformers, models/clip/configuration_clip.py.
func (o *output) configJSON() map[string]any {
	v := o.model.config.Vision
	embed := v.EmbedDim
	if embed == 0 {
		embed = hfVisionDefaults.ProjectionDim // read by nobody
	}
	// Libraries that load in the type of the configuration must not lose precision.
	dtype := "float32"
	if first := o.entries[0].DType; !slices.ContainsFunc(o.entries, func(e checkpoint.Entry) bool { return e.DType != first }) {
		dtype = map[checkpoint.DType]string{
			checkpoint.F16: "float16", checkpoint.BF16: "bfloat16", checkpoint.F32: "float32", checkpoint.F64: "float64",
		}[first]
	}
	vision := map[string]any{
		"model_type": "clip_vision_model", "hidden_size": v.Width, "intermediate_size": v.MLPWidth,
		"projection_dim": embed, "num_hidden_layers": v.Layers, "num_attention_heads": v.Heads,
		"num_channels": 3, "image_size": v.ImageSize, "patch_size": v.PatchSize, "hidden_act": v.Activation,
		"layer_norm_eps": v.NormEps, "attention_dropout": json.Number("0.0"), "initializer_range": 0.02, "initializer_factor": json.Number("1.0"),
	}
	t := o.model.config.Text
	if t == nil {
		vision["architectures"] = []string{"CLIPVisionModelWithProjection"}
		if v.NoPostNorm {
			vision["no_post_layernorm"] = true
		}
		if v.EmbedDim == 0 {
			vision["architectures"] = []string{"CLIPVisionModel"}
		}
		vision["torch_dtype"] = dtype
		return vision
	}
	eos := t.EOS
	if t.PoolLargest {
		eos = legacyEOS
	}
	return map[string]any{
		"architectures": []string{"CLIPModel"}, "model_type": "clip", "torch_dtype": dtype,
		"projection_dim": embed, "logit_scale_init_value": 2.6592, "initializer_factor": json.Number("1.0"),
		"vision_config": vision,
		"text_config": map[string]any{
			"model_type": "clip_text_model", "vocab_size": t.Vocab, "hidden_size": t.Width, "intermediate_size": t.MLPWidth,
			"projection_dim": embed, "num_hidden_layers": t.Layers, "num_attention_heads": t.Heads,
			"max_position_embeddings": t.Context, "hidden_act": t.Activation, "layer_norm_eps": t.NormEps,
			"bos_token_id": t.BOS, "eos_token_id": eos, "pad_token_id": t.EOS,
			"attention_dropout": json.Number("0.0"), "initializer_range": 0.02, "initializer_factor": json.Number("1.0"),
		},
	}
}
