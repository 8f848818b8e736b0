package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/clipvit"
)

// A parameter is a tensor of Hugging Face's CLIPVisionModelWithProjection and how it is drawn:
// evenly from mean ± spread.
type parameter struct {
	name         string
	shape        []int
	mean, spread float64
}

// parameters lists the tensors of a tower. The spreads keep every layer's output near 1, so that
// errors show: √(3/n) for a row of n weights.
func parameters(c clipvit.Config) []parameter {
	w, f, p := c.Width, c.MLPWidth, c.PatchSize
	var all []parameter
	vector := func(name string, n int, mean float64) {
		all = append(all, parameter{name, []int{n}, mean, 0.1})
	}
	matrix := func(name string, shape ...int) {
		n := 1
		for _, d := range shape[1:] {
			n *= d
		}
		all = append(all, parameter{name, shape, 0, math.Sqrt(3 / float64(n))})
	}
	norm := func(name string) {
		vector(name+".weight", w, 1)
		vector(name+".bias", w, 0)
	}
	linear := func(name string, out, in int) {
		matrix(name+".weight", out, in)
		vector(name+".bias", out, 0)
	}
	vector("vision_model.embeddings.class_embedding", w, 0)
	matrix("vision_model.embeddings.patch_embedding.weight", w, 3, p, p)
	matrix("vision_model.embeddings.position_embedding.weight", c.Tokens(), w)
	norm("vision_model.pre_layrnorm") // sic
	for i := range c.Layers {
		layer := fmt.Sprintf("vision_model.encoder.layers.%d.", i)
		norm(layer + "layer_norm1")
		for _, name := range []string{"q", "k", "v", "out"} {
			linear(layer+"self_attn."+name+"_proj", w, w)
		}
		norm(layer + "layer_norm2")
		linear(layer+"mlp.fc1", f, w)
		linear(layer+"mlp.fc2", w, f)
	}
	norm("vision_model.post_layernorm")
	matrix("visual_projection.weight", c.EmbedDim, w)
	return all
}

// configJSON is what transformers reads beside the tensors.
func configJSON(c clipvit.Config) []byte {
	b, err := json.MarshalIndent(map[string]any{
		"architectures": []string{"CLIPVisionModelWithProjection"}, "model_type": "clip_vision_model", "dtype": "float16",
		"image_size": c.ImageSize, "patch_size": c.PatchSize, "num_channels": 3, "hidden_size": c.Width, "intermediate_size": c.MLPWidth,
		"num_attention_heads": c.Heads, "num_hidden_layers": c.Layers, "projection_dim": c.EmbedDim,
		"hidden_act": c.Activation, "layer_norm_eps": c.NormEps,
	}, "", "  ")
	if err != nil {
		panic(err) // a mistake of this program
	}
	return append(b, '\n')
}

// writeModel writes a model directory of random weights in half precision, always the same for a
// configuration, unless it is there already. config.json comes last: with it the model is complete.
func writeModel(dir string, c clipvit.Config) (err error) {
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
