// Package shard encodes millions of pictures in shards, which many workers share: each of them may die at any moment, and everything can
// be run again.
//
//	inputs ──▶ plan ──▶ Source: numbers of shards ──▶ Work: one stream through the tower ──▶ check ──▶ record ──▶ publish ──▶ dataset
//
// Begin with [Open], [Job.Claims] and [Job.Work]: they are the whole of a worker. A [Job] is a dataset in the making. Its plan says of what parts of the input every shard is made, and is the same for all workers. A [Source]
// hands out numbers of shards: [Job.Assigned] a fixed share of them, [Job.Claims] those that nobody else has, and an engine with a queue
// whatever it likes. Correctness does not depend on it: two workers on one shard waste work, and never damage it.
//
// A shard is written under a temporary name and read back. Then its record is put, which is there once: it decides whose files are the
// shard's, and has the SHA-256 of what was read and written. Who finds a record whose files have their temporary names gives them those
// of the dataset. A worker whose record came second deletes what it has. A record whose files are gone is void, and the shard is encoded again.
//
// A picture has the same vector on the same kernel, whatever stands beside it, and so the files of a dataset are the same bytes whatever
// workers made them. [ReadStatus], [Verify] and [Merge] read records and files, and need no model.
package shard
