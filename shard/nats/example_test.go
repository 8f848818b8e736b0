package nats_test

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/input"
	"github.com/vitago/vitago/shard/nats"
)

// A server, a driver and a worker in one process. Workers elsewhere have the same lines, with Access.Connect in the place of server.Connect.
func Example() {
	ctx, dir := context.Background(), must(os.MkdirTemp("", "shards-"))
	defer os.RemoveAll(dir)
	for i := range 5 {
		f := must(os.Create(filepath.Join(dir, fmt.Sprintf("%d.png", i))))
		if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
			log.Fatal(err)
		}
		f.Close()
	}
	model := must(demo.Open())
	out := filepath.Join(must(os.MkdirTemp(dir, "")), "out")
	job := must(shard.Open(ctx, model, shard.Options{Output: out, Inputs: []string{dir}, Input: input.Options{PerShard: 2}}))

	server := must(nats.Embed(nats.EmbedOptions{Dir: must(os.MkdirTemp("", "nats-"))}))
	defer server.Close()
	nc := must(server.Connect())
	defer nc.Close()
	queue := must(nats.Create(ctx, nc, nats.Options{}, nats.Description{}))

	left := make(chan struct{})
	go func() {
		defer close(left)
		nc := must(server.Connect())
		defer nc.Close()
		queue := must(nats.Attach(ctx, nc, nats.Options{})) // of the driver's job
		worker := queue.Worker(job.Worker(), nil)
		defer worker.Release()
		if _, err := job.Work(ctx, worker.Source(job, 0)); err != nil {
			log.Fatal(err)
		}
	}()
	sum := must(queue.Drive(ctx, job, nats.DriveOptions{}))
	<-left
	if err := nats.Remove(ctx, nc, nats.DefaultJob); err != nil { // what the broker has of it; the dataset stays
		log.Fatal(err)
	}
	status := must(shard.ReadStatus(ctx, out))
	fmt.Println(sum.Published, "shards were put into the queue,", status.Done, "are done, with", status.Rows, "rows")
	// Output: 3 shards were put into the queue, 3 are done, with 5 rows
}

// What the driver of a job says of the model, for workers that have none.
func ExampleDescribeModel() {
	model := must(nats.DescribeModel("../../testdata/tiny/huggingface"))
	fmt.Println(model.Name)
	for _, f := range model.Files {
		fmt.Println(f.Name, f.SHA256[:8])
	}
	// Output:
	// huggingface
	// config.json 08a45b05
	// model.safetensors ae8292aa
	// preprocessor_config.json ee4f5a4c
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
