package converter

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// parseTarget returns the type that Options.DType means, "" for that of the source.
func parseTarget(s string) (DType, error) {
	switch s {
	case "", "source":
		return "", nil
	case "f16", "bf16", "f32":
		return DType(strings.ToUpper(s)), nil
	}
	return "", fmt.Errorf("converter: dtype is %q, want source, f16, bf16 or f32", s)
}

// An output is a model directory that is about to be written.
type output struct {
	*clip
	target   DType
	vocab    string
	progress func(done, total int64)

	entries []safetensor
	sources []param // of the entries
	words   *vocabulary
	sum     string // SHA-256 of the source
	bytes   int64  // of the weights file
	files   []string
}

// prepare decides what will be written, and finds all that can be wrong with it before anything is.
func (o *output) prepare() error {
	for _, s := range huggingFace.slots(o.sizes, o.hasProj, o.config.Text != nil) {
		p := o.params[s.path].band(s.rule.band, s.rule.bands)
		e := safetensor{name: s.name, dtype: cmp.Or(o.target, p.dtype())}
		e.shape = []int64{}
		for _, d := range s.shape {
			e.shape = append(e.shape, int64(d))
		}
		o.entries = append(o.entries, e)
		o.sources = append(o.sources, p)
	}
	// Wide elements first: then all are aligned, since the format permits no gap.
	order := make([]int, len(o.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return o.entries[j].dtype.Size() - o.entries[i].dtype.Size() })
	entries, sources := o.entries, o.sources
	o.entries, o.sources = nil, nil
	var at uint64
	for _, i := range order {
		e := entries[i]
		e.begin, e.end = at, at+uint64(sources[i].len()*e.dtype.Size())
		at = e.end
		o.entries = append(o.entries, e)
		o.sources = append(o.sources, sources[i])
	}
	if o.vocab == "" {
		return nil
	}
	if o.config.Text == nil {
		return fmt.Errorf("converter: a vocabulary is given, but the output has no text tower")
	}
	var err error
	if o.words, err = readVocabulary(o.vocab); err != nil {
		return err
	}
	if n := len(o.words.words); n != o.config.Text.Vocab {
		return fmt.Errorf("converter: %s has %d words, the text tower has %d", o.vocab, n, o.config.Text.Vocab)
	}
	return nil
}

// write fills the directory dir.
func (o *output) write(ctx context.Context, dir string) error {
	if err := o.writeWeights(ctx, filepath.Join(dir, weightsFile)); err != nil {
		return err
	}
	o.files = append(o.files, weightsFile)
	add := func(name string, data []byte) error {
		o.files = append(o.files, name)
		return writeFile(filepath.Join(dir, name), func(w io.Writer) error { _, err := w.Write(data); return err })
	}
	for _, f := range []struct {
		name  string
		value any
	}{{configFile, o.configJSON()}, {preprocessorFile, preprocessorJSON(o.config.Vision.ImageSize)}} {
		if err := add(f.name, indented(f.value)); err != nil {
			return err
		}
	}
	if o.words != nil {
		for _, f := range o.words.files(o.config.Text.Context) {
			if err := add(f.name, f.data); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// writeWeights writes the tensors while another goroutine computes the source's SHA-256, for which
// the header has kept a place.
func (o *output) writeWeights(ctx context.Context, path string) error {
	metadata := map[string]string{"format": "pt", "source_sha256": strings.Repeat("0", 64)}
	header, err := safetensorsHeader(metadata, o.entries)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		sum, err := o.SHA256(ctx)
		if o.sum = sum; err != nil {
			cancel(err) // a damaged source ends the writing at once
		}
	}()
	defer func() {
		cancel(context.Canceled)
		<-hashed
	}()
	return writeFile(path, func(w io.Writer) error {
		f := w.(*os.File)
		if err := o.writeTensors(ctx, f, header); err != nil {
			return err
		}
		<-hashed
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		metadata["source_sha256"] = o.sum
		final, err := safetensorsHeader(metadata, o.entries)
		if err != nil {
			return err
		}
		if len(final) != len(header) {
			return fmt.Errorf("converter: header of %d bytes, kept %d", len(final), len(header))
		}
		_, err = f.WriteAt(final, 0)
		return err
	})
}

// writeTensors writes header and tensors in chunks, so that memory does not grow with their size.
func (o *output) writeTensors(ctx context.Context, w io.Writer, header []byte) error {
	var (
		out     = bufio.NewWriterSize(w, 4*chunkSize)
		raw     = make([]byte, chunkSize)
		coded   = make([]byte, 2*chunkSize)
		scratch = make([]float32, chunkSize/2)
		done    int64
		total   = int64(o.entries[len(o.entries)-1].end)
	)
	o.bytes = int64(len(header)) + total
	return writeSafetensors(out, header, o.entries, func(i int, w io.Writer) error {
		to := o.entries[i].dtype
		for _, q := range o.sources[i] {
			from := q.t.DType
			step := chunkSize / from.Size()
			for lo := 0; lo < q.n; lo += step {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				n := min(step, q.n-lo)
				b := raw[:n*from.Size()]
				if err := q.t.read(b, q.lo+lo); err != nil {
					return err
				}
				if from != to {
					c := coded[:n*to.Size()]
					if err := recode(c, b, from, to, scratch); err != nil {
						return fmt.Errorf("converter: %s: %w", q.t.Name, err)
					}
					b = c
				}
				if _, err := w.Write(b); err != nil {
					return err
				}
				done += int64(len(b))
				if o.progress != nil {
					o.progress(done, total)
				}
			}
		}
		return nil
	})
}

// report says what was done.
func (o *output) report(dst string) *Report {
	r := &Report{
		Source: o.name, Dir: dst, Container: o.container, Dialect: o.dialect.name, SHA256: o.sum, Config: o.config,
		Tensors: len(o.entries), Bytes: o.bytes, DTypes: map[string]int{}, Files: o.files, Excused: o.excused,
	}
	for i, e := range o.entries {
		r.DTypes[string(e.dtype)]++
		r.Parameters += int64(o.sources[i].len())
	}
	return r
}

// writeFile creates a file, has write fill it, and returns when it lies on the disk.
func writeFile(path string, write func(w io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	defer func() {
		if e := f.Close(); e != nil && err == nil {
			err = fmt.Errorf("converter: %w", e)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("converter: %w", err)
	}
	return nil
}

// indented returns v as a person reads it.
func indented(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // maps of strings and numbers
	}
	return b.Bytes()
}

// configJSON returns what config.json says. Fields that have the values of the class's defaults
// are written as well: defaults change.
//
// Source: huggingface/transformers, models/clip/configuration_clip.py.
func (o *output) configJSON() map[string]any {
	v := o.config.Vision
	embed := v.EmbedDim
	if embed == 0 {
		embed = hfVisionDefaults.ProjectionDim // read by nobody
	}
	// Libraries that load in the type of the configuration must not lose precision.
	dtype := "float32"
	if first := o.entries[0].dtype; !slices.ContainsFunc(o.entries, func(e safetensor) bool { return e.dtype != first }) {
		dtype = map[DType]string{F16: "float16", BF16: "bfloat16", F32: "float32", F64: "float64"}[first]
	}
	vision := map[string]any{
		"model_type": "clip_vision_model", "hidden_size": v.Width, "intermediate_size": v.MLPWidth,
		"projection_dim": embed, "num_hidden_layers": v.Layers, "num_attention_heads": v.Heads,
		"num_channels": 3, "image_size": v.ImageSize, "patch_size": v.PatchSize, "hidden_act": v.Activation,
		"layer_norm_eps": v.NormEps, "attention_dropout": json.Number("0.0"), "initializer_range": 0.02, "initializer_factor": json.Number("1.0"),
	}
	t := o.config.Text
	if t == nil {
		vision["architectures"] = []string{"CLIPVisionModelWithProjection"}
		if !o.hasProj {
			vision["architectures"] = []string{"CLIPVisionModel"}
		}
		vision["torch_dtype"] = dtype
		return vision
	}
	return map[string]any{
		"architectures": []string{"CLIPModel"}, "model_type": "clip", "torch_dtype": dtype,
		"projection_dim": embed, "logit_scale_init_value": 2.6592, "initializer_factor": json.Number("1.0"),
		"vision_config": vision,
		"text_config": map[string]any{
			"model_type": "clip_text_model", "vocab_size": t.Vocab, "hidden_size": t.Width, "intermediate_size": t.MLPWidth,
			"projection_dim": embed, "num_hidden_layers": t.Layers, "num_attention_heads": t.Heads,
			"max_position_embeddings": t.Context, "hidden_act": t.Activation, "layer_norm_eps": t.NormEps,
			"bos_token_id": t.BOS, "eos_token_id": t.EOS, "pad_token_id": t.EOS,
			"attention_dropout": json.Number("0.0"), "initializer_range": 0.02, "initializer_factor": json.Number("1.0"),
		},
	}
}

// preprocessorJSON returns what preprocessor_config.json says for an input of size² pixels.
//
// Source: openai/CLIP, clip/clip.py, _transform; huggingface/transformers,
// models/clip/image_processing_clip.py.
func preprocessorJSON(size int) map[string]any {
	return map[string]any{
		"image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
		"do_resize": true, "size": map[string]int{"shortest_edge": size}, "resample": 3, // bicubic
		"do_center_crop": true, "crop_size": map[string]int{"height": size, "width": size},
		"do_convert_rgb": true, "do_rescale": true, "rescale_factor": 1.0 / 255,
		"do_normalize": true,
		"image_mean":   []float64{0.48145466, 0.4578275, 0.40821073},
		"image_std":    []float64{0.26862954, 0.26130258, 0.27577711},
	}
}
