// Package adapter corrects the weights of a frozen tower by products of low rank, LoRA, and reads and writes the
// corrections as peft does.
//
//	x ─┬──────── W, frozen ─────────┬─▶ x·Wᵀ + α/R·x·Aᵀ·Bᵀ
//	   └─▶ A [R,in] ─▶ B [out,R] ───┘
//
// [Add] gives a tower corrections that change nothing as yet, [Load] those of a file; [Save] writes them without the
// tower, and [Merge] adds them to its weights. A [Set] holds several of one tower, and switches between them.
//
// Sources: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685; huggingface/peft.
package adapter
