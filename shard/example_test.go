package shard_test

import (
	"context"
	"fmt"
	"log"
	"os"

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
