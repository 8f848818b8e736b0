// Package beam has the sharded encode as a function of Apache Beam: a pipeline of shards' numbers becomes one of what came of them.
//
//	beam.Create(0 … n-1) ──▶ Reshuffle ──▶ EncodeFn: shard.Job.Shard ──▶ Result
//
// It is there for those who have a runner. docs/shards.md says what was measured, and what would have to be true to use it; the queue of
// shard/nats needs no runner, and its workers may die.
//
// It is a module of its own, since Beam's SDK is 130 MB in a program.
package beam

import (
	"context"
	"fmt"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/shard"
)

func init() {
	register.DoFn3x1(&EncodeFn{})
	register.Emitter1[Result]()
}

// A Result is what came of a shard.
type Result struct {
	Shard  int    `beam:"shard"`  // its number
	Rows   int    `beam:"rows"`   // that have vectors; 0 if it failed
	Failed string `beam:"failed"` // why it would fail again, "" if it is done
}

// EncodeFn encodes shards of a dataset that has been begun: [shard.Open] has made its plan. Its fields go to the workers.
type EncodeFn struct {
	Model     string  // a path that each worker has, or a model in the program
	Output    string  // the dataset, which each worker has too
	MaxErrors float64 // as of shard.Options

	job *shard.Job
}

// A runner sets up a function for each bundle in flight, and a model is loaded once: jobs has one for each function's fields.
var (
	mu   sync.Mutex
	jobs = map[EncodeFn]*shard.Job{}
)

// Setup opens model and dataset, once in a process.
func (f *EncodeFn) Setup(ctx context.Context) error {
	mu.Lock()
	defer mu.Unlock()
	key := EncodeFn{Model: f.Model, Output: f.Output, MaxErrors: f.MaxErrors}
	if f.job = jobs[key]; f.job != nil {
		return nil
	}
	m, err := clip.Open(f.Model)
	if err != nil {
		return err
	}
	j, err := shard.Open(ctx, m, shard.Options{Output: f.Output, Resume: true, MaxErrors: f.MaxErrors})
	if err != nil {
		m.Close()
		return err
	}
	f.job, jobs[key] = j, j
	return nil
}

// ProcessElement encodes one shard, or finds it done. An error that another attempt may mend is the runner's, which repeats the bundle,
// or ends the pipeline, as Prism does; any other is a Result.
func (f *EncodeFn) ProcessElement(ctx context.Context, n int, emit func(Result)) error {
	r, err := f.job.Shard(ctx, n)
	switch {
	case err == nil:
		emit(Result{Shard: n, Rows: r.Rows})
	case shard.Useless(err):
		emit(Result{Shard: n, Failed: err.Error()})
	default:
		return fmt.Errorf("beam: shard %d: %w", n, err)
	}
	return nil
}

// Encode adds to a pipeline what encodes these shards, and returns a collection of [Result]. The runner is free to give each to
// another worker.
func Encode(s beam.Scope, f EncodeFn, shards []int) beam.PCollection {
	s = s.Scope("vitago.Encode")
	return beam.ParDo(s, &f, beam.Reshuffle(s, beam.CreateList(s, shards)))
}
