// Package cliptext is the text tower of CLIP as spago modules, and CLIP's tokenizer: texts become
// embeddings, to be compared with those of images.
//
//	text ── Tokenizer ──▶ token ids [T] ─▶ Token + Position ─▶ Block × L ─▶ rows of the end of text ─▶ FinalNorm ─▶ Proj ─▶ [B,E]
//
// # Shapes
//
// The letters are those of package clipvit, for this tower:
//
//	T tokens of the longest text, at most N   N context   V vocabulary   C width   H heads   D = C/H
//	F MLP width   E joint space   L blocks   B texts in a batch
//
//	of ViT-L/14-336: N 77  V 49408  C 768  H 12  D 64  F 3072  E 768  L 12
//
// Matrices are row-major, one row per token; a batch of B texts is B·T rows, text after text.
//
// # Errors
//
// Texts and token ids are the user's: what is wrong with them is an error. Shapes that disagree between layers
// are a mistake of the program and panic.
//
// # Sources
//
// openai/CLIP, clip/model.py, CLIP.encode_text, and clip/simple_tokenizer.py (commit d05afc4); Radford et al.,
// "Learning Transferable Visual Models From Natural Language Supervision", arXiv 2103.00020; Sennrich et al.,
// "Neural Machine Translation of Rare Words with Subword Units", arXiv 1508.07909.
package cliptext
