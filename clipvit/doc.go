// Package clipvit is the vision tower of CLIP as spago modules: the vision transformer that
// OpenAI released, and that InternLM-XComposer and LLaVA start from.
//
//	patches [B·G²,3P²] ─▶ Embed ─▶ PreNorm ─▶ Block × L ─▶ class rows ─▶ PostNorm ─▶ Proj ─▶ [B,E]
//
// # Shapes
//
// One legend holds everywhere in this module:
//
//	T tokens, 1+G²   G patches per side   P pixels per patch side   C width   H heads   D = C/H
//	F MLP width      E joint space        L blocks                  B images in a batch
//
//	ViT-L/14-336: T 577  G 24  P 14  C 1024  H 16  D 64  F 4096  E 768  L 24
//
// Matrices are row-major, one row per token; a batch of B images is B·T rows, image after image.
// spago's matrices have two dimensions, and so have ours.
//
// # Gradients
//
// A graph gives the memory of what lies between back as its gradients are computed, so it goes backward once: add
// losses up first, or give them to one ag.Backward. A second one is a mistake of the program and panics.
//
// # Errors
//
// Once [Config.Validate] has returned nil, no method of a [Model] panics on images: what a user
// can get wrong is an error. Shapes that disagree between layers are a mistake of the program and
// panic, with an error that names the operator and both shapes. They do so before spago sees them,
// since spago ends the process on an error inside an operator.
//
// # Sources
//
// openai/CLIP, clip/model.py, class VisionTransformer (commit d05afc4); Radford et al., "Learning
// Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020; Dosovitskiy et
// al., "An Image is Worth 16x16 Words", arXiv 2010.11929.
package clipvit
