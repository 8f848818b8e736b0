package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit/transformer"
)

// A parameter is a tensor of Hugging Face's CLIPVisionModelWithProjection or CLIPModel, and how it is drawn:
// evenly from mean ± spread.
type parameter struct {
	name         string
	shape        []int
	mean, spread float64
}

// tensors are those of a model. The spreads keep every layer's output near 1, so that errors show: √(3/n) for a row
// of n weights.
type tensors []parameter

func (l *tensors) vector(name string, n int, mean float64) {
	*l = append(*l, parameter{name, []int{n}, mean, 0.1})
}

func (l *tensors) matrix(name string, shape ...int) {
	n := 1
	for _, d := range shape[1:] {
		n *= d
	}
	*l = append(*l, parameter{name, shape, 0, math.Sqrt(3 / float64(n))})
}

func (l *tensors) norm(name string, width int) {
	l.vector(name+".weight", width, 1)
	l.vector(name+".bias", width, 0)
}

// encoder lists the blocks of either tower.
func (l *tensors) encoder(name string, c transformer.Config) {
	linear := func(name string, out, in int) {
		l.matrix(name+".weight", out, in)
		l.vector(name+".bias", out, 0)
	}
	for i := range c.Layers {
		layer := fmt.Sprintf("%s.encoder.layers.%d.", name, i)
		l.norm(layer+"layer_norm1", c.Width)
		for _, name := range []string{"q", "k", "v", "out"} {
			linear(layer+"self_attn."+name+"_proj", c.Width, c.Width)
		}
		l.norm(layer+"layer_norm2", c.Width)
		linear(layer+"mlp.fc1", c.MLPWidth, c.Width)
		linear(layer+"mlp.fc2", c.Width, c.MLPWidth)
	}
}

// parameters lists the tensors of a tower, and of the other if texts are measured.
func parameters(c tower) []parameter {
	var l tensors
	w, p := c.Width, c.PatchSize
	l.vector("vision_model.embeddings.class_embedding", w, 0)
	l.matrix("vision_model.embeddings.patch_embedding.weight", w, 3, p, p)
	l.matrix("vision_model.embeddings.position_embedding.weight", c.Tokens(), w)
	l.norm("vision_model.pre_layrnorm", w) // sic
	l.encoder("vision_model", c.Transformer())
	l.norm("vision_model.post_layernorm", w)
	l.matrix("visual_projection.weight", c.EmbedDim, w)
	if t := c.text; c.ofTexts() {
		l.matrix("text_model.embeddings.token_embedding.weight", t.Vocab, t.Width)
		l.matrix("text_model.embeddings.position_embedding.weight", t.Context, t.Width)
		l.encoder("text_model", t.Transformer())
		l.norm("text_model.final_layer_norm", t.Width)
		l.matrix("text_projection.weight", t.EmbedDim, t.Width)
		l = append(l, parameter{"logit_scale", []int{}, math.Log(100), 0})
	}
	return l
}

// configJSON is what transformers reads beside the tensors.
func configJSON(c tower) []byte {
	blocks := func(kind string, c transformer.Config, more map[string]any) map[string]any {
		maps.Copy(more, map[string]any{
			"model_type": kind, "hidden_size": c.Width, "intermediate_size": c.MLPWidth, "num_attention_heads": c.Heads,
			"num_hidden_layers": c.Layers, "hidden_act": c.Activation, "layer_norm_eps": c.NormEps,
		})
		return more
	}
	config := blocks("clip_vision_model", c.Transformer(), map[string]any{
		"image_size": c.ImageSize, "patch_size": c.PatchSize, "num_channels": 3, "projection_dim": c.EmbedDim,
	})
	architecture := "CLIPVisionModelWithProjection"
	if t := c.text; c.ofTexts() {
		architecture = "CLIPModel"
		config = map[string]any{"model_type": "clip", "projection_dim": c.EmbedDim, "vision_config": config, "text_config": blocks("clip_text_model", t.Transformer(), map[string]any{
			"vocab_size": t.Vocab, "max_position_embeddings": t.Context, "projection_dim": t.EmbedDim,
			"bos_token_id": t.End - 1, "eos_token_id": t.End, "pad_token_id": t.End,
		})}
	}
	if c.blocks {
		config["blocks"] = true // for worker.py
	}
	config["architectures"], config["dtype"] = []string{architecture}, "float16"
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		panic(err) // a mistake of this program
	}
	return append(b, '\n')
}

// writeModel writes a model directory of random weights in half precision, always the same for a
// configuration, unless it is there already. config.json comes last: with it the model is complete.
func writeModel(dir string, c tower) (err error) {
	path := filepath.Join(dir, "config.json")
	switch had, err := os.ReadFile(path); {
	case err == nil && bytes.Equal(had, configJSON(c)):
		return nil
	case err == nil:
		return fmt.Errorf("%s is of another model", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	progress("writing the model to %s", dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 1<<20)
	err = writeTensors(b, parameters(c))
	// Synced: pages that are not on the disk cannot be dropped from memory later.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.WriteFile(path, configJSON(c), 0o644)
}

// writeTensors writes a safetensors file.
//
// Source: huggingface/safetensors, README.md, Format.
func writeTensors(w *bufio.Writer, all []parameter) error {
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := 0
	counts := make([]int, len(all))
	for i, p := range all {
		counts[i] = 1
		for _, d := range p.shape {
			counts[i] *= d
		}
		header[p.name] = entry{"F16", p.shape, [2]int{at, at + 2*counts[i]}}
		at += 2 * counts[i]
	}
	h, err := json.Marshal(header)
	if err != nil {
		return err
	}
	h = append(h, bytes.Repeat([]byte{' '}, -len(h)&7)...) // tensors begin at a multiple of 8
	// A bufio.Writer keeps its first error until Flush.
	_, _ = w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(h))))
	_, _ = w.Write(h)
	rng := rand.New(rand.NewPCG(1, 1))
	for i, p := range all {
		for range counts[i] {
			v := half(p.mean + p.spread*(2*rng.Float64()-1))
			_, _ = w.Write([]byte{byte(v), byte(v >> 8)})
		}
	}
	return w.Flush()
}

// half returns x as float16, cut toward zero, and below the smallest normal number as zero: random weights need
// no better.
func half(x float64) uint16 {
	b := math.Float32bits(float32(x))
	sign, exponent := uint16(b>>16&0x8000), int(b>>23&0xff)-127+15
	if exponent <= 0 {
		return sign
	}
	return sign | uint16(exponent)<<10 | uint16(b>>13&0x3ff)
}
