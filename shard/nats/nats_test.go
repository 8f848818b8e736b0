package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vitago/vitago/shard"
)

// A ledger has the records of a job that encodes nothing: it stands for the dataset and what lies beside it.
type ledger struct {
	n       int
	mu      sync.Mutex
	records map[int]int // by shard, how often one was put: the first counts
	failed  map[int]bool
	work    int // shards that were worked on

	encode func(ctx context.Context, n int, alive func(rows int) error) error // what a shard takes; nil is nothing
}

func newLedger(n int) *ledger { return &ledger{n: n, records: map[int]int{}, failed: map[int]bool{}} }

func (l *ledger) Shards() int { return l.n }

func (l *ledger) Todo(context.Context) (all []int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.n {
		if l.records[n] == 0 && !l.failed[n] {
			all = append(all, n)
		}
	}
	return all, nil
}

// Work does what shard.Job.Work does, a shard after the other.
func (l *ledger) Work(ctx context.Context, s shard.Source) error {
	for {
		n, ok, err := s.Next(ctx)
		if err != nil || !ok {
			return err
		}
		l.mu.Lock()
		done := l.records[n] > 0
		l.work++
		l.mu.Unlock()
		if !done && l.encode != nil {
			err = l.encode(ctx, n, func(rows int) error { return s.Alive(n, rows) })
		}
		l.mu.Lock()
		switch {
		case err == nil:
			l.records[n]++
		case shard.Useless(err):
			l.failed[n] = true
		}
		l.mu.Unlock()
		if err != nil {
			s.Done(n, nil, err)
			continue
		}
		s.Done(n, &shard.Record{Rows: 10}, nil)
	}
}

// check asserts that every shard but those has a record.
func (l *ledger) check(t *testing.T, but ...int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range l.n {
		if want := !slices.Contains(but, n); (l.records[n] > 0) != want {
			t.Errorf("shard %d has %d records, want them: %v", n, l.records[n], want)
		}
	}
}

// within is a context for a test, far longer than it takes.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// embedded returns a connection to a server in this process, with its files in dir.
func embedded(t *testing.T, dir string) (*Server, *client.Conn) {
	t.Helper()
	s, err := Embed(EmbedOptions{Dir: dir, Log: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return s, nc
}

// create makes a queue with a short lease.
func create(t *testing.T, nc *client.Conn, o Options) *Queue {
	t.Helper()
	if o.Lease == 0 {
		o.Lease = time.Second
	}
	q, err := Create(within(t), nc, o, Description{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// drive drives a job, and returns its summary when it is over.
func drive(t *testing.T, ctx context.Context, q *Queue, p Plan) Summary {
	t.Helper()
	sum, err := q.Drive(ctx, p, DriveOptions{Check: 50 * time.Millisecond, Say: func(text string) { t.Log(text) }})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// work starts a worker, and returns what waits for its end.
func work(t *testing.T, ctx context.Context, q *Queue, name string, l *ledger) (wait func()) {
	t.Helper()
	w := q.Worker(name, func(e Event) { t.Logf("%+v", e) })
	done := make(chan error, 1)
	go func() { done <- l.Work(ctx, w.Source(l, 0)) }()
	return func() {
		t.Helper()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		w.Release()
	}
}

// TestQueue: in one process every shard gets its record once, and is put into the queue once.
func TestQueue(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{}), newLedger(200)
	var waits []func()
	for i := range 4 {
		waits = append(waits, work(t, ctx, q, fmt.Sprint("w", i), l))
	}
	sum := drive(t, ctx, q, l)
	for _, wait := range waits {
		wait()
	}
	l.check(t)
	if sum.Published != 200 || len(sum.Dead) != 0 || l.work != 200 || sum.Restored != 0 {
		t.Errorf("%+v after %d shards of work, want 200 published, none dead, 200", sum, l.work)
	}
	rows := 0
	for _, n := range sum.Rows {
		rows += n
	}
	if rows < 1900 || rows > 2000 { // the driver may end before it hears the last event of each worker
		t.Errorf("workers said %v rows, want about 2000 in all", sum.Rows)
	}
	// Once more: there is nothing to do.
	if sum := drive(t, ctx, q, l); sum.Published != 0 {
		t.Errorf("published %d of a job that is done", sum.Published)
	}
}

// TestDriverRestarts: a driver that ends, and a server that ends with it, lose nothing; the next driver puts into the queue only what
// neither has a record nor is there.
func TestDriverRestarts(t *testing.T) {
	ctx, dir := within(t), t.TempDir()
	l := newLedger(30)
	s, nc := embedded(t, dir)
	q := create(t, nc, Options{})
	short, stop := context.WithCancel(ctx)
	l.encode = func(_ context.Context, n int, _ func(int) error) error {
		if n == 10 {
			stop()
		}
		return nil
	}
	wait := work(t, short, q, "first", l)
	if _, err := q.Drive(short, l, DriveOptions{Check: 50 * time.Millisecond}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want an end by the context", err)
	}
	wait()
	nc.Close()
	s.Close()

	l.encode = nil
	l.records[20] = 1 // somebody else has encoded it
	_, nc = embedded(t, dir)
	q = create(t, nc, Options{})
	wait = work(t, ctx, q, "second", l)
	sum := drive(t, ctx, q, l)
	wait()
	l.check(t)
	if sum.Published != 0 {
		t.Errorf("the second driver published %d, want none: all were in the queue", sum.Published)
	}
}

// TestLostMessages: numbers that the broker loses come back, and so does a queue that it has forgotten.
func TestLostMessages(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{}), newLedger(20)
	var once sync.Once
	l.encode = func(ctx context.Context, n int, _ func(int) error) error {
		once.Do(func() {
			if err := q.js.DeleteStream(ctx, q.stream()); err != nil {
				t.Error(err)
			}
		})
		return nil
	}
	wait := work(t, ctx, q, "w", l)
	sum := drive(t, ctx, q, l)
	wait()
	l.check(t)
	if sum.Published <= 20 {
		t.Errorf("published %d, want more than 20: the queue was lost once", sum.Published)
	}
}

// TestFailures: what is useless is tried once, what may help again and again, what kills its workers as often as is said; each has its
// dead letter, and the next driver knows them.
func TestFailures(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{Deliveries: 2}), newLedger(5)
	var mu sync.Mutex
	tries := map[int]int{}
	l.encode = func(ctx context.Context, n int, _ func(int) error) error {
		mu.Lock()
		defer mu.Unlock()
		switch tries[n]++; {
		case n == 1:
			return fmt.Errorf("a damaged tar: %w", shard.ErrDamaged)
		case n == 2 && tries[n] == 1:
			return errors.New("the network is away")
		case n == 3:
			return errors.New("the disk is full")
		}
		return nil
	}
	wait := work(t, ctx, q, "w", l)
	sum := drive(t, ctx, q, l)
	wait()
	l.check(t, 1, 3)
	if want := map[int]int{0: 1, 1: 1, 2: 2, 3: 2 * rounds, 4: 1}; fmt.Sprint(tries) != fmt.Sprint(want) {
		t.Errorf("tries %v, want %v", tries, want)
	}
	if len(sum.Dead) != 2 || sum.Dead[0].Shard != 1 || !strings.Contains(sum.Dead[0].Reason, "a damaged tar") || sum.Dead[0].Used ||
		sum.Dead[1].Shard != 3 || !strings.Contains(sum.Dead[1].Reason, "the disk is full") || !sum.Dead[1].Used {
		t.Errorf("dead letters %+v, want those of shards 1 and 3", sum.Dead)
	}
	// The next driver gives up at once, but after it was told to forget.
	if sum := drive(t, ctx, q, l); sum.Published != 0 || len(sum.Dead) != 2 {
		t.Errorf("%+v, want the same dead letters and nothing published", sum)
	}
	if err := q.Forgive(ctx); err != nil {
		t.Fatal(err)
	}
	l.encode, l.failed = nil, map[int]bool{}
	wait = work(t, ctx, q, "w", l)
	if sum := drive(t, ctx, q, l); sum.Published != 2 || len(sum.Dead) != 0 {
		t.Errorf("%+v, want 2 published and no dead letter", sum)
	}
	wait()
	l.check(t)
}

// TestLeases: a worker that dies loses its shard when its lease ends; one that lives and whose rows move keeps it; one whose rows do not
// move loses it, and is told so.
func TestLeases(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{Stuck: time.Second}), newLedger(1)
	if err := (&driver{q: q, plan: l, id: "test", used: map[int]int{}}).fill(ctx, []int{0}); err != nil {
		t.Fatal(err)
	}
	first, second := q.Worker("first", nil), q.Worker("second", nil)
	if n, ok, err := first.Source(l, 0).Next(ctx); n != 0 || !ok || err != nil {
		t.Fatal(n, ok, err)
	}
	// Two leases with rows that move: nobody else gets it.
	short, stop := context.WithTimeout(ctx, 2*q.Lease)
	defer stop()
	none := make(chan error, 1)
	go func() {
		_, _, err := second.Source(l, 0).Next(short)
		none <- err
	}()
	rows := 0
	for done := false; !done; {
		select {
		case err := <-none:
			if done = true; !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the second worker got the shard of one that is alive, %v", err)
			}
		case <-time.After(q.Lease / 4):
			if rows++; first.alive(0, rows) != nil {
				t.Fatal("the first worker lost a shard that it works at")
			}
		}
	}
	// Now they do not move.
	got := make(chan error, 1)
	go func() {
		_, _, err := second.Source(l, 0).Next(ctx)
		got <- err
	}()
	for done := false; !done; {
		select {
		case err := <-got:
			if done = true; err != nil {
				t.Fatal(err)
			}
		case <-time.After(q.Lease / 4):
			_ = first.alive(0, rows)
		}
	}
	if err := first.alive(0, rows+1); !errors.Is(err, ErrLost) {
		t.Errorf("the first worker is told %v, want %v", err, ErrLost)
	}
	first.done(0, nil, ErrLost) // which says nothing
	if err := second.alive(0, 1); err != nil {
		t.Error(err)
	}
	second.done(0, &shard.Record{}, nil)
	if info, err := q.shards.Info(ctx); err != nil || info.State.Msgs != 0 {
		t.Errorf("the queue has %d shards, %v, want none", info.State.Msgs, err)
	}
	if _, err := q.claims.Get(ctx, "0"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the claim is still there: %v", err)
	}
}

// TestRelease: what an ending worker gives back, another has at once and not after a lease.
func TestRelease(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{Lease: time.Hour, Stuck: time.Hour}), newLedger(1)
	if err := (&driver{q: q, plan: l, id: "test", used: map[int]int{}}).fill(ctx, []int{0}); err != nil {
		t.Fatal(err)
	}
	first := q.Worker("first", nil)
	if _, ok, err := first.next(ctx, l, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	first.Release()
	if n, ok, err := q.Worker("second", nil).next(ctx, l, 0); n != 0 || !ok || err != nil {
		t.Fatal(n, ok, err)
	}
}

// TestStuckQueue: a consumer that gives nothing out is made again.
func TestStuckQueue(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{}), newLedger(3)
	if _, err := q.shards.PauseConsumer(ctx, consumer, time.Now().Add(time.Hour)); err != nil { // stands for one that is stuck
		t.Fatal(err)
	}
	wait := work(t, ctx, q, "w", l)
	sum := drive(t, ctx, q, l)
	wait()
	l.check(t)
	if sum.Restored != 1 {
		t.Errorf("restored %d times, want once", sum.Restored)
	}
}

// TestIdle: a worker whose job gets no shard ends when it was told to.
func TestIdle(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	q := create(t, nc, Options{})
	if n, ok, err := q.Worker("w", nil).next(ctx, newLedger(1), time.Millisecond); ok || err != nil {
		t.Errorf("got shard %d, %v, want an end", n, err)
	}
}

// TestBrokerEnds: a worker whose broker went away for good ends when the records say that all is done.
func TestBrokerEnds(t *testing.T) {
	ctx := within(t)
	s, nc := embedded(t, t.TempDir())
	q, l := create(t, nc, Options{}), newLedger(1)
	l.records[0] = 1
	s.Close()
	if n, ok, err := q.Worker("w", nil).next(ctx, l, 0); ok || err != nil {
		t.Errorf("got shard %d, %v, want an end", n, err)
	}
}

// TestCreate: a job of the same name has to be the same.
func TestCreate(t *testing.T) {
	ctx := within(t)
	_, nc := embedded(t, t.TempDir())
	if _, err := Create(ctx, nc, Options{Job: "a", Lease: time.Minute}, Description{Settings: []byte(`{"output":"x"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(ctx, nc, Options{Job: "a", Lease: 2 * time.Minute}, Description{Settings: []byte(`{"output":"x"}`)}); err != nil {
		t.Errorf("the same job with another lease: %v", err)
	}
	_, err := Create(ctx, nc, Options{Job: "a"}, Description{Settings: []byte(`{"output":"y"}`)})
	if !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("got %v, want %v with both outputs", err, ErrOther)
	}
	q, err := Attach(ctx, nc, Options{Job: "a"})
	if err != nil || q.Lease != 2*time.Minute || string(q.Description.Settings) != `{"output":"x"}` {
		t.Errorf("attached to %+v, %v", q, err)
	}
	if err := Remove(ctx, nc, "a"); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if _, err := Attach(short, nc, Options{Job: "a"}); err == nil {
		t.Error("attached to a job that was removed")
	}
	if _, err := Create(ctx, nc, Options{Job: "a"}, Description{Settings: []byte(`{"output":"y"}`)}); err != nil {
		t.Errorf("another job after the first was removed: %v", err)
	}
}

// TestOptions: what cannot be is an error that says so.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Job: "a b"}, `job is "a b"`}, {Options{Job: "*"}, `job is "*"`}, {Options{Job: strings.Repeat("a", 65)}, "at most 64"},
		{Options{Replicas: 2}, "2 replicas"}, {Options{Lease: time.Millisecond}, "lease is 1ms"},
		{Options{Lease: time.Hour}, "stuck after 10m0s, want at least the lease, 1h0m0s"}, {Options{Deliveries: -1}, "-1 deliveries"},
	} {
		if _, err := c.o.filled(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.o, err, c.want)
		}
	}
}
