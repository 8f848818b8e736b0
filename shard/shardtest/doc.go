// Package shardtest tests drivers of sharded encoding: processes that work at one dataset are killed with SIGKILL, paused and started twice at
// random while they work, and so is what hands out the shards. In the end every shard has to be there once, whole, with the same bytes as
// without faults.
//
//	in := shardtest.Tars(t, dir, shardtest.Pictures{Shards: 200, PerShard: 8})
//	want := shardtest.Reference(t, in)
//	faults, err := shardtest.Fleet{…}.Run(ctx)
//	shardtest.Whole(t, out, want)
//
// [Steps] is the other half, in one process: a store at whose every operation a worker can end, or wait while another works.
package shardtest
