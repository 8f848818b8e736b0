// Package probe teaches a tower's frozen features new classes: a logistic regression that is trained in
// seconds, since every picture goes through the tower once and its features are kept on the disk.
//
//	data.Dataset ── Extractor ─▶ Set: features [N,D], labels [N] ── Sweep, Fit ─▶ Head [K,D]
//	                    │ ▲
//	                    ▼ │
//	                   Cache: by the bytes of the picture, the tower and the preprocessing
//
// [Run] does all of it. The cache also serves training that leaves the tower or its first blocks as
// they are: see [Extractor.Each].
//
// N pictures, D features, K classes.
//
// Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision",
// arXiv 2103.00020, appendix A.3.
package probe
