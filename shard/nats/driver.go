package nats

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitago/vitago/internal/plural"
)

// A Plan is what a driver has to know of a job: a [shard.Job] is one.
type Plan interface {
	Shards() int                             // of the job; they are called 0, 1, …
	Todo(ctx context.Context) ([]int, error) // those without a record, but those that have failed and are not to be tried again
}

// DriveOptions say how a job is driven. The zero value is fine.
type DriveOptions struct {
	Check time.Duration     // how often records are compared with the queue; a tenth of the lease, at least a second, if 0
	Log   func(Event)       // gets what workers say; nil is none
	Say   func(text string) // gets what the driver does about failures; nil is none
}

// A Summary is what a driver did. What is done and what failed, [shard.Status] says.
type Summary struct {
	Shards    int            `json:"shards"`    // of the job
	Published int            `json:"published"` // numbers that this driver put into the queue
	Dead      []Letter       `json:"dead"`      // shards that were given up, in order
	Rows      map[string]int `json:"rows"`      // by worker, of shards that ended while this driver listened
	Restored  int            `json:"restored"`  // times that a queue that gave nothing out got a new consumer
}

// fillAhead is how many numbers are on their way to the broker before the first of them is acknowledged.
const fillAhead = 256

// stalled is how many leases without an event make a queue a stuck one, if workers wait and shards are there.
const stalled = 3

// A driver is one run of [Queue.Drive].
type driver struct {
	q    *Queue
	plan Plan
	o    DriveOptions
	id   string // of its publications

	left    []int          // shards that were to be done when the records were last read
	known   bool           // they were read
	next    time.Time      // when reading them again is cheap enough
	read    uint64         // the last dead letter that was read
	letters map[int]Letter // by shard
	fills   int
	used    map[int]int // how often a shard used up its deliveries
	sum     Summary

	mu    sync.Mutex
	heard time.Time      // when the last event came
	last  map[int]string // the last error of a shard
}

// Drive fills the queue with the shards of a plan that are to be done, sees to it that none is missing, and returns when all have a
// record or are given up. It may be ended and begun again at any time, and by another machine: what is done, the records say.
func (q *Queue) Drive(ctx context.Context, plan Plan, o DriveOptions) (Summary, error) {
	ctx = undated{ctx}
	o.Check = cmp.Or(o.Check, max(q.Lease/10, time.Second))
	if o.Log == nil {
		o.Log = func(Event) {}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	d := &driver{q: q, plan: plan, o: o, id: client.NewInbox(), letters: map[int]Letter{}, used: map[int]int{}, heard: time.Now(), last: map[int]string{}}
	d.sum.Rows, d.sum.Shards = map[string]int{}, plan.Shards()
	wake := make(chan struct{}, 1)
	sub, err := q.nc.Subscribe(q.events(), func(m *client.Msg) {
		if d.hear(m.Data) {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return d.sum, q.wrap("listening to its workers", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone
	return d.run(ctx, wake)
}

func (d *driver) run(ctx context.Context, wake <-chan struct{}) (Summary, error) {
	good := time.Now()
	for {
		err := d.round(ctx)
		switch {
		case ctx.Err() != nil:
			return d.sum, context.Cause(ctx)
		case err == nil && d.known && len(d.left) == 0:
			return d.sum, d.q.setOver(ctx, true)
		case err == nil:
			good = time.Now()
		case errors.As(err, new(permanent)) || time.Since(good) > patience:
			return d.sum, err
		default:
			d.o.Say(err.Error())
		}
		timer := time.NewTimer(d.o.Check)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return d.sum, context.Cause(ctx)
			case <-timer.C:
				waiting = false
			case <-wake: // a shard ended: if it was the last that was awaited, look at once
				waiting = !d.ended()
			}
		}
		timer.Stop()
	}
}

// hear takes an event, and says whether a shard ended.
func (d *driver) hear(data []byte) bool {
	var e Event
	if json.Unmarshal(data, &e) != nil {
		return false
	}
	d.o.Log(e)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = time.Now()
	if e.Error != "" {
		d.last[e.Shard] = e.Worker + ": " + e.Error
	}
	ended := e.What == Finished || e.What == Failed
	if ended {
		d.last[e.Shard] = over
	}
	if e.What == Finished {
		d.sum.Rows[e.Worker] += e.Rows
	}
	return ended
}

// over stands in the place of a shard's last error when a worker said that it ended.
const over = "\x00"

// ended says whether workers said of all that was left that it ended.
func (d *driver) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known && !slices.ContainsFunc(d.left, func(n int) bool { return d.last[n] != over })
}

// round puts into the queue what is missing there.
func (d *driver) round(ctx context.Context) error {
	q := d.q
	if _, err := q.shards.Info(ctx); errors.Is(err, jetstream.ErrStreamNotFound) { // nats-server, issue 6888
		d.o.Say("the broker has lost the queue: making it again")
		if err := q.create(ctx); err != nil {
			return err
		}
	}
	if err := d.readDead(ctx); err != nil {
		return err
	}
	queued, err := d.queued(ctx)
	if err != nil {
		return err
	}
	if d.suspicious(queued) {
		if err := d.compare(ctx, queued); err != nil || len(d.left) == 0 {
			return err
		}
	}
	return d.unstick(ctx, queued)
}

// suspicious says whether the records have to be read: at the beginning, when all have ended, and when the queue lacks a shard that
// nobody said has ended. Reading them takes requests for each shard, so that it takes at most a tenth of the time.
func (d *driver) suspicious(queued map[int]bool) bool {
	if !d.known || d.ended() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().After(d.next) && slices.ContainsFunc(d.left, func(n int) bool {
		_, dead := d.letters[n]
		return dead || !queued[n] && d.last[n] != over
	})
}

// compare reads the records, and puts into the queue what has none and is not there. The queue was looked at before the records are: a
// shard that left it in between has its record by then.
func (d *driver) compare(ctx context.Context, queued map[int]bool) error {
	began := time.Now()
	todo, err := d.plan.Todo(ctx)
	if err != nil {
		return err
	}
	d.next = time.Now().Add(9 * time.Since(began))
	var left, missing []int
	for _, n := range todo {
		if _, dead := d.letters[n]; dead {
			continue
		}
		left = append(left, n)
		if !queued[n] {
			missing = append(missing, n)
		}
	}
	d.mu.Lock()
	d.left, d.known = left, true
	for _, n := range left { // whatever was said of it
		if d.last[n] == over {
			delete(d.last, n)
		}
	}
	d.mu.Unlock()
	d.sum.Dead = slices.SortedFunc(maps.Values(d.letters), func(a, b Letter) int { return cmp.Compare(a.Shard, b.Shard) })
	if len(left) == 0 {
		return nil
	}
	if err := d.q.setOver(ctx, false); err != nil {
		return err
	}
	return d.fill(ctx, missing)
}

// queued returns the shards in the queue.
func (d *driver) queued(ctx context.Context) (map[int]bool, error) {
	info, err := d.q.shards.Info(ctx, jetstream.WithSubjectFilter(d.q.prefix()+"shard.*"))
	if err != nil {
		return nil, d.q.wrap("looking into the queue", err)
	}
	all := make(map[int]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		n, err := numberOf(subject)
		if err != nil {
			return nil, permanent{err}
		}
		all[n] = true
	}
	return all, nil
}

// fill puts shards into the queue. One that is there already the broker refuses, which is right.
func (d *driver) fill(ctx context.Context, missing []int) error {
	d.fills++
	for part := range slices.Chunk(missing, fillAhead) {
		futures := make([]jetstream.PubAckFuture, len(part))
		for i, n := range part {
			m := client.NewMsg(d.q.subject(n))
			m.Data = marshal(struct {
				Shard int `json:"shard"`
			}{n})
			// A shard that comes once more is no duplicate of itself; a publication that the client repeats is one.
			id := fmt.Sprintf("%s.%d.%d", d.id, n, d.fills)
			var err error
			if futures[i], err = d.q.js.PublishMsgAsync(m, jetstream.WithMsgID(id), jetstream.WithExpectStream(d.q.stream())); err != nil {
				return d.q.wrap("filling the queue", err)
			}
		}
		for _, f := range futures {
			select {
			case <-f.Ok():
				d.sum.Published++
			case err := <-f.Err():
				if api := (*jetstream.APIError)(nil); !errors.As(err, &api) || api.ErrorCode != codeInQueue {
					return d.q.wrap("filling the queue", err)
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// codeInQueue is the broker's error for a subject that has as many messages as it may have: JSStreamStoreFailedF.
const codeInQueue = 10077

// readDead reads the dead letters since the last round. Of a shard whose workers all died the broker wrote one: it is taken from the
// queue, and given another round, since the broker's counts can be wrong.
func (d *driver) readDead(ctx context.Context) error {
	q := d.q
	for {
		info, err := q.dead.Info(ctx)
		if err != nil {
			return q.wrap("reading dead letters", err)
		}
		if d.read >= info.State.LastSeq {
			return nil
		}
		for seq := max(d.read+1, info.State.FirstSeq); seq <= info.State.LastSeq; seq++ {
			msg, err := q.dead.GetMsg(ctx, seq)
			if err == nil {
				err = d.letter(ctx, msg) // which may write one
			} else if errors.Is(err, jetstream.ErrMsgNotFound) {
				err = nil
			}
			if err != nil {
				return q.wrap("reading dead letters", err)
			}
			d.read = seq
		}
		d.read = max(d.read, info.State.LastSeq) // of one that was purged
	}
}

func (d *driver) letter(ctx context.Context, msg *jetstream.RawStreamMsg) error {
	q := d.q
	if n, err := numberOf(msg.Subject); err == nil {
		l, err := decodeLetter(msg.Data)
		if err != nil {
			return nil //nolint:nilerr // somebody else's: the records say what is to be done
		}
		l.Shard = n
		if !l.Used {
			d.letters[n] = l
			return nil
		}
		if d.used[n]++; d.used[n] >= rounds {
			d.letters[n] = l
		}
		return nil
	}
	var advisory struct {
		Seq        uint64 `json:"stream_seq"`
		Deliveries int    `json:"deliveries"`
	}
	if json.Unmarshal(msg.Data, &advisory) != nil || advisory.Seq == 0 {
		return nil
	}
	shard, err := q.shards.GetMsg(ctx, advisory.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) { // it was acknowledged after all, or this letter was read before
		return nil
	}
	if err != nil {
		return q.wrap("reading a shard that is dead", err)
	}
	n, err := numberOf(shard.Subject)
	if err != nil {
		return nil //nolint:nilerr // as above
	}
	reason := fmt.Sprintf("%d deliveries, and no worker finished it", advisory.Deliveries)
	d.mu.Lock()
	if text := d.last[n]; text != "" && text != over {
		reason += "; the last said: " + text
	}
	d.mu.Unlock()
	if err := q.bury(ctx, n, Letter{Reason: reason, Used: true}); err != nil {
		return err
	}
	d.o.Say("shard " + strconv.Itoa(n) + ": " + reason)
	if err := q.shards.DeleteMsg(ctx, advisory.Seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return q.wrap("taking a dead shard from the queue", err)
	}
	return nil
}

// unstick gives the workers a new consumer if the old one gives nothing out: nats-server, issues 4736 and 7680.
func (d *driver) unstick(ctx context.Context, queued map[int]bool) error {
	d.mu.Lock()
	quiet := time.Since(d.heard)
	d.mu.Unlock()
	if len(queued) == 0 || quiet < stalled*d.q.Lease {
		return nil
	}
	c, err := d.q.consumer(ctx)
	if err != nil {
		return d.q.wrap("looking at its consumer", err)
	}
	info, err := c.Info(ctx)
	if err != nil || info.NumWaiting == 0 { // nobody asks: workers are busy, or there are none
		return d.q.wrap("looking at its consumer", err)
	}
	keys, err := d.q.claims.ListKeys(ctx)
	if err != nil {
		return d.q.wrap("looking at its claims", err)
	}
	defer keys.Stop() //nolint:errcheck // it has ended
	free := len(queued)
	for range keys.Keys() {
		free--
	}
	if free <= 0 {
		return nil
	}
	d.o.Say(fmt.Sprintf("%s in the queue, %s, and it gives out none: making its consumer again", plural.Phrase{One: "shard is", Many: "shards are"}.Of(len(queued)), plural.Phrase{One: "worker waits", Many: "workers wait"}.Of(info.NumWaiting)))
	if err := d.q.shards.DeleteConsumer(ctx, consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return d.q.wrap("removing its consumer", err)
	}
	d.mu.Lock()
	d.heard, d.sum.Restored = time.Now(), d.sum.Restored+1
	d.mu.Unlock()
	_, err = d.q.consumer(ctx)
	return d.q.wrap("making its consumer again", err)
}

// Forgive forgets the dead letters, so that the next driver tries all again.
func (q *Queue) Forgive(ctx context.Context) error {
	return q.wrap("forgetting dead letters", q.dead.Purge(ctx))
}
