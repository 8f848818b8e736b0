package optim

import (
	"math"
	"strconv"
	"strings"
)

// LayerDecay returns the factor of the rate of a parameter of a vision tower of so many layers, which
// makes what lies further from the output learn more slowly:
//
//	Embed, PreNorm            decay^(layers+1)
//	Blocks.i                  decay^(layers-i)
//	PostNorm, Proj, the rest  1
//
// A path may begin with what leads to the tower, as Tower.Embed.Class does.
//
// Source: LightDXY/FT-CLIP, optim_factory.py, get_num_layer_for_vit, and run_class_finetuning.py, where
// the rates come from BEiT.
func LayerDecay(path string, layers int, decay float64) float64 {
	names := strings.Split(path, ".")
	for i, name := range names {
		switch name {
		case "Embed", "PreNorm":
			return math.Pow(decay, float64(layers+1))
		case "Blocks":
			if i+1 == len(names) {
				return 1
			}
			if b, err := strconv.Atoi(names[i+1]); err == nil && b >= 0 && b < layers {
				return math.Pow(decay, float64(layers-b))
			}
		}
	}
	return 1
}

// NoDecay reports whether a parameter should have no weight decay: biases and norms, which are vectors
// (spago's have the shape [n,1]), and the embeddings of the class token and of positions.
//
// Source: LightDXY/FT-CLIP, optim_factory.py, get_parameter_groups; OpenAI's embedding of the class token
// is a vector there, and that of positions in the skip list.
func NoDecay(path string, shape []int) bool {
	switch path[strings.LastIndexByte(path, '.')+1:] {
	case "Class", "Position":
		return true
	}
	return len(shape) < 2 || shape[1] == 1
}
