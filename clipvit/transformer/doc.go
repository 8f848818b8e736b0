// Package transformer is what both towers of CLIP are made of: blocks of attention and an MLP, as spago
// modules. Package clipvit has the legend of the shapes.
//
// Sources: openai/CLIP, clip/model.py, class Transformer (commit d05afc4); Vaswani et al., "Attention Is All
// You Need", arXiv 1706.03762; Xiong et al., "On Layer Normalization in the Transformer Architecture",
// arXiv 2002.04745, for the pre-norm arrangement.
package transformer
