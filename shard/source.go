package shard

import (
	"context"
	"fmt"
	"time"
)

// A Source hands out numbers of shards to [Job.Work]. Next is wanted; the others may be nil.
type Source struct {
	// Next returns the next number. It may wait, which delays nothing that was handed out before. Not ok means that there is nothing to do now: Work
	// ends what it has begun, and returns. An error ends the work at once.
	Next func(ctx context.Context) (n int, ok bool, err error)
	// Alive is called every Beat for each shard in work, with the number of its rows so far. An error gives the shard up, as when
	// another worker has it.
	Alive func(n, rows int) error
	// Done is called once for every number that Next returned, when its files are published, with its record, or with the error that it ended with.
	// Several goroutines may call it at once.
	Done func(n int, r *Record, err error)
	Beat time.Duration // 0 is 10 seconds
}

// defaultBeat is far below the half minute after which queues deliver a message again by default.
// Source: nats-server, server/consumer.go, JsAckWaitDefault.
const defaultBeat = 10 * time.Second

// Assigned is a source of the shards of worker i of so many, from 0 on: each has consecutive ones, and some have one more than others. i is
// JOB_COMPLETION_INDEX of an Indexed Job of Kubernetes.
func (j *Job) Assigned(i, of int) (Source, error) {
	if of < 1 || i < 0 || i >= of {
		return Source{}, fmt.Errorf("shard: part %d of %d, want 0 to %d of 1 or more", i, of, max(of-1, 0))
	}
	n := j.plan.Shards
	next, end := int(int64(i)*int64(n)/int64(of)), int(int64(i+1)*int64(n)/int64(of))
	return Source{Next: func(context.Context) (int, bool, error) {
		if next >= end {
			return 0, false, nil
		}
		next++
		return next - 1, true, nil
	}}, nil
}
