package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/internal/pictures"
)

// A pool prepares and computes what all requests want. Workers of its own decode pictures ahead, a few of each lane; one goroutine computes
// batch after batch, since the kernels use all cores for each. Both take from requests by turns, so that a large one does not keep a small one
// waiting.
//
//	works ─▶ pictures decoded, by turns ─▶ lanes ─▶ a batch of one lane, of its works by turns ─▶ tower
type pool struct {
	after func(time.Duration, func()) (stop func() bool) // time.AfterFunc, but for tests
	hooks Hooks

	mu        sync.Mutex
	toPrepare *sync.Cond // of the workers that decode
	toCompute *sync.Cond // of the one that computes
	all       map[*work]bool
	works     []*work // with pictures that are not prepared, the next first
	lanes     []*lane // with jobs, or with pictures on the way, the next first
	batch     *batch  // that is computed; nil if none is
	closed    bool    // no more will come

	maxBatch, maxItems int
	maxWait            time.Duration

	queued   int           // items of all requests that were admitted
	room     *sync.Cond    // of who waits to be
	last     time.Time     // when the last batch ended
	pace     time.Duration // an item takes, as measured; 0 if nothing was
	computed int64         // items, of all time

	running sync.WaitGroup
}

// A lane has what may go through a tower together.
type lane struct {
	laneKey
	max    int // pictures that go through the tower together; of texts their tokens say it
	queues []*queue
	ready  int // jobs in queues
	making int // pictures that are being prepared
	coming int // pictures that are not prepared, those in the making included
}

type laneKey struct {
	of       *instance
	kind     kind
	features clipvit.Features
}

type kind string

const (
	ofImages kind = "images"
	ofTexts  kind = "texts"
	ofCalls  kind = "calls" // what computes by itself: one at a time
)

// A queue has the jobs of one work that are ready.
type queue struct {
	of   *work
	jobs []*job
}

// A job is one item of a work.
type job struct {
	work  *work
	index int // of the item
	lane  *lane
	since time.Time // when it was asked for
	ready time.Time // when the tower could take it

	source   clip.Picture // of a picture, with what is wanted of it
	choice   clipvit.Choice
	features clipvit.Features

	picture *clip.Prepared // when it is prepared
	ids     []int          // of a text
	call    func(ctx context.Context) error

	vector []float32 // when it is computed
}

// A work is what one request wants of the pool.
type work struct {
	of         *instance
	jobs       []*job
	unprepared []*job
	preparing  int
	left       int // jobs that are not computed
	failed     int // the item of err
	err        error
	over       bool
	done       chan struct{} // closed when it is over
	users      int           // who waits for it, and who computes for it
	release    func()        // of the model, when nobody uses it any more
}

// A batch is what goes through a tower together.
type batch struct {
	jobs   []*job
	cancel context.CancelCauseFunc
}

// start begins the work of a pool.
func (p *pool) start() {
	p.all = map[*work]bool{}
	p.toPrepare, p.toCompute, p.room = sync.NewCond(&p.mu), sync.NewCond(&p.mu), sync.NewCond(&p.mu)
	for range pictures.Decoders() {
		p.running.Go(p.prepareAll)
	}
	p.running.Go(p.computeAll)
}

// close ends the pool when all works are over.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.toPrepare.Broadcast()
	p.toCompute.Broadcast()
	p.mu.Unlock()
	p.running.Wait()
}

// set takes the limits of a configuration.
func (p *pool) set(c Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hooks = c.Hooks
	p.maxBatch, p.maxItems, p.maxWait = c.MaxBatch, c.QueueItems, c.MaxWait
}

// stats returns the pool's part of [Stats].
func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{Items: p.queued, Computed: p.computed}
	if p.batch != nil {
		s.Computing = len(p.batch.jobs)
	}
	return s
}

// admit makes room for so many items of a request until leave is called. If there is none it waits for it, or returns an [ErrBusy].
func (p *pool) admit(ctx context.Context, items int, wait bool) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.room.Broadcast()
	})
	defer stop()
	for p.queued+items > p.maxItems {
		switch {
		case !wait || items > p.maxItems:
			return nil, fmt.Errorf("engine: %w: %s, and %d more would be over %d", ErrBusy, crowd.Of(p.queued), items, p.maxItems)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		p.room.Wait()
	}
	p.queued += items
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.queued -= items
		p.room.Broadcast()
	}), nil
}

// do has jobs done, and returns when they are, one of them has failed, or ctx has ended. The error of an item is an [ItemError]. release is
// called when the model is not used any more, which may be later.
func (p *pool) do(ctx context.Context, of *instance, jobs []*job, release func()) error {
	w := &work{of: of, jobs: jobs, left: len(jobs), done: make(chan struct{}), users: 1, release: release}
	p.add(w)
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end(w, context.Cause(ctx))
	})
	<-w.done
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(w)
	return w.err
}

// add queues a work.
func (p *pool) add(w *work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[w] = true
	now := time.Now()
	for _, j := range w.jobs {
		j.work, j.since = w, now
		j.lane = p.laneOf(j)
		if j.lane.kind == ofImages {
			w.unprepared = append(w.unprepared, j)
			j.lane.coming++
		} else {
			j.lane.push(j)
		}
	}
	if len(w.unprepared) > 0 {
		p.works = append(p.works, w)
		p.toPrepare.Broadcast()
	}
	if len(w.jobs) == 0 {
		p.end(w, nil)
	}
	p.toCompute.Signal()
}

// laneOf returns the lane of a job, which is made if there is none.
func (p *pool) laneOf(j *job) *lane {
	key := laneKey{of: j.work.of, kind: ofImages}
	switch {
	case j.call != nil:
		key.kind = ofCalls
	case j.ids != nil:
		key.kind = ofTexts
	default:
		key.features = j.features
	}
	if i := slices.IndexFunc(p.lanes, func(l *lane) bool { return l.laneKey == key }); i >= 0 {
		return p.lanes[i]
	}
	l := &lane{laneKey: key, max: 1}
	if key.kind == ofImages {
		l.max = atMost(key.of.batch, p.maxBatch)
	}
	p.lanes = append(p.lanes, l)
	return l
}

// atMost returns n, or max if that is less and not 0.
func atMost(n, max int) int {
	if max > 0 {
		return min(n, max)
	}
	return n
}

// push makes a job ready.
func (l *lane) push(j *job) {
	l.ready++
	j.ready = time.Now()
	for _, q := range l.queues {
		if q.of == j.work {
			q.jobs = append(q.jobs, j)
			return
		}
	}
	l.queues = append(l.queues, &queue{j.work, []*job{j}})
}

// ahead is how many batches of a lane are prepared while one is computed.
const ahead = 2

// prepareAll is a worker that prepares pictures.
func (p *pool) prepareAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		j := p.nextToPrepare()
		if j == nil {
			if p.closed {
				return
			}
			p.toPrepare.Wait()
			continue
		}
		hooks := p.hooks
		p.mu.Unlock()
		err := safely(hooks, func() (err error) {
			j.picture, err = j.work.of.clip.Prepare(context.Background(), j.source, j.choice)
			return err
		})
		p.mu.Lock()
		j.source = clip.Picture{} // the file is not needed any more
		w := j.work
		w.preparing--
		j.lane.making--
		j.lane.coming--
		switch {
		case w.over:
		case err != nil:
			p.fail(w, j.index, err)
		case w.err == nil:
			j.lane.push(j)
		}
		if w.err != nil && w.preparing == 0 { // pictures before it in the request might have failed as well, and are named first
			p.end(w, w.err)
		}
		p.leave(w)
		p.forget(j.lane)
		p.toPrepare.Signal() // there may be room again
		p.toCompute.Signal()
	}
}

// nextToPrepare returns the next picture, of works by turns, for whose lane there is room, and nil if there is none.
func (p *pool) nextToPrepare() *job {
	for i, w := range p.works {
		j := w.unprepared[0]
		if j.lane.ready+j.lane.making >= ahead*j.lane.max {
			continue
		}
		w.unprepared = w.unprepared[1:]
		p.works = slices.Delete(p.works, i, i+1)
		if len(w.unprepared) > 0 {
			p.works = append(p.works, w)
		}
		w.preparing++
		w.users++
		j.lane.making++
		return j
	}
	return nil
}

// computeAll is the goroutine that computes.
func (p *pool) computeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		l, wait := p.nextLane(time.Now())
		switch {
		case l != nil:
			p.compute(l)
		case p.closed:
			return
		case wait > 0:
			stop := p.after(wait, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.toCompute.Signal()
			})
			p.toCompute.Wait()
			stop()
		default:
			p.toCompute.Wait()
		}
	}
}

// nextLane returns the lane whose turn it is, or nil and how long to wait: 0 for more to come. A lane waits for pictures that are on the way,
// while decoding keeps the processor busy.
func (p *pool) nextLane(now time.Time) (next *lane, wait time.Duration) {
	for i, l := range p.lanes {
		if l.ready == 0 {
			continue
		}
		if l.ready < l.max && l.coming > 0 && p.maxWait > 0 {
			if more := p.maxWait - now.Sub(l.readySince()); more > 0 {
				if wait == 0 || more < wait {
					wait = more
				}
				continue
			}
		}
		p.lanes = append(slices.Delete(p.lanes, i, i+1), l)
		return l, 0
	}
	return nil, wait
}

// readySince returns since when the oldest job of a lane waits.
func (l *lane) readySince() time.Time {
	oldest := l.queues[0].jobs[0].ready
	for _, q := range l.queues[1:] {
		if t := q.jobs[0].ready; t.Before(oldest) {
			oldest = t
		}
	}
	return oldest
}

// take removes the jobs of the next batch from a lane.
func (l *lane) take(maxBatch int) (all []*job) {
	if l.kind != ofTexts {
		for len(all) < l.max && len(l.queues) > 0 {
			q := l.queues[0]
			all = append(all, q.jobs[0])
			q.jobs = q.jobs[1:]
			l.queues = l.queues[1:]
			if len(q.jobs) > 0 {
				l.queues = append(l.queues, q)
			}
		}
		l.ready -= len(all)
		return all
	}
	// Of texts those that are about as long as the one whose turn it is.
	first := l.queues[0].jobs[0]
	for _, q := range l.queues {
		all = append(all, q.jobs...)
	}
	slices.SortStableFunc(all, func(a, b *job) int { return cmp.Compare(len(a.ids), len(b.ids)) })
	lengths := make([]int, len(all))
	for i, j := range all {
		lengths[i] = len(j.ids)
	}
	for {
		n := clip.Together(lengths, maxBatch)
		if slices.Contains(all[:n], first) {
			all = all[:n:n]
			break
		}
		all, lengths = all[n:], lengths[n:]
	}
	taken := map[*job]bool{}
	for _, j := range all {
		taken[j] = true
	}
	queues := l.queues
	l.queues = nil
	for _, q := range append(queues[1:], queues[0]) { // it is another's turn
		if q.jobs = slices.DeleteFunc(q.jobs, func(j *job) bool { return taken[j] }); len(q.jobs) > 0 {
			l.queues = append(l.queues, q)
		}
	}
	l.ready -= len(all)
	return all
}

// compute sends the next batch of a lane through its tower.
func (p *pool) compute(l *lane) {
	jobs := l.take(p.maxBatch)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p.batch = &batch{jobs, cancel}
	oldest := jobs[0].since
	for _, j := range jobs {
		j.work.users++
		if j.since.Before(oldest) {
			oldest = j.since
		}
	}
	p.toPrepare.Broadcast() // there is room again
	hooks := p.hooks
	p.mu.Unlock()
	begun := time.Now()
	var vectors [][]float32
	err := safely(hooks, func() (err error) {
		vectors, err = l.encode(ctx, jobs)
		return err
	})
	ended := time.Now()
	if hooks.Batch != nil && l.kind != ofCalls {
		hooks.Batch(l.of.name, len(jobs), begun.Sub(oldest), ended.Sub(begun))
	}
	p.mu.Lock()
	p.batch = nil
	p.measure(begun, ended, len(jobs))
	for i, j := range jobs {
		w := j.work
		switch {
		case w.over:
		case err != nil:
			p.end(w, err)
		default:
			if j.call == nil {
				j.vector = vectors[i]
			}
			if w.left--; w.left == 0 {
				p.end(w, nil)
			}
		}
		p.leave(w)
	}
	p.forget(l)
}

// encode computes a batch.
func (l *lane) encode(ctx context.Context, jobs []*job) ([][]float32, error) {
	switch l.kind {
	case ofCalls:
		return nil, jobs[0].call(ctx)
	case ofTexts:
		ids := make([][]int, len(jobs))
		for i, j := range jobs {
			ids[i] = j.ids
		}
		return l.of.clip.EncodeTokens(ctx, ids...)
	}
	all := make([]*clip.Prepared, len(jobs))
	for i, j := range jobs {
		all[i], j.picture = j.picture, nil
	}
	return l.of.clip.EncodePrepared(ctx, l.features, all...)
}

// measure notes how long an item takes, from the end of the batch before if there was something to do all the time.
func (p *pool) measure(begun, ended time.Time, items int) {
	if p.last.IsZero() || begun.Sub(p.last) > ended.Sub(begun) {
		p.last = begun
	}
	each := ended.Sub(p.last) / time.Duration(items)
	p.last = ended
	p.computed += int64(items)
	if p.pace == 0 {
		p.pace = each
	} else {
		p.pace += (each - p.pace) / 8 // the last dozen batches count
	}
}

// fail notes that an item of a work cannot be prepared. No more of them are begun.
func (p *pool) fail(w *work, index int, err error) {
	if w.err == nil || index < w.failed {
		w.err, w.failed = &ItemError{index, err}, index
	}
	p.drop(w)
}

// end ends a work, and takes what is left of it out of all queues. A batch that nobody waits for any more is cancelled.
func (p *pool) end(w *work, err error) {
	if w.over {
		return
	}
	w.over, w.err = true, err
	delete(p.all, w)
	p.drop(w)
	if b := p.batch; b != nil && !slices.ContainsFunc(b.jobs, func(j *job) bool { return !j.work.over }) {
		b.cancel(context.Canceled)
	}
	close(w.done)
	p.toPrepare.Broadcast()
	p.toCompute.Signal()
}

// drop takes the jobs of a work that nobody has begun out of all queues.
func (p *pool) drop(w *work) {
	for _, j := range w.unprepared {
		j.lane.coming--
	}
	w.unprepared = nil
	p.works = slices.DeleteFunc(p.works, func(x *work) bool { return x == w })
	for _, l := range slices.Clone(p.lanes) {
		l.queues = slices.DeleteFunc(l.queues, func(q *queue) bool {
			if q.of == w {
				l.ready -= len(q.jobs)
			}
			return q.of == w
		})
		p.forget(l)
	}
}

// forget removes a lane that has nothing more to do.
func (p *pool) forget(l *lane) {
	if l.ready == 0 && l.coming == 0 {
		p.lanes = slices.DeleteFunc(p.lanes, func(x *lane) bool { return x == l })
	}
}

// leave is called by whoever has used a work.
func (p *pool) leave(w *work) {
	if w.users--; w.users == 0 && w.release != nil {
		w.release()
	}
}

// endAll ends all works.
func (p *pool) endAll(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range maps.Clone(p.all) {
		p.end(w, err)
	}
}

// safely calls f, and makes an error of a panic.
func safely(h Hooks, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if h.Panic != nil {
				h.Panic(v, debug.Stack())
			}
			err = fmt.Errorf("engine: a mistake of the program: %v", v)
		}
	}()
	return f()
}
