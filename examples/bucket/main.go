// Bucket encodes the tars of a bucket, or the pictures of a folder, in shards. Start it on as many machines as there are, and again after
// any of them died: each takes the shards that nobody else has.
//
//	go run ./examples/bucket vectors demo/pictures
//	go run ./examples/bucket s3://photos/vectors s3://photos/tars
//
// Credentials, region and address of the bucket are those of AWS's own tools: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL. -model names
// another model than the small one in the program.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	_ "github.com/vitago/vitago/shard/store/s3" // s3://
)

func main() {
	model := flag.String("model", demo.Name, "`MODEL`, a file or folder")
	flag.Parse()
	if flag.NArg() < 2 {
		fmt.Fprintln(os.Stderr, "usage: bucket [-model MODEL] OUTPUT INPUT...")
		os.Exit(2)
	}
	if err := encode(context.Background(), *model, flag.Arg(0), flag.Args()[1:]); err != nil {
		log.Fatal(err)
	}
}

// encode does of a dataset what is left to do, and verifies it.
func encode(ctx context.Context, path, output string, inputs []string) error {
	model, err := clip.Open(path)
	if err != nil {
		return err
	}
	defer model.Close()
	job, err := shard.Open(ctx, model, shard.Options{Output: output, Inputs: inputs, Resume: true, MaxErrors: 0.1})
	if err != nil {
		return err
	}
	shards, end, err := job.Claims(ctx, shard.ClaimOptions{})
	if err != nil {
		return err
	}
	defer end()
	report, err := job.Work(ctx, shards)
	if err != nil {
		return err
	}
	fmt.Printf("encoded: shards %d, rows %d; done before: %d\n", report.Done, report.Rows, report.Before)
	all, err := shard.Verify(ctx, output, func(fault error) { log.Print(fault) })
	if err != nil {
		return err
	}
	fmt.Printf("verified: shards %d, rows %d\n", all.Shards, all.Rows)
	return nil
}
