// Package history is what is known of a run: what it tells while it trains, and how far its checkpoints have come.
//
//	run ─▶ Event after each step and validation ─▶ Sink: lines, metrics.jsonl, TensorBoard
//	  │
//	  └──▶ Progress after each batch: steps, batches, time left
//
// Package finetune has the runs themselves.
package history
