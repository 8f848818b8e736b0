// Package explain shows where in a picture a model looks when it compares the picture with a caption, or tells a class.
//
//	picture ─▶ patches ─▶ blocks, whose attention is seen ─▶ embedding ─┐
//	caption ─▶ tokens ──▶ blocks, whose attention is seen ─▶ embedding ─┴▶ scale · cosine ─▶ gradient ─▶ map [G,G]
//
// Three methods answer three questions, and none of them is a proof of why a model says what it says:
//
//   - [Relevance]: which patches raised the score? Attention times its gradient, from the score back through the blocks.
//   - [Rollout]: from which patches does the class token's content come? The same for every caption.
//   - [Similarity]: which patches are like the caption by themselves? CLIP trains the class token alone, and its patches often
//     show the opposite: those of the background are more like the caption than those of the object.
//
// # Memory
//
// A frozen tower goes forward once, and keeps what enters each block that takes part: [T,C]. Then it goes back block by block,
// each computed again with its probabilities [H,T,T] and their gradient, which are gone before the next. ViT-L/14-336 so
// takes 0.2 GB beside its weights in place of 1 GB. Weights are packed anew the first time, as package clipvit says of gradients.
//
// Sources: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
// Transformers", ICCV 2021, arXiv 2103.15679, and hila-chefer/Transformer-MM-Explainability, CLIP_explainability.ipynb (commit
// 05439b6), interpret; Abnar and Zuidema, "Quantifying Attention Flow in Transformers", arXiv 2005.00928; Li et al., "CLIP
// Surgery for Better Explainability with Enhancement in Open-Vocabulary Tasks", arXiv 2304.05653, for the weakness of
// similarities.
package explain
