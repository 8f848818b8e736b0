package shard_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/input"
)

// A folder is encoded in shards of four pictures, and the dataset is proved complete. Other workers that do the same at the same time, or later, take
// what nobody has.
func Example() {
	ctx := context.Background()
	out, err := os.MkdirTemp("", "dataset")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(out)
	m, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	job, err := shard.Open(ctx, m, shard.Options{Output: out, Inputs: []string{"../demo/pictures"}, Input: input.Options{PerShard: 4}, Resume: true})
	if err != nil {
		log.Fatal(err)
	}
	source, end, err := job.Claims(ctx, shard.ClaimOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer end()
	report, err := job.Work(ctx, source)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Done, "shards,", report.Rows, "rows,", report.Failed, "failed")

	status, err := shard.ReadStatus(ctx, out)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(status.Done, "of", status.Shards, "done")
	verified, err := shard.Verify(ctx, out, func(fault error) { fmt.Println(fault) })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verified.Rows, "rows without a fault")
	// Output:
	// 3 shards, 9 rows, 0 failed
	// 3 of 3 done
	// 9 rows without a fault
}

// Two datasets of one model become one.
func ExampleMerge() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "dataset")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m, err := demo.Open()
	if err != nil {
		log.Fatal(err)
	}
	var parts []string
	for _, name := range []string{"a", "b"} {
		out := filepath.Join(dir, name)
		job, err := shard.Open(ctx, m, shard.Options{Output: out, Inputs: []string{"../demo/pictures/red-circle.png"}})
		if err != nil {
			log.Fatal(err)
		}
		source, err := job.Assigned(0, 1) // all of it
		if err != nil {
			log.Fatal(err)
		}
		if _, err := job.Work(ctx, source); err != nil {
			log.Fatal(err)
		}
		parts = append(parts, out)
	}
	merged, err := shard.Merge(ctx, filepath.Join(dir, "all"), parts, shard.MergeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(merged.Shards, "shards,", merged.Rows, "rows")
	// Output: 2 shards, 2 rows
}
