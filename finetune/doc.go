// Package finetune trains a vision tower, a part of it, corrections of it, or what stands on top of it.
//
//	Loader ─▶ Batch ─▶ Tower ─▶ Features ─▶ Head ─▶ Objective ─▶ loss [1,1]
//	                     ▲                   ▲                     │
//	                     └─────── Recipe ────┴─── ag.Backward ◀────┘
//
// Begin with [TrainHead] for a head of one's own on a frozen tower, with package job for a run from folder to folder, and with [New] for all
// between. A [Recipe] says what learns and how; [Recipes] are the presets. A [Trainer] runs one. It estimates the
// memory before the first step, and stops at a loss or a gradient that is no number and names it. It writes
// checkpoints that appear whole or not at all; from the last of them it goes on to the same bits, however
// the run ended. [Trainer.Save] writes a directory that loads wherever the one that it came from did.
//
// With a [projector.Encoder], it is the projector and the vectors between its tokens that stand on the tower; a picture is
// what the encoder's layout makes of it, several views if need be, and tokens of a language model are what is learnt:
//
//	Loader, Layout ─▶ views ─▶ Tower ─▶ separators, Projector ─▶ tokens ─▶ TokenRegression, TokenDistillation
//
// A head is a spago model, one's own or one of the package's. [Linear] is a layer for one's own, [SaveHead] and [LoadHead]
// keep it with its classes. None of this is needed to train one: the example of the package does it with spago's ag and
// the optimiser alone.
//
// [Contrastive] learns from captions, as CLIP was trained: beside the tower of images stands that of texts, and
// the pairs of a step are told from each other. It is no objective of single images, so its steps take all their
// batches together, in the memory of one.
//
// What learns, and how it learns from batches, is one of three: a tower and a head, of classes or of vectors; an encoder,
// of tokens; two towers, of pairs. [Config] says which by what is given.
//
// Classes are learnt by [Classification], where they exclude each other, or by [MultiLabel]; both take weights of classes, as of
// [data.Dataset.BalancedWeights]. An [Objective] of one's own takes their place. Trainer.Lengths makes a run longer or shorter.
//
// [Open] makes a classifier of what a run of classes has written.
//
// Beside it stand packages data (what is learnt from), history (what a run tells), optim (the optimiser), adapter (corrections
// by LoRA, several on one tower), and probe (heads by L-BFGS). Package evaluation says how well a classifier does, and report
// writes what a person reads of a run. Package job puts a whole run, or a sweep of several, together from a request.
//
// Sources: LightDXY/FT-CLIP (Dong et al., "CLIP Itself is a Strong Fine-tuner", arXiv 2212.06138) for the
// recipe of a whole tower; InternLM/InternLM-XComposer, finetune/finetune.py, for its switches;
// haotian-liu/LLaVA, scripts/v1_5/pretrain.sh, for that of a projector; huggingface/peft for LoRA.
package finetune
