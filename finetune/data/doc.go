// Package data feeds training: labelled or captioned pictures from folders, tables and tar shards,
// decoded, augmented and preprocessed ahead of the trainer, in an order that a seed decides.
//
//	Folder, Table, Shards, Images ──▶ Dataset ── Split, Align ──▶ Loader ── Batches(ctx, epoch, from) ──▶ Batch
//
//	[Folder]   DIR/CLASS/picture.jpg                        labels
//	[Table]    a CSV, TSV or JSONL file of path and label   labels, captions or both
//	[Shards]   tar files of KEY.jpg with KEY.cls, .txt      labels, captions or both
//	[Images]   DIR/picture.jpg                              neither: for distillation and regression
//
// What is learnt in the place of labels or captions may be in a file: [Vectors] in the order of the pictures, or [Tokens]
// by their names.
//
// Whatever is wrong with the labels is said when the data are opened, all at once and before anything
// is trained. Whether a picture can be decoded is found out when its turn comes: see [Loader.Strict].
package data
