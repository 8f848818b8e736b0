package nats

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitago/vitago/shard"
)

// ErrLost is of a shard that another worker has.
var ErrLost = errors.New("another worker has this shard")

// fetchWait is how long a request for a shard waits at the broker: then it is sent again, in case it was lost.
const fetchWait = 2 * time.Second

// An Event is what a worker says of a shard, for people: an event that is lost changes nothing.
type Event struct {
	Worker string `json:"worker"`          // its name
	Shard  int    `json:"shard"`           // its number
	What   string `json:"what"`            // Began, Working, Finished, Again, Failed or Lost
	Rows   int    `json:"rows,omitempty"`  // so far
	Error  string `json:"error,omitempty"` // why, of Again, Failed and Lost
}

// What an Event tells.
const (
	Began    = "began"
	Working  = "working"
	Finished = "finished" // its record is there
	Again    = "again"    // it will be tried again
	Failed   = "failed"   // it will not
	Lost     = "lost"     // another worker has it
)

// A Worker takes shards from a queue. Its [Worker.Source] is what [shard.Job.Work] wants.
type Worker struct {
	q    *Queue
	name string
	mark []byte // of its claims: no other worker has it, whatever its name
	log  func(Event)

	once  sync.Once
	sub   *client.Subscription
	ended chan struct{} // may have a value when a driver said that the job is over

	mu   sync.Mutex
	held map[int]*hold
}

// A hold is a shard that a worker has.
type hold struct {
	mu       sync.Mutex
	msg      jetstream.Msg
	revision uint64    // of the claim
	rows     int       // when it last moved
	moved    time.Time // when rows last changed
}

// Worker returns a worker of a name, which tells log what happens; "" is the name of the machine and the process, nil tells nobody.
func (q *Queue) Worker(name string, log func(Event)) *Worker {
	host, _ := os.Hostname()
	if log == nil {
		log = func(Event) {}
	}
	name = cmp.Or(name, host+"-"+strconv.Itoa(os.Getpid()))
	return &Worker{q: q, name: name, mark: []byte(name + " " + client.NewInbox()), log: log, ended: make(chan struct{}, 1), held: map[int]*hold{}}
}

// Source is where the shards of a plan come from, and to whom their ends are told. Next waits for a shard until the job is over, or for
// idle, if that is not 0. A shard that Next gave and whose Done did not come is given back by [Worker.Release].
func (w *Worker) Source(plan Plan, idle time.Duration) shard.Source {
	w.listen()
	return shard.Source{
		Next:  func(ctx context.Context) (int, bool, error) { return w.next(ctx, plan, idle) },
		Alive: w.alive,
		Done:  w.done,
		Beat:  w.q.Lease / 4, // three may be lost
	}
}

// listen hears it when the job is over, so that the worker need not ask. It asks all the same, now and then.
func (w *Worker) listen() {
	w.once.Do(func() {
		w.sub, _ = w.q.nc.Subscribe(w.q.end(), func(*client.Msg) {
			select {
			case w.ended <- struct{}{}:
			default:
			}
		})
	})
}

// next waits for a shard, and claims it.
func (w *Worker) next(ctx context.Context, plan Plan, idle time.Duration) (int, bool, error) {
	ctx = undated{ctx}
	since := time.Now()           // there was nothing
	var failing, looked time.Time // since the broker does not answer; when the records were read
	for {
		n, ok, err := w.take(ctx)
		switch {
		case ok:
			return n, true, nil
		case ctx.Err() != nil:
			return 0, false, context.Cause(ctx)
		case err == nil:
			failing = time.Time{}
			if over, err := w.over(ctx); err == nil && over {
				return 0, false, nil
			}
			if idle > 0 && time.Since(since) >= idle {
				return 0, false, nil
			}
			continue
		case failing.IsZero():
			failing, looked = time.Now(), time.Now()
		case time.Since(failing) > patience:
			return 0, false, w.q.wrap(fmt.Sprintf("no answer for %v", patience), err)
		case time.Since(looked) > lookAgain: // a driver with the broker in it ends when all is done
			if todo, err := plan.Todo(ctx); err == nil && len(todo) == 0 {
				return 0, false, nil
			}
			looked = time.Now()
		}
		if err := sleep(ctx, retryWait); err != nil {
			return 0, false, context.Cause(ctx)
		}
	}
}

// patience is how long a broker may be away. The records are the truth, so that nothing is lost when it does not come back.
const patience = 10 * time.Minute

// lookAgain is how long a worker waits for a broker that is away before it looks whether the records say that nothing is left to do.
const lookAgain = 5 * time.Second

// retryWait is the pause before a broker that did not answer is asked again.
const retryWait = 250 * time.Millisecond

func (w *Worker) over(ctx context.Context) (bool, error) {
	d, _, err := w.q.describe(ctx)
	return d.Over, err
}

// take asks for one shard, and says whether it got one.
func (w *Worker) take(ctx context.Context) (n int, ok bool, err error) {
	c, err := w.q.consumer(ctx)
	if err != nil {
		return 0, false, err
	}
	batch, err := c.Fetch(1, jetstream.FetchMaxWait(fetchWait))
	if err != nil {
		return 0, false, err
	}
	for {
		select {
		case <-w.ended: // the next that asks is told whether it is true
			return 0, false, nil
		case <-ctx.Done(): // what comes now is given back when the lease ends
			return 0, false, ctx.Err()
		case msg, open := <-batch.Messages():
			if !open {
				err := batch.Error()
				if errors.Is(err, context.DeadlineExceeded) {
					err = nil
				}
				return 0, false, err
			}
			if n, ok, err := w.claim(ctx, msg); ok || err != nil {
				return n, ok, err
			}
		}
	}
}

// claim makes a shard that came this worker's, unless another has it that is alive.
func (w *Worker) claim(ctx context.Context, msg jetstream.Msg) (int, bool, error) {
	n, err := numberOf(msg.Subject())
	if err != nil {
		return 0, false, errors.Join(err, msg.Term())
	}
	if h := w.holds(n); h != nil { // it came again, since the broker heard nothing of it for a lease
		h.mu.Lock()
		defer h.mu.Unlock()
		h.msg = msg
		return 0, false, nil
	}
	revision, err := w.q.claims.Create(ctx, strconv.Itoa(n), w.mark)
	switch {
	case errors.Is(err, jetstream.ErrKeyExists):
		return 0, false, msg.NakWithDelay(w.q.Lease)
	case err != nil:
		return 0, false, errors.Join(err, msg.NakWithDelay(w.q.Lease)) // a claim that was made all the same has expired then
	}
	w.mu.Lock()
	w.held[n] = &hold{msg: msg, revision: revision, rows: -1, moved: time.Now()}
	w.mu.Unlock()
	w.tell(Event{Shard: n, What: Began})
	return n, true, nil
}

// alive renews what a worker has of a shard, as long as its rows move. Its error is ErrLost: the shard is another's.
func (w *Worker) alive(n, rows int) error {
	h := w.holds(n)
	if h == nil {
		return ErrLost
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if rows != h.rows {
		h.rows, h.moved = rows, now
	}
	if now.Sub(h.moved) > w.q.Stuck {
		return nil // who is stuck says nothing, and loses it
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.q.Lease/4)
	defer cancel()
	revision, err := w.q.claims.Update(ctx, strconv.Itoa(n), w.mark, h.revision)
	switch {
	case err == nil:
		h.revision = revision
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch) || errors.Is(err, jetstream.ErrKeyExists):
		if mine, err := w.reclaim(ctx, n, h); err != nil || mine {
			break
		}
		w.drop(n)
		w.tell(Event{Shard: n, What: Lost, Rows: rows})
		return ErrLost
	}
	_ = h.msg.InProgress() // who does not hear it gives the shard to others, and the record decides
	w.tell(Event{Shard: n, What: Working, Rows: rows})
	return nil
}

// reclaim says whether a claim whose revision is another is still this worker's: since an answer was lost, or it had expired and
// nobody else took it.
func (w *Worker) reclaim(ctx context.Context, n int, h *hold) (bool, error) {
	key := strconv.Itoa(n)
	e, err := w.q.claims.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		revision, err := w.q.claims.Create(ctx, key, w.mark)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return false, nil
		}
		if err == nil {
			h.revision = revision
		}
		return err == nil, err
	}
	if err != nil || !bytes.Equal(e.Value(), w.mark) {
		return false, err
	}
	h.revision = e.Revision()
	return true, nil
}

// holds returns what the worker has of a shard, or nil.
func (w *Worker) holds(n int) *hold {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[n]
}

// drop forgets a shard, and returns what was held of it.
func (w *Worker) drop(n int) *hold {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.held[n]
	delete(w.held, n)
	return h
}

// done tells the broker how a shard ended. What the broker does not hear costs another delivery.
func (w *Worker) done(n int, r *shard.Record, err error) {
	h := w.drop(n)
	if h == nil { // it was lost
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), max(w.q.Lease/2, time.Second))
	defer cancel()
	switch {
	case err == nil:
		_ = h.msg.DoubleAck(ctx)
		w.tell(Event{Shard: n, What: Finished, Rows: rowsOf(r)})
	case errors.Is(err, context.Canceled):
		_ = h.msg.Nak()
		w.tell(Event{Shard: n, What: Again, Error: err.Error()})
	case shard.Useless(err):
		if e := w.q.bury(ctx, n, Letter{Worker: w.name, Reason: err.Error()}); e == nil { // else it is tried once more
			_ = h.msg.TermWithReason(err.Error())
		}
		w.tell(Event{Shard: n, What: Failed, Error: err.Error()})
	default:
		_ = h.msg.NakWithDelay(w.backoff(h.msg))
		w.tell(Event{Shard: n, What: Again, Error: err.Error()})
	}
	_ = w.q.claims.Delete(ctx, strconv.Itoa(n), jetstream.LastRevision(h.revision))
}

// backoff is the pause before a shard is tried again: a second, doubled with each delivery, at most a lease.
func (w *Worker) backoff(msg jetstream.Msg) time.Duration {
	deliveries := uint64(1)
	if m, err := msg.Metadata(); err == nil {
		deliveries = min(max(m.NumDelivered, 1), 16)
	}
	return min(time.Second<<(deliveries-1), w.q.Lease)
}

// Release gives back at once what the worker still has, so that nobody waits for its lease.
func (w *Worker) Release() {
	w.mu.Lock()
	held := w.held
	w.held = map[int]*hold{}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for n, h := range held {
		_ = w.q.claims.Delete(ctx, strconv.Itoa(n), jetstream.LastRevision(h.revision))
		_ = h.msg.Nak()
	}
	if w.sub != nil {
		_ = w.sub.Unsubscribe()
	}
	_ = w.q.nc.FlushWithContext(ctx)
}

func (w *Worker) tell(e Event) {
	e.Worker = w.name
	w.log(e)
	_ = w.q.nc.Publish(w.q.events(), marshal(e))
}

// consumer returns the workers' consumer, and makes it if the broker has lost it.
func (q *Queue) consumer(ctx context.Context) (jetstream.Consumer, error) {
	c, err := q.shards.Consumer(ctx, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return q.shards.CreateOrUpdateConsumer(ctx, q.config())
	}
	return c, err
}

// A Letter is a dead letter: why a shard is not tried again.
type Letter struct {
	Shard  int    `json:"shard"`            // its number
	Worker string `json:"worker,omitempty"` // who had it last; "" if it is not known
	Reason string `json:"reason"`           // in words
	Used   bool   `json:"used,omitempty"`   // its deliveries are used up: its workers died
}

// bury writes a dead letter.
func (q *Queue) bury(ctx context.Context, n int, l Letter) error {
	l.Shard = n
	_, err := q.js.Publish(ctx, q.deadOf(n), marshal(l))
	return q.wrap("writing a dead letter of shard "+strconv.Itoa(n), err)
}

// decodeLetter reads a dead letter.
func decodeLetter(data []byte) (l Letter, err error) {
	err = json.Unmarshal(data, &l)
	return l, err
}

// rowsOf returns how many rows a record has.
func rowsOf(r *shard.Record) int {
	if r == nil {
		return 0
	}
	return r.Rows
}
