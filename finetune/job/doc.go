// Package job puts a run of fine-tuning together, from what was asked for to the folder that it writes.
//
//	Request ─▶ Open ─▶ Job: finetune.Trainer ─▶ Run ─▶ Job.Write ─▶ OUTPUT/model, adapter, report.md
//	      ├──▶ Sweep: a run for each of several values ────────────▶ OUTPUT/RUN, sweep.md, model of the best
//	      └──▶ OpenProbe ─▶ Probe, by L-BFGS ─▶ Run ──────────────▶ OUTPUT/model, report.md
//
// A [Request] is what flags of a command, a task and a server fill alike. [Request.Check] says what is wrong with it
// before anything is opened. Whatever it asks for and the recipe has no use for is an error: a table says which field
// is of what. Errors about fields call them by their names in JSON; see [RequestError.Named].
package job
