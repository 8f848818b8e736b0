package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/internal/plural"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/nats"
)

func newDrive() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drive --model DIR -o OUT [flags] INPUT...",
		Short: "Put shards into the queue until all are done",
		Long: `Drive makes the plan of a dataset, or reads the one that is there, puts its model and the shards that have no record into the broker, and
waits until workers have encoded all. It may be killed and begun again, here or elsewhere, with --resume.

Without --nats or --context a server in this process is the broker; with --listen it takes workers from elsewhere.`,
		Args: wantInputs,
	}
	b, d := brokerFlags(cmd), datasetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return drive(cmd, b, d, args, false) }
	return cmd
}

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --model DIR -o OUT [flags] INPUT...",
		Short: "Drive, and work as well, in one process",
		Long: `Run is drive and a worker in one process. With --listen, and with --nats, other workers may help.

Without --nats or --context a server in this process is the broker, so that nothing need be installed.`,
		Args: wantInputs,
	}
	b, d := brokerFlags(cmd), datasetFlags(cmd)
	cmd.Flags().IntVar(&d.o.Batch, "batch", 0, "pictures that are encoded together (default: as suits the tower)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return drive(cmd, b, d, args, true) }
	return cmd
}

func wantInputs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("got no argument, want at least one INPUT")
	}
	return nil
}

// drive drives a job, and works at it too if that is asked for.
func drive(cmd *cobra.Command, b *broker, d *dataset, inputs []string, works bool) error {
	ctx := cmd.Context()
	m, job, s, err := d.open(ctx, inputs)
	if err != nil {
		return err
	}
	defer m.Close()
	nc, end, err := b.open(cmd)
	if err != nil {
		return err
	}
	defer end()
	var model *nats.Model
	if s.Builtin == "" {
		if model, err = nats.DescribeModel(d.model); err != nil {
			return err
		}
	}
	q, err := nats.Create(ctx, nc, b.queue, nats.Description{Model: model, Settings: marshal(s), Choices: marshal(choices{d.o.MaxErrors, d.o.RetryFailed})})
	if err != nil {
		return err
	}
	if err := q.PutModel(ctx, d.model); err != nil {
		return err
	}
	if d.o.RetryFailed {
		if err := q.Forgive(ctx); err != nil {
			return err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	worker := make(chan error, 1)
	if works {
		go func() {
			err := work(ctx, cmd, q, job, 0)
			if err != nil && ctx.Err() == nil {
				stop(err)
			}
			worker <- err
		}()
	} else {
		worker <- nil
	}
	sum, err := q.Drive(ctx, job, nats.DriveOptions{Log: teller(cmd, job.Shards()), Say: say(cmd)})
	if err != nil {
		stop(err)
		return errors.Join(err, <-worker)
	}
	if err := <-worker; err != nil {
		return err
	}
	return summarize(cmd, d, sum)
}

// teller says what workers do: a line for each shard that ends.
func teller(cmd *cobra.Command, shards int) func(nats.Event) {
	var ended atomic.Int64
	return func(e nats.Event) {
		switch e.What {
		case nats.Finished:
			say(cmd)(fmt.Sprintf("%s: shard %d, %s; %d of %s ended since the start", e.Worker, e.Shard, plural.Of(e.Rows, "row"), ended.Add(1), plural.Phrase{One: "shard has", Many: "shards have"}.Of(shards)))
		case nats.Again, nats.Failed, nats.Lost:
			say(cmd)(fmt.Sprintf("%s: shard %d: %s: %s", e.Worker, e.Shard, e.What, cmp.Or(e.Error, "another worker has it")))
		}
	}
}

// summarize writes how the job ended, by its records.
func summarize(cmd *cobra.Command, d *dataset, sum nats.Summary) error {
	status, err := shard.ReadStatus(cmd.Context(), d.o.Output)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	for _, l := range sum.Dead { // of a record whose files are lost, nobody but the driver knows
		if each := status.Each[l.Shard]; each.State == shard.StateDone {
			status.Done, status.Rows, status.Failed = status.Done-1, status.Rows-each.Rows, status.Failed+1
		}
	}
	if d.json {
		status.Each = nil // "vitago status" has them
		err = json.NewEncoder(out).Encode(struct {
			Status *shard.Status `json:"status"`
			Queue  nats.Summary  `json:"queue"`
		}{status, sum})
	} else {
		fmt.Fprintf(out, "%d of %s done, %s; %d put into the queue\n", status.Done, plural.Phrase{One: "shard is", Many: "shards are"}.Of(status.Shards), plural.Of(status.Rows, "row"), sum.Published)
		for _, worker := range slices.Sorted(maps.Keys(sum.Rows)) {
			fmt.Fprintf(out, "%s: %s\n", worker, plural.Of(sum.Rows[worker], "row"))
		}
		for _, l := range sum.Dead {
			_, err = fmt.Fprintf(out, "shard %d is given up: %s\n", l.Shard, l.Reason)
		}
	}
	switch left := status.Shards - status.Done; {
	case err != nil:
		return err
	case left > 0 && !slices.ContainsFunc(sum.Dead, func(l nats.Letter) bool { return l.Used }):
		return fmt.Errorf("%w: %d of %d; --resume --retry-failed tries them again", errUseless, left, status.Shards)
	case left > 0:
		return fmt.Errorf("%d of %s no record; --resume --retry-failed tries them again", left, plural.Phrase{One: "shard has", Many: "shards have"}.Of(status.Shards))
	}
	return nil
}

// work encodes shards that a queue gives until the job is over.
func work(ctx context.Context, cmd *cobra.Command, q *nats.Queue, job *shard.Job, idle time.Duration) error {
	w := q.Worker(job.Worker(), nil)
	defer w.Release()
	_, err := job.Work(ctx, w.Source(job, idle))
	return err
}

func newWork() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "work --nats URL [flags]",
		Short: "Encode shards of a queue until the job is over",
		Long: `Work waits for a job, takes its model from the broker, and encodes one shard after the other. Of the dataset it needs access alone: a
folder under the driver's path, or the credentials of the bucket. The model is kept in the cache, for the next worker.`,
		Args: cobra.NoArgs,
	}
	access := accessFlags(cmd)
	var o nats.Options
	jobFlag(cmd, &o)
	wait := waitFlag(cmd)
	var cache string
	var idle time.Duration
	var batch int
	f := cmd.Flags()
	f.StringVar(&cache, "cache", "", "`DIR` in which models are kept (default: in the user's cache)")
	f.DurationVar(&idle, "idle", 0, "end after this `TIME` without a shard (default: with the job)")
	f.IntVar(&batch, "batch", 0, "pictures that are encoded together (default: as suits the tower)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settle(cmd, access)
		if !external(access) {
			return usagef("no broker: give --nats URL or --context NAME")
		}
		if batch < 0 {
			return usagef("--batch is %d, want at least 1", batch)
		}
		if cache == "" {
			dir, err := os.UserCacheDir()
			if err != nil {
				return fmt.Errorf("the cache of models: %w; give --cache", err)
			}
			cache = filepath.Join(dir, "vitago", "models")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *wait)
		defer cancel()
		nc, err := connect(ctx, cmd, access)
		if err != nil {
			return err
		}
		defer nc.Close()
		q, err := nats.Attach(ctx, nc, o)
		if err != nil {
			return err
		}
		return join(cmd, q, cache, idle, batch)
	}
	return cmd
}

// join works at the job of a queue.
func join(cmd *cobra.Command, q *nats.Queue, cache string, idle time.Duration, batch int) (err error) {
	ctx := cmd.Context()
	var s settings
	var c choices
	if err := errors.Join(json.Unmarshal(q.Description.Settings, &s), json.Unmarshal(q.Description.Choices, &c)); err != nil {
		return fmt.Errorf("job %s at the broker: %w", q.Job, err)
	}
	path := s.Builtin
	if !isBuiltin(path) {
		if path, err = q.GetModel(ctx, cache); err != nil {
			return err
		}
	}
	m, err := openModel(path, s.Precision)
	if err != nil {
		return err
	}
	defer m.Close()
	job, err := shard.Open(ctx, m, shard.Options{Output: s.Output, Resume: true, RetryFailed: c.RetryFailed, MaxErrors: c.MaxErrors, Batch: batch})
	if err != nil {
		return err
	}
	w := q.Worker(job.Worker(), func(e nats.Event) {
		if e.What != nats.Working {
			say(cmd)(fmt.Sprintf("shard %d: %s %s", e.Shard, e.What, e.Error))
		}
	})
	defer w.Release()
	r, err := job.Work(ctx, w.Source(job, idle))
	fmt.Fprintf(cmd.OutOrStdout(), "%s encoded, %s; %d were done before, %d failed, %d went to others\n", plural.Of(r.Done, "shard"), plural.Of(r.Rows, "row"), r.Before, r.Failed, r.GivenUp)
	return err
}

func newRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove --nats URL [--job NAME]",
		Short: "Remove a job from the broker; its dataset stays",
		Args:  cobra.NoArgs,
	}
	access := accessFlags(cmd)
	var o nats.Options
	jobFlag(cmd, &o)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		settle(cmd, access)
		if !external(access) {
			return usagef("no broker: give --nats URL or --context NAME")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), defaultWait)
		defer cancel()
		nc, err := connect(ctx, cmd, access)
		if err != nil {
			return err
		}
		defer nc.Close()
		return nats.Remove(cmd.Context(), nc, o.Job)
	}
	return cmd
}
