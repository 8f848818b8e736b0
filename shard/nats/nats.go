// Package nats hands out the shards of a job by NATS JetStream: to any number of workers, of which some die.
//
//	Drive: plan ──▶ those without a record ──▶ stream, a subject for each shard ◀── dead letters, and again
//	                                                 │
//	Work:  Next ◀── claim by compare-and-set ◀── pull consumer
//	       Alive ──▶ InProgress and the claim renewed, as long as rows are done
//	       Done ──▶ acknowledged after the record is there ──▶ Drive: done, when every shard has a record
//
// What is done, the records beside the dataset say, and never the broker: that is a queue, which may lose a number, or give it
// twice. The first costs time, until [Queue.Drive] finds it missing; the second costs work. Neither costs data.
//
// A job has at the broker, all with the job's name: a stream of numbers with work-queue retention, a stream of dead letters,
// a key-value store of claims that expire, one of the job itself, and an object store of the model. [Embed] starts a server in
// the process, so that nothing need be installed.
//
// It is a module of its own, so that nobody has NATS' server who does not use it.
//
// Sources: nats-server, server/consumer.go and stream.go; nats.go, jetstream/kv.go and object.go.
package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a job has if Options do not say.
const (
	DefaultJob        = "encode"
	DefaultLease      = time.Minute      // pauses of machines, and elections of a cluster (5 s), are shorter
	DefaultStuck      = 10 * time.Minute // uploads of a shard's files are shorter
	DefaultDeliveries = 5
)

// minLease is the shortest lease: a server takes away what has expired every 250 ms (nats-server, server/filestore.go).
const minLease = time.Second

// rounds is how often a shard may use up its deliveries. A server that was killed can count too many (nats-server, issue 5346).
const rounds = 2

// ErrOther is of a job that the broker has under the same name.
var ErrOther = errors.New("another job has this name")

// Options say what a job is called at the broker, and when a shard is taken from a worker. The zero value has defaults.
type Options struct {
	Job        string        // letters, digits, - and _; DefaultJob if empty
	Replicas   int           // how many servers of a cluster keep the queue: 1, 3 or 5; 1 if 0
	Lease      time.Duration // after it a worker that says nothing has lost its shard
	Stuck      time.Duration // after it a worker that finishes no row has lost its shard, whatever it says
	Deliveries int           // how many workers may try a shard that kills them
}

var jobName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// filled returns options with defaults, and an error for what cannot be.
func (o Options) filled() (Options, error) {
	o.Job, o.Replicas = cmp.Or(o.Job, DefaultJob), cmp.Or(o.Replicas, 1)
	o.Lease, o.Stuck, o.Deliveries = cmp.Or(o.Lease, DefaultLease), cmp.Or(o.Stuck, DefaultStuck), cmp.Or(o.Deliveries, DefaultDeliveries)
	switch {
	case !jobName.MatchString(o.Job):
		return o, fmt.Errorf("nats: job is %q, want at most 64 letters, digits, - and _", o.Job)
	case o.Replicas != 1 && o.Replicas != 3 && o.Replicas != 5:
		return o, fmt.Errorf("nats: %d replicas, want 1, 3 or 5", o.Replicas)
	case o.Lease < minLease:
		return o, fmt.Errorf("nats: lease is %v, want at least %v", o.Lease, minLease)
	case o.Stuck < o.Lease:
		return o, fmt.Errorf("nats: a worker is stuck after %v, want at least the lease, %v", o.Stuck, o.Lease)
	case o.Deliveries < 1:
		return o, fmt.Errorf("nats: %d deliveries, want at least 1", o.Deliveries)
	}
	return o, nil
}

// A Description is what workers have to know of a job, which lies at the broker.
type Description struct {
	Lease      time.Duration   `json:"lease"`              // in JSON nanoseconds, as of [Options]
	Stuck      time.Duration   `json:"stuck"`              // likewise
	Deliveries int             `json:"deliveries"`         // as of [Options]
	Replicas   int             `json:"replicas"`           // as of [Options]
	Model      *Model          `json:"model,omitempty"`    // nil: workers have one
	Settings   json.RawMessage `json:"settings,omitempty"` // the command's, of the same job always
	Choices    json.RawMessage `json:"choices,omitempty"`  // the command's, which another driver may change
	Over       bool            `json:"over"`               // every shard has a record, or has failed
}

// A Queue is a job at a broker.
type Queue struct {
	Options
	Description Description // as it was when the queue was opened

	js     jetstream.JetStream
	nc     *client.Conn
	jobs   jetstream.KeyValue // one key, the description
	claims jetstream.KeyValue // a key for each shard that is worked on
	shards jetstream.Stream
	dead   jetstream.Stream
}

// The names of what a job has at the broker.
func (o Options) stream() string       { return "VITAGO_" + o.Job }
func (o Options) deadStream() string   { return "VITAGO_" + o.Job + "_DEAD" }
func (o Options) bucket() string       { return "vitago_" + o.Job }
func (o Options) claimBucket() string  { return "vitago_" + o.Job + "_claims" }
func (o Options) modelBucket() string  { return "vitago_" + o.Job + "_model" }
func (o Options) subject(n int) string { return o.prefix() + "shard." + strconv.Itoa(n) }
func (o Options) deadOf(n int) string  { return o.prefix() + "dead." + strconv.Itoa(n) }
func (o Options) events() string       { return o.prefix() + "event" }
func (o Options) end() string          { return o.prefix() + "over" }
func (o Options) prefix() string       { return "vitago." + o.Job + "." }

// claim is how long a claim lasts that nobody renews: it is gone when the broker gives the shard to another.
func (o Options) claim() time.Duration { return o.Lease * 3 / 4 }

// config is the consumer that all workers share.
func (o Options) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       consumer,
		Description:   "workers of " + o.Job,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       o.Lease,
		MaxDeliver:    o.Deliveries,
		MaxAckPending: -1, // as many as there are workers: nats-server, issue 7680
		MaxWaiting:    4096,
	}
}

const (
	consumer    = "workers"
	description = "job" // the key of the description
)

// numberOf returns the shard of a subject.
func numberOf(subject string) (int, error) {
	n, err := strconv.Atoi(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil || n < 0 {
		return 0, fmt.Errorf("nats: subject is %q, want one that ends with the number of a shard", subject)
	}
	return n, nil
}

// Create makes the queue of a job, or returns the one that is there. Of d Model, Settings and Choices count: the first two have to be
// those of the job that is there, or the error is ErrOther. All else replaces what it had.
func Create(ctx context.Context, nc *client.Conn, o Options, d Description) (*Queue, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	q, err := newQueue(nc, o)
	if err != nil {
		return nil, err
	}
	q.Description = Description{Lease: o.Lease, Stuck: o.Stuck, Deliveries: o.Deliveries, Replicas: o.Replicas, Model: d.Model, Settings: d.Settings, Choices: d.Choices}
	if err := again(ctx, func() error { return q.create(ctx) }); err != nil {
		return nil, err
	}
	return q, nil
}

// create makes at the broker what is missing of the queue.
func (q *Queue) create(ctx context.Context) (err error) {
	o, want := q.Options, q.Description
	if q.jobs, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: o.bucket(), Replicas: o.Replicas}); err != nil {
		return q.wrap("making its store", err)
	}
	switch was, revision, err := q.describe(ctx); {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if _, err := q.jobs.Create(ctx, description, marshal(want)); err != nil {
			return q.wrap("describing it", err)
		}
	case err != nil:
		return err
	default:
		if a, b := string(marshal(was.identity())), string(marshal(want.identity())); a != b {
			return permanent{fmt.Errorf("nats: job %s: %w: the broker has %s, want %s", o.Job, ErrOther, a, b)}
		}
		if _, err := q.jobs.Update(ctx, description, marshal(want), revision); err != nil { // by another driver: once more
			return q.wrap("describing it", err)
		}
	}
	if q.claims, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: o.claimBucket(), TTL: o.claim(), Replicas: o.Replicas}); err != nil {
		return q.wrap("making its claims", err)
	}
	if q.shards, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: o.stream(), Subjects: []string{o.prefix() + "shard.*"}, Description: "shards to encode",
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: o.Replicas,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, // a shard is in the queue once, however often it is put there
	}); err != nil {
		return q.wrap("making its queue", err)
	}
	if q.dead, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: o.deadStream(), Description: "shards that failed", Storage: jetstream.FileStorage, Replicas: o.Replicas,
		Subjects: []string{o.prefix() + "dead.*", "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES." + o.stream() + "." + consumer},
	}); err != nil {
		return q.wrap("making its dead letters", err)
	}
	_, err = q.shards.CreateOrUpdateConsumer(ctx, o.config())
	return q.wrap("making its consumer", err)
}

// identity is what makes a description that of another job.
func (d Description) identity() any {
	return struct {
		Model    *Model          `json:"model,omitempty"`
		Settings json.RawMessage `json:"settings,omitempty"`
	}{d.Model, d.Settings}
}

// Attach returns the queue of a job that a driver has made. It waits for the driver as long as ctx does. Of o the broker's
// description replaces all but the name.
func Attach(ctx context.Context, nc *client.Conn, o Options) (*Queue, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	q, err := newQueue(nc, o)
	if err != nil {
		return nil, err
	}
	for {
		err := q.attach(ctx)
		if err == nil {
			return q, nil
		}
		if err := sleep(ctx, waitForDriver); err != nil {
			return nil, fmt.Errorf("nats: waiting for a driver of job %s: %w", o.Job, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// waitForDriver is how long a worker waits before it looks for its job again.
const waitForDriver = 500 * time.Millisecond

func (q *Queue) attach(ctx context.Context) (err error) {
	if q.jobs, err = q.js.KeyValue(ctx, q.bucket()); err != nil {
		return q.wrap("opening its store", err)
	}
	d, _, err := q.describe(ctx)
	if err != nil {
		return err
	}
	q.Description = d
	q.Lease, q.Stuck, q.Deliveries, q.Replicas = d.Lease, d.Stuck, d.Deliveries, d.Replicas
	if q.claims, err = q.js.KeyValue(ctx, q.claimBucket()); err != nil {
		return q.wrap("opening its claims", err)
	}
	if q.dead, err = q.js.Stream(ctx, q.deadStream()); err != nil {
		return q.wrap("opening its dead letters", err)
	}
	q.shards, err = q.js.Stream(ctx, q.stream())
	return q.wrap("opening its queue", err)
}

// publishWait is how long the broker may take to acknowledge a number: it waits for its disk, and for the disks of others.
const publishWait = 5 * time.Second

func newQueue(nc *client.Conn, o Options) (*Queue, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(publishWait))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &Queue{Options: o, js: js, nc: nc}, nil
}

// describe returns the description at the broker, and its revision.
func (q *Queue) describe(ctx context.Context) (d Description, revision uint64, err error) {
	e, err := q.jobs.Get(ctx, description)
	if err != nil {
		return d, 0, q.wrap("reading what it is", err)
	}
	if err := json.Unmarshal(e.Value(), &d); err != nil {
		return d, 0, q.wrap("reading what it is", err)
	}
	return d, e.Revision(), nil
}

// setOver says to the workers whether the job is over.
func (q *Queue) setOver(ctx context.Context, over bool) error {
	return again(ctx, func() error {
		d, revision, err := q.describe(ctx)
		if err != nil || d.Over == over {
			return err
		}
		d.Over = over
		if _, err = q.jobs.Update(ctx, description, marshal(d), revision); err == nil && over {
			err = q.nc.Publish(q.end(), nil)
		}
		return q.wrap("ending it", err)
	})
}

// Remove takes all of a job from the broker. It leaves the dataset and its records.
func Remove(ctx context.Context, nc *client.Conn, job string) error {
	o, err := Options{Job: job}.filled()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	var errs []error
	for _, name := range []string{o.stream(), o.deadStream(), "KV_" + o.claimBucket(), "OBJ_" + o.modelBucket(), "KV_" + o.bucket()} {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, fmt.Errorf("nats: removing %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (q *Queue) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nats: job %s: %s: %w", q.Job, what, err)
}

// permanent is an error that does not go away by itself.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// tries and pause are for what fails while a cluster elects a leader, or a server starts: 30 s in all.
const (
	tries = 12
	pause = 2500 * time.Millisecond
)

// again calls f until it returns nil or a permanent error.
func again(ctx context.Context, f func() error) (err error) {
	for i := range tries {
		if err = f(); err == nil || ctx.Err() != nil || errors.As(err, new(permanent)) {
			return err
		}
		if e := sleep(ctx, min(pause, 50*time.Millisecond<<i)); e != nil {
			return err
		}
	}
	return err
}

// undated is a context without its deadline, though it ends with it: a request whose context has none waits 5 seconds for the
// broker, and one whose context has one waits as long.
type undated struct{ context.Context }

func (undated) Deadline() (deadline time.Time, ok bool) { return }

// sleep waits, and returns early with the error of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// marshal is for values that JSON has a form for.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
